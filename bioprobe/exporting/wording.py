"""What is said upon pictures of the answers to them: names, scores, statuses, colours."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bioprobe.cells import name_cells
from bioprobe.conservation import Finder, read_category
from bioprobe.content import read_content
from bioprobe.exporting.answers import (
    ANIMAL,
    BLANK,
    HUMAN,
    UNKNOWN,
    VEHICLE,
    Answers,
    Guess,
    Observation,
    Picture,
    join_predictions,
    take_labels,
)
from bioprobe.exporting.places import STATUS_COLUMNS, Sensitive
from bioprobe.images.image_table import ImageTable, read_level
from bioprobe.images.regions import DETECTION_CATEGORY, REGION
from bioprobe.options import RANK_NAMES
from bioprobe.overlays.colours import GREY, PLAIN, SERIES
from bioprobe.overlays.labels import Badge, Mark
from bioprobe.result import WARNING, Note
from bioprobe.taxonomy import RANKS, Rank, Taxon
from bioprobe.taxonomy.columns import spell_column

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.store.view import View

#: What can be written of a region, in the order in which it stands there.
PARTS = ("box", "label", "score", "status", "common", "path")
#: Of what no class is sure enough for.
NOT_RECOGNISED = "not recognised"
_SEPARATOR = " \u203a "
#: Name of a picture, and of a region in it.
Named = tuple[str, str]
#: Returns the code of status of a label, ``""`` where none is known.
FindStatus = Callable[[Guess], str]


def _find_no_status(_: Guess) -> str:
    """Return the status of what has none."""
    return ""


@dataclasses.dataclass(frozen=True, eq=False)
class Wording:
    """What is said of each region.

    Parameters
    ----------
    answers : Answers
        What is known of the pictures.
    parts : frozenset of str
        Of :data:`PARTS`.
    k : int
        Answers that are written, ≥ 1.
    min_score : float
        Of answers that are recognised, at least; those that nobody gave a score always are.
    nearest : mapping of (str, str) to (str, float)
        By picture and region, what stood nearest to those that are of no known class.
    find_code : callable
        Returns the code of status of a label.
    told : mapping of (str, str) to str
        Code of status by picture and region, where that is said of these themselves.
    colours : mapping of str to str
        By status or label.
    colour_by : {"status", "label"}
        What the colours of boxes stand for.
    """

    answers: Answers
    parts: frozenset[str]
    k: int = 1
    min_score: float = 0.0
    nearest: Mapping[Named, tuple[str, float]] = dataclasses.field(default_factory=dict)
    find_code: FindStatus = _find_no_status
    told: Mapping[Named, str] = dataclasses.field(default_factory=dict)
    colours: Mapping[str, str] = dataclasses.field(default_factory=dict)
    colour_by: str = "status"

    def name(self, one: Observation) -> str:
        """Return the label of a region: its class, what it holds, or that it is not recognised."""
        if one.best is not None:
            return one.best.label if self.is_recognised(one) else NOT_RECOGNISED
        if one.content in {HUMAN, BLANK, VEHICLE}:
            return one.content
        return NOT_RECOGNISED if one.machine == "bioprobe" else one.content

    def is_recognised(self, one: Observation) -> bool:
        """Tell whether the best class of a region is sure enough."""
        best = one.best
        return best is not None and (best.score is None or best.score >= self.min_score)

    def find_score(self, one: Observation) -> float | None:
        """Return how sure the label is: its class, or of what is none the detector."""
        if one.best is not None:
            return one.best.score
        return self.answers.detection(one)[1] if self.name(one) != NOT_RECOGNISED else None

    def find_status(self, picture: Picture, one: Observation) -> str:
        """Return the status of what was answered, ``""`` where none is known."""
        if one.best is None or not self.is_recognised(one):
            return ""
        return self.told.get((picture.name, one.name)) or self.find_code(one.best)

    def say(self, picture: Picture, one: Observation) -> Mark:
        """Return what is drawn for a region."""
        name, score = self.name(one), self.find_score(one)
        known = self.is_recognised(one)
        head = [name] if "label" in self.parts else []
        if "score" in self.parts and score is not None and (known or one.best is None):
            head.append(_write_score(score))
        if one.n_regions > 1 and head:
            # An answer to a picture stands for all of its class there.
            head.append(f"\u00d7{one.n_regions}")
        lines = [" ".join(head), *self._say_more(picture, one)]
        status = self.find_status(picture, one)
        badge = None
        if "status" in self.parts and status:
            badge = Badge(status, self._find_status_colour(status))
        lines = [line for line in lines if line]
        return Mark(tuple(lines), one.region, self._choose_colour(name, status), badge)

    def _say_more(self, picture: Picture, one: Observation) -> Iterator[str]:
        best = one.best
        if not self.is_recognised(one):
            if self.name(one) == NOT_RECOGNISED and (near := self._find_nearest(picture, one)):
                score = f" {_write_score(near[1])}" if math.isfinite(near[1]) else ""
                yield f"nearest: {near[0]}{score}"
            return
        taxon = best.taxon if best else None
        if taxon is not None:
            yield from self._describe_taxon(taxon, best)
        for number, other in enumerate(one.guesses[1 : self.k], start=2):
            score = "" if other.score is None else f" {_write_score(other.score)}"
            yield f"{number}. {other.label}{score}"

    def _describe_taxon(self, taxon: Taxon, best: Guess | None) -> Iterator[str]:
        label = best.label if best else ""
        if "common" in self.parts and taxon.common_name not in {"", label}:
            yield taxon.common_name
        if "path" in self.parts:
            above = taxon.lineage[1 : taxon.rank.depth]
            if taxon.rank is Rank.SPECIES and taxon.name.startswith(f"{above[-1]} "):
                # The species names its genus.
                above = above[:-1]
            yield _SEPARATOR.join(filter(None, above))

    def _find_nearest(self, picture: Picture, one: Observation) -> tuple[str, float] | None:
        if one.best is not None and one.best.score is not None:
            return one.best.label, one.best.score
        key = (picture.name, one.name)
        return self.nearest.get(key) or self.nearest.get((picture.name, ""))

    def _choose_colour(self, name: str, status: str) -> str:
        if name in self.colours:
            return self.colours[name]
        if self.colour_by == "status" and (self.told or self.find_code is not _find_no_status):
            return self._find_status_colour(status)
        # What a detector saw alone is a find too.
        return self._series.get(name, PLAIN if name == ANIMAL else GREY)

    def _find_status_colour(self, status: str) -> str:
        # Behind a code may stand more: CR(PE).
        code = status.partition("(")[0].strip()
        return self.colours.get(status, self.colours.get(code, GREY))

    @functools.cached_property
    def _series(self) -> Mapping[str, str]:
        """Colours of the labels, in their order."""
        names = {self.name(one) for _, one in self.answers.observations if self.is_recognised(one)}
        if len(names) == 1:
            return dict.fromkeys(names, PLAIN)
        return {name: SERIES[at % len(SERIES)] for at, name in enumerate(sorted(names))}


def _write_score(score: float) -> str:
    # What is not certain is not called so, nor what is not impossible.
    if 0 < score < 0.005:
        return "<0.01"
    return ">0.99" if 0.995 <= score < 1 else f"{score:.2f}"


@dataclasses.dataclass(frozen=True, eq=False)
class Said:
    """What is known of the pictures.

    Parameters
    ----------
    answers : Answers
    nearest : mapping of (str, str) to (str, float)
        By picture and region, the class and score of those that are of no known class.
    told : mapping of (str, str) to str
        By picture and region, the status that a table of answers says.
    is_labels : bool
        Whether they are the labels in the store.
    """

    answers: Answers
    nearest: Mapping[Named, tuple[str, float]] = dataclasses.field(default_factory=dict)
    told: Mapping[Named, str] = dataclasses.field(default_factory=dict)
    is_labels: bool = False


def read_answers(view: View, frame: pd.DataFrame, provenance: Mapping[str, Any]) -> Said:
    """Read a table of answers to images of a store."""
    frame = _keep_lowest(frame)
    told = _read_told(frame)
    frame, nearest = _empty_unknown(frame)
    return Said(join_predictions(view, frame, dict(provenance), Sensitive()), nearest, told)


def find_species_codes(codes: Mapping[str, str]) -> FindStatus:
    """Return what finds codes by the name of the species."""

    def find(guess: Guess) -> str:
        taxon = guess.taxon
        return codes.get(taxon.name, "") if taxon and taxon.rank is Rank.SPECIES else ""

    return find


def find_listed_codes(finder: Finder) -> FindStatus:
    """Return what finds codes in a table of statuses, also of what is above and below species."""

    @functools.cache
    def find(guess: Guess) -> str:
        if guess.taxon is None:
            return finder.find_named(guess.label).category.label
        common = guess.taxon.common_name
        return finder.find(guess.taxon.lineage, common_name=common).category.label

    return find


def find_stored_codes(
    images: ImageTable, said: Said, column: str | None
) -> tuple[FindStatus, Mapping[Named, str], list[Note | str]]:
    """Return what finds the status that a store says of species, and that of regions.

    Parameters
    ----------
    images : ImageTable
    said : Said
    column : str, optional
        By default one that is called so; then what a table of answers says of regions counts first.

    Returns
    -------
    find_code : callable
    told : mapping of (str, str) to str
    notes : list of Note or str
        Which species have several.
    """
    first = {} if column else said.told
    column = column or _find_status_column(images.free_columns)
    if column is None:
        return _find_no_status, first, []
    written = [_read_status(str(value)) for value in images.labels(read_level(column, images))]
    if said.is_labels:
        told = {
            (picture.name, one.name): written[one.row]
            for picture, one in said.answers.observations if written[one.row]
        }  # fmt: skip
        return _find_no_status, told, []
    counts: dict[str, Counter[str]] = {}
    for name, value in zip(images.labels("species"), written, strict=True):
        if name and value:
            counts.setdefault(str(name), Counter())[value] += 1
    several = [name for name, said_of in counts.items() if len(said_of) > 1]
    notes: list[Note | str] = []
    if several:
        text = (
            f"{len(several):,} species have several values in the column {column}, such as "
            f"{several[0]} ({', '.join(counts[several[0]])}): the most frequent is written"
        )
        notes.append(Note(text, WARNING))
    codes = {name: said_of.most_common(1)[0][0] for name, said_of in counts.items()}
    return find_species_codes(codes), first, notes


def _find_status_column(columns: Sequence[str]) -> str | None:
    """Return the first column of conservation statuses; whether something is threatened is none."""
    known = set(STATUS_COLUMNS) - {"threatened"}
    return next((one for one in columns if spell_column(one) in known), None)


def _read_status(text: str) -> str:
    """Return the code of a status as the Red List writes it, or what else is written."""
    found = read_category(text)
    return found.label if found is not None and found.code else text.strip()


def _read_told(frame: pd.DataFrame) -> dict[Named, str]:
    """Return the status that a table of answers says, by picture and region."""
    column = _find_status_column(list(map(str, frame.columns)))
    if column is None:
        return {}
    names, values = name_cells(frame["file_name"]), name_cells(frame[column])
    regions = name_cells(frame[REGION]) if REGION in frame else [""] * len(frame)
    told: dict[Named, str] = {}
    for name, region, value in zip(names, regions, values, strict=True):
        # The first row of a region is its best answer.
        told.setdefault((str(name), str(region)), _read_status(str(value)))
    return {key: value for key, value in told.items() if value}


def _keep_lowest(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the answers at the lowest rank, where a table has several of each image."""
    if "rank" not in frame or "answer" not in frame:
        return frame
    keys = [name for name in ("file_name", REGION, "answer") if name in frame]
    is_answer = frame["answer"].notna()
    if not frame[is_answer].duplicated(keys).any():
        return frame
    lowest = max(set(frame["rank"]) & set(RANK_NAMES), key=RANK_NAMES.index, default="")
    return frame[~is_answer | (frame["rank"] == lowest)].reset_index(drop=True)


