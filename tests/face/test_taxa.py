from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bioprobe.errors import MisuseError, PromptError, SourceError, TaxonomyError
from bioprobe.face import taxa
from bioprobe.face.store import Store
from bioprobe.face.store import open as open_store
from tests.face.conftest import Teach


def test_a_taxon_is_added_listed_and_removed(store: Store) -> None:
    added = store.add_taxon("Lynx pardinus", parent="Lynx", common="Iberian lynx")
    assert added.taxon.lineage[4:] == ("Felidae", "Lynx", "Lynx pardinus")
    assert str(added.notes[-1]) == (
        f"added Felidae > Lynx > Lynx pardinus (Iberian lynx) to {store.folder}"
    )
    assert repr(added) == f"<Added: {added.notes[-1]}>"
    frame = store.taxa().to_frame().set_index("species")
    assert frame["from"].to_dict() == {
        "Lynx pardinus": "added", "Panthera leo": "labels", "Lynx lynx": "labels",
        "Canis lupus": "labels",
    }  # fmt: skip
    assert added.to_frame().iloc[0].to_dict() == store.taxa().to_frame().iloc[0].to_dict()
    removed = store.remove_taxon("Iberian lynx")
    assert [one.taxon.name for one in removed.taxa] == ["Lynx pardinus"]
    assert "Lynx pardinus" not in set(store.taxa().to_frame()["species"])


def test_the_users_own_list_needs_no_store(no_taxa_of_the_user: Path) -> None:
    taxa.add("Puma concolor", common="puma", parent="Felidae")
    taxa.add("Puma yagouaroundi", parent="Puma")
    with pytest.raises(TaxonomyError, match="was added before"):
        taxa.add("Puma concolor", lineage="Animalia,Chordata,Mammalia,Carnivora,Felidae")
    with pytest.raises(PromptError, match="no taxon 'Nonsense' is known here"):
        taxa.add("Aa bbbb", parent="Nonsense")
    assert no_taxa_of_the_user.is_file()
    frame = taxa.list().to_frame()
    assert list(frame["species"]) == ["Puma concolor", "Puma yagouaroundi"]
    # The second is completed from the first.
    assert list(frame["family"]) == ["Felidae", "Felidae"]
    assert set(frame["from"]) == {"user-wide"}
    taxa.remove("puma")
    assert len(taxa.list()) == 1


def test_the_users_taxa_count_in_a_store_that_may_name_a_parent(store: Store) -> None:
    store.add_taxon("Aa bbbb", lineage=",,,,Aaidae")
    with pytest.raises(PromptError):
        taxa.add("Aa cccc", parent="Aaidae")
    taxa.add("Aa cccc", parent="Aaidae", store=store.folder)
    known = store.taxa().to_frame().set_index("from")
    assert known.loc["user-wide", "family"] == "Aaidae"


@pytest.mark.parametrize("options", [{"prompts": ["a cat"]}, {}])
def test_lists_go_out_and_come_in(store: Store, tmp_path: Path, options: dict[str, object]) -> None:
    store.add_taxon("Lynx pardinus", **options)  # type: ignore[arg-type]
    written = store.export_taxa(tmp_path / "mine.csv")
    assert [str(note) for note in written.notes] == [f"1 taxa -> {tmp_path / 'mine.csv'}"]
    imported = taxa.import_list(tmp_path / "mine.csv")
    assert imported.taxa[0].taxon == written.taxa[0].taxon
    assert str(imported.notes[0]).endswith("; 0 were there")
    again = store.import_taxa(tmp_path / "mine.csv")
    assert str(again.notes[0]) == f"added 0 taxa to {store.folder}; 1 were there"


def test_a_text_head_needs_an_encoder(store: Store, tmp_path: Path, teach: Teach) -> None:
    teach({"a Lynx pardinus": [0, 3, 4, 0]})
    taxa.add("Lynx pardinus")
    target = tmp_path / "mine.npy"
    with pytest.raises(SourceError, match="name one to write"):
        taxa.export(target)
    for options in ({"store": store.folder}, {"model": "any"}):
        taxa.export(target, text_type="sci", templates="a {}", **options)
        np.testing.assert_allclose(np.load(target)[:, 0], [0, 0.6, 0.8, 0], rtol=1e-6)
        target.unlink()
    assert json.loads(target.with_suffix(".json").read_text())[0][0][-1] == "pardinus"


