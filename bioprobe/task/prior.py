"""What is known of place and season before a picture is seen: how frequent each taxon is there.

The probability of a class is multiplied by its weight, and made to add up to 1 again: Bayes' rule,
where the pictures that taught a model, or its texts, speak of all classes alike. A weight is
relative to the greatest one among the classes that are asked, in the same kind of place, and never
below a floor: what was never recorded may still stand before the camera.

References
----------
Mac Aodha, Cole and Perona 2019, *Presence-Only Geographical Priors for Fine-Grained Image
Classification*; Saerens, Latinne and Decaestecker 2002, *Adjusting the Outputs of a Classifier to
New a Priori Probabilities*.
"""

from __future__ import annotations

import calendar
import dataclasses
import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.access import is_file, read_bytes
from bioprobe.cells import name_cells
from bioprobe.content import read_content
from bioprobe.errors import MisuseError, SelectionError, TaxonomyError
from bioprobe.files import reading_source
from bioprobe.images.camera import CAPTURED_AT
from bioprobe.images.times import read_times
from bioprobe.names import fold
from bioprobe.options import RANK_NAMES
from bioprobe.result import WARNING, Note, name_some
from bioprobe.store.view import View
from bioprobe.task.decisions import Decisions
from bioprobe.task.predictions import Predictions
from bioprobe.task.prior_classes import (
    MOST_SHOWN,
    Found,
    Lineage,
    describe_lost,
    find_classes,
    find_near,
)
from bioprobe.task.scores import find_top
from bioprobe.task.target import Classes
from bioprobe.taxonomy import Taxon, Taxonomy
from bioprobe.taxonomy.columns import (
    COMMON_NAME,
    find_first,
    find_rank_columns,
    read_labels,
    spell_column,
    spell_columns,
)
from bioprobe.taxonomy.lists import read_list
from bioprobe.types import Doubles, Mask, Names, Places, Scores

if TYPE_CHECKING:
    import pandas as pd

#: Weight of what a table does not list, relative to the greatest.
FLOOR = 0.01
#: Column of answers: the weight of the answered class.
PRIOR = "prior"
MONTH = "month"
# Headers of weights, as :func:`bioprobe.taxonomy.columns.spell_column` writes them; the first of
# several counts: Darwin Core, GBIF's species lists, eBird's bar charts, tables of people.
_WEIGHTS = (
    "weight", "prior", "probability", "prob", "frequency", "freq", "share", "proportion", "count",
    "counts", "n", "number", "nrecords", "records", "recordcount", "numberofoccurrences",
    "occurrences", "occurrencecount", "observations", "observationcount", "nobservations",
    "individualcount", "abundance", "relativeabundance", "percent", "percentage", "total",
)  # fmt: skip
# Headers of names where there is no column of a rank.
_NAMES = ("taxon", "name", "label", "classification", "category", "class", "bin")
# Columns of an image table that say what is asked, and not where or when.
_NO_PLACES = {"label", "content", "subspecies", "identificationqualifier", "prompt"}
# Columns that say where or when, which the pictures should have too.
_PLACES = {
    "month", "season", "week", "year", "hour", "site", "sitename", "siteid", "station", "location",
    "locationid", "locality", "region", "country", "countrycode", "admin1", "state",
    "stateprovince", "county", "park", "habitat", "biome", "deployment", "deploymentid", "camera",
    "grid", "cell", "zone", "plot",
}  # fmt: skip
# Weights that are held at once: 4 GB.
_MOST_WEIGHTS = 1_000_000_000
_MONTHS = {
    name.casefold(): number
    for names in (calendar.month_name, calendar.month_abbr)
    for number, name in enumerate(names)
    if name
}
_WHOLE_MONTH = re.compile(r"0?([1-9]|1[0-2])(?:\.0+)?")
_DATED_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])(?:-\d\d.*)?")

_Kind = tuple[str, ...]


def _read_month(text: str) -> str:
    """Return the number of a month that is written in any of several ways, ``""`` for none.

    Examples
    --------
    >>> [_read_month(one) for one in ("05", "May", "2024-05", "13")]
    ['5', '5', '5', '']
    """
    written = text.strip().casefold().rstrip(".")
    for form in (_WHOLE_MONTH, _DATED_MONTH):
        if found := form.fullmatch(written):
            return str(int(found[1]))
    return str(_MONTHS.get(written, ""))


