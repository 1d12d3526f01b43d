"""Answers that are pictures: drawn in a notebook, written as a page that opens from disk."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np

from bioprobe import agreement, index, robustness
from bioprobe.agreement.sheet import write_comparison_sheet
from bioprobe.clustering import clusters
from bioprobe.content import Content
from bioprobe.counting import estimates
from bioprobe.errors import MissingExtraError, MisuseError
from bioprobe.explanation import result as explained
from bioprobe.images.copying import Copying, copy_pictures
from bioprobe.images.people import WHOLE
from bioprobe.images.regions import REGION, Region
from bioprobe.images.xmp import Keyword
from bioprobe.mapping import result as mapped
from bioprobe.options import KEEP, LEAVE_OUT
from bioprobe.page.explanations import write_explanation_sheet, write_overlays
from bioprobe.page.sheets import (
    MOST_SHOWN,
    draw_pictures,
    show_answers,
    write_answer_sheet,
    write_cluster_sheet,
    write_copies_sheet,
    write_filter_sheet,
    write_flaws_sheet,
    write_order_sheet,
    write_overlap_sheet,
    write_repeats_sheet,
    write_search_sheet,
)
from bioprobe.quality import against, duplicates, flaws, noise, repeats
from bioprobe.result import Result
from bioprobe.task import decisions, pooling, predictions, sequences
from bioprobe.taxonomy import RANKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from bioprobe.conservation import Judged, Units
    from bioprobe.images import ImageTable
    from bioprobe.images.location import ImageLocation
    from bioprobe.progress import Progress
    from bioprobe.provenance import Provenance
    from bioprobe.result import Note, Notes
    from bioprobe.task.beside import Beside
    from bioprobe.types import Rows

# Pictures that a notebook draws.
_DRAWN = 24


class Pictures:
    """Base of an answer that chooses pictures: they can be listed, copied and linked to."""

    images: ImageTable

    def to_frame(self) -> pd.DataFrame:
        """Return the answer as a table, with a column ``row``."""
        raise NotImplementedError

    def choose(self) -> tuple[Rows, Sequence[str] | None]:
        """Return the rows of the pictures, and of each its folder among copies, where they differ.

        Returns
        -------
        rows : ndarray of int64, shape (n,)
        labels : sequence of str, or None
        """
        raise NotImplementedError

    @property
    def paths(self) -> list[str]:
        """Files of the pictures, each once, as the system names them.

        A picture that is no file of its own, a row of a data set, is not among them.
        """
        rows, _ = self.choose()
        files = [self.images.locate(row).find_file() for row in rows.tolist()]
        return list(dict.fromkeys(str(file) for file in files if file is not None))

    def copy_to(
        self,
        folder: str | Path,
        *,
        people: str = "leave-out",
        keep_metadata: bool = False,
        keywords: bool = False,
        progress: Progress | None = None,
    ) -> Notes:
        """Copy the pictures into a folder, answers into one below it each.

        Nothing that is there is replaced. A copy says no more than the picture: GPS, serial
        numbers and names are taken out, of JPEG, PNG and WebP without changing a pixel.

        Parameters
        ----------
        folder : str or Path
            It is made where there is none.
        people : {"leave-out", "obscure", "keep"}
            What is done with pictures with people, whom a detector's box or the column
            ``content`` tells.
        keep_metadata : bool
            Whether a copy is byte for byte the file.
        keywords : bool
            Whether the answers go with the copies as keywords that photo programs read (XMP):
            inside of a JPEG, else in a file beside it.
        progress : callable, optional
            Told after each picture.

        Returns
        -------
        tuple of Note
            What was done.

        Raises
        ------
        StoreError
            If the disk refuses.
        """
        copying = Copying(Path(folder), people, keep_metadata, keywords=keywords)
        rows, labels = self.choose()
        return copy_pictures(
            self.images, rows, copying, labels=labels,
            keywords=self._list_keywords() if keywords else None, progress=progress,
        )  # fmt: skip

    def _list_keywords(self) -> dict[int, Keyword]:
        """Return what is said of each row: the best answer with its lineage, or the labels."""
        frame = self.to_frame()
        names = [name for name in (*RANKS, "classification") if name in frame.columns]
        if "answer" in frame.columns:
            frame = frame[frame["answer"] == 1]
        if not names:
            frame = self.images.frame.iloc[self.choose()[0]].assign(row=self.choose()[0])
            names = list(RANKS)
        said: dict[int, Keyword] = {}
        for row, *lineage in frame[["row", *names]].itertuples(index=False, name=None):
            known = tuple(str(name) for name in lineage if isinstance(name, str) and name)
            if known:
                region = Region.parse(str(self.images.column(REGION).iloc[int(row)]))
                said[int(row)] = Keyword(known, region)
        if "common_name" in frame.columns:
            for row, name in zip(frame["row"], frame["common_name"], strict=True):
                if row in said and isinstance(name, str) and name:
                    said[row] = dataclasses.replace(said[row], others=(name,))
        return said

    def link_to(
        self, folder: str | Path, *, people: str = "leave-out", progress: Progress | None = None
    ) -> Notes:
        """Make links to the pictures as :meth:`copy_to` makes copies; they show the files whole.

        Parameters
        ----------
        folder, progress
            As there.
        people : {"leave-out", "keep"}
            What is done with pictures with people.
        """
        rows, labels = self.choose()
        copying = Copying(Path(folder), people, links=True)
        return copy_pictures(self.images, rows, copying, labels=labels, progress=progress)

    def with_people(self, people: str) -> Self:
        """Return the same answer, whose pages show people otherwise; see :meth:`copy_to`.

        By default they are obscured.
        """
        changed: Any = dataclasses.replace(self, images=self.images.with_people(people))  # type: ignore[type-var]
        return changed  # type: ignore[no-any-return]


class Paged:
    """Base of an answer with a page of its own."""

    def write_page(self, path: str | Path) -> int:
        """Write the answer as one self-contained HTML page.

        Parameters
        ----------
        path : str or Path
            HTML file.

        Returns
        -------
        int
            What the page shows: pictures, classes, records or taxa.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        return self._write(Path(path))

    def _write(self, path: Path) -> int:
        raise NotImplementedError


