"""Picture files as vectors that are added to no store."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bioprobe.embedding.preparation import Listed, Prepared, prepare_all
from bioprobe.encoders.encoder import Encoder
from bioprobe.errors import SourceError
from bioprobe.images.image_table import ImageTable
from bioprobe.images.reading import ignore_pillow_warnings


@dataclasses.dataclass(frozen=True)
class EncodedPictures:
    """Pictures that could be read, with their vectors, and those that could not.

    Parameters
    ----------
    images : ImageTable
        One row a vector, with the labels that the source gave.
    vectors : ndarray of float32, shape (n_images, dim), unit rows
    failures : tuple of (str, str)
        Path of each picture that could not be read, and the reason.
    """

    images: ImageTable
    vectors: npt.NDArray[np.float32]
    failures: tuple[tuple[str, str], ...]


def encode_pictures(table: ImageTable, encoder: Encoder, *, n_threads: int = 2) -> EncodedPictures:
    """Read and encode listed pictures; one that cannot be read stops nothing.

    Parameters
    ----------
    table : ImageTable
        Listing.
    encoder : Encoder
        Encoder of the store whose probe is asked.
    n_threads : int
        Threads that read and decode.

    Raises
    ------
    SourceError
        If no picture can be read.
    """
    frame = table.frame
    places = zip(frame["root"], frame["path"], range(len(frame)), strict=True)
    listing = (Listed(str(root), str(path), {"row": row}) for root, path, row in places)
    rows: list[int] = []
    vectors: list[npt.NDArray[np.float32]] = []
    failures: list[tuple[str, str]] = []
    with ignore_pillow_warnings():
        prepared = prepare_all(
            listing, (), encoder, n_threads=n_threads, n_ahead=2 * encoder.batch_size
        )
        readable = _set_aside(prepared, failures)
        while batch := list(itertools.islice(readable, encoder.batch_size)):
            pixels = [one.pixels for one in batch if one.pixels is not None]
            vectors.append(encoder.encode_pixels(np.stack(pixels)))
            rows += [int(one.listed.labels["row"]) for one in batch]
    if not rows:
        path, reason = failures[0]
        msg = f"none of {len(failures)} pictures could be read, such as {path}: {reason}"
        raise SourceError(msg)
    kept = ImageTable(frame.iloc[rows].reset_index(drop=True))
    return EncodedPictures(kept, np.concatenate(vectors), tuple(failures))


def _set_aside(prepared: Iterator[Prepared], failures: list[tuple[str, str]]) -> Iterator[Prepared]:
    """Pass readable pictures on, and list the others.

    Yields
    ------
    Prepared
    """
    for one in prepared:
        if one.reason:
            failures.append((one.listed.path, one.reason))
        else:
            yield one
