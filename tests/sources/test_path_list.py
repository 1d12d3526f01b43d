from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from bioprobe.embedding import embed_images
from bioprobe.errors import SourceError
from bioprobe.images import ImageTable
from bioprobe.sources.files import parse_paths
from bioprobe.sources.source import SourceOptions, find_images
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Rank
from tests.conftest import PlainEncoder


def _find(
    monkeypatch: pytest.MonkeyPatch, data: bytes, options: SourceOptions | None = None
) -> ImageTable:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    return find_images([Path("-")], options)


@pytest.mark.parametrize(
    ("data", "paths"),
    [
        (b"", []),
        (b"\n \n\n", []),
        (b"a.jpg", ["a.jpg"]),
        (b"a.jpg\nb.jpg\n", ["a.jpg", "b.jpg"]),
        (b"a.jpg\r\n\r\nb.jpg\r\n", ["a.jpg", "b.jpg"]),
        (b"\xef\xbb\xbfa.jpg\n", ["a.jpg"]),
        (b" a, b.jpg\n", [" a, b.jpg"]),
        (b"a\nb.jpg\0c.jpg\0", ["a\nb.jpg", "c.jpg"]),
        (b"a.jpg\0", ["a.jpg"]),
        (b"caf\xe9.jpg\n", ["caf\udce9.jpg"]),
    ],
)
def test_paths_stand_on_lines_or_end_in_nul(data: bytes, paths: list[str]) -> None:
    assert parse_paths(data) == paths


def test_paths_of_a_list_start_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = _find(monkeypatch, b"x/a.jpg\n./b.jpg\n/e.jpg\nx/../b.jpg\n")
    assert set(table.frame["root"]) == {str(tmp_path)}
    assert table.file_names == ["x/a.jpg", "b.jpg", "/e.jpg"]


def test_a_root_and_labels_by_folder_hold_for_a_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = SourceOptions(root=tmp_path, folder_rank=Rank.SPECIES)
    table = _find(monkeypatch, b"panthera-leo/a.jpg\n", options)
    assert (table.frame["root"][0], table.file_names) == (str(tmp_path), ["panthera-leo/a.jpg"])
    assert table.labels(Rank.SPECIES).tolist() == ["Panthera leo"]


def test_an_empty_list_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match=r"on standard input is empty; .*find photos -name"):
        _find(monkeypatch, b"\n")


def test_a_terminal_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    main, side = os.openpty()
    with os.fdopen(main), os.fdopen(side) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        with pytest.raises(
            SourceError, match="which is a terminal; pipe one in: find photos -name"
        ):
            find_images([Path("-")])


def test_files_of_a_list_that_are_missing_fail_and_the_run_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    encoder: PlainEncoder,
    write_pictures: object,
) -> None:
    folder = write_pictures(2)  # type: ignore[operator]
    monkeypatch.chdir(folder)
    store = EmbeddingStore.open_for(tmp_path / "store", encoder)
    summary = embed_images(_find(monkeypatch, b"000.png\0none.png\0.\0001.png\0"), encoder, store)
    assert (summary.n_embedded, summary.n_failed) == (1, 3)


def test_thousands_of_files_are_listed_at_once(tmp_path: Path) -> None:
    files = [tmp_path / f"{number:04d}.jpg" for number in range(3000)]
    for file in files:
        file.touch()
    assert find_images(files).file_names == [file.name for file in files]
    assert len(find_images([tmp_path])) == 3000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", "x/a.jpg\n\nb.jpg\r\n"),
        ("list.TXT", "\ufeffx/a.jpg\nb.jpg"),
        ("list.json", '["x/a.jpg", "b.jpg", ""]'),
    ],
)
def test_a_list_in_a_file_starts_from_its_folder(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "b.jpg").touch()
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    table = find_images([tmp_path / name])
    assert set(table.frame["root"]) == {str(tmp_path)}
    assert table.file_names == ["x/a.jpg", "b.jpg"]


def test_a_list_whose_paths_start_from_the_current_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "a.jpg").touch()
    (tmp_path / "lists" / "list.txt").write_text("a.jpg\ngone.jpg\n")
    monkeypatch.chdir(tmp_path)
    table = find_images([Path("lists/list.txt")])
    assert set(table.frame["root"]) == {str(tmp_path)}
    (tmp_path / "lists" / "gone.jpg").touch()
    options = SourceOptions(root=Path("lists"), folder_rank=Rank.SPECIES)
    table = find_images([Path("lists/list.txt")], options)
    assert set(table.frame["root"]) == {str(tmp_path / "lists")}
    assert table.labels(Rank.SPECIES).tolist() == ["lists", "lists"]


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("a.json", b'{"images": []}', r"a\.json is no list of paths; of JSON an array of texts"),
        ("a.json", b'["a.jpg", 3]', "of JSON an array of texts is read"),
        ("a.json", b'["a.jpg"', "cannot be read as JSON"),
        ("a.json", b"[]", "names no path; write one a line, or a JSON array"),
        ("a.txt", b" \n", "names no path"),
        ("a.txt", b"Notes of\nthe trip\n", r"none of the 2 paths in .*; the first is 'Notes of'"),
        ("a.lst", b"a.jpg\n", r"a list of paths as \.txt, one a line, or \.json, an array"),
        ("a.numbers", b"PK", r"save a table as \.csv, \.tsv, \.parquet, \.xlsx or \.ods"),
        ("a.txt", b"\x89PNG\r\n\x1a\n\x00\x00\x01x", r"is no text; a file that ends in \.txt is"),
    ],
)
def test_what_is_no_list_is_told_what_is_read(
    tmp_path: Path, name: str, data: bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=problem):
        find_images([tmp_path / name])


def test_a_list_of_addresses_is_one(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.jpg").touch()
    urls = ["https://example.org/p/a.jpg", "https://example.org/q/b.jpg?size=1"]
    (tmp_path / "l.txt").write_text("\n".join(urls))
    listing = find_images([tmp_path / "l.txt"])
    assert listing.file_names == ["p/a.jpg", "b.jpg?size=1"]
    assert list(listing.reasons) == [urls[1]]
    assert "nothing is fetched unless asked" in listing.reasons[urls[1]]
    assert not find_images([tmp_path / "l.txt"], SourceOptions(fetches=True)).reasons


def test_paths_in_the_quotes_of_windows_are_read(tmp_path: Path) -> None:
    (tmp_path / "a b.jpg").touch()
    (tmp_path / "l.txt").write_text('"a b.jpg"\r\n')
    listing = find_images([tmp_path / "l.txt"])
    assert listing.file_names == ["a b.jpg"]
    assert not listing.reasons
