"""What status each image most likely has: the probabilities of all classes, summed by status."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.conservation.categories import (
    CODES,
    NEITHER,
    NO_STATUS,
    NOT_THREATENED,
    THREATENED,
    THREATS,
    Category,
    read_category,
)
from bioprobe.conservation.finding import Covered, Finder
from bioprobe.conservation.statuses import Status
from bioprobe.errors import MisuseError
from bioprobe.images.image_table import ImageTable
from bioprobe.result import Note
from bioprobe.store.view import View
from bioprobe.task.also import Wanted
from bioprobe.task.listed import Listed
from bioprobe.task.predictions import Predictions
from bioprobe.task.target import Classes
from bioprobe.task.tree import Tree
from bioprobe.taxonomy import RANKS, Taxon
from bioprobe.taxonomy.columns import COMMON_NAME
from bioprobe.types import Doubles, Mask, Names, Places, Rows, Scores

if TYPE_CHECKING:
    import pandas as pd

#: What is summed: the codes, then the threats.
COLUMNS = (*CODES, *THREATS)
#: Columns that a store may keep, which are asked and learnt as any other.
STATUS, THREAT = "status", "threatened"
# Names of the shares of threats in a table.
_P_COLUMNS = {
    THREATENED: "p_threatened", NOT_THREATENED: "p_not_threatened", NEITHER: "p_neither",
    NO_STATUS: "p_no_status",
}  # fmt: skip


def find_members(covered: Sequence[Covered]) -> Mask:
    """Tell which code and which threat each class has, shape (n_classes, len(COLUMNS)).

    A class without one code, such as a genus whose species differ, is in none of the codes; each
    is in one of the threats.
    """
    members = np.zeros((len(covered), len(COLUMNS)), dtype=bool)
    for place, one in enumerate(covered):
        code, threat = one.category.code, one.threat
        if code:
            members[place, COLUMNS.index(code)] = True
        members[place, len(CODES) + THREATS.index(threat)] = True
    return members


def sum_lowest(finder: Finder, tree: Tree, listed: Listed | None = None) -> Wanted:
    """Return what is to be summed of the lowest classes of a question, however many there are.

    Where a list says what may occur, of each kind of image what may occur there.
    """
    members = find_members([finder.find_taxon(taxon) for taxon in tree.taxa]).T
    if listed is not None:
        members = np.concatenate([members & may for may in listed.leaves])
    # What the sums are of has no name here.
    return Wanted((Taxon(("", "", "", "", "", "", "status")),) * len(members), members)


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """The status of images.

    Parameters
    ----------
    names : dict of str to ndarray of object, each of shape (n_images,)
        What names each image: ``file_name``, and ``image_region`` where there are regions.
    rows : ndarray of int64, shape (n_images,)
        Rows of the store, -1 where it has no such image.
    answers : ndarray of object, shape (n_images,)
        Name of the label, or of the likeliest class.
    scores : ndarray of float64, shape (n_images,)
        Its probability, not a number of labels.
    covered : tuple of Covered
        What that name covers, one an image.
    shares : ndarray of float64, shape (n_images, len(COLUMNS))
        Summed probability of each code and each threat. Of labels 1 and 0.
    """

    names: dict[str, Names]
    rows: Rows
    answers: Names
    scores: Doubles
    covered: tuple[Covered, ...]
    shares: Doubles

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def codes(self) -> Names:
        """The likeliest code of each image.

        ``""`` where more of the probability has no code at all than the likeliest has: nothing is
        known of a status then.
        """
        by_code = self.shares[:, : len(CODES)]
        best = by_code.argmax(axis=1) if len(by_code) else np.zeros(0, dtype=np.int64)
        highest = by_code[np.arange(len(by_code)), best]
        without = 1.0 - by_code.sum(axis=1)
        known = (highest > 0) & (highest >= without - 1e-9)
        return np.where(known, np.array(CODES, dtype=object)[best], "").astype(object)

    @cached_property
    def code_scores(self) -> Doubles:
        """Summed probability of :attr:`codes`; not a number where there is none."""
        at = np.array([CODES.index(one) if one else -1 for one in self.codes], dtype=np.int64)
        values = self.shares[np.arange(len(at)), np.maximum(at, 0)]
        return np.where(at >= 0, values, np.nan)

    @property
    def threats(self) -> Doubles:
        """Summed probability of each of the threats, shape (n_images, 4); they add up to 1."""
        return self.shares[:, len(CODES) :]

    @cached_property
    def threatened(self) -> Names:
        """``threatened`` or ``not threatened``, whichever is likelier; ``""`` where unknown.

        Unknown is what is more likely neither, or without a status, than either of the two.
        """
        best = self.threats.argmax(axis=1) if len(self) else np.zeros(0, dtype=np.int64)
        names = np.array([THREATENED, NOT_THREATENED, "", ""], dtype=object)
        return np.asarray(names[best], dtype=object)

    @property
    def labels(self) -> Names:
        """The code as the Red List writes it, with ``(PE)`` where the label is possibly extinct."""
        own = [one.category.label for one in self.covered]
        both = zip(own, self.codes, strict=True)
        return np.array(
            [label if label[:2] == code else code for label, code in both], dtype=object
        )

    def take(self, kept: Mask | Rows) -> Judged:
        """Return some of the images."""
        places = np.arange(len(self))[kept]
        return Judged(
            {name: values[places] for name, values in self.names.items()}, self.rows[places],
            self.answers[places], self.scores[places],
            tuple(self.covered[place] for place in places.tolist()), self.shares[places],
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """Return one row an image."""
        import pandas as pd

        rows = pd.array(self.rows.tolist(), dtype="Int64")
        rows[self.rows < 0] = pd.NA
        columns: dict[str, Any] = {**self.names, "row": rows, "answer_name": self.answers}
        if not np.isnan(self.scores).all() or not len(self):
            columns["score"] = self.scores
        columns |= {
            STATUS: self.labels,
            "status_score": self.code_scores,
            THREAT: self.threatened,
            **{_P_COLUMNS[one]: self.threats[:, at] for at, one in enumerate(THREATS)},
            "covers": np.array([one.describe() for one in self.covered], dtype=object),
            "found_by": np.array([one.by for one in self.covered], dtype=object),
        }
        return pd.DataFrame(columns)


def judge_labels(
    names: dict[str, Names], rows: Rows, labels: Names, covered: Sequence[Covered]
) -> Judged:
    """Return the status of labels."""
    shares = find_members(covered).astype(np.float64)
    nowhere = np.full(len(rows), np.nan)
    return Judged(names, rows, labels, nowhere, tuple(covered), shares)


def judge_stored(images: ImageTable, rows: Rows) -> Judged | None:
    """Return the status that a store keeps of its labels in the columns that bioprobe wrote.

    Returns
    -------
    Judged or None
        Of all rows with a label of a taxon; None where no such column holds a category.
    """
    if not {STATUS, THREAT} <= set(images.free_columns):
        return None
    codes, threats = images.labels(STATUS)[rows], images.labels(THREAT)[rows]
    read = {code: read_category(str(code)) for code in set(codes.tolist()) if code}
    if not read or None in read.values() or set(threats.tolist()) - {"", *THREATS}:
        return None
    ranks = [images.labels(rank.value)[rows] for rank in reversed(RANKS)]
    labels = np.full(len(rows), "", dtype=object)
    # A common name beside a family says more than it.
    for values in (ranks[0], images.labels(COMMON_NAME)[rows], *ranks[1:]):
        labels = np.where(labels == "", values, labels)
    kept = (labels != "") | (codes != "")
    covered = []
    for name, code, threat in zip(labels[kept], codes[kept], threats[kept], strict=True):
        category = read.get(code) or (Category("", threat, said=threat) if threat else None)
        covered.append(Covered(name, (Status(name, category),) if category else ()))
    own = rows[kept]
    return judge_labels(images.name_rows(own), own, labels[kept].astype(object), covered)


def save_judged(view: View, judged: Judged) -> list[Note | str]:
    """Write the columns of status and threat into a store.

    Raises
    ------
    MisuseError
        If the pictures are in no store, or it has columns of these names that are others.
    """
    import pandas as pd

    if view.origin:
        msg = "columns are written into a store; embed the pictures first"
        raise MisuseError(msg)
    images = view.images
    for name in (STATUS, THREAT):
        if name not in images.columns:
            continue
        known = set(images.labels(name).tolist()) - {""}
        foreign = sorted(one for one in known if read_category(one) is None and one not in THREATS)
        if foreign:
            msg = (
                f"the store has a column {name} of its own, with values such as {foreign[0]!r}, "
                "which would be lost; rename it where the pictures come from, and embed them again"
            )
            raise MisuseError(msg)
    frame = pd.DataFrame({STATUS: judged.codes, THREAT: judged.threatened}).astype(object)
    rows, changed = judged.rows, np.ones(len(judged), dtype=bool)
    if {STATUS, THREAT} <= set(images.columns):
        changed = np.logical_or.reduce(
            [images.labels(name)[rows] != frame[name].to_numpy() for name in (STATUS, THREAT)]
        )
    if changed.any():
        with view.store.lock():
            view.store.relabel(rows[changed], frame[changed])
    told = f"{int(changed.sum()):,} images have new columns {STATUS} and {THREAT} in {view.folder}"
    return [told]


def judge_answers(answers: Predictions, finder: Finder) -> Judged:
    """Return the status of images by answers that hold every class, or the sums by status.

    Parameters
    ----------
    answers : Predictions
        With :attr:`~bioprobe.task.predictions.Predictions.also` of :func:`sum_lowest`, or with a
        score of each class.
    finder : Finder
    """
    top = answers.top_classes[:, 0]
    distinct = _find_places(answers.classes, top, finder)
    if answers.also is not None:
        sums = answers.also.scores.astype(np.float64).reshape(len(answers), -1, len(COLUMNS))
        kinds = 0 if answers.listed is None else answers.listed.kinds
        shares = sums[np.arange(len(answers)), kinds]
        # What may not occur has no status here.
        shares[:, COLUMNS.index(NO_STATUS)] += 1 - shares[:, len(CODES) :].sum(axis=1)
    else:
        members = find_members(finder.find_classes(answers.classes))
        shares = answers.to_dense().astype(np.float64) @ members
    return Judged(
        answers.images.name_rows(answers.rows), answers.rows, answers.best_names,
        answers.scores[:, 0].astype(np.float64),
        tuple(distinct[place] for place in top.tolist()), _round(shares),
    )  # fmt: skip


def _find_places(classes: Classes, top: Places, finder: Finder) -> dict[int, Covered]:
    """Return what each of the classes covers that are best of some image."""
    places = np.unique(top).tolist()
    return dict(zip(places, finder.find_classes(classes.take(places)), strict=True))


def _round(shares: Scores | Doubles) -> Doubles:
    """Return shares without what rounding left of 0 and 1."""
    return np.clip(np.asarray(shares, dtype=np.float64), 0.0, 1.0)


def join_judged(parts: Sequence[Judged]) -> Judged:
    """Put images of several chunks after each other."""
    first = parts[0]
    return Judged(
        {name: np.concatenate([one.names[name] for one in parts]) for name in first.names},
        np.concatenate([one.rows for one in parts]),
        np.concatenate([one.answers for one in parts]),
        np.concatenate([one.scores for one in parts]),
        tuple(one for part in parts for one in part.covered),
        np.concatenate([one.shares for one in parts]),
    )