def _empty_unknown(
    frame: pd.DataFrame,
) -> tuple[pd.DataFrame, dict[Named, tuple[str, float]]]:
    """Return answers without those that are said to be of no known class, and what these were."""
    if "is_unknown" not in frame:
        return frame, {}
    is_unknown = frame["is_unknown"].astype(str).str.lower().isin({"true", "1", "1.0"})
    names = [one for one in (*reversed(RANK_NAMES), "classification") if one in frame]
    nearest: dict[Named, tuple[str, float]] = {}
    best = frame[is_unknown]
    if "answer" in frame:
        best = best[best["answer"].astype(str).isin({"1", "1.0"})]
    for said in best.to_dict("records"):
        name = next(
            (str(said[one]) for one in names if isinstance(said[one], str) and said[one]), ""
        )
        region = said.get(REGION)
        if name:
            key = str(said["file_name"]), region if isinstance(region, str) else ""
            score = said.get("score")
            nearest[key] = name, score if isinstance(score, float) else math.nan
    emptied = frame.copy()
    for one in (*names, "species_epithet", "common_name", "taxon"):
        if one in emptied:
            emptied[one] = emptied[one].astype(object).where(~is_unknown, "")
    return emptied, nearest


def take_all(view: View, level: str | None) -> Said:
    """Return the labels of a store at a level, and of regions without what the detector saw."""
    found = take_labels(view, Sensitive())
    images = view.images
    level = read_level(level, images) if level else None
    values = images.labels(level) if level and level not in RANK_NAMES else None
    known = {one.row: one for _, one in found.observations}
    has_categories = DETECTION_CATEGORY in images.columns
    categories = images.labels(DETECTION_CATEGORY) if has_categories else None
    regions = images.column(REGION).tolist()
    by_name: dict[str, list[Observation]] = {}
    n_without = 0
    for row in view.rows.tolist():
        one = known.get(row)
        said = "" if values is None else str(values[row])
        category = "" if categories is None else str(categories[row])
        if one is None and not said and not category:
            n_without += 1
            continue
        if one is None:
            content = read_content(category) or UNKNOWN
            one = Observation(row, str(regions[row]), content, (), False, "detector")
        if values is not None:
            one = dataclasses.replace(one, guesses=(Guess(None, said, None),) if said else ())
        elif level is not None:
            one = dataclasses.replace(one, guesses=_cut_lineages(one.guesses, level))
        by_name.setdefault(images.file_names[row], []).append(one)
    pictures = tuple(Picture(name, some[0].row, tuple(some)) for name, some in by_name.items())
    notes = (f"{n_without:,} images without a label are left out",) if n_without else ()
    found = dataclasses.replace(found, pictures=pictures, notes=notes)
    return Said(found, is_labels=True)


def _cut_lineages(guesses: Sequence[Guess], rank: str) -> tuple[Guess, ...]:
    """Return labels without what stands below a rank; one that is known above stays as it is."""
    depth = RANK_NAMES.index(rank)
    cut = []
    for guess in guesses:
        taxon = guess.taxon
        if taxon is not None and taxon.rank.depth > depth:
            lineage = (*taxon.lineage[: depth + 1], *("",) * (len(RANKS) - depth - 1))
            taxon = Taxon(lineage) if any(lineage) else None
            guess = dataclasses.replace(guess, taxon=taxon, label=taxon.name if taxon else "")
        cut.append(guess)
    return tuple(guess for guess in cut if guess.label)
