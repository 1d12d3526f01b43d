"""Labels as people have them, found among the taxa of a list."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.content import CONTENT, read_content, tell_content
from bioprobe.errors import TaxonomyError
from bioprobe.names import unify
from bioprobe.options import RANK_NAMES
from bioprobe.result import Note, Notes, Result, name_some
from bioprobe.taxonomy.columns import (
    COMMON_NAME,
    FROM_LIST,
    LABEL,
    LABEL_COLUMNS,
    LABELS_FROM,
    SUBSPECIES,
)
from bioprobe.taxonomy.parsed_name import TIMES
from bioprobe.taxonomy.scientific_names import read_name
from bioprobe.taxonomy.taxon import RANKS, Rank, Taxon
from bioprobe.taxonomy.taxonomy import Taxonomy

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.types import Rows

SCIENTIFIC_NAME, SYNONYM, COMMON = "scientific name", "synonym", "common name"
# Names that are less alike are not proposed; of those that are, so many.
LEAST_SIMILARITY = 0.82
N_PROPOSALS = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Match:
    """What a label is in a list.

    Parameters
    ----------
    taxon : Taxon or None
        The one taxon that it names.
    by : str
        ``scientific name``, ``synonym`` or ``common name``; ``""`` where it names none.
    candidates : tuple of Taxon
        The several that it may be.
    proposals : tuple of (str, float)
        Names of the list that are nearly the label, with their similarity, 0 to 1: 1 less the
        insertions and deletions between the two per letter of both. None of them is applied.
    """

    taxon: Taxon | None = None
    by: str = ""
    candidates: tuple[Taxon, ...] = ()
    proposals: tuple[tuple[str, float], ...] = ()


class NameList:
    """The names of a taxon list, to find labels among them.

    Names compare without case, and whatever stands between their words; a scientific name without
    its author, one of a subspecies that is not listed as that of its species.

    Parameters
    ----------
    rows : iterable of Taxon
        As a list has them; several of one taxon may each have another common name.
    synonyms : mapping of str to str, optional
        Synonym to accepted name.
    """

    def __init__(self, rows: Iterable[Taxon], synonyms: Mapping[str, str] | None = None) -> None:
        rows = tuple(rows)
        self._taxa = Taxonomy.merge(rows)
        self._scientific: dict[str, list[Taxon]] = {}
        for rank in RANKS:
            for taxon in self._taxa.at(rank):
                self._scientific.setdefault(_fold_name(taxon.name), []).append(taxon)
        self._common: dict[str, dict[Taxon, None]] = {}
        for row in rows:
            known = [
                one
                for one in self._scientific[_fold_name(row.name)]
                if one.rank is row.rank and _agree(row.lineage, one.lineage)
            ]
            for name in re.split(r"[;|]", row.common_name):
                if name.strip():
                    self._common.setdefault(fold(name), {}).update(dict.fromkeys(known))
        accepted = (synonyms or {}).items()
        self._accepted = {_fold_name(synonym): _fold_name(name) for synonym, name in accepted}
        self._written = {
            **{name: next(iter(taxa)).common_name for name, taxa in self._common.items()},
            **{name: taxa[0].name for name, taxa in self._scientific.items()},
        }

    def match(self, label: str, lineage: Sequence[str] = ("",) * len(RANKS)) -> Match:
        """Find the taxon of a label.

        Parameters
        ----------
        label : str
            Scientific or common name.
        lineage : sequence of str
            What else is known of it, from kingdom down: it tells homonyms apart.
        """
        name = _fold_name(label)
        species = " ".join(name.split()[:2])
        tries = (
            (SCIENTIFIC_NAME, self._scientific.get(name)),
            (SYNONYM, self._scientific.get(self._accepted.get(name, ""))),
            (SCIENTIFIC_NAME, self._scientific.get(species)),
            (SYNONYM, self._scientific.get(self._accepted.get(species, ""))),
            (COMMON, self._common.get(fold(label))),
        )
        for by, taxa in tries:
            if taxa:
                return _choose(by, tuple(taxa), _leave_out(name, lineage))
        return Match(proposals=self._propose(fold(label)))

    def complete(self, name: str, species: str) -> str:
        """Return a name below species if the list has it as one of its own, else its species."""
        return name if _fold_name(name) in self._scientific else species

    def _propose(self, name: str) -> tuple[tuple[str, float], ...]:
        from rapidfuzz import fuzz, process

        found = process.extract(
            name, self._written.keys(), scorer=fuzz.ratio, limit=N_PROPOSALS,
            score_cutoff=100 * LEAST_SIMILARITY,
        )  # fmt: skip
        return tuple((self._written[key], score / 100) for key, score, _ in found)


def fold(name: str) -> str:
    """Return the form in which common names compare: case and what joins words do not count.

    Examples
    --------
    >>> fold("Red_Fox") == fold("red  fox"), fold("Grevy's zebra") == fold("grevy\u2019s-Zebra")
    (True, True)
    """
    return unify(re.sub(r"[\s_-]+", " ", unify(name).replace("\u2019", "'"))).casefold()


def _fold_name(name: str) -> str:
    parsed = read_name(name)
    return fold(parsed.certain.replace(f"{TIMES} ", "") if parsed else name)


def _agree(one: Sequence[str], other: Sequence[str]) -> bool:
    pairs = zip(one, other, strict=False)
    return all(not a or not b or a.casefold() == b.casefold() for a, b in pairs)


def _leave_out(name: str, lineage: Sequence[str]) -> list[str]:
    """Return what is known beside the name that is asked: a synonym may be of another genus."""
    known = ["" if one and _fold_name(one) == name else one for one in lineage]
    if lineage[-1] and not known[-1]:
        known[Rank.GENUS.depth] = ""
    return known


def _choose(by: str, taxa: tuple[Taxon, ...], lineage: Sequence[str]) -> Match:
    """Take the one taxon that agrees with what is known; of one name at two ranks the broader."""
    fitting = [taxon for taxon in taxa if _agree(lineage, taxon.lineage)]
    first = min(fitting, key=lambda taxon: taxon.depth, default=None)
    if first is not None and all(_agree(first.lineage, one.lineage) for one in fitting):
        return Match(first, by)
    return Match(candidates=taxa)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ResolvedLabels(Result):
    """What the labels of images are in a list.

    Parameters
    ----------
    labels : DataFrame of str
        Columns :data:`bioprobe.taxonomy.columns.LABEL_COLUMNS` of each image, filled, and
        ``labels_from``: the column whose label a lineage was found for; its index is that of the
        images.
    matches : tuple of (str, int, Match)
        Each distinct label, with its images and what it is.
    notes : tuple of Note
        What matched and how, what did not, and what is ambiguous.
    """

    labels: pd.DataFrame
    matches: tuple[tuple[str, int, Match], ...]
    notes: Notes = ()

    def find_changed(self, frame: pd.DataFrame) -> Rows:
        """Return the positions of the images whose labels differ from those in their table."""
        before = frame[list(LABEL_COLUMNS)].fillna("").to_numpy(dtype=object)
        after = self.labels[list(LABEL_COLUMNS)].to_numpy(dtype=object)
        return np.flatnonzero((before != after).any(axis=1)).astype(np.int64)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a label: images, lineage, how it matched, proposals and candidates."""
        import pandas as pd

        columns = ["label", "n_images", *LABEL_COLUMNS, "matched_by", "proposals", "ambiguous"]
        rows = []
        for label, n_images, match in self.matches:
            names = match.taxon.lineage if match.taxon else ("",) * len(RANKS)
            common_name = match.taxon.common_name if match.taxon else ""
            proposals = "; ".join(f"{name} {share:.2f}" for name, share in match.proposals)
            several = "; ".join(map(_write_lineage, match.candidates))
            rows.append((label, n_images, *names, common_name, match.by, proposals, several))
        return pd.DataFrame(rows, columns=columns)


