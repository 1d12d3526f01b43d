"""How many, where and when: records of independent events, and what is counted of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.counting import records
from bioprobe.errors import MisuseError
from bioprobe.exporting.event_records import RECORD_FORMS, write_records
from bioprobe.face.asking import Asks
from bioprobe.face.learning import Learns
from bioprobe.options import Level, Option, Taxa, With, WithAny, Without, question
from bioprobe.result import WARNING, Note, Notes, Result

if TYPE_CHECKING:
    from bioprobe.counting.effort import Effort

#: The table of records itself, of the forms of other tools.
PLAIN = RECORD_FORMS[0]
Answers = Annotated[
    str | Path | Result | None,
    Option("Table that zeroshot or probe predict wrote: .csv, .json or .parquet.", ("-",),
           shell=Path),
]  # fmt: skip
ByProbe = Annotated[
    str | None, Option("Ask a probe of the store.", ("--probe",), when=(Without("predictions"),))
]
ByZeroshot = Annotated[
    bool, Option("Ask zero-shot.", ("--zeroshot",), when=(Without("predictions", "probe"),))
]
_PREDICTED = WithAny("predictions", "probe", "zeroshot")
WithLabels = Annotated[
    bool,
    Option(
        "Whether the labels in the store count, each before a prediction; one that a program gave "
        "only where there is none.",
        when=(_PREDICTED,),
    ),
]
MinScore = Annotated[
    float,
    Option("Predictions below this score are no records.", least=0, most=1, when=(_PREDICTED,)),
]
ByPlace = Annotated[
    str,
    Option(
        "What events are independent by: deployment, place, or a column.",
        ("--by",),
        ("deployment", "place"),
    ),
]
GapMinutes = Annotated[
    float, Option("Events of one taxon are independent from this gap on, in minutes.", least=0)
]
CompareTo = Annotated[
    str,
    Option(
        "What the gap is since: last-record (the picture before of the taxon) or "
        "last-independent-record (the beginning of the event before), as camtrapR's "
        "deltaTimeComparedTo.",
        choices=(records.LAST_RECORD, records.LAST_INDEPENDENT),
        fixed=True,
    ),
]
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
TimeZone = Annotated[
    str,
    Option(
        "Zone of the places, where no column timezone says it: Europe/Zurich, or +01:00 of cameras "
        "whose clock is not moved in spring."
    ),
]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Records(records.RecordTable):
    """Independent events, with what can be written of them; see :class:`RecordTable` of counting.

    Parameters
    ----------
    form : str
        In which the command writes them.
    model : str
        Who predicted.
    """

    form: str = PLAIN
    model: str = ""

    __module__ = "bioprobe"

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
        said = write_records(Path(target), self, form or self.form, model=self.model, safe=safe_csv)
        return tuple(map(Note, said))


class Counts(Asks, Learns):
    """What is counted of records."""

    @question
    def records(
        self,
        predictions: Answers = None,
        *,
        probe: ByProbe = None,
        zeroshot: ByZeroshot = False,
        taxa: Annotated[Taxa, With("zeroshot")] = None,
        labels: WithLabels = True,
        level: Level = "species",
        min_score: MinScore = 0.0,
        by: ByPlace = "deployment",
        gap_minutes: GapMinutes = 30.0,
        compare_to: CompareTo = records.LAST_RECORD,
        deployments: Deployments = None,
        time_zone: TimeZone = "",
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
        found = self._make_records(
            predictions, probe=probe, zeroshot=zeroshot, taxa=taxa, labels=labels, level=level,
            min_score=min_score, by=by, gap_minutes=gap_minutes, compare_to=compare_to,
            deployments=deployments, time_zone=time_zone,
        )  # fmt: skip
        if form == "unmarked" and occasion_days is None:
            msg = "unmarked reads detection histories; say --occasion-days and --deployments"
            raise MisuseError(msg)
        said: list[Note] = []
        if occasion_days is not None:
            histories = records.make_histories(
                found, occasion_days=occasion_days, begin=occasion_start, counts=occasion_counts
            )
            n_places, n_occasions = histories.effort.shape
            said.append(Note(
                f"detection histories of {n_places:,} places and {n_occasions:,} occasions of "
                f"{occasion_days} days"
            ))  # fmt: skip
            if histories.n_without_effort:
                said.append(Note(
                    f"{histories.n_without_effort:,} records are of places or days in which no "
                    "camera is said to have worked, and stand in no history", WARNING,
                ))  # fmt: skip
            found = dataclasses.replace(found, histories=histories)
        return dataclasses.replace(found, form=form).say(said)

    def _make_records(
        self,
        predictions: str | Path | Result | None,
        *,
        probe: str | None,
        zeroshot: bool,
        taxa: str | Path | None,
        labels: bool,
        level: str,
        min_score: float,
        by: str,
        gap_minutes: float,
        compare_to: str,
        deployments: str | Path | None,
        time_zone: str,
    ) -> Records:
        from bioprobe.counting.effort import read_effort
        from bioprobe.face.sightings import gather_sightings

        if probe is not None:
            predictions = self.probe(probe).predict(self, k=1)
        elif zeroshot:
            predictions = self.zeroshot(level, taxa=taxa, k=1)
        said = predictions.notes if isinstance(predictions, Result) else ()
        seen = gather_sightings(
            self._view, predictions, labels=labels, level=level, by=by,
            min_score=min_score,
        )  # fmt: skip

        def read(spans: records.Spans) -> Effort:
            assert deployments is not None
            return read_effort(Path(deployments), time_zone=time_zone, seen=spans)

        made = records.make_records(
            seen.frame, by=by, gap_minutes=gap_minutes, compare_to=compare_to,
            time_zone=time_zone, read_effort=None if deployments is None else read,
        )  # fmt: skip
        options: Mapping[str, Any] = {
            "level": level, "by": by, "gap_minutes": gap_minutes, "compare_to": compare_to,
            "labels": labels, "min_score": min_score,
            "deployments": None if deployments is None else str(deployments),
            "time_zone": time_zone, "predictions": seen.provenance,
        }  # fmt: skip
        provenance = self._view.describe(options).to_dict()
        fields = {one.name: getattr(made, one.name) for one in dataclasses.fields(made)}
        notes = (*self._notes, *said, *made.notes, *seen.notes)
        return Records(**fields | {"provenance": provenance, "notes": notes})
