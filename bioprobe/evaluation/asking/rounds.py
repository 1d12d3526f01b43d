"""What is learnt from and what is answered: once, or once a fold."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.splits import Split

Mask = npt.NDArray[np.bool_]


def list_rounds(split: Split, labelled: Mask, kept: Mask | None = None) -> list[Split]:
    """List the splits that are evaluated one after the other, each with a part ``test``.

    Parameters
    ----------
    split : Split
        One with a test part is one round. One without is as many as it has folds: in each, a fold
        is answered by what was learnt from the others.
    labelled : ndarray of bool, shape (n_store_rows,)
        Rows that have a label at the rank; no others are answered.
    kept : ndarray of bool, shape (n_store_rows,), optional
        Rows that may be learnt from and chosen on; those that are answered are not touched.

    Raises
    ------
    SelectionError
        If no labelled row would be answered.
    """
    in_test = split.parts == "test"
    tested = in_test & labelled
    if in_test.any() and not tested.any():
        # Folds of the training part would be another question than the one that was asked.
        msg = (
            f"none of the {in_test.sum():,} images in the part test of the split {split.name!r} "
            "has a label at this rank; say another --level, or make another split"
        )
        raise SelectionError(msg)
    if tested.any():
        rounds = [_make_round(split, tested, kept)]
    else:
        folds = np.unique(split.folds[(split.folds >= 0) & labelled])
        rounds = [
            _make_round(split, (split.folds == fold) & labelled, kept, fold) for fold in folds
        ]
    if not rounds:
        msg = (
            f"the split {split.name!r} has neither a part test nor a labelled image in a fold; "
            "make one: bioprobe split"
        )
        raise SelectionError(msg)
    return rounds


def _make_round(split: Split, tested: Mask, kept: Mask | None, fold: int | None = None) -> Split:
    parts = split.parts.copy()
    parts[parts == "test"] = ""
    if kept is not None:
        parts[~kept] = ""
    folds = np.where(parts == "train", split.folds, -1)
    name, digest = split.name, split.hash
    if fold is not None:
        parts[split.folds == fold] = ""
        folds[split.folds == fold] = -1
        name, digest = f"{name} without fold {fold}", f"{digest}:{fold}"
    parts[tested] = "test"
    # Numbered from 0 again, as the folds of a split are.
    _, numbers = np.unique(folds[folds >= 0], return_inverse=True)
    folds[folds >= 0] = numbers
    return dataclasses.replace(
        split, name=name, parts=parts, folds=folds, provenance={**split.provenance, "hash": digest}
    )


def hold_out_fold(split: Split) -> Split | None:
    """Return a split whose first fold is its validation part, None where there are not two."""
    if split.n_folds < 2:
        return None
    held_out = split.folds == 0
    parts = split.parts.copy()
    parts[parts == "validation"] = ""
    parts[held_out] = "validation"
    folds = np.where(held_out, -1, split.folds - 1)
    folds[split.folds < 0] = -1
    return dataclasses.replace(
        split,
        name=f"{split.name}, first fold held out",
        parts=parts,
        folds=folds,
        provenance={**split.provenance, "hash": f"{split.hash}:held-out"},
    )
