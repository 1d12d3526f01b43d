"""Kinds and settings chosen on held-out rows."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import ProbeError, PromptError, StoreError
from bioprobe.learning.fit import fit_probe
from bioprobe.learning.keeping import read_probe, write_probe
from bioprobe.learning.proposals import Proposals, list_dimensions, list_settings
from bioprobe.learning.tune import Trial, Tuned, rank_trials, tune_probe
from bioprobe.probes.closed_form import LdaProbe
from bioprobe.probes.knn import KnnProbe
from bioprobe.probes.probe import Dimension
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.target import Texts
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank
from tests.conftest import make_parts

FAMILIES = ("Felidae", "Canidae", "Ursidae", "Otariidae")
DIM = 12
QUICK = ("lda", "centroid", "knn")


def _make_store(folder: Path, *, poisoned: bool = False, n: int = 120) -> EmbeddingStore:
    """Make a store whose every third row is for testing; poison gives these rows wrong labels."""
    random = np.random.default_rng(0)
    places = np.arange(n) % len(FAMILIES)
    centres = np.random.default_rng(5).normal(size=(len(FAMILIES), DIM))
    names = np.array(FAMILIES, dtype=object)[places]
    if poisoned:
        names[_is_test(n)] = "Poisonidae"
    frame = pd.DataFrame(
        {
            "path": [f"{row}.jpg" for row in range(n)],
            "sha256": [f"{row:064d}" for row in range(n)],
            "phylum": "Chordata",
            "order": "Carnivora",
            "family": names,
        }
    )
    encoder = Fingerprint(model="plain", weights_sha256="a" * 64, backend="numpy")
    store = EmbeddingStore.create(folder, encoder, dim=DIM, has_text_tower=True)
    return store.append(frame, centres[places] + 0.9 * random.normal(size=(n, DIM)))


def _is_test(n: int) -> npt.NDArray[np.bool_]:
    return np.asarray(np.arange(n) // 4 % 3 == 2)


def _split(n: int = 120, *, validation: bool = True) -> Split:
    held_out = "validation" if validation else "train"
    return make_parts(np.array(["train", held_out, "test"], dtype=object)[np.arange(n) // 4 % 3])


def _summarise(tuned: Tuned) -> list[tuple[object, ...]]:
    return [(one.kind, one.settings, one.score) for one in tuned.trials]


@pytest.fixture
def filled(tmp_path: Path) -> EmbeddingStore:
    return _make_store(tmp_path / "store")


@pytest.fixture
def texts() -> Texts:
    def encode(asked: Sequence[str]) -> npt.NDArray[np.float32]:
        drawn = [np.random.default_rng(sum(map(ord, one))).normal(size=DIM) for one in asked]
        rows = np.array(drawn, dtype=np.float32)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))

    return Texts(encode, 20.0)


def test_the_best_is_that_of_the_highest_score_and_is_fitted_on_training_rows(
    filled: EmbeddingStore,
) -> None:
    split = _split()
    tuned = tune_probe(Task.of(filled, Rank.FAMILY, split=split), kinds=QUICK, n_trials=6)
    assert tuned.best.score == max(one.score for one in tuned.trials)
    assert tuned.method == "validation"
    assert tuned.n_held_out == len(split.rows("validation"))
    again = fit_probe(
        Task.of(filled, Rank.FAMILY, split=split), tuned.best.kind, tuned.best.settings
    )
    vectors = filled.read_vectors()
    assert np.allclose(tuned.probe.predict_vectors(vectors), again.predict_vectors(vectors))
    assert tuned.probe.n_rows == len(split.rows("train"))
    assert tuned.probe.held_out.n_correct / tuned.probe.held_out.n_images == pytest.approx(
        tuned.best.score
    )


@pytest.mark.parametrize("validation", [True, False])
def test_labels_of_the_test_part_change_nothing(
    tmp_path: Path, texts: Texts, validation: bool
) -> None:
    found = [
        tune_probe(
            Task.of(
                _make_store(tmp_path / name, poisoned=name == "poisoned"),
                Rank.FAMILY,
                split=_split(validation=validation),
                texts=texts,
            ),
            kinds=(*QUICK, "prompt+probe"),
            n_trials=6,
        )
        for name in ("clean", "poisoned")
    ]
    assert _summarise(found[0]) == _summarise(found[1])
    assert found[0].method == ("validation" if validation else "cross-validation")
    assert [taxon.name for taxon in found[1].probe.classes] == sorted(FAMILIES)


def test_a_whole_path_is_one_trial_and_its_values_are_counted(filled: EmbeddingStore) -> None:
    tuned = tune_probe(Task.of(filled, Rank.FAMILY, split=_split()), kinds=("lda",), n_trials=9)
    assert len(tuned.trials) == 1, "lda has nothing to choose but what its path measures"
    assert tuned.trials[0].n_values == len(LdaProbe.values) == tuned.n_compared
    chosen = fit_probe(Task.of(filled, Rank.FAMILY, split=_split()), "lda")
    assert tuned.best.settings["shrinkage"] == chosen.settings["shrinkage"]


def test_by_macro_f1_each_value_is_a_trial(filled: EmbeddingStore) -> None:
    split = _split()
    tuned = tune_probe(
        Task.of(filled, Rank.FAMILY, split=split), kinds=("lda",), n_trials=8, metric="macro_f1"
    )
    assert [one.n_values for one in tuned.trials] == [1] * 8
    assert len({one.settings["shrinkage"] for one in tuned.trials}) == 8
    from sklearn.metrics import f1_score

    rows = split.rows("validation")
    answers = tuned.probe.ask(View.of(filled).take(rows), k=1)
    expected = f1_score(answers.truth.astype(str), answers.names[:, 0].astype(str), average="macro")
    assert tuned.best.score == pytest.approx(expected)


def test_the_lowest_log_loss_is_best(filled: EmbeddingStore) -> None:
    tuned = tune_probe(
        Task.of(filled, Rank.FAMILY, split=_split()), kinds=QUICK, n_trials=4, metric="log_loss"
    )
    assert tuned.best.score == min(one.score for one in tuned.trials)
    rows = _split().rows("validation")
    answers = tuned.probe.ask(View.of(filled).take(rows), k=len(FAMILIES))
    own = answers.to_dense()[np.arange(len(rows)), answers.truth_classes]
    assert tuned.best.score == pytest.approx(-np.log(own).mean(), rel=1e-3)


def test_the_same_seed_tries_the_same_and_another_something_else(filled: EmbeddingStore) -> None:
    def tune(seed: int) -> list[tuple[object, ...]]:
        return _summarise(
            tune_probe(
                Task.of(filled, Rank.FAMILY, split=_split(), seed=seed),
                kinds=("knn", "lda"),
                n_trials=4,
            )
        )

    assert tune(3) == tune(3)
    assert any(tune(3) != tune(other) for other in (4, 5, 6))


def test_the_provenance_tells_the_trials_and_is_kept(filled: EmbeddingStore) -> None:
    tuned = tune_probe(
        Task.of(filled, Rank.FAMILY, split=_split(), seed=7), kinds=QUICK, n_trials=4
    )
    write_probe(filled, "tuned", tuned.probe)
    about = read_probe(filled, "tuned").provenance["options"]["tuning"]
    assert (about["metric"], about["seed"]) == ("accuracy", 7)
    assert [one["kind"] for one in about["trials"]] == [one.kind for one in tuned.trials]
    assert about["n_held_out"] == tuned.n_held_out


def test_no_trial_is_begun_after_the_time_is_over_but_one_is(filled: EmbeddingStore) -> None:
    told: list[Trial] = []
    tuned = tune_probe(
        Task.of(filled, Rank.FAMILY, split=_split()), kinds=QUICK, timeout_s=0, on_trial=told.append
    )
    assert told == list(tuned.trials)
    assert [one.kind for one in told] == ["lda"]


def test_texts_are_chosen_and_named_in_the_settings(filled: EmbeddingStore, texts: Texts) -> None:
    tuned = tune_probe(
        Task.of(filled, Rank.FAMILY, split=_split(), texts=texts),
        kinds=("prompt+probe",),
        n_trials=5,
        text_types=("sci", "taxon"),
        templates={"one": ("{}",), "two": ("a {}", "the {}")},
    )
    tried = {(one.settings["text_type"], one.settings["templates"]) for one in tuned.trials}
    assert len(tried) > 1
    chosen = tuned.best.settings
    assert tuned.task.texts is not None
    assert tuned.task.texts.text_type == chosen["text_type"]
    assert len(tuned.task.texts.templates) == {"one": 1, "two": 2}[chosen["templates"]]
    with pytest.raises(PromptError, match="not a text type"):
        tune_probe(
            Task.of(filled, Rank.FAMILY, split=_split(), texts=texts),
            kinds=("prompt+probe",),
            text_types=("latin",),
        )


def test_a_kind_that_fails_stops_no_other(filled: EmbeddingStore, texts: Texts) -> None:
    def refuse(asked: Sequence[str]) -> npt.NDArray[np.float32]:
        msg = f"no weights for {len(asked)} texts"
        raise StoreError(msg)

    broken = dataclasses.replace(texts, encode_text=refuse)
    tuned = tune_probe(
        Task.of(filled, Rank.FAMILY, split=_split(), texts=broken),
        kinds=("prompt+probe", "centroid"),
        n_trials=3,
    )
    assert tuned.best.kind == "centroid"
    assert "no weights" in tuned.to_frame()["problem"].iloc[-1]
    with pytest.raises(ProbeError, match="each of 2 trials failed; the first: no weights"):
        tune_probe(
            Task.of(filled, Rank.FAMILY, split=_split(), texts=broken),
            kinds=("prompt+probe",),
            n_trials=2,
        )


def test_misuse_is_refused(filled: EmbeddingStore) -> None:
    for kinds, changed in (((), {}), (QUICK, {"n_trials": 0}), (QUICK, {"metric": "auroc"})):
        with pytest.raises(ProbeError, match="tuning takes at least one kind"):
            tune_probe(Task.of(filled, Rank.FAMILY, split=_split()), kinds=kinds, **changed)
    with pytest.raises(ProbeError, match="tuning compares lda"):
        tune_probe(Task.of(filled, Rank.FAMILY, split=_split()), kinds=("stack",))
    with pytest.raises(ProbeError, match="starts from texts"):
        tune_probe(Task.of(filled, Rank.FAMILY, split=_split()), kinds=("prompt+probe",))


def test_each_setting_is_proposed_once_until_none_is_left() -> None:
    way = Dimension("way", ("plain", "bent"))
    spaces = {"a": (), "b": (way, Dimension("angle", (1.0, 2.0), ("way", "bent")))}
    proposals = Proposals(spaces, 0, lower_is_better=False)
    found = []
    while (proposal := proposals.ask()) is not None:
        found.append(proposal)
        proposals.tell(float("nan") if len(found) == 2 else 0.5)
    assert found[:2] == [("a", {}), ("b", {"way": "plain"})], "first choices, in order"
    angles = [{"way": "bent", "angle": angle} for angle in (1.0, 2.0)]
    assert sorted(found[2:], key=str) == [("b", angle) for angle in angles]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_proposals_end_with_the_settings(n: int) -> None:
    spaces = {"a": (Dimension("x", tuple(float(value) for value in range(n))),)}
    proposals = Proposals(spaces, 0, lower_is_better=True)
    values = []
    while (proposal := proposals.ask()) is not None:
        values.append(proposal[1]["x"])
        proposals.tell(1.0)
    assert sorted(values) == [float(value) for value in range(n)]


def test_the_log_of_optuna_stays_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    with caplog.at_level(logging.INFO):
        proposals = Proposals({"a": ()}, 0, lower_is_better=False)
        proposals.ask()
        proposals.tell(1.0)
    assert optuna.logging.get_verbosity() == before
    assert not caplog.records


def test_a_path_takes_its_values_out_of_the_choices() -> None:
    path, single = (list_dimensions("knn", whole_path=one) for one in (True, False))
    assert {one.name for one in single} - {one.name for one in path} == {"k"}
    assert len(list_settings(single)) == len(list_settings(path)) * len(KnnProbe.values)


def test_trials_that_failed_come_last() -> None:
    trials = [Trial(1, "a", {}, float("nan"), 0, 0.0, "broken")]
    trials += [Trial(n, "a", {}, score, 1, 0.0) for n, score in ((2, 0.5), (3, 0.7), (4, 0.7))]
    assert [one.number for one in rank_trials(trials, "accuracy")] == [3, 4, 2, 1]
    assert [one.number for one in rank_trials(trials, "log_loss")] == [2, 3, 4, 1]
