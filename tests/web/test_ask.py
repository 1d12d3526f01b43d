"""Ask: pictures and texts, with plus and minus; a missing species; without a connection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bioprobe.sketch import draw_animal, draw_scene, read_species
from tests.browsing import find_faults
from tests.web.conftest import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

FORGOTTEN = f"/ask?picture={'0' * 32}"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw a tiger and a page of text, which is no animal."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(7)
    tiger = next(one for one in read_species() if one.name == "Panthera tigris")
    draw_animal(tiger, random).save(folder / "tiger.jpg")
    draw_scene("page of text", random).save(folder / "text.jpg")
    return folder


def _send(page: Page, *files: Path) -> None:
    page.set_input_files("#pictures", [str(file) for file in files])
    # The first question loads the encoder.
    page.wait_for_url("**/ask?*picture=*", timeout=120_000)


def test_a_picture_is_answered_at_every_rank(browser: Browser, address: str, photos: Path) -> None:
    page = browser.new_page()
    page.goto(f"{address}/")
    _send(page, photos / "tiger.jpg", photos / "text.jpg")
    tiger, paper = page.locator("section.card").all()
    assert tiger.locator("h2").inner_text() == "Panthera tigris"
    ranks = tiger.locator("tbody tr")
    assert ranks.count() == 7
    assert ranks.nth(4).locator("td").first.inner_text() == "Felidae"
    assert tiger.locator("figcaption b").first.inner_text() == "Panthera tigris"
    # The server keeps no picture: this browser shows its own.
    tiger.locator("img[data-sent]").wait_for()
    assert paper.locator("h2").inner_text() == "Not recognised"
    assert paper.locator("td b").count() == 0
    again = browser.new_page()
    again.goto(page.url)
    assert again.locator("section.card h2").all_inner_texts() == [
        "Panthera tigris", "Not recognised",
    ]  # fmt: skip
    tiger.get_by_role("link", name="Keep away from it").click()
    page.wait_for_url("**minus_picture=*")
    names = page.locator(".hit figcaption b").all_inner_texts()
    assert names[0] != "Panthera tigris"
    assert names[-1].startswith("Panthera")
    again.close()
    page.close()


def test_texts_and_rows_add_up_and_take_away(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}/ask?text=Danaus+plexippus")
    first = page.locator(".hit figcaption b").first
    assert first.inner_text() == "Danaus plexippus"
    page.get_by_role("link", name="Less like").first.click()
    page.wait_for_url("**minus_row=*")
    assert page.locator(".chips li").count() == 2
    page.locator(".chips a").last.click()
    page.wait_for_url("**/ask?text=Danaus+plexippus")
    page.close()


def test_a_species_that_was_missing_is_used_at_once(browser: Browser, own: Path) -> None:
    with serving(own) as address:
        page = browser.new_page()
        page.goto(f"{address}/ask?text=a+bird")
        page.locator("details summary", has=page.locator("#add")).click()
        page.fill("[name=name]", "Panthera leo")
        page.fill("[name=common]", "lion")
        page.fill("[name=parent]", "Felidae")
        page.get_by_role("button", name="Add it").click()
        page.wait_for_url("**added=Panthera+leo")
        said = page.locator(".note, .finding").first.inner_text()
        assert "Panthera leo is among the classes now." in said
        assert page.locator("[name=text]").input_value() == "a bird"
        page.fill("[name=name]", "Panthera onca")
        page.fill("[name=parent]", "Nobodyidae")
        page.get_by_role("button", name="Add it").click()
        page.locator("#add-said", has_text="Nobodyidae").wait_for()
        page.get_by_role("button", name="Remove Panthera leo").click()
        page.wait_for_url("**/ask?text=a+bird")
        page.close()


def test_pictures_wait_for_a_connection_and_are_sent_once(
    browser: Browser, address: str, photos: Path
) -> None:
    context = browser.new_context()
    context.set_default_timeout(120_000)
    page = context.new_page()
    page.goto(f"{address}/ask")
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    # Nothing that a browser asks of a page to install it is missing.
    told = context.new_cdp_session(page).send("Page.getAppManifest")
    assert told["errors"] == []
    icons = {one["sizes"] for one in json.loads(told["data"])["icons"]}
    assert icons >= {"192x192", "512x512"}
    context.set_offline(True)
    page.set_input_files("#camera", str(photos / "tiger.jpg"))
    page.locator("#waiting", has_text="No connection: 1 picture waits").wait_for()
    page.goto(f"{address}/browse")
    assert page.locator("h1").inner_text() == "No connection"
    page.locator("#queue li").wait_for()
    # Chosen twice it waits once.
    page.set_input_files("#pictures", [str(photos / f"{one}.jpg") for one in ("text", "tiger")])
    page.locator("#waiting", has_text="2 pictures wait.").wait_for()
    # The page is closed, and two are open when the connection is back; the server is not there yet
    # when the first picture comes.
    page.close()
    page, other = context.new_page(), context.new_page()
    for one in (page, other):
        one.goto(f"{address}/ask")
    tried = list[str]()

    def take(route: Route) -> None:
        tried.append(route.request.url)
        if len(tried) == 1:
            route.abort("connectionreset")
        else:
            route.continue_()

    context.route("**/api/v1/pictures", take)
    # A page that loads again has no queue for a moment, so that the last picture is waited for.
    with context.expect_event("requestfinished", lambda _: len(tried) == 3) as last:
        context.set_offline(False)
    for one in (page, other):
        one.wait_for_function("() => !document.querySelector('#queue li')")
    assert len(tried) == 3
    assert last.value.url == tried[-1]
    sent = last.value.frame.page
    sent.bring_to_front()
    sent.get_by_role("link", name="See what they are").click()
    sent.locator("section.card").nth(1).wait_for()
    kept = page.evaluate(
        """caches.keys().then(names => Promise.all(names.map(one => caches.open(one)
        .then(cache => cache.keys())))).then(all => all.flat().map(one => one.url))"""
    )
    assert kept
    assert all("/static/" in one for one in kept)
    context.close()


def test_nothing_is_wrong_with_asking(browser: Browser, address: str) -> None:
    asked = ("/ask?text=a+cat&minus=snow", FORGOTTEN, "/static/offline.html")
    assert find_faults(browser, [f"{address}{one}" for one in asked]) == []
