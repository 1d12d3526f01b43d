from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.cli.app import run
from bioprobe.encoders.encoder import Fingerprint
from bioprobe.intervals import Accuracy
from bioprobe.learning.keeping import read_probe
from bioprobe.splits import make_split, read_split, write_split
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Rank

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def opened(store: Path) -> EmbeddingStore:
    """Return a store with a split, and ``other`` beside it: its images but three, turned."""
    first = EmbeddingStore.open(store)
    write_split(first, make_split(first, Rank.FAMILY, fractions=(0.5, 0.25, 0.25)))
    turn = np.random.default_rng(0).normal(size=(first.manifest.dim, 24))
    encoder = Fingerprint(model="turned", weights_sha256="b" * 64, backend="numpy")
    other = EmbeddingStore.create("other", encoder, dim=24)
    other.append(first.images.frame.iloc[:-3], first.read_vectors()[:-3] @ turn)
    return first


def _fit(*arguments: str) -> int:
    return run(["probe", "stack", "fit", "--with", "other", "--level", "family", *arguments])


def _ask(capsys: Capture, *arguments: str) -> pd.DataFrame:
    capsys.readouterr()
    code = run(["probe", "stack", *arguments, "--with", "other", "--quiet", "--format", "csv"])
    assert code == 0, capsys.readouterr().err
    return pd.read_csv(io.StringIO(capsys.readouterr().out))


def test_fit_keeps_the_stack_and_says_what_was_left_out(
    opened: EmbeddingStore, capsys: Capture
) -> None:
    assert _fit() == 0
    said = capsys.readouterr().err
    lost = np.arange(len(opened))[-3:]
    split = read_split(opened)
    n_lost = int(np.isin(lost, [*split.rows("train"), *split.rows("validation")]).sum())
    assert (f"other lacks {n_lost} of the images" in said) == bool(n_lost)
    assert "lda of turned: shrinkage = " in said
    assert "chosen on folds of the training images" in said
    assert "validation, " in said
    probe = read_probe(opened, "stack")
    assert probe.kind == "stack"
    assert probe.n_rows == len(np.setdiff1d(split.rows("train"), lost))


def test_every_option_of_fit_has_its_effect(opened: EmbeddingStore, capsys: Capture) -> None:
    assert _fit("--quiet", "--base", "knn", "--base", "centroid", "--name", "mine", "--C", "2",
                "--split", "none", "--where", "family != ''", "--seed", "3") == 0  # fmt: skip
    assert capsys.readouterr().err == ""
    probe = read_probe(opened, "mine")
    assert [kind for kind, _ in probe.settings["bases"]] == ["knn", "centroid"] * 2
    assert (probe.settings["C"], probe.settings["seed"], probe.split_name) == (2, 3, "")
    assert probe.provenance["condition"] == "family != ''"
    assert probe.n_rows == (opened.images.labels(Rank.FAMILY)[:-3] != "").sum()


def test_predict_answers_for_the_images_of_all_stores(
    opened: EmbeddingStore, capsys: Capture
) -> None:
    assert _fit("--quiet") == 0
    assert len(_ask(capsys, "predict", "stack", "-k", "1")) == len(opened) - 3
    rows = read_split(opened).rows("test")
    frame = _ask(capsys, "predict", "stack", "-k", "2", "--split", "default:test")
    assert sorted(set(frame["row"])) == np.setdiff1d(rows, np.arange(len(opened))[-3:]).tolist()
    assert len(frame) == 2 * frame["row"].nunique()
    few = _ask(capsys, "predict", "stack", "-k", "1", "--where", "order == 'Carnivora'")
    assert 0 < len(few) < len(opened) - 3
    assert run(["probe", "stack", "predict", "stack", "--with", "other", "-k", "1"]) == 0
    assert "(95% interval)" in capsys.readouterr().err


def test_compare_gives_each_base_alone_with_a_paired_test(
    opened: EmbeddingStore, capsys: Capture
) -> None:
    assert _fit("--quiet", "--base", "centroid", "--base", "lda") == 0
    frame = _ask(capsys, "compare", "stack", "--part", "test").set_index("method")
    assert len(frame) == 5
    assert frame.index[0] == "stack"
    assert frame.index[-1] == "lda of turned"
    answers = _ask(capsys, "predict", "stack", "-k", "1", "--split", "default:test")
    truth = opened.images.labels(Rank.FAMILY)[answers["row"]]
    measured = Accuracy(1, int((answers["family"] == truth).sum()), len(truth))
    first = frame.iloc[0]
    assert first["images"] == len(truth)
    assert first["accuracy"] == pytest.approx(measured.fraction)
    assert (first["low"], first["high"]) == pytest.approx(measured.interval, abs=1e-6)
    bases = frame.iloc[1:]
    lead = (bases["right_by_stack_only"] - bases["right_by_base_only"]) / len(truth)
    np.testing.assert_allclose(first["accuracy"] - bases["accuracy"], lead, atol=1e-6)
    assert (bases["p_holm"] >= bases["p_mcnemar"]).all()
    other = _ask(capsys, "compare", "stack")
    assert other["images"].iloc[0] == len(
        np.setdiff1d(read_split(opened).rows("validation"), np.arange(len(opened))[-3:])
    )
    target = ["--with", "other", "--output", "compared.json"]
    assert run(["probe", "stack", "compare", "stack", *target]) == 0
    provenance = json.loads(Path("compared.json").read_text())["provenance"]
    assert provenance["options"]["part"] == "validation"
    assert len(provenance["options"]["encoders"]) == 2


def test_probe_predict_names_the_command_that_can(opened: EmbeddingStore, capsys: Capture) -> None:
    assert _fit("--quiet") == 0
    assert run(["probe", "predict", "stack", "--store", str(opened.folder)]) == 1
    assert "probe stack predict NAME --with STORE" in " ".join(capsys.readouterr().err.split())


def test_a_store_of_another_encoder_is_refused(opened: EmbeddingStore, capsys: Capture) -> None:
    assert _fit("--quiet") == 0
    shutil.copytree(opened.folder, "again")
    assert run(["probe", "stack", "predict", "stack", "--with", "again"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "learnt from vectors of turned" in said
    assert "name the store of turned by --with" in said
