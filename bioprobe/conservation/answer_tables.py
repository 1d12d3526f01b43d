"""The status of what labels and tables of answers name; these have the best answers alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.cells import name_cells
from bioprobe.conservation.categories import NO_STATUS
from bioprobe.conservation.finding import Covered, Finder
from bioprobe.conservation.shares import COLUMNS, Judged, find_members, judge_labels
from bioprobe.conservation.statuses import NO_LINEAGE
from bioprobe.content import CONTENT, Content
from bioprobe.errors import SelectionError
from bioprobe.images.image_table import read_level
from bioprobe.images.regions import REGION
from bioprobe.options import RANK_NAMES
from bioprobe.result import WARNING, Note
from bioprobe.sources.machine_labels import read_machine_labels
from bioprobe.store.view import View
from bioprobe.taxonomy import RANKS, Taxon
from bioprobe.taxonomy.columns import (
    COMMON_NAME,
    LABEL,
    SUBSPECIES,
    find_rank_columns,
    read_labels,
)
from bioprobe.types import Doubles, Mask, Rows

if TYPE_CHECKING:
    import pandas as pd

# What is said of a picture that has no answer.
_NO_ANSWER = ("unreadable", "dropped", "not judged")
# Probabilities may add up to a little more by rounding to a few digits.
_MOST = 1.005
_NO_TAXA = (Content.BLANK.value, Content.HUMAN.value, Content.VEHICLE.value)
_NONE = COLUMNS.index(NO_STATUS)


@dataclasses.dataclass(frozen=True, slots=True)
class Named:
    """What one row of a table names.

    Parameters
    ----------
    lineage : tuple of str, length 7
    below : str
        Whole name of a subspecies.
    label : str
        As it is written, where that is no name at a rank.
    common_name : str
    meant : tuple of str
        Names of the taxa that a class stands for.
    content : str
        What a picture holds, where that is no taxon: blank, human, vehicle.
    """

    lineage: tuple[str, ...] = NO_LINEAGE
    below: str = ""
    label: str = ""
    common_name: str = ""
    meant: tuple[str, ...] = ()
    content: str = ""

    @property
    def name(self) -> str:
        """How it is called; a common name beside a family says more than it."""
        lowest = next(filter(None, reversed(self.lineage)), "")
        return self.below or self.lineage[-1] or self.label or self.common_name or lowest

    @property
    def is_taxon(self) -> bool:
        """Whether it is of something that may have a status."""
        return bool(self.name) and not (self.content and not any(self.lineage))

    def find(self, finder: Finder) -> Covered:
        """Return what it covers."""
        if self.meant:
            return finder.join(self.label, [finder.find_named(one) for one in self.meant])
        if self.label and not (any(self.lineage) and not self.common_name):
            found = finder.find_named(self.label)
            if found.statuses or not any(self.lineage):
                return found
        return finder.find(
            self.lineage, below=self.below, label=self.label, common_name=self.common_name
        )


def list_named(frame: pd.DataFrame) -> list[Named]:
    """Return what each row of a table of answers names, by its ranks or its ``classification``."""
    known = find_rank_columns(frame.columns)
    has_ranks = any(
        (name_cells(frame[column]) != "").any() for rank, column in known.items() if rank in RANKS
    )
    if "classification" in frame.columns and not has_ranks:
        return _read_classes(frame)
    labels = read_labels(frame)
    nothing = [""] * len(frame)
    lineages = zip(*(labels[name].tolist() for name in RANK_NAMES), strict=True)
    below, label, common, content = (
        labels[name].tolist() if name in labels else nothing
        for name in (SUBSPECIES, LABEL, COMMON_NAME, CONTENT)
    )
    rows = zip(lineages, below, label, common, content, strict=True)
    return [
        Named(lineage, under, text, name, (), _take_content(of))
        for lineage, under, text, name, of in rows
    ]


def _take_content(said: str) -> str:
    """Return what a picture holds that is no animal and no plant."""
    return said if said in _NO_TAXA else ""


def _read_classes(frame: pd.DataFrame) -> list[Named]:
    """Return what classes are: taxa as tools write them, words, or names of one's own."""
    words = name_cells(frame["classification"]).tolist()
    meant: list[tuple[str, ...]] = [()] * len(words)
    if "taxon" in frame.columns:
        meant = [tuple(filter(None, one.split("|"))) for one in name_cells(frame["taxon"])]
    read = read_machine_labels(dict.fromkeys(words))
    columns = [read[name].tolist() for name in (CONTENT, COMMON_NAME, *RANK_NAMES)]
    known = {
        word: Named(tuple(lineage), "", word if ";" not in word else "", common, (),
                    _take_content(content))
        for word, content, common, *lineage in zip(read.index, *columns, strict=True)
    }  # fmt: skip
    return [
        dataclasses.replace(known[word], meant=of) for word, of in zip(words, meant, strict=True)
    ]


