from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bioprobe.errors import SelectionError, SourceError
from bioprobe.images import ImageTable
from bioprobe.images.image_table import COLUMNS, concatenate
from bioprobe.taxonomy import Rank


def _build(**columns: list[object]) -> ImageTable:
    return ImageTable.build(pd.DataFrame(columns))


def test_missing_columns_are_completed() -> None:
    table = _build(path=["a.jpg", "b.jpg"], family=["Felidae", None], site=["north", "south"])
    assert list(table.frame.columns) == [*COLUMNS, "site"]
    row = table.frame.iloc[1].to_dict()
    assert (row["n_bytes"], row["width_px"], row["sha256"], row["family"]) == (0, 0, "", "")
    assert table.labels(Rank.FAMILY).tolist() == ["Felidae", ""]
    assert table.free_columns == ["site"]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_its_length_is_the_number_of_images(n: int) -> None:
    table = _build(path=[f"{i}.jpg" for i in range(n)])
    assert len(table) == n
    assert table.file_names == [f"{i}.jpg" for i in range(n)]


def test_a_table_without_the_columns_is_refused() -> None:
    with pytest.raises(
        SourceError, match="an image table lacks the columns root, image_region, sha256"
    ):
        ImageTable(pd.DataFrame({"path": ["a.jpg"]}))


def test_the_table_given_stays_as_it_was() -> None:
    frame = pd.DataFrame({"family": ["Felidae", None]}, index=[4, 7])
    ImageTable.build(frame)
    assert list(frame.columns) == ["family"]
    assert list(frame.index) == [4, 7]


def test_a_file_lies_below_its_root() -> None:
    table = _build(root=["/data", "/data"], path=["x/a.jpg", "/else/b.jpg"])
    assert [table.find_file(row) for row in (0, 1)] == [
        Path("/data/x/a.jpg"),
        Path("/else/b.jpg"),
    ]


def test_a_column_of_several_types_is_made_text(tmp_path: Path) -> None:
    table = _build(path=["a", "b", "c"], site=[3, "south", None], n=[1, 2, 3])
    table.frame.to_parquet(tmp_path / "table.parquet")
    again = pd.read_parquet(tmp_path / "table.parquet")
    assert again["site"].tolist()[:2] == ["3", "south"]
    assert again["site"].isna().tolist() == [False, False, True]
    assert again["n"].tolist() == [1, 2, 3]


def test_the_taxa_are_those_of_the_labels() -> None:
    table = _build(family=["Felidae", "Felidae", ""], species=["Panthera leo", "", ""])
    assert {taxon.name for taxon in table.taxa} == {"Panthera leo", "Felidae"}


TABLE = {
    "path": ["a.jpg", "b.jpg", "c.jpg"],
    "family": ["Felidae", "Canidae", "Felidae"],
    "class": ["Mammalia", "Mammalia", ""],
    "width_px": [100, 600, 700],
    "is_blank": [True, False, True],
    "my site": ["x", "y", "y"],
}


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("family == 'Felidae'", [0, 2]),
        ("family == 'Felidae' and width_px > 500", [2]),
        ("family == 'Ursidae'", []),
        ("family in ['Felidae', 'Canidae']", [0, 1, 2]),
        ("is_blank", [0, 2]),
        ("not is_blank", [1]),
        ("`class` == ''", [2]),
        ("`my site` == 'y'", [1, 2]),
        ("path.str.startswith('a')", [0]),
    ],
)
def test_rows_that_meet_a_condition_are_found(condition: str, rows: list[int]) -> None:
    matched = _build(**TABLE).match(condition)  # type: ignore[arg-type]
    assert matched.tolist() == rows
    assert matched.dtype == "int64"


def test_a_column_with_holes_can_be_asked_for() -> None:
    table = _build(path=["a", "b"], count=[3, None], seen=[True, None])
    assert table.match("count == 3").tolist() == [0]
    assert table.match("seen == True").tolist() == [0]


