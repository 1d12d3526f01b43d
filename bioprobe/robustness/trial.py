"""Alter a sample of pictures, embed the copies, and ask them what the pictures are asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.encoders.encoder import Encoder, encode_in_batches
from bioprobe.errors import ImageReadError, ProbeError, SelectionError, SourceError
from bioprobe.images import ImageTable
from bioprobe.images.location import ImageLocation
from bioprobe.images.reading import decode_region, ignore_pillow_warnings
from bioprobe.intervals import measure_share
from bioprobe.progress import Progress, Step
from bioprobe.provenance import Provenance
from bioprobe.result import Notes, Result
from bioprobe.robustness.alterations import SIDE_PX, Alteration, make_workable
from bioprobe.splits.groups import find_groups, join_groups
from bioprobe.store.view import View
from bioprobe.task.predictions import Predictions
from bioprobe.types import Doubles, Mask, Names, Rows, Vectors

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

# Pictures that are decoded, altered and encoded together: 16 with 40 copies each are 100 MB.
_AT_ONCE = 16


@dataclasses.dataclass(frozen=True, eq=False)
class AlteredView(View):
    """A view whose vectors are those of altered copies of its pictures.

    Parameters
    ----------
    altered : ndarray of float32, shape (n_images, dim), unit rows
        Of the rows of the view, in their order.
    """

    altered: Vectors | None = None

    def read_vectors(self, rows: Rows | None = None) -> Vectors:
        """Read the vectors of the copies of this view, or of some of its rows."""
        assert self.altered is not None
        if self.reads:
            msg = (
                f"what asks for {self.reads} cannot be asked of altered pictures, of which there "
                "are vectors alone; ask zero-shot, or a probe of vectors"
            )
            raise ProbeError(msg)
        if rows is None:
            return self._join(self.altered, self.rows)
        order = np.argsort(self.rows)
        places = order[np.searchsorted(self.rows, rows, sorter=order)]
        return self._join(self.altered[places], rows)

    def _join(self, vectors: Vectors, rows: Rows) -> Vectors:
        if self.block is None:
            return vectors
        return np.concatenate([vectors, self.block.encode(self.images, rows)], axis=1)


@dataclasses.dataclass(frozen=True, eq=False)
class Answered:
    """What a view was answered.

    Parameters
    ----------
    answers : ndarray of str, shape (n_images,)
        Best answer to each picture.
    is_right : ndarray of float64, shape (n_images,)
        1 and 0 of what has a label among the classes and taught nothing, else NaN.
    """

    answers: Names
    is_right: Doubles


def read_answers(found: Result) -> Answered:
    """Return the best answers of predictions, one an image, and which of them are right."""
    # One answer an image is asked for, and no abstention or pooling.
    assert isinstance(found, Predictions)
    judged = found.truth != ""
    if found.taught is not None:
        judged &= ~found.taught
    truth = found.truth_classes
    is_right = ((found.answers[:, 0] == truth) & (truth >= 0)).astype(np.float64)
    return Answered(found.best_names, np.where(judged, is_right, np.nan))


@dataclasses.dataclass(frozen=True, eq=False)
class Altered:
    """What one alteration at one strength did.

    Parameters
    ----------
    alteration : Alteration
    strength : float
    cosines : ndarray of float64, shape (n_images,)
        Of the copy's vector to that of the picture.
    changed : ndarray of bool, shape (n_images,), or None
        Whether the best answer is another; None where nothing was asked.
    is_right : ndarray of float64, shape (n_images,), or None
        As in :class:`Answered`.
    """

    alteration: Alteration
    strength: float
    cosines: Doubles
    changed: Mask | None = None
    is_right: Doubles | None = None

    @property
    def named(self) -> str:
        """The strength as a person reads it."""
        return self.alteration.name_strength(self.strength)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Robustness(Result):
    """How vectors and answers move when pictures are altered.

    Parameters
    ----------
    images : ImageTable
        Image table of the whole store.
    rows : ndarray of int64, shape (n_images,)
        Rows that were altered.
    asked : str
        What the answers are of, such as ``zero-shot at family``; ``""`` where nothing was asked.
    unaltered : Answered or None
        Answers to the pictures as they are.
    altered : tuple of Altered
        One for each alteration and strength.
    groups : ndarray of object, shape (n_images,)
        Which of them are no independent pictures: copies, and those of one value of the columns
        that were named; ``""`` of one on its own.
    n_unread : int
        Pictures of the sample that could not be read.
    provenance : Provenance
        What the result was computed from.
    notes : tuple of Note
        What is to be said of it.
    """

    images: ImageTable
    rows: Rows
    asked: str
    unaltered: Answered | None
    altered: tuple[Altered, ...]
    groups: Names
    n_unread: int
    provenance: Provenance
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row an alteration and strength: cosine, flip rate and accuracy.

        Both have 95% intervals, by group, the flip rate over all pictures, the accuracy over those
        with a label that taught nothing.
        """
        import pandas as pd

        return pd.DataFrame([self._summarise(one) for one in self.altered])

    def _summarise(self, one: Altered) -> dict[str, Any]:
        found: dict[str, Any] = {
            "alteration": one.alteration.name, "strength": one.named,
            "strength_is": one.alteration.what, "n_images": len(self.rows),
            "cosine": round(float(one.cosines.mean()), 4),
            "cosine_p10": round(float(np.quantile(one.cosines, 0.1)), 4),
        }  # fmt: skip
        if one.changed is None or one.is_right is None or self.unaltered is None:
            return found
        known = ~np.isnan(one.is_right)
        found |= self._measure("flip_rate", one.changed, np.ones_like(known))
        found["n_labelled"] = int(known.sum())
        found |= self._measure("accuracy", one.is_right, known)
        before = self.unaltered.is_right[known]
        found["accuracy_unaltered"] = round(float(before.mean()), 4) if known.any() else np.nan
        return found

    def _measure(self, name: str, values: Doubles | Mask, of: Mask) -> dict[str, float]:
        """Return a share of some of the pictures with its interval, rounded."""
        found = measure_share(values[of], self.groups[of], seed=self.provenance.options["seed"])
        ends = {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}
        return {one: round(end, 4) for one, end in ends.items()}

    @property
    def touched(self) -> Doubles:
        """Mean cosine of each picture to its copies: what is low is touched most."""
        return np.asarray(np.mean([one.cosines for one in self.altered], axis=0))

    def find_most_touched(self, k: int = 12) -> pd.DataFrame:
        """Return the pictures that move most: file name, cosine, changed answers, by what most."""
        import pandas as pd

        order = np.argsort(self.touched, kind="stable")[:k]
        cosines = np.stack([one.cosines for one in self.altered])
        worst = cosines.argmin(axis=0)
        changed = [one.changed for one in self.altered if one.changed is not None]
        n_changed = np.sum(changed, axis=0) if changed else np.zeros(len(self.rows), dtype=int)
        said = [f"{self.altered[at].alteration.name} {self.altered[at].named}" for at in worst]
        return pd.DataFrame(
            {
                **{
                    name: values[order] for name, values in self.images.name_rows(self.rows).items()
                },
                "cosine": self.touched[order].round(4),
                "n_changed": n_changed[order],
                "n_copies": len(self.altered),
                "most_by": np.array(said, dtype=object)[order],
                "row": self.rows[order],
            }
        )


