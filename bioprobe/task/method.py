"""The kinds of probe by name, each loaded when it is asked for."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
from typing import Any

import numpy as np

from bioprobe.errors import ProbeError
from bioprobe.types import Settings


@dataclasses.dataclass(frozen=True)
class Kind:
    """Where a kind of probe is, and what is chosen on held-out rows.

    Parameters
    ----------
    module, class_name : str
        Place of the class, from ``bioprobe.probes``.
    parameter : str
        Argument of ``__init__`` that is chosen when it is not given; ``""`` where there is
        nothing to choose.
    values : tuple of float
        Values tried, from the strongest regularisation to the weakest.
    summary : str
        One line for people.
    """

    module: str
    class_name: str
    parameter: str
    values: tuple[float, ...]
    summary: str

    def load(self) -> type[Any]:
        """Import the class, a :class:`bioprobe.probes.probe.Probe`."""
        module = importlib.import_module(f"bioprobe.probes.{self.module}")
        loaded: type[Any] = getattr(module, self.class_name)
        return loaded


def _space(first: float, last: float, n: int = 20) -> tuple[float, ...]:
    values = np.logspace(math.log10(first), math.log10(last), n)
    return tuple(float(f"{value:.3g}") for value in values)


KINDS: dict[str, Kind] = {
    "linear": Kind(
        "linear", "LinearProbe", "C", _space(1e-1, 1e4, 11), "multinomial logistic regression"
    ),
    "lda": Kind(
        "closed_form", "LdaProbe", "shrinkage", _space(1, 1e-4),
        "linear discriminant analysis, shrunk",
    ),
    "ridge": Kind(
        "closed_form", "RidgeProbe", "alpha", _space(1e3, 1e-3), "ridge regression on ±1"
    ),
    "knn": Kind(
        "knn", "KnnProbe", "k", (200, 100, 50, 30, 20, 15, 10, 7, 5, 3, 1),
        "vote of the nearest neighbours, by similarity",
    ),
    "centroid": Kind("centroid", "CentroidProbe", "", (), "nearest class mean (SimpleShot)"),
    "prompt+probe": Kind(
        "prompted", "PromptedProbe", "C", _space(1e-3, 1e3, 7),
        "logistic regression that starts from the texts",
    ),
    "hierarchical": Kind(
        "hierarchical", "HierarchicalProbe", "C", (30, 100, 300, 1000),
        "losses at every rank of a chain, consistent",
    ),
    "stack": Kind("stacked", "StackProbe", "", (), "several encoders' probes, combined"),
}  # fmt: skip


def find_kind(name: str) -> Kind:
    """Return a kind by name.

    Raises
    ------
    ProbeError
        If there is none.
    """
    if name not in KINDS:
        msg = f"no kind of probe {name!r}; there are {', '.join(KINDS)}"
        raise ProbeError(msg)
    return KINDS[name]


def make_probe(kind: str, settings: Settings | None = None) -> Any:  # noqa: ANN401 - a Probe, which is built on what stands here
    """Make a probe that has learnt nothing yet.

    Parameters
    ----------
    kind : str
        One of :data:`KINDS`.
    settings : mapping, optional
        Arguments of its ``__init__``.

    Raises
    ------
    ProbeError
        If there is no such kind, or it has no such setting.

    Examples
    --------
    >>> make_probe("lda", {"shrinkage": 0.5}).get_params()["shrinkage"]
    0.5
    """
    loaded = find_kind(kind).load()
    known = list(inspect.signature(loaded).parameters)
    for name in settings or {}:
        if name not in known:
            msg = f"{kind} has no setting {name!r}; it has {', '.join(known) or 'none'}"
            raise ProbeError(msg)
    return loaded(**(settings or {}))


def takes_lineages(kind: str) -> bool:
    """Tell whether a kind learns from lineages instead of single labels.

    Its ``fit`` takes, for ``y``, an ndarray of object of shape (n_images, n_ranks): names from
    the broadest rank to that of the classes, ``""`` where unknown.
    """
    return bool(getattr(find_kind(kind).load(), "takes_lineages", False))
