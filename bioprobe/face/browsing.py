"""Sheeting through a store: groups of pictures, a page of them in an order, and one by itself."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from bioprobe.errors import SelectionError, SourceError
from bioprobe.face.opened import Opened
from bioprobe.files import replacing
from bioprobe.options import Mask, Option, Part, Where, question
from bioprobe.result import Notes, Result, Table

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.images.image_table import ImageTable
    from bioprobe.images.regions import Region
    from bioprobe.store.catalogue import Catalogue, Memory
    from bioprobe.types import Rows

#: Order in which neighbours look alike, and how many pictures are ordered so at once.
ALIKE, MOST_ALIKE = "alike", 10_000
# As Store.order averages where nothing is said.
_AVERAGED = 10

By = Annotated[
    str | None,
    Option(
        "What groups the pictures: a rank, any column, sequence (bursts and events), or mask:NAME "
        "(what a mask says of each, such as why it drops it).",
        metavar="COLUMN",
    ),
]
Value = Annotated[str | None, Option("Only the pictures of this group; '' of none.")]
Order = Annotated[
    str,
    Option(
        "Order of the pictures: added, file, alike (neighbours look alike), or a rank or column; "
        "with - before it the other way round."
    ),
]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Groups(Result):
    """Groups of pictures, some at a time.

    Parameters
    ----------
    by : str
        What groups them.
    names : list of str
        ``""`` is the group of which nothing is said.
    n_images : ndarray of int64, shape (n_groups,)
    firsts : ndarray of int64, shape (n_groups,)
        First row of each, that stands for it.
    n_groups : int
        Groups in all.
    page, n_pages : int
        Which of how many pages of groups, from 1.
    notes : tuple of Note
        What is to be said of them.
    """

    by: str
    names: list[str]
    n_images: Rows
    firsts: Rows
    n_groups: int
    page: int
    n_pages: int
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row a group: its name, how many images it has, its first row."""
        import pandas as pd

        return pd.DataFrame({self.by: self.names, "n_images": self.n_images, "row": self.firsts})


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Sheet(Result):
    """A page of pictures.

    Parameters
    ----------
    frame : DataFrame
        One row a picture: ``row``, ``file_name``, ``label`` (the lowest rank that is known), the
        columns of the image table, and ``group`` where they are grouped.
    n_images : int
        Pictures in all.
    page, n_pages : int
        Which of how many pages, from 1.
    notes : tuple of Note
        What is to be said of them.
    """

    frame: pd.DataFrame
    n_images: int
    page: int
    n_pages: int
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return the pictures of the page."""
        return self.frame


@dataclasses.dataclass(frozen=True)
class RegionOfPicture:
    """A region of a picture.

    Parameters
    ----------
    row : int
        Of the store.
    box : Region, optional
        None for the whole picture.
    label : str
        What is known of it, from the lowest rank up, else the detector's category.
    confidence : float
        The detector's, NaN where there is none.
    """

    row: int
    box: Region | None
    label: str
    confidence: float


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Look(Result):
    """All that the store knows of one picture, or region.

    Parameters
    ----------
    row : int
        Of the store.
    file_name : str
        As answers name it.
    label : str
        The lowest rank that is known.
    labels : dict of str to str
        By rank, and the common name; without holes.
    facts : dict of str to str
        Further columns, as written, without holes.
    size_px : tuple of int
        Width and height of the whole picture, upright; zeros where nobody saw it.
    parts : tuple of RegionOfPicture
        Regions of the same picture, itself among them.
    before, after : int, optional
        Rows next to it in the order asked; None at the ends.
    place, n_images : int
        Which of how many, from 1; 0 where it is not among those that were chosen.
    notes : tuple of Note
        What is to be said of it.
    """

    row: int
    file_name: str
    label: str
    labels: dict[str, str]
    facts: dict[str, str]
    size_px: tuple[int, int]
    parts: tuple[RegionOfPicture, ...]
    before: int | None
    after: int | None
    place: int
    n_images: int
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row with all columns that are known."""
        import pandas as pd

        known = {"row": self.row, "file_name": self.file_name, **self.labels, **self.facts}
        return pd.DataFrame([known])


