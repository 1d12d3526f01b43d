from __future__ import annotations

import base64
from xml.etree import ElementTree

import numpy as np
import pytest

from bioprobe.report.plots import (
    Curve,
    plot_class_sizes,
    plot_confusion,
    plot_intervals,
    plot_label_efficiency,
    plot_precision_recall,
    plot_reliability,
    plot_risk_coverage,
    plot_roc,
    plot_thresholds,
)

ENDS = np.array([0.2, 0.6, 0.9])
CURVE = Curve("linear", ENDS, ENDS, ENDS - 0.1, ENDS + 0.05)


def _read(url: str) -> str:
    kind, _, data = url.partition(",")
    assert kind == "data:image/svg+xml;base64"
    text = base64.b64decode(data).decode("utf-8")
    assert ElementTree.fromstring(text).tag.endswith("svg")
    return text


def test_methods_stand_with_their_figures_and_the_best_in_colour() -> None:
    names, values = ["knn", "linear"], np.array([0.5, 0.75])
    text = _read(plot_intervals(names, values, values - 0.1, values + 0.1, label="accuracy"))
    assert "knn" in text
    assert "0.750" in text
    assert "accuracy (95% interval)" in text
    assert "#0072b2" in text.lower()


def test_one_method_can_be_plotted() -> None:
    one = np.array([1.0])
    assert "1.000" in _read(plot_intervals(["linear"], one, one, one, label="accuracy"))


def test_class_sizes_carry_names_and_show_the_median() -> None:
    names = ["Felidae", "Canidae", "Ursidae"]
    text = _read(plot_class_sizes(names, np.array([1, 3, 50]), label="families"))
    assert "(logarithmic; dashed: median 3)" in text
    assert all(name in text for name in names)
    text = _read(plot_class_sizes(names, np.array([3, 5, 50]), label="families"))
    assert "families (dashed: median 5)" in text


def test_of_many_classes_the_largest_and_the_smallest_are_named() -> None:
    names = [f"class {n}" for n in range(60)]
    text = _read(plot_class_sizes(names, np.arange(60, 0, -1), label="classes"))
    assert "class 29<" in text
    assert "class 30<" not in text
    assert "(15 more)" in text
    assert "class 45<" in text


@pytest.mark.parametrize("plot", [plot_reliability, plot_risk_coverage, plot_label_efficiency])
def test_every_curve_is_named(plot: object) -> None:
    assert callable(plot)
    text = _read(plot([CURVE, Curve("knn", ENDS, ENDS)]))
    assert "linear" in text
    assert "knn" in text


def test_a_confusion_matrix_names_its_classes_while_they_can_be_read() -> None:
    few = _read(plot_confusion(np.eye(2), ["Felidae", "Canidae"], ["a", "b"], label="family"))
    assert "Felidae" in few
    names = [f"Class{n}" for n in range(61)]
    many = _read(plot_confusion(np.eye(61), names, [""] * 61, label="family"))
    assert "Class7" not in many


def test_a_class_without_images_is_an_empty_row_of_the_matrix() -> None:
    assert _read(plot_confusion(np.zeros((2, 2)), ["a", "b"], ["", ""], label="family"))


ODD = (
    "$\\frac{",
    "a$b$c",
    "猫科",
    "Кошачьи",
    "<b>&amp;",
    "\x07bell",
    "_under",
    "100% %s",
    "x" * 5000,
)


def test_names_stand_as_they_are_in_the_font_of_the_page() -> None:
    n = len(ODD)
    values = np.linspace(0.1, 0.9, n)
    curves = [Curve(f"{name[:70]} ", ENDS, ENDS) for name in ODD[:-1]]
    answers = [(0.1, 0.8)] * (n - 1)
    drawn = [
        plot_confusion(np.eye(n), ODD, ODD, label=ODD[0]),
        plot_intervals(ODD[:-1], values[:-1], values[:-1], values[:-1], label=ODD[0]),
        plot_roc(curves, answers, label=ODD[0]),
        plot_precision_recall(curves, answers, 0.5, label=ODD[0]),
        *(plot_roc(curves[:1], answers[:1], label=name) for name in ODD[1:]),
        *(plot_precision_recall(curves[:1], answers[:1], 0.5, label=name) for name in ODD[1:]),
        plot_thresholds(curves, []),
        plot_reliability(curves),
        plot_class_sizes(ODD, np.arange(1, n + 1), label=ODD[0]),
        plot_class_sizes(["a", "b"], np.array([30, 50]), label="猫科"),
    ]
    for text in (_read(one) for plots in drawn for one in plots.split("\n")):
        root = ElementTree.fromstring(text)
        said = [one for one in root.iter() if one.tag.endswith("text")]
        assert all("system-ui, sans-serif" in one.attrib["style"] for one in said)
        assert not any("mathdefault" in (one.text or "") for one in said)
    names = [one.text or "" for one in ElementTree.fromstring(_read(drawn[0])).iter()]
    assert {"$\\frac{", "a$b$c", "猫科", "Кошачьи", "<b>&amp;", "_under", "100% %s"} <= set(names)
    assert f"{'x' * 39}…" in names
    assert "DejaVu" not in _read(drawn[0])


def test_wide_letters_have_room() -> None:
    def measure(names: list[str]) -> float:
        plot = plot_confusion(np.eye(2), names, ["", ""], label="family")
        return float(ElementTree.fromstring(_read(plot)).attrib["viewBox"].split()[2])

    assert measure(["猫科动物猫科动物", "b"]) > measure(["abcdefgh", "b"])


def test_the_same_numbers_give_the_same_bytes() -> None:
    assert plot_reliability([CURVE]) == plot_reliability([CURVE])


def test_operating_curves_are_named_with_the_class_and_chance() -> None:
    curves = [Curve("linear, AUROC 0.900", ENDS, ENDS), Curve("knn, AUROC 0.800", ENDS, ENDS)]
    points = [(0.1, 0.8), (0.2, float("nan"))]
    for text in (
        _read(plot_roc(curves, points, label="yes")),
        _read(plot_precision_recall(curves, points, 0.3, label="yes")),
    ):
        assert "linear, AUROC 0.900" in text
        assert "knn, AUROC 0.800" in text
        assert "chance" in text
        assert "recall of yes" in text


def test_the_chosen_threshold_is_marked_and_nothing_where_none_was() -> None:
    curves = [Curve("precision", ENDS, ENDS), Curve("share flagged", ENDS, ENDS)]
    assert "chosen: 0.31" in _read(plot_thresholds(curves, [0.31]))
    assert "chosen: 0.31 to 0.44" in _read(plot_thresholds(curves, [0.44, 0.31]))
    assert "chosen" not in _read(plot_thresholds(curves, []))
