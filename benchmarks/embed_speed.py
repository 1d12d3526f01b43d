"""Images a second from a folder of JPEGs: bioprobe beside what one would otherwise run.

Every method runs in a process of its own on the same pictures and the same ViT-B/16 with random
weights, in turn, several times over; medians are shown. Timing starts when the model is loaded, and
what runs it chosen. A forward pass that cannot be had here is left out.

Run it with ``python -m benchmarks.embed_speed``.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.pictures import write_pictures
from bioprobe.registry import BACKENDS

if TYPE_CHECKING:
    from bioprobe.encoders.families.torch_encoder import TorchEncoder

Vectors = np.ndarray
Measured = tuple[Vectors, float]


def write_model(folder: Path) -> None:
    """Write BioCLIP's architecture with random weights in open_clip's own format."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    if (folder / "open_clip_config.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-16")
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    config = {"model_cfg": open_clip.get_model_config("ViT-B-16"), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))


def load_ready(
    model: Path, files: list[Path], *, precision: str, decoding: str, backend: str
) -> TorchEncoder:
    """Load a model as ``bioprobe embed`` does, and have its backend ready."""
    from PIL import Image

    from bioprobe.encoders import load_encoder
    from bioprobe.encoders.families.torch_encoder import TorchEncoder

    encoder = load_encoder(
        f"local-dir:{model}", precision=precision, decoding=decoding, backend=backend
    )
    assert isinstance(encoder, TorchEncoder)
    first = np.resize(np.arange(len(files)), encoder.batch_size)
    encoder.settle_backend([Image.open(files[place]).convert("RGB") for place in first])
    print(f"run by {encoder.image_runner.backend}", file=sys.stderr)
    return encoder


def run_bioprobe(
    files: list[Path], model: Path, *, precision: str, decoding: str, backend: str = "torch"
) -> Measured:
    """Run what ``bioprobe embed`` runs: list, read, encode, and write a store."""
    from bioprobe.embedding import embed_images
    from bioprobe.sources.source import find_images
    from bioprobe.store import EmbeddingStore

    encoder = load_ready(model, files, precision=precision, decoding=decoding, backend=backend)
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddingStore.open_for(Path(folder, "store"), encoder)
        start_s = time.perf_counter()
        embed_images(find_images(files), encoder, store)
        seconds_s = time.perf_counter() - start_s
        return EmbeddingStore.open(store.folder).read_vectors(), seconds_s


def run_open_clip(files: list[Path], model: Path) -> Measured:
    """Run the loop of open_clip's own README: PIL, transform, batches of 32, fp32."""
    import open_clip
    import torch
    from PIL import Image

    network, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{model}")
    network.eval()
    parts = []
    start_s = time.perf_counter()
    with torch.no_grad():
        for begin in range(0, len(files), 32):
            images = [Image.open(file).convert("RGB") for file in files[begin : begin + 32]]
            batch = torch.stack([preprocess(image) for image in images])
            parts.append(network.encode_image(batch, normalize=True).numpy())
    return np.concatenate(parts), time.perf_counter() - start_s


def run_pybioclip(files: list[Path], model: Path) -> Measured:
    """Run the loop of ``bioclip embed``, with its preprocessing for BioCLIP's models."""
    from bioclip.predict import BaseClassifier, preprocess_img

    classifier = BaseClassifier(model_str=f"local-dir:{model}").eval()
    classifier.preprocess = preprocess_img
    start_s = time.perf_counter()
    parts = [
        classifier.create_image_features_for_image(str(file), normalize=True).numpy()
        for file in files
    ]
    return np.stack(parts), time.perf_counter() - start_s


def run_forward(
    files: list[Path], model: Path, *, precision: str, backend: str = "torch"
) -> Measured:
    """Run the model alone, on pixels that are ready in memory."""
    from PIL import Image

    encoder = load_ready(model, files, precision=precision, decoding="exact", backend=backend)
    some = np.stack([encoder.preprocess(Image.open(file).convert("RGB")) for file in files[:16]])
    pixels = np.resize(some, (len(files), *some.shape[1:]))
    encoder.encode_pixels(some)
    start_s = time.perf_counter()
    vectors = encoder.encode_pixels(pixels)
    return vectors[: len(some)], time.perf_counter() - start_s


