"""Images a second from a folder of JPEGs: bioprobe beside what one would otherwise run.

Every method runs in a process of its own on the same pictures and the same ViT-B/16 with random
weights, in turn, several times over; medians are shown. Timing starts when the model is loaded, and
what runs it chosen. A forward pass that cannot be had here is left out.

Run it with ``python -m benchmarks.embed_speed``.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.harness import Row, alternate, find_peak_mb, make_rows, tell_absent
from benchmarks.limits import find_flops
from benchmarks.pictures import write_pictures
from bioprobe.errors import BioprobeError
from bioprobe.registry import BACKENDS

if TYPE_CHECKING:
    from bioprobe.encoders.families.torch_encoder import TorchEncoder

Vectors = np.ndarray
#: What is timed: embeds the pictures that it was made for.
Ready = Callable[[], Vectors]

# Operations of a picture in ViT-B/16 at 224 pixels, and of a token in its text tower.
_IMAGE_FLOPS, _TOKEN_FLOPS = 35.1e9, 77.4e6
_HIGHER_TAXA = ("Animalia Chordata Aves", "Animalia Arthropoda Insecta", "Plantae Tracheophyta "
                "Magnoliopsida", "Fungi Basidiomycota Agaricomycetes")  # fmt: skip
_SYLLABLES = "ca cer cro di el gan ho lep li lo ma mel ni no or pan phi pter ra ro sal ti tor vi"


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


def prepare_bioprobe(
    files: list[Path], model: Path, *, precision: str, decoding: str, backend: str = "torch"
) -> Ready:
    """Prepare what ``bioprobe embed`` runs: list, read, encode, and write a store."""
    from bioprobe.embedding import embed_images
    from bioprobe.sources.source import find_images
    from bioprobe.store import EmbeddingStore

    encoder = load_ready(model, files, precision=precision, decoding=decoding, backend=backend)

    def run() -> Vectors:
        with tempfile.TemporaryDirectory() as folder:
            store = EmbeddingStore.open_for(Path(folder, "store"), encoder)
            embed_images(find_images(files), encoder, store)
            return EmbeddingStore.open(store.folder).read_vectors()

    return run


def prepare_open_clip(files: list[Path], model: Path) -> Ready:
    """Prepare the loop of open_clip's own README: PIL, transform, batches of 32, fp32."""
    import open_clip
    import torch
    from PIL import Image

    network, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{model}")
    network.eval()

    def run() -> Vectors:
        parts = []
        with torch.no_grad():
            for begin in range(0, len(files), 32):
                images = [Image.open(file).convert("RGB") for file in files[begin : begin + 32]]
                batch = torch.stack([preprocess(image) for image in images])
                parts.append(network.encode_image(batch, normalize=True).numpy())
        return np.concatenate(parts)

    return run


def prepare_pybioclip(files: list[Path], model: Path) -> Ready:
    """Prepare pybioclip's own preprocessing and features, in batches of 32.

    ``bioclip embed`` takes one picture after the other, which is slower.
    """
    from bioclip.predict import BaseClassifier, preprocess_img

    classifier = BaseClassifier(model_str=f"local-dir:{model}").eval()
    classifier.preprocess = preprocess_img

    def run() -> Vectors:
        parts = []
        for begin in range(0, len(files), 32):
            some = files[begin : begin + 32]
            images = [classifier.ensure_rgb_image(str(file)) for file in some]
            parts.append(classifier.create_image_features(images, normalize=True).numpy())
        return np.concatenate(parts)

    return run


def prepare_forward(
    files: list[Path], model: Path, *, precision: str, backend: str = "torch"
) -> Ready:
    """Prepare the model alone, on pixels that are ready in memory."""
    from PIL import Image

    encoder = load_ready(model, files, precision=precision, decoding="exact", backend=backend)
    some = np.stack([encoder.preprocess(Image.open(file).convert("RGB")) for file in files[:16]])
    pixels = np.resize(some, (len(files), *some.shape[1:]))
    encoder.encode_pixels(some)
    return lambda: encoder.encode_pixels(pixels)[: len(some)]


_PYBIOCLIP = "pybioclip, fp32"
_OWN = "bioprobe (default)"
METHODS: dict[str, Callable[[list[Path], Path], Ready]] = {
    "open_clip loop, fp32": prepare_open_clip,
    _PYBIOCLIP: prepare_pybioclip,
    "bioprobe, fp32 exact": lambda f, m: prepare_bioprobe(f, m, precision="fp32", decoding="exact"),
    "bioprobe, bf16 exact": lambda f, m: prepare_bioprobe(f, m, precision="bf16", decoding="exact"),
    _OWN: lambda f, m: prepare_bioprobe(f, m, precision="auto", decoding="fast", backend="auto"),
    "forward alone, fp32": lambda f, m: prepare_forward(f, m, precision="fp32"),
    "forward alone, auto": lambda f, m: prepare_forward(f, m, precision="auto", backend="auto"),
    **{
        f"forward alone, {name}": functools.partial(prepare_forward, precision="auto", backend=name)
        for name in BACKENDS.places
    },
}
REFERENCE = "open_clip loop, fp32"
FORWARD = "forward alone"


def measure(method: str, folder: Path, n_images: int) -> dict[str, float]:
    """Run one method in this process."""
    files = sorted((folder / "photos").iterdir())[:n_images]
    run = METHODS[method](files, folder / "model")
    start_s = time.perf_counter()
    vectors = run()
    seconds_s = time.perf_counter() - start_s
    np.save(folder / f"{sorted(METHODS).index(method)}.npy", vectors)
    return {"images_per_s": len(files) / seconds_s, "peak_mb": find_peak_mb()}


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


