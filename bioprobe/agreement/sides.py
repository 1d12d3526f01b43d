"""A set of answers to pictures: a table, the output of another tool, or what a store says."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.access import is_file
from bioprobe.cells import write_cells
from bioprobe.content import CONTENT, Content, read_content, tell_content
from bioprobe.errors import SelectionError, SourceError
from bioprobe.exporting import read_predictions
from bioprobe.images.image_table import COLUMNS, read_level
from bioprobe.images.regions import DETECTION_CATEGORY, DETECTION_CONFIDENCE, REGION
from bioprobe.images.sequences import SEQUENCE_COLUMNS
from bioprobe.names import unify
from bioprobe.options import RANK_NAMES
from bioprobe.result import WARNING, Note, Notes, name_some
from bioprobe.sources.listing import join
from bioprobe.sources.machine_labels import read_machine_labels
from bioprobe.sources.package_tables import read_header
from bioprobe.sources.peek import Peek
from bioprobe.sources.source import SourceOptions, find_images
from bioprobe.store.view import View
from bioprobe.tables import TABLE_SUFFIXES, find_ending, read_table
from bioprobe.task.beside import UNREADABLE
from bioprobe.taxonomy import RANKS
from bioprobe.taxonomy.columns import COMMON_NAME, LABEL, read_labels, spell_column, spell_columns
from bioprobe.types import Doubles

if TYPE_CHECKING:
    import pandas as pd

# How the tools call what an answer is sure to be; the first that says something counts.
_SCORES = (
    "score", "predictionscore", "classificationscore", "classificationprobability",
    "classificationconfidence", "cvconfidence", "confidence", "probability",
    spell_column(DETECTION_CONFIDENCE),
)  # fmt: skip
# Columns of which a table of answers has one at least.
_TOLD = frozenset({"score", "answer", "classification", *RANK_NAMES})
_TEXT_SUFFIXES = frozenset({".csv", ".tsv"})

Lineage = tuple[str, ...]
NO_LINEAGE: Lineage = ("",) * len(RANKS)


@dataclasses.dataclass(frozen=True)
class Said:
    """What was said of a picture or a region.

    Parameters
    ----------
    lineage : tuple of str, length 7
        Names from kingdom to species; ``""`` is a hole, and all are where it is no taxon.
    label : str
        What is neither a taxon nor a content.
    content : str
        animal, blank, human or vehicle, where it is known; ``""`` where nothing is.
    common_name : str
        Of the taxon, or ``""``.
    """

    lineage: Lineage = NO_LINEAGE
    label: str = ""
    content: str = ""
    common_name: str = ""

    @property
    def depth(self) -> int:
        """Position of the lowest named rank, -1 where it is no taxon."""
        return next((at for at in reversed(range(len(RANKS))) if self.lineage[at]), -1)

    @property
    def name(self) -> str:
        """Its taxon, else its label, else its content; ``""`` where nothing was said."""
        return self.lineage[self.depth] if self.depth >= 0 else self.label or self.content

    def cut(self, depth: int) -> Said:
        """Return the same without the names below a rank."""
        if self.depth <= depth:
            return self
        upper = self.lineage[: depth + 1] + ("",) * (len(RANKS) - depth - 1)
        return dataclasses.replace(self, lineage=upper, common_name="")


@dataclasses.dataclass(frozen=True, eq=False)
class Side:
    """One set of answers, one row a picture or region.

    Parameters
    ----------
    name : str
        What the answers are called.
    files : tuple of str
        The picture of each row, as it is named there.
    regions : tuple of str
        Its part, ``""`` for the whole.
    said : tuple of Said
        The best answer to each.
    scores : ndarray of float64, shape (n_rows,)
        How sure it is, in [0, 1]; not a number where nobody says.
    columns : mapping of str to tuple of str
        Further columns.
    provenance : mapping
        What the answers were computed from, JSON-ready; empty where nothing says.
    notes : tuple of Note
        What is to be said of how they were read.
    """

    name: str
    files: tuple[str, ...]
    regions: tuple[str, ...]
    said: tuple[Said, ...]
    scores: Doubles
    columns: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: Notes = ()

    def __len__(self) -> int:
        return len(self.files)

    @property
    def sureness(self) -> list[float]:
        """Scores in which an answer without one, such as a person's, is sure."""
        return [float(one) for one in np.where(np.isnan(self.scores), 1.0, self.scores)]


