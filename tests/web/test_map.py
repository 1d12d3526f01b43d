"""The map in a browser, and what it asks of the server."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient

import bioprobe as bp
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.store import EmbeddingStore
from bioprobe.web.app import build_app
from tests.conftest import PlainEncoder
from tests.web.conftest import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


N = 40
KINDS = ("<b>cat</b>", "dog", "")


@pytest.fixture
def folder(make_once: Callable[..., Path], tmp_path: Path) -> Path:
    """Return a store of pictures of two kinds, and of some of which nothing is said."""

    def fill(place: Path) -> None:
        store = EmbeddingStore.open_for(place / "store", PlainEncoder(dim=8))
        numbers = np.arange(N)
        noise = 0.1 * np.random.default_rng(0).standard_normal((N, 8))
        frame = pd.DataFrame(
            {
                "root": "photos",
                "path": [f"{number}.jpg" for number in numbers],
                "sha256": [f"{number:064x}" for number in numbers],
                "kind": [KINDS[number % 3] for number in numbers],
            }
        )
        store.append(frame, normalise_rows(np.eye(3, 8)[numbers % 3] + noise))
        bp.open(place / "store").map(neighbors=5)

    return Path(shutil.copytree(make_once("map of kinds", fill) / "store", tmp_path / "store"))


@pytest.fixture
def asks(folder: Path) -> TestClient:
    return TestClient(build_app(folder), base_url="http://127.0.0.1")


def _mark(rows: list[int]) -> bytes:
    bits = np.zeros(N, dtype=np.uint8)
    bits[rows] = 1
    return np.packbits(bits, bitorder="little").tobytes()


def test_points_and_classes_come_as_bytes_in_one_order(asks: TestClient, folder: Path) -> None:
    found = bp.open(folder).read_map()
    data = asks.get("/map/points").content
    points = np.frombuffer(data[: 8 * N], dtype="<f4").reshape(N, 2)
    np.testing.assert_array_equal(points, found.points)
    assert np.frombuffer(data[8 * N :], dtype="<u4").tolist() == list(range(N))
    data = asks.get("/map/classes", params={"level": "kind"}).content
    length = int.from_bytes(data[:4], "little")
    said = json.loads(data[4 : 4 + length])
    # The commonest first; of which nothing is said last.
    assert [one["name"] for one in said["legend"]] == ["<b>cat</b>", "dog", "nothing said"]
    assert [one["n_images"] for one in said["legend"]] == [14, 13, 13]
    codes = np.frombuffer(data[4 + length :], dtype=np.uint8)
    assert codes[:4].tolist() == [0, 1, 255, 0]
    few = {"level": "kind", "where": "kind == 'dog'"}
    assert len(asks.get("/map/points", params=few).content) == 12 * 13
    assert asks.get("/map/points", params={"name": "none"}).status_code == 409
    assert asks.get("/map/classes", params={"level": "kin"}).status_code == 422


def test_names_are_escaped_and_a_store_without_a_map_says_how_to_make_one(
    asks: TestClient,
) -> None:
    page = asks.get("/map", params={"level": "kind"}).text
    assert "&lt;b&gt;cat" in page
    assert "<b>cat" not in page
    part = asks.get("/map/pictures", params={"rows": "3,1,3", "level": "kind"}).text
    assert part.index("3.jpg") < part.index("1.jpg")
    assert part.count("<img") == 2
    assert "&lt;b&gt;cat" in part
    assert asks.get("/map/pictures", params={"rows": "1;2"}).status_code == 422
    page = asks.get("/map", params={"name": "other"}).text
    assert "bioprobe map --name other" in page
    assert "<canvas" not in page


def test_what_is_chosen_is_kept_as_a_mask_or_named_at_once(asks: TestClient, folder: Path) -> None:
    kept = asks.post("/map/masks", params={"name": "map/mine"}, content=_mark([1, 2, 39]))
    assert "3 images are kept" in kept.json()["said"][0]
    assert bp.open(folder).where(mask="map/mine").rows.tolist() == [1, 2, 39]
    again = asks.post("/map/masks", params={"name": "map/mine"}, content=_mark([1]))
    assert again.status_code == 409
    assert "another name" in again.text
    assert asks.post("/map/masks", params={"name": "x"}, content=b"").status_code == 422
    said = {"level": "kind", "value": "dog", "by": "anna"}
    done = asks.post("/map/annotations", params=said, content=_mark([2, 5]))
    assert len(done.json()["ids"]) == 2
    frame = bp.open(folder).annotations().to_frame()
    assert sorted(frame["row"]) == [2, 5]
    assert set(frame["value"]) == {"dog"}
    ids = b"".join(bytes.fromhex(one) for one in done.json()["ids"])
    back = asks.post("/map/annotations/retracted", params={"by": "anna"}, content=ids)
    assert "2 annotations" in back.json()["said"][0]
    assert len(bp.open(folder).annotations(standing=True).to_frame()) == 0
    assert asks.post("/map/masks/removed", params={"name": "map/none"}).status_code == 409
    # A page of somebody else cannot have a browser do it.
    foreign = asks.post(
        "/map/annotations", params=said, content=_mark([3]), headers={"origin": "http://elsewhere"}
    )
    assert foreign.status_code == 403
    assert len(bp.open(folder).annotations().to_frame()) == 2
    # By its address it is what Browse and Review are of.
    assert 'value="map/mine"' in asks.get("/review", params={"mask": "map/mine"}).text
    assert "3 pictures" in asks.get("/browse", params={"mask": "map/mine"}).text


_AXE = {"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}
# How many pixels there are of each colour, in sixteenths.
_COLOURS = """() => { const canvas = document.querySelector('#map-points');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const found = {};
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] < 255) continue;
    const name = [0, 1, 2].map((at) => Math.round(data[i + at] / 16)).join();
    found[name] = (found[name] || 0) + 1;
  }
  return found; }"""


def _name_colour(colour: str) -> str:
    return ",".join(str(round(int(colour[at : at + 2], 16) / 16)) for at in (1, 3, 5))


def _pinch(page: Page) -> None:
    """Move two fingers apart: what is between them comes nearer and stays where it is."""
    box = page.locator("#map-points").bounding_box()
    assert box is not None
    x, y = box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"]
    read = "([x, y]) => { const { plot } = document.querySelector('#map');"
    read += " return [plot.view.zoom, ...plot.toMap(x, y)]; }"
    place = [x - box["x"], y - box["y"]]
    zoom, *middle = page.evaluate(read, place)
    touch = page.context.new_cdp_session(page)
    for kind, apart in (("touchStart", 20), ("touchMove", 40), ("touchMove", 60), ("touchEnd", 0)):
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        sent = {"type": kind, "touchPoints": points if apart else []}
        touch.send("Input.dispatchTouchEvent", sent)
    nearer, *after = page.evaluate(read, place)
    assert nearer == pytest.approx(3 * zoom, rel=0.1)
    assert after == pytest.approx(middle, abs=0.02)
    assert page.locator("#map-chosen").is_hidden()


def test_a_map_is_coloured_by_what_a_command_or_a_probe_has_found(
    asks: TestClient, folder: Path
) -> None:
    store = bp.open(folder)
    store.cluster(n_clusters=3, draws=0)
    store.split("kind", fractions=(0.6, 0.2, 0.2))
    store.fit("centroid", "kind", name="mine")
    page = asks.get("/map", params={"level": "probe:mine"}).text
    assert '<option value="cluster">cluster (3)' in page
    assert 'value="probe:mine" selected' in page
    assert 'data-target="kind"' in page
    data = asks.get("/map/classes", params={"level": "probe:mine"}).content
    codes = np.frombuffer(data[-N:], dtype=np.uint8)
    # It answers those of which nothing is said too.
    assert set(codes.tolist()) == {0, 1}
    assert set(codes[0::3].tolist()) == {0}
    part = asks.get("/map/pictures", params={"rows": "0,2", "level": "probe:mine"}).text
    assert "no label" not in part
    assert asks.get("/map", params={"level": "probe:none"}).status_code == 409


def test_a_person_finds_pictures_with_the_keyboard_and_around_a_line(
    folder: Path, browser: Browser
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with serving(folder) as address:
        page = browser.new_page(
            viewport={"width": 360, "height": 800}, color_scheme="dark", has_touch=True
        )
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{address}/map?level=kind")
        page.wait_for_selector(f"#map-said:has-text('{N} of {N} pictures in view')")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        # All points are drawn in the colours of their classes.
        colours = page.evaluate(_COLOURS)
        for colour in ("#e69f00", "#56b4e9", "#b9bdba"):
            assert colours.get(_name_colour(colour), 0) > 20, (colour, colours)
        # All that is in view, without a pointer; then nothing.
        page.focus("#map-points")
        page.keyboard.press("v")
        assert page.inner_text("#map-chosen-title") == f"{N} pictures chosen"
        page.wait_for_selector("#map-pictures li")
        assert page.locator("#map-counts li").first.inner_text() == "<b>cat</b>: 14"
        assert Axe().run(page, options=_AXE).response["violations"] == []
        page.focus("#map-points")
        page.keyboard.press("Escape")
        assert page.locator("#map-chosen").is_hidden()
        page.keyboard.press("+")
        page.keyboard.press("ArrowLeft")
        page.wait_for_url(re.compile("#at="))
        _pinch(page)
        # One class alone, then around all of them: only that class is chosen.
        page.keyboard.press("0")
        page.click("#map-classes button:has-text('dog')")
        page.click("[data-act=lasso]")
        box = page.locator("#map-points").bounding_box()
        assert box is not None
        left, top, right, bottom = box["x"], box["y"], box["x"] + box["width"], box["y"]
        bottom += box["height"]
        page.mouse.move(left + 1, top + 1)
        page.mouse.down()
        for x, y in ((right - 1, top + 1), (right - 1, bottom - 1), (left + 1, bottom - 1)):
            page.mouse.move(x, y)
        page.mouse.up()
        assert page.inner_text("#map-chosen-title") == "13 pictures chosen"
        page.wait_for_url(re.compile("lasso="))
        # What is chosen is kept, and the address shows it again.
        for _ in range(2):
            page.fill("#map-mask input", "map/dogs")
            page.click("#map-mask > button")
            page.wait_for_selector("#map-kept a[href='/browse?mask=map%2Fdogs']")
            assert len(bp.open(folder).where(mask="map/dogs")) == 13
            # A mistake is taken back; then the name is free again.
            page.click("#map-kept button")
            page.wait_for_selector("#map-kept:has-text('map/dogs'):not(:has(button))")
        page.fill("#map-annotate [name=value]", "wolf")
        page.fill("#map-annotate [name=by]", "anna")
        page.click("#map-annotate > button")
        page.wait_for_selector("#map-done:has-text('13 annotations by anna')")
        page.click("#map-done button")
        page.wait_for_selector("#map-done:has-text('13 annotations')>>text=taken back")
        assert len(bp.open(folder).annotations(standing=True).to_frame()) == 0
        page.reload()
        page.wait_for_selector("#map-chosen:not([hidden])")
        assert page.inner_text("#map-chosen-title") == f"{N} pictures chosen"
        assert errors == []
