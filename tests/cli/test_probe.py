from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.cli.app import run
from bioprobe.learning.keeping import read_probe
from bioprobe.learning.kept import list_probes
from bioprobe.splits import make_split, read_split, write_split
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.taxonomy import Rank

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def split(store: Path) -> EmbeddingStore:
    return _split(store)


def _split(store: Path) -> EmbeddingStore:
    opened = EmbeddingStore.open(store)
    write_split(opened, make_split(opened, Rank.FAMILY, fractions=(0.5, 0.25, 0.25)))
    return opened


def _ask(capsys: Capture, *arguments: str) -> pd.DataFrame:
    capsys.readouterr()
    assert run(["probe", *arguments, "--quiet", "--format", "csv"]) == 0, capsys.readouterr().err
    return pd.read_csv(io.StringIO(capsys.readouterr().out))


def test_fit_says_what_was_chosen_and_how_well_it_did(
    split: EmbeddingStore, capsys: Capture
) -> None:
    assert run(["probe", "fit", "lda", "--level", "family"]) == 0
    said = capsys.readouterr().err
    assert "part train of the split default" in said
    assert "images, fewer than 30: folds of train and validation are held out" in said
    assert "chosen by cross-validation: shrinkage = " in said
    assert "(95% interval)" in said
    probe = read_probe(split, "lda")
    assert probe.n_rows == len(read_split(split).rows("train"))
    assert probe.provenance["command"]


def test_the_columns_of_predict_begin_as_pybioclips(split: EmbeddingStore, capsys: Capture) -> None:
    assert run(["probe", "fit", "centroid", "--level", "family", "--quiet"]) == 0
    frame = _ask(capsys, "predict", "centroid", "-k", "2", "--split", "default:test")
    ranks = ["kingdom", "phylum", "class", "order", "family"]
    assert frame.columns.tolist()[:7] == ["file_name", *ranks, "score"]
    rows = read_split(split).rows("test")
    assert sorted(set(frame["row"])) == rows.tolist()
    assert len(frame) == 2 * len(rows)
    assert len(_ask(capsys, "predict", "centroid", "-k", "1")) == len(split.rows)


_PLAIN = ["probe", "fit", "linear", "--level", "family", "--C", "10", "--quiet"]


