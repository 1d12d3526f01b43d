"""How many images, and of how many taxa, have each status: at all, by place, by season."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.cells import name_cells
from bioprobe.conservation.categories import CODES, NAMES, THREATENED
from bioprobe.conservation.finding import Covered
from bioprobe.conservation.shares import Judged
from bioprobe.errors import SelectionError
from bioprobe.images.camera import CAPTURED_AT
from bioprobe.images.image_table import LOCATION_COLUMNS, ImageTable, read_level
from bioprobe.images.sequences import SEQUENCE_COLUMNS, find_folders, find_sequences
from bioprobe.images.times import read_times
from bioprobe.intervals import Draws, Resamples, find_interval
from bioprobe.result import WARNING, Note, name_some
from bioprobe.types import Doubles, Mask, Names, Rows

if TYPE_CHECKING:
    import pandas as pd

#: What is made of the time of a picture where no column is called so.
MONTH, SEASON, YEAR = PERIODS = ("month", "season", "year")
_SEASONS = ("December to February", "March to May", "June to August", "September to November")
FOLDER = "folder"
#: Of images without a value.
NO_VALUE = "(none)"
#: The row of all images, where they are told apart.
ALL = ""
#: Rows that are no code: without any, and of all that are threatened.
NO_CODE, SUM = "", THREATENED
# Names that are listed.
_NAMED = 5
_COLUMNS = ("status", "name", "n_images", "of_images", "share", "low", "high", "expected_share",
            "n_units", "n_taxa", "taxa")  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Units:
    """What images belong together, and what they are told apart by.

    Parameters
    ----------
    values : ndarray of object, shape (n_images,)
        Of the column by which they are counted; ``""`` where unknown.
    by : str
        What it is called, ``""`` where all are counted together.
    groups : ndarray of object, shape (n_images,)
        Sequence, or picture, of each; ``""`` of one on its own.
    unit : str
        What the groups are, for people.
    notes : tuple of Note
    """

    values: Names
    by: str
    groups: Names
    unit: str
    notes: tuple[Note, ...] = ()

    def name_values(self) -> Names:
        """Return what each image is counted at, as tables name it."""
        return np.where(self.values == "", NO_VALUE, self.values).astype(object)

    @property
    def column(self) -> str:
        """What the values are called in a table, beside its own columns; ``""`` without any."""
        return f"by_{self.by}" if self.by in _COLUMNS else self.by


def find_units(
    images: ImageTable, rows: Rows, *, by: str | None = None, group: str | None = None
) -> Units:
    """Find by what images are counted, and which belong together.

    Parameters
    ----------
    images : ImageTable
        Of the store.
    rows : ndarray of int64, shape (n_images,)
        Rows of it.
    by : str, optional
        Rank or column; ``folder``; ``month``, ``season`` or ``year`` of ``captured_at`` where no
        column is called so. A season is three whole months, named by them: which it is depends on
        the hemisphere.
    group : str, optional
        Column whose equal values belong together. By default that of sequences, else times say
        which pictures are one, as :func:`bioprobe.images.sequences.find_sequences` does.

    Raises
    ------
    SelectionError
        If there is no such column, or nothing says when pictures were taken.
    """
    notes: list[Note] = []
    values = np.full(len(rows), "", dtype=object)
    if by is not None:
        values, said = _read_values(images, rows, by)
        notes += said
    known = images.columns
    if group is not None:
        level = read_level(group, images)
        return Units(values, by or "", images.labels(level)[rows], level, tuple(notes))
    if any(one in known for one in (*SEQUENCE_COLUMNS, CAPTURED_AT)):
        try:
            found = find_sequences(images, rows)
        except SelectionError as error:
            notes.append(Note(f"warning: pictures count as independent: {error}", WARNING))
        else:
            if found.n_alone < len(rows):
                return Units(values, by or "", found.names, "sequence", tuple(notes))
    if images.has_regions:
        files = np.array([f"{one}" for one in images.number_files(rows)], dtype=object)
        return Units(values, by or "", files, "picture", tuple(notes))
    return Units(values, by or "", np.full(len(rows), "", dtype=object), "image", tuple(notes))


def find_answer_units(
    images: ImageTable, judged: Judged, first: pd.DataFrame | None, by: str | None,
    group: str | None,
) -> Units:  # fmt: skip
    """Find what images are counted by: of answers of other pictures by their own columns."""
    if first is None or ((judged.rows >= 0).all() and not (
        {by, group} & set(map(str, first.columns)) - {None}
    )):  # fmt: skip
        return find_units(images, judged.rows, by=by, group=group)
    names = set(map(str, first.columns))
    for column in (by, group):
        if column is not None and column not in names:
            msg = (
                f"the answers have no column {column!r}, and are not all of the store's pictures; "
                f"they have {', '.join(sorted(names))}"
            )
            raise SelectionError(msg)
    nowhere = np.full(len(judged), "", dtype=object)
    column = group or next((one for one in SEQUENCE_COLUMNS if one in names), None)
    groups = nowhere if column is None else name_cells(first[column])
    values = nowhere if by is None else name_cells(first[by])
    return Units(values, by or "", groups, column or "image")


def _read_values(images: ImageTable, rows: Rows, by: str) -> tuple[Names, list[Note]]:
    """Return what a column says of rows, or the period in which they were taken."""
    period = by.strip().casefold()
    if period == FOLDER and FOLDER not in images.free_columns:
        return np.array(find_folders(images.take(rows, LOCATION_COLUMNS)), dtype=object), []
    if period not in PERIODS or period in {str(one).casefold() for one in images.free_columns}:
        return images.labels(read_level(by, images))[rows], []
    if CAPTURED_AT not in images.columns:
        msg = (
            f"no column {by}, and no {CAPTURED_AT} that says when pictures were taken; read times "
            "with bioprobe embed --exif, or name another column with --by"
        )
        raise SelectionError(msg)
    times = read_times(name_cells(images.column(CAPTURED_AT)), rows)[0]
    there = ~np.isnat(times)
    months = np.where(there, times.astype("datetime64[M]").astype(np.int64) % 12, 0)
    if period == YEAR:
        texts = np.where(there, times.astype("datetime64[Y]").astype(str), "")
    elif period == MONTH:
        texts = np.where(there, np.char.zfill((months + 1).astype(str), 2), "")
    else:
        texts = np.where(there, np.array(_SEASONS)[(months + 1) % 12 // 3], "")
    said = [Note(f"the {period} of each picture is that of {CAPTURED_AT}")]
    n_without = int((~there).sum())
    if n_without:
        said.append(Note(f"{n_without:,} pictures have no time, and so no {period}", WARNING))
    return texts.astype(object), said


def count_statuses(
    judged: Judged, units: Units, *, n_resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Count the images of each status, and their taxa.

    Returns
    -------
    DataFrame
        For all images, and for each value of ``by``: a row for each code of
        :data:`bioprobe.conservation.categories.CODES` that occurs, one for images without a code,
        and one for all that are threatened. ``n_images``, their ``share`` of the images there with
        ``low`` and ``high`` (95%), ``expected_share`` (the mean probability), ``n_units``
        sequences, and the taxa.
    """
    import pandas as pd

    rows = [] if not units.by else _count_all(judged, units, n_resamples, seed)
    whole = _count_one(judged, units, np.ones(len(judged), dtype=bool), ALL, n_resamples, seed)
    frame = pd.DataFrame([*whole, *rows], columns=["", *_COLUMNS])
    return frame.rename(columns={"": units.column}) if units.by else frame.drop(columns="")


