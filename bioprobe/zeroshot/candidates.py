"""Which classes a question is about."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from pathlib import Path

from bioprobe.access import is_file
from bioprobe.cells import name_cells
from bioprobe.errors import PromptError
from bioprobe.files import read_lines
from bioprobe.images.image_table import ImageTable
from bioprobe.options import RANK_NAMES, split_names
from bioprobe.store import EmbeddingStore
from bioprobe.store.added_taxa import find_added_taxa, read_user_taxa
from bioprobe.task.target import Classes, Phrases
from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from bioprobe.taxonomy.columns import read_labels
from bioprobe.taxonomy.lists import read_taxonomy, shipped_taxonomies
from bioprobe.taxonomy.synonyms import accept_names, replace_synonyms
from bioprobe.taxonomy.taxonomy import name_lineages


def find_candidates(
    store: EmbeddingStore,
    taxa: str | Taxonomy | None,
    rank: Rank,
    *,
    synonyms: Mapping[str, str] | None = None,
) -> Taxonomy:
    """Find the classes at a rank: those of a taxon list or of the labels, and the added ones.

    Parameters
    ----------
    store : EmbeddingStore
        Its labels are the candidates where no list is given, and the taxa that were added, to it
        or by the user for all stores, are candidates always.
    taxa : str, Taxonomy or None
        File, name of a shipped taxonomy, or what was read of one.
    rank : Rank
        Rank of the classes.
    synonyms : mapping of str to str, optional
        Synonym to accepted name.

    Raises
    ------
    PromptError
        If no taxon has a name at the rank.
    """
    known = find_known_taxa(store, taxa, synonyms=synonyms)
    classes = known.at(rank)
    if not len(classes):
        where = f"the labels of {store.folder}" if taxa is None else "the taxon list"
        where = taxa if isinstance(taxa, str) else where
        named = [level.value for level in Rank if len(known.at(level))]
        msg = (
            f"no taxon in {where} has a name at {rank.value} (there are names at "
            f"{', '.join(named) or 'no rank'}); give a taxon list with --taxa, or another --level"
        )
        raise PromptError(msg)
    return classes


def find_listed(store: EmbeddingStore, taxa: str | Taxonomy | None, rank: Rank) -> Taxonomy:
    """Return the taxa at a rank that are classes with or without an image that teaches them.

    These are the taxa of a list, or, without one, those that were added to the store and by the
    user. Labels in the store are not among them: those of images that judge are no input.
    """
    if taxa is not None:
        return find_candidates(store, taxa, rank)
    return find_added_taxa(store).at(rank)


# Columns of a table of classes; pybioclip calls the class a bin.
_CLASS_COLUMNS = ("class", "bin", "label", "name", "classification", "category")
_TEXT_COLUMNS = ("text", "texts", "prompt", "phrase", "description")


ClassNames = str | Sequence[str] | Mapping[str, str | Sequence[str]]


def read_classes(given: ClassNames, level: str = "") -> tuple[Classes, Phrases]:
    """Read classes that are named, with the texts of each and the taxon that it stands for.

    Parameters
    ----------
    given : str, sequence of str, or mapping of str to texts
        Names, with commas between them where they are one text, which are their own texts; from
        each class to its texts; a ``.txt`` file with one a line; or a table with a row for each
        text: its class, the text (``|`` between several), and where the class has one its taxon,
        in columns of ranks.
    level : str
        Column whose values the classes are, ``""`` where they are of none.

    Returns
    -------
    classes : Classes
    phrases : dict of str to tuple of str
        Texts of each class, by its name.

    Raises
    ------
    PromptError
        If there is none, a name stands twice, there is no such file, or it has no class in a row.

    Examples
    --------
    >>> read_classes("cat, bird")[0].names
    ('cat', 'bird')
    """
    if isinstance(given, Mapping):
        listed = {
            str(name): (texts,) if isinstance(texts, str) else tuple(texts)
            for name, texts in given.items()
        }
        return Classes(tuple(listed), level=level), listed
    from bioprobe.tables import is_table

    path = Path(given) if isinstance(given, str) else None
    if path is not None and is_table(path):
        return _read_class_table(_need_file(path), level)
    if path is not None and path.suffix.lower() == ".txt":
        lines = read_lines(_need_file(path))
        names = [line for line in lines if line and not line.startswith("#")]
    else:
        names = split_names(given)
    twice = [name for name, n in collections.Counter(names).items() if n > 1]
    if twice or not names:
        msg = f"the class {twice[0]!r} is named twice" if twice else "no class is named"
        msg += "; name each once, such as --classes cat,bird,bear"
        raise PromptError(msg)
    return Classes(tuple(names), level=level), {name: (name,) for name in names}


def _need_file(path: Path) -> Path:
    if not is_file(path):
        msg = f"no list of classes at {path}; give names instead, with commas between them"
        raise PromptError(msg)
    return path


def _read_class_table(path: Path, level: str) -> tuple[Classes, Phrases]:
    from bioprobe.tables import read_table

    frame = read_table(path)
    spelt = {str(name).strip().lower(): name for name in frame.columns}
    class_column = next((spelt[one] for one in _CLASS_COLUMNS if one in spelt), None)
    if class_column is None:
        msg = f"{path} has no column class among {', '.join(map(str, frame.columns))}; name one so"
        raise PromptError(msg)
    text_column = next((spelt[one] for one in _TEXT_COLUMNS if one in spelt), None)
    if text_column is None and str(class_column).strip().lower() == "bin":
        text_column = next((name for name in frame.columns if name != class_column), None)
    names = name_cells(frame[class_column])
    if (names == "").any():
        line = int((names == "").argmax()) + 2
        msg = f"{path} line {line}: no class in column {class_column!r}; fill it in"
        raise PromptError(msg)
    texts = names if text_column is None else name_cells(frame[text_column])
    labels = read_labels(frame.drop(columns=[class_column]))
    lineages = labels[list(RANK_NAMES)].itertuples(index=False, name=None)
    phrases: dict[str, list[str]] = {}
    taxa: dict[str, list[Taxon]] = {}
    for name, text, lineage in zip(names, texts, lineages, strict=True):
        found = [one.strip() for one in text.split("|") if one.strip()] or [name]
        phrases.setdefault(name, []).extend(found)
        taxa.setdefault(name, []).extend([Taxon(tuple(lineage))] if any(lineage) else [])
    meant = tuple(map(tuple, taxa.values())) if any(taxa.values()) else ()
    return (
        Classes(tuple(phrases), level=level, meant=meant),
        {name: tuple(dict.fromkeys(texts)) for name, texts in phrases.items()},
    )


def find_known_taxa(
    store: EmbeddingStore,
    taxa: str | Taxonomy | None,
    *,
    synonyms: Mapping[str, str] | None = None,
) -> Taxonomy:
    """Find the taxa, at all ranks, that a question may be about; as :func:`find_candidates`."""
    listed = store.labelled_taxa if taxa is None else taxa
    listed = read_taxonomy(listed) if isinstance(listed, str) else listed
    # Added taxa first: their common names and prompts are the user's own word.
    known = Taxonomy.merge((*find_added_taxa(store), *listed))
    return replace_synonyms(known, synonyms) if synonyms else known


def accept_label_names(images: ImageTable, synonyms: Mapping[str, str]) -> ImageTable:
    """Return an image table whose labels are accepted names."""
    import pandas as pd

    rows = list(images.select(RANK_NAMES).itertuples(index=False, name=None))
    accepted_of = {lineage: accept_names(lineage, synonyms) for lineage in dict.fromkeys(rows)}
    accepted = [accepted_of[lineage] for lineage in rows]
    return images.with_columns(
        {
            name: pd.Series([lineage[position] for lineage in accepted], dtype=object)
            for position, name in enumerate(RANK_NAMES)
        }
    )


def find_parent(store: EmbeddingStore | None, name: str) -> Taxon:
    """Find a taxon at any rank by name: among labels and added taxa, then the shipped lists.

    Without a store, among the taxa that the user added for all stores, then the shipped lists.

    Raises
    ------
    PromptError
        If it is unknown, or homonyms share the name.
    """
    here = read_user_taxa() if store is None else find_known_taxa(store, None)
    lists = [here, *map(read_taxonomy, shipped_taxonomies())]
    for known in lists:
        found = known.find_all(name)
        if len(found) > 1:
            msg = f"{name!r} may be {name_lineages(found)}; give --lineage instead of --parent"
            raise PromptError(msg)
        if found:
            return found[0]
    msg = f"no taxon {name!r} is known here; give --lineage instead of --parent"
    raise PromptError(msg)
