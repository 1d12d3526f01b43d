"""Stones and branches: what a detector finds in one place again and again, and is no animal."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.cells import name_cells
from bioprobe.errors import SelectionError
from bioprobe.images import ImageTable
from bioprobe.images.camera import CAPTURED_AT
from bioprobe.images.regions import BOX_COLUMNS, REGION
from bioprobe.images.sequences import GAP_SECONDS, find_places, read_clocks
from bioprobe.images.times import Times, read_span
from bioprobe.provenance import Provenance
from bioprobe.result import Notes, Result
from bioprobe.splits.groups import find_components
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import (
    GROUP,
    list_selections,
    read_selection,
    write_selection,
)
from bioprobe.store.view import View
from bioprobe.types import Doubles, Mask, Names, Rows, Vectors

if TYPE_CHECKING:
    import pandas as pd

REPEATS_MASK = "filters/repeats"
VERDICT, FINDING, SHARE = "verdict", "finding", "repeating_share"
CONFIRMED, DENIED = "confirmed", "denied"
#: What is said of a group, and whether its boxes are kept.
REPEAT, LIKE_ANIMALS, NOT_COMPARED = "repeat", "like what passes", "nothing to compare with"
_DROPPED = (REPEAT, CONFIRMED)

_ALL = "all"
# Chosen on the first two sets that benchmarks/repeats.py draws.
OVERLAP, SIMILARITY, VISITS = 0.6, 0.88, 4
# Boxes of one group may lie as far apart as this share of the overlap that begins one.
_LOOSE = 2 / 3
# As many of the nearest boxes elsewhere that repeat, and that do not, say what a box is like,
# however many there are of both; such as are less like it than this share of the similarity asked
# for say nothing.
_NEAR, _LIKE = 3, 0.5
# Every pair of so many is compared; what one camera saw is divided by time where there are more.
_AT_ONCE = 4000
# Boxes of other places that are looked through: a share is measured well enough on these.
_SAMPLE = 20_000


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Repeats(Result):
    """What stands in one place again and again.

    Parameters
    ----------
    images : ImageTable
        Image table of the whole store.
    rows : ndarray of int64, shape (n_images,)
        Rows of the store that were judged; whole pictures are in no group.
    groups : ndarray of int64, shape (n_images,)
        Group of each row, from 0; -1 for none.
    findings : ndarray of object, shape (n_groups,)
        ``repeat``: it is dropped. ``like what passes``: what it holds is more like boxes that do
        not repeat than like those that do; it is kept. ``nothing to compare with``: no other box
        of the store does not repeat; it is kept. ``confirmed`` and ``denied``: a person said so.
    shares : ndarray of float64, shape (n_groups,)
        Of its boxes the share of those that are more like boxes elsewhere that repeat than like
        such as do not; 1 where nothing is like it.
    verdicts : ndarray of object, shape (n_images,)
        ``confirmed`` or ``denied`` where a person said so of the row's group, now or before.
    tiles : ndarray of int64, shape (n_groups,)
        Row of each group that is most like the others.
    visits : ndarray of int64, shape (n_groups,)
        How many times it was seen.
    places : ndarray of object, shape (n_groups,)
        Where.
    provenance : Provenance
        What the result was computed from.
    notes : tuple of Note
        What is to be said of it.
    """

    images: ImageTable
    rows: Rows
    groups: Rows
    findings: Names
    shares: Doubles
    verdicts: Names
    tiles: Rows
    visits: Rows
    places: Names
    provenance: Provenance
    notes: Notes = ()

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.findings)

    @property
    def names(self) -> Names:
        """Name of each row's group, ``g1`` …, ``""`` for none."""
        named = np.array([*(f"g{number + 1}" for number in range(self.n_groups)), ""], object)
        return np.asarray(named[self.groups], dtype=object)

    @property
    def kept(self) -> Mask:
        """Whether each row is kept, shape (n_images,)."""
        dropped = np.append(np.isin(self.findings, _DROPPED), False)[self.groups]
        # What a person said of a box holds where it is in no group any more.
        dropped |= (self.groups < 0) & (self.verdicts == CONFIRMED)
        return ~dropped

    def count(self) -> dict[str, tuple[int, int]]:
        """Return groups and boxes of each finding, the most boxes first."""
        sizes = np.bincount(self.groups[self.groups >= 0], minlength=self.n_groups)
        counted = {
            str(one): (int((self.findings == one).sum()), int(sizes[self.findings == one].sum()))
            for one in dict.fromkeys(self.findings.tolist())
        }
        return dict(sorted(counted.items(), key=lambda item: -item[1][1]))

    def to_frame(self) -> pd.DataFrame:
        """Return one row a box in a group.

        ``file_name``, ``image_region``, ``group``, ``kept``, ``finding``, ``visits`` and
        ``repeating_share`` of the group, ``place``, ``tile`` (whether it stands for the group),
        ``row``.
        """
        import pandas as pd

        inside = np.flatnonzero(self.groups >= 0)
        inside = inside[np.argsort(self.groups[inside], kind="stable")]
        rows, groups = self.rows[inside], self.groups[inside]
        return pd.DataFrame(
            {
                "file_name": self.images.name_files(rows),
                REGION: self.images.column(REGION).to_numpy(dtype=object)[rows],
                GROUP: self.names[inside],
                "kept": self.kept[inside],
                FINDING: self.findings[groups],
                "visits": self.visits[groups],
                SHARE: self.shares[groups],
                "place": self.places[groups],
                "tile": self.tiles[groups] == rows,
                "row": rows,
            }
        )

    def to_lines(self, frame: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return one row a group for reading."""
        frame = self.to_frame() if frame is None else frame
        n_boxes = frame[GROUP].map(frame[GROUP].value_counts())
        shown = frame.assign(boxes=n_boxes)[frame["tile"]]
        return shown[[GROUP, FINDING, "boxes", "visits", SHARE, "place", "file_name"]]

    def write(self, store: EmbeddingStore) -> None:
        """Keep the mask ``filters/repeats``, with the groups and what people said of them."""
        findings = np.append(self.findings, "")[self.groups]
        columns = {GROUP: self.names, FINDING: findings, VERDICT: self.verdicts}
        write_selection(
            store, REPEATS_MASK, self.rows, self.kept, columns=columns,
            provenance=self.provenance.to_dict(),
        )  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes with what is needed to tell those that stand still.

    Parameters
    ----------
    corners : ndarray of float64, shape (n, 4)
        x, y, width, height, relative to the picture.
    vectors : ndarray of float32, shape (n, dim), unit rows
    places : ndarray of object, shape (n,)
        Camera of each.
    times : ndarray of datetime64[ns], shape (n,)
        Not a time where none is known.
    pictures : ndarray of int64, shape (n,)
        Number of the picture that each is in.
    """

    corners: Doubles
    vectors: Vectors
    places: Names
    times: Times
    pictures: Rows

    def take(self, rows: Rows) -> Boxes:
        """Return some of them."""
        fields = (getattr(self, one.name)[rows] for one in dataclasses.fields(self))
        return Boxes(*fields)

    def __len__(self) -> int:
        return len(self.corners)


def find_repeats(
    view: View,
    *,
    overlap: float = OVERLAP,
    similarity: float = SIMILARITY,
    visits: int = VISITS,
    span: str | None = None,
    confirm: Sequence[str] = (),
    deny: Sequence[str] = (),
) -> Repeats:
    """Find boxes that lie in one place and hold the like again and again.

    Boxes of one camera whose places overlap are clustered by their vectors; a cluster that was seen
    at several times is a group. It is kept where what it holds is more like boxes elsewhere that do
    not repeat than like those that do: an animal that sleeps is like the animals that pass, a stone
    like other stones.

    Parameters
    ----------
    view : View
        Rows that are judged.
    overlap : float
        Least intersection over union of two boxes that are in one place, in (0, 1].
    similarity : float
        Least mean cosine similarity of the boxes of a group, in [-1, 1].
    visits : int
        Least number of times that it was seen, ≥ 2: of pictures more than a minute apart; where no
        time is known, of pictures.
    span : str, optional
        What is seen within so long is grouped, such as ``30d``; by default all of a camera.
    confirm, deny : sequence of str
        Groups of the last run that are, and are no, stones; it is known of their boxes from then
        on.

    Raises
    ------
    SelectionError
        If no row is a box, or there is no such group.

    References
    ----------
    MegaDetector, ``megadetector.postprocessing.repeat_detection_elimination``: boxes of one place
    that overlap, counted, and looked through by a person before they are dropped.
    """
    images, rows = view.images, view.rows
    boxed = _find_boxed(images, rows)
    if not len(boxed):
        msg = (
            f"none of the {len(rows):,} rows of {view.folder} is a box, and only boxes have a "
            "place in a picture; embed the file of a detector: bioprobe embed detections.json"
        )
        raise SelectionError(msg)
    boxes = _gather(view, rows[boxed])
    length = None if span is None else read_span(span)
    verdicts = _read_verdicts(view.store, rows, confirm, deny)
    found = group_boxes(boxes, overlap=overlap, similarity=similarity, visits=visits, span=length)
    said = verdicts[boxed]
    shares, enough = compare_groups(
        boxes, found, overlap=overlap, similarity=similarity, is_animal=said == DENIED
    )
    findings, tiles, n_visits = [], [], []
    for number in range(found.max(initial=-1) + 1):
        inside = np.flatnonzero(found == number)
        findings.append(_judge(said[inside], shares[number], is_compared=bool(enough[number])))
        near = boxes.vectors[inside] @ boxes.vectors[inside].sum(axis=0)
        tiles.append(int(rows[boxed[inside[np.argmax(near)]]]))
        n_visits.append(count_visits(boxes.take(inside)))
    groups = np.full(len(rows), -1, dtype=np.int64)
    groups[boxed] = found
    firsts = [int(np.flatnonzero(found == number)[0]) for number in range(len(findings))]
    options = {
        "overlap": overlap, "similarity": similarity, "visits": visits, "span": span or "",
    }  # fmt: skip
    return Repeats(
        images, rows, groups, np.array(findings, dtype=object), shares, verdicts,
        np.array(tiles, dtype=np.int64), np.array(n_visits, dtype=np.int64),
        boxes.places[firsts], view.describe(options),
    )  # fmt: skip


def _find_boxed(images: ImageTable, rows: Rows) -> Rows:
    """Return the positions of rows that are boxes."""
    import pandas as pd

    if any(name not in images.columns for name in BOX_COLUMNS):
        return np.zeros(0, dtype=np.int64)
    sides = (
        images.take(rows, BOX_COLUMNS).apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    )
    return np.flatnonzero(np.isfinite(sides).all(axis=1) & (sides[:, 2:] > 0).all(axis=1))


def _gather(view: View, rows: Rows) -> Boxes:
    frame = view.images.take(rows, ["root", "path", *BOX_COLUMNS])
    times: Times = np.full(len(rows), np.datetime64("NaT", "ns"))
    if CAPTURED_AT in view.images.columns:
        times, _ = read_clocks(view.images, rows, CAPTURED_AT)
    files = frame["root"].astype(str) + "\0" + frame["path"].astype(str)
    return Boxes(
        frame[list(BOX_COLUMNS)].astype(float).to_numpy(),
        view.read_vectors(rows),
        find_places(view.images, rows)[0],
        times,
        np.unique(files, return_inverse=True)[1],
    )


def _judge(verdicts: Names, share: float, *, is_compared: bool) -> str:
    # A group that was made anew may have boxes of several that were judged: most of them say.
    n_confirmed, n_denied = int((verdicts == CONFIRMED).sum()), int((verdicts == DENIED).sum())
    if n_confirmed or n_denied:
        return CONFIRMED if n_confirmed > n_denied else DENIED
    if not is_compared:
        return NOT_COMPARED
    return LIKE_ANIMALS if share < 0.5 else REPEAT


def _read_verdicts(
    store: EmbeddingStore, rows: Rows, confirm: Sequence[str], deny: Sequence[str]
) -> Names:
    """Return what people said of rows before, and now of the groups of the last run."""
    both = sorted(set(confirm) & set(deny))
    if both:
        msg = f"{', '.join(both)} cannot be confirmed and denied at once"
        raise SelectionError(msg)
    known = REPEATS_MASK in list_selections(store)
    asked = [*confirm, *deny]
    if not known:
        if asked:
            msg = (
                f"there are no groups to confirm or deny in {store.folder} yet, got "
                f"{', '.join(asked)}; run bioprobe filter --repeats first, and look at them"
            )
            raise SelectionError(msg)
        return np.full(len(rows), "", dtype=object)
    frame = read_selection(store, REPEATS_MASK).frame.iloc[rows]
    groups, verdicts = name_cells(frame[GROUP]), name_cells(frame[VERDICT])
    unknown = sorted(set(asked) - {*groups.tolist(), _ALL})
    if unknown:
        last = len(set(groups.tolist()) - {""})
        msg = f"no group {', '.join(unknown)} in the last run, which found g1 to g{last}"
        raise SelectionError(msg)
    for named, verdict in ((confirm, CONFIRMED), (deny, DENIED)):
        chosen = groups != "" if _ALL in named else np.isin(groups, list(named))
        verdicts[chosen] = verdict
    return verdicts


def group_boxes(
    boxes: Boxes,
    *,
    overlap: float = OVERLAP,
    similarity: float = SIMILARITY,
    visits: int = VISITS,
    span: np.timedelta64 | None = None,
) -> Rows:
    """Group boxes that lie in one place and hold the like, by average linkage of their vectors.

    Returns
    -------
    ndarray of int64, shape (n_boxes,)
        From 0; -1 for a box in no group.
    """
    groups = np.full(len(boxes), -1, dtype=np.int64)
    n_groups = 0
    for window in _iter_windows(boxes, span):
        shared = measure_overlaps(boxes.corners[window])
        first, second = np.nonzero(np.triu(shared >= overlap, 1))
        spots = find_components(first, second, len(window))
        for spot in np.unique(spots).tolist():
            inside = np.flatnonzero(spots == spot)
            if len(inside) < visits:
                continue
            rows = window[inside]
            apart = shared[np.ix_(inside, inside)] < _LOOSE * overlap
            for cluster in _cluster(boxes.vectors[rows], apart, similarity):
                if count_visits(boxes.take(rows[cluster])) >= visits:
                    groups[rows[cluster]] = n_groups
                    n_groups += 1
    return groups


def _iter_windows(boxes: Boxes, span: np.timedelta64 | None) -> Iterator[Rows]:
    """Divide boxes by camera and, where that is asked for or they are too many, by time.

    Yields
    ------
    ndarray of int64
        Boxes that are compared with each other.
    """
    _, numbers = np.unique(boxes.places.astype(str), return_inverse=True)
    order = np.lexsort((boxes.times, numbers))
    for place in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1):
        parts = [place]
        timed = ~np.isnat(boxes.times[place])
        if span is not None and timed.any():
            times = boxes.times[place[timed]]
            at = (times - times.min()) // span
            parts = [*np.split(place[timed], np.flatnonzero(np.diff(at)) + 1), place[~timed]]
        for part in parts:
            if len(part):
                yield from np.array_split(part, -(-len(part) // _AT_ONCE))


def _cluster(vectors: Vectors, apart: Mask, similarity: float) -> list[Rows]:
    if len(vectors) < 2:
        return [np.arange(len(vectors))]
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    distances = 1.0 - (vectors @ vectors.T).astype(np.float64)
    distances[apart] = 2.0
    distances = np.clip((distances + distances.T) / 2, 0, None)
    np.fill_diagonal(distances, 0)
    tree = linkage(squareform(distances, checks=False), "average")
    found = fcluster(tree, 1 - similarity + 1e-6, "distance")
    return [np.flatnonzero(found == one) for one in np.unique(found)]


def measure_overlaps(corners: Doubles) -> npt.NDArray[np.float32]:
    """Return the intersection over union of every two boxes, shape (n, n).

    Examples
    --------
    >>> boxes = np.array([[0, 0, 0.2, 0.2], [0.1, 0, 0.2, 0.2], [0.5, 0.5, 0.1, 0.1]])
    >>> [round(float(one), 2) for one in measure_overlaps(boxes)[0]]
    [1.0, 0.33, 0.0]
    """
    x, y, width, height = corners.astype(np.float32).T
    right, lower = x + width, y + height
    across = np.minimum(right[:, None], right) - np.maximum(x[:, None], x)
    down = np.minimum(lower[:, None], lower) - np.maximum(y[:, None], y)
    shared = np.clip(across, 0, None) * np.clip(down, 0, None)
    area = width * height
    return np.asarray(shared / np.maximum(area[:, None] + area - shared, 1e-12), np.float32)


def count_visits(boxes: Boxes) -> int:
    """Return how many times boxes of one camera were seen: more than a minute apart.

    Boxes without a time count by picture.
    """
    timed = ~np.isnat(boxes.times)
    times = np.sort(boxes.times[timed])
    gap = np.timedelta64(round(GAP_SECONDS), "s")
    n_timed = int((np.diff(times) > gap).sum()) + 1 if len(times) else 0
    return n_timed + len(np.unique(boxes.pictures[~timed]))


def compare_groups(
    boxes: Boxes,
    groups: Rows,
    *,
    overlap: float = OVERLAP,
    similarity: float = SIMILARITY,
    is_animal: Mask | None = None,
) -> tuple[Doubles, Mask]:
    """Compare what each group holds with the boxes of other places.

    Parameters
    ----------
    boxes : Boxes
    groups : ndarray of int64, shape (n_boxes,)
        As :func:`group_boxes` returns them.
    overlap, similarity
        As for :func:`find_repeats`.
    is_animal : ndarray of bool, shape (n_boxes,), optional
        Boxes that a person said to be no stones: they count as such that do not repeat.

    Returns
    -------
    shares : ndarray of float64, shape (n_groups,)
        Of the boxes of each, those that are more like the nearest boxes elsewhere that repeat than
        like the nearest that do not; 1 where nothing is like it.
    enough : ndarray of bool, shape (n_groups,)
        Whether any box elsewhere does not repeat, so that there is something to compare with.
    """
    n_groups = int(groups.max(initial=-1)) + 1
    repeats = groups >= 0
    if is_animal is not None:
        repeats &= ~is_animal
    sample = np.arange(len(boxes))
    if len(sample) > _SAMPLE:
        sample = np.sort(np.random.default_rng(0).choice(len(sample), _SAMPLE, replace=False))
    others, is_repeat = boxes.take(sample), repeats[sample]
    shares, enough = np.ones(n_groups), np.zeros(n_groups, dtype=bool)
    for number in range(n_groups):
        inside = np.flatnonzero(groups == number)
        elsewhere = ~_overlaps(boxes.take(inside), others, overlap)
        still, passing = elsewhere & is_repeat, elsewhere & ~is_repeat
        enough[number] = passing.any()
        to_still, to_passing = (
            _measure_nearness(boxes.vectors[inside], others.vectors[side])
            for side in (still, passing)
        )
        is_like = np.maximum(to_still, to_passing) >= _LIKE * similarity
        if is_like.any():
            shares[number] = (to_still > to_passing)[is_like].mean()
    return shares, enough


def _measure_nearness(vectors: Vectors, others: Vectors) -> Doubles:
    """Return the mean similarity of each vector to the nearest others, -1 where there are none."""
    if not len(others):
        return np.full(len(vectors), -1.0)
    near = min(_NEAR, len(others))
    alike = np.partition(vectors @ others.T, len(others) - near, axis=1)[:, -near:]
    return np.asarray(alike.mean(axis=1), dtype=np.float64)


def _overlaps(group: Boxes, others: Boxes, overlap: float) -> Mask:
    """Tell which boxes lie where one of a group lies, in pictures of the same camera."""
    found: Mask = np.asarray(others.places == group.places[0], dtype=bool)
    here = np.flatnonzero(found)
    both = np.concatenate([group.corners, others.corners[here]])
    shared = measure_overlaps(both)[: len(group), len(group) :]
    found[here] = (shared >= _LOOSE * overlap).any(axis=0)
    return found
