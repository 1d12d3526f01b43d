"""Whatever a column says can be asked, split, learnt, judged: a label is any column."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

import bioprobe as bp
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import BioprobeError, MisuseError, PromptError, SelectionError
from bioprobe.splits import write_split
from bioprobe.store import EmbeddingStore
from bioprobe.task.predictions import Predictions
from tests.conftest import PlainEncoder, make_parts
from tests.face.conftest import Teach

MakeStore = Callable[..., EmbeddingStore]
STAGES, DIETS = ("adult", "juvenile", "egg"), ("meat", "meat", "plants")
TEXTS: dict[str, list[float]] = {
    "adult": [1, 0, 0, 0],
    "juvenile": [0, 1, 0, 0],
    "egg": [0, 0, 1, 0],
}


@pytest.fixture
def store(make_store: MakeStore) -> bp.Store:
    """Return 30 images of three stages, each near an axis of its own; one of them has none."""
    random = np.random.default_rng(0)
    places = np.arange(30) % 3
    frame = pd.DataFrame(
        {
            "root": "photos",
            "path": [f"{row:02d}.jpg" for row in range(30)],
            "sha256": [f"{row:064x}" for row in range(30)],
            "family": ["Felidae" if row % 2 else "Canidae" for row in range(30)],
            "stage": [STAGES[place] for place in places],
            "diet": [DIETS[place] for place in places],
            "code": [int(place) + 1 for place in places],
            "part": [("test" if row > 20 else "train") for row in range(30)],
        }
    )
    frame.loc[0, "stage"] = ""
    vectors = np.eye(4)[places] + 0.3 * random.normal(size=(30, 4))
    return bp.open(make_store(PlainEncoder(dim=4)).append(frame, normalise_rows(vectors)).folder)


def _label(asked: bp.Store, *level: str, **options: object) -> Predictions:
    found = asked.zeroshot(*level, **options)  # type: ignore[arg-type]
    assert isinstance(found, Predictions)
    return found


@pytest.fixture
def split(store: bp.Store) -> bp.Store:
    store.split("stage", method="imported", column="part")
    return store


def test_a_probe_of_a_column_answers_one_class_or_none(store: bp.Store) -> None:
    made = store.fit("centroid", "stage", split=None, setting={"scale": 2.0})
    plain = made.predict(k=1, calibrate=False).to_frame()
    limit = round(float(np.median(plain["score"])), 3)
    decided = made.predict(abstain=limit, calibrate=False)
    assert isinstance(decided, bp.Decisions)
    frame = decided.to_frame()
    assert frame.columns.tolist() == [
        "file_name", "classification", "score", "answer", "row", "reason",
    ]  # fmt: skip
    is_sure = plain["score"].to_numpy() >= limit
    assert 0 < is_sure.sum() < 30
    expected = np.where(is_sure, plain["classification"], "")
    assert frame["classification"].tolist() == expected.tolist()
    assert decided.names == tuple(expected)
    signs = [">=" if sure else "<" for sure in is_sure]
    assert frame["reason"].tolist() == [
        f"stage {name} {score:.3f} {sign} {limit:g}"
        for name, score, sign in zip(plain["classification"], plain["score"], signs, strict=True)
    ]
    assert decided.is_right[is_sure].mean() == pytest.approx(
        (plain["classification"] == store.labels("stage"))[is_sure].mean()
    )
    assert f"answered: {is_sure.sum()}; no answer: {30 - is_sure.sum()}" in str(decided.notes[-1])
    said = "29 held-out images are too few to promise 0.95 right answers with a chance of 95%"
    assert any(said in str(note) for note in made.predict(abstain="auto").notes)


def test_what_is_measured_on_classes_that_no_one_left_out_is_warned_of(store: bp.Store) -> None:
    # No egg teaches: those of the validation part are the unknown ones.
    taught = (np.arange(30) <= 20) & (store.labels("stage") != "egg")
    parts = np.where(taught, "train", "validation").astype(object)
    write_split(EmbeddingStore.open(store.folder), make_parts(parts, name="default"))
    said = store.fit("centroid", "stage").predict(unknown=True).notes
    (warned,) = [note for note in said if note.kind == "warning"]
    assert "images that no one chose" in str(warned)
    assert any("of 1 classes that happen not to be learnt it takes" in str(one) for one in said)


def test_a_column_is_read_as_text_and_described(store: bp.Store) -> None:
    assert store.labels("code")[:4].tolist() == ["1", "2", "3", "1"]
    assert store.labels("stage")[:3].tolist() == ["", "juvenile", "egg"]
    assert store.describe("stage").to_frame()["stage"].tolist() == ["egg", "juvenile", "adult"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.labels("stag"),
        lambda store: store.describe("stag"),
        lambda store: store.split("stag"),
        lambda store: store.fit("lda", "stag"),
        lambda store: store.fit("hierarchical", "stage", chain="stag"),
        lambda store: store.tune("stag", kinds="lda"),
        lambda store: store.evaluate("stag"),
        lambda store: store.zeroshot("stag"),
        lambda store: store.filter(level="stag"),
    ],
)
def test_a_level_that_is_not_there_is_an_error_that_says_what_is(
    split: bp.Store, ask: Callable[[bp.Store], object]
) -> None:
    said = "no rank and no column 'stag'; did you mean stage.* Ranks are kingdom, .*diet, code"
    with pytest.raises(SelectionError, match=said):
        ask(split)


def test_every_question_with_a_level_takes_a_column_or_asks_for_a_rank(split: bp.Store) -> None:
    needs: dict[str, dict[str, Any]] = {
        "fit": {"kind": "lda"},
        "fit_stack": {"others": split.folder},
        "tune": {"kinds": "centroid", "n_trials": 1},
        "evaluate": {"methods": "centroid", "n_resamples": 5},
    }
    asked = [
        name
        for name, method in inspect.getmembers(bp.Store, inspect.isfunction)
        if not name.startswith("_") and "level" in inspect.signature(method).parameters
    ]
    ranks_only = set()
    for name in asked:
        given = {**needs.get(name, {}), "level": "stage"}
        required = [
            parameter.name
            for parameter in inspect.signature(getattr(bp.Store, name)).parameters.values()
            if parameter.default is parameter.empty and parameter.name not in {"self", *given}
        ]
        try:
            getattr(split, name)(**given, **dict.fromkeys(required, "x"))
        except BioprobeError as error:
            if "'stage' is not a rank; expected one of kingdom" in str(error):
                ranks_only.add(name)
    # These speak of species that an encoder may not have seen, of how taxa are written, and of
    # heads, whose rows are taxa.
    assert ranks_only == {"measure_unseen", "prompts", "prototypes"}


def test_a_column_is_split_learnt_kept_and_asked(split: bp.Store) -> None:
    assert split.show_split().to_frame()["stage"].tolist() == ["adult", "egg", "juvenile"]
    made = split.fit("lda", "stage")
    assert made.classes == ("adult", "egg", "juvenile")
    again = bp.open(split.folder).probe("lda")
    found = again.predict(k=1)
    assert list(found.to_frame().columns[:3]) == ["file_name", "classification", "score"]
    # Of 29 labelled images 20 taught: one of the 21 of the part train has no label.
    assert "against the labels of 9 images: top-1 1.000" in found.notes[-1].text
    assert again.fitted.level == "stage"
    assert split.probes().to_frame()["level"].tolist() == ["stage"]


def test_pictures_without_the_column_are_labelled_and_not_judged(
    split: bp.Store, make_store: MakeStore
) -> None:
    split.fit("lda", "stage")
    frame = pd.DataFrame({"root": "new", "path": ["a.jpg"], "sha256": ["f" * 64]})
    other = make_store(PlainEncoder(dim=4), "other").append(frame, np.eye(4)[:1])
    found = split.probe("lda").predict(bp.open(other.folder), k=1)
    assert isinstance(found, Predictions)
    assert found.names.tolist() == [["adult"]]
    assert found.accuracy() == []


def test_methods_are_compared_at_a_column_without_figures_of_a_tree(
    split: bp.Store, tmp_path: Path
) -> None:
    found = split.evaluate("stage", methods="centroid,hierarchical", n_resamples=50)
    assert found.level == "stage"
    table = found.to_frame()
    assert "mistake_severity" not in table
    assert table["accuracy"].tolist() == [1.0, 1.0]
    again = split.evaluation("stage")
    assert again.classes == found.classes
    assert again.to_frame().equals(table)
    page = again.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "the right stage" in page
    assert "ranks above" not in page


def test_wrong_answers_at_a_column_are_listed(split: bp.Store) -> None:
    # Labels that have nothing to do with the vectors are missed.
    found = split.evaluate("family", methods="centroid", n_resamples=10)
    flat = split.evaluate("diet", methods="knn", n_resamples=10)
    assert found.best.pairs
    assert flat.count_confusion("knn").classes.names == ("meat", "plants")
    assert flat.count_confusion("knn").counts.tolist() == [[6, 0], [0, 3]]
    assert {pair["ancestor"] for pair in found.best.pairs} == {""}


def test_a_chain_of_columns_is_learnt_as_a_hierarchy(split: bp.Store) -> None:
    asked: dict[str, Any]
    for asked in ({"chain": "diet"}, {"chain": ["diet", "stage"]}, {"first": "diet"}):
        made = split.fit("hierarchical", "stage", name="chain", **asked)
        lineages = made.estimator.tree_.lineages[:3].tolist()
        assert lineages == [["meat", "adult"], ["plants", "egg"], ["meat", "juvenile"]]
    chain = split.fit("hierarchical", "family", name="ranks", chain="order").estimator
    assert chain.tree_.n_ranks == 2


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"chain": "family"}, "juvenile of stage lies below both Felidae and Canidae of family"),
        ({"chain": "diet,code,diet"}, "names each rank or column once"),
        ({"chain": "diet", "first": "diet"}, "--from"),
    ],
)
def test_a_chain_that_is_no_hierarchy_is_refused(
    split: bp.Store, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(MisuseError, match=said):
        split.fit("hierarchical", "stage", **asked)


def test_the_values_of_a_column_are_their_own_texts(store: bp.Store, teach: Teach) -> None:
    teach({f"a photo of {name}.": TEXTS[name] for name in STAGES})
    found = _label(store, "stage", k=1)
    assert found.names[:, 0].tolist() == [STAGES[row % 3] for row in range(30)]
    assert [note.text for note in found.notes] == [
        "images: 30; classes of stage: 3; templates: 1",
        "the texts are the values as they are written: adult, egg, juvenile; say what they look "
        "like with --classes FILE",
        "against the labels of 29 images: top-1 1.000 [0.883, 1.000] (95% interval)",
    ]
    assert found.provenance.options["level"] == "stage"


def _bin(
    vectors: np.ndarray, texts: Sequence[Sequence[Sequence[float]]], scale: float
) -> np.ndarray:
    """Return what pybioclip's bins do: softmax over all texts, summed over those of a bin."""
    flat = normalise_rows(np.array([one for of_class in texts for one in of_class]))
    each = softmax(scale * vectors @ flat.T, axis=1)
    ends = np.cumsum([len(of_class) for of_class in texts])
    return np.stack([part.sum(axis=1) for part in np.split(each, ends[:-1], axis=1)], axis=1)


