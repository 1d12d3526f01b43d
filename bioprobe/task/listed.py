"""Which classes a list of what may occur allows, where each image was taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bioprobe.cells import name_cells
from bioprobe.errors import PromptError
from bioprobe.result import WARNING, Note, name_some
from bioprobe.store.view import View
from bioprobe.task.tree import Tree
from bioprobe.taxonomy import RANKS, Rank, Taxon, Taxonomy
from bioprobe.taxonomy.checklists import (
    PLACE_PARTS,
    PLACE_SPELLINGS,
    SITE,
    SITES_OF_PICTURES,
    Checklist,
    Rule,
    read_place,
)
from bioprobe.taxonomy.columns import spell_columns
from bioprobe.taxonomy.matching import LEAST_SIMILARITY, fold
from bioprobe.taxonomy.scientific_names import read_name
from bioprobe.taxonomy.taxonomy import agree_by_name
from bioprobe.types import Mask, Places

# Names that are shown of those that no candidate has.
_SHOWN = 3
# Of so many of them near names are looked for.
_LOOKED_AT = 50
_GENUS = Rank.GENUS.depth
Place = tuple[str, str, str]
# What is said of each class of a rank: 1 allows, -1 blocks, 0 is nothing.
_Verdicts = npt.NDArray[np.int8]


@dataclasses.dataclass(frozen=True, eq=False)
class Listed:
    """What may be answered, by kind of image: images of one place are of one kind.

    Parameters
    ----------
    tree : Tree
        The lowest classes of the question, and those above them.
    kinds : ndarray of int64, shape (n_images,)
        Kind of each image.
    leaves : ndarray of bool, shape (n_kinds, n_leaves)
        Which of the lowest classes may be answered.
    levels : tuple of ndarray of bool, each of shape (n_kinds, n_classes)
        Which classes may be answered at each rank of the tree.
    """

    tree: Tree
    kinds: Places
    leaves: Mask
    levels: tuple[Mask, ...]

    def take(self, images: Mask | Places) -> Listed:
        """Return the same for some of the images."""
        return dataclasses.replace(self, kinds=self.kinds[images])

    def admits(self, places: Places) -> Mask:
        """Tell whether a class of the rank may be answered for each image; -1 may not.

        Parameters
        ----------
        places : ndarray of int64, shape (n_images,) or (n_images, k)
        """
        kinds = self.kinds if places.ndim == 1 else self.kinds[:, np.newaxis]
        return (places >= 0) & self.levels[-1][kinds, np.maximum(places, 0)]

    @cached_property
    def _genera(self) -> Mask:
        """Genera of which a lowest class may be answered, shape (n_kinds, n_genera)."""
        places = self.tree.places[_GENUS]
        found = np.zeros((len(self.leaves), len(self.tree.levels[_GENUS])), dtype=bool)
        for kind, allowed in enumerate(self.leaves):
            found[kind, places[allowed & (places >= 0)]] = True
        return found

    def climb(self, depths: Places, places: Places, kinds: Places) -> tuple[Places, Places]:
        """Find the first class above each that may be answered.

        A genus may be only where one of its lowest classes may, or it says no more than the
        species that may not.

        Parameters
        ----------
        depths, places : ndarray of int64, shape (n,)
            Rank and class of what may not be answered.
        kinds : ndarray of int64, shape (n,)

        Returns
        -------
        depths, places : ndarray of int64, shape (n,)
            -1 where nothing above may be.

        References
        ----------
        SpeciesNet, ``geofence_utils.geofence_animal_classification``, which begins at family.
        """
        to, at = np.full(len(depths), -1, dtype=np.int64), np.full(len(depths), -1, dtype=np.int64)
        for depth in np.unique(depths).tolist():
            mine = np.flatnonzero(depths == depth)
            present, firsts = np.unique(self.tree.places[depth], return_index=True)
            leaves = firsts[np.searchsorted(present, places[mine])]
            for upper in range(depth):
                if not self.levels[upper].shape[1]:
                    continue
                above = self.tree.places[upper][leaves]
                allowed = self.levels[upper] if upper != _GENUS else (
                    self.levels[upper] & self._genera
                )  # fmt: skip
                # Nothing may have a name at this rank.
                may = above >= 0
                may[may] = allowed[kinds[mine[may]], above[may]]
                to[mine[may]], at[mine[may]] = upper, above[may]
        return to, at


def restrict(
    view: View,
    checklists: Sequence[Checklist],
    tree: Tree,
    known: Taxonomy,
    *,
    place: Mapping[str, str] | None = None,
) -> tuple[Listed, list[Note]]:
    """Find what lists allow of the classes of a question.

    A rule counts for its taxon and everything below; of several the one of the lowest taxon does,
    and of one taxon what blocks does. Where a list allows anything, what it says nothing of may not
    occur; where it only blocks, or is a geofence, it may. What stands above something that may
    occur may be answered. Where a picture was taken is said by ``place``, else by its columns;
    where nothing says it, rules that allow count, and those that block do not.

    Parameters
    ----------
    view : View
        The images.
    checklists : sequence of Checklist
        What one of several does not allow may not occur; names beside a file add to it.
    tree : Tree
        Of the question.
    known : Taxonomy
        All taxa that the candidates are or lie above: rules name these.
    place : mapping of str to str, optional
        Country, admin1 or site of all images.

    Returns
    -------
    listed : Listed
    notes : list of Note
        What was allowed, and which names no candidate has.

    Raises
    ------
    PromptError
        If nothing is left that may occur, or the lists say nothing of any image.

    References
    ----------
    SpeciesNet, ``geofence_utils.should_geofence_animal_classification``.
    """
    whole = tree if tree.taxa is known and tree.rank is RANKS[-1] else Tree(known, RANKS[-1])
    joined = _join([one for one in checklists if not one.by_entry])
    lists = [*joined, *(one for one in checklists if one.by_entry)]
    used = {
        part
        for one in lists
        for rule in one.rules
        for part, value in zip(PLACE_PARTS, rule.where, strict=True)
        if value
    }
    places, kinds = _find_places(view, used, place or {})
    names = Names(whole)
    notes: list[Note] = []
    nodes = [np.ones((len(places), len(level)), dtype=bool) for level in whole.levels]
    silent = np.ones(len(places), dtype=bool)
    for one in lists:
        matched = names.match(one.rules)
        notes += describe_unknown(names, one, matched)
        for number, where in enumerate(places):
            allowed = _judge(names, one, matched, where)
            if allowed is None:
                continue
            silent[number] = False
            for level, may in zip(nodes, allowed, strict=True):
                level[number] &= may
    leaves, levels = _place_on(tree, whole, nodes)
    _refuse_nothing(view, checklists, names, levels, silent, places)
    notes += _describe(checklists, levels, kinds, silent, places)
    return Listed(tree, kinds, leaves, levels), notes


def _join(checklists: Sequence[Checklist]) -> list[Checklist]:
    """Return lists that complete each other as one."""
    if not checklists:
        return []
    rules = tuple(rule for one in checklists for rule in one.rules)
    source = ", ".join(dict.fromkeys(one.source for one in checklists))
    return [Checklist(rules, source, n_left_out=sum(one.n_left_out for one in checklists))]


def _find_places(
    view: View, used: Iterable[str], given: Mapping[str, str]
) -> tuple[list[Place], Places]:
    """Return the distinct places of the images, as far as rules ask, and that of each image."""
    import pandas as pd

    spelt = spell_columns(view.images.columns)
    columns = []
    for part in PLACE_PARTS:
        spellings = SITES_OF_PICTURES if part == SITE else PLACE_SPELLINGS[part]
        spelling = next((one for one in spellings if one in spelt), "")
        if given.get(part):
            columns.append([given[part]] * len(view))
        elif part in used and spelling:
            columns.append(name_cells(view.images.column(spelt[spelling]).iloc[view.rows]).tolist())
        else:
            columns.append([""] * len(view))
    rows = list(zip(*columns, strict=True))
    read = {row: read_place(*row) for row in dict.fromkeys(rows)}
    numbers, distinct = pd.factorize(np.array([*map(read.get, rows), None], dtype=object)[:-1])
    return [tuple(one) for one in distinct], numbers.astype(np.int64)


class Names:
    """The names of the classes of a tree, to find those of rules among them."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._written: dict[str, str] = {}
        self._scientific: dict[str, list[tuple[int, int]]] = {}
        self._common: dict[str, list[tuple[int, int]]] = {}
        for depth, level in enumerate(tree.levels):
            for place, taxon in enumerate(level):
                self._scientific.setdefault(taxon.name.casefold(), []).append((depth, place))
                for name in taxon.common_name.replace("|", ";").split(";"):
                    if name.strip():
                        self._common.setdefault(fold(name), []).append((depth, place))

    def match(self, rules: Sequence[Rule]) -> list[list[tuple[int, int]]]:
        """Return the rank and class of each rule; several of homonyms, none where it is unknown."""
        found: dict[tuple[object, ...], list[tuple[int, int]]] = {}
        matched = []
        for rule in rules:
            key = (rule.names, rule.lineage, rule.rank, rule.allows)
            if key not in found:
                found[key] = self._find(rule)
            matched.append(found[key])
        return matched

    def _find(self, rule: Rule) -> list[tuple[int, int]]:
        for name in rule.names:
            parsed = read_name(name)
            certain = parsed.certain if parsed else name.replace("_", " ")
            tries = dict.fromkeys([name.casefold(), certain.casefold()])
            is_below = parsed is not None and len(parsed.epithets) > 1
            if is_below and rule.allows and certain[0].isupper():
                # A subspecies says that its species occurs, and not that it does not; a domestic
                # form is none.
                tries[" ".join(certain.split()[:2]).casefold()] = None
            for one in tries:
                hits = self._choose(self._scientific.get(one, []), rule)
                if hits:
                    return hits
            hits = self._common.get(fold(name), [])
            if hits:
                return self._choose(hits, dataclasses.replace(rule, rank=None)) or hits
        return []

    def _choose(self, hits: list[tuple[int, int]], rule: Rule) -> list[tuple[int, int]]:
        """Return which of the classes of a name a rule means, by its rank and what stands above."""
        if rule.rank is not None:
            hits = [hit for hit in hits if hit[0] == rule.rank.depth]
        fitting = [hit for hit in hits if self._differ(hit, rule) == 0]
        if fitting or len(hits) != 1:
            return fitting
        # Lists place a taxon otherwise; of another kingdom it is a homonym.
        return hits if not self._is_of_other_kingdom(hits[0], rule) else []

    def _taxon(self, hit: tuple[int, int]) -> Taxon:
        return self.tree.levels[hit[0]].taxa[hit[1]]

    def _differ(self, hit: tuple[int, int], rule: Rule) -> int:
        pairs = zip(rule.lineage, self._taxon(hit).lineage, strict=True)
        return sum(a.casefold() != b.casefold() for a, b in pairs if a and b)

    def _is_of_other_kingdom(self, hit: tuple[int, int], rule: Rule) -> bool:
        mine, other = rule.lineage[0], self._taxon(hit).lineage[0]
        return bool(mine and other and mine.casefold() != other.casefold())

    def find_above(self, rule: Rule) -> list[tuple[int, int]]:
        """Return the classes that stand above the taxon of a rule, by what it says of them."""
        return [
            hit
            for depth, name in enumerate(rule.lineage)
            for hit in (self._scientific.get(name.casefold(), []) if name else [])
            if hit[0] == depth and self._differ(hit, rule) == 0
        ]

    def propose(self, name: str, n: int = 1, least: float = LEAST_SIMILARITY) -> list[str]:
        """Return the names of candidates that are nearest to one."""
        from rapidfuzz import fuzz, process

        if not self._written:
            commons = {key: self._taxon(hits[0]).common_name for key, hits in self._common.items()}
            names = {key: self._taxon(hits[0]).name for key, hits in self._scientific.items()}
            self._written = commons | names
        written = self._written
        found = process.extract(
            fold(name), written.keys(), scorer=fuzz.ratio, limit=n, score_cutoff=100 * least
        )
        return [written[key] for key, _, _ in found]