def list_rows(*, is_quick: bool) -> list[Row]:
    """Measure the ways that a person has, in turn in this process, and texts too."""
    # No fewer than a batch: what runs whole batches would not be seen.
    n_images, n_rounds = (16, 2) if is_quick else (32, 3)
    folder = Path(tempfile.gettempdir(), "bioprobe-bench")
    write_pictures(folder / "photos", n_images)
    write_model(folder / "model")
    files = sorted((folder / "photos").iterdir())[:n_images]
    names = [REFERENCE, _OWN, "forward alone, auto"]
    if not is_quick:
        names.insert(1, _PYBIOCLIP)
        names += [name for name in METHODS if name.startswith(FORWARD) and name not in names]
    ways: dict[str, Ready] = {}
    for name in names:
        # What is not for this processor has no row.
        with contextlib.suppress(ImportError, BioprobeError):
            ways[name] = METHODS[name](files, folder / "model")
    # The first run of each, which is not timed, reads the pictures for those after it.
    found = {name: way() for name, way in ways.items()}
    took_s = alternate(ways, n_rounds, warm=False)
    flops = find_flops()
    alone = [name for name in took_s if name.startswith(FORWARD)]
    fastest = min(alone, key=lambda name: statistics.median(took_s[name]))
    cosine = float((found[_OWN] * found[REFERENCE]).sum(axis=1).min())
    size = f"ViT-B/16, {n_images} mixed JPEGs, least cosine to the loop {cosine:.6f}"
    own: dict[str, Any] = {
        "own": _OWN, "n_done": n_images, "unit": "images/s", "limit": f"the fastest {FORWARD}",
        "best": n_images / statistics.median(took_s[fastest]),
    }  # fmt: skip
    rows = make_rows("embed", size, took_s, **own, peers=(REFERENCE,), wanted=1.5)
    if is_quick:
        rows += tell_absent(rows[0], _PYBIOCLIP, "only in the whole bench")
    elif _PYBIOCLIP in took_s:
        rows += make_rows("embed", size, took_s, **own, peers=(_PYBIOCLIP,))
    else:
        rows += tell_absent(rows[0], _PYBIOCLIP, "not installed")
    rows += make_rows("embed", size, took_s, **own, peers=(fastest,), wanted=0.9)
    rows += [
        row
        for name in alone
        for row in make_rows(
            name, "ViT-B/16", took_s, own=name, n_done=n_images, unit="images/s", peers=("",),
            limit="fp32 product", best=flops / _IMAGE_FLOPS,
        )
    ]  # fmt: skip
    # Their models take gigabytes.
    ways.clear()
    if not is_quick:
        rows.append(_compare_memory(folder, n_images))
    return [*rows, *_list_text_rows(folder / "model", flops, is_quick=is_quick)]


def _compare_memory(folder: Path, n_images: int) -> Row:
    """Measure the peak memory of a process that embeds, its libraries and the model included."""
    peaks = []
    for name in (_OWN, REFERENCE):
        found = measure_apart(name, folder, n_images)
        assert found is not None
        peaks.append(found["peak_mb"])
    return Row(
        work="embed, memory", size=f"ViT-B/16, {n_images} mixed JPEGs", unit="MB",
        ours=(peaks[0],), peer=REFERENCE, theirs=(peaks[1],),
    )  # fmt: skip


def draw_taxonomic_prompts(n_texts: int) -> list[str]:
    """Draw prompts of seven ranks, 29 of CLIP's tokens on average, eight in ten of 24 to 33.

    Those of a thousand rows of TreeOfLife-200M have 27, eight in ten of them 24 to 31.
    """
    random = np.random.default_rng(0)
    syllables = _SYLLABLES.split()

    def draw(ending: str) -> str:
        return "".join(random.choice(syllables, random.integers(1, 4))) + ending

    return [
        f"a photo of {random.choice(_HIGHER_TAXA)} {draw('iformes').capitalize()} "
        f"{draw('idae').capitalize()} {draw('us').capitalize()} {draw('ensis')}."
        for _ in range(n_texts)
    ]


def _list_text_rows(model: Path, flops: float, *, is_quick: bool) -> list[Row]:
    import open_clip
    import torch

    from bioprobe.encoders import load_encoder

    n_texts = 32 if is_quick else 128
    encoder = load_encoder(f"local-dir:{model}")
    network, _, _ = open_clip.create_model_and_transforms(f"local-dir:{model}")
    tokenize = open_clip.get_tokenizer(f"local-dir:{model}")
    network.eval()

    def loop(texts: list[str]) -> None:
        with torch.no_grad():
            for begin in range(0, len(texts), 32):
                network.encode_text(tokenize(texts[begin : begin + 32]), normalize=True)

    sets = {
        "short prompts": [f"a photo of Genus species{number}." for number in range(n_texts)],
        "taxonomic prompts": draw_taxonomic_prompts(n_texts),
    }
    rows: list[Row] = []
    for name, texts in sets.items():
        ways = {"bioprobe": encoder.encode_text, "open_clip loop, fp32": loop}
        took_s = alternate(
            {way: functools.partial(run, texts) for way, run in ways.items()}, 2 if is_quick else 3
        )
        n_tokens = float((tokenize(texts) != 0).sum()) / n_texts
        rows += make_rows(
            "text encode", f"ViT-B/16, {n_texts} {name}", took_s, own="bioprobe", unit="texts/s",
            n_done=n_texts, wanted=1.0,
            limit="fp32 product", best=flops / (n_tokens * _TOKEN_FLOPS),
        )  # fmt: skip
    return rows


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
