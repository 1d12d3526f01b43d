"""Added taxa beside a text head, by its own recipe, and whether a head is this model's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import LongTextError, ModelUnavailableError, PromptError
from bioprobe.store import EmbeddingStore, TextCache
from bioprobe.store.added_taxa import AddedList
from bioprobe.task.text_pooling import Pool
from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from bioprobe.taxonomy.columns import LABEL_COLUMNS
from bioprobe.types import Vectors
from bioprobe.zeroshot.examples import Examples, keep_examples
from bioprobe.zeroshot.head_recipe import (
    Beside,
    Recipe,
    check_head,
    find_recipe,
    find_recipes,
    put_beside,
)
from bioprobe.zeroshot.text_head import (
    StackedRows,
    TextHead,
    find_head_classes,
    write_head,
)
from tests.zeroshot.asking import zeroshot_by_head

if TYPE_CHECKING:
    from tests.conftest import PlainEncoder

# Rows as a head's JSON has them: of a species the epithet.
MAMMAL = ("Animalia", "Chordata", "Mammalia", "Carnivora")
ROWS = [
    ((*MAMMAL, "Felidae", "Panthera", "leo"), "lion"),
    ((*MAMMAL, "Felidae", "Lynx", "lynx"), "lynx"),
    ((*MAMMAL, "Canidae", "Canis", "lupus familiaris"), "dog"),
    (("Plantae", "", "", "", "Ericaceae", "Pieris", "japonica"), ""),
    (("Animalia", "Arthropoda", "Insecta", "", "Pieridae", "Pieris", "rapae"), "small white"),
]
SNOW_LEOPARD = Taxon((*MAMMAL, "Felidae", "Panthera", "Panthera uncia"), common_name="snow leopard")
LION = Taxon((*MAMMAL, "Felidae", "Panthera", "Panthera leo"))
BEETLE = Taxon(("Animalia", "Arthropoda", "Insecta", "", "Xidae", "Pieris", "Pieris japonica"))
TEMPLATES = tuple(
    line
    for line in (Path(__file__).parents[2] / "prompts/templates/openai.txt").read_text().split("\n")
    if line and not line.startswith("#")
)


def write_by_hand(names: Sequence[str], common: str) -> list[str]:
    """Write a taxon as the script of BioCLIP 2's head did."""
    said = " ".join(names) + " " + common
    return [template.replace("{}", said) for template in TEMPLATES]


def average(encoder: PlainEncoder, texts: Sequence[str]) -> Vectors:
    mean = encoder.encode_text(texts).mean(axis=0, keepdims=True)
    return np.asarray(normalise_rows(mean)[0])


def make_head(
    store: EmbeddingStore, write: Callable[[Sequence[str], str], Sequence[str]], name: str = "tol"
) -> TextHead:
    from tests.conftest import PlainEncoder

    vectors = np.array([average(PlainEncoder(), write(*row)) for row in ROWS])
    rows = [(*names[:6], f"{names[5]} {names[6]}", common) for names, common in ROWS]
    taxa = pd.DataFrame(rows, columns=list(LABEL_COLUMNS), dtype=object)
    return write_head(store, name, taxa, [vectors], source="made up")


@pytest.fixture
def store(make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder) -> EmbeddingStore:
    store = make_store(encoder)
    frame = pd.DataFrame({"path": ["leopard", "lion"], "family": ["Felidae", "Felidae"]})
    uncia = average(
        encoder, write_by_hand((*MAMMAL, "Felidae", "Panthera", "uncia"), "snow leopard")
    )
    leo = average(encoder, write_by_hand(*ROWS[0]))
    encoder.texts_seen.clear()
    return store.append(frame, np.array([uncia, leo]))


@pytest.fixture
def head(store: EmbeddingStore) -> TextHead:
    return make_head(store, write_by_hand)


@pytest.fixture
def beside(store: EmbeddingStore, head: TextHead, encoder: PlainEncoder) -> Callable[..., Beside]:
    """Add taxa to the store, and put them beside its head."""

    def put(*taxa: Taxon, rank: Rank | None = Rank.SPECIES, head: TextHead = head) -> Beside:
        AddedList.of_store(store).write(taxa)
        return put_beside(store, head, rank, lambda: TextCache(store, lambda: encoder).encode_means)

    return put


