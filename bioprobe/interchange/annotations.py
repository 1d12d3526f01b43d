"""Annotations as other programs have them: which image of a store each is of, and who says what."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from bioprobe.access import is_file
from bioprobe.content import CONTENT, Content, read_content
from bioprobe.errors import MisuseError, SelectionError, SourceError
from bioprobe.files import disarm_cell, hash_file, read_json, replacing
from bioprobe.images.regions import REGION, get_box
from bioprobe.result import WARNING, Note
from bioprobe.sources.listing import join
from bioprobe.store import EmbeddingStore
from bioprobe.store.annotations import IS, UNSURE, Unit
from bioprobe.store.labels import list_units
from bioprobe.tables import TABLE_SUFFIXES, open_table
from bioprobe.taxonomy import RANKS
from bioprobe.taxonomy.columns import FROM_MACHINE, LABEL, LABELS_FROM, spell_column

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.sources.listing import Listing

#: Columns of a table of annotations that say which image each is of.
PLACES = ("row", "path", "file_name", "file", "filename", "filepath")
# Who labelled a picture and when, in the columns of field formats, as spell_column writes them.
_PEOPLE = ("classifiedby", "identifiedby", "annotator", "annotatedby", "labelledby", "labeledby")
_TIMES = ("classificationtimestamp", "dateidentified", "annotatedat", "labelledat")
# What Wildlife Insights calls its own classifier where it names who identified a picture.
_MACHINES = {"computer vision"}
_WRITTEN = (".csv", ".json", ".parquet")
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Entry:
    """An annotation as a file has it.

    Parameters
    ----------
    where : str
        Where in the file, such as ``line 7``.
    said : mapping
        What it says: ``path`` or ``row``, ``level``, ``value``, ``verdict``, ``by``, ``at`` …
    """

    where: str
    said: Mapping[str, Any]


class Units:
    """Finds what images of a store are called, by themselves and by other programs.

    Parameters
    ----------
    store : EmbeddingStore
        Whose current rows are looked through; each once.
    """

    def __init__(self, store: EmbeddingStore) -> None:
        self._store = store

    def find(self, path: str, region: str = "", *, root: str = "", sha256: str = "") -> Unit:
        """Return the image or region of a name.

        The name is the whole path, the one that the store or an answer has, or the end of one,
        where no other has the same. An image of the same bytes is the same under any name.

        Parameters
        ----------
        path, region : str
        root, sha256 : str
            Where they are known.

        Raises
        ------
        SelectionError
            If there is none, or several.
        """
        name = path.replace("\\", "/") if "\\" in path else path
        found = self._by_name.get(join(root, name) if root else name) or self._by_name.get(name)
        found = found or self._by_name.get(os.path.realpath(join(root, name)))
        found = found or self._find_by_bytes(sha256, Path(join(root, name)))
        found = found or self._find_by_end(name)
        if sha256:
            same = [one for one in found or [] if one.sha256 in ("", sha256)]
            found = same or self._find_by_bytes(sha256, None)
        if not found:
            msg = f"{self._store.folder} has no image {path!r}"
            raise SelectionError(msg)
        return self._choose(path, region, found)

    def _choose(self, path: str, region: str, found: list[Unit]) -> Unit:
        exact = [one for one in found if one.region == region]
        pictures = {(one.root, one.path) for one in found}
        if len(exact) == 1:
            return exact[0]
        if len(pictures) > 1:
            names = ", ".join(sorted(join(*one) for one in pictures)[:_SHOWN])
            msg = f"{path!r} is {len(pictures):,} images of {self._store.folder}: {names}; say root"
            raise SelectionError(msg)
        if len(found) == 1:
            # Said of the whole picture, or of a box of it that the store has no row for.
            return found[0]
        known = ", ".join(repr(one.region) for one in found[:_SHOWN])
        msg = f"{path!r} has {len(found):,} regions, and none is {region!r}; it has {known}"
        raise SelectionError(msg)

    def _find_by_end(self, name: str) -> list[Unit]:
        parts = PurePath(name).parts[::-1]
        found: dict[int, list[Unit]] = {}
        for unit in self._by_last.get(parts[0] if parts else "", []):
            own = PurePath(join(unit.root, unit.path)).parts[::-1]
            n = next((at for at, pair in enumerate(zip(own, parts, strict=False))
                      if pair[0] != pair[1]), min(len(own), len(parts)))  # fmt: skip
            # Cameras call their first pictures the same: a folder at least must agree.
            if n == len(parts) or n >= max(2, len(PurePath(unit.path).parts)):
                found.setdefault(n, []).append(unit)
        return found[max(found)] if found else []

    def _find_by_bytes(self, sha256: str, file: Path | None) -> list[Unit]:
        if not sha256 and file is not None and file.is_absolute() and is_file(file):
            sha256 = hash_file(file)
        return self._by_bytes.get(sha256, []) if sha256 else []

    @cached_property
    def _all(self) -> list[Unit]:
        return list_units(self._store.given, self._store.rows)

    @cached_property
    def _by_name(self) -> dict[str, list[Unit]]:
        names = self._store.given.name_files(self._store.rows).tolist()
        found: dict[str, dict[Unit, None]] = {}
        for unit, name in zip(self._all, names, strict=True):
            for one in {unit.path, name, join(unit.root, unit.path)}:
                found.setdefault(one, {})[unit] = None
        return {name: list(units) for name, units in found.items()}

    @cached_property
    def _by_last(self) -> dict[str, list[Unit]]:
        found: dict[str, list[Unit]] = {}
        for unit in self._all:
            found.setdefault(PurePath(unit.path).name, []).append(unit)
        return found

    @cached_property
    def _by_bytes(self) -> dict[str, list[Unit]]:
        found: dict[str, list[Unit]] = {}
        for unit in self._all:
            if unit.sha256:
                found.setdefault(unit.sha256, []).append(unit)
        return found


def read_entries(
    file: Path, level: str | None = None, path_column: str | None = None
) -> tuple[list[Entry], list[tuple[str, str]], list[Note]]:
    """Read annotations of a file.

    A table with a column ``value`` is one of annotations, as :func:`bioprobe.Store.annotations`
    returns it. Anything else that lists pictures with labels says of each picture what a person
    labelled it with; labels that a machine gave are left out.

    Parameters
    ----------
    file : Path
        Table (CSV and its kin, Parquet, JSON, workbook), or whatever :func:`bioprobe.embed` takes
        labels from: Camtrap DP, COCO, Timelapse, Wildlife Insights, Darwin Core.
    level : str, optional
        Rank or column that is taken; by default the lowest rank that a picture is labelled at.
    path_column : str, optional
        Column that names the picture, of a table that is none of annotations.

    Returns
    -------
    entries : list of Entry
    problems : list of (str, str)
        Where, and why it says nothing.
    notes : list of Note

    Raises
    ------
    SourceError
        If it cannot be read.
    """
    own = _read_own(file, level)
    if own is not None:
        return own
    from bioprobe.sources.source import SourceOptions, find_images

    options = SourceOptions(allow_outside=True, path_column=path_column)
    return _take_listing(find_images([file], options), level)


def _read_own(
    file: Path, level: str | None
) -> tuple[list[Entry], list[tuple[str, str]], list[Note]] | None:
    """Return the annotations of a table of such; None where it is none."""
    frame: pd.DataFrame | None = None
    place: Callable[[int], str] = _count_rows
    notes: list[Note] = []
    if file.suffix.lower() == ".json" and is_file(file):
        from bioprobe.cells import settle_frame

        try:
            found = read_json(file)
        except (OSError, ValueError) as error:
            msg = f"{file} cannot be read as annotations: {error}"
            raise SourceError(msg) from error
        found = found.get("rows") if isinstance(found, dict) else found
        is_rows = isinstance(found, list) and all(isinstance(one, dict) for one in found)
        frame = settle_frame(found) if is_rows and found else None
    elif file.suffix.lower() in TABLE_SUFFIXES:
        opened = open_table(file, text=("id", "value", "path", "file_name", "by"))
        frame, place, notes = opened.frame, opened.place, list(opened.notes)
    if frame is None or "value" not in frame or not {*PLACES} & {*map(str, frame.columns)}:
        return None
    entries = []
    records = frame.astype(object).where(frame.notna(), None).to_dict("records")
    for number, record in enumerate(records):
        said = {_name_field(str(name)): value for name, value in record.items()}
        if level is None or str(said.get("level") or level) == level:
            entries.append(Entry(place(number), {"level": level, **_drop_holes(said)}))
    return entries, [], notes


def _count_rows(row: int) -> str:
    return f"row {row + 1}"


def _name_field(name: str) -> str:
    return "path" if name in PLACES[1:] else "region" if name == REGION else name


def _drop_holes(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value is not None and value == value}


def _take_listing(
    listing: Listing, level: str | None
) -> tuple[list[Entry], list[tuple[str, str]], list[Note]]:
    """Return what people labelled the pictures of a listing with."""
    frame = listing.frame
    columns = {spell_column(name): name for name in frame.columns}
    people = _pick(frame, columns, _PEOPLE)
    times = _pick(frame, columns, _TIMES)
    rows = frame.astype(object).where(frame.notna(), "").to_dict("records")
    n_of = _count_labels(rows, level)
    entries: list[Entry] = []
    problems: list[tuple[str, str]] = []
    n_machine = n_empty = 0
    for place, row in enumerate(rows):
        name = join(row["root"], row["path"])
        maker = str(row.get(LABELS_FROM, ""))
        if maker.startswith(FROM_MACHINE) or people[place].casefold() in _MACHINES:
            n_machine += 1
            continue
        said = _find_said(row, level)
        if said is None:
            n_empty += 1
            continue
        region = str(row.get(REGION, ""))
        if len(n_of[name, get_box(region)]) > 1:
            problems.append((name, "it has several labels, and it is not known which one holds"))
            continue
        at = {"at": times[place]} if times[place] else {}
        # Several people who say the same, as Darwin Core writes them.
        for person in [one.strip() for one in people[place].split("|") if one.strip()] or [""]:
            by = {"by": person} if person else {}
            where = {"root": row["root"], "path": row["path"], "region": region}
            entries.append(Entry(name, {**where, **said, **by, **at}))
    notes = list(listing.notes)
    if n_machine:
        notes.append(Note(f"{n_machine:,} labels that a machine gave are left out", WARNING))
    if n_empty:
        notes.append(Note(f"{n_empty:,} pictures have no label at {level or 'any rank'}"))
    return entries, problems, notes


def _count_labels(
    rows: list[dict[Any, Any]], level: str | None
) -> dict[tuple[str, str], set[tuple[str, str]]]:
    found: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for row in rows:
        said = _find_said(row, level)
        key = (join(row["root"], row["path"]), get_box(str(row.get(REGION, ""))))
        found.setdefault(key, set())
        if said is not None:
            found[key].add((said["level"], said["value"]))
    return found


def _find_said(row: Mapping[Any, Any], level: str | None) -> dict[str, str] | None:
    """Return level, value and verdict of a labelled picture; None where it has no label."""
    if level is not None:
        value = str(row.get(level, "") or "")
        return {"level": level, "value": value, "verdict": IS} if value else None
    content = read_content(str(row.get(CONTENT, "") or ""))
    if content in (Content.BLANK, Content.VEHICLE, Content.HUMAN):
        return {"level": CONTENT, "value": str(content), "verdict": IS}
    for rank in reversed(RANKS):
        if value := str(row.get(rank.value, "") or ""):
            return {"level": rank.value, "value": value, "verdict": IS}
    if value := str(row.get(LABEL, "") or ""):
        return {"level": LABEL, "value": value, "verdict": IS}
    if content == Content.UNKNOWN:
        return {"level": RANKS[-1].value, "value": "", "verdict": UNSURE}
    return None


def _pick(frame: pd.DataFrame, columns: Mapping[str, str], names: tuple[str, ...]) -> list[str]:
    """Return of each row the first of several columns that says anything."""
    there = [columns[name] for name in names if name in columns]
    found = [""] * len(frame)
    for name in reversed(there):
        values = frame[name].astype(object).where(frame[name].notna(), "").tolist()
        found = [str(value) or before for value, before in zip(values, found, strict=True)]
    return found


def make_id(unit: Unit, said: Mapping[str, Any]) -> str:
    """Return the id of what a file says, the same each time that it is read."""
    named = (
        *unit,
        *(str(said.get(name, "")) for name in ("level", "value", "verdict", "by", "at")),
    )
    text = "\0".join(named).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()[:32]


def write_table(frame: pd.DataFrame, target: Path, *, safe: bool = False) -> None:
    """Write a table of annotations as what its name ends in.

    Parameters
    ----------
    frame : DataFrame
    target : Path
        ``.csv``, ``.json`` or ``.parquet``.
    safe : bool
        Whether cells of a CSV that a spreadsheet would compute are disarmed.

    Raises
    ------
    MisuseError
        If it ends in something else.
    StoreError
        If the disk refuses.
    """
    ending = target.suffix.lower()
    if ending not in _WRITTEN or (safe and ending != ".csv"):
        msg = f"annotations are written as {', '.join(_WRITTEN)}, got {target}; name it so"
        if ending in _WRITTEN:
            msg = f"--safe-csv is for CSV, got {target}"
        raise MisuseError(msg)
    with replacing(target) as temporary:
        if ending == ".csv":
            written = frame.map(disarm_cell) if safe else frame
            written.to_csv(temporary, index=False)
        elif ending == ".parquet":
            frame.to_parquet(temporary, index=False)
        else:
            rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
            text = json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False)
            temporary.write_text(text + "\n", encoding="utf-8", errors="surrogatepass")
