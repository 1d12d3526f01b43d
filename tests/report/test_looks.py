"""What the pictures are like: as measured, by part and place, and with which accuracy."""

from __future__ import annotations

import numpy as np
import pytest

import bioprobe as bp
from bioprobe.evaluation.result import Evaluation
from bioprobe.images.measures import MEASURE
from bioprobe.quality.description import describe_images
from bioprobe.report import looks
from bioprobe.report.data import find_split
from bioprobe.report.errors import make_shower
from bioprobe.report.naming import Naming
from bioprobe.report.section import Section
from bioprobe.store import EmbeddingStore
from bioprobe.store.look_cache import MEASURES, LookCache
from bioprobe.types import Mask


def _measure(store: EmbeddingStore, night: Mask, blurred: Mask) -> None:
    values = np.zeros(len(store), dtype=MEASURE)
    values["sharpness"] = np.where(blurred, 0.2, 0.8)
    values["brightness"], values["night"] = 0.7, night
    LookCache(store.folder, MEASURES).write(store.images.contents.tolist(), values)


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "plot_distribution", lambda *_: "data:,")


def _describe(store: EmbeddingStore, evaluation: Evaluation) -> Section:
    show = make_shower(store, Naming.of(store))
    return looks.describe_looks(store, describe_images(store), show, evaluation=evaluation,
                                split=find_split(store, evaluation))  # fmt: skip


def test_it_says_what_describe_says_and_shows_the_worst(
    store: EmbeddingStore, evaluation: Evaluation
) -> None:
    rows = np.arange(len(store))
    _measure(store, rows % 4 == 0, rows == 5)
    shown = _describe(store, evaluation)
    told = bp.open(store.folder).describe().looks
    assert told is not None
    assert (told.n_night, told.flaws["blurred"]) == (10, 1)
    large = {one["label"]: one["large"] for one in shown.content["facts"]}
    odd = told.flaws["odd size"]
    assert large == {"By night": "10", "Blurred": "1", "Of an odd size": str(odd)}
    assert f"10 look as by infrared flash at night and {odd} are blurred" in shown.lead
    galleries = {one["heading"]: one["pictures"] for one in shown.content["galleries"]}
    assert [one["place"] for one in galleries["The most blurred"]] == ["005.png"]
    assert galleries["The most blurred"][0]["caption"] == "sharpness 0.20"
    near = [float(one["caption"].split()[1]) for one in galleries["Least like all others"]]
    assert near == sorted(near)
    by = {one["by"]: one["rows"] for one in shown.content["groups"]}
    assert [(one["name"], one["n"]) for one in by["station"]] == [
        ("(not known)", 1), *((name, 6) for name in "ABCDEF")
    ]  # fmt: skip
    assert sum(one["n"] * one["shares"][0] for one in by["month"]) == pytest.approx(10)


def test_test_pictures_unlike_the_others_are_told_and_accuracy_by_kind(
    store: EmbeddingStore, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = find_split(store, evaluation)
    assert split is not None
    nothing = np.zeros(len(store), dtype=bool)
    rows = np.arange(len(store))
    _measure(store, nothing, nothing)
    alike = _describe(store, evaluation).content
    assert alike["compared"]["unlike"] == []
    assert [one["name"] for one in alike["compared"]["rows"]] == ["train", "test"]
    # Twelve are judged: too few for two sides of ten.
    assert alike["depends"] == []
    monkeypatch.setattr(looks, "_FEWEST", 3)
    judged = np.flatnonzero(split.parts == "test")
    _measure(store, np.isin(rows, judged[:8]), nothing)
    shown = _describe(store, evaluation).content
    assert [one.partition(" (")[0] for one in shown["compared"]["unlike"]] == ["night"]
    assert "66.7% of the test pictures, 0.0% of those that taught" in shown["compared"]["unlike"][0]
    (night,) = (one for one in shown["depends"] if one["heading"] == "By night or by day")
    own = evaluation.predictions[evaluation.predictions["method"] == evaluation.best.method]
    right = own.set_index("row")["right"]
    for side, of in zip(night["sides"], (judged[:8], judged[8:]), strict=True):
        assert side["n"] == len(of)
        assert side["accuracy"].estimate == pytest.approx(right[of].mean())
        assert side["accuracy"].low <= side["accuracy"].estimate <= side["accuracy"].high


def test_what_nobody_measured_is_said(store: EmbeddingStore, evaluation: Evaluation) -> None:
    shown = _describe(store, evaluation)
    assert "bioprobe describe --measure" in shown.lead
    assert not shown.content["known"]
