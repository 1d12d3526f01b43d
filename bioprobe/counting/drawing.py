"""Which labelled images are a random sample, what they were drawn with, and what speaks against it.

A sample is drawn here and kept as a mask that says so, or named by whoever drew it: a column, or
the part test of a split that was drawn at random.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np

from bioprobe.cells import name_cells
from bioprobe.errors import MisuseError, SelectionError
from bioprobe.images.image_table import read_level
from bioprobe.images.regions import REGION
from bioprobe.images.sequences import PLACE_COLUMNS, SEQUENCE_COLUMNS, find_sequences
from bioprobe.names import suggest
from bioprobe.splits.split import PARTS, list_splits, read_split
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import (
    list_masks,
    list_selections,
    read_selection,
    read_selection_provenance,
    write_selection,
)
from bioprobe.store.view import View
from bioprobe.types import Doubles, Mask, Names, Rows

#: What a mask is called that nobody named.
AUDIT = "audit"
#: Units that are no column.
IMAGE, SEQUENCE = "image", "sequence"
_DRAWN, _UNIT, _STRATUM = "drawn", "unit", "stratum"
_YES, _NO = {"true", "t", "yes", "y", "1", "1.0", "x"}, {"", "false", "f", "no", "n", "0", "0.0"}
# Splits whose part test is drawn at random, images or groups.
_AT_RANDOM = ("stratified", "grouped")
# Fewer than this share of the sequences that a draw of images would hold: whole ones were drawn.
_WHOLE = 0.8
_SHOWN = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """Images that are said to be a random sample of those of a view.

    Parameters
    ----------
    chosen : ndarray of bool, shape (n_images,)
        Which of the images of the view.
    units, strata : ndarray of object, shape (n_images,)
        What each was drawn with and within, ``""`` where alone and where there are no strata.
    strata_of_weights : ndarray of object, shape (n_images,)
        Within what chances were alike, where that is not ``strata``.
    source : str
        What says it, for people.
    unit : str
        What was drawn, for people.
    against : tuple of str
        What speaks against it.
    covered : ndarray of bool, shape (n_images,), optional
        Images that it was drawn from, where that is known.
    """

    chosen: Mask
    units: Names
    strata: Names
    strata_of_weights: Names
    source: str
    unit: str = IMAGE
    against: tuple[str, ...] = ()
    covered: Mask | None = None

    def find_faults(self, counted: Mask) -> tuple[str, ...]:
        """Return what speaks against it, as a sample of the images that are estimated."""
        n_outside = 0 if self.covered is None else int((counted & ~self.covered).sum())
        if not n_outside:
            return self.against
        return (
            *self.against,
            f"{n_outside:,} of the {int(counted.sum()):,} images asked are not among those that "
            "it was drawn from",
        )

    def weigh(self, counted: Mask, labelled: Mask) -> tuple[Doubles, tuple[str, ...]]:
        """Return how many images each labelled one stands for, and what nobody stands for.

        Parameters
        ----------
        counted, labelled : ndarray of bool, shape (n_images,)
            Images that are estimated, and those of them that were drawn and have a label.
        """
        import pandas as pd

        numbers, names = pd.factorize(self.strata_of_weights)
        of_all, of_labelled = (
            np.bincount(numbers[mask], minlength=len(names)) for mask in (counted, labelled)
        )
        weights = (of_all / np.maximum(of_labelled, 1))[numbers]
        are_lost = (of_all > 0) & (of_labelled == 0)
        if np.count_nonzero(of_all) > 1:
            # What no stratum is known of is represented by the others.
            are_lost &= names != ""
        lost = sorted(names[are_lost].tolist())
        if not lost:
            return weights, ()
        n_lost = int(of_all[are_lost].sum())
        named = ", ".join(lost[:_SHOWN]) or "all"
        return weights, (
            f"{n_lost:,} images are of strata of which none is labelled ({named}): label some",
        )


def read_drawn(
    view: View, named: str, level: str, *, unit: str | None = None, strata: Names | None = None
) -> Drawn:
    """Read which images a mask, a column or a part of a split says were drawn at random.

    Parameters
    ----------
    view : View
        Images that are asked.
    named : str
        Name of a mask, or of a column of the image table; or ``SPLIT:test``.
    level : str
        Rank or column of the labels.
    unit : str, optional
        ``image``, ``sequence``, or a column whose equal values were drawn together. By default
        what the mask or split says; else images, or sequences or places where these are drawn
        whole.
    strata : ndarray of object, shape (n_images,), optional
        Values within which images were drawn, each with a chance of its own.

    Raises
    ------
    MisuseError
        If there is no such mask, column or split.
    SelectionError
        If it names none of the images.
    """
    store = view.store
    split, colon, part = (one.strip() for one in named.partition(":"))
    if colon and split in list_splits(store):
        found = _read_part(view, split, part, level)
    elif named in list_selections(store):
        found = _read_mask(view, named)
    else:
        found = _read_column(view, named)
    if not found.chosen.any():
        msg = f"{found.source} names none of the {len(view):,} images that are asked"
        raise SelectionError(msg)
    return _divide(found, view, unit, strata)


def name_sample(
    view: View, chosen: Mask, source: str, *, unit: str | None = None, strata: Names | None = None
) -> Drawn:
    """Return some images of a view as the sample that somebody says they are.

    Where they are of a mask that was drawn, units and strata are those of the mask, unless said.

    Parameters
    ----------
    view : View
        Images that are asked.
    chosen : ndarray of bool, shape (n_images,)
        Those that were drawn.
    source : str
        What says so, for people.
    unit, strata
        As for :func:`read_drawn`.

    Raises
    ------
    SelectionError
        If none of them is asked.
    """
    if not chosen.any():
        msg = f"{source} names none of the {len(view):,} images that are asked"
        raise SelectionError(msg)
    nothing = np.full(len(view), "", dtype=object)
    found = Drawn(chosen, nothing, nothing, nothing, source)
    for name in list_selections(view.store):
        if is_drawn(view.store, name):
            mask = _read_mask(view, name)
            if mask.chosen[chosen].all():
                found = dataclasses.replace(mask, source=f"{source} (drawn as {name})")
    return _divide(found, view, unit, strata)


def _divide(found: Drawn, view: View, unit: str | None, strata: Names | None) -> Drawn:
    """Set the units and strata that were named, or the units that images seem to come in."""
    if strata is not None:
        found = dataclasses.replace(found, strata=strata, strata_of_weights=strata)
    if unit is not None:
        units = find_units(view, unit)
        return dataclasses.replace(found, units=units, unit=unit)
    if found.units.astype(bool).any():
        return found
    guess = _guess_unit(view, found.chosen)
    if guess:
        return dataclasses.replace(found, units=find_units(view, guess), unit=guess)
    return found


def find_units(view: View, unit: str) -> Names:
    """Return the unit of each image of a view, ``""`` for one alone.

    Parameters
    ----------
    view : View
        Images.
    unit : str
        ``image`` (of regions, the picture that they are of), ``sequence`` or a column.
    """
    if unit == IMAGE:
        if not _has_regions(view):
            return np.full(len(view), "", dtype=object)
        return view.images.name_files(view.rows)
    if unit == SEQUENCE:
        try:
            return find_sequences(view.images, view.rows).names
        except SelectionError as error:
            msg = (
                f"nothing says which images are one sequence: there is no column "
                f"{', '.join(SEQUENCE_COLUMNS)} and no captured_at; name a column of them with "
                "--unit COLUMN"
            )
            raise SelectionError(msg) from error
    return view.labels(read_level(unit, view.images))


def _guess_unit(view: View, chosen: Mask) -> str:
    """Return a column of sequences or places of which whole ones are chosen, ``""`` if none.

    A random draw of images holds some of most sequences; far fewer sequences than that say that
    whole ones were drawn.
    """
    n, n_chosen = len(view), int(chosen.sum())
    columns = {str(name).casefold(): str(name) for name in view.images.free_columns}
    for wanted in ("site", "station", *reversed(PLACE_COLUMNS), *SEQUENCE_COLUMNS):
        column = columns.get(wanted)
        if column is None:
            continue
        names = view.labels(read_level(column, view.images))
        sizes = Counter(names[names != ""].tolist())
        if len(sizes) < 2:
            continue
        held = len(set(names[chosen & (names != "")].tolist()))
        expected = sum(1 - (1 - n_chosen / n) ** size for size in sizes.values())
        if n_chosen < n and held < _WHOLE * min(expected, n_chosen):
            return column
    return IMAGE if _has_regions(view) else ""


def _has_regions(view: View) -> bool:
    images = view.images
    return images.has_regions and bool((images.read_texts(view.rows, [REGION])[REGION] != "").any())


def _read_mask(view: View, name: str) -> Drawn:
    selection = read_selection(view.store, name)
    chosen, judged = selection.kept[view.rows], selection.judged[view.rows]
    said = selection.provenance.get(_DRAWN)
    nothing = np.full(len(view), "", dtype=object)
    if not isinstance(said, dict):
        against = (f"the mask {name} was made by a rule, and not drawn at random",)
        return Drawn(chosen, nothing, nothing, nothing, f"the mask {name}", against=against)
    frame = selection.frame.iloc[view.rows]
    strata = name_cells(frame[_STRATUM])
    return Drawn(
        chosen, name_cells(frame[_UNIT]), strata, strata, f"the mask {name}", str(said["unit"]),
        covered=judged,
    )  # fmt: skip


def _read_column(view: View, name: str) -> Drawn:
    images = view.images
    known = {str(one) for one in images.free_columns}
    if name not in known:
        splits = (f"{one}:test" for one in list_splits(view.store))
        names = [*list_masks(view.store), *splits, *sorted(known)]
        msg = (
            f"--labelled names a mask, a column or SPLIT:test, or a table of labels; there is no "
            f"{name!r}{suggest(name, names)}. Draw a sample to label: bioprobe estimate --draw "
            f"200 --labelled {AUDIT}"
        )
        raise MisuseError(msg)
    values = view.labels(read_level(name, images))
    folded = np.array([str(one).strip().casefold() for one in values], dtype=object)
    strange = sorted(set(folded.tolist()) - _YES - _NO)
    if strange:
        listed = ", ".join(map(repr, strange[:_SHOWN]))
        msg = (
            f"the column {name} says yes where an image was drawn (true, yes, 1 or x) and no or "
            f"nothing elsewhere; it has {listed}"
        )
        raise MisuseError(msg)
    chosen = np.isin(folded, list(_YES))
    nothing = np.full(len(view), "", dtype=object)
    return Drawn(chosen, nothing, nothing, nothing, f"the column {name}")


def _read_part(view: View, name: str, part: str, level: str) -> Drawn:
    """Read a part of a split, which was drawn from labelled images by their labels."""
    split = read_split(view.store, name)
    if part not in PARTS:
        msg = f"a part of a split is NAME:PART, such as {name}:test; got {name}:{part}"
        raise MisuseError(msg)
    parts = split.parts[view.rows]
    method = str(split.provenance.get("method", ""))
    against = []
    if method not in _AT_RANDOM:
        against.append(
            f"the split {name} was made by {method}, which is no random draw (only "
            f"{' and '.join(_AT_RANDOM)} are)"
        )
    # Each label has a chance of its own of being in a part, however rare it is.
    labels = view.labels(read_level(str(split.provenance.get("rank", level)), view.images))
    strata = np.where(parts != "", labels, "").astype(object)
    nothing = np.full(len(view), "", dtype=object)
    groups = split.groups[view.rows]
    unit = ", ".join(split.provenance.get("group_columns", ())) or IMAGE
    return Drawn(
        parts == part, groups, nothing, strata, f"the part {part} of the split {name}", unit,
        tuple(against), covered=parts != "",
    )  # fmt: skip


def draw_images(
    view: View,
    n: int,
    *,
    name: str = AUDIT,
    left_out: Mask | None = None,
    unit: str | None = None,
    strata: Names | None = None,
    seed: int = 0,
) -> Rows:
    """Draw images at random to be labelled, and keep a mask of them that says how.

    Parameters
    ----------
    view : View
        Images that are asked.
    n : int
        Images to draw; of units, as many as hold so many.
    name : str
        Of the mask.
    left_out : ndarray of bool, shape (n_images,), optional
        Images that are not drawn, such as those that a classifier learnt from.
    unit : str, optional
        ``image``, ``sequence``, or a column whose equal values are drawn together.
    strata : ndarray of object, shape (n_images,), optional
        Values of which each has the same number of units drawn, as far as it has them.
    seed : int
        Of the draw.

    Returns
    -------
    ndarray of int64, shape (n_drawn,)
        Rows of the store, in random order.

    Raises
    ------
    SelectionError
        If there are no images to draw from.
    """
    open_ = np.ones(len(view), dtype=bool) if left_out is None else ~left_out
    # A draw is by what images are, and not by where they stand in the store.
    order = view.images.order(view.rows)
    order = order[open_[order]]
    if not len(order):
        msg = "the classifier learnt from all images asked: none is left to be drawn"
        raise SelectionError(msg)
    unit = unit or IMAGE
    units = find_units(view, unit)
    strata_of = np.full(len(view), "", dtype=object) if strata is None else strata
    random = np.random.default_rng(seed)
    members: dict[tuple[str, str], list[int]] = {}
    for at in order.tolist():
        own = units[at] or f"\0{at}"
        members.setdefault((strata_of[at], own), []).append(at)
    queues: dict[str, list[list[int]]] = {}
    keys = list(members)
    for place in random.permutation(len(keys)).tolist():
        queues.setdefault(keys[place][0], []).append(members[keys[place]])
    drawn: list[int] = []
    while len(drawn) < n and queues:
        for stratum in sorted(queues):
            if len(drawn) < n:
                drawn += queues[stratum].pop()
            if not queues[stratum]:
                del queues[stratum]
    chosen = np.zeros(len(view), dtype=bool)
    chosen[drawn] = True
    said: dict[str, Any] = {"n": n, "unit": unit, "strata": strata is not None, "seed": seed}
    provenance = view.describe({_DRAWN: said}, n_rows=len(order)).to_dict()
    write_selection(
        view.store, name, view.rows[order], chosen[order],
        columns={_UNIT: units[order], _STRATUM: strata_of[order]},
        provenance={**provenance, _DRAWN: said},
    )  # fmt: skip
    return view.rows[np.array(drawn, dtype=np.int64)]


def is_drawn(store: EmbeddingStore, name: str) -> bool:
    """Tell whether a mask of a store was drawn at random, by :func:`draw_images`."""
    return isinstance(read_selection_provenance(store, name).get(_DRAWN), dict)
