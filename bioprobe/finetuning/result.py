"""What is said of an encoder that was finetuned."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.finetuning.judging import Judged
from bioprobe.intervals import Interval
from bioprobe.result import Notes, Result

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.finetuning.training import Epoch


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Finetuned(Result):
    """An encoder whose last blocks learnt from labelled pictures, and what that bought.

    Parameters
    ----------
    model : str
        Name that loads it.
    folder : Path
        That holds it.
    level : str
        Rank or column that was learnt.
    judged : tuple of Judged
        The encoder as it was, as it is, and a linear probe on the vectors as they were, on pictures
        of the part ``test``; empty without one.
    history : tuple of Epoch
        The start, and each pass over the pictures.
    n_chosen : int
        Number of the epoch that is kept.
    provenance : dict
        JSON-ready: the card that stands beside the weights.
    notes : tuple of Note
        What is to be said of it.
    """

    model: str
    folder: Path
    level: str
    judged: tuple[Judged, ...]
    history: tuple[Epoch, ...]
    n_chosen: int
    provenance: dict[str, Any]
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each way of answering and each choice of pictures and classes.

        Intervals are of 95%; ``gain`` is the accuracy less that of the encoder as it was, paired by
        picture.
        """
        import pandas as pd

        columns = ["pictures", "method", "n_images", "n_classes"]
        rows = []
        for one in self.judged:
            row: dict[str, Any] = {name: getattr(one, name) for name in columns}
            row |= _write("accuracy", one.accuracy) | _write("macro_recall", one.macro_recall)
            row |= _write("gain", one.gain)
            rows.append(row)
        return pd.DataFrame(rows, columns=None if rows else columns)


def _write(name: str, interval: Interval | None) -> dict[str, float]:
    ends = (None,) * 3 if interval is None else (interval.estimate, interval.low, interval.high)
    rounded = [float("nan") if end is None else round(end, 4) for end in ends]
    return dict(zip((name, f"{name}_low", f"{name}_high"), rounded, strict=True))
