from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bioprobe as bp
from benchmarks.repeats import draw_set, drop_by_both, drop_by_place, gather_boxes, score
from bioprobe.encoders import load_encoder
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.face.quality_pages import Repeats
from bioprobe.images.regions import Region
from bioprobe.quality.repeats import Boxes, count_visits, group_boxes

STONE, BRANCH, ANIMAL = 0, 1, 2


def _make(tmp_path: Path, *, n_passing: int = 8, timed: bool = True, hours: float = 6) -> bp.Store:
    """Make boxes of one camera: a stone, a branch, animals that pass, one that sleeps."""
    random = np.random.default_rng(0)
    kinds, corners, times = [], [], []
    for number in range(6):
        kinds += [STONE, BRANCH, ANIMAL]
        corners += [(0.1, 0.1), (0.6, 0.1), (0.3, 0.7)]
        times += [number * hours, number * hours + 1, number * 0.5 + 0.1]
    for _ in range(n_passing):
        kinds.append(ANIMAL)
        corners.append(tuple(random.uniform(0.1, 0.7, 2)))
        times.append(float(random.uniform(0, 30)))
    boxes = [Region.clip(x + random.normal(0, 0.002), y, 0.2, 0.2)[0] for x, y in corners]
    # Stone and branch are as little like each other as like an animal, but for a common part.
    X = np.array([[1.0, 0.9, 0.0], [1.0, -0.9, 0.0], [0.0, 0.0, 1.0]])[kinds]  # noqa: N806
    X = np.hstack([X, random.normal(0, 0.12, (len(X), 5))])  # noqa: N806
    begin = np.datetime64("2024-05-01T00:00:00")
    table = {
        "path": [f"{row}.jpg" for row in range(len(kinds))],
        "image_region": [box.name for box in boxes],
        "box_x": [box.x for box in boxes],
        "box_y": [box.y for box in boxes],
        "box_width": [box.width for box in boxes],
        "box_height": [box.height for box in boxes],
        "camera": ["c1"] * len(kinds),
        "thing": np.array(["stone", "branch", "animal"])[kinds].tolist(),
    }
    if timed:
        table["captured_at"] = [str(begin + np.timedelta64(round(h * 3600), "s")) for h in times]
    return bp.from_vectors(normalise_rows(X), table, model="mine", store=tmp_path / "s")


def _filter(store: bp.Store, **options: Any) -> Repeats:  # noqa: ANN401
    found = store.filter(repeats=True, **options)
    assert isinstance(found, Repeats)
    return found


def _find(store: bp.Store, **options: Any) -> dict[str, set[str]]:  # noqa: ANN401
    frame = _filter(store, **options).to_frame()
    things = store.images["thing"].to_numpy()[frame["row"]]
    return {thing: set(frame["finding"][things == thing]) for thing in np.unique(things)}


def test_stones_are_dropped_and_what_sleeps_is_kept(tmp_path: Path) -> None:
    store = _make(tmp_path)
    found = _find(store)
    assert found == {
        "stone": {"repeat"}, "branch": {"repeat"}, "animal": {"like what passes"}
    }  # fmt: skip
    kept = store.where(mask="filters/repeats").images["thing"].value_counts().to_dict()
    assert kept == {"animal": 14}
    notes = [str(one) for one in store.filter(repeats=True).notes]
    assert notes[0].startswith(
        "rows: 26; groups that stand in one place: 3, of 18 boxes; dropped: 12"
    )
    assert any(one.startswith("  like what passes: 1 groups, 6 boxes; kept") for one in notes)


def test_each_option_counts(tmp_path: Path) -> None:
    store = _make(tmp_path)
    assert _find(store, visits=7) == {}
    assert _find(store, overlap=1.0) == {}
    assert _find(store, similarity=0.999) == {}
    # In half a day a stone is seen twice, in two days often enough.
    assert "stone" not in _find(store, span="12h", visits=3)
    assert "stone" in _find(store, span="48h")
    with pytest.raises(bp.MisuseError, match="--visits counts only with --repeats"):
        store.filter(visits=3)
    with pytest.raises(bp.MisuseError, match="--threshold counts only with no --repeats"):
        store.filter(repeats=True, threshold=1.0)


