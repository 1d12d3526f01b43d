"""Keep the libraries that load models from talking over us."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator

_LOGGERS = ("huggingface_hub", "transformers", "timm", "open_clip", "httpx", "torch")


@contextlib.contextmanager
def silence_libraries() -> Iterator[None]:
    """Quieten log records, warnings and progress bars of libraries while a model loads.

    What they have to say about a failed load is in the exception we raise. open_clip logs
    through the root logger, which would install a handler on standard error for the rest of
    the process, hence the null handler.
    """
    root = logging.getLogger()
    null_handler = logging.NullHandler()
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    root.addHandler(null_handler)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), _without_progress_bars():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(null_handler)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def _without_progress_bars() -> Iterator[None]:
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
