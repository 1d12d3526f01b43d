"""Image prototypes: what is made of pictures, and how it stands beside texts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.encoders.encoder import Fingerprint, normalise_rows
from bioprobe.errors import MismatchError, PromptError, SelectionError, SourceError, StoreError
from bioprobe.interchange.treeoflife import export_prototypes, import_text_head
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.taxonomy import Rank, Taxon
from bioprobe.taxonomy.columns import LABEL_COLUMNS
from bioprobe.zeroshot.fusion import (
    Fusion,
    HeadRows,
    Joined,
    TextRows,
    _find_worth,
    choose_worth,
    join_prototypes,
)
from bioprobe.zeroshot.prototypes import MadeOf, make_prototypes
from bioprobe.zeroshot.text_head import TextHead, read_head, write_head, write_prototypes

Vectors = npt.NDArray[np.float32]

CATS = ("Panthera leo", "Lynx lynx", "Felis catus")
DIM = 48


def make_store(
    folder: Path, frame: pd.DataFrame, vectors: Vectors, *, model: str = "mine"
) -> EmbeddingStore:
    encoder = Fingerprint(model=model, backend="imported")
    store = EmbeddingStore.create(folder, encoder, dim=vectors.shape[1], logit_scale=10.0)
    return store.append(frame, normalise_rows(vectors))


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    species = [CATS[0]] * 5 + [CATS[1]] * 2 + ["", "Canis lupus"]
    frame = pd.DataFrame(
        {
            "path": [f"{n}.jpg" for n in range(9)],
            "order": ["Carnivora"] * 9,
            "family": ["Felidae"] * 8 + ["Canidae"],
            "species": species,
            "common_name": ["lion"] * 5 + ["lynx"] * 2 + ["", "wolf"],
            # The second picture is a copy of the first.
            "sha256": [f"{n:064x}" for n in (0, 0, 2, 3, 4, 5, 6, 7, 8)],
            "burst": ["", "", "b", "b", "c", "", "", "", ""],
        }
    )
    vectors = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
    vectors[1] = vectors[0]
    return make_store(tmp_path / "S", frame, vectors)


def mean_direction(rows: Vectors) -> tuple[Vectors, float]:
    mean = rows.astype(np.float64).mean(axis=0)
    length = float(np.linalg.norm(mean))
    return mean / length, length


def test_a_prototype_is_the_mean_direction_of_what_counts_once(store: EmbeddingStore) -> None:
    rows = store.read_vectors(store.rows)
    made = make_prototypes(store, Rank.SPECIES)
    frame = made.to_frame().set_index("species")
    assert list(frame.index) == [CATS[0], CATS[1], "Canis lupus"]
    assert frame["n_images"].tolist() == [5, 2, 1]
    assert frame["n_groups"].tolist() == [4, 2, 1]
    vector, length = mean_direction(rows[[0, 2, 3, 4]])
    np.testing.assert_allclose(made.vectors[0], vector, atol=1e-6)
    # The length of the mean is the mean cosine to its direction.
    assert frame["mean_cosine"].iloc[0] == pytest.approx(length, abs=1e-6)
    assert (rows[[0, 2, 3, 4]] @ vector).mean() == pytest.approx(length, abs=1e-6)

    by_burst = make_prototypes(store, Rank.SPECIES, group_columns=["burst"])
    assert by_burst.made_of.n_groups.tolist() == [3, 2, 1]
    burst = mean_direction(rows[[2, 3]])[0].astype(np.float32)
    wanted = mean_direction(np.stack([rows[0], burst, rows[4]]))[0]
    np.testing.assert_allclose(by_burst.vectors[0], wanted, atol=1e-6)


def test_a_block_of_vectors_at_a_time_says_the_same(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_prototypes(store, Rank.FAMILY, group_columns=["burst"])
    monkeypatch.setattr("bioprobe.zeroshot.prototypes._ROWS_AT_ONCE", 2)
    parts = make_prototypes(store, Rank.FAMILY, group_columns=["burst"])
    np.testing.assert_allclose(parts.vectors, whole.vectors, atol=1e-7)
    pd.testing.assert_frame_equal(parts.made_of.to_frame(), whole.made_of.to_frame())
    assert whole.made_of.n_groups.tolist() == [6, 1]


def test_labels_at_the_rank_are_needed_and_columns_are_named(store: EmbeddingStore) -> None:
    assert [taxon.name for taxon in make_prototypes(store, Rank.FAMILY).taxa] == [
        "Felidae", "Canidae",
    ]  # fmt: skip
    with pytest.raises(SelectionError, match=r"no image of .* has a label at genus"):
        make_prototypes(View.of(store, "family == 'Felidae' and species == ''"), Rank.GENUS)
    with pytest.raises(SelectionError, match="individual"):
        make_prototypes(store, Rank.SPECIES, group_columns=["individual"])


def test_a_head_of_prototypes_knows_its_pictures(store: EmbeddingStore) -> None:
    made = make_prototypes(View.of(store, "family == 'Felidae'"), Rank.SPECIES)
    written = write_prototypes(store, "cats", made)
    head = read_head(store, "cats")
    np.testing.assert_array_equal(head.vectors, written.vectors)
    assert head.made_of is not None
    assert head.made_of.find_taught(store.images, store.rows).tolist() == [True] * 7 + [False] * 2
    pd.testing.assert_frame_equal(head.made_of.to_frame(), made.made_of.to_frame())
    np.save(store.folder / "text/heads/cats/pictures.npy", np.zeros(3))
    with pytest.raises(StoreError, match=r"pictures\.npy is float64"):
        read_head(store, "cats")


def test_marks_are_sorted_once_however_often_they_are_looked_at(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_of = make_prototypes(View.of(store, "family == 'Felidae'"), Rank.SPECIES).made_of
    descending = dataclasses.replace(made_of, marks=made_of.marks[::-1].copy())
    nothing = dataclasses.replace(made_of, marks=made_of.marks[:0])
    sort, n_sorted = np.sort, list[int]()

    def count(marks: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        n_sorted.append(len(marks))
        return sort(marks)

    monkeypatch.setattr(np, "sort", count)
    for of, n_sorts, n_taught in ((made_of, 0, 7), (descending, 1, 7), (nothing, 0, 0)):
        for _ in range(2):
            taught = of.find_taught(store.images, store.rows).tolist()
            assert taught == [True] * n_taught + [False] * (9 - n_taught)
        # No picture is one of none.
        assert not of.find_taught(store.images, store.rows[7:]).any()
        assert len(n_sorted) == n_sorts
        n_sorted.clear()


def test_prototypes_of_species_give_those_of_what_lies_above(store: EmbeddingStore) -> None:
    head = write_prototypes(store, "all", make_prototypes(store, Rank.SPECIES))
    taxa = [Taxon.from_names({"family": name}) for name in ("Canidae", "Ursidae", "Felidae")]
    joined = join_prototypes(head, taxa)
    whole = make_prototypes(View.of(store, "species != ''"), Rank.FAMILY)
    assert joined.places.tolist() == [0, 2]
    assert joined.n_groups.tolist() == [1, 6]
    np.testing.assert_allclose(joined.vectors, whole.vectors[[1, 0]], atol=1e-6)
    with pytest.raises(PromptError, match=r"no row of the .*head 'all'"):
        join_prototypes(head, taxa[1:2])


def test_prototypes_go_to_another_store_of_the_encoder_alone(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    made = make_prototypes(store, Rank.SPECIES)
    target = tmp_path / "cats.npy"
    with pytest.raises(SourceError, match=r"is a \.npy file"):
        export_prototypes(tmp_path / "cats.npz", made, "key")
    export_prototypes(target, made, store.manifest.encoder.key)
    frame = pd.DataFrame({"path": ["x.jpg", "2.jpg"], "sha256": ["f" * 64, f"{2:064x}"]})
    other = make_store(tmp_path / "T", frame, np.eye(6, dtype=np.float32)[:2])
    summary = import_text_head(target, other, model="mine")
    assert (summary.n_imported, summary.n_pictures) == (3, 8 - 1)
    head = read_head(other, "cats")
    np.testing.assert_allclose(head.vectors, made.vectors, atol=1e-6)
    assert list(head.taxa["species"]) == [taxon.name for taxon in made.taxa]
    assert head.made_of is not None
    # A picture is the same wherever it lies.
    assert head.made_of.find_taught(other.images, other.rows).tolist() == [False, True]

    # Of the same name, and not the same: the fingerprint counts.
    export_prototypes(target, made, "0" * 64)
    with pytest.raises(MismatchError, match="another encoder"):
        import_text_head(target, other, model="mine", name="again")
    target.with_suffix(".pictures.npz").write_bytes(b"nothing")
    with pytest.raises(SourceError, match=r"pictures\.npz cannot be read"):
        import_text_head(target, other, model="mine", name="again")


def test_prototypes_of_imported_vectors_are_of_a_model_by_its_name(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    made, target = make_prototypes(store, Rank.SPECIES), tmp_path / "cats.npy"
    seen = Fingerprint(
        model="hf-hub:imageomics/bioclip-2", weights_sha256="ab" * 32, backend="open_clip"
    )
    mine = EmbeddingStore.create(tmp_path / "mine", seen, dim=6)
    mine = mine.append(pd.DataFrame({"path": ["x.jpg"]}), np.eye(6, dtype=np.float32)[:1])
    export_prototypes(target, made, Fingerprint(model="bioclip-2", backend="imported").key)
    summary = import_text_head(target, mine, model="bioclip-2")
    assert (summary.n_imported, summary.is_on_word) == (3, True)
    export_prototypes(target, made, seen.key)
    assert not import_text_head(target, mine, model="bioclip-2", name="own").is_on_word
    export_prototypes(target, made, Fingerprint(model="bioclip", backend="imported").key)
    with pytest.raises(MismatchError, match="another encoder"):
        import_text_head(target, mine, model="bioclip-2", name="again")


@pytest.fixture
def drawn() -> tuple[Vectors, Vectors, Vectors, npt.NDArray[np.int64]]:
    """Draw 40 classes: texts, means of 2 images, and 22 more, with a gap between the kinds."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(40, DIM))
    labels = np.repeat(np.arange(40), 24)
    texts = centres + rng.normal(size=centres.shape)
    images = centres[labels] + 1.5 * rng.normal(size=(len(labels), DIM))
    texts[:, -1], images[:, -1] = -20, 20
    unit = normalise_rows(images.astype(np.float32))
    means = np.stack([unit[labels == c][:2].mean(axis=0) for c in range(40)])
    asked = np.tile(np.arange(24) >= 2, 40)
    return normalise_rows(texts.astype(np.float32)), means, unit[asked], labels[asked]