def test_options_out_of_their_condition_are_misuse(store: Store, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="--lineage counts only with no --parent"):
        store.add_taxon("Lynx pardinus", lineage="Animalia", parent="Felidae")
    with pytest.raises(MisuseError, match="--text-type counts only with --images"):
        store.add_taxon("Lynx pardinus", text_type="sci")
    # An empty list of pictures is none.
    with pytest.raises(MisuseError, match="--no-text counts only with --images"):
        store.add_taxon("Lynx pardinus", images=[], no_text=True)
    with pytest.raises(MisuseError, match=r"counts only with a TARGET that ends in \.npy"):
        taxa.export(tmp_path / "x.csv", model="sketch")
    assert len(store.taxa().to_frame()) == 3


def test_pictures_make_a_class(
    store: Store, teach: Teach, write_pictures: object, tmp_path: Path
) -> None:
    del tmp_path
    names = ("Aa bbbb", "Panthera leo", "Lynx lynx", "Canis lupus")
    teach({f"a {name}": [0, 0, 0, 1] for name in names})
    folder = write_pictures(2)  # type: ignore[operator]
    added = store.add_taxon(
        "Aa bbbb", images=[folder], no_text=True, text_type="sci", templates="a {}"
    )
    assert added.blend is not None
    assert added.blend.weight_fraction == 1
    assert added.known.n_pictures == 2
    assert str(added.notes[0]).startswith("pictures count 1, its text 0; ")
    assert store.taxa().to_frame()["examples"].to_list() == [2, 0, 0, 0]


def test_the_nearest_classes_are_told(store: Store, teach: Teach) -> None:
    teach(
        {
            "a Lynx pardinus": [0, 1, 0, 0],
            "a Panthera leo": [0, 0.6, 0.8, 0],
            "a Lynx lynx": [0, 0.96, 0.28, 0],
            "a Canis lupus": [0, 0, 1, 0],
        }
    )
    found = store.check_taxon("Lynx pardinus", text_type="sci", templates="a {}", k=2)
    assert found.by_image is None
    assert found.to_frame().round(2).to_numpy().tolist() == [
        ["text", "Lynx lynx", "lynx", 0.96],
        ["text", "Panthera leo", "lion", 0.6],
    ]
    assert [str(note).split(":")[0] for note in found.notes] == [
        "warning", "no images of Lynx pardinus and of other classes to compare"
    ]  # fmt: skip
    assert [note.kind for note in found.notes] == ["warning", "fact"]
    # Labelled images speak for a taxon that is known.
    lions = store.check_taxon("Panthera leo", text_type="sci", templates="a {}", k=1)
    assert lions.by_image is not None
    mean = np.array([0.9, 0.3]) / np.hypot(0.9, 0.3)
    assert lions.by_image.similarities[0] == pytest.approx(mean[1])


def test_an_offset_is_measured_and_kept(store: Store, teach: Teach) -> None:
    teach({
        "a Felidae": [1, 1, 0, 0], "a Canidae": [0, 0, 1, 0], "a Panthera leo": [1, 0, 0, 0],
        "a Lynx lynx": [0, 1, 0, 0], "a Canis lupus": [0, 0, 1, 0],
    })  # fmt: skip
    written = {"text_type": "sci", "templates": "a {}"}
    report = store.measure_unseen(
        "species in ['Lynx lynx', 'Canis lupus']",
        repeats=1,
        **written,  # type: ignore[arg-type]
    )
    # Every vector lies nearest to its own name.
    assert report.to_frame()["harmonic_mean"].tolist()[0] == 1
    kept = json.loads((store.folder / "seen-offset.json").read_text())
    assert kept["offset"] == report.offset.value
    assert str(report.notes[0]).startswith("unseen taxa: 2; offsets of the halves: ")
    assert report.provenance.options["seed"] == 0
    assert open_store(store.folder).taxa().to_frame()["species"].size == 3


def test_columns_of_a_list_are_told_wherever_a_list_is_read(
    store: Store, teach: Teach, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_text("Familie,Art\nFelidae,Panthera leo\nCanidae,Canis lupus\n")
    listed = tmp_path / "list.csv"
    columns = ["species=Art", "family=Familie"]
    teach({
        f"a photo of {name}.": [float(place == number) for number in range(4)]
        for place, name in enumerate(["Panthera leo", "Lynx lynx", "Canis lupus"])
    })  # fmt: skip
    asked = store.zeroshot("species", taxa=listed, rank_column=columns, text_type="sci", k=1)
    assert asked.to_frame()["family"].tolist()[0] == "Felidae"
    with pytest.raises(MisuseError, match="--rank-column counts only with --taxa"):
        store.zeroshot("species", rank_column=columns)
    store.split("species", method="kfold", folds=2)
    made = store.evaluate("species", methods="zeroshot", taxa=listed, rank_column=columns,
                          text_type="sci", n_resamples=5)  # fmt: skip
    assert "Canis lupus" in made.classes.names
