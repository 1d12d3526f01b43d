"""What several stores say of one picture, put together as over several runs of one store.

The first of the stores is the newest run: what it says stands, what it does not say is taken of the
others in their order, and a label that a table wrote stands before one of a folder's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.cells import settle_frame, write_cells
from bioprobe.images.image_table import (
    DAMAGE_COLUMNS,
    FACT_COLUMNS,
    LOCATION_COLUMNS,
    concatenate,
)
from bioprobe.images.regions import REGION
from bioprobe.result import WARNING, Note, Notes, count, name_some
from bioprobe.sources.listing import Said, find_said, get_lineage, is_same, join
from bioprobe.taxonomy.columns import LABEL_COLUMNS, LABELS_FROM
from bioprobe.types import Places

if TYPE_CHECKING:
    import pandas as pd

_OF_FILE = {*LOCATION_COLUMNS, REGION, *FACT_COLUMNS, *DAMAGE_COLUMNS}


class SaidTwice:
    """Fills rows by what later stores say of the same pictures, and counts what they say otherwise.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"root": "/", "path": ["a.png"], "genus": ["Lynx"], "site": [""]})
    >>> later = rows.assign(genus="Puma", site="north")
    >>> twice = SaidTwice()
    >>> twice.fill(rows, later, np.array([0]))[["genus", "site"]].iloc[0].tolist()
    ['Lynx', 'north']
    >>> [str(note) for note in twice.notes]
    ['1 picture has another label in a later store, such as /a.png; that of the first stands']
    """

    def __init__(self) -> None:
        self._labels = list[str]()
        self._values: dict[str, list[str]] = {}

    def fill(self, frame: pd.DataFrame, others: pd.DataFrame, places: Places) -> pd.DataFrame:
        """Return rows with what is said of them elsewhere.

        Parameters
        ----------
        frame : DataFrame
            Rows of an image table.
        others : DataFrame
            Rows of other stores, in the order of these.
        places : ndarray of int64, shape (n_others,)
            Row of ``frame`` that each is the same picture as.
        """
        names = [name for name in others.columns if name not in _OF_FILE]
        before = frame.reindex(columns=names).iloc[places]
        differs = np.zeros(len(others), dtype=bool)
        for name in names:
            written = write_cells(others[name]).to_numpy()
            differs |= (written != "") & (written != write_cells(before[name]).to_numpy())
        filled: dict[int, dict[str, Any]] = {}
        for place, other in zip(
            places[differs].tolist(), others.loc[differs, names].to_dict("records"), strict=True
        ):
            row = filled.get(place) or frame.iloc[place].to_dict()
            filled[place] = self._fill(row, {str(name): value for name, value in other.items()})
        if not filled:
            return frame
        changed = np.fromiter(filled, dtype=np.int64)
        stayed = np.delete(np.arange(len(frame)), changed)
        joined = concatenate([frame.iloc[stayed], settle_frame(list(filled.values()))])
        return joined.iloc[np.argsort(np.concatenate([stayed, changed]))].reset_index(drop=True)

    @property
    def notes(self) -> Notes:
        """What the first stores say otherwise than the later ones."""
        # A free column may be called so too.
        said = [("label", self._labels), *self._values.items()]
        return tuple(
            Note(
                f"{count(len(files), 'picture has', 'pictures have')} another {name} in a later "
                f"store, such as {name_some(files)}; that of the first stands",
                WARNING,
            )
            for name, files in said
            if files
        )

    def _fill(self, row: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
        said = {name: value for name, value in row.items() if name not in _OF_FILE}
        together = Said.infer(said).replace(other, said)
        file = join(str(row["root"]), str(row["path"]))
        labels = zip(get_lineage(together), get_lineage(other), strict=True)
        if any(theirs and theirs != ours for ours, theirs in labels):
            self._labels.append(file)
        for name, theirs in find_said(other).items():
            is_label = name in {*LABEL_COLUMNS, LABELS_FROM}
            if not is_label and not is_same(together.get(name), theirs):
                self._values.setdefault(name, []).append(file)
        return {name: value for name, value in row.items() if name in _OF_FILE} | together
