"""Pictures that are asked at once: embedded where they are new, and kept for the next time.

Those of a folder are kept in a store, others by content in a cache.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from bioprobe.cache import find_cache
from bioprobe.errors import MismatchError, SourceError, StoreError
from bioprobe.files import check_target, read_json, write_text
from bioprobe.options import BOTH, Option, list_given
from bioprobe.progress import Progress, Step
from bioprobe.result import PROBLEM, Note, name_some

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.embedding import EncoderChoice, Outcome
    from bioprobe.encoders.encoder import Encoder
    from bioprobe.images import ImageTable
    from bioprobe.sources.listing import Listing
    from bioprobe.store import EmbeddingStore
    from bioprobe.types import Rows

S = TypeVar("S")

# Rows that are written at once, as a run that fills a store writes them.
_SHARD_IMAGES = 4096
# Pictures that could not be read and are named one by one.
_SHOWN = 10

Sources = Annotated[
    str | Path | Sequence[str | Path],
    Option(
        "Pictures, folders, tables or data sets to ask, as embed takes them; - for a list of paths "
        "on standard input. What is new is embedded: of folders into the store, else into a cache.",
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
    keep: bool = False,
    allow_outside: bool,
    exclude: str | Sequence[str] | None = None,
    include: str | Sequence[str] | None = None,
    kinds: Sequence[str] = (),
    progress: Progress | None,
) -> S:
    """Open pictures as a store; see :func:`bioprobe.pictures`, which also says what is raised.

    Parameters
    ----------
    make : callable
        Makes what is returned of a view and the further arguments of
        :class:`bioprobe.face.opened.Opened`.
    sources, model, device, like, keep, allow_outside, exclude, include, progress
        As there.
    kinds : sequence of str
        What is to be known of them beside the vectors, of
        :data:`bioprobe.encoders.keeping.KEPT_KINDS`.
    """
    from bioprobe.sources.source import SourceOptions, find_images, recognise_source

    named = [Path(one) for one in list_given(sources)]
    options = SourceOptions(
        allow_outside=allow_outside,
        exclude=tuple(list_given(exclude)),
        include=tuple(list_given(include)),
    )
    listed = find_images(named, options)
    if not len(listed):
        reasons = "; ".join(map(str, listed.notes))
        msg = f"none of {len(listed.unread):,} pictures can be read: {reasons}"
        raise SourceError(msg)
    origin, notes = name_some(named), list[Note]()
    are_folders = all(recognise_source(one, options) == "folder" for one in named)
    if keep and like is not None and are_folders:
        why_not = _explain_cache(Path(like), model)
        if not why_not:
            return _open_kept(make, listed, Path(like), origin, model, device, progress)
        notes = [Note(f"the vectors of {origin} are kept in the cache, as {why_not}")]
    return _open_cached(make, listed, origin, notes, like, model, device, progress, kinds)


def refuse_address(named: str | Path) -> None:
    """Refuse an address where pictures on this machine are named.

    See Also
    --------
    bioprobe.images.addresses.refuse_address : the rule.
    """
    from bioprobe.images import addresses

    addresses.refuse_address(named)


def has_store(folder: str | Path) -> bool:
    """Tell whether there is a store at a folder."""
    from bioprobe.store import EmbeddingStore

    return EmbeddingStore.exists(folder)


def _explain_cache(folder: Path, model: str | None) -> str:
    """Say why pictures cannot be kept in a store, ``""`` where they can."""
    from bioprobe.embedding import names_encoder_of
    from bioprobe.store import EmbeddingStore

    if EmbeddingStore.exists(folder):
        store = EmbeddingStore.open(folder)
        stored = store.manifest.encoder
        if stored.backend == "imported":
            return f"the store {folder} holds imported vectors"
        if not names_encoder_of(store, model):
            return f"the store {folder} is of {stored.model}, not of {model}"
    try:
        check_target(folder, is_file=False)
    except StoreError as error:
        return str(error)
    return ""


def _open_kept(
    make: Callable[..., S],
    listed: Listing,
    folder: Path,
    origin: str,
    model: str | None,
    device: str,
    progress: Progress | None,
) -> S:
    """Embed into a store what it has not, and open it with the pictures that are listed."""
    from bioprobe.embedding import embed_images, load_encoder_for, open_on_demand
    from bioprobe.store import EmbeddingStore, TextCache
    from bioprobe.store.view import View

    load = functools.partial(load_encoder_for, folder, model=model, device=device)
    opened, encoder = open_on_demand(folder, load, model=model)
    with opened.filling():
        summary = embed_images(
            listed, encoder, opened, advance=progress and count_outcomes(progress, len(listed))
        )
        filled = EmbeddingStore.open(folder)
        if opened.is_new and not len(filled):
            raise SourceError(_explain_none(filled.read_failures(), len(listed)))
    rows, failures = _find_stored(filled, listed)
    unread = _list_unread(listed)

    def load_for_text() -> Encoder:
        loaded = encoder.get() if encoder.is_loaded else None
        return load_text_encoder(loaded, model or filled.manifest.encoder.model, device)

    said = (
        f"{len(rows):,} pictures of {origin} in the store {folder}, {summary.n_embedded:,} of them "
        "new"
    )
    return make(
        View(filled.counting(BOTH), rows, unread=_concatenate(failures, unread), progress=progress),
        model=model,
        device=device,
        notes=(
            *listed.notes,
            *_describe_failures(failures),
            Note(said),
            *filled.counting(BOTH).tell_labels(),
        ),
        texts=functools.cache(lambda: TextCache(filled, load_for_text, progress)),
    )


def _open_cached(
    make: Callable[..., S],
    listed: Listing,
    origin: str,
    notes: Sequence[Note],
    like: str | Path | None,
    model: str | None,
    device: str,
    progress: Progress | None,
    kinds: Sequence[str],
) -> S:
    """Take vectors out of the cache, embed what is missing there, and open a store of them."""
    from bioprobe.embedding import choose_encoder
    from bioprobe.store import EmbeddingStore, TextCache
    from bioprobe.store.view import View

    reader = _Reader(choose_encoder(like, model=model), device)
    scratch = Path(tempfile.mkdtemp(prefix="bioprobe-"))
    try:
        cache, rows, failures = _read_cached(scratch, listed, reader, progress, kinds)
        _copy(scratch / "pictures", cache, listed, rows, kinds)
        made = EmbeddingStore.open(scratch / "pictures")
        made.write_failures(_concatenate(failures, _list_unread(listed)))
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    remove_with(made, scratch)
    return make(
        View(made, made.rows, origin=origin, progress=progress),
        model=model,
        device=device,
        notes=(*notes, *listed.notes, *_describe_failures(failures)),
        texts=functools.cache(lambda: TextCache(cache, reader.load_for_text, progress)),
    )


@dataclasses.dataclass
class _Reader:
    """The encoder of pictures, loaded no sooner than one is new to the cache."""

    choice: EncoderChoice
    device: str

    @functools.cached_property
    def encoder(self) -> Encoder:
        from bioprobe.encoders import load_encoder

        return load_encoder(
            self.choice.model, device=self.device, precision=self.choice.precision,
            decoding=self.choice.decoding, backend="auto",
        )  # fmt: skip

    def load_for_text(self) -> Encoder:
        """Return the encoder of texts."""
        loaded = self.encoder if "encoder" in self.__dict__ else None
        return load_text_encoder(loaded, self.choice.model, self.device)

    def find_key(self) -> str:
        """Return the name of the encoder's part of the cache, which takes loading it."""
        mark = self.encoder.fingerprint
        # Vectors of another precision or decoding may be compared, but are not the same.
        parts = (mark.key[:16], mark.image_sha256[:8], mark.text_sha256[:8], self.choice.precision)
        return "-".join(part for part in (*parts, mark.decoding) if part)

    def find_note(self) -> Path | None:
        """Return the file that keeps the key of what the name loads now, None where it cannot."""
        from bioprobe.encoders import stamp_model

        stamp = stamp_model(self.choice.model)
        how = f"{self.choice.precision}-{self.choice.decoding}"
        return find_cache("pictures") / f"{stamp[:32]}-{how}.json" if stamp else None