METHODS: dict[str, Callable[[list[Path], Path], Measured]] = {
    "open_clip loop, fp32": run_open_clip,
    "pybioclip embed": run_pybioclip,
    "bioprobe, fp32 exact": lambda f, m: run_bioprobe(f, m, precision="fp32", decoding="exact"),
    "bioprobe, bf16 exact": lambda f, m: run_bioprobe(f, m, precision="bf16", decoding="exact"),
    "bioprobe (default)": lambda f, m: run_bioprobe(
        f, m, precision="auto", decoding="fast", backend="auto"
    ),
    "forward alone, fp32": lambda f, m: run_forward(f, m, precision="fp32"),
    "forward alone, auto": lambda f, m: run_forward(f, m, precision="auto", backend="auto"),
    **{
        f"forward alone, {name}": functools.partial(run_forward, precision="auto", backend=name)
        for name in BACKENDS.places
    },
}
REFERENCE = "open_clip loop, fp32"
FORWARD = "forward alone"


def measure(method: str, folder: Path, n_images: int) -> dict[str, float]:
    """Run one method in this process."""
    files = sorted((folder / "photos").iterdir())[:n_images]
    vectors, seconds_s = METHODS[method](files, folder / "model")
    np.save(folder / f"{sorted(METHODS).index(method)}.npy", vectors)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"images_per_s": len(files) / seconds_s, "peak_mb": peak_mb}


def measure_apart(method: str, folder: Path, n_images: int) -> dict[str, float] | None:
    """Run one method in a process of its own; None where it cannot be had here."""
    command = [sys.executable, "-m", "benchmarks.embed_speed", "--folder", str(folder)]
    command += ["--images", str(n_images), "--method", method]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "ModuleNotFoundError" in done.stderr or "cannot run the images" in done.stderr:
        return None
    if done.returncode:
        raise RuntimeError(done.stderr)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(folder: Path, n_images: int, n_rounds: int) -> None:
    """Run all methods in turn and print the table."""
    write_pictures(folder / "photos", n_images)
    write_model(folder / "model")
    runs: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
    for number in range(n_rounds):
        for method, results in runs.items():
            print(f"round {number + 1} of {n_rounds}: {method}", file=sys.stderr)
            if result := measure_apart(method, folder, n_images):
                results.append(result)
    medians = {
        method: {key: float(np.median([r[key] for r in results])) for key in results[0]}
        for method, results in runs.items()
        if results
    }
    base = medians[REFERENCE]["images_per_s"]
    alone = [one["images_per_s"] for name, one in medians.items() if name.startswith(FORWARD)]
    forward = max(alone)
    reference = np.load(folder / f"{sorted(METHODS).index(REFERENCE)}.npy")
    print(f"\n{n_images} JPEGs, {os.cpu_count()} cores, medians of {n_rounds} rounds\n")
    print("| method | images/s | to the loop | to the fastest forward | peak MB | cosine to fp32 |")
    print("|---|---|---|---|---|---|")
    for method, median in medians.items():
        speed = median["images_per_s"]
        vectors = np.load(folder / f"{sorted(METHODS).index(method)}.npy")
        cosine = float((vectors * reference[: len(vectors)]).sum(axis=1).mean())
        print(
            f"| {method} | {speed:.1f} | {speed / base:.2f} | {speed / forward:.2f} "
            f"| {median['peak_mb']:.0f} | {cosine:.6f} |"
        )


def main() -> None:
    """Parse the command line; with ``--method`` run one method, else all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir(), "bioprobe-bench")
    )
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--method", choices=list(METHODS))
    arguments = parser.parse_args()
    if arguments.method:
        print(json.dumps(measure(arguments.method, arguments.folder, arguments.images)))
    else:
        compare(arguments.folder, arguments.images, arguments.rounds)


if __name__ == "__main__":
    main()
