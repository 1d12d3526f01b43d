"""What every method holds, ours and that of another package."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bioprobe.encoders.keeping import PROJECTION_INPUT, TOKENS, KeptForm
from bioprobe.errors import ProbeError
from bioprobe.learning.fit import fit
from bioprobe.learning.fitted import FittedProbe
from bioprobe.learning.keeping import read_probe, write_probe
from bioprobe.probes.attentive import AttentiveProbe
from bioprobe.registry import METHODS
from bioprobe.store import EmbeddingStore
from bioprobe.store.kept import KeptWriter
from bioprobe.task.method import Fitted, is_estimator
from bioprobe.task.target import Texts
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank
from tests.conftest import PlainEncoder, split_by_part

pytestmark = pytest.mark.usefixtures("example_package")

NAMES = (*METHODS.places, "median")
# The stack is kept as the probe that it makes.
ESTIMATORS = [name for name in NAMES if name not in {"zeroshot", "stack"}]
# In float32 a class that is all but certain may pass 1 by rounding.
ROUNDING = 1e-5


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what learns step by step take few of them."""
    monkeypatch.setattr(AttentiveProbe, "values", (1, 3))


@pytest.fixture(scope="module")
def task(families_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Task:
    families = EmbeddingStore.open(
        shutil.copytree(families_once, tmp_path_factory.mktemp("contract") / "store")
    )
    manifest = dataclasses.replace(families.manifest, has_text_tower=True)
    manifest.write(families.folder)
    keep_something(families)
    store = EmbeddingStore(families.folder, manifest)
    texts = Texts(PlainEncoder().encode_text, 20.0)
    return Task.of(store, Rank.FAMILY, split=split_by_part(store), texts=texts)


@pytest.fixture(scope="module")
def fit_once(task: Task) -> Callable[[str], Fitted]:
    """Fit a method with the settings that it chooses, once for all tests."""
    return functools.cache(functools.partial(fit, task))


def keep_something(store: EmbeddingStore) -> None:
    """Keep beside the vectors what they would be made of, for methods that learn from it."""
    vectors, contents = store.read_vectors(), store.images.contents.tolist()
    form = KeptForm(
        PROJECTION_INPUT, (16,), "vectors", projection=np.eye(16, dtype=np.float32),
        bias=np.zeros(16, dtype=np.float32),
    )  # fmt: skip
    KeptWriter(store.folder, form, "float32").add(contents, 3 * vectors)
    tokens = np.stack([vectors, np.roll(vectors, 1, axis=1)], axis=1).astype(np.float16)
    form = KeptForm(TOKENS, (2, 16), "vectors, twice", 0, (1, 2))
    KeptWriter(store.folder, form, "float32").add(contents, tokens)


def test_every_method_is_tested_here() -> None:
    assert set(NAMES) == set(METHODS.names)


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_probabilities_row_for_row(
    task: Task, fit_once: Callable[[str], Fitted], name: str
) -> None:
    fitted = fit_once(name)
    rows = np.array([70, 3, 41, 0], dtype=np.int64)
    view = task.view.take(rows)
    n = len(fitted.classes)
    answers = fitted.ask(view, n + 3)
    assert answers.scores.shape == (4, n)
    np.testing.assert_array_equal(answers.rows, rows)
    assert (answers.scores >= 0).all()
    np.testing.assert_allclose(answers.scores.sum(axis=1), 1, atol=ROUNDING)
    assert (np.diff(answers.scores, axis=1) <= 0).all()
    for place, row in enumerate(rows):
        alone = fitted.ask(task.view.take(np.array([row])), n)
        np.testing.assert_array_equal(alone.top_classes[0], answers.top_classes[place])
        np.testing.assert_allclose(alone.scores[0], answers.scores[place], atol=ROUNDING)
    np.testing.assert_array_equal(fitted.ask(view, 1).top_classes, answers.top_classes[:, :1])


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_learns_the_same(
    task: Task, fit_once: Callable[[str], Fitted], name: str
) -> None:
    one, two = fit_once(name), fit(task, name)
    assert one.settings == two.settings
    asked = [fitted.ask(task.view, 3) for fitted in (one, two)]
    np.testing.assert_array_equal(asked[0].top_classes, asked[1].top_classes)
    np.testing.assert_array_equal(asked[0].scores, asked[1].scores)


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_setting_is_refused(task: Task, name: str) -> None:
    with pytest.raises(ProbeError, match="no setting 'colour'"):
        fit(task, name, {"colour": "red"})


@pytest.mark.parametrize("name", ESTIMATORS)
def test_what_is_kept_answers_the_same(
    task: Task, fit_once: Callable[[str], Fitted], name: str
) -> None:
    assert is_estimator(name)
    fitted = fit_once(name)
    assert isinstance(fitted, FittedProbe)
    assert fitted.kind == name
    write_probe(task.store, "kept", fitted)
    again = read_probe(task.store, "kept")
    expected, got = (probe.ask(task.view, 3) for probe in (fitted, again))
    np.testing.assert_array_equal(got.top_classes, expected.top_classes)
    np.testing.assert_allclose(got.scores, expected.scores, atol=1e-6)
    assert again.settings == fitted.settings
