"""Taxonomies from files, and those that ship with bioprobe."""

from __future__ import annotations

import contextlib
import gc
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.access import is_file
from bioprobe.errors import TaxonomyError
from bioprobe.files import prompts_dir, read_json, read_lines, replacing
from bioprobe.table_bounds import check_json, check_records
from bioprobe.taxonomy.columns import (
    COMMON_NAME,
    LABEL_COLUMNS,
    fill_holes,
    find_rank_columns,
    find_synonym_rows,
    read_labels,
    spell_column,
)
from bioprobe.taxonomy.contradictions import find_all_contradictions
from bioprobe.taxonomy.scientific_names import recognise_names
from bioprobe.taxonomy.taxon import RANKS, Rank, Taxon
from bioprobe.taxonomy.taxonomy import Taxonomy

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
    from bioprobe.tables import read_table

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
    _refuse_common_names(lines, path)
    return pd.DataFrame({Rank.SPECIES.value: list(lines.values())}, index=list(lines))


def _refuse_common_names(lines: Mapping[int, str], source: Path) -> None:
    _, common = recognise_names(lines.values())
    places = [place for place, name in lines.items() if name in common]
    if not places:
        return
    shown = ", ".join(f"line {place} {lines[place]!r}" for place in places[:3])
    msg = (
        f"{source}: {len(places):,} of {len(lines):,} are no scientific names ({shown}); classes "
        "that are no taxa are given with --classes FILE, and common names beside scientific ones "
        "in a table with the columns species and common_name"
    )
    raise TaxonomyError(msg)


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

    check_json(path)
    try:
        entries = read_json(path)
    except ValueError as error:
        msg = f"{path} is not JSON ({error}); save it as UTF-8 JSON"
        raise TaxonomyError(msg) from error
    if not isinstance(entries, list) or not entries:
        msg = f"{path} holds no list of taxa; expected records, or [[7 ranks], common name]"
        raise TaxonomyError(msg)
    if all(isinstance(entry, dict) for entry in entries):
        check_records(path, entries)
        frame = pd.DataFrame(entries)
        frame.index = _count(len(entries), 1)
        return _drop_synonyms(frame)
    columns = read_entries(entries)
    if columns is None:
        number, entry = next((n, e) for n, e in enumerate(entries, 1) if read_entries([e]) is None)
        msg = (
            f"{path} entry {number} is {str(entry)[:80]}; expected [[7 ranks], common name], "
            "or records only"
        )
        raise TaxonomyError(msg)
    return pd.DataFrame(columns, index=_count(len(entries), 1), dtype=object)


def read_entries(entries: list[Any]) -> dict[str, npt.NDArray[np.object_]] | None:
    """Return the columns of TreeOfLife's entries, or None where one is something else.

    Parameters
    ----------
    entries : list of [[7 ranks], common name]
        The species may be the epithet.

    Returns
    -------
    dict of str to ndarray of object, shape (n_entries,)
        The seven ranks and the common name, ``""`` where there is none.
    """
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
        spell_column(name): frame[name].astype(str).tolist()
        for name in frame.columns
        if spell_column(name) == "taxonomicstatus"
    }
    return frame.drop(index=frame.index[find_synonym_rows(columns)])


def _count(n_rows: int, first: int) -> pd.RangeIndex:
    import pandas as pd

    return pd.RangeIndex(first, first + n_rows)


#: Column of names that stand for a species until it has one.
PROVISIONAL = "provisional"
_PROVISIONAL_NAME = re.compile(r"\S.* sp\. \d+")


def is_provisional(name: str) -> bool:
    """Tell whether a name stands for a species until it has one.

    Examples
    --------
    >>> is_provisional("Noctuidae sp. 1"), is_provisional("Panthera sp."), is_provisional("Felis")
    (True, False, False)
    """
    return _PROVISIONAL_NAME.fullmatch(name) is not None


def shipped_taxonomies() -> list[str]:
    """Return the names of the taxonomies that ship with bioprobe."""
    return sorted(path.stem for path in (prompts_dir() / "taxonomies").glob("*.csv"))


def read_taxonomy(
    source: str | Path,
    rank_columns: Mapping[Rank, str] | None = None,
    *,
    allow_contradictions: bool = False,
) -> Taxonomy:
    """Read a taxonomy from a table, or one that ships with bioprobe.

    As :func:`read_taxa`; rows of one taxon are made one.
    """
    with collecting_later():
        rows = read_taxa(source, rank_columns, allow_contradictions=allow_contradictions)
        return Taxonomy.merge(rows)


