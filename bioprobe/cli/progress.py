"""Progress of long work: a bar on standard error, off when that is no terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bioprobe.embedding import Outcome


@contextlib.contextmanager
def count_images(n_images: int, *, quiet: bool) -> Iterator[Callable[[Outcome], None]]:
    """Show a bar with images/s and the time left, and the number of failures.

    Parameters
    ----------
    n_images : int
        Number of images to come.
    quiet : bool
        Show nothing.

    Yields
    ------
    callable
        To be told the outcome of each image.
    """
    from tqdm import tqdm

    # None: off unless standard error is a terminal.
    disable = True if quiet else None
    n_failed = 0
    with tqdm(total=n_images, unit=" images", disable=disable, smoothing=0.1) as bar:

        def advance(outcome: Outcome) -> None:
            nonlocal n_failed
            if outcome == "failed":
                n_failed += 1
                bar.set_postfix(failed=n_failed, refresh=False)
            bar.update()

        yield advance
