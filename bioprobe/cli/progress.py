"""Progress of long work: a bar on standard error, off when that is no terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from bioprobe.face.store import count_outcomes
from bioprobe.progress import Progress, Step

if TYPE_CHECKING:
    from bioprobe.embedding import Outcome


@contextlib.contextmanager
def show_progress(*, quiet: bool) -> Iterator[Progress]:
    """Show a bar with the rate and the time left, and the number of failures.

    Parameters
    ----------
    quiet : bool
        Show nothing.

    Yields
    ------
    callable
        To be told each step; a bar begins with the first of a kind.
    """
    from tqdm import tqdm

    # None: off unless standard error is a terminal.
    disable = True if quiet else None
    bars: dict[tuple[int, str], tqdm[Any]] = {}

    def advance(step: Step) -> None:
        counted = (step.total, step.what)
        if counted not in bars:
            unit = f" {step.what}"
            bars[counted] = tqdm(total=step.total, unit=unit, disable=disable, smoothing=0.1)
        bar = bars[counted]
        if step.n_failed:
            bar.set_postfix(failed=step.n_failed, refresh=False)
        bar.update(step.done - bar.n)

    try:
        yield advance
    finally:
        for bar in bars.values():
            bar.close()


@contextlib.contextmanager
def count_images(n_images: int, *, quiet: bool) -> Iterator[Callable[[Outcome], None]]:
    """Show the same for the outcomes of images.

    Yields
    ------
    callable
        To be told the outcome of each image.
    """
    with show_progress(quiet=quiet) as progress:
        yield count_outcomes(progress, n_images)
