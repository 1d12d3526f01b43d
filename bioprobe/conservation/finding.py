"""What status a name has: a species its own, a wider name those of all that it covers."""

from __future__ import annotations

import collections
import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from bioprobe.conservation.categories import (
    NO_STATUS,
    THREATS,
    Category,
    read_category,
)
from bioprobe.conservation.statuses import NO_LINEAGE, Lineage, Status, Statuses
from bioprobe.task.target import Classes
from bioprobe.taxonomy import RANKS, Rank, Taxon
from bioprobe.taxonomy.matching import NameList, fold
from bioprobe.taxonomy.scientific_names import read_name
from bioprobe.taxonomy.synonyms import accept_names
from bioprobe.taxonomy.taxonomy import agree_by_name

_GENUS, _SPECIES = Rank.GENUS.depth, Rank.SPECIES.depth
# Short forms of common names, which labels have and lists do not.
_SHORT = {"rhino": "rhinoceros", "hippo": "hippopotamus", "chimp": "chimpanzee",
          "orang": "orangutan", "croc": "crocodile", "gator": "alligator",
          "roo": "kangaroo"}  # fmt: skip
# A name as folders have it.
_SLUG = re.compile(r"[A-Za-z]+(?:[-_][A-Za-z]+)+")
_SHOWN = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Covered:
    """The taxa that a name covers, with the status of each.

    Parameters
    ----------
    name : str
        What was asked for.
    statuses : tuple of Status
        Of the taxa that it covers; several where it is the name of more than one species.
    unlisted : tuple of str
        Species that it covers too, of which nothing is known.
    by : str
        How they were found: ``name``, ``synonym``, ``its species``, ``below``, ``common name``,
        ``ending`` (of common names), or ``""`` where there is none.
    is_open : bool
        Whether it may cover others than are listed: a name above genera does, and so does one that
        is only the end of a common name. It has no status then.
    """

    name: str
    statuses: tuple[Status, ...] = ()
    unlisted: tuple[str, ...] = ()
    by: str = ""
    is_open: bool = False

    @property
    def category(self) -> Category:
        """The one category that all taxa have; without a code where they differ."""
        codes = {one.category.code for one in self.statuses}
        if len(codes) != 1 or self.unlisted or self.is_open:
            return Category("")
        if len(self.statuses) == 1:
            return self.statuses[0].category
        return Category(codes.pop())

    @property
    def threat(self) -> str:
        """What all taxa have in common, though their categories may differ."""
        threats = {one.category.threat for one in self.statuses}
        is_sure = len(threats) == 1 and not self.unlisted and not self.is_open
        return threats.pop() if is_sure else NO_STATUS

    def describe(self, most: int = _SHOWN) -> str:
        """Write the taxa with their codes; ``""`` where there is none."""
        said = [one.describe() for one in self.statuses]
        said += [f"{name} (not listed)" for name in self.unlisted]
        said += ["maybe others"] if self.is_open else []
        return "; ".join(said[:most]) + (
            f"; … {len(said) - most:,} more" if len(said) > most else ""
        )


