"""What is counted of records: answers that are tables, figures, and pages that open from disk."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bioprobe.counting import records
from bioprobe.exporting import Grid
from bioprobe.exporting.event_records import write_records
from bioprobe.face.chosen import Paged
from bioprobe.options import PLAIN
from bioprobe.report.plots import (
    Curve,
    plot_accumulation,
    plot_activity,
    plot_rates,
    plot_stints,
)
from bioprobe.report.records import Part, Sheet, write_sheet
from bioprobe.result import Note, Notes, Result

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.counting.activity import Density, Overlap
    from bioprobe.counting.richness import Accumulation, Apart, Chao1
    from bioprobe.counting.trends import Trend

# Curves that one figure holds.
MOST_CURVES = 6
# Of a table on a page.
_ROWS = 200
_CURVE_POINTS = 40


class Sheets(Paged):
    """Base of a count with a page, which may also be a part of the report."""

    shows: ClassVar[tuple[str, ...]] = ("taxon", "taxa")

    def describe(self) -> Sheet:
        """Return what its page shows."""
        raise NotImplementedError

    def _write(self, path: Path) -> int:
        return write_sheet(path, self.describe())


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Records(records.RecordTable, Sheets):
    """Independent events, with what can be written of them; see the base for the fields.

    Parameters
    ----------
    form : str
        In which the command writes them.
    model : str
        Who predicted.
    grid : Grid
        How exactly other tools are told the places of stations where a sensitive taxon was seen.
    """

    shows: ClassVar[tuple[str, ...]] = ("record",)
    form: str = PLAIN
    model: str = ""
    grid: Grid = dataclasses.field(default_factory=Grid)

    def write(
        self, target: str | Path, form: str | None = None, *, safe_csv: bool = False
    ) -> Notes:
        """Write the records for camtrapR, unmarked or Camtrap DP.

        Parameters
        ----------
        target : str or Path
            A ``.csv`` or a new folder, as the form has it.
        form : str, optional
            ``camtrapr``, ``unmarked`` or ``camtrap-dp``; by default the one that was asked for.
        safe_csv : bool
            Whether cells that a spreadsheet would compute are disarmed.

        Returns
        -------
        tuple of Note
            What was written.

        Raises
        ------
        MisuseError
            If the form is a file and the target a folder, or the other way round.
        SourceError
            If what the form requires is not known.
        """
        said = write_records(
            Path(target), self, form or self.form, model=self.model, grid=self.grid, safe=safe_csv
        )
        return tuple(map(Note, said))

    @property
    def figure(self) -> str:
        """When the camera of each place worked, as a data URL of an SVG; ``""`` without effort."""
        if self.effort is None or not len(self.effort.stints):
            return ""
        spans: dict[str, list[tuple[float, float]]] = {}
        stints = self.effort.stints
        for place, *times in zip(stints["place"], stints["start"], stints["end"], strict=True):
            start, end = (time.timestamp() / 86_400 for time in times)
            spans.setdefault(str(place), []).append((start, end))
        return plot_stints(list(spans), list(spans.values()))

    def describe(self) -> Sheet:
        """Return what its page shows."""
        timed, effort = self.timed, self.effort
        days = effort.days if effort else 0.0
        facts = [
            ("records", f"{len(timed):,}", f"independent by {self.gap_minutes:g} minutes"),
            ("taxa", f"{timed['taxon'].nunique():,}", "as they are named here"),
            ("places", f"{timed['place'].nunique():,}", "with records"),
        ]
        if effort is not None:
            lost = float(effort.deployments["lost_days"].sum())
            said = f"of {len(effort.deployments):,} deployments"
            facts.append(("camera-days", f"{days:,.0f}", f"{said}; {lost:,.0f} were lost"))
        sections = [_tabulate_taxa(self, days), _tabulate_places(self)]
        wrong = self.records[self.records["trouble"] != ""]
        if len(wrong):
            sections.append(_tabulate_trouble(wrong))
        intro = (
            "A record is what was seen of a taxon at one place, until a gap in time parts it from "
            "the next. Records are no animals: one may come many times."
        )
        return Sheet("Records", intro, facts, sections, self.notes, len(timed))


def _tabulate_taxa(found: records.RecordTable, days: float) -> Part:
    timed = found.timed
    counted = timed[timed["has_effort"].astype(bool)]
    rows = []
    for taxon, its in timed.groupby("taxon", sort=True):
        rate = f"{100 * (counted['taxon'] == taxon).sum() / days:.2f}" if days else ""
        # The common name of a picture is that of its species, not of a taxon above.
        common = its["common_name"].iloc[0] if (its["rank"] == "species").all() else ""
        rows.append((
            len(its), [f"{taxon} ({common})" if common else str(taxon), f"{len(its):,}",
            f"{its['place'].nunique():,}", f"{its['n_pictures'].sum():,}",
            f"{its['count'].max():,}",
            str(its["local"].min())[:10], str(its["local"].max())[:10], rate],
        ))  # fmt: skip
    header = (("taxon", False), ("records", True), ("places", True), ("pictures", True),
              ("most in a picture", True), ("first", False), ("last", False),
              ("in 100 camera-days", True))  # fmt: skip
    shown = [row for _, row in sorted(rows, key=lambda one: -one[0])][:_ROWS]
    return Part(
        "Taxa", "The most frequent first. The rate takes all cameras together.", header=header,
        rows=shown,
    )  # fmt: skip


def _tabulate_places(found: records.RecordTable) -> Part:
    timed, effort = found.timed, found.effort
    plot = getattr(found, "figure", "")
    header = (("place", False), ("records", True), ("taxa", True), ("camera-days", True),
              ("lost", True))  # fmt: skip
    places = sorted(set(timed["place"]))
    worked: dict[str, tuple[float, float]] = {}
    if effort is not None:
        of = effort.deployments.groupby("place")[["days", "lost_days"]].sum()
        worked = {str(name): (row["days"], row["lost_days"]) for name, row in of.iterrows()}
        places = list(dict.fromkeys([*worked, *places]))
    rows = []
    for place in places[:_ROWS]:
        its = timed[timed["place"] == place]
        days = [f"{one:,.1f}" for one in worked[place]] if place in worked else ["", ""]
        rows.append([place, f"{len(its):,}", f"{its['taxon'].nunique():,}", *days])
    text = "When cameras worked, and what was recorded at each place." if plot else (
        "What was recorded at each place. Nothing says when cameras worked: there is no rate."
    )  # fmt: skip
    return Part("Places", text, plot, "When the camera of each place worked", header, rows)


def _tabulate_trouble(wrong: pd.DataFrame) -> Part:
    rows = []
    for (trouble, place), its in wrong.groupby(["trouble", "place"], sort=True):
        rows.append([str(trouble), str(place), f"{its['n_pictures'].sum():,}",
                     str(its["file_name"].iloc[0])])  # fmt: skip
    header = (("what is odd", False), ("place", False), ("pictures", True), ("such as", False))
    text = (
        "Pictures whose time or place says what cannot be, or nothing. None is lost: all stand in "
        "the table."
    )
    return Part("What is odd", text, header=header, rows=rows[:_ROWS])


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Activity(Result, Sheets):
    """How the activity of taxa is spread over the day.

    Parameters
    ----------
    densities : tuple of Density
        The most records first.
    overlaps : tuple of Overlap
        Of each two of them.
    hours : str
        What hours are by: ``clock``, ``sun`` or ``sun-average``.
    sun : tuple of float
        Hours of sunrise and sunset, where hours are by the sun.
    provenance : dict
        What it was computed from, JSON-ready.
    notes : tuple of Note
        What is to be said of it.
    """

    densities: tuple[Density, ...]
    overlaps: tuple[Overlap, ...]
    hours: str = "clock"
    sun: tuple[float, ...] = ()
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row a taxon and hour: ``n_records``, ``share``, ``low`` and ``high``."""
        import pandas as pd

        parts = [one.by_hour.assign(taxon=one.taxon) for one in self.densities]
        names = ["taxon", "hour", "n_records", "share", "low", "high"]
        return pd.concat(parts, ignore_index=True)[names]

    @property
    def figure(self) -> str:
        """The curves with their intervals, as a data URL of an SVG."""
        curves = [
            Curve(f"{one.taxon} ({one.n_records:,})", one.hours, one.share, one.low, one.high)
            for one in self.densities[:MOST_CURVES]
        ]
        by = "hour by the clock" if self.hours == "clock" else "hour by the sun (night is shaded)"
        return plot_activity(curves, self.sun, label=by)

    def describe(self) -> Sheet:
        """Return what its page shows."""
        rows = [
            [one.taxon, f"{one.n_records:,}", _write_hour(one.peak),
             f"{one.by_hour['share'].max():.1%}",
             f"{one.concentration:.1f}"]
            for one in self.densities
        ]  # fmt: skip
        text = (
            "The share of all activity that falls in an hour at each time, and where it would lie "
            "for 95 of 100 collections of as many records. The dashed line is an animal that is "
            "equally active at all hours."
        )
        header = (("taxon", False), ("records", True), ("peak", False), ("busiest hour", True),
                  ("concentration of the kernel", True))  # fmt: skip
        sections = [Part("Over the day", text, self.figure, "Activity by hour", header, rows)]
        if self.overlaps:
            pairs = [
                [f"{one.first} and {one.second}", f"{one.n_first:,}, {one.n_second:,}",
                 f"{one.value:.2f}", f"{one.low:.2f} to {one.high:.2f}", one.estimator]
                for one in self.overlaps
            ]  # fmt: skip
            names = (("taxa", False), ("records", True), ("activity overlap", True),
                     ("95% interval", True), ("estimator", False))  # fmt: skip
            sections.append(Part("Overlap", "1 is at the same times.", header=names, rows=pairs))
        by = {
            "clock": "the clock at the camera",
            "sun": "the sun: it rises at 6 and sets at 18",
            "sun-average": "the sun: it rises and sets at its mean times",
        }[self.hours]
        intro = f"Hours are by {by}."
        shown = {tell_overlap(one) for one in self.overlaps}
        notes = tuple(one for one in self.notes if one.text not in shown)
        return Sheet("Activity", intro, [], sections, notes, len(self.densities))


