"""How much of a picture file is there, and what of it is damaged.

A JPEG, a PNG and the rest say differently that something is missing. Of each the share of rows that
is there is told, and the faults in words:

- ``no end marker``: the file ends before the format says that it does;
- ``bytes skipped``: what stands there is no code, or too much or too little of it for the picture:
  what the decoder warns of;
- ``checksum differs``: the file's own checksum is of other bytes;
- ``flat band at the end``: rows that nothing was decoded for;
- ``shift in the picture``: from a block on, all is lighter, darker or of another colour than what
  it adjoins, as after a wrong bit;
- ``odd tables``: tables by which it is decoded that no program writes.

References
----------
ITU-T T.81 (JPEG), annexes B and F: markers, and that DC values are coded as differences, so that
one wrong shifts all that follow. RFC 2083 (PNG). IJG libjpeg, ``jdhuff.c``: what is missing is
decoded as zeros, which is middle grey.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import zlib
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

#: Pictures of which a larger share of rows is there are nearly whole.
NEARLY_WHOLE = 0.95
NO_END, SKIPPED, CHECKSUM = "no end marker", "bytes skipped", "checksum differs"
FLAT, SHIFT, TABLES = "flat band at the end", "shift in the picture", "odd tables"
# What libjpeg decodes for blocks that are missing.
_MISSING_GREY = 128


@dataclasses.dataclass(frozen=True)
class Damage:
    """What is wrong with a picture that was decoded all the same.

    Parameters
    ----------
    share_present : float
        Share of its rows that is there, in [0, 1]; those behind a place that was skipped count.
    faults : tuple of str
        What was found, in the words of this module.
    """

    share_present: float
    faults: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(self.faults)

    @property
    def is_nearly_whole(self) -> bool:
        """Whether enough is there for the picture to be embedded."""
        return self.share_present >= NEARLY_WHOLE


@dataclasses.dataclass(frozen=True)
class JpegHeader:
    """What the markers of a JPEG say before its picture begins.

    Parameters
    ----------
    block_px : (int, int)
        Width and height of the smallest coded unit, at full size.
    is_progressive : bool
        Whether it is coded in several passes over the whole picture.
    share_coded : float
        Of a progressive one, the share of its coefficients that some pass brings to their last
        bit; 1 of others.
    quantisation : tuple of tuple of int
        Its tables, in the order of the file.
    """

    block_px: tuple[int, int]
    is_progressive: bool
    share_coded: float
    quantisation: tuple[tuple[int, ...], ...]


def _read_jpeg_header(data: bytes) -> JpegHeader | None:
    """Read the markers of a JPEG; None where they cannot be followed to the picture."""
    factors: list[tuple[int, int]] = []
    tables: list[tuple[int, ...]] = []
    scans: list[tuple[tuple[int, ...], int, int, int]] = []
    ids: list[int] = []
    progressive = False
    for marker, content in _iter_segments(data):
        if marker == 0xDB:
            tables += _read_tables(content)
        elif marker in _FRAMES and len(content) >= 6 and not factors:
            progressive = marker in _PROGRESSIVE
            parts = [content[at : at + 3] for at in range(6, len(content) - 2, 3)]
            factors = [(part[1] >> 4, part[1] & 15) for part in parts]
            ids = [part[0] for part in parts]
        elif marker == 0xDA and content:
            n = content[0]
            named = tuple(content[1 : 1 + 2 * n : 2])
            rest = content[1 + 2 * n :]
            if len(rest) >= 3:
                scans.append((named, rest[0], rest[1], rest[2] & 15))
            if not progressive:
                break
    if not factors or not all(all(one) for one in factors):
        return None
    widest, highest = (max(one[axis] for one in factors) for axis in (0, 1))
    if len(factors) == 1:
        widest = highest = 1  # of a single component a unit is one block, whatever it says
    coded = _count_coded(scans, ids) if progressive else 1.0
    return JpegHeader((8 * widest, 8 * highest), progressive, coded, tuple(tables))


_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
_PROGRESSIVE = frozenset({0xC2, 0xCA})
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})


def _iter_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Go from marker to marker, over the coded picture too, up to the first end.

    Yields
    ------
    marker : int
    content : bytes
    """
    at = 2
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 4 > len(data):
            return
        marker = data[at + 1]
        if marker in {0x00, 0xFF} or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0xD9:
            return
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + length