def describe_unknown(
    names: Names, one: Checklist, matched: Sequence[Sequence[object]]
) -> list[Note]:
    """Say which names of a list no candidate has, and what is nearly called so."""
    asked = dict.fromkeys(rule.names[0] for rule in one.rules)
    pairs = zip(one.rules, matched, strict=True)
    unknown = list(dict.fromkeys(rule.names[0] for rule, hits in pairs if not hits))
    said = []
    if one.n_left_out:
        text = f"{one.source}: {one.n_left_out:,} rows name no single taxon and are left out"
        said.append(Note(text))
    if not unknown:
        return said
    if one.by_entry:
        n_known = len(asked) - len(unknown)
        text = f"{n_known:,} of the {len(asked):,} taxa of {one.source} are candidates"
        return [*said, Note(text)]
    near = [(name, names.propose(name)) for name in unknown[:_LOOKED_AT]]
    near.sort(key=lambda pair: not pair[1])
    shown = [f"{name} (near: {close[0]})" if close else name for name, close in near[:_SHOWN]]
    more = f" and {len(unknown) - _SHOWN:,} more" if len(unknown) > _SHOWN else ""
    text = (
        f"warning: no candidate is or lies below {len(unknown):,} of the {len(asked):,} names "
        f"of {one.source}: {', '.join(shown)}{more}"
    )
    return [*said, Note(text, WARNING)]


