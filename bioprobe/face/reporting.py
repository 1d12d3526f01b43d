"""The page that tells of a store: of an evaluation, or of pictures that nobody labelled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from bioprobe.errors import MisuseError
from bioprobe.face.asking import Asks
from bioprobe.face.learning import Learns
from bioprobe.options import NamedClasses, Option, Taxa, Without, question
from bioprobe.result import Table

if TYPE_CHECKING:
    from bioprobe.face.evaluation import Evaluation
    from bioprobe.progress import Progress
    from bioprobe.task.predictions import Predictions
    from bioprobe.taxonomy import Taxonomy
    from bioprobe.zeroshot.candidates import ClassNames


class Reports(Asks, Learns):
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
        output : str or Path
            HTML file to write.
        progress : callable, optional
            Told a step after each picture that is explained.

        Raises
        ------
        StoreError
            If there is no such evaluation.
        SelectionError
            If there is no such level or column.
        MisuseError
            If wrong answers are to be explained, and no evaluation says which are wrong.
        """
        import pandas as pd

        from bioprobe.evaluation.keeping import list_evaluations
        from bioprobe.taxonomy.lists import read_taxonomy

        path, store = Path(output), self._view.store
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
                path, title=title, names=listed, level=level, taxa=taxa, classes=classes, by=by
            )
            told = ""
        else:
            found = self.evaluation(name)
            why, told_why = self._explain_mistakes(found, explain, progress)
            found.report(path, title=title, names=listed, why=why)
            told, said = found.name, f"evaluation {found.name}{told_why}"
        said = f"{said} -> {path} ({path.stat().st_size / 1e6:.1f} MB)"
        return Table(pd.DataFrame({"evaluation": [told], "page": [str(path)]})).say([said])

    def _explain_mistakes(
        self, found: Evaluation, n: int | None, progress: Progress | None
    ) -> tuple[dict[str, Any] | None, str]:
        """Explain the surest wrong answers, if that is asked, and say how many were."""
        from bioprobe.report.why import describe_why, explain_mistakes

        if n is None:
            return None, ""
        options, reads = found.provenance["options"], self._view.manifest.has_text_tower
        texts = self._write_texts(found.level) if reads else None
        task = self._task(found.level, split=options["split"], texts=texts, seed=options["seed"])
        why = explain_mistakes(found, task, self._texts.encoder, n, progress)
        n_shown = len({one.row for one in why.items})
        said = f"; {n_shown:,} of {why.n_wrong:,} wrong answers of {why.method} explained"
        if why.problem:
            said = f"; no wrong answer is explained: {why.problem}"
        return describe_why(why, task), said

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
    ) -> str:
        """Write the page of pictures that nobody labelled, and say what it tells of."""
        from bioprobe.errors import PromptError
        from bioprobe.report import write_overview
        from bioprobe.report.advice import find_usable
        from bioprobe.report.overview import find_place

        view = self._view
        find_place(view.store, by)  # a column that is not there is said before anything is asked
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
        write_overview(view.store, path, answers, unasked=unasked, by=by, title=title, names=names)
        return f"{len(view):,} pictures" + (
            f"; no name was looked for: {unasked}" if unasked else ""
        )