def _read_tables(content: bytes) -> Iterator[tuple[int, ...]]:
    at = 0
    while at < len(content):
        n_bytes = 2 if content[at] >> 4 else 1
        values = content[at + 1 : at + 1 + 64 * n_bytes]
        yield tuple(
            int.from_bytes(values[one : one + n_bytes], "big")
            for one in range(0, len(values), n_bytes)
        )
        at += 1 + 64 * n_bytes


def _count_coded(scans: Iterable[tuple[tuple[int, ...], int, int, int]], ids: list[int]) -> float:
    done = {
        (one, place) for named, first, last, left in scans if left == 0
        for one in named for place in range(first, min(last, 63) + 1)
    }  # fmt: skip
    return len(done) / (64 * max(1, len(ids)))


def judge_jpeg(
    data: bytes, pixels: Pixels, scale: int, warning: str, *, is_whole: bool = True
) -> Damage | None:
    """Judge a JPEG by what the decoder said and by what came out.

    Parameters
    ----------
    data : bytes
        Content of the file.
    pixels : ndarray of uint8, shape (height_px, width_px, n_channels)
        As decoded, before it is made upright.
    scale : int
        How many times smaller than its size it was decoded: 1, 2, 4 or 8.
    warning : str
        What the decoder said; ``""`` where it had nothing to say.
    is_whole : bool
        Whether all is looked for; else only what says how much of the picture is there, which takes
        a quarter of the time.

    Returns
    -------
    Damage or None
        None where nothing was found.
    """
    header = _read_jpeg_header(data)
    faults: list[str] = []
    if warning:
        faults.append(NO_END if _lacks_end(data) else SKIPPED)
    share = 1.0
    if header is None:
        return Damage(share, tuple(faults)) if faults else None
    unit_px = max(1, header.block_px[0] // scale), max(1, header.block_px[1] // scale)
    n_flat = _count_flat(pixels, unit_px, any_colour=bool(warning))
    if n_flat:
        share = 1 - n_flat / len(pixels)
        faults.append(FLAT)
    if warning and header.is_progressive:
        share = min(share, header.share_coded)
    if is_whole and not header.is_progressive and _is_shifted(pixels, unit_px):
        faults.append(SHIFT)
    if is_whole and any(map(_is_odd, header.quantisation)):
        faults.append(TABLES)
    return Damage(share, tuple(faults)) if faults else None


def _lacks_end(data: bytes) -> bool:
    # What follows the last of the scans, where something is left out of the count of its bytes.
    scan = data.rfind(b"\xff\xda")
    return data.find(b"\xff\xd9", max(scan, 0)) < 0


def _count_flat(pixels: Pixels, unit_px: tuple[int, int], *, any_colour: bool) -> int:
    """Count the rows at the end for which nothing was decoded.

    Of a file that decodes without a word only the grey of missing blocks counts: a white or black
    band may be in the picture. Where the decoder warned, so do units that are all alike but for
    their lightness, which is what it makes of zeros.
    """
    height_px, n_flat = len(pixels), 0
    for start in range((height_px - 1) // unit_px[1] * unit_px[1], -1, -unit_px[1]):
        band = pixels[start : start + unit_px[1]]
        if not (
            bool((band == _MISSING_GREY).all()) or (any_colour and _is_alike(band, unit_px[0]))
        ):
            break
        n_flat = height_px - start
    return n_flat if n_flat >= min(unit_px[1], height_px) else 0


# Units of a row that are as the one before them, in zeros that end somewhere in it.
_ALIKE_FRACTION = 0.9


def _is_alike(band: Pixels, width_px: int) -> bool:
    n_units = band.shape[1] // width_px
    if n_units < 4:
        return False
    units = band[:, : n_units * width_px].astype(np.float32)
    by_unit = units.reshape(len(band), n_units, width_px, -1).transpose(1, 0, 2, 3)
    steps = np.diff(by_unit.reshape(n_units, -1, band.shape[2]), axis=0)
    return bool((steps.std(axis=1).max(axis=1) <= 2).mean() >= _ALIKE_FRACTION)


# A table of a camera or program rises with the frequency, by less than this from one to the next.
_STEEPEST = 6


@functools.lru_cache(maxsize=256)
def _is_odd(table: tuple[int, ...]) -> bool:
    """Tell whether a table of quantisation is none that a program writes."""
    if len(table) != 64 or not all(table):
        return True
    pairs = itertools.pairwise(table)
    return any(max(pair) > _STEEPEST * min(pair) and max(pair) > 12 for pair in pairs)


# Levels by which the picture jumps where a shift begins, and how many times what it does nearby.
_LEAST_JUMP, _LEAST_TIMES = 8, 2
# Share of a row's units that jump behind where it begins, and of those before it that do.
_INSIDE, _OUTSIDE = 0.6, 0.3
# Where one unit alone is on one side, it could be an edge of the picture: nearly all must fit.
_INSIDE_OF_ONE, _OUTSIDE_OF_ONE = 0.95, 0.0


def _is_shifted(pixels: Pixels, unit_px: tuple[int, int]) -> bool:
    """Tell whether from some unit on, in the order of the code, all is shifted.

    Along the row of units where that begins, and along the next up to the same column, the picture
    jumps; on the rest of both lines it does not. An edge of what is pictured, or of a frame, does
    not go down one row of units at a column, with nothing above or below it.
    """
    width_px, height_px = unit_px
    n_columns = pixels.shape[1] // width_px
    lines = np.arange(height_px - 1, len(pixels) - 1, height_px)
    near = max(1, height_px // 8)
    near_px = (near, near + 1) if height_px > 4 else (near,)
    lines = lines[(lines >= near_px[-1]) & (lines + near_px[-1] + 1 < len(pixels))]
    if len(lines) < 2 or n_columns < 3:
        return False
    jumps = _measure_jumps(pixels, lines, n_columns, width_px)
    jumping = jumps > _LEAST_JUMP
    for shift in (at * side for at in near_px for side in (-1, 1)):
        # Of most pictures the first tells: no line jumps beside what lies next to it.
        begins = _may_begin(jumping)
        asked = np.flatnonzero(np.append(begins, False) | np.append(False, begins))
        if not len(asked):
            return False
        around = _measure_jumps(pixels, lines[asked] + shift, n_columns, width_px)
        jumping[asked] &= jumps[asked] > _LEAST_TIMES * around
    return any(
        _is_stepped(jumping[line], jumping[line + 1])
        for line in np.flatnonzero(_may_begin(jumping)).tolist()
    )


def _may_begin(jumping: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Tell of each line but the last whether enough jumps on it and on the next."""
    n_jumping = jumping.sum(axis=1)
    enough: npt.NDArray[np.bool_] = n_jumping[:-1] + n_jumping[1:] >= _INSIDE * jumping.shape[1]
    return enough


def _measure_jumps(
    pixels: Pixels, lines: npt.NDArray[np.int64], n_columns: int, width_px: int
) -> npt.NDArray[np.float64]:
    """Return how much each unit differs across lines, shape (n_lines, n_columns), in levels."""
    above, below = (pixels[at, : n_columns * width_px] for at in (lines, lines + 1))
    apart = np.maximum(above, below) - np.minimum(above, below)
    # Over an axis of three numpy's own maximum takes ten times as long.
    steps = functools.reduce(np.maximum, np.moveaxis(apart, 2, 0))
    return np.asarray(np.median(steps.reshape(len(lines), n_columns, width_px), axis=2))


def _is_stepped(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> bool:
    """Tell whether two lines jump as one line that begins in the middle of the first would."""
    n = len(first)
    # Sums up to each column: what lies before it and behind it.
    one, two = (np.concatenate([[0], np.cumsum(line)]) for line in (first, second))
    columns = np.arange(1, n)
    behind, before = one[-1] - one[columns], two[columns]
    inside = (behind + before) / n
    outside = (one[columns] + two[-1] - two[columns]) / n
    shorter = np.minimum(columns, n - columns)
    least, most = (
        np.where(shorter > 1, _INSIDE, _INSIDE_OF_ONE),
        np.where(shorter > 1, _OUTSIDE, _OUTSIDE_OF_ONE),
    )
    halves = (2 * behind >= n - columns) & (2 * before >= columns)
    return bool(((inside >= least) & (outside <= most) & halves).any())


def judge_png(data: bytes) -> tuple[bytes, Damage | None]:
    """Judge a PNG by its checksums and by how much of its data can be unpacked.

    Returns
    -------
    bytes
        A PNG that can be decoded: the file itself, or one whose missing rows are black.
    Damage or None
        None where nothing was found.
    """
    chunks, is_whole, is_sound = [], False, True
    at = 8
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        name, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        checksum = data[at + 8 + length : at + 12 + length]
        chunks.append((name, content))
        if len(content) < length or len(checksum) < 4:
            is_sound = is_sound and name != b"IDAT"
            break
        if name in _PNG_NEEDED:
            is_sound &= zlib.crc32(content, zlib.crc32(name)) == int.from_bytes(checksum, "big")
        if name == b"IEND":
            is_whole = True
            break
        at += 12 + length
    if is_whole and is_sound:
        return data, None
    faults = [NO_END] * (not is_whole) + [CHECKSUM] * (is_whole and not is_sound)
    return _mend_png(data, chunks, faults)


_PNG_NEEDED = frozenset({b"IHDR", b"PLTE", b"IDAT", b"tRNS"})
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
          (0, 1, 1, 2))  # fmt: skip


def _mend_png(
    data: bytes, chunks: list[tuple[bytes, bytes]], faults: list[str]
) -> tuple[bytes, Damage]:
    header = next((content for name, content in chunks if name == b"IHDR"), b"")
    if len(header) != 13 or header[9] not in _CHANNELS:
        return data, Damage(0.0, tuple(faults))
    width, height = (int.from_bytes(header[at : at + 4], "big") for at in (0, 4))
    bits = header[8] * _CHANNELS[header[9]]
    passes = _ADAM7 if header[12] else ((0, 0, 1, 1),)
    n_needed = sum(
        rows * (1 + (columns * bits + 7) // 8)
        for x, y, dx, dy in passes
        if (columns := -(-(width - x) // dx)) > 0 and (rows := -(-(height - y) // dy)) > 0
    )
    if not 0 < n_needed < _MOST_BYTES:
        return data, Damage(0.0, tuple(faults))
    unpacked, is_cut = _unpack(b"".join(c for name, c in chunks if name == b"IDAT"), n_needed)
    share = len(unpacked) / n_needed
    if is_cut and SKIPPED not in faults and NO_END not in faults:
        faults = [*faults, SKIPPED]
    packed = zlib.compress(unpacked + bytes(n_needed - len(unpacked)), 0)
    kept = [(n, c) for n, c in chunks if n not in {b"IDAT", b"IEND"}]
    made = [*kept, (b"IDAT", packed), (b"IEND", b"")]
    written = b"".join(
        len(c).to_bytes(4, "big") + n + c + zlib.crc32(c, zlib.crc32(n)).to_bytes(4, "big")
        for n, c in made
    )
    return data[:8] + written, Damage(share, tuple(faults))


_MOST_BYTES = 1 << 31


def _unpack(packed: bytes, n_needed: int) -> tuple[bytes, bool]:
    """Unpack as much as can be, and tell whether an error ended that."""
    unpacking, unpacked = zlib.decompressobj(), bytearray()
    for start in range(0, len(packed), _UNPACKED_BYTES):
        try:
            unpacked += unpacking.decompress(packed[start : start + _UNPACKED_BYTES])
        except zlib.error:
            return bytes(unpacked[:n_needed]), True
        if len(unpacked) >= n_needed:
            break
    return bytes(unpacked[:n_needed]), False


# So few at once, as an error loses what was unpacked with it.
_UNPACKED_BYTES = 256
