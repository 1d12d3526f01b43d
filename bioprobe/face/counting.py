"""How many, where and when: records of independent events, and what is counted of them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, Unpack

from bioprobe.errors import MisuseError, SelectionError
from bioprobe.face.asking import Asks
from bioprobe.face.exporting import read_sensitive
from bioprobe.face.learning import Learns
from bioprobe.names import find_nearest, unify
from bioprobe.options import (
    COMPARED_TO,
    LAST_RECORD,
    PLAIN,
    RANK_NAMES,
    RECORD_FORMS,
    UNMARKED,
    Default,
    Generalise,
    Level,
    Option,
    SeedOption,
    SensitiveTaxa,
    Taxa,
    With,
    WithAny,
    Without,
    question,
    split_given,
)
from bioprobe.result import FACT, WARNING, Note, Result, count, name_some

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.counting import records as events
    from bioprobe.counting.effort import Effort
    from bioprobe.counting.richness import Apart
    from bioprobe.counting.trends import Trend
    from bioprobe.exporting import Sensitive
    from bioprobe.face.count_pages import Activity, Records, Richness, Trends
    from bioprobe.images.times import Times

Answers = Annotated[
    str | Path | Result | None,
    Option("Table that zeroshot or probe predict wrote: .csv, .json or .parquet.", ("-",),
           shell=Path),
]  # fmt: skip
Deployments = Annotated[
    str | Path | None,
    Option(
        "When cameras worked: deployments of a Camtrap DP, camtrapR's table of stations with "
        "Problem1_from and Problem1_to, Wildlife Insights', or any table with a camera, a start "
        "and an end.",
        shell=Path,
        metavar="FILE",
    ),
]
TaxonNames = Annotated[
    str | Sequence[str] | None,
    Option(
        "Only these taxa, as records name them, with commas between.",
        ("--taxon",),
        shell=list[str],
        metavar="NAME,…",
    ),
]
_PREDICTED = WithAny("predictions", "probe", "zeroshot")


class RecordOptions(TypedDict, total=False):
    """Of what records are made, and how: options of all that is counted of records."""

    probe: Annotated[
        str | None,
        Option("Ask a probe of the store.", ("--probe",), when=(Without("predictions"),)),
        Default(None),
    ]
    zeroshot: Annotated[
        bool,
        Option("Ask zero-shot.", ("--zeroshot",), when=(Without("predictions", "probe"),)),
        Default(False),
    ]
    taxa: Annotated[Taxa, With("zeroshot"), Default(None)]
    labels: Annotated[
        bool,
        Option(
            "Whether the labels in the store count, each before a prediction; one that a program "
            "gave only where there is none.",
            when=(_PREDICTED,),
        ),
        Default(True),
    ]
    level: Annotated[Level, Default("species")]
    min_score: Annotated[
        float,
        Option("Predictions below this score are no records.", least=0, most=1,
               when=(_PREDICTED,)),
        Default(0.0),
    ]  # fmt: skip
    by: Annotated[
        str,
        Option(
            "What events are independent by: deployment, place, or a column.",
            ("--by",),
            ("deployment", "place"),
        ),
        Default("deployment"),
    ]
    gap_minutes: Annotated[
        float,
        Option("Events of one taxon are independent from this gap on, in minutes.", least=0),
        Default(30.0),
    ]
    compare_to: Annotated[
        str,
        Option(
            "What the gap is since: last-record (the picture before of the taxon) or "
            "last-independent-record (the beginning of the event before), as camtrapR's "
            "deltaTimeComparedTo.",
            choices=COMPARED_TO,
            fixed=True,
        ),
        Default(LAST_RECORD),
    ]
    time_zone: Annotated[
        str,
        Option(
            "Zone of the places, where no column timezone says it: Europe/Zurich, or +01:00 of "
            "cameras whose clock is not moved in spring."
        ),
        Default(""),
    ]


class Counts(Asks, Learns):
    """What is counted of records."""

    @question
    def records(
        self,
        predictions: Answers = None,
        *,
        deployments: Deployments = None,
        occasion_days: Annotated[
            int | None,
            Option(
                "Also lay the records out by occasions of so many days.",
                least=1,
                when=(With("deployments"),),
            ),
        ] = None,
        occasion_start: Annotated[
            str,
            Option(
                "Whether occasions begin with the survey or with each station, as camtrapR's day1.",
                choices=("survey", "station"),
                fixed=True,
                when=(With("occasion_days"),),
            ),
        ] = "survey",
        occasion_counts: Annotated[
            bool,
            Option(
                "Count the records of an occasion, instead of 1.", when=(With("occasion_days"),)
            ),
        ] = False,
        form: Annotated[
            str,
            Option(
                "What is written to --output: plain (a row a record), camtrapr, unmarked or "
                "camtrap-dp.",
                ("--as",),
                RECORD_FORMS,
                fixed=True,
            ),
        ] = PLAIN,
        sensitive: SensitiveTaxa = None,
        generalise: Generalise = "0.1",
        **of: Unpack[RecordOptions],
    ) -> Records:
        """Make independent records of labels, predictions, or both, with the camera effort.

        Parameters
        ----------
        predictions : str, Path, Predictions or Decisions, optional
            Answers to images of this store.
        probe : str, optional
            Probe of the store to ask.
        zeroshot : bool
            Whether zero-shot is asked, at ``level``.
        taxa : str or Path, optional
            Taxon list of what zero-shot may answer.
        labels : bool
            Whether the labels in the store count beside predictions; each wins over one, but where
            a program gave it.
        level : str
            Rank at which taxa are named, or any column.
        min_score : float
            Below which a prediction is none, in [0, 1].
        by : str
            ``deployment``, ``place``, or a column: whose records are independent of others'.
        gap_minutes : float
            From which on events of one taxon are independent.
        compare_to : {"last-record", "last-independent-record"}
            Since when: since the picture before, or since the event before began.
        deployments : str or Path, optional
            Table of deployments, or folder of a Camtrap DP: when cameras worked.
        time_zone : str
            Of the places, where no column ``timezone`` says it.
        occasion_days : int, optional
            Length of an occasion of detection histories.
        occasion_start : {"survey", "station"}
            When the first occasion begins.
        occasion_counts : bool
            Whether histories count the records.
        form : {"plain", "camtrapr", "unmarked", "camtrap-dp"}
            What the command writes; see :meth:`Records.write`.
        sensitive : str or Path, optional
            List of taxa of whose stations camtrapR and unmarked are not told the exact places.
        generalise : str
            How exactly, such as ``0.1`` (degrees) or ``10km``; ``none``: as exactly as known.

        Raises
        ------
        SelectionError
            If there is no such level or column, or no camera-days for occasions.
        SourceError
            If a table cannot be read, or predictions are of no images of this store.
        MisuseError
            If there is no such time zone.

        Examples
        --------
        >>> found = store.records(deployments="deployments.csv")  # doctest: +SKIP
        >>> found.write("for-camtrapr", "camtrapr")  # doctest: +SKIP
        """
        from bioprobe.counting.records import make_histories

        secret = read_sensitive(self, sensitive, generalise)
        found = self._make_records(predictions, deployments, of, secret)
        if form == UNMARKED and occasion_days is None:
            msg = "unmarked reads detection histories; say --occasion-days and --deployments"
            raise MisuseError(msg)
        said: list[Note] = []
        if occasion_days is not None:
            histories = make_histories(
                found, occasion_days=occasion_days, begin=occasion_start, counts=occasion_counts
            )
            n_places, n_occasions = histories.effort.shape
            said.append(Note(
                f"detection histories of {n_places:,} places and {n_occasions:,} occasions of "
                f"{occasion_days} days"
            ))  # fmt: skip
            if histories.n_without_effort:
                said.append(Note(
                    f"{histories.n_without_effort:,} records are of places or times at which no "
                    "camera is said to have worked, and stand in no history", WARNING,
                ))  # fmt: skip
            found = dataclasses.replace(found, histories=histories)
        return dataclasses.replace(found, form=form, grid=secret.grid).say(said)

    @question
    def activity(
        self,
        predictions: Answers = None,
        *,
        taxon: TaxonNames = None,
        deployments: Deployments = None,
        hours: Annotated[
            str,
            Option(
                "What hours are by: clock; sun (it rises at 6 and sets at 18); sun-average (at its "
                "mean times). By the sun it takes the places, in the deployments or in the columns "
                "latitude and longitude, and the time zone.",
                choices=("clock", "sun", "sun-average"),
                fixed=True,
            ),
        ] = "clock",
        resamples: Annotated[int, Option("Draws of the bootstrap.", least=100)] = 1000,
        seed: Annotated[int, SeedOption("Seed of the bootstrap.")] = 0,
        **of: Unpack[RecordOptions],
    ) -> Activity:
        """Estimate how the activity of taxa is spread over the day, and how much it overlaps.

        Parameters
        ----------
        predictions, probe, zeroshot, taxa, labels, level, min_score, by, gap_minutes, compare_to
            Of what records are made, and how; see :meth:`records`.
        taxon : str or sequence of str, optional
            Taxa of which curves are drawn; by default the six with most records.
        deployments : str or Path, optional
            Table of deployments: places, zones and what lies outside.
        time_zone : str
            Of the places, where no column ``timezone`` says it.
        hours : {"clock", "sun", "sun-average"}
            What hours are by.
        resamples, seed : int
            Of the bootstrap by records.

        Raises
        ------
        SelectionError
            If there is no such taxon, or none has records enough.
        MisuseError
            If hours by the sun are asked for and no time zone is known.
        MissingExtraError
            If hours by the sun are asked for without astral.

        See Also
        --------
        bioprobe.counting.activity.estimate_density : the curve, and where it is from.
        """
        from bioprobe.counting import activity
        from bioprobe.face.count_pages import MOST_CURVES, Activity, tell_overlap

        found = self._make_records(predictions, deployments, of)
        timed = _choose_taxa(found.timed, taxon)
        said: list[Note] = []
        sun: tuple[float, ...] = ()
        timed = timed.assign(hours=activity.read_hours(_times(timed, "local")))
        if hours != "clock":
            timed, sun, said = _move_by_sun(timed, average=hours == "sun-average")
        counts = timed["taxon"].value_counts()
        names = [str(name) for name, n in counts.items() if n >= activity.FEWEST]
        few = [f"{name} ({n:,})" for name, n in counts.items() if n < activity.FEWEST]
        if not names:
            msg = (
                f"no taxon has {activity.FEWEST} records with a time, which a curve takes; the "
                f"most has {', '.join(few[:3]) or 'none'}"
            )
            # Such as that the sun did not rise.
            msg = "; ".join([msg, *map(str, said)])
            raise SelectionError(msg)
        if few:
            text = f"{count(len(few), 'taxon has', 'taxa have')} fewer than {activity.FEWEST} "
            said.append(Note(f"{text}records and no curve: {name_some(few)}"))
        if taxon is None and len(names) > MOST_CURVES:
            said.append(Note(f"{len(names) - MOST_CURVES:,} more taxa have records enough; name "
                             "those that are wanted with --taxon"))  # fmt: skip
            names = names[:MOST_CURVES]
        rough = [f"{name} ({counts[name]:,})" for name in names if counts[name] < activity.FEW]
        if rough:
            said.append(Note(f"curves of fewer than {activity.FEW} records are rough: "
                             f"{name_some(rough)}", WARNING))  # fmt: skip
        its = {name: timed.loc[timed["taxon"] == name, "hours"].to_numpy() for name in names}
        densities = tuple(
            activity.estimate_density(name, its[name], n_resamples=resamples, seed=seed)
            for name in names
        )
        overlaps = tuple(
            activity.estimate_overlap(
                (one, its[one]), (other, its[other]), n_resamples=resamples, seed=seed
            )
            for one, other in itertools.combinations(names[:MOST_CURVES], 2)
        )
        said += [Note(tell_overlap(one)) for one in overlaps]
        provenance = found.provenance | {"hours": hours, "resamples": resamples, "seed": seed}
        return Activity(densities, overlaps, hours, sun, provenance, (*found.notes, *said))

    @question
    def richness(
        self,
        predictions: Answers = None,
        *,
        taxon: TaxonNames = None,
        deployments: Deployments = None,
        group: Annotated[
            str | None,
            Option(
                "Also estimate apart by a column of the deployments or of the pictures, such as "
                "habitat, or by place, year or month.",
                ("--group", "--by-group"),
                metavar="COLUMN|place|year|month",
            ),
        ] = None,
        **of: Unpack[RecordOptions],
    ) -> Richness:
        """Estimate how many taxa there are, and how they come with places.

        Parameters
        ----------
        predictions, probe, zeroshot, taxa, labels, level, min_score, by, gap_minutes, compare_to
            Of what records are made, and how; see :meth:`records`.
        taxon : str or sequence of str, optional
            Only these taxa, such as those that are expected.
        deployments : str or Path, optional
            Table of deployments, which names places; those without records count as places too.
        group : str, optional
            Column of the deployments or of the pictures whose values are estimated apart too, and
            compared at as many places; or ``place``, ``year`` or ``month``.
        time_zone : str
            Of the places, where no column ``timezone`` says it.

        Raises
        ------
        SelectionError
            If there is no record, or no such taxon.

        See Also
        --------
        bioprobe.counting.richness.estimate_chao1 : the estimate, and where it is from.
        """
        from bioprobe.counting.richness import estimate_richness
        from bioprobe.face.count_pages import Richness

        found = self._make_records(predictions, deployments, of)
        timed = _choose_taxa(found.timed, taxon)
        said: list[Note] = []
        level = of["level"]
        if level in RANK_NAMES:
            is_higher = timed["rank"] != level
            if is_higher.any():
                said.append(Note(f"{is_higher.sum():,} records that no {level} is known of are no "
                                 "taxa of their own, and not counted"))  # fmt: skip
            timed = timed[~is_higher]
        if not len(timed):
            msg = f"there is no record of a {level} to count; {name_some(found.notes[:2])}"
            raise SelectionError(msg)
        places = sorted(set(timed["place"]))
        if found.effort is not None:
            worked = found.effort.count_days("place")["place"].tolist()
            places = list(dict.fromkeys([*worked, *places]))
        whole = estimate_richness("", timed["taxon"].tolist(), timed["place"].tolist(), places)
        chao1 = whole.chao1
        counts = timed["taxon"].value_counts().rename_axis("taxon").reset_index(name="n_records")
        counts["n_places"] = counts["taxon"].map(timed.groupby("taxon")["place"].nunique())
        said.append(Note(
            f"{chao1.observed:,} taxa in {chao1.n_records:,} records of {len(places):,} places; "
            f"Chao1 {chao1.estimate:.1f} [{chao1.low:.1f}, {chao1.high:.1f}], of which "
            f"{chao1.completeness:.0%} were seen"
        ))  # fmt: skip
        groups = () if group is None else self._part_richness(timed, found.effort, group, said)
        is_guessed = timed["source"].str.contains("prediction|machine")
        single = timed[timed["taxon"].isin(counts.loc[counts["n_records"] == 1, "taxon"])]
        n_guessed = int(is_guessed[single.index].sum())
        text = (
            f"{count(chao1.once, 'taxon has', 'taxa have')} a single record, and Chao1 grows with "
            "the square of their number"
        )
        if n_guessed:
            text += (
                f"; {n_guessed:,} of these are answers that nobody confirmed, and a classifier "
                "that errs makes such taxa: look at their pictures before you believe the estimate"
            )
        if chao1.once:
            said.append(Note(text, WARNING if n_guessed else FACT))
        found_notes = (*said, *found.notes)
        provenance = found.provenance | {"group": group}
        return Richness(
            chao1, whole.accumulation, counts, groups, group or "", provenance, found_notes
        )

    def _part_richness(
        self, timed: pd.DataFrame, effort: Effort | None, column: str, said: list[Note]
    ) -> tuple[Apart, ...]:
        """Estimate richness apart by a column of deployments, of pictures, or of the calendar."""
        from bioprobe.counting.richness import estimate_richness

        names, places = self._read_groups(timed, effort, column)
        n_without = sum(not name for name in names)
        if n_without:
            text = f"{n_without:,} records have no {column}, and are in no group"
            said.append(Note(text, WARNING))
        groups = []
        for name in sorted(set(names) - {""}):
            its = timed[[one == name for one in names]]
            groups.append(estimate_richness(
                name, its["taxon"].tolist(), its["place"].tolist(), places.get(name, [])
            ))  # fmt: skip
        if not groups:
            msg = f"no record has a {column}; name a column of the deployments or the pictures"
            raise SelectionError(msg)
        least = min(len(one.accumulation.n_places) for one in groups)
        for one in groups:
            curve = one.accumulation
            said.append(Note(
                f"{column} {one.name}: {one.chao1.observed:,} taxa in {one.chao1.n_records:,} "
                f"records of {len(curve.n_places):,} places; Chao1 {one.chao1.estimate:.1f} "
                f"[{one.chao1.low:.1f}, {one.chao1.high:.1f}]; of {least:,} places "
                f"{curve.richness[least - 1]:.1f} [{curve.low[least - 1]:.1f}, "
                f"{curve.high[least - 1]:.1f}]"
            ))  # fmt: skip
        if len(groups) > 1:
            text = (
                f"compare groups at {least:,} places (rarefied), the fewest that one of them has: "
                "more places have more taxa anywhere"
            )
            said.append(Note(text))
        return tuple(groups)

    def _read_groups(
        self, timed: pd.DataFrame, effort: Effort | None, column: str
    ) -> tuple[list[str], dict[str, list[str]]]:
        """Return the group of each record, and the places that worked in each."""
        from bioprobe.cells import name_cells
        from bioprobe.images.image_table import read_level

        own = {str(one) for one in self._view.images.free_columns}
        is_calendar = column in {"year", "month"} and column not in own
        is_of_effort = effort is not None and (is_calendar or column in effort.deployments)
        if column in {"place", "deployment"}:
            names = timed[column].astype(str).tolist()
        elif is_calendar:
            names = timed["local"].dt.strftime("%Y" if column == "year" else "%Y-%m").tolist()
        elif effort is not None and is_of_effort:
            of = dict(zip(effort.deployments["deployment"],
                          name_cells(effort.deployments[column]), strict=True))  # fmt: skip
            names = [str(of.get(one, "")) for one in timed["deployment"]]
        else:
            labels = self._view.labels(read_level(column, self._view.images))
            files = self._view.images.name_files(self._view.rows)
            cells = dict(zip(reversed(files), reversed(labels), strict=True))
            names = [str(cells.get(one, "")) for one in timed["file_name"]]
        places: dict[str, list[str]] = {}
        if effort is not None and is_of_effort:
            worked = effort.count_days(["place", column])
            for name, place in zip(worked[column].astype(str), worked["place"], strict=True):
                places.setdefault(name, []).append(place)
        return names, places

    @question
    def trend(
        self,
        predictions: Answers = None,
        *,
        taxon: TaxonNames = None,
        deployments: Annotated[
            str | Path,
            Option(
                "When cameras worked, as for records: a rate is by camera-days.",
                shell=Path,
                metavar="FILE",
            ),
        ],
        **of: Unpack[RecordOptions],
    ) -> Trends:
        """Estimate by how much the rates of taxa change from year to year, site by site.

        Parameters
        ----------
        predictions, probe, zeroshot, taxa, labels, level, min_score, by, gap_minutes, compare_to
            Of what records are made, and how; see :meth:`records`.
        taxon : str or sequence of str, optional
            Taxa whose trends are told; by default all with records enough.
        deployments : str or Path
            Table of deployments: when cameras worked, and at which places, which are the sites.
        time_zone : str
            Of the places, where no column ``timezone`` says it.

        Raises
        ------
        SelectionError
            If there are too few sites, years or records for any taxon, or no such taxon.
        MissingExtraError
            If statsmodels is not installed.

        See Also
        --------
        bioprobe.counting.trends.estimate_trend : the model, and where it is from.
        """
        from bioprobe.counting.trends import estimate_trend
        from bioprobe.face.count_pages import Trends

        found = self._make_records(predictions, deployments, of)
        assert found.effort is not None
        timed = _choose_taxa(found.timed, taxon)
        is_without = ~timed["has_effort"].astype(bool)
        said: list[Note] = []
        if is_without.any():
            said.append(Note(f"{is_without.sum():,} records outside of camera-days are in no rate",
                             WARNING))  # fmt: skip
        counted = timed[~is_without]
        days = found.effort.count_days(["place", "year"])
        trends, refused = [], []
        for name in timed["taxon"].value_counts().index.astype(str):
            try:
                trends.append(estimate_trend(name, _count_years(counted, name, days)))
            except SelectionError as error:
                refused.append(str(error))
        if not trends:
            more = f", nor of {len(refused) - 1:,} more taxa" if len(refused) > 1 else ""
            msg = f"{refused[0] if refused else 'there are no records of any taxon'}{more}"
            raise SelectionError(msg)
        shown = refused if taxon is not None else refused[:3]
        said += [Note(one, WARNING) for one in shown]
        if len(refused) > len(shown):
            text = f"no trend of {len(refused) - len(shown):,} more taxa is told either"
            said.append(Note(text, WARNING))
        said += _tell_trends(trends, found.effort)
        is_guessed = counted["source"].str.contains("prediction|machine").any()
        if is_guessed:
            said.append(Note("some records are answers that nobody confirmed: a classifier that "
                             "errs as much each year hides a part of a change, one that errs more "
                             "in some years makes one", WARNING))  # fmt: skip
        return Trends(tuple(trends), found.provenance, (*said, *found.notes))

    def _make_records(
        self,
        predictions: str | Path | Result | None,
        deployments: str | Path | None,
        of: RecordOptions,
        sensitive: Sensitive | None = None,
    ) -> Records:
        from bioprobe.counting.effort import read_effort
        from bioprobe.counting.records import make_records
        from bioprobe.exporting import Sensitive
        from bioprobe.face.count_pages import Records
        from bioprobe.face.sightings import gather_sightings

        level, probe, time_zone = of["level"], of["probe"], of["time_zone"]
        if probe is not None:
            predictions = self.probe(probe).predict(self, k=1)
        elif of["zeroshot"]:
            predictions = self.zeroshot(level, taxa=of["taxa"], k=1)
        said = predictions.notes if isinstance(predictions, Result) else ()
        seen = gather_sightings(
            self._view, predictions, labels=of["labels"], level=level, by=of["by"],
            min_score=of["min_score"], sensitive=sensitive or Sensitive(),
        )  # fmt: skip

        def read(spans: events.Spans) -> Effort:
            assert deployments is not None
            return read_effort(Path(deployments), time_zone=time_zone, seen=spans)

        made = make_records(
            seen.frame, by=of["by"], gap_minutes=of["gap_minutes"], compare_to=of["compare_to"],
            time_zone=time_zone, read_effort=None if deployments is None else read,
        )  # fmt: skip
        options: Mapping[str, Any] = {
            **{name: one for name, one in of.items() if name not in {"probe", "zeroshot", "taxa"}},
            "deployments": None if deployments is None else str(deployments),
            "predictions": seen.provenance,
        }
        provenance = self._view.describe(options).to_dict()
        fields = {one.name: getattr(made, one.name) for one in dataclasses.fields(made)}
        notes = (*self._notes, *said, *made.notes, *seen.notes)
        return Records(**fields | {"provenance": provenance, "notes": notes, "model": seen.model})


def _choose_taxa(timed: pd.DataFrame, taxon: str | Sequence[str] | None) -> pd.DataFrame:
    """Return the records of taxa that are named; by default all but people and vehicles.

    Raises
    ------
    SelectionError
        If there is no record of one.
    """
    if taxon is None:
        return timed[~timed["content"].isin(["human", "vehicle"])].reset_index(drop=True)
    known = {unify(one).casefold(): one for one in timed["taxon"].unique()}
    asked = split_given(taxon)
    for one in asked:
        if unify(one).casefold() not in known:
            near = find_nearest(one, known.values())
            hint = f"; did you mean {near}?" if near else ""
            shown = name_some(sorted(known.values()))
            msg = f"no record with a time is of {one!r}{hint} There are: {shown or 'none'}"
            raise SelectionError(msg)
    names = [known[unify(one).casefold()] for one in asked]
    return timed[timed["taxon"].isin(names)].reset_index(drop=True)


def _times(timed: pd.DataFrame, name: str) -> Times:
    import numpy as np

    return np.asarray(timed[name].to_numpy(), dtype="datetime64[s]")


def _move_by_sun(
    timed: pd.DataFrame, *, average: bool
) -> tuple[pd.DataFrame, tuple[float, ...], list[Note]]:
    """Return records with hours by the sun, without those of which nothing tells them.

    Raises
    ------
    MisuseError
        If no time zone is known.
    """
    from bioprobe.counting.activity import find_sun_hours

    n_without = int((~timed["is_zoned"].astype(bool)).sum())
    if n_without:
        msg = (
            f"hours by the sun take the time zone, and {n_without:,} records have none; name it "
            "with --time-zone, such as Europe/Zurich or +01:00"
        )
        raise MisuseError(msg)
    placeless = timed[["latitude", "longitude"]].isna().any(axis=1)
    notes = []
    if placeless.any():
        where = name_some(timed.loc[placeless, "place"])
        notes.append(Note(
            f"{placeless.sum():,} records of places without latitude and longitude are left out: "
            f"{where}", WARNING,
        ))  # fmt: skip
    kept = timed[~placeless]
    found = find_sun_hours(
        _times(kept, "local"), _times(kept, "instant"), kept["latitude"].to_numpy(),
        kept["longitude"].to_numpy(), average=average,
    )  # fmt: skip
    if found.is_polar.any():
        notes.append(Note(
            f"{found.is_polar.sum():,} records are of days on which the sun did not rise or did "
            "not set, and are left out", WARNING,
        ))  # fmt: skip
    kept = kept.assign(hours=found.hours)[~found.is_polar]
    return kept, (found.sunrise, found.sunset), notes


def _count_years(counted: pd.DataFrame, taxon: str, days: pd.DataFrame) -> pd.DataFrame:
    """Return records and camera-days of each site and year."""
    its = counted[counted["taxon"] == taxon]
    years = its["local"].dt.year.astype(int)
    n_records = its.groupby(["place", years]).size()
    keys = list(zip(days["place"], days["year"].astype(int), strict=True))
    return days.assign(
        site=days["place"], year=[year for _, year in keys],
        n_records=[int(n_records.get(key, 0)) for key in keys],
    )[["site", "year", "n_records", "camera_days"]]  # fmt: skip


# How differently years may be spread over the months, as a share of the days.
_MOST_APART = 0.25
_RARE = 0.05


def _tell_trends(trends: Sequence[Trend], effort: Effort) -> list[Note]:
    """Say what trends are, and what else than a change may make one."""
    notes = [
        Note(f"{one.taxon}: {one.ratio:.3f} times as many a year [{one.low:.3f}, {one.high:.3f}], "
             f"from {one.n_sites:,} sites and {one.n_years:,} years")
        for one in trends
    ]  # fmt: skip
    jumpy = [one.taxon for one in trends if one.p_years < _RARE]
    if jumpy:
        text = (
            f"years differ from a steady change by more than sites vary, of {name_some(jumpy)}: "
            "what all sites share in a year is in no interval"
        )
        notes.append(Note(text, WARNING))
    if len(trends) > 1:
        notes.append(Note(f"of {len(trends):,} trends about one in twenty lies outside of its "
                          "interval by luck"))  # fmt: skip
    months = effort.count_days(["year", "month"])
    months = months.assign(of_year=months["month"].str[5:])
    spread = months.pivot_table(
        index="year", columns="of_year", values="camera_days", aggfunc="sum", fill_value=0.0
    )
    shares = spread.div(spread.sum(axis=1), axis=0)
    apart = (shares - spread.sum() / spread.to_numpy().sum()).abs().sum(axis=1) / 2
    unlike = [str(year) for year, share in apart.items() if share > _MOST_APART]
    if unlike:
        text = (
            f"cameras worked in other months in {name_some(unlike)} than in all years together: a "
            "season may look like a trend; choose months with --where, or compare like with like"
        )
        notes.append(Note(text, WARNING))
    return notes
