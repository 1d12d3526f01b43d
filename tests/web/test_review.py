"""Pictures are reviewed one by one and by the sheet, by keys, buttons and swipes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

import bioprobe as bp
from bioprobe.face.sitting import Shown
from bioprobe.store import EmbeddingStore
from bioprobe.web.app import build_app
from bioprobe.web.desk import Settings
from bioprobe.web.reviews import Session, _sort
from tests.browsing import find_faults
from tests.web.conftest import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HIDDEN = re.compile(r'name="(file|region|id|suggestion)" value="([^"]*)"')


@pytest.fixture
def half(drawn: Path, make_store: Callable[..., EmbeddingStore], encoder: Any) -> Path:  # noqa: ANN401
    """Return a store of twelve drawn pictures of four species, of which four have no label."""
    # One of them has two regions.
    frame = bp.open(drawn).images.drop_duplicates("path")
    frame = frame[["root", "path", "species", "sha256"]].copy()
    frame.loc[frame.index[2::3], "species"] = ""
    random = np.random.default_rng(0)
    means = np.repeat(np.eye(4, encoder.dim), 3, axis=0)
    vectors = means + 0.1 * random.normal(size=means.shape)
    return make_store(encoder).append(frame.reset_index(drop=True), vectors).folder


@pytest.fixture
def client(half: Path) -> TestClient:
    made = TestClient(build_app(half), base_url="http://127.0.0.1")
    (token,) = re.findall('name="csrf-token" content="([^"]*)"', made.get("/review").text)
    made.headers["X-CSRF-Token"] = token
    return made


ADDRESS = "by=anna&level=species"


def _read(text: str) -> dict[str, str]:
    found = dict(HIDDEN.findall(text.partition("</form>")[0]))
    return {name: found[name] for name in ("file", "region", "id", "suggestion")}


def _said(folder: Path) -> list[tuple[str, str, str, str, str]]:
    frame = bp.open(folder).annotations(standing=True).to_frame()[::-1]
    columns = frame[["file_name", "level", "value", "verdict", "by"]]
    return list(columns.itertuples(index=False, name=None))


def test_who_has_no_name_is_asked_for_it(client: TestClient) -> None:
    page = client.get("/review").text
    assert 'name="by" required' in page
    assert "<option selected>species</option>" in page


@pytest.mark.parametrize(
    ("say", "typed", "expected"),
    [
        ("is:{}", "", ("species", "{}", "is")),
        ("typed", " Lynx lynx ", ("species", "Lynx lynx", "is")),
        ("not", "", ("species", "{}", "is not")),
        ("is:blank", "", ("content", "blank", "is")),
        ("unsure", "", ("species", "", "unsure")),
    ],
)
def test_each_answer_is_written_once_and_can_be_taken_back(
    client: TestClient, half: Path, say: str, typed: str, expected: tuple[str, str, str]
) -> None:
    one = _read(client.get(f"/review?{ADDRESS}").text)
    form = {**one, "say": say.format(one["suggestion"]), "typed": typed}
    after = client.post(f"/review/answers?{ADDRESS}", data=form)
    again = client.post(f"/review/answers?{ADDRESS}", data=form)
    assert (after.status_code, again.status_code) == (200, 200)
    level, value, verdict = expected
    said = [(one["file"], level, value.format(one["suggestion"]), verdict, "anna")]
    assert _said(half) == said
    assert _read(after.text)["file"] != one["file"]
    back = client.post(f"/review/undone?{ADDRESS}")
    assert _read(back.text)["file"] == one["file"]
    assert _said(half) == []
    # It may be answered again, the same or otherwise.
    client.post(f"/review/answers?{ADDRESS}", data={**form, "id": _read(back.text)["id"]})
    assert _said(half) == said


def test_what_cannot_be_taken_is_said_and_nothing_is_lost(client: TestClient, half: Path) -> None:
    one = _read(client.get(f"/review?{ADDRESS}").text)
    for say in ("typed", "is:", "perhaps"):
        answer = client.post(f"/review/answers?{ADDRESS}", data={**one, "say": say})
        assert 'role="alert"' in answer.text
        assert _read(answer.text)["file"] == one["file"]
    skipped = client.post(f"/review/answers?{ADDRESS}", data={**one, "say": "skip"})
    assert _read(skipped.text)["file"] != one["file"]
    assert _said(half) == []
    assert client.get(f"/review?{ADDRESS}&where=import+os").status_code == 422
    assert client.get("/review?by=anna&level=nothing").status_code == 422


def test_an_answer_is_of_its_picture_though_the_store_was_compacted(
    client: TestClient, half: Path
) -> None:
    one = _read(client.get(f"/review?{ADDRESS}").text)
    store = bp.open(half)
    before = store.images["path"].tolist()
    store.remove(row=0)
    store.compact()
    client.post(f"/review/answers?{ADDRESS}", data={**one, "say": "unsure"})
    (said,) = bp.open(half).annotations().to_frame().to_dict("records")
    assert said["file_name"] == one["file"]
    assert said["row"] == before.index(one["file"]) - 1
    # What the store does not have is said, and what was to be looked at stays.
    for file in (before[0], "nothing.jpg"):
        shown = _read(client.get(f"/review?{ADDRESS}").text)
        other = {**one, "id": "0" * 32, "file": file, "say": "not"}
        gone = client.post(f"/review/answers?{ADDRESS}", data=other)
        assert gone.status_code == 200
        assert f"has no picture &#39;{file}&#39;" in gone.text.partition('role="alert"')[2]
        assert _read(gone.text)["file"] == shown["file"]
    assert len(bp.open(half).annotations().to_frame()) == 1


def test_a_server_that_only_reads_asks_nobody(half: Path) -> None:
    reads = TestClient(build_app(half, Settings(read_only=True)), base_url="http://127.0.0.1")
    assert "This server writes nothing" in reads.get(f"/review?{ADDRESS}").text
    assert reads.get(f"/review/classes?{ADDRESS}&start=tig").status_code == 403
    assert not (half / "annotations").exists()


def test_two_people_are_not_shown_the_same_picture(client: TestClient) -> None:
    first, other = (
        _read(client.get(f"/review?by={name}&level=species").text) for name in ("anna", "ben")
    )
    assert other["file"] != first["file"]
    # Who loads the page again goes on with the same.
    assert _read(client.get("/review?by=anna&level=species").text) == first


def test_a_sheet_is_confirmed_but_for_what_is_marked(client: TestClient, half: Path) -> None:
    bp.open(half).order()
    address = f"{ADDRESS}&way=sheet&show=chance"
    found = HIDDEN.findall(client.get(f"/review?{address}").text)
    given: dict[str, list[str]] = {}
    for name, value in found:
        given.setdefault(name, []).append(value)
    assert given["file"]
    # Along the line on which the store keeps its pictures, those of a class together.
    frame = bp.open(half).images
    places = dict(zip(frame["path"], frame["alike"].astype(float), strict=True))
    at = [places[one] for one in given["file"]]
    shown = list(zip(given["suggestion"], at, strict=True))
    first = {one: min(place for name, place in shown if name == one) for one, _ in shown}
    assert shown == sorted(shown, key=lambda one: (first[one[0]], one[1]))
    form = {**given, "wrong": given["id"][:1]}
    assert client.post(f"/review/sheets?{address}", data=form).status_code == 200
    said = {file: (value, verdict) for file, _, value, verdict, _ in _said(half)}
    expected = {
        file: (name, "is not" if at == 0 else "is")
        for at, (file, name) in enumerate(zip(given["file"], given["suggestion"], strict=True))
    }
    assert said == expected


def test_a_sheet_says_how_many_are_likely_to_be_right(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of the fourth nothing is suggested.
    for scores, said in (
        ((0.9, 0.8, 0.4), "By the probabilities below them, 2 of these 3 are expected"),
        ((0.3, 0.2, 0.1), "Confirm none of these unseen: by the probabilities below them, 1 of"),
    ):
        shown = [
            Shown(row, f"{row}.jpg", "", "", name, score, (), "", "", "", math.nan, f"{row:032x}")
            for row, (name, score) in enumerate(zip("aab", scores, strict=True))
        ]
        shown.append(Shown(3, "3.jpg", "", "", "", math.nan, (), "", "", "", math.nan, "3" * 32))
        monkeypatch.setattr(Session, "look_at_sheet", lambda _, shown=shown: shown)
        page = client.get(f"/review?{ADDRESS}&way=sheet&show=sure").text
        assert said in page
        assert ("note warn" in page) == ("unseen" in said)


def test_a_sheet_has_classes_together_and_within_each_what_is_alike() -> None:
    names = {0: "b", 1: "a", 2: "a", 3: "b", 4: "c"}
    shown = [
        Shown(row, f"{row}.jpg", "", "", name, 0.5, (), "", "", "", math.nan, "0" * 32)
        for row, name in names.items()
    ]
    places = {0: 7.0, 1: 9.0, 2: 3.0, 3: 1.0, 4: math.nan}
    assert [one.row for one in _sort(shown, places)] == [3, 0, 2, 1, 4]


def test_names_are_completed_and_escaped(client: TestClient, half: Path) -> None:
    store = bp.open(half)
    store.annotate_rows("<script>alert(1)</script>", row=0, by="x")
    page = client.get("/review?by=%3Cb%3E&level=species&show=wrong").text
    assert "<script>alert" not in page
    assert "<b>:" not in page
    found = client.get(f"/review/classes?{ADDRESS}&start=tig").json()
    assert found == {"classes": ["Panthera tigris"]}


def _row(page: Page) -> str:
    return page.locator("input[name=file]").first.input_value()


def _wait(page: Page, row: str) -> None:
    page.wait_for_function("r => document.querySelector('input[name=file]')?.value !== r", arg=row)
    # Then it takes answers again.
    page.wait_for_function("() => document.activeElement.matches('[data-focus]')")


def _swipe(page: Page, right: int, down: int) -> None:
    """Move a finger over the picture, as a touch screen tells of it."""
    stage = page.locator("[data-swipe]")
    # A page that scrolls yet takes a finger for its own.
    stage.hover(trial=True)
    box = stage.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)
    for kind, part in (("touchStart", 0), ("touchMove", 0.5), ("touchMove", 1), ("touchEnd", 0)):
        points = [{"x": x + part * right, "y": y + part * down}]
        sent = {"type": kind, "touchPoints": [] if kind == "touchEnd" else points}
        touch.send("Input.dispatchTouchEvent", sent)


@pytest.mark.slow
def test_a_person_reviews_by_keys_and_by_swipes(browser: Browser, half: Path) -> None:
    with serving(half) as at:
        page = browser.new_page(
            viewport={"width": 360, "height": 780}, has_touch=True, is_mobile=True
        )
        page.set_default_timeout(120_000)
        page.goto(f"{at}/review")
        page.get_by_label("Your name").fill("anna")
        page.keyboard.press("Enter")
        page.wait_for_url("**by=anna**")
        rows = [_row(page)]
        page.keyboard.press("y")
        _wait(page, rows[-1])
        rows.append(_row(page))
        page.keyboard.press("/")
        page.keyboard.type("tigris")
        page.wait_for_selector("#classes option", state="attached")
        page.locator("input[name=typed]").fill("Panthera tigris")
        page.keyboard.press("Enter")
        _wait(page, rows[-1])
        rows.append(_row(page))
        page.keyboard.press("Backspace")
        _wait(page, rows[-1])
        assert _row(page) == rows[1]
        page.keyboard.press("y")
        _wait(page, rows[1])
        said = [(row, verdict) for row, _, _, verdict, _ in _said(half)]
        assert said == [(rows[0], "is"), (rows[1], "is")]
        # Up and down it scrolls, a little to the side is nothing; to the left it is not.
        rows.append(_row(page))
        for way in ((0, -120), (-40, 0)):
            _swipe(page, *way)
        assert _row(page) == rows[-1]
        _swipe(page, -120, 10)
        _wait(page, rows[-1])
        assert _said(half)[-1][0::3] == (rows[-1], "is not")
        page.close()
        pages = [f"{at}/review?by={way}&level=species&way={way}" for way in ("one", "sheet")]
        assert find_faults(browser, [f"{at}/review", *pages]) == []
