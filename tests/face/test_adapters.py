"""A kept adapter answers any text, taxa that were added after it learnt too."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from bioprobe.encoders.taught import Training
from bioprobe.errors import MisuseError, ProbeError, SelectionError
from bioprobe.face.store import Store
from bioprobe.face.store import open as open_store
from bioprobe.learning.keeping import read_adapter, write_probe
from bioprobe.task.decisions import Decisions
from bioprobe.task.predictions import Predictions
from bioprobe.task.target import mark_rows
from bioprobe.types import Scores
from bioprobe.zeroshot.seen_offset import SeenOffset, keep_offset
from tests.face.conftest import VECTORS, Teach

TEXTS = {
    "a Panthera leo": [1.0, 0.2, 0.0, 0.4],
    "a Lynx lynx": [0.4, 1.0, 0.0, 0.4],
    "a Canis lupus": [0.0, 0.4, 1.0, 0.4],
    "a Lynx pardinus": [0.1, 0.9, 0.6, 0.0],
}
WRITTEN: dict[str, Any] = {"text_type": "sci", "templates": "a {}"}


@pytest.fixture
def adapted(store: Store, teach: Teach) -> Store:
    """Return a store with an adapter of three species, to which a fourth was added since."""
    teach(TEXTS)
    store.fit("adapter", "species", split=None, calibration="none", **WRITTEN)
    store.add_taxon("Lynx pardinus", parent="Lynx")
    return store


def ask(store: Store, **options: Any) -> Predictions:  # noqa: ANN401
    answers = store.zeroshot(**options)
    assert isinstance(answers, Predictions)
    return answers


def expect(store: Store, names: tuple[str, ...], written: str = "a {}") -> Scores:
    matrix = read_adapter(store._view.store, "adapter")[1]
    images, texts = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (np.array(VECTORS), np.array([TEXTS[written.format(one)] for one in names]))
    )
    scale = store._view.manifest.logit_scale
    return np.asarray(softmax(scale * images @ matrix.T @ texts.T, axis=1))


def test_any_text_is_asked_through_an_adapter(adapted: Store) -> None:
    answers = ask(adapted, level="species", adapter="adapter", k=4, **WRITTEN)
    assert answers.classes is not None
    names = answers.classes.names
    assert set(names) == {one.removeprefix("a ") for one in TEXTS}
    np.testing.assert_allclose(answers.to_dense(), expect(adapted, names), atol=1e-5)
    plain = ask(adapted, level="species", k=4, **WRITTEN)
    assert np.abs(plain.to_dense() - answers.to_dense()).max() > 1e-3
    # What taught it judges nothing.
    assert answers.taught is not None
    assert answers.taught.all()
    said = " ".join(map(str, answers.notes))
    assert "learnt 3 classes at species from 4 images; the 4 of them that are asked" in said
    assert "against the labels" not in said
    assert answers.provenance.options["adapter"].startswith("adapter:")
    within = ask(adapted, level="species", adapter="adapter", k=4, within="Lynx", **WRITTEN)
    allowed = np.array([name.startswith("Lynx") for name in names])
    outside = expect(adapted, names)[:, ~allowed].sum(axis=1)
    np.testing.assert_allclose(within.columns["share_outside"], outside, atol=1e-5)
    decided = adapted.zeroshot("species", adapter="adapter", abstain=0.5, **WRITTEN)
    assert isinstance(decided, Decisions)
    assert decided.taught is not None


def test_what_taught_the_encoder_judges_nothing_however_it_is_asked(adapted: Store) -> None:
    store = adapted._view.store
    # As if one image had taught the adapter, and another the encoder before.
    fitted = dataclasses.replace(
        adapted.probe("adapter").fitted, taught=mark_rows(store.images, np.array([0]))
    )
    write_probe(store, "adapter", fitted)
    card = {"base": {"model": "plain"}, "n_images": 1, "n_classes": 1, "level": "species"}
    hashes = frozenset({store.images.column("sha256").iloc[2]})
    Training({**card, "store": "photos", "split": ""}, hashes).write(store.folder)
    opened = open_store(store.folder)
    for adapter, taught in ((None, [2]), ("adapter", [0, 2])):
        for abstain in (None, 0.5):
            answers: Any = opened.zeroshot("species", adapter=adapter, abstain=abstain, **WRITTEN)
            assert np.flatnonzero(answers.taught).tolist() == taught


def test_classes_that_are_no_taxa_are_asked_through_it_too(adapted: Store) -> None:
    named = {"cat": "a Lynx pardinus", "dog": "a Canis lupus"}
    answers = ask(adapted, classes=named, templates="{}", adapter="adapter", k=2)
    expected = expect(adapted, tuple(named.values()), "{}")
    np.testing.assert_allclose(answers.to_dense(), expected, atol=1e-5)
    assert answers.provenance.options["adapter"].startswith("adapter:")
    assert "seen through the adapter adapter" in " ".join(map(str, answers.notes))


def test_classes_without_images_are_answers_of_the_probe(adapted: Store) -> None:
    # The taxon is known by now, so that the same fit has it among its classes.
    for kind in ("adapter", "clap", "tip-adapter"):
        made = adapted.fit(kind, "species", split=None, calibration="none", **WRITTEN)
        assert "Lynx pardinus" in set(made.classes)
    answers = adapted.predict("adapter", k=4)
    assert isinstance(answers, Predictions)
    assert answers.classes is not None
    expected = expect(adapted, answers.classes.names)
    np.testing.assert_allclose(answers.to_dense(), expected, atol=1e-4)


def test_what_an_adapter_cannot_do_is_refused(adapted: Store) -> None:
    adapted.fit("clap", "species", split=None, calibration="none", **WRITTEN)
    with pytest.raises(ProbeError, match="the probe clap is of the kind clap, which knows its own"):
        adapted.zeroshot("species", adapter="clap", **WRITTEN)
    with pytest.raises(MisuseError, match="--open-set, which measures vectors as they are"):
        adapted.zeroshot("species", adapter="adapter", open_set=True, **WRITTEN)
    store = adapted._view.store
    keep_offset(store, SeenOffset(1.0, ()), {})
    assert len(adapted.zeroshot("species", offset="auto", **WRITTEN)) == 4
    with pytest.raises(MisuseError, match="the offset was measured without one; measure it again"):
        adapted.zeroshot("species", offset="auto", adapter="adapter", **WRITTEN)
    keep_offset(store, SeenOffset(1.0, (), "adapter:old"), {})
    for adapter in ("adapter", None):
        with pytest.raises(MisuseError, match="measured through the adapter adapter as it was"):
            adapted.zeroshot("species", offset="auto", adapter=adapter, **WRITTEN)


def test_an_offset_is_measured_through_an_adapter(adapted: Store) -> None:
    condition = "species in ['Lynx lynx', 'Canis lupus']"
    with pytest.raises(SelectionError, match="0 unseen species classes"):
        # All of them taught it.
        adapted.measure_unseen(condition, adapter="adapter", **WRITTEN)
    probe = adapted.probe("adapter").fitted
    # As if others had taught it.
    write_probe(adapted._view.store, "adapter", dataclasses.replace(probe, taught=None))
    found = adapted.measure_unseen(condition, adapter="adapter", **WRITTEN)
    assert found.offset.adapter == f"adapter:{probe.rows_hash}"
    plain = adapted.measure_unseen(condition, **WRITTEN)
    assert plain.offset.adapter == ""
    assert plain.offset.value != found.offset.value


def test_a_cache_of_images_that_go_is_forgotten(adapted: Store) -> None:
    adapted.fit("tip-adapter", "species", split=None, calibration="none", **WRITTEN)
    adapted.where("path == '0.jpg'").remove()
    (said,) = adapted.compact().forgotten
    assert "tip-adapter keeps a key for each of its images, of which some go: forgotten" in said
    assert adapted.probes().to_frame()["name"].tolist() == ["adapter"]
