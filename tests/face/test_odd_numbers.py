"""Every number that a question about learning takes: an error of ours that names it, or answers."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bioprobe as bp
from bioprobe.errors import BioprobeError
from bioprobe.splits import write_split
from bioprobe.store import EmbeddingStore
from bioprobe.task.method import find_probe
from tests.conftest import split_by_part

NO_NUMBERS: tuple[Any, ...] = (math.nan, math.inf, -math.inf, [], [math.nan], True, "text", "")
ODD: tuple[Any, ...] = (*NO_NUMBERS, 0, -1, 0.5, 1e-300, -1e-300, 1e300, -1e300, 10**400)
Ask = Callable[[Any, Mapping[str, Any]], Any]
QUESTIONS: dict[str, tuple[Ask, tuple[str, ...]]] = {
    "split": (lambda store, given: store.split("family", name="odd", **given), ("folds", "seed")),
    "fit": (
        lambda store, given: store.fit("lda", "family", **given),
        ("seed", "leave_out"),
    ),
    "tune": (
        lambda store, given: store.tune("family", kinds="centroid", **{"n_trials": 1, **given}),
        ("n_trials", "timeout", "seed"),
    ),
    "evaluate": (
        lambda store, given: store.evaluate(
            "family", methods="centroid", **{"n_resamples": 3, **given}
        ),
        ("seed", "n_resamples", "draws"),
    ),
    "predict": (
        lambda store, given: store.probe("kept").predict(**given),
        ("k", "accuracy", "sets", "abstain"),
    ),
}
# Beside it an option counts.
BESIDE: dict[str, dict[str, Any]] = {
    "draws": {"label_efficiency": True, "shots": "1"},
    "accuracy": {"abstain": "auto"},
}


@pytest.fixture(scope="module")
def kept(families_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep a split and a probe of the families, once; each test has a copy."""
    folder = shutil.copytree(families_once, tmp_path_factory.mktemp("kept") / "store")
    families = EmbeddingStore.open(folder)
    write_split(families, split_by_part(families))
    bp.open(folder).fit("lda", "family", split="made", name="kept")
    return folder


@pytest.fixture
def opened(kept: Path, tmp_path: Path) -> Any:  # noqa: ANN401 - what is opened
    return bp.open(shutil.copytree(kept, tmp_path / "store"))


@pytest.mark.parametrize(
    ("question", "option"),
    [(question, option) for question, (_, options) in QUESTIONS.items() for option in options],
)
def test_a_number_that_is_none_is_named(opened: Any, question: str, option: str) -> None:  # noqa: ANN401
    ask, _ = QUESTIONS[question]
    others = {} if question in {"split", "predict"} else {"split": "made"}
    refused: list[tuple[Any, str]] = []
    for value in ODD:
        try:
            ask(opened, {**others, **BESIDE.get(option, {}), option: value})
        except BioprobeError as error:
            refused.append((value, str(error)))
    for value in NO_NUMBERS:
        assert any(value is one for one, _ in refused), value
    flag = "-k" if option == "k" else "--" + option.replace("_", "-")
    said = [one for value, one in refused if any(value is other for other in NO_NUMBERS)]
    assert [one for one in said if flag not in one] == []


@pytest.mark.parametrize("kind", ["centroid", "knn", "lda", "ridge", "linear", "hierarchical"])
def test_settings_of_methods_are_named_too(opened: Any, kind: str) -> None:  # noqa: ANN401
    for setting in find_probe(kind).limits:
        for value in (*NO_NUMBERS, 10**400, -1e300):
            with pytest.raises(BioprobeError, match=rf"{kind} .*{setting}"):
                opened.fit(kind, "family", split="made", setting={setting: value})
    with pytest.raises(BioprobeError, match=r"takes|no setting"):
        opened.fit(kind, "family", split="made", setting=["C=text"])
    found = opened.fit("knn", "family", split="made", setting={"k": 1e300}).predict()
    assert np.isfinite(found.scores).all()


def test_fractions_and_shots_are_numbers(opened: Any) -> None:  # noqa: ANN401
    for value in (5, [math.nan], ["text"], "text", [None], [10**400], math.nan):
        with pytest.raises(BioprobeError, match="fractions"):
            opened.split("family", fractions=value)
    for value in (5, [math.nan], "text", [None], [0], math.inf):
        with pytest.raises(BioprobeError, match=r"shots|image a class"):
            opened.evaluate(
                "family", methods="centroid", split="made", n_resamples=3,
                label_efficiency=True, shots=value,
            )  # fmt: skip