def _meets(rule: Rule, where: Place) -> bool:
    """Tell whether a rule counts at a place, of which not all need be known."""
    return all(
        not wanted or wanted == there or (not there and rule.allows)
        for wanted, there in zip(rule.where, where, strict=True)
    )


def _judge(
    names: Names, one: Checklist, matched: Sequence[Sequence[tuple[int, int]]], where: Place
) -> list[Mask] | None:
    """Return which classes a list allows at a place, by rank; None where it says nothing of it."""
    rules = list(zip(one.rules, matched, strict=True))
    if one.by_entry:
        # Without a country nothing is known to be out of place.
        own = _judge_entries(names.tree, rules, where) if where[0] else None
        return None if own is None else _spread(names.tree, own, [], default=True, by_entry=True)
    met = [(rule, hits) for rule, hits in rules if _meets(rule, where)]
    if not met:
        return None
    own = [np.zeros(len(level), dtype=np.int8) for level in names.tree.levels]
    above: list[tuple[int, int]] = []
    for rule, hits in met:
        if not rule.spreads:
            above += hits
        for depth, place in hits if rule.spreads else ():
            if not rule.allows or own[depth][place] == 0:
                own[depth][place] = 1 if rule.allows else -1
        if rule.allows and not hits:
            above += names.find_above(rule)
    default = not any(rule.allows for rule, _ in met)
    return _spread(names.tree, own, above, default=default, by_entry=False)


