"""Damage pictures of every kind in thousands of ways, and read them.

Each ends decoded, or refused with a reason, within a time limit and in bounded memory; then all
are embedded in groups, and each group's store is whole. The same seed gives the same damage.

Run it with ``python -m benchmarks.fuzz_images``.
"""

from __future__ import annotations

import argparse
import dataclasses
import faulthandler
import io
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bioprobe.embedding import embed_images
from bioprobe.encoders import load_encoder
from bioprobe.encoders.encoder import Encoder
from bioprobe.errors import ImageReadError
from bioprobe.images import decode_image, read_facts
from bioprobe.images.reading import ignore_pillow_warnings
from bioprobe.sources.source import find_images
from bioprobe.store import EmbeddingStore, verify_store

LIMIT_S = 20.0
# The largest picture that may be decoded, three times over: as stored, upright, and as RGB.
LIMIT_MB = 2600
_HEADER_BYTES = 64

Random = np.random.Generator
Options = dict[str, Any]

# Kind of file, then mode and how it is saved.
KINDS: dict[str, list[tuple[str, Options]]] = {
    "JPEG": [("RGB", {}), ("L", {}), ("CMYK", {}), ("RGB", {"progressive": True})],
    "PNG": [("RGB", {}), ("RGBA", {}), ("P", {}), ("I;16", {}), ("1", {})],
    "GIF": [("P", {}), ("P", {"save_all": True})],
    "BMP": [("RGB", {}), ("P", {}), ("1", {})],
    "TIFF": [("RGB", {}), ("RGB", {"compression": "tiff_lzw"}), ("I;16", {}),
             ("RGB", {"compression": "jpeg"}), ("CMYK", {"compression": "packbits"})],
    "WEBP": [("RGB", {}), ("RGBA", {"lossless": True}), ("RGB", {"save_all": True})],
    "PPM": [("RGB", {}), ("L", {}), ("1", {})],
    "JPEG2000": [("RGB", {}), ("L", {})],
    "AVIF": [("RGB", {}), ("RGBA", {})],
    "HEIF": [("RGB", {})],
    "ICO": [("RGBA", {})],
    "PCX": [("RGB", {}), ("P", {})],
    "SGI": [("RGB", {}), ("L", {})],
}  # fmt: skip


@dataclasses.dataclass
class Tally:
    """What became of the damaged pictures of one kind."""

    n_decoded: int = 0
    n_failed: int = 0
    slowest_s: float = 0.0


def draw_whole(random: Random) -> dict[str, list[bytes]]:
    """Return whole pictures by kind; kinds that cannot be written here are left out."""
    Image.init()
    try:
        import pillow_heif
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener()
    return {
        kind: [_save(_draw(random, mode), kind, options) for mode, options in forms]
        for kind, forms in KINDS.items()
        if kind in Image.SAVE
    }


def damage(data: bytes, other: bytes, random: Random) -> bytes:
    """Return a picture with one to three damages, some of them from another picture."""
    for _ in range(int(random.integers(1, 4))):
        way = _WAYS[int(random.integers(len(_WAYS)))]
        data = way(data, other, random)
    return data


