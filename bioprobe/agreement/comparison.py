"""Two sets of answers side by side: agreement by rank, what moved, what a person is to see."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.agreement.kappa import measure_kappa
from bioprobe.agreement.matching import RowMatches, match_rows
from bioprobe.agreement.sides import Lineage, Said, Side, fill_lineages, find_groups
from bioprobe.content import CONTENT
from bioprobe.errors import SourceError
from bioprobe.images.regions import REGION
from bioprobe.intervals import Draws, Interval, Resamples, find_interval
from bioprobe.options import TABLES
from bioprobe.result import WARNING, Note, Notes, Result, name_some
from bioprobe.taxonomy import RANKS, Rank
from bioprobe.taxonomy.synonyms import accept_names
from bioprobe.types import Doubles, Mask, Places, Rows, Scores

if TYPE_CHECKING:
    import pandas as pd

#: How two answers to one picture stand to each other.
SAME, FIRST_ABOVE, SECOND_ABOVE, DIFFERENT, FIRST_ONLY, SECOND_ONLY, NEITHER, APART = RELATIONS = (
    "same", "first above", "second above", "different", "first only", "second only", "neither",
    "nothing in common",
)  # fmt: skip
#: What a person is to look at.
_DISAGREE = (DIFFERENT, FIRST_ONLY, SECOND_ONLY)
ANSWER = "answer"
_NO_ANSWER = "(no answer)"
_SPECIES = Rank.SPECIES.depth
# Names that are the same in one kingdom or phylum are no homonyms.
_REALMS = (Rank.KINGDOM.depth, Rank.PHYLUM.depth)
# Chains that a note names.
_MOVES_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Comparing:
    """How answers are compared.

    Parameters
    ----------
    rank : Rank, optional
        That lower answers are taken up to.
    synonyms : mapping of str to str
        Synonym to accepted name.
    taxa : sequence of tuple of str
        Lineages of a list, by which holes are filled.
    group : str, optional
        Column whose equal values belong together; by default one of sequences.
    n_resamples, seed : int
        Of the intervals.
    """

    rank: Rank | None = None
    synonyms: Mapping[str, str] = dataclasses.field(default_factory=dict)
    taxa: Sequence[Lineage] = ()
    group: str | None = None
    n_resamples: int = 1000
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How far two sets of answers agree at a level.

    Parameters
    ----------
    level : str
        A rank, ``content``, ``label`` or ``answer``: at whatever rank both answer.
    n_pictures : int
        Pictures or regions of which both say something at the level.
    n_agree : int
        Of these, on how many they agree.
    share, kappa : Interval
        Share that agrees, and Cohen's kappa; not numbers where nothing can be measured.
    """

    level: str
    n_pictures: int
    n_agree: int
    share: Interval
    kappa: Interval


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Comparison(Result):
    """Two sets of answers to the same pictures, of which neither is the truth.

    Parameters
    ----------
    first, second : Side
        The answers, with names in one form.
    matches : RowMatches
        Which rows belong together: all that follows is of these pairs.
    relations : tuple of str
        Of each pair: ``same``; ``first above`` and ``second above``, where one is the other's
        ancestor; ``different``; ``first only`` and ``second only``, where the other gives no
        answer; ``neither``; ``nothing in common``, where no rank is named by both.
    depths : ndarray of int64, shape (n_pairs,)
        Lowest rank that both have in common, from 0 for kingdom; -1 for none.
    groups : tuple of str
        What each pair belongs to, ``""`` for its picture alone.
    agreements : tuple of Agreement
        The overall one first.
    shift : Interval
        Mean difference of the scores, second less first, of the pairs with both.
    table : str
        Which of ``queue``, ``moves``, ``agreement`` and ``pairs`` :meth:`to_frame` returns.
    provenance : dict
        What it was computed from, JSON-ready.
    notes : tuple of Note
        What is to be said of it.
    """

    first: Side
    second: Side
    matches: RowMatches
    relations: tuple[str, ...]
    depths: Places
    groups: tuple[str, ...]
    agreements: tuple[Agreement, ...]
    shift: Interval
    table: str = TABLES[0]
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: Notes = ()

    def __len__(self) -> int:
        return len(self.relations)

    @functools.cached_property
    def counts(self) -> dict[str, int]:
        """Pairs of each relation, in the order of the relations."""
        found = collections.Counter(self.relations)
        return {name: found[name] for name in RELATIONS if found[name]}

    @property
    def disagreeing(self) -> Mask:
        """Whether each pair is one that a person is to look at."""
        return np.isin(np.array(self.relations, dtype=object), _DISAGREE)

    @functools.cached_property
    def order(self) -> Rows:
        """Pairs that disagree, the most telling first.

        Two different answers come before one answer and none; of these, where the less sure of
        both is surer, an answer without a score counting as sure; of these, where both have less
        in common; of these, by the name of the file.
        """
        sureness = [
            np.array(side.sureness)[rows]
            for side, rows in ((self.first, self.matches.first), (self.second, self.matches.second))
        ]
        least = np.minimum(*sureness) if len(self) else np.zeros(0)
        relations = np.array(self.relations, dtype=object)
        is_one_sided = relations != DIFFERENT
        # What gives no answer has no score that counts.
        least = np.where(relations == FIRST_ONLY, sureness[0], least)
        least = np.where(relations == SECOND_ONLY, sureness[1], least)
        files = np.array([self.first.files[row] for row in self.matches.first], dtype=object)
        _, names = np.unique(files.astype(str), return_inverse=True)
        order = np.lexsort((names, self.depths, -least, is_one_sided))
        return np.asarray(order[self.disagreeing[order]], dtype=np.int64)

    @functools.cached_property
    def pairs(self) -> pd.DataFrame:
        """Every pair, one a row, in the order of the first answers.

        ``file_name``, ``image_region`` where there are any, the answers and scores of ``first`` and
        ``second``, ``relation``, ``common`` (the lowest taxon that both have) and ``common_rank``,
        ``difference`` of the scores, ``group`` where there is any.
        """
        import pandas as pd

        one, two = self.matches.first, self.matches.second
        said = list(self._iter_said())
        columns: dict[str, Any] = {"file_name": [self.first.files[row] for row in one]}
        regions = [
            self.first.regions[a] or self.second.regions[b] for a, b in zip(one, two, strict=True)
        ]
        if any(regions):
            columns[REGION] = regions
        columns |= {"first": [a.name for a, _ in said], "second": [b.name for _, b in said]}
        columns["relation"] = list(self.relations)
        found = [
            (a.lineage[depth], RANKS[depth].value) if depth >= 0 else ("", "")
            for (a, _), depth in zip(said, self.depths.tolist(), strict=True)
        ]
        columns |= {"common": [name for name, _ in found], "common_rank": [at for _, at in found]}
        columns["first_score"] = self.first.scores[one]
        columns["second_score"] = self.second.scores[two]
        columns["difference"] = self.second.scores[two] - self.first.scores[one]
        if any(self.groups):
            columns["group"] = list(self.groups)
        if any(self.second.files[b] != self.first.files[a] for a, b in zip(one, two, strict=True)):
            columns["second_file_name"] = [self.second.files[row] for row in two]
        return pd.DataFrame(columns)

    @property
    def queue(self) -> pd.DataFrame:
        """Pairs that disagree, the most telling first; see :attr:`order`."""
        queue = self.pairs.iloc[self.order].reset_index(drop=True)
        queue.insert(0, "place", np.arange(1, len(queue) + 1))
        return queue

    @functools.cached_property
    def moves(self) -> pd.DataFrame:
        """What the one calls so and the other otherwise, most pictures first.

        ``first``, ``second``, ``n_pictures``, ``relation``, ``common`` and ``common_rank``, and the
        mean scores. Of as many pictures those come first that have less in common.
        """
        import pandas as pd

        frame = self.pairs.assign(depth=self.depths)
        changed = frame[~frame["relation"].isin([SAME, NEITHER])]
        keys = ["first", "second", "relation", "common", "common_rank", "depth"]
        grouped = changed.groupby(keys, sort=False, dropna=False)
        moves = grouped.agg(
            n_pictures=("file_name", "size"),
            first_score=("first_score", "mean"),
            second_score=("second_score", "mean"),
        ).reset_index()
        moves = moves.sort_values(
            ["n_pictures", "depth", "first", "second"], ascending=[False, True, True, True],
            kind="stable",
        )  # fmt: skip
        named = moves.assign(
            first=moves["first"].replace("", _NO_ANSWER),
            second=moves["second"].replace("", _NO_ANSWER),
        )
        shown = ["first", "second", "n_pictures", "relation", "common", "common_rank",
                 "first_score", "second_score"]  # fmt: skip
        return pd.DataFrame(named[shown]).reset_index(drop=True)

    @property
    def agreement(self) -> pd.DataFrame:
        """One row a level: pictures, how many agree, the share and kappa with their intervals."""
        import pandas as pd

        rows = [
            (one.level, one.n_pictures, one.n_agree, one.share.estimate, one.share.low,
             one.share.high, one.kappa.estimate, one.kappa.low, one.kappa.high)
            for one in self.agreements
        ]  # fmt: skip
        names = ["level", "n_pictures", "n_agree", "agreement", "agreement_low", "agreement_high",
                 "kappa", "kappa_low", "kappa_high"]  # fmt: skip
        return pd.DataFrame(rows, columns=names)

    def to_frame(self) -> pd.DataFrame:
        """Return the table that was asked for: by default the queue for review."""
        if self.table == TABLES[0]:
            return self.queue
        found: pd.DataFrame = getattr(self, self.table)
        return found

    def _iter_said(self) -> list[tuple[Said, Said]]:
        return [
            (self.first.said[a], self.second.said[b])
            for a, b in zip(self.matches.first, self.matches.second, strict=True)
        ]


