"""Several stores made one: shares of one run, or collections, with all that hangs on their rows.

What is known of a picture by its bytes or its name goes along: annotations, masks and splits,
failures, added taxa with their examples, looks, measures, what is kept beside vectors, texts that
were embedded, heads. What was made of all rows of one store, such as clusters, goes along where one
store alone has that name, as groups of two stores of one number are not the same; probes do so too.
What can be made again of the rows, an index, maps and evaluations, does not, and this is said.
"""

from __future__ import annotations

import collections
import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.access import is_file, list_files, list_names
from bioprobe.encoders.taught import read_training
from bioprobe.errors import MisuseError, StoreError
from bioprobe.evaluation.keeping import list_evaluations
from bioprobe.files import explaining_refusal, hash_file, replacing_folder
from bioprobe.index.index_file import NOTE_NAME
from bioprobe.learning.kept import PROBES_NAME, list_probes
from bioprobe.progress import Progress
from bioprobe.quality.description import describe_contradicting_copies
from bioprobe.result import WARNING, Note, Notes, Result
from bioprobe.sources.listing import join
from bioprobe.store import EmbeddingStore
from bioprobe.store import annotations as annotation_log
from bioprobe.store.added_taxa import AddedList
from bioprobe.store.columns import list_columns
from bioprobe.store.computed import read_column, write_column
from bioprobe.store.kept import copy_kept, list_kept
from bioprobe.store.look_cache import LOOKS, MEASURES, LookCache, list_views
from bioprobe.store.maps import list_maps
from bioprobe.store.merging import (
    MergedRows,
    check_alike,
    find_missing,
    order_rows,
    write_rows,
)
from bioprobe.store.selections import (
    GROUP,
    KEPT,
    list_selections,
    read_selection,
    write_selection,
)
from bioprobe.store.share_card import ShareCard
from bioprobe.watching.ledger import LEDGER_NAME
from bioprobe.zeroshot.examples import keep_examples, read_examples
from bioprobe.zeroshot.seen_offset import OFFSET_NAME
from bioprobe.zeroshot.text_head import HEADS_DIR, list_heads

if TYPE_CHECKING:
    import pandas as pd

