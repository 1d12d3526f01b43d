"""Make a split of a store's images, or folds: each image held out once."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.images.image_table import read_level
from bioprobe.images.times import read_span, read_times
from bioprobe.splits.groups import (
    NEAR_DUPLICATES,
    count_groups,
    find_groups,
    find_wanted,
    join_groups,
    number_groups,
    number_labels,
    number_texts,
    place_groups,
    read_column,
    share_out,
)
from bioprobe.splits.split import PARTS, Split, hash_split
from bioprobe.splits.times import assign_by_time
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.taxonomy import Rank


def assign_folds(
    labels: npt.NDArray[Any],
    n_folds: int,
    seed: int = 0,
    groups: npt.NDArray[Any] | None = None,
) -> npt.NDArray[np.int64]:
    """Assign images to folds, stratified by label, groups kept together.

    A class of one group cannot be learnt without it: its fold is -1, it always trains. Any other
    class is in two folds at least, or has such a group too: what is held out was seen elsewhere.

    Parameters
    ----------
    labels : ndarray, shape (n_images,)
        Anything that ``numpy.unique`` can sort.
    n_folds : int
        At least 2.
    seed : int
        Of the random order.
    groups : ndarray, shape (n_images,), optional
        Group of each image; ``""`` is an image on its own. By default all are.

    Returns
    -------
    ndarray of int64, shape (n_images,)
        Fold in which each image is held out, -1 for one that always trains.

    Raises
    ------
    SelectionError
        If there are fewer than two folds, or labels and groups do not fit each other.

    See Also
    --------
    sklearn.model_selection.StratifiedGroupKFold : The same aim, without the promise.

    Examples
    --------
    >>> labels = np.array(["cat", "cat", "dog", "dog", "emu"])
    >>> assign_folds(labels, 2).tolist()
    [0, 1, 0, 1, -1]
    """
    if n_folds < 2:
        msg = f"cross-validation takes 2 folds or more, got {n_folds}"
        raise SelectionError(msg)
    _, classes = number_labels(np.asarray(labels))
    numbers = number_groups(groups, len(classes))
    if len(numbers) != len(classes):
        msg = f"{len(classes)} labels were given, got {len(numbers)} groups"
        raise SelectionError(msg)
    n_groups, n_images = count_groups(classes, numbers), np.bincount(classes)
    everywhere = np.ones((len(n_images), n_folds), dtype=bool)
    quotas = share_out(n_images, np.full(n_folds, 1 / n_folds), everywhere, least=0)
    # The fullest folds are the ones that a class must not miss.
    ranking = np.argsort(np.argsort(-quotas, axis=1, kind="stable"), axis=1)
    wanted = everywhere & (ranking < np.minimum(n_groups, n_folds)[:, np.newaxis])
    folds = place_groups(classes, numbers, quotas, wanted, seed)
    # The other classes of such a group go with it, for a group is not divided.
    folds[np.isin(numbers, numbers[n_groups[classes] == 1])] = -1
    return folds


# A class that cannot be in every part is learnt first, then judged; choosing can wait.
_PRIORITY = ("train", "test", "validation")


@dataclasses.dataclass(frozen=True)
class SmallClass:
    """A class with too few groups of images to be in every part.

    Parameters
    ----------
    name : str
        Its label.
    n_images, n_groups : int
        What there is of it.
    parts : tuple of str
        Parts that it is in by the rule: of one group train, of two groups train and test.
    """

    name: str
    n_images: int
    n_groups: int
    parts: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping."""
        return {**dataclasses.asdict(self), "parts": list(self.parts)}


