"""Rows that go: removed, brought back, and gone for good."""

from __future__ import annotations

import dataclasses
import gc
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.errors import MisuseError, SelectionError
from bioprobe.face.opened import Opened, find_texts
from bioprobe.files import read_lines
from bioprobe.options import Option, RowNumbers, Without, list_given, question
from bioprobe.progress import Progress
from bioprobe.result import PROBLEM, WARNING, Note, Table, count, name_some

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.store import EmbeddingStore
    from bioprobe.types import Rows
    from bioprobe.upkeep import Compaction, Removed

ALL = "all"

Confirm = Callable[[Sequence[str], str], bool]


class Removes(Opened):
    """What takes rows out of a store."""

    @question
    def remove(
        self,
        *,
        row: RowNumbers = None,
        paths: Annotated[
            str | Path | Sequence[str | Path] | None,
            Option(
                "FILE with the paths of pictures, one a line; - for standard input. All regions "
                "of a picture go with it.",
                shell=str,
                metavar="FILE",
            ),
        ] = None,
        undo: Annotated[
            str | None,
            Option(
                "Bring back what a removal took, by its number, or all: see bioprobe store "
                "removed. What was compacted is gone.",
                when=(Without("row", "paths"),),
                metavar="NUMBER|all",
            ),
        ] = None,
        dry_run: Annotated[
            bool,
            Option(
                "Say what would be removed, and what hangs on it; change nothing.",
                when=(Without("undo"),),
            ),
        ] = False,
        ask_first: Confirm | None = None,
    ) -> Removed:
        """Remove rows from the store, undone until :meth:`compact`.

        No question is answered with them any more. Masks, splits, probes and evaluations that hold
        them go on working, and the notes say which do. The pictures are not touched, and are
        embedded again where a later run lists them.

        Parameters
        ----------
        row : int or sequence of int, optional
            Rows of the store. What :meth:`where` chose is removed without.
        paths : sequence of str or Path, optional
            Pictures, as the store or an answer names them, or where their files lie; or one text
            or path, a file that lists them, one a line (``-``: standard input).
        undo : str, optional
            Number of a removal to bring back, or ``all``. What was embedded again since stays as
            it is.
        dry_run : bool
            Whether nothing is changed.
        ask_first : callable, optional
            Asked before anything is changed: of lines that say what is to go, and a question.

        Raises
        ------
        MisuseError
            If nothing says which rows; a whole store is removed by a condition that all meet.
        SelectionError
            If the store has no such rows.
        StoreLockedError
            If another process is writing to the store.

        Examples
        --------
        >>> store.where("site == 'camp'").remove()  # doctest: +SKIP
        >>> store.remove(paths=["people/0001.jpg"])  # doctest: +SKIP
        """
        from bioprobe.upkeep import Removed, count_copies, describe_hanging, remove_rows

        if undo is not None:
            return self._undo(undo)
        store = self._view.store
        rows, failed, said = self._choose(list_given(row), paths)
        hanging = describe_hanging(store, rows)
        frame = store.images.frame.iloc[rows]
        found = Removed(
            self.folder, None, tuple(store.images.name_files(rows)),
            tuple(frame["image_region"].astype(str)), rows, hanging,
        )  # fmt: skip
        lines = [_describe_rows(store, rows, failed), *_describe_hanging(hanging)]
        n_copies = count_copies(store, rows)
        if n_copies:
            lines.append(
                f"{n_copies:,} rows of the same bytes stay, in other files; bioprobe dedupe "
                "lists them"
            )
        if dry_run:
            return found.say([*said, *map(Note, lines), Note("nothing was changed")])
        if ask_first is not None and not ask_first([*map(str, said), *lines], "Remove them?"):
            declined = dataclasses.replace(found, is_declined=True)
            return declined.say([Note("nothing was removed", PROBLEM)])
        removed, number = remove_rows(store, rows, failed)
        left = ~_is_in(self._view.rows, rows)
        self._view = dataclasses.replace(
            self._view, store=removed.counting(store.counts), rows=self._view.rows[left]
        )
        done = (
            f"removed as number {number}; bring them back with: bioprobe store remove --undo "
            f"{number}. They are gone for good with: bioprobe store compact"
        )
        told = () if ask_first is not None else (*said, *map(Note, lines))
        return dataclasses.replace(found, number=number).say([*told, Note(done)])

    def _choose(
        self, numbers: Sequence[int], paths: str | Path | Sequence[str | Path] | None
    ) -> tuple[Rows, list[str], list[Note]]:
        """Return the rows that are named, failures that are, and what is to be said of the rest."""
        import numpy as np

        from bioprobe.upkeep import find_paths, find_rows

        store, view = self._view.store, self._view
        if not numbers and paths is None:
            if view.is_whole:
                msg = (
                    "say which rows go: --where, --mask, --row or --paths; for all of them "
                    "--where \"path != ''\""
                )
                raise MisuseError(msg)
            return view.rows, [], []
        rows, failed, said = find_rows(store, numbers), list[str](), list[Note]()
        if paths is not None:
            listed = _read_paths(paths)
            found, failed, unknown = find_paths(store, listed)
            rows = np.union1d(rows, found)
            if unknown:
                text = (
                    f"{len(unknown):,} of {len(listed):,} paths are not in {self.folder}: "
                    f"{name_some(unknown)}"
                )
                said.append(Note(text, PROBLEM))
            if not len(rows) and not failed:
                msg = f"none of {len(listed):,} paths is in {self.folder}: {name_some(unknown)}"
                raise SelectionError(msg)
        chosen = rows[_is_in(rows, view.rows)]
        if len(rows) and not len(chosen):
            msg = f"none of the {len(rows):,} rows that are named is among those that are chosen"
            raise SelectionError(msg)
        return chosen, failed, said

    def _undo(self, undo: str) -> Removed:
        from bioprobe.store import EmbeddingStore
        from bioprobe.store.view import View
        from bioprobe.store.writing import QUICK_WAIT_S
        from bioprobe.upkeep import Removed, describe_hanging

        with self._view.store.lock(wait_s=QUICK_WAIT_S):
            before = EmbeddingStore.open(self.folder)
            numbers = {one.number for one in before.manifest.removals}
            if undo != ALL:
                if not undo.isdigit():
                    msg = f"--undo is the number of a removal, or {ALL}; got {undo!r}"
                    raise MisuseError(msg)
                numbers = {int(undo)}
            if not numbers:
                msg = f"nothing was removed from {self.folder} since it was last compacted"
                raise SelectionError(msg)
            after = before.undo_removals(numbers).counting(self._view.store.counts)
        rows = after.rows[~_is_in(after.rows, before.rows)]
        n_removed = sum(len(one.rows) for one in before.manifest.removals if one.number in numbers)
        self._view = View.all(after)
        said = [Note(f"{len(rows):,} rows of {self.folder} are back")]
        if len(rows) < n_removed:
            text = f"{n_removed - len(rows):,} were embedded again since, and stay as they are now"
            said.append(Note(text))
        frame = after.images.frame.iloc[rows]
        return Removed(
            self.folder, None, tuple(after.images.name_files(rows)),
            tuple(frame["image_region"].astype(str)), rows, describe_hanging(after, rows),
        ).say(said)  # fmt: skip

    def removed(self) -> Table:
        """List what was removed and can be brought back, one removal a row."""
        from bioprobe.upkeep import list_removals

        frame = list_removals(self._view.store)
        return Table(frame).say([] if len(frame) else [f"nothing is removed from {self.folder}"])

    @question
    def compact(
        self,
        *,
        shard_rows: Annotated[
            int | None,
            Option(
                "Rows of a shard, at most; by default as many as make 256 MB of vectors.", least=1
            ),
        ] = None,
        dry_run: Annotated[
            bool, Option("Say what would go and how much space that saves; change nothing.")
        ] = False,
        progress: Progress | None = None,
        tell: Callable[[str], object] | None = None,
    ) -> Compaction:
        """Join small shards, and make what was removed be gone.

        Rows that were removed, and those that newer ones replaced, are left out; the others keep
        their order. Nothing in the store quotes what is gone: no vector, path, look or text that
        only it had, no example of a probe, no line of an evaluation or of the failures. Programs
        that have the store open read on what they opened.

        Parameters
        ----------
        shard_rows : int, optional
            Rows of a shard, at most.
        dry_run : bool
            Whether nothing is changed.
        progress : callable, optional
            Told how many rows are written.
        tell : callable, optional
            Told, before anything is written, how much space that takes.

        Raises
        ------
        StoreLockedError
            If another process is writing to the store.
        StoreError
            If a part of the store is damaged, or the disk refuses; the store is then as it was.
        """
        from bioprobe.store import EmbeddingStore
        from bioprobe.store.view import View
        from bioprobe.upkeep import compact_store

        folder, counts = self.folder, self._view.store.counts
        if dry_run:
            planned = compact_store(folder, shard_rows=shard_rows, is_trial=True)
            return planned.say([*_tell_compaction(planned), Note("nothing was changed")])
        # What holds the old shards is let go: they are read no more.
        nothing: Any = None
        self._view = self._find_texts = nothing
        gc.collect()
        try:
            done = compact_store(folder, shard_rows=shard_rows, progress=progress, tell=tell)
        finally:
            opened = EmbeddingStore.open(folder).counting(counts)
            self._view = View.all(opened)
            self._find_texts = find_texts(opened, self._model, self._device)
        return done.say(_tell_compaction(done))