class Finder:
    """Finds the statuses of names.

    Parameters
    ----------
    statuses : Statuses
    known : iterable of Taxon
        Taxa that there are besides: they say what stands above a species, and which species a wider
        name covers of which nothing is listed.
    synonyms : mapping of str to str, optional
        Synonym to accepted name.
    names : callable, optional
        Opens the lists in which common names are looked for that the statuses do not have.
    """

    def __init__(
        self,
        statuses: Statuses,
        known: Iterable[Taxon] = (),
        *,
        synonyms: Mapping[str, str] | None = None,
        names: Callable[[], NameList] | None = None,
    ) -> None:
        self.statuses = statuses
        self._synonyms = dict(synonyms or {})
        self._open_names = names
        known = tuple(known)
        above = _find_above(known)
        listed = [_complete(one, above) for one in statuses.listed]
        self._by_name: dict[str, list[Status]] = collections.defaultdict(list)
        self._below: dict[tuple[int, str], list[Status]] = collections.defaultdict(list)
        self._common: dict[str, dict[Status, None]] = collections.defaultdict(dict)
        self._by_other: dict[str, list[Status]] = collections.defaultdict(list)
        for one in listed:
            self._by_name[one.name.casefold()].append(one)
            for other in one.synonyms:
                self._by_other[other.casefold()].append(one)
            for name in one.common_names:
                self._common[fold(name)][one] = None
            if one.rank is None:
                self._common[fold(one.name)][one] = None
            for depth, name in enumerate(one.lineage):
                if name and name.casefold() != one.name.casefold():
                    self._below[depth, name.casefold()].append(one)
        self._words = {name: name.split() for name in self._common}
        self._species: dict[tuple[int, str], dict[str, Lineage]] = collections.defaultdict(dict)
        for taxon in known:
            species = taxon.lineage[_SPECIES]
            for depth, name in enumerate(taxon.lineage[:_SPECIES] if species else ()):
                if name:
                    self._species[depth, name.casefold()][species] = taxon.lineage
        self._found: dict[tuple[Lineage, str, str, str], Covered] = {}

    @functools.cached_property
    def _names(self) -> NameList | None:
        return self._open_names() if self._open_names else None

    def find(
        self, lineage: Sequence[str] = NO_LINEAGE, *, below: str = "", label: str = "",
        common_name: str = "",
    ) -> Covered:  # fmt: skip
        """Find the status of what a picture is labelled with, or of a class.

        Parameters
        ----------
        lineage : sequence of str, length 7
            From kingdom to species; ``""`` is a hole.
        below : str
            Whole name of a subspecies, variety or form.
        label : str
            What is no scientific name.
        common_name : str
            Looked for where no species is said: it says more than the family that stands beside it.
        """
        key = (tuple(lineage), below, label, common_name)
        if key not in self._found:
            self._found[key] = self._find(*key)
        return self._found[key]

    def find_taxon(self, taxon: Taxon) -> Covered:
        """Find the status of a taxon of any rank."""
        return self.find(taxon.lineage, common_name="")

    def find_classes(self, classes: Classes) -> list[Covered]:
        """Find the status of each class, of those that stand for taxa by these."""
        found = []
        for place, name in enumerate(classes.names):
            if classes.taxa:
                found.append(self.find_taxon(classes.taxa[place]))
            elif classes.meant and classes.meant[place]:
                found.append(
                    self.join(name, [self.find_taxon(one) for one in classes.meant[place]])
                )
            else:
                found.append(self.find_named(name))
        return found

    def find_named(self, name: str) -> Covered:
        """Find the status of a name of any kind; the name of a category, or of a threat, is one."""
        said = _read_answer(name)
        if said is not None:
            return Covered(name, (Status(name, said),), by="name")
        parsed = read_name(name)
        if parsed is not None:
            lineage = list(NO_LINEAGE)
            words = parsed.certain.split(" ")
            if parsed.is_uninomial:
                hits = self._find_own(parsed.certain, NO_LINEAGE) or self._find_below(
                    parsed.certain
                )
                if hits:
                    return self._cover(parsed.certain, hits, "name")
            else:
                lineage[_GENUS], lineage[_SPECIES] = words[0], " ".join(words[:2])
                found = self.find(tuple(lineage), below=parsed.certain if len(words) > 2 else "")
                if found.statuses:
                    return dataclasses.replace(found, name=name)
        found = self.find(label=name)
        if not found.statuses and _SLUG.fullmatch(name.strip()):
            # As folders are called.
            of_slug = self.find_named(re.sub("[-_]", " ", name.strip()).capitalize())
            return dataclasses.replace(of_slug, name=name)
        return found

    def join(self, name: str, several: Iterable[Covered]) -> Covered:
        """Return what several names cover together."""
        parts = list(several)
        statuses = dict.fromkeys(one for part in parts for one in part.statuses)
        unlisted = dict.fromkeys(
            one
            for part in parts
            for one in (part.unlisted or (() if part.statuses else (part.name,)))
        )
        is_open = any(part.is_open for part in parts)
        return Covered(name, tuple(statuses), tuple(unlisted), "below" if statuses else "", is_open)

    def _find(self, lineage: Lineage, below: str, label: str, common_name: str) -> Covered:
        if below:
            own = self._find_own(below, lineage)
            if own:
                return Covered(below, tuple(own[:1]), by="name")
        accepted = self._accept(lineage)
        depth = next((at for at in reversed(range(len(RANKS))) if lineage[at]), -1)
        if depth < 0:
            return self._find_common(label or common_name)
        if depth < _SPECIES and common_name:
            of_name = self._find_common(common_name)
            fitting = tuple(
                one for one in of_name.statuses if _agree_above(one, lineage, depth + 1)
            )
            if fitting:
                return dataclasses.replace(of_name, statuses=fitting)
        name = lineage[depth]
        for written, said in ((name, "name"), (accepted[depth], "synonym")):
            own = self._find_own(written, lineage if said == "name" else accepted)
            if own:
                by = "its species" if below and not _same(below, written) else said
                return Covered(below or name, tuple(own[:1]), by=by)
        other = [
            one for one in self._by_other.get(name.casefold(), ()) if _fits(one, lineage, depth)
        ]
        if other:
            return Covered(name, tuple(dict.fromkeys(other)), by="synonym")
        hits = [one for one in self._find_below(name, depth) if _agree_above(one, lineage, depth)]
        if not hits and accepted[depth] != name:
            hits = self._find_below(accepted[depth], depth)
        return self._cover(name, hits, "below", depth, lineage)

    def _cover(
        self, name: str, hits: Sequence[Status], by: str, depth: int = -1,
        lineage: Lineage = NO_LINEAGE,
    ) -> Covered:  # fmt: skip
        """Return what stands below a name: species, and what is below species only of one alone."""
        own = [one for one in hits if one.name.casefold() == name.casefold()]
        if own:
            return Covered(name, tuple(own[:1]), by="name")
        # A subspecies is not counted beside its species.
        has_own = {one.name.casefold() for one in hits if not one.is_below_species}
        hits = [one for one in hits if not one.is_below_species
                or one.lineage[-1].casefold() not in has_own]  # fmt: skip
        if not hits:
            return Covered(name)
        if depth == _SPECIES:
            # What is said of subspecies says nothing of their species as a whole.
            return Covered(name, tuple(dict.fromkeys(hits)), (name,), by)
        listed = {one.lineage[_SPECIES].casefold() for one in hits}
        unlisted = [
            species
            for at in ([depth] if depth >= 0 else range(_SPECIES))
            for species, above in self._species.get((at, name.casefold()), {}).items()
            if species.casefold() not in listed and agree_by_name(above[:at], lineage[:at])
            and not self._find_own(self._accept(above)[-1], above)
            and species.casefold() not in self._by_other
        ]  # fmt: skip
        at = depth if depth >= 0 else _find_depth(hits, name)
        return Covered(
            name, tuple(dict.fromkeys(hits)), tuple(dict.fromkeys(unlisted)), by, at < _GENUS
        )

    def _accept(self, lineage: Lineage) -> Lineage:
        return accept_names(lineage, self._synonyms) if self._synonyms else lineage

    def _find_own(self, name: str, lineage: Lineage) -> list[Status]:
        if not name:
            return []
        depth = next((at for at in reversed(range(len(RANKS))) if lineage[at]), -1)
        return [one for one in self._by_name.get(name.casefold(), ())
                if one.rank is not None or one.lineage == NO_LINEAGE
                if _fits(one, lineage, depth)]  # fmt: skip

    def _find_below(self, name: str, depth: int = -1) -> list[Status]:
        depths = range(len(RANKS)) if depth < 0 else (depth,)
        return [one for at in depths for one in self._below.get((at, name.casefold()), ())]

    def _find_common(self, label: str) -> Covered:
        """Find a common name: itself, else among all names that end so, else in other lists."""
        asked = fold(label)
        if not asked:
            return Covered(label)
        forms = dict.fromkeys((asked, *_make_singular(asked)))
        forms |= dict.fromkeys(map(_write_out, list(forms)))
        for form in forms:
            if form in self._common:
                return Covered(label, tuple(self._common[form]), by="common name")
        if self._names is not None:
            match = self._names.match(label)
            taxa = [match.taxon] if match.taxon is not None else match.candidates
            parts = [self.find_taxon(taxon) for taxon in taxa]
            if any(one.statuses for one in parts):
                by = "common name"
                return dataclasses.replace(self.join(label, parts), by=by)
        for form in forms:
            words = form.split()
            hits = [
                one
                for name, own in self._words.items()
                if _ends_so(own, words)
                for one in self._common[name]
            ]
            if hits:
                species = [one for one in dict.fromkeys(hits) if not one.is_below_species]
                found = tuple(species or dict.fromkeys(hits))
                return Covered(label, found, by="ending", is_open=len(found) == 1)
        return Covered(label)