def compare_sides(first: Side, second: Side, how: Comparing | None = None) -> Comparison:
    """Compare two sets of answers to the same pictures.

    Raises
    ------
    SourceError
        If they have no picture in common.
    """
    how = how or Comparing()
    matches = match_rows(
        (first.files, second.files),
        (first.regions, second.regions),
        (first.sureness, second.sureness),
    )
    if not len(matches.first):
        raise SourceError(_explain_nothing(first, second, matches))
    first, second = (_accept(side, how.synonyms) for side in (first, second))
    first, second = fill_lineages([first, second], how.taxa)
    if how.rank is not None:
        depth = how.rank.depth
        first, second = (
            dataclasses.replace(side, said=tuple(one.cut(depth) for one in side.said))
            for side in (first, second)
        )
    said = [
        (first.said[a], second.said[b]) for a, b in zip(matches.first, matches.second, strict=True)
    ]
    known = {pair: relate(*pair) for pair in dict.fromkeys(said)}
    relations = tuple(known[pair].relation for pair in said)
    depths = np.array([known[pair].depth for pair in said], dtype=np.int64)
    groups, column = find_groups(
        [first, second], [matches.first.tolist(), matches.second.tolist()], how.group
    )
    # Regions of one picture come together, and pictures of one group.
    files = [first.files[row] for row in matches.first]
    units = np.array([group or f"\0{file}" for group, file in zip(groups, files, strict=True)])
    agreements = _measure(said, relations, units, how)
    shift = _measure_shift(first.scores[matches.first], second.scores[matches.second], units, how)
    options = {
        "first": first.name, "second": second.name, "group": column,
        "level": how.rank.value if how.rank else "", "n_synonyms": len(how.synonyms),
        "n_resamples": how.n_resamples, "seed": how.seed,
    }  # fmt: skip
    n_renamed = sum(known[pair].is_renamed for pair in said)
    found = Comparison(
        first, second, matches, relations, depths, tuple(groups), agreements, shift,
        provenance={"first": dict(first.provenance), "second": dict(second.provenance),
                    "options": options},
    )  # fmt: skip
    return found.say([*first.notes, *second.notes, *_describe(found, column, n_renamed)])


