from __future__ import annotations

import errno
import itertools
import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.errors import SourceError
from bioprobe.sources.listing import Listing
from bioprobe.sources.source import SourceOptions, find_images
from bioprobe.taxonomy import Rank

Rows = list[dict[str, object]]

NFC, NFD = (unicodedata.normalize(form, "Rüsselkäfer.jpg") for form in ("NFC", "NFD"))


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def _list(folder: Path, rows: Sequence[Mapping[str, object]], **options: Path) -> Listing:
    folder.mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "t.csv", index=False)
    return find_images([folder / "t.csv"], SourceOptions(**options))  # type: ignore[arg-type]


def _get_files(listing: Listing) -> list[str]:
    places = zip(listing.frame["root"], listing.frame["path"], strict=True)
    return [os.path.join(*place) for place in places]  # noqa: PTH118


def _said(listing: Listing) -> str:
    return "\n".join(map(str, listing.notes))


def test_a_file_is_found_by_its_name_and_the_columns_that_name_its_folders(tmp_path: Path) -> None:
    stations, numbers = ("A1", "B2", "C3"), range(45)
    rows = [
        {"Station": station, "File": f"IMG_{number:04d}.JPG", "n": number % 3, "Species": "deer"}
        for station in stations
        for number in numbers
    ]
    folders = dict(zip(stations, ("100RECNX", "101RECNX", "100RECNX"), strict=True))
    files = [str(tmp_path / row["Station"] / folders[row["Station"]] / row["File"])  # type: ignore[index, operator]
             for row in rows]  # fmt: skip
    _touch(tmp_path, *(os.path.relpath(file, tmp_path) for file in files), "0/x.txt", "1/x.txt")
    listing = _list(tmp_path, rows)
    assert _get_files(listing) == files
    assert listing.frame["Station"].tolist() == [row["Station"] for row in rows]
    assert not listing.reasons
    assert f"135 files of {tmp_path / 't.csv'} found below {tmp_path} by name and Station" in _said(
        listing
    )


def test_rows_whose_folder_is_not_there_take_no_other_picture(tmp_path: Path) -> None:
    _touch(tmp_path, "A/100/1.JPG", "B/100/1.JPG")
    rows = [{"Station": station, "File": "1.JPG"} for station in "ABC"]
    listing = _list(tmp_path, rows)
    found = {str(tmp_path / f"{station}/100/1.JPG") for station in "AB"}
    assert set(_get_files(listing)) == found | {str(tmp_path / "1.JPG")}
    (reason,) = listing.reasons.values()
    assert reason.startswith("no such file or directory; a file of that name: ")


def test_numbers_are_folders_only_where_all_of_them_are(tmp_path: Path) -> None:
    # Two animals are no reason to take the picture of station 2.
    _touch(tmp_path, *(f"{station}/100/1.JPG" for station in range(1, 10)))
    listing = _list(tmp_path, [{"File": "1.JPG", "n_animals": number} for number in (1, 2)])
    (reason,) = listing.reasons.values()
    assert reason.startswith("several files could be meant: ")
    listing = _list(tmp_path, [{"File": "1.JPG", "n": 2, "site": site} for site in range(1, 10)])
    assert _get_files(listing) == [str(tmp_path / f"{n}/100/1.JPG") for n in range(1, 10)]