def _judge_entries(
    tree: Tree, rules: Sequence[tuple[Rule, Sequence[tuple[int, int]]]], where: Place
) -> list[_Verdicts]:
    """Return what the entries of a geofence say of single classes, each by its own rules."""
    own = [np.zeros(len(level), dtype=np.int8) for level in tree.levels]
    # Whether anything is allowed, whether it is here, and whether it is blocked here.
    entries: dict[tuple[int, int], list[bool]] = {}
    for rule, hits in rules:
        meets = _meets(rule, where)
        for hit in hits:
            said = entries.setdefault(hit, [False, False, False])
            said[0] |= rule.allows
            said[1] |= rule.allows and meets
            said[2] |= not rule.allows and meets
    for (depth, place), (has_allowed, is_allowed, is_blocked) in entries.items():
        may = (is_allowed or not has_allowed) and not is_blocked
        own[depth][place] = 1 if may else -1
    return own


def _spread(
    tree: Tree,
    own: Sequence[_Verdicts],
    above: Sequence[tuple[int, int]],
    *,
    default: bool,
    by_entry: bool,
) -> list[Mask]:
    """Return what may be answered at each rank, of what rules say of single classes."""
    # What is said of each lowest class, of the lowest rank that says anything.
    said = np.zeros(len(tree.taxa), dtype=np.int8)
    verdicts = []
    for places, mine in zip(tree.places, own, strict=True):
        named = places >= 0
        rules = np.zeros(len(places), dtype=np.int8)
        rules[named] = mine[places[named]]
        said = np.where(rules != 0, rules, said)
        verdict = np.zeros(len(mine), dtype=np.int8)
        verdict[places[places >= 0]] = said[places >= 0]
        verdicts.append(verdict)
    may_leaf = said > 0 if not default else said >= 0
    allowed = []
    for depth, (places, verdict, mine) in enumerate(zip(tree.places, verdicts, own, strict=True)):
        holds = np.zeros(len(mine), dtype=bool)
        holds[places[(places >= 0) & may_leaf]] = True
        holds[[place for at, place in above if at == depth]] = True
        may = verdict > 0 if not default else verdict >= 0
        # A geofence says of each taxon by itself whether it may be answered.
        may |= holds & (mine >= 0) if by_entry else holds
        allowed.append(may)
    return allowed