def _accept(side: Side, synonyms: Mapping[str, str]) -> Side:
    if not synonyms:
        return side
    said = tuple(
        dataclasses.replace(one, lineage=accept_names(one.lineage, synonyms)) for one in side.said
    )
    return dataclasses.replace(side, said=said)


@dataclasses.dataclass(frozen=True)
class _Related:
    """How two answers stand to each other.

    Parameters
    ----------
    relation : str
    depth : int
        Lowest rank that both have in common, -1 for none.
    is_renamed : bool
        Whether they are one name that stands in two lineages.
    """

    relation: str
    depth: int = -1
    is_renamed: bool = False


def relate(first: Said, second: Said) -> _Related:
    """Tell how two answers stand to each other.

    The lowest rank that both name decides: there they are the same taxon, or different ones. One
    that goes no further down than the other is above it. A name stands for the same taxon where
    the names above it do not contradict each other; where they do, it is a homonym, unless both
    are of one kingdom or phylum, within which no two taxa have one name, so that the two lists
    only place it differently. A subspecies is below its species.

    References
    ----------
    International Code of Zoological Nomenclature, article 52 (principle of homonymy).

    Examples
    --------
    >>> leo = ("Animalia", "", "", "", "Felidae", "Panthera", "Panthera leo")
    >>> relate(Said(leo), Said((*leo[:5], "", ""))).relation
    'second above'
    """
    if not first.name or not second.name:
        relation = FIRST_ONLY if first.name else SECOND_ONLY if second.name else NEITHER
        return _Related(relation)
    if first.depth >= 0 and second.depth >= 0:
        return _relate_taxa(first.lineage, second.lineage)
    if first.depth < 0 and second.depth < 0:
        return _relate_words(first, second)
    taxon, word = (first, second) if first.depth >= 0 else (second, first)
    if word.label:
        names = {taxon.name.casefold(), taxon.common_name.casefold()} - {""}
        return _Related(SAME if word.label.casefold() in names else DIFFERENT)
    # An animal is what the taxon is, and says less of it.
    is_above = word.content == taxon.content
    above = SECOND_ABOVE if taxon is first else FIRST_ABOVE
    return _Related(above if is_above else DIFFERENT)