def test_random_layouts_are_found_again_or_said_to_be_ambiguous(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(20):
        base = tmp_path / str(number)
        files = {
            (f"S{random.integers(3)}", f"{random.integers(2)}00RECNX", f"{random.integers(4)}.JPG")
            for _ in range(12)
        }
        _touch(base, *map("/".join, files))
        rows = [
            {"Station": one[0], "File": one[2], "right": "/".join(one)} for one in sorted(files)
        ]
        listing = _list(base, rows)
        n_alike = {(one[0], one[2]): 0 for one in files}
        for one in files:
            n_alike[one[0], one[2]] += 1
        found = dict(zip(listing.frame["right"], _get_files(listing), strict=True))
        for one in files:
            right = "/".join(one)
            if n_alike[one[0], one[2]] == 1:
                assert found[right] == str(base / right)
            else:
                assert found.get(right) != str(base / right)


@pytest.mark.parametrize("root", [False, True])
def test_a_path_is_taken_as_written_first(tmp_path: Path, root: bool) -> None:
    _touch(tmp_path / "photos", "a.jpg", "sub/a.jpg", "sub/b.jpg", "x/y/c.jpg")
    folder = tmp_path / "tables" if root else tmp_path / "photos"
    options = {"root": tmp_path / "photos"} if root else {}
    rows: Rows = [{"path": path} for path in ("a.jpg", "b.jpg", "x/c.jpg", "y/b.jpg")]
    listing = _list(folder, rows, **options)
    names = ("a.jpg", "sub/b.jpg", "x/y/c.jpg", "y/b.jpg")
    assert _get_files(listing) == [str(tmp_path / "photos" / name) for name in names]
    assert list(listing.reasons) == [str(tmp_path / "photos" / "y/b.jpg")]


def test_separators_and_drives_of_windows_are_read(tmp_path: Path) -> None:
    _touch(tmp_path, "p/1.JPG", "p/2.JPG", "CAM1/3.JPG", "q\\4.JPG")
    paths = ("p\\1.JPG", ".\\p\\2.JPG", "D:\\cards\\CAM1\\3.JPG", "q\\4.JPG", "D:\\cards\\5.JPG")
    listing = _list(tmp_path, [{"path": path} for path in paths])
    assert [file.removeprefix(f"{tmp_path}/") for file in _get_files(listing)] == [
        "p/1.JPG", "p/2.JPG", "CAM1/3.JPG", "q\\4.JPG", "/cards/5.JPG",
    ]  # fmt: skip
    assert "4 paths of" in _said(listing)
    assert "have \\, read as /" in _said(listing)


@pytest.mark.parametrize(
    ("on_disk", "written"),
    [
        (NFD, NFC), (NFC, NFD), ("IMG.JPG", "img.jpg"), ("a.jpg", " a.jpg "), ("b .jpg", "b  .jpg"),
        ("a b.jpg", "a%20b.jpg"), ("100%.jpg", "100%25.jpg"), ("a.b.JPG", "a.b"),
    ],
)  # fmt: skip
def test_a_name_is_found_in_another_form_and_that_is_said(
    tmp_path: Path, on_disk: str, written: str
) -> None:
    _touch(tmp_path, f"Rüssel/{on_disk}")
    (tmp_path / "Rüssel").rename(tmp_path / unicodedata.normalize("NFD", "Rüssel"))
    rows: Rows = [{"path": f"Rüssel/{written}"}]
    listing = _list(tmp_path, rows)
    assert _get_files(listing) == [str(next(tmp_path.glob("R*/*")))]
    assert "under a name of another Unicode form, case or blanks" in _said(listing)


def test_a_path_is_found_in_its_quotes_and_none_by_an_ending_that_two_have(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg", "b.jpg", "b.png", "c%20.jpg", "c .jpg", "d.txt")
    outside = tmp_path.parent / "outside.jpg"
    outside.touch()
    names = ["'a.jpg'", "b", "c%20.jpg", "d", "..%2Foutside.jpg"]
    listing = _list(tmp_path, [{"path": name} for name in names])
    assert _get_files(listing)[:3] == [str(tmp_path / name) for name in ("a.jpg", "b", "c%20.jpg")]
    assert [reason.partition(":")[0] for reason in listing.reasons.values()] == [
        "several files could be meant", "no such file or directory",
    ]  # fmt: skip
    ((_, _, reason),) = listing.unread
    assert "lies outside" in reason


def test_files_that_differ_by_form_stay_two(tmp_path: Path) -> None:
    _touch(tmp_path, NFC, NFD, "a.jpg", "A.JPG")
    rows: Rows = [{"path": name} for name in (NFC, NFD, "a.jpg", "A.jpg")]
    listing = _list(tmp_path, rows)
    assert _get_files(listing) == [str(tmp_path / name) for name in (NFC, NFD, "a.jpg", "A.jpg")]
    assert list(listing.reasons.values()) == [
        f"several files could be meant: {tmp_path / 'A.JPG'}, {tmp_path / 'a.jpg'}"
    ]


def test_where_most_rows_fail_two_paths_and_places_near_are_said(tmp_path: Path) -> None:
    _touch(tmp_path, "cards/A/1.JPG", "cards/B/2.JPG", "cards/B/1.JPG")
    rows: Rows = [{"path": f"C/{number}.JPG"} for number in (1, 2, 3)]
    said = _said(_list(tmp_path / "tables", rows, root=tmp_path / "cards"))
    assert f"3 of 3 rows of {tmp_path / 'tables' / 't.csv'} have no picture" in said
    tried = ", ".join(str(tmp_path / "cards" / "C" / f"{number}.JPG") for number in (1, 2))
    assert f"no such file or directory (for example {tried}); files of such a name: " in said
    assert str(tmp_path / "cards/A/1.JPG") in said
    _touch(tmp_path / "tables", "deep/3.JPG")
    said = _said(_list(tmp_path / "tables", rows[2:], root=tmp_path / "cards"))
    assert str(tmp_path / "tables/deep/3.JPG") in said


def test_a_source_that_is_nearly_there_is_named(tmp_path: Path) -> None:
    _touch(tmp_path, NFD)
    with pytest.raises(SourceError, match=rf"no file or folder at .*; near: {tmp_path / NFD}"):
        find_images([tmp_path / NFC])


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ENAMETOOLONG])
def test_a_folder_that_cannot_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    _touch(tmp_path, "a/1.jpg", "b/1.jpg")
    scandir = os.scandir

    def refuse(folder: str) -> object:
        if Path(folder).name == "b":
            raise OSError(code, os.strerror(code), str(folder))
        return scandir(folder)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refuse)
        listing = find_images([tmp_path])
        reason = f"the folder cannot be listed: {os.strerror(code).lower()}"
        assert listing.file_names == ["a/1.jpg"]
        assert listing.unread == ((str(tmp_path), "b", reason),)
        assert _said(listing) == f"{tmp_path / 'b'}: {reason}"
        with pytest.raises(SourceError, match=f"{tmp_path / 'b'}: {reason}"):
            find_images([tmp_path / "b"])