def find_fusion(texts: Vectors, means: Vectors, both: npt.NDArray[np.int64]) -> Fusion:
    counts, lengths = np.full(len(means), 2), np.linalg.norm(means, axis=1)
    made_of = MadeOf(counts, counts, lengths, np.zeros(0, np.uint64))
    joined = Joined(np.arange(len(means)), normalise_rows(means), counts)
    return Fusion.find(texts.mean(axis=0), texts[both], both, joined, made_of)


def share(answers: npt.NDArray[np.int64], of: npt.NDArray[np.bool_]) -> float:
    """Return the share of answers that are classes of a kind."""
    return float(of[answers].mean())


def test_neither_kind_is_favoured_for_being_there(
    drawn: tuple[Vectors, Vectors, Vectors, npt.NDArray[np.int64]],
) -> None:
    texts, means, images, labels = drawn
    everyone, prototypes = np.arange(40), normalise_rows(means)
    fusion = find_fusion(texts, means, everyone)
    pictured, alone = everyone % 4 == 0, everyone % 4 == 1
    rows = texts.copy()
    rows[pictured] = fusion.fuse(everyone[pictured], texts[pictured], fusion.worth)
    rows[alone] = fusion.stand_alone(everyone[alone])
    by_text = ~pictured & ~alone
    # Images of classes of one kind alone do not go to those of another more than chance says.
    answers = (images @ rows.T).argmax(axis=1)
    wrong = answers != labels
    for kind, n in ((pictured, 10), (alone, 10), (by_text, 20)):
        assert share(answers[wrong & ~kind[labels]], kind) < 2.2 * n / 40
    # Side by side as they are, pictures take all.
    plain = np.where(alone[:, np.newaxis], prototypes, texts)
    assert share((images @ plain.T).argmax(axis=1), alone) > 0.99
    # Both together are right more often than either.
    fused = fusion.fuse(everyone, texts, fusion.worth)
    right = [float(((images @ r.T).argmax(axis=1) == labels).mean())
             for r in (texts, prototypes, fused)]  # fmt: skip
    assert right[2] > max(right[:2]) + 0.03


