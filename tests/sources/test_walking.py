"""Nothing below a folder vanishes: what is left out is counted, what cannot be listed is named."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Protocol

import pytest

from bioprobe.embedding import embed_images
from bioprobe.errors import SourceError
from bioprobe.quality.description import describe_store
from bioprobe.sources.source import SourceOptions, find_images
from bioprobe.sources.walking import Rules, walk
from bioprobe.store import EmbeddingStore
from bioprobe.zeroshot.examples import embed_examples
from tests.conftest import PlainEncoder


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def _names(folder: Path, rules: Rules | None = None) -> list[str]:
    return [str(file.relative_to(folder)) for file in walk(folder, rules).files]


@pytest.mark.parametrize(
    "folder",
    ["@eaDir", "#recycle", "@Recycle", "$RECYCLE.BIN", "System Volume Information", ".Trashes",
     "cat.lrdata", "__MACOSX", "DeletedFiles", ".thumbnails", "x/@EADIR/y"],
)  # fmt: skip
def test_folders_of_other_programs_are_left_out_and_counted(tmp_path: Path, folder: str) -> None:
    _touch(tmp_path, "a.jpg", f"{folder}/a.jpg", f"{folder}/deep/b.jpg")
    walked = walk(tmp_path)
    assert _names(tmp_path) == ["a.jpg"]
    assert sum(walked.left_out.values()) == 2
    assert walked.describe().startswith("2 pictures in ")
    own = [f"{folder}/a.jpg", f"{folder}/deep/b.jpg"]
    assert sorted(_names(tmp_path, Rules(include=(folder,)))) == sorted(["a.jpg", *own])


@pytest.mark.parametrize("name", ["crops", "visualization", "Backups", "Thumbs"])
def test_a_name_that_a_person_may_give_too_is_judged_by_what_lies_beside(
    tmp_path: Path, name: str
) -> None:
    _touch(tmp_path, "IMG_1.JPG", "IMG_2.JPG", f"{name}/leopard.jpg")
    assert len(_names(tmp_path)) == 3
    (tmp_path / name / "leopard.jpg").rename(tmp_path / name / "IMG_1_crop00.jpg")
    _touch(tmp_path, f"{name}/anno_a~IMG_2.jpg")
    assert _names(tmp_path) == ["IMG_1.JPG", "IMG_2.JPG"]


def test_a_detector_s_list_or_a_database_of_timelapse_says_whose_a_folder_is(
    tmp_path: Path,
) -> None:
    _touch(tmp_path, "a.jpg", "crops/one.jpg", "Backups/two.jpg", "t/DeletedFiles/x.jpg",
           "t/Backups/y.jpg")  # fmt: skip
    assert _names(tmp_path) == ["a.jpg", "Backups/two.jpg", "crops/one.jpg"]
    (tmp_path / "md.json").write_text('{"images": [], "detection_categories": {"1": "animal"}}')
    (tmp_path / "TimelapseDatabase.tdb").touch()
    assert _names(tmp_path) == ["a.jpg"]


def test_patterns_are_of_names_or_paths_and_include_wins(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg", "b.PNG", "night/c.jpg", "night/d.jpg", "x/night/e.jpg")
    assert _names(tmp_path, Rules(("*.png",))) == [
        "a.jpg", "night/c.jpg", "night/d.jpg", "x/night/e.jpg",
    ]  # fmt: skip
    assert _names(tmp_path, Rules(("night",))) == ["a.jpg", "b.PNG"]
    assert _names(tmp_path, Rules(("night/*",))) == ["a.jpg", "b.PNG", "x/night/e.jpg"]
    assert _names(tmp_path, Rules(("**/night/**",), ("c.jpg",))) == [
        "a.jpg", "b.PNG", "night/c.jpg",
    ]  # fmt: skip
    options = SourceOptions(exclude=("night",), include=("c.jpg",))
    listed = find_images([tmp_path], options)
    assert "2 pictures by --exclude night" in str(listed.notes[0])


def test_other_files_hidden_ones_links_and_raw_twins_are_counted(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg", "a.CR2", "b.heic", "b.NEF", "c.DNG", "._a.jpg", ".x.png", "v.MP4",
           "a.xmp", "b.xmp", "n.txt")  # fmt: skip
    (tmp_path / "linked").symlink_to(tmp_path)
    listed = find_images([tmp_path])
    assert listed.frame["path"].tolist() == ["a.jpg", "b.heic", "c.DNG"]
    said = str(listed.notes[0])
    for part in (
        "2 pictures raw, beside a JPEG or HEIC of the same name", "2 pictures hidden",
        "1 folder that is a link", "1 video (.mp4)", "2 .xmp", "1 .txt",
    ):  # fmt: skip
        assert part in said
    # What is named itself is not left out.
    (tmp_path / "n.txt").write_text("a.jpg\n")
    assert ".txt" not in str(find_images([tmp_path, tmp_path / "n.txt"]).notes[0])


def test_a_folder_of_nothing_but_what_is_left_out_says_so(tmp_path: Path) -> None:
    _touch(tmp_path, "@eaDir/a.jpg", "v.mp4")
    with pytest.raises(SourceError, match=r"1 picture in @eaDir .*, 1 video .*--include GLOB"):
        find_images([tmp_path])


class _Entries(Protocol):
    def __next__(self) -> os.DirEntry[str]: ...

    def close(self) -> None: ...


class _Dropping:
    """A folder whose listing breaks off at an entry, as where a share goes away."""

    def __init__(self, inner: _Entries, n_listed: int) -> None:
        self._inner, self._n_left = inner, n_listed

    def __enter__(self) -> _Dropping:
        return self

    def __exit__(self, *_: object) -> None:
        self._inner.close()

    def __iter__(self) -> _Dropping:
        return self

    def __next__(self) -> os.DirEntry[str]:
        if not self._n_left:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._n_left -= 1
        return next(self._inner)


@pytest.mark.parametrize("n_listed", [0, 1, 2])
def test_an_error_at_any_entry_is_a_failure_and_what_was_listed_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: PlainEncoder, n_listed: int
) -> None:
    from PIL import Image

    for name in ("a/1", "b/1", "b/2", "b/3"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (10 * ord(name[0]), 9, 40 * int(name[2]))).save(
            tmp_path / "in" / f"{name}.png"
        )
    scandir = os.scandir

    def drop(folder: str) -> object:
        inner = scandir(folder)
        return _Dropping(inner, n_listed) if Path(folder).name == "b" else inner

    monkeypatch.setattr(os, "scandir", drop)
    listed = find_images([tmp_path / "in"])
    assert len(listed) == 1 + n_listed
    store = EmbeddingStore.open_for(tmp_path / "store", encoder)
    summary = embed_images(listed, encoder, store)
    assert (summary.n_embedded, summary.n_failed) == (1 + n_listed, 1)
    failure = store.read_failures().iloc[0]
    assert failure["path"] == "b"
    assert failure["reason"] == "the folder cannot be listed: input/output error"
    facts = describe_store(EmbeddingStore.open(tmp_path / "store"))["failures"]
    assert facts["images"] == 1
    # It stands as long as it is so, at any entry.
    embed_images(find_images([tmp_path / "in" / "a"]), encoder, store)
    assert len(store.read_failures()) == 1
    monkeypatch.undo()
    embed_images(find_images([tmp_path / "in"]), encoder, store)
    assert not len(store.read_failures())


def test_a_path_longer_than_the_system_allows_is_a_failure(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg")
    before = Path.cwd()
    try:
        os.chdir(tmp_path)
        for _ in range(20):
            Path("n" * 250).mkdir()
            os.chdir("n" * 250)
        Path("deep.jpg").touch()
    finally:
        os.chdir(before)
    listed = find_images([tmp_path])
    assert listed.frame["path"].tolist() == ["a.jpg"]
    assert [why for *_, why in listed.unread] == ["the folder cannot be listed: file name too long"]


def test_examples_of_a_folder_that_cannot_be_listed_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _touch(tmp_path, "a.jpg", "b/1.jpg")
    scandir = os.scandir

    def refuse(folder: str) -> object:
        if Path(folder).name == "b":
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return scandir(folder)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refuse)
        with pytest.raises(
            SourceError, match="b is no example picture: the folder cannot be listed"
        ):
            embed_examples(None, None, [tmp_path])  # type: ignore[arg-type]


def test_two_metadata_files_that_contradict_each_other_are_both_named(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "metadata.csv").write_text(
        "file_name,species,site\na.jpg,Panthera leo,1\nb.jpg,,2\n"
    )
    (tmp_path / "metadata.jsonl").write_text(
        '{"file_name": "a.jpg", "species": "Panthera tigris", "site": 1}\n'
        '{"file_name": "b.jpg", "species": "Alces alces", "site": 2}\n'
    )
    said = [str(note) for note in find_images([tmp_path]).notes]
    named = [
        text for text in said if "metadata.csv and metadata.jsonl beside it contradict" in text
    ]
    assert len(named) == 1
    assert "species of 1" in named[0]
    assert "site" not in named[0]
    assert any(text.startswith("conflicts in label: 1 pictures (a.jpg") for text in said)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "b.jpg", "species": "Alces alces"}\n')
    assert not any("contradict" in str(note) for note in find_images([tmp_path]).notes)
