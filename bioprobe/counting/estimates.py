"""How many of each class there are in groups of images, with intervals, though answers err."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.counting.ppi import PPI, Sample, Shares, estimate_shares, find_needed
from bioprobe.counting.prevalence import Adjusted, estimate_prevalence, number_units
from bioprobe.errors import SelectionError
from bioprobe.images.image_table import ROWS_AT_ONCE
from bioprobe.result import WARNING, Note, Notes, Result, name_some
from bioprobe.types import Doubles, Floats, Mask, Names, Places

if TYPE_CHECKING:
    import pandas as pd

#: What the line of all groups together is called.
ALL = "(all)"
#: What stands for images whose group is not known.
NO_GROUP = "(unknown)"
#: A label that is none of the classes.
OTHER = "(other)"
#: Estimated by the labels, the answers and a random sample; or by Saerens' adjustment.
LABEL_SHIFT = "label-shift"
# Images labelled in a group below which its line is said to rest on few.
_FEW = 10
_ROUNDS, _EXACT, _UNEVEN = 20, 1e-9, 0.005
# Per so many camera-days a rate is given.
RATE_DAYS = 100


@dataclasses.dataclass(frozen=True, eq=False)
class Collection:
    """Images with what is answered to each, which of them are labelled, and how they were drawn.

    Parameters
    ----------
    classes : tuple of str
        Names of the classes; what is labelled as none of them is :data:`OTHER`.
    top : ndarray of int64, shape (n_images, k)
        Classes answered, best first; -1 where there is none.
    scores : ndarray of float, shape (n_images, k)
        How likely each is, in [0, 1].
    truths : ndarray of int64, shape (n_images, m)
        Classes that a person says, one of an image, as many as were seen of what several are pooled
        to; ``len(classes)`` for another, -1 where there is none.
    is_known : ndarray of bool, shape (n_images,)
        Labelled images that the classifier learnt from: they are counted as they are labelled, and
        judge nothing.
    is_drawn : ndarray of bool, shape (n_images,)
        Labelled images of the random sample, none of them known.
    groups : ndarray of object, shape (n_images,)
        What is counted apart, ``""`` where it is not known.
    units : ndarray of object, shape (n_images,)
        What was drawn together, ``""`` for an image on its own.
    strata : ndarray of object, shape (n_images,)
        What was drawn within; all ``""`` where there are no strata.
    weights : ndarray of float64, shape (n_images,)
        Images that a drawn one stands for, up to a factor.
    firsts : tuple of (ndarray of int64, ndarray of float), optional
        Classes answered first to one at least of what was pooled, -1 where there is none, with the
        scores, both of shape (n_images, m); None where nothing was.
    """

    classes: tuple[str, ...]
    top: Places
    scores: Floats
    truths: Places
    is_known: Mask
    is_drawn: Mask
    groups: Names
    units: Names
    strata: Names
    weights: Doubles
    firsts: tuple[Places, Floats] | None = None

    def __len__(self) -> int:
        return len(self.truths)

    @property
    def is_pooled(self) -> bool:
        """Whether several images are one here, which may be of several classes."""
        return self.firsts is not None

    @property
    def best(self) -> Places:
        """Classes answered first to each image, shape (n_images, m); -1 where there is none."""
        return self.top[:, :1] if self.firsts is None else self.firsts[0]

    @property
    def sure(self) -> Doubles:
        """Scores of :attr:`best`; 1 where nobody says."""
        scores = self.scores[:, :1] if self.firsts is None else self.firsts[1]
        return np.nan_to_num(scores.astype(np.float64), nan=1.0)

    @property
    def seen(self) -> Places:
        """Classes answered to some image, or that a label says, ascending; then other ones."""
        answered = np.unique(self.best[self.best >= 0])
        labelled = np.unique(self.truths[self.is_known | self.is_drawn])
        return np.union1d(answered, labelled[labelled >= 0])

    def pool(self, names: Names) -> tuple[Collection, int]:
        """Make one of all images with a name, such as the regions of a picture.

        What is pooled is of every class that one of its images is of, answered to each as surely as
        the surest of them, labelled where all are, and known where all are.

        Parameters
        ----------
        names : ndarray of object, shape (n_images,)
            ``""`` for an image on its own.

        Returns
        -------
        pooled : Collection
            In the order of first images.
        n_partly : int
            Of these, how many are labelled in part, and so count as not labelled.

        Raises
        ------
        SelectionError
            If images of one name were drawn within different strata.
        """
        firsts, of = number_names(names)
        n = len(firsts)
        rows = np.repeat(np.arange(len(of)), self.top.shape[1])
        top, scores = _pad(of[rows], self.top.ravel(), self.scores.ravel(), n)
        best = _pad(of, self.best.ravel(), self.scores[:, :1].ravel(), n)
        truths, _ = _pad(of, self.truths.ravel(), np.ones(len(of)), n)
        sizes = np.bincount(of, minlength=n)
        n_drawn = np.bincount(of, self.is_drawn, minlength=n)
        drawn, known = n_drawn == sizes, np.bincount(of, self.is_known, minlength=n) == sizes
        partly = (n_drawn > 0) & ~drawn
        if (self.strata != self.strata[firsts][of]).any():
            msg = (
                "what is pooled was drawn within different strata, and has no chance of its own; "
                "count without --per, or draw without --strata"
            )
            raise SelectionError(msg)
        weights = np.bincount(of, self.weights, minlength=n) / sizes
        if self.strata.astype(bool).any():
            strata = np.unique(self.strata[firsts].astype(str), return_inverse=True)[1]
            all_, some = (np.bincount(strata[mask], minlength=strata.max() + 1)
                          for mask in (~known, drawn))  # fmt: skip
            weights = (all_ / np.maximum(some, 1))[strata]
        pooled = Collection(
            self.classes, top, scores, truths, known, drawn, self.groups[firsts],
            self.units[firsts], self.strata[firsts], weights, best,
        )  # fmt: skip
        return pooled, int(partly.sum())

    def densify(self, images: Places, classes: Places) -> Floats:
        """Return the score of some classes for some images, shape (n, n_classes).

        They are as precise as the scores.
        """
        places = np.full(len(self.classes) + 1, -1, dtype=np.int64)
        places[classes] = np.arange(len(classes))
        dense = np.zeros((len(images), len(classes)), dtype=self.scores.dtype)
        top = self.top[images]
        columns = np.where(top >= 0, places[top], -1)
        rows, ranks = np.nonzero(columns >= 0)
        scores = np.nan_to_num(self.scores[images[rows], ranks], nan=1.0)
        dense[rows, columns[rows, ranks]] = scores
        return dense


def number_names(names: Names) -> tuple[Places, Places]:
    """Return the first place of each name, and the number of each place's name, from 0.

    Parameters
    ----------
    names : ndarray of object, shape (n,)
        ``""`` is a name of its own wherever it stands.
    """
    numbers: dict[str, int] = {}
    firsts: list[int] = []
    of: list[int] = []
    for place, name in enumerate(names.tolist()):
        number = numbers.setdefault(name or f"\0{place}", len(firsts))
        if number == len(firsts):
            firsts.append(place)
        of.append(number)
    return np.array(firsts, dtype=np.int64), np.array(of, dtype=np.int64)


def _pad(of: Places, classes: Places, scores: Floats, n: int) -> tuple[Places, Doubles]:
    """Return the distinct classes of each number, each with its highest score, as rows."""
    there = classes >= 0
    of, classes, scores = of[there], classes[there], scores[there].astype(np.float64)
    order = np.lexsort((-scores, classes, of))
    of, classes, scores = of[order], classes[order], scores[order]
    new = np.ones(len(of), dtype=bool)
    new[1:] = (np.diff(of) > 0) | (np.diff(classes) != 0)
    of, classes, scores = of[new], classes[new], scores[new]
    sizes = np.bincount(of, minlength=n)
    column = np.arange(len(of)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    padded = np.full((n, max(int(sizes.max(initial=0)), 1)), -1, dtype=np.int64)
    padded[of, column] = classes
    said = np.full(padded.shape, np.nan)
    said[of, column] = scores
    return padded, said


@dataclasses.dataclass(frozen=True)
class Estimating:
    """How shares are estimated.

    Parameters
    ----------
    estimator : str
        One of :data:`bioprobe.counting.ppi.ESTIMATORS`, or :data:`LABEL_SHIFT`.
    threshold : float
        Score from which an answer counts in the threshold count.
    width : float, optional
        Of the interval of a share that is wished.
    n_resamples : int
        Of the bootstrap, for :data:`LABEL_SHIFT`.
    seed : int
        Of the bootstrap.
    """

    estimator: str = PPI
    threshold: float = 0.95
    width: float | None = None
    n_resamples: int = 200
    seed: int = 0


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Estimates(Result):
    """Shares, counts and rates of each class by group, with their intervals.

    Parameters
    ----------
    frame : DataFrame
        One row a group and class; see :func:`estimate_groups`.
    level : str
        Rank or column of the classes.
    by : str
        What is counted apart, ``""`` where nothing is.
    how : Estimating
        How they were estimated.
    provenance : dict
        What they were computed from, JSON-ready.
    notes : tuple of Note
        What is to be said of them.
    """

    frame: pd.DataFrame
    level: str
    by: str
    how: Estimating
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row a group and class."""
        return self.frame

    def to_lines(self, frame: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the columns that are read in a terminal: counts with intervals, raw beside."""
        frame = self.to_frame() if frame is None else frame
        names = [self.by] if self.by else []
        shown = frame[[*names, self.level]].copy()
        shown["count"] = _write_intervals(frame, "count", "{:,.0f}")
        shown["raw"], shown["sure"] = frame["raw"], frame["sure"]
        shown["share"] = _write_intervals(frame, "share", "{:.3f}")
        if "rate" in frame:
            shown["rate"] = _write_intervals(frame, "rate", "{:.2f}")
        if "n_more" in frame:
            shown["n_more"] = frame["n_more"]
        return shown


def _write_intervals(frame: pd.DataFrame, name: str, form: str) -> list[str]:
    """Write figures with their ends, as ``12 [9, 17]``."""
    ends = zip(frame[name], frame[f"{name}_low"], frame[f"{name}_high"], strict=True)
    return [
        "" if math.isnan(low) else f"{form.format(value) if value == value else '?'} "
        f"[{form.format(low)}, {form.format(high)}]"
        for value, low, high in ends
    ]  # fmt: skip


def estimate_groups(
    asked: Collection,
    how: Estimating,
    *,
    level: str,
    by: str = "",
    days: Mapping[str, float] | None = None,
) -> Estimates:
    """Estimate how many images of each class there are, in all and by group.

    Parameters
    ----------
    asked : Collection
        Images, answers and labels.
    how : Estimating
        How.
    level : str
        Rank or column of the classes, for the table.
    by : str
        Name of the column of groups; ``""`` for all images alone.
    days : mapping of str to float, optional
        Camera-days by group, and of :data:`ALL`.

    Returns
    -------
    Estimates
        The columns of the table are the group, the class, ``n_images`` of the group,
        ``n_labelled`` in the random sample, ``n_seen`` of them that are of the class, ``n_known``
        images that the classifier learnt it from, ``raw`` and ``sure`` answers, ``share``
        and ``count`` with ``_low`` and ``_high``, ``labelled_share`` (from the labels alone) with
        both; with days ``camera_days`` and the ``rate`` for 100 of them with both; with a wished
        width ``n_more``, images to label beside.
    """
    import pandas as pd

    notes: list[Note | str] = []
    seen = asked.seen
    everything = np.arange(len(asked))
    overall = _estimate(asked, everything, seen, how, None)
    parts: list[tuple[str, Places, Shares | Adjusted]] = [(ALL, everything, overall)]
    if by:
        names = np.where(asked.groups == "", NO_GROUP, asked.groups).astype(object)
        if n_unknown := int((asked.groups == "").sum()):
            notes.append(Note(f"{n_unknown:,} images have no {by}: {NO_GROUP}", WARNING))
        for name in sorted(set(names.tolist()) - {NO_GROUP}) + [NO_GROUP] * bool(n_unknown):
            rows = np.flatnonzero(names == name)
            parts.append((name, rows, _estimate(asked, rows, seen, how, overall)))
    frames = []
    # The most frequent first, everywhere in one order.
    order = np.lexsort((-np.bincount(asked.best[asked.best >= 0], minlength=len(asked.classes) + 1)[
        seen], -np.nan_to_num(overall.estimate)))  # fmt: skip
    for name, rows, shares in parts:
        frame = _tabulate(asked, rows, seen, shares, how, level).iloc[order]
        if by:
            frame.insert(0, by, name)
        if days is not None:
            _add_rates(frame, days.get(name, math.nan))
        frames.append(frame)
    found = Estimates(pd.concat(frames, ignore_index=True), level, by, how)
    return found.say([*notes, *_describe(asked, found, overall, how)])


def _estimate(
    asked: Collection,
    rows: Places,
    classes: Places,
    how: Estimating,
    like: Shares | Adjusted | None,
) -> Shares | Adjusted:
    """Estimate the shares of classes among those of some images that are not known."""
    rest = rows[~asked.is_known[rows]]
    drawn = rest[asked.is_drawn[rest]]
    if how.estimator == LABEL_SHIFT:
        before = like if isinstance(like, Adjusted) else None
        everything = np.arange(len(asked.classes))
        return estimate_prevalence(
            lambda images: asked.densify(images, everything).astype(np.float64),
            labelled=np.flatnonzero(asked.is_drawn), truths=asked.truths[:, 0], units=asked.units,
            images=rest, classes=classes, like=before, n_resamples=how.n_resamples, seed=how.seed,
        )  # fmt: skip
    shares = estimate_shares(
        sample_images(asked, rest, drawn, classes), how.estimator,
        like=like if isinstance(like, Shares) else None,
    )  # fmt: skip
    return shares if asked.is_pooled else _add_up(shares)


def _add_up(shares: Shares) -> Shares:
    """Move shares so that they add up to 1, the least certain most, and none out of its interval.

    The intervals stay: that shares add up is known, and makes none less likely to hold.

    References
    ----------
    Deming and Stephan 1940, *On a least squares adjustment of a sampled frequency table when the
    expected marginal totals are known*.
    """
    values = shares.estimate
    if not len(values) or np.isnan(values).any():
        return shares
    with np.errstate(divide="ignore"):
        give = values * (1 - values) / shares.n_effective
    for _ in range(_ROUNDS):
        missing = 1 - values.sum()
        # What is at the end of its interval gives no more.
        free = give * (values < shares.high if missing > 0 else values > shares.low)
        if abs(missing) < _EXACT or not free.sum() > 0:
            break
        values = np.clip(values + missing * free / free.sum(), shares.low, shares.high)
    return dataclasses.replace(shares, estimate=values)


def sample_images(asked: Collection, images: Places, drawn: Places, classes: Places) -> Sample:
    """Return the sample that some drawn images are of others, with what is answered to all.

    Parameters
    ----------
    asked : Collection
        Of them all.
    images, drawn : ndarray of int64
        Positions of the images that are asked of, and of those of them that were drawn.
    classes : ndarray of int64, shape (n_classes,)
        Positions of classes; ``len(asked.classes)`` is any other.
    """
    totals, squares = _sum_answers(asked, images, classes)
    n = max(len(images), 1)
    means = totals / n
    variances = np.maximum(squares - n * means**2, 0) / max(n - 1, 1)
    return Sample(
        (asked.truths[drawn][:, :, np.newaxis] == classes).any(axis=1),
        asked.densify(drawn, classes),
        means,
        variances,
        len(images),
        number_units(asked.units[drawn]),
        asked.weights[drawn],
        np.unique(asked.strata[drawn].astype(str), return_inverse=True)[1].astype(np.int64),
    )


def _sum_answers(asked: Collection, images: Places, classes: Places) -> tuple[Doubles, Doubles]:
    """Return the sums of scores and of their squares by class, over some images."""
    sums, squares = np.zeros((2, len(asked.classes) + 1))
    for start in range(0, len(images), ROWS_AT_ONCE):
        some = images[start : start + ROWS_AT_ONCE]
        top = asked.top[some].ravel()
        there = top >= 0
        scores = np.nan_to_num(asked.scores[some].ravel().astype(np.float64), nan=1.0)[there]
        # One after the other, so that the sums are those of all images at once.
        np.add.at(sums, top[there], scores)
        np.add.at(squares, top[there], scores**2)
    return sums[classes], squares[classes]


def _tabulate(
    asked: Collection,
    rows: Places,
    classes: Places,
    shares: Shares | Adjusted,
    how: Estimating,
    level: str,
) -> pd.DataFrame:
    import pandas as pd

    names = np.array([*asked.classes, OTHER], dtype=object)
    n, n_classes = len(rows), len(asked.classes) + 1
    known, drawn = rows[asked.is_known[rows]], rows[asked.is_drawn[rows]]

    def count(values: Places) -> Places:
        return np.bincount(values[values >= 0], minlength=n_classes)[classes]

    best = asked.best[rows]
    sure = asked.sure[rows] >= how.threshold
    n_known, n_rest = count(asked.truths[known]), n - len(known)
    columns: dict[str, Any] = {
        level: names[classes], "n_images": n, "n_labelled": len(drawn),
        "n_seen": count(asked.truths[drawn]), "n_known": n_known,
        "raw": count(best), "sure": count(best[sure]),
    }  # fmt: skip
    for name, values in (
        ("share", (shares.estimate, shares.low, shares.high)),
        ("labelled_share", (shares.alone, shares.alone_low, shares.alone_high)),
    ):
        for ending, value in zip(("", "_low", "_high"), values, strict=True):
            columns[f"{name}{ending}"] = (n_known + n_rest * value) / max(n, 1)
    for ending in ("", "_low", "_high"):
        columns[f"count{ending}"] = columns[f"share{ending}"] * n
    columns["slope"] = shares.slopes
    if how.width is not None:
        needed = [
            find_needed(share, n_effective, max(len(drawn), 1), how.width * n / max(n_rest, 1))
            for share, n_effective in zip(shares.estimate, shares.n_effective, strict=True)
        ]
        more = np.ceil(np.maximum(np.array(needed) - len(drawn), 0))
        # No more can be labelled than there are.
        columns["n_more"] = np.minimum(np.nan_to_num(more, nan=n_rest), n_rest - len(drawn))
        columns["n_more"] = columns["n_more"].astype(np.int64)
    return pd.DataFrame(columns)


def _add_rates(frame: pd.DataFrame, days: float) -> None:
    frame["camera_days"] = days
    for ending in ("", "_low", "_high"):
        frame[f"rate{ending}"] = frame[f"count{ending}"] * RATE_DAYS / days if days else math.nan


def _describe(
    asked: Collection, found: Estimates, overall: Shares | Adjusted, how: Estimating
) -> list[Note | str]:
    """Say what the intervals speak of, whether shares add up, and what rests on few labels."""
    frame = found.frame
    whole = frame if not found.by else frame[frame[found.by] == ALL]
    notes: list[Note | str] = []
    n_known = int(asked.is_known.sum())
    if n_known:
        notes.append(
            f"{n_known:,} images that the classifier learnt from are counted as they are labelled, "
            "and judge nothing"
        )
    total = float(whole["share"].sum())
    if not asked.is_pooled and abs(total - 1) > _UNEVEN:
        notes.append(
            Note(f"the shares add up to {total:.3f}, and cannot be moved to 1 within their "
                 "intervals", WARNING)
        )  # fmt: skip
    raw = whole[["raw", "count_low", "count_high"]].astype(float)
    raw = raw[whole[found.level] != OTHER]
    off = (raw["raw"] < raw["count_low"]) | (raw["raw"] > raw["count_high"])
    if off.any():
        named = whole[found.level][raw.index[off]].astype(str).tolist()
        notes.append(
            Note(f"raw counts lie outside of the interval for {len(named):,} of {len(raw):,} "
                 f"classes: {name_some(named)}", WARNING)
        )  # fmt: skip
    if found.by and how.estimator != LABEL_SHIFT:
        lines = frame[frame[found.by] != ALL].drop_duplicates(found.by)
        few = lines[lines["n_labelled"] < _FEW]
        if len(few):
            none = int((few["n_labelled"] == 0).sum())
            said = f"; {none:,} with none have no estimate" if none else ""
            notes.append(
                Note(f"{len(few):,} of {len(lines):,} groups have fewer than {_FEW} labelled "
                     f"images, and wide intervals{said}", WARNING)
            )  # fmt: skip
    if isinstance(overall, Adjusted):
        notes += overall.notes
    return notes


def check_random(sample: Sample, names: Sequence[str]) -> tuple[float, str]:
    """Test whether labelled images were answered as the others are, as a random sample would be.

    Classes of which less than five answers are expected are left out: few tell nothing.

    Parameters
    ----------
    sample : Sample
        Labelled images, and answers to all.
    names : sequence of str, length n_classes
        Of its classes.

    Returns
    -------
    p_value : float
        The least of all classes, times their number (Bonferroni); 1 where none can be tested.
    text : str
        What the class is answered to, for people.
    """
    n = len(sample)
    if n < 2 or n >= sample.n_images:
        return 1.0, ""
    from scipy.stats import t

    enough = n * np.minimum(sample.means, 1 - sample.means) >= 5
    if not enough.any():
        return 1.0, ""
    weights = (sample.weights / sample.weights.mean())[:, np.newaxis]
    means, own = np.zeros((2, len(sample.means)))
    for part, some in sample.split():
        means[part] = (weights * some.answers).mean(axis=0)
        sums = some.sum_units(weights * (some.answers - some.means)) / n
        own[part] = (sums**2).sum(axis=0)
    left = 1 - n / sample.n_images
    # As wide as the answers to all say, where images are alone: those drawn may be all alike.
    own *= left
    given = sample.variances / n * left
    variances = given if sample.is_simple else np.maximum(own, given)
    scores = np.abs(means - sample.means)[enough] / np.sqrt(np.maximum(variances[enough], 1e-15))
    worst = int(np.argmax(scores))
    at = int(np.flatnonzero(enough)[worst])
    p_value = 2 * float(t.sf(scores[worst], max(sample.n_units - 1, 1))) * int(enough.sum())
    text = f"{names[at]} is answered to {means[at]:.1%} of them and {sample.means[at]:.1%} of all"
    return min(1.0, p_value), text
