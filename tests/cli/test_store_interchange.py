"""``bioprobe store import | export`` and ``zeroshot --head``: each option's effect."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.cli.app import run
from bioprobe.encoders.encoder import Fingerprint, normalise_rows
from bioprobe.store import EmbeddingStore
from bioprobe.zeroshot.text_head import list_heads

LION = ["Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Panthera", "leo"]
LYNX = ["Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Lynx", "lynx"]
WOLF = ["Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Canis", "lupus"]


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    frame = pd.DataFrame(
        {
            "uuid": ["a", "b", "c"],
            "url": ["u1", "u2", "u3"],
            "emb": [[2.0, 0.0, 0.0], [0.6, 0.6, 0.8], [0.0, 0.0, 1.0]],
            "other": [[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]],
            "family": ["Felidae", "Canidae", None],
        }
    )
    frame.to_parquet(tmp_path / "v.parquet")
    return tmp_path / "v.parquet"


@pytest.fixture
def store(vectors: Path, tmp_path: Path) -> Path:
    assert call("import", vectors, tmp_path / "S", "--model", "mine", "--logit-scale", "3") == 0
    return tmp_path / "S"


@pytest.fixture
def head(store: Path, tmp_path: Path) -> Path:
    np.save(tmp_path / "tol.npy", np.eye(3, dtype=np.float32))
    names = [[LION, "lion"], [LYNX, "lynx"], [WOLF, "wolf"]]
    (tmp_path / "tol.json").write_text(json.dumps(names))
    assert call("import", tmp_path / "tol.npy", store, "--model", "mine") == 0
    return store


def call(command: str, file: Path, store: Path, *options: str) -> int:
    return run(["store", command, str(file), "--store", str(store), *options])


def ask(store: Path, *options: str) -> pd.DataFrame:
    output = store.parent / "answers.csv"
    assert run(["zeroshot", "--store", str(store), "-o", str(output), *options]) == 0
    return pd.read_csv(output)


def test_an_import_says_what_came(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("import", vectors, tmp_path / "S", "--model", "mine") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "3 vectors of dim 3 (emb-explorer; they had norms 1 to 2, now 1), 1 without a label, "
        f"0 failed -> {tmp_path / 'S'}",
        "columns that a table of images cannot hold: other",
        "the logit scale is not known, so probabilities are flat: give --logit-scale",
    ]
    assert call("import", vectors, tmp_path / "T", "--model", "mine", "--quiet") == 0
    assert capsys.readouterr().err == ""


def test_a_model_that_is_here_is_asked_for_its_scale_and_its_dim(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "v.npy", np.eye(3, 192))
    assert call("import", tmp_path / "v.npy", tmp_path / "S", "--model", "sketch") == 0
    assert "logit scale" not in capsys.readouterr().err
    assert call("import", vectors, tmp_path / "T", "--model", "sketch") == 1
    assert "vectors of dim 3, sketch makes 192; name the encoder" in capsys.readouterr().err


def test_each_option_of_import_takes_effect(vectors: Path, tmp_path: Path) -> None:
    options = [
        "--column",
        "other",
        "--path-column",
        "url",
        "--root",
        "photos",
        "--dtype",
        "float16",
    ]
    options += ["--logit-scale", "3", "--layout", "emb-explorer", "--model", "mine"]
    assert call("import", vectors, tmp_path / "S", *options) == 0
    store = EmbeddingStore.open(tmp_path / "S")
    assert (store.manifest.dim, store.manifest.dtype, store.manifest.logit_scale) == (
        2,
        "float16",
        3,
    )
    assert store.manifest.encoder.model == "mine"
    assert list(store.images.frame["path"]) == ["u1", "u2", "u3"]
    assert set(store.images.frame["root"]) == {str(Path("photos").absolute())}


def test_misuse_and_failure_are_told_apart(
    vectors: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["store", "import", str(vectors)]) == 2
    assert call("export", tmp_path / "x.parquet", store) == 2
    assert "say which layout to write" in capsys.readouterr().err
    assert call("import", tmp_path / "none.npy", store, "--model", "mine") == 1
    assert capsys.readouterr().err.startswith("Error: no file or folder at ")
    assert call("import", vectors, store, "--model", "mine") == 1
    assert "is in" in capsys.readouterr().err


def test_what_failed_is_counted_and_its_list_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "v.npy", np.array([[1.0, 0.0], [0.0, 0.0]]))
    assert call("import", tmp_path / "v.npy", tmp_path / "S", "--model", "clip", "-q") == 0
    assert "failures.parquet" in capsys.readouterr().err
    assert run(["store", "info", "--store", str(tmp_path / "S")]) == 0
    assert "v-00000001: a vector of zeros" in capsys.readouterr().out


def test_an_export_has_a_layout_and_a_condition(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    target = tmp_path / "out" / "x.parquet"
    options = ["--layout", "hpc-inference", "--where", "family == 'Felidae'"]
    assert call("export", target, store, *options) == 0
    assert capsys.readouterr().err == f"1 vectors of dim 3 (hpc-inference) -> {target}\n"
    frame = pd.read_parquet(target)
    assert list(frame["uuid"]) == ["a"]
    assert list(frame["emb_mine"].iloc[0]) == [1, 0, 0]
    assert call("import", target, tmp_path / "T", "--model", "mine") == 0


def test_a_head_labels_at_any_rank_without_a_model(
    head: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    answers = ask(head, "--head", "tol", "--level", "family", "-k", "1")
    assert list(answers["family"]) == ["Felidae", "Felidae", "Canidae"]
    error = capsys.readouterr().err
    assert "classes at family: 2; texts of the head tol: 3; pool: sum" in error
    assert "top-1 0.500" in error
    assert list(ask(head, "--head", "tol", "-k", "1")["species"]) == [
        "Panthera leo", "Canis lupus", "Canis lupus"
    ]  # fmt: skip


def test_the_way_of_pooling_decides(head: Path) -> None:
    # Of image b, (.6, .6, .8), the wolf's text is the nearest one; both cats together are nearer.
    options = ["--head", "tol", "--level", "family", "-k", "1", "--where", "path == 'b'"]
    for pool, name in (("max", "Canidae"), ("mean", "Felidae"), ("sum", "Felidae")):
        assert list(ask(head, *options, "--pool", pool)["family"]) == [name]
    assert run(["zeroshot", "--store", str(head), "--head", "tol", "--pool", "median"]) == 1


def test_a_taxon_list_limits_a_head_and_what_it_lacks_is_said(
    head: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taxa.csv").write_text(
        "species,prompt\ncat,Lion\ncat,lynx lynx\ndog,wolf\nbear,Ursus arctos\n"
    )
    answers = ask(head, "--head", "tol", "--taxa", str(tmp_path / "taxa.csv"), "-k", "1")
    assert list(answers["species"]) == ["cat", "cat", "dog"]
    assert "the head has no text for 1 classes, such as bear" in capsys.readouterr().err


def test_a_second_head_takes_a_name_of_its_own(head: Path, tmp_path: Path) -> None:
    assert call("import", tmp_path / "tol.npy", head, "--model", "mine") == 1
    assert call("import", tmp_path / "tol.npy", head, "--model", "mine", "--name", "two") == 0
    assert list_heads(EmbeddingStore.open(head)) == ["tol", "two"]
    assert call("import", tmp_path / "tol.npy", head, "--model", "theirs", "--name", "x") == 1
    assert run(["zeroshot", "--store", str(head), "--head", "three"]) == 1


@dataclasses.dataclass
class Dictionary:
    """An encoder of texts whose embeddings are written down."""

    fingerprint: Fingerprint
    embeddings: dict[str, list[float]]
    batch_size = 8

    def encode_text(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return normalise_rows(np.array([self.embeddings[text] for text in texts]))


@pytest.fixture
def teach(store: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, list[float]]], None]:
    """Make the store's encoder one that knows these texts alone."""

    def teach_texts(embeddings: dict[str, list[float]]) -> None:
        encoder = Dictionary(EmbeddingStore.open(store).manifest.encoder, embeddings)
        monkeypatch.setattr("bioprobe.encoders.load_encoder", lambda *_, **__: encoder)

    return teach_texts


