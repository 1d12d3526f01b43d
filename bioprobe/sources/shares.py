"""Shares of what sources list: what each of several processes takes, so that all take all of it.

A picture is of the share that its path, from the root of its source on, says: the first eight bytes
of the SHA-256 of that path, as a number, modulo the number of shares. It depends on nothing else:
not on the bytes of the picture, on what else is listed, or on where the source lies, so that a
picture that comes later moves no other into another share. All rows of a picture are of one share.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bioprobe.errors import MisuseError
from bioprobe.images.image_table import FACT_COLUMNS
from bioprobe.sources.listing import Listing, join
from bioprobe.types import Places

_WRITTEN = re.compile(r"(\d+)/(\d+)")


@dataclasses.dataclass(frozen=True)
class Share:
    """One of several shares.

    Parameters
    ----------
    number : int
        From 1.
    of : int
        How many there are, ≥ ``number``.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Share:
        """Read what is written as ``3/8``.

        Raises
        ------
        MisuseError
            If it is no such text, or there is no such share.
        """
        found = _WRITTEN.fullmatch(text.strip())
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            msg = f"--shard is i/n with i from 1 to n, such as 3/8, got {text!r}"
            raise MisuseError(msg)
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def name_store(self, folder: str | Path) -> Path:
        """Return the store of the share: ``S-3-of-8`` for the store ``S``."""
        return Path(f"{str(folder).rstrip('/')}-{self.number}-of-{self.of}")

    def takes(self, path: str) -> bool:
        """Tell whether a picture is of the share, by its path from the root of its source on."""
        return find_number(path, self.of) == self.number

    def cut(self, listing: Listing) -> Listing:
        """Return what is of the share, in its order; notes are of all."""
        taken = [self.takes(str(path)) for path in listing.frame["path"]]
        return _take(listing, np.flatnonzero(taken), self)


def find_number(path: str, of: int) -> int:
    """Return of which share a picture is, from 1, by its path from the root of its source on."""
    digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) % of + 1


def split(listing: Listing, of: int) -> Iterator[tuple[Share, Listing]]:
    """Return every share of a listing, as :meth:`Share.cut` does it.

    Yields
    ------
    (Share, Listing)
    """
    numbers = np.array([find_number(str(path), of) for path in listing.frame["path"]], dtype=int)
    order = np.argsort(numbers, kind="stable")
    ends = np.searchsorted(numbers[order], np.arange(1, of + 2))
    for number in range(1, of + 1):
        share = Share(number, of)
        yield share, _take(listing, order[ends[number - 1] : ends[number]], share)


def _take(listing: Listing, rows: Places, share: Share) -> Listing:
    frame = listing.frame.take(rows).reset_index(drop=True)
    unread = tuple(one for one in listing.unread if share.takes(one[1]))
    places = [*zip(frame["root"], frame["path"], strict=True), *(one[:2] for one in unread)]
    files = dict.fromkeys(join(*at) for at in places)
    return dataclasses.replace(
        listing, frame=frame, unread=unread,
        says={one: listing.says[one] for one in files if one in listing.says},
        reasons={one: listing.reasons[one] for one in files if one in listing.reasons},
        listed_by={one: listing.listed_by[one] for one in files if one in listing.listed_by},
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Order:
    """In which order sources list pictures.

    Parameters
    ----------
    digest : str
        SHA-256 of all that they say, but of where they lie.
    n_files : int
        Pictures.
    places : dict of str to int
        Place of each picture, from 0, by its whole path.
    """

    digest: str
    n_files: int
    places: dict[str, int]

    @classmethod
    def of(cls, listing: Listing) -> Order:
        """Return the order of a listing."""
        import pandas as pd

        frame = listing.frame
        said = frame[[name for name in frame.columns if name not in {"root", *FACT_COLUMNS}]]
        rows = pd.util.hash_pandas_object(said.astype(str), index=False).to_numpy()
        digest = hashlib.sha256(",".join(map(str, said.columns)).encode() + rows.tobytes())
        files = dict.fromkeys(map(join, frame["root"], frame["path"]))
        places = {file: place for place, file in enumerate(files)}
        return cls(digest.hexdigest(), len(places), places)

    def only(self, listing: Listing) -> Order:
        """Return the same order, of which no more is known than the places of some pictures."""
        files = map(join, listing.frame["root"], listing.frame["path"])
        return dataclasses.replace(self, places={one: self.places[one] for one in files})

    def find(self, files: list[str]) -> Places:
        """Return the place of each picture; of those that are not listed, after all others."""
        return np.array([self.places.get(one, self.n_files) for one in files], dtype=np.int64)
