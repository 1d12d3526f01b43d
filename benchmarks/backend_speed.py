"""Forward passes alone: each backend beside PyTorch as it is, in turn in one process.

The processor time of each pass counts, by the median ratio to the pass of PyTorch beside it, so
that other work on the machine says little. Weights are random, as are pixels; the share of the peak
is that of a large product of matrices in fp32 on as many threads.

Run it with ``python -m benchmarks.backend_speed ViT-B-16 ViT-L-14 convnext_base_w``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import torch

from bioprobe.encoders.families.backends import Part, Tower
from bioprobe.registry import BACKENDS

_SIDE = 1024


def clock(run: Callable[[], object]) -> float:
    """Return the processor seconds of a call."""
    started_s = time.process_time()
    run()
    return time.process_time() - started_s


def measure(architecture: str, side: str, n_rows: int, n_rounds: int, names: list[str]) -> None:
    """Print a row for each backend."""
    torch.manual_seed(0)
    model = open_clip.create_model(architecture).eval().requires_grad_(False)
    size_px = np.resize(model.visual.image_size, 2)
    example = torch.randn(n_rows, 3, *map(int, size_px))
    tower = Tower(model, model.encode_image)
    if side == "texts":
        words = [f"a photo of species number {number}." for number in range(n_rows)]
        example = open_clip.get_tokenizer(architecture)(words)
        tower = Tower(model, model.encode_text)
    square = torch.randn(_SIDE, _SIDE)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        exact = tower(example)
        runs: dict[str, Callable[..., torch.Tensor]] = {"torch": tower}
        for name in names:
            backend = BACKENDS.load(name)
            part = Part(
                tower=tower, example=(example,), n_threads=torch.get_num_threads(),
                folder=Path(folder, name),
            )  # fmt: skip
            if obstacle := backend.find_obstacle(part):
                print(f"{name}: {obstacle}")
                continue
            try:
                run = backend.prepare(part)
                found = [run(example) for _ in range(2)][-1]
            except Exception as error:  # noqa: BLE001 - told, and the others go on
                print(f"{name}: {str(error).splitlines()[0][:80]}")
                continue
            cosine = torch.nn.functional.cosine_similarity(found, exact).min()
            print(f"{name}: least cosine {float(cosine):.7f}", flush=True)
            runs[name] = run
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        products = []
        for _ in range(n_rounds):
            for name, run in runs.items():
                seconds[name].append(clock(lambda run=run: run(example)))
            products.append(clock(lambda: square @ square) / (2 * _SIDE**3))
    for name, own in seconds.items():
        gain = statistics.median(a / b for a, b in zip(seconds["torch"], own, strict=True))
        speed = n_rows / statistics.median(own)
        print(f"| {architecture} | {side} | {name} | {speed:.2f} | {gain:.2f} |", flush=True)
    print(f"fp32 product: {1e-9 / statistics.median(products):.0f} GFLOP/s a core", flush=True)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("architectures", nargs="*", default=["ViT-B-16"])
    parser.add_argument("--side", choices=("images", "texts"), default="images")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backends", nargs="*", default=list(BACKENDS.places))
    given = parser.parse_args()
    print(
        "| architecture | side | backend | rows a processor second | gain |\n|---|---|---|---|---|"
    )
    for architecture in given.architectures:
        measure(architecture, given.side, given.rows, given.rounds, given.backends)


if __name__ == "__main__":
    main()
