from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bioprobe as bp
from bioprobe.face.quality_pages import NoiseFilter
from bioprobe.progress import Step
from bioprobe.prompts import PromptSet, TextType
from bioprobe.quality.noise import filter_noise, read_noise_prompts
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import read_selection
from bioprobe.taxonomy import Rank
from bioprobe.taxonomy.columns import to_taxonomy
from bioprobe.zeroshot.zeroshot import zeroshot

Encoder = Any


def _texts(result: Any) -> list[str]:  # noqa: ANN401
    return [str(note) for note in result.notes]


def test_zeroshot_is_what_the_library_answers_with_what_is_to_be_said(
    opened: bp.Store, encoder: Encoder
) -> None:
    kept = EmbeddingStore.open(opened.folder)
    taxa = to_taxonomy(kept.images.frame).at(Rank.FAMILY)
    prompts = PromptSet(taxa, TextType.TAXON_COM, ("a photo of {}.",))
    expected = zeroshot(kept, prompts, encoder.encode_text, rank=Rank.FAMILY, k=2)
    answers = opened.zeroshot("family", k=2, columns="none")
    assert isinstance(answers, bp.Predictions)
    assert np.array_equal(answers.scores, expected.scores)
    assert answers.to_frame().equals(expected.to_frame())
    said = _texts(answers)
    assert said[0] == "images: 6; classes at family: 2; text type: taxon_com; templates: 1"
    assert said[1] == "2 classes have no common name: the scientific one is used"
    assert said[2].startswith("against the labels of 4 images: top-1 ")
    assert repr(answers) == f"<Predictions: {said[0]}>"


def test_zeroshot_may_abstain_and_say_how_unknown_an_image_is(opened: bp.Store) -> None:
    decided = opened.zeroshot("family", abstain=0.999)
    assert isinstance(decided, bp.Decisions)
    assert _texts(decided)[-2].startswith("images: 6; answered at: ")
    frame = opened.zeroshot("family", k=2, open_set=True, columns="none").to_frame()
    assert list(frame.columns[-3:]) == [
        "unknown_max_softmax", "unknown_energy", "unknown_distance"
    ]  # fmt: skip
    assert (frame.groupby("row")["unknown_energy"].nunique() == 1).all()


def test_fewer_images_are_asked_in_their_order_and_that_is_said(opened: bp.Store) -> None:
    some = opened.where(rows=[4, 1])
    assert some.zeroshot("family", k=1).to_frame()["row"].tolist() == [4, 1]
    opened.filter(threshold=-1000)
    kept = opened.where(mask="filters/animal")
    assert kept.notes[0].text == "mask filters/animal: 6 images kept, 0 dropped"
    assert _texts(kept.zeroshot("family"))[0] == kept.notes[0].text


def test_texts_are_encoded_once_however_the_images_are_chosen(
    opened: bp.Store, encoder: Encoder, loads: list[str]
) -> None:
    opened.zeroshot("family")
    opened.where("family == 'Felidae'").zeroshot("family", taxa=None)
    assert loads == ["plain-1"]
    assert len(encoder.texts_seen) == 2


@pytest.mark.parametrize("many", [False, True])
def test_search_takes_one_or_several_terms(opened: bp.Store, labelled: Path, *, many: bool) -> None:
    file = labelled.parent / "003.png"
    by_row = opened.search(row=[3] if many else 3, exclude_query=False, k=3)
    by_image = opened.search(image=[file] if many else str(file), k=3)
    assert by_row.rows.tolist() == by_image.rows.tolist()
    assert by_row.rows[0] == 3
    expected = opened.X @ opened.X[3]
    assert by_row.similarities == pytest.approx(np.sort(expected)[::-1][:3], abs=1e-6)
    assert opened.search(text=["a cat"] if many else "a cat", k=9).rows.shape == (6,)


