"""Answers written upon pictures: copies with boxes and labels, contact sheets, strips that move."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.errors import MisuseError, SelectionError
from bioprobe.face.asking import Asks
from bioprobe.face.learning import Learns
from bioprobe.options import (
    LEAVE_OUT,
    PEOPLE,
    RANK_NAMES,
    Admin1,
    Country,
    HeadName,
    NamedClasses,
    Option,
    PriorFloor,
    PriorTable,
    PromisedAccuracy,
    Site,
    Taxa,
    Templates,
    TextTypeName,
    With,
    Within,
    Without,
    question,
    split_names,
)
from bioprobe.result import WARNING, Note, Notes, Result

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.exporting import Answers
    from bioprobe.exporting.wording import FindStatus, Named, Said
    from bioprobe.face.probe import Probe
    from bioprobe.images.sequences import Sequences
    from bioprobe.progress import Progress

# Of a zero-shot question, which is asked where nothing else says the answers.
_ZEROSHOT = Without("answers", "labels", "probe", why="which say the answers")
_ANSWERED = Without("answers", "labels", why="which are not asked for")
_SHOWN_BY_DEFAULT = "box,label,score,status,common,path"
_KINDS = {"keep": None, "jpeg": "JPEG", "png": "PNG", "webp": "WEBP"}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Annotation(Result):
    """What was written of pictures.

    Parameters
    ----------
    frame : DataFrame
        One row a region: ``file_name``, ``image_region``, ``label``, ``score``, ``status``,
        ``recognised``, ``written`` (the copy, ``""`` where there is none) and ``reason`` (why not).
    provenance : dict
        What the answers were computed from, JSON-ready.
    notes : tuple of Note
        What is to be said of it.
    """

    frame: pd.DataFrame
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return the table."""
        return self.frame


