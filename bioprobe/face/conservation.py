"""Conservation status: of labels, of zero-shot answers, of a probe's, of any table of answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.errors import MisuseError, SourceError
from bioprobe.face.lists import open_list, open_names, read_rank_columns
from bioprobe.face.opened import Opened
from bioprobe.options import (
    Admin1,
    Country,
    HeadName,
    Option,
    PriorFloor,
    PriorTable,
    RankColumns,
    SeedOption,
    Site,
    Taxa,
    With,
    Within,
    Without,
    question,
)
from bioprobe.result import Note, Result

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.conservation import Finder, Judged, Statuses
    from bioprobe.face.pages import StatusAnswers
    from bioprobe.progress import Progress
    from bioprobe.store.view import View
    from bioprobe.task.listed import Listed
    from bioprobe.task.tree import Tree
    from bioprobe.taxonomy import Taxon

# What may be judged: a file, what a question returned, a table.
Answered = Any
_ZEROSHOT = Without("labels", "probe", "predictions")
#: What can be written of a status, the default first.
TABLES = ("images", "counts", "taxa", "comparison")
# Numbers of probabilities that are held at once: 64 MB.
_HELD = 8_000_000
# Taxa that are asked of the Red List in one go.
_MOST_ASKED = 20_000
# Columns of other tools whose words are read already.
_OF_TOOLS = frozenset({"classification", "taxon", "answer", "rank", "also", "row"})


class Conserves(Opened):
    """What is asked of the conservation status of what pictures show."""

    @question
    def status(
        self,
        table: Annotated[
            str | Path | None,
            Option(
                "Table of taxa and their Red List categories, in any columns, or a zip of a "
                "download of the Red List.",
                ("-",),
                shell=Path,
                metavar="TABLE",
            ),
        ] = None,
        *,
        red_list: Annotated[
            bool,
            Option(
                "Ask the IUCN Red List by its API, with the token in IUCN_REDLIST_KEY, for what "
                "the table does not list; without a table for all."
            ),
        ] = False,
        labels: Annotated[
            bool, Option("Of the labels in the store.", when=(Without("probe", "predictions"),))
        ] = False,
        level: Annotated[
            str | None,
            Option(
                "Rank or column of the labels. [default: the lowest rank that is known, or what is "
                "no scientific name]",
                ("--level", "--rank", "-l"),
                when=(With("labels"),),
            ),
        ] = None,
        probe: Annotated[
            str | None,
            Option("Of the answers of a probe of this name.", when=(Without("predictions"),)),
        ] = None,
        predictions: Annotated[
            Answered,
            Option(
                "Of a table of answers, as zeroshot and probe predict write it, or of the output "
                "of another tool.",
                shell=Path,
            ),
        ] = None,
        taxa: Annotated[Taxa, _ZEROSHOT] = None,
        head: Annotated[HeadName, _ZEROSHOT] = None,
        within: Annotated[Within, _ZEROSHOT] = None,
        country: Country = None,
        admin1: Admin1 = None,
        site: Site = None,
        prior: Annotated[PriorTable, _ZEROSHOT] = None,
        prior_floor: PriorFloor = 0.01,
        status_column: Annotated[
            str | None,
            Option(
                "Column of the categories in the table. [default: found]", when=(With("table"),)
            ),
        ] = None,
        rank_column: Annotated[RankColumns, With("table")] = None,
        synonyms: Annotated[
            str | Path | None,
            Option(
                "Table with the columns synonym and accepted, by which names are found.", shell=Path
            ),
        ] = None,
        by: Annotated[
            str | None,
            Option(
                "Count for each value of a column too, such as site, or folder; month, season "
                "and year are those of captured_at."
            ),
        ] = None,
        group: Annotated[
            str | None,
            Option(
                "Column whose equal values belong together, for the intervals. [default: "
                "sequence_id, seq_id or event_id, else times of captured_at, else each picture]"
            ),
        ] = None,
        save_columns: Annotated[
            bool,
            Option(
                "Write the columns status and threatened into the store, to be asked and learnt as "
                "any other.",
                when=(With("labels"),),
            ),
        ] = False,
        compare: Annotated[
            str | None,
            Option(
                "Kind of probe: compare one that learns threatened with what follows from one that "
                "learns species, on held-out images.",
                when=(With("labels"),),
            ),
        ] = None,
        split: Annotated[
            str, Option("Split in the store, for --compare.", when=(With("compare"),))
        ] = "default",
        shows: Annotated[
            str,
            Option(
                "What is written: images, counts (of each status, with intervals), taxa (each name "
                "with what it covers) or comparison.",
                ("--table",),
                choices=TABLES,
                fixed=True,
            ),
        ] = TABLES[0],
        n_resamples: Annotated[int, Option("Resamples of the bootstrap.", least=1)] = 1000,
        seed: Annotated[int, SeedOption("Seed of the resamples, folds and probes.")] = 0,
        progress: Progress | None = None,
    ) -> StatusAnswers:
        """Say which conservation status images have: by their labels, or by what is answered.

        Of answers the probabilities of all classes are summed by status, not only those of the
        best. Without ``labels``, ``probe`` and ``predictions`` zero-shot answers, at species.

        Parameters
        ----------
        table : str or Path, optional
            Of taxa and their categories; see :func:`bioprobe.conservation.read_statuses`.
        red_list : bool
            Whether the Red List is asked for what the table does not list.
        labels : bool
            Of the labels in the store.
        level : str, optional
            Rank or column of the labels; by default the lowest rank of each.
        probe : str, optional
            Name of a probe in the store whose answers are judged.
        predictions : str, Path, Predictions or DataFrame, optional
            Answers: a file, or what a question returned.
        taxa, head, within, country, admin1, site, prior, prior_floor
            Of the zero-shot question; see :meth:`zeroshot`. What may not occur has no status.
        status_column : str, optional
            Column of the table that has the categories.
        rank_column : mapping of str to str, or sequence of str, optional
            Columns of the table that hold a rank under another name.
        synonyms : str or Path, optional
            Table of synonyms and accepted names.
        by : str, optional
            Column by whose values images are counted too, or ``folder``, ``month``, ``season`` or
            ``year``.
        group : str, optional
            Column whose equal values belong together.
        save_columns : bool
            Whether the columns ``status`` and ``threatened`` are written into the store. Open the
            store again to see them.
        compare : str, optional
            Kind of probe, such as ``linear``, that learns ``threatened`` and, for comparison,
            species.
        split : str
            By which they are compared.
        shows : {"images", "counts", "taxa", "comparison"}
            What ``to_frame()`` returns.
        n_resamples : int
            Of the intervals, where images belong together.
        seed : int
            Of whatever is drawn.
        progress : callable, optional
            Told after each taxon that the Red List was asked for.

        Returns
        -------
        StatusAnswers
            One row an image: the likeliest status, whether it is threatened, and the share of
            probability that is threatened, is not, is neither (extinct, data deficient, not
            evaluated) and has no status. Unknown is ``""``.

        Raises
        ------
        MisuseError
            If there is neither a table nor ``red_list``.
        TaxonomyError
            If the table has no categories or no names.
        SourceError
            If a file cannot be read, or the Red List cannot be asked.
        SelectionError
            If there is no such column.

        Examples
        --------
        >>> store.status("statuses.csv", labels=True, by="site").counts  # doctest: +SKIP
        """
        from bioprobe.conservation import judge_named, list_wanted, name_labels
        from bioprobe.taxonomy.synonyms import read_synonyms

        if table is None and not red_list:
            msg = (
                "name a table of taxa and their Red List categories, or ask the Red List with "
                "--red-list and your token in IUCN_REDLIST_KEY"
            )
            raise MisuseError(msg)
        if shows == "comparison" and compare is None:
            msg = "--table comparison is of --compare KIND, such as --compare linear"
            raise MisuseError(msg)
        accepted = read_synonyms(synonyms) if synonyms is not None else {}
        source = StatusSource(
            self._view, table, status_column, rank_column, accepted, red_list=red_list,
            progress=progress,
        )  # fmt: skip
        said: list[Note | str] = [*self._notes]
        first = None
        if labels:
            named = name_labels(self._view, level)
            taxa_named, below, plain = list_wanted(named)
            source.find(taxa_named, below=below, names=plain)
            asked, judged = "labels", judge_named(self._view, named, source.finder)
            if n_without := len(named) - len(judged):
                said.append(f"{n_without:,} images have no label of a taxon, and are left out")
        elif probe is not None:
            asked, judged = f"answers of the probe {probe}", self._judge_probe(probe, source, said)
        elif predictions is not None:
            asked = "answers"
            judged, first = _judge_predictions(self._view, predictions, source, said)
        else:
            place = {"country": country, "admin1": admin1, "site": site}
            asked, judged = "zero-shot answers", self._judge_zeroshot(
                source, said, taxa=taxa, head=head, within=within, place=place, prior=prior,
                prior_floor=prior_floor,
            )  # fmt: skip
        return self._finish(
            judged, source, asked, said, by=by, group=group, first=first, shows=shows,
            save_columns=save_columns, compare=compare, split=split, n_resamples=n_resamples,
            seed=seed,
        )  # fmt: skip

    def _finish(
        self,
        judged: Judged,
        source: StatusSource,
        asked: str,
        said: list[Note | str],
        *,
        by: str | None,
        group: str | None,
        first: pd.DataFrame | None,
        shows: str,
        save_columns: bool,
        compare: str | None,
        split: str,
        n_resamples: int,
        seed: int,
    ) -> StatusAnswers:
        """Count what was judged, and say it."""
        import pandas as pd

        from bioprobe.conservation import (
            count_statuses,
            describe_counts,
            find_answer_units,
            save_judged,
        )
        from bioprobe.face.pages import StatusAnswers

        units = find_answer_units(self._view.images, judged, first, by, group)
        counts = count_statuses(judged, units, n_resamples=n_resamples, seed=seed)
        statuses = source.statuses
        comparison = pd.DataFrame()
        if compare is not None:
            comparison, told = _compare(self._view, judged, source, compare, split,
                                        n_resamples, seed)  # fmt: skip
            said += told
        if save_columns:
            said += save_judged(self._view, judged)
        options = {"statuses": dict(statuses.about), "source": statuses.source, "asked": asked,
                   "by": by, "group": units.unit, "n_resamples": n_resamples,
                   "seed": seed}  # fmt: skip
        provenance = self._view.describe(options, n_rows=len(judged))
        found = StatusAnswers(
            self._view.images, judged, units, counts, comparison, shows, statuses.source, asked,
            provenance, tuple(statuses.notes),
        )  # fmt: skip
        return found.say((*said, *units.notes, *describe_counts(judged, units, counts)))

    def _judge_zeroshot(
        self, source: StatusSource, said: list[Any], *, taxa: str | Path | None, head: str | None,
        within: str | Path | Sequence[str | Path] | None, place: Mapping[str, str | None],
        prior: str | Path | None, prior_floor: float,
    ) -> Judged:  # fmt: skip
        """Ask zero-shot at species, and sum all candidates by status."""
        from bioprobe.conservation import judge_answers, sum_lowest
        from bioprobe.face.zeroshot import Asked, Wording, ask_taxa, find_head
        from bioprobe.task.prior import read_prior
        from bioprobe.taxonomy import Rank

        opened, told = find_head(self._view, taxa, head, self._model)
        listed = open_list(taxa if opened is None or head is not None else None, None)

        def find(tree: Tree, may: Listed | None) -> Any:  # noqa: ANN401 - what is wanted of it
            source.find(tree.taxa)
            return sum_lowest(source.finder, tree, may)

        asked = Asked(
            self._view, (*said, *told), Rank.SPECIES, listed, within, source.synonyms, 1,
            place={part: value for part, value in place.items() if value},
            prior=read_prior(prior, floor=prior_floor) if prior else None, sums=find,
        )  # fmt: skip
        wording = Wording("taxon_com", "plain", opened, None, False, False, None)
        answers: Any = ask_taxa(asked, wording, self._find_texts)
        said[:] = answers.notes
        return judge_answers(answers, source.finder)

    def _judge_probe(self, name: str, source: StatusSource, said: list[Any]) -> Judged:
        """Ask a probe for all its classes, some images at a time."""
        import numpy as np

        from bioprobe.conservation import join_judged, judge_answers

        found: Any = self
        kept = found.probe(name)
        calibration, told = kept._calibrate(None, needed=False)
        fitted = calibration.apply(kept.fitted) if calibration else kept.fitted
        said += told
        classes = fitted.classes
        source.find(classes.taxa, names=() if classes.taxa else classes.names)
        size = max(1, _HELD // max(1, len(classes)))
        parts, taught = [], []
        for start in range(0, max(1, len(self._view)), size):
            rows = self._view.rows[start : start + size]
            part = dataclasses.replace(self._view, rows=rows)
            answers = fitted.ask(part, len(classes))
            parts.append(judge_answers(answers, source.finder))
            taught.append(np.zeros(len(rows), bool) if answers.taught is None else answers.taught)
        n_taught = int(np.concatenate(taught).sum())
        if n_taught:
            said.append(f"{n_taught:,} of the images taught the probe")
        return join_judged(parts)


class StatusSource:
    """Where statuses come from, and how names are found in them.

    Parameters
    ----------
    view : View
        Whose labels and added taxa are known.
    table, column, rank_column, red_list, progress
        The options of these names.
    synonyms : mapping of str to str
        Synonym to accepted name.
    """

    def __init__(
        self,
        view: View,
        table: str | Path | None,
        column: str | None = None,
        rank_column: Any = None,  # noqa: ANN401 - whatever the option takes
        synonyms: Mapping[str, str] | None = None,
        *,
        red_list: bool = False,
        progress: Progress | None = None,
    ) -> None:
        from bioprobe.conservation import read_statuses

        self.synonyms = synonyms = dict(synonyms or {})
        self._view, self._red_list, self._progress = view, red_list, progress
        self._listed: Statuses | None = None
        if table is not None:
            self._listed = read_statuses(
                table, column=column, rank_columns=read_rank_columns(rank_column),
                synonyms=synonyms,
            )  # fmt: skip
        self._found: tuple[Statuses, Finder] | None = None

    @property
    def statuses(self) -> Statuses:
        """What is known of the taxa that were looked for."""
        return self.find(())[0]

    @property
    def finder(self) -> Finder:
        """Finds the statuses of names."""
        return self.find(())[1]

    def find(
        self, taxa: Iterable[Taxon], *, below: Iterable[str] = (), names: Iterable[str] = ()
    ) -> tuple[Statuses, Finder]:
        """Look for taxa, once; with the Red List for what the table does not list.

        Parameters
        ----------
        taxa : iterable of Taxon
            That are labels or candidates.
        below : iterable of str
            Names of subspecies.
        names : iterable of str
            Classes that are no taxa, such as common names.
        """
        if self._found is None:
            from bioprobe.conservation import Finder, Statuses
            from bioprobe.store.added_taxa import find_added_taxa

            wanted = tuple(taxa)
            added = find_added_taxa(self._view.store)
            labelled = self._view.images.taxa
            known = [*wanted, *labelled, *added]
            finder = Finder(self._listed or Statuses((), ""), known, synonyms=self.synonyms,
                            names=self._open_names)  # fmt: skip
            statuses = self._listed
            if self._red_list:
                statuses = self._ask(finder, wanted, below, names)
                finder = Finder(statuses, known, synonyms=self.synonyms, names=self._open_names)
            self._found = statuses or Statuses((), ""), finder
        return self._found

    def _open_names(self) -> Any:  # noqa: ANN401 - a NameList
        """Open the lists by which common names are found that no table of statuses has."""
        from bioprobe.store.added_taxa import find_added_taxa

        return open_names(None, None, added=find_added_taxa(self._view.store))

    def _ask(
        self, finder: Finder, taxa: Iterable[Taxon], below: Iterable[str], names: Iterable[str]
    ) -> Statuses:
        """Ask the Red List for what is not listed, and join both."""
        from bioprobe.conservation import Statuses, Wanted, ask_red_list, want_name
        from bioprobe.taxonomy.scientific_names import Kind, judge_name, recognise_names

        wanted = [Wanted(one.lineage) for one in taxa if not finder.find_taxon(one).statuses]
        unlisted = [
            one for one in dict.fromkeys((*below, *names))
            if one and not finder.find_named(one).statuses
        ]  # fmt: skip
        written, others = recognise_names(unlisted, meant=False)
        by_lists = self._name_taxa(others)
        # What no list knows, and may be a name by its form, the Red List may know.
        unsure = [one for one in others if one not in by_lists and judge_name(one) is Kind.OPEN]
        written |= recognise_names(unsure)[0]
        wanted += [want_name(parsed) for parsed in written.values()]
        wanted += [Wanted(one.lineage) for taxa_of in by_lists.values() for one in taxa_of]
        if len(wanted) > _MOST_ASKED:
            msg = (
                f"the Red List would be asked for {len(wanted):,} taxa, which takes hours; give a "
                "shorter list with --taxa, or a table of statuses"
            )
            raise MisuseError(msg)
        asked = ask_red_list(wanted, synonyms=self.synonyms, progress=self._progress)
        listed = self._listed
        if listed is None:
            return asked
        about = {**listed.about, "red_list": dict(asked.about)}
        return Statuses((*listed.listed, *asked.listed), f"{listed.source} and {asked.source}",
                        (*listed.notes, *asked.notes), about)  # fmt: skip

    def _name_taxa(self, names: Iterable[str]) -> dict[str, list[Taxon]]:
        """Return the taxa of common names, by the lists that there are; names without any are not.

        Lists are opened where there is a name.
        """
        found: dict[str, list[Taxon]] = {}
        opened = None
        for name in names:
            opened = opened or self._open_names()
            match = opened.match(name)
            if taxa := [one for one in (match.taxon, *match.candidates) if one is not None]:
                found[name] = taxa
        return found


def _judge_predictions(
    view: View, predictions: Any, source: StatusSource, said: list[Note | str]  # noqa: ANN401
) -> tuple[Judged, pd.DataFrame]:  # fmt: skip
    """Find the status of a table of answers."""
    import numpy as np
    import pandas as pd

    from bioprobe.agreement import read_side
    from bioprobe.conservation import judge_table, list_named, list_wanted
    from bioprobe.exporting import read_predictions
    from bioprobe.images.regions import REGION

    if isinstance(predictions, pd.DataFrame):
        frame = predictions
    elif isinstance(predictions, Result):
        frame = predictions.to_frame()
    else:
        path = Path(predictions)
        try:
            frame, _ = read_predictions(path)
        except SourceError:
            # The output of another tool: what it is surest of.
            side = read_side(path)
            said += side.notes
            frame = _write_side(side)
    taxa, below, names = list_wanted(list_named(frame))
    source.find(taxa, below=below, names=names)
    judged, first, told = judge_table(frame, source.finder)
    said += told
    row_of = {
        key: row
        for row, key in zip(
            view.rows.tolist(),
            zip(view.images.name_files(view.rows).tolist(),
                view.images.column(REGION).to_numpy()[view.rows].tolist(), strict=True),
            strict=True,
        )
    }  # fmt: skip
    regions = judged.names.get(REGION, np.full(len(judged), "", dtype=object))
    rows = np.array([
        row_of.get((file, region), -1)
        for file, region in zip(judged.names["file_name"].tolist(), regions.tolist(), strict=True)
    ], dtype=np.int64)  # fmt: skip
    n_others = int((rows < 0).sum())
    if n_others:
        said.append(f"{n_others:,} of the {len(rows):,} pictures are none of the store's")
    return dataclasses.replace(judged, rows=rows), first


def _write_side(side: Any) -> pd.DataFrame:  # noqa: ANN401 - a Side
    """Return the answers of another tool as a table of ours."""
    import pandas as pd

    from bioprobe.images.regions import REGION
    from bioprobe.taxonomy import RANKS
    from bioprobe.taxonomy.columns import spell_column

    columns: dict[str, Any] = {"file_name": list(side.files)}
    if any(side.regions):
        columns[REGION] = list(side.regions)
    for depth, rank in enumerate(RANKS):
        columns[rank.value] = [one.lineage[depth] for one in side.said]
    columns["common_name"] = [one.common_name or one.label for one in side.said]
    columns["score"] = side.sureness
    columns |= {
        name: list(values)
        for name, values in side.columns.items()
        if name not in columns and spell_column(name) not in _OF_TOOLS
    }
    return pd.DataFrame(columns)


def _compare(
    view: View,
    judged: Judged,
    source: StatusSource,
    kind: str,
    split: str,
    n_resamples: int,
    seed: int,
) -> tuple[pd.DataFrame, list[Note | str]]:
    """Compare a probe of the threat with what follows from a probe of species."""
    from bioprobe.evaluation.by_status import compare_routes

    if kind not in _list_kinds():
        msg = f"no kind of probe is called {kind!r}; expected one of {', '.join(_list_kinds())}"
        raise MisuseError(msg)
    return compare_routes(view, judged, source.finder, kind, split=split,
                          n_resamples=n_resamples, seed=seed)  # fmt: skip


def _list_kinds() -> list[str]:
    from bioprobe.face.learning import KINDS

    return [one for one in KINDS if one != "stack"]
