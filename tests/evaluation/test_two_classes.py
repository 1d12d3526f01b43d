"""Figures of the positive class of two, against scikit-learn and by hand."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from sklearn import metrics as reference

from bioprobe.errors import MisuseError
from bioprobe.evaluation import Evaluation, evaluate, read_evaluation, write_evaluation
from bioprobe.evaluation.binary_metrics import BINARY_METRICS, score_binary
from bioprobe.evaluation.keeping import to_clip_benchmark
from bioprobe.evaluation.measured import measure
from bioprobe.evaluation.method_scores import AT_THRESHOLD, METRICS, draw_method_scores
from bioprobe.evaluation.positive import find_positive, trace_thresholds
from bioprobe.images.image_table import ImageTable
from bioprobe.intervals import Resamples
from bioprobe.probes.label_tree import LabelTree
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank
from tests.conftest import make_parts

Scores = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
TREE = LabelTree.from_leaves(np.array([["no"], ["yes"]], dtype=object))


def _draw(n_images: int, seed: int, digits: int) -> tuple[Mask, Scores]:
    """Return which images are positive, both classes among them, and scores; few digits tie."""
    random = np.random.default_rng(seed)
    truth = random.random(n_images) < random.choice([0.1, 0.5, 0.9])
    truth[:2] = [True, False]
    scores = np.clip(random.normal(0.3 + 0.3 * truth, 0.25), 0, 1).round(digits)
    return truth, scores.astype(np.float32)


def _refer(truth: Mask, scores: Scores, flagged: Mask, weights: Scores) -> dict[str, float]:
    given: dict[str, object] = {"sample_weight": weights, "zero_division": np.nan}
    return {
        "precision": reference.precision_score(truth, flagged, **given),
        "recall": reference.recall_score(truth, flagged, **given),
        "f1": reference.f1_score(truth, flagged, **given),
        "specificity": reference.recall_score(~truth, ~flagged, **given),
        "auroc": reference.roc_auc_score(truth, scores, sample_weight=weights),
        "average_precision": reference.average_precision_score(
            truth, scores, sample_weight=weights
        ),
    }


# Figures with many ties, and with none.
@pytest.mark.parametrize("digits", [1, pytest.param(2, marks=pytest.mark.long), 7])
def test_the_figures_are_those_of_scikit_learn_in_every_weighting(digits: int) -> None:
    for seed in range(20):
        n_images = int(np.random.default_rng(seed).integers(2, 120))
        truth, scores = _draw(n_images, seed, digits)
        random = np.random.default_rng(100 + seed)
        weights = random.integers(0, 4, size=(3, n_images)).astype(np.float32)
        weights[:, :2] += 1
        found = score_binary(truth, scores, scores > 0.5, weights)
        assert tuple(found) == BINARY_METRICS
        for place, counted in enumerate(weights):
            expected = _refer(truth, scores, scores > 0.5, counted)
            got = {name: values[place] for name, values in found.items()}
            assert got == pytest.approx(expected, abs=1e-6, nan_ok=True), (seed, place)


@pytest.mark.parametrize(
    ("truth", "flagged", "undefined"),
    [
        ([False, False], [True, False], {"precision", "recall", "f1", "auroc",
                                         "average_precision"}),
        ([True, True], [True, False], {"precision", "specificity", "f1", "auroc",
                                       "average_precision"}),
        ([True, False], [False, False], {"precision"}),
        ([True, False], [True, False], set()),
    ],
)  # fmt: skip
def test_what_is_not_defined_is_no_number(
    truth: list[bool], flagged: list[bool], undefined: set[str]
) -> None:
    found = score_binary(np.array(truth), np.array([0.6, 0.4]), np.array(flagged))
    assert {name for name, values in found.items() if np.isnan(values).all()} == undefined


def test_no_image_has_no_figure_of_two_classes() -> None:
    none = np.zeros(0, dtype=bool)
    found = score_binary(none, np.zeros(0, dtype=np.float32), none)
    assert all(np.isnan(values).all() for values in found.values())


def test_an_interval_leaves_out_resamples_without_both_classes() -> None:
    truth = np.array([1, 0, 0, 0])
    probabilities = np.array([[0.2, 0.8], [0.9, 0.1], [0.7, 0.3], [0.6, 0.4]], dtype=np.float32)
    resamples = Resamples(np.arange(4), 200)
    draws = draw_method_scores(measure(truth, probabilities, tree=TREE, positive=1), resamples)
    drawn = np.concatenate(list(resamples.iter_weights()))
    lacks = (drawn[:, 0] == 0) | (drawn[:, 0] == 4)
    assert 0.2 < lacks.mean() < 0.4
    # Figures are known as well as there are images of what they are shares of.
    names = ("precision", "recall", "specificity", "auroc", "average_precision")
    assert [draws[name].n_units for name in names] == [1, 1, 3, 1, 1]
    for name in ("precision", "f1", "auroc", "average_precision"):
        assert np.isnan(draws[name].resampled).tolist() == lacks.tolist()
        assert (draws[name].resampled[~lacks] == 1).all()


@pytest.mark.parametrize(
    ("names", "n_training", "given", "name", "reason"),
    [
        (("no", "yes"), (3, 5), None, "yes", "affirmed"),
        (("YES ", "no"), (3, 5), None, "YES ", "affirmed"),
        (("0", "1"), (3, 5), None, "1", "affirmed"),
        (("animal", "non-animal"), (9, 1), None, "animal", "affirmed"),
        (("present", "yes"), (3, 5), None, "present", "rarer"),
        (("Animalia", "Plantae"), (5, 3), None, "Plantae", "rarer"),
        (("Animalia", "Plantae"), (4, 4), None, "Animalia", "rarer"),
        (("no", "yes"), (3, 5), "no", "no", "given"),
        (("no", "yes"), (3, 5), "No", "no", "given"),
        (("no", "No"), (3, 5), "No", "No", "given"),
    ],
)
def test_the_positive_class_is_the_one_given_else_a_yes_else_the_rarer(
    names: tuple[str, str], n_training: tuple[int, int], given: str | None, name: str, reason: str
) -> None:
    found = find_positive(names, n_training, given)
    assert found is not None
    assert (found.name, found.reason) == (name, reason)
    assert found.n_training == (n_training if name == names[0] else n_training[::-1])


@pytest.mark.parametrize(
    ("names", "given", "said"),
    [
        (("a", "b", "c"), "a", "of two classes is looked for, and there are 3"),
        (("a",), "a", "and there are 1"),
        (("no", "yes"), "maybe", "'no' or 'yes'; got 'maybe'"),
        (("no", "No"), "NO", "'no' or 'No'; got 'NO'"),
    ],
)
def test_a_positive_class_that_cannot_be_is_refused(
    names: tuple[str, ...], given: str, said: str
) -> None:
    with pytest.raises(MisuseError, match=said):
        find_positive(names, [1] * len(names), given)


def test_more_or_fewer_than_two_classes_have_no_positive_one() -> None:
    assert find_positive(["yes"], [3]) is None
    assert find_positive(["yes", "no", "maybe"], [3, 2, 1]) is None


def test_thresholds_are_those_of_scikit_learn() -> None:
    for seed in range(20):
        truth, scores = _draw(40, seed, 1)
        curve = trace_thresholds(truth, scores)
        precisions, recalls, thresholds = reference.precision_recall_curve(truth, scores)
        np.testing.assert_allclose(curve.thresholds, thresholds)
        np.testing.assert_allclose(curve.precisions, precisions[:-1])
        np.testing.assert_allclose(curve.recalls, recalls[:-1])
        alarms, found, _ = reference.roc_curve(truth, scores, drop_intermediate=False)
        np.testing.assert_allclose(curve.false_positive_rates[::-1], alarms[1:])
        np.testing.assert_allclose(curve.recalls[::-1], found[1:])
        best = curve.best
        f1s = [reference.f1_score(truth, scores >= one) for one in thresholds]
        assert reference.f1_score(truth, scores >= best) == pytest.approx(max(f1s))


def test_the_best_threshold_lies_half_way_to_the_next_score() -> None:
    truth = np.array([False, True, True])
    assert trace_thresholds(truth, np.array([0.2, 0.6, 0.9])).best == pytest.approx(0.4)
    assert math.isnan(trace_thresholds(~truth & False, np.array([0.2, 0.6, 0.9])).best)


@pytest.fixture
def two(families: EmbeddingStore) -> EmbeddingStore:
    """Return the labelled vectors as two kingdoms: mice and one in four cats are plants."""
    frame = families.images.frame.copy()
    mice = frame["family"] == "Muridae"
    known = frame["family"] != ""
    frame.loc[known, "kingdom"] = np.where(mice[known], "Plantae", "Animalia")
    cats = np.flatnonzero(frame["family"] == "Felidae")[::4]
    frame.loc[cats, "kingdom"] = "Plantae"
    columns = ["phylum", "class", "order", "family", "genus", "species"]
    frame[[name for name in columns if name in frame]] = ""
    store = EmbeddingStore(families.folder, families.manifest)
    store.__dict__["images"] = ImageTable(frame)
    return store


def _ask(store: EmbeddingStore, split: Split, **options: object) -> Evaluation:
    given = {"n_resamples": 50, **options}
    task = Task.of(store, Rank.KINGDOM, split=split)
    return evaluate(task, ["centroid", "knn"], **given)  # type: ignore[arg-type]


def test_two_classes_have_the_figures_of_the_positive_one(
    two: EmbeddingStore, split: Split
) -> None:
    found = _ask(two, split)
    assert found.positive is not None
    assert (found.positive.name, found.positive.other) == ("Plantae", "Animalia")
    assert found.provenance["options"]["positive"] == "Plantae"
    for result in found.results:
        rows = found.predictions[found.predictions["method"] == result.method]
        truth = (rows["truth"] == "Plantae").to_numpy()
        flagged = (rows["predicted"] == "Plantae").to_numpy()
        scores = rows["positive_probability"].to_numpy()
        assert found.positive.n_judged == (truth.sum(), (~truth).sum())
        expected = _refer(truth, scores, flagged, np.ones(len(rows), dtype=np.float32))
        got = {name: result.metrics[name].estimate for name in BINARY_METRICS}
        assert got == pytest.approx(expected, abs=1e-6, nan_ok=True)
        for name in ("recall", "f1", "specificity", "auroc"):
            interval = result.metrics[name]
            assert interval.low <= interval.estimate <= interval.high


def test_the_other_class_can_be_the_positive_one(two: EmbeddingStore, split: Split) -> None:
    default, other = _ask(two, split), _ask(two, split, positive="animalia")
    for one, another in zip(default.results, other.results, strict=True):
        assert one.metrics["specificity"] == another.metrics["recall"]
        assert one.metrics["auroc"].estimate == pytest.approx(
            another.metrics["auroc"].estimate, abs=1e-3
        )
    with pytest.raises(MisuseError, match="'Plantae' or 'Animalia'; got 'Fungi'"):
        _ask(two, split, positive="Fungi")


def test_more_than_two_classes_are_as_they_were(families: EmbeddingStore, split: Split) -> None:
    task = Task.of(families, Rank.FAMILY, split=split)
    found = evaluate(task, ["knn"], n_resamples=5)
    assert found.positive is None
    assert found.describe_positive() == []
    assert found.to_frame().columns.tolist() == [
        "method", "accuracy", "low", "high", "macro_f1", "balanced_accuracy", "top5", "auroc",
        "ece", "ece_calibrated", "mistake_severity", "seconds", "p_vs_best",
    ]  # fmt: skip
    assert "positive_probability" not in found.predictions
    assert not set(found.results[0].metrics) & {*AT_THRESHOLD, "precision"}
    with pytest.raises(MisuseError, match="and there are 5"):
        evaluate(task, ["knn"], n_resamples=5, positive="Felidae")


def test_the_table_has_the_positive_class_with_intervals(two: EmbeddingStore, split: Split) -> None:
    found = _ask(two, split)
    frame = found.to_frame()
    assert not frame.columns.duplicated().any()
    for name in BINARY_METRICS:
        one = found.find("knn").metrics[name]
        got = frame.loc[1, [name, f"{name}_low", f"{name}_high"]].astype(float).to_numpy()
        np.testing.assert_allclose(got, [one.estimate, one.low, one.high])
    many = {"accuracy", "low", "high", "macro_f1", "balanced_accuracy", "top5", "ece", "p_vs_best"}
    assert many <= set(frame)


def test_the_threshold_is_chosen_on_validation_images(two: EmbeddingStore, split: Split) -> None:
    # Half of the training images choose too: 39 are enough.
    moved = np.where((split.parts == "train") & (split.folds == 0), "validation", split.parts)
    none = np.full(len(moved), -1)
    split = dataclasses.replace(split, parts=moved.astype(object), folds=none)
    found = _ask(two, split)
    # Asked again with the parts changed over, the validation images are the ones judged.
    parts = split.parts.copy()
    parts[split.parts == "test"], parts[split.parts == "validation"] = "", "test"
    turned = _ask(two, dataclasses.replace(split, parts=parts))
    for result in found.results:
        assert result.calibrated_on == "validation"
        (threshold,) = result.thresholds
        # What is chosen beside it has other rows to be chosen on, so the centroid alone is asked.
        if result.method == "centroid":
            seen = turned.predictions[turned.predictions["method"] == "centroid"]
            own = (seen["truth"] == "Plantae").to_numpy()
            curve = trace_thresholds(own, seen["positive_probability"].to_numpy())
            assert threshold == pytest.approx(curve.best, abs=1e-4)
        rows = found.predictions[found.predictions["method"] == result.method]
        truth = (rows["truth"] == "Plantae").to_numpy()
        flagged = rows["positive_probability"].to_numpy() >= threshold
        expected = reference.recall_score(truth, flagged)
        assert result.metrics["recall_at_threshold"].estimate == pytest.approx(expected)


def test_each_fold_has_its_own_threshold(two: EmbeddingStore) -> None:
    n = len(two)
    found = _ask(two, make_parts(["train"] * n, np.arange(n) % 4))
    for result in found.results:
        assert len(result.thresholds) == 4
        assert result.calibrated_on == "cross-validation"
        assert 0 <= result.metrics["recall_at_threshold"].estimate <= 1


def test_no_image_of_a_class_is_said_and_not_counted_as_0_or_1(
    two: EmbeddingStore, split: Split
) -> None:
    plants = two.images.labels(Rank.KINGDOM) == "Plantae"
    parts = split.parts.copy()
    parts[plants & (parts == "test")] = ""
    found = _ask(two, dataclasses.replace(split, parts=parts))
    assert found.positive is not None
    assert found.positive.n_judged[0] == 0
    frame = found.to_frame()
    assert frame[["precision", "recall", "f1", "auroc", "average_precision"]].isna().all().all()
    assert frame["specificity"].notna().all()
    said = " ".join(map(str, found.describe_positive()))
    assert "no judged image is Plantae" in said
    assert "say another with --positive" in said


def test_resamples_without_both_classes_are_said_where_they_are_many(
    two: EmbeddingStore, split: Split
) -> None:
    plants = two.images.labels(Rank.KINGDOM) == "Plantae"
    few = np.flatnonzero(plants & (split.parts == "test"))[1:]
    parts = split.parts.copy()
    parts[few] = ""
    found = _ask(two, dataclasses.replace(split, parts=parts), n_resamples=200)
    share = found.results[0].unmeasured["auroc"]
    assert 0.2 < share < 0.5
    said = [str(note) for note in found.describe_positive()]
    assert f"WARNING: {share:.0%} of the resamples have not both classes" in " ".join(said)
    assert not any("resamples" in str(note) for note in _ask(two, split).describe_positive())


def test_what_is_kept_of_two_classes_is_read_as_it_was(two: EmbeddingStore, split: Split) -> None:
    found = _ask(two, split)
    write_evaluation(two, found)
    again = read_evaluation(two, "kingdom")
    assert again.positive == found.positive
    assert repr(again.results) == repr(found.results)
    pd.testing.assert_frame_equal(again.to_frame(), found.to_frame())
    assert list(map(str, again.describe_positive())) == list(map(str, found.describe_positive()))
    entry = to_clip_benchmark(again)[0]
    assert entry["positive"] == "Plantae"
    assert entry["metrics"]["f1"] == found.results[0].metrics["f1"].estimate


def test_an_evaluation_that_was_kept_without_a_positive_class_is_read(
    two: EmbeddingStore, split: Split
) -> None:
    path: Path = write_evaluation(two, _ask(two, split))
    fields = json.loads(path.read_text())
    del fields["positive"]
    for result in fields["results"]:
        del result["thresholds"], result["unmeasured"]
        for name in (*AT_THRESHOLD, *set(BINARY_METRICS) - set(METRICS)):
            del result["metrics"][name]
    path.write_text(json.dumps(fields))
    again = read_evaluation(two, "kingdom")
    assert again.positive is None
    assert again.describe_positive() == []
    assert "precision" not in again.to_frame()


@pytest.mark.parametrize("n_positive", [3, 9])
def test_auroc_is_known_as_well_as_the_rarer_of_two_classes(n_positive: int) -> None:
    truth = (np.arange(12) < n_positive).astype(np.int64)
    probabilities = np.full((12, 2), 0.5, dtype=np.float32)
    resamples = Resamples.of_groups(np.full(12, ""), 5)
    found = draw_method_scores(measure(truth, probabilities, positive=1), resamples)
    assert (found["auroc"].n_units, found["average_precision"].n_units) == (3, n_positive)