def _relate_words(first: Said, second: Said) -> _Related:
    if first.label and second.label:
        return _Related(SAME if first.label.casefold() == second.label.casefold() else DIFFERENT)
    if not first.label and not second.label:
        return _Related(SAME if first.content == second.content else DIFFERENT)
    # A name of no taxon may be of anything, but where it is said to be of something else.
    contents = {first.content, second.content} - {""}
    return _Related(DIFFERENT if len(contents) > 1 else APART)


def _relate_taxa(first: Lineage, second: Lineage) -> _Related:
    both = [at for at in range(len(RANKS)) if first[at] and second[at]]
    if not both:
        return _Related(APART)
    lowest = both[-1]
    depths = [max(at for at, name in enumerate(one) if name) for one in (first, second)]
    if not _is_same_name(first, second, lowest):
        shared = [at for at in both if _is_same_name(first, second, at)]
        return _Related(DIFFERENT, shared[-1] if shared else -1)
    is_renamed = any(first[at].casefold() != second[at].casefold() for at in both[:-1])
    lengths = [_count_words(one) for one in (first, second)]
    order = (depths[0], lengths[0]), (depths[1], lengths[1])
    if order[0] == order[1]:
        return _Related(SAME, lowest, is_renamed)
    return _Related(FIRST_ABOVE if order[0] < order[1] else SECOND_ABOVE, lowest, is_renamed)


def _count_words(lineage: Lineage) -> int:
    """Return the words of a species, of which a subspecies has more."""
    return len(lineage[_SPECIES].split())


def _is_same_name(first: Lineage, second: Lineage, depth: int) -> bool:
    """Tell whether two lineages have the same taxon at a rank that both name."""
    one, other = first[depth].casefold().split(), second[depth].casefold().split()
    if depth == _SPECIES and len(one) != len(other):
        n_words = max(2, min(len(one), len(other)))
        one, other = one[:n_words], other[:n_words]
    if one != other:
        return False
    clashes = [
        at for at in range(depth)
        if first[at] and second[at] and first[at].casefold() != second[at].casefold()
    ]  # fmt: skip
    if not clashes:
        return True
    realms = [
        first[at].casefold() == second[at].casefold()
        for at in _REALMS if at < depth and first[at] and second[at]
    ]  # fmt: skip
    return bool(realms) and all(realms)


def _measure(
    said: Sequence[tuple[Said, Said]],
    relations: Sequence[str],
    units: npt.NDArray[Any],
    how: Comparing,
) -> tuple[Agreement, ...]:
    """Measure agreement overall, by what pictures hold, by rank, and by names of no taxon."""
    found = [_measure_answers(said, relations, units, how)]
    levels: list[tuple[str, list[tuple[str, str]]]] = [
        (CONTENT, [(one.content, other.content) for one, other in said])
    ]
    last = len(RANKS) if how.rank is None else how.rank.depth + 1
    levels += [(rank.value, _name_at(said, rank.depth)) for rank in RANKS[:last]]
    levels.append(("label", [(one.label, other.label) for one, other in said]))
    for level, named in levels:
        both = np.array([bool(one and other) for one, other in named], dtype=bool)
        if both.any():
            pairs = [pair for pair, kept in zip(named, both, strict=True) if kept]
            found.append(_measure_level(level, pairs, units[both], how))
    return tuple(found)