class Annotates(Asks, Learns):
    """Answers upon pictures."""

    @question
    def annotate(
        self,
        folder: Annotated[
            str | Path | None,
            Option(
                "Folder of copies with boxes and labels on them; no file of another is replaced. "
                "GPS, serial numbers and names are taken out.",
                ("--output", "-o"),
                shell=Path,
                writes="any",
            ),
        ] = None,
        *,
        answers: Annotated[
            str | Path | Result | None,
            Option(
                "Table that zeroshot or probe predict wrote: .csv, .json or .parquet.",
                ("--answers",),
                shell=Path,
            ),
        ] = None,
        labels: Annotated[
            bool,
            Option(
                "Write the labels in the store, and what a detector saw.",
                when=(Without("answers"),),
            ),
        ] = False,
        probe: Annotated[
            str | Result | None,
            Option(
                "Probe that answers, by its name in the store; what is of none of its classes by "
                "the held-out images is not recognised.",
                shell=str,
                when=(Without("answers", "labels"),),
            ),
        ] = None,
        level: Annotated[
            str | None,
            Option(
                "Rank of the answers, or any column: of zero-shot species by default, of the "
                "labels the lowest rank that is known.",
                ("--level", "--rank", "-l"),
                RANK_NAMES,
                when=(Without("answers", "probe", why="which say at which rank they are"),),
            ),
        ] = None,
        classes: Annotated[NamedClasses, _ZEROSHOT] = None,
        taxa: Annotated[Taxa, _ZEROSHOT, Without("classes")] = None,
        text_type: Annotated[TextTypeName, _ZEROSHOT, Without("classes")] = "taxon_com",
        templates: Annotated[Templates, _ZEROSHOT] = "plain",
        head: Annotated[HeadName, _ZEROSHOT, Without("classes")] = None,
        within: Annotated[Within, _ZEROSHOT, Without("classes")] = None,
        country: Country = None,
        admin1: Admin1 = None,
        site: Site = None,
        prior: Annotated[PriorTable, _ANSWERED] = None,
        prior_floor: PriorFloor = 0.01,
        abstain: Annotated[
            float | str | None,
            Option(
                "Answer at the deepest rank whose summed probability reaches this (0 to 1), or, of "
                "a probe with auto, what promises --accuracy by the held-out images; where none "
                "does, not recognised.",
                shell=str,
                when=(_ANSWERED, Without("classes")),
            ),
        ] = None,
        accuracy: PromisedAccuracy = 0.95,
        min_score: Annotated[
            float,
            Option(
                "Answers below this score are not recognised.",
                least=0,
                most=1,
                when=(Without("labels"),),
            ),
        ] = 0.0,
        k: Annotated[
            int,
            Option(
                "Answers that are written of each region.",
                ("-k", "--k"),
                least=1,
                when=(Without("labels", "abstain"),),
            ),
        ] = 1,
        show: Annotated[
            str | Sequence[str],
            Option(
                "What is written, with commas between: box, label, score, status, common (name), "
                "path (phylum to family).",
                shell=str,
                metavar="PART,…",
            ),
        ] = _SHOWN_BY_DEFAULT,
        status: Annotated[
            str | Path | Mapping[str, str] | None,
            Option(
                "Table of taxa and their Red List categories, as bioprobe status takes it, or a "
                "column of the store that says the status of the label's species. [default: the "
                "column status, iucn or the like]",
                shell=str,
                metavar="TABLE|COLUMN",
            ),
        ] = None,
        colour_by: Annotated[
            str,
            Option(
                "What the colours of boxes stand for: status, where one is known, or label.",
                choices=("status", "label"),
                fixed=True,
            ),
        ] = "status",
        colours: Annotated[
            Mapping[str, str] | str | Sequence[str] | None,
            Option(
                "Colours of statuses or labels, such as VU=#f9e814 or lion=red. By default those "
                "of IUCN for statuses.",
                shell=str,
                metavar="VALUE=COLOUR,…",
            ),
        ] = None,
        font: Annotated[
            str | Path | None,
            Option(
                "Font file for the letters that it has: .ttf, .otf or .ttc. By default fonts of "
                "this machine, by the letters that they have.",
                shell=Path,
            ),
        ] = None,
        text_size: Annotated[
            float,
            Option(
                "Size of the letters, as a multiple of what suits each picture.",
                least=0.2,
                most=10,
            ),
        ] = 1.0,
        place: Annotated[
            str,
            Option(
                "auto: labels stand in the picture where there is room; below: all below it.",
                choices=("auto", "below"),
                fixed=True,
            ),
        ] = "auto",
        enlarge_to: Annotated[
            int,
            Option(
                "Pixels of the longer side to which smaller pictures are enlarged, so that there "
                "is room for letters; 0: not at all.",
                least=0,
                most=4000,
            ),
        ] = 480,
        form: Annotated[
            str,
            Option(
                "Format of the copies: keep (as it is, of what is no JPEG, PNG or WebP a JPEG or "
                "PNG), jpeg, png or webp.",
                ("--as",),
                tuple(_KINDS),
                fixed=True,
                when=(With("folder"),),
            ),
        ] = "keep",
        people: Annotated[
            str,
            Option(
                "Pictures with people, told by a detector, the column content or an answer: "
                "leave-out, obscure or keep.",
                choices=PEOPLE,
                fixed=True,
            ),
        ] = LEAVE_OUT,
        montage: Annotated[
            str | Path | None,
            Option(
                "Contact sheet of the pictures and regions with what is said of them: .png, .jpg "
                "or .webp. A long one goes on in files with numbers.",
                shell=Path,
                writes="file",
            ),
        ] = None,
        by: Annotated[
            str,
            Option(
                "What the contact sheet is grouped by: answer, a rank or any column, such as site; "
                "none.",
                choices=("answer", "none"),
                when=(With("montage"),),
            ),
        ] = "answer",
        cell_px: Annotated[
            int,
            Option(
                "Pixels of the longer side of a picture of the contact sheet.",
                least=32,
                most=2000,
                when=(With("montage"),),
            ),
        ] = 240,
        across: Annotated[
            int,
            Option(
                "Pictures beside each other on the contact sheet.",
                least=1,
                most=50,
                when=(With("montage"),),
            ),
        ] = 6,
        most: Annotated[
            int,
            Option(
                "Pictures of a group on the contact sheet; of answers the surest.",
                least=1,
                when=(With("montage"),),
            ),
        ] = 24,
        animate: Annotated[
            str | Path | None,
            Option(
                "Folder of sequences that move, each a file of its pictures in the order of time.",
                shell=Path,
                writes="any",
            ),
        ] = None,
        animation: Annotated[
            str,
            Option(
                "Kind of these files: gif, webp (smaller, and of all colours) or png.",
                choices=("gif", "webp", "png"),
                fixed=True,
                when=(With("animate"),),
            ),
        ] = "gif",
        frame_seconds: Annotated[
            float,
            Option(
                "Seconds for which each picture of a sequence is shown.",
                least=0.02,
                most=60,
                when=(With("animate"),),
            ),
        ] = 0.7,
        frame_px: Annotated[
            int,
            Option(
                "Pixels of the longer side of the pictures of a sequence.",
                least=64,
                most=4000,
                when=(With("animate"),),
            ),
        ] = 640,
        sequence: Annotated[
            str | None,
            Option(
                "Column whose equal values are one sequence. [default: sequence_id, seq_id or "
                "event_id; without these captured_at, as for --gap-seconds 60]",
                when=(With("animate"), Without("gap_seconds")),
            ),
        ] = None,
        gap_seconds: Annotated[
            float | None,
            Option(
                "Pictures of one camera are a sequence that captured_at tells no further apart.",
                least=0,
                when=(With("animate"),),
            ),
        ] = None,
        progress: Progress | None = None,
    ) -> Annotation:
        """Write answers upon copies of the pictures, on contact sheets, and on strips that move.

        The answers are a table's, a probe's, the labels in the store, or else zero-shot's. Labels
        are letters on a dark ground, of a size that suits the picture, in any script that a font of
        the machine has; none covers another, and where there is no room numbers stand for them.

        Parameters
        ----------
        folder : str or Path, optional
            Of the copies.
        answers : str, Path, Predictions, Decisions or Contents, optional
            Answers to images of this store, joined by the name of the file and the region.
        labels : bool
            Whether the labels in the store are written.
        probe : str or Probe, optional
            That answers; its name, or its folder in another store.
        level : str, optional
            Rank or column of the answers, or of the labels.
        classes, taxa, text_type, templates, head, within, country, admin1, site
            Of a zero-shot question; see :meth:`zeroshot`.
        prior, prior_floor
            How frequent taxa are, of zero-shot and of a probe.
        abstain, accuracy
            From which probability on it is answered; see :meth:`predict`.
        min_score : float
            Score below which an answer is not recognised.
        k : int
            Answers that are written of each region.
        show : str or sequence of str
            Of ``box``, ``label``, ``score``, ``status``, ``common`` and ``path``.
        status : str, Path, or mapping of str to str, optional
            Table of statuses, column of the status of the label's species, or codes by species.
        colour_by : {"status", "label"}
            What colours stand for.
        colours : mapping of str to str, optional
            By status or label, as CSS writes them.
        font : str or Path, optional
            Font file for the letters that it has.
        text_size : float
            As a multiple of what suits the picture.
        place : {"auto", "below"}
            Whether labels may cover the picture.
        enlarge_to : int
            Pixels; smaller pictures are enlarged.
        form : {"keep", "jpeg", "png", "webp"}
            Format of the copies.
        people : {"leave-out", "obscure", "keep"}
            What is done with pictures with people.
        montage : str or Path, optional
            Contact sheet.
        by, cell_px, across, most
            How it is grouped, and how large it is.
        animate : str or Path, optional
            Folder of sequences that move.
        animation, frame_seconds, frame_px
            Their kind, speed and size.
        sequence, gap_seconds
            What a sequence is; see :meth:`zeroshot`.
        progress : callable, optional
            Told after each picture.

        Returns
        -------
        Annotation
            One row a region: what is said of it, and where its copy is.

        Raises
        ------
        MisuseError
            If nothing is to be written, or options do not go together.
        SourceError
            If the answers are of no images of this store, a font cannot be read, or a contact sheet
            is there already.

        Examples
        --------
        >>> store.annotate("annotated", probe="linear", montage="sheet.png")  # doctest: +SKIP
        """
        from bioprobe.conservation import COLOURS
        from bioprobe.exporting.annotated import (
            Pictures,
            Sheet,
            Strip,
            list_written,
            write_copies,
            write_sheets,
            write_strips,
        )
        from bioprobe.exporting.wording import NOT_RECOGNISED, Wording
        from bioprobe.images.image_table import read_level
        from bioprobe.overlays.fonts import Fonts
        from bioprobe.overlays.labels import Style

        if folder is None and montage is None and animate is None:
            msg = (
                "name what is to be written: --output FOLDER for copies of the pictures, --montage "
                "FILE for a contact sheet, --animate FOLDER for sequences that move"
            )
            raise MisuseError(msg)
        parts = _read_parts(show)
        fonts = Fonts(None if font is None else Path(font))
        sheet = None
        if montage is not None:
            sheet = Sheet(Path(montage), by, cell_px, across, most)
            sheet.check()
        asked, notes = self._find_written(
            answers, labels=labels, probe=probe, k=k, abstain=abstain, accuracy=accuracy,
            level=level, weights={"prior": prior, "prior_floor": prior_floor},
            question={
                "classes": classes, "taxa": taxa, "text_type": text_type, "templates": templates,
                "head": head, "within": within, "country": country, "admin1": admin1,
                "site": site,
            },
        )  # fmt: skip
        found = asked.answers
        planned = None
        if animate is not None:
            strip = Strip(Path(animate), animation, frame_seconds, frame_px)
            planned = strip, *self._find_strips(found, sequence, gap_seconds)
        if sheet is not None and by not in {"answer", "none"}:
            read_level(by, self._view.images)
        find_code, told, doubts = self._find_codes(asked, status)
        wording = Wording(
            found, parts, k, min_score, asked.nearest, find_code, told,
            {**COLOURS, **_read_colours(colours)}, colour_by,
        )  # fmt: skip
        pictures = Pictures(found, people)
        style = Style(fonts, text_size, enlarge_to, "box" in parts, place == "below")
        said: list[Note | str] = [*notes, *found.notes, *doubts]
        files: dict[str, Path] = {}
        if folder is not None:
            copied = write_copies(Path(folder), wording, pictures, style, _KINDS[form], progress)
            files, said = copied.files, [*said, *copied.notes]
        if sheet is not None:
            said += write_sheets(sheet, wording, pictures, style, progress)
        if planned is not None:
            said += write_strips(*planned, wording, pictures, style, progress)
        frame = list_written(wording, pictures, files)
        n_unknown = int((frame["label"] == NOT_RECOGNISED).sum())
        if n_unknown:
            said.append(f"{n_unknown:,} of {len(frame):,} are not recognised")
        said += [*pictures.describe(), *(Note(one, WARNING) for one in fonts.describe())]
        return Annotation(frame, dict(found.provenance)).say((*self._notes, *said))

    def _find_written(
        self, answers: str | Path | Result | None, *, labels: bool, probe: str | Result | None,
        k: int, abstain: float | str | None, accuracy: float, level: str | None,
        weights: dict[str, Any], question: dict[str, Any],
    ) -> tuple[Said, Notes]:  # fmt: skip
        from bioprobe.exporting import read_predictions
        from bioprobe.exporting.wording import read_answers, take_all

        if labels:
            return take_all(self._view, level), ()
        if isinstance(answers, (str, Path)):
            return read_answers(self._view, *read_predictions(Path(answers))), ()
        asked: Any = answers
        if asked is None:
            question = {"level": level or "species", **question}
            asked = self._ask_written(probe, k, abstain, accuracy, weights, question)
        notes = tuple(note for note in asked.notes if note not in self._notes)
        return read_answers(self._view, asked.to_frame(), asked.provenance.to_dict()), notes

    def _ask_written(
        self, probe: str | Result | None, k: int, abstain: float | str | None, accuracy: float,
        weights: dict[str, Any], question: dict[str, Any],
    ) -> Result:  # fmt: skip
        if probe is not None:
            opened: Any = self._open_named_probe(probe) if isinstance(probe, str) else probe
            # Of classes that it did not learn only held-out answers tell.
            unknown = abstain is None and opened.calibration is not None
            found: Result = opened.predict(
                self, k, abstain=abstain, accuracy=accuracy, unknown=unknown, **weights
            )
            return found
        if abstain is None:
            return self.zeroshot(**question, **weights, k=k)
        return self.zeroshot(**question, **weights, abstain=_read_probability(abstain))

    def _open_named_probe(self, name: str) -> Probe:
        """Return a probe of this store, or one whose folder is named."""
        from bioprobe.store import EmbeddingStore
        from bioprobe.store.view import View

        folder = Path(name)
        if folder.parent.name != "probes" or not folder.is_dir():
            return self.probe(name)
        store = EmbeddingStore.open(folder.parent.parent)
        asked = Annotates(View(store, store.rows), model=self._model, device=self._device)
        return asked.probe(folder.name)

    def _find_codes(
        self, said: Said, status: str | Path | Mapping[str, str] | None
    ) -> tuple[FindStatus, Mapping[Named, str], list[Note | str]]:
        """Return what finds the status of a label, that of regions, and what is to be said."""
        from bioprobe.exporting.wording import (
            find_listed_codes,
            find_species_codes,
            find_stored_codes,
        )
        from bioprobe.face.conservation import StatusSource

        if isinstance(status, Mapping):
            return find_species_codes(status), {}, []
        if status is None or str(status) in self._view.images.columns:
            column = None if status is None else str(status)
            return find_stored_codes(self._view.images, said, column)
        if not Path(status).is_file():
            msg = (
                f"--status is a table of statuses or a column of the store, got {status}, which is "
                f"no file; the columns are {', '.join(map(str, self._view.images.free_columns))}"
            )
            raise SelectionError(msg)
        source = StatusSource(self._view, status)
        guesses = [one.best for _, one in said.answers.observations if one.best]
        taxa = [one.taxon for one in guesses if one.taxon]
        source.find(taxa, names=[one.label for one in guesses if not one.taxon])
        return find_listed_codes(source.finder), {}, list(source.statuses.notes)

    def _find_strips(
        self, found: Answers, sequence: str | None, gap_seconds: float | None
    ) -> tuple[Sequences, dict[int, str]]:
        """Return the sequence of each picture that was read, and when each row was taken."""
        import numpy as np

        from bioprobe.images.camera import CAPTURED_AT
        from bioprobe.images.sequences import find_sequences, read_clocks

        images = self._view.images
        rows = np.array([one.row for one in found.read], dtype=np.int64)
        sequences = find_sequences(images, rows, column=sequence, gap_seconds=gap_seconds)
        if CAPTURED_AT not in images.columns:
            return sequences, {}
        clocks, _ = read_clocks(images, rows, CAPTURED_AT)
        known = zip(rows.tolist(), clocks.astype("datetime64[s]"), strict=True)
        return sequences, {row: str(when) for row, when in known if not np.isnat(when)}


