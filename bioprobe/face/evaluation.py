"""An evaluation with its report. Apart from other answers, as it needs what learns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe import evaluation
from bioprobe.errors import StoreError

if TYPE_CHECKING:
    from bioprobe.report.section import Section
    from bioprobe.store import EmbeddingStore
    from bioprobe.taxonomy import Taxon


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Evaluation(evaluation.Evaluation):
    """Methods side by side on the same images, with their report; see the base for the fields.

    Parameters
    ----------
    store : EmbeddingStore
        Store of the images, whose pictures the report shows.
    """

    __module__ = "bioprobe"

    store: EmbeddingStore | None = None

    def report(
        self,
        path: str | Path = "report.html",
        *,
        title: str | None = None,
        names: Iterable[Taxon] | None = None,
        sections: Sequence[Section] = (),
    ) -> Path:
        """Write one self-contained HTML page of the evaluation and the data behind it.

        Parameters
        ----------
        path : str or Path
            HTML file.
        title : str, optional
            First heading; by default the store and the level.
        names : iterable of Taxon, optional
            Whose common names are shown; by default those of the labels and of added taxa.
        sections : sequence of Section
            Further parts, such as counts; :meth:`bioprobe.Store.report` makes them.
        """
        from bioprobe.report import write_report

        if self.store is None:
            msg = "an evaluation without a store has no pictures to show; ask a store for it"
            raise StoreError(msg)
        write_report(self.store, self, Path(path), title=title, names=names, sections=sections)
        return Path(path)

    def to_json(self) -> str:
        """Return one entry a method, with all figures, in the shape of CLIP_benchmark's results."""
        from bioprobe.evaluation.keeping import dump_json, to_clip_benchmark

        return dump_json(to_clip_benchmark(self))

    def write_json(self, path: str | Path) -> None:
        """Write what :meth:`to_json` returns."""
        from bioprobe.evaluation.keeping import write_results

        write_results(Path(path), self)