@pytest.fixture(scope="module")
def plain(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fit a probe once, and return its folder."""
    store = tmp_path_factory.mktemp("plain") / "store"
    shutil.copytree(drawn / "store", store)
    _split(store)
    assert run([*_PLAIN, "--store", str(store), "--name", "plain"]) == 0
    return store / "probes" / "plain"


@pytest.mark.parametrize(
    "change",
    [
        ("--level", "order"),
        ("--split", "none"),
        ("--C", "0.001"),
        ("--setting", "tau=3", "--balance", "logit-adjustment"),
        ("--balance", "focal"),
        ("--where", "width_px > 0 and order != 'Carnivora'"),
        ("--mask", "filters/odd"),
    ],
)
def test_every_option_of_fit_changes_the_probe(
    split: EmbeddingStore, plain: Path, change: tuple[str, ...]
) -> None:
    from bioprobe.store.selections import write_selection

    write_selection(split, "filters/odd", split.rows, split.rows % 3 > 0)
    # typer takes the last of an option that is given twice
    assert run([*_PLAIN, "--name", "changed", *change]) == 0
    shutil.copytree(plain, split.folder / "probes" / "plain")
    vectors = split.read_vectors()
    one, other = (read_probe(split, name).predict_vectors(vectors) for name in ("plain", "changed"))
    assert one.shape != other.shape or not np.allclose(one, other, atol=1e-4)


def test_the_seed_draws_other_folds(split: EmbeddingStore) -> None:
    asked = ["probe", "fit", "knn", "--level", "family", "--split", "none", "--quiet"]
    for seed in ("0", "0", "7"):
        assert run([*asked, "--seed", seed, "--name", f"seed-{seed}"]) == 0
    first, other = (read_probe(split, f"seed-{seed}").held_out for seed in (0, 7))
    assert first.method == "cross-validation"
    assert first.accuracies != other.accuracies


def test_from_widens_the_chain_of_hierarchical(split: EmbeddingStore) -> None:
    for rank in ("phylum", "order"):
        asked = ["probe", "fit", "hierarchical", "--level", "family", "--C", "10", "--quiet"]
        assert run([*asked, "--from", rank, "--name", rank]) == 0
    vectors = split.read_vectors()
    one, other = (read_probe(split, name).predict_vectors(vectors) for name in ("phylum", "order"))
    assert not np.allclose(one, other, atol=1e-5)


def test_texts_add_classes_that_no_image_has(split: EmbeddingStore, tmp_path: Path) -> None:
    taxa = tmp_path / "taxa.csv"
    taxa.write_text("kingdom,family,common_name\nAnimalia,Ursidae,bear\n")
    few = ("--where", "class in ('Mammalia', 'Insecta')")
    asked = ["probe", "fit", "prompt+probe", "--level", "family", "--C", "1", *few, "--quiet"]
    changes = {
        "plain": (),
        "listed": ("--taxa", str(taxa)),
        "sci": ("--text-type", "sci"),
        "field": ("--templates", "field"),
    }
    for name, change in changes.items():
        assert run([*asked, "--name", name, *change]) == 0
    probes = {name: read_probe(split, name) for name in changes}
    assert "Ursidae" in {taxon.name for taxon in probes["listed"].classes}
    assert "Ursidae" not in {taxon.name for taxon in probes["plain"].classes}
    vectors = split.read_vectors()
    plain = probes["plain"].predict_vectors(vectors)
    for name in ("sci", "field"):
        assert not np.allclose(plain, probes[name].predict_vectors(vectors), atol=1e-5)


def test_picture_files_get_the_answers_that_they_have_in_the_store(
    split: EmbeddingStore, drawn: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert run(["probe", "fit", "centroid", "--level", "family", "--quiet"]) == 0
    (tmp_path / "asked").mkdir()
    shutil.copy(drawn / "photos" / "panthera-leo" / "000.jpg", tmp_path / "asked" / "lion.jpg")
    (tmp_path / "asked" / "torn.jpg").write_bytes(b"\xff\xd8 torn")
    assert run(["probe", "predict", "centroid", "asked", "-k", "1", "--output", "out.csv"]) == 0
    said = capsys.readouterr().err
    assert "skipped torn.jpg" in said
    frame = pd.read_csv("out.csv")
    assert frame["file_name"].tolist() == ["lion.jpg", "torn.jpg"]
    assert frame["content"][1] == "unreadable"
    frame = frame[frame["answer"].notna()]
    inside = _ask(capsys, "predict", "centroid", "-k", "1")
    lion = inside[inside["file_name"] == "panthera-leo/000.jpg"]
    assert lion["family"].tolist() == frame["family"].tolist()
    assert lion["score"].tolist() == pytest.approx(frame["score"].tolist(), abs=1e-3)
    assert len(EmbeddingStore.open(split.folder)) == len(split)
    wishes = ("--abstain", "0.01", "--sets", "0.5", "--unknown")
    assert run(["probe", "predict", "centroid", "asked", *wishes, "--output", "sure.csv"]) == 0
    sure = pd.read_csv("sure.csv").dropna(subset="answer")
    assert sure["family"].tolist() == frame["family"].tolist()
    assert {"rank", "set", "is_unknown"} <= set(sure.columns)
    capsys.readouterr()
    assert run(["probe", "predict", "centroid", "asked/torn.jpg"]) == 1
    assert "none of 1 pictures can be read" in capsys.readouterr().err
    assert run(["probe", "predict", "centroid", "asked", "--where", "width_px > 1"]) == 2


def test_where_and_mask_choose_what_is_labelled(split: EmbeddingStore, capsys: Capture) -> None:
    from bioprobe.store.selections import write_selection

    write_selection(split, "filters/odd", split.rows, split.rows % 2 > 0)
    assert run(["probe", "fit", "centroid", "--level", "family", "--quiet"]) == 0
    masked = _ask(capsys, "predict", "centroid", "-k", "1", "--mask", "filters/odd")
    assert ((masked["row"] % 2 == 1) == masked["answer"].notna()).all()
    assert masked["reason"].notna().sum() == masked["answer"].isna().sum()
    felidae = _ask(capsys, "predict", "centroid", "-k", "1", "--where", "family == 'Felidae'")
    assert 0 < len(felidae) < len(split.rows)


def test_probes_are_shown_listed_and_removed(split: EmbeddingStore, capsys: Capture) -> None:
    for kind in ("ridge", "centroid"):
        assert run(["probe", "fit", kind, "--level", "family", "--quiet"]) == 0
    shown = _ask(capsys, "show", "ridge").set_index("field")["value"]
    assert shown["kind"] == "ridge"
    assert shown["split hash"] == read_split(split).hash
    assert shown["chosen"].startswith("alpha=")
    assert shown["calibrated by"].startswith("temperature ")
    (split.folder / "probes" / "centroid" / "probe.json").write_text("{")
    listed = _ask(capsys, "list").set_index("name")
    assert listed.index.tolist() == ["centroid", "ridge"]
    assert "damaged" in listed["problem"]["centroid"]
    assert run(["probe", "remove", "centroid", "--quiet"]) == 0
    assert list_probes(split) == ["ridge"]
    assert run(["probe", "remove", "centroid"]) == 1
    assert "there are: ridge" in capsys.readouterr().err


def test_misuse_says_the_remedy(split: EmbeddingStore, capsys: Capture) -> None:
    assert run(["probe", "fit", "forest", "--level", "family"]) == 1
    assert "no kind of probe 'forest'; there are knn" in capsys.readouterr().err
    assert run(["probe", "fit", "lda", "--level", "family", "--setting", "depth=3"]) == 1
    assert "lda has no setting 'depth'; it has shrinkage" in capsys.readouterr().err
    assert run(["probe", "fit", "lda", "--setting", "depth"]) == 2
    assert run(["probe", "fit", "lda", "--split", "other"]) == 1
    assert "bioprobe split --name other" in capsys.readouterr().err
    assert run(["probe", "predict", "lda"]) == 1
    assert "no probe 'lda'" in capsys.readouterr().err
    assert run(["probe", "fit", "lda", "--level", "family", "--quiet"]) == 0
    assert run(["probe", "predict", "lda", "--split", "default"]) == 2
    assert len(split)


@pytest.fixture
def fitted(split: EmbeddingStore) -> EmbeddingStore:
    """Keep a probe that is far too sure."""
    asked = ["probe", "fit", "centroid", "--level", "family", "--setting", "scale=60", "--quiet"]
    assert run(asked) == 0
    return split


_TEST = ("centroid", "-k", "1", "--split", "default:test")


def test_probabilities_are_calibrated_unless_it_is_declined(
    fitted: EmbeddingStore, capsys: Capture
) -> None:
    calibrated, same, raw = (
        _ask(capsys, "predict", *_TEST, *more)
        for more in ((), ("--calibrate",), ("--no-calibrate",))
    )
    assert calibrated["score"].tolist() == same["score"].tolist()
    assert calibrated["family"].tolist() == raw["family"].tolist(), "a temperature changes no order"
    probe = read_probe(fitted, "centroid")
    plain = probe.ask(View.of(fitted).take(read_split(fitted).rows("test")), k=1)
    assert raw["score"].tolist() == pytest.approx(plain.scores[:, 0].tolist(), abs=1e-5)
    assert not np.allclose(calibrated["score"], raw["score"], atol=1e-3)
    assert run(["probe", "predict", *_TEST, "--output", "a.csv"]) == 0
    assert "held-out images (cross-validation)" in capsys.readouterr().err


def test_calibration_names_the_calibrator(split: EmbeddingStore, capsys: Capture) -> None:
    from bioprobe.learning.keeping import read_calibration

    for kind in ("isotonic", "vector", "none"):
        asked = ["probe", "fit", "centroid", "--level", "family", "--calibration", kind]
        assert run([*asked, "--name", kind]) == 0
        kept, said = read_calibration(split, kind), capsys.readouterr().err
        if kind == "none":
            assert kept is None
        else:
            # Of so few images it is mostly worse than none, and then not used.
            assert f"calibrated by {kind} on" in said or f"calibration by {kind} would" in said
    assert run(["probe", "fit", "centroid", "--level", "family", "--calibration", "prayer"]) == 1
    assert "calibrated by temperature, vector, isotonic" in capsys.readouterr().err
    for wish in (("--abstain", "auto"), ("--sets", "0.9"), ("--unknown",), ("--calibrate",)):
        assert run(["probe", "predict", "none", *wish]) == 2
        assert "fit it again with --calibration temperature" in _unwrap(capsys)
    assert run(["probe", "predict", "none", "--abstain", "0.5", "--output", "a.csv"]) == 0


def _unwrap(capsys: Capture) -> str:
    """Return what was said without the box that typer draws around misuse."""
    return " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_abstaining_answers_at_the_deepest_rank_that_is_sure_enough(
    fitted: EmbeddingStore, capsys: Capture
) -> None:
    sure, unsure = (_ask(capsys, "predict", *_TEST, "--abstain", one) for one in ("0.999", "0.01"))
    n = len(read_split(fitted).rows("test"))
    assert len(sure) == len(unsure) == n, "one row an image"
    assert (unsure["rank"] == "family").all()
    assert (sure["rank"] != "family").any()
    assert (sure["score"].dropna() >= 0.998).all()
    assert run(["probe", "predict", *_TEST, "--abstain", "2"]) == 2
    assert run(["probe", "predict", *_TEST, "--abstain", "often"]) == 2


@pytest.mark.usefixtures("fitted")
def test_the_confidence_is_chosen_for_the_accuracy_that_is_wanted(capsys: Capture) -> None:
    found = {}
    said = {
        "0.3": "with a chance of 95% at least 0.3 of the answers to images like the",
        "0.99": "too few to promise 0.99 right answers with a chance of 95%: that takes 299 images",
    }
    for wanted, expected in said.items():
        asked = ["probe", "predict", *_TEST, "--abstain", "auto", "--accuracy", wanted]
        assert run([*asked, "--output", f"{wanted}.csv"]) == 0
        assert expected in _unwrap(capsys)
        found[wanted] = pd.read_csv(f"{wanted}.csv")
    assert (found["0.3"]["rank"] == "family").sum() > (found["0.99"]["rank"] == "family").sum()


@pytest.mark.parametrize("kind", ["lac", "aps", "raps"])
def test_sets_hold_the_class_as_often_as_was_asked(
    fitted: EmbeddingStore, capsys: Capture, kind: str
) -> None:
    small, large = (
        _ask(capsys, "predict", *_TEST, "--sets", one, "--set-kind", kind) for one in ("0.5", "0.9")
    )
    assert small["set_size"].mean() < large["set_size"].mean()
    assert (large["set"].str.split("|").map(len) == large["set_size"]).all()
    assert (large["set"].str.split("|").str[0] == large["family"]).all(), "the best class is first"
    labels = fitted.images.labels(Rank.FAMILY)[large["row"]]
    held = [label in names.split("|") for label, names in zip(labels, large["set"], strict=True)]
    # Some 35 pictures: two standard errors below.
    assert np.mean(held) > 0.9 - 2 * np.sqrt(0.9 * 0.1 / len(held))
    asked = ["probe", "predict", *_TEST, "--sets", "0.9", "--set-kind", kind]
    assert run([*asked, "--output", "a.csv"]) == 0
    assert "(cross-validation) that chose the limit" in _unwrap(capsys)
    assert len(_ask(capsys, "predict", "centroid", "-k", "2", "--sets", "0.9")) == 2 * len(
        fitted.rows
    )


def test_kinds_of_sets_are_told_apart(fitted: EmbeddingStore, capsys: Capture) -> None:
    sizes = {}
    for kind in ("lac", "aps", "raps"):
        answers = _ask(
            capsys, "predict", "centroid", "-k", "1", "--sets", "0.9", "--set-kind", kind
        )
        sizes[kind] = answers["set_size"].mean()
    assert sizes["lac"] < min(sizes["aps"], sizes["raps"])
    assert len(fitted) == len(answers)


@pytest.mark.usefixtures("fitted")
def test_the_unknown_are_scored_and_what_is_missed_is_measured(
    capsys: Capture,
) -> None:
    frame = _ask(capsys, "predict", *_TEST, "--unknown")
    assert frame["unknown_max_softmax"].tolist() == pytest.approx(
        (1 - frame["score"]).tolist(), abs=1e-5
    )
    assert run(["probe", "predict", *_TEST, "--unknown", "--output", "a.csv"]) == 0
    said = _unwrap(capsys)
    assert "which 95% of" in said
    assert "was not measured" in said
    asked = ["probe", "fit", "centroid", "--level", "family", "--quiet", "--leave-out", "0.2"]
    assert run(asked) == 0
    assert run(["probe", "predict", *_TEST, "--unknown", "--output", "a.csv"]) == 0
    said = _unwrap(capsys)
    assert "held-out images of 5 classes left out on purpose it takes" in said
    assert "(95% interval by class)" in said
    assert "whether the encoder was trained on pictures of these classes is not known" in said
    assert "images that no one chose" not in said