def read_side(path: Path) -> Side:
    """Read answers from a file or folder, which are called by its path.

    Parameters
    ----------
    path : Path
        A table that bioprobe or pybioclip wrote, which names each picture in ``file_name``; the
        output of SpeciesNet, MegaDetector, Timelapse and the other tools that bioprobe reads as
        sources (:mod:`bioprobe.sources.formats`); or any table that names pictures and taxa.

    Raises
    ------
    SourceError
        If there is nothing there, or it is no set of answers.
    """
    name = str(path)
    suffix = find_ending(path)
    if is_file(path) and suffix == ".json" and _has_rows(path):
        frame, provenance = read_predictions(path)
        return take_table(frame, name, provenance)
    if is_file(path) and suffix in TABLE_SUFFIXES and _names_files(path, suffix):
        if suffix in {".csv", ".parquet", ".pq"}:
            frame, provenance = read_predictions(path)
        else:
            frame, provenance = read_table(path), {}
        return take_table(frame, name, provenance)
    return _take_listing(path, name)


def _has_rows(path: Path) -> bool:
    """Tell whether a JSON file is a table as bioprobe writes it, and not another tool's."""
    found = Peek(path).json
    rows = found.get("rows") if isinstance(found, dict) else found
    first = rows[0] if isinstance(rows, list) and rows else None
    return isinstance(first, dict) and "file_name" in first


def _names_files(path: Path, suffix: str) -> bool:
    """Tell whether a table names pictures and answers as bioprobe and pybioclip do."""
    if suffix in _TEXT_SUFFIXES:
        names, _ = read_header(Peek(path).head)
    else:
        names = frozenset(map(str, read_table(path).columns))
    return "file_name" in names and bool(_TOLD & names)


def take_table(frame: pd.DataFrame, name: str, provenance: Mapping[str, Any] | None = None) -> Side:
    """Take answers from a table as bioprobe and pybioclip write it: the best of each picture.

    Parameters
    ----------
    frame : DataFrame
        One row an image and answer: ``file_name``, ``image_region`` where there are regions, the
        ranks or ``classification``, ``score`` and ``answer`` where there are any.
    name : str
        What the answers are called.
    provenance : mapping, optional
        What they were computed from.
    """
    frame = frame.reset_index(drop=True)
    notes: list[Note] = []
    texts = {str(one): _write(frame[one]) for one in frame.columns}
    nothing = [""] * len(frame)
    files = [one.removeprefix("'") for one in texts["file_name"]]
    regions = [one.removeprefix("'") for one in texts.get(REGION, nothing)]
    unread = [at for at, one in enumerate(texts.get(CONTENT, nothing)) if one == UNREADABLE]
    if unread:
        notes.append(_tell(f"{len(unread):,} pictures of {name} could not be read",
                           [files[at] for at in unread]))  # fmt: skip
    unread += [at for at, one in enumerate(files) if not one]
    scores = _read_scores(frame)
    order = [_read_number(one, 1.0) for one in texts.get("answer", nothing)]
    left_out = set(unread)
    best: dict[tuple[str, str], int] = {}
    for at in range(len(frame)):
        if at in left_out:
            continue
        known = best.setdefault((files[at], regions[at]), at)
        if (order[at], -_sure(scores[at])) < (order[known], -_sure(scores[known])):
            best[files[at], regions[at]] = at
    rows = list(best.values())
    chosen = frame.iloc[rows].reset_index(drop=True)
    free = {
        column: tuple(values[at] for at in rows)
        for column, values in texts.items()
        if column not in {"file_name", REGION, "answer", "score", *RANK_NAMES}
    }
    return Side(
        name,
        tuple(files[at] for at in rows),
        tuple(regions[at] for at in rows),
        tuple(_read_answers(chosen)),
        scores[rows],
        free,
        provenance or {},
        tuple(notes),
    )


def _read_answers(frame: pd.DataFrame) -> list[Said]:
    """Read what each row of a table of answers says."""
    if "classification" not in frame.columns:
        return _take_labels_of(read_labels(frame), frame)
    words = [unify(one) for one in _write(frame["classification"])]
    meant = _write(frame["taxon"]) if "taxon" in frame.columns else [""] * len(words)
    # A class that stands for several taxa is a name of its own.
    taxa = ["" if "|" in one else one for one in meant]
    read = _read_words([*words, *taxa])
    found = []
    for word, taxon in zip(words, taxa, strict=True):
        of_word, of_taxon = read[word], read[taxon]
        if of_taxon.depth >= 0:
            found.append(dataclasses.replace(of_taxon, common_name=word if word != taxon else ""))
        else:
            found.append(of_word)
    if CONTENT in frame.columns:
        contents = _write(frame[CONTENT])
        found = [_fill_content(one, told) for one, told in zip(found, contents, strict=True)]
    return found