def _write_lineage(taxon: Taxon) -> str:
    return " > ".join(filter(None, taxon.lineage))


def resolve_labels(
    frame: pd.DataFrame, names: NameList, *, column: str | None = None
) -> ResolvedLabels:
    """Find the labels of images in a list, and fill their lineages.

    What an image's own table says of it stays; a synonym gives way to the accepted name. What a
    list gave before for its label is looked for again.

    Parameters
    ----------
    frame : DataFrame
        Image table, or rows of one.
    names : NameList
        The list.
    column : str, optional
        Column that holds the names; by default the free column ``label``, where that is empty
        ``subspecies``, then the lowest rank, and where all are empty the common name. Words of what
        is no taxon, such as ``empty``, are not looked for.

    Raises
    ------
    TaxonomyError
        If there is no such column.
    """
    import pandas as pd

    known = frame[list(LABEL_COLUMNS)].fillna("")
    nowhere = pd.Series("", index=frame.index, dtype=object)
    origins = frame[LABELS_FROM].fillna("") if LABELS_FROM in frame else nowhere
    was_found = origins.str.startswith(FROM_LIST).to_numpy(dtype=bool)
    before = known.to_numpy(dtype=object)
    known[was_found] = ""
    asked, places = _read_asked(frame, known, column)
    if column is None and SUBSPECIES in frame:
        # What is listed below species is found as such; what is not, at its species.
        is_asked = (frame[SUBSPECIES].fillna("") == asked).to_numpy(dtype=bool) & (
            known[Rank.SPECIES.value] != ""
        ).to_numpy(dtype=bool)
        known.loc[is_asked, Rank.SPECIES.value] = [
            names.complete(label, species)
            for label, species, asks in zip(asked, known[Rank.SPECIES.value], is_asked, strict=True)
            if asks
        ]
    lineages = list(known[list(RANK_NAMES)].itertuples(index=False, name=None))
    pairs = list(zip(asked, lineages, strict=True))
    found = {pair: names.match(*pair) for pair in dict.fromkeys(pairs) if pair[0]}
    counts = collections.Counter((label, found[label, row]) for label, row in pairs if label)
    commons = known[COMMON_NAME].tolist()
    rows = [
        (*_fill(row, found[label, row]), _name(common, found[label, row]))
        if label
        else (*row, common)
        for (label, row), common in zip(pairs, commons, strict=True)
    ]
    filled = pd.DataFrame(rows, index=frame.index, columns=list(LABEL_COLUMNS), dtype=object)
    matched = np.array(
        [bool(label) and found[label, row].taxon is not None for label, row in pairs], dtype=bool
    )
    # What another list gave stays where this one has nothing.
    filled.loc[was_found & ~matched] = before[was_found & ~matched]
    given = np.array([f"{FROM_LIST}{place}" if place else "" for place in places], dtype=object)
    filled[LABELS_FROM] = np.where(matched & (given != ""), given, origins.to_numpy(dtype=object))
    if CONTENT in frame:
        # Beside words of what a picture holds, one with a taxon is of an animal.
        said = frame[CONTENT].fillna("")
        has_taxon = (filled[list(RANK_NAMES)] != "").any(axis=1)
        of_taxon = filled[Rank.KINGDOM.value].map(tell_content)
        filled[CONTENT] = said.where((said != "") | ~has_taxon, of_taxon)
    matches = tuple((label, n, match) for (label, match), n in counts.items())
    return ResolvedLabels(filled, matches, tuple(map(Note, _describe(matches))))