@dataclasses.dataclass(frozen=True, eq=False)
class Prior:
    """A table of how frequent taxa are, in all places or in each kind of them.

    Make one with :func:`read_prior`.

    Parameters
    ----------
    path : str
        Of the table.
    sha256 : str
        Of its bytes.
    floor : float
        Least weight of a class, relative to the greatest; in (0, 1].
    lineages : tuple of tuple of str
        Of each row, from kingdom to species.
    names : tuple of str
        Of each row, as it is written.
    weights : ndarray of float64, shape (n_rows,)
        None below 0.
    columns : dict of str to ndarray of object, each of shape (n_rows,)
        Further columns, which may say where and when; ``""`` where a row says nothing.
    unread : tuple of str
        What could not be read, each with its place in the file.
    """

    path: str
    sha256: str
    floor: float
    lineages: tuple[Lineage, ...]
    names: tuple[str, ...]
    weights: Doubles
    columns: dict[str, Names]
    unread: tuple[str, ...] = ()

    def weigh(self, classes: Classes, view: View) -> Weighed:
        """Return the weights of classes for the images of a view.

        Raises
        ------
        SelectionError
            If no class has a weight in the table.
        """
        return self._weigh(classes.names, classes.taxa, view, classes.meant)

    def weigh_taxa(self, taxa: Iterable[Taxon], view: View) -> Weighed:
        """Return the weights of taxa, of any rank, for the images of a view; see :meth:`weigh`."""
        listed = tuple(taxa)
        return self._weigh([taxon.name for taxon in listed], listed, view)

    def describe(self) -> dict[str, Any]:
        """Return what answers depend on, JSON-ready."""
        return {"file": self.path, "sha256": self.sha256, "floor": self.floor}

    @cached_property
    def _distinct(self) -> tuple[list[tuple[Lineage, str]], Places]:
        """Return the taxa of the table, each once, and that of each row."""
        keys = [
            (lineage, "" if any(lineage) else fold(name))
            for lineage, name in zip(self.lineages, self.names, strict=True)
        ]
        places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        first = dict(reversed(list(zip(keys, self.names, strict=True))))
        numbers = np.array([places[key] for key in keys], dtype=np.int64)
        return [(lineage, first[lineage, form]) for lineage, form in places], numbers

    def _weigh(
        self, names: Sequence[str], taxa: Sequence[Taxon], view: View,
        meant: Sequence[Sequence[Taxon]] = (),
    ) -> Weighed:  # fmt: skip
        listed, numbers = self._distinct
        known = view.images.taxa if taxa or any(meant) else Taxonomy(())
        found = find_classes(listed, names, taxa, known, meant)
        if not found.n_found:
            near = find_near([name for _, name in listed], names)
            listed_near = "; ".join(f"{name} is near {other}" for name, other in near[:MOST_SHOWN])
            msg = (
                f"none of the {len(listed):,} taxa of {self.path} is one of the {len(names):,} "
                f"classes, or above or below one{f' ({listed_near})' if near else ''}; give a "
                "table of these taxa, or leave --prior out"
            )
            raise SelectionError(msg)
        by, columns, written = self._read_places(view)
        row_kinds, of_rows = _number([self.columns[name] for name in by], len(numbers))
        counts = self._find_counting(by, numbers, of_rows)
        in_kind = [
            _sum_rows(numbers, self.weights, counts & (of_rows == one))
            for one in range(len(row_kinds))
        ]
        kinds, of_images = _number(columns, len(view))
        if len(kinds) * len(names) > _MOST_WEIGHTS:
            msg = (
                f"weights of {len(names):,} classes in {len(kinds):,} kinds of place "
                f"({' and '.join(by)}) need {4e-9 * len(kinds) * len(names):.0f} GB; ask fewer "
                "images at once with --where, or fewer classes with --within"
            )
            raise SelectionError(msg)
        lines = np.ones((len(kinds), len(names)), dtype=np.float32)
        is_known = np.zeros(len(kinds), dtype=bool)
        applying = _Applying(row_kinds)
        for number, kind in enumerate(kinds):
            line = np.full(len(listed), np.nan)
            for one in applying.find(kind):
                own, sums = in_kind[one]
                line[own] = sums
            weights = np.nan_to_num(found.spread(line, len(names)))
            if most := weights.max(initial=0.0):
                lines[number] = np.maximum(weights / most, self.floor)
                is_known[number] = True
        moved = np.ones(len(names), dtype=bool)
        if not taxa:
            # What holds no taxon, such as blank, is as likely as the picture says.
            moved = found.weighed | np.array([not read_content(name) for name in names])
        values = [tuple(written[value] for value in kind) for kind in kinds]
        return Weighed(
            self, lines, of_images, moved, is_known, tuple(by), values, found, len(names),
            self._describe_places(view, by),
        )  # fmt: skip

    def _find_counting(self, by: Sequence[str], numbers: Places, of_rows: Places) -> Mask:
        """Tell which rows count: without a place, of a taxon those of any place, else all."""
        narrow = np.zeros(len(numbers), dtype=bool)
        for name, values in self.columns.items():
            if name not in by and spell_column(name) in _PLACES:
                narrow |= values != ""
        keys = list(zip(numbers.tolist(), of_rows.tolist(), strict=True))
        wide = {key for key, one in zip(keys, narrow, strict=True) if not one}
        counting: Mask = ~(narrow & np.array([key in wide for key in keys], dtype=bool))
        return counting

    def _read_places(self, view: View) -> tuple[list[str], list[Names], dict[str, str]]:
        """Return the columns that the pictures have too, their values, and how they write them."""
        images = view.images
        there = spell_columns(view.images.free_columns)
        by: list[str] = []
        columns: list[Names] = []
        written: dict[str, str] = {}
        for name in self.columns:
            spelt = spell_column(name)
            if spelt in there:
                values = name_cells(images.column(there[spelt]))[view.rows]
            elif spelt == MONTH and CAPTURED_AT in there.values():
                times = read_times(name_cells(images.column(CAPTURED_AT)), view.rows)[0]
                months = times.astype("datetime64[M]").astype(np.int64) % 12 + 1
                values = np.where(np.isnat(times), "", months.astype(str)).astype(object)
            else:
                continue
            read = _read_month if spelt == MONTH else fold
            numbers = {one: read(one) for one in set(values.tolist())}
            written |= {form: one for one, form in numbers.items()}
            by.append(name)
            columns.append(np.array([numbers[one] for one in values], dtype=object))
        return by, columns, written

    def _describe_places(self, view: View, by: Sequence[str]) -> list[Note | str]:
        """Say which columns of the table the pictures lack although they part its rows."""
        said: list[Note | str] = []
        there = {spell_column(name) for name in view.images.free_columns}
        if any(spell_column(name) == MONTH for name in by) and MONTH not in there:
            said.append(f"the month of each picture is that of {CAPTURED_AT}")
        numbers = self._distinct[1].tolist()
        lacking = []
        for name in (one for one in self.columns if one not in by):
            values = self.columns[name].tolist()
            if len(set(zip(numbers, values, strict=True))) > len(set(numbers)):
                lacking.append(name)
        places = [name for name in lacking if spell_column(name) in _PLACES]
        if places:
            text = (
                f"the prior has rows for each {' and '.join(places)}, and the pictures no such "
                "column: of a taxon the rows of any place count, else all of them, added up; give "
                "the pictures this column to have them apart"
            )
            said.append(Note(text, WARNING))
        others = [name for name in lacking if name not in places]
        if others:
            said.append(
                f"rows of a taxon that differ in {name_some(others, MOST_SHOWN)} are added up"
            )
        return said