def _refuse() -> PlainEncoder:
    pytest.fail("the encoder was loaded although no text is new")


def tell(found: Beside) -> str:
    return "\n".join(map(str, found.notes))


def test_an_added_taxon_stands_beside_a_head_by_its_recipe(
    store: EmbeddingStore, beside: Callable[..., Beside]
) -> None:
    found = beside(SNOW_LEOPARD)
    classes = find_head_classes(found.head, Rank.SPECIES)
    answers = zeroshot_by_head(store, found.head, classes, rank=Rank.SPECIES, k=2)
    assert answers.names[:, 0].tolist() == ["Panthera uncia", "Panthera leo"]
    # Of the text that the script would have written, whatever --templates is elsewhere.
    vectors = store.read_vectors(store.rows)
    np.testing.assert_allclose(found.head.vectors[[len(ROWS)]], vectors[:1], atol=1e-6)
    together = np.concatenate([np.asarray(found.head.vectors[:5]), vectors[:1]])
    logits = 20.0 * vectors @ together.T
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answers.scores[:, 0], [expected[0, 5], expected[1, 0]], rtol=1e-4)
    assert answers.provenance.options["beside_head"] == 1
    assert answers.provenance.options["beside_head_recipe"].startswith("80 templates")
    assert answers.provenance.options["n_texts"] == 6
    assert "stand beside the text head tol, by its own recipe (80 templates, " in tell(found)


def test_an_added_taxon_is_summed_at_every_rank(beside: Callable[..., Beside]) -> None:
    for rank, n_rows in ((Rank.FAMILY, 3), (Rank.GENUS, 2), (Rank.KINGDOM, 5)):
        found = beside(SNOW_LEOPARD, rank=rank)
        classes = find_head_classes(found.head, rank)
        assert np.bincount(classes.classes)[0] == n_rows
        assert len(ROWS) in classes.rows[classes.classes == 0]


def test_a_model_is_needed_once_and_only_for_what_is_new(
    store: EmbeddingStore, head: TextHead, beside: Callable[..., Beside], encoder: PlainEncoder
) -> None:
    first = beside(SNOW_LEOPARD)
    assert len(encoder.texts_seen) == (3 + 1) * 80
    again = put_beside(store, head, Rank.SPECIES, lambda: TextCache(store, _refuse).encode_means)
    np.testing.assert_array_equal(again.head.vectors[5:], first.head.vectors[5:])
    # The means are kept, and none of the 80 texts.
    kept = [path for path in (store.folder / "text").rglob("*.json") if path.name != "head.json"]
    assert sum(path.read_text().count("mean of 80 texts") for path in kept) == 4
    assert not any("photo" in path.read_text() for path in kept)
    AddedList.of_store(store).write([])
    assert put_beside(store, head, Rank.SPECIES, _refuse).head is head  # type: ignore[arg-type]


def test_a_taxon_that_the_head_has_is_not_doubled(
    head: TextHead, beside: Callable[..., Beside], encoder: PlainEncoder
) -> None:
    found = beside(LION, Taxon(("", "", "", "", "Canidae", "", "")), rank=Rank.FAMILY)
    assert found.head is head
    assert not encoder.texts_seen
    assert tell(found) == (
        "added taxa that the text head tol has already, and answers for by itself: Panthera leo, "
        "Canidae"
    )


def test_texts_of_its_own_stand_in_place_of_the_heads(
    head: TextHead, beside: Callable[..., Beside], encoder: PlainEncoder
) -> None:
    described = dataclasses.replace(LION, prompts=("a maned cat", "a cat in gold"))
    found = beside(described, dataclasses.replace(SNOW_LEOPARD, prompts=("a cat in snow",)))
    assert "Panthera leo" in str(found.notes[0])
    classes = find_head_classes(found.head, Rank.SPECIES)
    rows = {one.name: classes.rows[classes.classes == n] for n, one in enumerate(classes.taxa)}
    assert rows["Panthera leo"].tolist() == [6]
    assert rows["Panthera uncia"].tolist() == [5]
    texts = [t.replace("{}", s) for s in described.prompts for t in TEMPLATES]
    np.testing.assert_allclose(found.head.vectors[[6]][0], average(encoder, texts), atol=1e-6)
    # Up the tree too, where the head's own row would count beside it.
    families = find_head_classes(beside(described, rank=Rank.FAMILY).head, Rank.FAMILY)
    assert families.rows[families.classes == 0].tolist() == [1, 5]
    assert head.taxa["species"][0] == "Panthera leo"


