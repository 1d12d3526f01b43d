"""What sources say of pictures, and the rule by which what several say is put together.

Of one picture a source says a lineage (the seven ranks and the common name, as one value) where it
has a column of a rank, and a value of each free column that it has. In one run the order of the
sources does not matter:

- what only one source says is taken; an empty cell says nothing beside one that is filled, and a
  common name without any rank goes with the lineage that another says;
- a label that a person wrote wins over one that was made from a folder's name, and that over one
  that a machine made (``labels_from`` is ``machine:…``), however deep;
- of two lineages that tables wrote the deeper one wins, then the one with more names, then the
  first by its letters; of two values of another column the smaller. Unless the one says all that
  the other does, that is a conflict, and is counted and said.

Over several runs a source replaces what the store has in the columns that the source has, and an
empty cell empties; columns that it has not are left as they were. A machine's label replaces no
other. A label that was made from a
folder's name neither replaces one that a table wrote nor is emptied by a table. A lineage that a
taxon list gave for a label stays as long as the label does, and goes with it.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.cells import write_cell
from bioprobe.images.image_table import (
    COLUMNS,
    LOCATION_COLUMNS,
    ImageTable,
    concatenate,
)
from bioprobe.images.location import ImageLocation, find_file
from bioprobe.images.regions import DETECTION_CONFIDENCE, REGION, get_box, get_number
from bioprobe.options import RANK_NAMES
from bioprobe.result import WARNING, Note, Notes
from bioprobe.taxonomy.columns import (
    COMMON_NAME,
    FROM_FOLDER,
    FROM_LIST,
    FROM_MACHINE,
    LABEL_COLUMNS,
    LABELS_FROM,
    SIDE_COLUMNS,
)

if TYPE_CHECKING:
    import pandas as pd

Lineage = tuple[str, ...]
Positions = npt.NDArray[np.int64]

# Pictures that a note names one by one.
_SHOWN = 3
# What of a name is no rank goes with the label that a folder's name makes.
_BESIDE = SIDE_COLUMNS


@dataclasses.dataclass(frozen=True)
class Part:
    """Rows of a source that all have the same columns.

    Parameters
    ----------
    frame : DataFrame
        ``root`` and ``path``; columns of ranks and of the common name where the source has any;
        free columns. An empty cell of a column that is there says that nothing is known.
    name : str
        Of the source, for notes.
    is_derived : bool
        Whether the labels were made from names of folders; nobody wrote them.
    reasons : mapping of str to str
        Why a file was not found, by its path.
    unread : tuple of (str, str, str)
        Root and path, as in the frame, of what is no row because it is not read, and why: a folder
        that cannot be listed, a file that a table may not name.
    notes : tuple of Note
        What is to be said of the rows.
    source : str
        What lists the pictures, and all of them; empty where they were named themselves.
    is_named : bool
        Whether a person named the files: each, by a list, or by a folder that they lie in.
    has_detections : bool
        Whether the source says boxes, even where all of them were left out.
    home : str
        Folder below which the source may name files; ``""`` for the one that it lies in.
    """

    frame: pd.DataFrame
    name: str = ""
    is_derived: bool = False
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unread: tuple[tuple[str, str, str], ...] = ()
    notes: Notes = ()
    source: str = ""
    is_named: bool = False
    has_detections: bool = False
    home: str = ""

    @property
    def said(self) -> Said:
        """What the source has a column of."""
        names = [str(column) for column in self.frame.columns]
        free = frozenset(n for n in names if n not in COLUMNS or n == COMMON_NAME)
        if self.is_derived:
            derives = any(name in names for name in (*LABEL_COLUMNS, *_BESIDE))
            return Said(False, free - {COMMON_NAME, *_BESIDE}, derives)
        return Said(any(rank in names for rank in RANK_NAMES), free)


@dataclasses.dataclass(frozen=True)
class Said:
    """What the sources of a run have a column of, for one picture.

    Parameters
    ----------
    lineage : bool
        Whether a table has a column of a rank.
    columns : frozenset of str
        Free columns, and ``common_name`` where there is one.
    derives : bool
        Whether a label was made from the name of the picture's folder.
    """

    lineage: bool = False
    columns: frozenset[str] = frozenset()
    derives: bool = False

    @classmethod
    def infer(cls, values: Mapping[str, Any]) -> Said:
        """Take what is filled for all that is said."""
        filled = find_said(values)
        free = frozenset(n for n in filled if n not in COLUMNS or n == COMMON_NAME)
        if filled.get(LABELS_FROM) == FROM_FOLDER:
            return cls(False, free - {COMMON_NAME, *_BESIDE}, True)
        return cls(any(rank in filled for rank in RANK_NAMES), free)

    def __or__(self, other: Said) -> Said:
        return Said(
            self.lineage or other.lineage,
            self.columns | other.columns,
            self.derives or other.derives,
        )

    def replace(self, stored: Mapping[str, Any], listed: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is known of a picture after a run.

        Parameters
        ----------
        stored : mapping
            What the store has in columns of labels and free ones.
        listed : mapping
            What the sources of the run say together.

        Returns
        -------
        dict
            The values that are filled.
        """
        known, new = find_said(stored), find_said(listed)
        gives, origin = any(rank in new for rank in RANK_NAMES), str(known.get(LABELS_FROM, ""))
        if (
            str(new.get(LABELS_FROM, "")).startswith(FROM_MACHINE)
            and not origin.startswith(FROM_MACHINE)
            and any(rank in known for rank in RANK_NAMES)
        ):
            new = {n: v for n, v in new.items() if n not in {*LABEL_COLUMNS, *_BESIDE, LABELS_FROM}}
            kept = {n: v for n, v in known.items() if n in {*LABEL_COLUMNS, *_BESIDE, LABELS_FROM}}
            return (
                dataclasses.replace(
                    self,
                    lineage=False,
                    columns=self.columns - {COMMON_NAME, *_BESIDE},
                    derives=False,
                ).replace(known, new)
                | kept
            )
        was_found = origin.startswith(FROM_LIST)
        if was_found and not gives:
            column = origin.removeprefix(FROM_LIST)
            says = column in self.columns or (self.derives and column in _BESIDE)
            if not says or is_same(known.get(column), new.get(column)):
                # What a list gave for a label stays as long as the label does.
                kept = {name: value for name, value in known.items() if name not in self.columns}
                return kept | {name: new[name] for name in new if name in self.columns}
            known = {n: v for n, v in known.items() if n not in {*LABEL_COLUMNS, LABELS_FROM}}
            was_found = False
        was_derived = origin == FROM_FOLDER
        is_made = was_derived or was_found
        had_written = not is_made and any(rank in known for rank in RANK_NAMES)
        derives = self.derives and not had_written
        takes = (not is_made or gives) if self.lineage else derives
        kept = dict(known)
        if takes:
            left_out = {*RANK_NAMES, LABELS_FROM}
            # One that stands beside no written rank is what a table of common names alone said.
            if COMMON_NAME in self.columns or had_written or was_found:
                left_out.add(COMMON_NAME)
            kept = {name: value for name, value in kept.items() if name not in left_out}
            if was_derived:
                left_out |= set(_BESIDE) - self.columns
                kept = {name: value for name, value in kept.items() if name not in left_out}
            names = (*LABEL_COLUMNS, LABELS_FROM, *(_BESIDE if LABELS_FROM in new else ()))
            kept = {name: new[name] for name in names if name in new} | kept
        columns = self.columns - ({COMMON_NAME} if takes else set())
        kept = {name: value for name, value in kept.items() if name not in columns}
        # In the order of the listing's columns.
        return kept | {name: value for name, value in new.items() if name in columns}


