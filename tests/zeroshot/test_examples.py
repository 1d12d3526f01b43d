"""Classes made of example pictures: kept, blended, placed among the others, forgotten."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.embedding import embed_images
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MismatchError, PromptError, SourceError, StoreError, TaxonomyError
from bioprobe.prompts import PromptSet, TextType
from bioprobe.sources.source import find_images
from bioprobe.store import EmbeddingStore, TextCache, read_added_taxa
from bioprobe.store.added_taxa import AddedList
from bioprobe.task.text_pooling import Pool
from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from bioprobe.zeroshot.added_taxa import (
    add_one,
    add_pictured,
    import_taxa,
    list_known,
    remove_one,
)
from bioprobe.zeroshot.blending import (
    WEIGHT_FRACTIONS,
    Blend,
    _leave_out_each,
    _Rivals,
    choose_blend,
)
from bioprobe.zeroshot.class_embeddings import embed_classes, embed_texts
from bioprobe.zeroshot.examples import (
    EXAMPLES_NAME,
    Examples,
    embed_examples,
    forget_examples,
    keep_examples,
    read_examples,
)
from bioprobe.zeroshot.seen_offset import SeenOffset
from bioprobe.zeroshot.zeroshot import find_top_classes, zeroshot
from tests.conftest import PlainEncoder

Vectors = npt.NDArray[np.float32]

NAMES = ("Panthera leo", "Canis lupus", "Ursus arctos")
NEW = Taxon.from_names({"species": "Lynx pardinus"})
OLD = Taxonomy(tuple(Taxon.from_names({"species": name}) for name in NAMES))
PROMPTS = PromptSet(Taxonomy((NEW, *OLD)), TextType.SCI, ("{}",))
# Every image shares a direction that no text has, as the images of a real model do.
GAP = 12


def _encode(texts: Sequence[str]) -> Vectors:
    # The text of the new species lies where the lion's does, nearly: a name it has not learnt.
    axes = {name: place for place, name in enumerate(NAMES)}
    rows = np.zeros((len(texts), 16), dtype=np.float32)
    for row, text in enumerate(texts):
        rows[row, axes.get(text, 0)] = 1
        rows[row, 4] = text == NEW.name
    return normalise_rows(rows)


def _draw(axis: int, n: int, seed: int) -> Vectors:
    rows = np.random.default_rng(seed).normal(size=(n, 16)) * 0.05
    rows[:, axis] += 0.5
    rows[:, GAP] += 1
    return normalise_rows(rows)


@pytest.fixture
def store(make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder) -> EmbeddingStore:
    frame = pd.DataFrame(
        {
            "path": [f"{row}.jpg" for row in range(90)],
            "sha256": [str(row) for row in range(90)],
            "species": [name for name in NAMES for _ in range(30)],
        }
    )
    vectors = np.concatenate([_draw(axis, 30, axis) for axis in range(3)])
    return make_store(encoder).append(frame, vectors)


def _add(
    store: EmbeddingStore, n: int = 3, weight_fractions: Sequence[float] = WEIGHT_FRACTIONS
) -> Blend:
    pictures = _draw(8, n, 9), tuple(f"new {number}" for number in range(n))
    others = dataclasses.replace(PROMPTS, taxa=OLD)
    return add_pictured(store, NEW, pictures, others, _encode, weight_fractions=weight_fractions)


def test_pictures_come_back_as_they_were_kept(store: EmbeddingStore) -> None:
    assert read_examples(store) == ()
    lion = Examples(OLD.taxa[0], _draw(0, 1, 1), ("a",), 1.0, -0.5, "said")
    lynx = Examples(NEW, _draw(8, 5, 1), tuple("abcde"), 0.75, 2.0, "chosen")
    AddedList.of_store(store).write((OLD.taxa[0], NEW))
    for one in (lion, lynx):
        keep_examples(store, one)
    found = read_examples(EmbeddingStore.open(store.folder))
    for one, other in zip(found, (lion, lynx), strict=True):
        np.testing.assert_array_equal(one.vectors, other.vectors)
        assert dataclasses.replace(one, vectors=other.vectors) == other
    forget_examples(store, NEW)
    assert [one.taxon for one in read_examples(store)] == [OLD.taxa[0]]
    forget_examples(store, OLD.taxa[0])
    assert not (store.folder / EXAMPLES_NAME).exists()


def test_pictures_count_with_the_list_alone_and_never_come_back(store: EmbeddingStore) -> None:
    keep_examples(store, Examples(NEW, _draw(8, 1, 1), ("a",), 1.0, 0.0, ""))
    assert read_examples(store) == ()
    place = AddedList.of_store(store)
    add_one(place, NEW)
    assert read_examples(store) == ()
    assert not (store.folder / EXAMPLES_NAME).exists()
    place.remove(NEW.name)
    _add(store, 4)
    place.remove(NEW.name)
    import_taxa(place, [NEW])
    assert read_examples(store) == ()


def test_pictures_of_another_encoder_are_refused(
    store: EmbeddingStore, make_store: Callable[..., EmbeddingStore]
) -> None:
    other = make_store(PlainEncoder(2), "other")
    keep_examples(store, Examples(NEW, _draw(8, 1, 1), ("a",), 1.0, 0.0, ""))
    AddedList.of_store(other).write((NEW,))
    (other.folder / EXAMPLES_NAME).write_bytes((store.folder / EXAMPLES_NAME).read_bytes())
    with pytest.raises(MismatchError, match="embedded by another encoder"):
        read_examples(other)


def test_a_damaged_file_of_pictures_is_refused(store: EmbeddingStore) -> None:
    (store.folder / EXAMPLES_NAME).write_bytes(b"no")
    with pytest.raises(StoreError, match="add the taxa with --images again"):
        read_examples(store)


@pytest.mark.parametrize(
    ("weight", "expected"), [(0.0, [0, 1]), (1.0, [1, 0]), (0.75, [0.9487, 0.3162])]
)
def test_a_blend_lies_between_pictures_and_text(weight: float, expected: list[float]) -> None:
    pictures = np.array([[1, 0.5], [1, -0.5]], dtype=np.float32)
    text = np.array([0, 1], dtype=np.float32)
    found = Examples(NEW, pictures, ("a", "b"), weight, 0.0, "").blend(text)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_homonym_has_no_part_in_the_pictures() -> None:
    snail = Taxon.from_names({"phylum": "Mollusca", "genus": "Lynx"})
    examples = Examples(snail, _draw(8, 1, 1), ("a",), 1.0, 0.0, "")
    assert examples.is_of(Taxon.from_names({"genus": "Lynx"}))
    assert not examples.is_of(Taxon.from_names({"phylum": "Chordata", "genus": "Lynx"}))
    assert not examples.is_of(Taxon.from_names({"phylum": "Mollusca", "genus": "Helix"}))


def test_pictures_find_what_the_text_does_not(store: EmbeddingStore) -> None:
    images = _draw(8, 20, 5)

    def ask() -> npt.NDArray[np.bool_]:
        found = embed_classes(store, PROMPTS, _encode)
        top, _ = find_top_classes(images, found.vectors, k=1, logit_scale=20, offsets=found.offsets)
        return np.asarray(top[:, 0] == 0)

    by_text = ask().mean()
    _add(store)
    assert by_text < 0.5
    assert ask().mean() > 0.9


def test_a_class_of_pictures_does_not_take_the_images_of_others(store: EmbeddingStore) -> None:
    before = zeroshot(store, PROMPTS, _encode, rank=Rank.SPECIES)
    added = _add(store)
    after = zeroshot(store, PROMPTS, _encode, rank=Rank.SPECIES)
    right = [(one.names[:, 0] == one.truth).mean() for one in (before, after)]
    assert added.others_before is not None
    assert added.others_after is not None
    assert right[1] == added.others_after.fraction
    assert (after.top_classes[:, 0] == 0).sum() <= 90 / 50
    # Without the offset the gap would give the new class every image.
    vectors = embed_classes(store, PROMPTS, _encode).vectors
    raw, _ = find_top_classes(store.read_vectors(), vectors, k=1, logit_scale=20)
    assert (raw[:, 0] == 0).mean() > 0.9


def test_more_weight_is_given_to_text_only_where_images_say_so(store: EmbeddingStore) -> None:
    # Pictures of a wrong class, and labelled images that lie where the text says.
    frame = pd.DataFrame({"path": ["x"] * 40, "species": [NEW.name] * 40})
    grown = store.append(frame, _encode([NEW.name] * 40) + 0.1 * _draw(4, 40, 2))
    pictures = _draw(1, 5, 4), tuple("abcde")
    chosen = choose_blend(grown, PROMPTS, _encode, NEW, *pictures)
    assert chosen.weight_fraction < WEIGHT_FRACTIONS[0]
    assert "40 labelled images of it" in chosen.rule
    alone = choose_blend(grown, PROMPTS, _encode, NEW, *pictures, weight_fractions=(1.0,))
    assert alone.weight_fraction == 1
    assert chosen.own is not None
    assert alone.own is not None
    assert chosen.own.fraction > alone.own.fraction


@pytest.mark.parametrize(
    ("n", "rule"), [(1, "stated default"), (2, "2 examples, each by the others")]
)
def test_without_labelled_images_of_it_the_examples_judge_each_other(
    store: EmbeddingStore, n: int, rule: str
) -> None:
    added = _add(store, n)
    assert added.weight_fraction == WEIGHT_FRACTIONS[0]
    assert rule in added.rule
    assert (added.own is None) == (n == 1)


def test_an_example_has_no_part_in_the_centre_that_judges_it() -> None:
    rivals = _Rivals(np.eye(3, 16, dtype=np.float32), np.zeros(3, np.float32), np.arange(3), 1.0)
    examples = np.eye(16, dtype=np.float32)[[7, 8, 8]]
    found = _leave_out_each(rivals, examples, np.eye(16, dtype=np.float32)[9])
    assert found is not None
    # The first has nothing of the others; each of these has one that is the same, and one that
    # is not.
    assert found.by_picture == pytest.approx([0, 0.5**0.5, 0.5**0.5])


def test_rows_that_are_the_examples_do_not_validate_them(store: EmbeddingStore) -> None:
    frame = pd.DataFrame(
        {"path": ["a", "b", "c"], "sha256": list("abc"), "species": [NEW.name] * 3}
    )
    grown = store.append(frame, _draw(8, 3, 4))
    chosen = choose_blend(grown, PROMPTS, _encode, NEW, _draw(8, 2, 4)[:2], ("a", "b"))
    assert chosen.own is not None
    assert chosen.own.n_images == 1


def test_without_labels_the_images_of_the_store_set_the_offset(
    make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder
) -> None:
    vectors = np.concatenate([_draw(axis, 30, axis) for axis in range(3)])
    frame = pd.DataFrame({"path": [str(row) for row in range(90)]})
    added = _add(make_store(encoder).append(frame, vectors))
    assert added.others_before is None
    assert added.offset > 0


def test_an_empty_store_or_no_other_class_needs_no_offset(
    make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder, store: EmbeddingStore
) -> None:
    pictures = _draw(8, 2, 1), ("a", "b")
    empty = choose_blend(make_store(encoder, "empty"), PROMPTS, _encode, NEW, *pictures)
    alone = dataclasses.replace(PROMPTS, taxa=Taxonomy((NEW,)))
    for found in (empty, choose_blend(store, alone, _encode, NEW, *pictures)):
        assert (found.weight_fraction, found.offset) == (WEIGHT_FRACTIONS[0], 0)


def test_a_taxon_that_is_no_class_cannot_be_blended(store: EmbeddingStore) -> None:
    other = Taxon.from_names({"species": "Puma concolor"})
    with pytest.raises(PromptError, match="'Puma concolor' is not among the 4 classes"):
        choose_blend(store, PROMPTS, _encode, other, _draw(8, 1, 1), ("a",))


def test_a_taxon_is_added_with_its_pictures_or_not_at_all(store: EmbeddingStore) -> None:
    def fail(texts: Sequence[str]) -> Vectors:
        raise PromptError(texts[0])

    others = dataclasses.replace(PROMPTS, taxa=OLD)
    with pytest.raises(PromptError):
        add_pictured(store, NEW, (_draw(8, 1, 1), ("a",)), others, fail)
    assert len(read_added_taxa(store)) == 0
    assert not (store.folder / EXAMPLES_NAME).exists()
    _add(store, 4)
    known = {one.taxon.name: (one.origin, one.n_pictures) for one in list_known(store)}
    assert known[NEW.name] == ("added", 4)
    assert known[NAMES[0]] == ("labels", 0)
    with pytest.raises(TaxonomyError, match="was added before"):
        _add(store)
    assert len(read_examples(store)[0]) == 4
    remove_one(AddedList.of_store(store), NEW.name, store)
    assert read_examples(store) == ()


@pytest.mark.parametrize("pool", list(Pool))
def test_every_pool_asks_the_pictures(store: EmbeddingStore, pool: Pool) -> None:
    prompts = dataclasses.replace(PROMPTS, templates=("{}", "a {}"))

    def encode(texts: Sequence[str]) -> Vectors:
        return _encode([text.removeprefix("a ") for text in texts])

    _add(store)
    images = _draw(8, 30, 7)
    grown = store.append(pd.DataFrame({"path": ["x"] * 30}), images)
    found = zeroshot(grown, prompts, encode, rank=Rank.SPECIES, k=4, pool=pool)
    assert (found.names[90:, 0] == NEW.name).mean() > 0.9
    np.testing.assert_allclose(found.scores.sum(axis=1), 1, atol=1e-5)


def test_a_class_of_pictures_has_one_row_among_the_texts(store: EmbeddingStore) -> None:
    prompts = dataclasses.replace(PROMPTS, templates=("{}", "a {}"))

    def encode(texts: Sequence[str]) -> Vectors:
        return _encode([text.removeprefix("a ") for text in texts])

    assert embed_texts(store, prompts, encode).classes.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    added = _add(store)
    found = embed_texts(store, prompts, encode, seen_offset=SeenOffset(3.0, (OLD.taxa[0],)))
    assert found.classes.tolist() == [0, 1, 1, 2, 2, 3, 3]
    expected = [3 + added.offset, 0, 0, 3, 3, 3, 3]
    np.testing.assert_allclose(found.offsets, expected, rtol=1e-5)
    classes = embed_classes(store, prompts, encode)
    np.testing.assert_allclose(found.vectors[0], classes.vectors[0], atol=1e-6)


def test_an_offset_of_seen_classes_moves_answers_to_the_new_one(store: EmbeddingStore) -> None:
    offset = SeenOffset(1e3, (NEW,))
    found = zeroshot(store, PROMPTS, _encode, rank=Rank.SPECIES, seen_offset=offset)
    assert set(found.names[:, 0]) == {NEW.name}
    assert found.provenance.options["seen_offset"] == 1e3


def test_example_pictures_are_files_or_folders_and_count_once(
    make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder,
    write_pictures: Callable[..., Path],
) -> None:  # fmt: skip
    stored, new = write_pictures(2), write_pictures(3, "new", first=1)
    embed_images(find_images([stored]), encoder, make_store(encoder))
    opened = make_store(encoder)
    texts = TextCache(opened, lambda: encoder)
    n_before = encoder.n_images_seen
    vectors, sha256s = embed_examples(opened, texts, [new, stored / "001.png"])
    # 001 is in both folders and in the store, so only two are decoded.
    assert (len(vectors), len(sha256s), encoder.n_images_seen - n_before) == (3, 3, 2)
    row = list(opened.images.frame["sha256"]).index(sha256s[0])
    np.testing.assert_array_equal(vectors[0], opened.read_vectors(np.array([row]))[0])
    for files in ([], [new / "none.png"]):
        with pytest.raises(SourceError, match="no example picture"):
            embed_examples(opened, texts, files)
