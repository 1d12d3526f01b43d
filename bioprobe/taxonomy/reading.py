"""Taxonomies from files, and those that ship with bioprobe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.errors import TaxonomyError
from bioprobe.files import read_lines, read_table
from bioprobe.resources import prompts_dir
from bioprobe.taxonomy.columns import LABEL_COLUMNS, fill_holes, find_rank_columns, read_labels
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
        A CSV, TSV or Parquet file with rank columns (any subset), or a text file with one name
        a line, or the name of a shipped taxonomy such as ``sketch``. A ``prompt`` column holds
        texts that describe the taxon, several in as many rows.

    Returns
    -------
    Taxonomy

    Raises
    ------
    TaxonomyError
        If the file is missing, has no rank column, or a row has no name.
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
    if path.suffix.lower() == ".txt":
        return _read_names(path)
    return _from_frame(read_table(path), str(source))


def _read_names(path: Path) -> Taxonomy:
    names = [line for line in read_lines(path) if line and not line.startswith("#")]
    if not names:
        msg = f"{path} holds no name; write one a line"
        raise TaxonomyError(msg)
    return Taxonomy.merge(Taxon.from_names({"species": name}) for name in names)


def _from_frame(frame: pd.DataFrame, source: str) -> Taxonomy:
    if not set(find_rank_columns(frame.columns)) - {LABEL_COLUMNS[-1]}:
        columns = ", ".join(str(column) for column in frame.columns)
        msg = (
            f"{source} has no rank column among {columns}; expected one at least of "
            f"{', '.join(LABEL_COLUMNS[:-1])}"
        )
        raise TaxonomyError(msg)
    labels = read_labels(frame)
    prompts = fill_holes(frame["prompt"]) if "prompt" in frame else [""] * len(frame)
    taxa = []
    rows = zip(labels.itertuples(index=False, name=None), prompts, strict=True)
    for number, (row, prompt) in enumerate(rows, start=2):
        if not any(row[:-1]):
            msg = f"{source} line {number}: no name at any rank; fill one in or remove the line"
            raise TaxonomyError(msg)
        taxa.append(Taxon(tuple(row[:-1]), row[-1], (str(prompt),) if prompt else ()))
    return Taxonomy.merge(taxa)
