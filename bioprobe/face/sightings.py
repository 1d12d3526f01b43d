"""What was seen in each picture, by labels and predictions together, and where and when."""

from __future__ import annotations

import collections
import dataclasses
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from bioprobe.counting.effort import CALLED
from bioprobe.errors import MisuseError
from bioprobe.exporting import join_predictions, read_predictions, take_labels
from bioprobe.exporting.answers import BLANK, HUMAN, TIME, VEHICLE, Answers
from bioprobe.images.camera import NO_SERIAL
from bioprobe.images.image_table import read_level
from bioprobe.result import FACT, WARNING, Note, name_some
from bioprobe.task.target import find_rank
from bioprobe.taxonomy import RANKS, Rank, Taxon

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.exporting import Sensitive
    from bioprobe.exporting.answers import Observation, Picture
    from bioprobe.result import Result
    from bioprobe.store.view import View

_COUNT = ("count", "individualcount", "numberofobjects", "groupsize", "howmany", "individuals")
# Folders that cameras make (JEITA CP-3461, Design rule for Camera File system), which say nothing.
_CAMERA_FOLDER = re.compile(r"DCIM|\d{3}[A-Z0-9_]{5}", re.IGNORECASE)
LABEL, MACHINE, PREDICTION = "label", "machine label", "prediction"
_COLUMNS = ("taxon", "common_name", "rank", "content", "names", "group", "time", "zone", "count",
            "score", "source", "file_name", "row", "latitude", "longitude")  # fmt: skip


# A picture, what is known of one of its regions, and who says so.
Choice = tuple["Picture", "Observation", str]


@dataclasses.dataclass(frozen=True)
class Seen:
    """What was seen.

    Parameters
    ----------
    frame : DataFrame
        One row a picture and taxon, as :func:`bioprobe.counting.records.make_records` takes it.
    provenance : dict
        What predictions were computed from; empty of labels.
    notes : tuple of Note
        What is to be said of it: what is no sighting, and why.
    model : str
        Who predicted, ``""`` of labels alone.
    """

    frame: pd.DataFrame
    provenance: dict[str, Any]
    notes: tuple[Note, ...]
    model: str = ""


def gather_sightings(
    view: View,
    predictions: str | Path | Result | None,
    *,
    labels: bool,
    level: str,
    by: str,
    min_score: float,
    sensitive: Sensitive,
) -> Seen:
    """Put together what labels and predictions say of each picture.

    A label wins over a prediction; one that a program gave does not.

    Parameters
    ----------
    view : View
        Images that are asked.
    predictions : str, Path, Predictions or Decisions, optional
        Answers to them.
    labels : bool
        Whether the labels in the store count.
    level : str
        Rank at which taxa are named, or a column.
    by : str
        ``deployment``, ``place``, or a column that tells places apart.
    min_score : float
        Below which a prediction is none.
    sensitive : Sensitive
        Taxa whose places are not told exactly.

    Raises
    ------
    SelectionError
        If there is no such level or column.
    SourceError
        If the predictions cannot be read, or are of no images of the store.
    """
    named = read_level(level, view.images)
    group = "" if by in {"deployment", "place"} else read_level(by, view.images)
    chosen: dict[int, Choice] = {}
    answers: Answers | None = None
    notes: list[Note] = []
    secret: set[str] = set()
    if predictions is not None:
        answers = join_answers(view, predictions, sensitive)
        chosen = {one.row: (picture, one, PREDICTION) for picture, one in answers.observations}
        secret |= {one.name for one in answers.sensitive_pictures}
        if answers.failed:
            failed = name_some([one.name for one in answers.failed])
            text = f"{len(answers.failed):,} pictures could not be read: {failed}"
            notes.append(Note(text, WARNING))
    if labels:
        its = take_labels(view, sensitive)
        secret |= {one.name for one in its.sensitive_pictures}
        answers = answers or its
        for picture, one in its.observations:
            source = MACHINE if one.machine else LABEL
            if source == LABEL or one.row not in chosen:
                chosen[one.row] = (picture, one, source)
    if answers is None:
        msg = "there are neither labels nor predictions to make records of; leave --no-labels out"
        raise MisuseError(msg)
    n_without = len(set(view.rows.tolist()) - chosen.keys())
    if n_without:
        what = " or ".join(["label"] * labels + ["answer"] * (predictions is not None))
        notes.append(Note(f"{n_without:,} images have no {what}, and are no records"))
    pile = _Pile(view, named, min_score)
    for choice in chosen.values():
        pile.add(*choice)
    notes += pile.tell(level)
    frame = _make_frame(answers, pile.rows, by, group)
    frame["is_sensitive"] = frame["file_name"].isin(secret)
    model = "" if predictions is None else answers.model
    return Seen(frame, dict(answers.provenance), tuple(notes), model)


