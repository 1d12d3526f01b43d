"""Take the picture of the demonstration's report that the README shows.

::

    python -m scripts.picture_report docs/report.png

runs the demonstration in a temporary folder, and Chromium without a window, which must be on this
machine; ``--report FILE`` takes a report that is there already.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SIZE_PX = (1100, 1400)
_N_COLOURS = 128
_MOST_BYTES = 150_000


def find_browser() -> str | None:
    """Find the Chromium of this machine."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


def picture_page(page: Path, target: Path) -> int:
    """Write the first screen of a page as PNG, in as many colours as its size allows.

    Parameters
    ----------
    page : Path
        HTML, which asks no network.
    target : Path
        Replaced.

    Returns
    -------
    int
        Bytes written.

    Raises
    ------
    ValueError
        If no Chromium is here, it takes no picture, or the picture is too large to show.
    """
    browser = find_browser()
    if browser is None:
        msg = f"none of {', '.join(_NAMES)} is on this machine; install one"
        raise ValueError(msg)
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder, "shot.png")
        size = ",".join(map(str, _SIZE_PX))
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={folder}", f"--window-size={size}", f"--screenshot={shot}"]
        done = subprocess.run(
            [*command, page.absolute().as_uri()], capture_output=True, text=True, check=False
        )
        if not shot.is_file():
            msg = f"{browser} took no picture: {done.stderr.strip()[-400:]}"
            raise ValueError(msg)
        with Image.open(shot) as picture:
            drawn = picture.convert("RGB").quantize(_N_COLOURS, dither=Image.Dither.NONE)
            drawn.save(target, optimize=True)
    n_bytes = target.stat().st_size
    if n_bytes > _MOST_BYTES:
        msg = f"{target} has {n_bytes:,} bytes, more than {_MOST_BYTES:,}; show less of the page"
        raise ValueError(msg)
    return n_bytes


def main() -> None:
    """Read the command line and write the picture."""
    parser = argparse.ArgumentParser(description="Take the picture of a report.")
    parser.add_argument("target", type=Path)
    parser.add_argument("--report", type=Path, help="By default that of a new demonstration.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = options.report
        if report is None:
            from bioprobe.demo import demonstrate

            report = demonstrate(Path(folder, "demo")).report
        try:
            n_bytes = picture_page(report, options.target)
        except ValueError as error:
            sys.exit(f"Error: {error}")
    print(f"{n_bytes:,} bytes -> {options.target}")


if __name__ == "__main__":
    main()
