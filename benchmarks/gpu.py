"""What a GPU does: forward passes, whole runs from JPEGs, and whether the answers are the same.

``bash benchmarks/gpu.sh`` runs it within eight minutes. For ViT-B/16 and ViT-L/14 with random
weights: the model alone in half precision, as it is, compiled with ``max-autotune``, by TensorRT
where ``torch_tensorrt`` is installed, and with its MLPs in fp8 as ``models quantise`` makes them,
as it is and compiled; the least cosine of its vectors to those of the processor in full precision;
and ``embed`` from pictures of 224 pixels beside the fastest of these but fp8. Before these: nearest
neighbours, the kNN probe, zero-shot and the linear sweep, each asked of the processor and of the
GPU in turn, with the share of answers that are equal and the largest difference. What the time is
too short for is left out and said, a part that fails is told at the end, and the table of all
others is written.

Run ``python -m benchmarks.gpu --tiny`` to see every step on a processor.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from benchmarks.harness import Row, alternate, make_rows
from benchmarks.results.machine import describe_machine, list_versions
from benchmarks.results.page import write_table
from bioprobe.devices import products_on

if TYPE_CHECKING:
    from bioprobe.probes.knn import KnnProbe
    from bioprobe.probes.probe import Sweep
    from bioprobe.task.leaves import Leaves

#: Seconds after which nothing further is begun.
DEADLINE_S = 400.0
_SIDE_PX = 224
_K = 5
# Passes over the rows in a sweep, about.
_N_PASSES = 100

# What has other vectors is no measure of those that have the same.
_FP8 = "fp8 MLPs"

_TINY = "tiny"
# Of open_clip's own kind, with what is slow made small.
_TINY_CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": _SIDE_PX, "layers": 2, "width": 64, "head_width": 32,
                   "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}  # fmt: skip

Forward = Callable[[torch.Tensor], torch.Tensor]
Ask = Callable[[], Sequence[np.ndarray]]


class Sizes:
    """How much is run, by whether it is only to be seen that it runs.

    Parameters
    ----------
    is_tiny : bool
        On a processor, in a minute.
    """

    def __init__(self, *, is_tiny: bool) -> None:
        self.batches = {_TINY: 4} if is_tiny else {"ViT-B-16": 256, "ViT-L-14": 128}
        self.n_rounds = 2 if is_tiny else 10
        self.n_pictures = 12 if is_tiny else 8192
        self.n_checked = 4 if is_tiny else 64
        self.n_vectors, self.n_classes, self.dim = (
            (2000, 50, 64) if is_tiny else (200_000, 1000, 512)
        )
        self.n_few, self.n_many = (20, 300) if is_tiny else (256, 10_000)
        self.n_taught, self.n_taught_classes = (400, 8) if is_tiny else (12_000, 200)
        self.n_rounds_asked = 1 if is_tiny else 2


def time_forward(
    forward: Forward, pixels: torch.Tensor, n_rounds: int
) -> tuple[torch.Tensor, list[float]]:
    """Return the vectors, and the seconds of each round, in inference mode."""
    with torch.inference_mode():
        for _ in range(2):
            forward(pixels)
        # Fetched at once: the next run of a CUDA graph writes over it.
        found = forward(pixels).float().cpu()
        took_s = []
        for _ in range(n_rounds):
            _wait(pixels.device)
            start_s = time.perf_counter()
            forward(pixels)
            _wait(pixels.device)
            took_s.append(time.perf_counter() - start_s)
    return found, took_s


def write_small(folder: Path, n_pictures: int) -> list[Path]:
    """Write JPEGs of 224 pixels, no two alike; what is there already is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number:05d}.jpg" for number in range(n_pictures)]
    for number, file in enumerate(files):
        if not file.exists():
            random = np.random.default_rng(number)
            coarse = random.integers(0, 256, (28, 28, 3), dtype=np.uint8)
            whole = Image.fromarray(coarse).resize((_SIDE_PX,) * 2, Image.Resampling.BICUBIC)
            whole.save(file, quality=90)
    return files


