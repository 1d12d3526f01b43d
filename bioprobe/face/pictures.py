"""Pictures that are asked without a store: embedded once, and kept by content in a cache."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from bioprobe.errors import SourceError, StoreError
from bioprobe.options import Option, list_given
from bioprobe.progress import Progress, Step
from bioprobe.result import PROBLEM, Note

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.embedding import Outcome
    from bioprobe.encoders.encoder import Encoder
    from bioprobe.images import ImageTable
    from bioprobe.sources.listing import Listing
    from bioprobe.store import EmbeddingStore
    from bioprobe.types import Rows

S = TypeVar("S")

CACHE_VARIABLE = "BIOPROBE_CACHE"
# Rows that are written at once, as a run that fills a store writes them.
_SHARD_IMAGES = 4096
# Pictures that could not be read and are named one by one.
_SHOWN = 10

Sources = Annotated[
    str | Path | Sequence[str | Path],
    Option(
        "Pictures, folders, tables or data sets to ask instead of a store, as embed takes them; - "
        "for a list of paths on standard input. They are embedded, and kept in a cache.",
        ("-",),
        shell=list[Path],
    ),
]


def open_pictures(
    make: Callable[..., S],
    sources: str | Path | Sequence[str | Path],
    *,
    model: str | None,
    device: str,
    like: str | Path | None,
    allow_outside: bool,
    progress: Progress | None,
) -> S:
    """Open pictures as a store; see :func:`bioprobe.pictures`, which also says what is raised.

    Parameters
    ----------
    make : callable
        Makes what is returned of a view and the further arguments of
        :class:`bioprobe.face.opened.Opened`.
    sources, model, device, like, allow_outside, progress
        As there.
    """
    from bioprobe.sources.source import SourceOptions, find_images
    from bioprobe.store import EmbeddingStore, TextCache
    from bioprobe.store.view import View

    named = [Path(one) for one in list_given(sources)]
    listed = find_images(named, SourceOptions(allow_outside=allow_outside))
    if not len(listed):
        reasons = "; ".join(map(str, listed.notes))
        msg = f"none of {len(listed.unread):,} pictures can be read: {reasons}"
        raise SourceError(msg)
    encoder, precision = _load_reader(model, device, like)
    scratch = Path(tempfile.mkdtemp(prefix="bioprobe-"))
    try:
        mark = encoder.fingerprint
        # Vectors of another precision or decoding may be compared, but are not the same.
        parts = (mark.key[:16], mark.image_sha256[:8], mark.text_sha256[:8], precision)
        key = "-".join(part for part in (*parts, mark.decoding) if part)
        with _holding(key, scratch) as folder:
            cache = _fill(folder, listed, encoder, progress)
            rows, failures = _find_rows(cache, listed)
        _copy(scratch / "pictures", cache, listed, rows)
        made = EmbeddingStore.open(scratch / "pictures")
        made.write_failures(failures)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    remove_with(made, scratch)
    return make(
        View(made, made.rows, origin=" ".join(map(str, named))),
        model=model or encoder.name,
        device=device,
        notes=(*listed.notes, *_describe_failures(failures)),
        texts=functools.cache(
            lambda: TextCache(cache, lambda: _find_text_encoder(encoder, device), progress)
        ),
    )


def _load_reader(model: str | None, device: str, like: str | Path | None) -> tuple[Encoder, str]:
    """Return the encoder, and the precision that was asked for."""
    from bioprobe.embedding import load_encoder_for
    from bioprobe.encoders import load_encoder
    from bioprobe.encoders.catalog import DEFAULT_MODEL
    from bioprobe.store import EmbeddingStore

    if like is not None and EmbeddingStore.exists(like):
        encoder = load_encoder_for(like, model=model, device=device)
        return encoder, encoder.fingerprint.precision
    name = model or DEFAULT_MODEL
    return load_encoder(name, device=device, precision="auto", decoding="fast"), "auto"


def _find_text_encoder(encoder: Encoder, device: str) -> Encoder:
    """Return the encoder in the precision in which every store has its texts."""
    from bioprobe.encoders import load_encoder

    if encoder.fingerprint.precision == "fp32":
        return encoder
    return load_encoder(encoder.name, device=device)


@contextlib.contextmanager
def _holding(key: str, scratch: Path) -> Iterator[Path]:
    """Wait for the encoder's part of the cache, and hold it while the block runs.

    Yields
    ------
    Path
        Its folder; one that goes where the disk refuses.
    """
    import filelock

    folder = find_cache() / key
    lock = filelock.FileLock(f"{folder}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError):
        yield scratch / key
        return
    try:
        yield folder
    except StoreError as error:
        msg = f"{error} ({folder} is a cache: it may be removed)"
        raise StoreError(msg) from error
    finally:
        lock.release()


def find_cache() -> Path:
    """Return where the vectors of pictures are kept.

    References
    ----------
    XDG Base Directory Specification, ``XDG_CACHE_HOME``.
    """
    named, home = os.environ.get(CACHE_VARIABLE), Path.home()
    if named:
        return Path(named) / "pictures"
    if sys.platform == "darwin":
        caches = home / "Library" / "Caches"
    elif sys.platform == "win32":
        caches = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return caches / "bioprobe" / "pictures"


def _fill(
    folder: Path, listed: Listing, encoder: Encoder, progress: Progress | None
) -> EmbeddingStore:
    """Bring what is new into the cache, without what its source says of it."""
    from bioprobe.embedding import embed_images
    from bioprobe.images import ImageTable
    from bioprobe.images.image_table import LOCATION_COLUMNS
    from bioprobe.sources.listing import Listing
    from bioprobe.store import EmbeddingStore

    bare = Listing(
        ImageTable.build(listed.frame[list(LOCATION_COLUMNS)]).frame, reasons=listed.reasons
    )
    embed_images(
        bare, encoder, EmbeddingStore.open_for(folder, encoder),
        advance=progress and count_outcomes(progress, len(bare)),
    )  # fmt: skip
    return EmbeddingStore.open(folder)


def _find_rows(cache: EmbeddingStore, listed: ImageTable) -> tuple[Rows, pd.DataFrame]:
    """Return the row of each picture in the cache, -1 where it failed, and what failed.

    Raises
    ------
    SourceError
        If all of them failed.
    """
    import numpy as np

    stored, failures = cache.images.frame.iloc[cache.rows], cache.read_failures()
    row_of = dict(zip(_list_files(stored), cache.rows.tolist(), strict=True))
    files = _list_files(listed.frame)
    failures = failures[np.isin(_list_files(failures), files)].reset_index(drop=True)
    # A file that was readable once still has its row.
    for file in _list_files(failures):
        row_of[file] = -1
    if len(failures) and len(failures) == len(files):
        path, reason = failures[["path", "reason"]].iloc[0]
        msg = f"none of {len(files):,} pictures can be read; the first, {path}: {reason}"
        raise SourceError(msg)
    return np.array([row_of[file] for file in files], dtype=np.int64), failures


def _list_files(frame: pd.DataFrame) -> list[str]:
    return [os.path.join(*place) for place in zip(frame["root"], frame["path"], strict=True)]  # noqa: PTH118


def _copy(folder: Path, cache: EmbeddingStore, listed: ImageTable, rows: Rows) -> None:
    """Make a store of the pictures that were read, with what their source says of them."""
    import numpy as np

    from bioprobe.cells import settle_frame
    from bioprobe.images.image_table import FACT_COLUMNS
    from bioprobe.sources.listing import find_said
    from bioprobe.store import EmbeddingStore

    manifest = cache.manifest
    made = EmbeddingStore.create(
        folder, manifest.encoder, dim=manifest.dim, logit_scale=manifest.logit_scale,
        has_text_tower=manifest.has_text_tower,
    )  # fmt: skip
    facts = cache.images.frame[list(FACT_COLUMNS)]
    said = listed.frame.drop(columns=list(FACT_COLUMNS))
    read = np.flatnonzero(rows >= 0)
    for start in range(0, len(read), _SHARD_IMAGES):
        at = read[start : start + _SHARD_IMAGES]
        rows_said = said.iloc[at].itertuples(index=False, name=None)
        rows_known = facts.iloc[rows[at]].to_dict("records")
        frame = settle_frame(
            [
                {**find_said(dict(zip(said.columns, values, strict=True))), **known}
                for values, known in zip(rows_said, rows_known, strict=True)
            ]
        )
        made = made.append(frame, cache.read_vectors(rows[at]))


def _describe_failures(failures: pd.DataFrame) -> list[Note]:
    shown = failures.head(_SHOWN)
    said = [
        f"skipped {path}: {reason}"
        for path, reason in zip(shown["path"], shown["reason"], strict=True)
    ]
    if len(failures) > _SHOWN:
        said.append(f"… and {len(failures) - _SHOWN:,} more could not be read")
    return [Note(text, PROBLEM) for text in said]


def remove_with(opened: EmbeddingStore, folder: Path) -> None:
    """Remove a folder once nobody holds a store any more, at the latest when the program ends."""
    weakref.finalize(opened, shutil.rmtree, folder, ignore_errors=True)


def count_outcomes(progress: Progress, total: int) -> Callable[[Outcome], None]:
    """Return what is told the outcome of each image, and tells the steps."""
    n_done = n_failed = 0

    def advance(outcome: Outcome) -> None:
        nonlocal n_done, n_failed
        n_done += 1
        n_failed += outcome == "failed"
        progress(Step(n_done, total, "images", n_failed))

    return advance
