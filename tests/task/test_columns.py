from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bioprobe.errors import MisuseError, ProbeError, SelectionError, StoreError
from bioprobe.files import parse_json
from bioprobe.images.image_table import ImageTable
from bioprobe.learning.fit import answer_held_out, fit_probe
from bioprobe.learning.keeping import read_probe, write_probe
from bioprobe.learning.tune import tune_probe
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.columns import WEIGHTS, ColumnBlock, Columns
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank
from tests.conftest import PlainEncoder

Values = Sequence[object]


def make_images(**columns: Values) -> ImageTable:
    n = len(next(iter(columns.values())))
    return ImageTable.build(pd.DataFrame({"path": [f"{row}.jpg" for row in range(n)], **columns}))


def fit(images: ImageTable, *names: str, weight: float = 1.0, spread: float = 1.0) -> ColumnBlock:
    return Columns(names, weight).fit(images, np.arange(len(images)), spread)


def encode(images: ImageTable, *names: str) -> Any:  # noqa: ANN401 - an array
    return fit(images, *names).encode(images, np.arange(len(images)))


def test_a_number_is_centred_and_scaled_by_what_teaches() -> None:
    images = make_images(elevation=[0, 100, 200, 9000])
    block = Columns(("elevation",), 0.5).fit(images, np.arange(3), 2.0)
    found = block.encode(images, np.arange(4))[:, 0]
    deviation = np.array([0, 100, 200]).std()
    np.testing.assert_allclose(found, (np.array([0, 100, 200, 9000]) - 100) / deviation, rtol=1e-6)
    assert np.mean(found[:3] ** 2) == pytest.approx((0.5 * 2.0) ** 2)


def test_what_is_not_known_of_a_number_has_no_part_in_its_mean() -> None:
    found = encode(make_images(elevation=["100", "300", "", ""]), "elevation")
    np.testing.assert_allclose(found[:, 0] / found[1, 0], [-1, 1, 0, 0], atol=1e-6)


def test_the_end_of_a_year_is_near_its_beginning() -> None:
    found = encode(
        make_images(date=["2023-12-31", "2024-01-01", "2024-07-01", "2024-04-01"]), "date"
    )
    apart = np.linalg.norm(found[0] - found, axis=1)
    assert apart[1] < apart[3] < apart[2]
    assert found.shape == (4, 2)
    # Chords of a circle of 365.25 days: 364 days apart, 182 and 273.
    chords = np.sin(np.pi * np.array([364, 182, 273]) / 365.25)
    np.testing.assert_allclose(apart[1:] / apart[2], chords / chords[1], rtol=1e-5)


def test_a_time_of_day_goes_round_and_a_date_has_none() -> None:
    images = make_images(captured_at=["2024-01-01T23:30:00", "2024-05-01T00:30:00",
                                      "2024-09-01T12:00:00", "2024-12-01T18:00:00"])  # fmt: skip
    block = fit(images, "captured_at")
    assert [part.kind for part in block.parts] == ["date", "time"]
    hours = encode(images, "time")
    assert np.linalg.norm(hours[0] - hours[1]) < np.linalg.norm(hours[0] - hours[3])
    dates = make_images(captured_at=["2024-01-01", "2024-05-01", "2024-09-01"])
    assert [part.kind for part in fit(dates, "captured_at").parts] == ["date"]
    with pytest.raises(ProbeError, match="has a value of time that is read as time"):
        fit(dates, "time")


def test_a_place_is_near_across_the_date_line_and_at_the_poles() -> None:
    images = make_images(lat=[0, 0, 0, 89.9, 89.9], lon=[179.9, -179.9, 1, 0, 180])
    found = encode(images, "latitude", "longitude")
    assert found.shape == (5, 3)
    apart = np.linalg.norm(found[:, np.newaxis] - found, axis=2)
    assert apart[0, 1] < 0.02 < apart[0, 2]
    assert apart[3, 4] < 0.02


def test_where_no_place_is_known_a_column_says_so() -> None:
    images = make_images(latitude=["10", "", "0", "95", "-20"], longitude=["20", "", "0", "3", "5"])
    block = fit(images, "latitude", "longitude")
    found = block.encode(images, np.arange(5))
    assert found.shape == (5, 4)
    np.testing.assert_allclose(found[1:4, :3], 0, atol=1e-7)  # the middle
    assert len(set(found[:, 3].round(6).tolist())) == 2
    said = " ".join(map(str, block.describe_missing(images, np.arange(5))))
    assert "3 of 5 images stand in the middle of latitude and longitude" in said


