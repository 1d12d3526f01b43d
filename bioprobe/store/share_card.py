"""What the store of a share says of itself: which share it is, and where its rows stand in all.

``share.json`` is the card; ``share.npy`` has of each row of the store the place of its picture
among all that the sources list. A card is not finished from the start of a run to its end.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bioprobe.access import reading
from bioprobe.errors import StoreError
from bioprobe.files import hash_file, read_json, replacing, save_array, write_text
from bioprobe.settings import COUNT, FLAG, TEXT, TEXT_BY_NAME, check_fields
from bioprobe.types import Places

CARD_NAME, ORDER_NAME = "share.json", "share.npy"
_FIELDS = {
    "number": COUNT, "of": COUNT, "listing": TEXT, "n_files": COUNT, "is_finished": FLAG,
    "generation": COUNT, "order_sha256": TEXT, "options": TEXT_BY_NAME,
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShareCard:
    """Which share of what a store holds.

    Parameters
    ----------
    number, of : int
        Share ``number`` of ``of``.
    listing : str
        What the sources listed in all, as a SHA-256.
    n_files : int
        Pictures that they listed in all.
    is_finished : bool
        Whether all pictures of the share were tried.
    generation : int
        Of the store when it was finished: rows have the same numbers as long as it is that.
    order_sha256 : str
        Of the file with the places of the rows; ``""`` where it is not finished.
    options : mapping of str to str
        What else its rows depend on, such as ``--damaged`` to ``mark``: alike in all shares. None
        in a card that an earlier version wrote.
    """

    number: int
    of: int
    listing: str
    n_files: int
    is_finished: bool = False
    generation: int = 0
    order_sha256: str = ""
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> ShareCard | None:
        """Read the card of a store; None where it is that of no share.

        Raises
        ------
        StoreError
            If it is damaged.
        UnreadableError
            If it cannot be read just now.
        """
        path = folder / CARD_NAME
        try:
            with reading(path):
                fields = read_json(path, dict)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise StoreError(_explain(path, error)) from error
        try:
            check_fields(fields, _FIELDS, needed=_FIELDS.keys() - {"options"})
            return cls(**{name: fields[name] for name in _FIELDS if name in fields})
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(_explain(path, error)) from error

    def begin(self, folder: Path) -> None:
        """Say that a run over the share has begun.

        Raises
        ------
        StoreError
            If the store is that of another share, or the disk refuses.
        """
        known = ShareCard.read(folder)
        if known is not None and (known.number, known.of) != (self.number, self.of):
            msg = (
                f"{folder} holds the share {known.number}/{known.of}, got {self.number}/{self.of}; "
                "it was renamed: give it its name back, or choose another --store"
            )
            raise StoreError(msg)
        self._write(folder)

    def finish(self, folder: Path, places: Places, generation: int) -> None:
        """Say that all of the share was tried, and where its rows stand.

        Parameters
        ----------
        folder : Path
            Of the store.
        places : ndarray of int64, shape (n_rows,)
            Of the picture of each row among all that were listed, retired rows too.
        generation : int
            Of the store.

        Raises
        ------
        StoreError
            If the disk refuses.
        """
        with replacing(folder / ORDER_NAME) as temporary:
            save_array(temporary, places)
        checksum = hash_file(folder / ORDER_NAME)
        done = dataclasses.replace(
            self, is_finished=True, generation=generation, order_sha256=checksum
        )
        done._write(folder)

    def read_places(self, folder: Path, n_rows: int) -> npt.NDArray[np.int64]:
        """Return the place of each row; rows that came since stand after all others.

        Raises
        ------
        StoreError
            If the file is missing or damaged.
        """
        path = folder / ORDER_NAME
        try:
            with reading(path):
                is_whole = hash_file(path) == self.order_sha256
                known = np.load(path) if is_whole else None
        except (OSError, ValueError, EOFError) as error:
            raise StoreError(_explain(path, error)) from error
        if known is None:
            raise StoreError(_explain(path, f"its SHA-256 is not the one in {CARD_NAME}"))
        places = np.full(n_rows, self.n_files, dtype=np.int64)
        places[: len(known)] = known[:n_rows]
        return places

    def _write(self, folder: Path) -> None:
        write_text(folder / CARD_NAME, json.dumps(dataclasses.asdict(self), indent=2) + "\n")


def _explain(path: Path, error: Exception | str) -> str:
    return (
        f"{path} cannot be read ({error}); run the embed command of this share again, which writes "
        "it anew"
    )
