"""Counts of a store: what is a random sample, and what is not; by group, by effort, as a page."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.errors import MisuseError, SelectionError
from bioprobe.store import EmbeddingStore
from tests.conftest import PlainEncoder

N, N_DRAWN = 600, 120
SITES = ("north", "south", "east")


def _tabulate() -> pd.DataFrame:
    """Return images of three families; one in five of the second is answered to be the first."""
    random = np.random.default_rng(3)
    truths = random.choice(["Felidae", "Canidae", "Ursidae"], N, p=[0.6, 0.35, 0.05])
    answers = np.where((truths == "Canidae") & (random.random(N) < 0.2), "Felidae", truths)
    drawn = np.isin(np.arange(N), random.permutation(N)[:N_DRAWN])
    days = pd.to_datetime("2024-01-01") + pd.to_timedelta(np.arange(N) % 90, unit="D")
    return pd.DataFrame({
        "path": [f"{at:03}.jpg" for at in range(N)],
        "family": np.where(drawn, truths, ""), "truth": truths, "guess": answers,
        "drawn": np.where(drawn, "yes", ""), "found": np.where(truths == "Ursidae", "1", "0"),
        "site": np.array(SITES)[np.arange(N) % 3], "burst": [f"b{at // 10}" for at in range(N)],
        "captured_at": days.strftime("%Y-%m-%dT10:00:00"),
    })  # fmt: skip


@pytest.fixture(scope="module")
def filled(make_once: Callable[..., Path]) -> Path:
    def fill(folder: Path) -> None:
        table = _tabulate()
        random = np.random.default_rng(0)
        centres = {"Felidae": [1, 0, 0, 0], "Canidae": [0, 1, 0, 0], "Ursidae": [0, 0, 1, 0]}
        vectors = np.array([centres[one] for one in table["truth"]], dtype=float)
        vectors += 0.45 * random.standard_normal(vectors.shape)
        bp.from_vectors(vectors, table, model="plain", store=folder / "store")

    return make_once("estimating", fill) / "store"


@pytest.fixture
def store(filled: Path) -> bp.Store:
    return bp.open(filled)


@pytest.fixture
def own_store(filled: Path, tmp_path: Path) -> bp.Store:
    """Return a store that may be written to."""
    shutil.copytree(filled, tmp_path / "store")
    return bp.open(tmp_path / "store")


def _read(found: bp.Estimates, name: str = "(all)", by: str = "") -> pd.DataFrame:
    frame = found.to_frame()
    return (frame[frame[by] == name] if by else frame).set_index(found.level)


def _count(store: bp.Store, *given: str, **options: Any) -> bp.Estimates:  # noqa: ANN401
    found = store.estimate(*given, **options)
    assert isinstance(found, bp.Estimates)
    return found


def _said(found: object) -> str:
    return "\n".join(map(str, getattr(found, "notes")))  # noqa: B009 - any result


def test_counts_are_mended_by_a_random_sample_and_raw_counts_stand_beside(store: bp.Store) -> None:
    truth = store.images["truth"].value_counts()
    guess = store.images["guess"].value_counts()
    found = _count(store, "family", answers="column:guess", labelled="drawn", width=0.05)
    frame = _read(found)
    assert frame.index.tolist() == ["Felidae", "Canidae", "Ursidae"]
    assert frame["raw"].tolist() == guess[frame.index].tolist()
    for name in frame.index:
        line: Any = frame.loc[name]
        assert line["count_low"] <= truth[name] <= line["count_high"]
        assert line["count"] == pytest.approx(line["share"] * N)
        assert (line["n_more"] > 0) == (line["share_high"] - line["share_low"] > 0.05)
    widths = frame["share_high"] - frame["share_low"]
    alone = frame["labelled_share_high"] - frame["labelled_share_low"]
    assert (widths < alone)[["Felidae", "Canidae"]].all()
    assert (frame["raw"] > frame["count_high"])["Felidae"]
    assert "raw counts lie outside of the interval for 2 of 3 classes" in _said(found)
    assert frame["share"].sum() == pytest.approx(1)
    assert (frame["n_labelled"] == N_DRAWN).all()
    assert "learnt from labelled images is not known" in _said(found)
    assert found.provenance["options"]["labelled"] == "the column drawn"


def test_estimators_and_thresholds_differ(store: bp.Store) -> None:
    table = store.images.assign(file_name=store.images["path"], family=store.images["guess"])
    table["score"] = np.where(np.arange(N) % 2 == 0, 0.7, 0.97)
    table = table[["file_name", "family", "score"]]
    widths = {}
    for name in ("ppi", "regression", "ratio", "labelled"):
        found = _count(store, "family", answers=table, labelled="drawn", estimator=name)
        line: Any = _read(found).xs("Felidae")
        widths[name] = line["share_high"] - line["share_low"]
        assert f"by {name}" in _said(found)
    assert widths["regression"] < widths["ppi"] < widths["labelled"]
    assert widths["ratio"] != widths["regression"]
    low, high = (
        _read(_count(store, "family", answers=table, labelled="drawn", threshold=at))["sure"]
        for at in (0.5, 0.95)
    )
    assert low.sum() == N
    assert high.sum() == N / 2


def test_without_a_random_sample_nothing_is_counted_in_silence(store: bp.Store) -> None:
    ask: dict[str, Any] = {"level": "family", "answers": "column:guess"}
    with pytest.raises(
        MisuseError, match=r"nothing says that they are a random sample.*--draw 200"
    ):
        _count(store, **ask)
    with pytest.raises(SelectionError, match=r"column found has a label.*label them first"):
        _count(store.where("drawn == ''"), **ask, labelled="found")
    with pytest.raises(MisuseError, match=r"there is no 'drawm' .did you mean drawn"):
        _count(store, **ask, labelled="drawm")
    with pytest.raises(MisuseError, match=r"yes where an image was drawn.*'east'"):
        _count(store, **ask, labelled="site")
    trusted = _count(store, **ask, assume="random")
    assert (
        _read(trusted)["count"].tolist()
        == _read(_count(store, **ask, labelled="drawn"))["count"].tolist()
    )
    with pytest.raises(MisuseError, match="probabilities of all classes"):
        _count(store, **ask, assume="label-shift")


def test_a_sample_that_is_answered_otherwise_than_all_is_refused(store: bp.Store) -> None:
    """All bears and few others: a search was labelled, and not a draw."""
    picked = store.images.assign(file_name=store.images["path"], family=store.images["truth"])
    picked = picked[(picked["truth"] == "Ursidae") | (np.arange(N) < 40)]
    given = Path(str(store.folder.parent / "picked.csv"))
    picked[["file_name", "family"]].to_csv(given, index=False)
    with pytest.raises(MisuseError, match=r"no random sample.*is answered to 45"):
        _count(store, "family", answers="column:guess", labelled=given)
    found = _count(store, "family", answers="column:guess", labelled=given, assume="random")
    assert "taken for a random sample, though Felidae is answered to" in _said(found)


def test_a_sample_is_drawn_labelled_in_a_table_and_counted(
    own_store: bp.Store, tmp_path: Path
) -> None:
    ask: dict[str, Any] = {"level": "family", "answers": "column:guess"}
    drawn = own_store.estimate(**ask, draw=150, seed=5)
    frame = drawn.to_frame()
    assert len(set(frame["file_name"])) == 150
    assert (
        frame["row"].tolist()
        == own_store.estimate(**ask, draw=150, seed=5).to_frame()["row"].tolist()
    )
    assert (
        frame["row"].tolist()
        != own_store.estimate(**ask, draw=150, seed=6).to_frame()["row"].tolist()
    )
    own_store.estimate(**ask, draw=150, seed=5)
    assert "150 images were drawn at random, and are kept as the mask audit" in _said(drawn)
    frame["family"] = own_store.images["truth"].to_numpy()[frame["row"]]
    frame.loc[0, "family"] = "blank"
    frame.to_csv(tmp_path / "labels.csv", index=False)
    found = _count(own_store, **ask, labelled=tmp_path / "labels.csv", by="site")
    assert "(drawn as audit)" in _said(found)
    whole = _read(found, by="site")
    assert whole.loc["(other)", "n_seen"] == 1
    assert whole["n_seen"].sum() == 150
    groups = found.to_frame().drop_duplicates("site")["site"].tolist()
    assert groups == ["(all)", "east", "north", "south"]
    assert "is no occupancy" in _said(found)
    # What was not there when it was drawn was in no draw.
    bp.from_vectors(
        np.eye(4)[:2], pd.DataFrame({"path": ["new1.jpg", "new2.jpg"], "guess": "Felidae"}),
        model="plain", store=own_store.folder,
    )  # fmt: skip
    later = bp.open(own_store.folder)
    with pytest.raises(MisuseError, match="2 of the 602 images asked are not among those"):
        _count(later, **ask, labelled=tmp_path / "labels.csv")


def test_whole_units_and_strata_are_drawn_and_remembered(own_store: bp.Store) -> None:
    ask: dict[str, Any] = {"level": "truth", "answers": "column:guess"}
    drawn = own_store.estimate(**ask, draw=100, unit="burst", labelled="bursts").to_frame()
    bursts = own_store.images["burst"].to_numpy()[drawn["row"]]
    assert pd.Series(bursts).value_counts().tolist() == [10] * 10
    found = _count(own_store, **ask, labelled="bursts")
    assert "100 labelled images of the mask bursts in 10 units (burst)" in _said(found)
    alone = _count(own_store, **ask, labelled="bursts", unit="image")
    assert "in 10 units" not in _said(alone)
    wide, narrow = (
        (one.to_frame()["share_high"] - one.to_frame()["share_low"]).max() for one in (found, alone)
    )
    assert wide != narrow
    strata = own_store.estimate(**ask, draw=60, strata="answer", labelled="even").to_frame()
    answered = own_store.images["guess"].to_numpy()[strata["row"]]
    assert set(pd.Series(answered).value_counts()) == {20}
    weighed = _read(_count(own_store, **ask, labelled="even"))
    truth = own_store.images["truth"].value_counts()
    assert weighed.loc["Ursidae", "n_seen"] == 20
    for name in weighed.index:
        assert weighed.loc[name, "count_low"] <= truth[name] <= weighed.loc[name, "count_high"]
    blind = _read(_count(own_store, **ask, labelled="even", strata="site", assume="random"))
    shares = [float(one["labelled_share"]["Ursidae"]) for one in (blind, weighed)]
    assert shares[0] > 2 * shares[1]
    own_store.split("truth")
    with pytest.raises(MisuseError, match="is there and was not drawn"):
        own_store.estimate(**ask, draw=5, labelled="splits/default")


def test_labels_that_come_in_whole_sites_are_no_images_alone(
    store: bp.Store, tmp_path: Path
) -> None:
    found = _count(store, "truth", answers="column:guess", labelled="drawn", by="month")
    assert "which were drawn whole" not in _said(found)
    months = found.to_frame()["month"].unique().tolist()
    assert months == ["(all)", "2024-01", "2024-02", "2024-03"]
    with pytest.raises(MisuseError, match="480 images are of strata of which none is labelled"):
        _count(store, "truth", answers="column:guess", labelled="drawn", strata="path")
    north = store.images.assign(file_name=store.images["path"], family=store.images["truth"])
    given = tmp_path / "north.csv"
    north[north["site"] == "north"][["file_name", "family"]].to_csv(given, index=False)
    whole = _count(store, "family", answers="column:guess", labelled=given)
    assert "in 1 units (site), which were drawn whole" in _said(whole)
    assert (whole.to_frame()["share_high"] - whole.to_frame()["share_low"]).max() > 0.5


def test_a_probe_is_judged_by_what_it_did_not_learn_from(own_store: bp.Store) -> None:
    own_store.split("truth", fractions=(0.4, 0.2, 0.4))
    own_store.fit("centroid", "truth", split="default", name="p")
    ask: dict[str, Any] = {"answers": "probe:p"}
    found = _count(own_store, **ask, labelled="default:test")
    frame = _read(found)
    n_taught = int(frame["n_known"].sum())
    assert 200 < n_taught < 280
    assert f"{n_taught:,} images that the classifier learnt from are counted" in _said(found)
    truth = own_store.images["truth"].value_counts()
    for name in frame.index:
        assert frame.loc[name, "count_low"] <= truth[name] <= frame.loc[name, "count_high"]
    with pytest.raises(SelectionError, match="did not learn from"):
        _count(own_store, **ask, labelled="default:train")
    own_store.split("truth", name="folds", method="kfold")
    with pytest.raises(MisuseError, match="made by kfold, which is no random draw"):
        _count(own_store, **ask, labelled="folds:train", assume=None)
    shifted = _count(own_store, **ask, labelled="default:test", assume="label-shift",
                                 n_resamples=20)  # fmt: skip
    assert "label shift: images of a class look alike" in _said(shifted)
    other = _count(own_store, **ask, labelled="default:test", assume="label-shift",
                               n_resamples=20, seed=1)  # fmt: skip
    assert _read(shifted)["share_low"].tolist() != _read(other)["share_low"].tolist()
    for name in truth.index:
        line: Any = _read(shifted).loc[name]
        assert line["count_low"] * 0.9 <= truth[name] <= line["count_high"] * 1.1
    drawn = own_store.estimate(**ask, draw=50).to_frame()
    answers = own_store.probe("p").predict()
    assert isinstance(answers, bp.Predictions)
    taught = answers.taught
    assert taught is not None
    assert not taught[drawn["row"]].any()
    # Answers are found by their rows, in whatever order these are.
    order = np.random.default_rng(0).permutation(N)
    some = own_store.where(rows=np.flatnonzero(order % 7 > 0).tolist())
    expected, mixed = (
        _count(some, "truth", answers=answers.take(at), labelled="default:test")
        for at in (some._view.rows, order)
    )
    pd.testing.assert_frame_equal(mixed.to_frame(), expected.to_frame())
    for unfit in (np.r_[order, order[:1]], some._view.rows[1:]):
        with pytest.raises(MisuseError, match="not to the images that are asked, one each"):
            _count(some, "truth", answers=answers.take(unfit), labelled="default:test")


def test_rates_are_by_camera_days_of_each_group(store: bp.Store, tmp_path: Path) -> None:
    effort = tmp_path / "deployments.csv"
    effort.write_text(
        "Station,Setup_date,Retrieval_date\nnorth,2024-01-01,2024-04-10\nsouth,2024-01-01,"
        "2024-02-20\n"
    )
    found = _count(store, "truth", answers="column:guess", labelled="drawn", by="site",
                           effort=effort)  # fmt: skip
    frame = found.to_frame()
    days = frame.drop_duplicates("site").set_index("site")["camera_days"]
    assert days[["north", "south"]].tolist() == [100, 50]
    # What is counted in the east has no day to be divided by.
    assert np.isnan(days[["east", "(all)"]].to_numpy()).all()
    north = frame[frame["site"] == "north"]
    np.testing.assert_allclose(north["rate"], north["count"])
    np.testing.assert_allclose(north["rate_high"], north["count_high"])
    assert "1 sites have no effort" in _said(found)
    with pytest.raises(MisuseError, match="no burst of the images"):
        _count(store, "truth", answers="column:guess", labelled="drawn", by="burst",
                       effort=effort)  # fmt: skip


def test_a_camera_that_still_works_counts_until_its_last_picture(
    store: bp.Store, tmp_path: Path
) -> None:
    effort = tmp_path / "open.csv"
    effort.write_text("site,start,end\nnorth,2024-01-01 10:00,\n")
    found = _count(store, "truth", answers="column:guess", labelled="drawn", effort=effort)
    assert found.to_frame()["camera_days"].iloc[0] == 87
    assert "count until their last picture: north" in _said(found)


def test_sequences_count_once_for_each_class_in_them(tmp_path: Path) -> None:
    table = _tabulate().rename(columns={"burst": "seq_id"})
    store = bp.from_vectors(np.ones((N, 4)), table, model="plain", store=tmp_path / "store")
    whole = table["seq_id"].isin([f"b{n}" for n in range(0, 60, 2)])
    given = tmp_path / "whole.csv"
    named = table.assign(file_name=table["path"], family=table["truth"])[whole]
    named[["file_name", "family"]].to_csv(given, index=False)
    ask: dict[str, Any] = {"level": "family", "answers": "column:guess", "labelled": given}
    found = _count(store, **ask, per="sequence")
    frame = _read(found)
    assert set(frame["n_images"]) == {60}
    assert set(frame["n_labelled"]) == {30}
    for column, theirs in (("raw", table), ("n_seen", table[whole])):
        source = "guess" if column == "raw" else "truth"
        sets = theirs.groupby("seq_id")[source].agg(set)
        assert frame[column].to_dict() == {
            name: sum(name in one for one in sets) for name in frame.index
        }
    truth = table.groupby("seq_id")["truth"].agg(set)
    for name in frame.index:
        count = sum(name in one for one in truth)
        assert frame.loc[name, "count_low"] <= count <= frame.loc[name, "count_high"]
    assert frame["share"].sum() > 1.5
    assert "60 sequences are counted, each once for every class" in _said(found)
    named.iloc[1:][["file_name", "family"]].to_csv(given, index=False)
    less = _count(store, **ask, per="sequence")
    assert set(_read(less)["n_labelled"]) == {29}
    assert "1 sequences are labelled in part" in _said(less)
    with pytest.raises(SelectionError, match="--draw 200 --unit sequence"):
        _count(store, "family", answers="column:guess", labelled="drawn", per="sequence")
    with pytest.raises(MisuseError, match="--per"):
        _count(store, "family", labelled="drawn", per="image", assume="label-shift")


def test_pictures_count_once_for_each_class_of_their_regions(
    make_store: Callable[..., EmbeddingStore],
) -> None:
    random = np.random.default_rng(1)
    boxes = [f"0.{n}000,0.1000,0.1000,0.2000" for n in (1, 5)]
    table = pd.DataFrame({
        "path": np.repeat([f"{at:03}.jpg" for at in range(60)], 2),
        "image_region": boxes * 60,
        "kind": random.choice(["hen", "cow"], 120),
    })  # fmt: skip
    table["guess"] = np.where(random.random(120) < 0.9, table["kind"], "cow")
    table["drawn"] = np.where(table["path"] < "030", "yes", "")
    table["kind"] = np.where(table["drawn"] == "yes", table["kind"], "")
    made = make_store(PlainEncoder())
    made.append(table.assign(sha256=table["path"]), random.normal(size=(120, 16)))
    store = bp.open(made.folder)
    ask: dict[str, Any] = {"level": "kind", "answers": "column:guess", "labelled": "drawn"}
    boxes_said = _said(_count(store, **ask))
    assert "120 regions of 60 pictures are counted, each by itself" in boxes_said
    frame = _read(_count(store, **ask, per="image"))
    guessed = table.groupby("path")["guess"].agg(set)
    labelled = table[table["drawn"] == "yes"].groupby("path")["kind"].agg(set)
    for name in ("cow", "hen"):
        assert frame.loc[name, "raw"] == sum(name in one for one in guessed)
        assert frame.loc[name, "n_seen"] == sum(name in one for one in labelled)
    assert set(frame["n_images"]) == {60}


def test_the_page_shows_figures_table_and_what_is_to_be_said(
    store: bp.Store, tmp_path: Path
) -> None:
    found = _count(store, "truth", answers="column:guess", labelled="drawn", by="site", width=0.1)
    found = dataclasses.replace(found, frame=found.frame[found.frame["truth"] == "Felidae"])
    assert found.write_page(tmp_path / "page.html") == 1
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("data:image/svg+xml") == 2
    assert "mend the counts of the column guess" in text
    assert "more to label" in text
    lines = found.to_lines()
    assert lines.columns.tolist() == ["site", "truth", "count", "raw", "sure", "share", "n_more"]
    assert "[" in lines["count"].iloc[0]