@dataclasses.dataclass(frozen=True, eq=False)
class Weighed:
    """Weights of classes for some images.

    Parameters
    ----------
    prior : Prior
        The table.
    lines : ndarray of float32, shape (n_kinds, n_classes)
        Weights in each kind of place, relative to the greatest: from the floor to 1.
    kinds : ndarray of int64, shape (n_images,)
        Line of each image.
    moved : ndarray of bool, shape (n_classes,)
        Classes that the table is about. The others, such as blank, keep their probability.
    is_known : ndarray of bool, shape (n_kinds,)
        Kinds of which the table says anything; all weights of the others are 1.
    by : tuple of str
        Columns that say the kind of an image.
    values : tuple of tuple of str
        Their values in each kind.
    """

    prior: Prior
    lines: Scores
    kinds: Places
    moved: Mask
    is_known: Mask
    by: tuple[str, ...]
    values: Sequence[_Kind]
    found: Found
    n_classes: int
    said: Sequence[Note | str] = ()

    @property
    def has_prior(self) -> Mask:
        """Whether each image has one, shape (n_images,)."""
        return self.is_known[self.kinds]

    def apply(self, probabilities: Scores, images: slice | Places = slice(None)) -> Scores:
        """Return probabilities of all classes for some of the images, with the prior.

        Parameters
        ----------
        probabilities : ndarray of float32, shape (n, n_classes)
            Rows add up to 1, or to less where some class is not asked.
        images : slice or ndarray of int64, optional
            Which of the images these are; all by default.
        """
        kinds = self.kinds[images]
        weights = np.where(self.moved, self.lines[kinds], 0)
        weighed = np.asarray(probabilities, dtype=np.float64) * weights
        before = probabilities.sum(axis=1, where=self.moved, dtype=np.float64)
        total = weighed.sum(axis=1)
        factor = np.divide(before, total, out=np.zeros_like(total), where=total > 0)
        out = np.where(self.moved, weighed * factor[:, np.newaxis], probabilities)
        # Where all that it is about has no probability in float32, there is nothing to weigh.
        out = np.where((total > 0)[:, np.newaxis], out, probabilities)
        kept = ~self.is_known[kinds]
        out[kept] = probabilities[kept]
        return np.asarray(out, dtype=np.float32)

    def complete(self, answers: Predictions) -> Predictions:
        """Return answers with the weight of each, and what they depend on."""
        options = {**answers.provenance.options, "prior": self.describe()}
        columns = {**answers.columns, PRIOR: self.list_weights(answers.top_classes)}
        provenance = dataclasses.replace(answers.provenance, options=options)
        return dataclasses.replace(answers, columns=columns, provenance=provenance)

    def list_weights(self, top: Places, images: slice | Places = slice(None)) -> Scores:
        """Return the weight of each answer, not a number where it has none.

        Parameters
        ----------
        top : ndarray of int64, shape (n_images, k)
            Classes; -1 for none.
        images : slice or ndarray of int64, optional
            Which of the images these are; all by default.

        Returns
        -------
        ndarray of float32, of the same shape
        """
        kinds = self.kinds[images]
        weights = self.lines[kinds[:, np.newaxis], top]
        counts = self.is_known[kinds][:, np.newaxis] & self.moved[top] & (top >= 0)
        return np.where(counts, weights, np.nan).astype(np.float32)

    def complete_decisions(self, decided: Decisions, of_class: Sequence[Places]) -> Decisions:
        """Return decisions as :meth:`complete` returns answers.

        The weight of an answer above the classes is the greatest of those below it.

        Parameters
        ----------
        decided : Decisions
        of_class : sequence of ndarray of int64, each of shape (n_classes,)
            Group of each class at each rank, -1 where it has none.
        """
        weights = np.full(len(decided), np.nan, dtype=np.float32)
        for depth in np.unique(decided.depths[decided.depths >= 0]).tolist():
            images = np.flatnonzero(decided.depths == depth)
            best = decided.best[images, depth]
            grouped = self.group(of_class[depth], int(of_class[depth].max()) + 1)
            weights[images] = grouped.list_weights(best[:, np.newaxis], images)[:, 0]
        options = {**decided.provenance.options, "prior": self.describe()}
        return dataclasses.replace(
            decided, columns={**decided.columns, PRIOR: weights},
            provenance=dataclasses.replace(decided.provenance, options=options),
        )  # fmt: skip

    def group(self, of_class: Places, n_groups: int) -> Weighed:
        """Return the greatest weight of each group of classes; -1 is of none."""
        order = np.argsort(of_class, kind="stable")
        order = order[of_class[order] >= 0]
        groups, starts = np.unique(of_class[order], return_index=True)
        lines = np.ones((len(self.lines), n_groups), dtype=np.float32)
        moved = np.zeros(n_groups, dtype=bool)
        if len(order):
            lines[:, groups] = np.maximum.reduceat(self.lines[:, order], starts, axis=1)
            moved[groups] = np.logical_or.reduceat(self.moved[order], starts)
        return dataclasses.replace(self, lines=lines, moved=moved)

    def reweigh(self, answers: Predictions, k: int) -> Predictions:
        """Return the best ``k`` classes with the prior, of answers with every class."""
        top, scores = find_top(self.apply(answers.to_dense()), k)
        return self.complete(dataclasses.replace(answers, top_classes=top, scores=scores))

    def describe(self) -> dict[str, Any]:
        """Return what answers depend on, JSON-ready."""
        n_with = int(self.has_prior.sum())
        return {**self.prior.describe(), "by": list(self.by), "n_images_with_prior": n_with}

    def list_notes(self, names: Sequence[str]) -> list[Note | str]:
        """Say what the table is about, what of it is no class, and which images have no prior."""
        prior, listed = self.prior, self.prior._distinct[0]
        by = f" by {' and '.join(self.by)}" if self.by else ""
        n_weighed = int(self.found.weighed.sum())
        said: list[Note | str] = [
            f"prior {prior.path}{by}: {n_weighed:,} of {self.n_classes:,} classes have a weight, "
            f"the others the floor, {prior.floor:g} of the greatest"
        ]
        if not self.moved.all():
            kept = [name for name, is_moved in zip(names, self.moved, strict=True) if not is_moved]
            said.append(f"no taxa, so as likely as without the prior: {', '.join(kept)}")
        said += self.said
        unread = prior.unread
        if unread:
            shown = "; ".join(unread[:MOST_SHOWN]) + (" …" if len(unread) > MOST_SHOWN else "")
            said.append(
                Note(f"{len(unread):,} rows of {prior.path} do not count: {shown}", WARNING)
            )
        said += describe_lost([listed[place][1] for place in self.found.lost], names, prior.path)
        return [*said, *self._describe_unknown()]

    def _describe_unknown(self) -> list[Note | str]:
        n_without = int((~self.has_prior).sum())
        if not n_without:
            return []
        counts = np.bincount(self.kinds, minlength=len(self.values))
        unknown = [
            (int(counts[one]), self.values[one]) for one in np.flatnonzero(~self.is_known).tolist()
        ]
        unknown.sort(key=lambda one: -one[0])
        named = [
            f"{', '.join(value or 'not known' for value in kind)} ({n:,})"
            for n, kind in unknown[:MOST_SHOWN]
            if n and kind
        ]
        more = " …" if len(unknown) > MOST_SHOWN else ""
        where = f" of {' and '.join(self.by)}: {', '.join(named)}{more}" if named else ""
        text = (
            f"{n_without:,} of {len(self.kinds):,} images have no prior: the table says nothing"
            f"{where}"
        )
        return [Note(text, WARNING)]


