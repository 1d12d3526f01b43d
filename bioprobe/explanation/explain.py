"""Pictures are explained one by one: a map toward each aim, and what speaks for and against."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.errors import ImageReadError, SourceError
from bioprobe.explanation.candidates import Candidates, Named
from bioprobe.explanation.examples import Example, find_examples
from bioprobe.explanation.focus import WHOLE_BOX, Box, find_half, measure_inside, place_in
from bioprobe.explanation.maps import explain_images, open_tower
from bioprobe.explanation.result import Explanation, Share
from bioprobe.images.reading import decode_region, hash_bytes, read_facts
from bioprobe.images.regions import DETECTION_CATEGORY, REGION, Region
from bioprobe.index import NeighborIndex

if TYPE_CHECKING:
    from PIL.Image import Image

    from bioprobe.encoders.encoder import Encoder
    from bioprobe.explanation.aims import ClassAim
    from bioprobe.explanation.maps import Maps
    from bioprobe.images import ImageTable
    from bioprobe.images.location import ImageLocation
    from bioprobe.store import EmbeddingStore
    from bioprobe.store.view import View
    from bioprobe.task.predictions import Predictions
    from bioprobe.types import Mask, Places, Rows, Scores, Vectors


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One map that is wanted of a picture.

    Parameters
    ----------
    toward : Named
        What it is toward.
    against : tuple of Named
        What it is told apart from.
    """

    toward: Named
    against: tuple[Named, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Unread:
    """A picture that could not be explained."""

    row: int
    reason: str


class Teachers:
    """Labelled pictures, from which the nearest for and against are taken.

    Parameters
    ----------
    store : EmbeddingStore
        That holds them.
    candidates : Candidates
        Whose classes they are of.
    taught : ndarray of bool, shape (n_rows,), optional
        Which rows of the store taught; by default all that have a label.
    """

    def __init__(
        self, store: EmbeddingStore, candidates: Candidates, taught: Mask | None = None
    ) -> None:
        rows = store.rows if taught is None else store.rows[taught[store.rows]]
        places = candidates.classes.find_labels(store.images, rows)
        self.store = store
        self.rows: Rows = rows[places >= 0]
        self.places: Places = places[places >= 0]
        # Evidence: an approximate index that the store may keep would miss some.
        self._index = NeighborIndex.open(store, exact=True)
        self._hashes = store.images.column("sha256").to_numpy(dtype=object)

    def find(self, vector: Vectors, sha256: str, wanted: Named, k: int) -> tuple[Example, ...]:
        """Find the nearest of a class that are no copies of the picture itself."""
        if wanted.place < 0 or not len(self.rows) or not k:
            return ()
        others = np.ones(len(self.rows), dtype=bool)
        if sha256:
            others = self._hashes[self.rows] != sha256
        return find_examples(
            self._index, vector, self.rows[others], self.places[others], wanted.place, wanted.name,
            k,
        )  # fmt: skip


def explain_pictures(
    view: View,
    encoder: Encoder,
    candidates: Candidates,
    wanted: Mapping[int, Sequence[Wanted]],
    answers: Predictions,
    *,
    alpha: float = 1.0,
    method: str = "auto",
    teachers: Teachers | None = None,
    k: int = 3,
) -> Iterator[list[Explanation] | Unread]:
    """Explain pictures, each as soon as it is asked for.

    Yields
    ------
    list of Explanation, or Unread
        Of the next picture; one that cannot be read stops nothing.

    Raises
    ------
    MisuseError
        If the encoder has no map by that method.
    """
    places = {int(row): place for place, row in enumerate(answers.rows.tolist())}
    truth = candidates.classes.find_labels(view.images, view.rows).tolist()
    labels = {
        row: candidates.get(place).name if place >= 0 else ""
        for row, place in zip(view.rows.tolist(), truth, strict=True)
    }
    boxes = _Boxes(view.images, view.rows)
    draw = functools.partial(explain_images, encoder, tower=open_tower(encoder))
    for start in range(0, len(view), _AT_ONCE):
        read: dict[int, _Picture] = {}
        unread: dict[int, Unread] = {}
        rows = view.rows[start : start + _AT_ONCE]
        for row in rows.tolist():
            try:
                read[row] = _read_picture(view.images.locate(row), encoder.draft_side_px)
            except (ImageReadError, SourceError, OSError, ValueError) as error:
                unread[row] = Unread(row, str(error))
        maps = _draw_maps(view, draw, candidates, wanted, read, alpha, method)
        for row in rows.tolist():
            if row in unread:
                yield unread[row]
                continue
            best = tuple(
                (candidates.get(place).name, score)
                for place, score in zip(
                    answers.top_classes[places[row], : k + 1].tolist(),
                    answers.scores[places[row], : k + 1].tolist(), strict=True,
                ) if place >= 0
            )  # fmt: skip
            found = []
            for number, one in enumerate(wanted[row]):
                drawn = maps[row, number]
                seen = place_in(drawn.box, read[row].part)
                half, half_share = find_half(drawn.relevance, seen)
                explained = Explanation(
                    row, one.toward.name, one.toward.kind,
                    tuple(other.name for other in one.against), drawn.logit, drawn.method,
                    drawn.relevance, seen, half, half_share, best, labels[row],
                    inside=boxes.measure(row, drawn.relevance, seen),
                )  # fmt: skip
                if teachers is not None:
                    vector = view.store.read_vectors(np.array([row]))[0]
                    rival = _find_rival(candidates, answers, places[row], one)
                    sha256 = read[row].sha256
                    explained = dataclasses.replace(
                        explained,
                        pictures_for=teachers.find(vector, sha256, one.toward, k),
                        pictures_against=(
                            teachers.find(vector, sha256, rival, k) if rival is not None else ()
                        ),
                    )
                found.append(explained)
            yield found


# Pictures that are in memory together; those of one aim are asked at once.
_AT_ONCE = 8


@dataclasses.dataclass(frozen=True, eq=False)
class _Picture:
    """A picture as the encoder is given it, and what of the whole one it is."""

    image: Image
    part: Box
    sha256: str


@dataclasses.dataclass(frozen=True, eq=False)
class _Map:
    """One map of one picture, over a box of what the encoder was given."""

    relevance: Scores
    box: Box
    logit: float
    method: str


def _read_picture(location: ImageLocation, draft_side_px: int) -> _Picture:
    data = location.read_bytes()
    facts = read_facts(data)
    image = decode_region(data, location.region, draft_side_px=draft_side_px)
    part = _find_part(location.region, (facts.width_px, facts.height_px))
    return _Picture(image, part, location.sha256 or hash_bytes(data))


def _draw_maps(
    view: View,
    draw: Callable[[Sequence[Image], ClassAim, str], Maps],
    candidates: Candidates,
    wanted: Mapping[int, Sequence[Wanted]],
    read: Mapping[int, _Picture],
    alpha: float,
    method: str,
) -> dict[tuple[int, int], _Map]:
    """Draw the maps of some pictures, those of the same aim at once.

    Returns
    -------
    dict of (int, int) to _Map
        By row, and place among what is wanted of it.
    """
    together: dict[tuple[object, ...], list[tuple[int, int]]] = {}
    beside = {row: candidates.find_beside(view, row) for row in read}
    for row in read:
        of_row = None if candidates.is_same_for_all else row
        for number, one in enumerate(wanted[row]):
            together.setdefault((one, of_row), []).append((row, number))
    drawn: dict[tuple[int, int], _Map] = {}
    for places in together.values():
        row, number = places[0]
        one = wanted[row][number]
        aim = candidates.make_aim(one.toward, one.against, alpha, beside[row])
        maps = draw([read[row].image for row, _ in places], aim, method)
        for at, place in enumerate(places):
            left, upper, right, lower = (float(edge) for edge in maps.boxes[at])
            drawn[place] = _Map(
                maps.relevance[at], (left, upper, right, lower), float(maps.scores[at]), maps.method
            )
    return drawn


def _find_rival(
    candidates: Candidates, answers: Predictions, place: int, wanted: Wanted
) -> Named | None:
    """Return what an aim is against, else the best answer that it is not toward."""
    named = [one for one in wanted.against if one.place >= 0]
    if named:
        return named[0]
    if wanted.toward.place < 0:
        return None
    others = [one for one in answers.top_classes[place].tolist() if one != wanted.toward.place]
    return candidates.get(others[0]) if others else None


def _find_part(region: str, size_px: tuple[int, int]) -> Box:
    """Return what of the whole picture a region is cut out of."""
    box = Region.parse(region)
    if box is None:
        return WHOLE_BOX
    width, height = size_px
    left, upper, right, lower = box.to_pixels(width, height)
    return left / width, upper / height, right / width, lower / height


class _Boxes:
    """Boxes of a detector in the pictures that are explained."""

    def __init__(self, images: ImageTable, rows: Rows) -> None:
        self._boxes: dict[tuple[str, str], list[tuple[str, Box]]] = {}
        self._keys: dict[int, tuple[str, str]] = {}
        if not images.has_regions:
            return
        columns = ["root", "path", REGION]
        if DETECTION_CATEGORY in images.columns:
            columns.append(DETECTION_CATEGORY)
        frame = images.frame[columns]
        asked = frame.iloc[rows]
        self._keys = dict(zip(rows.tolist(), zip(asked["root"], asked["path"], strict=True),
                              strict=True))  # fmt: skip
        wanted = set(self._keys.values())
        for root, path, name, *label in frame.itertuples(index=False, name=None):
            if (root, path) not in wanted:
                continue
            region = Region.parse(str(name))
            if region is not None:
                box = (region.x, region.y, region.x + region.width, region.y + region.height)
                said = str(label[0]) if label and label[0] else str(name)
                self._boxes.setdefault((root, path), []).append((said, box))

    def measure(self, row: int, relevance: Vectors, seen: Box) -> tuple[Share, ...]:
        """Return the share of a map that lies in each box of its picture."""
        even = np.ones_like(relevance)
        return tuple(
            Share(label, measure_inside(relevance, seen, box), measure_inside(even, seen, box))
            for label, box in self._boxes.get(self._keys.get(row, ("", "")), ())
        )
