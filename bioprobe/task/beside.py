"""What stands beside the answers: what a picture holds, a person's own columns, pictures without.

Rows in are rows out: a picture that a mask leaves out, or that could not be read, is a row of the
table of answers too, without an answer.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.errors import SelectionError
from bioprobe.images.image_table import COLUMNS, FACT_COLUMNS, ImageTable
from bioprobe.images.regions import DETECTION_CATEGORY, DETECTION_CONFIDENCE, REGION
from bioprobe.names import find_nearest
from bioprobe.options import RANK_NAMES, split_names
from bioprobe.store.failures import Failure
from bioprobe.store.selections import list_selections, read_selection
from bioprobe.store.view import View
from bioprobe.types import Mask, Names, Rows

if TYPE_CHECKING:
    import pandas as pd

CONTENT = "content"
#: The filter that tells what pictures hold where none is named.
ANIMAL_MASK = "filters/animal"
UNREADABLE = "unreadable"
# What a filter calls what it drops, where a collection has a word for it; all else is unknown.
_CONTENT_OF = {
    "person": "human", "human": "human", "vehicle": "vehicle", "empty": "blank",
    "blank": "blank", "landscape": "blank", "animal": "animal",
}  # fmt: skip
# Words of column names that say which picture, where and when, as the field's tables name them.
_KEYS = frozenset({
    "accession", "barcode", "camera", "catalog", "catalogue", "collection", "date", "datetime",
    "deployment", "event", "id", "key", "location", "locality", "number", "occurrence", "place",
    "plot", "project", "sequence", "site", "station", "time", "timestamp", "trap", "uuid", "taken",
    "year",
})  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Beside:
    """What goes with the answers to some images of a store.

    Parameters
    ----------
    images : ImageTable
        Of the whole store.
    own : tuple of str
        Columns of the image table that are written beside each answer.
    content : ndarray of object, shape (n_rows,)
        What each row of the store holds: animal, blank, human, vehicle or unknown; ``""`` where
        nothing has told.
    left_out : ndarray of int64, shape (n_left_out,)
        Rows that were asked for and that a mask leaves out.
    reasons : ndarray of object, shape (n_left_out,)
        Why.
    unread : sequence of Failure
        Images that could not be read.
    """

    images: ImageTable
    own: tuple[str, ...]
    content: Names
    left_out: Rows
    reasons: Names
    unread: Sequence[Failure]

    @classmethod
    def of(cls, view: View, columns: str | Sequence[str] | None = None) -> Beside:
        """Find what goes with the answers to a view.

        Parameters
        ----------
        view : View
            The images that are asked.
        columns : str or sequence of str, optional
            ``all``, ``none``, or names of columns; by default those whose names say which picture,
            where and when: station, date, catalogue number and their like; of regions also what
            the detector says of them.

        Raises
        ------
        SelectionError
            If there is no such column.
        """
        asked = View.of(view.store, view.condition or None).rows
        left_out = asked[~np.isin(asked, view.rows)]
        dropped = left_out[:0]
        if view.mask:
            dropped = left_out[~read_selection(view.store, view.mask).kept[left_out]]
        # Where a part or rows were named too, what these leave out is not asked for.
        is_all = len(dropped) == len(left_out)
        left_out = dropped if is_all else left_out[:0]
        # Of a picture that was never read no condition can be told.
        ask_unread = (is_all or view.unread is not None) and not view.condition
        unread = view.list_failures() if ask_unread else []
        return cls(
            view.images, find_own(view.images, columns), _read_content(view), left_out,
            _explain(view, left_out), unread,
        )  # fmt: skip

    def complete_columns(self, columns: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return a table of answers by column with the same; None where that needs a frame.

        Parameters
        ----------
        columns : mapping of str to ndarray
            With ``row``, one row an image and answer.
        """
        if len(self.left_out) or len(self.unread) or self.own:
            return None
        if not (self.content != "").any():
            return dict(columns)
        return {**columns, CONTENT: self.content[columns["row"]]}

    def complete(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a table of answers with the columns, and with the pictures that have none.

        Parameters
        ----------
        frame : DataFrame
            One row an image and answer, with ``file_name`` and ``row``.
        """
        import pandas as pd

        asked = frame["row"].to_numpy(dtype=np.int64)
        given = frame
        # A column that nothing has told anything of says nothing.
        if len(self.unread) or (self.content != "").any():
            given = frame.assign(**{CONTENT: self.content[asked]})
        if len(self.left_out):
            without = pd.DataFrame(
                {
                    **self.images.name_rows(self.left_out),
                    "row": self.left_out,
                    CONTENT: self.content[self.left_out],
                    "reason": self.reasons,
                }
            )
            given = _append(given, without)
            # They stand where they stood, if the answers are in the order of the store.
            if (np.diff(asked) >= 0).all():
                order = np.argsort(given["row"].to_numpy(dtype=np.int64), kind="stable")
                given = given.iloc[order].reset_index(drop=True)
        n_read = len(given)
        rows = given["row"].to_numpy(dtype=np.int64)
        if len(self.unread):
            without = pd.DataFrame(
                {
                    "file_name": [one.path for one in self.unread],
                    "row": pd.array([pd.NA] * len(self.unread), dtype="Int64"),
                    CONTENT: UNREADABLE,
                    "reason": [one.reason for one in self.unread],
                }
            )
            given = _append(given, without)
        for column in self.own:
            values = self.images.take(rows, [column])[column].reset_index(drop=True)
            name = column if column not in given else f"own_{column}"
            if len(given) > n_read:
                values = values.astype(object).reindex(range(len(given))).fillna("")
            given[name] = values
        return given


def find_own(images: ImageTable, columns: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the columns of a person's own that are meant.

    Raises
    ------
    SelectionError
        If there is no such column.
    """
    if columns is None:
        found = (DETECTION_CATEGORY, DETECTION_CONFIDENCE) if images.has_regions else ()
        return tuple(name for name in images.free_columns if name in found or _is_key(name))
    names = split_names(columns)
    if names == ["all"]:
        return tuple(images.free_columns)
    if names == ["none"]:
        return ()
    for name in names:
        if name not in images.columns:
            there = [*images.free_columns, *FACT_COLUMNS]
            near = find_nearest(name, list(COLUMNS) + images.free_columns)
            hint = f"; did you mean {near}?" if near else ""
            msg = f"no column {name!r} to stand beside the answers{hint} There are: "
            raise SelectionError(msg + ", ".join(there))
    return tuple(dict.fromkeys(names))


def _is_key(column: str) -> bool:
    """Tell whether the name of a column says which picture, where or when."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", column)
    words = re.findall(r"[^\W_]+", apart.lower())
    return any(word in _KEYS or word.removesuffix("s") in _KEYS for word in words)


def _read_content(view: View) -> Names:
    """Return what each row of the store holds, by its own column, else by a filter."""
    images, store = view.images, view.store
    given = next((one for one in images.free_columns if one.casefold() == CONTENT), None)
    if given is not None:
        return np.array([str(one).casefold() for one in images.labels(given)], dtype=object)
    found = np.full(len(images), "", dtype=object)
    mask = view.mask if _is_filter(view, view.mask) else ANIMAL_MASK
    if mask not in list_selections(store):
        return found
    selection = read_selection(store, mask)
    kept, judged = selection.kept, selection.judged
    found[kept] = mask.rpartition("/")[2]
    away = np.flatnonzero(judged & ~kept)
    found[away] = "unknown"
    if "reason" in selection.frame:
        reasons = selection.frame["reason"].to_numpy(dtype=object)[away]
        found[away] = [_CONTENT_OF.get(str(reason), "unknown") for reason in reasons]
    return found


def _is_filter(view: View, mask: str) -> bool:
    """Tell whether a mask is of a filter, which gives reasons, and not of duplicates."""
    return bool(mask) and "reason" in read_selection(view.store, mask).frame


def _explain(view: View, rows: Rows) -> Names:
    """Return why a mask leaves rows out."""
    if not len(rows):
        return np.array([], dtype=object)
    selection = read_selection(view.store, view.mask)
    judged: Mask = selection.judged[rows]
    said = np.full(len(rows), f"not kept by {view.mask}", dtype=object)
    frame = selection.frame.iloc[rows]
    if "reason" in frame:
        said = np.array([f"{view.mask}: {reason}" for reason in frame["reason"]], dtype=object)
    elif "group" in frame:
        said = np.array([f"{view.mask}: copy, group {group}" for group in frame["group"]], object)
    said[~judged] = f"not judged by {view.mask}"
    return said


def _append(frame: pd.DataFrame, without: pd.DataFrame) -> pd.DataFrame:
    """Append rows without an answer: their texts are empty, their numbers unknown."""
    import pandas as pd

    nullable = {"i": "Int64", "u": "Int64", "b": "boolean"}
    kinds = {str(name): nullable.get(frame[name].dtype.kind, "") for name in frame}
    names = list(dict.fromkeys([*kinds, *map(str, without)]))
    joined = {}
    for name in names:
        kind = kinds.get(name, "")
        blank: Any = pd.NA if kind else ""
        if name in frame and frame[name].dtype.kind == "f":
            blank = np.nan
        above, below = (
            list(part[name]) if name in part else [blank] * len(part) for part in (frame, without)
        )
        joined[name] = pd.Series(above + below, dtype=kind or None)
    return pd.DataFrame(joined)


def shorten(frame: pd.DataFrame, level: str) -> pd.DataFrame:
    """Return a table of answers as it is read: one line a picture, and few columns.

    Parameters
    ----------
    frame : DataFrame
        One row a picture, as a table of answers has it.
    level : str
        Column of the answer; where ``""``, the lowest rank at which there is one.

    Returns
    -------
    DataFrame
        ``file_name``, ``answer``, ``common_name``, ``rank`` and ``score``, then what is not of the
        form of the table itself.
    """
    if level:
        answers = frame[level]
    else:
        ranks = frame[[name for name in RANK_NAMES if name in frame]]
        answers = ranks.where(ranks != "").ffill(axis=1).iloc[:, -1].fillna("")
    return frame.assign(answer=answers)[name_short([str(name) for name in frame])]


def name_short(names: Sequence[str]) -> list[str]:
    """Return the columns of a table of answers that are read, of which ``answer`` is another."""
    shown = [
        name for name in ("file_name", REGION, "answer", "common_name", "rank", "score")
        if name in names
    ]  # fmt: skip
    form = {*names[: names.index("row") + 1], *shown}
    rest = [name for name in names if name not in form and not name.startswith("score_")]
    return [*shown, *rest]