def test_categories_have_a_column_each_and_a_new_one_is_in_the_middle() -> None:
    images = make_images(site=["A", "A", "B", "B", "C"])
    block = Columns(("site",), 1.0).fit(images, np.arange(4), 1.0)
    assert block.parts[0].categories == ("A", "B")
    found = block.encode(images, np.arange(5))
    np.testing.assert_allclose(found[4], 0, atol=1e-7)
    np.testing.assert_allclose(found[0], found[1])
    assert "what no image taught" in str(block.describe_missing(images, np.arange(5))[0])
    numbers = make_images(site=[1, 1, 2, 2])
    assert fit(numbers, "site").parts[0].kind == "number"
    assert fit(numbers, "site:category").parts[0].categories == ("1", "2")


def test_a_month_goes_round_and_is_that_of_the_picture() -> None:
    images = make_images(captured_at=["2024-12-05", "2024-01-09", "2024-06-20"])
    found = encode(images, "month")
    assert np.linalg.norm(found[0] - found[1]) < np.linalg.norm(found[0] - found[2])
    np.testing.assert_allclose(found, encode(make_images(month=[12, 1, 6]), "month"), atol=1e-6)


def test_each_column_has_the_same_share_however_many_numbers_it_is() -> None:
    images = make_images(site=list("AABBCC"), elevation=range(6), same=[3] * 6)
    block = fit(images, "site", "elevation", "same", spread=2.0)
    found = block.encode(images, np.arange(6))
    squares = (found**2).mean(axis=0)
    np.testing.assert_allclose([squares[:3].sum(), squares[3], squares[4]], [2, 2, 0], atol=1e-6)
    assert "the same for all that teach" in block.describe()


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (("latitde",), "did you mean latitude"),
        (("gone",), "no column 'gone'"),
    ],
)
def test_a_column_that_is_not_there_is_named(names: tuple[str, ...], error: str) -> None:
    with pytest.raises(SelectionError, match=error):
        fit(make_images(latitude=[1, 2]), *names)


def test_columns_that_cannot_stand_there_are_refused() -> None:
    images = make_images(note=["a", "b", "c"], empty=["", "", ""])
    with pytest.raises(ProbeError, match="name pictures and no kinds of place"):
        fit(images, "note")
    with pytest.raises(ProbeError, match="none of the 3 images"):
        fit(images, "empty")
    for weight in (0, -1, float("inf"), "much", True):
        with pytest.raises(MisuseError, match="weight of columns"):
            Columns(("note",), weight)  # type: ignore[arg-type]
    with pytest.raises(MisuseError, match="named twice"):
        Columns.of("site,Site")
    with pytest.raises(MisuseError, match="a column is number, category"):
        Columns.of("site:colour")


@pytest.fixture
def placed(make_store: Callable[..., EmbeddingStore]) -> EmbeddingStore:
    """Return 120 images of two species whose vectors say nothing, and whose places say all."""
    random = np.random.default_rng(0)
    names = np.array(["Panthera leo", "Lynx lynx"], dtype=object)[np.arange(120) % 2]
    place = np.where(names == "Lynx lynx", 60.0, -10.0) + random.normal(0, 5, 120)
    frame = pd.DataFrame(
        {
            "path": [f"{row}.jpg" for row in range(120)],
            "sha256": [str(row) for row in range(120)],
            "genus": [name.split()[0] for name in names],
            "species": names,
            "latitude": ["" if row % 15 == 0 else f"{one:.3f}" for row, one in enumerate(place)],
            "longitude": np.round(random.normal(20, 5, 120), 3).astype(str),
            "chance": random.normal(size=120).round(4),
        }
    )
    return make_store(PlainEncoder()).append(frame, random.normal(size=(120, 16)))


def make_task(store: EmbeddingStore, *names: str, weight: float | None = None) -> Task:
    columns = Columns(names, weight) if names else None
    return Task.of(store, Rank.SPECIES, split=None, columns=columns)


