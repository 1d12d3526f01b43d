"""What is in a picture, by the answers to its regions: any column may say what belongs together."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.content import NO_TAXON, Classified, ContentRules, Detected, decide_content
from bioprobe.images.image_table import ImageTable
from bioprobe.images.regions import DETECTION_CATEGORY, DETECTION_CONFIDENCE, REGION, get_box
from bioprobe.intervals import find_wilson
from bioprobe.provenance import Provenance
from bioprobe.result import Notes, Result
from bioprobe.task.also import ALSO, pool_also
from bioprobe.task.beside import CONTENT, UNREADABLE
from bioprobe.task.decisions import Decisions
from bioprobe.task.predictions import Predictions
from bioprobe.types import Names, Places, Rows

if TYPE_CHECKING:
    import pandas as pd

#: Rows of one picture belong together.
IMAGE = "image"
_HUMAN, _VEHICLE, _BLANK, _ANIMAL, _UNKNOWN = "human", "vehicle", "blank", "animal", "unknown"
# How detectors call what is no animal.
_CONTENT_OF_CATEGORY = {"person": _HUMAN, "human": _HUMAN, "vehicle": _VEHICLE, "animal": _ANIMAL}
# Number of the unit that a row of a table is about, while it is made.
_UNIT = "\0unit"


@dataclasses.dataclass(frozen=True)
class SetFigures:
    """How well sets of taxa that were found are those that are there.

    Parameters
    ----------
    n_units : int
        Pictures that were judged.
    n_found, n_true, n_both : int
        Pairs of a picture and a taxon that were found, that are there, and both.
    n_exact : int
        Pictures of which exactly what is there was found.
    """

    n_units: int
    n_found: int
    n_true: int
    n_both: int
    n_exact: int

    @property
    def precision(self) -> float:
        """Share of what was found that is there."""
        return self.n_both / self.n_found if self.n_found else float("nan")

    @property
    def recall(self) -> float:
        """Share of what is there that was found."""
        return self.n_both / self.n_true if self.n_true else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        both = self.n_found + self.n_true
        return 2 * self.n_both / both if both else float("nan")

    @property
    def exact_fraction(self) -> float:
        """Share of the pictures whose set is exactly right."""
        return self.n_exact / self.n_units if self.n_units else float("nan")

    def __str__(self) -> str:
        low, high = find_wilson(self.exact_fraction, self.n_units)
        return (
            f"precision {self.precision:.3f}, recall {self.recall:.3f}, F1 {self.f1:.3f} over "
            f"pairs of picture and class; exactly the set that is there: {self.exact_fraction:.3f} "
            f"[{low:.3f}, {high:.3f}] (95% interval)"
        )


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Contents(Result):
    """What is in each picture, or other unit.

    Parameters
    ----------
    images : ImageTable
        Image table of the whole store.
    answers : Predictions or Decisions
        To the rows, each on its own.
    by : str
        ``image``, or the column of which equal values belong together.
    frame : DataFrame
        One row a unit and what was found in it, as :meth:`to_frame` returns it.
    figures : SetFigures or None
        How often that is what is there; None where that is not known.
    provenance : Provenance
        What the result was computed from.
    notes : tuple of Note
        What is to be said of it.
    """

    __module__ = "bioprobe"

    images: ImageTable
    answers: Predictions | Decisions
    by: str
    frame: pd.DataFrame
    figures: SetFigures | None
    provenance: Provenance
    notes: Notes = ()

    def __len__(self) -> int:
        first = self.frame[self.frame["answer"] == 1]
        if isinstance(self.answers, Predictions) and self.answers.above:
            first = first[first["rank"] == self.answers.level]
        return len(first)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a picture and class that was found in it, the one of most regions first.

        The columns are those of the answers: ``score``, ``row`` and ``image_region`` are of the
        best region of the class, ``answer`` counts what was found in the picture. ``n_regions``
        are those of the class, ``content`` is what they hold. A person is first, whatever else
        there is. Where a detector was asked, ``decided`` is what the whole picture holds by boxes
        and answers together, and ``decided_by`` which of them says so. A picture without any
        answer is one row.
        """
        return self.frame

    def to_lines(self, frame: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the table for reading, without the ranks above the answer."""
        frame = self.frame if frame is None else frame
        names = [name for name in ("file_name", self.by, REGION) if name in frame]
        shown = frame[names].assign(answer=_name_answer(frame))
        rest = ("common_name", "score", "n_regions", CONTENT, "reason")
        return shown.assign(**{name: frame[name] for name in rest if name in frame})


def find_units(images: ImageTable, rows: Rows, by: str) -> tuple[Places, Names]:
    """Return what belongs together: the number of each row's unit, and the units' names.

    Parameters
    ----------
    images : ImageTable
    rows : ndarray of int64, shape (n_rows,)
    by : str
        ``image``, or a column; a row without a value is on its own.

    Returns
    -------
    numbers : ndarray of int64, shape (n_rows,)
        From 0, in the order of the rows.
    names : ndarray of object, shape (n_units,)
        File, or value of the column.

    Raises
    ------
    SelectionError
        If there is no such column.
    """
    import pandas as pd

    if by == IMAGE:
        numbers = images.number_files(rows)
        names = images.name_files(rows)
    else:
        names = images.labels(by)[rows]
        own = np.array([f"\0{place}" for place in range(len(rows))], dtype=object)
        numbers = np.asarray(pd.factorize(np.where(names == "", own, names))[0], dtype=np.int64)
    _, firsts = np.unique(numbers, return_index=True)
    return numbers, np.asarray(names[firsts], dtype=object)


def find_contents(images: ImageTable, rows: Rows, told: Names) -> Names:
    """Return what each row holds, by what is told of it, or by the detector's category.

    Parameters
    ----------
    images : ImageTable
    rows : ndarray of int64, shape (n_rows,)
    told : ndarray of object, shape (n_rows,)
        By a column ``content`` or a filter; ``""`` where nothing tells.

    Returns
    -------
    ndarray of object, shape (n_rows,)
        animal, blank, human, vehicle, unknown, or ``""`` where nothing tells. A category ``person``
        or ``human`` is not undone by another word than ``human``.
    """
    held = np.asarray(told, dtype=object).copy()
    if DETECTION_CATEGORY in images.columns:
        categories = images.labels(DETECTION_CATEGORY)[rows]
        seen = [_CONTENT_OF_CATEGORY.get(str(one).casefold(), "") for one in categories]
        for place, one in enumerate(seen):
            if one and (held[place] in ("", _UNKNOWN) or one == _HUMAN):
                held[place] = one
    return held


def pool(
    answers: Predictions | Decisions, by: str = IMAGE, rules: ContentRules | None = None
) -> Contents:
    """Say what is in each picture, from the answers to its regions.

    Of a region the best answer counts, unless it holds a person, a vehicle or nothing. Rows that
    are about the same box count once.

    Parameters
    ----------
    answers : Predictions or Decisions
        To regions, or to whole pictures.
    by : str
        ``image``, or a column of which equal values belong together.
    rules : ContentRules, optional
        Thresholds by which the boxes of a picture and its answers together say what it holds;
        where no detector was asked, that is not said.

    Raises
    ------
    SelectionError
        If there is no such column.
    """
    import pandas as pd

    if isinstance(answers, Predictions) and answers.above:
        return _pool_ranks(answers, by, rules)
    images, rows = answers.images, answers.rows
    numbers, _ = find_units(images, rows, by)
    also, answers = answers.also, dataclasses.replace(answers, also=None)
    told = answers.beside.content[rows] if answers.beside else np.full(len(rows), "", dtype=object)
    held = find_contents(images, rows, told)
    single = answers.keep_best(1) if isinstance(answers, Predictions) else answers
    table = single.to_frame()
    is_asked = table["row"].isin(rows.tolist()).to_numpy(dtype=bool)
    if CONTENT in table:
        is_asked = is_asked & (table[CONTENT] != UNREADABLE).to_numpy(dtype=bool)
    best, without = table[is_asked], table[~is_asked]
    place_of = {int(row): place for place, row in enumerate(rows)}
    order = np.array([place_of[int(row)] for row in best["row"]], dtype=np.int64)
    best = best.reset_index(drop=True)
    if by != IMAGE and by not in best:
        best = best.assign(**{by: images.labels(by)[rows[order]]})
    classes = _name_classes(answers)[order]
    found = _gather(best, numbers[order], classes, held[order], images)
    found = _decide(found, answers, numbers, rules)
    if also is not None:
        # Beside what was found in a picture, the highest score that any of its regions has.
        shared = ["file_name", by, "row", _UNIT, DECIDED, DECIDED_BY]
        found = pool_also(also, numbers).add_to(found, [_UNIT], shared)
    found = found.drop(columns=_UNIT)
    if len(without):
        found = pd.concat([found, without], ignore_index=True)
    figures = _measure(answers, numbers, held)
    return Contents(images, answers, by, found, figures, answers.provenance, ())


def _pool_ranks(answers: Predictions, by: str, rules: ContentRules | None) -> Contents:
    """Say what is in each picture at every rank."""
    import pandas as pd

    lowest = dataclasses.replace(answers, above=())
    found = [
        pool(dataclasses.replace(one, beside=answers.beside), by, rules)
        for one in (*answers.above, lowest)
    ]
    frames = []
    for one, contents in zip((*answers.above, lowest), found, strict=True):
        frame = contents.frame
        if one is not lowest:
            # A picture without an answer is one row, and what is given always stands with the last.
            frame = frame[frame["answer"].notna()]
            frame = frame[~frame[ALSO]].drop(columns=ALSO) if ALSO in frame else frame
        frame = frame.copy()
        frame.insert(list(frame.columns).index("row") + 1, "rank", one.level)
        frames.append(frame)
    joined = pd.concat([frames[-1].iloc[:0], *frames], ignore_index=True)
    if ALSO in joined:
        joined[ALSO] = joined[ALSO].eq(True)
    for name in [one for one in joined if joined[one].dtype.kind not in "fiub"]:
        joined[name] = joined[name].fillna("")
    units = pd.factorize(joined["file_name" if by == IMAGE else by])[0]
    joined = joined.iloc[np.argsort(units, kind="stable")].reset_index(drop=True)
    return dataclasses.replace(found[-1], answers=answers, frame=joined)


def _name_classes(answers: Predictions | Decisions) -> Names:
    """Return a text that stands for the best answer of each row, ``""`` where there is none."""
    if isinstance(answers, Predictions):
        best = answers.answers[:, 0]
        return np.array([str(place) if place >= 0 else "" for place in best], dtype=object)
    lineages = [answers.answer(image) for image in range(len(answers))]
    if answers.classes is not None:
        return np.array(answers.names, dtype=object)
    return np.array(["|".join(one.lineage) if one else "" for one in lineages], dtype=object)


@dataclasses.dataclass
class _Found:
    """What was found in one unit: regions of one class, or that hold no taxon."""

    content: str
    is_named: bool
    boxes: set[str] = dataclasses.field(default_factory=set)
    score: float = -1.0
    place: int = -1

    def add(self, box: str, score: float, place: int) -> None:
        self.boxes.add(box)
        if self.place < 0 or score > self.score:
            self.score, self.place = score, place

    @property
    def order(self) -> tuple[bool, bool, int, float, int]:
        """The first of a unit is the smallest: a person, then the class of most regions."""
        is_person = self.content == _HUMAN
        return not is_person, not self.is_named, -len(self.boxes), -self.score, self.place


def _gather(
    best: pd.DataFrame, numbers: Places, classes: Names, held: Names, images: ImageTable
) -> pd.DataFrame:
    """Return one row a unit and what was found there, from one row a region."""
    rows = best["row"].to_numpy(dtype=np.int64)
    names = ("root", "path", REGION)
    facts = zip(*(images.column(name).to_numpy()[rows] for name in names), strict=True)
    boxes = [f"{root}\0{path}\0{get_box(region)}" for root, path, region in facts]
    scores = best["score"].fillna(-1.0).tolist()
    units: dict[int, dict[str, _Found]] = {}
    for place, unit in enumerate(numbers.tolist()):
        content = str(held[place])
        is_named = content not in NO_TAXON and classes[place] != ""
        key = f"\0{classes[place]}" if is_named else content
        mine = units.setdefault(unit, {})
        one = mine.setdefault(key, _Found(content, is_named))
        if is_named and content == _ANIMAL:
            one.content = content
        one.add(boxes[place], scores[place], place)
    shown = [(one, at) for mine in units.values() for at, one in enumerate(_choose(mine), 1)]
    of_unit = [unit for unit, mine in units.items() for _ in _choose(mine)]
    found = best.iloc[[one.place for one, _ in shown]].reset_index(drop=True)
    is_named_row = np.array([one.is_named for one, _ in shown], dtype=bool)
    for name in [name for name in best if name in _OF_ANSWER]:
        blank: Any = np.nan if found[name].dtype.kind == "f" else ""
        found[name] = found[name].where(is_named_row, blank)
    found["answer"] = [at for _, at in shown]
    at = list(found.columns).index("row") + 1
    found.insert(at, "n_regions", [len(one.boxes) for one, _ in shown])
    contents = [one.content for one, _ in shown]
    if any(contents):
        found[CONTENT] = contents
    return found.assign(**{_UNIT: of_unit})


#: What a picture holds by boxes and answers together, and which of them says so.
DECIDED, DECIDED_BY = "decided", "decided_by"


def _decide(
    found: pd.DataFrame,
    answers: Predictions | Decisions,
    numbers: Places,
    rules: ContentRules | None,
) -> pd.DataFrame:
    """Add what each picture holds by its boxes and its answers, where a detector was asked.

    References
    ----------
    :func:`bioprobe.content.decide_content`
    """
    columns = [DETECTION_CATEGORY, DETECTION_CONFIDENCE]
    if not {*columns} <= {*answers.images.columns}:
        return found
    facts = answers.images.take(answers.rows, columns)
    boxes: dict[int, list[Detected]] = {}
    told: dict[int, dict[str, Classified]] = {}
    named = zip(facts.itertuples(index=False, name=None), numbers.tolist(), strict=True)
    for place, ((category, confidence), unit) in enumerate(named):
        confidence = 0.0 if confidence is None or confidence != confidence else confidence
        boxes.setdefault(unit, []).append(Detected(str(category), float(confidence)))
        mine = told.setdefault(unit, {})
        for one in _classify(answers, place):
            known = mine.get(one.label)
            if known is None or one.score > known.score:
                mine[one.label] = one
    decided = {
        unit: decide_content(boxes[unit], list(told[unit].values()), rules) for unit in boxes
    }
    unit_of = dict(zip(answers.rows.tolist(), numbers.tolist(), strict=True))
    units = [decided[unit_of[int(row)]] for row in found["row"]]
    return found.assign(
        **{DECIDED: [one.content for one in units], DECIDED_BY: [one.source for one in units]}
    )


def _classify(answers: Predictions | Decisions, place: int) -> list[Classified]:
    """Return the answers to one row, as far as they are at hand."""
    if isinstance(answers, Decisions):
        name = answers.names[place]
        depth = int(answers.depths[place])
        if depth < 0:
            return []
        taxon = answers.answer(place)
        lineage = taxon.lineage if taxon else ()
        return [Classified(name, float(answers.scores[place, depth]), lineage)]
    found, names = [], answers.classes.names
    scores = answers.answer_scores[place].tolist()
    for one, score in zip(answers.answers[place].tolist(), scores, strict=True):
        taxon = answers.find_taxon(one)
        if one >= 0:
            name = names[one] if one < len(names) or taxon is None else taxon.name
            found.append(Classified(name, float(score), taxon.lineage if taxon else ()))
    return found


def _choose(found: dict[str, _Found]) -> list[_Found]:
    """Return what is said of a unit: where anything is in it, its empty regions say nothing."""
    ordered = sorted(found.values(), key=lambda one: one.order)
    held = [one for one in ordered if one.is_named or one.content in (_HUMAN, _VEHICLE)]
    if held:
        return held
    # What is unsure may be an animal: a blank part of the picture does not say that it is none.
    return sorted(ordered, key=lambda one: (one.content == _BLANK, one.order))[:1]


# Columns of a table of answers that are empty where a region holds no taxon.
_OF_ANSWER = (
    "kingdom", "phylum", "class", "order", "family", "genus", "species_epithet", "species",
    "common_name", "classification", "taxon", "score", "rank", "reason", "share_outside",
    "best_outside", "best_outside_score", "rolled_up_to", "prior",
    *(f"score_{rank}" for rank in ("kingdom", "phylum", "class", "order", "family", "genus",
                                   "species")),
)  # fmt: skip


def _name_answer(frame: pd.DataFrame) -> pd.Series[Any]:
    """Return the lowest name of each row, or what it holds in its place."""
    ranks = [name for name in _OF_ANSWER[:8] if name in frame and name != "species_epithet"]
    if ranks:
        names = frame[ranks].replace("", np.nan).ffill(axis=1).iloc[:, -1].fillna("")
    else:
        names = frame["classification"].fillna("")
    if CONTENT in frame:
        names = names.where(names != "", frame[CONTENT].fillna(""))
    return names


def _measure(answers: Predictions | Decisions, numbers: Places, held: Names) -> SetFigures | None:
    """Compare the sets of classes that were found with those of the labels, by unit."""
    if not isinstance(answers, Predictions):
        return None
    truth, labels = answers.truth_classes, answers.truth
    judged: npt.NDArray[np.bool_] = labels != ""
    n_units = int(numbers.max(initial=-1)) + 1
    is_judged = np.bincount(numbers[judged], minlength=n_units) > 0
    if answers.taught is not None:
        is_judged &= np.bincount(numbers[answers.taught], minlength=n_units) == 0
    if not is_judged.any():
        return None
    there: dict[int, set[str]] = {unit: set() for unit in np.flatnonzero(is_judged).tolist()}
    found: dict[int, set[str]] = {unit: set() for unit in there}
    for unit, known, label, answer, content in zip(
        numbers.tolist(), truth.tolist(), labels, answers.answers[:, 0].tolist(), held,
        strict=True,
    ):  # fmt: skip
        if unit not in there:
            continue
        if label:
            # A label that is none of the classes is one that could not be found.
            there[unit].add(str(known) if known >= 0 else f"\0{label}")
        if content not in NO_TAXON:
            found[unit].add(str(answer))
    return SetFigures(
        len(there),
        sum(map(len, found.values())),
        sum(map(len, there.values())),
        sum(len(found[unit] & mine) for unit, mine in there.items()),
        sum(found[unit] == mine for unit, mine in there.items()),
    )
