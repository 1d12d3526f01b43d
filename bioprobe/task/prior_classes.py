"""Which classes the taxa of a table are, are above or are below."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np

from bioprobe.names import fold
from bioprobe.result import WARNING, Note
from bioprobe.taxonomy import RANKS, Taxon, Taxonomy
from bioprobe.types import Doubles, Mask, Places

#: Names that are named one by one.
MOST_SHOWN = 5
# Names of the table times names of classes that are compared to find near ones.
_MOST_COMPARED = 5_000_000
_LEAST_SIMILARITY = 80.0

#: Names at all ranks, ``""`` where there is none.
Lineage = tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """Which class each taxon of a table is, is above or is below.

    Parameters
    ----------
    above, own, below : tuple of two ndarray of int64, each of shape (n_pairs,)
        Taxon and class of each pair; those of ``above`` from the broadest taxon to the lowest.
    lost : tuple of int
        Taxa that are in none.
    weighed : ndarray of bool, shape (n_classes,)
        Classes that are in any pair.
    """

    above: tuple[Places, Places]
    own: tuple[Places, Places]
    below: tuple[Places, Places]
    lost: tuple[int, ...]
    weighed: Mask

    @property
    def n_found(self) -> int:
        """Pairs."""
        return len(self.above[0]) + len(self.own[0]) + len(self.below[0])

    def spread(self, weights: Doubles, n_classes: int) -> Doubles:
        """Return the weight of each class, not a number where it has none.

        Its own; else the sum of those below it; else that of the lowest listed taxon above.
        """
        out = np.full(n_classes, np.nan)
        taxa, classes = self.above
        has = ~np.isnan(weights[taxa])
        # Of several assignments to one place the last one stays.
        out[classes[has]] = weights[taxa[has]]
        for taxa, classes in (self.below, self.own):
            has = ~np.isnan(weights[taxa])
            sums = np.bincount(classes[has], weights[taxa[has]], n_classes)
            counts = np.bincount(classes[has], minlength=n_classes)
            out = np.where(counts > 0, sums, out)
        return out


_Pairs = dict[str, list[tuple[int, int, int]]]


def find_classes(
    listed: Sequence[tuple[Lineage, str]], names: Sequence[str], taxa: Sequence[Taxon],
    known: Taxonomy, meant: Sequence[Sequence[Taxon]],
) -> Found:  # fmt: skip
    """Find what the taxa of a table are of classes: taxa, or names that may stand for taxa.

    Parameters
    ----------
    listed : sequence of (lineage, name)
        Taxa of the table; the name is as it is written there.
    names : sequence of str
        Of the classes.
    taxa : sequence of Taxon
        The classes, where they are taxa.
    known : Taxonomy
        Of the labels of the pictures.
    meant : sequence of sequence of Taxon
        Of classes that are no taxa, those that each may stand for.
    """
    if taxa:
        return _join_pairs(_find_taxa(listed, taxa, known), len(listed), len(names))
    pairs = _find_named(listed, names)
    own = {number for _, number, _ in pairs["own"]}
    flat = [(taxon, place) for place, several in enumerate(meant) for taxon in several]
    if flat:
        found = _find_taxa(listed, [taxon for taxon, _ in flat], known)
        for relation, triples in found.items():
            places = {
                (depth, number, flat[at][1]) for depth, number, at in triples if number not in own
            }
            pairs[relation] += sorted(places)
    return _join_pairs(pairs, len(listed), len(names))


def _find_named(listed: Sequence[tuple[Lineage, str]], names: Sequence[str]) -> _Pairs:
    """Find the rows of classes that are named alone, by name."""
    pairs: _Pairs = {"above": [], "own": [], "below": []}
    places = {fold(name): place for place, name in enumerate(names)}
    for number, (lineage, written) in enumerate(listed):
        forms = (fold(written), *(fold(one) for one in reversed(lineage) if one))
        place = next((places[form] for form in forms if form in places), None)
        if place is not None:
            pairs["own"].append((0, number, place))
    return pairs


def _find_taxa(
    listed: Sequence[tuple[Lineage, str]], taxa: Sequence[Taxon], known: Taxonomy
) -> _Pairs:
    """Find by name and lineage, else with a lineage that labels know, else by common name."""
    pairs: _Pairs = {"above": [], "own": [], "below": []}
    index = _Index.of(listed, taxa, known)
    for number, (lineage, written) in enumerate(listed):
        found = index.match(lineage, written)
        if not found and not all(lineage):
            other = _complete(lineage, written, known)
            found = index.match(other, written) if other else []
        if not found:
            found = [("own", 0, place) for place in index.common.get(fold(written), ())]
        for relation, depth, place in found:
            pairs[relation].append((depth, number, place))
    return pairs


@dataclasses.dataclass(frozen=True, eq=False)
class _Index:
    """Classes by the names that a table has: of themselves, and of what is above them."""

    taxa: Sequence[Taxon]
    by_name: Mapping[str, list[tuple[int, int]]]
    by_own: Mapping[str, list[int]]

    @classmethod
    def of(
        cls, listed: Sequence[tuple[Lineage, str]], taxa: Sequence[Taxon], known: Taxonomy
    ) -> _Index:
        wanted = {form for lineage, written in listed for form in _list_forms(lineage, written)}
        # A name that labels know may stand below a class by the lineage that they give it.
        above = {fold(name) for lineage, _ in listed for name in lineage if name}
        above |= {fold(name) for taxon in known for name in taxon.lineage if name}
        by_name: dict[str, list[tuple[int, int]]] = collections.defaultdict(list)
        for depth in range(len(RANKS)):
            column = [taxon.lineage[depth] for taxon in taxa]
            forms = {name: form for name in set(column) if name and (form := fold(name)) in wanted}
            for place, name in enumerate(column):
                if name in forms:
                    by_name[forms[name]].append((depth, place))
        by_own: dict[str, list[int]] = collections.defaultdict(list)
        for place, taxon in enumerate(taxa):
            form = fold(taxon.name)
            if form in above:
                by_own[form].append(place)
        return cls(taxa, by_name, by_own)

    @cached_property
    def common(self) -> Mapping[str, list[int]]:
        """Classes by common name."""
        found: dict[str, list[int]] = collections.defaultdict(list)
        for place, taxon in enumerate(self.taxa):
            if taxon.common_name:
                found[fold(taxon.common_name)].append(place)
        return found

    def match(self, lineage: Lineage, written: str) -> list[tuple[str, int, int]]:
        """Return relation, depth and class of each class that a taxon of the table is or is above.

        One that is neither may lie below classes.
        """
        own = max((depth for depth, name in enumerate(lineage) if name), default=-1)
        rest = tuple("" if depth == own else name for depth, name in enumerate(lineage))
        for form in _list_forms(lineage, written):
            found = [
                ("own" if depth == self.taxa[place].depth else "above", depth, place)
                for depth, place in self.by_name.get(form, ())
                if not any(rest) or _agree(rest, self.taxa[place].lineage)
            ]
            if found:
                return found
        for depth in range(own - 1, -1, -1):
            found = [
                ("below", depth, place)
                for place in self.by_own.get(fold(lineage[depth]), ()) if lineage[depth]
                if self.taxa[place].depth == depth and _agree(lineage, self.taxa[place].lineage)
            ]  # fmt: skip
            if found:
                return found
        return []


def _join_pairs(
    pairs: Mapping[str, list[tuple[int, int, int]]], n_listed: int, n_classes: int
) -> Found:
    arrays = {
        relation: np.array(sorted(found), dtype=np.int64).reshape(-1, 3)
        for relation, found in pairs.items()
    }
    taken = {number for found in pairs.values() for _, number, _ in found}
    weighed = np.zeros(n_classes, dtype=bool)
    for found in arrays.values():
        weighed[found[:, 2]] = True
    above, own, below = (
        (arrays[one][:, 1], arrays[one][:, 2]) for one in ("above", "own", "below")
    )
    lost = tuple(number for number in range(n_listed) if number not in taken)
    return Found(above, own, below, lost, weighed)


def _list_forms(lineage: Lineage, written: str) -> list[str]:
    """Return the names by which a taxon of the table is looked for, its own first.

    A subspecies that is no class is looked for as its species.
    """
    own = next((name for name in reversed(lineage) if name), written)
    forms = [fold(own)]
    if len(own.split()) > 2:
        forms.append(fold(" ".join(own.split()[:2])))
    return forms


def _agree(one: Lineage, other: Lineage) -> bool:
    """Tell whether two lineages differ at no rank that both name."""
    return all(
        not a or not b or a == b or fold(a) == fold(b) for a, b in zip(one, other, strict=True)
    )


def _complete(lineage: Lineage, written: str, known: Taxonomy) -> Lineage | None:
    """Return the lineage of a taxon that labels of the pictures know, if it is one."""
    own = next((name for name in reversed(lineage) if name), written)
    found = [taxon for taxon in known.find_all(own) if _agree_above(lineage, taxon.lineage)]
    return found[0].lineage if len(found) == 1 else None


def _agree_above(one: Lineage, other: Lineage) -> bool:
    own = max((depth for depth, name in enumerate(one) if name), default=-1)
    return _agree(tuple("" if at == own else name for at, name in enumerate(one)), other)


def find_near(lost: Sequence[str], names: Iterable[str]) -> list[tuple[str, str]]:
    """Return names that are no class with the nearest class, those that have one."""
    from rapidfuzz import fuzz, process

    spelt = {fold(name): name for name in names}
    if not spelt:
        return []
    most = max(1, _MOST_COMPARED // len(spelt))
    found = []
    for name in list(lost)[:most]:
        near = process.extractOne(
            fold(name), spelt.keys(), scorer=fuzz.ratio, score_cutoff=_LEAST_SIMILARITY
        )
        if near:
            found.append((name, spelt[near[0]]))
    return found


def describe_lost(lost: Sequence[str], names: Sequence[str], path: str) -> list[Note | str]:
    """Say which taxa of a table are in no class, with the nearest class of those that have one.

    Parameters
    ----------
    lost : sequence of str
    names : sequence of str
        Of the classes.
    path : str
        Of the table.
    """
    if not lost:
        return []
    near = find_near(lost, names)
    alike = {name for name, _ in near}
    shown = [f"{name} (near: {other})" for name, other in near[:MOST_SHOWN]]
    shown += [name for name in lost if name not in alike][: MOST_SHOWN - len(shown)]
    more = " …" if len(lost) > len(shown) else ""
    text = f"{len(lost):,} taxa of {path} are no class, nor above or below one: "
    return [
        Note(text + ", ".join(shown) + more, WARNING) if near else text + ", ".join(shown) + more
    ]