def _name_at(said: Sequence[tuple[Said, Said]], depth: int) -> list[tuple[str, str]]:
    """Return a key of either taxon at a rank, the same where the taxon is; ``""`` for none.

    Homonyms have a number behind the name.
    """
    known: dict[str, list[Lineage]] = {}
    keys: dict[Lineage, str] = {}

    def name(lineage: Lineage) -> str:
        upper = lineage[: depth + 1]
        if not upper[depth]:
            return ""
        if upper not in keys:
            words = upper[depth].casefold().split()
            text = " ".join(words[:2] if depth == _SPECIES else words)
            others = known.setdefault(text, [])
            at = next(
                (n for n, other in enumerate(others) if _is_same_name(upper, other, depth)),
                len(others),
            )
            if at == len(others):
                others.append(upper)
            keys[upper] = f"{text} {at}"
        return keys[upper]

    # The fullest lineage of a name is met first, so that holes do not join homonyms.
    lineages = sorted(
        {one.lineage for pair in said for one in pair}, key=lambda one: -sum(map(bool, one))
    )
    for lineage in lineages:
        name(lineage)

    def name_both(first: Lineage, second: Lineage) -> tuple[str, str]:
        one, other = name(first), name(second)
        if not one or not other:
            return one, other
        # A name with holes above it may be any of several homonyms: the other answer says which.
        if _is_same_name(first[: depth + 1], second[: depth + 1], depth):
            return (one, one) if sum(map(bool, first)) >= sum(map(bool, second)) else (other, other)
        return one, other if one != other else f"{other}\0"

    return [name_both(one.lineage, other.lineage) for one, other in said]


def _measure_level(
    level: str, pairs: Sequence[tuple[str, str]], units: npt.NDArray[Any], how: Comparing
) -> Agreement:
    folded = [(one.casefold(), other.casefold()) for one, other in pairs]
    first, second = _number(folded)
    resamples = _resample(units, how)
    agree = first == second
    return Agreement(
        level, len(pairs), int(agree.sum()), _measure_share(agree, resamples),
        measure_kappa(first, second, resamples),
    )  # fmt: skip


def _measure_answers(
    said: Sequence[tuple[Said, Said]],
    relations: Sequence[str],
    units: npt.NDArray[Any],
    how: Comparing,
) -> Agreement:
    """Measure agreement at whatever rank both answer: one above the other is compatible.

    Kappa counts answers as they stand, so that it is lower where one goes further down.
    """
    kinds = np.array(relations, dtype=object)
    judged = ~np.isin(kinds, [NEITHER, APART])
    agree = np.isin(kinds, [SAME, FIRST_ABOVE, SECOND_ABOVE])[judged]
    if not judged.any():
        nothing = Interval(np.nan, np.nan, np.nan)
        return Agreement(ANSWER, 0, 0, nothing, nothing)
    resamples = _resample(units[judged], how)
    share = _measure_share(agree, resamples)
    named = [(one.name.casefold(), other.name.casefold()) for one, other in said]
    pairs = [
        # Homonyms and names that are placed differently are told by the relation alone.
        (one, one if kind == SAME else f"{other}\0" if one == other else other)
        for (one, other), kind, kept in zip(named, relations, judged.tolist(), strict=True)
        if kept
    ]
    kappa = measure_kappa(*_number(pairs), resamples)
    return Agreement(ANSWER, len(pairs), int(agree.sum()), share, kappa)


def _number(pairs: Sequence[tuple[str, str]]) -> tuple[Places, Places]:
    """Return the numbers of names on either side, one number a name."""
    place_of = {name: at for at, name in enumerate(dict.fromkeys(n for p in pairs for n in p))}
    first, second = (np.array([place_of[p[side]] for p in pairs]) for side in (0, 1))
    return first, second


def _resample(units: npt.NDArray[Any], how: Comparing) -> Resamples:
    return Resamples.of_groups(units, how.n_resamples, how.seed)


def _measure_share(agree: Mask, resamples: Resamples) -> Interval:
    values = np.concatenate([_average(agree, weights) for weights in resamples.iter_weights()])
    draws = Draws(float(agree.mean()), values, resamples.n_clusters, resamples.is_clustered)
    return find_interval(draws, is_share=True)


def _average(values: Mask | Doubles, weights: Scores) -> Doubles:
    return np.asarray(weights @ values.astype(np.float64) / weights.sum(axis=1), dtype=np.float64)


