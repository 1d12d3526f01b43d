"""A cell keeps what was written, through every way into a store."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.splits.groups import read_column
from bioprobe.store import EmbeddingStore
from tests.conftest import PlainEncoder

N = 7
Cells = list[str | None]


def _draw_cell(random: np.random.Generator, kind: str) -> str:
    digits = "".join(map(str, random.integers(0, 10, size=random.integers(1, 21))))
    small = str(random.integers(0, 40))
    return {
        "id": digits.lstrip("0") or "0",
        "code": digits,
        "small": small,
        "date": f"20{random.integers(10, 30)}-0{random.integers(1, 10)}-1{random.integers(0, 10)}",
        "sign": f"{random.choice(['+', '-'])}{small}",
        "exponent": f"{small}e{random.integers(0, 6)}",
        "word": str(random.choice(["north", "Südwest", "NA", "None", "nan", "n/a", "x y", "#1"])),
        "decimal": f"{random.normal():.{random.integers(1, 4)}f}",
        "flag": str(random.choice(["true", "false", "True", "False", "TRUE"])),
    }[kind]


KINDS = ("id", "code", "small", "date", "sign", "exponent", "word", "decimal", "flag")


def _draw_column(random: np.random.Generator, *, hole: bool) -> Cells:
    """Draw cells of one kind, or of all."""
    kinds = [random.choice(KINDS)] if random.random() < 0.7 else KINDS
    cells: Cells = [_draw_cell(random, str(random.choice(kinds))) for _ in range(N)]
    cells[1] = cells[0]
    if hole:
        cells[int(random.integers(2, N))] = None
    return cells


def _type_cells(cells: Cells) -> list[object]:
    """Give cells the types that a typed source would have, where their text says as much."""
    typed: list[object] = []
    for read in (int, float):
        try:
            typed = [None if cell is None else read(cell) for cell in cells]
        except ValueError:
            continue
        if all(str(one) == cell for one, cell in zip(typed, cells, strict=True) if one is not None):
            is_small = read is float or all(abs(one) < 2**63 for one in typed if one is not None)  # type: ignore[arg-type]
            return typed if is_small else list(cells)
    return list(cells)


Way = Callable[[Path, Path, dict[str, Cells]], bp.Store]


def _embed(sources: Sequence[Path], folder: Path, **options: object) -> bp.Store:
    return bp.embed(list(sources), store=folder / "store", model="sketch", **options)  # type: ignore[arg-type]


def _names(photos: Path) -> list[str]:
    return sorted(file.name for file in photos.iterdir())[:N]


def _by_csv(photos: Path, folder: Path, columns: dict[str, Cells]) -> bp.Store:
    table = folder / "table.csv"
    pd.DataFrame({"path": _names(photos), **columns}).to_csv(table, index=False)
    return _embed([table], folder, root=photos)


def _by_metadata(photos: Path, folder: Path, columns: dict[str, Cells]) -> bp.Store:
    table = photos / "metadata.csv"
    pd.DataFrame({"file_name": _names(photos), **columns}).to_csv(table, index=False)
    return _embed([photos], folder)


def _by_lines(photos: Path, folder: Path, columns: dict[str, Cells]) -> bp.Store:
    typed = {name: _type_cells(cells) for name, cells in columns.items()}
    rows = [
        {"file_name": name, **{column: cells[row] for column, cells in typed.items()}}
        for row, name in enumerate(_names(photos))
    ]
    (photos / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return _embed([photos], folder)


def _by_parquet(photos: Path, folder: Path, columns: dict[str, Cells]) -> bp.Store:
    import pyarrow as pa
    import pyarrow.parquet as pq

    typed = {name: _type_cells(cells) for name, cells in columns.items()}
    pq.write_table(pa.table({"path": _names(photos), **typed}), folder / "table.parquet")
    return _embed([folder / "table.parquet"], folder, root=photos)


def _by_dataset(photos: Path, folder: Path, columns: dict[str, Cells]) -> bp.Store:
    import datasets

    typed = {name: _type_cells(cells) for name, cells in columns.items()}
    files = [str(photos / name) for name in _names(photos)]
    made = datasets.Dataset.from_dict({"image": files, **typed})
    made.cast_column("image", datasets.Image()).save_to_disk(folder / "saved")
    return _embed([folder / "saved"], folder)


def _by_npy(photos: Path, folder: Path, columns: dict[str, Cells]) -> bp.Store:
    np.save(folder / "v.npy", np.eye(N, 16, dtype=np.float32))
    pd.DataFrame({"path": _names(photos), **columns}).to_csv(folder / "v.csv", index=False)
    bp.import_vectors(folder / "v.npy", model="plain", store=folder / "store")
    return bp.open(folder / "store")


def _by_vectors(photos: Path, folder: Path, columns: dict[str, Cells]) -> bp.Store:
    typed = {name: _type_cells(cells) for name, cells in columns.items()}
    X = np.eye(N, 16, dtype=np.float32)  # noqa: N806
    return bp.from_vectors(
        X, {"path": _names(photos), **typed}, model="plain", store=folder / "store"
    )


WAYS: tuple[Way, ...] = (
    _by_csv, _by_metadata, _by_lines, _by_parquet, _by_dataset, _by_npy, _by_vectors,
)  # fmt: skip


def _add(way: Way, photos: Path, folder: Path) -> bp.Store:
    """Add rows that lack the columns, in a second run."""
    if way in {_by_npy, _by_vectors}:
        X = np.eye(16, dtype=np.float32)[-1:]  # noqa: N806
        bp.from_vectors(X, {"path": ["zz.png"]}, model="plain", store=folder / "store")
    else:
        _embed([photos.parent / "more"], folder)
    return bp.open(folder / "store")


def _check(store: bp.Store, columns: dict[str, Cells]) -> None:
    opened = EmbeddingStore.open(store.folder)
    frame = opened.images.frame.iloc[opened.rows]
    order = np.argsort(frame["path"].map(lambda path: Path(path).name).to_numpy(), kind="stable")
    if opened.images.frame["path"].str.isdigit().all():
        order = np.arange(len(frame))
    frame, rows = frame.iloc[order[:N]], opened.rows[order[:N]]
    for name, cells in columns.items():
        kept = [None if pd.isna(cell) else str(cell) for cell in frame[name]]
        assert kept == cells, (name, frame[name].dtype)
        for cell in {cell for cell in cells if cell is not None}:
            expected = {int(row) for row, one in zip(rows, cells, strict=True) if one == cell}
            assert set(opened.images.match(f"{name} == {cell!r}").tolist()) == expected, cell
            if cell.isdigit() and (cell == "0" or not cell.startswith("0")):
                met = set(opened.images.match(f"{name} == {cell}").tolist())
                # Beside decimals alone a whole number is one of them: 3 is 3.0.
                alike = {
                    int(row)
                    for row, one in zip(rows, cells, strict=True)
                    if one is not None and "." in one and float(one) == float(cell)
                }
                assert expected <= met <= expected | alike, cell
        groups = set(read_column(opened, name)) - {""}
        assert groups == {cell for cell in cells if cell is not None}


@pytest.mark.usefixtures("loads")
@pytest.mark.parametrize("n_columns", [12, pytest.param(40, marks=pytest.mark.long)])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.removeprefix("_by_"))
# A second run without the columns leaves holes as well: both at once, and neither, show no more.
@pytest.mark.parametrize(
    ("hole", "more"),
    [
        pytest.param(False, True, id="and a second run without-whole"),
        pytest.param(True, False, id="alone-hole"),
        pytest.param(False, False, id="alone-whole", marks=pytest.mark.long),
        pytest.param(True, True, id="and a second run without-hole", marks=pytest.mark.long),
    ],
)
def test_every_cell_comes_back_as_it_was_written(
    way: Way,
    hole: bool,
    more: bool,
    n_columns: int,
    tmp_path: Path,
    write_pictures: Callable[..., Path],
) -> None:
    random = np.random.default_rng([WAYS.index(way), hole, more])
    columns = {f"c{number}": _draw_column(random, hole=hole) for number in range(n_columns)}
    columns["sequence_id"] = [f"2024051312304500{row // 2}" for row in range(N)]
    if hole:
        columns["sequence_id"][-1] = None
    photos = write_pictures(N)
    write_pictures(1, "more", first=90)
    store = way(photos, tmp_path, columns)
    if more:
        store = _add(way, photos, tmp_path)
    _check(store, columns)
    assert len(set(read_column(EmbeddingStore.open(store.folder), "sequence_id")) - {""}) == (
        4 - hole
    )


@pytest.mark.usefixtures("loads")
@pytest.mark.parametrize("layout", ["npy", "datasets", "emb-explorer", "clip-retrieval"])
def test_what_is_exported_gives_the_cells_back(
    layout: str, tmp_path: Path, write_pictures: Callable[..., Path]
) -> None:
    random = np.random.default_rng(len(layout))
    columns = {f"c{number}": _draw_column(random, hole=True) for number in range(20)}
    store = _by_csv(write_pictures(N), tmp_path, columns)
    suffix = {"npy": ".npy", "emb-explorer": ".parquet"}.get(layout, "")
    store.export(tmp_path / f"out{suffix}", layout)
    bp.import_vectors(tmp_path / f"out{suffix}", model="plain-1", store=tmp_path / "again")
    _check(bp.open(tmp_path / "again"), columns)


@pytest.mark.usefixtures("loads")
def test_two_sources_at_once_join_as_what_was_written(
    tmp_path: Path, write_pictures: Callable[..., Path]
) -> None:
    photos = write_pictures(4)
    rows = [("a.csv", "000.png", "1"), ("b.csv", "001.png", "1.5"), ("c.csv", "002.png", "01")]
    for name, picture, cell in rows:
        (tmp_path / name).write_text(f"path,n,m\n{picture},{cell},3\n")
    (tmp_path / "d.csv").write_text("path\n003.png\n")
    sources = [tmp_path / name for name in ("a.csv", "b.csv", "c.csv", "d.csv")]
    frame = _embed(sources, tmp_path, root=photos).images.sort_values("path")
    assert frame["n"].tolist()[:3] == ["1", "1.5", "01"]
    assert frame["m"].dropna().tolist() == [3, 3, 3]
    assert str(frame["m"].dtype) == "Int64"
    # The same listing again changes nothing.
    again = _embed(sources, tmp_path, root=photos)
    assert again.summary is not None
    assert again.summary.n_kept == 4


@pytest.mark.usefixtures("loads")
def test_labels_that_are_numbers_keep_their_text_beside_a_hole(
    tmp_path: Path, write_pictures: Callable[..., Path]
) -> None:
    photos = write_pictures(3)
    (tmp_path / "a.csv").write_text("path,species\n000.png,1\n001.png,2\n")
    (tmp_path / "b.csv").write_text("path,species\n000.png,1\n001.png,2\n002.png,\n")
    _embed([tmp_path / "a.csv"], tmp_path, root=photos)
    store = _embed([tmp_path / "b.csv"], tmp_path, root=photos)
    assert sorted(store.images["species"]) == ["", "1", "2"]
    assert store.summary is not None
    assert (store.summary.n_kept, store.summary.n_embedded) == (2, 1)


@pytest.mark.usefixtures("loads")
def test_labels_that_are_none_are_named_and_emptied_on_demand(
    tmp_path: Path, write_pictures: Callable[..., Path]
) -> None:
    photos = write_pictures(4)
    (tmp_path / "a.csv").write_text(
        "path,species,country\n000.png,#N/A,NA\n001.png,?,NA\n002.png,#N/A,?\n003.png,x,-\n"
    )
    store = _embed([tmp_path / "a.csv"], tmp_path, root=photos)
    said = "3 rows have labels that look like none: #N/A 2, ? 1; to empty them, embed or import "
    assert any(str(note).startswith(said) for note in store.notes)
    assert any(str(note).startswith(said) for note in store.describe().notes)
    store = _embed([tmp_path / "a.csv"], tmp_path, root=photos, no_label="#n/a, ?")
    assert "3 rows had labels that --no-label empties: #N/A 2, ? 1" in map(str, store.notes)
    assert sorted(store.images["species"]) == ["", "", "", "x"]
    assert sorted(store.images["country"]) == ["-", "?", "NA", "NA"]
    assert store.describe().n_placeholders == 0


def test_imported_labels_that_are_none_are_named_and_emptied_on_demand() -> None:
    table = {"path": ["a", "b", "c"], "genus": ["Felis", "Felis", "TBD"], "species": ["?", "x", ""]}
    X = np.eye(3, dtype=np.float32)  # noqa: N806
    store = bp.from_vectors(X, table, model="plain")
    # A species that nobody is sure of is a genus with a qualifier.
    assert store.images["identification_qualifier"].fillna("").tolist() == ["?", "", ""]
    said = "1 rows have labels that look like none: TBD 1"
    assert any(str(note).startswith(said) for note in store.notes)
    store = bp.from_vectors(X, table, model="plain", no_label=["?", "tbd"])
    assert store.images["species"].tolist() == ["", "Felis x", ""]
    assert store.images["genus"].tolist() == ["Felis", "Felis", ""]


def _append(store: EmbeddingStore, frames: Sequence[pd.DataFrame]) -> EmbeddingStore:
    for frame in frames:
        store = store.append(frame, np.eye(len(frame), 16, dtype=np.float32))
    return EmbeddingStore.open(store.folder)


def _write(values: pd.Series[Any]) -> list[str]:
    return ["" if pd.isna(value) else str(value) for value in values]


def test_a_store_written_before_is_mended_as_far_as_its_data_allow(
    make_store: Callable[..., EmbeddingStore],
    encoder: PlainEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Shards as they were written before cells kept what was written.
    monkeypatch.setattr("bioprobe.store.shard.mark", lambda frame: frame)
    first = pd.DataFrame(
        {"path": ["a", "b"], "n": [1.0, np.nan], "m": [1, 2], "x": [1.5, np.nan], "k": [1.0, 2.0]}
    )
    second = pd.DataFrame({"path": ["c"], "n": ["7"], "m": [3.0], "x": [2.0], "k": [3.0]})
    third = pd.DataFrame({"path": ["d"], "n": [2.0], "x": [3.0], "k": [4.0]})
    store = _append(make_store(encoder), [first, second, third])
    assert {name: _write(store.images.frame[name]) for name in "nmxk"} == {
        "n": ["1", "", "7", "2"],
        "m": ["1", "2", "3", ""],
        "x": ["1.5", "", "2.0", "3.0"],
        "k": ["1.0", "2.0", "3.0", "4.0"],
    }


def test_a_store_written_now_is_not_mended(
    make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder
) -> None:
    rows: list[dict[str, list[object]]] = [
        {"path": ["a"], "x": [1.0]}, {"path": ["b"]}, {"path": ["c"], "x": ["2"]},
    ]  # fmt: skip
    store = _append(make_store(encoder), [pd.DataFrame(row) for row in rows])
    assert _write(store.images.frame["x"]) == ["1.0", "", "2"]
