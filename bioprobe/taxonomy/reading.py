"""Taxonomies from files, and those that ship with bioprobe."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.errors import TaxonomyError
from bioprobe.resources import prompts_dir
from bioprobe.taxonomy.columns import (
    COMMON_NAME,
    LABEL_COLUMNS,
    fill_holes,
    find_rank_columns,
    read_labels,
)
from bioprobe.taxonomy.contradictions import find_contradictions
from bioprobe.taxonomy.list_files import read_list
from bioprobe.taxonomy.taxon import Taxon
from bioprobe.taxonomy.taxonomy import Taxonomy

if TYPE_CHECKING:
    import pandas as pd


def shipped_taxonomies() -> list[str]:
    """Return the names of the taxonomies that ship with bioprobe."""
    return sorted(path.stem for path in (prompts_dir() / "taxonomies").glob("*.csv"))


def read_taxonomy(source: str | Path) -> Taxonomy:
    """Read a taxonomy from a table, or one that ships with bioprobe.

    Parameters
    ----------
    source : str or Path
        A CSV, TSV, Parquet or JSON file with rank columns (any subset) or Darwin Core terms,
        TreeOfLife's JSON, a text file with one name or one line of SpeciesNet a line, or the
        name of a shipped taxonomy such as ``sketch``. A ``prompt`` column holds texts that
        describe the taxon, several in as many rows.

    Returns
    -------
    Taxonomy

    Raises
    ------
    TaxonomyError
        If the file is missing, has no rank column, a row has no name, or two rows contradict
        each other (:func:`bioprobe.taxonomy.contradictions.find_contradictions`).
    SourceError
        If the file is no table or text that bioprobe reads.
    """
    path = Path(source)
    shipped = prompts_dir() / "taxonomies" / f"{source}.csv"
    if not path.is_file() and shipped.is_file():
        path = shipped
    if not path.is_file():
        known = ", ".join(shipped_taxonomies())
        msg = f"no taxon list at {source}; give a file, or one that ships: {known}"
        raise TaxonomyError(msg)
    with _collecting_later():
        frame, unit = read_list(path)
        return _from_frame(frame, str(source), unit)


@contextlib.contextmanager
def _collecting_later() -> Iterator[None]:
    # A list of 870,000 taxa makes millions of objects that stay, and the collector would look
    # through them again and again: half of the reading time.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _from_frame(frame: pd.DataFrame, source: str, unit: str) -> Taxonomy:
    if not set(find_rank_columns(frame.columns)) - {LABEL_COLUMNS[-1]}:
        columns = ", ".join(str(column) for column in frame.columns)
        msg = (
            f"{source} has no rank column among {columns}; expected one at least of "
            f"{', '.join(LABEL_COLUMNS[:-1])}"
        )
        raise TaxonomyError(msg)
    labels = read_labels(frame)
    places = frame.index.tolist()
    lineages = list(zip(*(labels[rank].tolist() for rank in LABEL_COLUMNS[:-1]), strict=True))
    for place, lineage in zip(places, lineages, strict=True):
        if not any(lineage):
            msg = f"{source} {unit} {place}: no name at any rank; fill one in or remove the {unit}"
            raise TaxonomyError(msg)
    _refuse_contradictions(lineages, places, source, unit)
    prompts = fill_holes(frame["prompt"]).tolist() if "prompt" in frame else [""] * len(frame)
    rows = zip(lineages, labels[COMMON_NAME].tolist(), prompts, strict=True)
    return Taxonomy.merge(
        Taxon(lineage, common_name, (str(prompt),) if prompt else ())
        for lineage, common_name, prompt in rows
    )


def _refuse_contradictions(
    lineages: list[tuple[str, ...]], places: list[int], source: str, unit: str
) -> None:
    found = find_contradictions(lineages)
    if not found:
        return
    at = [f"{unit} {places[row]}" for row in found[0].rows]
    more = f" ({len(found) - 1} more contradictions follow)" if len(found) > 1 else ""
    msg = f"{source} {at[-1]}: {found[0].describe(at)}{more}"
    raise TaxonomyError(msg)
