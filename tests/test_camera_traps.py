"""Camera traps: the published layouts are read or refused, and the whole path runs on stand-ins."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.camera_traps.__main__ import main
from benchmarks.camera_traps.layout import LayoutError, find_differences, read_multi, read_sets
from benchmarks.camera_traps.published import SET_SIZES
from benchmarks.camera_traps.stand_in import Shown, draw_pictures, save_multi, save_sets
from benchmarks.camera_traps.steps import find_mean
from bioprobe.intervals import Accuracy

PARQUET = Path("data", "test-00000-of-00001.parquet")


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    shown = draw_pictures(2, 1)
    save_sets(tmp_path / "sets", dict.fromkeys(SET_SIZES, shown))
    return tmp_path / "sets"


@pytest.fixture
def multi(tmp_path: Path) -> Path:
    first, second, third = draw_pictures(3, 1)
    save_multi(tmp_path / "multi", [(first, second), (second, third)])
    return tmp_path / "multi"


def test_the_sets_are_listed_with_their_lineages(sets: Path) -> None:
    listed = read_sets(sets)
    assert len(listed) == 10
    assert listed["set"].unique().tolist() == list(SET_SIZES)
    assert listed["class"].tolist()[:2] == ["Arachnida", "Arachnida"]
    assert all(Path(path).is_file() for path in listed["path"])
    assert "island has 2 pictures, published are 310" in find_differences(listed)


def test_what_is_not_balanced_is_said(sets: Path) -> None:
    listed = read_sets(sets)
    assert not [one for one in find_differences(listed) if "balanced" in one]
    found = find_differences(pd.concat([listed, listed.iloc[[2]]]))
    assert "ENA24 is not balanced: 1 to 2 a species" in found


def test_another_layout_of_the_sets_is_refused(
    sets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    island = sets / "island-balanced.csv"
    pd.read_csv(island).rename(columns={"cls": "class"}).to_csv(island)
    with pytest.raises(LayoutError, match=r"island-balanced\.csv: no column cls; fetch the whole"):
        read_sets(sets)
    island.unlink()
    with pytest.raises(LayoutError, match=r"no table island-balanced\.csv"):
        read_sets(sets)
    next((sets / "data" / "test" / "ENA24").iterdir()).unlink()
    with pytest.raises(LayoutError, match="1 of its 2 pictures are not there: /"):
        read_sets(sets)
    with pytest.raises(SystemExit, match=r"not the data set: .*pictures are not there"):
        main(["--sets", str(sets), "--multi", "none", "--models", "sketch"])
    assert "top-1" not in capsys.readouterr().out


def test_several_species_and_their_boxes_are_read(multi: Path, tmp_path: Path) -> None:
    listed = read_multi(multi, tmp_path / "pictures")
    assert listed["image_id"].tolist() == ["ENA24 : 0"] * 2 + ["ENA24 : 1"] * 2
    assert listed["path"].nunique() == 2
    # Pictures of 64 pixels with 8 on each side, of 160 by 80.
    boxes = listed[["box_x", "box_y", "box_width", "box_height"]].to_numpy()
    assert boxes[:2].tolist() == [[0.05, 0.1, 0.4, 0.8], [0.55, 0.1, 0.4, 0.8]]
    assert np.isnan(boxes[2:]).all()
    assert listed["genus"].tolist() == ["Dolomedes", "Brachypelma", "Brachypelma", "Lepidurus"]
    assert listed["common_name"].eq("").all()


def _change(multi: Path, **columns: pa.Array) -> None:
    table = pq.read_table(multi / PARQUET)
    for name, values in columns.items():
        at = table.column_names.index(name)
        table = table.set_column(at, name, values) if values is not None else table.drop([name])
    pq.write_table(table, multi / PARQUET)


def test_boxes_are_taken_as_they_fit_or_refused(multi: Path, tmp_path: Path) -> None:
    def read(*of_all: list[float], form: str | None = None) -> list[list[float]]:
        _change(multi, bbox_px=pa.array([*of_all, *[None] * (4 - len(of_all))]))
        listed = read_multi(multi, tmp_path / "pictures", form)
        return listed[["box_x", "box_y", "box_width", "box_height"]].dropna().to_numpy().tolist()

    assert read([88, 8, 64, 64]) == [[0.55, 0.1, 0.4, 0.8]]
    assert read([0, 0, 80, 80], form="xywh") == [[0.0, 0.0, 0.5, 1.0]]
    with pytest.raises(LayoutError, match="could be meant either way"):
        read([0, 0, 80, 80])
    with pytest.raises(LayoutError, match="leave their pictures either way"):
        read([88, 8, 500, 500])
    with pytest.raises(LayoutError, match="as xyxy leaves its 160 by 80 pixels"):
        read([88, 8, 64, 64], form="xyxy")


def test_another_layout_of_several_species_is_refused(multi: Path, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="no Parquet file"):
        read_multi(tmp_path / "sets", tmp_path / "pictures")
    _change(multi, image=pa.array(["a.jpg"] * 4))
    with pytest.raises(LayoutError, match="'image' is string, expected a field 'bytes'"):
        read_multi(multi, tmp_path / "pictures")
    _change(multi, species_idx=None)
    with pytest.raises(LayoutError, match="no column species_idx"):
        read_multi(multi, tmp_path / "pictures")


def test_the_mean_counts_each_set_alike() -> None:
    one = find_mean([Accuracy(1, 30, 100)])
    assert (one.low, one.high) == pytest.approx(Accuracy(1, 30, 100).interval)
    both = find_mean([Accuracy(1, 90, 100), Accuracy(1, 1, 10)])
    assert both.estimate == pytest.approx(0.5)
    # Standard error .0497 by hand: sqrt(.9 * .1 / 100 + .1 * .9 / 10) / 2.
    assert both.high - both.low == pytest.approx(2 * 1.96 * 0.0497, rel=0.02)
    none = find_mean([Accuracy(1, 0, 10)] * 5)
    assert (none.low, none.high) == pytest.approx(Accuracy(1, 0, 50).interval)


def _read_photographs(shared_dir: Path, n_species: int) -> list[Shown]:
    """Read a held-out photograph of each of some species."""
    folder = shared_dir / "data" / "photos"
    table = pd.read_csv(folder / "photos.csv", keep_default_na=False)
    table = table[(table["role"] == "test") & table["class"].str.match("^[a-z]+-[a-z]+$")]
    found: list[Shown] = []
    for row in table.groupby("class").first().reset_index().head(n_species).to_dict("records"):
        genus, epithet = row["class"].split("-")
        taxon = {str(name): str(cell) for name, cell in row.items()}
        taxon |= {"class": row["class_rank"], "genus": genus.capitalize(), "species": epithet}
        found.append((taxon, (folder / row["path"]).read_bytes()))
    return found


@pytest.mark.shared
def test_photographs_of_the_true_layout_are_told_apart(
    shared_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = _read_photographs(shared_dir, 4)
    save_sets(tmp_path / "sets", {
        name: [shown[place % 2], shown[2]] for place, name in enumerate(SET_SIZES)
    })  # fmt: skip
    save_multi(tmp_path / "multi", list(zip(shown[:2], shown[2:], strict=True)), boxed_every=1)
    main([
        "--sets", str(tmp_path / "sets"), "--multi", str(tmp_path / "multi"),
        "--models", f"local-dir:{shared_dir / 'models' / 'wildlife-mini'}",
        "--output", str(tmp_path / "output"),
    ])  # fmt: skip
    said = capsys.readouterr().out
    assert "bioclip-2                                            0.539   -" in said
    assert "nothing here stands beside what is published" in said
    means = re.findall(r"^local-dir\S+ +- +(\S+) \[(\S+), (\S+)\]$", said, re.MULTILINE)
    mean, low, high = map(float, means[0])
    # The model gives .9 right among 65 classes, and has two in each set here.
    assert low < mean <= high
    assert mean > 0.8
    found = re.findall(r"^  (\D.*?)  +(\d\S+) \[", said, re.MULTILINE)
    shares = {what: float(share) for what, share in found}
    assert shares["the first answer to a box"] > shares["that to the whole picture"]
    assert (
        shares["all n among the first n"]
        <= shares["of its n species, among the first n"]
        <= shares["of its species, among the first 5"]
    )
    assert "2 pictures, 2 of which every species is named; 4 boxes; 4 species" in said