def read_taxa(
    source: str | Path,
    rank_columns: Mapping[Rank, str] | None = None,
    *,
    allow_contradictions: bool = False,
) -> tuple[Taxon, ...]:
    """Read the rows of a taxon list, of which several may be of one taxon.

    Parameters
    ----------
    source : str or Path
        A CSV, TSV, Parquet or JSON file with rank columns (any subset) or Darwin Core terms,
        TreeOfLife's JSON, a text file with one name or one line of SpeciesNet a line, or the
        name of a shipped taxonomy such as ``sketch``. A ``prompt`` column holds texts that
        describe the taxon, several in as many rows.
    rank_columns : mapping of Rank to str, optional
        Columns that hold a rank under another name; ``""`` is none.
    allow_contradictions : bool
        Whether rows that contradict each other are read, as of a list that was checked when it was
        written.

    Raises
    ------
    TaxonomyError
        If the file is missing, has no rank column, a row has no name, a line of a text file no
        scientific one, two rows contradict each other
        (:func:`bioprobe.taxonomy.contradictions.find_contradictions`), or a name stands at two
        ranks.
    SourceError
        If the file is no table or text that bioprobe reads.
    """
    path = Path(source)
    shipped = prompts_dir() / "taxonomies" / f"{source}.csv"
    if not is_file(path) and is_file(shipped):
        path = shipped
    if path.suffix == ".npy" or (not is_file(path) and str(source).startswith("treeoflife")):
        msg = (
            f"{source} is a text head and no taxon list: zeroshot asks it, and taxa list --head "
            "lists it; the .json of names beside a head's .npy is a list"
        )
        raise TaxonomyError(msg)
    if not is_file(path):
        known = ", ".join(shipped_taxonomies())
        msg = f"no taxon list at {source}; give a file, or one that ships: {known}"
        raise TaxonomyError(msg)
    with collecting_later():
        frame, unit = read_list(path)
        taxa, places = _from_frame(frame, str(source), unit, rank_columns)
        if not allow_contradictions:
            _refuse_contradictions([taxon.lineage for taxon in taxa], places, str(source), unit)
        return taxa


@contextlib.contextmanager
def collecting_later() -> Iterator[None]:
    """Keep the collector of garbage away while many objects are made that stay."""
    # A list of 870,000 taxa makes millions of objects that stay, and the collector would look
    # through them again and again: half of the reading time.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _from_frame(
    frame: pd.DataFrame, source: str, unit: str, given: Mapping[Rank, str] | None
) -> tuple[tuple[Taxon, ...], list[int]]:
    if not set(find_rank_columns(frame.columns, given)) - {COMMON_NAME}:
        columns = ", ".join(str(column) for column in frame.columns)
        msg = (
            f"{source} has no rank column among {columns}; expected one at least of "
            f"{', '.join(LABEL_COLUMNS[:-1])}; one of another name is read by: "
            "bioprobe taxa import LIST --rank-column species=COLUMN"
        )
        raise TaxonomyError(msg)
    labels = read_labels(frame, given, apart=False)
    places = frame.index.tolist()
    lineages = list(zip(*(labels[rank].tolist() for rank in LABEL_COLUMNS[:-1]), strict=True))
    if PROVISIONAL in frame:
        own = fill_holes(frame[PROVISIONAL]).tolist()
        lineages = [
            (*lineage[:-1], str(name) or lineage[-1])
            for lineage, name in zip(lineages, own, strict=True)
        ]
    for place, lineage in zip(places, lineages, strict=True):
        if not any(lineage):
            msg = f"{source} {unit} {place}: no name at any rank; fill one in or remove the {unit}"
            raise TaxonomyError(msg)
    prompts = fill_holes(frame["prompt"]).tolist() if "prompt" in frame else [""] * len(frame)
    rows = zip(lineages, labels[COMMON_NAME].tolist(), prompts, strict=True)
    taxa = tuple(
        Taxon(lineage, common_name, (str(prompt),) if prompt else ())
        for lineage, common_name, prompt in rows
    )
    return taxa, places


def _refuse_contradictions(
    lineages: list[tuple[str, ...]], places: list[int], source: str, unit: str
) -> None:
    found = find_all_contradictions(lineages)
    if not found:
        return
    at = [f"{unit} {places[row]}" for row in found[0].rows]
    more = f" ({len(found) - 1} more contradictions follow)" if len(found) > 1 else ""
    msg = f"{source} {at[-1]}: {found[0].describe(at)}{more}"
    raise TaxonomyError(msg)


def write_taxonomy(path: Path, taxa: Iterable[Taxon]) -> None:
    """Write a taxon list as CSV, whole or not at all; one row a taxon and prompt.

    A provisional name such as ``Noctuidae sp. 1`` stands in a column of its own: at species it
    would be read as a name of open nomenclature, which is no species.
    """
    import pandas as pd

    rows = [
        {**taxon.to_names(), "common_name": taxon.common_name, "prompt": prompt}
        for taxon in taxa
        for prompt in (taxon.prompts or ("",))
    ]
    for row in rows:
        if is_provisional(row["species"]):
            row |= {"species": "", PROVISIONAL: row["species"]}
    with replacing(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