Teach = Callable[[dict[str, list[float]]], None]


def test_classes_are_exported_as_a_head(store: Path, tmp_path: Path, teach: Teach) -> None:
    teach({"a Felidae": [0.6, 0.8, 0], "a Canidae": [0, 0, 1]})
    target = tmp_path / "mine.npy"
    options = ["--layout", "treeoflife", "--level", "family", "--text-type", "sci"]
    assert call("export", target, store, *options, "--templates", "a {}") == 0
    np.testing.assert_allclose(np.load(target), np.array([[0.6, 0], [0.8, 0], [0, 1]]), atol=1e-7)
    names = json.loads(target.with_suffix(".json").read_text())
    assert [ranks[4] for ranks, _ in names] == ["Felidae", "Canidae"]
    assert call("import", target, store, "--model", "mine", "--name", "back") == 0
    answers = ask(store, "--head", "back", "--level", "family", "-k", "1")
    assert list(answers["family"]) == ["Felidae", "Felidae", "Canidae"]


def test_prompts_can_be_pooled_too(store: Path, tmp_path: Path, teach: Teach) -> None:
    # Image a is (1, 0, 0): the best text is the cat's, the mean and the sum are the dog's.
    teach(
        {
            "t cat": [1, 0, 0],
            "u cat": [-1, 0.1, 0],
            "t dog": [0.98, 0.2, 0],
            "u dog": [0.98, 0, 0.2],
        }
    )
    (tmp_path / "templates.txt").write_text("t {}\nu {}\n")
    (tmp_path / "taxa.csv").write_text("species\ncat\ndog\n")
    common = ["--taxa", str(tmp_path / "taxa.csv"), "--templates", str(tmp_path / "templates.txt")]
    common += ["--text-type", "sci", "--where", "uuid == 'a'", "-k", "1"]
    for pool, name in (("max", "cat"), ("sum", "dog"), ("mean", "dog")):
        assert list(ask(store, *common, "--pool", pool)["species"]) == [name]
    assert list(ask(store, *common)["species"]) == ["dog"]
