"""Stones that a detector takes for animals again and again: how many are found, what is lost.

Cameras, stones and animals are drawn; the boxes are those of a detector that is a little unsure,
and what they hold is embedded by the model ``sketch``. The same boxes are grouped by place alone
(intersection over union, as the usual post-processing does it), at each threshold, and by place and
vector, as ``bioprobe filter --repeats`` does it. How the set is made hard:

- light, colour and grain change from picture to picture, and at night pictures are grey;
- each side of a box is off by 3% of its length (standard deviation), of stones and of animals;
- half of the animals stand where the bait lies, which is one place of each camera, so that place
  alone takes them for a stone; a camera sees two species, and one in five animals stands where a
  stone is;
- half of the stones have the colours and patches of an animal's coat;
- one animal sleeps where it lies for nine hours, and turns round three times.

Run it with ``python -m benchmarks.repeats``.
"""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from bioprobe.encoders import load_encoder
from bioprobe.encoders.encoder import Encoder
from bioprobe.quality.repeats import SIMILARITY, VISITS, Boxes, compare_groups, group_boxes
from bioprobe.sketch.backgrounds import draw_background
from bioprobe.sketch.drawing import FORMS, draw_coat
from bioprobe.sketch.palette import mix_inks
from bioprobe.sketch.pen import Pen, smooth
from bioprobe.sketch.tree import Look, read_species

STONE, ANIMAL, SLEEPER = "stone", "animal", "sleeper"
_FRAME_PX = 512
_CROP_PX = 128
_LAND = ("savanna", "meadow", "sand", "forest")
_ON_LAND = ("cat", "dog", "horse", "giraffe", "turtle", "snake", "frog", "snail")
_JITTER = 0.03
_DAY_S = 86_400


@dataclasses.dataclass(frozen=True)
class Detection:
    """One box of the drawn set.

    Parameters
    ----------
    kind : str
        ``stone``, ``animal`` or ``sleeper``.
    thing : str
        Which of them.
    camera : str
        Whose picture it is in.
    taken_s : float
        Seconds since the first day.
    box : tuple of float
        x, y, width, height, relative to the picture.
    crop : PIL.Image.Image
        What the box holds.
    """

    kind: str
    thing: str
    camera: str
    taken_s: float
    box: tuple[float, float, float, float]
    crop: Image.Image


@dataclasses.dataclass(frozen=True)
class _Stone:
    x: float
    y: float
    size: float
    outline: npt.NDArray[np.float64]
    coat: Image.Image


def draw_set(
    n_cameras: int = 20, n_stones: int = 5, n_animals: int = 200, *, seed: int = 0
) -> list[Detection]:
    """Draw what the cameras saw and the detector found.

    Parameters
    ----------
    n_cameras, n_stones, n_animals : int
        Cameras, stones that each sees, animals that pass all of them together; one more sleeps
        before the first camera.
    seed : int
        Of everything that varies.
    """
    rng = np.random.default_rng(seed)
    looks = [one.look for one in read_species() if one.look.form in _ON_LAND]
    found: list[Detection] = []
    shares = np.arange(n_animals) % n_cameras
    for camera in range(n_cameras):
        place = draw_background(_LAND[int(rng.integers(len(_LAND)))], _FRAME_PX, rng)
        spots = _spread(n_stones + 2, rng)
        stones = [_make_stone(spot, rng) for spot in spots[:n_stones]]
        for stone in stones:
            _put_stone(place, stone)
        own = [looks[int(i)] for i in rng.choice(len(looks), 2, replace=False)]
        name = f"camera {camera}"
        found += _see_stones(name, place, stones, rng)
        for number in np.flatnonzero(shares == camera).tolist():
            look, where = own[int(rng.integers(2))], float(rng.random())
            x, y, size = spots[n_stones]
            if where > 0.7:
                x, y, size = *rng.uniform(0.2, 0.8, 2), float(rng.uniform(0.14, 0.3))
            elif where > 0.5:
                one = stones[int(rng.integers(n_stones))]
                x, y, size = one.x, one.y, one.size
            found += _see_animal(name, f"animal {number}", place, look, (x, y, size), rng)
        if camera == 0:
            found += _see_sleeper(name, place, own[0], spots[n_stones + 1], rng)
    return found