def _read_answer(name: str) -> Category | None:
    """Read the name of a class that is a category or a threat itself."""
    folded = name.strip().casefold()
    if folded in THREATS:
        return None if folded == NO_STATUS else Category("", name, said=folded)
    found = read_category(name)
    return found if found is not None and found.code else None


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


def _find_above(known: Iterable[Taxon]) -> dict[tuple[int, str], Lineage]:
    """Return what stands above each genus and species, by depth and name; nothing of homonyms."""
    found: dict[tuple[int, str], Lineage] = {}
    for taxon in known:
        for depth in (_GENUS, _SPECIES, Rank.FAMILY.depth):
            name = taxon.lineage[depth].casefold()
            if not name:
                continue
            above = taxon.lineage[:depth]
            before = found.get((depth, name))
            if before is None or agree_by_name(before, above):
                joined = zip(before or ("",) * depth, above, strict=True)
                found[depth, name] = tuple(a or b for a, b in joined)
            else:
                found[depth, name] = ("",) * depth
    return found


def _complete(one: Status, above: Mapping[tuple[int, str], Lineage]) -> Status:
    """Fill holes of a lineage by what is known of its species, genus and family."""
    lineage = list(one.lineage)
    for depth in (_SPECIES, _GENUS, Rank.FAMILY.depth):
        known = above.get((depth, lineage[depth].casefold()))
        if lineage[depth] and known and agree_by_name(tuple(lineage[:depth]), known):
            lineage[:depth] = [a or b for a, b in zip(lineage[:depth], known, strict=True)]
    return dataclasses.replace(one, lineage=tuple(lineage))


