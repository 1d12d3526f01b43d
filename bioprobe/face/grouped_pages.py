"""Pictures in groups, in an order and on a map, each with its page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bioprobe.clustering import clusters
from bioprobe.errors import MissingExtraError, MisuseError
from bioprobe.face.chosen import Paged, Pictures
from bioprobe.files import replacing
from bioprobe.mapping import result as mapped
from bioprobe.types import Rows


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Clusters(clusters.Clusters, Pictures, Paged):
    """Groups of pictures that are alike, with their page; see the base for the fields."""

    def choose(self) -> tuple[Rows, Sequence[str]]:
        """Return the rows, and of each its cluster."""
        return self.rows, self.values.tolist()

    def _write(self, path: Path) -> int:
        from bioprobe.page.sheets import write_cluster_sheet

        return write_cluster_sheet(path, self)


class Order(clusters.Order, Pictures, Paged):
    """Pictures along one line, with their page; see the base for the fields."""

    def choose(self) -> tuple[Rows, None]:
        """Return the rows along the line."""
        return self.rows, None

    def _write(self, path: Path) -> int:
        from bioprobe.page.sheets import write_order_sheet

        return write_order_sheet(path, self)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Map(mapped.Map):
    """Where images lie on a map, with its picture; see the base for the fields."""

    def write_picture(self, path: str | Path, level: str | None = None) -> None:
        """Draw the map with the names of its commonest classes, none of which covers another.

        Parameters
        ----------
        path : str or Path
            PNG file.
        level : str, optional
            Rank or column; by default as :meth:`bioprobe.Store.map_classes`.

        Raises
        ------
        MisuseError
            If the file has another ending.
        MissingExtraError
            If datamapplot is not installed.
        SelectionError
            If there is no such rank or column.
        """
        from bioprobe.images.image_table import read_level
        from bioprobe.mapping.classes import choose_level, code_classes, list_levels
        from bioprobe.report.map import MISSING, draw_map

        path = Path(path)
        if path.suffix.lower() != ".png":
            msg = f"the picture of a map is a PNG, got {path}; end its name in .png"
            raise MisuseError(msg)
        named = level or choose_level(list_levels(self.images, self.rows))
        labels = np.full(len(self.rows), "", dtype=object)
        if named:
            labels = self.images.labels(read_level(named, self.images))[self.rows]
        classes = code_classes(named, self.rows, labels)
        try:
            data = draw_map(self.points.astype(np.float64), classes)
        except ImportError as error:
            raise MissingExtraError(MISSING) from error
        with replacing(path) as temporary:
            temporary.write_bytes(data)