class _Pile:
    """What was seen, by picture and taxon, and what of it is no sighting."""

    def __init__(self, view: View, level: str, min_score: float) -> None:
        self._namer = _Namer(view, level)
        self._rank = find_rank(level)
        self._min_score = min_score
        self.rows: dict[tuple[str, str], dict[str, Any]] = {}
        self._n: collections.Counter[str] = collections.Counter()

    def add(self, picture: Picture, one: Observation, source: str) -> None:
        """Put what is known of a region to its picture."""
        taxon, rank, common = self._namer.name(one, source)
        score = one.score if source == PREDICTION else None
        if score is not None and score < self._min_score:
            self._n["unsure"] += 1
            return
        if one.content == BLANK or not taxon:
            self._n["blank" if one.content == BLANK else "unknown"] += 1
            return
        self._n["machine"] += source == MACHINE
        self._n["higher"] += bool(rank and self._rank and Rank(rank).depth < self._rank.depth)
        its = self.rows.setdefault((picture.name, taxon), {
            "taxon": taxon, "common_name": common, "rank": rank, "content": one.content,
            "file_name": picture.name, "row": one.row, "score": None, "sources": set(),
            "counted_rows": [], "n_regions": 0, "is_region": False,
        })  # fmt: skip
        its["sources"].add(source)
        if score is not None:
            its["score"] = max(score, its["score"] or 0.0)
        its["n_regions"] += one.n_regions
        its["is_region"] |= bool(one.name)
        its["counted_rows"].append(one.row)

    def tell(self, level: str) -> list[Note]:
        """Say what is no sighting, and what of the others is less than a person may think."""
        said = {
            "unsure": f"predictions below a score of {self._min_score:g} are no records",
            "blank": "blank images are no records",
            "unknown": f"images of which no {level} is known are no records",
            "higher": f"images are known above {level} only, and named by their lowest taxon",
            "machine": "labels were given by a program, and nobody confirmed them",
        }
        loud = {"unknown", "machine"}
        return [
            Note(f"{self._n[key]:,} {text}", WARNING if key in loud else FACT)
            for key, text in said.items() if self._n[key]
        ]  # fmt: skip


def join_answers(view: View, predictions: str | Path | Result, sensitive: Sensitive) -> Answers:
    """Join answers to the images of a store, whether they are at hand or in a table."""
    if isinstance(predictions, str | Path):
        frame, provenance = read_predictions(Path(predictions))
    else:
        said: Any = predictions
        frame, provenance = said.to_frame(), said.provenance.to_dict()
    return join_predictions(view, frame, provenance, sensitive)


class _Namer:
    """Names what an observation is of, at a rank or by a column."""

    def __init__(self, view: View, level: str) -> None:
        self._rank = find_rank(level)
        self._cells = None if self._rank else view.images.labels(level)

    def name(self, one: Observation, source: str) -> tuple[str, str, str]:
        """Return the name, its rank and common name; ``""`` where nothing is known."""
        if self._cells is not None and source != PREDICTION:
            return str(self._cells[one.row]), "", ""
        taxon = one.taxon
        if taxon is not None and self._rank is not None:
            return _roll_up(taxon, self._rank)
        if one.best is not None and one.best.label != one.content:
            return one.best.label, taxon.rank.value if taxon else "", ""
        return (one.content, "", "") if one.content in {HUMAN, VEHICLE} else ("", "", "")


def _roll_up(taxon: Taxon, rank: Rank) -> tuple[str, str, str]:
    """Return the lowest name of a taxon that is not below a rank."""
    for depth in range(min(rank.depth, taxon.rank.depth), -1, -1):
        name = taxon.lineage[depth]
        if name:
            return name, RANKS[depth].value, taxon.common_name if name == taxon.name else ""
    return taxon.name, taxon.rank.value, taxon.common_name


def _read_count(text: str) -> int:
    try:
        return max(int(float(text)), 0)
    except (ValueError, OverflowError):
        return 0


def _make_frame(
    answers: Answers, rows: dict[tuple[str, str], dict[str, Any]], by: str, group: str
) -> pd.DataFrame:
    import pandas as pd

    cells = answers.view.images.labels(group) if group else None
    made = []
    for its in rows.values():
        row = its["row"]
        counts = [_read_count(answers.cell(one, *_COUNT)) for one in its.pop("counted_rows")]
        n_regions, is_region = its.pop("n_regions"), its.pop("is_region")
        # Of a picture's regions each has its count; of a picture's row the column says all.
        said = max(counts) if is_region else sum(counts)
        its["count"] = max(n_regions if is_region else 1, said)
        its["source"] = "+".join(sorted(its.pop("sources")))
        its["names"] = _find_names(answers, its["file_name"], row, by)
        its["group"] = "" if cells is None else str(cells[row])
        its["time"] = _find_time(answers, row)
        its["zone"] = answers.cell(row, *CALLED["zone"])
        its["latitude"] = answers.cell(row, *CALLED["latitude"])
        its["longitude"] = answers.cell(row, *CALLED["longitude"])
        made.append(its)
    frame = pd.DataFrame(made, columns=list(_COLUMNS))
    frame["score"] = pd.to_numeric(frame["score"], errors="coerce").astype(float)
    frame["count"] = frame["count"].astype("int64")
    return frame


def _find_names(answers: Answers, name: str, row: int, by: str) -> tuple[str, ...]:
    """Return what may name the deployment or place of a picture, the best first."""
    orders = ("place", "deployment") if by == "place" else ("deployment", "place")
    found = [answers.cell(row, one) for meaning in (*orders, "camera") for one in CALLED[meaning]]
    # An address of a bucket is no place, a model without a number no camera.
    found = [one for one in found if one and "://" not in one and not one.endswith(NO_SERIAL)]
    parents = PurePosixPath(name).parts[:-1]
    folders = [one for one in parents if not _CAMERA_FOLDER.fullmatch(one)]
    root = PurePosixPath(str(answers.fact(row, "root")).rstrip("/")).name
    found += ["/".join(folders), *reversed(folders), root]
    return tuple(dict.fromkeys(one for one in found if one))


def _find_time(answers: Answers, row: int) -> str:
    said = answers.cell(row, *TIME)
    if said:
        return said
    date = answers.cell(row, "date", "photodate")
    clock = answers.cell(row, "time", "phototime")
    return f"{date} {clock}".strip() if date else answers.cell(row, "eventstart")
