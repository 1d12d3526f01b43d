"""What tuning may choose, by kind of probe."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from bioprobe.errors import ProbeError
from bioprobe.probes.balance import BALANCES
from bioprobe.probes.kinds import find_kind

KIND = "kind"
TEXT_TYPE, TEMPLATES = "text_type", "templates"
# The quickest first: what there is no time for is missed least.
TUNED_KINDS = ("lda", "ridge", "centroid", "knn", "linear", "hierarchical", "prompt+probe")

Choices = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Dimension:
    """One setting and its choices.

    Parameters
    ----------
    name : str
        Setting of the probe.
    choices : tuple
        The first is that which is tried first.
    when : tuple of str, optional
        Another setting and the value at which this one plays a part.
    """

    name: str
    choices: Choices
    when: tuple[str, str] | None = None

    def plays_part(self, settings: Mapping[str, Any]) -> bool:
        """Tell whether this is to be chosen beside other settings."""
        return self.when is None or settings.get(self.when[0]) == self.when[1]


_DIMENSIONS: dict[str, tuple[Dimension, ...]] = {
    "knn": (Dimension("temperature", (0.07, 0.02, 0.04, 0.12, 0.2)),),
    "linear": (
        Dimension("balance", BALANCES),
        Dimension("tau", (1.0, 0.5, 1.5), ("balance", "logit-adjustment")),
        Dimension("gamma", (2.0, 1.0, 3.0), ("balance", "focal")),
        Dimension("alpha", (0.2, 0.1, 0.4), ("balance", "mixup")),
    ),
    "hierarchical": (
        Dimension("method", ("softmax", "local")),
        Dimension("smoothing", (0.2, 0.0, 0.1, 0.4), ("method", "softmax")),
    ),
    "prompt+probe": (Dimension("balance", ("none", "class-weight", "logit-adjustment")),),
}


def list_dimensions(
    kind: str,
    *,
    whole_path: bool,
    text_types: Sequence[str] = (),
    templates: Sequence[str] = (),
) -> tuple[Dimension, ...]:
    """List what is chosen for a kind.

    Parameters
    ----------
    kind : str
        One of :data:`TUNED_KINDS`.
    whole_path : bool
        Whether all values of the regularisation are measured together, so that it is no choice
        of a trial.
    text_types, templates : sequence of str
        Names of the choices for a kind that starts from texts.

    Raises
    ------
    ProbeError
        If the kind is not one that is tuned.
    """
    if kind not in TUNED_KINDS:
        msg = f"tuning compares {', '.join(TUNED_KINDS)}; got {kind!r}"
        raise ProbeError(msg)
    found = find_kind(kind)
    dimensions = _DIMENSIONS.get(kind, ())
    if found.parameter and not whole_path:
        # The middle of the path first.
        middle = len(found.values) // 2
        values = (found.values[middle], *found.values[:middle], *found.values[middle + 1 :])
        dimensions += (Dimension(found.parameter, values),)
    if kind == "prompt+probe":
        dimensions += (Dimension(TEXT_TYPE, tuple(text_types)),)
        dimensions += (Dimension(TEMPLATES, tuple(templates)),)
    return dimensions


def list_settings(dimensions: Sequence[Dimension]) -> list[dict[str, Any]]:
    """List every combination of choices once, the first of all choices first.

    Examples
    --------
    >>> way = Dimension("way", ("plain", "bent"))
    >>> list_settings([way, Dimension("angle", (1, 2), ("way", "bent"))])
    [{'way': 'plain'}, {'way': 'bent', 'angle': 1}, {'way': 'bent', 'angle': 2}]
    """
    found: list[dict[str, Any]] = []
    for values in itertools.product(*(dimension.choices for dimension in dimensions)):
        settings: dict[str, Any] = {}
        for dimension, value in zip(dimensions, values, strict=True):
            if dimension.plays_part(settings):
                settings[dimension.name] = value
        if settings not in found:
            found.append(settings)
    return found
