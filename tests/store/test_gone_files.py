from __future__ import annotations

from pathlib import Path

import pytest

from bioprobe.embedding.embedder import Presence, find_gone, look_for


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("photos/a/1.jpg", "photos/a/2.jpg", "photos/b/3.jpg", "other/4.jpg"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    return tmp_path / "photos"


def test_a_file_that_was_removed_is_gone(photos: Path) -> None:
    (photos / "a" / "1.jpg").unlink()
    assert look_for(photos / "a" / "1.jpg", root=photos, listed=photos) is Presence.GONE
    assert look_for(photos / "a" / "2.jpg", root=photos, listed=photos) is Presence.PRESENT


def test_with_its_folder_a_file_is_gone(photos: Path) -> None:
    assert look_for(photos / "c" / "d" / "1.jpg", root=photos, listed=photos) is Presence.GONE


def test_a_link_is_there_though_its_target_is_away(photos: Path) -> None:
    (photos / "link.jpg").symlink_to("/nowhere/1.jpg")
    assert look_for(photos / "link.jpg", root=photos, listed=photos) is Presence.PRESENT


@pytest.mark.parametrize("hidden", [False, True])
def test_below_an_empty_folder_a_disk_may_be_away(photos: Path, hidden: bool) -> None:
    (photos / "disk").mkdir()
    if hidden:
        (photos / "disk" / ".directory").touch()
    file = photos / "disk" / "2024" / "1.jpg"
    assert look_for(file, root=photos, listed=photos) is Presence.OUT_OF_REACH


def test_of_a_root_that_is_away_nothing_is_told(photos: Path) -> None:
    disk = photos / "disk"
    assert look_for(disk / "1.jpg", root=disk, listed=photos) is Presence.OUT_OF_REACH
    away = photos.parent / "away"
    assert look_for(away / "1.jpg", root=away, listed=away) is Presence.OUT_OF_REACH


def test_a_folder_that_may_not_be_read_tells_nothing(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "lstat", refuse)
    file = photos / "a" / "9.jpg"
    assert look_for(file, root=photos, listed=photos) is Presence.OUT_OF_REACH


def test_only_what_is_below_the_folders_is_looked_at(photos: Path) -> None:
    other = photos.parent / "other"
    photos_too = photos.parent / "photos-too"
    rows = [
        (0, photos, photos / "gone.jpg"),
        (1, photos / "a", photos / "a" / "gone.jpg"),
        (2, other, other / "gone.jpg"),
        (3, photos_too, photos_too / "gone.jpg"),
        (4, photos / "disk", photos / "disk" / "gone.jpg"),
        (5, photos, photos / "a" / "1.jpg"),
    ]
    gone = find_gone(rows, below=[photos])
    assert gone.rows == (0, 1)
    assert gone.out_of_reach == (photos / "disk" / "gone.jpg",)
    assert find_gone(rows, below=[photos / "a"]).rows == (1,)
    assert find_gone(rows, below=[Path()]).rows == ()
