"""Zero-shot figures that were measured with open_clip alone, where the shared folder is at hand."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.calibration.unknown import find_unknown, measure_auroc, measure_unknown
from bioprobe.encoders.encoder import Encoder, Fingerprint
from bioprobe.prompts import PromptSet, TextType, read_templates
from bioprobe.store import EmbeddingStore, TextCache
from bioprobe.store.selections import write_selection
from bioprobe.store.view import View
from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from bioprobe.taxonomy.columns import to_taxonomy
from bioprobe.zeroshot.added_taxa import add_pictured
from bioprobe.zeroshot.fusion import TextRows
from bioprobe.zeroshot.prototypes import make_prototypes
from bioprobe.zeroshot.question import answer_at_rank
from bioprobe.zeroshot.text_head import TextHead
from bioprobe.zeroshot.unseen import measure_generalised
from bioprobe.zeroshot.zeroshot import ask_prompts, zeroshot
from tests.zeroshot.asking import back_off, zeroshot_rolled_up

pytestmark = pytest.mark.shared

Encode = Callable[[Sequence[str]], npt.NDArray[np.float32]]

TEST, UNSEEN = "role == 'test'", "role == 'unseen-class'"


@dataclasses.dataclass(frozen=True)
class Photos:
    """The photographs that no training saw, embedded."""

    store: EmbeddingStore
    encode_text: Encode

    def taxa(self, condition: str | None) -> Taxonomy:
        return to_taxonomy(self.store.images.frame.iloc[View.of(self.store, condition).rows])

    def measure(
        self, prompts: PromptSet, condition: str, rank: Rank = Rank.SPECIES
    ) -> dict[int, float]:
        predictions = zeroshot(View.of(self.store, condition), prompts, self.encode_text, rank=rank)
        return {accuracy.k: accuracy.fraction for accuracy in predictions.accuracy()}


@pytest.fixture(scope="module")
def photos(
    held_out_photos: Path, wildlife_mini: Encoder, tmp_path_factory: pytest.TempPathFactory
) -> Photos:
    # Texts are kept beside the vectors.
    folder = shutil.copytree(held_out_photos, tmp_path_factory.mktemp("photos") / "store")
    store = EmbeddingStore.open(folder)
    assert (len(store), len(store.read_failures())) == (1066 + 358, 0)
    return Photos(store, TextCache(store, lambda: wildlife_mini).encode_text)


FIGURES = {
    TextType.SCI: (0.902, 0.976, 0.221, 0.902, 0.025),
    TextType.COM: (0.902, 0.972, 0.330, 0.896, 0.064),
    TextType.TAXON: (0.897, 0.974, 0.385, 0.887, 0.101),
    TextType.SCI_COM: (0.908, 0.975, 0.240, 0.904, 0.045),
    TextType.TAXON_COM: (0.902, 0.978, 0.402, 0.900, 0.126),
}


@pytest.mark.slow
@pytest.mark.parametrize("text_type", FIGURES)
def test_species_are_named_as_often_as_was_measured(photos: Photos, text_type: TextType) -> None:
    def ask(condition: str | None) -> PromptSet:
        return PromptSet(photos.taxa(condition), text_type, read_templates("plain"))

    seen, unseen, both = ask(TEST), ask(UNSEEN), ask(None)
    assert (len(seen.taxa), len(unseen.taxa), len(both.taxa)) == (65, 10, 75)
    among_seen = photos.measure(seen, TEST)
    measured = (
        among_seen[1],
        among_seen[5],
        photos.measure(unseen, UNSEEN)[1],
        photos.measure(both, TEST)[1],
        photos.measure(both, UNSEEN)[1],
    )
    assert measured == pytest.approx(FIGURES[text_type], abs=0.003)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text_type", "fraction"), [(TextType.TAXON, 0.912), (TextType.SCI, 0.844)]
)
def test_families_are_named_as_often_as_was_measured(
    photos: Photos, text_type: TextType, fraction: float
) -> None:
    families = photos.taxa(TEST).at(Rank.FAMILY)
    assert len(families) == 48
    prompts = PromptSet(families, text_type, read_templates("plain"))
    predictions = zeroshot(
        View.of(photos.store, TEST), prompts, photos.encode_text, rank=Rank.FAMILY
    )
    top_1 = predictions.accuracy()[0]
    assert top_1.n_images == 1029
    assert top_1.fraction == pytest.approx(fraction, abs=0.003)


@pytest.mark.slow
def test_sums_up_the_tree_name_families_better_than_their_names(photos: Photos) -> None:
    leaves = photos.taxa(TEST).leaves()
    fractions = []
    for text_type in (TextType.TAXON, TextType.SCI, TextType.TAXON_COM):
        prompts = PromptSet(leaves, text_type, read_templates("plain"))
        found = zeroshot_rolled_up(
            View.of(photos.store, TEST), prompts, photos.encode_text, rank=Rank.FAMILY
        )
        top_1 = found.accuracy()[0]
        assert top_1.n_images == 1029
        fractions.append(top_1.fraction)
    # Named directly: .912, .844 and .912.
    assert fractions == pytest.approx([0.925, 0.924, 0.928], abs=0.002)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("within", "n_classes", "fraction"),
    [
        ("Chordata", 56, 0.911),
        ("Mammalia", 24, 0.923),
        ("Aves", 15, 0.957),
        ("Carnivora", 8, 0.941),
    ],
)
def test_fewer_candidates_are_told_apart_better(
    photos: Photos, within: str, n_classes: int, fraction: float
) -> None:
    known = photos.taxa(TEST)
    (parent,) = known.find_all(within)
    condition = f"{TEST} and `{parent.rank.value}` == '{within}'"
    everything = PromptSet(known, TextType.TAXON_COM, read_templates("plain"))
    inside = dataclasses.replace(everything, taxa=known.below([parent]))
    assert len(inside.taxa) == n_classes
    top_1 = photos.measure(inside, condition)[1]
    assert top_1 == pytest.approx(fraction, abs=0.002)
    assert top_1 > photos.measure(everything, condition)[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("threshold", "answered", "right", "at_species"),
    [(0.5, 1.0, 0.937, 0.892), (0.65, 0.996, 0.978, 0.816), (0.9, 0.978, 0.995, 0.584)],
)
def test_a_higher_threshold_gives_fewer_and_truer_answers_further_up(
    photos: Photos, threshold: float, answered: float, right: float, at_species: float
) -> None:
    prompts = PromptSet(photos.taxa(TEST).leaves(), TextType.TAXON_COM, read_templates("plain"))
    found = back_off(View.of(photos.store, TEST), prompts, photos.encode_text, threshold=threshold)
    is_answer = found.depths >= 0
    measured = is_answer.mean(), found.is_right[is_answer].mean(), (found.depths == 6).mean()
    assert measured == pytest.approx((answered, right, at_species), abs=0.002)


@pytest.mark.slow
def test_images_of_ten_other_species_are_told_as_unknown(photos: Photos) -> None:
    prompts = PromptSet(photos.taxa(TEST), TextType.TAXON_COM, read_templates("plain"))
    found = zeroshot(photos.store, prompts, photos.encode_text, rank=Rank.SPECIES)
    unknown = measure_unknown(photos.store, found, prompts.embed(photos.encode_text))
    labelled, is_unknown = find_unknown(found)
    assert int(is_unknown.sum()) == 358
    aurocs = [measure_auroc(scores[labelled], is_unknown) for scores in unknown.values()]
    assert aurocs == pytest.approx([0.861, 0.889, 0.888], abs=0.002)


@pytest.mark.slow
def test_an_offset_raises_the_harmonic_mean_of_seen_and_unseen(photos: Photos) -> None:
    prompts = PromptSet(photos.taxa(None), TextType.TAXON_COM, read_templates("plain"))
    report = measure_generalised(
        photos.store, prompts, photos.encode_text, rank=Rank.SPECIES,
        unseen_condition=UNSEEN, seen_condition=TEST,
    )  # fmt: skip
    before, after = (
        (one.seen.estimate, one.unseen.estimate, one.harmonic_mean.estimate)
        for one in (report.before, report.after)
    )
    assert before == pytest.approx((0.900, 0.126, 0.221), abs=0.002)
    assert after == pytest.approx((0.719, 0.380, 0.497), abs=0.01)
    assert report.offset.value == pytest.approx(3.59, abs=0.1)


@pytest.mark.slow
def test_five_pictures_each_make_classes_of_ten_new_species(photos: Photos, tmp_path: Path) -> None:
    shutil.copytree(photos.store.folder, tmp_path / "store")
    store = EmbeddingStore.open(tmp_path / "store")
    frame, random = store.images.frame, np.random.default_rng(0)
    role, names = frame["role"].to_numpy(), frame["species"].to_numpy()
    pictures = {
        name: random.permutation(np.flatnonzero((role == "unseen-class") & (names == name)))[:5]
        for name in np.unique(names[role == "unseen-class"])
    }
    # Half of the other images validate; all of the new species but their examples are tested.
    seen = random.permutation(np.flatnonzero(role == "test"))
    taken = np.concatenate(list(pictures.values()))
    validation, test = (np.isin(np.arange(len(frame)), part) for part in (seen[::2], seen[1::2]))
    test |= (role == "unseen-class") & ~np.isin(np.arange(len(frame)), taken)
    for name, kept in (("validation", validation), ("test", test)):
        write_selection(store, name, np.arange(len(frame)), kept)
    validating = View.of(store, mask="validation")
    prompts = PromptSet(photos.taxa(TEST), TextType.TAXON_COM, read_templates("plain"))
    for taxon in photos.taxa(UNSEEN):
        rows = pictures[taxon.name]
        examples = store.read_vectors(rows), tuple(frame["sha256"].iloc[rows])
        add_pictured(validating, taxon, examples, prompts, photos.encode_text)
        prompts = dataclasses.replace(prompts, taxa=Taxonomy.merge((*prompts.taxa, taxon)))
    found = zeroshot(View.of(store, mask="test"), prompts, photos.encode_text, rank=Rank.SPECIES)
    right = found.top_classes[:, 0] == found.truth_classes
    is_new = np.isin(found.truth, list(pictures))
    measured = right[~is_new].mean(), right[is_new].mean()
    # By text alone: .900 and .126.
    assert measured == pytest.approx((0.777, 0.912), abs=0.02)


def test_imported_vectors_of_clip_give_the_published_probabilities(
    shared_dir: Path, tmp_path: Path
) -> None:
    data = shared_dir / "data" / "clip-vitb32-cached"
    image, texts = (np.load(data / f"golden.{part}_features.npy") for part in ("image", "text"))
    fingerprint = Fingerprint(model="clip-b32", backend="imported")
    store = EmbeddingStore.create(
        tmp_path / "store", fingerprint, dim=512, logit_scale=100.0, has_text_tower=True
    ).append(pd.DataFrame({"path": ["golden.CLIP.png"]}), image)
    names = ("first", "second", "third")

    def encode_text(asked: Sequence[str]) -> npt.NDArray[np.float32]:
        unit = texts / np.linalg.norm(texts, axis=1, keepdims=True)
        return np.asarray(unit[[names.index(text) for text in asked]], dtype=np.float32)

    prompts = PromptSet(
        Taxonomy(tuple(Taxon.from_names({"species": name}) for name in names)),
        TextType.SCI,
        ("{}",),
    )
    predictions = zeroshot(store, prompts, encode_text, rank=Rank.SPECIES)
    assert predictions.names.tolist() == [list(names)]
    assert predictions.scores[0].tolist() == pytest.approx(
        [0.9927935, 0.0042107, 0.0029958], abs=1e-5
    )


def test_prototypes_of_new_classes_stand_beside_texts(photos: Photos) -> None:
    """Pictures of classes that the model never saw, and texts of those that it did."""
    store = photos.store
    rows = View.of(store, UNSEEN).rows
    made = make_prototypes(View(store, rows[::2]), Rank.SPECIES)
    head = TextHead("new", made.list_names(), made.vectors, {}, made_of=made.made_of)
    prompts = PromptSet(
        photos.taxa(None).at(Rank.SPECIES), TextType.TAXON_COM, read_templates("plain")
    )
    view = View.all(store)
    question = ask_prompts(view, prompts, photos.encode_text, rank=Rank.SPECIES)
    leaves = question.leaves
    found = TextRows.of_classes(head, prompts.taxa.taxa, leaves.texts, leaves.classes)

    def measure(rows: npt.NDArray[np.int64], worth: float) -> float:
        put = dataclasses.replace(leaves, texts=found.fuse(worth))
        answers = answer_at_rank(
            View(store, rows), dataclasses.replace(question, leaves=put), 1
        )  # fmt: skip
        return answers.accuracy()[0].fraction

    new, known = rows[1::2], View.of(store, TEST).rows
    # Texts alone are right of .90 and .12, and pictures of the new ones take none of the others.
    assert measure(known, np.inf) == pytest.approx(0.905, abs=0.01)
    assert measure(known, found.fusion.worth) > 0.89
    assert measure(new, np.inf) < 0.2
    assert measure(new, found.fusion.worth) > 0.45
    # Side by side as they are, pictures take nearly all.
    plain = np.array(leaves.texts)
    plain[found.rows] = made.vectors[found.known]
    put = dataclasses.replace(question, leaves=dataclasses.replace(leaves, texts=plain))
    assert answer_at_rank(View(store, known), put, 1).accuracy()[0].fraction < 0.3