def test_without_anything_that_passes_nothing_is_dropped(tmp_path: Path) -> None:
    store = _make(tmp_path, n_passing=0)
    assert set().union(*_find(store).values()) == {"nothing to compare with"}
    assert _filter(store).kept.all()


def test_a_person_has_the_last_word_and_it_stays(tmp_path: Path) -> None:
    store = _make(tmp_path)
    with pytest.raises(bp.SelectionError, match="run bioprobe filter --repeats first"):
        store.filter(repeats=True, deny="g1")
    first = store.filter(repeats=True).to_frame()
    things = dict(zip(store.images["thing"].to_numpy()[first["row"]], first["group"], strict=True))
    with pytest.raises(
        bp.SelectionError, match="no group g9 in the last run, which found g1 to g3"
    ):
        store.filter(repeats=True, deny="g9")
    with pytest.raises(bp.SelectionError, match="cannot be confirmed and denied"):
        store.filter(repeats=True, deny="g1", confirm="g1")
    said = _find(store, deny=things["stone"], confirm=things["animal"])
    assert said["stone"] == {"denied"}
    assert said["animal"] == {"confirmed"}
    assert _find(store)["stone"] == {"denied"}
    # Where the boxes are in no group any more, it still holds.
    last = _filter(store, visits=7)
    kept = dict(zip(store.images["thing"], last.kept, strict=True))
    assert kept["stone"]
    assert int((~last.kept).sum()) == 6
    assert _find(store)["stone"] == {"denied"}
    assert _find(store, confirm="all")["stone"] == {"confirmed"}


def test_the_page_has_one_tile_a_group(tmp_path: Path) -> None:
    found = _filter(_make(tmp_path))
    assert found.write_page(tmp_path / "r.html") == 3
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "6 boxes, seen 6 times" in page
    assert found.to_lines()["boxes"].tolist() == [6, 6, 6]


def test_whole_pictures_are_refused_by_what_helps(tmp_path: Path) -> None:
    store = bp.from_vectors(np.eye(3), model="mine", store=tmp_path / "s")
    with pytest.raises(bp.SelectionError, match=r"is a box.*bioprobe embed detections.json"):
        store.filter(repeats=True)


def test_without_times_pictures_count_and_with_them_passings() -> None:
    none = np.full(3, np.datetime64("NaT", "ns"))
    soon = np.array(["2024-01-01T00:00:00", "2024-01-01T00:00:30", "2024-01-01T00:05"], "M8[ns]")
    for times, pictures, n in ((none, [0, 0, 1], 2), (soon, [0, 1, 2], 2)):
        boxes = Boxes(
            np.zeros((3, 4)), np.ones((3, 2), dtype=np.float32),
            np.array(["a"] * 3, dtype=object), times, np.array(pictures),
        )  # fmt: skip
        assert count_visits(boxes) == n


def test_no_box_is_grouped_with_one_of_another_camera() -> None:
    corners = np.tile([0.1, 0.1, 0.2, 0.2], (8, 1))
    places = np.array(["a"] * 4 + ["b"] * 4, dtype=object)
    none = np.full(8, np.datetime64("NaT", "ns"))
    boxes = Boxes(corners, np.ones((8, 2), dtype=np.float32), places, none, np.arange(8))
    assert group_boxes(boxes, similarity=0.5).tolist() == [0] * 4 + [1] * 4


def test_on_drawn_pictures_vectors_save_what_place_alone_loses() -> None:
    found = draw_set(n_cameras=2, n_stones=3, n_animals=14, seed=5)
    boxes = gather_boxes(found, load_encoder("sketch", device="cpu"))
    by_both, by_place = score(found, drop_by_both(boxes)), score(found, drop_by_place(boxes, 0.8))
    assert by_both.stones >= 0.95
    assert by_both.animals <= 0.01
    assert by_both.sleeper == 0
    assert by_place.animals > 0.2
    assert by_place.sleeper == 1
