"""What the labels of detectors, classifiers and annotation files say: taxa, contents, or words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bioprobe.content import CONTENT, read_content, tell_content
from bioprobe.names import unify
from bioprobe.taxonomy.columns import COMMON_NAME, LABEL, LABEL_COLUMNS, QUALIFIER, read_labels
from bioprobe.taxonomy.scientific_names import read_name
from bioprobe.taxonomy.taxon import Rank

if TYPE_CHECKING:
    import pandas as pd

# Of the strings that name a taxon, between its identifier and its epithet.
_PARTS = (Rank.CLASS, Rank.ORDER, Rank.FAMILY, Rank.GENUS)
_WHOLE = (Rank.KINGDOM, Rank.PHYLUM, *_PARTS)


def read_machine_labels(words: Iterable[str]) -> pd.DataFrame:
    """Return what words of tools mean.

    A text of seven parts, ``identifier;class;order;family;genus;species;common name``, is a taxon
    at its deepest part, however it is written; the last part may be missing. One of nine has
    kingdom and phylum before the class. Of other words those are taxa that have the form of a
    scientific name of a species or family.

    Returns
    -------
    DataFrame of str
        Indexed by the distinct words: the label columns, ``label`` (what is neither a taxon nor
        a content), ``identification_qualifier`` and ``content``.

    References
    ----------
    SpeciesNet, ``*.labels.txt``; MegaDetector, ``classification_category_descriptions``.
    """
    import pandas as pd

    found: dict[str, dict[str, str]] = {}
    plain: list[str] = []
    for word in dict.fromkeys(words):
        parts = [unify(part) for part in word.split(";")]
        content = read_content(word)
        if len(parts) >= len(_PARTS) + 2:
            found[word] = _read_parts(parts)
        elif content or not word.strip():
            found[word] = {CONTENT: content}
        else:
            plain.append(word)
    found |= _read_plain(plain)
    columns = [*LABEL_COLUMNS, LABEL, QUALIFIER, CONTENT]
    frame = pd.DataFrame.from_dict(found, orient="index", columns=columns, dtype=object)
    return frame.fillna("")


def _read_parts(parts: list[str]) -> dict[str, str]:
    ranks = _WHOLE if len(parts) == len(_WHOLE) + 3 else _PARTS
    _, *names = parts[: len(ranks) + 2]
    *above, epithet = names
    common_name = parts[len(ranks) + 2] if len(parts) > len(ranks) + 2 else ""
    if not any(names):
        content = read_content(common_name)
        return {CONTENT: content} if content else {LABEL: common_name}
    genus = above[-1].capitalize()
    if genus == "Homo":
        return {CONTENT: "human"}
    values = {rank.value: name.capitalize() for rank, name in zip(ranks, above, strict=True)}
    if epithet and genus:
        rest = epithet.lower().removeprefix(f"{genus.lower()} ")
        values[Rank.SPECIES.value] = f"{genus} {rest}"
    elif epithet:
        values[LABEL] = epithet
    content = tell_content(values.get(Rank.KINGDOM.value, ""))
    return {**values, COMMON_NAME: common_name, CONTENT: content}


def _read_plain(words: list[str]) -> dict[str, dict[str, str]]:
    """Read words that stand alone; one word that is no family may be anything, and is a label."""
    import pandas as pd

    if not words:
        return {}
    labels = read_labels(pd.DataFrame({"species": words}, dtype=object), meant=False)
    found = {}
    for word, values in zip(words, labels.to_dict("records"), strict=True):
        kept = {str(name): str(value) for name, value in values.items() if value}
        species, is_binomial = kept.get("species", ""), Rank.GENUS.value in kept
        if species and not is_binomial:
            name = read_name(species)
            del kept["species"]
            kept |= {"family": name.canonical} if name and name.rank == "family" else {LABEL: word}
        is_taxon = any(name in kept for name in LABEL_COLUMNS)
        found[word] = {**kept, **({CONTENT: "animal"} if is_taxon else {})}
    return found