def test_a_notebook_draws_what_was_found(opened: bp.Store, labelled: Path, tmp_path: Path) -> None:
    found = opened.search(row=3, k=4)
    (labelled.parent / "000.png").unlink()
    drawn = found._repr_html_()
    n_gone = int(0 in found.rows)
    assert drawn.count('src="data:image/jpeg;base64,') == 4 - n_gone
    assert drawn.count("picture not found or not readable") == n_gone
    assert drawn.count("similarity ") == 4
    assert repr(found) == "<Neighbors: 4 images nearest to row 3>"
    assert found.write_page(tmp_path / "page.html") == 4
    assert (tmp_path / "page.html").read_text().count("similarity ") == 4


def test_filter_keeps_a_mask_and_can_be_asked_again(
    opened: bp.Store, encoder: Encoder, tmp_path: Path
) -> None:
    kept = EmbeddingStore.open(opened.folder)
    expected = filter_noise(kept, read_noise_prompts("animal"), encoder.encode_text)
    found = opened.filter("animal", level="family")
    assert isinstance(found, NoiseFilter)
    assert np.array_equal(found.scores, expected.scores)
    assert read_selection(kept, "filters/animal").kept.tolist() == found.kept.tolist()
    n_dropped = int((~found.kept).sum())
    assert _texts(found)[0].startswith(f"images: 6; dropped: {n_dropped} (")
    assert _texts(found)[0].endswith("use it with: --mask filters/animal")
    none = found.at(1000.0)
    assert (~none.kept).all()
    assert none.notes == ()
    assert none.write_page(tmp_path / "page.html", by="class") == 6
    assert "<h2>Felidae" in (tmp_path / "page.html").read_text()


def test_describe_counts_images_by_rank_and_by_class(opened: bp.Store) -> None:
    found = opened.describe()
    row = found.to_frame().set_index("rank").loc["family"]
    assert [row["n_labelled"], row["n_missing"], row["n_classes"]] == [4, 2, 2]
    classes = opened.describe("family")
    assert classes.to_frame()["n_images"].tolist() == [2, 2]
    assert classes.provenance == found.provenance
    assert _texts(found)[0] == "images: 6; files that could not be read: 0"


def test_plain_arrays_are_row_for_row(opened: bp.Store) -> None:
    felids = opened.where("family == 'Felidae'")
    assert felids.rows.tolist() == [0, 3]
    assert felids.labels("family").tolist() == ["Felidae", "Felidae"]
    assert np.array_equal(felids.X, opened.X[[0, 3]])
    assert felids.images["path"].tolist() == ["000.png", "003.png"]
    assert felids.images["site"].tolist() == ["north", "north"]


def test_unknown_names_are_named(opened: bp.Store, tmp_path: Path) -> None:
    with pytest.raises(bp.PromptError, match=r"no candidate is or lies below 'Felidea' .*Felidae"):
        opened.zeroshot("family", within="Felidea")
    (tmp_path / "list.txt").write_text("Panthera leo\n")
    with pytest.raises(bp.PromptError, match=r"no taxon in .* has a name at family"):
        opened.zeroshot("family", taxa=tmp_path / "list.txt")
    with pytest.raises(bp.SelectionError, match="no rank and no column 'clan'"):
        opened.zeroshot("clan")


def test_no_more_answers_come_than_there_are_classes(opened: bp.Store) -> None:
    assert len(opened.zeroshot("family", k=50).to_frame()) == 6 * 2


def test_limits_and_fixed_choices_are_told(opened: bp.Store) -> None:
    with pytest.raises(bp.MisuseError, match=r"^-k is 1 or more, got 0$"):
        opened.zeroshot("family", k=0)
    with pytest.raises(bp.MisuseError, match=r"^--abstain is 0 or more and 1 or less, got 2$"):
        opened.zeroshot("family", abstain=2)
    with pytest.raises(
        bp.MisuseError, match=r"^--roll-up counts only with no --head and no --abstain"
    ):
        opened.zeroshot("family", head="x", roll_up=True)


def test_progress_is_told_where_many_images_are_asked(
    opened: bp.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Step] = []
    again = bp.open(opened.folder, progress=steps.append)
    again.zeroshot(classes="cat,dog")
    assert not steps
    monkeypatch.setattr("bioprobe.store.view._IMAGES_AT_ONCE", 4)
    again.zeroshot(classes="cat,dog")
    assert steps == [Step(4, 6, "images asked"), Step(6, 6, "images asked")]
