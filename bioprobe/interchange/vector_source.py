"""Vectors on their way in and out, the same for every layout."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe import __version__
from bioprobe.errors import SourceError
from bioprobe.files import parse_json
from bioprobe.settings import COUNT, FLAG, NUMBER, TEXT, TEXT_BY_NAME, TEXTS, find_wrong_setting

if TYPE_CHECKING:
    import pandas as pd


KEY = "bioprobe"


_DECLARED = {
    "model": TEXT,
    "logit_scale": NUMBER,
    "columns": TEXT_BY_NAME,
    "text_columns": TEXTS,
    "normalised": FLAG,
    "version": TEXT,
    "n_rows": COUNT,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Declaration:
    """What is known of exported vectors, kept in the metadata of their file.

    Parameters
    ----------
    model : str
        Encoder of the vectors.
    logit_scale : float
        The encoder's factor from cosine similarity to logits.
    columns : mapping of str to str
        Column of the image table to the column of the file that holds it.
    text_columns : tuple of str
        Columns of the image table that hold text: a CSV file cannot tell ``007`` from 7.
    normalised : bool
        Whether every vector has unit length.
    version : str
        Version of bioprobe that wrote the file.
    n_rows : int
        Rows of all parts together, where there may be several; 0 where it is not said.
    """

    model: str
    logit_scale: float
    columns: Mapping[str, str]
    text_columns: tuple[str, ...] = ()
    normalised: bool = True
    version: str = __version__
    n_rows: int = 0

    def to_json(self) -> str:
        """Return the fields as a JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str | bytes | None, source: object) -> Declaration | None:
        """Read the fields, or return None where a file of another tool says nothing.

        Raises
        ------
        SourceError
            If the text is damaged or of a newer bioprobe.
        """
        if not text:
            return None
        try:
            fields = parse_json(text, dict)
            problem = find_wrong_setting(fields, _DECLARED, needed=list(_DECLARED)[:4])
        except ValueError as error:
            fields, problem = {}, str(error)
        if problem:
            msg = (
                f"what {source} says of its own vectors cannot be read ({problem}); export it again"
            )
            raise SourceError(msg)
        return cls(**{**fields, "text_columns": tuple(fields["text_columns"])})


#: Rows that are read, converted and written at once: 50 MB of 768 dimensions.
BLOCK_ROWS = 16_384


@dataclasses.dataclass(frozen=True)
class VectorBatch:
    """Some rows of a source.

    Parameters
    ----------
    table : DataFrame
        Every column but the vectors.
    vectors : ndarray of float32, shape (n_images, dim)
        As the source has them; not numbers where a row has no vector of that dim.
    lengths : ndarray of int64, shape (n_images,)
        Length of each row's vector in the source, -1 where there is none.
    """

    table: pd.DataFrame
    vectors: npt.NDArray[np.float32]
    lengths: npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """How the columns of a source are found.

    Parameters
    ----------
    model : str
        Encoder that the user names.
    column : str or None
        Column of the vectors; by default the one that the layout has.
    """

    model: str
    column: str | None = None


@dataclasses.dataclass(frozen=True)
class VectorSource:
    """An opened file or folder of vectors.

    Parameters
    ----------
    path : Path or str
        What was opened; of an address the text.
    n_rows : int
        Number of rows, ≥ 1.
    dim : int
        Length of a vector, ≥ 1.
    declaration : Declaration or None
        What bioprobe wrote of it, if bioprobe did.
    left_out : tuple of str
        Columns that an image table cannot hold: nested and binary ones.
    read : callable
        Returns the rows in order, in batches.
    is_unit : bool
        Whether the source says that every vector has unit length, so that another is damaged.
    """

    path: Path | str
    n_rows: int
    dim: int
    declaration: Declaration | None
    left_out: tuple[str, ...]
    read: Callable[[], Iterator[VectorBatch]]
    is_unit: bool = False

    def __post_init__(self) -> None:
        if self.n_rows < 1:
            msg = f"{self.path} holds no row; expected one vector at least"
            raise SourceError(msg)
        if self.dim < 1:
            msg = f"{self.path} holds no vector: every one of them is missing or empty"
            raise SourceError(msg)


@dataclasses.dataclass(frozen=True)
class OutgoingRows:
    """Rows of a store as a layout writes them.

    Parameters
    ----------
    frame : DataFrame
        Image table of the rows.
    dim : int
        Length of a vector.
    declaration : Declaration
        What the file is to say of its vectors; its columns are the layout's to choose.
    iter_vectors : callable
        Returns the vectors in order, in blocks of float32, unit rows.
    """

    frame: pd.DataFrame
    dim: int
    declaration: Declaration
    iter_vectors: Callable[[], Iterator[npt.NDArray[np.float32]]]

    def __len__(self) -> int:
        return len(self.frame)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """One way in which vectors of images lie on disk; named in ``bioprobe.registry.EXPORTERS``.

    Parameters
    ----------
    write : callable
        Writes rows of a store as one. The target is whole or not there at all.
    suffix : str
        Ending of its file; ``""`` where it is a folder, or any name will do.
    looks_like : str
        What it is recognised by, for people.
    recognise : callable
        Tells whether a file or folder has this layout, by its names and headers alone.
    open_source : callable or None
        Opens one for reading; None where it is only written.
    """

    write: Callable[[Path, OutgoingRows], None]
    suffix: str = ""
    looks_like: str = ""
    recognise: Callable[[Path], bool] = lambda _source: False
    open_source: Callable[[Path, ReadOptions], VectorSource] | None = None
