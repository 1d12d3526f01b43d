"""How well altered copies of photographs are told by their measures, and what measuring costs.

Run it with ``python -m benchmarks.picture_measures PHOTOS [MORE …]``; of further folders it lists
which pictures look as by infrared, and which a filter would drop.
"""

from __future__ import annotations

import argparse
import collections
import io
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from bioprobe.embedding import embed_images, preparation
from bioprobe.encoders import load_encoder
from bioprobe.images.measures import MEASURE, measure_picture
from bioprobe.images.reading import decode_image
from bioprobe.quality.flaws import RULES, find_flaws
from bioprobe.sources.source import find_images
from bioprobe.store import EmbeddingStore

Alter = Callable[[Image.Image], Image.Image]


def _compress(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def _move(image: Image.Image, n_px: int) -> Image.Image:
    pixels = np.asarray(image, dtype=np.float32)
    moved = sum(np.roll(pixels, shift, axis=1) for shift in range(n_px)) / n_px
    return Image.fromarray(moved.astype(np.uint8))


#: Name, measure that is to tell it, and how a copy is altered.
ALTERED: tuple[tuple[str, str, Alter], ...] = (
    *((f"Gaussian blur, {px} px", "sharpness", lambda one, px=px: one.filter(
        ImageFilter.GaussianBlur(px))) for px in (1, 2, 3, 5)),
    ("box blur, 5 px", "sharpness", lambda one: one.filter(ImageFilter.BoxBlur(2))),
    ("motion, 9 px", "sharpness", lambda one: _move(one, 9)),
    ("a quarter of the size", "sharpness", lambda one: one.resize(
        (one.width // 4, one.height // 4)).resize(one.size)),
    *((f"{light:.0%} of the light", "brightness", lambda one, light=light: ImageEnhance.Brightness(
        one).enhance(light)) for light in (0.5, 0.4, 0.3, 0.2)),
    ("30% of the contrast", "contrast", lambda one: ImageEnhance.Contrast(one).enhance(0.3)),
    ("grey", "colour", lambda one: one.convert("L").convert("RGB")),
)  # fmt: skip


def tell(plain: np.ndarray, altered: np.ndarray) -> float:
    """Return the AUROC of a measure that is lower of altered copies."""
    from sklearn.metrics import roc_auc_score

    truth = np.repeat([1, 0], [len(plain), len(altered)])
    return float(roc_auc_score(truth, np.concatenate([plain, altered])))


def measure_cost(files: list[Path], n_times: int = 8) -> tuple[float, float]:
    """Return processor seconds of embedding with sketch on one thread, with and without measuring.

    Both in turn, the least of several times each: what else the machine does only adds.
    """
    encoder, nothing = load_encoder("sketch"), np.zeros((), dtype=MEASURE)
    listed = find_images(files)
    ways: tuple[Callable[..., np.ndarray], ...] = measure_picture, lambda *_: nothing
    spent = np.zeros((n_times, 2))
    try:
        for time_s in spent:
            for at, way in enumerate(ways):
                preparation.measure_picture = way
                with tempfile.TemporaryDirectory() as folder:
                    store = EmbeddingStore.open_for(Path(folder, "store"), encoder)
                    start_s = time.process_time()
                    embed_images(listed, encoder, store, n_threads=1)
                    time_s[at] = time.process_time() - start_s
    finally:
        preparation.measure_picture = measure_picture
    with_s, without_s = spent.min(axis=0).tolist()
    return with_s, without_s


def _list_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in {".jpg", ".png"})


def _read(files: Iterable[Path]) -> list[Image.Image]:
    return [decode_image(file.read_bytes()) for file in files]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("more", type=Path, nargs="*")
    parser.add_argument("-n", type=int, default=200, help="photographs")
    asked = parser.parse_args()
    files = _list_files(asked.photos)
    order = np.random.default_rng(0).permutation(len(files))[: asked.n]
    chosen = [files[at] for at in order]
    pictures = _read(chosen)
    plain = np.array([measure_picture(one) for one in pictures], dtype=MEASURE)
    print(f"{'copies':<24}{'measure':<12}{'AUROC':>7}{'found':>8}   (of {len(plain)} photographs)")
    for name, measure, alter in ALTERED:
        altered = np.array([measure_picture(alter(one)) for one in pictures], dtype=MEASURE)
        found = ""
        for rule in RULES.values():
            if rule.measure == measure:
                limit = rule.choose(plain[measure].astype(np.float64))
                found = f"{(altered[measure] < limit).mean():.1%}"
        print(f"{name:<24}{measure:<12}{tell(plain[measure], altered[measure]):>7.3f}{found:>8}")
    for flaw, rule in RULES.items():
        limit = rule.choose(plain[rule.measure].astype(np.float64))
        lost = (plain[rule.measure] < limit).mean()
        print(f"photographs themselves that are {flaw}: {lost:.1%} (below {limit:.3f})")
    with_s, without_s = measure_cost(chosen)
    print(
        f"embedding with sketch: {1000 * with_s / len(chosen):.2f} ms of processor a picture, "
        f"{1000 * without_s / len(chosen):.2f} without measuring: {1 - without_s / with_s:.1%}"
    )
    for folder in asked.more:
        print(f"{folder.name}:")
        with tempfile.TemporaryDirectory() as scratch:
            encoder = load_encoder("sketch")
            store = EmbeddingStore.open_for(Path(scratch, "store"), encoder)
            embed_images(find_images([folder]), encoder, store)
            found_in = find_flaws(EmbeddingStore.open(store.folder))
            frame = found_in.to_frame()
            reasons = collections.Counter(frame["reason"])
            print(f"  {len(frame)} pictures; {dict(reasons)}")
            for line in frame[frame["night"] | (frame["reason"] != "")].to_dict("records"):
                print("  " + " ".join(str(line[name]) for name in (
                    "file_name", "night", "reason", "sharpness", "brightness")))  # fmt: skip


if __name__ == "__main__":
    main()
