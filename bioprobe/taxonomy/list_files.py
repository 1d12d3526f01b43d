"""The kinds of file that hold a taxon list, each read into a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import TaxonomyError
from bioprobe.files import read_lines, read_table
from bioprobe.taxonomy.darwin_core import find_synonym_rows
from bioprobe.taxonomy.rank import RANKS, Rank

if TYPE_CHECKING:
    import pandas as pd

# The ranks that a line of SpeciesNet names, between its identifier and the common name.
_SPECIESNET_RANKS = RANKS[Rank.CLASS.depth :]


def read_list(path: Path) -> tuple[pd.DataFrame, str]:
    """Read a taxon list of any kind into a table.

    Parameters
    ----------
    path : Path
        CSV, TSV, Parquet; JSON of records or of TreeOfLife's ``[[7 ranks], common name]``; a
        text file with one name a line, with SpeciesNet's lines, or of a Darwin Core archive
        (tabs, as ``taxon.txt``).

    Returns
    -------
    frame : DataFrame
        Rank columns and others; its index is the place of each row in the file.
    unit : str
        What the places count: ``line`` or ``entry``.

    Raises
    ------
    TaxonomyError
        If the file holds no name.
    SourceError
        If the file is no table or text that bioprobe reads.

    References
    ----------
    pybioclip, ``txt_emb_species.json``; SpeciesNet, ``*.labels.txt``
    (``uuid;class;order;family;genus;species;common name``); Darwin Core text guide.
    """
    suffix = path.suffix.lower()
    if suffix == ".txt":
        return _read_text(path), "line"
    if suffix == ".json":
        return _read_json(path), "entry"
    frame = read_table(path)
    is_text = suffix in {".csv", ".tsv"}
    frame.index = _count(len(frame), 2 if is_text else 1)
    return _drop_synonyms(frame), "line" if is_text else "entry"


def _read_text(path: Path) -> pd.DataFrame:
    import pandas as pd

    lines = {n: line for n, line in enumerate(read_lines(path), start=1) if line}
    lines = {n: line for n, line in lines.items() if not line.startswith("#")}
    if not lines:
        msg = f"{path} holds no name; write one a line"
        raise TaxonomyError(msg)
    if all(line.count(";") == len(_SPECIESNET_RANKS) + 1 for line in lines.values()):
        return _read_speciesnet(lines)
    rows = [line.split("\t") for line in lines.values()]
    if len(rows[0]) > 1:
        width = len(rows[0])
        padded = [(row + [""] * width)[:width] for row in rows[1:]]
        frame = pd.DataFrame(padded, columns=rows[0], index=list(lines)[1:], dtype=object)
        return _drop_synonyms(frame)
    return pd.DataFrame({Rank.SPECIES.value: list(lines.values())}, index=list(lines))


def _read_speciesnet(lines: dict[int, str]) -> pd.DataFrame:
    import pandas as pd

    names = [rank.value for rank in _SPECIESNET_RANKS]
    rows = {n: [part.strip() for part in line.split(";")[1:]] for n, line in lines.items()}
    # Blank, vehicle and animal have no name at any rank: they are no taxa.
    rows = {n: row for n, row in rows.items() if any(row[:-1])}
    frame = pd.DataFrame(
        list(rows.values()), columns=[*names, "common_name"], index=list(rows), dtype=object
    )
    for name in names[:-1]:
        frame[name] = frame[name].str.capitalize()
    return frame


def _read_json(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        msg = f"{path} is not JSON ({error}); save it as UTF-8 JSON"
        raise TaxonomyError(msg) from error
    if not isinstance(entries, list) or not entries:
        msg = f"{path} holds no list of taxa; expected records, or [[7 ranks], common name]"
        raise TaxonomyError(msg)
    if all(isinstance(entry, dict) for entry in entries):
        frame = pd.DataFrame(entries)
        frame.index = _count(len(entries), 1)
        return _drop_synonyms(frame)
    columns = _read_columns(entries)
    if columns is None:
        number, entry = next((n, e) for n, e in enumerate(entries, 1) if _read_columns([e]) is None)
        msg = (
            f"{path} entry {number} is {str(entry)[:80]}; expected [[7 ranks], common name], "
            "or records only"
        )
        raise TaxonomyError(msg)
    return pd.DataFrame(columns, index=_count(len(entries), 1), dtype=object)


def _read_columns(entries: list[Any]) -> dict[str, npt.NDArray[np.object_]] | None:
    """Return the columns of TreeOfLife's entries, or None where one is something else."""
    # Whole columns at a time: a list may have a million entries.
    if not _are_lists(entries, 2):
        return None
    lineages, common_names = zip(*entries, strict=True)
    if not _are_lists(lineages, len(RANKS)):
        return None
    columns: dict[str, npt.NDArray[np.object_]] = {}
    names = [*(rank.value for rank in RANKS), "common_name"]
    for name, values in zip(names, [*zip(*lineages, strict=True), common_names], strict=True):
        kinds = set(map(type, values))
        if not kinds <= {str, type(None)}:
            return None
        filled = values if kinds == {str} else [value or "" for value in values]
        columns[name] = np.array(filled, dtype=object)
    return columns


def _are_lists(values: Sequence[Any], length: int) -> bool:
    return set(map(type, values)) == {list} and set(map(len, values)) == {length}


def _drop_synonyms(frame: pd.DataFrame) -> pd.DataFrame:
    columns: dict[str, Sequence[str]] = {
        str(name).lower(): frame[name].astype(str).tolist()
        for name in frame.columns
        if str(name).lower() == "taxonomicstatus"
    }
    return frame.drop(index=frame.index[find_synonym_rows(columns)])


def _count(n_rows: int, first: int) -> pd.RangeIndex:
    import pandas as pd

    return pd.RangeIndex(first, first + n_rows)
