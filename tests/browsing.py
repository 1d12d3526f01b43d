"""Pages as a browser shows them: headless Chromium, where the machine has one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# It asks no network of its own.
_SILENT = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
WIDTHS_PX, SCHEMES = (1280, 400), ("light", "dark")
# The inside of an A4 page at 96 dots an inch.
_PAPER_PX = 690
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Of what is right nothing is asked: that takes as long again.
_AXE = {"runOnly": _RULES, "resultTypes": ["violations"]}
# Of texts that stand in the same elements in the same colours and font, such as the cells of a
# column, axe looks at one: to find what is behind each takes most of its time.
_MARK_REPEATED = """
  const seen = new Set(), needed = new Set(), places = new Map([[null, '']]);
  const place = one => {
    if (!places.has(one)) {
      const style = getComputedStyle(one), own = [one.tagName, style.background, style.opacity];
      places.set(one, [place(one.parentElement), ...own].join('/'));
    }
    return places.get(one);
  };
  for (const one of [...document.querySelectorAll('body *')].reverse()) {
    if (![...one.childNodes].some(part => part.nodeType === 3 && part.data.trim())) continue;
    const style = getComputedStyle(one);
    const looks = [place(one), style.color, style.font, one.getAttribute('scope')].join('/');
    const is_plain = one.getAttributeNames().every(name => name === 'class' || name === 'scope');
    if (seen.has(looks) && is_plain && !needed.has(one)) {
      one.dataset.repeated = '';
      continue;
    }
    seen.add(looks);
    for (let above = one; above && !needed.has(above); above = above.parentElement)
      needed.add(above);
  }
"""
_OPEN = "document.querySelectorAll('details').forEach(one => one.open = true)"
_WIDE = "document.documentElement.scrollWidth"
# Tables that hold more than they show, and whether a hint stands above them.
# The hint comes with the first picture of the page, which a busy machine shows late.
_SCROLLING = """async () => {
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  return [...document.querySelectorAll('.scroll')].map(one => [
    one.scrollWidth > one.clientWidth, getComputedStyle(one, '::before').display !== 'none']);
}"""
_FOLDED = """[...document.querySelectorAll('details *')].filter(
  one => one.textContent.trim() && !one.checkVisibility()).length"""
_CUT = """[...document.querySelectorAll('body *')].filter(
  one => one.getBoundingClientRect().right > innerWidth + 1).length"""
# What stands only in a tooltip is there for a mouse alone.
_HOVERED = "document.querySelectorAll('[title]').length"


@contextmanager
def open_browser(*further: str) -> Iterator[Browser]:
    """Start the machine's Chromium; a test is skipped where there is none.

    Parameters
    ----------
    *further : str
        What it is started with beside what all are.

    Yields
    ------
    Browser
        Without a window.
    """
    api = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip(f"none of {', '.join(_NAMES)} is installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=[*_SILENT, *further])
        yield browser
        browser.close()


def find_problems(browser: Browser, path: Path) -> list[str]:
    """Return what is wrong with a page on the screen, on a telephone, in the dark and on paper."""
    found = []
    # The widths have no colours of their own, and the schemes no sizes.
    for width_px, scheme in zip(WIDTHS_PX, SCHEMES, strict=True):
        page = browser.new_page(
            viewport={"width": width_px, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
        )
        page.goto(path.as_uri())
        where = f"{path.name}, {width_px} px, {scheme}"
        page.evaluate(_OPEN)
        if (shown_px := page.evaluate(_WIDE)) > width_px:
            found.append(f"{where}: {shown_px} px wide")
        if page.evaluate(_HOVERED):
            found.append(f"{where}: something can be read by a mouse only")
        if any(wide != hint for wide, hint in page.evaluate(_SCROLLING)):
            found.append(f"{where}: a table scrolls and does not say so, or the reverse")
        found += [f"{where}: {one}" for one in _ask_axe(page)]
        page.close()
    return found + _find_lost(browser, path)


# Controls that a thumb does not hit; links in running text are as high as their line.
_SMALL = """[...document.querySelectorAll('a, button, input, select, summary')].filter(
  one => one.checkVisibility() && one.getBoundingClientRect().height < 44 && !one.closest(
    'p, li, dd, th, svg, .skip, label.check')).map(one => one.outerHTML.slice(0, 90))"""
PHONE_PX = 360


def find_faults(browser: Browser, addresses: Sequence[str]) -> list[str]:
    """Return what is wrong with pages of a server, on a wide screen and on a telephone.

    Parameters
    ----------
    browser : Browser
    addresses : sequence of str

    Returns
    -------
    list of str
        What axe finds, scripts that fail, what is wider than the screen, and on a telephone what
        is too small for a thumb; light and dark.
    """
    found = list[str]()
    for width_px, scheme in zip((WIDTHS_PX[0], PHONE_PX), SCHEMES, strict=True):
        page = browser.new_page(
            viewport={"width": width_px, "height": 800},
            color_scheme=scheme,  # type: ignore[arg-type]
        )
        _listen(page, found)
        for address in addresses:
            page.goto(address)
            where = f"{address}, {width_px} px, {scheme}"
            if (shown_px := page.evaluate(_WIDE)) > width_px:
                found.append(f"{where}: {shown_px} px wide")
            if width_px == PHONE_PX:
                found += [f"{where}: too small: {one}" for one in page.evaluate(_SMALL)]
            found += [f"{where}: {one}" for one in _ask_axe(page)]
        page.close()
    return found


def _ask_axe(page: Page) -> list[str]:
    """Return what axe finds wrong with a page as it is shown now."""
    from axe_playwright_python.sync_playwright import Axe

    page.evaluate(f"() => {{{_MARK_REPEATED}}}")
    exclude: Any = {"exclude": [["[data-repeated]"]]}
    said = Axe().run(page, context=exclude, options=_AXE).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in said]


def _listen(page: Page, found: list[str]) -> None:
    """Note what fails in the scripts of a page, and what cannot be loaded."""
    page.on("pageerror", lambda error: found.append(f"{page.url}: {error}"))
    page.on("console", lambda said: found.append(said.text) if said.type == "error" else None)


def _find_lost(browser: Browser, path: Path) -> list[str]:
    """Return what of a page would not be on paper, as it opens: with its parts folded."""
    page = browser.new_page(viewport={"width": _PAPER_PX, "height": 1000}, color_scheme="dark")
    page.goto(path.as_uri())
    page.emulate_media(media="print")
    found = []
    if n_folded := page.evaluate(_FOLDED):
        found.append(f"{path.name}, on paper: {n_folded} parts are folded away")
    if n_cut := page.evaluate(_CUT):
        found.append(f"{path.name}, on paper: {n_cut} parts go beyond the edge")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    if paper != "rgb(251, 252, 250)":
        found.append(f"{path.name}, on paper: the background is {paper}")
    page.close()
    return found
