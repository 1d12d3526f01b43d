"""What a store of two classes answers when its methods are evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as reference

import bioprobe as bp
from bioprobe.errors import MisuseError


@pytest.fixture
def of_two(tmp_path: Path) -> bp.Store:
    """Return a store of two classes that overlap, of which one is rare, with a split."""
    random = np.random.default_rng(1)
    rare = np.arange(160) % 4 == 0
    vectors = random.normal(size=(160, 4)) + np.outer(rare, [1.5, 0, 0, 0])
    table = {"kingdom": np.where(rare, "Fungi", "Plantae").tolist()}
    made = bp.from_vectors(vectors, table, model="mine", store=tmp_path / "two")
    made.split("kingdom", fractions="0.5,0.2,0.3")
    return made


def test_a_store_of_two_classes_is_asked_for_its_positive_class(of_two: bp.Store) -> None:
    found = of_two.evaluate("kingdom", methods="centroid", n_resamples=20)
    said = [str(note) for note in found.notes]
    default = "positive class: Fungi, the rarer one (of Fungi 20, Plantae 60 training images)"
    assert f"{default}; say another with --positive" in said
    answers = found.predictions
    truth, scores = answers["truth"] == "Fungi", answers["positive_probability"]
    (row,) = found.to_frame().to_dict("records")
    assert row["auroc"] == pytest.approx(reference.roc_auc_score(truth, scores))
    assert row["average_precision"] == pytest.approx(
        reference.average_precision_score(truth, scores)
    )
    assert row["precision"] == pytest.approx(
        reference.precision_score(truth, answers["predicted"] == "Fungi")
    )
    assert of_two.evaluation("kingdom").positive == found.positive


def test_another_positive_class_can_be_said(of_two: bp.Store) -> None:
    found = of_two.evaluate("kingdom", methods="centroid", n_resamples=20, positive="Plantae")
    assert found.positive is not None
    assert found.positive.name == "Plantae"
    with pytest.raises(MisuseError, match="got 'Animalia'"):
        of_two.evaluate("kingdom", methods="centroid", positive="Animalia")


def test_the_report_of_a_kept_evaluation_shows_the_curves(of_two: bp.Store, tmp_path: Path) -> None:
    of_two.evaluate("kingdom", methods="centroid,knn", n_resamples=20)
    of_two.report(output=tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "How well is Fungi told from Plantae?" in page
    assert 'alt="ROC curves: recall against false positive rate, by method"' in page
    assert 'alt="Precision against recall, by method"' in page
    assert 'alt="Precision, recall, F1 and the share flagged against the threshold"' in page


def test_a_column_of_yes_and_no_has_a_positive_class(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    rare = np.arange(160) % 4 == 0
    vectors = random.normal(size=(160, 4)) + np.outer(rare, [1.5, 0, 0, 0])
    table = {"threatened": np.where(rare, "no", "yes").tolist()}
    store = bp.from_vectors(vectors, table, model="mine", store=tmp_path / "column")
    store.split("threatened", fractions="0.5,0.2,0.3")
    found = store.evaluate("threatened", methods="centroid", n_resamples=20)
    assert found.positive is not None
    assert (found.positive.name, found.positive.reason) == ("yes", "affirmed")
    answers = found.predictions
    (row,) = found.to_frame().to_dict("records")
    assert row["recall"] == pytest.approx(
        reference.recall_score(answers["truth"] == "yes", answers["predicted"] == "yes")
    )
    again = store.evaluation("threatened")
    assert again.to_frame().columns.tolist() == found.to_frame().columns.tolist()
    again.report(tmp_path / "report.html")
    assert "How well is yes told from no?" in (tmp_path / "report.html").read_text()