def read_prior(path: str | Path, *, floor: float = FLOOR) -> Prior:
    """Read a table of how frequent taxa are.

    Parameters
    ----------
    path : str or Path
        Any table that bioprobe reads: the taxon, in columns of ranks or of a scientific name as
        taxon lists have them, or one called ``taxon``, ``name`` or ``label``; its weight, a
        probability, frequency or count, as ``weight``, ``frequency``, ``count`` or another common
        name; and further columns, of which those count that the pictures have too, such as
        ``site``, and ``month``. An empty cell there is any value.
    floor : float
        Least weight of a class, relative to the greatest; in (0, 1].

    Raises
    ------
    MisuseError
        If the floor is out of range.
    TaxonomyError
        If there is no such table, it has no column of taxa or of weights, or no row that counts.
    SourceError
        If it cannot be read.
    """
    if not 0 < floor <= 1:
        msg = (
            f"--prior-floor is above 0 and at most 1, got {floor:g}: a prior never forbids; to "
            "leave taxa out, give a list of what may be with --within"
        )
        raise MisuseError(msg)
    path = Path(path)
    if not is_file(path):
        msg = f"no table of weights at {path}; expected one with the columns taxon and weight"
        raise TaxonomyError(msg)
    with reading_source(path):
        digest = hashlib.sha256(read_bytes(path)).hexdigest()
    frame, unit = read_list(path)
    weight_column = _find_weights(frame, path)
    if frame.empty:
        msg = f"{path} has no row that counts: it is empty; give a row for each taxon"
        raise TaxonomyError(msg)
    places = [f"{unit} {place}" for place in frame.index]
    others = frame.drop(columns=[weight_column])
    labels, written, used = _read_names(others, path)
    weights, reasons = zip(*map(_read_weight, name_cells(frame[weight_column])), strict=True)
    columns = {
        str(name): name_cells(others[name])
        for name in others.columns
        if name not in used and spell_column(name) not in _NO_PLACES
    }
    unread, kept = [], np.ones(len(frame), dtype=bool)
    for row, place in enumerate(places):
        reason = reasons[row] or ("" if written[row] else "no taxon")
        for name, values in columns.items() if not reason else ():
            if spell_column(name) == MONTH and values[row]:
                month = _read_month(values[row])
                reason = reason or ("" if month else f"{values[row]!r} is no month")
                values[row] = month
        if reason:
            unread.append(f"{place}: {reason}")
            kept[row] = False
    if not kept.any():
        msg = f"{path} has no row that counts: {'; '.join(unread[:MOST_SHOWN]) or 'it is empty'}"
        raise TaxonomyError(msg)
    rows = np.flatnonzero(kept)
    return Prior(
        str(path), digest, floor,
        tuple(labels[row] for row in rows), tuple(written[row] for row in rows),
        np.array(weights, dtype=np.float64)[rows],
        {
            name: np.array([value if spell_column(name) == MONTH else fold(value)
                            for value in values[rows]], dtype=object)
            for name, values in columns.items()
        },
        tuple(unread),
    )  # fmt: skip