def test_pictures_of_its_own_stand_in_place_of_the_heads(
    store: EmbeddingStore, beside: Callable[..., Beside], encoder: PlainEncoder
) -> None:
    AddedList.of_store(store).write([LION])
    pictures = normalise_rows(np.eye(16, dtype=np.float32)[:2])
    keep_examples(store, Examples(LION, pictures, ("a", "b"), 0.5, 2.0, "by hand"))
    found = beside(LION)
    text, centre = average(encoder, write_by_hand(ROWS[0][0], "")), pictures.mean(axis=0)
    blended = normalise_rows((0.5 * normalise_rows(centre[None])[0] + 0.5 * text)[None])[0]
    np.testing.assert_allclose(found.head.vectors[[5]][0], blended, atol=1e-6)
    classes = find_head_classes(found.head, Rank.SPECIES)
    answers = zeroshot_by_head(store, found.head, classes, rank=Rank.SPECIES, k=5)
    logits = 20.0 * store.read_vectors(store.rows) @ np.asarray(found.head.vectors[1:]).T
    logits[:, -1] -= 2.0
    expected = np.exp(logits[1]) / np.exp(logits[1]).sum()
    place = answers.names[1].tolist().index("Panthera leo")
    assert answers.scores[1, place] == pytest.approx(expected[-1], rel=1e-4)


def test_homonyms_are_told_apart_by_their_lineage(beside: Callable[..., Beside]) -> None:
    found = beside(BEETLE)
    classes = find_head_classes(found.head, Rank.SPECIES)
    named = [(one.lineage[0], one.name) for one in classes.taxa if "japonica" in one.name]
    assert named == [("Plantae", "Pieris japonica"), ("Animalia", "Pieris japonica")]
    # A genus without a lineage may be either: its own texts have no place.
    genus = Taxon(("", "", "", "", "", "Pieris", ""))
    assert "answers for by itself: Pieris" in tell(beside(genus, rank=Rank.GENUS))
    own = beside(dataclasses.replace(genus, prompts=("a thing",)), rank=Rank.GENUS)
    assert [note.kind for note in own.notes] == ["warning"]
    assert "a lineage that fits several taxa of the text head tol: Pieris" in tell(own)


def test_what_has_no_name_at_the_rank_is_said(beside: Callable[..., Beside]) -> None:
    alone = Taxon(("", "", "", "", "", "Uncia", "Uncia uncia"))
    found = beside(alone, rank=Rank.FAMILY)
    assert (
        tell(found) == "added taxa that have no name at family and take no part there: Uncia uncia"
    )
    assert len(beside(alone, rank=None).taxa) == 1


def test_a_higher_taxon_is_no_lowest_class_above_the_heads(beside: Callable[..., Beside]) -> None:
    cats = Taxon((*MAMMAL, "Felidae", "", ""), prompts=("a cat",))
    assert beside(cats, rank=Rank.FAMILY).taxa == (cats,)
    assert beside(cats, rank=None).taxa == ()


def test_a_taxon_list_finds_added_taxa_by_their_lineage(beside: Callable[..., Beside]) -> None:
    own = dataclasses.replace(SNOW_LEOPARD, prompts=("a cat in snow",))
    found = beside(own)
    # In a list, prompts name rows of the head.
    listed = Taxonomy((own, Taxon(("", "", "", "", "", "", "Big cat"), prompts=("lion",))))
    classes = find_head_classes(found.head, Rank.SPECIES, found.name_rows(listed))
    assert classes.rows.tolist() == [5, 0]
    assert not classes.left_out