def _sample_rows(view: View, n: int | None, seed: int) -> Rows:
    """Return some rows of a view, the same for the same pictures and seed whatever their order."""
    rows = view.rows
    if n is None or n >= len(rows):
        return rows
    order = view.images.order(rows)
    chosen = np.random.default_rng(seed).choice(len(order), n, replace=False)
    return np.sort(rows[order[chosen]])


def try_alterations(
    view: View,
    encoder: Encoder,
    alterations: Sequence[Alteration],
    ask: Callable[[View], Answered] | None,
    *,
    asked: str = "",
    sample: int | None = 100,
    seed: int = 0,
    group: Sequence[str] = (),
    progress: Progress | None = None,
) -> Robustness:
    """Alter a sample of pictures, and tell how their vectors and answers change.

    Parameters
    ----------
    view : View
        Pictures that the sample is drawn of; they are read and decoded again.
    encoder : Encoder
        That of the store.
    alterations : sequence of Alteration
    ask : callable, optional
        Answers a view; by default only vectors are compared.
    asked : str
        What that asks, for people.
    sample : int or None
        Pictures at most; None takes all.
    seed : int
        Of the sample, and of what is random in an alteration.
    group : sequence of str
        Columns whose equal values make pictures count together in intervals.
    progress : callable, optional
        Told a step after each few pictures.

    Raises
    ------
    SelectionError
        If no picture of the sample can be read.
    """
    view.store.check_encoder(encoder.fingerprint)
    find_groups(view.store, view.rows[:0], group)
    rows = _sample_rows(view, sample, seed)
    trials = [(one, strength) for one in alterations for strength in one.strengths]
    kept: list[int] = []
    vectors: list[Vectors] = []
    for done, (row, pictures) in enumerate(_iter_copies(view, rows, encoder, trials, seed), 1):
        if pictures is not None:
            kept.append(row)
            vectors.append(encode_in_batches(encoder, pictures))
        if progress is not None:
            progress(Step(done, len(rows), "pictures altered", done - len(kept)))
    if not kept:
        msg = (
            f"none of the {len(rows):,} pictures of the sample can be read: their files are not "
            "where they were embedded from, or the vectors were imported"
        )
        raise SelectionError(msg)
    read = np.array(kept, dtype=np.int64)
    whole = np.stack(vectors)
    unaltered, before = whole[:, 0], None
    if ask is not None:
        before = ask(_alter_view(view, read, unaltered))
    found = []
    for at, (alteration, strength) in enumerate(trials, start=1):
        cosines = np.einsum("ij,ij->i", unaltered, whole[:, at]).astype(np.float64)
        changed = is_right = None
        if ask is not None and before is not None:
            after = ask(_alter_view(view, read, whole[:, at]))
            changed, is_right = after.answers != before.answers, after.is_right
        found.append(Altered(alteration, strength, cosines, changed, is_right))
    same = np.einsum("ij,ij->i", unaltered, view.store.read_vectors(read))
    provenance = view.describe(
        {
            "alterations": {one.name: list(one.strengths) for one in alterations},
            "asked": asked, "sample": sample, "seed": seed, "group": list(group),
            "side_px": SIDE_PX,
            "cosine_to_stored": round(float(same.mean()), 4),
        },
        n_rows=len(read),
    )  # fmt: skip
    groups = join_groups(list(find_groups(view.store, read, group).values()), len(read))
    return Robustness(
        view.images, read, asked, before, tuple(found), groups, len(rows) - len(read), provenance
    )


