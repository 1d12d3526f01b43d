"""What review found, as a part of the report: how much, by whom, how good it is now."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.page.words import EXPLANATIONS
from bioprobe.report.plots import plot_discovery
from bioprobe.report.records import Part, Sheet
from bioprobe.report.section import Section
from bioprobe.result import count

if TYPE_CHECKING:
    from bioprobe.intervals import Interval
    from bioprobe.result import Notes
    from bioprobe.reviewing.discovery import Discovery
    from bioprobe.reviewing.finished import Accuracy, OfClass

_LEAD = (
    "People looked at pictures and said what they are; by those of them that were drawn at random "
    "one knows how good all that would be handed over now is."
)
_CLASSES = (
    "Of what would be handed over, by the same random draws; a class of fewer than five has no "
    "interval."
)


def describe_review(
    level: str,
    accuracy: Accuracy,
    discovery: Discovery,
    classes: Mapping[str, OfClass],
    people: Mapping[str, int],
    agreement: Sequence[Sequence[str]],
    notes: Notes,
) -> Section:
    """Return what review found.

    Parameters
    ----------
    level : str
        What was asked.
    accuracy : Accuracy
        Of what would be handed over now.
    discovery : Discovery
    classes : mapping of str to OfClass
        Precision and recall by name.
    people : mapping of str to int
        How many annotations each person made.
    agreement : sequence of [first, second, pictures, share, kappa]
        Of each two people who said something of the same pictures, for people to read.
    notes : tuple of Note
        Whether to go on comes first.
    """
    facts = [
        ("said by people", f"{sum(people.values()):,}", f"annotations of {level}, by "
         f"{count(len(people), 'person', 'people')}"),
        ("looked at", f"{accuracy.n_units - accuracy.n_left:,} of {accuracy.n_units:,}",
         f"{accuracy.n_draws:,} of them drawn at random"),
        ("right, of what would be handed over", _spell(accuracy.share),
         "what people said, else the labels that came, else answers; 95% interval, for every look"),
        ("found", f"{discovery.n_found:,}", f"at least {discovery.least.estimate:.0f} there are, "
         "by the random draws (Chao1)"),
        ("new, the next one", f"≤ {discovery.unseen.high:.3f}", "chance that the next picture is "
         "of something that was not found, by its upper end"),
    ]  # fmt: skip
    parts = []
    found = discovery.curve
    if len(found) > 1:
        parts.append(Part(
            "How it came", "Classes that people found by so many labels, in their order. "
            "Where the line still rises, more is to be found.",
            plot_discovery(1 + np.arange(len(found)), found), "Classes found against labels",
        ))  # fmt: skip
    parts.append(Part(
        "Who looked", "Annotations that stand, by person.",
        header=(("person", False), ("annotations", True)),
        rows=[(name, f"{n:,}") for name, n in sorted(people.items(), key=lambda one: -one[1])],
    ))  # fmt: skip
    if agreement:
        parts.append(Part(
            "Do they agree?", "Of pictures that two people said something of.",
            header=(("first", False), ("second", False), ("pictures", True), ("agree", True),
                    ("kappa", True)), rows=agreement,
        ))  # fmt: skip
    parts.append(Part(
        "Class by class", _CLASSES,
        header=(("class", False), ("handed over", True), ("with a label", True),
                ("precision", True), ("recall", True)),
        rows=[
            (name, f"{one.n_handed:,}", f"{one.n_given:,}", _spell(one.precision),
             _spell(one.recall))
            for name, one in sorted(classes.items(), key=lambda one: -one[1].n_handed)
        ],
    ))  # fmt: skip
    sheet = Sheet("What review found", "", facts, parts, notes, sum(people.values()))
    content = {"sheet": sheet, "explained": EXPLANATIONS}
    return Section("review", "Review", "What review found", _LEAD, content)


def _spell(interval: Interval) -> str:
    if math.isnan(interval.estimate):
        return "too few"
    return f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