def _check_fractions(fractions: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return the fractions of the three parts."""
    shares = np.asarray(fractions, dtype=np.float64)
    fits = shares.shape == (len(PARTS),) and (shares >= 0).all() and shares[0] > 0
    if not fits or abs(shares.sum() - 1) > 1e-6:
        got = ",".join(f"{share:g}" for share in shares)
        msg = f"fractions of {', '.join(PARTS)} add up to 1, as 0.8,0.1,0.1 do; got {got}"
        raise SelectionError(msg)
    return np.asarray(shares / shares.sum())


def assign_parts(
    labels: npt.NDArray[Any],
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    groups: npt.NDArray[Any] | None = None,
) -> tuple[npt.NDArray[np.object_], tuple[SmallClass, ...]]:
    """Assign images to train, validation and test, stratified by label, groups kept together.

    Each class has the fractions of its images as nearly as its groups allow, and at least one
    group in each part. A class of one group is in train only, one of two groups in train and
    test.

    Parameters
    ----------
    labels : ndarray of str, shape (n_images,)
        Label of each image, none empty.
    fractions : sequence of float
        Of train, validation and test; a part of 0 stays empty.
    seed : int
        Of the random order.
    groups : ndarray, shape (n_images,), optional
        Group of each image; ``""`` is an image on its own. By default all are. With species for
        groups and families for labels, no species is in two parts.

    Returns
    -------
    parts : ndarray of object, shape (n_images,)
    small : tuple of SmallClass
        Classes that are not in every part.

    Raises
    ------
    SelectionError
        If the fractions cannot be used.

    Examples
    --------
    >>> parts, small = assign_parts(np.array(["ant"] * 10 + ["bee"] * 2), (0.8, 0.1, 0.1))
    >>> [(parts[:10] == part).sum().item() for part in ("train", "validation", "test")]
    [8, 1, 1]
    >>> sorted(parts[10:].tolist()), small[0].name
    (['test', 'train'], 'bee')
    """
    shares = _check_fractions(fractions)
    names, classes = number_texts(labels)
    numbers = number_groups(groups, len(classes))
    n_groups, n_images = count_groups(classes, numbers), np.bincount(classes)
    priority = [PARTS.index(part) for part in _PRIORITY if shares[PARTS.index(part)] > 0]
    wanted = find_wanted(n_groups, priority, len(PARTS))
    quotas = share_out(n_images, shares, wanted)
    placed = place_groups(classes, numbers, quotas, wanted, seed)
    small = tuple(
        SmallClass(
            str(names[c]),
            int(n_images[c]),
            int(n_groups[c]),
            tuple(PARTS[part] for part in np.flatnonzero(wanted[c])),
        )
        for c in np.flatnonzero(n_groups < len(priority))
    )
    return np.array(PARTS, dtype=object)[placed], small


# As data sets write them; case does not matter.
USUAL_NAMES = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


def import_parts(
    values: npt.NDArray[np.object_], names: Mapping[str, str] | None = None
) -> tuple[npt.NDArray[np.object_], dict[str, int]]:
    """Read the part of each image from what a column says.

    Parameters
    ----------
    values : ndarray of object, shape (n_images,)
        Text of the column, ``""`` where it says nothing.
    names : mapping of str to str, optional
        From a value of the column to its part. By default the usual names, in any case: train,
        training; val, valid, validation, dev; test, testing.

    Returns
    -------
    parts : ndarray of object, shape (n_images,)
        ``""`` where the value is no part.
    unknown : dict of str to int
        Values that are no part, with the number of their images.

    Raises
    ------
    SelectionError
        If no image is in train, or a name is not that of a part.

    Examples
    --------
    >>> import_parts(np.array(["Train", "dev", "test", "extra"], dtype=object))
    (array(['train', 'validation', 'test', ''], dtype=object), {'extra': 1})
    """
    strange = sorted(set(names.values()) - set(PARTS)) if names else []
    if strange:
        msg = f"the parts of a split are {', '.join(PARTS)}; got {', '.join(strange)}"
        raise SelectionError(msg)
    if names is None:
        found = [USUAL_NAMES.get(value.strip().lower(), "") for value in values]
    else:
        found = [names.get(value, "") for value in values]
    parts = np.array(found, dtype=object)
    unknown = Counter(values[(parts == "") & (values != "")].tolist())
    if "train" not in found:
        listed = ", ".join(f"{value} ({n})" for value, n in unknown.most_common(10)) or "nothing"
        msg = (
            f"no image is in train; besides parts, the column says: {listed}. Say which value is "
            "which part: --parts train=VALUE,test=VALUE"
        )
        raise SelectionError(msg)
    return parts, dict(unknown.most_common())


@dataclasses.dataclass(frozen=True)
class Leak:
    """Groups of one kind that have images in more than one part.

    Parameters
    ----------
    kind : str
        ``same bytes``, ``near duplicates``, a column, or ``species``.
    n_groups : int
        Groups with images in more than one part.
    n_images : int
        Images of these groups.
    n_test : int
        Images of these groups in the test part: those whose score may be too good.
    """

    kind: str
    n_groups: int
    n_images: int
    n_test: int


def find_leaks(
    parts: npt.NDArray[np.object_], kinds: Mapping[str, npt.NDArray[np.object_]]
) -> tuple[Leak, ...]:
    """Count the groups of each kind that are in more than one part.

    Parameters
    ----------
    parts : ndarray of object, shape (n_images,)
        Part of each image, ``""`` for none.
    kinds : mapping of str to ndarray of object, shape (n_images,)
        Groups by kind, ``""`` where an image is in none.

    Returns
    -------
    tuple of Leak
        One for each kind, also where nothing leaks.

    Examples
    --------
    >>> parts = np.array(["train", "test", "test", "train"], dtype=object)
    >>> find_leaks(parts, {"burst": np.array(["a", "a", "b", ""], dtype=object)})
    (Leak(kind='burst', n_groups=1, n_images=2, n_test=1),)
    """
    return tuple(_find_leak(kind, parts, groups) for kind, groups in kinds.items())


def _find_leak(kind: str, parts: npt.NDArray[np.object_], groups: npt.NDArray[np.object_]) -> Leak:
    import pandas as pd

    inside = (parts != "") & (groups != "")
    here = parts[inside]
    numbers = pd.factorize(groups[inside])[0]
    seen = np.zeros((int(numbers.max(initial=-1)) + 1, len(PARTS)), dtype=bool)
    for place, part in enumerate(PARTS):
        seen[numbers[here == part], place] = True
    leaking = seen.sum(axis=1) > 1
    of_leak = leaking[numbers]
    return Leak(
        kind, int(leaking.sum()), int(of_leak.sum()), int((of_leak & (here == "test")).sum())
    )


METHODS = ("stratified", "grouped", "species-disjoint", "chronological", "imported", "kfold")
_OF_COLUMN = ("imported", "chronological")


@dataclasses.dataclass(frozen=True)
class _Labelled:
    """The images that are to be split, sorted by content."""

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.object_]
    kinds: Mapping[str, npt.NDArray[np.object_]]
    groups: npt.NDArray[np.object_]


def make_split(
    asked: EmbeddingStore | View,
    level: str,
    *,
    name: str = "default",
    method: str = "stratified",
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    group_columns: Sequence[str] = (),
    column: str | None = None,
    part_names: Mapping[str, str] | None = None,
    by: str | None = None,
    gap: str | None = None,
    n_folds: int = 5,
    seed: int = 0,
) -> Split:
    """Split the labelled images of a store into train, validation and test, and train into folds.

    Whatever the method, copies of an image stay together: files of the same bytes, and the near
    duplicates that the store knows of; an imported split is taken as it is, and what leaks is
    counted.

    Parameters
    ----------
    asked : EmbeddingStore or View
        Whose current rows are split. What is not labelled there is in no part.
    level : str
        Rank or column of the labels that the parts are alike in.
    name : str
        Of the split.
    method : str
        ``stratified``; ``grouped``, by ``group_columns``; ``species-disjoint``: whole species of
        each class; ``imported`` from a ``column``; ``chronological`` by the dates of a ``column``;
        ``kfold``: all images train, in folds.
    fractions : sequence of float
        Of train, validation and test.
    group_columns : sequence of str
        Images of equal values stay together.
    column : str, optional
        Column that an imported split is read from, or that says when images were taken.
    part_names : mapping of str to str, optional
        From its values to parts; by default the usual names.
    by : str, optional
        Column of the sites of which each is divided by its own times.
    gap : str, optional
        Time between parts, such as ``7d``; what lies in it is in none.
    n_folds : int
        Folds of the training images, at least 2.
    seed : int
        Of the random order.

    Returns
    -------
    Split
        Not yet kept: see :func:`bioprobe.splits.write_split`.

    Raises
    ------
    SelectionError
        If no image is labelled, or an option does not fit the method.
    """
    view = View.of(asked)
    store = view.store
    level = read_level(level, store.images)
    _check_method(method, level, group_columns, column)
    if part_names is not None and method != "imported":
        msg = f"--parts name the values of a --column, for --method imported; got {method}"
        raise SelectionError(msg)
    images = _find_labelled(view, level, group_columns)
    together = images.groups
    if method == "species-disjoint":
        # A family of one species could not be held out if folds kept species whole too.
        images, together = _join_species(store, images)
    said: dict[str, Any] = {"method": method, "rank": level, "seed": seed}
    said |= {"n_folds": n_folds, "group_columns": list(group_columns)}
    small: tuple[SmallClass, ...] = ()
    if method == "chronological":
        found, told = _divide_by_time(store, images, str(column), fractions, by, gap)
        said |= told
    elif column is not None:
        found, unknown = import_parts(read_column(store, column)[images.rows], part_names)
        said |= {"column": column, "unknown_values": unknown}
    else:
        shares = (1, 0, 0) if method == "kfold" else _check_fractions(fractions).tolist()
        found, small = assign_parts(images.labels, shares, seed, images.groups)
        said["fractions"] = list(shares)
    train = found == "train"
    folds = np.full(len(found), -1, dtype=np.int64)
    folds[train] = assign_folds(images.labels[train], n_folds, seed, together[train])
    always = [str(label) for label in number_labels(images.labels[train & (folds < 0)])[0]]
    if view.mask:
        said["mask"] = view.mask
    provenance = view.describe(said, n_rows=len(images.rows))
    parts, all_folds, groups = (
        _spread(store, images.rows, v) for v in (found, folds, images.groups)
    )
    return Split(
        name,
        parts,
        all_folds,
        groups,
        {
            **provenance.to_dict(),
            **said,
            "hash": hash_split(store, parts, all_folds),
            "n_unlabelled": len(view) - len(images.rows),
            "always_train": always,
            "small_classes": [one.to_dict() for one in small],
            "near_duplicates_known": NEAR_DUPLICATES in images.kinds,
            "leakage": [dataclasses.asdict(leak) for leak in find_leaks(found, images.kinds)],
        },
    )


def _check_method(
    method: str, level: str, group_columns: Sequence[str], column: str | None
) -> None:
    if method not in METHODS:
        msg = f"a split is made by {', '.join(METHODS)}; got {method!r}"
        raise SelectionError(msg)
    if method == "grouped" and not group_columns:
        msg = "a grouped split needs to know what makes a group: --group COLUMN"
        raise SelectionError(msg)
    if (method in _OF_COLUMN) != (column is not None):
        kinds = " or ".join(_OF_COLUMN)
        msg = f"--column COLUMN goes with --method {kinds}, and only with it; got {method}"
        raise SelectionError(msg)
    if method == "species-disjoint" and level == Rank.SPECIES:
        msg = "species are kept apart below a rank: say --level family, or another above species"
        raise SelectionError(msg)


def _divide_by_time(
    store: EmbeddingStore, images: _Labelled, column: str, fractions: Sequence[float],
    by: str | None, gap: str | None,
) -> tuple[npt.NDArray[np.object_], dict[str, Any]]:  # fmt: skip
    times, unread = read_times(read_column(store, column), images.rows)
    if np.isnat(times).all():
        listed = ", ".join(f"{value!r} ({n})" for value, n in list(unread.items())[:10])
        msg = (
            f"the column {column!r} has no date among the labelled images; it says "
            f"{listed or 'nothing'}. Dates are written as 2024-05-13 or 2024:05:13 12:30:01"
        )
        raise SelectionError(msg)
    shares = _check_fractions(fractions).tolist()
    sites = read_column(store, by)[images.rows] if by is not None else None
    made = assign_by_time(
        times, shares, images.groups, sites, read_span(gap) if gap is not None else None
    )
    if not (made.parts == 0).any():
        msg = f"no image is left to train on: {made.n_in_gap:,} are in the gap; say less than {gap}"
        raise SelectionError(msg)
    said = {"column": column, "by": by, "gap": gap, "fractions": shares, "unread_dates": unread}
    said |= {name: getattr(made, name) for name in ("n_undated", "n_in_gap", "n_late")}
    return np.array([*PARTS, ""], dtype=object)[made.parts], said


def _find_labelled(view: View, level: str, group_columns: Sequence[str]) -> _Labelled:
    # Draws are by position: the order of rows in the store must say nothing.
    order = view.images.order(view.rows)
    rows, labels = view.rows[order], view.labels(level)[order]
    labelled = labels != ""
    if not labelled.any():
        msg = f"none of the {len(rows)} images has a label at {level}; say another --level"
        raise SelectionError(msg)
    rows = rows[labelled]
    kinds = find_groups(view.store, rows, group_columns)
    groups = join_groups(list(kinds.values()), len(rows))
    return _Labelled(rows, labels[labelled], kinds, groups)


def _join_species(
    store: EmbeddingStore, images: _Labelled
) -> tuple[_Labelled, npt.NDArray[np.object_]]:
    """Make each species a group, and return the groups without that too.

    An image without a species could be of any, and is left out.
    """
    species = store.images.labels(Rank.SPECIES)[images.rows]
    named = species != ""
    if not named.any():
        msg = f"none of the {len(named)} images has a species; split them --method stratified"
        raise SelectionError(msg)
    kinds = {kind: groups[named] for kind, groups in images.kinds.items()}
    kinds["species"] = species[named]
    groups = join_groups(list(kinds.values()), int(named.sum()))
    joined = _Labelled(images.rows[named], images.labels[named], kinds, groups)
    return joined, images.groups[named]


def _spread(
    store: EmbeddingStore, rows: npt.NDArray[np.int64], values: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Return values for all rows of a store, with ``""`` or -1 for those not given."""
    spread = np.full(len(store), "" if values.dtype == object else -1, dtype=values.dtype)
    spread[rows] = values
    return spread