def test_a_text_counts_for_as_many_pictures_as_its_variance_says(
    drawn: tuple[Vectors, Vectors, Vectors, npt.NDArray[np.int64]],
) -> None:
    texts, means, *_ = drawn
    everyone = np.arange(40)
    fusion = find_fusion(texts, means, everyone)
    assert 0.0625 <= fusion.worth <= 1024
    # Texts that say nothing of the class count less.
    astray = find_fusion(np.roll(texts, 1, axis=0), means, everyone)
    assert astray.worth < fusion.worth / 1.5
    np.testing.assert_allclose(
        fusion.fuse(everyone, texts, np.inf), texts, atol=1e-6
    )  # fmt: skip
    np.testing.assert_allclose(
        fusion.fuse(everyone, texts, 0), fusion.stand_alone(everyone), atol=1e-6
    )
    with pytest.raises(PromptError, match="2 of the classes have a text and a prototype"):
        find_fusion(texts, means, np.arange(2))


def test_the_variances_that_weigh_a_text_are_in_one_frame() -> None:
    # Two pictures of a cosine of .8 with their mean: a variance of 2 (1 - .64), in the frame of
    # texts a quarter of it, .18; texts are .27 away, of which half of that is the mean's own.
    two = np.full(3, 2)
    # Two that count, of which each is of two copies.
    made_of = MadeOf(2 * two, two, np.full(3, 0.8), np.zeros(0, np.uint64))
    assert _find_worth(np.full(3, 0.27), two, made_of, 0.5)[0] == pytest.approx(1)