def _find_weights(frame: pd.DataFrame, path: Path) -> str:
    spelt = spell_columns(frame.columns)
    found = find_first(_WEIGHTS, spelt)
    if found is None:
        msg = (
            f"{path} has no column of weights among {', '.join(map(str, frame.columns))}; name it "
            "weight, frequency, count or probability"
        )
        raise TaxonomyError(msg)
    return str(found)


def _read_names(frame: pd.DataFrame, path: Path) -> tuple[list[Lineage], list[str], set[str]]:
    """Return the lineage and the name of each row, and the columns that say them."""
    found = find_rank_columns(frame.columns)
    if not set(found) - {COMMON_NAME}:
        spelt = spell_columns(frame.columns)
        named = next((spelt[one] for one in _NAMES if one in spelt), found.get(COMMON_NAME))
        if named is None:
            msg = (
                f"{path} has no column of taxa among {', '.join(map(str, frame.columns))}; name it "
                "taxon, or have columns of ranks such as species and family"
            )
            raise TaxonomyError(msg)
        texts = [str(one) for one in name_cells(frame[named])]
        read = read_labels(frame[[named]].set_axis(["scientificName"], axis=1), apart=False)
        used = {str(named), *found.values()}
    else:
        read, used = read_labels(frame, apart=False), set(found.values())
        texts = [""] * len(frame)
    lineages = list(read[list(RANK_NAMES)].itertuples(index=False, name=None))
    common = read[COMMON_NAME].tolist()
    written = [
        text or next((name for name in reversed(lineage) if name), "") or other
        for text, lineage, other in zip(texts, lineages, common, strict=True)
    ]
    return lineages, written, used