def _count_all(
    judged: Judged, units: Units, n_resamples: int, seed: int
) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    values = units.name_values()
    # Where nothing is said stands first.
    for value in sorted(set(values.tolist()), key=lambda one: (one != NO_VALUE, one)):
        rows += _count_one(judged, units, values == value, value, n_resamples, seed)
    return rows


def _count_one(
    judged: Judged, units: Units, inside: Mask, value: str, n_resamples: int, seed: int
) -> list[tuple[object, ...]]:
    codes, threatened = judged.codes[inside], judged.threatened[inside] == THREATENED
    groups, shares = units.groups[inside], judged.shares[inside]
    names = judged.answers[inside]
    own = np.array([one.category.code for one in judged.covered], dtype=object)[inside]
    alike = np.array([one.threat for one in judged.covered], dtype=object)[inside]
    found: list[tuple[str, str, Mask, Doubles]] = [
        (code, NAMES[code], codes == code, shares[:, at])
        for at, code in enumerate(CODES)
        if (codes == code).any()
    ]
    without = 1 - shares[:, : len(CODES)].sum(axis=1)
    if (codes == NO_CODE).any():
        found.append((NO_CODE, "no status", codes == NO_CODE, without))
    found.append((SUM, "CR, EN or VU", threatened, shares[:, len(CODES)]))
    intervals = _find_intervals(np.stack([one[2] for one in found], axis=1), groups, n_resamples,
                                seed)  # fmt: skip
    rows: list[tuple[object, ...]] = []
    for (code, name, mine, expected), (low, high) in zip(found, intervals, strict=True):
        # The likeliest class of an image may be of another status than all classes together.
        fits = mine & (alike == THREATENED if code == SUM else own == code)
        taxa = sorted({str(one) for one in names[fits] if one})
        rows.append((
            value, code, name, int(mine.sum()), len(mine),
            float(mine.mean()) if len(mine) else np.nan, low, high,
            float(np.clip(expected.mean(), 0, 1)) if len(mine) else np.nan,
            _count_units(groups[mine]), len(taxa), "; ".join(taxa),
        ))  # fmt: skip
    return rows


