"""Images of which people only said what they are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.face.store import open as open_store
from bioprobe.learning.excluded import fit_with_excluded
from bioprobe.probes.linear import LinearProbe
from bioprobe.store import EmbeddingStore
from tests.conftest import PlainEncoder

NAMES = np.array(["a", "b", "c"])


def _draw(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows around three directions that lie near each other."""
    rng = np.random.default_rng(seed)
    targets = np.arange(n) % 3
    means = np.eye(3, 8) + 0.6
    noise = rng.normal(scale=0.45, size=(n, 8))
    return normalise_rows((means[targets] + noise).astype(np.float32)), NAMES[targets]


def _score(probe: LinearProbe, vectors: np.ndarray, left: np.ndarray) -> float:
    """Return the mean log-likelihood of the classes that are left."""
    shares = np.where(left, probe.predict_proba(vectors), 0).sum(axis=1)
    return float(np.log(np.maximum(shares, 1e-12)).mean())


def test_rows_known_by_what_they_are_not_make_a_probe_better() -> None:
    gains = []
    for seed in range(5):
        vectors, y = _draw(seed, 9)
        others, truth = _draw(100 + seed, 120)
        asked, right = _draw(200 + seed, 900)
        # Whoever is shown an answer confirms it, or says that it is wrong.
        answers = LinearProbe().fit(vectors, y).predict(others)
        wrong = answers != truth
        vectors, y = np.concatenate([vectors, others[~wrong]]), np.append(y, truth[~wrong])
        probe = LinearProbe().fit(vectors, y)
        before = float((probe.predict(asked) == right).mean())
        left = answers[wrong, np.newaxis] != NAMES
        known = _score(probe, others[wrong], left)
        fit_with_excluded(probe, vectors, y, others[wrong], left)
        assert _score(probe, others[wrong], left) > known
        gains.append(float((probe.predict(asked) == right).mean()) - before)
    assert np.mean(gains) > 0.008
    assert min(gains) > -0.01


def test_one_class_that_is_left_is_a_label() -> None:
    vectors, y = _draw(0, 12)
    last = y == "c"
    shown = LinearProbe(C=10.0).fit(vectors, y)
    rows = np.concatenate([vectors[~last], vectors[last][:1]])
    names = np.array([*y[~last], "c"])
    probe = LinearProbe(C=10.0).fit(rows, names)
    left = np.tile(NAMES == "c", (int(last.sum()) - 1, 1))
    fit_with_excluded(probe, rows, names, vectors[last][1:], left)
    found, expected = probe.predict_proba(vectors), shown.predict_proba(vectors)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(("kind", "n_taught"), [("linear", 2), ("centroid", 0)])
@pytest.mark.parametrize("level", ["species", "genus"])
def test_a_probe_of_a_store_learns_what_pictures_are_not(
    make_store: Callable[..., EmbeddingStore], kind: str, n_taught: int, level: str
) -> None:
    vectors, y = _draw(0, 14)
    # A name of two words has a genus.
    species = [f"Genus{one} {one}" for one in y]
    species[-2:] = ["", ""]
    frame = pd.DataFrame(
        {"root": "r", "path": [f"{n}.jpg" for n in range(14)], "species": species,
         "genus": [one.split(" ")[0] for one in species]}
    )  # fmt: skip
    store = open_store(make_store(PlainEncoder(dim=8)).append(frame, vectors).folder)
    strength: dict[str, Any] = {"C": 10.0} if kind == "linear" else {}
    plain = store.fit(kind, level="species", split="none", **strength)
    assert not any("what they are not" in str(note) for note in plain.notes)
    value = species[0] if level == "species" else species[0].split(" ")[0]
    store.annotate_rows(value, row=[12, 13], level=level, verdict="is not", by="anna")
    probe = store.fit(kind, level="species", split="none", **strength)
    said = " ".join(map(str, probe.notes))
    assert ("2 more images taught" in said) == (n_taught > 0)
    assert ("2 images of which people only said what they are not taught nothing" in said) == (
        n_taught == 0
    )
    answers = [one.predict(store.where(rows=[12, 13])).to_frame() for one in (plain, probe)]
    scores = [one.loc[one["species"] == species[0], "score"].sum() for one in answers]
    # By more than rounding.
    assert (scores[1] < 0.99 * scores[0]) == (n_taught > 0)
