"""Zero-shot with image prototypes beside its texts, judged on images that neither of them knows."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.encoders.encoder import Encoder, normalise_rows
from bioprobe.errors import SelectionError, StoreError
from bioprobe.evaluation import Pictured, evaluate, read_evaluation, write_evaluation
from bioprobe.evaluation.effects import Effect
from bioprobe.evaluation.result import Evaluation
from bioprobe.prompts import TextType, read_templates
from bioprobe.report.again import ask_again
from bioprobe.report.methods import list_effects
from bioprobe.splits import Split, make_split, write_split
from bioprobe.store import EmbeddingStore, TextCache
from bioprobe.store.view import View
from bioprobe.task.target import Texts
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank
from bioprobe.taxonomy.columns import read_labels
from bioprobe.zeroshot.prototypes import make_prototypes
from bioprobe.zeroshot.text_head import write_prototypes
from tests.conftest import PlainEncoder

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def frame(shared_dir: Path) -> pd.DataFrame:
    path = shared_dir / "data" / "tol200m-bioclip2-1k" / "example_1k.parquet"
    read = pd.read_parquet(path)
    names = read["uuid"].astype(str)
    made = read_labels(read).assign(path=names, sha256=names)
    made["vector"] = read["emb"]
    return made[made["phylum"].map(made["phylum"].value_counts()) >= 10].reset_index(drop=True)


@dataclasses.dataclass(frozen=True)
class Asked:
    """Real vectors of BioCLIP 2, with texts that lie somewhere near those of their phylum."""

    store: EmbeddingStore
    split: Split
    texts: Texts

    @property
    def task(self) -> Task:
        return Task.of(self.store, Rank.PHYLUM, split=self.split, texts=self.texts)

    def make(self, name: str, *parts: str) -> None:
        rows = np.flatnonzero(np.isin(self.split.parts, parts))
        write_prototypes(self.store, name, make_prototypes(View(self.store, rows), Rank.PHYLUM))

    def evaluate(self, name: str, worth: float | None = None) -> Evaluation:
        pictured = Pictured.of(self.task, name, worth)
        methods = ["zeroshot", "centroid"]
        return evaluate(self.task, methods, pictured=pictured, n_resamples=50)


def write_texts(vectors: npt.NDArray[np.float32], labels: Sequence[str]) -> Texts:
    """Return texts of each name: the mean of its images, moved far off at random."""
    random = np.random.default_rng(0)
    unit, of = normalise_rows(vectors), np.array(labels, dtype=object)
    middle = unit.mean(axis=0)
    known = {
        name: unit[of == name].mean(axis=0) - middle + 0.06 * random.normal(size=unit.shape[1])
        for name in sorted(set(labels))
    }

    def encode(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return normalise_rows(np.array([known[text] for text in texts], dtype=np.float32))

    return Texts(encode, 30.0, TextType.SCI, ("{}",))


@pytest.fixture
def asked(frame: pd.DataFrame, make_store: Callable[..., EmbeddingStore]) -> Asked:
    vectors = np.stack(frame["vector"].to_list()).astype(np.float32)
    store = make_store(PlainEncoder(dim=vectors.shape[1])).append(
        frame.drop(columns="vector"), vectors
    )
    split = make_split(store, Rank.PHYLUM, fractions=(0.3, 0.2, 0.5), seed=1)
    write_split(store, split)
    return Asked(store, split, write_texts(vectors, frame["phylum"].to_list()))


def find(found: Evaluation, method: str = "zeroshot") -> dict[str, Effect]:
    (result,) = (one for one in found.results if one.method == method)
    return {one.metric: one for one in result.effects}


def test_prototypes_are_judged_against_the_texts_alone(asked: Asked) -> None:
    asked.make("seen", "train")
    found = asked.evaluate("seen")
    effects, options = find(found), found.provenance["options"]
    assert {one.of for one in effects.values()} == {"prototypes"}
    assert not find(found, "centroid")
    plain = evaluate(asked.task, ["zeroshot"], n_resamples=50).results[0]
    assert effects["accuracy"].before == plain.metrics["accuracy"]
    assert effects["accuracy"].after == found.results[0].metrics["accuracy"]
    assert effects["accuracy"].difference.low > 0
    assert options["prototypes"] == "seen"
    assert options["n_made_prototypes"] == 0
    (settings,) = found.results[0].settings
    assert settings["prototypes_sha256"] == options["prototypes_sha256"]
    assert "labelled images that made no prototype" in settings["text_worth_rule"]
    # A text that counts as all pictures together answers as if it stood alone.
    by_text = find(asked.evaluate("seen", 1e9))["accuracy"]
    assert by_text.after.estimate == pytest.approx(by_text.before.estimate, abs=0.003)
    by_picture = asked.evaluate("seen", 0.0)
    assert by_picture.results[0].settings[0]["text_worth_rule"] == "as was said"
    assert not np.allclose(by_picture.predictions["probability"], found.predictions["probability"])
    write_evaluation(asked.store, found)
    kept = read_evaluation(asked.store, found.name)
    assert kept.results[0].effects == found.results[0].effects
    assert {one["of"] for one in list_effects(kept)} == {"the image prototypes"}


def test_labels_of_images_that_judge_change_nothing(asked: Asked, frame: pd.DataFrame) -> None:
    """Neither what a text counts nor an answer."""
    asked.make("seen", "train")
    found = asked.evaluate("seen")
    mixed = frame.drop(columns="vector")
    test = np.flatnonzero(asked.split.parts == "test")
    ranks = [rank.value for rank in Rank]
    shuffled = np.random.default_rng(3).permutation(test)
    mixed.loc[test, ranks] = mixed.loc[shuffled, ranks].to_numpy()
    other = EmbeddingStore.create(
        asked.store.folder.parent / "mixed", asked.store.manifest.encoder,
        dim=asked.store.manifest.dim, logit_scale=asked.store.manifest.logit_scale,
        has_text_tower=True,
    ).append(mixed, np.stack(frame["vector"].to_list()).astype(np.float32))  # fmt: skip
    asked_again = dataclasses.replace(asked, store=other)
    asked_again.make("seen", "train")
    again = asked_again.evaluate("seen")
    assert again.results[0].settings == found.results[0].settings
    columns = ["row", "predicted", "probability"]
    pd.testing.assert_frame_equal(again.predictions[columns], found.predictions[columns])
    assert again.results[0].metrics["accuracy"].estimate < 0.6


def test_images_that_made_prototypes_judge_no_method(asked: Asked) -> None:
    test = np.flatnonzero(asked.split.parts == "test")
    half = test[::2]
    rows = np.concatenate([np.flatnonzero(asked.split.parts == "train"), half])
    write_prototypes(asked.store, "leaky", make_prototypes(View(asked.store, rows), Rank.PHYLUM))
    found = asked.evaluate("leaky")
    for _, own in found.predictions.groupby("method"):
        assert sorted(own["row"]) == sorted(test[1::2])
    assert found.provenance["options"]["n_made_prototypes"] == len(half)
    # What is asked again marks no picture as answered otherwise.
    asked_again = ask_again(
        dataclasses.replace(found, results=found.results[:1]), asked.task, View.all(asked.store)
    )
    assert not any("answered otherwise" in str(note) for note in asked_again.notes)
    assert asked_again.taught is not None
    assert int(asked_again.taught.sum()) == len(rows)
    # One of a group made a prototype, so that none of it judges.
    groups = asked.split.groups.copy()
    groups[test[:6]] = "burst"
    grouped = dataclasses.replace(asked, split=dataclasses.replace(asked.split, groups=groups))
    judged = set(grouped.evaluate("leaky").predictions["row"])
    assert judged == set(test[1::2]) - set(test[:6])


def test_what_cannot_be_judged_is_refused(asked: Asked) -> None:
    asked.make("all", "train", "validation", "test")
    with pytest.raises(SelectionError, match=r"that would judge is known to what is asked.*:train"):
        asked.evaluate("all")
    with pytest.raises(StoreError, match="no text head 'none'"):
        asked.evaluate("none")
    asked.make("held", "validation", "train")
    (settings,) = asked.evaluate("held").results[0].settings
    # None of the validation part is left to choose on.
    assert settings["text_worth_rule"].startswith("by counts and spread")
    assert asked.evaluate("held").results[0].temperatures == ()


def test_photographs_of_new_species_are_told_better(
    held_out_photos: Path, wildlife_mini: Encoder, tmp_path: Path
) -> None:
    """Ten species that the model never saw, among 65 that it did."""
    store = EmbeddingStore.open(shutil.copytree(held_out_photos, tmp_path / "store"))
    split = make_split(store, Rank.SPECIES, fractions=(0.3, 0.2, 0.5), seed=0)
    is_new = store.images.frame["role"].to_numpy() == "unseen-class"
    rows = np.flatnonzero(is_new & (split.parts == "train"))
    write_prototypes(store, "new", make_prototypes(View(store, rows), Rank.SPECIES))
    texts = Texts(
        TextCache(store, lambda: wildlife_mini).encode_text, store.manifest.logit_scale,
        TextType.TAXON_COM, read_templates("plain"),
    )  # fmt: skip
    task = Task.of(store, Rank.SPECIES, split=split, texts=texts)
    found = evaluate(
        task, ["zeroshot"], pictured=Pictured.of(task, "new"), n_resamples=200
    )  # fmt: skip
    accuracy = find(found)["accuracy"]
    # Texts alone are right of 72%, nearly none of them new; about half of the new ones are won.
    assert accuracy.before.estimate == pytest.approx(0.71, abs=0.04)
    assert accuracy.difference.low > 0.04
    new = found.predictions["row"].isin(np.flatnonzero(is_new))
    assert found.predictions[new]["right"].mean() > 0.4
    assert found.predictions[~new]["right"].mean() > 0.87