def iter_damaged(n_images: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Damage pictures, all kinds in turn.

    Yields
    ------
    kind : str
        As Pillow names it.
    data : bytes
        The damaged picture.
    """
    random = np.random.default_rng(seed)
    whole = draw_whole(random)
    everything = [data for forms in whole.values() for data in forms]
    kinds = sorted(whole)
    for number in range(n_images):
        kind = kinds[number % len(kinds)]
        data = whole[kind][int(random.integers(len(whole[kind])))]
        other = everything[int(random.integers(len(everything)))]
        yield kind, damage(data, other, random)


def read_all(n_images: int, seed: int, limit_s: float = LIMIT_S) -> dict[str, Tally]:
    """Read every damaged picture; an error of another class than ours ends the run.

    A picture that takes longer than the limit ends the process with a traceback, also where C
    code would never return.
    """
    tallies: dict[str, Tally] = {}
    with ignore_pillow_warnings():
        for kind, data in iter_damaged(n_images, seed):
            tally = tallies.setdefault(kind, Tally())
            faulthandler.dump_traceback_later(limit_s, exit=True)
            start_s = time.perf_counter()
            if _is_readable(data):
                tally.n_decoded += 1
            else:
                tally.n_failed += 1
            tally.slowest_s = max(tally.slowest_s, time.perf_counter() - start_s)
    faulthandler.cancel_dump_traceback_later()
    return tallies


def embed_all(
    n_images: int, seed: int, encoder: Encoder, folder: Path, *, n_group: int = 500
) -> Tally:
    """Embed the damaged pictures in groups, and check each store against its folder."""
    tally = Tally()
    damaged = list(iter_damaged(n_images, seed))
    for first in range(0, n_images, n_group):
        photos = folder / f"photos-{first}"
        photos.mkdir()
        for number, (_, data) in enumerate(damaged[first : first + n_group]):
            (photos / f"{number:04d}.jpg").write_bytes(data)
        start_s = time.perf_counter()
        store = EmbeddingStore.open_for(folder / f"store-{first}", encoder)
        summary = embed_images(find_images([photos]), encoder, store)
        tally.slowest_s = max(tally.slowest_s, time.perf_counter() - start_s)
        store = EmbeddingStore.open(store.folder)
        files = sorted(path.name for path in photos.iterdir())
        reasons = store.read_failures()
        _expect(sorted([*store.images.file_names, *reasons["path"]]), files)
        _expect((summary.n_failed, summary.n_images), (len(reasons), len(files)))
        _expect([reason for reason in reasons["reason"] if not reason or "\n" in reason], [])
        _expect(verify_store(store), [])
        tally.n_decoded += len(store)
        tally.n_failed += len(reasons)
    return tally


def measure_peak_mb() -> float:
    """Return the most memory this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _is_readable(data: bytes) -> bool:
    try:
        read_facts(data)
        image = decode_image(data)
    except ImageReadError as error:
        if not str(error):
            msg = "an error without a reason"
            raise AssertionError(msg) from error
        return False
    _expect(image.mode, "RGB")
    return True


def _expect(got: object, expected: object) -> None:
    # Not the assert statement, which python -O leaves out.
    if got != expected:
        msg = f"got {got}, expected {expected}"
        raise AssertionError(msg)


def _draw(random: Random, mode: str) -> Image.Image:
    pixels = random.integers(0, 256, (6, 8, 4), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((int(random.integers(24, 96)), 40))
    if mode == "I;16":
        return image.convert("L").convert("I").convert("I;16")
    return image if mode == "RGBA" else image.convert("RGB").convert(mode)


def _save(image: Image.Image, kind: str, options: Options) -> bytes:
    stream = io.BytesIO()
    if options.get("save_all"):
        options = {**options, "append_images": [image.rotate(90)]}
    if kind in {"JPEG", "PNG", "TIFF", "WEBP"}:
        exif = Image.Exif()
        exif[0x0112] = 6
        options = {**options, "exif": exif}
    image.save(stream, kind, **options)
    return stream.getvalue()


def _flip_bits(data: bytes, _: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _flip in range(int(random.integers(1, 12))):
        changed[int(random.integers(len(changed)))] ^= 1 << int(random.integers(8))
    return bytes(changed)


def _edit_header(data: bytes, _: bytes, random: Random) -> bytes:
    # Sizes, counts and offsets stand there: the values at the edges do the most harm.
    changed = bytearray(data)
    width = int(random.choice([1, 2, 4]))
    start = int(random.integers(max(1, min(_HEADER_BYTES, len(data)) - width)))
    edge = [
        b"\0" * 4,
        b"\xff" * 4,
        b"\x7f\xff\xff\xff",
        b"\0\0\0\1",
        b"\x80\0\0\0",
        b"\0\0\x3f\xff",
    ]
    changed[start : start + width] = edge[int(random.integers(len(edge)))][:width]
    return bytes(changed)


def _truncate(data: bytes, _: bytes, random: Random) -> bytes:
    return data[: int(random.integers(1, len(data) + 1))]


def _splice(data: bytes, other: bytes, random: Random) -> bytes:
    return (
        data[: int(random.integers(1, len(data) + 1))] + other[int(random.integers(len(other))) :]
    )


def _repeat(data: bytes, _: bytes, random: Random) -> bytes:
    start, stop = sorted(int(place) for place in random.integers(0, len(data) + 1, 2))
    return data[:stop] + data[start:stop] * int(random.integers(1, 4)) + data[stop:]


def _cut_out(data: bytes, _: bytes, random: Random) -> bytes:
    start = int(random.integers(len(data)))
    return data[:start] + data[start + int(random.integers(1, 40)) :] or data[:1]


_WAYS: tuple[Callable[[bytes, bytes, Random], bytes], ...] = (
    _flip_bits, _edit_header, _edit_header, _truncate, _splice, _repeat, _cut_out,
)  # fmt: skip


def main() -> None:
    """Parse the command line, read and embed all, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    faulthandler.enable()
    tallies = read_all(arguments.images, arguments.seed)
    print(f"{arguments.images:,} damaged pictures, seed {arguments.seed}, {os.cpu_count()} cores\n")
    print("| kind | decoded | failed | slowest ms |\n|---|---|---|---|")
    for kind, tally in sorted(tallies.items()):
        slowest_ms = tally.slowest_s * 1000
        print(f"| {kind} | {tally.n_decoded} | {tally.n_failed} | {slowest_ms:.0f} |")
    print(f"\nmost memory while reading: {measure_peak_mb():.0f} MB", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        embedded = embed_all(arguments.images, arguments.seed, load_encoder("sketch"), Path(folder))
    peak_mb = measure_peak_mb()
    print(
        f"embedded: {embedded.n_decoded}, failed: {embedded.n_failed}, slowest group of 500: "
        f"{embedded.slowest_s:.1f} s, most memory: {peak_mb:.0f} MB"
    )
    if peak_mb > LIMIT_MB:
        msg = f"memory was not bounded: {peak_mb:.0f} MB, more than {LIMIT_MB}"
        raise SystemExit(msg)


if __name__ == "__main__":
    main()