def write_model(folder: Path, architecture: str) -> None:
    """Write an architecture with random weights in open_clip's own format."""
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    described = _TINY_CONFIG if architecture == _TINY else open_clip.get_model_config(architecture)
    model = open_clip.CLIP(**described)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    config = {"model_cfg": described, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")


def measure_model(
    architecture: str, batch: int, sizes: Sizes, folder: Path, device: torch.device
) -> Iterator[Row]:
    """Measure the model alone, its vectors, and a whole run; each row as it comes."""
    import open_clip

    from bioprobe.encoders import load_encoder
    from bioprobe.encoders.families.fp8 import find_obstacle, make_fp8
    from bioprobe.encoders.families.quantising import check_quantisable

    files = write_small(folder / "small", sizes.n_pictures)
    write_model(folder / architecture, architecture)
    name = f"local-dir:{folder / architecture}"
    exact = load_encoder(name, device="cpu")
    images = [Image.open(file).convert("RGB") for file in files[: sizes.n_checked]]
    truth = torch.from_numpy(exact.encode_image(images))
    some = torch.from_numpy(np.stack([exact.preprocess(one) for one in images]))
    kind = torch.float16 if device.type == "cuda" else torch.float32
    network, _, _ = open_clip.create_model_and_transforms(name)
    network = network.eval().to(device, kind)
    pixels = some[torch.arange(batch) % len(some)].to(device, kind)
    is_gpu = device.type == "cuda"
    tuned: dict[str, Any] = {"mode": "max-autotune"} if is_gpu else {"backend": "eager"}
    ways: dict[str, Forward] = {
        "eager": network.encode_image,
        "max-autotune": torch.compile(network.encode_image, **tuned),
    }
    if device.type == "cuda" and importlib.util.find_spec("torch_tensorrt"):
        ways["TensorRT"] = torch.compile(network.encode_image, backend="torch_tensorrt")
    if obstacle := find_obstacle(device):
        print(f"no fp8: {obstacle}", flush=True)
    else:
        short = make_fp8(check_quantisable(load_encoder(name, device=str(device))))
        tower, own = short.image_runner.tower, short.runtime.dtype
        # Kernels are not tuned: the time is short.
        compiled = torch.compile(tower, **({} if is_gpu else tuned))
        ways |= {
            f"{_FP8}, eager": lambda given: tower(given.to(own)),
            f"{_FP8}, compiled": lambda given: compiled(given.to(own)),
        }
    speeds = {}
    for way, forward in ways.items():
        vectors, took_s = time_forward(forward, pixels, sizes.n_rounds)
        speeds[way] = batch / statistics.median(took_s)
        cosines = torch.nn.functional.cosine_similarity(
            vectors[: len(truth)], truth[: len(vectors)], dim=1
        )
        yield from make_rows(
            f"forward alone, {way}", f"{architecture}, {kind}, batch {batch}, least cosine to "
            f"fp32 {float(cosines.min()):.6f}", {way: took_s}, own=way, n_done=batch,
            unit="images/s",
        )  # fmt: skip
    best = max(speed for way, speed in speeds.items() if not way.startswith(_FP8))
    yield from _measure_embed(name, architecture, batch, files, device, best)


def _measure_embed(
    name: str,
    architecture: str,
    batch: int,
    files: Sequence[Path],
    device: torch.device,
    best: float,
) -> list[Row]:
    """Measure ``embed`` from files, with what it takes by default on a device."""
    from bioprobe.embedding import embed_images
    from bioprobe.encoders import load_encoder
    from bioprobe.sources.source import find_images
    from bioprobe.store import EmbeddingStore

    precision = "fp16" if device.type == "cuda" else "auto"
    encoder = load_encoder(
        name, device=str(device), precision=precision, decoding="fast", backend="auto",
        batch_size=batch,
    )  # fmt: skip
    listed = find_images(list(files))

    def run() -> None:
        with tempfile.TemporaryDirectory() as place:
            embed_images(listed, encoder, EmbeddingStore.open_for(Path(place, "store"), encoder))

    took_s = alternate({"embed": run}, 2, warm=False)
    return make_rows(
        "embed", f"{architecture}, {len(files):,} JPEGs of 224 pixels", took_s, own="embed",
        n_done=len(files), unit="images/s", limit="the faster forward alone", best=best,
    )  # fmt: skip


def compare_answers(sizes: Sizes, device: torch.device) -> list[Row]:
    """Ask the same of the processor and of the device, and say how far the answers are equal.

    The work of each row is what :data:`bioprobe.devices.LEAST_WORK` is to be set by, as the rows of
    fewer questions are: on the device they are not worth their way, or the constant is too large.
    """
    from benchmarks.search_index import draw_vectors, make_store
    from bioprobe.index import NeighborIndex
    from bioprobe.probes.knn import KnnProbe
    from bioprobe.probes.linear import LinearProbe
    from bioprobe.task.leaves import Leaves

    n, few, many, n_taught = sizes.n_vectors, sizes.n_few, sizes.n_many, sizes.n_taught
    vectors = draw_vectors(n, sizes.dim, sizes.n_classes)
    labels = np.arange(n_taught) % sizes.n_taught_classes
    taught = 0.5 * vectors[labels] + vectors[:n_taught]
    taught /= np.linalg.norm(taught, axis=1, keepdims=True)
    folds, values = np.random.default_rng(0).integers(0, 3, n_taught), np.array([0.1, 1, 10, 100])
    texts, neighbours = Leaves.of(vectors), KnnProbe(k=50).fit(vectors, np.arange(n) % 100)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        index = NeighborIndex.open(make_store(Path(folder) / "store", vectors))
        asked: dict[str, tuple[float, Ask]] = {}
        for n_asked in (few, many):
            some = vectors[:n_asked]
            asked |= {
                f"nearest {_K} of {n:,}, {n_asked:,} questions": (
                    n_asked * vectors.size,
                    partial(index.search, some, _K),
                ),
                f"kNN probe, {n:,} taught, {n_asked:,} questions": (
                    n_asked * vectors.size,
                    partial(_ask_votes, neighbours, some),
                ),
                f"zero-shot, {n:,} classes, {n_asked:,} images": (
                    n_asked * vectors.size,
                    partial(_ask_texts, texts, some),
                ),
            }
        asked[f"linear sweep, {n_taught:,} rows, {sizes.n_taught_classes} classes"] = (
            taught.size * sizes.n_taught_classes * 3 * 2 * _N_PASSES,
            lambda: _ask_sweep(LinearProbe.sweep(taught, labels, values, folds)),
        )
        for work, (n_products, ask) in asked.items():
            ways = {"processor": _on("cpu", ask), f"on {device}": _on(str(device), ask)}
            here, there = (way() for way in ways.values())
            equal = float(np.mean(np.equal(here[0], there[0]).all(axis=1)))
            most = max(float(np.abs(a - b).max()) for a, b in zip(here, there, strict=True))
            said = f"{n_products:.1e} products, {equal:.3%} of rows equal, largest gap {most:.0e}"
            took_s = alternate(ways, sizes.n_rounds_asked, warm=False)
            rows += make_rows(work, said, took_s, own=f"on {device}")
            print(f"{work}: {said}", flush=True)
    return rows


def _on(device: str, ask: Ask) -> Ask:
    """Return a question whose products are all made on a device; on "cpu" as without a GPU."""

    def ask_there() -> Sequence[np.ndarray]:
        with products_on(device, always=device != "cpu"):
            return ask()

    return ask_there


def _ask_votes(probe: KnnProbe, some: np.ndarray) -> list[np.ndarray]:
    votes = probe.predict_proba(some)
    return [votes.argmax(axis=1, keepdims=True), votes]


def _ask_texts(texts: Leaves, some: np.ndarray) -> list[np.ndarray]:
    from bioprobe.task.leaf_scores import score_leaves

    found = score_leaves(some, texts, k=_K, logit_scale=100.0)
    return [found.top, found.top_probabilities]


def _ask_sweep(sweep: Sweep) -> list[np.ndarray]:
    return [sweep.accuracies, sweep.log_losses]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def list_rows(*, is_quick: bool) -> list[Row]:
    """Measure on the GPU what :func:`main` does, of one model where it is to be quick.

    Raises
    ------
    RuntimeError
        If PyTorch sees no GPU.
    """
    if not torch.cuda.is_available():
        msg = "PyTorch sees no GPU here"
        raise RuntimeError(msg)
    sizes, device = Sizes(is_tiny=False), torch.device("cuda")
    rows = [] if is_quick else compare_answers(sizes, device)
    with tempfile.TemporaryDirectory() as folder:
        for name, batch in list(sizes.batches.items())[: 1 if is_quick else None]:
            rows += measure_model(name, batch, sizes, Path(folder), device)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="on the processor, to see it run")
    parser.add_argument("--deadline", type=float, default=DEADLINE_S, metavar="SECONDS")
    parser.add_argument("--output", type=Path, help="the table as Markdown")
    asked = parser.parse_args(arguments)
    if not asked.tiny and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU here; --tiny runs every step on the processor")
    device, sizes = torch.device("cpu:0" if asked.tiny else "cuda"), Sizes(is_tiny=asked.tiny)
    print(*describe_machine(), f"versions: {', '.join(list_versions())}", sep="\n", flush=True)
    begun_s, rows, failed = time.monotonic(), list[Row](), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        steps: list[tuple[str, Callable[[], Iterable[Row]]]] = [
            ("answers", lambda: compare_answers(sizes, device)),
            *[
                (one, lambda one=one, batch=batch: measure_model(
                    one, batch, sizes, Path(folder), device))
                for one, batch in sizes.batches.items()
            ],
        ]  # fmt: skip
        try:
            for name, step in steps:
                passed_s = time.monotonic() - begun_s
                if passed_s > asked.deadline:
                    print(f"{name}: left out, {asked.deadline:.0f} s are over")
                    continue
                print(f"{name}, after {passed_s:.0f} s", flush=True)
                try:
                    for row in step():
                        rows.append(row)
                except Exception:  # noqa: BLE001 - told, and the other parts are worth their time
                    traceback.print_exc()
                    failed.append(name)
        finally:
            # Also of a run that is interrupted.
            print(write_table(rows), f"in {time.monotonic() - begun_s:.0f} s", sep="\n", flush=True)
            if asked.output:
                asked.output.write_text(write_table(rows) + "\n", encoding="utf-8")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