def _read_weight(text: str) -> tuple[float, str]:
    """Return a weight, and why it is none."""
    if not text:
        return math.nan, "no weight"
    written, scale = (text[:-1], 0.01) if text.endswith("%") else (text, 1.0)
    try:
        weight = float(written) * scale
    except ValueError:
        return math.nan, f"the weight {text!r} is no number"
    if not math.isfinite(weight) or weight < 0:
        return math.nan, f"the weight {text} is no number from 0"
    return weight, ""


def _number(columns: Sequence[Names], n: int) -> tuple[list[_Kind], Places]:
    """Return the distinct rows of columns, and which each row is."""
    if not columns:
        return [()], np.zeros(n, dtype=np.int64)
    rows = list(zip(*columns, strict=True))
    places = {kind: place for place, kind in enumerate(dict.fromkeys(rows))}
    return list(places), np.array([places[row] for row in rows], dtype=np.int64)


def _sum_rows(numbers: Places, weights: Doubles, rows: Mask) -> tuple[Places, Doubles]:
    """Return the taxa of some rows, and the summed weight of each."""
    own, places = np.unique(numbers[rows], return_inverse=True)
    return own, np.bincount(places, weights[rows], len(own)).astype(np.float64)


class _Applying:
    """Which rows of a table speak of which images, by what they say of places."""

    def __init__(self, kinds: Sequence[_Kind]) -> None:
        self._place_of = {kind: place for place, kind in enumerate(kinds)}
        # The narrowest last; of two that are as narrow, the one that says the earlier column.
        self._said = sorted(
            {tuple(map(bool, kind)) for kind in kinds}, key=lambda one: (sum(one), one)
        )

    def find(self, kind: _Kind) -> list[int]:
        """Return the kinds of rows that speak of a kind of image, the narrowest last."""
        found = []
        for said in self._said:
            if all(value or not one for value, one in zip(kind, said, strict=True)):
                asked = tuple(value if one else "" for value, one in zip(kind, said, strict=True))
                if asked in self._place_of:
                    found.append(self._place_of[asked])
        return found