def _find_depth(hits: Iterable[Status], name: str) -> int:
    """Return the highest rank at which taxa have a name."""
    depths = (at for one in hits for at, upper in enumerate(one.lineage) if _same(upper, name))
    return min(depths, default=_SPECIES)


def _fits(one: Status, lineage: Lineage, depth: int) -> bool:
    """Tell whether a status is not of a homonym in another kingdom, phylum or class."""
    pairs = zip(one.lineage[: min(depth, 3)], lineage[: min(depth, 3)], strict=False)
    return all(not a or not b or _same(a, b) for a, b in pairs)


def _agree_above(one: Status, lineage: Lineage, depth: int) -> bool:
    return all(not a or not b or _same(a, b)
               for a, b in zip(one.lineage[:depth], lineage[:depth], strict=False))  # fmt: skip


def _make_singular(text: str) -> list[str]:
    """Return what the singular of a common name may be.

    Examples
    --------
    >>> _make_singular("rhinos"), _make_singular("foxes")
    (['rhino'], ['foxe', 'fox'])
    """
    found = []
    if re.search(r"[^s]s$", text):
        found.append(text[:-1])
    if text.endswith("es"):
        found.append(text[:-2])
    if text.endswith("ies"):
        found.append(f"{text[:-3]}y")
    return found


def _write_out(text: str) -> str:
    """Write the last word of a common name out.

    Examples
    --------
    >>> _write_out("white rhino")
    'white rhinoceros'
    """
    *before, last = text.split()
    return " ".join((*before, _SHORT.get(last, last)))


def _ends_so(name: Sequence[str], words: Sequence[str]) -> bool:
    """Tell whether a common name ends in some words.

    Examples
    --------
    >>> _ends_so(["plains", "zebra"], ["zebra"]), _ends_so(["snow", "leopard"], ["snow"])
    (True, False)
    """
    return 0 < len(words) <= len(name) and list(name[-len(words) :]) == list(words)
