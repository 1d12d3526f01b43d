"""How far a review is: how good what would be handed over is, what was found, when to stop."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bioprobe.options import write_flag
from bioprobe.result import WARNING, Note, Notes, Result

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.intervals import Interval
    from bioprobe.reviewing.discovery import Discovery
    from bioprobe.reviewing.finished import Accuracy, Advice, Judged, OfClass
    from bioprobe.reviewing.looks import Looks
    from bioprobe.types import Names, Places

_COLUMNS = ("figure", "of", "value", "low", "high")
_CLAIMS = "accuracy of the labels that came"
# What few draws are: their interval says little.
_FEW_DRAWS = 30


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Progress(Result):
    """How far a review is.

    Parameters
    ----------
    counts : dict of str to object
        What has a label, what answers, what is left.
    accuracy : Accuracy
        Of what would be handed over now, with an interval that holds at every look.
    discovery : Discovery
        Classes that were found, and what is likely to be left.
    advice : Advice
        Whether to go on, why, and about how long.
    goals : dict of str to float
        ``accuracy`` and ``unseen``: what is wished.
    judged : Judged
        What it rests on, picture by picture.
    class_names : tuple of str
        By their numbers.
    site : str
        Column of sites, ``""`` where none was named.
    sites : dict of str to Discovery
        What was found at each site.
    each_class : bool
        Whether a table has a line for each class.
    n_trusted : int
        Pictures that came with a label which is trusted.
    claims : Interval, optional
        Share of the labels that came with pictures that is right, as they came; None where none is
        a claim.
    n_for_width : dict of float to int
        By the width that was wished of the accuracy's interval, how many further random draws are
        expected to bring it there; empty where none was.
    provenance : dict
        What it was computed from.
    notes : tuple of Note
        What is to be said of it, the advice first.
    """

    counts: Mapping[str, object]
    accuracy: Accuracy
    discovery: Discovery
    advice: Advice
    goals: Mapping[str, float]
    judged: Judged
    class_names: tuple[str, ...]
    site: str = ""
    sites: Mapping[str, Discovery] = dataclasses.field(default_factory=dict)
    each_class: bool = False
    n_trusted: int = 0
    claims: Interval | None = None
    n_for_width: Mapping[float, int] = dataclasses.field(default_factory=dict)
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: Notes = ()

    @cached_property
    def classes(self) -> dict[str, OfClass]:
        """Precision and recall of each class of what would be handed over."""
        from bioprobe.reviewing.finished import measure_classes

        return {self.class_names[one.code]: one for one in measure_classes(self.judged)}

    def to_frame(self) -> pd.DataFrame:
        """Return the figures: ``figure``, ``of``, ``value``, and ``low`` and ``high``, if it has.

        ``of`` is a class or a site, ``""`` for all pictures.
        """
        import pandas as pd

        found = self.discovery
        rows: list[tuple[object, ...]] = [
            (name, "", value, None, None) for name, value in self.counts.items()
        ]
        rows += [
            ("random draws", "", self.accuracy.n_draws, None, None),
            _list_interval("accuracy", "", self.accuracy.share),
            *([_list_interval(_CLAIMS, "", self.claims)] if self.claims is not None else []),
            ("accuracy by the answers' own word", "", _round(self.accuracy.claimed), None, None),
            *_list_discovery(found, ""),
            ("stop", "", "yes" if self.advice.stop else "no", None, None),
            ("labels still needed, about", "", self.advice.n_labels, None, None),
        ]
        rows += [
            (f"random draws still needed for a width of {width:g}, about", "", n, None, None)
            for width, n in self.n_for_width.items()
        ]
        for site, own in self.sites.items():
            rows += [("labels", site, own.n_labels, None, None), *_list_discovery(own, site)]
        if self.each_class:
            for name, one in self.classes.items():
                rows += [
                    _list_interval("precision", name, one.precision),
                    _list_interval("recall", name, one.recall),
                ]
        frame = pd.DataFrame(rows, columns=list(_COLUMNS))
        for name in ("low", "high"):
            frame[name] = frame[name].astype(float)
        return frame

    def curve(self) -> pd.DataFrame:
        """Return how many classes were found by so many labels: ``labels`` and ``found``.

        It begins with the trusted labels that came with the pictures, of which nobody knows the
        order.
        """
        import pandas as pd

        found, first = self.discovery.curve, max(self.n_trusted, 1)
        return pd.DataFrame({"labels": range(first, len(found) + 1), "found": found[first - 1 :]})


def describe_progress(
    counts: Mapping[str, object],
    judged: Judged,
    names: Sequence[str],
    aside: Sequence[int],
    came: Places | None,
    *,
    goal: float,
    unseen: float,
    site: str,
    sites: Names | None,
    each_class: bool,
    width: float | None,
    looks: Looks,
    provenance: dict[str, Any],
) -> Progress:
    """Measure how far a review is, and say so.

    Parameters
    ----------
    counts : mapping of str to object
        What is told first.
    judged : Judged
    names : sequence of str
        Of the classes.
    aside : sequence of int
        Classes that are no taxa.
    came : ndarray of int64, shape (n_images,), optional
        Class of the label that each picture came with and that is a claim, -1 for none.
    goal, unseen : float
        What is wished.
    site : str
        Column of ``sites``.
    sites : ndarray of object, shape (n_images,), optional
        Site of each picture, ``""`` where it is not known.
    each_class : bool
    width : float, optional
        Of the accuracy's interval, that is wished.
    looks : Looks
        What it was read from.
    provenance : dict
    """
    from bioprobe.reviewing.discovery import measure_discovery
    from bioprobe.reviewing.finished import (
        advise,
        count_for_width,
        measure_accuracy,
        measure_claims,
    )

    accuracy = measure_accuracy(judged)
    discovery = measure_discovery(judged.draws, judged.labels, came=came, aside=aside)
    claims = measure_claims(judged) if judged.claims.any() else None
    advice = advise(judged, accuracy, discovery, goal=goal, unseen=unseen)
    of_width = {} if width is None else {width: math.ceil(count_for_width(accuracy, width))}
    of_sites = {}
    if sites is not None:
        for name in sorted({str(one) for one in sites.tolist() if one}):
            of_sites[name] = measure_discovery(
                judged.draws, judged.labels, sites == name, came=came, aside=aside
            )
    notes = [Note(advice.text), *_tell(accuracy, looks.n_left_out)]
    if claims is not None:
        notes.insert(1, _tell_claims(int(judged.claims.sum()), accuracy, claims))
    elif looks.n_trusted:
        text = f"{looks.n_trusted:,} labels that came with the pictures count as right unchecked"
        notes.insert(1, Note(f"{text} ({write_flag('trust_labels')})"))
    if sites is not None and not (sites != "").all():
        n = int((sites == "").sum())
        notes.append(Note(f"{n:,} pictures have no {site}, and are of no site", WARNING))
    return Progress(
        counts, accuracy, discovery, advice, {"accuracy": goal, "unseen": unseen}, judged,
        tuple(names), site, of_sites, each_class, looks.n_trusted, claims, of_width,
        provenance, tuple(notes),
    )  # fmt: skip


def _tell_claims(n: int, accuracy: Accuracy, right: Interval) -> Note:
    known = (
        f"{right.estimate:.1%} of them are right [{right.low:.1%}, {right.high:.1%}]"
        if accuracy.n_draws
        else "how many are right is not known yet"
    )
    return Note(
        f"{n:,} labels that came with the pictures are claims, which random draws check as they do "
        f"answers: {known}; {write_flag('trust_labels')} counts them as right"
    )


def _tell(accuracy: Accuracy, n_left_out: int) -> list[Note]:
    said = []
    if accuracy.n_left and 0 < accuracy.n_draws < _FEW_DRAWS:
        said.append(Note(
            f"the figures rest on {accuracy.n_draws:,} pictures that were drawn at random: a mix "
            f"with a larger share of audit, {write_flag('mix')} audit=1 for one, narrows them",
            WARNING,
        ))  # fmt: skip
    unsure = accuracy.n_units - accuracy.n_left - accuracy.n_given
    if unsure:
        said.append(Note(
            f"{unsure:,} pictures were looked at and have no label: they are handed over as "
            "answered, and may be right or wrong"
        ))  # fmt: skip
    if n_left_out:
        said.append(Note(
            f"{n_left_out:,} random draws do not count: they were of fewer pictures than are "
            "asked now, since pictures came, only some were reviewed, or labels that came were "
            "trusted then; draw further ones",
            WARNING,
        ))  # fmt: skip
    return said


def _list_discovery(found: Discovery, of: str) -> list[tuple[object, ...]]:
    least = _list_interval("classes there are at least (Chao1)", of, found.least)
    return [
        ("classes found", of, found.n_found, None, None),
        *(
            [("classes that only labels that came name", of, found.n_claimed, None, None)]
            if found.n_claimed
            else []
        ),
        _list_interval("chance that the next is new", of, found.unseen),
        least,
    ]


def _list_interval(figure: str, of: str, interval: Interval) -> tuple[object, ...]:
    return (figure, of, _round(interval.estimate), _round(interval.low), _round(interval.high))


def _round(value: float) -> float:
    return value if math.isnan(value) else round(value, 4)