def list_wanted(named: Iterable[Named]) -> tuple[list[Taxon], list[str], list[str]]:
    """Return what is to be looked for: taxa, names below species, and names that are no taxa."""
    distinct = dict.fromkeys(named)
    taxa = dict.fromkeys(Taxon(one.lineage) for one in distinct if any(one.lineage))
    below = dict.fromkeys(one.below for one in distinct if one.below)
    plain = [one for one in distinct if not any(one.lineage)]
    names = dict.fromkeys(
        name for one in plain for name in one.meant or (one.label or one.common_name,)
    )
    return list(taxa), list(below), list(names)


def name_labels(view: View, level: str | None = None) -> list[Named]:
    """Return what the label of each image names.

    Parameters
    ----------
    view : View
    level : str, optional
        Rank or column of the labels; by default the lowest rank of each.

    Raises
    ------
    SelectionError
        If there is no such column, or no image has a label of a taxon.
    """
    images = view.images
    nothing = [""] * len(view)
    ranks = [images.labels(name)[view.rows].tolist() for name in RANK_NAMES]
    below, label, common, content = (
        images.labels(name)[view.rows].tolist() if name in images.columns else nothing
        for name in (SUBSPECIES, LABEL, COMMON_NAME, CONTENT)
    )
    if level is not None:
        name = read_level(level, images)
        if name in RANK_NAMES:
            depth = RANK_NAMES.index(name)
            # What is not labelled at the rank has no label here.
            ranks = [
                [text if there and at <= depth else ""
                 for text, there in zip(one, ranks[depth], strict=True)]
                for at, one in enumerate(ranks)
            ]  # fmt: skip
            below = label = common = nothing
        else:
            label = images.labels(name)[view.rows].tolist()
            ranks, below, common = [nothing] * len(ranks), nothing, nothing
    rows = zip(zip(*ranks, strict=True), below, label, common, content, strict=True)
    named = [
        Named(lineage, under, text, name, (), _take_content(of))
        for lineage, under, text, name, of in rows
    ]
    if not any(one.is_taxon for one in named):
        msg = (
            f"none of the {len(view):,} images has a label; label them, or ask what they show: "
            "leave --labels out, or name a --probe"
        )
        raise SelectionError(msg)
    return named


def judge_named(view: View, named: Sequence[Named], finder: Finder) -> Judged:
    """Return the status of the labels of images; of those that have none it is left out."""
    distinct = {one: one.find(finder) for one in dict.fromkeys(named)}
    kept = [at for at, one in enumerate(named) if one.is_taxon]
    rows = view.rows[kept]
    labels = np.array([named[at].name for at in kept], dtype=object)
    covered = [distinct[named[at]] for at in kept]
    return judge_labels(view.images.name_rows(rows), rows, labels, covered)


