from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd
import pytest

from bioprobe.errors import SourceError, TaxonomyError
from bioprobe.images import ImageTable
from bioprobe.sources.source import IMAGE_SUFFIXES, SourceOptions, find_images
from bioprobe.taxonomy import Rank


def _touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def _locations(table: ImageTable) -> list[tuple[str, str]]:
    return list(zip(table.frame["root"], table.frame["path"], strict=True))


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_folder_is_listed_with_what_is_below_it(tmp_path: Path) -> None:
    _touch(tmp_path, "b.png", "a.jpg", "x/d.JPG", "x/y/c.tif", "notes.txt", "x/labels.csv")
    table = find_images([tmp_path])
    names = ["a.jpg", "b.png", "x/d.JPG", "x/y/c.tif"]
    assert _locations(table) == [(str(tmp_path), name) for name in names]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg", "._a.jpg", ".trash/b.jpg", "x/.hidden.jpg")
    assert find_images([tmp_path]).file_names == ["a.jpg"]


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_images_of_a_folder_are_known_by_their_endings(tmp_path: Path, suffix: str) -> None:
    _touch(tmp_path, f"a{suffix}", f"b{suffix.upper()}", f"c{suffix}.part")
    assert find_images([tmp_path]).file_names == [f"a{suffix}", f"b{suffix.upper()}"]


def test_a_file_is_taken_whatever_its_name(tmp_path: Path) -> None:
    _touch(tmp_path, "scan.data", "b.jpg")
    table = find_images([tmp_path / "scan.data", tmp_path / "b.jpg"])
    assert _locations(table) == [(str(tmp_path), "scan.data"), (str(tmp_path), "b.jpg")]


def test_paths_start_from_the_root_that_is_given(tmp_path: Path) -> None:
    _touch(tmp_path, "x/a.jpg")
    options = SourceOptions(root=tmp_path)
    assert _locations(find_images([tmp_path / "x" / "a.jpg"], options)) == [
        (str(tmp_path), "x/a.jpg")
    ]


def test_a_relative_folder_is_stored_with_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _touch(tmp_path, "x/a.jpg")
    monkeypatch.chdir(tmp_path)
    assert _locations(find_images([Path("x")])) == [(str(tmp_path / "x"), "a.jpg")]
    assert _locations(find_images([Path("x/../x/a.jpg")])) == [(str(tmp_path / "x"), "a.jpg")]


def test_a_link_keeps_its_name(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "link.jpg").symlink_to(tmp_path / "a.jpg")
    assert find_images([tmp_path / "x"]).file_names == ["link.jpg"]


def test_an_image_named_twice_is_listed_once_whatever_the_order(tmp_path: Path) -> None:
    _touch(tmp_path, "x/a.jpg", "x/b.jpg")
    table = _write(tmp_path / "t.csv", "path,family\nx/a.jpg,Felidae\n./x/a.jpg,Canidae\n")
    sources = [table, tmp_path, tmp_path / "x", tmp_path / "x" / "b.jpg"]
    for ordered in itertools.permutations(sources):
        listed = find_images(ordered)
        # What contradicts in one table is two observations of the picture.
        assert sorted(_locations(listed)) == [(str(tmp_path), f"x/{n}.jpg") for n in "aab"]
        rows = listed.frame[["path", "image_region", "family"]].itertuples(index=False, name=None)
        expected = {("x/a.jpg", "", "Felidae"), ("x/a.jpg", "#2", "Canidae"), ("x/b.jpg", "", "")}
        assert set(rows) == expected
        (said,) = listed.notes
        assert str(said).startswith(f"1 rows of {table} say something else of a picture")


@pytest.mark.parametrize("rank", [Rank.SPECIES, Rank.FAMILY])
def test_the_name_of_the_folder_can_be_the_label(tmp_path: Path, rank: Rank) -> None:
    _touch(tmp_path, "p/panthera-leo/a.jpg", "p/panthera-leo/b.jpg", "p/Felidae/c.jpg")
    unlabelled = find_images([tmp_path])
    assert set(unlabelled.labels(rank)) == {""}
    labelled = find_images([tmp_path], SourceOptions(folder_rank=rank))
    name = "Panthera leo" if rank is Rank.SPECIES else "panthera-leo"
    assert labelled.labels(rank).tolist() == ["Felidae", name, name]


def test_a_table_names_files_relative_to_its_own_folder(tmp_path: Path) -> None:
    table = _write(
        tmp_path / "t.csv", f"path\na.jpg\nx/b.jpg\n../c.jpg\n{tmp_path}/d.jpg\n/e.jpg\n"
    )
    outside = str(tmp_path.parent / "c.jpg")
    names = ["a.jpg", "x/b.jpg", outside, "d.jpg", "/e.jpg"]
    assert _locations(find_images([table])) == [(str(tmp_path), name) for name in names]


def test_a_table_names_files_relative_to_the_root_that_is_given(tmp_path: Path) -> None:
    table = _write(tmp_path / "meta" / "t.csv", "path\na.jpg\n")
    listed = find_images([table], SourceOptions(root=tmp_path / "photos"))
    assert _locations(listed) == [(str(tmp_path / "photos"), "a.jpg")]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".pq"])
