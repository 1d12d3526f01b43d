"""Methods are judged side by side on one split."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.errors import MisuseError
from bioprobe.face.learning import (
    AugmentViews,
    Chain,
    First,
    Learns,
    Strings,
    find_columns,
    refuse_unused,
)
from bioprobe.face.learnt import (
    describe_evaluation,
    describe_gains,
)
from bioprobe.face.lists import open_list
from bioprobe.face.splitting import Against, Splits
from bioprobe.options import (
    Beside,
    GapSeconds,
    Level,
    ListColumns,
    NamedClasses,
    Option,
    PoolingRule,
    PriorFloor,
    PriorTable,
    SeedOption,
    SequenceColumn,
    Taxa,
    Templates,
    TextTypeName,
    With,
    Without,
    question,
    split_names,
)
from bioprobe.result import read_fields

if TYPE_CHECKING:
    from bioprobe import evaluation
    from bioprobe.face.evaluation import Evaluation
    from bioprobe.store import EmbeddingStore


class Evaluates(Learns, Splits):
    """Methods are judged."""

    @question
    def evaluate(
        self,
        level: Level = "family",
        *,
        methods: Annotated[
            str | Sequence[str],
            Option(
                "Which to compare: zeroshot, knn, centroid, lda, ridge, linear, hierarchical, "
                "prompt+probe, adapter, clap, tip-adapter, stack.",
                shell=str,
            ),
        ] = "zeroshot,knn,centroid,linear",
        split: Annotated[str, Option("Split in the store (see: bioprobe split).")] = "default",
        mask: Annotated[
            str | None,
            Option(
                "Learn only from images that a named mask keeps; all test images are judged, and "
                "beside them those that it keeps."
            ),
        ] = None,
        positive: Annotated[
            str | None,
            Option(
                "Which of two classes is looked for: precision, recall, F1, specificity, AUROC and "
                "average precision are of it. [default: the one that reads as a yes (yes, true, 1, "
                "present, threatened, animal …), else the one with fewer training images]"
            ),
        ] = None,
        others: Annotated[
            Strings,
            Option(
                "Store of the same images by another encoder, for stack; may be repeated.",
                ("--with-store",),
                shell=list[Path],
            ),
        ] = None,
        against: Against = None,
        beside: Annotated[
            str | Path | None,
            Option(
                "Store of the same pictures by another encoder, or by another number of views, "
                "which keeps an evaluation of the same name: how much more often each method is "
                "right here, with a paired interval.",
                shell=Path,
            ),
        ] = None,
        augment_views: AugmentViews = None,
        first: First = None,
        chain: Chain = None,
        classes: NamedClasses = None,
        taxa: Taxa = None,
        rank_column: ListColumns = None,
        text_type: TextTypeName = "taxon_com",
        templates: Templates = "plain",
        seed: Annotated[int, SeedOption("Seed of resamples, folds and probes.")] = 0,
        n_resamples: Annotated[int, Option("Resamples of the bootstrap.", least=1)] = 1000,
        label_efficiency: Annotated[
            bool,
            Option(
                "Also measure accuracy by the images a class learnt from.",
                when=(Without("per", "prior", "with_columns", "prototypes"),),
            ),
        ] = False,
        shots: Annotated[
            str | Sequence[int],
            Option(
                "Images a class, for --label-efficiency.",
                when=(With("label_efficiency"),),
                shell=str,
            ),
        ] = "1,2,5,10,20,50,100",
        draws: Annotated[
            int,
            Option(
                "Draws of so many images, for --label-efficiency.",
                least=1,
                when=(With("label_efficiency"),),
            ),
        ] = 5,
        over: Annotated[
            str | None,
            Option(
                "Column that says when images were taken: accuracy in windows of time. [default: "
                "that of a chronological split]"
            ),
        ] = None,
        window: Annotated[
            str | None, Option("Length of a window of time, such as 7d. [default: 30d]")
        ] = None,
        per: Annotated[
            str | None,
            Option(
                "sequence: judge one answer to the pictures of a burst or event together, as "
                "zeroshot and probe predict --per sequence give it.",
                choices=("sequence",),
                fixed=True,
            ),
        ] = None,
        sequence: SequenceColumn = None,
        gap_seconds: GapSeconds = None,
        rule: PoolingRule = "log-mean",
        with_columns: Beside = None,
        column_weight: Annotated[
            float | None,
            Option(
                "How much these columns vary, of what the vectors do. By default chosen on "
                "held-out images.",
                when=(With("with_columns"),),
            ),
        ] = None,
        prior: PriorTable = None,
        prior_floor: PriorFloor = 0.01,
        prototypes: Annotated[
            str | None,
            Option(
                "Head of image prototypes in the store (see: bioprobe taxa prototypes) that stands "
                "beside the texts of zeroshot; what it does is measured against the texts alone. "
                "Its taxa are classes too unless --taxa says otherwise, and images that made it "
                "judge no method.",
                when=(Without("classes"),),
            ),
        ] = None,
        text_worth: Annotated[
            float | None,
            Option(
                "How many pictures a text counts as beside a prototype, as for zeroshot. By "
                "default chosen on the part validation, else by counts and spread.",
                least=0,
                when=(With("prototypes"),),
            ),
        ] = None,
        name: Annotated[
            str | None, Option("Name under which the store keeps it. [default: the level]")
        ] = None,
        tell: Callable[[str], None] | None = None,
    ) -> Evaluation:
        """Compare methods side by side on images that none of them learnt from, and keep this.

        Parameters
        ----------
        level : str
            Rank of the classes, or any column, whose values they are.
        methods : str or sequence of str
            To compare; see :data:`bioprobe.registry.METHODS`.
        split : str
            Name of a split of the store.
        mask : str, optional
            Learn only from what this mask keeps; all test images are judged.
        positive : str, optional
            Of two classes the one that is looked for; see
            :func:`bioprobe.evaluation.positive.find_positive` for the default.
        others : sequence of str, optional
            Stores of the same images by other encoders, for ``stack``.
        against : str or sequence of str, optional
            Stores whose images may not judge, or files of vectors; those that do, by their bytes or
            nearly (see :meth:`dedupe`), are counted and said, and the accuracy on the others.
        beside : str or Path, optional
            Store of the same pictures by another encoder or of other views, with an evaluation of
            the same name: what this store buys is said, method by method.
        augment_views : int, optional
            Views of each picture that probes learn from, as for :meth:`fit`.
        first, chain
            What ``hierarchical`` learns one below the other, as for :meth:`fit`.
        classes, taxa, rank_column, text_type, templates
            Further classes, and how they are written, for methods that read.
        seed : int
            Of resamples, folds and probes.
        n_resamples : int
            Of the intervals.
        label_efficiency : bool
            Also measure accuracy by the images a class.
        shots : str or sequence of int
            How many images a class.
        draws : int
            How often so many are drawn.
        over : str, optional
            Column that says when images were taken, for accuracy over time.
        window : str, optional
            Length of a window of time.
        per : {"sequence"}, optional
            Judge sequences, whose images are answered together: intervals are of sequences, and
            the rules that pool the answers are compared on the part ``validation``.
        sequence, gap_seconds, rule
            What a sequence is, and how its answers become one; see :meth:`zeroshot`.
        with_columns : str or sequence of str, optional
            Columns that stand beside the vectors of methods that take them, as for :meth:`fit`;
            whether they help is measured against the same method without them.
        column_weight : float, optional
            How much these vary, of what the vectors do; by default chosen on held-out images.
        prior : str or Path, optional
            Table of how frequent taxa are, as for :meth:`zeroshot`; what it does is measured
            against the same answers without it, also for rare classes.
        prior_floor : float
            Least weight of a class, relative to the greatest.
        prototypes : str, optional
            Head of image prototypes beside the texts of ``zeroshot``, as for :meth:`zeroshot`; what
            it does is measured against the texts alone. Images that made it, or are of one group of
            the split with such, judge no method.
        text_worth : float, optional
            Pictures that a text counts as, as for :meth:`zeroshot`; by default chosen on images of
            the part ``validation`` that did not make it, else by counts and spread.
        name : str, optional
            Under which the store keeps it.
        tell : callable, optional
            Told a line of each method when it is done; an error that it raises stops the work.

        Returns
        -------
        Evaluation
            One row a method: figures with intervals; ``report(path)`` writes the page.
        """
        from bioprobe.evaluation import Pictured, evaluate, measure_without, write_evaluation
        from bioprobe.evaluation.other_store import compare_with
        from bioprobe.face.evaluation import Evaluation
        from bioprobe.task.prior import read_prior
        from bioprobe.task.units import Pooling

        asked = split_names(methods)
        if others and "stack" not in asked:
            msg = f"--with-store is for the method stack, which is not among {', '.join(asked)}"
            raise MisuseError(msg)
        refuse_unused(asked, "hierarchical", **{"from": first}, chain=chain)
        refuse_unused(asked, "zeroshot", prototypes=prototypes)
        if augment_views is not None and "stack" in asked:
            msg = "--augment-views is for probes of one store; leave the method stack out"
            raise MisuseError(msg)
        reads, texts = self._view.manifest.has_text_tower, None
        if reads:
            texts = self._write_texts(
                level, open_list(taxa, rank_column), text_type, templates, classes, prototypes
            )
        task = self._task(
            level, first=first, chain=chain, split=split, texts=texts, seed=seed, others=others
        )
        pictured = Pictured.of(task, prototypes, text_worth) if prototypes else None
        task, viewed = self._add_views(task, augment_views, None)
        columns = find_columns(with_columns, asked, column_weight)
        kept = None if beside is None else self._open_evaluation(beside, name or task.target.name)
        found = evaluate(
            task, asked, name=name or task.target.name, mask=mask, positive=positive,
            n_resamples=n_resamples, efficiency=_plan(shots, draws) if label_efficiency else None,
            over=over, window=window,
            pooling=Pooling(sequence, gap_seconds, rule) if per else None, columns=columns,
            prior=read_prior(prior, floor=prior_floor) if prior else None, pictured=pictured,
            report=tell or (lambda _: None),
        )  # fmt: skip
        held = []
        for about, rows in self._find_held(found.predictions["row"].unique(), against):
            figures = measure_without(found, rows, task, n_resamples) if len(rows) else []
            held.append({**about, "figures": figures})
        if (own := self._find_own(found.predictions["row"].unique())) is not None:
            about, rows = own
            held.insert(0, {**about, "figures": measure_without(found, rows, task, n_resamples)})
        found.provenance["options"]["against"] = held
        if augment_views is not None:
            found.provenance["options"]["augment_views"] = augment_views
        gains = []
        if kept is not None:
            gains = compare_with(
                found, self._view.store, *kept, groups=task.need_split().groups,
                n_resamples=n_resamples, seed=seed,
            )  # fmt: skip
            found.provenance["options"]["beside"] = {
                "store": str(beside),
                "gains": [dataclasses.asdict(one) for one in gains],
            }
        write_evaluation(self._view.store, found)
        said = (*self._notes, *viewed, *describe_evaluation(found), *describe_gains(gains, beside))
        several = self._view.images.describe_several(self._view.rows, found.level)
        evaluated = Evaluation(**read_fields(found), store=self._view.store)
        return evaluated.say((*said, *several))

    @staticmethod
    def _open_evaluation(
        folder: str | Path, name: str
    ) -> tuple[evaluation.Evaluation, EmbeddingStore]:
        from bioprobe.evaluation.keeping import read_evaluation
        from bioprobe.store import EmbeddingStore

        opened = EmbeddingStore.open(folder)
        return read_evaluation(opened, name), opened

    def evaluation(self, name: str | None = None) -> Evaluation:
        """Return an evaluation that the store keeps, by default the newest.

        Raises
        ------
        StoreError
            If there is none.
        """
        from bioprobe.evaluation.keeping import read_evaluation
        from bioprobe.face.evaluation import Evaluation
        from bioprobe.report import find_newest

        store = self._view.store
        chosen = name or find_newest(store)
        found = read_evaluation(store, chosen)
        options = found.provenance.get("options", {})
        changed = self._view.tell_changed(f"the evaluation {chosen}", options)
        return Evaluation(**read_fields(found), store=store).say(changed)


def _plan(shots: str | Sequence[int], draws: int) -> Any:  # noqa: ANN401 - an EfficiencyPlan
    from bioprobe.evaluation.curves import EfficiencyPlan

    try:
        listed = shots.split(",") if isinstance(shots, str) else shots
        return EfficiencyPlan(tuple(int(part) for part in listed), draws)
    except (TypeError, ValueError, OverflowError):
        msg = f"--shots are numbers of images such as 1,2,5; got {shots!r}"
        raise MisuseError(msg) from None