def test_a_class_of_several_texts_has_the_sum_of_their_probabilities(
    store: bp.Store, teach: Teach
) -> None:
    texts: dict[str, list[float]] = {"a": [1, 0, 0, 0], "b": [0, 1, 0.2, 0], "c": [0, 0, 1, 0]}
    teach(texts)
    classes = {"moves": ["a", "b"], "lies": "c"}
    found = _label(store, classes=classes, templates="{}")
    scale = EmbeddingStore.open(store.folder).manifest.logit_scale
    expected = _bin(store.X, [[texts["a"], texts["b"]], [texts["c"]]], scale)
    np.testing.assert_allclose(found.to_dense(), expected, atol=1e-5)
    assert found.accuracy() == []  # the labels of no level are such names


def test_texts_of_a_class_are_averaged_over_templates_first(
    store: bp.Store, teach: Teach, tmp_path: Path
) -> None:
    known: dict[str, list[float]] = {
        "x a": [1, 0, 0, 0], "y a": [1, 1, 0, 0], "x b": [0, 0, 1, 0], "y b": [0, 0, 1, 1],
        "x c": [0, 1, 0, 0], "y c": [0, 1, 0, 1],
    }  # fmt: skip
    teach(known)
    templates = tmp_path / "two.txt"
    templates.write_text("x {}\ny {}\n")
    found = _label(store, classes={"p": ["a", "b"], "q": ["c"]}, templates=str(templates))
    mean = {
        letter: normalise_rows(np.array([known[f"x {letter}"], known[f"y {letter}"]])).mean(axis=0)
        for letter in "abc"
    }
    scale = EmbeddingStore.open(store.folder).manifest.logit_scale
    expected = _bin(store.X, [[mean["a"], mean["b"]], [mean["c"]]], scale)
    np.testing.assert_allclose(found.to_dense(), expected, atol=1e-5)