def _read_words(words: Sequence[str]) -> dict[str, Said]:
    """Read words that stand alone."""
    read = read_machine_labels(words)
    columns = [read[name].tolist() for name in (LABEL, CONTENT, COMMON_NAME, *RANK_NAMES)]
    return {
        word: _make_said(lineage, label, content, common_name)
        for word, label, content, common_name, *lineage in zip(read.index, *columns, strict=True)
    }


def _fill_content(said: Said, told: str) -> Said:
    """Take what a picture holds for the answer where there is no other."""
    return said if said.name else _make_said(NO_LINEAGE, "", told, "")


def _take_labels_of(labels: pd.DataFrame, frame: pd.DataFrame) -> list[Said]:
    """Make answers of columns of labels; what another column says a picture holds comes after."""
    nothing = [""] * len(labels)
    columns = [_write(labels[rank]) for rank in RANK_NAMES]
    commons = _write(labels[COMMON_NAME])
    others = _write(labels[LABEL]) if LABEL in labels else nothing
    told = [_write(labels[CONTENT])] if CONTENT in labels else []
    for name in (CONTENT, DETECTION_CATEGORY):
        if name in frame.columns and not (name == CONTENT and told):
            told.append(_write(frame[name]))
    found = []
    for at, lineage in enumerate(zip(*columns, strict=True)):
        contents = [one[at] for one in told]
        first = next((one for one in contents if read_content(one)), "")
        found.append(_make_said(lineage, others[at], first, commons[at]))
    return found


def _make_said(lineage: Iterable[str], label: str, told: str, common_name: str) -> Said:
    """Make an answer: a taxon, else a label, else what is held."""
    named = tuple(map(unify, lineage))
    # A family that stands at species too is no species.
    lineage = tuple("" if one in named[:at] else one for at, one in enumerate(named))
    name = next((one for one in reversed(lineage) if one), "")
    of_name = read_content(name) if name else ""
    if of_name:
        lineage, told = NO_LINEAGE, of_name
    if any(lineage):
        return Said(lineage, "", tell_content(lineage[0]), unify(common_name))
    label = unify(label) or unify(common_name)
    of_label = read_content(label) if label else ""
    content = of_label or read_content(told)
    content = "" if content == Content.UNKNOWN else content
    if of_label or not label:
        return Said(content=content)
    return Said(label=label, content=content)


def take_labels(view: View, name: str = "labels") -> Side:
    """Take the labels of the pictures of a store, of every rank."""
    frame = view.images.frame.iloc[view.rows].reset_index(drop=True)
    return _take_rows(view, name, _take_labels_of(frame, frame))


def take_column(view: View, column: str) -> Side:
    """Take the values of a column of a store for answers, such as those of one person.

    Parameters
    ----------
    view : View
        Its rows.
    column : str
        A rank, whose labels stand with those of the ranks above it, or any column: names of taxa
        are read as such.

    Raises
    ------
    SelectionError
        If there is no such column.
    """
    level = read_level(column, view.images)
    name = f"column {level}"
    if level in RANK_NAMES:
        whole = take_labels(view, name)
        depth = RANK_NAMES.index(level)
        cut = tuple(one.cut(depth) if one.lineage[depth] else Said() for one in whole.said)
        return dataclasses.replace(whole, said=cut)
    words = [unify(str(one)) for one in view.labels(level)]
    read = _read_words(words)
    return _take_rows(view, name, [read[word] for word in words])


def _take_rows(view: View, name: str, said: Sequence[Said]) -> Side:
    images = view.images
    names = images.file_names
    nowhere = np.full(len(view), np.nan)
    frame = images.frame.iloc[view.rows]
    free = {
        column: tuple(map(str, images.labels(column)[view.rows])) for column in images.free_columns
    }
    return Side(
        f"{name} of {view.origin or view.folder}",
        tuple(names[row] for row in view.rows.tolist()),
        tuple(map(str, frame[REGION])),
        tuple(said),
        nowhere,
        free,
        view.describe({"labels": name}).to_dict(),
    )


