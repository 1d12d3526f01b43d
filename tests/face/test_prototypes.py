"""Image prototypes as people ask for them: made, asked, brought elsewhere, added, forgotten."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MisuseError, PromptError, SelectionError, SourceError, StoreError
from bioprobe.face.store import Store
from bioprobe.face.store import open as open_store
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy.columns import LABEL_COLUMNS
from bioprobe.zeroshot.text_head import write_head
from tests.face.conftest import Teach

MADE_OF = [1, 2, 3]


@pytest.fixture
def seen(store: Store, teach: Teach) -> Store:
    teach(
        {
            "a Panthera leo": [0.7, 0.1, 0, 0.7], "a Lynx lynx": [0.3, 0.7, 0, 0.7],
            "a Canis lupus": [0, 0.2, 0.7, 0.7],
        }
    )  # fmt: skip
    made = store.where(rows=MADE_OF).prototypes(name="seen")
    assert str(made.notes[-1]).startswith("3 image prototypes at species of 3 pictures, 3 of a ")
    return open_store(store.folder)


def ask(store: Store, **options: object) -> bp.Predictions:
    answers = store.zeroshot(text_type="sci", templates="a {}", **options)  # type: ignore[arg-type]
    assert isinstance(answers, bp.Predictions)
    return answers


def name_best(answers: bp.Predictions) -> list[str]:
    return [answers.classes.names[place] for place in answers.answers[:, 0]]


def test_prototypes_answer_alone_and_judge_by_others(seen: Store) -> None:
    answers = seen.zeroshot(head="seen", k=1)
    assert isinstance(answers, bp.Predictions)
    assert answers.taught is not None
    assert answers.taught.tolist() == [False, True, True, True]
    # The first picture is nearest to the second, which made the lion.
    assert name_best(answers) == [
        "Panthera leo", "Panthera leo", "Lynx lynx", "Canis lupus",
    ]  # fmt: skip
    assert [one.n_images for one in answers.accuracy()] == [1]
    families = seen.zeroshot("family", head="seen", k=1)
    assert isinstance(families, bp.Predictions)
    assert name_best(families) == ["Felidae", "Felidae", "Felidae", "Canidae"]


def test_prototypes_stand_beside_texts(seen: Store) -> None:
    plain, beside = ask(seen), ask(seen, prototypes="seen")
    options = beside.provenance.options
    assert (options["prototypes"], options["text_worth"]) == ("seen", 1.0)
    assert options["text_worth_rule"].startswith("each taxon has a single picture")
    assert not np.allclose(plain.scores, beside.scores)
    assert beside.taught is not None
    assert plain.taught is None
    # A text that counts as all pictures together is asked as if it were alone.
    by_text = ask(seen, prototypes="seen", text_worth=1e9)
    np.testing.assert_allclose(by_text.scores, plain.scores, atol=1e-4)
    every = ask(seen, prototypes="seen", every_rank=True)
    assert every.taught is not None
    decided = seen.zeroshot(text_type="sci", templates="a {}", prototypes="seen", abstain=0.5)
    assert isinstance(decided, bp.Decisions)
    assert decided.taught is not None


def test_prototypes_stand_beside_a_text_head(seen: Store) -> None:
    names = ["Panthera leo", "Lynx lynx", "Canis lupus", "Vulpes vulpes"]
    taxa = pd.DataFrame("", index=range(4), columns=list(LABEL_COLUMNS), dtype=object)
    taxa["species"] = names
    vectors = normalise_rows(np.array([[7, 1, 0, 7], [3, 7, 0, 7], [0, 2, 7, 7], [1, 1, 1, 9]]))
    inner = EmbeddingStore.open(seen.folder)
    write_head(inner, "text", taxa, [vectors], source="made up")
    seen = open_store(seen.folder)
    plain, beside = seen.zeroshot(head="text"), seen.zeroshot(head="text", prototypes="seen")
    assert isinstance(plain, bp.Predictions)
    assert isinstance(beside, bp.Predictions)
    assert sorted(beside.classes.names) == sorted(names)
    assert not np.allclose(plain.scores, beside.scores)
    assert beside.taught is not None
    said = "3 taxa of the head text by text and pictures, 0 by pictures alone"
    assert any(said in str(note) for note in beside.notes)
    chosen = seen.zeroshot(
        head="text", prototypes="seen", worth_where="species == 'Panthera leo'", every_rank=True
    )
    assert isinstance(chosen, bp.Predictions)
    assert chosen.taught is not None
    assert chosen.taught.all()
    some = seen.zeroshot(head="text", prototypes="seen", within="Canis lupus")
    assert isinstance(some, bp.Predictions)
    assert set(name_best(some)) == {"Canis lupus"}


def test_what_a_text_counts_is_chosen_on_other_pictures(seen: Store) -> None:
    answers = ask(seen, prototypes="seen", worth_where="species == 'Panthera leo'")
    assert answers.taught is not None
    assert answers.taught.all()
    # Of two lions one made the prototype.
    said = "of 1 labelled images that made no prototype"
    assert said in answers.provenance.options["text_worth_rule"]
    with pytest.raises(SelectionError, match="is another than those that made the prototypes"):
        ask(seen, prototypes="seen", worth_where="species == 'Lynx lynx'")
    with pytest.raises(MisuseError, match="leave one of them out"):
        ask(seen, prototypes="seen", worth_where="species == 'Lynx lynx'", text_worth=1)


def test_what_does_not_go_together_is_refused(seen: Store, teach: Teach, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="has no text head 'none'; it has seen"):
        ask(seen, prototypes="none")
    with pytest.raises(MisuseError, match="is of image prototypes itself"):
        seen.zeroshot(head="seen", prototypes="seen")
    with pytest.raises(MisuseError, match="which no text makes"):
        seen.check_taxon(head="seen")
    with pytest.raises(StoreError, match="already; choose another --name"):
        seen.prototypes(name="seen")
    teach({"a Lynx pardinus": [0, 3, 4, 0]})
    seen.add_taxon("Lynx pardinus")
    seen.export_taxa(tmp_path / "text.npy", text_type="sci", templates="a {}")
    bp.import_vectors(tmp_path / "text.npy", model="plain-1", store=seen.folder)
    with pytest.raises(PromptError, match="the head text holds texts, no image prototypes"):
        ask(seen, prototypes="text")


def test_prototypes_go_to_another_store_and_add_a_taxon(
    seen: Store, tmp_path: Path, teach: Teach
) -> None:
    target = tmp_path / "lynx.npy"
    with pytest.raises(SourceError, match=r"is a \.npy file"):
        seen.prototypes(name="lynx", target=tmp_path / "lynx.npz")
    lynx = seen.where("species == 'Lynx lynx'").prototypes(name="lynx", target=target)
    assert str(lynx.notes[-1]) == f"1 prototypes -> {target}"
    shutil.copytree(seen.folder, tmp_path / "other")
    other = open_store(tmp_path / "other")
    imported = bp.import_vectors(target, model="plain-1", store=other.folder, name="brought")
    assert str(imported.notes[0]).startswith("1 image prototypes of 1 pictures as the head brought")
    listed = other.taxa(head="brought").to_frame()
    assert listed["species"].tolist() == ["Lynx lynx"]
    seen.where(rows=[0]).prototypes("family", name="cats")
    teach({"a Felidae": [0.5, 0.5, 0, 0.7], "a Canidae": [0, 0.2, 0.7, 0.7]})
    added = seen.add_taxon("Felidae", prototypes="cats", text_type="sci", templates="a {}")
    assert added.blend is not None
    assert added.taxon.lineage[3:5] == ("", "Felidae")
    with pytest.raises(PromptError, match="the head cats has no prototype of Ursidae"):
        seen.add_taxon("Ursidae", lineage=",,,,Ursidae", prototypes="cats")


def test_prototypes_go_with_the_pictures_that_made_them(seen: Store) -> None:
    seen.where(rows=[0]).prototypes(name="lion")
    open_store(seen.folder).remove(row=[2])
    done = open_store(seen.folder).compact()
    assert any("the image prototypes seen were made of some of them" in one
               for one in done.forgotten)  # fmt: skip
    with pytest.raises(StoreError, match="no text head 'seen'; it has lion"):
        open_store(seen.folder).zeroshot(head="seen")


def test_an_evaluation_asks_by_both(seen: Store) -> None:
    """The taxa of the prototypes are classes too, and options that do not fit are refused."""
    parts = {f"{row}.jpg": "train" if row in (1, 3) else "test" for row in range(4)}
    seen.split("species", method="imported", column="path", parts=parts)
    asked = {"text_type": "sci", "templates": "a {}", "n_resamples": 10}
    found = seen.evaluate("species", methods="zeroshot", prototypes="seen", **asked)  # type: ignore[arg-type]
    # The lynx made a prototype and is in no part that teaches: a class, and no judge.
    assert set(found.classes.names) == {"Canis lupus", "Lynx lynx", "Panthera leo"}
    assert found.predictions["row"].tolist() == [0]
    said = [str(note) for note in found.notes]
    assert any(one.startswith("image prototypes seen: 1 labelled images made") for one in said)
    assert "a text counts as 1 pictures (each taxon has a single picture, so that a text counts " \
        "as one)" in said  # fmt: skip
    assert any(one.startswith("zeroshot with the image prototypes: accuracy") for one in said)
    said_worth = seen.evaluate(
        "species",
        methods="zeroshot",
        prototypes="seen",
        text_worth=3,
        **asked,  # type: ignore[arg-type]
    )
    assert said_worth.results[0].settings[0]["text_worth"] == 3
    with pytest.raises(MisuseError, match="--prototypes is for zeroshot"):
        seen.evaluate("species", methods="centroid", prototypes="seen")
    with pytest.raises(MisuseError, match="speak of taxa, and the classes are values of path"):
        seen.evaluate("path", methods="zeroshot", prototypes="seen")