def test_a_table_of_classes_gives_texts_and_taxa(
    store: bp.Store, teach: Teach, tmp_path: Path
) -> None:
    table = tmp_path / "classes.csv"
    table.write_text(
        "class,text,family\ncat,a cat|a kitten,Felidae\ndog,a dog,Canidae\ndog,a wolf,\n"
    )
    teach({f"a photo of {one}.": [1.0, 0, 0, 0] for one in ("a cat", "a kitten")}
          | {f"a photo of {one}.": [0.0, 1, 0, 0] for one in ("a dog", "a wolf")})  # fmt: skip
    found = _label(store, classes=str(table), k=1)
    assert found.notes[0].text == "images: 30; classes: 2; texts: 4; templates: 1"
    frame = found.to_frame()
    assert set(frame["classification"] + " " + frame["taxon"]) == {"cat Felidae", "dog Canidae"}
    # Judged by the taxa: every image is of one of the two families.
    truth = np.where(store.labels("family") == "Felidae", "cat", "dog")
    (accuracy,) = found.accuracy()
    assert (accuracy.n_images, accuracy.n_correct) == (30, int((found.names[:, 0] == truth).sum()))


def test_a_label_above_the_taxon_of_a_class_leaves_it_open(
    make_store: MakeStore, teach: Teach, tmp_path: Path
) -> None:
    frame = pd.DataFrame(
        {
            "root": "p", "path": list("abcd"), "sha256": list("abcd"),
            "order": ["Carnivora", "Carnivora", "Carnivora", "Rodentia"],
            "family": ["Felidae", "Felidae", "", "Muridae"],
            "genus": ["Panthera", "", "", "Mus"],
        }
    )  # fmt: skip
    made = bp.open(make_store(PlainEncoder(dim=4)).append(frame, np.eye(4)).folder)
    table = tmp_path / "classes.csv"
    table.write_text(
        "class,order,family,genus\ncat,Carnivora,Felidae,\n"
        "big cat,Carnivora,Felidae,Panthera\ndog,Carnivora,Canidae,\n"
    )
    teach({f"a photo of {one}.": [1.0, 0, 0, 0] for one in ("cat", "big cat", "dog")})
    # The lowest taxon wins; a carnivore may be either; a mouse is none of them, and wrong.
    assert _label(made, classes=str(table)).truth.tolist() == ["big cat", "", "", "Mus"]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("text\na cat\n", "has no column class among text"),
        ("class,text\n,a cat\n", "line 2: no class in column 'class'"),
    ],
)
def test_a_table_without_classes_is_refused(
    store: bp.Store, tmp_path: Path, written: str, said: str
) -> None:
    table = tmp_path / "classes.csv"
    table.write_text(written)
    with pytest.raises(PromptError, match=said):
        store.zeroshot(classes=str(table))