def test_rows_of_one_table_that_name_a_picture_twice_are_counted(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg", "b.jpg")
    paths = ("a.jpg", "./a.jpg", "b.jpg", "none.jpg", "none.jpg")
    rows: Rows = [{"path": path} for path in paths]
    listing = _list(tmp_path, rows)
    assert len(listing) == 3
    assert f"1 rows of {tmp_path / 't.csv'} name a picture that another row names" in _said(listing)


def test_what_is_found_otherwise_is_one_picture_with_the_folders(tmp_path: Path) -> None:
    _touch(tmp_path, "Felidae/A/1.JPG", "Canidae/B/1.JPG")
    rows: Rows = [{"Station": "A", "File": "1.JPG", "family": "Felidae"}]
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    for sources in itertools.permutations([tmp_path, tmp_path / "t.csv"]):
        listing = find_images(sources)
        assert len(listing) == 2
        assert sorted(listing.labels(Rank.FAMILY)) == ["", "Felidae"]


def test_a_file_that_two_foreign_paths_lead_to_is_of_neither(tmp_path: Path) -> None:
    _touch(tmp_path, "CAM1/3.JPG", "CAM2/4.JPG")
    rows = [
        {"file": path, "species": species}
        for path, species in (
            (r"D:\2020\CAM1\3.JPG", "Panthera leo"),
            (r"D:\2021\CAM1\3.JPG", "Alces alces"),
            # One picture, as two machines name it.
            (r"D:\cards\CAM2\4.JPG", "Alces alces"),
            ("/mnt/disk/cards/CAM2/4.JPG", "Alces alces"),
        )
    ]
    listing = _list(tmp_path, rows)
    assert set(_get_files(listing)) == {
        "/2020/CAM1/3.JPG", "/2021/CAM1/3.JPG", str(tmp_path / "CAM2/4.JPG")
    }  # fmt: skip
    reason = listing.reasons["/2021/CAM1/3.JPG"]
    assert reason.startswith("several paths lead to one file: /2020/CAM1/3.JPG, /2021/CAM1/3.JPG")
