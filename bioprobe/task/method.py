"""What a method is, and what it is once it has learnt; each is found by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Protocol

from bioprobe.errors import ProbeError
from bioprobe.names import suggest
from bioprobe.registry import METHODS
from bioprobe.store.view import View
from bioprobe.task.predictions import Predictions
from bioprobe.task.target import Classes
from bioprobe.task.task import Task
from bioprobe.types import Settings


class Fitted(Protocol):
    """What a method is once it has learnt: it answers any view of vectors of its encoder."""

    @property
    def classes(self) -> Classes:
        """What it can answer."""

    @property
    def settings(self) -> dict[str, Any]:
        """What was given or chosen, JSON-ready."""

    @property
    def n_rows(self) -> int:
        """Images that it learnt from."""

    def ask(self, view: View, k: int = 5) -> Predictions:
        """Return the best ``k`` classes of each image of a view."""


class Method(Protocol):
    """What learns from a task. Classifiers of plain arrays are wrapped; see ``learning/fit.py``."""

    #: Whether it starts from the texts of classes.
    needs_texts: bool
    #: Whether it can answer classes that no image taught.
    answers_untaught: bool

    def fit(self, task: Task, settings: Settings | None = None) -> Fitted:
        """Learn from the training rows of a task; what settings leave open is chosen there."""


def is_estimator(name: str) -> bool:
    """Tell whether a method is a classifier of plain arrays, a probe that is fitted and kept."""
    return hasattr(METHODS.load(name), "predict_proba")


def find_probe(kind: str) -> Any:  # noqa: ANN401 - a class of Probe, which is built on what stands here
    """Return the class of a kind of probe.

    Raises
    ------
    ProbeError
        If there is none.
    """
    loaded = METHODS.load(kind) if kind in METHODS.names else None
    # A method that fits several at once names the classifier that it makes of them.
    found = getattr(loaded, "estimator", loaded)
    if not hasattr(found, "predict_proba"):
        # Those of other packages are not loaded: one that is broken is no fault of this.
        known = [*filter(is_estimator, METHODS.places), *METHODS.added]
        msg = f"no kind of probe {kind!r}{suggest(kind, known)}; there are {', '.join(known)}"
        raise ProbeError(msg)
    return found


def make_probe(kind: str, settings: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - a Probe
    """Make a probe that has learnt nothing yet.

    Parameters
    ----------
    kind : str
        Name of a method that is a classifier of plain arrays.
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
    loaded = find_probe(kind)
    known = list(inspect.signature(loaded).parameters)
    for name in settings or {}:
        if name not in known:
            msg = f"{kind} has no setting {name!r}; it has {', '.join(known) or 'none'}"
            raise ProbeError(msg)
    return loaded(**(settings or {}))
