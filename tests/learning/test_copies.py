from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import bioprobe as bp
import bioprobe.embedding.encoder_choice
import bioprobe.embedding.view_vectors
import bioprobe.encoders
from bioprobe.encoders import normalise_rows
from bioprobe.encoders.views import make_views
from bioprobe.errors import MisuseError
from bioprobe.learning.fit import measure_folds, measure_values, teach
from bioprobe.learning.proposals import list_dimensions
from bioprobe.probes.linear import LinearProbe
from bioprobe.store.look_cache import LookCache, describe_views
from tests.conftest import draw_picture


def _draw(n: int, dim: int = 6) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(0)
    return normalise_rows(rng.normal(size=(n, dim))), rng.permutation(np.arange(n) % 2), rng


def test_rows_teach_with_their_copies() -> None:
    vectors, y, rng = _draw(4)
    extra = rng.normal(size=(4, 3, 6)).astype(np.float32)
    kept = np.array([True, False, True, False])
    taught, names = teach(vectors, y, kept, extra)
    np.testing.assert_array_equal(taught, np.concatenate([vectors[[0, 2]], extra[0], extra[2]]))
    np.testing.assert_array_equal(names, [y[0], y[2], *[y[0]] * 3, *[y[2]] * 3])
    np.testing.assert_array_equal(teach(vectors, y, kept, None)[0], vectors[kept])


def test_copies_of_what_is_held_out_do_not_teach() -> None:
    vectors, y, _ = _draw(30)
    names, folds = y.astype(str), np.arange(30) % 3
    # Of labels by chance the nearest tells nothing, unless it is a copy.
    copies = np.repeat(vectors[:, None], 2, axis=1)
    assert measure_folds("knn", {"k": 1}, vectors, names, folds, copies)[0].mean() < 0.75
    swept = measure_values("knn", {}, vectors, names, np.array([1.0]), folds, copies)
    assert swept.accuracies.shape == (1, 3)
    assert swept.accuracies.mean() < 0.75


@pytest.mark.parametrize("folds", [np.arange(30) % 3, np.where(np.arange(30) < 20, -1, 0)])
def test_a_path_with_copies_is_that_of_single_fits(folds: np.ndarray) -> None:
    vectors, y, rng = _draw(30)
    vectors[:, 0] += y
    vectors, names = normalise_rows(vectors), y.astype(str)
    extra = normalise_rows((vectors[:, None] + 0.3 * rng.normal(size=(30, 2, 6))).reshape(-1, 6))
    extra = extra.reshape(30, 2, 6)
    values = np.array([1.0])
    swept = measure_values("linear", {}, vectors, names, values, folds, extra)
    for at, value in enumerate(values):
        for place, fold in enumerate(np.unique(folds[folds >= 0])):
            out = folds == fold
            fitted = LinearProbe(C=value).fit(*teach(vectors, names, ~out, extra))
            expected = (fitted.predict(vectors[out]) == names[out]).mean()
            assert swept.accuracies[at, place] == pytest.approx(expected, abs=1 / out.sum())


@pytest.fixture
def store(
    tmp_path: Path,
    encoder: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> bp.Store:
    for place in (bioprobe.encoders, bioprobe.embedding.encoder_choice):
        monkeypatch.setattr(place, "load_encoder", lambda *_, **__: encoder)
    names = [f"{number}.png" for number in range(24)]
    for number, name in enumerate(names):
        draw_picture(number, (20, 16)).save(tmp_path / name)
    families = [("Felidae", "Canidae")[number % 2] for number in range(24)]
    table = pd.DataFrame({"path": names, "kingdom": "Animalia", "family": families})
    table.to_csv(tmp_path / "table.csv", index=False)
    return bp.embed(tmp_path / "table.csv", store=tmp_path / "store", model="plain")


def test_a_probe_learns_from_views_that_are_embedded_once(
    store: bp.Store,
    encoder: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The last pictures are fewer than are read together.
    monkeypatch.setattr(bioprobe.embedding.view_vectors, "_AT_ONCE", 7)
    asked = {"level": "family", "split": "none", "C": 10.0}
    probe = store.fit("linear", **asked, augment_views=4)  # type: ignore[arg-type]
    assert probe.provenance["options"]["n_copies"] == 3
    assert any("4 views of each of 24 pictures teach" in str(note) for note in probe.notes)
    pictures = [Image.open(store.folder.parent / f"{n}.png").convert("RGB") for n in range(24)]
    views = np.stack([encoder.encode_image(make_views(one, 4)[1:]) for one in pictures])
    names = store.labels("family").astype(str)
    by_hand = LinearProbe(C=10.0, balance="class-weight").fit(
        *teach(store.X, names, np.ones(24, dtype=bool), views)
    )
    np.testing.assert_allclose(probe.estimator.coef_, by_hand.coef_, atol=0.02)
    alone = store.fit("linear", **asked, name="alone")  # type: ignore[arg-type]
    assert not np.allclose(alone.estimator.coef_, probe.estimator.coef_, atol=0.02)
    kept, known = LookCache(store.folder, describe_views(4, 16)).read(
        store._view.images.contents
    )  # fmt: skip
    assert known.all()
    np.testing.assert_allclose(kept["vectors"], views, atol=1e-5)
    # Asked again, no picture is read and no encoder loaded.
    monkeypatch.setattr(bioprobe.embedding.encoder_choice, "load_encoder", None)
    again = store.fit("linear", **asked, augment_views=4, name="again")  # type: ignore[arg-type]
    np.testing.assert_allclose(again.estimator.coef_, probe.estimator.coef_, atol=1e-4)
    with pytest.raises(MisuseError, match="seen 2, 4, 10 times, got 3"):
        store.fit("linear", **asked, augment_views=3)  # type: ignore[arg-type]


def test_tuning_has_views_beside_what_is_done_about_small_classes(store: bp.Store) -> None:
    tuned = store.tune(
        "family", kinds="centroid", split="none", n_trials=2, augment_views=2, calibration="none"
    )
    assert [one.settings["views"] for one in tuned.trials] == [False, True]
    assert not any(one.problem for one in tuned.trials)
    choices = {
        one.name: one.choices
        for one in list_dimensions("linear", whole_path=True, has_copies=True)
    }  # fmt: skip
    assert choices["views"] == (False, True)
    assert {"class-weight", "smote", "focal"} <= set(choices["balance"])


def test_views_of_what_is_gone_are_gone_after_compaction(store: bp.Store) -> None:
    store.fit("centroid", level="family", split="none", augment_views=2)
    contents = store._view.images.contents
    store.remove(row=[3])
    bp.open(store.folder).compact()
    known = LookCache(store.folder, describe_views(2, 16)).read(contents)[1]
    assert known.tolist() == [number != 3 for number in range(24)]


def test_an_evaluation_learns_from_views_where_it_is_asked_to(store: bp.Store) -> None:
    store.split(level="family", fractions="0.5,0,0.5")
    asked: dict[str, Any] = {"methods": "centroid", "n_resamples": 5}
    plain, viewed = store.evaluate(**asked), store.evaluate(**asked, augment_views=4)
    before, after = (one.predictions["probability"].to_numpy() for one in (plain, viewed))
    assert not np.allclose(before, after)
    assert viewed.provenance["options"]["augment_views"] == 4
    assert any("4 views of each of" in str(note) for note in viewed.notes)
    with pytest.raises(MisuseError, match="leave the method stack out"):
        store.evaluate(methods="stack", augment_views=2)
