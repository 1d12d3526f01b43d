"""What people say of pictures: added, shown, taken back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.errors import MisuseError, SelectionError, SourceError
from bioprobe.face.opened import Opened
from bioprobe.face.written import (
    PERSON_VARIABLE,
    AnnotationReader,
    find_person,
    list_rows,
    place_of,
    take_back,
)
from bioprobe.names import find_nearest
from bioprobe.options import (
    RANK_NAMES,
    OnlyLevel,
    Option,
    RowNumbers,
    SafeCsv,
    list_given,
    question,
)
from bioprobe.result import PROBLEM, WARNING, Listing, Note, Table, count, name_some

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.store.annotations import Annotation, Log, Unit
    from bioprobe.store.embedding_store import EmbeddingStore

# Stands for the newest annotation of whoever asks.
_LAST = "last"
# Of a table that was exported, what is no part of an annotation.
_NOT_READ = {"retracted_by", "retracted_at", "is_new", "where", "problem"}
_SHOWN = 3
# Share of letters in common from which a name that nothing had is taken for a misspelt one: one
# letter of nine, and sisters such as Parus major and Parus minor are none.
_ALIKE = 0.88

LabelLevel = Annotated[
    str,
    Option(
        "What is said of the pictures: a rank, or a column of the image table.",
        ("--level", "--rank", "-l"),
        RANK_NAMES,
    ),
]
Person = Annotated[
    str | None,
    Option(
        f"Who says it. [default: ${PERSON_VARIABLE}, or the name that this machine knows you by]",
        metavar="NAME",
    ),
]

NewColumn = Annotated[
    bool, Option("Let --level be a column that the store has not: it has it then.")
]


class Corrects(Opened):
    """What people say of pictures, beside the labels that came with them."""

    def add_annotations(
        self,
        given: pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any] | Annotation],
        *,
        by: str | None = None,
        new_column: bool = False,
    ) -> Table:
        """Write annotations into the log of the store; when this returns they are on the disk.

        The labels that came with the pictures stay. What is said counts at once in this object,
        unless the given labels alone count (:meth:`where`).

        Parameters
        ----------
        given : DataFrame, mapping, or sequence of mappings or Annotation
            Each says which image or region it is of – ``row`` of the store, or ``path`` and
            ``region``, as the image table or an answer (``file_name``, ``image_region``) has
            them –, its ``level``, a rank or column, its ``value``, and where they are not these
            ``verdict`` (``is``; without a value ``unsure``), ``by``, ``at`` (now) and ``id``
            (a new one: one that is there already is the same annotation). ``suggestion``,
            ``suggested_by``, ``score``, ``shown_for`` and ``chance`` say from what it comes.
        by : str, optional
            Who says it, where an annotation does not; by default ``$BIOPROBE_PERSON``, or the
            name that this machine knows the user by.
        new_column : bool
            Whether a level may be a column that the store has not: it has it then.

        Returns
        -------
        Table
            One row for each of them: ``id``, ``row``, ``file_name``, ``image_region``, ``level``,
            ``value``, ``verdict``, ``by``, ``at``, and ``is_new``, whether it was written.

        Raises
        ------
        MisuseError
            If one of them cannot be taken; then none is written.
        SelectionError
            If the store has no such image or level.
        StoreLockedError
            If another process writes annotations all the time.
        StoreError
            If the store was compacted since it was opened, or the disk refuses.

        Examples
        --------
        >>> said = {"row": 12, "level": "species", "value": "Panthera leo"}
        >>> store.add_annotations([said], by="anna")  # doctest: +SKIP
        """
        import pandas as pd

        from bioprobe.store.annotations import append

        annotations, rows = self._read_annotations(list_rows(given), by, is_new=new_column)
        store = self._view.store
        odd = _tell_misspelt(annotations, store)
        new = append(self.folder, annotations, store.check_current)
        self._count_anew()
        frame = pd.DataFrame(_describe(annotations, rows, store))
        frame["is_new"] = frame["id"].isin({one.id for one in new})
        people = ", ".join(sorted({one.by for one in annotations}))
        said = [Note(f"{count(len(new), 'annotation')} by {people} written to {self.folder}")]
        if len(new) < len(annotations):
            said.append(Note(f"{len(annotations) - len(new):,} were there already"))
        return Table(frame).say([*said, *odd])

    @question
    def annotate_rows(
        self,
        value: Annotated[
            str | None,
            Option("Class, as you write it; leave it out with --verdict unsure.", ("-",)),
        ] = None,
        *,
        level: LabelLevel = "species",
        row: RowNumbers = None,
        path: Annotated[
            str | Path | Sequence[str | Path] | None,
            Option(
                "Picture, as the store or an answer names it; repeat for several. All regions of "
                "it are meant.",
                shell=list[str],
            ),
        ] = None,
        verdict: Annotated[
            str | None,
            Option(
                "is, is not, or unsure: nobody can tell. [default: is]",
                choices=("is", "is not", "unsure"),
                fixed=True,
            ),
        ] = None,
        by: Person = None,
        new_column: NewColumn = False,
    ) -> Table:
        """Say one thing of one or several pictures; see :meth:`add_annotations`.

        Parameters
        ----------
        value : str, optional
            Class; none where the verdict is ``unsure``.
        level : str
            Rank or column.
        row : int or sequence of int, optional
            Rows of the store; by default what :meth:`where` chose.
        path : str, Path or sequence of them, optional
            Pictures, with all their regions.
        verdict : {"is", "is not", "unsure"}, optional
            By default ``is``.
        by : str, optional
            Who says it.
        new_column : bool
            Whether the level may be a column that the store has not: it has it then.

        Raises
        ------
        MisuseError
            If nothing says which pictures, or value and verdict do not go together.
        SelectionError
            If the store has no such image or level.
        StoreError
            If the disk refuses.

        Examples
        --------
        >>> store.annotate_rows("Panthera leo", row=12, by="anna")  # doctest: +SKIP
        """
        from bioprobe.upkeep import find_paths, find_rows

        store, view = self._view.store, self._view
        said: list[Note] = []
        if row is None and path is None:
            if view.is_whole:
                msg = "say which pictures: --row, --path, --where or --mask"
                raise MisuseError(msg)
            rows: Sequence[int] = view.rows.tolist()
        else:
            rows = find_rows(store, list_given(row)).tolist()
            if path is not None:
                found, _, unknown = find_paths(store, [str(one) for one in list_given(path)])
                if unknown:
                    shown = name_some(unknown)
                    text = f"{len(unknown):,} pictures are not in {self.folder}: {shown}"
                    if not len(found) and not rows:
                        raise SelectionError(text)
                    said.append(Note(text, PROBLEM))
                rows = sorted({*rows, *found.tolist()})
        one = {"level": level, "value": value or "", "verdict": verdict or "is"}
        given = [{"row": at, **one} for at in rows]
        return self.add_annotations(given, by=by, new_column=new_column).say(said)

    @question
    def annotations(
        self,
        level: OnlyLevel = None,
        *,
        by: Annotated[str | None, Option("Only what this person said.", metavar="NAME")] = None,
        standing: Annotated[bool, Option("Leave out what was taken back.")] = False,
    ) -> Listing:
        """List what people said of the pictures, the newest first.

        Parameters
        ----------
        level : str, optional
            Only of this rank or column.
        by : str, optional
            Only what this person said.
        standing : bool
            Whether what was taken back is left out.

        Returns
        -------
        Listing
            One row an annotation: ``id``, ``row`` (the first of its rows now, -1 where its image
            is not in the store), ``file_name``, ``image_region``, ``level``, ``value``,
            ``verdict``, ``by``, ``at``, ``suggestion``, ``suggested_by``, ``score``,
            ``shown_for``, ``chance``, and ``retracted_by`` and ``retracted_at``, who took it back
            and when.

        Raises
        ------
        UnreadableError
            If they cannot be read just now.

        Examples
        --------
        >>> store.annotations("species").to_frame()  # doctest: +SKIP
        """
        log = self._view.store.annotations
        chosen = [
            one for one in log.annotations
            if not one.retracts and level in (None, one.level) and by in (None, one.by)
            and not (standing and one.id in log.retracted)
        ]  # fmt: skip
        chosen = sorted(chosen, key=lambda one: one.at)[::-1]
        rows = self._find_rows([one.unit for one in chosen])
        if len(self) < len(self._view.store.rows):
            inside = set(self.rows.tolist())
            kept = [at for at, row in enumerate(rows) if row in inside]
            chosen, rows = [chosen[at] for at in kept], [rows[at] for at in kept]
        columns = _describe(chosen, rows, self._view.store)
        for name in ("suggestion", "suggested_by", "score", "shown_for", "chance"):
            columns[name] = [getattr(one, name) for one in chosen]
        takers = {
            one.retracts: one for one in log.annotations
            if one.retracts in log.retracted and one.id not in log.retracted
        }  # fmt: skip
        for name in ("by", "at"):
            columns[f"retracted_{name}"] = [
                getattr(takers[one.id], name) if one.id in takers else "" for one in chosen
            ]
        return Listing(columns).say([*self._notes, *_tell_log(log, rows, chosen)])

    @question
    def retract(
        self,
        ids: Annotated[
            str | Sequence[str],
            Option(
                "Ids of annotations, as annotations show lists them; last: the newest of --by.",
                ("-",),
                shell=list[str],
            ),
        ],
        *,
        by: Person = None,
    ) -> Table:
        """Take annotations back; they stay in the log, and do not count.

        Parameters
        ----------
        ids : str or sequence of str
            Of the annotations, or ``last``, the newest that this person said. One that takes back
            may be taken back itself.
        by : str, optional
            Who takes them back.

        Returns
        -------
        Table
            One row for each that was written: ``id``, and ``retracts``, whose id it takes back.

        Raises
        ------
        MisuseError
            If there is no such annotation.
        StoreError
            If the disk refuses.

        Examples
        --------
        >>> store.retract(store.annotations().to_frame()["id"][0])  # doctest: +SKIP
        """
        import pandas as pd

        from bioprobe.store.annotations import retract

        person = find_person(by)
        named = [
            self._find_last(person) if one == _LAST else one for one in list_given(ids)
        ]  # fmt: skip
        new, again = retract(self.folder, named, by=person)
        self._count_anew()
        said = [Note(f"taken back in {self.folder}: {count(len(new), 'annotation')}")]
        if again:
            said.append(Note(f"{len(again):,} were taken back already"))
        frame = pd.DataFrame(
            [(one.id, one.retracts, one.by, one.at) for one in new],
            columns=["id", "retracts", "by", "at"],
        )
        return Table(frame).say(said)

    @question
    def import_annotations(
        self,
        file: Annotated[
            str | Path,
            Option(
                "Table of annotations, as annotations show and export write it; or what lists "
                "pictures with labels: Camtrap DP, COCO, Timelapse, Wildlife Insights, Darwin "
                "Core, any table with paths and names.",
                ("-",),
                shell=Path,
            ),
        ],
        *,
        level: Annotated[
            str | None,
            Option(
                "Only this rank or column. [default: of a picture with labels the lowest rank that "
                "it has]",
                ("--level", "--rank", "-l"),
                RANK_NAMES,
            ),
        ] = None,
        by: Annotated[
            str | None,
            Option(
                f"Who says it, where the file does not. [default: ${PERSON_VARIABLE}, or the name "
                "that this machine knows you by]",
                metavar="NAME",
            ),
        ] = None,
        path_column: Annotated[
            str | None,
            Option("Column of a table of labels that names the picture, where it is not found."),
        ] = None,
        new_column: NewColumn = False,
    ) -> Table:
        """Take annotations of a file into the log; what is there already is not written again.

        Labels that a machine gave are left out. What cannot be taken stops nothing: it is in the
        answer, with where it stands and why.

        Parameters
        ----------
        file : str or Path
            Table of annotations (CSV, Parquet, JSON, workbook), or whatever lists pictures with
            labels: a Camtrap DP (``classifiedBy`` says who), COCO, Timelapse, Wildlife Insights,
            Darwin Core.
        level : str, optional
            Only this rank or column.
        by : str, optional
            Who says it, where the file does not.
        path_column : str, optional
            Column of a table of labels that names the picture.
        new_column : bool
            Whether a level may be a column that the store has not: it has it then.

        Returns
        -------
        Table
            As :meth:`add_annotations` returns it, with ``problem``: ``""``, or why one was not
            taken, and ``where`` it stands in the file.

        Raises
        ------
        SourceError
            If the file cannot be read, or nothing of it can be taken.
        StoreError
            If the disk refuses.

        Examples
        --------
        >>> store.import_annotations("corrected.csv", by="anna")  # doctest: +SKIP
        """
        import pandas as pd

        from bioprobe.interchange.annotations import read_entries
        from bioprobe.store.annotations import append, check_same, read_log

        store = self._view.store
        entries, problems, notes = read_entries(Path(file), level, path_column)
        reader = AnnotationReader(store, by, is_new=new_column)
        log = read_log(self.folder)
        known = {one.id: one for one in log.annotations}
        # Other programs keep neither ids nor parts of a second.
        alike = {_name_said(one): one for one in log.annotations}
        taken: list[Annotation] = []
        places: list[str] = []
        for one in entries:
            said = {name: one.said[name] for name in one.said if name not in _NOT_READ}
            taker = str(one.said.get("retracted_by") or "")
            try:
                made = [reader.make(place_of(said), lasts=True)]
                if "id" not in said:
                    made = [alike.get(_name_said(made[0]), made[0])]
                check_same(known.setdefault(made[0].id, made[0]), made[0])
                if taker and made[0].id not in log.retracted:
                    made.append(take_back(made[0], taker, one.said.get("retracted_at") or ""))
            except (MisuseError, SelectionError) as error:
                problems.append((one.where, str(error)))
                continue
            taken += made
            places += [one.where] * len(made)
        if not problems:
            # That the pictures do not lie where the file says is no problem: the store has them.
            notes = [one for one in notes if one.kind != PROBLEM]
        if not taken:
            why = "; ".join(f"{where}: {why}" for where, why in problems[:_SHOWN])
            msg = f"nothing of {file} is an annotation of {self.folder}: {why or 'it lists none'}"
            raise SourceError(msg)
        odd = _tell_misspelt(taken, store)
        new = append(self.folder, taken, store.check_current)
        self._count_anew()
        rows = self._find_rows([one.unit for one in taken])
        frame = pd.DataFrame(_describe(taken, rows, self._view.store))
        frame["is_new"] = frame["id"].isin({one.id for one in new})
        frame = frame.assign(where=places, problem="")
        failed = pd.DataFrame({"where": [one for one, _ in problems],
                               "problem": [why for _, why in problems]})  # fmt: skip
        failed = failed.assign(row=-1, is_new=False)
        frame = pd.concat([frame, failed], ignore_index=True) if problems else frame
        people = ", ".join(sorted({one.by for one in taken}))
        notes.append(Note(f"{count(len(new), 'annotation')} by {people} written to {self.folder}"))
        if len(new) < len(taken):
            notes.append(Note(f"{len(taken) - len(new):,} were there already"))
        if problems:
            text = f"{len(problems):,} were not taken, such as {problems[0][0]}: {problems[0][1]}"
            notes.append(Note(text, PROBLEM))
        return Table(frame).say([*notes, *odd])

    @question
    def export_annotations(
        self,
        target: Annotated[
            str | Path,
            Option(
                "File to write: .csv, .json or .parquet.",
                ("--output", "-o"),
                shell=Path,
                writes="file",
            ),
        ],
        *,
        level: OnlyLevel = None,
        safe_csv: SafeCsv = False,
    ) -> Table:
        """Write what people said into a table, for another store of the same pictures.

        It holds each annotation, those that were taken back too, the oldest first, and the SHA-256
        of its picture;
        :meth:`import_annotations` takes it. The labels that come of them go to other programs by
        :meth:`export_answers`, with who gave them: ``store.where(labels="confirmed")``.

        Parameters
        ----------
        target : str or Path
            ``.csv``, ``.json`` or ``.parquet``.
        level : str, optional
            Only of this rank or column.
        safe_csv : bool
            Whether cells that a spreadsheet would compute are disarmed.

        Returns
        -------
        Table
            What was written.

        Raises
        ------
        SelectionError
            If nobody said anything of these pictures.
        MisuseError
            If the file is of another kind.
        StoreError
            If the disk refuses.

        Examples
        --------
        >>> store.export_annotations("said.csv")  # doctest: +SKIP
        """
        from bioprobe.interchange.annotations import write_table

        shown = self.annotations(level)
        # Whoever imports it writes in this order what was said at one time.
        frame = shown.frame[::-1].reset_index(drop=True)
        if not len(frame):
            msg = f"nobody said anything of the {len(self):,} pictures that are asked"
            raise SelectionError(msg)
        by_id = {one.id: one.unit for one in self._view.store.annotations.annotations}
        units = [by_id[one] for one in frame["id"]]
        place = list(frame.columns).index("image_region") + 1
        frame.insert(place, "root", [one.root for one in units])
        frame.insert(place + 1, "sha256", [one.sha256 for one in units])
        # Under the name that it was annotated by, which the root goes with.
        frame["file_name"] = [one.path for one in units]
        write_table(frame, Path(target), safe=safe_csv)
        done = Table(frame, notes=shown.notes)
        return done.say([f"{len(frame):,} annotations -> {target}"])

    @question
    def agreement_between(
        self,
        level: LabelLevel = "species",
        *,
        disagreements: Annotated[
            bool, Option("List the pictures that people disagree on, instead of how often.")
        ] = False,
    ) -> Table:
        """Tell how far people agree who looked at the same pictures.

        Parameters
        ----------
        level : str
            Rank or column. At a rank, who says that there is no animal says another class, and who
            says a lower rank says this one too: at the family a species of it agrees with it.
        disagreements : bool
            Whether the images that people disagree on are listed instead, one row for each person.

        Returns
        -------
        Table
            One row for each two people who have said of the same images what they are: ``first``,
            ``second``, ``n`` images, ``agreement``, the share on which they agree, and Cohen's
            ``kappa`` with its interval of 95%, ``kappa_low`` and ``kappa_high``. Of disagreements
            ``row``, ``file_name``, ``image_region``, ``by``, ``value``, ``label`` (what counts) and
            ``status``.

        Raises
        ------
        SelectionError
            If no two people said what the same image is.

        Examples
        --------
        >>> store.agreement_between("species").to_frame()  # doctest: +SKIP
        """
        from bioprobe.agreement.people import compare_people
        from bioprobe.store.labels import Lineages

        images = self._view.images
        rows = {unit: row for unit, row in self._list_said().items() if row >= 0}
        store = self._view.store
        lineages = store.labels.lineages or Lineages(store.given)
        found, lines = compare_people(store.annotations.standing, level, rows, lineages)
        if disagreements:
            names = images.name_rows(lines["row"].to_numpy(dtype="int64"))
            for place, (name, values) in enumerate(names.items(), start=1):
                lines.insert(place, name, values)
            found = dataclasses.replace(found, frame=lines)
        return found.say(self._notes)

    def _list_said(self) -> dict[Unit, int]:
        """Return the units that anything is said of, with the row of each that is asked, or -1."""
        standing = self._view.store.annotations.standing
        units = list(dict.fromkeys(one.unit for one in standing))
        inside = set(self.rows.tolist())
        rows = self._find_rows(units)
        return {unit: row if row in inside else -1 for unit, row in zip(units, rows, strict=True)}

    def _find_last(self, person: str) -> str:
        from bioprobe.store.annotations import read_log

        log = read_log(self.folder)
        for one in reversed(log.annotations):
            if one.by == person and not one.retracts and one.id not in log.retracted:
                return one.id
        msg = f"{person} said nothing in {self.folder} that stands; see: bioprobe annotations show"
        raise MisuseError(msg)

    def _count_anew(self) -> None:
        """Let what was written since count."""
        store = self._view.store
        before = store.tell_labels()
        self._view = self._view.counting(store.counts)
        kept = [one for one in self._notes if one not in before]
        self._notes = (*kept, *self._view.store.tell_labels())

    def _read_annotations(
        self, given: Sequence[Mapping[str, Any] | Annotation], by: str | None, *, is_new: bool
    ) -> tuple[list[Annotation], list[int]]:
        """Return what is given as annotations, with the row of each."""
        reader = AnnotationReader(self._view.store, by, is_new=is_new)
        found = [reader.read(one, place) for place, one in enumerate(given, start=1)]
        rows = self._find_rows([one.unit for one in found])
        lost = [one.unit for one, row in zip(found, rows, strict=True) if row < 0]
        if lost:
            msg = (
                f"{self.folder} has no image {lost[0].path!r} of these bytes; embed it first, then "
                "annotate it"
            )
            raise SelectionError(msg)
        return found, rows

    def _find_rows(self, units: Sequence[Unit]) -> list[int]:
        """Return the row of each unit, -1 where it has none."""
        from bioprobe.store.labels import find_unit_rows

        store = self._view.store
        found = find_unit_rows(store.given, store.rows, units)
        return [found[one][0] if found[one] else -1 for one in units]


def _name_said(one: Annotation) -> tuple[object, ...]:
    """Return what is the same of one thing that was said, also where other programs kept it."""
    return (one.unit, one.level, one.value, one.verdict, one.by, one.at[:19], one.retracts)


def _describe(
    annotations: Sequence[Annotation], rows: Sequence[int], store: EmbeddingStore
) -> dict[str, list[Any]]:
    """Return annotations by column: id, row, its names, level, value, verdict, by, at."""
    import numpy as np

    inside = np.array([row for row in rows if row >= 0], dtype=np.int64)
    names = iter(store.given.name_files(inside).tolist())
    return {
        "id": [one.id for one in annotations],
        "row": list(rows),
        "file_name": [
            next(names) if row >= 0 else one.unit.path
            for one, row in zip(annotations, rows, strict=True)
        ],
        "image_region": [one.unit.region for one in annotations],
        **{
            name: [getattr(one, name) for one in annotations]
            for name in ("level", "value", "verdict", "by", "at")
        },
    }


def _tell_misspelt(annotations: Sequence[Annotation], store: Any) -> list[Note]:  # noqa: ANN401
    """Warn of values that are new to the store, and nearly those that it knows."""
    from bioprobe.store.added_taxa import find_added_taxa
    from bioprobe.task.target import find_rank

    said: dict[str, set[str]] = {}
    for one in annotations:
        if one.value:
            said.setdefault(one.level, set()).add(one.value)
    notes = []
    for level, values in said.items():
        there = level in store.given.columns
        known = set(store.given.number_labels(level)[1]) if there else set()
        if values <= known:
            continue
        known.update(one.value for one in store.annotations.annotations if one.level == level)
        rank = find_rank(level)
        if rank is not None:
            known.update(taxon.lineage[rank.depth] for taxon in find_added_taxa(store))
        for value in sorted(values - known):
            near = find_nearest(value, known, least=_ALIKE)
            if near:
                text = f"nothing was {value!r} at {level} before; was {near!r} meant?"
                notes.append(Note(f"{text} bioprobe annotations retract takes it back", WARNING))
    return notes


def _tell_log(log: Log, rows: Sequence[int], chosen: Sequence[Annotation]) -> list[Note]:
    said = []
    n_away = sum(row < 0 for row in rows)
    if n_away:
        text = f"{n_away:,} annotations are of images that are not in the store, and do not count"
        said.append(Note(text, WARNING))
    if log.torn:
        text = (
            f"the log ends with {log.torn:,} bytes of a record that is not whole, as a writer is "
            "at it or was killed: nobody was told that it was written"
        )
        said.append(Note(text))
    if not chosen:
        said.append(Note("nobody annotated these pictures; see: bioprobe annotations add --help"))
    return said