def _place_on(tree: Tree, whole: Tree, nodes: Sequence[Mask]) -> tuple[Mask, tuple[Mask, ...]]:
    """Return what may be answered of the classes of a question, by those of all candidates."""
    levels = []
    for depth, level in enumerate(tree.levels):
        if level is whole.levels[depth]:
            levels.append(nodes[depth])
            continue
        exact = {taxon.lineage: place for place, taxon in enumerate(whole.levels[depth])}
        by_name: dict[str, list[int]] = {}
        for place, taxon in enumerate(whole.levels[depth]):
            by_name.setdefault(taxon.name, []).append(place)
        columns = []
        for taxon in level:
            place = exact.get(taxon.lineage, -1)
            if place < 0:
                place = next(
                    (one for one in by_name.get(taxon.name, ())
                     if agree_by_name(taxon.lineage, whole.levels[depth].taxa[one].lineage)), -1,
                )  # fmt: skip
            columns.append(place)
        at = np.array(columns, dtype=np.int64)
        found = np.zeros((len(nodes[depth]), len(at)), dtype=bool)
        found[:, at >= 0] = nodes[depth][:, at[at >= 0]]
        levels.append(found)
    n_kinds = len(nodes[0])
    leaves = np.zeros((n_kinds, len(tree.taxa)), dtype=bool)
    depths = np.fromiter((taxon.depth for taxon in tree.taxa), np.int64, len(tree.taxa))
    for depth, may in enumerate(levels):
        mine = np.flatnonzero((depths == depth) & (tree.places[depth] >= 0))
        leaves[:, mine] = may[:, tree.places[depth][mine]]
    # Lowest classes below the rank of the question are known by all candidates alone.
    below = np.flatnonzero(depths > tree.rank.depth)
    if below.size:
        places = {taxon.lineage: (taxon.depth, one) for d, level in enumerate(whole.levels)
                  for one, taxon in enumerate(level) if taxon.depth == d}  # fmt: skip
        for leaf in below.tolist():
            depth, place = places.get(tree.taxa.taxa[leaf].lineage, (0, -1))
            leaves[:, leaf] = nodes[depth][:, place] if place >= 0 else False
    return leaves, tuple(levels)


def _refuse_nothing(
    view: View,
    checklists: Sequence[Checklist],
    names: Names,
    levels: Sequence[Mask],
    silent: Mask,
    places: Sequence[Place],
) -> None:
    """Refuse lists that allow nothing at all, or say nothing of where any image was taken."""
    source = ", ".join(dict.fromkeys(one.source for one in checklists))
    if silent.all():
        here = "; ".join(_name_place(one) for one in places[:_SHOWN])
        there = list(dict.fromkeys(
            _name_place(rule.where) for one in checklists for rule in one.rules if any(rule.where)
        ))  # fmt: skip
        msg = (
            f"{source} says nothing of where the {len(view):,} images were taken ({here}); it has "
            f"rules for {name_some(there)}. Say where with --country, --admin1 or "
            "--site, or leave it out"
        )
        raise PromptError(msg)
    if levels[-1][~silent].any():
        return
    first = checklists[0].rules[0].names[0]
    matched = [bool(hits) for one in checklists for hits in names.match(one.rules)]
    if any(matched):
        msg = (
            f"{source} leaves nothing that may occur: {sum(matched):,} of its {len(matched):,} "
            f"rules name candidates, such as {first!r}, and what is allowed is blocked too, or all "
            "is; of one taxon the rule that blocks counts. Leave such rules out"
        )
        raise PromptError(msg)
    near = ", ".join(names.propose(first, 3, 0.6)) or "none is alike"
    n_rules = sum(len(one.rules) for one in checklists)
    if n_rules == 1:
        msg = (
            f"no candidate is or lies below {first!r} (near names: {near}); give a taxon of the "
            "list at any rank, or a file"
        )
    else:
        msg = (
            f"of the {n_rules:,} names of {source}, none allows a candidate, such as {first!r} "
            f"(near names: {near}); give taxa of the list at any rank"
        )
    raise PromptError(msg)


def _name_place(where: Place) -> str:
    return "/".join(filter(None, where)) or "no place known"


def _describe(
    checklists: Sequence[Checklist],
    levels: Sequence[Mask],
    kinds: Places,
    silent: Mask,
    places: Sequence[Place],
) -> list[Note]:
    classes = levels[-1][~silent]
    counts = classes.sum(axis=1)
    few, many = int(counts.min()), int(counts.max())
    n_classes = classes.shape[1]
    counted = f"{few:,}" if few == many else f"{few:,} to {many:,}"
    where = f" at {len(counts):,} places" if len(counts) > 1 else ""
    source = ", ".join(dict.fromkeys(one.source for one in checklists))
    said = [Note(f"by {source}, {counted} of {n_classes:,} classes may occur{where}")]
    if silent.any():
        n_images = int(silent[kinds].sum())
        names = [_name_place(places[one]) for one in np.flatnonzero(silent)[:_SHOWN]]
        text = (
            f"warning: {source} says nothing of where {n_images:,} images were taken "
            f"({', '.join(names)}): everything may occur there"
        )
        said.append(Note(text, WARNING))
    return said
