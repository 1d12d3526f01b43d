"""Names and words of tools, from the file to the store and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.face.quality_pages import NoiseFilter

Write = Callable[..., Path]
RANKS = ["kingdom", "phylum", "class", "order", "family", "genus", "species"]


def _embed_table(write_pictures: Write, tmp_path: Path, frame: pd.DataFrame) -> bp.Store:
    folder = write_pictures(len(frame))
    frame.insert(0, "path", [f"{n:03d}.png" for n in range(len(frame))])
    frame.to_csv(tmp_path / "table.csv", index=False)
    return bp.embed(tmp_path / "table.csv", store=tmp_path / "s", model="plain", root=folder)


def _read(store: bp.Store, *names: str) -> list[tuple[str, ...]]:
    frame = store.images.sort_values("path")[list(names)].fillna("")
    return list(frame.itertuples(index=False, name=None))


NAMES = [
    ("Panthera leo (Linnaeus, 1758)", "Panthera", "Panthera leo", "", ""),
    ("lynx_lynx", "Lynx", "Lynx lynx", "", ""),
    ("Cervus spp.", "Cervus", "", "spp.", ""),
    ("Cervus aff. elaphus", "Cervus", "", "aff. elaphus", ""),
    ("Cervus ?", "Cervus", "", "?", ""),
    ("Anas \u00d7 rubripes", "Anas", "Anas \u00d7 rubripes", "", ""),
    ("Canis lupus subsp. dingo", "Canis", "Canis lupus", "", "Canis lupus dingo"),
    ("Red Fox", "", "", "", ""),
]


@pytest.mark.usefixtures("loads")
def test_names_end_at_what_is_certain(write_pictures: Write, tmp_path: Path) -> None:
    frame = pd.DataFrame({"species": [name for name, *_ in NAMES]})
    store = _embed_table(write_pictures, tmp_path, frame)
    read = _read(store, "genus", "species", "identification_qualifier", "subspecies")
    assert read == [tuple(said) for _, *said in NAMES]
    assert _read(store, "label")[-1] == ("Red Fox",)
    assert len(store.where("subspecies == 'Canis lupus dingo'")) == 1
    assert any("counted at their species" in str(note) for note in store.notes)


@pytest.mark.usefixtures("loads")
def test_a_list_is_asked_before_a_name_is_parsed(write_pictures: Write, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(
        "family,species,common_name\nCanidae,Canis lupus,wolf\nCanidae,Canis lupus dingo,dingo\n"
        "Canidae,Vulpes vulpes,red fox\n"
    )
    store = _embed_table(
        write_pictures, tmp_path,
        pd.DataFrame({"species": ["Red Fox", "Canis lupus dingo", "Canis lupus lupus", "empty"]}),
    )  # fmt: skip
    store.resolve_taxa(names=tmp_path / "list.csv", apply=True)
    again = bp.open(tmp_path / "s")
    assert _read(again, "family", "species", "content") == [
        ("Canidae", "Vulpes vulpes", "animal"),
        ("Canidae", "Canis lupus dingo", "animal"),
        ("Canidae", "Canis lupus", "animal"),
        ("", "", "blank"),
    ]


CONTENTS = ["blank"] * 5 + ["human", "vehicle", "unknown"] + ["animal"] * 8


@pytest.fixture
def sorted_store(write_pictures: Write, tmp_path: Path, loads: object) -> bp.Store:
    """Return a store of pictures some of which hold no animal."""
    del loads
    words = ["Blank"] * 5 + ["Homo sapiens", "Vehicle", "No CV Result"]
    frame = pd.DataFrame({"species": words + ["Panthera leo"] * 4 + ["Alces alces"] * 4})
    return _embed_table(write_pictures, tmp_path, frame)


def test_what_is_no_taxon_is_asked_by_its_content(sorted_store: bp.Store) -> None:
    assert [one for (one,) in _read(sorted_store, "content")] == CONTENTS
    assert len(sorted_store.where("content == 'blank'")) == 5
    assert sorted(set(sorted_store.labels("species"))) == ["", "Alces alces", "Panthera leo"]
    assert not (sorted_store.where("content != 'animal'").images[RANKS] != "").any(axis=None)
    ranks = sorted_store.describe(level="species").ranks
    assert {name for one in ranks for name in one.names} >= {"Alces alces", "Panthera leo"}
    assert not {name for one in ranks for name in one.names} & {"Blank", "Homo sapiens", "Homo"}


def test_a_mask_is_made_of_the_content_alone(sorted_store: bp.Store) -> None:
    found = sorted_store.filter("animal", by_content=True)
    table = found.to_frame().sort_values("file_name")
    assert table["kept"].tolist() == [False] * 7 + [True] * 9
    assert table["reason"].tolist()[:7] == CONTENTS[:7]
    assert any("nothing is known of 1 images" in str(note) for note in found.notes)
    assert len(sorted_store.where(mask="filters/animal")) == 9
    # A picture without an animal may be of a plant.
    plants = sorted_store.filter("plant", by_content=True).to_frame().sort_values("file_name")
    assert plants["kept"].tolist() == [True] * 5 + [False] * 2 + [True] * 9
    with pytest.raises(bp.MisuseError, match="--by-content"):
        sorted_store.filter("animal", by_content=True, threshold=1.0)
    with pytest.raises(bp.SelectionError, match="Leave --by-content out"):
        sorted_store.where("content == 'unknown'").filter("animal", by_content=True)


def test_known_contents_win_over_texts(sorted_store: bp.Store) -> None:
    found = sorted_store.filter("animal", threshold=-1000.0)
    table = found.to_frame().sort_values("file_name")
    assert table["kept"].tolist() == [False] * 7 + [True] * 9
    assert table["reason"].tolist() == ["content"] * 7 + [""] + ["content"] * 8
    labelled = sorted_store.filter("animal", labels="content")
    assert isinstance(labelled, NoiseFilter)
    assert labelled.quality is not None
    assert labelled.quality.n_labels == 15
    assert np.isnan(labelled.labels).sum() == 1


@pytest.mark.usefixtures("loads")
def test_folders_of_whole_lineages_give_all_ranks_and_the_part(
    write_pictures: Write, tmp_path: Path
) -> None:
    name = "00042_Animalia_Chordata_Mammalia_Carnivora_Canidae_Canis_lupus"
    for part in ("train", "val"):
        (tmp_path / "photos" / part).mkdir(parents=True)
    write_pictures(1, f"photos/train/{name}")
    write_pictures(1, f"photos/val/{name}_dingo", first=1)
    store = bp.embed(tmp_path / "photos", store=tmp_path / "s", model="plain")
    canid = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Canis", "Canis lupus")
    assert _read(store, *RANKS, "subspecies", "split") == [
        (*canid, "", "train"), (*canid, "Canis lupus dingo", "val"),
    ]  # fmt: skip


@pytest.mark.usefixtures("loads")
def test_copies_with_another_label_are_said(write_pictures: Write, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for folder in ("Tiger", "Moose", "Empty"):
        write_pictures(2, f"photos/{folder}", first=10 if folder == "Moose" else 0)
    store = bp.embed(
        tmp_path / "photos", store=tmp_path / "s", model="plain", folder_rank="species"
    )
    (said,) = [str(note) for note in store.notes if "copies of another" in str(note)]
    assert "2 images are copies of another with another label" in said
    assert "Tiger/000.png = Empty/000.png" in said


FIELD_NAMES = {
    "names.csv": {
        "genus": ["Panthera", "Panthera", "Alces", "Alces", "Turdus", "Turdus", "Ursus", ""],
        "species": [
            "Panthera tigris", "Panthera tigris", "", "", "Turdus \u00d7 migratorius",
            "Turdus migratorius", "Ursus maritimus", "",
        ],
        "family": [""] * 7 + ["Ursidae"],
        "identification_qualifier": ["", "", "sp.", "cf. alces", "", "", "", ""],
        "subspecies": ["", "", "", "", "", "Turdus migratorius migratorius", "", ""],
        "common_name": ["", "", "", "Elch", "Wanderdrossel", "", "Eisb\u00e4r",
                        "\u30db\u30c3\u30ad\u30e7\u30af\u30b0\u30de"],
        "country": ["NA", "DE", "NA", "CH", "US", "US", "NO", "JP"],
    },
    "any_label.csv": {
        "label": ["Tiger"] * 2 + ["Moose"] * 2 + ["American Robin"] * 2 + ["Polar Bear"] * 2,
        "threatened": ["yes", "yes", "no", "no", "no", "no", "yes", "yes"],
    },
}  # fmt: skip


@pytest.mark.shared
@pytest.mark.usefixtures("loads")
@pytest.mark.parametrize("file", FIELD_NAMES)
def test_field_files_say_what_their_readme_says(
    file: str, shared_dir: Path, tmp_path: Path
) -> None:
    store = bp.embed(shared_dir / "data/field-files" / file, store=tmp_path / "s", model="plain")
    assert len(store) == 8
    frame = store.images.sort_values("path").fillna("")
    assert {name: frame[name].tolist() for name in FIELD_NAMES[file]} == FIELD_NAMES[file]


@pytest.mark.shared
@pytest.mark.usefixtures("loads")
def test_field_folders_say_what_their_readme_says(shared_dir: Path, tmp_path: Path) -> None:
    files = shared_dir / "data/field-files"
    store = bp.embed(files / "inat2021", store=tmp_path / "i", model="plain")
    assert len(store) == 8
    assert not (store.images[RANKS] == "").any(axis=None)
    assert sorted(store.images["split"]) == ["train"] * 4 + ["val"] * 4
    assert sorted(set(store.labels("species"))) == [
        "Alces alces", "Panthera tigris", "Turdus migratorius", "Ursus maritimus",
    ]  # fmt: skip
    (tmp_path / "names.csv").write_text(
        "family,species,common_name\nFelidae,Panthera tigris,tiger\nTurdidae,Turdus migratorius,"
        "American robin\nUrsidae,Ursus maritimus,polar bear\n"
    )
    store = bp.embed(
        files / "common_names", store=tmp_path / "c", model="plain", folder_rank="species",
        names=tmp_path / "names.csv",
    )  # fmt: skip
    said = " ".join(str(note) for note in store.notes)
    assert "3 of 4 labels are taxa of the list (3 by common name)" in said
    assert "1 match nothing and stay: Moose" in said
    assert "1 images are copies of another with another label" in said
    assert "e.jpg" in said
    contents = store.images["content"].fillna("").value_counts().to_dict()
    assert contents == {"animal": 6, "": 2, "blank": 1}
    assert set(store.labels("genus")) == {"", "Panthera", "Turdus", "Ursus"}