def _alter_view(view: View, rows: Rows, vectors: Vectors) -> AlteredView:
    return AlteredView(
        view.store, rows, condition=view.condition, mask=view.mask, origin=view.origin,
        altered=np.ascontiguousarray(vectors),
    )  # fmt: skip


def read_workable(place: ImageLocation, draft_side_px: int) -> Image | None:
    """Decode a picture, or a box in it, as it is altered; None where it cannot be read."""
    try:
        with ignore_pillow_warnings():
            data = place.read_bytes()
            image = decode_region(data, place.region, draft_side_px=draft_side_px)
    except (ImageReadError, SourceError, OSError, ValueError):
        return None
    return make_workable(image)


def _iter_copies(
    view: View,
    rows: Rows,
    encoder: Encoder,
    trials: Sequence[tuple[Alteration, float]],
    seed: int,
) -> Iterator[tuple[int, npt.NDArray[np.float32] | None]]:
    """Decode, alter and preprocess pictures in threads.

    Yields
    ------
    row : int
    pixels : ndarray of float32, shape (1 + n_trials, 3, height_px, width_px), or None
        Of the picture and of its copies; None where it cannot be read.
    """
    # No smaller than the encoder would have it, and not much larger.
    draft_px = max(encoder.draft_side_px, 2 * SIDE_PX) if encoder.draft_side_px else 0
    contents = view.images.contents

    def make(row: int) -> npt.NDArray[np.float32] | None:
        image = read_workable(view.images.locate(row), draft_px)
        if image is None:
            return None
        content = str(contents[row]) or view.images.name_row(row)
        copies = [
            one.apply(image, strength, seed=seed, content=content) for one, strength in trials
        ]
        return np.stack([encoder.preprocess(one) for one in (image, *copies)])

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE].tolist()
            yield from zip(part, pool.map(make, part), strict=True)