def test_the_users_own_list_and_accepted_names_count(
    store: EmbeddingStore, head: TextHead, encoder: PlainEncoder
) -> None:
    old = Taxon((*MAMMAL, "Felidae", "Uncia", "Uncia uncia"), "snow leopard")
    AddedList.of_user().write([old])
    means = TextCache(store, lambda: encoder).encode_means
    named = put_beside(store, head, Rank.SPECIES, lambda: means)
    assert [taxon.name for taxon in named.taxa] == ["Uncia uncia"]
    synonyms = {"Uncia uncia": "Panthera leo"}
    assert put_beside(store, head, Rank.SPECIES, lambda: means, synonyms=synonyms).head is head


RECIPES: dict[str, Callable[[Sequence[str], str], Sequence[str]]] = {
    "openai": write_by_hand,
    "since": lambda names, common: [
        f"an image of {' '.join(names)}{f' with common name {common}' if common else ''}."
    ],
    "named": lambda names, common: [
        t.replace("{}", " ".join(names) + (f" with common name {common}" if common else ""))
        for t in TEMPLATES
    ],
    "short": lambda names, common: [f"an image of {' '.join(names)} {common}."],
    "plain": lambda names, common: [
        f"a photo of {' '.join(names)}{f' with common name {common}' if common else ''}."
    ],
}


@pytest.mark.parametrize("place", range(5))
def test_the_recipe_of_a_head_is_found(
    place: int, store: EmbeddingStore, encoder: PlainEncoder, beside: Callable[..., Beside]
) -> None:
    write = list(RECIPES.values())[place]
    head = make_head(store, write, "other")
    means = TextCache(store, lambda: encoder).encode_means
    recipe = find_recipe(head, means).recipe
    assert recipe == find_recipes()[place]
    found = beside(SNOW_LEOPARD, head=head)
    names = (*MAMMAL, "Felidae", "Panthera", "uncia")
    expected = average(encoder, write(names, "snow leopard"))
    np.testing.assert_allclose(found.head.vectors[[5]][0], expected, atol=1e-6)


def test_a_head_of_another_model_is_warned_of(
    store: EmbeddingStore, encoder: PlainEncoder, beside: Callable[..., Beside]
) -> None:
    head = make_head(store, lambda names, common: [f"{common} of another world", *names], "alien")
    found = beside(SNOW_LEOPARD, head=head)
    assert [note.kind for note in found.notes] == ["fact", "warning"]
    assert "see: bioprobe taxa check --head alien" in tell(found)
    assert found.head.beside["beside_head_recipe"] == find_recipes()[0].name
    checked = check_head(head, TextCache(store, lambda: encoder).encode_means)
    said = str(checked.describe()[0])
    assert (checked.is_same, checked.describe()[0].kind) == (False, "warning")
    assert f"median cosine {np.median(checked.cosines):.3f}, least {checked.cosines[0]:.3f}" in said
    assert f"the worst are {checked.taxa[0].name} {checked.cosines[0]:.3f}" in said
    assert "below 0.999 the head is not this model's" in said


def test_a_head_of_this_model_is_said_to_be(
    store: EmbeddingStore, head: TextHead, encoder: PlainEncoder
) -> None:
    means = TextCache(store, lambda: encoder).encode_means
    checked = check_head(head, means)
    assert len(checked.taxa) == len(ROWS)
    assert checked.describe()[0].kind == "fact"
    assert "median cosine 1.000, least 1.000; the head is this model's" in str(
        checked.describe()[0]
    )
    assert {one.name for one in check_head(head, means, n=2, seed=1).taxa} != {
        one.name for one in check_head(head, means, n=2, seed=4).taxa
    }
    # In half precision it is the same.
    halved = dataclasses.replace(head, vectors=head.vectors.astype(np.float16))
    assert check_head(halved, means).is_same


def test_a_head_that_differs_in_places_is_warned_of(
    store: EmbeddingStore, head: TextHead, encoder: PlainEncoder
) -> None:
    vectors = np.array(head.vectors)
    vectors[2] = vectors[0]
    damaged = dataclasses.replace(head, vectors=vectors)
    checked = check_head(damaged, TextCache(store, lambda: encoder).encode_means)
    note = checked.describe()[0]
    assert (note.kind, checked.is_same) == ("warning", True)
    assert "1 are below 0.999, the worst Canis lupus familiaris" in str(note)