def _take_listing(path: Path, name: str) -> Side:
    """Take what a source says of pictures, by the one reading of sources."""
    said: list[str] = []
    # No picture is opened: any may be named.
    options = SourceOptions(allow_outside=True, tell=said.append)
    listed = find_images([path], options)
    frame = listed.frame.reset_index(drop=True)
    free = {
        str(column): tuple(_write(frame[column]))
        for column in frame.columns
        if column not in COLUMNS
    }
    answers = _take_labels_of(frame, frame)
    if not any(one.name for one in answers):
        columns = ", ".join(free) or "none"
        msg = (
            f"{path} lists {len(frame):,} pictures and says of none what it shows (other columns: "
            f"{columns}); expected columns of ranks, or what zeroshot, probe predict or another "
            "tool wrote"
        )
        raise SourceError(msg)
    files = [join(root, at) for root, at in zip(frame["root"], frame["path"], strict=True)]
    return Side(
        name, tuple(files), tuple(map(str, frame[REGION])), tuple(answers), _read_scores(frame),
        free, {}, (*map(Note, said), *listed.notes),
    )  # fmt: skip


def _write(values: pd.Series[Any]) -> list[str]:
    return [one if one == one and one else "" for one in write_cells(values).tolist()]


def _read_number(text: str, otherwise: float) -> float:
    try:
        return float(text)
    except ValueError:
        return otherwise


def _sure(score: float) -> float:
    return score if score == score else -1.0


def _read_scores(frame: pd.DataFrame) -> Doubles:
    """Return how sure each row is, by the first column that says so in numbers."""
    by_spelling = spell_columns(frame.columns)
    scores = np.full(len(frame), np.nan)
    for spelling in _SCORES:
        if spelling not in by_spelling:
            continue
        texts = _write(frame[by_spelling[spelling]])
        found = np.array([_read_number(one, np.nan) for one in texts])
        scores = np.where(np.isnan(scores), found, scores)
    return np.asarray(scores, dtype=np.float64)


def _tell(text: str, examples: Iterable[str]) -> Note:
    return Note(f"{text}: {name_some(examples)}", WARNING)


def fill_lineages(sides: Sequence[Side], taxa: Iterable[Lineage] = ()) -> list[Side]:
    """Fill the holes of lineages by what a list, or else the other answers, say of the same name.

    A name is filled only where all that is known of it agrees; what is there already stays.
    """
    listed = _index(taxa)
    known = _index(one.lineage for side in sides for one in side.said if one.depth >= 0)
    done: dict[Lineage, Lineage] = {}

    def fill(said: Said) -> Said:
        if said.depth < 0:
            return said
        if said.lineage not in done:
            found = _complete(said.lineage, listed)
            done[said.lineage] = _complete(found, known)
        return dataclasses.replace(said, lineage=done[said.lineage])

    return [dataclasses.replace(side, said=tuple(map(fill, side.said))) for side in sides]


_Index = dict[tuple[int, str], set[Lineage]]


def _index(lineages: Iterable[Lineage]) -> _Index:
    """Return what stands above each name, by rank and name."""
    found: _Index = collections.defaultdict(set)
    for lineage in dict.fromkeys(lineages):
        for depth, name in enumerate(lineage):
            if name:
                found[depth, name.casefold()].add(lineage[:depth])
    return found


def _complete(lineage: Lineage, known: _Index) -> Lineage:
    filled = list(lineage)
    for depth in reversed(range(len(RANKS))):
        if not filled[depth] or all(filled[:depth]):
            continue
        uppers = [
            upper
            for upper in known.get((depth, filled[depth].casefold()), ())
            if all(
                not ours or not theirs or ours.casefold() == theirs.casefold()
                for ours, theirs in zip(filled, upper, strict=False)
            )
        ]
        for at in range(depth):
            names = {upper[at] for upper in uppers if upper[at]}
            if not filled[at] and len(names) == 1:
                filled[at] = names.pop()
    return tuple(filled)


def find_groups(
    sides: Sequence[Side], positions: Sequence[Sequence[int]], column: str | None
) -> tuple[list[str], str]:
    """Return the group of each pair of rows, ``""`` where it is in none, and the column of it.

    Parameters
    ----------
    sides : sequence of Side
    positions : sequence of sequences of int
        Rows of each side, pair by pair.
    column : str, optional
        By default a column of sequences, where either side has one.

    Raises
    ------
    SelectionError
        If neither side has the column.
    """
    wanted = SEQUENCE_COLUMNS if column is None else (column,)
    for name in wanted:
        for side, rows in zip(sides, positions, strict=True):
            if name in side.columns and any(side.columns[name]):
                return [side.columns[name][row] for row in rows], name
    if column is not None:
        known = sorted({name for side in sides for name in side.columns})
        msg = f"no answers have a column {column!r}; there are: {', '.join(known) or 'none'}"
        raise SelectionError(msg)
    return [""] * len(positions[0]), ""