def _read_asked(
    frame: pd.DataFrame, known: pd.DataFrame, column: str | None
) -> tuple[list[str], list[str]]:
    """Return the label of each row, and the free column that it stands in, ``""`` for none."""
    if column is not None:
        if column not in frame:
            msg = f"no column {column!r} to find names in; there are {', '.join(map(str, frame))}"
            raise TaxonomyError(msg)
        values = frame[column]
        texts = [unify(str(one)) for one in values.astype(object).where(values.notna(), "")]
        texts = ["" if read_content(text) else text for text in texts]
        return texts, ["" if column in LABEL_COLUMNS else column] * len(texts)
    labels = frame[LABEL].fillna("").tolist() if LABEL in frame else [""] * len(frame)
    labels = ["" if read_content(str(label)) else label for label in labels]
    whole = frame[SUBSPECIES].fillna("").tolist() if SUBSPECIES in frame else [""] * len(frame)
    ranks = known[list(RANK_NAMES[::-1])].itertuples(index=False, name=None)
    asked = [
        str(label) or str(below) or next(filter(None, names), "") or common
        for label, below, names, common in zip(
            labels, whole, ranks, known[COMMON_NAME], strict=True
        )
    ]
    return asked, [LABEL if label else "" for label in labels]


def _fill(lineage: Sequence[str], match: Match) -> tuple[str, ...]:
    if match.taxon is None:
        return tuple(lineage)
    renamed = Rank.GENUS.depth if match.by == SYNONYM else len(RANKS)
    pairs = enumerate(zip(lineage, match.taxon.lineage, strict=True))
    return tuple(
        listed if listed and (depth >= renamed or _agree([name], [listed])) else name
        for depth, (name, listed) in pairs
    )


def _name(common_name: str, match: Match) -> str:
    taxon = match.taxon
    if common_name or taxon is None or taxon.rank is not Rank.SPECIES:
        return common_name
    return re.split(r"[;|]", taxon.common_name)[0].strip()


def _describe(matches: Sequence[tuple[str, int, Match]]) -> list[str]:
    """Say what matched and how, what did not, and what is of several taxa."""
    by = collections.Counter(match.by for _, _, match in matches if match.by)
    images = sum(n for _, n, match in matches if match.by)
    ways = ", ".join(f"{n:,} by {way}" for way, n in by.items())
    said = [
        f"{sum(by.values()):,} of {len(matches):,} labels are taxa of the list"
        f"{f' ({ways})' if ways else ''}; {images:,} of {sum(n for _, n, _ in matches):,} "
        "labelled images have their lineages"
    ]
    several = [(label, match) for label, _, match in matches if match.candidates]
    if several:
        said.append(
            f"{len(several):,} are ambiguous, or contradict the images' own ranks, and stay: "
            f"{name_some((label for label, _ in several), 5)}"
        )
    none = [(label, match) for label, _, match in matches if not match.by and not match.candidates]
    if none:
        said.append(
            f"{len(none):,} match nothing and stay: {name_some((label for label, _ in none), 5)}"
        )
    near = [(label, match.proposals[0]) for label, match in none if match.proposals]
    if near:
        shown = name_some((f"{label} -> {name} ({share:.2f})" for label, (name, share) in near), 5)
        said.append(f"proposed, and not applied: {shown}")
    return said
