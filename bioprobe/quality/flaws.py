"""Pictures that were taken badly: blurred, dark, of an odd size. Infrared ones are not dark."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.images import ImageTable
from bioprobe.provenance import Provenance
from bioprobe.result import WARNING, Note, Notes, Result
from bioprobe.store import EmbeddingStore
from bioprobe.store.measured import Measured, measure_sizes, read_measures
from bioprobe.store.selections import write_selection
from bioprobe.store.view import View
from bioprobe.types import Doubles, Mask, Rows

if TYPE_CHECKING:
    import pandas as pd

#: What a picture may have, in the words of a reason.
BLURRED, DARK, ODD_SIZE = FLAWS = ("blurred", "dark", "odd size")
FLAWS_MASK = "filters/flaws"


@dataclasses.dataclass(frozen=True)
class Rule:
    """Which values of a measure are a flaw in any store, and which in none.

    Parameters
    ----------
    measure : str
        Of :data:`bioprobe.images.measures.MEASURE`; what is low is a flaw.
    least, most : float
        The threshold is not below the one and not above the other.
    """

    measure: str
    least: float
    most: float

    def choose(self, values: Doubles) -> float:
        """Choose the value below which a picture of a store has the flaw.

        Parameters
        ----------
        values : ndarray of float64, shape (n,)
            Of the pictures of the store.

        Notes
        -----
        Tukey's fence: one and a half times the middle half below it. Where half of a store is
        blurred the fence lies below all, and ``least`` holds; where all is very sharp, ``most``.

        References
        ----------
        Tukey 1977, *Exploratory Data Analysis*.

        Examples
        --------
        >>> rule = Rule("sharpness", 0.54, 0.6)
        >>> rule.choose(np.full(40, 0.9)), rule.choose(np.linspace(0.1, 0.9, 40))
        (0.6, 0.54)
        >>> round(rule.choose(np.linspace(0.6, 0.68, 41)), 3)  # .62 - 1.5 (.66 - .62)
        0.56
        >>> rule.choose(np.zeros(2))
        0.54
        """
        if len(values) < _FEWEST:
            return self.least
        low, high = np.quantile(values, [0.25, 0.75])
        return float(np.clip(low - 1.5 * (high - low), self.least, self.most))


# Of fewer, quarters say little.
_FEWEST = 20
# Of 200 photographs all are sharper than 0.58, and all copies that are blurred by two pixels of 224
# less sharp than 0.45; 99 in 100 are lighter than 0.45, and all copies with three tenths of the
# light darker than 0.3 (benchmarks/picture_measures.py).
RULES = {BLURRED: Rule("sharpness", 0.54, 0.6), DARK: Rule("brightness", 0.3, 0.42)}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Flaws(Result):
    """Which pictures were taken badly, and how.

    Parameters
    ----------
    images : ImageTable
        Image table of the whole store.
    rows : ndarray of int64, shape (n_images,)
        Rows that were judged.
    measured : Measured
        What was measured of them.
    sizes : ndarray of object, shape (n_images,)
        ``small``, ``long`` or ``""``.
    thresholds : dict of str to float
        By flaw that was looked for, value of its measure below which a picture has it.
    looked_for : tuple of str
        Of :data:`FLAWS`.
    provenance : Provenance
        What the result was computed from.
    notes : tuple of Note
        What is to be said of it.
    """

    images: ImageTable
    rows: Rows
    measured: Measured
    sizes: npt.NDArray[np.object_]
    thresholds: dict[str, float]
    looked_for: tuple[str, ...]
    provenance: Provenance
    notes: Notes = ()

    @property
    def has(self) -> dict[str, Mask]:
        """Whether each image has it, by flaw that was looked for, shape (n_images,)."""
        found = {}
        for flaw in self.looked_for:
            if flaw == ODD_SIZE:
                found[flaw] = np.asarray(self.sizes != "")
                continue
            values = self.measured.values[RULES[flaw].measure]
            is_low = self.measured.known & (values < np.float32(self.thresholds[flaw]))
            found[flaw] = is_low & ~self.measured.values["night"] if flaw == DARK else is_low
        return found

    @property
    def kept(self) -> Mask:
        """Whether each image is kept, shape (n_images,)."""
        return ~np.asarray(np.any(list(self.has.values()), axis=0))

    @property
    def reasons(self) -> npt.NDArray[np.object_]:
        """Flaws of each image with commas between, ``""`` of those that are kept."""
        has = self.has
        return np.array(
            [
                ", ".join(flaw for flaw in has if has[flaw][at])
                for at in range(len(self.rows))
            ],
            dtype=object,
        )  # fmt: skip

    def count(self) -> dict[str, int]:
        """Return how many images have each flaw that was looked for."""
        return {flaw: int(found.sum()) for flaw, found in self.has.items()}

    def to_frame(self) -> pd.DataFrame:
        """Return one row an image: file name, kept, reason, its measures, row."""
        import pandas as pd

        known, values = self.measured.known, self.measured.values
        shown = {
            name: np.where(known, values[name].astype(np.float64).round(4), np.nan)
            for name in ("sharpness", "brightness")
        }
        return pd.DataFrame(
            {
                **self.images.name_rows(self.rows),
                "kept": self.kept,
                "reason": self.reasons,
                **shown,
                "night": known & values["night"],
                "odd_size": self.sizes,
                "row": self.rows,
            }
        )

    def write(self, store: EmbeddingStore) -> None:
        """Keep the mask with the reasons in the store; nothing is deleted."""
        write_selection(
            store, FLAWS_MASK, self.rows, self.kept, columns={"reason": self.reasons},
            provenance=self.provenance.to_dict(),
        )  # fmt: skip


def find_flaws(
    asked: EmbeddingStore | View,
    looked_for: Collection[str] = FLAWS,
    *,
    below: Mapping[str, float] | None = None,
) -> Flaws:
    """Find pictures that were taken badly, by what was measured when they were embedded.

    Parameters
    ----------
    asked : EmbeddingStore or View
        Whose current rows are judged.
    looked_for : collection of str
        Of :data:`FLAWS`.
    below : mapping of str to float, optional
        By flaw, value of its measure below which a picture has it; by default chosen within what
        is asked. Infrared pictures never are dark.

    Raises
    ------
    SelectionError
        If blurred or dark ones are looked for and none of the pictures was measured.
    """
    view = View.of(asked)
    measured = read_measures(view.store, view.rows)
    by_measure = [flaw for flaw in looked_for if flaw in RULES]
    if by_measure and not measured.known.any():
        msg = (
            f"the pictures of {view.folder} were not measured when they were embedded, or their "
            "files were not read; run: bioprobe describe --measure"
        )
        raise SelectionError(msg)
    thresholds = dict(below or {})
    for flaw in by_measure:
        which = measured.known & ~(measured.values["night"] & (flaw == DARK))
        values = measured.values[which][RULES[flaw].measure].astype(np.float64)
        thresholds.setdefault(flaw, RULES[flaw].choose(values))
    thresholds = {flaw: thresholds[flaw] for flaw in by_measure}
    n_unknown = int((~measured.known).sum()) if by_measure else 0
    notes: Notes = ()
    if n_unknown:
        text = (
            f"{n_unknown:,} pictures were not measured and are kept; to measure them: bioprobe "
            "describe --measure"
        )
        notes = (Note(text, WARNING),)
    kinds = tuple(flaw for flaw in FLAWS if flaw in looked_for)
    provenance = view.describe({"flaws": list(kinds), "thresholds": thresholds})
    sizes = measure_sizes(view.store, view.rows)["odd_size"]
    return Flaws(
        view.images, view.rows, measured, sizes, thresholds, kinds, provenance, notes
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Looks:
    """How the pictures of a store were taken, in figures.

    Parameters
    ----------
    n_measured : int
        Pictures that were measured.
    quartiles : dict of str to tuple of float
        By measure: least, first quartile, median, third quartile and most.
    n_night : int
        Pictures that look as by infrared.
    flaws : dict of str to int
        Pictures of each flaw, at the thresholds that a filter would choose.
    odd_sizes : dict of str to int
        Pictures of each odd size.
    """

    n_measured: int
    quartiles: dict[str, tuple[float, ...]]
    n_night: int
    flaws: dict[str, int]
    odd_sizes: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping."""
        return dataclasses.asdict(self)


def describe_looks(view: View) -> Looks:
    """Describe how the pictures of a view were taken."""
    measured = read_measures(view.store, view.rows)
    sizes = measure_sizes(view.store, view.rows)["odd_size"]
    odd = collections.Counter(word for said in sizes[sizes != ""] for word in said.split(", "))
    values = measured.values[measured.known]
    if not len(values):
        return Looks(0, {}, 0, {ODD_SIZE: int((sizes != "").sum())}, dict(odd))
    quartiles = {
        name: tuple(np.quantile(values[name], [0, 0.25, 0.5, 0.75, 1]).round(4).tolist())
        for name in values.dtype.names or ()
        if name != "night"
    }
    return Looks(
        len(values), quartiles, int(values["night"].sum()), find_flaws(view).count(), dict(odd)
    )