@pytest.mark.parametrize("condition", ["famly == 'x'", "family ==", "class =="])
def test_a_condition_that_cannot_be_read_is_refused_with_the_columns(condition: str) -> None:
    expected = r"cannot be applied \(.*\); columns: .*path.*`class`, order.*is_blank, `my site`"
    with pytest.raises(SelectionError, match=expected):
        _build(**TABLE).match(condition)  # type: ignore[arg-type]


@pytest.mark.parametrize("condition", ["family", "width_px + 1", "True", "x = 3"])
def test_a_condition_that_is_not_true_or_false_is_refused(condition: str) -> None:
    with pytest.raises(SelectionError, match="is not true or false for each image"):
        _build(**TABLE).match(condition)  # type: ignore[arg-type]


def test_joined_tables_keep_the_columns_of_each() -> None:
    first, second = pd.DataFrame({"path": ["a"], "x": ["1"]}), pd.DataFrame({"path": ["b"]})
    joined = concatenate([first, second])
    assert joined["path"].tolist() == ["a", "b"]
    assert joined["x"].isna().tolist() == [False, True]
    assert concatenate([second.set_axis([5])]).index.tolist() == [0]


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("class == 'Aves'", [1]),
        ("`class` == 'Aves'", [1]),
        ("note == 'a class apart'", [0]),
        ("class != 'Aves' and note == \"class\"", [2]),
    ],
)
def test_class_is_the_rank_in_a_condition(condition: str, rows: list[int]) -> None:
    frame = pd.DataFrame(
        {"class": ["Mammalia", "Aves", ""], "note": ["a class apart", "class", "class"]}
    )
    assert ImageTable.build(frame).match(condition).tolist() == rows


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        ([1, 2], [3], ["1", "2", "3"]),
        ([1, 2], None, ["1", "2", None]),
        ([20240513123045001], None, ["20240513123045001", None]),
        ([1], [1.5], ["1", "1.5"]),
        ([1], ["007"], ["1", "007"]),
        ([1], [None], ["1", None]),
        ([1.0], [None], ["1.0", None]),
        ([True], [None], ["True", None]),
        ([True], [1], ["True", "1"]),
        (["a"], None, ["a", None]),
    ],
)
def test_cells_of_joined_tables_keep_what_was_written(
    first: list[object], second: list[object] | None, joined: list[str | None]
) -> None:
    one = pd.DataFrame({"path": ["x"] * len(first), "c": first})
    columns = {"path": ["y"] * len(second or "y")} | ({"c": second} if second else {})
    for tables in ([one, pd.DataFrame(columns)], [pd.DataFrame(columns), one]):
        cells = concatenate(tables)["c"]
        texts = [None if pd.isna(cell) else str(cell) for cell in cells]
        assert sorted(texts, key=str) == sorted(joined, key=str)


def test_labels_stand_in_one_form_and_other_columns_as_they_were() -> None:
    names: list[object] = [
        "Gonepteryx mu\u0308lleri",
        "Gonepteryx m\u00fclleri ",
        "Gonepteryx\u200b m\u00fclleri",
    ]
    table = _build(path=["a", "b", "c"], species=names, note=names)
    assert set(table.labels(Rank.SPECIES)) == {"Gonepteryx m\u00fclleri"}
    assert table.frame["note"].tolist() == names
    assert table.match("note == 'Gonepteryx mu\u0308lleri'").tolist() == [0, 1, 2]


def test_rows_are_found_by_the_paths_of_their_files() -> None:
    places = [("/a", "b/c.jpg"), ("/a/b", "c.jpg"), ("", "/a/b/c.jpg"), ("/z", "c.jpg"),
              ("/a/b/", "c.jpg"), ("/a", "b/d.jpg")]  # fmt: skip
    table = ImageTable.build(pd.DataFrame(places, columns=["root", "path"]))
    assert table.find_rows(["/a/b/c.jpg"]).tolist() == [0, 1, 2, 4]
    assert table.find_rows(["/z/c.jpg", "/a/b/d.jpg", "c.jpg"]).tolist() == [3, 5]
    assert table.find_rows([]).tolist() == []