def test_what_labelled_images_choose_must_be_better_by_a_standard_error() -> None:
    nothing, one = np.zeros((1, 1), np.float32), np.ones(1, np.int64)
    fusion = Fusion(nothing[0], nothing, one, 0.0, 2.0, "by counts")
    assert choose_worth(fusion, lambda worth: (51 if worth == 8 else 50, 100))[0] == 2.0
    worth, rule = choose_worth(fusion, lambda worth: (90 if worth == 8 else 50, 100))
    assert (worth, rule[:9]) == (8.0, "90 of 100")
    # Also where none is right, of which the error is not nothing.
    assert choose_worth(fusion, lambda worth: (int(worth == 8), 20))[0] == 2.0


@pytest.fixture
def heads(tmp_path: Path) -> tuple[TextHead, TextHead]:
    """Make a text head of four species and a family, and prototypes of three and another."""
    rng = np.random.default_rng(2)
    names = ["Aa aa", "Bb bb", "Cc cc", "Dd dd"]
    frame = pd.DataFrame(
        {"path": list("abcdefgh"), "species": ["Aa aa", "Bb bb", "Cc cc", "Ee ee"] * 2,
         "family": "Xidae"}
    )  # fmt: skip
    store = make_store(tmp_path / "S", frame, rng.normal(size=(8, 6)).astype(np.float32))
    taxa = pd.DataFrame("", index=range(6), columns=list(LABEL_COLUMNS), dtype=object)
    taxa["species"] = [*names, "", "Aa aa"]
    taxa["family"] = ["Xidae"] * 4 + ["Yidae", "Xidae"]
    text = write_head(store, "text", taxa, [rng.normal(size=(6, 6)).astype(np.float32)], source="x")
    return text, write_prototypes(store, "made", make_prototypes(store, Rank.SPECIES))