def load_text_encoder(loaded: Encoder | None, model: str, device: str) -> Encoder:
    """Return the encoder in the precision in which every store has its texts."""
    from bioprobe.encoders import load_encoder

    if loaded is not None and loaded.fingerprint.has_exact_texts:
        return loaded
    return load_encoder(model, device=device, backend="auto")


def _read_cached(
    scratch: Path,
    listed: Listing,
    reader: _Reader,
    progress: Progress | None,
    kinds: Sequence[str],
) -> tuple[EmbeddingStore, Rows, pd.DataFrame]:
    """Return the encoder's part of the cache, the row of each picture there, and what failed."""

    def read(key: str) -> tuple[EmbeddingStore, Rows, pd.DataFrame]:
        with _holding(key, scratch) as folder:
            cache = _fill(folder, listed, reader, progress, kinds)
            return cache, *_find_rows(cache, listed)

    note = reader.find_note()
    known = _recall_key(note)
    if known:
        # Where it was loaded and is another after all, it goes on as one that was not known.
        with contextlib.suppress(MismatchError):
            return read(known)
    key = reader.find_key()
    found = read(key)
    if note is not None:
        with contextlib.suppress(OSError, StoreError):
            write_text(note, json.dumps({"key": key}) + "\n")
    return found


def _recall_key(note: Path | None) -> str:
    """Return the key that a note keeps, ``""`` where it keeps none."""
    with contextlib.suppress(OSError, ValueError, StoreError):
        known = note and read_json(note, dict).get("key")
        if isinstance(known, str) and known and "/" not in known and "\\" not in known:
            return known
    return ""