def _read_parts(show: str | Sequence[str]) -> frozenset[str]:
    from bioprobe.exporting.wording import PARTS

    parts = frozenset(split_names(show))
    if not parts or parts - set(PARTS):
        got = ", ".join(sorted(parts - set(PARTS))) or "nothing"
        msg = f"--show is some of {', '.join(PARTS)}, got {got}"
        raise MisuseError(msg)
    return parts


def _read_colours(given: Mapping[str, str] | str | Sequence[str] | None) -> dict[str, str]:
    from bioprobe.overlays.colours import parse_colour

    if given is None:
        return {}
    if isinstance(given, Mapping):
        pairs = {str(name): str(colour) for name, colour in given.items()}
    else:
        # A colour such as rgb(1,2,3) has commas of its own.
        text = given if isinstance(given, str) else ",".join(given)
        split = [one.rpartition("=") for one in re.split(r",(?![^(]*\))", text) if one.strip()]
        if not all(between for _, between, _ in split):
            msg = f"--colours are VALUE=COLOUR pairs such as VU=#f9e814, got {text!r}"
            raise MisuseError(msg)
        pairs = {name.strip(): colour.strip() for name, _, colour in split}
    for colour in pairs.values():
        parse_colour(colour)
    return pairs


def _read_probability(abstain: float | str) -> float:
    try:
        return float(abstain)
    except ValueError:
        msg = (
            f"--abstain of zero-shot is a probability above 0 and at most 1, got {abstain!r}; auto "
            "is of a probe: --probe NAME"
        )
        raise MisuseError(msg) from None
