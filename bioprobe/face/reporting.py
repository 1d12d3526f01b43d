"""The page that tells of a store: of an evaluation, or of pictures that nobody labelled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from bioprobe.errors import BioprobeError, MisuseError, PromptError, SelectionError
from bioprobe.face.counting import Counts
from bioprobe.face.estimating import Infers
from bioprobe.face.evaluating import Evaluates
from bioprobe.face.mapping import Maps
from bioprobe.face.reviewing import Reviews
from bioprobe.face.robustness import Tries
from bioprobe.options import NamedClasses, Option, Taxa, Without, question, write_flag
from bioprobe.result import FACT, Table

if TYPE_CHECKING:
    from bioprobe.face.count_pages import Sheets
    from bioprobe.face.evaluation import Evaluation
    from bioprobe.progress import Progress
    from bioprobe.report.section import Section
    from bioprobe.task.predictions import Predictions
    from bioprobe.task.task import Task
    from bioprobe.taxonomy import Taxonomy
    from bioprobe.zeroshot.candidates import ClassNames


class Reports(Tries, Counts, Infers, Evaluates, Reviews, Maps):
    """What is told of a store on a page."""

    @question
    def report(
        self,
        name: Annotated[
            str | None, Option("Evaluation to tell of; by default the newest in the store.", ("-",))
        ] = None,
        *,
        title: Annotated[str | None, Option("First heading of the page.")] = None,
        names: Annotated[
            str | Path | None,
            Option(
                "Taxon list whose common_name column names taxa on the page, such as one in your "
                "language. [default: the common names of the labels and of added taxa]",
                shell=str,
            ),
        ] = None,
        level: Annotated[
            str | None,
            Option(
                "Rank or column that zero-shot names pictures at. [default: species]",
                ("--level", "--rank", "-l"),
                when=(Without("name"),),
            ),
        ] = None,
        taxa: Annotated[Taxa, Without("name"), Without("classes")] = None,
        classes: Annotated[NamedClasses, Without("name")] = None,
        by: Annotated[
            str | None,
            Option(
                "Column by which it is told what zero-shot found, or folder. [default: station, "
                "site or the like, else folder]",
                when=(Without("name"),),
            ),
        ] = None,
        explain: Annotated[
            int | None,
            Option(
                "Also show where the model looked in so many of the surest wrong answers, toward "
                "the answer and toward the label. It takes a second or more a picture.",
                least=1,
                most=60,
                when=(Without("level", "taxa", "classes", "by"),),
            ),
        ] = None,
        robustness: Annotated[
            int | None,
            Option(
                "Also alter so many of the test pictures (light, blur, size and so on), and tell "
                "how many answers become others. Each is embedded 40 times.",
                least=1,
            ),
        ] = None,
        counts: Annotated[
            bool,
            Option(
                "Also tell how many there are of each class, with intervals, and where there are "
                "times and places what was recorded.",
                when=(Without("level", "taxa", "classes", "by"),),
            ),
        ] = True,
        labelled: Annotated[
            str | None,
            Option(
                "Labelled images that are a random sample, for counts: as for estimate. [default: "
                "those that estimate --draw drew, else the test part of the split]",
                metavar="MASK|COLUMN|SPLIT:test",
                when=(Without("level", "taxa", "classes", "by"),),
            ),
        ] = None,
        assume: Annotated[
            str | None,
            Option(
                "What counts take to be so without its being known, as for estimate: random or "
                "label-shift.",
                choices=("random", "label-shift"),
                fixed=True,
                when=(Without("level", "taxa", "classes", "by"),),
            ),
        ] = None,
        deployments: Annotated[
            str | Path | None,
            Option(
                "When cameras worked, as for records: adds rates by camera-days, and trends.",
                shell=Path,
                metavar="FILE",
                when=(Without("level", "taxa", "classes", "by"),),
            ),
        ] = None,
        map: Annotated[
            str | None,
            Option(
                "Map of the store that is shown; none leaves it out. [default: the map default, "
                "where bioprobe map made one]"
            ),
        ] = None,
        output: Annotated[
            str | Path, Option("HTML file to write.", ("--output", "-o"), shell=Path, writes="file")
        ] = "report.html",
        progress: Progress | None = None,
    ) -> Table:
        """Write one self-contained page: of an evaluation, or of pictures that nobody labelled.

        Where the store keeps no evaluation, or where it is asked at a level, for taxa or classes,
        or by a column, the page says what the pictures are like and what zero-shot finds in those
        that no filter drops.

        Parameters
        ----------
        name : str, optional
            Of the evaluation; by default the newest.
        title : str, optional
            First heading of the page.
        names : str or Path, optional
            Taxon list whose common names are shown.
        level : str, optional
            Rank or column that zero-shot names pictures at.
        taxa : str or Path, optional
            Taxon list of what there may be; by default the labels and the taxa that were added.
        classes : str, sequence of str, or mapping of str to texts, optional
            What there may be, where these are no taxa.
        by : str, optional
            Column by which it is told what zero-shot found, or ``folder``.
        explain : int, optional
            How many of the surest wrong answers of the best method are explained by maps, for which
            the encoder is loaded; 60 at most.
        robustness : int, optional
            How many of the test pictures are altered, embedded and asked again; without an
            evaluation those of the store are.
        counts : bool
            Whether the best method counts all pictures: see :meth:`estimate`, and :meth:`records`.
        labelled, assume : str, optional
            Which sample counts are mended by; see :meth:`estimate`.
        deployments : str or Path, optional
            Table of deployments; see :meth:`records`.
        map : str, optional
            Name of the map that is shown, by default ``default`` where the store keeps one;
            ``none`` for no map.
        output : str or Path
            HTML file to write.
        progress : callable, optional
            Told a step after each picture that is explained, or altered.

        Raises
        ------
        StoreError
            If there is no such evaluation or map.
        SelectionError
            If there is no such level or column.
        MisuseError
            If wrong answers are to be explained, and no evaluation says which are wrong.
        """
        import pandas as pd

        from bioprobe.evaluation.keeping import list_evaluations
        from bioprobe.taxonomy.lists import read_taxonomy

        path, store = Path(output), self._view.store
        if name is not None and Path(name).suffix.lower() in {".html", ".htm"}:
            msg = f"{name} is taken for the name of an evaluation; the page is: --output {name}"
            raise MisuseError(msg)
        if not counts:
            given = {"labelled": labelled, "assume": assume, "deployments": deployments}
            for option in [write_flag(one) for one, value in given.items() if value is not None]:
                msg = f"{option} is for counts, which are to be left out; leave it out too"
                raise MisuseError(msg)
        listed = None if names is None else read_taxonomy(str(names))
        is_asked = any(one is not None for one in (level, taxa, classes, by))
        if name is None and (is_asked or not list_evaluations(store)):
            if explain is not None:
                msg = (
                    f"--explain shows wrong answers, and {self.folder} keeps no evaluation that "
                    "says which are; first: bioprobe evaluate"
                )
                raise MisuseError(msg)
            said = self._write_overview(
                path, title=title, names=listed, level=level, taxa=taxa, classes=classes, by=by,
                robustness=robustness, map_name=map, progress=progress,
            )  # fmt: skip
            told = ""
        else:
            found = self.evaluation(name)
            sections, more = self._show_map(map, found.level), ""
            if explain is not None:
                why, more = self._explain_mistakes(found, explain, progress)
                sections.append(why)
            if robustness is not None:
                sections.append(self._alter(found, robustness, progress))
            if counts:
                sections += self._count_again(found, labelled, assume, deployments)
            sections += self._tell_review(found.level)
            found.report(path, title=title, names=listed, sections=sections)
            told, said = found.name, f"evaluation {found.name}{more}"
        said = f"{said} -> {path} ({path.stat().st_size / 1e6:.1f} MB)"
        return Table(pd.DataFrame({"evaluation": [told], "page": [str(path)]})).say([said])

    def _show_map(self, name: str | None, level: str | None = None) -> list[Section]:
        """Return the part that shows a map, where there is one."""
        from bioprobe.report.map import describe_map
        from bioprobe.store.maps import list_maps

        if name == "none" or (name is None and "default" not in list_maps(self.folder)):
            return []
        named = name or "default"
        try:
            classes = self.map_classes(level, name=named)
        except SelectionError:
            # Labels that the evaluation had need not stand in the store.
            classes = self.map_classes(name=named)
        return [describe_map(self.read_map(named), classes)]

    def _recall(self, found: Evaluation) -> Task:
        """Return what an evaluation was made of."""
        options, reads = found.provenance["options"], self._view.manifest.has_text_tower
        texts = self._write_texts(found.level) if reads else None
        return self._task(found.level, split=options["split"], texts=texts, seed=options["seed"])

    def _explain_mistakes(
        self, found: Evaluation, n: int, progress: Progress | None
    ) -> tuple[Section, str]:
        """Explain the surest wrong answers, and say how many were."""
        from bioprobe.report.why import describe_why, explain_mistakes

        task = self._recall(found)
        why = explain_mistakes(found, task, self._texts.encoder, n, progress)
        n_shown = len({one.row for one in why.items})
        said = f"; {n_shown:,} of {why.n_wrong:,} wrong answers of {why.method} explained"
        if why.problem:
            said = f"; no wrong answer is explained: {why.problem}"
        return describe_why(why, task), said

    def _alter(self, found: Evaluation, n: int, progress: Progress | None) -> Section:
        """Alter test pictures, and ask the best method again."""
        from bioprobe.report.alterations import describe_robustness, describe_untried, try_best

        try:
            tried = try_best(found, self._recall(found), self._texts.encoder, n, progress)
        except BioprobeError as error:
            return describe_untried(error)
        return describe_robustness(tried)

    def _count_again(
        self, found: Evaluation, labelled: str | None, assume: str | None,
        deployments: str | Path | None,
    ) -> list[Section]:  # fmt: skip
        """Count what the best method answers to all pictures, and the records of them."""
        from bioprobe.report.again import ask_again
        from bioprobe.report.estimates import describe_counts

        try:
            answers = ask_again(found, self._recall(found), self._view)
        except BioprobeError as error:
            return [describe_counts((), problem=str(error))]
        sections = [self._estimate(found, answers, labelled, assume)]
        recorded = self._record(answers, found.level, deployments)
        return sections + ([recorded] if recorded else [])

    def _estimate(
        self, found: Evaluation, answers: Predictions, labelled: str | None, assume: str | None
    ) -> Section:
        """Estimate how many there are of each class, by place and month where these are known."""
        from bioprobe.face.compared_pages import Estimates
        from bioprobe.report.data import list_groups
        from bioprobe.report.estimates import choose_counted, describe_counts, list_assumptions

        counted = choose_counted(self._view.store, found, labelled, assume)
        if not len(counted.rows):
            problem = (
                f"no labelled picture is in the part test of the split ({counted.labelled}): "
                "label a random sample (bioprobe estimate --draw 200), or say --assume random of "
                "those that are labelled"
            )
            return describe_counts((), problem=problem, answers=answers)
        asked = self.where(rows=counted.rows.tolist())
        groups: list[str | None] = [*list_groups(self._view.store, counted.rows)]
        made = []
        try:
            for by in groups or [None]:
                one = asked.estimate(found.level, by=by, answers=answers,
                                     labelled=counted.labelled, assume=assume)  # fmt: skip
                assert isinstance(one, Estimates)  # nothing is drawn
                made.append(one)
        except (MisuseError, SelectionError) as error:
            return describe_counts((), problem=str(error), answers=answers)
        return describe_counts(made, assumes=list_assumptions(made[0], counted))

    def _record(
        self, answers: Predictions, level: str, deployments: str | Path | None
    ) -> Section | None:
        """Return records, activity, richness and trends; None where no time is known."""
        from bioprobe.report.data import list_months
        from bioprobe.report.records import describe_records

        if deployments is None and not (list_months(self._view.store) != "").any():
            return None
        given: dict[str, Any] = {"level": level, "deployments": deployments}
        found = self.records(answers, **given)
        if not len(found.timed):
            return None
        sheets, left_out = [found.describe()], []
        asked: list[tuple[str, Callable[..., Sheets]]] = [
            ("activity", self.activity), ("richness", self.richness)
        ]  # fmt: skip
        if deployments is not None:
            asked.append(("trend", self.trend))
        else:
            left_out.append(
                "Nothing says when cameras worked: there are no rates by camera-days, and no "
                "trends. report --deployments FILE takes a table of it."
            )
        for name, ask in asked:
            try:
                sheet = ask(answers, **given).describe()
            except BioprobeError as error:
                left_out.append(f"No {name} is told: {error}")
            else:
                # What is said of records is said once.
                own = tuple(one for one in sheet.notes if one not in found.notes)
                sheets.append(dataclasses.replace(sheet, notes=own))
        # Facts stand in figures and tables.
        kept = [tuple(one for one in of.notes if one.kind != FACT) for of in sheets]
        sheets = [
            dataclasses.replace(of, notes=notes) for of, notes in zip(sheets, kept, strict=True)
        ]
        return describe_records(sheets, left_out)

    def _tell_review(self, level: str | None) -> list[Section]:
        """Tell what people said of the pictures, where they did."""
        from collections import Counter

        from bioprobe.report.review import describe_review

        levels = Counter(one.level for one in self._view.store.annotations.standing)
        asked = level if level in levels else max(levels, key=lambda one: levels[one], default="")
        if not asked:
            return []
        people = Counter(
            one.by for one in self._view.store.annotations.standing if one.level == asked
        )
        found = self.review(asked, by=max(people)).progress()
        return [
            describe_review(
                asked, found.accuracy, found.discovery, found.classes, people,
                self._list_agreement(asked), found.notes,
            )
        ]  # fmt: skip

    def _list_agreement(self, level: str) -> list[list[str]]:
        """Return how far each two people agree, for people to read; nothing of one alone."""
        try:
            frame = self.agreement_between(level).to_frame()
        except SelectionError:
            return []
        return [
            [str(one["first"]), str(one["second"]), f"{one['n']:,}", f"{one['agreement']:.3f}",
             _spell_kappa(one)]
            for one in frame.to_dict("records")
        ]  # fmt: skip

    def _write_overview(
        self,
        path: Path,
        *,
        title: str | None,
        names: Taxonomy | None,
        level: str | None,
        taxa: str | Path | None,
        classes: ClassNames | None,
        by: str | None,
        robustness: int | None,
        map_name: str | None,
        progress: Progress | None,
    ) -> str:
        """Write the page of pictures that nobody labelled, and say what it tells of."""
        from bioprobe.report import write_overview
        from bioprobe.report.advice import find_usable
        from bioprobe.report.alterations import describe_robustness
        from bioprobe.report.data import find_place

        view = self._view
        # A column or map that is not there is said before anything is asked.
        find_place(view.store, by)
        sections = self._show_map(map_name, level)
        usable, _ = find_usable(view.store)
        rows = view.rows[usable[view.rows]]
        answers: Predictions | None = None
        unasked = ""
        if not view.manifest.has_text_tower:
            unasked = f"the encoder {view.manifest.encoder.model} reads no text"
        elif not len(rows):
            unasked = "the filters drop every picture"
        else:
            try:
                asked = self.where(rows=rows.tolist())
                found = asked.zeroshot(level or "species", taxa=taxa, classes=classes, k=1)
                # Nothing is abstained from, so these are no decisions.
                answers = cast("Predictions", found)
            except PromptError as error:
                if taxa is not None or classes is not None:
                    raise
                unasked = f"{error}, or names with --classes"
        if robustness is not None:
            is_ranked = answers is not None and classes is None
            tried = self.robustness(
                level or "species" if is_ranked else None, taxa=taxa if is_ranked else None,
                classes=classes, sample=robustness, progress=progress,
            )  # fmt: skip
            sections.append(describe_robustness(tried))
        sections += self._tell_review(level)
        write_overview(view.store, path, answers, unasked=unasked, by=by, title=title, names=names,
                       sections=sections)  # fmt: skip
        return f"{len(view):,} pictures" + (
            f"; no name was looked for: {unasked}" if unasked else ""
        )


def _spell_kappa(one: dict[Any, Any]) -> str:
    if one["kappa"] != one["kappa"]:
        return "nothing to disagree on"
    return f"{one['kappa']:.3f} [{one['kappa_low']:.3f}, {one['kappa_high']:.3f}]"
