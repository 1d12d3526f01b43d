"""Several stores made one: what hangs on rows comes along, or it is said that it does not."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bioprobe as bp
from bioprobe.embedding import embed_images
from bioprobe.encoders.keeping import KeptForm
from bioprobe.errors import MismatchError, MisuseError, StoreError
from bioprobe.sources.source import SourceOptions, find_images
from bioprobe.store import EmbeddingStore, read_added_taxa, verify_store
from bioprobe.store.added_taxa import AddedList
from bioprobe.store.computed import read_column, write_column
from bioprobe.store.kept import KeptWriter
from bioprobe.store.selections import list_selections, read_selection, write_selection
from bioprobe.taxonomy import Rank, Taxon
from bioprobe.zeroshot.text_head import list_heads
from tests.conftest import PlainEncoder

LION, LYNX = (Taxon.from_names({"species": name}) for name in ("Panthera leo", "Lynx lynx"))
Fill = Callable[[str, list[str]], EmbeddingStore]


@pytest.fixture
def fill(tmp_path: Path, encoder: PlainEncoder) -> Fill:
    """Make a store of pictures in ``photos/``, each drawn from its name."""

    def make(name: str, pictures: list[str]) -> EmbeddingStore:
        for picture in pictures:
            file = tmp_path / "photos" / picture
            file.parent.mkdir(parents=True, exist_ok=True)
            seed = list(picture.encode())
            pixels = np.random.default_rng(seed).integers(0, 255, (9, 9, 3), dtype=np.uint8)
            if file.suffix == ".png":
                Image.fromarray(pixels).save(file)
            else:
                file.write_bytes(b"no picture")
        store = EmbeddingStore.open_for(tmp_path / name, encoder)
        table = find_images(
            [tmp_path / "photos" / one for one in pictures],
            SourceOptions(tmp_path / "photos", folder_rank=Rank.GENUS),
        )
        embed_images(table, encoder, store)
        return EmbeddingStore.open(store.folder)

    return make


def _merge(*stores: EmbeddingStore) -> tuple[EmbeddingStore, list[str]]:
    target = stores[0].folder.with_name("merged")
    done = bp.merge([one.folder for one in stores], store=target)
    merged = EmbeddingStore.open(target)
    assert list(verify_store(merged)) == []
    return merged, list(map(str, done.notes))


def test_stores_stand_one_after_the_other_and_a_picture_once(fill: Fill) -> None:
    one = fill("one", ["b/1.png", "b/2.png", "b/torn.jpg"])
    other = fill("other", ["a/1.png", "b/2.png", "b/torn.jpg"])
    merged, said = _merge(one, other)
    assert "1 picture could not be read, and why: bioprobe store info" in said
    assert merged.images.column("path").tolist() == ["b/1.png", "b/2.png", "a/1.png"]
    assert merged.images.column("genus").tolist() == ["b", "b", "a"]
    assert len(merged.read_failures()) == 1
    assert any(note.startswith("1 row was left out") for note in said)
    expected = np.concatenate([one.read_vectors(), other.read_vectors(np.array([0]))])
    assert np.array_equal(merged.read_vectors(), expected)


def test_what_only_a_later_store_says_of_a_picture_is_taken_and_what_differs_is_said(
    tmp_path: Path, encoder: PlainEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Shards of two rows of the merged store.
    monkeypatch.setattr("bioprobe.store.compaction.SHARD_BYTES", 2 * 4 * encoder.dim)
    said = {
        "one": "path,species,site,n\n1.png,Lynx lynx,,1\n2.png,,a,\n3.png,Puma concolor,b,3\n",
        "other": "path,species,site,n\n3.png,Lynx rufus,c,3\n2.png,Lynx lynx,a,2\n1.png,,b,\n",
    }
    for number in "123":
        Image.new("RGB", (9, 9), (50, 9, 60 * int(number))).save(tmp_path / f"{number}.png")
    stores = []
    for name, table in said.items():
        (tmp_path / f"{name}.csv").write_text(table)
        store = EmbeddingStore.open_for(tmp_path / name, encoder)
        embed_images(find_images([tmp_path / f"{name}.csv"]), encoder, store)
        stores.append(EmbeddingStore.open(store.folder))
    merged, notes = _merge(*stores)
    assert [one.n_images for one in merged.manifest.shards] == [2, 1]
    frame = merged.images.frame
    assert frame["species"].tolist() == ["Lynx lynx", "Lynx lynx", "Puma concolor"]
    assert frame["genus"].tolist() == ["Lynx", "Lynx", "Puma"]
    assert frame["site"].tolist() == ["b", "a", "b"]
    assert frame["n"].tolist() == [1, 2, 3]
    for what in ("label", "site"):
        (note,) = (one for one in notes if f"another {what} in a later store" in one)
        assert note.startswith("1 picture has")
        assert "3.png" in note


def test_of_the_same_bytes_there_is_one_vector_that_of_the_first_store(fill: Fill) -> None:
    one, other = fill("one", ["b/1.png"]), fill("other", ["a/2.png"])
    # A copy of the first picture, whose vector another machine rounded otherwise.
    copy = one.images.frame.assign(path="a/copy.png")
    other.append(copy, one.read_vectors() + np.float32(1e-4))
    merged, _ = _merge(one, EmbeddingStore.open(other.folder))
    assert merged.images.column("path").tolist() == ["b/1.png", "a/2.png", "a/copy.png"]
    first, _, copied = merged.read_vectors()
    assert np.array_equal(copied, first)


def test_a_store_is_not_merged_into_one_of_its_own(fill: Fill) -> None:
    one, other = fill("one", ["a/1.png"]), fill("other", ["a/2.png"])
    with pytest.raises(MisuseError, match=r"lies in .*other"):
        bp.merge([one.folder, other.folder], store=other.folder / "merged")


def test_a_picture_that_only_one_store_could_read_is_no_failure(fill: Fill, tmp_path: Path) -> None:
    one = fill("one", ["a/1.png", "a/2.jpg"])
    Image.new("RGB", (9, 9), "teal").save(tmp_path / "photos" / "a" / "2.jpg")
    other = EmbeddingStore.open_for(tmp_path / "other", PlainEncoder())
    embed_images(find_images([tmp_path / "photos" / "a" / "2.jpg"]), PlainEncoder(), other)
    merged, _ = _merge(one, EmbeddingStore.open(other.folder))
    assert len(merged) == 2
    assert merged.read_failures().empty


def test_copies_in_two_stores_whose_labels_contradict_are_told(
    fill: Fill, tmp_path: Path, encoder: PlainEncoder
) -> None:
    one = fill("one", ["Lynx/1.png", "Lynx/2.png"])
    copy = tmp_path / "photos" / "Puma" / "copy.png"
    copy.parent.mkdir()
    shutil.copyfile(tmp_path / "photos" / "Lynx" / "2.png", copy)
    other = EmbeddingStore.open_for(tmp_path / "other", encoder)
    listed = find_images([copy], SourceOptions(tmp_path / "photos", folder_rank=Rank.GENUS))
    embed_images(listed, encoder, other)
    _, said = _merge(one, EmbeddingStore.open(other.folder))
    (note,) = (one for one in said if "copies of another with another label" in one)
    assert "Puma/copy.png = Lynx/2.png" in note


def test_a_box_that_failed_in_a_picture_with_others_stays_a_failure(fill: Fill) -> None:
    one, other = fill("one", ["a/1.png"]), fill("other", ["a/2.png"])
    failed = one.images.frame[["root", "path"]].assign(reason="a box lies outside")
    one.write_failures(failed)
    merged, _ = _merge(one, other)
    assert merged.read_failures()["reason"].tolist() == ["a box lies outside"]


def test_different_pictures_under_one_name_are_refused(fill: Fill, tmp_path: Path) -> None:
    one = fill("one", ["a/1.png"])
    Image.new("RGB", (9, 9), "teal").save(tmp_path / "photos" / "a" / "1.png")
    other = EmbeddingStore.open_for(tmp_path / "other", PlainEncoder())
    embed_images(find_images([tmp_path / "photos"]), PlainEncoder(), other)
    with pytest.raises(StoreError, match=r"1 pictures are others .* under the same name"):
        _merge(one, EmbeddingStore.open(other.folder))
    assert not (tmp_path / "merged").exists()


def test_stores_of_two_encoders_are_refused(fill: Fill, tmp_path: Path) -> None:
    one = fill("one", ["a/1.png"])
    other = EmbeddingStore.open_for(tmp_path / "other", PlainEncoder(2))
    with pytest.raises(MismatchError, match=r"one holds .*other of .*cannot be compared .* again"):
        _merge(one, other)


def test_vectors_of_several_decodings_are_merged_and_it_is_said(fill: Fill) -> None:
    one, other = fill("one", ["a/1.png"]), fill("other", ["a/2.png", "a/3.png"])
    encoder = dataclasses.replace(other.manifest.encoder, decoding="fast")
    dataclasses.replace(other.manifest, encoder=encoder).write(other.folder)
    _, said = _merge(one, EmbeddingStore.open(other.folder))
    assert any("several kinds of decoding" in note and "1 by exact, 2 by fast" in note
               for note in said)  # fmt: skip


def test_a_damaged_store_is_refused(fill: Fill, tmp_path: Path) -> None:
    one, other = fill("one", ["a/1.png"]), fill("other", ["a/2.png"])
    vectors = other.folder / "shards" / "00000" / "vectors.npy"
    vectors.write_bytes(vectors.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreError, match=r"other.* is damaged: .* nothing was merged"):
        _merge(one, other)
    assert not (tmp_path / "merged").exists()


def test_what_is_known_of_pictures_comes_along(fill: Fill) -> None:
    one = fill("one", ["b/1.png", "b/2.png"])
    other = fill("other", ["a/1.png", "a/2.png", "a/3.png"])
    for store, taxon in ((one, LION), (other, LYNX)):
        AddedList.of_store(store).add(taxon)
        opened = bp.open(store.folder)
        opened.add_annotations([{"row": 1, "level": "species", "value": taxon.name}], by="anna")
        mask = np.arange(len(store)) > 0
        groups = np.arange(len(store))
        write_selection(store, "filters/seen", store.rows, mask, columns={"group": groups})
        form = KeptForm("tokens", (2, 3), "tokens of a test")
        contents = store.images.contents.tolist()
        values = np.full((len(store), 2, 3), len(store), dtype=np.float16)
        KeptWriter(store.folder, form, "float32").add(contents, values)
    merged, said = _merge(one, other)
    assert list(read_added_taxa(merged)) == [LION, LYNX]
    history = AddedList.of_store(merged).read_history()
    assert [line["after"] for line in history] == [LION.name, LYNX.name]
    labels = bp.open(merged.folder).labels("species").tolist()
    assert labels == ["", LION.name, "", LYNX.name, ""]
    found = read_selection(merged, "filters/seen")
    assert found.judged.all()
    assert found.kept.tolist() == [False, True, False, True, True]
    # Groups of two stores are not the same.
    assert found.frame["group"].nunique() == 5
    assert any("filters/seen" in note and "by itself" in note for note in said)
    kept = merged.open_kept("tokens")
    assert kept is not None
    values = kept.read(kept.find(merged.images.contents))
    assert values[:, 0, 0].tolist() == [2, 2, 3, 3, 3]


def test_what_one_store_alone_has_comes_along_and_what_differs_is_said(fill: Fill) -> None:
    one, other = fill("one", ["b/1.png", "b/2.png"]), fill("other", ["a/1.png", "a/2.png"])
    write_column(one, "herd", one.rows, ["1", "2"], names={"1": "near"}, numbers=[0.5, 0.25])
    for store in (one, other):
        write_column(store, "both", store.rows, ["1", "1"])
        write_selection(store, f"filters/{store.folder.name}", store.rows, np.array([True, False]))
        for name, text in (
            ("same", "{}"),
            ("unlike", store.folder.name),
            (store.folder.name, "{}"),
        ):
            head = store.folder / "text" / "heads" / name / "head.json"
            head.parent.mkdir(parents=True)
            head.write_text(text)
        (store.folder / "text" / "abc").mkdir()
        (store.folder / "text" / "abc" / f"{store.folder.name}.json").write_text("[]")
    merged, said = _merge(one, other)
    found = read_column(merged, "herd")
    assert found.values.tolist() == ["1", "2", "", ""]
    assert found.numbers[:2].tolist() == [0.5, 0.25]
    assert found.names == {"1": "near"}
    assert merged.images.derived == ("herd", "herd_name")
    assert list_heads(merged) == ["one", "other", "same"]
    assert sorted(one.name for one in (merged.folder / "text" / "abc").iterdir()) == [
        "one.json", "other.json",
    ]  # fmt: skip
    assert list_selections(merged) == ["filters/one", "filters/other"]
    seen = read_selection(merged, "filters/other")
    assert seen.judged.tolist() == [False, False, True, True]
    assert any("columns of clusters and orders both" in note for note in said)
    assert any("heads unlike" in note for note in said)


def test_what_is_not_in_the_merged_store_is_said(fill: Fill) -> None:
    one, other = fill("one", ["b/1.png", "b/2.png"]), fill("other", ["a/1.png"])
    one = one.remove([1])
    (one.folder / "index.json").write_text("{}")
    merged, said = _merge(one, other)
    assert merged.images.column("path").tolist() == ["b/1.png", "a/1.png"]
    (note,) = (note for note in said if note.startswith("not in the merged store"))
    assert "indexes (1)" in note
    assert "removals, which cannot be undone there (1)" in note
    shutil.rmtree(merged.folder)
