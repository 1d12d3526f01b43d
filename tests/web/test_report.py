"""Reports are made as jobs, and shown as they are inside of the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastapi.testclient import TestClient

from bioprobe.web.app import build_app
from tests.web.conftest import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_pages_of_ours_beside_the_store_are_shown_and_no_others(own: Path) -> None:
    ours = '<meta name="generator" content="bioprobe"><h1>Ours</h1>'
    (own.parent / "found.html").write_text(ours)
    (own.parent / "diary.html").write_text("<h1>Nobody's</h1>")
    asks = TestClient(build_app(own), base_url="http://127.0.0.1")
    listed = asks.get("/report").text
    assert "found.html" in listed
    assert "diary.html" not in listed
    sent = asks.get("/report/pages/found.html")
    assert sent.text == ours
    assert "script-src" not in sent.headers["content-security-policy"]
    assert "sandbox" in sent.headers["content-security-policy"]
    for name in ("diary.html", "..%2Fown%2Fmanifest.json", "manifest.json"):
        assert asks.get(f"/report/pages/{name}").status_code == 404


def test_a_report_is_made_and_shown_inside(browser: Browser, own: Path) -> None:
    with serving(own) as address:
        page = browser.new_page()
        page.goto(f"{address}/report")
        page.select_option("[name=level]", "species")
        page.get_by_role("button", name="Make it").click()
        page.wait_for_url("**/report?page=report-species.html")
        inside = page.frame_locator("iframe.inside")
        assert inside.locator("h1").count() == 1
        page.close()