def test_a_table_of_bins_is_read_as_pybioclip_reads_it(
    store: bp.Store, teach: Teach, tmp_path: Path
) -> None:
    table = tmp_path / "bins.csv"
    table.write_text("animal,bin\nlion,cat\nlynx,cat\nwolf,dog\n")
    teach({f"a photo of {one}.": [1.0, 0, 0, 0] for one in ("lion", "lynx", "wolf")})
    found = _label(store, classes=str(table))
    assert found.provenance.options["phrases"] == [["lion", "lynx"], ["wolf"]]
    np.testing.assert_allclose(found.to_dense(), np.tile([2 / 3, 1 / 3], (30, 1)), rtol=1e-5)


def test_options_of_taxa_are_refused_at_a_column(store: bp.Store) -> None:
    options = (
        {"taxa": "x.csv"}, {"text_type": "sci"}, {"head": "x"}, {"pool": "max"},
        {"roll_up": True}, {"within": "Felidae"}, {"abstain": 0.5}, {"open_set": True},
        {"offset": 1.0}, {"synonyms": "x.csv"},
    )  # fmt: skip
    for given in options:
        (name,) = given
        flag = f"--{name.replace('_', '-')}"
        with pytest.raises(MisuseError, match=f"{flag} speak of taxa"):
            store.zeroshot("stage", **given)