def _spread(n: int, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Return places that do not overlap much, with sizes."""
    places: list[tuple[float, float, float]] = []
    while len(places) < n:
        x, y = rng.uniform(0.16, 0.84, 2)
        if all(abs(x - a) + abs(y - b) > 0.22 for a, b, _ in places):
            places.append((float(x), float(y), float(rng.uniform(0.14, 0.26))))
    return places


def _make_stone(spot: tuple[float, float, float], rng: np.random.Generator) -> _Stone:
    turn = np.sort(rng.uniform(0, 2 * np.pi, 9))
    ring = np.stack([np.cos(turn), 0.7 * np.sin(turn)], 1) * rng.uniform(0.75, 1.0, 9)[:, None]
    like_a_coat = rng.random() < 0.5
    first, second = ("brown", "white") if like_a_coat else ("grey", "black")
    inks = mix_inks(first, second, rng)
    side_px = int(spot[2] * _FRAME_PX)
    matrix = np.array([[side_px / 2, 0, side_px / 2], [0, side_px / 2, side_px / 2]])
    coat = draw_coat(side_px, matrix, inks, "patches" if like_a_coat else "plain", rng)
    return _Stone(*spot, smooth(ring, 4), coat)


def _put_stone(place: Image.Image, stone: _Stone) -> None:
    side_px = stone.coat.size[0]
    mask = Image.new("L", (side_px, side_px))
    corners = (stone.outline * 0.48 + 0.5) * side_px
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in corners], fill=255)
    left, top = (int((at - stone.size / 2) * _FRAME_PX) for at in (stone.x, stone.y))
    place.paste(stone.coat, (left, top), mask)


def _see_stones(
    camera: str, place: Image.Image, stones: list[_Stone], rng: np.random.Generator
) -> list[Detection]:
    found = []
    for number, stone in enumerate(stones):
        for _ in range(int(rng.integers(8, 21))):
            taken_s = float(rng.uniform(0, 21 * _DAY_S))
            spot = (stone.x, stone.y, stone.size)
            thing = f"{camera} stone {number}"
            found.append(_detect(STONE, thing, camera, taken_s, place, spot, rng))
    return found


def _see_animal(
    camera: str,
    thing: str,
    place: Image.Image,
    look: Look,
    spot: tuple[float, float, float],
    rng: np.random.Generator,
) -> list[Detection]:
    """Draw an animal that passes, or eats, in one to three pictures some seconds apart."""
    taken_s, found = float(rng.uniform(0, 21 * _DAY_S)), []
    x, y, size = spot
    for number in range(int(rng.integers(1, 4))):
        seen = place.copy()
        at = (x + rng.normal(0, 0.01), y + rng.normal(0, 0.01), size)
        _put_animal(seen, look, at, rng, rng)
        found.append(_detect(ANIMAL, thing, camera, taken_s + 2 * number, seen, at, rng))
    return found


def _see_sleeper(
    camera: str,
    place: Image.Image,
    look: Look,
    spot: tuple[float, float, float],
    rng: np.random.Generator,
) -> list[Detection]:
    """Draw an animal that lies in one place from evening to morning."""
    found = []
    for number in range(36):
        seen = place.copy()
        # It lies as before until it turns round; only its breath moves it.
        pose = np.random.default_rng(number // 9)
        breath = rng.normal(1, 0.01)
        _put_animal(seen, look, (spot[0], spot[1], spot[2] * breath), pose, pose)
        taken_s = 5 * _DAY_S + 72_000 + 900 * number
        found.append(_detect(SLEEPER, "sleeper", camera, taken_s, seen, spot, rng))
    return found


def _put_animal(
    place: Image.Image,
    look: Look,
    spot: tuple[float, float, float],
    pose: np.random.Generator,
    coat: np.random.Generator,
) -> None:
    x, y, size = spot
    scale = size * _FRAME_PX / 2.2
    turn, side = pose.normal(0, 0.1), pose.choice([-1.0, 1.0])
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = np.concatenate(
        [scale * spin @ np.diag([side, 1.0]), np.array([[x], [y]]) * _FRAME_PX], axis=1
    )
    inks = mix_inks(look.colour, look.second_colour, coat)
    cloth = draw_coat(_FRAME_PX, matrix, inks, look.pattern, coat)
    edge = inks["second"] if look.pattern == "edges" else None
    FORMS[look.form].draw(Pen(place, matrix, inks, cloth, edge), pose)


def _detect(
    kind: str,
    thing: str,
    camera: str,
    taken_s: float,
    place: Image.Image,
    spot: tuple[float, float, float],
    rng: np.random.Generator,
) -> Detection:
    """Return what the detector cuts out, in the light of the hour."""
    x, y, size = spot
    off = rng.normal(0, _JITTER * size, 4)
    left, top = max(0.0, x - size / 2 + off[0]), max(0.0, y - size / 2 + off[1])
    right, foot = min(1.0, x + size / 2 + off[2]), min(1.0, y + size / 2 + off[3])
    crop = place.crop(tuple(round(_FRAME_PX * side) for side in (left, top, right, foot)))
    hour = taken_s % _DAY_S / 3600
    lit = np.asarray(crop.resize((_CROP_PX, _CROP_PX)), dtype=np.float64)
    if not 6 <= hour < 20:
        lit = lit.mean(axis=2, keepdims=True).repeat(3, 2) * rng.uniform(0.6, 0.9)
    gain = rng.uniform(0.75, 1.15) + rng.normal(0, 0.03, 3)
    lit = lit * gain + rng.normal(0, rng.uniform(1, 6), lit.shape)
    picture = Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))
    return Detection(kind, thing, camera, taken_s, (left, top, right - left, foot - top), picture)


def gather_boxes(found: list[Detection], encoder: Encoder) -> Boxes:
    """Embed what the boxes hold, and return them as a store would."""
    parts = [found[start : start + 64] for start in range(0, len(found), 64)]
    begin = np.datetime64("2024-05-01", "ns")
    return Boxes(
        np.array([one.box for one in found]),
        np.concatenate([encoder.encode_image([one.crop for one in part]) for part in parts]),
        np.array([one.camera for one in found], dtype=object),
        np.array([begin + np.timedelta64(round(one.taken_s * 1e9), "ns") for one in found]),
        np.arange(len(found)),
    )


@dataclasses.dataclass(frozen=True)
class Score:
    """What a way of dropping boxes does to a set.

    Parameters
    ----------
    stones : float
        Share of the stones of which most boxes are dropped.
    stone_boxes : float
        Share of their boxes.
    animals : float
        Share of the passing animals that lose a box.
    animal_boxes : float
        Share of their boxes.
    sleeper : float
        Share of the boxes of the animal that sleeps.
    """

    stones: float
    stone_boxes: float
    animals: float
    animal_boxes: float
    sleeper: float


def score(found: list[Detection], dropped: npt.NDArray[np.bool_]) -> Score:
    """Measure what is dropped."""
    kinds = np.array([one.kind for one in found])
    things = np.array([one.thing for one in found])

    def share(kind: str, least: float) -> float:
        return float(
            np.mean([dropped[things == one].mean() > least for one in set(things[kinds == kind])])
        )

    boxes = {kind: float(dropped[kinds == kind].mean()) for kind in (STONE, ANIMAL, SLEEPER)}
    return Score(share(STONE, 0.5), boxes[STONE], share(ANIMAL, 0), boxes[ANIMAL], boxes[SLEEPER])


def drop_by_place(boxes: Boxes, overlap: float, visits: int = VISITS) -> npt.NDArray[np.bool_]:
    """Drop what overlaps often enough, whatever it is."""
    alike = dataclasses.replace(boxes, vectors=np.ones((len(boxes), 1), dtype=np.float32))
    return group_boxes(alike, overlap=overlap, similarity=-1, visits=visits) >= 0


def drop_by_both(boxes: Boxes, similarity: float = SIMILARITY) -> npt.NDArray[np.bool_]:
    """Drop as ``bioprobe filter --repeats`` does."""
    groups = group_boxes(boxes, similarity=similarity)
    shares, enough = compare_groups(boxes, groups, similarity=similarity)
    return np.append((shares >= 0.5) & enough, False)[groups]


def main() -> None:
    """Print what each way finds and loses."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    encoder = load_encoder("sketch", device="cpu")
    print("| seed | way | stones | their boxes | animals lost | their boxes | sleeper lost |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for seed in range(arguments.seeds):
        found = draw_set(seed=seed)
        boxes = gather_boxes(found, encoder)
        ways = {f"place alone, IoU {at}": drop_by_place(boxes, at) for at in (0.6, 0.8, 0.85, 0.9)}
        ways["place and vector"] = drop_by_both(boxes)
        for way, dropped in ways.items():
            figures = " | ".join(f"{one:.3f}" for one in dataclasses.astuple(score(found, dropped)))
            print(f"| {seed} | {way} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