# Pictures whose looks are copied at once.
_LOOKS_AT_ONCE = 65_536


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Merged(Result):
    """What came of merging stores.

    Parameters
    ----------
    store : Path
        Folder of the new store.
    n_rows : int
        Its rows.
    frame : DataFrame
        One row for each store that was merged: ``store``, ``share`` (``""`` of what is none),
        ``rows`` and ``failures``.
    n_twice : int
        Rows left out, as an earlier store has the same picture.
    missing : tuple of str
        What was missing of the shares, where it was merged all the same.
    notes : tuple of Note
        What is to be said of it.
    """

    store: Path
    n_rows: int
    frame: pd.DataFrame
    n_twice: int = 0
    missing: tuple[str, ...] = ()
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each store that was merged."""
        return self.frame


def merge_stores(
    folders: Sequence[Path],
    target: Path,
    *,
    partial: bool = False,
    progress: Progress | None = None,
) -> Merged:
    """Make one store of several; the new one is there whole, or not at all.

    Parameters
    ----------
    folders : sequence of Path
        Of the stores, which stay as they are. Shares of one run come in the order of that run,
        whatever theirs here.
    target : Path
        Folder of the new store, which is not there or empty.
    partial : bool
        Whether shares are merged where one is missing, unfinished, or saw other sources.
    progress : callable, optional
        Told how many rows are written.

    Raises
    ------
    MisuseError
        If no store, one store twice, or shares of several runs are given.
    MismatchError
        If their vectors cannot stand in one store.
    StoreError
        If a share is missing or unfinished, one is damaged, or the disk refuses.
    SourceError
        If the target holds something.
    """
    if not folders:
        msg = "no store to merge; name two or more"
        raise MisuseError(msg)
    stores = [EmbeddingStore.open(folder) for folder in folders]
    again = [
        str(one) for one, n in collections.Counter(map(Path.resolve, folders)).items() if n > 1
    ]
    if again:
        msg = f"{again[0]} is given twice; name each store once"
        raise MisuseError(msg)
    inside = [one for one in folders if target.resolve().is_relative_to(one.resolve())]
    if inside and target.resolve() != inside[0].resolve():
        msg = f"{target} lies in {inside[0]}, which stays as it is; choose a folder beside it"
        raise MisuseError(msg)
    check_alike(stores)
    missing = find_missing(stores)
    if missing and not partial:
        msg = (
            f"the shares are not complete: {'; '.join(missing)}. Run their embed commands again, "
            "or those of all shares where sources or options are not the same: they go on from "
            "where they were. --partial merges what there is"
        )
        raise StoreError(msg)
    merged = order_rows(stores)
    with replacing_folder(target) as folder:
        said = write_rows(merged, folder, progress)
        notes = (*_tell_mixed(stores), *said, *_carry(merged, EmbeddingStore.open(folder)))
    cards = [ShareCard.read(store.folder) for store in stores]
    frame = _describe(stores, cards)
    return Merged(target, len(merged), frame, len(merged.twice[0]), tuple(missing), notes)


def _describe(stores: Sequence[EmbeddingStore], cards: Sequence[ShareCard | None]) -> pd.DataFrame:
    import pandas as pd

    rows = [
        (
            str(store.folder), f"{card.number}/{card.of}" if card else "",
            len(store.rows), len(store.read_failures()),
        )
        for store, card in zip(stores, cards, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["store", "share", "rows", "failures"])


def _carry(merged: MergedRows, target: EmbeddingStore) -> list[Note]:
    """Bring all that hangs on rows into the new store, and say what does not come along."""
    said = list[Note]()
    _carry_training(merged, target)
    _carry_failures(merged, target)
    _carry_contents(merged, target)
    said += _carry_taxa(merged, target)
    _carry_annotations(merged, target)
    said += _carry_selections(merged, target)
    said += _carry_columns(merged, target)
    _carry_texts(merged, target)
    said += _carry_named(merged, target, "head", HEADS_DIR, list_heads)
    said += _carry_named(merged, target, "probe", Path(PROBES_NAME), list_probes)
    said += _carry_offset(merged, target)
    return [*said, *_tell_copies(merged, target), *_tell_left(merged)]


def _carry_training(merged: MergedRows, target: EmbeddingStore) -> None:
    found = (read_training(store.folder) for store in merged.stores)
    training = next((one for one in found if one is not None), None)
    if training is not None:
        training.write(target.folder)


def _carry_failures(merged: MergedRows, target: EmbeddingStore) -> None:
    """Bring along what no store could read; a box may fail in a picture that its store has."""
    import pandas as pd

    frames = list[pd.DataFrame]()
    for store in merged.stores:
        failed = store.read_failures()
        files = [join(*at) for at in zip(failed["root"], failed["path"], strict=True)]
        own, all_ = (_find_files(one, files) for one in (store, target))
        unread = [file in own or file not in all_ for file in map(Path, files)]
        frames.append(failed.assign(_file=files)[np.array(unread, dtype=bool)])
    together = pd.concat(frames, ignore_index=True).drop_duplicates("_file")
    if len(together):
        target.write_failures(together.drop(columns="_file").reset_index(drop=True))


def _find_files(store: EmbeddingStore, files: Sequence[str]) -> set[Path]:
    """Return those of some files that a store has rows of."""
    return set(map(store.images.find_file, store.find_rows(files).tolist()))


def _carry_contents(merged: MergedRows, target: EmbeddingStore) -> None:
    """Bring along what is known of pictures by their bytes."""
    for place, store in enumerate(merged.stores):
        rows, _ = merged.find(place)
        contents = np.unique(store.images.contents[rows])
        for kind in (LOOKS, MEASURES, *list_views(store.folder, store.manifest.dim)):
            known, new = LookCache(store.folder, kind), LookCache(target.folder, kind)
            for start in range(0, len(contents), _LOOKS_AT_ONCE):
                part = contents[start : start + _LOOKS_AT_ONCE]
                looks, there = known.read(part)
                new.write(part[there].tolist(), looks[there])
        for card in list_kept(store.folder):
            copy_kept(store.folder, target.folder, card.kind, contents.tolist())


def _carry_taxa(merged: MergedRows, target: EmbeddingStore) -> list[Note]:
    lists = [AddedList.of_store(store) for store in merged.stores]
    differ = AddedList.of_store(target).take_over(lists)
    known = set[tuple[str, ...]]()
    for store in merged.stores:
        for one in read_examples(store):
            if one.taxon.lineage not in known:
                keep_examples(target, one)
                known.add(one.taxon.lineage)
    if not differ:
        return []
    names = ", ".join(dict.fromkeys(taxon.name for taxon in differ))
    text = f"added taxa that stores say otherwise are as the first has them: {names}"
    return [Note(text, WARNING)]


def _carry_annotations(merged: MergedRows, target: EmbeddingStore) -> None:
    logs = [annotation_log.read_log(store.folder).annotations for store in merged.stores]
    if said := [one for log in logs for one in log]:
        annotation_log.append(target.folder, said)


def _carry_selections(merged: MergedRows, target: EmbeddingStore) -> list[Note]:
    """Bring masks and splits along: each says of every picture what the store of it said."""
    import pandas as pd

    several = list[str]()
    for name, places in _find_places(merged, list_selections).items():
        frames, provenances = list[pd.DataFrame](), list[dict[str, Any]]()
        for place in places:
            found = read_selection(merged.stores[place], name)
            rows, at = merged.find(place)
            frame = found.frame.iloc[rows].assign(_row=at)
            frame = frame[frame["judged"]].drop(columns="judged")
            if GROUP in frame and len(places) > 1:
                # Groups of two stores are two, whatever they are called.
                frame[GROUP] = [f"{place + 1}:{one}" for one in frame[GROUP]]
            frames.append(frame)
            provenances.append(found.provenance)
        together = pd.concat(frames, ignore_index=True).drop_duplicates("_row").sort_values("_row")
        columns = {
            str(one): together[one].to_numpy()
            for one in together.columns if one not in {KEPT, "_row"}
        }  # fmt: skip
        provenance = provenances[0]
        if len(places) > 1:
            provenance = {**provenance, "merged": provenances}
            several.append(name)
        write_selection(
            target, name, together["_row"].to_numpy(), together[KEPT].to_numpy(dtype=bool),
            columns=columns, provenance=provenance,
        )  # fmt: skip
    if not several:
        return []
    text = (
        f"masks and splits that each store made by itself: {', '.join(several)}. What is alike in "
        "two stores they do not know; make them again where that counts"
    )
    return [Note(text, WARNING)]


def _carry_columns(merged: MergedRows, target: EmbeddingStore) -> list[Note]:
    """Bring columns of clusters and orders along that one store alone has."""
    left = list[str]()
    for (kind, name), places in _find_places(
        merged, lambda store: list_columns(store.folder)
    ).items():
        if len(places) > 1:
            left.append(name)
            continue
        found = read_column(merged.stores[places[0]], name, kind)
        rows, at = merged.find(places[0])
        said = found.values[rows] != ""
        write_column(
            target, name, at[said], found.values[rows[said]], folder=kind,
            numbers=found.numbers[rows[said]], names=found.names, provenance=found.provenance,
            facts=found.facts,
        )  # fmt: skip
    return _tell_unlike("columns of clusters and orders", left, "bioprobe cluster")


def _carry_texts(merged: MergedRows, target: EmbeddingStore) -> None:
    """Bring embedded texts along: a file is named by what it holds."""
    for store in merged.stores:
        for name in list_files(store.folder / "text", ""):
            new = target.folder / "text" / name
            if not name.startswith(HEADS_DIR.name) and not new.exists():
                with explaining_refusal(new):
                    new.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(store.folder / "text" / name, new)


def _carry_named(
    merged: MergedRows,
    target: EmbeddingStore,
    what: str,
    home: Path,
    list_named: Callable[[EmbeddingStore], list[str]],
) -> list[Note]:
    """Bring along what has a folder and a name, where no other store has another of that name."""
    left = list[str]()
    for name, places in _find_places(merged, list_named).items():
        folders = [merged.stores[place].folder / home / name for place in places]
        if len({_hash_folder(one) for one in folders}) > 1:
            left.append(name)
            continue
        new = target.folder / home / name
        with explaining_refusal(new):
            shutil.copytree(folders[0], new)
    return _tell_unlike(f"{what}s", left, "what made them")


def _carry_offset(merged: MergedRows, target: EmbeddingStore) -> list[Note]:
    files = [store.folder / OFFSET_NAME for store in merged.stores]
    files = [one for one in files if is_file(one)]
    if len({hash_file(one) for one in files}) == 1:
        with explaining_refusal(target.folder):
            shutil.copyfile(files[0], target.folder / OFFSET_NAME)
        return []
    return _tell_unlike("offsets of seen classes", ["seen-offset"], "taxa measure") if files else []


def _find_places(
    merged: MergedRows, list_named: Callable[[EmbeddingStore], Sequence[Any]]
) -> dict[Any, list[int]]:
    """Return which stores have each name."""
    places = dict[Any, list[int]]()
    for place, store in enumerate(merged.stores):
        for name in list_named(store):
            places.setdefault(name, []).append(place)
    return places


def _hash_folder(folder: Path) -> str:
    return hash_file(*(folder / name for name in list_names(folder)))


def _tell_unlike(what: str, names: Sequence[str], command: str) -> list[Note]:
    if not names:
        return []
    text = (
        f"left out, as several stores have others of one name: {what} {', '.join(names)}; make "
        f"them again with {command}"
    )
    return [Note(text, WARNING)]


def _tell_mixed(stores: Sequence[EmbeddingStore]) -> list[Note]:
    """Say where vectors are not alike to the last digit, of which the new store names one way."""
    said = []
    for name in ("precision", "decoding"):
        ways = collections.Counter[str]()
        for store in stores:
            if len(store.rows):
                ways[getattr(store.manifest.encoder, name)] += len(store.rows)
        if len(ways) > 1:
            shares = ", ".join(f"{n:,} by {way}" for way, n in ways.items())
            text = f"vectors are of several kinds of {name}, alike but in the last digits: {shares}"
            said.append(Note(text, WARNING))
    return said


def _tell_copies(merged: MergedRows, target: EmbeddingStore) -> Notes:
    """Say which copies contradict each other: where they are of two stores, nobody saw both."""
    copies = np.flatnonzero(merged.vectors != np.arange(len(merged)))
    if not len(copies):
        return ()
    rows = np.unique(np.concatenate([merged.vectors[copies], copies]))
    return describe_contradicting_copies(target.images, rows)


def _tell_left(merged: MergedRows) -> list[Note]:
    """Say what is made of all rows of a store, and does not come along."""
    counts = collections.Counter[str]()
    for store in merged.stores:
        counts["evaluations"] += len(list_evaluations(store))
        counts["maps"] += len(list_maps(store.folder))
        counts["indexes"] += is_file(store.folder / NOTE_NAME)
        counts["ledgers of bioprobe watch"] += is_file(store.folder / LEDGER_NAME)
        counts["removals, which cannot be undone there"] += len(store.manifest.removals)
    left = [f"{what} ({n:,})" for what, n in counts.items() if n]
    return [Note(f"not in the merged store: {', '.join(left)}", WARNING)] if left else []
