"""How far people agree who looked at the same pictures."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.agreement.kappa import measure_kappa
from bioprobe.content import CONTENT, NO_TAXON, read_content
from bioprobe.errors import SelectionError
from bioprobe.intervals import Resamples
from bioprobe.options import RANK_NAMES
from bioprobe.result import Note, Table, count
from bioprobe.store.annotations import Annotation, Unit
from bioprobe.store.labels import Lineages, collect_answers, resolve
from bioprobe.taxonomy import Rank

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("first", "second", "n", "agreement", "kappa", "kappa_low", "kappa_high")


def compare_people(
    standing: Sequence[Annotation], level: str, rows: Mapping[Unit, int], lineages: Lineages
) -> tuple[Table, pd.DataFrame]:
    """Compare what people say of the same images, two people at a time.

    Parameters
    ----------
    standing : sequence of Annotation
        Not taken back, the oldest first.
    level : str
        Rank or column. At a rank, who says that a picture holds no animal says another class, and
        who says a lower rank says this one too: a species of the family that another names agrees
        with it at the family, and is not compared at the species.
    rows : mapping of Unit to int
        Images that are asked, with their rows.
    lineages : Lineages
        Of the names that people say.

    Returns
    -------
    table : Table
        ``first``, ``second``, ``n`` images, ``agreement``, ``kappa`` and its interval; one row for
        each two people.
    disagreed : DataFrame
        ``row``, ``by``, ``value``, ``label``, ``status``: one row for each person and image that
        people disagree on.

    Raises
    ------
    SelectionError
        If no two people said what the same image is.

    References
    ----------
    Cohen 1960, *A coefficient of agreement for nominal scales*.
    """
    import pandas as pd

    said = _collect(standing, level, rows, lineages)
    several = {unit: people for unit, people in said.items() if len(people) > 1}
    if not several:
        msg = (
            f"no two people said of the same image what it is at {level}: "
            f"{count(len(said), 'image')} of one person each"
        )
        raise SelectionError(msg)
    names = sorted({name for people in several.values() for name in people})
    found = [
        one for first, second in itertools.combinations(names, 2)
        if (one := _compare(first, second, several)) is not None
    ]  # fmt: skip
    table = Table(pd.DataFrame([dataclasses.astuple(one) for one in found], columns=list(_COLUMNS)))
    disagreed = {unit: people for unit, people in several.items() if len({*people.values()}) > 1}
    labels = {one.unit: one for one in resolve(standing, level)}
    lines = [
        (rows[unit], name, value, labels[unit].value if unit in labels else "",
         labels[unit].status if unit in labels else "")
        for unit, people in disagreed.items() for name, value in sorted(people.items())
    ]  # fmt: skip
    n_open = sum(unit in labels and labels[unit].status == "unresolved" for unit in disagreed)
    text = (
        f"{len(several):,} images have answers of several people at {level}, who disagree on "
        f"{len(disagreed):,}; {n_open:,} of these are unresolved, and have no label"
    )
    columns = ["row", "by", "value", "label", "status"]
    return table.say([Note(text)]), pd.DataFrame(lines, columns=columns)


def _collect(
    standing: Sequence[Annotation], level: str, rows: Mapping[Unit, int], lineages: Lineages
) -> dict[Unit, dict[str, str]]:
    """Return the class that each person says each image is of: at the level itself, else below."""
    depth = RANK_NAMES.index(level) if level in RANK_NAMES else len(RANK_NAMES)
    below = RANK_NAMES[depth + 1 :]
    order = [level, *([CONTENT] if level in RANK_NAMES else []), *below]
    answers = [
        (order.index(asked), unit, asked, people)
        for (unit, asked), people in collect_answers(standing).items()
        if unit in rows and asked in order
    ]
    found: dict[Unit, dict[str, str]] = {}
    for _, unit, asked, people in sorted(answers, key=lambda one: one[0]):
        for name, said in people.items():
            value = said.value
            if asked in below:
                value = lineages.find(Rank(asked), value)[depth] if value else ""
            if value and not (asked != level and asked == CONTENT
                              and read_content(value) not in NO_TAXON):  # fmt: skip
                found.setdefault(unit, {}).setdefault(name, value)
    return found


@dataclasses.dataclass(frozen=True)
class _Pair:
    first: str
    second: str
    n: int
    agreement: float
    kappa: float
    low: float
    high: float


def _compare(first: str, second: str, several: Mapping[Unit, Mapping[str, str]]) -> _Pair | None:
    both = [(unit, one) for unit, one in several.items() if first in one and second in one]
    if not both:
        return None
    values = np.array([(one[first], one[second]) for _, one in both], dtype=object)
    _, codes = np.unique(values.ravel().astype(str), return_inverse=True)
    pairs = codes.reshape(-1, 2).astype(np.int64)
    # Regions of one picture are judged together.
    pictures = np.array(["\0".join(unit[:2]) for unit, _ in both], dtype=object)
    kappa = measure_kappa(pairs[:, 0], pairs[:, 1], Resamples.of_groups(pictures))
    agreement = float((pairs[:, 0] == pairs[:, 1]).mean())
    return _Pair(first, second, len(both), agreement, kappa.estimate, kappa.low, kappa.high)
