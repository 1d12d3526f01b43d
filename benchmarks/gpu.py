"""What a GPU does: forward passes, whole runs from JPEGs, and whether the answers are the same.

``bash benchmarks/gpu.sh`` runs it within eight minutes. For ViT-B/16 and ViT-L/14 with random
weights: the model alone in half precision, as it is and compiled with ``max-autotune``; the cosine
of its vectors to those of the processor in full precision; and ``embed`` from pictures of 224
pixels beside the faster of the two. Then zero-shot, nearest neighbours and a linear probe: bioprobe
asks its stores on the processor, and beside it stand the same products on the GPU, with the share
of answers that are equal. What the time is too short for is left out and said, a part that fails is
told at the end, and the table of all others is written.

Run ``python -m benchmarks.gpu --tiny`` to see every step on a processor.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.harness import Row, alternate, make_rows
from benchmarks.results.machine import describe_machine, list_versions
from benchmarks.results.page import write_table

#: Seconds after which nothing further is begun.
DEADLINE_S = 400.0
_SIDE_PX = 224
_K = 5

_TINY = "tiny"
# Of open_clip's own kind, with what is slow made small.
_TINY_CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": _SIDE_PX, "layers": 2, "width": 64, "head_width": 32,
                   "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}  # fmt: skip

Forward = Callable[[torch.Tensor], torch.Tensor]


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


def time_forward(
    forward: Forward, pixels: torch.Tensor, n_rounds: int
) -> tuple[torch.Tensor, list[float]]:
    """Return the vectors, and the seconds of each round, in inference mode."""
    with torch.inference_mode():
        found = [forward(pixels) for _ in range(3)][-1]
        took_s = []
        for _ in range(n_rounds):
            _wait(pixels.device)
            start_s = time.perf_counter()
            forward(pixels)
            _wait(pixels.device)
            took_s.append(time.perf_counter() - start_s)
    return found.float().cpu(), took_s


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
) -> list[Row]:
    """Measure the model alone, its vectors, and a whole run."""
    import open_clip

    from bioprobe.encoders import load_encoder

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
    compiled = torch.compile(
        network.encode_image, **({"mode": "max-autotune"} if device.type == "cuda" else
                                 {"backend": "eager"}),
    )  # fmt: skip
    rows, speeds = [], {}
    for way, forward in (("eager", network.encode_image), ("max-autotune", compiled)):
        vectors, took_s = time_forward(forward, pixels, sizes.n_rounds)
        speeds[way] = batch / statistics.median(took_s)
        cosines = torch.nn.functional.cosine_similarity(
            vectors[: len(truth)], truth[: len(vectors)], dim=1
        )
        rows += make_rows(
            f"forward alone, {way}", f"{architecture}, {kind}, batch {batch}, least cosine to "
            f"fp32 {float(cosines.min()):.6f}", {way: took_s}, own=way, n_done=batch,
            unit="images/s",
        )  # fmt: skip
    best = max(speeds, key=lambda way: speeds[way])
    rows += _measure_embed(name, architecture, files, device, speeds[best])
    return rows


def _measure_embed(
    name: str, architecture: str, files: Sequence[Path], device: torch.device, best: float
) -> list[Row]:
    """Measure ``embed`` from files, with what it takes by default on a device."""
    from bioprobe.embedding import embed_images
    from bioprobe.encoders import load_encoder
    from bioprobe.sources.source import find_images
    from bioprobe.store import EmbeddingStore

    precision = "fp16" if device.type == "cuda" else "auto"
    encoder = load_encoder(
        name, device=str(device), precision=precision, decoding="fast", backend="auto"
    )
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
    """Ask vectors on the processor, as bioprobe does, and on the device; say what is equal."""
    from benchmarks.zeroshot_scale import encode_text, make_prompts, write_store
    from bioprobe.index import NeighborIndex
    from bioprobe.store import EmbeddingStore
    from bioprobe.task.method import make_probe
    from bioprobe.taxonomy import Rank
    from bioprobe.zeroshot.zeroshot import zeroshot

    prompts = make_prompts(sizes.n_classes)
    texts = encode_text([""] * sizes.n_classes, sizes.dim)
    with tempfile.TemporaryDirectory() as folder:
        write_store(Path(folder) / "store", sizes.n_vectors, sizes.dim)
        store = EmbeddingStore.open(Path(folder) / "store")
        exact, vectors = NeighborIndex.open(store), store.read_vectors()
        queries, taught = vectors[:256], vectors[:2000]
        probe = make_probe("linear").fit(taught, (taught @ texts[:20].T).argmax(axis=1))
        held, asked, classes, weights, bias = (
            torch.from_numpy(np.asarray(one, dtype=np.float32)).to(device)
            for one in (vectors, queries, texts, probe.coef_, probe.intercept_)
        )
        pairs = {
            f"nearest {_K} of {len(vectors):,}": (
                lambda: exact.search(queries, _K)[0],
                lambda: _fetch((asked @ held.T).topk(_K).indices),
            ),
            f"zero-shot, {sizes.n_classes:,} classes": (
                lambda: zeroshot(store, prompts, lambda asked: texts[: len(asked)],
                                 rank=Rank.SPECIES, k=1).top_classes[:, 0],
                lambda: _fetch((held @ classes.T).argmax(dim=1)),
            ),
            "linear probe, 20 classes": (
                lambda: probe.predict(vectors),
                lambda: probe.classes_[_fetch((held @ weights.T + bias).argmax(dim=1))],
            ),
        }  # fmt: skip
        rows = []
        for work, (here, there) in pairs.items():
            equal = float((np.asarray(here()) == np.asarray(there())).mean())
            took_s = alternate({"processor": here, f"on {device}": there}, 3)
            rows += make_rows(work, f"{equal:.3%} of answers equal", took_s, own="processor")
    return rows


def _fetch(found: torch.Tensor) -> np.ndarray:
    return found.cpu().numpy()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="on the processor, to see it run")
    parser.add_argument("--deadline", type=float, default=DEADLINE_S, metavar="SECONDS")
    parser.add_argument("--output", type=Path, help="the table as Markdown")
    asked = parser.parse_args(arguments)
    if not asked.tiny and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU here; --tiny runs every step on the processor")
    device, sizes = torch.device("cpu" if asked.tiny else "cuda"), Sizes(is_tiny=asked.tiny)
    print(*describe_machine(), f"versions: {', '.join(list_versions())}", sep="\n", flush=True)
    begun_s, rows, failed = time.monotonic(), list[Row](), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        steps: list[tuple[str, Callable[[], list[Row]]]] = [
            ("answers", lambda: compare_answers(sizes, device)),
            *[
                (one, lambda one=one, batch=batch: measure_model(
                    one, batch, sizes, Path(folder), device))  # type: ignore[misc]
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
                    rows += step()
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
