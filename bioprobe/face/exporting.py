"""Answers out: predictions, or labels, in the formats of the tools that people work with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bioprobe.errors import MisuseError, SourceError
from bioprobe.face.opened import Opened
from bioprobe.files import read_lines
from bioprobe.options import (
    LEAVE_OUT,
    OBSCURE,
    PEOPLE,
    Generalise,
    Option,
    SafeCsv,
    SensitiveTaxa,
    Without,
    question,
    write_flag,
)
from bioprobe.registry import ANSWER_FORMATS
from bioprobe.result import Notes, Record, Result

if TYPE_CHECKING:
    from bioprobe.exporting import AnswerFormat, ExportOptions, Sensitive
    from bioprobe.taxonomy import Taxon

_FORMATS = tuple(ANSWER_FORMATS.places)


@dataclasses.dataclass(frozen=True, repr=False)
class AnswerExport(Record):
    """What came of an export of answers.

    Parameters
    ----------
    target : Path
        File or folder that was written.
    form : str
        Its format.
    n_pictures : int
        Pictures that were read, with their answers.
    n_answers : int
        Regions or whole pictures with an answer.
    n_unread : int
        Pictures that could not be read.
    notes : tuple of Note
        What is to be said of it.
    """

    target: Path
    form: str
    n_pictures: int
    n_answers: int
    n_unread: int
    notes: Notes = ()


class Exports(Opened):
    """Answers for other tools."""

    @question
    def export_answers(
        self,
        predictions: Annotated[
            str | Path | Result | None,
            Option(
                "Table that zeroshot or probe predict wrote: .csv, .json or .parquet.",
                ("-",),
                shell=Path,
            ),
        ] = None,
        *,
        form: Annotated[str, Option(f"Format: {', '.join(_FORMATS)}.", ("--as",), _FORMATS)],
        target: Annotated[
            str | Path,
            Option("File or folder to write.", ("--output", "-o"), shell=Path, writes="any"),
        ],
        labels: Annotated[
            bool,
            Option(
                "Export the labels in the store instead of predictions.",
                when=(Without("predictions"),),
            ),
        ] = False,
        package: Annotated[
            str | Path | None,
            Option(
                "Folder of the Camtrap DP that the pictures came from; what is there stays.",
                shell=Path,
            ),
        ] = None,
        deployments: Annotated[
            str | Path | None,
            Option(
                "Table of deployments: deploymentID, latitude, longitude, deploymentStart, "
                "deploymentEnd.",
                shell=Path,
                when=(Without("package"),),
            ),
        ] = None,
        about: Annotated[
            str | Path | None,
            Option(
                "JSON file with title, contributors, project and licenses, as in a "
                "datapackage.json.",
                shell=Path,
            ),
        ] = None,
        placeholders: Annotated[
            bool,
            Option(
                "Fill required fields that are not known, and mark them, instead of stopping.",
            ),
        ] = False,
        time_zone: Annotated[
            str,
            Option(
                "Of times that say none: Europe/Zurich, UTC or +02:00.",
            ),
        ] = "",
        map_by: Annotated[
            str,
            Option(
                "Map of the vectors: pca, or umap where umap-learn is installed.",
                choices=("pca", "umap"),
                fixed=True,
            ),
        ] = "pca",
        people: Annotated[
            str | None,
            Option(
                "People in pictures that are written: leave-out (crops) or obscure "
                "(embedding-atlas) by default, or keep.",
                choices=PEOPLE,
                fixed=True,
            ),
        ] = None,
        sensitive: SensitiveTaxa = None,
        generalise: Generalise = "0.1",
        safe_csv: SafeCsv = False,
    ) -> AnswerExport:
        """Write answers in the format of another tool, by that format's own rules.

        A file is replaced, a folder must be new; either is whole or not there at all.

        Parameters
        ----------
        predictions : str, Path, Predictions or Decisions, optional
            Answers to images of this store, joined by the name of the file and the region.
        form : str
            ``camtrap-dp``, ``speciesnet``, ``megadetector``, ``darwin-core``,
            ``wildlife-insights``, ``coco``, ``fiftyone``, ``embedding-atlas`` or ``crops``.
        target : str or Path
            File or folder to write.
        labels : bool
            Whether the labels in the store are exported instead.
        package : str or Path, optional
            Folder of the Camtrap DP that the pictures came from: its observations stay.
        deployments : str or Path, optional
            Table of deployments of a new package.
        about : str or Path, optional
            JSON file with title, contributors, project and licences.
        placeholders : bool
            Whether required fields that are not known are filled, and marked.
        time_zone : str
            Of times that say none.
        map_by : str
            Map of the vectors, ``pca`` or ``umap``.
        people : {"leave-out", "obscure", "keep"}, optional
            What is done with people in pictures that are written; by default crops of them are left
            out, and they are obscured in thumbnails.
        sensitive : str or Path, optional
            List of taxa whose places are told less exactly.
        generalise : str
            How exactly, such as ``0.1`` (degrees) or ``10km``; ``none``: as exactly as known.
        safe_csv : bool
            Whether cells that a spreadsheet would compute are disarmed.

        Raises
        ------
        MisuseError
            If there are neither predictions nor ``labels``.
        SourceError
            If the predictions are of no images of this store, a required field is not known, or a
            folder is there already.

        Examples
        --------
        >>> answers = store.zeroshot("species")  # doctest: +SKIP
        >>> store.export_answers(answers, form="camtrap-dp", target="package")  # doctest: +SKIP
        """
        from bioprobe.exporting import take_labels
        from bioprobe.face.sightings import join_answers

        if predictions is None and not labels:
            msg = "name a table of predictions to export, or say --labels for those of the store"
            raise MisuseError(msg)
        chosen: AnswerFormat = ANSWER_FORMATS.load(form)
        target = Path(target)
        if target.suffix.lower() not in chosen.suffixes and "" not in chosen.suffixes:
            msg = f"{form} is a {' or '.join(chosen.suffixes)} file, got {target}; name it so"
            raise SourceError(msg)
        given = {"package": package, "deployments": deployments, "about": about,
                 "placeholders": placeholders, "time_zone": time_zone,
                 "map_by": None if map_by == "pca" else map_by, "safe_csv": safe_csv,
                 "people": people}  # fmt: skip
        _refuse_useless(form, chosen, given)
        options = dataclasses.replace(
            _read_options(package, deployments, about), placeholders=placeholders,
            time_zone=time_zone, map_by=map_by, safe_csv=safe_csv,
            people=people or (OBSCURE if form == "embedding-atlas" else LEAVE_OUT),
        )  # fmt: skip
        view, secret = self._view, read_sensitive(self, sensitive, generalise)
        answers = (
            take_labels(view, secret)
            if predictions is None
            else join_answers(view, predictions, secret)
        )
        said = chosen.write(target, answers, options)
        n_answers = sum(1 for _ in answers.observations)
        n_unread = len(answers.failed)
        n_pictures = len(answers.pictures) - n_unread
        summary = AnswerExport(target, form, n_pictures, n_answers, n_unread)
        head = f"{n_answers:,} answers of {n_pictures:,} pictures as {form} -> {target}"
        hidden = [one for one in answers.places.values() if one.generalisation]
        if hidden and chosen.tells_places:
            how = hidden[0].generalisation
            rough = f"the places of {len(hidden):,} pictures are {how}, as of sensitive taxa"
            said = [*said, rough]
        return summary.say((*self._notes, head, *said, *answers.notes))


def find_ending(form: str) -> str:
    """Return the ending of the file that a format of answers is, ``""`` where it is a folder."""
    chosen: AnswerFormat = ANSWER_FORMATS.load(form)
    return chosen.suffixes[0]


def _refuse_useless(form: str, chosen: AnswerFormat, given: Mapping[str, object]) -> None:
    """Refuse an option that a format has no use for."""
    for name, value in given.items():
        if value and name not in chosen.takes:
            ours = [one for one in _FORMATS if name in ANSWER_FORMATS.load(one).takes]
            msg = (
                f"{write_flag(name)} counts only with --as {' or '.join(ours)}, got {form}; leave "
                "it out"
            )
            raise MisuseError(msg)


def _read_options(
    package: str | Path | None, deployments: str | Path | None, about: str | Path | None
) -> ExportOptions:
    from bioprobe.exporting import ExportOptions, read_about
    from bioprobe.tables import read_table

    return ExportOptions(
        package=None if package is None else Path(package),
        deployments=None if deployments is None else read_table(Path(deployments)),
        about={} if about is None else read_about(Path(about)),
    )


def read_sensitive(asked: Opened, sensitive: str | Path | None, generalise: str) -> Sensitive:
    """Return the taxa whose places are not told exactly: those listed, and threatened ones.

    Parameters
    ----------
    asked : Opened
        Images that are written, with a column of status where there is one.
    sensitive : str or Path, optional
        List of taxa.
    generalise : str
        How exactly their places are told.

    Raises
    ------
    MisuseError
        If taxa are listed and places are told exactly all the same, or how is not understood.
    """
    from bioprobe.exporting import Grid, Sensitive, list_threatened

    grid = Grid.parse(generalise)
    if sensitive is not None and not grid:
        msg = f"--sensitive counts only where places are generalised, got --generalise {generalise}"
        raise MisuseError(msg)
    names = list_threatened(asked._view) if grid else set()
    return Sensitive.of([*names, *_read_names(sensitive)], grid)


def _read_names(sensitive: str | Path | None) -> Sequence[str]:
    """Return the lowest name of each line of a list of taxa."""
    if sensitive is None:
        return []
    from bioprobe.taxonomy.lists import read_taxa

    path = Path(sensitive)
    if path.suffix.lower() == ".txt":
        lines = [line.partition("#")[0].strip() for line in read_lines(path)]
        return [line for line in lines if line]
    taxa: Sequence[Taxon] = list(read_taxa(path))
    return [taxon.name for taxon in taxa]