def tell_overlap(of: Overlap) -> str:
    """Return the overlap of two taxa as a command says it, which has no table of it."""
    interval = f"[{of.low:.2f}, {of.high:.2f}]"
    return f"overlap of {of.first} and {of.second}: {of.value:.2f} {interval} ({of.estimator})"


def _write_hour(hour: float) -> str:
    minutes = round(hour * 60) % 1440
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Richness(Result, Sheets):
    """How many taxa were seen, and how many there are at least.

    Parameters
    ----------
    chao1 : Chao1
        By the records of each taxon.
    accumulation : Accumulation
        By places.
    counts : DataFrame
        ``taxon``, ``n_records`` and ``n_places``, the most frequent first.
    groups : tuple of Apart
        The same of each group, where they were asked for.
    group : str
        What groups are by, ``""`` without groups.
    provenance : dict
        What it was computed from, JSON-ready.
    notes : tuple of Note
        What is to be said of it.
    """

    chao1: Chao1
    accumulation: Accumulation
    counts: pd.DataFrame
    groups: tuple[Apart, ...] = ()
    group: str = ""
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row a number of places: ``richness``, ``low`` and ``high``.

        The last is of all places; Chao1 stands in ``chao1``, ``chao1_low`` and ``chao1_high`` of
        that row alone. With groups, their rows come after those of all, which are ``(all)``, with
        the group in a first column that is named as it was asked for.
        """
        import pandas as pd

        whole = _lay_out(self.chao1, self.accumulation)
        if not self.group:
            return whole
        parts = [("(all)", whole)]
        parts += [(one.name, _lay_out(one.chao1, one.accumulation)) for one in self.groups]
        for name, frame in parts:
            frame.insert(0, self.group, name)
        return pd.concat([frame for _, frame in parts], ignore_index=True)

    @property
    def figure(self) -> str:
        """How taxa come with places, and Chao1, as a data URL of an SVG."""
        its, found = self.accumulation, self.chao1
        curve = Curve("seen at so many places", its.n_places.astype(np.float64), its.richness,
                      its.low, its.high)  # fmt: skip
        others = [
            Curve(one.name, one.accumulation.n_places.astype(np.float64), one.accumulation.richness)
            for one in self.groups[:MOST_CURVES]
        ]
        return plot_accumulation(curve, (found.estimate, found.low, found.high), others)

    def _tabulate_groups(self) -> Part:
        least = min(len(one.accumulation.n_places) for one in self.groups)
        rows = []
        for one in self.groups[:_ROWS]:
            its, found = one.accumulation, one.chao1
            rows.append([
                one.name, f"{found.n_records:,}", f"{len(its.n_places):,}", f"{found.observed:,}",
                f"{its.richness[least - 1]:.1f}",
                f"{its.low[least - 1]:.1f} to {its.high[least - 1]:.1f}", f"{found.estimate:.1f}",
                f"{found.low:.1f} to {found.high:.1f}",
            ])  # fmt: skip
        header = ((self.group, False), ("records", True), ("places", True), ("seen", True),
                  (f"in {least:,} places", True), ("95% interval", True), ("Chao1", True),
                  ("95% interval", True))  # fmt: skip
        text = (
            f"More places have more taxa anywhere: compare groups by what {least:,} places have, "
            "the fewest that one of them has."
        )
        return Part(f"By {self.group}", text, header=header, rows=rows)

    def describe(self) -> Sheet:
        """Return what its page shows."""
        found = self.chao1
        facts = [
            ("seen", f"{found.observed:,}", f"taxa, in {found.n_records:,} records"),
            ("Chao1", f"{found.estimate:.1f}", f"95% interval {found.low:.1f} to {found.high:.1f}"),
            ("completeness", f"{found.completeness:.0%}", "of the taxa there are, at most"),
            ("seen once", f"{found.once:,}", f"taxa; {found.twice:,} twice"),
        ]
        text = (
            "How many taxa so many places have, whichever they are, and where that would lie for "
            "95 of 100 collections of such places. The dashed line is what there is at least, by "
            "the taxa that were seen once and twice."
        )
        rows = [
            [str(row["taxon"]), f"{row['n_records']:,}", f"{row['n_places']:,}"]
            for row in self.counts.head(_ROWS).to_dict("records")
        ]  # fmt: skip
        sections = [
            Part("By places", text, self.figure, "Taxa by the number of places"),
            Part("Taxa", "Look at the pictures of those with one record first: they decide.",
                     header=(("taxon", False), ("records", True), ("places", True)), rows=rows),
        ]  # fmt: skip
        if self.groups:
            sections.insert(1, self._tabulate_groups())
        intro = "How many taxa were seen, and how many there are."
        return Sheet("Richness", intro, facts, sections, self.notes, found.observed)


def _lay_out(chao1: Chao1, its: Accumulation) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame({
        "n_places": its.n_places, "richness": its.richness, "low": its.low, "high": its.high,
    })  # fmt: skip
    is_last = its.n_places == its.n_places.max()
    for name, value in (
        ("chao1", chao1.estimate), ("chao1_low", chao1.low), ("chao1_high", chao1.high),
        ("completeness", chao1.completeness), ("coverage", chao1.coverage),
    ):  # fmt: skip
        frame[name] = np.where(is_last, value, np.nan)
    return frame


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Trends(Result, Sheets):
    """By how much rates change from year to year.

    Parameters
    ----------
    trends : tuple of Trend
        The most records first.
    provenance : dict
        What it was computed from, JSON-ready.
    notes : tuple of Note
        What is to be said of it: also of which taxa nothing is told, and why.
    """

    trends: tuple[Trend, ...]
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row a taxon."""
        import pandas as pd

        names = ("taxon", "ratio", "low", "high", "n_sites", "n_years", "n_records",
                 "camera_days", "dispersion", "p_years")  # fmt: skip
        return pd.DataFrame(
            [[getattr(one, name) for name in names] for one in self.trends],
            columns=["taxon", "rate_ratio", *names[2:]],
        )

    @property
    def figure(self) -> str:
        """Rates by year with their trends, as a data URL of an SVG."""
        points, lines = [], []
        for one in self.trends[:MOST_CURVES]:
            year = one.years["year"].to_numpy(dtype=np.float64)
            days = one.years["camera_days"].to_numpy(dtype=np.float64)
            counts = one.years["n_records"].to_numpy(dtype=np.float64)
            points.append(Curve(one.taxon, year, 100 * counts / days))
            at = np.linspace(year.min(), year.max(), _CURVE_POINTS)
            # Through the mean year, at the level at which all years have as many records.
            middle = float((year * days).sum() / days.sum())
            level = 100 * counts.sum() / float((days * one.ratio ** (year - middle)).sum())
            line, *ends = (level * side ** (at - middle) for side in (one.ratio, one.low, one.high))
            low, high = np.minimum(*ends), np.maximum(*ends)
            lines.append(
                Curve(f"{one.taxon} ({one.ratio:.2f} times as many a year)", at, line, low, high)
            )
        return plot_rates(points, lines)

    def describe(self) -> Sheet:
        """Return what its page shows."""
        rows = [
            [one.taxon, f"{one.ratio:.3f}", f"{one.low:.3f} to {one.high:.3f}", f"{one.n_sites:,}",
             f"{one.n_years:,}", f"{one.n_records:,}", f"{one.camera_days:,.0f}",
             f"{one.dispersion:.1f}"]
            for one in self.trends
        ]  # fmt: skip
        header = (("taxon", False), ("rate ratio", True), ("95% interval", True), ("sites", True),
                  ("years", True), ("records", True), ("camera-days", True),
                  ("dispersion", True))  # fmt: skip
        text = (
            "Points are the rates of all sites together; lines are the trends within sites, with "
            "how steep they may be. Where sites come and go, the points may tell another story: "
            "believe the lines."
        )
        years = [
            [f"{one.taxon}, {row['year']:.0f}", f"{row['n_records']:,.0f}",
             f"{row['camera_days']:,.0f}", f"{row['rate']:.2f}"]
            for one in self.trends for row in one.years.to_dict("records")
        ]  # fmt: skip
        names = (("taxon and year", False), ("records", True), ("camera-days", True),
                 ("in 100 camera-days", True))  # fmt: skip
        sections = [
            Part("From year to year", text, self.figure, "Rates by year", header, rows),
            Part("Years", "All sites together.", header=names, rows=years[:_ROWS]),
        ]
        intro = "By how much records in 100 camera-days change from year to year, site by site."
        return Sheet("Trends", intro, [], sections, self.notes, len(self.trends))