class Neighbors(index.Neighbors, Pictures):
    """Images nearest to one question, which a notebook draws; see the base for the fields."""

    def choose(self) -> tuple[Rows, None]:
        """Return the rows that were found."""
        return self.rows, None

    def write_page(self, path: str | Path, order: str | None = None) -> int:
        """Write the answers as one self-contained HTML page.

        Parameters
        ----------
        path : str or Path
            HTML file.
        order : str, optional
            Column that they are sorted by, as for :meth:`Predictions.write_page`; by default the
            nearest stand first.

        Returns
        -------
        int
            Pictures on the page.

        Raises
        ------
        SelectionError
            If there is no such column.
        """
        write_search_sheet(Path(path), self, order)
        return min(len(self.rows), MOST_SHOWN)

    def __repr__(self) -> str:
        return f"<Neighbors: {len(self.rows):,} images nearest to {self.question.text}>"

    def _repr_html_(self) -> str:
        drawn = show_answers(self)[:_DRAWN]
        rest = f"<p>… {len(self.rows) - _DRAWN:,} more</p>" if len(self.rows) > _DRAWN else ""
        return draw_pictures(drawn) + rest


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Predictions(predictions.Predictions, Pictures):
    """The best classes of each image, with their page; see the base for the fields."""

    __module__ = "bioprobe"

    def choose(self) -> tuple[Rows, Sequence[str]]:
        """Return the rows that were asked, and the best answer of each."""
        return self.rows, self.names[:, 0].tolist()

    def write_page(self, path: str | Path, by: str = "answer", order: str | None = None) -> int:
        """Write the pictures with their best answers as one self-contained HTML page.

        Parameters
        ----------
        path : str or Path
            HTML file.
        by : str
            What the pictures are grouped by: ``answer``, or a column of the image table.
        order : str, optional
            Column that those of a group are sorted by, such as ``alike``, which
            :meth:`Store.order` keeps; by default the surest stand first.

        Returns
        -------
        int
            Pictures on the page.

        Raises
        ------
        SelectionError
            If there is no such column.
        """
        lowest = dataclasses.replace(self, above=())
        return write_answer_sheet(Path(path), "Answers", lowest, by, order)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Decisions(decisions.Decisions, Pictures):
    """One answer an image, or none, with its page; see the base for the fields."""

    __module__ = "bioprobe"

    def choose(self) -> tuple[Rows, Sequence[str]]:
        """Return the rows that were asked, and the answer of each, ``""`` where there is none."""
        return self.rows, self.names

    def write_page(self, path: str | Path, by: str = "answer", order: str | None = None) -> int:
        """Write the pictures with their answers as :meth:`Predictions.write_page` does."""
        return write_answer_sheet(Path(path), "Answers", self, by, order)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Contents(pooling.Contents, Pictures):
    """What is in each picture, with its page; see the base for the fields."""

    __module__ = "bioprobe"

    def write_page(self, path: str | Path, by: str = "answer", order: str | None = None) -> int:
        """Write the best regions of what was found, as :meth:`Predictions.write_page` does."""
        return write_answer_sheet(Path(path), "What is in each picture", self, by, order)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Duplicates(duplicates.Duplicates, Pictures, Paged):
    """Copies among images, with their page; see the base for the fields."""

    def choose(self) -> tuple[Rows, None]:
        """Return the rows of copies: those that the mask leaves out."""
        return self.rows[~self.kept], None

    def _write(self, path: Path) -> int:
        return write_copies_sheet(path, self)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Explanations(explained.Explanations, Pictures, Paged):
    """Why pictures have their answers, with their page; see the base for the fields."""

    __module__ = "bioprobe"

    def choose(self) -> tuple[Rows, None]:
        """Return the rows of the pictures."""
        return np.array(self.rows, dtype=np.int64), None

    def _write(self, path: Path) -> int:
        return write_explanation_sheet(path, self)

    def write_overlays(self, folder: str | Path) -> int:
        """Write each picture beside its maps as a PNG file, ``ROW-NAME.png``, into a folder.

        Other files there are not replaced; those that were drawn before are.

        Parameters
        ----------
        folder : str or Path
            It is made where there is none.

        Returns
        -------
        int
            Files that were written; a picture that is gone since has none.
        """
        return write_overlays(Path(folder), self)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Comparison(agreement.Comparison, Paged):
    """Two sets of answers with their page; see the base for the other fields.

    Parameters
    ----------
    places : mapping of int to ImageLocation
        Where the picture of a pair lies, by its position.
    people : {"leave-out", "obscure", "keep"}, optional
        What is done with people on the page; by default they are obscured.
    """

    __module__ = "bioprobe"

    places: Mapping[int, ImageLocation] = dataclasses.field(default_factory=dict)
    people: str | None = None

    def _write(self, path: Path) -> int:
        places = {at: self._show(at, place) for at, place in self.places.items()}
        return write_comparison_sheet(path, self, places)

    def with_people(self, people: str) -> Self:
        """Return the same answer, whose page shows people otherwise."""
        return dataclasses.replace(self, people=people)

    def _show(self, at: int, place: ImageLocation) -> ImageLocation:
        seen = [
            side.said[rows[at]].content == Content.HUMAN
            for side, rows in ((self.first, self.matches.first), (self.second, self.matches.second))
        ]
        people = place.people
        if any(seen) and not people:
            # Where the person is, is not said.
            people = (WHOLE,)
        if self.people == KEEP:
            people = ()
        elif self.people == LEAVE_OUT and people:
            people = (WHOLE,)
        return dataclasses.replace(place, people=people)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Overlap(against.Overlap, Pictures, Paged):
    """Images that another collection has too, with their page; see the base for the fields."""

    def choose(self) -> tuple[Rows, None]:
        """Return the rows of images that the other collection has too."""
        return self.rows[self.is_copy], None

    def _write(self, path: Path) -> int:
        return write_overlap_sheet(path, self)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class StatusAnswers(Result, Pictures, Paged):
    """The conservation status of images, and how many have each.

    Parameters
    ----------
    images : ImageTable
        Of the store.
    judged : Judged
        Status, threat and shares of probability of each image.
    units : Units
        What images are counted by, and which belong together.
    counts : DataFrame
        How many images have each status, with intervals.
    comparison : DataFrame
        A probe of the threat beside the status that follows from a probe of species, empty where
        none was asked.
    table : str
        Which of :data:`bioprobe.face.conservation.TABLES` :meth:`to_frame` returns.
    source : str
        Of the statuses.
    asked : str
        What was judged: ``labels``, ``zero-shot`` …
    provenance : Provenance
    notes : tuple of Note
    """

    images: ImageTable
    judged: Judged
    units: Units
    counts: pd.DataFrame
    comparison: pd.DataFrame
    table: str
    source: str
    asked: str
    provenance: Provenance
    notes: Notes = ()

    def __len__(self) -> int:
        return len(self.judged)

    @property
    def taxa(self) -> pd.DataFrame:
        """One row a name: what it covers, the status of each, and how many images have it."""
        import pandas as pd

        rows: dict[str, list[Any]] = {}
        for name, one in zip(self.judged.answers.tolist(), self.judged.covered, strict=True):
            row = rows.setdefault(name, [name, one.category.label, one.threat, 0,
                                         len(one.statuses) + len(one.unlisted), one.by,
                                         one.describe(50)])  # fmt: skip
            row[3] += 1
        columns = ["name", "status", "threat", "n_images", "n_taxa", "found_by", "covers"]
        frame = pd.DataFrame(list(rows.values()), columns=columns)
        return frame.sort_values(["n_images", "name"], ascending=[False, True], ignore_index=True)

    def to_frame(self) -> pd.DataFrame:
        """Return the table that was asked for: one row an image, status, name or metric."""
        if self.table == "counts":
            return self.counts
        if self.table == "taxa":
            return self.taxa
        if self.table == "comparison":
            return self.comparison
        frame = self.judged.to_frame()
        if self.units.by and self.units.by not in frame:
            frame[self.units.column] = self.units.values
        return frame

    def to_lines(self, frame: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the columns that are read in a terminal."""
        frame = self.to_frame() if frame is None else frame
        if self.table == "images":
            left_out = {"p_not_threatened", "p_neither", "found_by", "row"}
            return frame[[one for one in frame if one not in left_out]]
        return frame

    def choose(self) -> tuple[Rows, Sequence[str]]:
        """Return the rows of the pictures, each with its status as the folder of a copy."""
        kept = self.judged.rows >= 0
        codes = self.judged.codes[kept].tolist()
        return self.judged.rows[kept], [one or "no status" for one in codes]

    def _write(self, path: Path) -> int:
        from bioprobe.report.status import write_status_page

        write_status_page(
            path, self.judged, self.units, self.counts, self.taxa, self.comparison,
            source=self.source, asked=self.asked, notes=self.notes,
            provenance=self.provenance.to_dict(),
        )  # fmt: skip
        return len(self.judged)


#: Answers to rows, or to what belongs together.
Answers = Predictions | Decisions | Contents


@overload
def show_answers_of(answers: predictions.Predictions, beside: Beside) -> Predictions: ...
@overload
def show_answers_of(answers: decisions.Decisions, beside: Beside) -> Decisions: ...
def show_answers_of(
    answers: predictions.Predictions | decisions.Decisions, beside: Beside
) -> Predictions | Decisions:
    """Return answers as people hold them: with what stands beside them, and their page."""
    fields = {**read_fields(answers), "beside": beside}
    if isinstance(answers, decisions.Decisions):
        return Decisions(**fields)
    return Predictions(**fields)


def pool_answers(
    answers: Predictions | Decisions, per: str | None, how: sequences.Pooling, k: int = 5
) -> Answers:
    """Return answers to rows as they are, or what they say of each unit.

    Parameters
    ----------
    answers : Predictions or Decisions
        With all that is to be said of them.
    per : str or None
        What belongs together, ``image`` or ``sequence``.
    how : Pooling
        How rows make sequences.
    k : int
        Answers to a sequence.
    """
    if per is None:
        return answers
    # How often rows are right is another figure than what is found in a picture.
    kept = [note for note in answers.notes if not is_of_rows(note)]
    if per == sequences.SEQUENCE:
        found = sequences.pool_sequences(answers, how)
        said = _describe_sequences(found, how)
        fields = {**read_fields(found.answers), "notes": tuple(kept)}
        if isinstance(answers, Decisions):
            return Decisions(**fields).say(said)
        return Predictions(**read_fields(Predictions(**fields).keep_best(k))).say(said)
    contents = Contents(**read_fields(pooling.pool(answers, per, how.content)))
    return dataclasses.replace(contents, notes=tuple(kept)).say(_describe_contents(contents))


def _describe_sequences(found: sequences.Pooled, how: sequences.Pooling) -> list[str]:
    """Say what was pooled, how, and how often it is right."""
    said = found.sequences.describe()
    if isinstance(found.answers, decisions.Decisions):
        said.append(
            f"of each sequence the answer of most rows; {found.n_gave_way:,} rows whose answer "
            "stands above another of their sequence gave way to it"
        )
        return said
    said.append(f"answers are pooled by the rule {how.rule}")
    measured = found.answers.accuracy()
    if measured:
        figures = ", ".join(map(str, measured))
        several = f"; {found.n_several:,} of several labels are left out" * bool(found.n_several)
        said.append(
            f"{AGAINST_LABELS} {measured[0].n_images:,} sequences: {figures} (95% interval)"
            f"{several}"
        )
    return said


def is_of_rows(note: Note) -> bool:
    """Tell whether a note is how often the answers to single rows are right."""
    return str(note).startswith(AGAINST_LABELS)


#: How a sentence begins that says how often answers are the labels.
AGAINST_LABELS = "against the labels of"


def _describe_contents(pooled: Contents) -> list[str]:
    frame, what = pooled.frame, "pictures" if pooled.by == pooling.IMAGE else f"of {pooled.by}"
    single = frame[~frame["also"].eq(True)] if "also" in frame else frame
    if isinstance(pooled.answers, predictions.Predictions) and pooled.answers.above:
        single = single[single["rank"] == pooled.answers.level]
    n_several = int((single["answer"] == 2).sum())
    said = [f"{len(pooled):,} {what}; in {n_several:,} more than one class or a person with one"]
    if pooled.figures is not None:
        said.append(
            f"sets of classes {AGAINST_LABELS} {pooled.figures.n_units:,} {what}: {pooled.figures}"
        )
    return said


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class NoiseFilter(noise.NoiseFilter, Pictures):
    """What a filter says of each image, with its page; see the base for the other fields.

    Parameters
    ----------
    level : str
        Rank or column of the classes that the page may be grouped by.
    """

    level: str = "family"

    def choose(self) -> tuple[Rows, None]:
        """Return the rows that are kept."""
        return self.rows[self.kept], None

    def write_page(self, path: str | Path, by: str = "reason", order: str | None = None) -> int:
        """Write what is dropped, with scores and reasons, as one self-contained HTML page.

        Parameters
        ----------
        path : str or Path
            HTML file.
        by : {"reason", "class"}
            What the pictures are grouped by.
        order : str, optional
            Column that those of a group are sorted by, as for :meth:`Predictions.write_page`.

        Returns
        -------
        int
            Pictures on the page.
        """
        return write_filter_sheet(Path(path), self, by, self.level, order)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Repeats(repeats.Repeats, Pictures, Paged):
    """What stands in one place again and again, with its page; see the base for the fields."""

    def choose(self) -> tuple[Rows, None]:
        """Return the rows that are kept."""
        return self.rows[self.kept], None

    def _write(self, path: Path) -> int:
        return write_repeats_sheet(path, self)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Flaws(flaws.Flaws, Pictures, Paged):
    """Which pictures were taken badly, with their page; see the base for the fields."""

    def choose(self) -> tuple[Rows, None]:
        """Return the rows that are kept."""
        return self.rows[self.kept], None

    def _write(self, path: Path) -> int:
        return write_flaws_sheet(path, self)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Clusters(clusters.Clusters, Pictures, Paged):
    """Groups of pictures that are alike, with their page; see the base for the fields."""

    def choose(self) -> tuple[Rows, Sequence[str]]:
        """Return the rows, and of each its cluster."""
        return self.rows, self.values.tolist()

    def _write(self, path: Path) -> int:
        return write_cluster_sheet(path, self)


class Order(clusters.Order, Pictures, Paged):
    """Pictures along one line, with their page; see the base for the fields."""

    def choose(self) -> tuple[Rows, None]:
        """Return the rows along the line."""
        return self.rows, None

    def _write(self, path: Path) -> int:
        return write_order_sheet(path, self)


class Robustness(robustness.Robustness, Paged):
    """What altering pictures does, with its page; see the base for the fields."""

    def _write(self, path: Path) -> int:
        from bioprobe.report.alterations import write_robustness_page

        return write_robustness_page(path, self)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Estimates(estimates.Estimates, Paged):
    """Shares, counts and rates with intervals, with their page; see the base for the fields."""

    __module__ = "bioprobe"

    def _write(self, path: Path) -> int:
        from bioprobe.report.estimates import write_estimates

        return write_estimates(path, self)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Map(mapped.Map):
    """Where images lie on a map, with its picture; see the base for the fields."""

    def write_picture(self, path: str | Path, level: str | None = None) -> None:
        """Draw the map with the names of its commonest classes, none of which covers another.

        Parameters
        ----------
        path : str or Path
            PNG file.
        level : str, optional
            Rank or column; by default as :meth:`bioprobe.Store.map_classes`.

        Raises
        ------
        MisuseError
            If the file has another ending.
        MissingExtraError
            If datamapplot is not installed.
        SelectionError
            If there is no such rank or column.
        """
        from bioprobe.files import replacing
        from bioprobe.images.image_table import read_level
        from bioprobe.mapping.classes import choose_level, code_classes, list_levels
        from bioprobe.report.map import MISSING, draw_map

        path = Path(path)
        if path.suffix.lower() != ".png":
            msg = f"the picture of a map is a PNG, got {path}; end its name in .png"
            raise MisuseError(msg)
        named = level or choose_level(list_levels(self.images, self.rows))
        labels = np.full(len(self.rows), "", dtype=object)
        if named:
            labels = self.images.labels(read_level(named, self.images))[self.rows]
        classes = code_classes(named, self.rows, labels)
        try:
            data = draw_map(self.points.astype(np.float64), classes)
        except ImportError as error:
            raise MissingExtraError(MISSING) from error
        with replacing(path) as temporary:
            temporary.write_bytes(data)


def read_fields(found: Result) -> dict[str, Any]:
    """Return the fields of a result by name, to make one of its face of them."""
    fields: Any = dataclasses.fields(found)  # type: ignore[arg-type]
    return {field.name: getattr(found, field.name) for field in fields}