def judge_table(
    frame: pd.DataFrame, finder: Finder
) -> tuple[Judged, pd.DataFrame, list[Note | str]]:
    """Sum the scores of a table of answers by status.

    Parameters
    ----------
    frame : DataFrame
        One row an image and answer: ``file_name``, ranks or ``classification``, ``score``. What the
        answers leave of a probability of 1 has no status.
    finder : Finder

    Returns
    -------
    judged : Judged
        Its rows are those of the table's column ``row``, -1 where it has none.
    firsts : DataFrame
        The row of the best answer to each image, for its other columns.
    notes : list of Note or str
    """
    frame = frame.reset_index(drop=True)
    notes: list[Note | str] = []
    kept = _choose_rows(frame, notes)
    frame = frame[kept].reset_index(drop=True)
    said = list_named(frame)
    names = ["file_name", *([REGION] if REGION in frame else [])]
    keys = list(zip(*(name_cells(frame[one]).tolist() for one in names), strict=True))
    numbers: dict[tuple[str, ...], int] = {}
    at = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
    scores = np.ones(len(frame))
    has_scores = "score" in frame.columns
    if has_scores:
        import pandas as pd

        read = pd.to_numeric(frame["score"], errors="coerce").to_numpy(dtype=np.float64)
        scores = np.where(np.isfinite(read), read, 1.0)
    order = np.lexsort((-scores, _read_order(frame), at))
    firsts = order[np.unique(at[order], return_index=True)[1]]
    distinct = {one: one.find(finder) for one in dict.fromkeys(said)}
    covered = [distinct[one] for one in said]
    totals = np.asarray(np.bincount(at, weights=scores, minlength=len(numbers)))
    if (scores < 0).any() or (totals > _MOST).any():
        notes.append(Note(
            "warning: the scores of some images are no probabilities, as they add up to more than "
            "1 or are below 0: the best answer alone counts, as if it were sure", WARNING,
        ))  # fmt: skip
        best = np.zeros(len(frame), dtype=bool)
        best[firsts] = True
        scores = best.astype(np.float64)
        totals = np.bincount(at, weights=scores, minlength=len(numbers))
    shares = np.zeros((len(numbers), len(COLUMNS)))
    np.add.at(shares, at, find_members(covered) * scores[:, np.newaxis])
    rest = np.clip(1 - totals, 0, 1)
    shares[:, _NONE] += rest
    if has_scores and len(rest) and float(np.median(rest)) > 0.01:
        notes.append(
            f"the answers leave {float(np.median(rest)):.3f} of the probability (median), which "
            "has no status here; give zeroshot or probe predict a higher -k, or ask them here"
        )
    first = frame.iloc[firsts].reset_index(drop=True)
    best_said = [said[place] for place in firsts.tolist()]
    judged = Judged(
        {one: name_cells(first[one]) for one in names}, _read_row_numbers(first),
        np.array([one.name for one in best_said], dtype=object),
        scores[firsts] if has_scores else np.full(len(firsts), np.nan),
        tuple(covered[place] for place in firsts.tolist()), np.clip(shares, 0, 1),
    )  # fmt: skip
    is_taxon = np.array([one.is_taxon for one in best_said], dtype=bool)
    if not is_taxon.all():
        n_none = int((~is_taxon).sum())
        notes.append(f"{n_none:,} pictures have no answer of a taxon, and are left out")
        judged, first = judged.take(is_taxon), first[is_taxon].reset_index(drop=True)
    return judged, first, notes


def _choose_rows(frame: pd.DataFrame, notes: list[Note | str]) -> Mask:
    """Return which rows are answers, each part of the probability once."""
    kept = np.ones(len(frame), dtype=bool)
    if CONTENT in frame.columns:
        contents = name_cells(frame[CONTENT])
        none = np.isin(contents.astype(str), _NO_ANSWER)
        if none.any():
            notes.append(f"{int(none.sum()):,} pictures have no answer, and are left out")
        kept &= ~none
    if "rank" in frame.columns:
        ranks = name_cells(frame["rank"])
        there = [one for one in RANK_NAMES if one in set(ranks[kept].tolist())]
        # Answers at ranks above are the same probability, summed.
        kept &= (ranks == there[-1]) if there else True
    if "also" in frame.columns:
        also = name_cells(frame["also"]).astype(str) == "True"
        answers = name_cells(frame["answer"]) if "answer" in frame else np.full(len(frame), "")
        deepest = [one for one in RANK_NAMES if one in frame]
        if also.any() and deepest:
            named = name_cells(frame[deepest[-1]]) != ""
            kept &= ~also | (named & (answers != ""))
    return kept


def _read_order(frame: pd.DataFrame) -> Doubles:
    import pandas as pd

    if "answer" not in frame.columns:
        return np.zeros(len(frame))
    read = pd.to_numeric(frame["answer"], errors="coerce").to_numpy(dtype=np.float64)
    return np.where(np.isfinite(read), read, 1.0)


def _read_row_numbers(frame: pd.DataFrame) -> Rows:
    import pandas as pd

    if "row" not in frame.columns:
        return np.full(len(frame), -1, dtype=np.int64)
    read = pd.to_numeric(frame["row"], errors="coerce").to_numpy(dtype=np.float64)
    return np.where(np.isfinite(read), read, -1).astype(np.int64)
