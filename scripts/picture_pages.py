"""Take the pictures of the served page that the how-to shows.

::

    python -m scripts.picture_pages docs/howto [--store demo/store]

serves the store of a demonstration, which is made in a temporary folder where none is named, and
looks at it in Chromium without a window, which must be on this machine.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from PIL import Image
from playwright.sync_api import sync_playwright

import bioprobe as bp
from bioprobe.demo import demonstrate
from bioprobe.web.app import build_app
from scripts.picture_report import find_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_WIDE, _PHONE = (1100, 800), (360, 760)
_MOST_BYTES = 150_000
_QUALITIES = (80, 65, 50, 35)
# The first question loads the encoder.
_PATIENCE_MS = 240_000


@contextmanager
def _serving(store: Path) -> Iterator[str]:
    """Serve a store in a thread.

    Yields
    ------
    str
        Its address.
    """
    listening = uvicorn.Config(build_app(store), host="127.0.0.1", port=0, log_level="warning")
    bound, server = listening.bind_socket(), uvicorn.Server(listening)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    server.should_exit = True
    thread.join()


def _open(browser: Browser, size_px: tuple[int, int], scheme: str) -> Page:
    width_px, height_px = size_px
    page = browser.new_page(
        viewport={"width": width_px, "height": height_px},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page.set_default_timeout(_PATIENCE_MS)
    return page


def _write(page: Page, target: Path) -> None:
    page.wait_for_load_state("networkidle")
    page.evaluate("document.activeElement?.blur()")
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    for quality in _QUALITIES:
        image.save(target, "WEBP", quality=quality, method=6)
        if target.stat().st_size <= _MOST_BYTES:
            return
    msg = f"{target} has {target.stat().st_size:,} bytes, at most {_MOST_BYTES:,} are shown"
    raise ValueError(msg)


def picture_pages(store: Path, photo: Path, folder: Path) -> None:
    """Write a picture of each view that the how-to tells of.

    Parameters
    ----------
    store : Path
        Of a demonstration, with a map.
    photo : Path
        Picture that is asked about.
    folder : Path
        Where ``page-ask.webp``, ``page-browse.webp``, ``page-picture.webp``, ``page-review.webp``,
        ``page-map.webp`` and ``page-phone.webp`` are replaced.

    Raises
    ------
    ValueError
        If no Chromium is here, or a picture is too large to show.
    """
    found = find_browser()
    if found is None:
        msg = "Chromium is not on this machine; install it"
        raise ValueError(msg)
    with _serving(store) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"]
        )
        for name, size_px, scheme in (("ask", _WIDE, "light"), ("phone", _PHONE, "dark")):
            page = _open(browser, size_px, scheme)
            page.goto(f"{address}/ask")
            page.set_input_files("#pictures", str(photo))
            page.wait_for_url("**/ask?*picture=*")
            page.locator("img[data-sent]").wait_for()
            if name == "phone":
                page.locator("section.card").scroll_into_view_if_needed()
                page.evaluate("document.querySelector('section.card').scrollIntoView()")
            _write(page, folder / f"page-{name}.webp")
            page.close()
        page = _open(browser, _WIDE, "light")
        for name, path in (
            ("browse", "/browse?by=family"),
            ("picture", "/pictures/7?by=family&value=Felidae"),
            ("review", "/review?by=anna&level=species&way=sheet&show=sure"),
            ("map", "/map?level=class"),
        ):
            page.goto(f"{address}{path}")
            if name == "map":
                page.wait_for_selector("#map-said:has-text('in view')")
            _write(page, folder / f"page-{name}.webp")
        browser.close()


def main() -> None:
    """Take the pictures into the folder that is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store", type=Path, help="of a demonstration; by default one is made")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        made = given.store or demonstrate(Path(scratch, "demo")).store
        # Whoever reviews writes down what they look at.
        store = Path(shutil.copytree(made, Path(scratch, "store")))
        bp.open(store).map()
        # Of a species that it learnt.
        table = bp.open(store).images
        lion = table[table["species"] == "Panthera leo"].iloc[0]
        picture_pages(store, Path(lion["root"], lion["path"]), given.folder)


if __name__ == "__main__":
    main()
