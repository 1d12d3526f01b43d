"""Real vectors of BioCLIP 2 and CLIP, where the shared folder is at hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bioprobe.cli.app import run
from bioprobe.interchange import export_store, import_vectors, recognise_layout
from bioprobe.store import EmbeddingStore, verify_store
from bioprobe.taxonomy import RANKS

pytestmark = pytest.mark.shared

TARGETS = {
    "emb-explorer": "v.parquet",
    "hpc-inference": "v.parquet",
    "clip-retrieval": "v",
    "npy": "v.npy",
    "datasets": "v",
}


@pytest.fixture
def example(shared_dir: Path) -> Path:
    return shared_dir / "data/tol200m-bioclip2-1k/example_1k.parquet"


def test_bioclip_2_vectors_come_whole(example: Path, tmp_path: Path) -> None:
    assert recognise_layout(example) == "emb-explorer"
    summary = import_vectors(example, tmp_path / "S", model="bioclip-2")
    assert (summary.n_imported, summary.n_failed, summary.dim) == (1030, 0, 768)
    assert summary.n_unlabelled == 121
    assert not summary.is_normalised
    assert 36 < summary.norms[0] < summary.norms[1] < 70
    assert summary.logit_scale == 100.0
    store = EmbeddingStore.open(tmp_path / "S")
    theirs = pd.read_parquet(example)
    emb = np.stack(list(theirs["emb"])).astype(np.float64)
    emb /= np.linalg.norm(emb, axis=1, keepdims=True)
    np.testing.assert_allclose(store.read_vectors(), emb, atol=1e-7, rtol=0)
    ours = store.images.frame
    for name in (*RANKS, "common_name"):
        assert list(ours[name]) == list(theirs[name].fillna("")), name
    free = ["uuid", "source_dataset", "scientific_name", "publisher", "identifier", "img_type"]
    pd.testing.assert_frame_equal(ours[free].fillna(""), theirs[free].fillna(""), check_dtype=False)
    assert list(ours["path"]) == list(theirs["uuid"])


@pytest.mark.parametrize("layout", TARGETS)
def test_bioclip_2_vectors_go_out_and_come_back(layout: str, example: Path, tmp_path: Path) -> None:
    import_vectors(example, tmp_path / "S", model="bioclip-2")
    store = EmbeddingStore.open(tmp_path / "S")
    target = tmp_path / TARGETS[layout]
    assert export_store(store, target, layout).n_exported == 1030
    assert import_vectors(target, tmp_path / "T", model="bioclip-2").layout == layout
    copy = EmbeddingStore.open(tmp_path / "T")
    np.testing.assert_allclose(copy.read_vectors(), store.read_vectors(), atol=1e-7, rtol=0)
    pd.testing.assert_frame_equal(
        copy.images.frame.fillna(""), store.images.frame.fillna(""), check_dtype=False
    )
    assert verify_store(copy) == []


def test_imported_vectors_refuse_an_encoder_that_was_seen(
    shared_dir: Path, example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_vectors(example, tmp_path / "S", model="bioclip-2")
    photo = sorted((shared_dir / "data/photos").glob("*/*.jpg"))[0]
    model = f"local-dir:{shared_dir / 'models/wildlife-mini'}"
    before = (tmp_path / "S/manifest.json").read_bytes()
    command = ["embed", str(photo), "--model", model, "--store", str(tmp_path / "S"), "-q"]
    assert run(command) == 1
    error = capsys.readouterr().err
    assert "holds vectors of bioclip-2 (weights unknown, fp32, imported)" in error
    assert "they cannot be compared" in error
    assert (tmp_path / "S/manifest.json").read_bytes() == before


CIFAR_10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
# Rows of the 1,000 ImageNet names.
ROWS_OF = {
    "airplane": [404, 895],
    "automobile": [436, 468, 511, 609, 627, 656, 661, 751, 817],
    "bird": [*range(7, 25), *range(80, 101), *range(127, 147)],
    "cat": range(281, 288),
    "deer": [351, 352, 353],
    "dog": range(151, 269),
    "frog": [30, 31, 32],
    "horse": [339],
    "ship": [484, 510, 554, 625, 628, 724, 780, 814, 871, 914],
    "truck": [555, 569, 675, 717, 864, 867],
}


@pytest.fixture
def cifar_store(shared_dir: Path, tmp_path: Path) -> Path:
    """Write real CLIP vectors, their labels, a text head and a taxon list; import both."""
    data = shared_dir / "data/clip-vitb32-cached"
    names = json.loads((data / "imagenet1k.labels.json").read_text())
    np.save(tmp_path / "txt_emb.npy", torch.load(data / "imagenet1k.text_features2.pt").numpy().T)
    # Numbered, because two of the names occur twice.
    numbered = [f"{row:04d} {name}" for row, name in enumerate(names)]
    (tmp_path / "txt_emb.json").write_text(json.dumps([[[""] * 7, name] for name in numbered]))
    np.save(tmp_path / "cifar.npy", torch.load(data / "cifar10_500.image_embeddings.pt").numpy())
    labels = [CIFAR_10[label] for label in np.load(data / "cifar10_500.labels.npy")]
    paths = [f"{row:03d}.png" for row in range(500)]
    pd.DataFrame({"path": paths, "species": labels}).to_csv(tmp_path / "cifar.csv", index=False)
    pd.DataFrame(
        [(name, numbered[row]) for name in CIFAR_10 for row in ROWS_OF[name]],
        columns=["species", "prompt"],
    ).to_csv(tmp_path / "taxa.csv", index=False)
    store = str(tmp_path / "S")
    for file in ("cifar.npy", "txt_emb.npy"):
        command = ["store", "import", str(tmp_path / file), "--store", store, "-q"]
        assert run([*command, "--model", "clip-b32"]) == 0
    return tmp_path


# Of `max` measured independently on the same vectors: .746; the others as they came.
@pytest.mark.parametrize(("pool", "accuracy"), [("max", 0.746), ("sum", 0.710), ("mean", 0.648)])
def test_cifar_10_is_labelled_by_imagenet_names(
    pool: str, accuracy: float, cifar_store: Path
) -> None:
    command = ["zeroshot", "--head", "txt_emb", "--taxa", str(cifar_store / "taxa.csv"), "-q"]
    command += ["--store", str(cifar_store / "S"), "-k", "1", "--pool", pool]
    assert run([*command, "-o", str(cifar_store / "out.csv")]) == 0
    answers = pd.read_csv(cifar_store / "out.csv")
    truth = pd.read_csv(cifar_store / "cifar.csv")
    assert list(answers["file_name"]) == list(truth["path"])
    assert (answers["species"] == truth["species"]).mean() == pytest.approx(accuracy, abs=0.005)


def test_probabilities_are_those_of_all_rows_with_numpy(
    shared_dir: Path, cifar_store: Path
) -> None:
    command = ["zeroshot", "--head", "txt_emb", "--taxa", str(cifar_store / "taxa.csv"), "-q"]
    command += ["--store", str(cifar_store / "S"), "-k", "10"]
    assert run([*command, "-o", str(cifar_store / "out.parquet")]) == 0
    got = pd.read_parquet(cifar_store / "out.parquet").pivot_table(
        index="row", columns="species", values="score"
    )
    data = shared_dir / "data/clip-vitb32-cached"
    texts = torch.load(data / "imagenet1k.text_features2.pt").double().numpy()
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    images = torch.load(data / "cifar10_500.image_embeddings.pt").double().numpy()
    scores = np.exp(100 * images @ texts.T)
    summed = np.stack([scores[:, list(ROWS_OF[name])].sum(axis=1) for name in CIFAR_10], axis=1)
    expected = summed / summed.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(got[list(CIFAR_10)].to_numpy(), expected, atol=2e-5)


def test_the_scale_of_clip_gives_the_published_probabilities(
    shared_dir: Path, tmp_path: Path
) -> None:
    data = shared_dir / "data/clip-vitb32-cached"
    np.save(tmp_path / "v.npy", np.load(data / "golden.image_features.npy").reshape(1, 512))
    np.save(tmp_path / "t.npy", np.load(data / "golden.text_features.npy").reshape(3, 512).T)
    names = [[["", "", "", "", "", "", name], ""] for name in ("diagram", "dog", "cat")]
    (tmp_path / "t.json").write_text(json.dumps(names))
    for file in ("v.npy", "t.npy"):
        command = ["store", "import", str(tmp_path / file), "-s", str(tmp_path / "S"), "-q"]
        assert run([*command, "--model", "clip-b32"]) == 0
    command = ["zeroshot", "--head", "t", "-s", str(tmp_path / "S"), "-q"]
    assert run([*command, "-o", str(tmp_path / "out.csv")]) == 0
    answers = pd.read_csv(tmp_path / "out.csv")
    assert list(answers["species"]) == ["diagram", "dog", "cat"]
    np.testing.assert_allclose(answers["score"], [0.9927935, 0.0042107, 0.0029958], atol=2e-6)