def test_every_kind_of_table_is_listed(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame({"path": ["a.jpg"], "family": ["Felidae"], "site": [7]})
    path = tmp_path / f"t{suffix}"
    if suffix in {".csv", ".tsv"}:
        frame.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    else:
        frame.to_parquet(path)
    (row,) = find_images([path]).frame.to_dict("records")
    assert (row["path"], row["family"], row["site"]) == ("a.jpg", "Felidae", 7)


@pytest.mark.parametrize(
    ("header", "column"),
    [
        ("path,file_name", "path"),
        ("file_name,image", "file_name"),
        ("File Path,x", "File Path"),
        ("x,filename", "filename"),
    ],
)
def test_the_column_of_paths_is_found(tmp_path: Path, header: str, column: str) -> None:
    cells = [f"{name}.jpg" for name in header.replace(" ", "").split(",")]
    table = _write(tmp_path / "t.csv", f"{header}\n{','.join(cells)}\n")
    assert find_images([table]).file_names == [f"{column.replace(' ', '')}.jpg"]


def test_the_column_of_paths_can_be_named(tmp_path: Path) -> None:
    table = _write(tmp_path / "t.csv", "path,local\na.jpg,b.jpg\n")
    listed = find_images([table], SourceOptions(path_column="local"))
    assert listed.file_names == ["b.jpg"]
    # The table's own column of that name stays under another.
    assert listed.frame["source_path"].tolist() == ["a.jpg"]


def test_columns_that_hold_a_rank_can_be_named(tmp_path: Path) -> None:
    table = _write(tmp_path / "t.csv", "path,class,class_rank\na.jpg,panthera-leo,Mammalia\n")
    options = SourceOptions(rank_columns={Rank.SPECIES: "class", Rank.CLASS: "class_rank"})
    (row,) = find_images([table], options).frame.to_dict("records")
    assert (row["species"], row["class"], row["genus"]) == ("Panthera leo", "Mammalia", "Panthera")


def test_a_class_column_alone_stays_without_meaning(tmp_path: Path) -> None:
    (row,) = find_images([_write(tmp_path / "t.csv", "path,class\na.jpg,cat\n")]).frame.to_dict(
        "records"
    )
    assert (row["class"], row["source_class"]) == ("", "cat")


def test_free_columns_are_kept_with_their_types(tmp_path: Path) -> None:
    table = _write(tmp_path / "t.csv", "path,n,share,seen,code,note\na.jpg,3,0.5,True,007,x\n")
    listed = find_images([table])
    assert listed.free_columns == ["n", "share", "seen", "code", "note"]
    (row,) = listed.frame.to_dict("records")
    assert (row["n"], row["share"], row["seen"], row["code"]) == (3, 0.5, True, "007")


def test_tables_whose_columns_differ_in_type_are_joined(tmp_path: Path) -> None:
    first = _write(tmp_path / "a.csv", "path,site\na.jpg,3\n")
    second = _write(tmp_path / "b.csv", "path,site\nb.jpg,south\n")
    assert find_images([first, second]).frame["site"].tolist() == ["3", "south"]


def test_a_table_without_rows_lists_nothing(tmp_path: Path) -> None:
    assert len(find_images([_write(tmp_path / "t.csv", "path,family\n")])) == 0


@pytest.mark.parametrize(
    ("text", "options", "problem"),
    [
        ("a,b\n1,2\n", SourceOptions(), "no column of paths among a, b; name it with --path-col"),
        ("path\na.jpg\n", SourceOptions(path_column="x"), "has no column 'x'; it has path"),
        ("path,n\n  ,2\n", SourceOptions(), "line 2: no path in column 'path'"),
    ],
)
def test_a_table_without_paths_is_refused(
    tmp_path: Path, text: str, options: SourceOptions, problem: str
) -> None:
    with pytest.raises(SourceError, match=problem):
        find_images([_write(tmp_path / "t.csv", text)], options)


def test_a_rank_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    table = _write(tmp_path / "t.csv", "path\na.jpg\n")
    with pytest.raises(TaxonomyError, match="no column 'x' for species; the table has path"):
        find_images([table], SourceOptions(rank_columns={Rank.SPECIES: "x"}))


def test_no_source_is_refused() -> None:
    with pytest.raises(SourceError, match="no source of images was given; name a folder"):
        find_images([])


def test_a_missing_source_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no file or folder at .*none"):
        find_images([tmp_path / "none"])
    with pytest.raises(SourceError, match=r"no table at .*none\.csv"):
        find_images([tmp_path / "none.csv"])


def test_a_folder_without_images_is_refused_with_the_kinds_looked_for(tmp_path: Path) -> None:
    _touch(tmp_path, "notes.txt")
    with pytest.raises(
        SourceError, match=r"holds no image; files that end in .*\.jpg.* are looked"
    ):
        find_images([tmp_path])
