"""Peak memory of ``bioprobe embed`` as the number of images grows.

The images are small and the model is ``sketch``, so that what is left to grow is the run itself:
the listing, what is read ahead, the shards. Each run is a process of its own.

Run it with ``python -m benchmarks.embed_memory``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image


def write_small_pictures(folder: Path, n_images: int) -> None:
    """Write different small JPEGs, a thousand a folder; what is there already is kept."""
    rng = np.random.default_rng(0)
    for number in range(n_images):
        path = folder / f"{number // 1000:03d}" / f"{number:06d}.jpg"
        pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).resize((96, 72)).save(path, quality=80)


def measure_peak_mb(photos: list[Path], n_images: int) -> float:
    """Embed folders with the command line in a new process, and return its peak memory."""
    code = "import resource, sys; from bioprobe.cli.app import run; code = run(sys.argv[1:]); "
    code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
    with tempfile.TemporaryDirectory() as store:
        command = [sys.executable, "-c", code, "embed", *map(str, photos), "--model", "sketch"]
        command += ["--store", f"{store}/store", "--quiet", "--precision", "fp32"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        manifest = Path(store, "store", "manifest.json").read_text(encoding="utf-8")
    if f'"n_images": {n_images}' not in manifest:
        raise RuntimeError(done.stderr)
    return float(done.stdout.split()[-1]) / 1024


def main() -> None:
    """Print the peak for each number of images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir(), "bioprobe-bench")
    )
    parser.add_argument("--images", type=int, nargs="+", default=[2000, 20000])
    arguments = parser.parse_args()
    folder = arguments.folder / "small"
    write_small_pictures(folder, max(arguments.images))
    groups = sorted(folder.iterdir())
    print("| images | peak MB | to the first |")
    print("|---|---|---|")
    first_mb = 0.0
    for n_images in arguments.images:
        peak_mb = measure_peak_mb(groups[: n_images // 1000], n_images)
        first_mb = first_mb or peak_mb
        print(f"| {n_images:,} | {peak_mb:.0f} | {peak_mb / first_mb:.3f} |")


if __name__ == "__main__":
    main()
