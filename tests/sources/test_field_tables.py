"""Tables in the shapes that people's files have, and which pictures their rows are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bioprobe.errors import SourceError
from bioprobe.images import ImageTable
from bioprobe.images.location import read_image_bytes
from bioprobe.sources.listing import Listing, join
from bioprobe.sources.lookup import read_address
from bioprobe.sources.source import SourceOptions, describe_source, find_images
from bioprobe.tables import TableOptions


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def _list(folder: Path, text: str, name: str = "t.csv", **options: object) -> Listing:
    (folder / name).write_text(text, encoding="utf-8")
    return find_images([folder / name], SourceOptions(**options))  # type: ignore[arg-type]


def _said(listing: Listing) -> str:
    return "\n".join(map(str, listing.notes))


def _values(listing: ImageTable, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in listing.frame[list(names)].itertuples(index=False)]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["excel_de.csv", "windows_paths.csv", "table.xlsx",
                                  "any_label.csv"])  # fmt: skip
def test_a_field_file_is_of_eight_pictures(shared_dir: Path, name: str) -> None:
    listing = find_images([shared_dir / "data" / "field-files" / name])
    assert listing.file_names == [f"pictures/IMG_000{number}.JPG" for number in range(8)]
    assert not listing.reasons
    if name == "excel_de.csv":
        assert listing.frame["Höhe"].tolist() == [0.5 + number for number in range(8)]
        assert set(listing.labels("family")) == {"Felidae", "Cervidae", "Turdidae", "Ursidae"}
        assert listing.frame["common_name"][0] == "Tiger"
        assert "semicolons between cells" in _said(listing)
    elif name == "any_label.csv":
        assert listing.free_columns == ["label", "threatened", "life_stage", "individual"]
    else:
        assert listing.labels("species")[0] == "Panthera tigris"


@pytest.mark.shared
def test_field_files_of_addresses_and_of_two_animals(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "field-files"
    listing = find_images([folder / "urls.csv"])
    (reason,) = listing.reasons.values()
    assert reason.startswith("an address, and nothing is fetched unless asked")
    places = [("https://127.0.0.1:9", "none.jpg"), (str(folder), "pictures/IMG_0000.JPG")]
    assert _values(listing, "root", "path") == places
    listing = find_images([folder / "wildlife_insights" / "images.csv"], SourceOptions(root=folder))
    assert sorted(set(listing.file_names)) == [f"pictures/IMG_000{n}.JPG" for n in range(8)]
    assert not listing.reasons
    twice = listing.frame[listing.frame["path"] == "pictures/IMG_0005.JPG"]
    assert twice[["species", "image_region"]].to_numpy().tolist() == [
        ["Turdus migratorius", ""], ["Canis lupus", "#2"],
    ]  # fmt: skip


@pytest.mark.shared
def test_a_row_with_a_cell_too_many_is_named(shared_dir: Path) -> None:
    with pytest.raises(SourceError, match="line 2 has 3 cells, the header 2"):
        find_images([shared_dir / "data" / "bug-cases" / "list-files" / "long_row.csv"])


@pytest.mark.parametrize(
    ("header", "rows", "names"),
    [
        ("File,RelativePath", ["1.JPG,CAM1\\100", "1.JPG,CAM2"], ["CAM1/100/1.JPG", "CAM2/1.JPG"]),
        ("folder,filename", ["CAM1/100,1.JPG", "./CAM2/,1.JPG"], ["CAM1/100/1.JPG", "CAM2/1.JPG"]),
        ("path,filename", ["CAM1/100,1.JPG", "CAM2,1.JPG"], ["CAM1/100/1.JPG", "CAM2/1.JPG"]),
        ("folder,filename", ["D:\\cards\\CAM1\\100,1.JPG"], ["CAM1/100/1.JPG"]),
        ("path,n", ["D:\\cards\\CAM2\\1.JPG,1", "\\\\nas\\x\\3.JPG,2"], ["CAM2/1.JPG", "3.JPG"]),
        ("path,n", ["file:///E:/x/CAM2/1.JPG,1"], ["CAM2/1.JPG"]),
        ("image_url,n", ["https://h/CAM2/1.JPG?w=3,1", "gs://b/3.JPG,2"], ["CAM2/1.JPG", "3.JPG"]),
        ("filename,location", ["4.JPG,gs://b/x/CAM2/4.JPG"], ["CAM2/4.JPG"]),
        ("Bild,n", ["CAM2/1.JPG,1"], ["CAM2/1.JPG"]),
        ("identifier,location", ["CAM2/1.JPG,here", "3.JPG,there"], ["CAM2/1.JPG", "3.JPG"]),
    ],
)
def test_the_files_that_columns_name_together_are_found(
    tmp_path: Path, header: str, rows: list[str], names: list[str]
) -> None:
    _touch(tmp_path, "CAM1/100/1.JPG", "CAM2/1.JPG", "1.JPG", "3.JPG", "CAM2/4.JPG", "z/y/4.JPG")
    listing = _list(tmp_path, "\n".join([header, *rows]))
    assert listing.file_names == names
    assert not listing.reasons


def test_a_column_that_only_looks_like_one_of_folders_is_left_alone(tmp_path: Path) -> None:
    _touch(tmp_path, "1.JPG", "2.JPG")
    listing = _list(tmp_path, "folder,filename\nFelidae,1.JPG\nFelidae,2.JPG\n")
    assert listing.file_names == ["1.JPG", "2.JPG"]
    # Where no file is there, those of several folders stay apart.
    listing = _list(tmp_path, "folder,filename\nA,9.JPG\nB,9.JPG\n")
    assert listing.file_names == ["A/9.JPG", "B/9.JPG"]
    assert len(listing.reasons) == 2
    listing = _list(tmp_path, "File,RelativePath\n1.JPG,gone\n")
    assert list(listing.reasons) == [str(tmp_path / "gone/1.JPG")]


def test_a_folder_and_a_file_can_be_named(tmp_path: Path) -> None:
    _touch(tmp_path, "A/1.JPG", "B/1.JPG")
    text = "site,pic,path\nA,1.JPG,x.jpg\nB,1.JPG,x.jpg\n"
    assert _list(tmp_path, text, path_column="site/pic").file_names == ["A/1.JPG", "B/1.JPG"]
    with pytest.raises(SourceError, match="has no column 'site/x'; it has site, pic, path"):
        _list(tmp_path, text, path_column="site/x")


def test_addresses_that_end_alike_take_no_picture_of_another_folder(tmp_path: Path) -> None:
    _touch(tmp_path, "CAM1/1.JPG", "medium.jpg")
    addresses = ("gs://b/CAM1/1.JPG", "gs://b/CAM2/1.JPG", "https://h/7/medium.jpg",
                 "https://h/8/medium.jpg")  # fmt: skip
    listing = _list(tmp_path, "\n".join(["url", *addresses]))
    assert [join(*place) for place in _values(listing, "root", "path")] == [
        str(tmp_path / "CAM1/1.JPG"), *addresses[1:],
    ]  # fmt: skip
    assert "3 of 4 rows of" in _said(listing)
    assert "name addresses, not files (gs://b/CAM2/1.JPG, " in _said(listing)
    assert read_address("file://localhost/a%20b") == "/a b"


def test_addresses_that_are_fetched_afterwards_are_not_lost(tmp_path: Path) -> None:
    _touch(tmp_path, "here.jpg")
    text = "image_url\nhttps://h/x/a.jpg\nhttps://h/here.jpg\ngone.jpg\n"
    listing = _list(tmp_path, text, fetches=True)
    assert _values(listing, "root", "path") == [
        ("https://h/x", "a.jpg"), (str(tmp_path), "here.jpg"), (str(tmp_path), "gone.jpg"),
    ]  # fmt: skip
    assert list(listing.reasons) == [str(tmp_path / "gone.jpg")]
    assert "nothing is fetched" not in _said(listing)


@pytest.mark.parametrize("cell", ["a.jpg|b.jpg", "a.jpg; b.jpg", '"a.jpg, b.jpg"', "a.jpg | b.jpg"])
def test_several_pictures_of_a_cell_are_rows(tmp_path: Path, cell: str) -> None:
    _touch(tmp_path, "a.jpg", "b.jpg", "c, d.jpg", "e.jpg,f.jpg")
    text = f'associatedMedia,n\n{cell},1\n"c, d.jpg",2\n"e.jpg,f.jpg",3\n'
    listing = _list(tmp_path, text)
    assert _values(listing, "path", "n") == [
        ("a.jpg", 1), ("b.jpg", 1), ("c, d.jpg", 2), ("e.jpg,f.jpg", 3),
    ]  # fmt: skip
    assert f"1 cells of {tmp_path / 't.csv'} name several pictures" in _said(listing)


def test_rows_of_one_picture_are_one_only_where_they_fit(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg", "b.jpg")
    rows = ["a.jpg,Felidae,,1,", "a.jpg,,,1,x", "a.jpg,Felidae,Panthera leo,,x",
            "a.jpg,Canidae,Canis lupus,1,x", "a.jpg,Felidae,Panthera leo,2,x",
            "a.jpg,Canidae,Canis lupus,1,x", "b.jpg,,,,"]  # fmt: skip
    listing = _list(tmp_path, "\n".join(["path,family,species,count,region", *rows]))
    names = ("path", "image_region", "species", "count", "region")
    assert [tuple(map(str, row)) for row in _values(listing, *names)][:3] == [
        ("a.jpg", "", "Panthera leo", "1", "x"),
        ("a.jpg", "#2", "Canis lupus", "1", "x"),
        ("a.jpg", "#3", "Panthera leo", "2", "x"),
    ]
    assert len(listing) == 4
    assert "3 rows of" in _said(listing)
    both = find_images([tmp_path, tmp_path / "t.csv"], SourceOptions(folder_label="place"))
    assert both.frame["place"].tolist().count(tmp_path.name) == 4


def test_rows_without_a_path_are_failures_and_empty_ones_are_counted(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg")
    listing = _list(tmp_path, 'path;n;note\na.jpg;1;"x\ny"\n;2;\n;;\n')
    assert listing.file_names == ["a.jpg"]
    assert listing.unread == ((str(tmp_path), "t.csv line 4", "no path in column 'path'"),)
    assert "1 rows of" in _said(listing)
    assert "have no path in column 'path' (line 4)" in _said(listing)


def test_a_text_file_is_a_table_where_its_header_says_so(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg")
    for text in (
        "path\tspecies\na.jpg\tPuma concolor\n",
        "sep=;\npath;species\na.jpg;Puma concolor\n",
    ):
        assert _values(_list(tmp_path, text, "t.txt"), "path", "species") == [
            ("a.jpg", "Puma concolor")
        ]
    assert _list(tmp_path, "a.jpg\n", "t.txt").file_names == ["a.jpg"]
    assert _list(tmp_path, "path\na.jpg\n", "t.txt").file_names == ["a.jpg"]


def test_what_is_said_of_a_table_overrules(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg")
    text = "path;h,k\na.jpg;1,234\n"
    assert _list(tmp_path, text).frame["h,k"].tolist() == ["1,234"]
    listing = _list(tmp_path, text, written=TableOptions(decimal=","))
    assert listing.frame["h,k"].tolist() == [1.234]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_pictures_that_are_saved_as_paths_are_these(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "x").mkdir()
    for name in ("x/a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    cells = [{"bytes": None, "path": "x/a.jpg"}, {"bytes": None, "path": str(tmp_path / "b.jpg")}]
    frame = pd.DataFrame({"image": cells, "n": [1, 2]})
    source = tmp_path / f"t{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(source)
    elif suffix == ".jsonl":
        frame.to_json(source, orient="records", lines=True)
    else:
        frame.to_csv(source, index=False)
    listing = find_images([source])
    read = [read_image_bytes(*place) for place in _values(listing, "root", "path")]
    assert read == [b"x/a.jpg", b"b.jpg"]
    assert not listing.reasons
    if suffix == ".parquet":
        shutil.move(source, tmp_path / "x" / "t.parquet")
        moved = find_images([tmp_path / "x" / "t.parquet"])
        assert len(moved) == 2


@pytest.mark.parametrize("cell", ["a.jpg\nb.jpg", '[""a.jpg"", ""b.jpg""]'])
def test_pictures_of_a_cell_may_stand_in_lines_or_as_a_list(tmp_path: Path, cell: str) -> None:
    _touch(tmp_path, "a.jpg", "b.jpg")
    listing = _list(tmp_path, f'path,species\n"{cell}",Alces alces\n')
    assert listing.file_names == ["a.jpg", "b.jpg"]
    assert not listing.reasons


def test_what_stands_above_a_header_is_left_out_and_said(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg", "b.jpg")
    rows = "a.jpg;Alces alces;1,5\nb.jpg;Alces alces;2,5\n"
    for title in ("Survey; 2021\nby me\n\n", "Survey;;\nby me;;\n;;\n"):
        listing = _list(tmp_path, f"{title}File name;Species;h\n{rows}")
        assert listing.file_names == ["a.jpg", "b.jpg"]
        assert listing.frame["h"].tolist() == [1.5, 2.5]
        assert "header is taken to be row 4" in _said(listing)
    book = tmp_path / "t.xlsx"
    cells = [["Survey", None], [None, None], ["File name", "Species"], ["a.jpg", "Alces alces"]]
    pd.DataFrame(cells).to_excel(book, index=False, header=False)
    listing = find_images([book])
    assert listing.file_names == ["a.jpg"]
    assert listing.labels("species") == ["Alces alces"]
    assert "header is taken to be row 3" in _said(listing)


def test_a_table_without_a_header_loses_no_picture(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg", "b.jpg")
    with pytest.raises(SourceError, match=r"'a\.jpg', so that there is no header"):
        _list(tmp_path, "a.jpg,Alces alces\nb.jpg,Alces alces\n")


def test_texts_that_windows_calls_unicode_are_tables_or_lists(tmp_path: Path) -> None:
    _touch(tmp_path, "p/a.jpg", "p/b.jpg")
    table = "Dateiname\tArt\r\np/a.jpg\tElch\r\np/b.jpg\tElch\r\n"
    for name, text in (("t.txt", table), ("l.txt", "p\\a.jpg\r\np\\b.jpg\r\n")):
        (tmp_path / name).write_text(text, encoding="utf-16", newline="")
        listing = find_images([tmp_path / name])
        assert listing.file_names == ["p/a.jpg", "p/b.jpg"]
        assert not listing.reasons


@pytest.mark.parametrize("kind", ["csv", "jsonl", "ndjson", "xlsx"])
def test_each_kind_of_table_is_shown(tmp_path: Path, kind: str) -> None:
    _touch(tmp_path, "a.jpg")
    frame, table = pd.DataFrame({"path": ["a.jpg"]}), tmp_path / f"t.{kind}"
    if kind == "xlsx":
        frame.to_excel(table, index=False)
    elif kind == "csv":
        frame.to_csv(table, index=False)
    else:
        frame.to_json(table, orient="records", lines=True)
    assert describe_source(table, SourceOptions(), n_shown=1).provenance["kind"] == kind


def test_a_table_and_a_zip_of_nothing_say_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"t\.csv cannot be read as a table: it is empty"):
        _list(tmp_path, "\n \n")
    (tmp_path / "e.zip").write_bytes(b"PK\5\6" + bytes(18))
    with pytest.raises(SourceError, match=r"e\.zip holds no picture that can be read"):
        find_images([tmp_path / "e.zip"])


def test_columns_under_the_names_of_their_groups_are_read(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg")
    listing = _list(tmp_path, "Picture,Taxon,\nfile,genus,species\na.jpg,Alces,alces\n")
    assert listing.labels("species") == ["Alces alces"]
    assert "header is taken to be row 2" in _said(listing)
    # A row is no header because it is wider.
    listing = _list(tmp_path, "file,species,\na.jpg,Alces alces,image\n", "u.csv")
    assert listing.file_names == ["a.jpg"]


def test_what_is_merged_over_rows_of_a_sheet_stands_in_each(tmp_path: Path) -> None:
    xlsxwriter = pytest.importorskip("xlsxwriter")
    _touch(tmp_path, "a.jpg", "b.jpg")
    with xlsxwriter.Workbook(tmp_path / "t.xlsx") as book:
        sheet = book.add_worksheet()
        sheet.merge_range("A1:A2", "file")
        sheet.merge_range("B1:C1", "Taxon")
        sheet.write_row("B2", ["genus", "species"])
        sheet.write_column("A3", ["a.jpg", "b.jpg"])
        sheet.merge_range("B3:B4", "Alces")
        sheet.merge_range("C3:C4", "alces")
    assert list(find_images([tmp_path / "t.xlsx"]).labels("species")) == ["Alces alces"] * 2


def test_a_name_that_a_header_has_twice_is_said(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg")
    listing = _list(tmp_path, "file,species,species\na.jpg,Alces alces,Panthera leo\n")
    assert listing.labels("species") == ["Alces alces"]
    assert "its header has species several times" in _said(listing)
    frame = pd.DataFrame([["file", "n", "n"], ["a.jpg", 1, 2]])
    frame.to_excel(tmp_path / "t.xlsx", index=False, header=False)
    assert "its header has n several times" in _said(find_images([tmp_path / "t.xlsx"]))