def _count_units(groups: Names) -> int:
    """Return how many groups there are, of which an image on its own is one."""
    named = groups[groups != ""]
    return len(set(named.tolist())) + int((groups == "").sum())


def _find_intervals(
    mine: Mask, groups: Names, n_resamples: int, seed: int
) -> list[tuple[float, float]]:
    """Return the interval of the share of each column, drawing groups as wholes.

    Parameters
    ----------
    mine : ndarray of bool, shape (n_images, n_columns)
    groups : ndarray of object, shape (n_images,)
    """
    if not len(mine):
        return [(float("nan"), float("nan"))] * mine.shape[1]
    drawn = Resamples.of_groups(groups, n_resamples, seed)
    shares = mine.mean(axis=0)
    if not drawn.is_clustered:
        draws = [Draws(float(one), np.array([one]), len(mine)) for one in shares]
        return [(one.low, one.high) for one in (find_interval(d, is_share=True) for d in draws)]
    sizes = np.bincount(drawn.clusters).astype(np.float64)
    counts = np.stack(
        [np.bincount(drawn.clusters, weights=one, minlength=len(sizes)) for one in mine.T], axis=1
    )
    # Groups are drawn, not images: what is resampled is as long as there are groups.
    by_group = Resamples(np.arange(len(sizes)), n_resamples, seed)
    parts = [(weights @ counts) / (weights @ sizes)[:, np.newaxis]
             for weights in by_group.iter_weights()]  # fmt: skip
    resampled = np.concatenate(parts)
    found = [
        find_interval(Draws(float(share), resampled[:, at], len(sizes), is_clustered=True),
                      is_share=True)
        for at, share in enumerate(shares)
    ]  # fmt: skip
    return [(one.low, one.high) for one in found]


def describe_counts(judged: Judged, units: Units, counts: pd.DataFrame) -> list[Note | str]:
    """Say how many images are of each status, and of which names nothing single is known."""
    n = len(judged)
    whole = counts if not units.by else counts[counts[units.column] == ""]
    said: list[Note | str] = []
    pairs = zip(whole["status"].tolist(), whole["n_images"].tolist(), strict=True)
    listed = [f"{code} {n_of:,}" for code, n_of in pairs if code not in {"", "threatened"}]
    none = whole[whole["status"] == ""]["n_images"]
    tail = f"; no status {int(none.iloc[0]):,}" if len(none) else ""
    said.append(f"{n:,} images: {', '.join(listed) or 'none with a status'}{tail}")
    row = whole[whole["status"] == "threatened"].iloc[0]
    if n:
        said.append(
            f"threatened (VU, EN or CR): {int(row['n_images']):,} of {n:,}, {row['share']:.3f} "
            f"[{row['low']:.3f}, {row['high']:.3f}] (95% interval by {units.unit})"
        )
        n_known = int((judged.threatened != "").sum())
        if 0 < n_known < n:
            said.append(
                f"of {n_known:,} it is known whether they are threatened: of these "
                f"{row['n_images'] / n_known:.3f}"
            )
        shares = judged.threats[:, -1]
        if not np.isnan(judged.scores).all():
            said.append(
                f"{float(np.median(shares)):.3f} of the probability of an image has no status "
                f"(median); the mean probability of being threatened is "
                f"{float(judged.threats[:, 0].mean()):.3f}"
            )
            said.append("these are counts of answers: no interval here knows how often they err")
    said += _describe_names(judged)
    return said


def _describe_names(judged: Judged) -> list[Note]:
    """Say which names cover several taxa, and which none."""
    several: dict[str, Covered] = {}
    none: dict[str, int] = {}
    for name, one in zip(judged.answers.tolist(), judged.covered, strict=True):
        if not one.statuses:
            none[name] = none.get(name, 0) + 1
        elif not one.category.code and (len(one.statuses) > 1 or one.unlisted or one.is_open):
            several[name] = one
    said = []
    if several:
        listed = [f"{name} ({one.describe(4)})" for name, one in several.items()]
        more = " …" if len(listed) > _NAMED else ""
        said.append(Note(f"{len(several):,} names cover several taxa, of which they have no status "
                         f"in common: {'; '.join(listed[:_NAMED])}{more}"))  # fmt: skip
    if none:
        names = sorted(none, key=lambda one: -none[one])
        shown = name_some((f"{name} ({none[name]:,})" for name in names), _NAMED)
        said.append(Note(
            f"warning: {len(none):,} names are in no list of statuses: {shown}; "
            "their status is unknown, not least concern", WARNING,
        ))  # fmt: skip
    return said
