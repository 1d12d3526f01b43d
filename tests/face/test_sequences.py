from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bioprobe as bp
from bioprobe.task.predictions import Predictions

CLASSES = ("cat", "deer", "hen")


@pytest.fixture
def bursts(tmp_path: Path) -> bp.Store:
    """Return 90 bursts of four pictures, each of which says little alone."""
    random = np.random.default_rng(3)
    kinds = np.repeat(np.arange(90) % 3, 4)
    X = np.eye(8)[kinds] * 0.9 + random.normal(size=(360, 8))  # noqa: N806 - scikit-learn's name
    times = [
        f"2024-05-{1 + row // 48:02d}T{row % 48 // 4:02d}:00:{row % 4:02d}" for row in range(360)
    ]
    table = {
        "label": [CLASSES[kind] for kind in kinds],
        "burst": [f"b{row // 4}" for row in range(360)],
        "captured_at": times,
        "camera": ["c1"] * 360,
    }
    return bp.from_vectors(X, table, model="mine", store=tmp_path / "s")


def test_sequences_are_answered_and_judged_together(bursts: bp.Store) -> None:
    bursts.split("label", group="burst", fractions="0.5,0.25,0.25")
    probe = bursts.fit("ridge", "label")
    single = probe.predict(k=1)
    assert isinstance(single, Predictions)
    whole = probe.predict(per="sequence", sequence="burst")
    assert isinstance(whole, Predictions)
    by_time = probe.predict(per="sequence", gap_seconds=60)
    assert len(whole.to_frame().query("answer == 1")) == 90
    assert whole.to_frame()["score"].tolist() == by_time.to_frame()["score"].tolist()
    assert by_time.to_frame()["sequence"][0] == "c1 2024-05-01T00:00:00"
    assert whole.accuracy()[0].n_images == 45
    assert whole.accuracy()[0].fraction > single.accuracy()[0].fraction + 0.1
    by_vote = probe.predict(per="sequence", sequence="burst", rule="vote")
    assert by_vote.to_frame()["score"].tolist() != whole.to_frame()["score"].tolist()
    said = [str(note) for note in whole.notes]
    assert "90 sequences of 360 rows, by the column burst" in said
    assert "answers are pooled by the rule log-mean" in said
    assert sum(one.startswith("against the labels of 45 sequences") for one in said) == 1

    found = bursts.evaluate("label", methods="ridge", per="sequence", sequence="burst")
    alone = bursts.evaluate("label", methods="ridge", name="alone")
    n = found.provenance["n_rows"]
    assert (n, alone.provenance["n_rows"]) == (len(found.predictions), 4 * n)
    both = found.results[0].metrics["accuracy"], alone.results[0].metrics["accuracy"]
    assert both[0].estimate > both[1].estimate
    assert found.provenance["options"]["n_groups"] == n
    rules = found.results[0].rules
    assert list(rules) == ["log-mean", "mean", "max", "vote"]
    assert {of for _, of in rules.values()} == {24}
    # Sequences that are pooled some at a time have the same figures.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bioprobe.task.scores._SCORES_AT_ONCE", 20)
        parts = bursts.evaluate("label", methods="ridge", per="sequence", sequence="burst")
    assert parts.results[0].metrics == found.results[0].metrics
    kept = bursts.evaluation("label")
    assert {rule: tuple(one) for rule, one in kept.results[0].rules.items()} == rules
    assert any("accuracy of each rule on 24 sequences" in str(note) for note in found.notes)


def test_options_of_sequences_count_only_beside_them(bursts: bp.Store) -> None:
    with pytest.raises(bp.MisuseError, match="--sequence counts only with --per sequence"):
        bursts.evaluate("label", sequence="burst")
    probe = bursts.fit("ridge", "label", split="none")
    with pytest.raises(bp.MisuseError, match="--rule counts only with --per sequence"):
        probe.predict(rule="vote")
    with pytest.raises(bp.MisuseError, match="no --gap-seconds"):
        probe.predict(per="sequence", sequence="burst", gap_seconds=3)


def test_a_sequence_that_taught_too_is_warned_of(bursts: bp.Store) -> None:
    bursts.split("label", fractions="0.5,0.25,0.25")
    found = bursts.evaluate("label", methods="ridge", per="sequence", sequence="burst")
    assert any("judged sequences have pictures that taught" in str(one) for one in found.notes)