def test_prototypes_stand_among_the_rows_of_a_head(heads: tuple[TextHead, TextHead]) -> None:
    text, made = heads
    rows = HeadRows.of_head(text, made)
    assert ([rows.taxa[n].name for n in rows.both], [rows.taxa[n].name for n in rows.alone]) == (
        ["Aa aa", "Bb bb", "Cc cc"], ["Ee ee"],
    )  # fmt: skip
    # Two texts of one taxon stand back for one row of both.
    assert sorted(rows.replaced.tolist()) == [0, 1, 2, 5]
    fused = rows.fuse(rows.fusion.worth)
    species = fused.taxa["species"].tolist()
    assert species == ["", "", "", "Dd dd", "", "", "Aa aa", "Bb bb", "Cc cc", "Ee ee"]
    np.testing.assert_array_equal(fused.vectors[3:5], text.vectors[3:5])
    np.testing.assert_allclose(fused.vectors[9:], rows.fusion.stand_alone(rows.alone), atol=1e-6)


def test_a_taxon_that_a_head_divides_further_is_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    families = ["Uidae", "Vidae", "Widae", "Xidae"]
    frame = pd.DataFrame({"path": list("abcd"), "family": families})
    store = make_store(tmp_path / "S", frame, rng.normal(size=(4, 6)).astype(np.float32))
    taxa = pd.DataFrame("", index=range(6), columns=list(LABEL_COLUMNS), dtype=object)
    taxa["family"] = [*families, "Xidae", "Uidae"]
    taxa["species"] = ["", "", "", "Aa aa", "Bb bb", "Cc cc"]
    text = write_head(store, "text", taxa, [rng.normal(size=(6, 6)).astype(np.float32)], source="x")
    made = write_prototypes(store, "made", make_prototypes(store, Rank.FAMILY))
    rows = HeadRows.of_head(text, made)
    assert [rows.taxa[n].name for n in rows.both] == families[:3]
    assert (rows.alone.tolist(), rows.n_left_out) == ([], 1)
    # Species of a family stay beside what is known of the family alone.
    assert sorted(rows.replaced.tolist()) == [0, 1, 2]


def test_texts_of_a_class_have_its_prototype_each(heads: tuple[TextHead, TextHead]) -> None:
    _, made = heads
    taxa = [Taxon.from_names({"species": name}) for name in ("Cc cc", "Zz zz", "Aa aa", "Bb bb")]
    texts = normalise_rows(np.random.default_rng(3).normal(size=(6, 6)).astype(np.float32))
    classes = np.array([0, 0, 1, 2, 3, 3])
    rows = TextRows.of_classes(made, taxa, texts, classes)
    fused = rows.fuse(1.0)
    assert (rows.rows.tolist(), rows.n_classes) == ([0, 1, 3, 4, 5], 3)
    np.testing.assert_array_equal(fused[2], texts[2])
    assert not np.isclose(fused[rows.rows], texts[rows.rows]).all(axis=1).any()
    # Who has pictures of its own keeps them, here one of three that are needed.
    with pytest.raises(PromptError, match="2 of the classes"):
        TextRows.of_classes(made, taxa, texts, classes, own=["Cc cc"])
    with pytest.raises(PromptError, match="holds texts"):
        join_prototypes(heads[0], taxa)