def test_a_text_that_is_too_long_leaves_its_taxon_out(
    beside: Callable[..., Beside], monkeypatch: pytest.MonkeyPatch, encoder: PlainEncoder
) -> None:
    def encode(texts: Sequence[str]) -> Vectors:
        long = tuple(text for text in texts if "uncia" in text)
        if long:
            msg = "too long"
            raise LongTextError(msg, long)
        return read(texts)

    read = encoder.encode_text
    monkeypatch.setattr(encoder, "encode_text", encode)
    cheetah = Taxon((*MAMMAL, "Felidae", "Acinonyx", "Acinonyx jubatus"))
    found = beside(SNOW_LEOPARD, cheetah)
    assert found.taxa == (cheetah,)
    assert [note.kind for note in found.notes] == ["problem", "fact"]
    assert "'Panthera uncia'" in tell(found)


def test_a_model_that_is_not_here_is_an_error_with_a_remedy(
    store: EmbeddingStore, head: TextHead
) -> None:
    def load() -> PlainEncoder:
        msg = "its weights are not here"
        raise ModelUnavailableError(msg)

    AddedList.of_store(store).write([SNOW_LEOPARD])
    with pytest.raises(ModelUnavailableError, match=r"Panthera uncia.*are not here.*taxa remove"):
        put_beside(store, head, Rank.SPECIES, lambda: TextCache(store, load).encode_means)


def test_an_offset_beside_a_head_needs_sums_or_the_best(
    store: EmbeddingStore, head: TextHead
) -> None:
    one = np.ones(1, dtype=np.float32)
    further = head.with_taxa(
        [SNOW_LEOPARD], head.vectors[:1], one, replaced=np.zeros(0, dtype=np.int64), beside={}
    )
    classes = find_head_classes(further, Rank.SPECIES)
    for pool in (Pool.SUM, Pool.MAX):
        scored = zeroshot_by_head(store, further, classes, rank=Rank.SPECIES, pool=pool, k=6)
        found = dict(zip(scored.names[1], scored.scores[1], strict=True))
        ratio = found["Panthera uncia"] / found["Panthera leo"]
        assert ratio == pytest.approx(np.exp(-1), rel=1e-4)
    with pytest.raises(PromptError, match="pool by max or sum"):
        zeroshot_by_head(store, further, classes, rank=Rank.SPECIES, pool=Pool.MEAN)


def test_stacked_rows_are_read_as_one_array() -> None:
    upper = np.arange(12, dtype=np.float16).reshape(6, 2)
    lower = -np.arange(1, 5, dtype=np.float32).reshape(2, 2)
    rows = StackedRows(upper, lower)
    whole = np.concatenate([upper, lower])
    assert (rows.shape, rows.dtype.name, len(rows)) == ((8, 2), "float16", 8)
    for index in (
        [0, 7, 3, 7], [1, 2], [6, 7], [], slice(None), slice(2, 5), slice(5, 8), slice(7, None),
        slice(None, None, 2), slice(None, None, -1), np.arange(8) % 3 == 0, 3, 7, -1, [-1, -8],
        np.array([[0, 7], [6, 1]]),
    ):  # fmt: skip
        np.testing.assert_array_equal(rows[index], whole[index])
    np.testing.assert_array_equal(np.asarray(rows, dtype=np.float32), whole)
    assert np.shares_memory(rows[1:4], upper)
    with pytest.raises(IndexError):
        rows[[8]]


def test_a_recipe_writes_names_as_the_published_scripts_do() -> None:
    first, since = find_recipes()[:2]
    assert isinstance(first, Recipe)
    names = "Animalia Chordata Mammalia Carnivora Felidae Panthera uncia"
    assert first.write(SNOW_LEOPARD)[0] == f"a bad photo of a {names} snow leopard."
    assert list(first.write(SNOW_LEOPARD)) == write_by_hand(names.split(), "snow leopard")
    assert since.write(SNOW_LEOPARD) == (f"an image of {names} with common name snow leopard.",)
    nameless = dataclasses.replace(SNOW_LEOPARD, common_name="")
    assert since.write(nameless) == (f"an image of {names}.",)
    # A hole is an empty name between two spaces, as a join leaves it.
    assert since.write(BEETLE) == (
        "an image of Animalia Arthropoda Insecta  Xidae Pieris japonica.",
    )