def _is_in(rows: Rows, others: Rows) -> Any:  # noqa: ANN401 - a mask
    import numpy as np

    return np.isin(rows, others)


def _read_paths(paths: str | Path | Sequence[str | Path]) -> list[str]:

    if not isinstance(paths, str | Path):
        return [str(path) for path in paths]
    if str(paths) != "-":
        return [line for line in read_lines(Path(paths)) if line]
    text = sys.stdin.read()
    parts = text.split("\0") if "\0" in text else text.splitlines()
    return [part for part in parts if part.strip()]


def _describe_rows(store: EmbeddingStore, rows: Rows, failed: Sequence[str]) -> str:
    from bioprobe.upkeep import count_regions

    names = list(dict.fromkeys(store.images.name_files(rows).tolist()))
    said = f"{len(rows):,} of {len(store.rows):,} rows of {store.folder}"
    said += f", of {len(names):,} pictures: {name_some(names)}" if names else ""
    n_others = count_regions(store, rows)
    if n_others:
        said += f"; {n_others:,} other regions of these stay"
    if failed:
        said += f"; and {len(failed):,} lines of failures"
    return said


def _describe_hanging(hanging: pd.DataFrame) -> list[str]:
    return [
        f"{what} {name}: {n:,} of them; once compacted it {becomes}"
        if n
        else f"{what} {name} {becomes}"
        for what, name, n, becomes in hanging.to_numpy().tolist()
    ]


