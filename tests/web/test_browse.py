"""Pictures are browsed by address, by mouse and by keys."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient

import bioprobe as bp
from bioprobe.images import ImageTable
from bioprobe.store import EmbeddingStore
from bioprobe.web.app import build_app
from tests.browsing import find_faults

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ADDRESSES = ("/browse", "/browse?by=species", "/pictures/0", "/store", "/store/health")


@pytest.fixture(scope="module")
def asks(drawn: Path) -> TestClient:
    return TestClient(build_app(drawn), base_url="http://127.0.0.1")


@pytest.mark.parametrize("address", ["/browse", "/browse?by=species"])
def test_a_page_of_pictures_reads_the_table_for_all_of_them_at_once(
    asks: TestClient, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(ImageTable, "locate", None)
    page = asks.get(address).text
    assert page.count("/thumbnail?size=320") >= 4


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/browse?by=species", "4 groups"),
        ("/browse?by=species&value=Panthera+tigris", "3 pictures"),
        ("/browse?by=site&value=site+1", "4 pictures"),
        ("/browse?by=sequence_id&value=burst+0", "3 pictures"),
        ("/browse?by=mask:filters/made&value=blurred", "1 picture</p>"),
        ("/browse?mask=filters/made", "12 pictures"),
        ("/browse?where=family+%3D%3D+'Felidae'&by=species", "2 groups"),
        ("/browse?by=species&like=danaus", "1 groups"),
        ("/browse?size=5&page=3", "Page 3 of 3"),
        ("/pictures/0", 'aria-label="Region 2: Panthera pardus"'),
        ("/pictures/0/neighbours", "similar"),
        ("/store", "13</dd>"),
        ("/store/health", "is whole: 13 images"),
    ],
)
def test_each_state_has_an_address(asks: TestClient, address: str, said: str) -> None:
    answer = asks.get(address)
    assert answer.status_code == 200
    assert said in answer.text


def test_what_is_taken_along_is_what_was_chosen(asks: TestClient) -> None:
    sent = asks.get("/store/export/images.csv?where=species+%3D%3D+'Bubo+scandiacus'")
    frame = pd.read_csv(io.BytesIO(sent.content))
    assert frame["species"].tolist() == ["Bubo scandiacus"] * 3
    assert "root" not in frame
    assert "attachment" in sent.headers["content-disposition"]
    vectors = pd.read_parquet(io.BytesIO(asks.get("/store/export/vectors.parquet").content))
    assert len(vectors) == 13
    assert "annotations.csv" not in asks.get("/store").text
    assert asks.get("/store/export/manifest.json").status_code == 404


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/browse?by=nothing", "No rank and no column"),
        ("/browse?by=species&value=Nobody", "has &#x27;Nobody&#x27; as its species"),
        ("/browse?where=import+os", "condition"),
        ("/browse?page=9", "no page 9"),
        ("/pictures/13", "No row 13"),
    ],
)
def test_what_is_not_there_is_said_on_a_page(asks: TestClient, address: str, said: str) -> None:
    answer = asks.get(address, headers={"accept": "text/html"})
    assert answer.status_code == 422
    assert said in answer.text
    assert "<h1>" in answer.text


def test_names_are_shown_as_they_are_written(own: Path) -> None:
    bad = "<script>alert('x')</script>&\"'"
    store = EmbeddingStore.open(own)
    frame = pd.DataFrame([{"path": bad, "species": bad, "site": bad, "root": "/"}])
    store.append(frame, np.ones((1, store.manifest.dim)))
    asks = TestClient(build_app(own), base_url="http://127.0.0.1")
    for address in ("/browse", "/browse?by=species", "/browse?by=site", "/pictures/13", "/store"):
        text = asks.get(address).text
        assert "<script>alert" not in text
    link = asks.get("/browse", params={"by": "site", "value": bad})
    assert "1 picture</p>" in link.text


def test_what_people_say_of_a_picture_is_shown_and_taken_back_by_who_said_it(own: Path) -> None:
    asks = TestClient(build_app(own), base_url="http://127.0.0.1")
    (token,) = re.findall('name="csrf-token" content="([^"]*)"', asks.get("/pictures/3").text)
    asks.headers["X-CSRF-Token"] = token
    told = {"row": 3, "level": "species", "value": "<b>Lynx", "suggestion": "Panthera leo",
            "suggested_by": "linear", "score": 0.87, "shown_for": "margin"}  # fmt: skip
    bp.open(own).add_annotations(told, by="ben")
    form = {"by": "anna", "level": "species", "value": "Panthera tigris", "verdict": "is not"}
    said = asks.post("/pictures/3/annotations?by=species", data=form)
    assert (said.status_code, said.headers["hx-redirect"]) == (204, "/pictures/3?by=species")
    frame = bp.open(own).annotations().to_frame().set_index("by")
    text = asks.get("/pictures/3").text
    for part in ("species is not <b>Panthera tigris</b>", "&lt;b&gt;Lynx", "anna, ",
                 "linear suggested Panthera leo, 87%", "shown for margin"):  # fmt: skip
        assert part in text
    assert "Lynx" not in asks.get("/pictures/4").text
    # What somebody else said they take back themselves.
    for by, status in (("ben", 422), ("anna", 204)):
        path = f"/pictures/3/annotations/{frame['id']['anna']}/retracted"
        assert asks.post(path, data={"by": by}).status_code == status
    assert bp.open(own).annotations(standing=True).to_frame()["by"].tolist() == ["ben"]
    assert "taken back by anna" in asks.get("/pictures/3").text
    wrong = asks.post("/pictures/3/annotations", data={**form, "level": "nothing"})
    assert wrong.status_code == 422
    assert "nothing" in wrong.text


def test_nothing_is_wrong_with_the_pages(browser: Browser, address: str) -> None:
    assert find_faults(browser, [f"{address}{one}" for one in ADDRESSES]) == []


def test_keys_go_from_picture_to_picture(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}/browse?by=species&value=Danaus+plexippus")
    for key in ("ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    page.wait_for_url("**/pictures/11?*")
    page.wait_for_selector("#near + div figure >> nth=11")
    page.keyboard.press("]")
    page.wait_for_url("**/pictures/12?*")
    page.keyboard.press("z")
    assert page.locator(".stage.zoomed").count() == 1
    page.keyboard.press("?")
    page.check("#keys-off")
    page.locator("h1").click()
    page.keyboard.press("u")
    assert "/pictures/12" in page.url
    page.uncheck("#keys-off")
    page.locator("h1").click()
    page.keyboard.press("u")
    page.wait_for_url("**/browse?*")
    assert page.locator("h1").inner_text() == "Danaus plexippus"
    page.close()