class Browses(Opened):
    """Sheeting through the pictures."""

    def narrow(self, where: Where = None, *, mask: Mask = None, split: Part = None) -> Self:
        """Return what :meth:`where` returns, and keep it while nothing of it changes.

        Parameters
        ----------
        where, mask, split : str, optional
            As there.
        """
        if not (where or mask or split):
            return self
        from bioprobe.images.conditions import list_names
        from bioprobe.store.measured import MEASURE_COLUMNS
        from bioprobe.store.selections import SPLITS, stamp_selection

        store = self._view.store
        named = [mask, f"{SPLITS}{split.partition(':')[0]}" if split else None]
        stamps = tuple(stamp_selection(store, one) for one in named if one)
        if where and set(list_names(where)) & set(MEASURE_COLUMNS):
            return self.where(where, mask=mask, split=split)
        return self._memory.keep(
            (where, mask, split, *stamps),
            lambda: self.where(where or None, mask=mask or None, split=split or None),
        )

    @question
    def write_table(
        self,
        target: Annotated[
            str | Path,
            Option("File to write, .csv or .parquet.", ("-",), shell=Path, writes="file"),
        ],
    ) -> Table:
        """Write the image table of what is asked: row, file, labels and all other columns.

        Parameters
        ----------
        target : str or Path
            A ``.csv`` or ``.parquet``. Where files lie on this machine is not among the columns.

        Raises
        ------
        SourceError
            If the ending is another.
        """
        path = Path(target)
        if path.suffix.lower() not in {".csv", ".parquet"}:
            msg = f"a table is written as .csv or .parquet, got {path.name}"
            raise SourceError(msg)
        rows, images = self.rows, self._view.images
        frame = images.take(rows, _list_shown(images))
        frame.insert(0, "row", rows)
        frame.insert(1, "file_name", images.name_files(rows))
        with replacing(path) as temporary:
            if path.suffix.lower() == ".csv":
                frame.to_csv(temporary, index=False)
            else:
                frame.to_parquet(temporary, index=False)
        return Table(frame).say([f"{len(frame):,} images -> {path}"])

    def columns(self) -> Table:
        """List what pictures can be grouped by: ranks, columns, sequences and masks.

        Returns
        -------
        Table
            ``name``, as :meth:`groups` takes it, and ``kind``: rank, column, sequence or mask.
        """
        import pandas as pd

        from bioprobe.images.camera import CAPTURED_AT
        from bioprobe.images.sequences import SEQUENCE_COLUMNS
        from bioprobe.store.catalogue import MASK, SEQUENCE
        from bioprobe.store.selections import list_masks
        from bioprobe.taxonomy import RANKS
        from bioprobe.taxonomy.columns import COMMON_NAME

        store, images = self._view.store, self._view.images

        def list_columns() -> list[tuple[str, str]]:
            known = [(str(one), "rank") for one in RANKS if images.has_label(one)]
            names = [COMMON_NAME] if images.has_label(COMMON_NAME) else []
            known += [(one, "column") for one in (*names, *images.free_columns)]
            if SEQUENCE not in images.columns and any(
                one in images.columns for one in (*SEQUENCE_COLUMNS, CAPTURED_AT)
            ):
                known.append((SEQUENCE, "sequence"))
            return known

        known = self._memory.keep(("columns",), list_columns)
        masks = [(f"{MASK}{one}", "mask") for one in list_masks(store)]
        return Table(pd.DataFrame([*known, *masks], columns=["name", "kind"]))

    def narrow_further(self, by: str, value: str, where: str | None = None) -> Table:
        """Return the ranks below one, with the condition that its group is all that is asked.

        Parameters
        ----------
        by, value : str
            A rank and its group.
        where : str, optional
            What is asked already.

        Returns
        -------
        Table
            ``name`` of each rank below of which something is known there, and ``where``.
        """
        import pandas as pd

        from bioprobe.images.conditions import write_equality
        from bioprobe.taxonomy import RANKS

        names: list[str] = []
        if by in RANKS and value:
            rows = self._list_rows(by, value, "added")
            images, below = self._view.images, RANKS[RANKS.index(by) + 1 :]
            names = [one for one in below if (images.labels(one)[rows] != "").any()]
        met = write_equality(by, value)
        met = f"({where}) and {met}" if where else met
        return Table(pd.DataFrame({"name": names, "where": [met] * len(names)}))

    @question
    def groups(
        self,
        by: By = "species",
        *,
        like: Annotated[str, Option("Only groups with this in their name.")] = "",
        largest: Annotated[bool, Option("The largest first, rather than by name.")] = True,
        page: Annotated[int, Option("Which page, from 1.", least=1)] = 1,
        size: Annotated[int, Option("Groups of a page.", least=1)] = 60,
    ) -> Groups:
        """Count the pictures of each group.

        Parameters
        ----------
        by : str
            A rank, any column, ``sequence``, or ``mask:NAME``.
        like : str
            Only groups with this in their name, whatever its case.
        largest : bool
            The largest first, rather than by name.
        page, size : int
            Which page, from 1, and how many groups one has.

        Raises
        ------
        SelectionError
            If there is no such column, or no such page.
        """
        import numpy as np

        by = by or "species"
        counts = self._catalogue.count(self.rows, by)
        places = np.arange(len(counts.names))
        if like:
            wanted = like.casefold()
            places = np.array(
                [at for at, name in enumerate(counts.names) if wanted in name.casefold()], dtype=int
            )
        if largest:
            places = places[np.argsort(-counts.n_rows[places], kind="stable")]
        shown, n_pages = _turn(places, page, size)
        names = [counts.names[at] for at in shown.tolist()]
        return Groups(
            by, names, counts.n_rows[shown], counts.firsts[shown], len(places), page, n_pages,
            self._notes,
        )  # fmt: skip

    @question
    def browse(
        self,
        *,
        by: By = None,
        value: Value = None,
        order: Order = "added",
        page: Annotated[int, Option("Which page, from 1.", least=1)] = 1,
        size: Annotated[int, Option("Pictures of a page.", least=1)] = 60,
    ) -> Sheet:
        """Return a page of pictures, all or those of a group, in an order.

        Parameters
        ----------
        by, value : str, optional
            Only the pictures whose group this is; see :meth:`groups`.
        order : str
            ``added``, ``file``, ``alike`` (of 10,000 pictures at most), or a rank or column; with
            ``-`` before it the other way round.
        page, size : int
            Which page, from 1, and how many pictures one has.

        Raises
        ------
        SelectionError
            If there is no such column, group or page.
        """
        rows = self._list_rows(by, value, order)
        shown, n_pages = _turn(rows, page, size)
        images = self._view.images
        frame = images.take(shown, _list_shown(images)).reset_index(drop=True)
        frame.insert(0, "row", shown)
        frame.insert(1, "file_name", images.name_files(shown))
        frame.insert(2, "label", [_name(one) for one in frame.to_dict("records")])
        if by:
            groups = self._catalogue.group(by)
            frame["group"] = [groups.names[at] for at in groups.numbers[shown].tolist()]
        return Sheet(frame, len(rows), page, n_pages, self._notes)

    @question
    def look(
        self,
        row: Annotated[int, Option("Row of the store.", ("-",), least=0)],
        *,
        by: By = None,
        value: Value = None,
        order: Order = "added",
    ) -> Look:
        """Return all that is known of one picture, and what stands before and after it.

        Parameters
        ----------
        row : int
            Row of the store.
        by, value, order : str, optional
            Among which pictures, as for :meth:`browse`.

        Raises
        ------
        SelectionError
            If there is no such picture.
        """
        import numpy as np

        from bioprobe.cells import write_cell
        from bioprobe.images.image_table import FACT_COLUMNS, LOCATION_COLUMNS
        from bioprobe.images.regions import REGION
        from bioprobe.taxonomy.columns import LABEL_COLUMNS, LABELS_FROM

        store, images = self._view.store, self._view.images
        at = int(np.searchsorted(store.rows, row))
        if at == len(store.rows) or store.rows[at] != row:
            msg = f"no row {row} is in {self.folder}; it has {len(store.rows):,} images"
            raise SelectionError(msg)
        known = images.take(np.array([row], dtype=np.int64)).iloc[0]
        written = {str(name): write_cell(value) for name, value in known.dropna().items()}
        labels = {name: written[name] for name in LABEL_COLUMNS if written.get(name)}
        hidden = {*LABEL_COLUMNS, *LOCATION_COLUMNS, REGION, LABELS_FROM, *FACT_COLUMNS}
        facts = {name: text for name, text in written.items() if text and name not in hidden}
        parts = tuple(self._describe_part(int(one)) for one in self._catalogue.find_regions(row))
        chosen = self._list_rows(by, value, order)
        places = np.flatnonzero(chosen == row)
        place = int(places[0]) if len(places) else -1
        return Look(
            row, str(images.name_files(np.array([row]))[0]), _name(known), labels, facts,
            (int(known["width_px"]), int(known["height_px"])), parts,
            int(chosen[place - 1]) if place > 0 else None,
            int(chosen[place + 1]) if 0 <= place < len(chosen) - 1 else None,
            place + 1, len(chosen), self._notes,
        )  # fmt: skip

    def _describe_part(self, row: int) -> RegionOfPicture:
        import numpy as np

        from bioprobe.images.regions import DETECTION_CATEGORY, DETECTION_CONFIDENCE, REGION, Region

        known = self._view.images.take(np.array([row], dtype=np.int64)).iloc[0]
        said = known.get(DETECTION_CONFIDENCE)
        try:
            confidence = float(said)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            confidence = float("nan")
        label = _name(known) or str(known.get(DETECTION_CATEGORY) or "")
        return RegionOfPicture(row, Region.parse(str(known[REGION])), label, confidence)

    def _list_rows(self, by: str | None, value: str | None, order: str) -> Rows:
        """Return all rows that are asked for, in their order."""
        from bioprobe.store.catalogue import MASK

        catalogue, rows = self._catalogue, self.rows

        def choose() -> Rows:
            found = rows if by is None or value is None else catalogue.choose(rows, by, value)
            return self._sort(found) if order == ALIKE else catalogue.order(found, order)

        if by is not None and by.startswith(MASK):
            return choose()
        return self._memory.keep((by, value, order), choose)

    def _sort(self, rows: Rows) -> Rows:
        """Return rows along one line, so that neighbours are alike."""
        from bioprobe.clustering.clusters import find_units
        from bioprobe.clustering.order import order_images

        if len(rows) <= MOST_ALIKE:
            # Whoever looks writes nothing: the column of that name stays as it is.
            view = self._view.take(rows)
            units, _ = find_units(view, None)
            return order_images(view, _AVERAGED, units, ALIKE).rows
        if ALIKE in self._view.images.columns:
            return self._sort_by_column(rows)
        msg = (
            f"{len(rows):,} pictures are too many to be ordered alike at once, at most "
            f"{MOST_ALIKE:,}; narrow them by a group or a condition, or keep their order: bioprobe "
            "cluster --order"
        )
        raise SelectionError(msg)

    def _sort_by_column(self, rows: Rows) -> Rows:
        """Return rows by the places that the store keeps; those without one come last."""
        import numpy as np
        import pandas as pd

        places = pd.to_numeric(self._view.images.column(ALIKE).iloc[rows], errors="coerce")
        ordered: Rows = rows[np.argsort(places.to_numpy(dtype=np.float64), kind="stable")]
        return ordered

    @functools.cached_property
    def _memory(self) -> Memory:
        from bioprobe.store.catalogue import Memory

        return Memory()

    @property
    def _catalogue(self) -> Catalogue:
        from bioprobe.store.catalogue import Catalogue

        return Catalogue.of(self._view.store)


def _list_shown(images: ImageTable) -> list[str]:
    """Return the columns that do not say where on this machine a file lies."""
    return [one for one in images.columns if one not in {"root", "path"}]


def _turn(of: Rows, page: int, size: int) -> tuple[Rows, int]:
    """Return what is on a page, and how many pages there are: one at least."""
    n_pages = max(1, -(-len(of) // size))
    if page > n_pages:
        msg = f"there is no page {page:,}: {len(of):,} are {n_pages:,} pages of {size:,}"
        raise SelectionError(msg)
    return of[(page - 1) * size : page * size], n_pages


def _name(known: Any) -> str:  # noqa: ANN401 - a row of a table
    """Return the lowest rank that is known of a picture, ``""`` where none is."""
    from bioprobe.taxonomy import RANKS

    return next((str(known[one]) for one in reversed(RANKS) if known[one]), "")
