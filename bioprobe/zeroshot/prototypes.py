"""Image prototypes: what the pictures of each taxon have in common, kept as a head beside texts."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.access import read_bytes, reading
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import SelectionError
from bioprobe.images.image_table import ImageTable
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.target import find_label_classes, mark_rows
from bioprobe.taxonomy import Rank, Taxonomy
from bioprobe.taxonomy.columns import LABEL_COLUMNS, to_taxonomy
from bioprobe.types import Mask, Rows, Scores, Vectors

if TYPE_CHECKING:
    import pandas as pd

#: What a head of prototypes is said to be of, and the files that it has beside those of texts.
IMAGES = "images"
_FACTS_NAME, _MARKS_NAME = "pictures.parquet", "pictures.npy"
N_IMAGES, N_GROUPS, MEAN_COSINE = "n_images", "n_groups", "mean_cosine"
_FACTS = (N_IMAGES, N_GROUPS, MEAN_COSINE)
# Vectors that are read at a time; 16,384 of dim 768 are 50 MB.
_ROWS_AT_ONCE = 16_384
# Shorter sums have no direction: of opposite vectors.
_NO_LENGTH = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class MadeOf:
    """The pictures that prototypes were made of.

    Parameters
    ----------
    n_images : ndarray of int64, shape (n_taxa,)
        Pictures of each.
    n_groups : ndarray of int64, shape (n_taxa,)
        Groups of them, each of which counts once.
    mean_cosine : ndarray of float32, shape (n_taxa,)
        Of the groups to the prototype: 1 where all are alike.
    marks : ndarray of uint64, shape (n_pictures,)
        Ascending, as :func:`bioprobe.task.target.mark_rows` has them.
    """

    n_images: Rows
    n_groups: Rows
    mean_cosine: Scores
    marks: npt.NDArray[np.uint64]

    @property
    def weights(self) -> Scores:
        """Length of the sum of the unit rows of each, float32 of shape (n_taxa,)."""
        return np.asarray(self.n_groups * self.mean_cosine, dtype=np.float32)

    def find_taught(self, images: ImageTable, rows: Rows) -> Mask:
        """Tell which images are among these pictures, by their bytes, wherever they lie."""
        return self.includes(mark_rows(images, rows))

    def includes(self, marks: npt.NDArray[np.uint64]) -> Mask:
        """Tell which marks are those of these pictures, bool of shape (n_marks,)."""
        known = self._ascending
        if not len(known):
            return np.zeros(len(marks), dtype=bool)
        places = np.searchsorted(known, marks)
        return np.asarray(known[np.minimum(places, len(known) - 1)] == marks)

    @functools.cached_property
    def _ascending(self) -> npt.NDArray[np.uint64]:
        """The marks as a search wants them, whoever wrote them."""
        marks = self.marks
        return marks if bool((marks[1:] >= marks[:-1]).all()) else np.sort(marks)

    def to_frame(self) -> pd.DataFrame:
        """Return counts and spread, one row a taxon."""
        import pandas as pd

        return pd.DataFrame({name: getattr(self, name) for name in _FACTS})

    def write(self, folder: Path) -> None:
        """Write it into the folder of a head."""
        self.to_frame().to_parquet(folder / _FACTS_NAME, index=False)
        np.save(folder / _MARKS_NAME, self.marks)

    @classmethod
    def read(cls, folder: Path, n_taxa: int) -> MadeOf:
        """Read what :meth:`write` wrote.

        Raises
        ------
        ValueError
            If it does not fit the head.
        OSError
            If it cannot be read.
        """
        import io

        import pandas as pd

        frame = pd.read_parquet(io.BytesIO(read_bytes(folder / _FACTS_NAME)))
        with reading(folder / _MARKS_NAME):
            marks = np.load(folder / _MARKS_NAME, mmap_mode="r", allow_pickle=False)
        if list(frame.columns) != list(_FACTS) or len(frame) != n_taxa:
            msg = f"{_FACTS_NAME} has {len(frame)} rows for {n_taxa} taxa, or other columns"
            raise ValueError(msg)
        if marks.ndim != 1 or marks.dtype != np.uint64:
            msg = f"{_MARKS_NAME} is {marks.dtype} of shape {marks.shape}"
            raise ValueError(msg)
        return cls(
            frame[N_IMAGES].to_numpy(dtype=np.int64), frame[N_GROUPS].to_numpy(dtype=np.int64),
            frame[MEAN_COSINE].to_numpy(dtype=np.float32), marks,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Prototypes:
    """One image prototype a taxon.

    Parameters
    ----------
    taxa : Taxonomy
        All at one rank.
    vectors : ndarray of float32, shape (n_taxa, dim), unit rows
    made_of : MadeOf
    """

    taxa: Taxonomy
    vectors: Vectors
    made_of: MadeOf

    def __len__(self) -> int:
        return len(self.taxa)

    def list_names(self) -> pd.DataFrame:
        """Return the seven ranks and the common name of each, as heads keep them."""
        import pandas as pd

        rows = [(*taxon.lineage, taxon.common_name) for taxon in self.taxa]
        return pd.DataFrame(rows, columns=list(LABEL_COLUMNS), dtype=object)

    def to_frame(self) -> pd.DataFrame:
        """Return names, counts and spread, one row a taxon."""
        import pandas as pd

        return pd.concat([self.list_names(), self.made_of.to_frame()], axis=1)


def make_prototypes(
    asked: EmbeddingStore | View, rank: Rank, *, group_columns: Sequence[str] = ()
) -> Prototypes:
    """Make the prototype of each taxon of the labels: the mean of unit rows, made unit.

    Pictures of one group count once, by their mean made unit: copies of the same bytes, near
    duplicates where the store knows them, and those of a column, such as a burst.

    Parameters
    ----------
    asked : EmbeddingStore or View
        Whose labelled images count.
    rank : Rank
        Rank of the taxa.
    group_columns : sequence of str
        Columns whose equal values make a group.

    Raises
    ------
    SelectionError
        If no image has a label at the rank, or there is no such column.

    References
    ----------
    Snell, Swersky & Zemel 2017, *Prototypical Networks for Few-shot Learning*, equation 1; Mardia
    & Jupp 2000, *Directional Statistics*, section 9.2 (the mean direction, and the mean resultant
    length, which is the mean cosine to it).
    """
    view = View.of(asked)
    firsts = view.images.number_lineages(LABEL_COLUMNS, view.rows)[1]
    taxa = to_taxonomy(view.images.take(view.rows[firsts], LABEL_COLUMNS)).at(rank)
    labels = find_label_classes(view.images, view.rows, taxa, rank)
    rows, labels = view.rows[labels >= 0], labels[labels >= 0]
    if not len(rows):
        msg = f"no image of {view.folder} has a label at {rank}; give another --level"
        raise SelectionError(msg)
    groups = _number_groups(view, rows, group_columns)
    dim = view.manifest.dim
    sums = np.zeros((len(taxa), dim))
    n_groups = np.zeros(len(taxa), dtype=np.int64)
    for vectors, classes in _iter_groups(view, rows, labels, groups):
        order = np.argsort(classes, kind="stable")
        starts = np.flatnonzero(np.diff(classes[order], prepend=-1))
        sums[classes[order][starts]] += np.add.reduceat(vectors[order], starts, dtype=np.float64)
        n_groups += np.bincount(classes, minlength=len(taxa))
    lengths = np.sqrt(np.einsum("ij,ij->i", sums, sums))
    kept = np.flatnonzero(lengths > _NO_LENGTH)
    vectors = np.empty((len(kept), dim), dtype=np.float32)
    for start in range(0, len(kept), _ROWS_AT_ONCE):
        part = kept[start : start + _ROWS_AT_ONCE]
        vectors[start : start + len(part)] = sums[part] / lengths[part, np.newaxis]
    return Prototypes(
        Taxonomy(tuple(taxa.taxa[place] for place in kept)),
        vectors,
        MadeOf(
            np.bincount(labels, minlength=len(taxa))[kept].astype(np.int64), n_groups[kept],
            (lengths[kept] / n_groups[kept]).astype(np.float32),
            np.unique(mark_rows(view.images, rows)),
        ),
    )  # fmt: skip


def _number_groups(view: View, rows: Rows, columns: Sequence[str]) -> Rows:
    from bioprobe.splits.groups import find_groups, join_groups

    kinds = find_groups(view.store, rows, columns)
    names = join_groups(list(kinds.values()), len(rows))
    alone = names == ""
    numbers = np.unique(names, return_inverse=True)[1].astype(np.int64)
    numbers[alone] = len(rows) + np.arange(int(alone.sum()))
    return numbers


def _iter_groups(
    view: View, rows: Rows, labels: Rows, groups: Rows
) -> Iterator[tuple[Vectors, Rows]]:
    """Read the mean of each group of each class, made unit; some groups at a time.

    Rows that are groups by themselves come in the order in which they lie.

    Yields
    ------
    vectors : ndarray of float32, shape (n_groups, dim), unit rows
    classes : ndarray of int64, shape (n_groups,)
    """
    order = np.lexsort((rows, groups, labels))
    rows, labels, groups = rows[order], labels[order], groups[order]
    starts = np.flatnonzero(np.diff(labels, prepend=-1) | np.diff(groups, prepend=-1))
    sizes = np.diff(starts, append=len(rows))
    alone = starts[sizes == 1]
    alone = alone[np.argsort(rows[alone])]
    for first in range(0, len(alone), _ROWS_AT_ONCE):
        part = alone[first : first + _ROWS_AT_ONCE]
        yield normalise_rows(view.store.read_vectors(rows[part])), labels[part]
    joined = np.repeat(sizes, sizes) > 1
    rows, labels, sizes = rows[joined], labels[joined], sizes[sizes > 1]
    ends = np.cumsum(sizes)
    starts = ends - sizes
    group = 0
    while group < len(starts):
        # A group is read whole, however many pictures it has.
        last = int(np.searchsorted(ends, starts[group] + _ROWS_AT_ONCE, side="right"))
        last = max(last, group + 1)
        first, stop = int(starts[group]), int(ends[last - 1])
        vectors = view.store.read_vectors(rows[first:stop])
        yield (
            normalise_rows(np.add.reduceat(vectors, starts[group:last] - first)),
            labels[starts[group:last]],
        )
        group = last