def _measure_shift(
    first: Doubles, second: Doubles, units: npt.NDArray[Any], how: Comparing
) -> Interval:
    differences = second - first
    both = np.isfinite(differences)
    if not both.any():
        return Interval(np.nan, np.nan, np.nan)
    resamples = _resample(units[both], how)
    values = np.concatenate(
        [_average(differences[both], weights) for weights in resamples.iter_weights()]
    )
    estimate = float(differences[both].mean())
    draws = Draws(estimate, values, resamples.n_clusters, resamples.is_clustered)
    # Scores that are no shares have differences beyond these ends.
    end = max(1.0, float(np.abs(differences[both]).max()))
    return find_interval(draws, low=-end, high=end)


def _explain_nothing(first: Side, second: Side, matches: RowMatches) -> str:
    ours, theirs = (next(iter(side.files), "none") for side in (first, second))
    text = (
        f"{first.name} and {second.name} have no picture in common: the one names "
        f"{len(set(first.files)):,}, such as {ours}, the other {len(set(second.files)):,}, such as "
        f"{theirs}"
    )
    if matches.files.ambiguous:
        text += f"; {len(matches.files.ambiguous):,} names may each be several of the other"
    return f"{text}; expected names of files that end alike, with the folders that tell them apart"


def _describe(found: Comparison, column: str, n_renamed: int) -> list[Note | str]:
    """Say what was matched and how, how far both agree, and what moved most."""
    counts, matches, files = found.counts, found.matches, found.matches.files
    first, second = found.first, found.second
    said: list[Note | str] = [f"first: {first.name}; second: {second.name}"]
    said += [
        Note(f"{one.name} answers nothing: is it a table of answers?", WARNING)
        for one in (first, second)
        if not any(answer.name for answer in one.said)
    ]
    text = f"{len(files.partners):,} pictures are in both"
    if len(found) != len(files.partners):
        text += f", with {len(found):,} pairs of regions"
    text += f"; only in the first {len(files.only_first):,}, only in the second "
    said.append(f"{text}{len(files.only_second):,}")
    if files.ambiguous:
        text = f"{len(files.ambiguous):,} names of files may be several of the other, and are left "
        said.append(Note(f"{text}out: {name_some(files.ambiguous)}", WARNING))
    if files.n_by_name:
        text = (
            f"{files.n_by_name:,} pictures are matched by the name of the file alone, as all "
            "folders above differ: make sure that they are the same pictures"
        )
        said.append(Note(text, WARNING))
    if files.n_by_case:
        said.append(f"{files.n_by_case:,} names differ in capitals, and are taken for the same")
    said += _describe_regions(matches)
    if n_renamed:
        said.append(
            f"{n_renamed:,} answers are one name that the two place in different families, orders "
            "or the like of one kingdom or phylum: the same taxon"
        )
    said.append(", ".join(f"{name} {n:,}" for name, n in counts.items()))
    by = f"{column} of {len(set(found.groups)):,} values" if column else "pictures"
    for one in found.agreements:
        what = "answers, one above the other included" if one.level == ANSWER else one.level
        said.append(
            f"  {what}: {one.n_agree:,} of {one.n_pictures:,} agree, {one.share}; "
            f"kappa {_write(one.kappa)}"
        )
    said.append(f"intervals are of 95%, by {by}")
    if np.isfinite(found.shift.estimate):
        said.append(f"score of the second less that of the first: {found.shift} in the mean")
    for row in found.moves.head(_MOVES_SHOWN).to_dict("records"):
        above = f", both in {row['common']}" if row["common"] else ""
        said.append(
            f"  {row['first']} -> {row['second']}: {row['n_pictures']:,} ({row['relation']}{above})"
        )
    return said


def _describe_regions(matches: RowMatches) -> list[str]:
    said = []
    if matches.n_by_box:
        said.append(f"{matches.n_by_box:,} pairs are boxes that overlap by half at least")
    if matches.n_whole:
        said.append(
            f"{matches.n_whole:,} answers to a whole picture stand beside the surest answer to a "
            "region of it"
        )
    if matches.n_unmatched:
        said.append(f"{matches.n_unmatched:,} regions of these pictures are in one set alone")
    return said


def _write(kappa: Interval) -> str:
    if np.isnan(kappa.estimate):
        return "not defined, as there is one class alone"
    return str(kappa)