@contextlib.contextmanager
def _holding(key: str, scratch: Path) -> Iterator[Path]:
    """Wait for the encoder's part of the cache, and hold it while the block runs.

    Yields
    ------
    Path
        Its folder; one that goes where the disk refuses.
    """
    import filelock

    folder = find_cache("pictures") / key
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


def _fill(
    folder: Path,
    listed: Listing,
    reader: _Reader,
    progress: Progress | None,
    kinds: Sequence[str],
) -> EmbeddingStore:
    """Bring what is new into the cache, without what its source says of it."""
    from bioprobe.embedding import OnDemandEncoder, embed_images
    from bioprobe.images import ImageTable
    from bioprobe.images.image_table import LOCATION_COLUMNS
    from bioprobe.images.regions import REGION
    from bioprobe.sources.listing import Listing
    from bioprobe.store import EmbeddingStore

    names = [*LOCATION_COLUMNS, REGION]
    bare = Listing(ImageTable.build(listed.frame[names]).frame, reasons=listed.reasons)
    if EmbeddingStore.exists(folder):
        store = EmbeddingStore.open(folder)
    else:
        store = EmbeddingStore.open_for(folder, reader.encoder)
    embed_images(
        bare, OnDemandEncoder(store, lambda: reader.encoder), store, alongside=True,
        keep=kinds, only_named=True,
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

    from bioprobe.images.regions import REGION

    stored, failures = cache.images.frame.iloc[cache.rows], _find_failures(cache, listed)
    keys = zip(_list_files(stored), stored[REGION], strict=True)
    row_of = dict(zip(keys, cache.rows.tolist(), strict=True))
    # A file that was readable once still has its row.
    files = _list_files(listed.frame)
    lost = _find_lost(failures, files)
    keys = zip(files, listed.frame[REGION], strict=True)
    rows = [-1 if key[0] in lost else row_of.get(key, -1) for key in keys]
    return np.array(rows, dtype=np.int64), failures


def _find_stored(store: EmbeddingStore, listed: ImageTable) -> tuple[Rows, pd.DataFrame]:
    """Return the rows that a store has of the pictures, each picture's together, and what failed.

    Raises
    ------
    SourceError
        If all of them failed.
    """
    import numpy as np

    stored, failures = store.images.frame.iloc[store.rows], _find_failures(store, listed)
    rows_of: dict[str, list[int]] = {}
    for file, row in zip(_list_files(stored), store.rows.tolist(), strict=True):
        rows_of.setdefault(file, []).append(row)
    files = list(dict.fromkeys(_list_files(listed.frame)))
    lost = _find_lost(failures, files)
    rows = [row for file in files if file not in lost for row in rows_of.get(file, ())]
    return np.array(rows, dtype=np.int64), failures


def _find_lost(failures: pd.DataFrame, files: Sequence[str]) -> set[str]:
    """Return the files that could not be read at all; refuse where none could."""
    from bioprobe.sources.listing import is_of_region

    named = zip(_list_files(failures), failures["reason"], strict=True)
    lost = {file for file, reason in named if not is_of_region(reason)}
    if lost and lost >= set(files):
        raise SourceError(_explain_none(failures, len(set(files))))
    return lost


def _find_failures(store: EmbeddingStore, listed: ImageTable) -> pd.DataFrame:
    import numpy as np

    failures = store.read_failures()
    files = _list_files(listed.frame)
    return failures[np.isin(_list_files(failures), files)].reset_index(drop=True)


def _explain_none(failures: pd.DataFrame, n_files: int) -> str:
    path, reason = failures[["path", "reason"]].iloc[0]
    return f"none of {n_files:,} pictures can be read; the first, {path}: {reason}"


def _list_files(frame: pd.DataFrame) -> list[str]:
    from bioprobe.sources.listing import join

    return list(map(join, frame["root"], frame["path"]))


def _copy(
    folder: Path,
    cache: EmbeddingStore,
    listed: ImageTable,
    rows: Rows,
    kinds: Sequence[str],
) -> None:
    """Make a store of the pictures that were read, with what their source says of them."""
    import numpy as np

    from bioprobe.cells import settle_frame
    from bioprobe.images.image_table import DAMAGE_COLUMNS, FACT_COLUMNS
    from bioprobe.sources.listing import find_said
    from bioprobe.store import EmbeddingStore
    from bioprobe.store.kept import copy_kept
    from bioprobe.store.look_cache import MEASURES, LookCache

    manifest = cache.manifest
    made = EmbeddingStore.create(
        folder, manifest.encoder, dim=manifest.dim, logit_scale=manifest.logit_scale,
        has_text_tower=manifest.has_text_tower,
    )  # fmt: skip
    kept = [name for name in DAMAGE_COLUMNS if name in cache.images.frame]
    facts = cache.images.select([*FACT_COLUMNS, *kept])
    said = listed.frame.drop(columns=list(FACT_COLUMNS))
    read = np.flatnonzero(rows >= 0)
    for start in range(0, len(read), _SHARD_IMAGES):
        at = read[start : start + _SHARD_IMAGES]
        rows_said = said.iloc[at].itertuples(index=False, name=None)
        rows_known: list[dict[str, Any]] = facts.iloc[rows[at]].to_dict("records")  # type: ignore[assignment]
        frame = settle_frame(
            [
                {**find_said(dict(zip(said.columns, values, strict=True))), **find_said(known)}
                for values, known in zip(rows_said, rows_known, strict=True)
            ]
        )
        made = made.append(frame, cache.read_vectors(rows[at]))
    contents = cache.images.contents[rows[read]]
    measured, known = LookCache(cache.folder, MEASURES).read(contents)
    LookCache(folder, MEASURES).write(contents[known].tolist(), measured[known])
    for kind in kinds:
        copy_kept(cache.folder, folder, kind, contents.tolist())


def _list_unread(listed: Listing) -> pd.DataFrame:
    """Return the folders that could not be listed, and what is not read, as failures."""
    import pandas as pd

    from bioprobe.sources.listing import join
    from bioprobe.store.failures import Failure

    made = [
        Failure(root, path, why, listed.listed_by.get(join(root, path), ""))
        for root, path, why in listed.unread
    ]
    return pd.DataFrame(made, columns=list(Failure._fields), dtype=object)


def _concatenate(*failures: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(failures, ignore_index=True).astype(object)


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
    opened.lease.then(shutil.rmtree, folder, ignore_errors=True)


def count_outcomes(progress: Progress, total: int) -> Callable[[Outcome], None]:
    """Return what is told the outcome of each image, and tells the steps."""
    n_done = n_failed = 0

    def advance(outcome: Outcome) -> None:
        nonlocal n_done, n_failed
        n_done += 1
        n_failed += outcome == "failed"
        # Of a whole picture there may be several regions.
        progress(Step(n_done, max(n_done, total), "images", n_failed))

    return advance
