"""Attentive pooling: it finds the token that tells, reads some at a time, and repeats itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from bioprobe.encoders.keeping import TOKENS, KeptForm
from bioprobe.errors import ProbeError
from bioprobe.learning.fit import answer_held_out, fit
from bioprobe.probes import attentive
from bioprobe.probes.attentive import AttentiveProbe
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore
from bioprobe.store.kept import KeptWriter
from bioprobe.store.view import View
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank

Drawn = tuple[npt.NDArray[np.float16], npt.NDArray[np.str_], npt.NDArray[np.int64]]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    """Draw tokens of which one, of a mark of its own, tells the class; its place is any.

    Returns
    -------
    tokens : ndarray of float16, shape (160, 6, 8)
    y : ndarray of str, shape (160,)
    places : ndarray of int64, shape (160,)
        Of the token that tells.
    """
    random = np.random.default_rng(0)
    labels, places = random.integers(0, 2, 160), random.integers(0, 6, 160)
    tokens = random.normal(size=(160, 6, 8))
    tokens[:, :, 0] = -2.0
    marked = 0.2 * random.normal(size=(160, 8))
    marked[np.arange(160), 1 + labels] = 4.0
    marked[:, 0] = 4.0
    tokens[np.arange(160), places] = marked
    return tokens.astype(np.float16), np.array(list("ab"))[labels], places


def test_it_looks_at_what_tells_and_beats_the_mean(drawn: Drawn) -> None:
    tokens, y, places = drawn
    given: dict[str, float] = {"epochs": 12, "queries": 1, "learning_rate": 0.05}
    probe = AttentiveProbe(**given).fit(tokens[:100], y[:100])  # type: ignore[arg-type]
    seen = attentive._read(tokens, np.arange(160)).numpy() @ probe.queries_[0]
    score = probe.score(tokens[100:], y[100:])
    # Of the mean of all tokens there is less to learn.
    means = attentive._read(tokens, np.arange(160)).numpy().mean(axis=1)
    blind = AttentiveProbe(**given).fit(means[:100], y[:100])  # type: ignore[arg-type]
    blind_score = blind.score(means[100:], y[100:])
    assert (seen.argmax(axis=1) == places).mean() > 0.9
    assert blind_score + 0.05 < score > 0.95


def test_the_same_seed_learns_the_same_and_another_another(drawn: Drawn) -> None:
    tokens, y, _ = drawn
    one, two, other = (AttentiveProbe(2, seed=seed).fit(tokens, y) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.coef_, two.coef_)
    assert not np.array_equal(one.coef_, other.coef_)
    again = AttentiveProbe().set_arrays(one.to_arrays(), one.classes_)
    np.testing.assert_array_equal(again.logits(tokens), one.logits(tokens))


def test_steps_are_those_of_the_paper() -> None:
    import torch

    start = torch.linspace(-1, 1, 6)
    ours, theirs = (start.clone().requires_grad_() for _ in range(2))
    steps = attentive._AdamW([(ours, 0.3)], 0.05)
    mean, square = torch.zeros(6), torch.zeros(6)
    for number in range(1, 4):
        gradient = torch.sin(7 * start + number)
        steps.step([gradient])
        with torch.no_grad():
            mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
            move = mean / (1 - 0.9**number) / ((square / (1 - 0.999**number)).sqrt() + 1e-8)
            theirs.copy_(theirs * (1 - 0.05 * 0.3) - 0.05 * move)
    torch.testing.assert_close(ours, theirs)


def test_a_sweep_is_one_training_stopped_at_each_number(drawn: Drawn) -> None:
    tokens, y, _ = drawn
    folds = np.where(np.arange(160) % 3 == 0, 0, -1)
    sweep = AttentiveProbe.sweep(tokens, y, np.array([1.0, 4.0]), folds, seed=5)
    out = folds == 0
    for place, epochs in enumerate((1, 4)):
        probe = AttentiveProbe(epochs, seed=5).fit(tokens[~out], y[~out])
        assert sweep.accuracies[place, 0] == probe.score(tokens[out], y[out])


def test_settings_change_what_is_learnt(drawn: Drawn) -> None:
    tokens, y, _ = drawn
    rare = np.r_[np.flatnonzero(y == "a"), np.flatnonzero(y == "b")[:3]]
    plain = AttentiveProbe(2).fit(tokens[rare], y[rare])
    for changed in (
        AttentiveProbe(2, queries=8),
        AttentiveProbe(2, learning_rate=0.1),
        AttentiveProbe(2, weight_decay=10.0),
        AttentiveProbe(2, balance="class-weight"),
    ):
        assert not np.allclose(changed.fit(tokens[rare], y[rare]).coef_, plain.coef_)
    with pytest.raises(ProbeError, match="no balance 'smote'"):
        AttentiveProbe(balance="smote").fit(tokens, y)
    with pytest.raises(ProbeError, match="learnt from tokens of 8, got"):
        plain.predict(tokens[:, :, :5])
    with pytest.raises(ProbeError, match="need a class each"):
        AttentiveProbe().fit(tokens, y[:5])


def test_a_task_reads_tokens_some_at_a_time(
    families: EmbeddingStore, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task.of(families, Rank.FAMILY, split=split)
    with pytest.raises(Exception, match=r"keeps no tokens of its pictures; run: .*--keep tokens"):
        fit(task, "attentive")
    vectors = families.read_vectors()
    tokens = np.stack([vectors, np.roll(vectors, 1, axis=1)], axis=1).astype(np.float16)
    form = KeptForm(TOKENS, (2, 16), "vectors, twice", 0, (1, 2))
    KeptWriter(families.folder, form, "float32").add(families.images.contents.tolist(), tokens)
    monkeypatch.setattr(attentive, "_AT_ONCE", 7)
    read: list[int] = []
    from bioprobe.store.kept import Kept

    whole = Kept.read

    def count(self: Kept, places: npt.NDArray[np.int64]) -> object:
        read.append(len(places))
        return whole(self, places)

    monkeypatch.setattr(Kept, "read", count)
    monkeypatch.setattr(AttentiveProbe, "values", (1, 6))
    fitted = fit(Task.of(families, Rank.FAMILY, split=split), "attentive", {"queries": 2})
    assert max(read) <= 16
    assert fitted.settings["epochs"] == 6
    answers = fitted.ask(View.all(families), 2)
    truth = families.images.frame["family"]
    assert (np.array(answers.classes.names)[answers.top_classes[:, 0]] == truth).mean() > 0.6
    task = Task.of(families, Rank.FAMILY, split=split)
    assert np.isfinite(answer_held_out(task, fitted, "attentive").logits).all()