_SAID = {
    "columns": "columns of clusters are without them",
    "selections": "masks and splits without them",
    "maps": "maps without them",
    "probes": "probes without their vectors and marks",
    "evaluations": "evaluations that list them no more",
    "examples": "example pictures of added taxa gone",
    "prototypes": "heads of image prototypes gone, which were made of some of them",
    "texts": "kept texts gone",
    "looks": "kept looks gone",
    "kept": "projection inputs and tokens gone",
    "measures": "kept measures gone",
    "views": "kept vectors of views gone",
    "annotations": "annotations of what is gone, gone with it",
    "failures": "lines of failures gone",
    "alerts": "alerts of a watch, which nobody was told yet, gone",
    "damaged shards": "shards that a repair had laid aside gone, which held them or may have",
}


def _tell_compaction(found: Compaction) -> list[Note]:
    verb = "are" if found.is_done else "would be"
    n_gone = found.n_removed + found.n_retired
    if not found.is_done and not n_gone and found.needed_bytes == found.saved_bytes == 0:
        n_shards = count(found.n_before, "shard")
        text = f"{found.store} is compact: {count(found.n_rows, 'row')} in {n_shards}"
        said = [Note(text)]
    else:
        said = [
            Note(
                f"{found.n_rows:,} rows {verb} in {found.n_after:,} shards, of {found.n_before:,}; "
                f"{found.n_removed:,} removed and {found.n_retired:,} replaced rows {verb} gone; "
                f"{found.saved_bytes:,} bytes less"
            )
        ]
        if not found.is_done:
            text = f"{found.needed_bytes:,} bytes are written before anything goes"
            said.append(Note(text))
    said += [Note(f"{n:,} {_SAID[name]}") for name, n in found.counts.items() if n]
    said += [Note(one, WARNING) for one in found.forgotten]
    if found.is_waiting:
        text = (
            "somebody has the store open as it was: the old files, and in them what was removed, "
            "go with the next command that writes or compacts after that has ended"
        )
        said.append(Note(text, PROBLEM))
    return said