def find_said(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are neither empty nor missing.

    Parameters
    ----------
    values : mapping
        Column to value, of any type that a table may hold.

    Examples
    --------
    >>> find_said({"family": "Felidae", "genus": "", "site": None, "count": 0})
    {'family': 'Felidae', 'count': 0}
    """
    return {name: value for name, value in values.items() if _says(value)}


def is_same(one: object, other: object) -> bool:
    """Tell whether two values of a column are the same, whatever type a table made of them.

    A list is the array that it comes back as from Parquet. Where one is text and the other none,
    as after a column of numbers was joined to one of names, their texts are compared.
    """
    one, other = _plain(one), _plain(other)
    if isinstance(one, str) != isinstance(other, str):
        return write_cell(one) == write_cell(other)
    return bool(one == other)


def _says(value: object) -> bool:
    import pandas as pd

    if not pd.api.types.is_scalar(value):
        return value is not None
    return not (pd.isna(value) or value == "")  # type: ignore[call-overload]


def find_filled(values: pd.Series[Any]) -> npt.NDArray[np.bool_]:
    """Tell which values of a column are neither empty nor missing."""
    try:
        return (values.notna() & ~values.isin([""])).to_numpy(dtype=bool)
    except TypeError:  # lists, which have no hash
        return values.map(_says).to_numpy(dtype=bool)


def _plain(value: object) -> object:
    # A list comes back from Parquet as an array, which compares element by element.
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value


def get_lineage(values: Mapping[str, Any]) -> Lineage:
    """Return the seven ranks and the common name, ``""`` where unknown."""
    known = find_said(values)
    return tuple(str(known.get(name, "")) for name in LABEL_COLUMNS)


@dataclasses.dataclass(frozen=True)
class Listing(ImageTable):
    """Pictures that sources list, each once.

    Parameters
    ----------
    frame : DataFrame
        As in :class:`~bioprobe.images.ImageTable`, without facts.
    says : mapping of str to Said
        What the sources have a column of, by the path of the file; what is not here says what is
        filled.
    reasons : mapping of str to str
        Why a file was not found, by its path.
    unread : tuple of (str, str, str)
        Root and path of what is no row because it is not read, and why.
    notes : tuple of Note
        What is to be said of the sources.
    sources : frozenset of str
        What lists pictures, each with all that it lists.
    listed_by : mapping of str to str
        Which of them first lists a picture, by its path; those named themselves are not here.
    has_detections : bool
        Whether any source says boxes.
    """

    says: Mapping[str, Said] = dataclasses.field(default_factory=dict)
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unread: tuple[tuple[str, str, str], ...] = ()
    notes: Notes = ()
    sources: frozenset[str] = frozenset()
    listed_by: Mapping[str, str] = dataclasses.field(default_factory=dict)
    has_detections: bool = False

    @classmethod
    def merge(cls, parts: Sequence[Part]) -> Listing:
        """Put together what sources say; the order of the parts is that of the rows alone.

        Parameters
        ----------
        parts : sequence of Part
            What each source lists, ≥ 1.
        """
        frames = [
            one.frame.assign(**{LABELS_FROM: FROM_FOLDER}) if one.is_derived else one.frame
            for one in parts
        ]
        frame = ImageTable.build(concatenate(frames)).frame
        names = [name for name in (*LABEL_COLUMNS, *_BESIDE) if name in frame]
        unlabelled = (frame[names].fillna("") == "").all(axis=1)
        frame[LABELS_FROM] = frame[LABELS_FROM].where(~unlabelled, "")
        part = np.repeat(np.arange(len(parts)), [len(one.frame) for one in parts])
        merging = _Merging(*_spread(frame, part), parts)
        notes = [note for one in parts for note in one.notes]
        return cls(
            merging.merge(),
            says=merging.find_said(),
            reasons={file: why for one in parts for file, why in one.reasons.items()},
            unread=tuple(dict.fromkeys(folder for one in parts for folder in one.unread)),
            notes=(*dict.fromkeys(notes), *merging.notes),
            sources=frozenset(one.source for one in parts if one.source),
            listed_by=merging.find_sources()
            | {join(*at): one.source for one in parts if one.source for *at, _ in one.unread},
            has_detections=any(
                one.has_detections or REGION in one.frame or DETECTION_CONFIDENCE in one.frame
                for one in parts
            ),
        )

    def locate(self, row: int) -> ImageLocation:
        """Return the place of a row's image, whatever bytes are there: nobody read them yet."""
        return dataclasses.replace(super().locate(row), sha256=None)

    def name_by(self, labels: pd.DataFrame) -> Listing:
        """Return the listing with labels that were found for it in a list of taxa.

        Parameters
        ----------
        labels : DataFrame of str
            Label columns of the same rows, and where they come from. Where a table's are others
            now, it says a lineage.
        """
        names = list(LABEL_COLUMNS)
        differs = (self.frame[names] != labels[names]).any(axis=1)
        differs &= self.frame[LABELS_FROM] == ""
        places = self.frame[list(LOCATION_COLUMNS)][differs].itertuples(index=False, name=None)
        files = [join(root, path) for root, path in places]
        says = {file: self.says.get(file, Said()) | Said(lineage=True) for file in files}
        frame = self.frame.assign(**labels)
        return dataclasses.replace(self, frame=frame, says={**self.says, **says})

    def spread(self, stored: Mapping[str, tuple[str, Sequence[str]]]) -> Spread:
        """Repeat what is said of a whole picture for each of its rows that a store has.

        A picture of which boxes are listed now is left as it is, and so is one without boxes of
        which labels are listed now. Of a picture with boxes and several labels it is not known
        which box each is of: none of these is said of any.

        Parameters
        ----------
        stored : mapping of str to (str, sequence of str)
            SHA-256 of the bytes, and names of the rows, by the path of a file that has more than
            one row, or that of a box.
        """
        files = [join(*place) for place in zip(self.frame["root"], self.frame["path"], strict=True)]
        regions = self.frame[REGION].tolist()
        with_boxes = {file for file, region in zip(files, regions, strict=True) if get_box(region)}
        several = {file for file, region in zip(files, regions, strict=True) if region}
        rows, names, of = list[int](), list[str](), list[str]()
        unassigned = set[str]()
        for row, (file, region) in enumerate(zip(files, regions, strict=True)):
            sha256, mine = stored.get(file, ("", ()))
            lineage = self.says.get(file, Said()).lineage
            has_boxes = any(map(get_box, mine))
            if file in with_boxes or not mine or (not has_boxes and (lineage or file in several)):
                mine, sha256 = [region], ""
            elif file in several:
                unassigned.add(file)
                mine = [] if region else mine
            elif lineage:
                # They would not differ any more.
                mine = [name for name in mine if get_number(name) == 1]
            rows += [row] * len(mine)
            names += mine
            of += [sha256] * len(mine)
        frame = self.frame.take(rows).reset_index(drop=True)
        frame[REGION] = np.array(names, dtype=object)
        says = dict(self.says)
        for file in unassigned:
            known = says.get(file, Said())
            says[file] = Said(False, known.columns - {COMMON_NAME, *_BESIDE}, False)
        return Spread(dataclasses.replace(self, frame=frame, says=says), tuple(of), len(unassigned))


@dataclasses.dataclass(frozen=True)
class Spread:
    """A listing of which what is said of whole pictures is said of regions in a store.

    Parameters
    ----------
    listing : Listing
    only_of : tuple of str, length n_rows
        SHA-256 of the bytes that the region of a row is of, if it is one of the store's; else
        ``""``.
    n_unassigned : int
        Pictures with several labels, of which none was taken.
    """

    listing: Listing
    only_of: tuple[str, ...]
    n_unassigned: int


def join(root: str, path: str) -> str:
    """Return the path of a file; a :class:`Path` for each row would take ten times as long."""
    return os.path.join(root, path)  # noqa: PTH118


def _spread(frame: pd.DataFrame, part: Positions) -> tuple[pd.DataFrame, Positions]:
    """Repeat what is said of a whole picture for each of its regions that another source lists.

    Parameters
    ----------
    frame : DataFrame
        Rows of an image table.
    part : ndarray of int64, shape (n_rows,)
        Number of the source of each row.

    Returns
    -------
    frame : DataFrame
    part : ndarray of int64
        Of the same rows.
    """
    regions = frame[REGION].tolist()
    if not any(regions):
        return frame, part
    files = [join(*place) for place in zip(frame["root"], frame["path"], strict=True)]
    keys = list(zip(files, part.tolist(), strict=True))
    by_regions = {key for key, region in zip(keys, regions, strict=True) if region}
    named: dict[str, dict[str, None]] = {}
    for key, region in zip(keys, regions, strict=True):
        if key in by_regions:
            named.setdefault(key[0], {})[region] = None
    rows, names = [], []
    for row, (key, region) in enumerate(zip(keys, regions, strict=True)):
        mine = [region] if key in by_regions else list(named.get(key[0], [region]))
        rows += [row] * len(mine)
        names += mine
    spread = frame.take(rows).reset_index(drop=True)
    spread[REGION] = np.array(names, dtype=object)
    return spread, part[rows]


def choose_regions(frame: pd.DataFrame) -> list[str]:
    """Tell the rows of a table apart that say different things of one picture.

    A row is the same observation as an earlier one where no column contradicts, and the one's
    lineage contains the other's.

    Parameters
    ----------
    frame : DataFrame
        ``root``, ``path``, labels and free columns.

    Returns
    -------
    list of str
        Of each row ``""``, or ``#2``, ``#3`` … in the order in which they come.
    """
    regions = [""] * len(frame)
    is_repeated = frame.duplicated(["root", "path"], keep=False).to_numpy()
    rows = np.flatnonzero(is_repeated)
    labels = [name for name in LABEL_COLUMNS if name in frame]
    free = [name for name in frame.columns if name not in {"root", "path", *labels}]
    said = frame.take(rows)
    files = zip(said["root"], said["path"], strict=True)
    lineages = said[labels].fillna("").itertuples(index=False, name=None)
    values = said[free].itertuples(index=False, name=None)
    known: dict[tuple[str, str], list[tuple[Lineage, dict[int, Any]]]] = {}
    for row, file, lineage, cells in zip(rows.tolist(), files, lineages, values, strict=True):
        filled = {at: cell for at, cell in enumerate(cells) if _says(cell)}
        groups = known.setdefault(file, [])
        for number, (names, group) in enumerate(groups):
            contains = _contains(names, lineage)
            is_one = (contains or _contains(lineage, names)) and all(
                is_same(group[at], cell) for at, cell in filled.items() if at in group
            )
            if is_one:
                groups[number] = names if contains else lineage, {**group, **filled}
                break
        else:
            number = len(groups)
            groups.append((lineage, filled))
        regions[row] = f"#{number + 1}" if number else ""
    return regions


class _Merging:
    """Rows of several sources, of which those of one region of one file become one."""

    def __init__(self, frame: pd.DataFrame, part: Positions, parts: Sequence[Part]) -> None:
        import pandas as pd

        self._frame, self._part, self._parts = frame, part, parts
        files = [join(root, path) for root, path in zip(frame["root"], frame["path"], strict=True)]
        keys = [f"{f}\0{r}" for f, r in zip(files, frame[REGION], strict=True)]
        self._codes, _ = pd.factorize(np.array(keys, dtype=object))
        self._files = dict(zip(self._codes.tolist(), files, strict=True))
        self._first = np.flatnonzero(~pd.Series(self._codes).duplicated().to_numpy())
        self._lost = {file for one in parts for file in one.reasons}
        self._saids = [one.said for one in parts]
        self._places = self._choose_places()
        self.notes: list[Note] = []

    def find_said(self) -> dict[str, Said]:
        """Return what is said of each file."""
        says: dict[str, Said] = {}
        for code, part in zip(self._codes.tolist(), self._part.tolist(), strict=True):
            file, new = self._files[code], self._saids[part]
            known = says.get(file)
            says[file] = new if known is None or known == new else known | new
        return says

    def find_sources(self) -> dict[str, str]:
        """Return what first lists each file."""
        sources: dict[str, str] = {}
        for code, part in zip(self._codes.tolist(), self._part.tolist(), strict=True):
            if source := self._parts[part].source:
                sources.setdefault(self._files[code], source)
        return sources

    def merge(self) -> pd.DataFrame:
        """Return one row a file, in the order in which the files are first named."""
        import pandas as pd

        if len(self._first) == len(self._frame):
            return self._frame
        self._tell_repeated()
        columns: dict[str, pd.Series[Any]] = {}
        for rows, names in self._iter_choices():
            for name in names:
                columns[name] = self._frame[name].take(rows).reset_index(drop=True)
        self._name_commonly(columns)
        return pd.DataFrame({name: columns[name] for name in self._frame.columns})

    def _iter_choices(self) -> Iterable[tuple[Positions, Sequence[str]]]:
        """Choose, for the columns that go together, the row of each file whose values are taken.

        Yields
        ------
        rows : ndarray of int64, shape (n_files,)
        names : sequence of str
        """
        labels = (*LABEL_COLUMNS, LABELS_FROM)
        lineages = self._choose_lineage()
        self._has_lineage = lineages >= 0
        yield self._fill(lineages), labels
        yield self._places, LOCATION_COLUMNS
        known = {*labels, *LOCATION_COLUMNS}
        yield self._first, [name for name in COLUMNS if name not in known]
        for name in self._frame.columns:
            if name not in COLUMNS:
                yield self._fill(self._choose_values(name)), [name]

    def _choose_values(self, name: str) -> Positions:
        """Choose the rows of a free column; names of folders fill what no table does."""
        values = self._frame[name]
        filled, order = find_filled(values), _Order.values(name)
        has_column = [name in one.frame.columns for one in self._parts]
        by_table, by_folder = (
            self._choose(
                self._find_rows(
                    [has and one.is_derived is derived
                     for has, one in zip(has_column, self._parts, strict=True)],
                    filled,
                ),
                values.tolist(),
                order,
            )
            for derived in (False, True)
        )  # fmt: skip
        if name in _BESIDE:
            by_folder = self._by_folder
        return np.where(by_table >= 0, by_table, by_folder)

    def _choose_lineage(self) -> Positions:
        labels = self._frame[list(LABEL_COLUMNS)]
        beside = self._frame[[name for name in _BESIDE if name in self._frame]].fillna("")
        lineages: list[Lineage] = list(labels.itertuples(index=False, name=None))
        filled = labels != ""
        has_rank = filled[list(RANK_NAMES)].any(axis=1).to_numpy()
        written = self._find_rows([said.lineage for said in self._saids], has_rank)
        any_label = filled.any(axis=1).to_numpy() | (beside != "").any(axis=1).to_numpy()
        derived = self._find_rows([said.derives for said in self._saids], any_label)
        order = _Order("label", _rank_lineage, _contains, _write_lineage)
        made = self._frame[LABELS_FROM].astype(str).str.startswith(FROM_MACHINE).to_numpy()
        by_table = self._choose(written[~made[written]], lineages, order)
        by_folder = self._choose(derived, lineages, order)
        by_machine = self._choose(written[made[written]], lineages, order)

        def overrule(by: Positions, other: Positions, said: str) -> Positions:
            both = np.flatnonzero((by >= 0) & (other >= 0)).tolist()
            n = sum(not _contains(lineages[by[code]], lineages[other[code]]) for code in both)
            if n:
                self.notes.append(Note(f"{n:,} {said}"))
            return np.where(by >= 0, by, other)

        self._by_folder = np.where(by_table >= 0, -1, by_folder)
        by_person = overrule(
            by_table, by_folder, "folder names give way to labels that a table wrote"
        )
        return overrule(
            by_person, by_machine, "labels that a machine made give way to those of people"
        )

    def _name_commonly(self, columns: dict[str, pd.Series[Any]]) -> None:
        """Take the common names that tables have without any rank."""
        names = self._frame[COMMON_NAME]
        alone = (self._frame[list(RANK_NAMES)] == "").all(axis=1) & (names != "")
        rows = self._find_rows([COMMON_NAME in s.columns for s in self._saids], alone.to_numpy())
        chosen = self._choose(rows, names.tolist(), _Order.values(COMMON_NAME))
        beside = columns[COMMON_NAME].where(self._has_lineage, "")
        given = names.take(self._fill(chosen)).reset_index(drop=True)
        takes = (chosen >= 0) & (beside == "").to_numpy()
        differs = (chosen >= 0) & (beside != "").to_numpy() & (beside != given).to_numpy()
        conflicts = [
            (code, beside[code], [given[code]]) for code in np.flatnonzero(differs).tolist()
        ]
        self._tell_conflicts(conflicts, _Order.values(COMMON_NAME))
        columns[COMMON_NAME] = beside.where(~takes, given)

    def _choose_places(self) -> Positions:
        """Choose the outermost of the folders from which each file is named."""
        roots = self._frame["root"].tolist()
        rows = sorted(range(len(roots)), key=lambda row: (len(roots[row]), roots[row]))
        chosen = np.full(len(self._files), -1, dtype=np.int64)
        backwards = np.array(rows[::-1], dtype=np.int64)
        chosen[self._codes[backwards]] = backwards
        return chosen

    def _find_rows(self, has: Sequence[bool], filled: npt.NDArray[np.bool_]) -> Positions:
        return np.flatnonzero(np.array(has, dtype=bool)[self._part] & filled).astype(np.int64)

    def _fill(self, chosen: Positions) -> Positions:
        # Where no row says anything, they are all as empty as the first.
        return np.where(chosen >= 0, chosen, self._first)

    def _choose(self, rows: Positions, values: Sequence[Any], order: _Order) -> Positions:
        """Choose a row of each file among those that say something; -1 where none does."""
        chosen = np.full(len(self._files), -1, dtype=np.int64)
        codes = self._codes[rows]
        chosen[codes] = rows
        repeated = np.bincount(codes, minlength=len(self._files)) > 1
        several: dict[int, list[int]] = {}
        for row, code in zip(rows[repeated[codes]].tolist(), codes[repeated[codes]], strict=True):
            several.setdefault(int(code), []).append(row)
        conflicts = []
        for code, mine in several.items():
            distinct = {repr(_plain(values[row])): row for row in mine}
            best = min(distinct.values(), key=lambda row: order.key(values[row]))
            chosen[code] = best
            others = [
                values[row]
                for row in distinct.values()
                if row != best and not order.contains(values[best], values[row])
            ]
            if others:
                conflicts.append((code, values[best], others))
        self._tell_conflicts(conflicts, order)
        return chosen

    def _tell_conflicts(
        self, conflicts: Sequence[tuple[int, Any, list[Any]]], order: _Order
    ) -> None:
        """Say of which pictures sources say different things, and what was taken."""
        names = self._frame["path"].to_numpy(dtype=object)[self._places]
        found = sorted(
            (str(names[code]), order.write(best), sorted(map(order.write, others)))
            for code, best, others in conflicts
            if self._files[code] not in self._lost
        )
        if not found:
            return
        shown = "; ".join(
            f"{name}: {best}, not {' or '.join(others)}" for name, best, others in found[:_SHOWN]
        )
        more = f"; and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
        text = f"conflicts in {order.name}: {len(found):,} pictures ({shown}{more})"
        self.notes.append(Note(text, WARNING))

    def _tell_repeated(self) -> None:
        """Say how many rows of a source name a picture that another row of it names."""
        is_lost = np.array([f in self._lost for f in self._files.values()], dtype=bool)
        for number, one in enumerate(self._parts):
            codes = self._codes[self._part == number]
            codes = codes[~is_lost[codes]]
            n_repeated = len(codes) - len(np.unique(codes))
            if n_repeated and one.name:
                text = f"{n_repeated:,} rows of {one.name} name a picture that another row names"
                self.notes.append(Note(text, WARNING))


@dataclasses.dataclass(frozen=True)
class _Order:
    """Which of the values of a column wins, and what is no conflict.

    Parameters
    ----------
    name : str
        Of the column.
    key : callable
        Of a value; the smallest wins.
    contains : callable
        Whether the one that wins says all that another does.
    write : callable
        Writes a value for a note.
    """

    name: str
    key: Callable[[Any], Any]
    contains: Callable[[Any, Any], bool]
    write: Callable[[Any], str]

    @classmethod
    def values(cls, name: str) -> _Order:
        """Order the values of a free column."""
        return cls(name, _rank_value, is_same, str)


def _rank_lineage(lineage: Lineage) -> tuple[int, int, Lineage]:
    depth = max((at for at, name in enumerate(lineage[:-1]) if name), default=-1)
    return -depth, -sum(map(bool, lineage)), lineage


def _contains(one: Lineage, other: Lineage) -> bool:
    return all(not name or name == mine for mine, name in zip(one, other, strict=True))


def _write_lineage(lineage: Lineage) -> str:
    *names, common_name = lineage
    written = " > ".join(name for name in names if name)
    return f"{written} ({common_name})" if written and common_name else written or common_name


def _rank_value(value: object) -> tuple[str, Any]:
    # Values of one column are of one type, or have none that could be ordered.
    plain = _plain(value)
    if isinstance(plain, bool | int | float | np.number | np.bool_):
        return "", float(plain)
    return type(plain).__name__, plain if hasattr(plain, "year") else str(plain)


_UNREAD = "the folder cannot be listed: "


def name_reason(reason: str) -> str:
    """Return what a reason has in common with those of other files; the file's own follows."""
    return re.split("[;:]", reason)[0]


def explain_unread(error: OSError) -> str:
    """Say why a folder could not be listed, as the failures of a store do."""
    return f"{_UNREAD}{(error.strerror or str(error)).lower()}"


_OF_REGION = "region "


def name_of_region(region: str, reason: str) -> str:
    """Say of which region of a picture a reason is; of the whole it stays as it is."""
    return f"{_OF_REGION}{region}: {reason}" if region else reason


def is_of_region(reason: str) -> bool:
    """Tell whether a failure is of regions of a picture that could be read."""
    return reason.startswith(_OF_REGION)


def is_mended(root: str, path: str, reason: str) -> bool:
    """Tell whether a failure is of a folder that can be listed by now."""
    if not reason.startswith(_UNREAD):
        return False
    try:
        with os.scandir(find_file(root, path)) as entries:
            for _entry in entries:  # to the last: it may be one in the middle that cannot be read
                pass
    except OSError:
        return False
    return True