@pytest.mark.parametrize("kind", ["linear", "ridge"])
def test_a_probe_learns_from_places(kind: str, placed: EmbeddingStore) -> None:
    task = make_task(placed, "latitude", "longitude", weight=1.0)
    alone, beside = fit_probe(make_task(placed), kind), fit_probe(task, kind)
    shares = [one.held_out.n_correct / one.held_out.n_images for one in (alone, beside)]
    assert shares[0] < 0.7 < 0.85 < shares[1]
    assert beside.dim == placed.manifest.dim + 4
    held_out = answer_held_out(task, beside, kind)
    known = held_out.truth >= 0
    assert (held_out.logits.argmax(axis=1) == held_out.truth)[known].mean() > 0.85


def test_the_weight_is_chosen_and_the_lowest_where_columns_tell_nothing(
    placed: EmbeddingStore,
) -> None:
    told = fit_probe(make_task(placed, "latitude"), "lda")
    assert told.block is not None
    assert told.block.weight in WEIGHTS
    assert set(told.provenance["options"]["column_weights"]) == {f"{one:g}" for one in WEIGHTS}
    task = make_task(placed, "latitude")
    held_out = answer_held_out(task, told, "lda")
    by_weight = task.weigh_columns(told.block.weight)
    np.testing.assert_array_equal(held_out.logits, answer_held_out(by_weight, told, "lda").logits)


def test_a_probe_without_use_for_columns_refuses_them(placed: EmbeddingStore) -> None:
    with pytest.raises(ProbeError, match=r"knn compares vectors of one length.*linear"):
        fit_probe(make_task(placed, "latitude"), "knn")


def test_what_was_measured_is_kept_and_used_for_other_pictures(
    placed: EmbeddingStore, make_store: Callable[..., EmbeddingStore]
) -> None:  # fmt: skip
    probe = fit_probe(make_task(placed, "latitude", "longitude", weight=1.0), "lda")
    write_probe(placed, "placed", probe)
    again = read_probe(placed, "placed")
    assert again.block == probe.block
    view = View.of(placed)
    np.testing.assert_array_equal(again.ask(view, 2).scores, probe.ask(view, 2).scores)
    frame = pd.DataFrame({"path": ["a.jpg", "b.jpg"], "sha256": ["a", "b"],
                          "LAT": [60, -10], "lon": ["20", "20"]})  # fmt: skip
    vectors = np.tile(placed.read_vectors()[:1], (2, 1))
    other = make_store(PlainEncoder(), "other").append(frame, vectors)
    assert again.ask(other, 1).names[:, 0].tolist() == ["Lynx lynx", "Panthera leo"]
    bare = make_store(PlainEncoder(), "bare").append(frame[["path", "sha256"]], vectors)
    answers = again.ask(bare, 1)
    assert answers.scores[0] == answers.scores[1]
    assert "2 of 2 images stand in the middle of latitude and longitude: there is no column" in str(
        answers.notes[0]
    )


def _damage(block: Mapping[str, Any]) -> list[dict[str, Any]]:
    part = block["parts"][0]
    return [
        {**block, "parts": []},
        {**block, "weight": "x"},
        {**block, "spread": float("nan")},
        {**block, "parts": [{**part, "mean": [1.0]}]},
        {**block, "parts": [{**part, "kind": "colour"}]},
        {**block, "parts": [{**part, "columns": ["a"]}]},
    ]


def test_damaged_columns_are_told(placed: EmbeddingStore) -> None:
    probe = fit_probe(make_task(placed, "latitude", "longitude", weight=1.0), "lda")
    card = write_probe(placed, "placed", probe) / "probe.json"
    fields = parse_json(card.read_bytes(), dict)
    for block in _damage(fields["columns"]):
        card.write_text(json.dumps({**fields, "columns": block}), encoding="utf-8")
        with pytest.raises(StoreError, match="damaged"):
            read_probe(placed, "placed")


def test_tuning_chooses_how_much_columns_weigh(placed: EmbeddingStore) -> None:
    tuned = tune_probe(make_task(placed, "latitude"), kinds=["ridge", "centroid"], n_trials=7)
    weights = {one.settings.get("weight") for one in tuned.trials if one.kind == "ridge"}
    assert weights == {*WEIGHTS, 0.0}
    assert all("weight" not in one.settings for one in tuned.trials if one.kind == "centroid")
    assert tuned.best.kind == "ridge"
    assert tuned.probe.block is not None
    assert tuned.probe.block.weight == tuned.best.settings["weight"]
    assert tuned.probe.ask(View.of(placed), 1).accuracy() == []