def test_classes_that_are_no_values_of_the_column_are_not_judged_by_it(
    store: bp.Store, teach: Teach
) -> None:
    teach({f"a photo of {name}.": [1.0, 0, 0, 0] for name in ("grown", "young")})
    found = _label(store, "stage", classes="grown,young")
    assert found.accuracy() == []
    assert "none of the classes is a value of stage" in str(found.notes)


def test_columns_are_named_where_no_image_has_a_taxon(
    store: bp.Store, make_store: MakeStore
) -> None:
    assert "columns that --level takes" not in str(store.describe().notes)
    frame = pd.DataFrame({"root": "p", "path": ["a"], "sha256": ["a" * 64], "stage": ["egg"]})
    bare = bp.open(make_store(PlainEncoder(dim=4), "bare").append(frame, np.eye(4)[:1]).folder)
    assert "columns that --level takes: stage" in str(bare.describe().notes)


def test_texts_of_a_column_are_learnt_from_and_judged(split: bp.Store, teach: Teach) -> None:
    phrases = {"adult": "grown", "juvenile": ["young", "small"], "egg": "round", "larva": "soft"}
    axes = {"grown": 0, "young": 1, "small": 1, "round": 2, "soft": 3}
    teach({one: np.eye(4)[axis].tolist() for one, axis in axes.items()})
    found = split.evaluate(
        "stage", methods="zeroshot,prompt+probe", classes=phrases, templates="{}", n_resamples=20
    )
    # A class that no image has can be answered, since it is listed.
    assert "larva" in found.classes.names
    assert [one.metrics["accuracy"].estimate for one in found.results] == [1.0, 1.0]
    made = split.fit("prompt+probe", "stage", classes=phrases, templates="{}")
    assert set(made.classes) == set(phrases)
    said = "--classes are values of a column, and family is a rank"
    with pytest.raises(MisuseError, match=said):
        split.evaluate("family", classes=phrases)


def test_a_rank_keeps_its_tree(split: bp.Store) -> None:
    found = split.evaluate("family", methods="centroid", n_resamples=20)
    assert "mistake_severity" in found.to_frame()
