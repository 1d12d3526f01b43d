"""What a search found: drawn in a notebook, written as a page that opens from disk."""

from __future__ import annotations

from pathlib import Path

from bioprobe import index
from bioprobe.face.chosen import DRAWN, Pictures
from bioprobe.types import Rows


class Neighbors(index.Neighbors, Pictures):
    """Images nearest to one question, which a notebook draws; see the base for the fields."""

    def choose(self) -> tuple[Rows, None]:
        """Return the rows that were found."""
        return self.rows, None

    def write_page(self, path: str | Path, order: str | None = None) -> int:
        """Write the answers as one self-contained HTML page.

        Parameters
        ----------
        path : str or Path
            HTML file.
        order : str, optional
            Column that they are sorted by, as for :meth:`Predictions.write_page`; by default the
            nearest stand first.

        Returns
        -------
        int
            Pictures on the page.

        Raises
        ------
        SelectionError
            If there is no such column.
        """
        from bioprobe.page.sheets import MOST_SHOWN, write_search_sheet

        write_search_sheet(Path(path), self, order)
        return min(len(self.rows), MOST_SHOWN)

    def __repr__(self) -> str:
        return f"<Neighbors: {len(self.rows):,} images nearest to {self.question.text}>"

    def _repr_html_(self) -> str:
        from bioprobe.page.sheets import draw_pictures, show_answers

        drawn = show_answers(self)[:DRAWN]
        rest = f"<p>… {len(self.rows) - DRAWN:,} more</p>" if len(self.rows) > DRAWN else ""
        return draw_pictures(drawn) + rest
