"""Questions that learn from labels: probes, tuning, stacks."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.errors import BioprobeError, MisuseError
from bioprobe.face.learnt import (
    describe_fit,
    describe_missing,
    describe_stack,
    describe_trials,
)
from bioprobe.face.lists import open_list
from bioprobe.face.opened import Opened
from bioprobe.files import parse_json
from bioprobe.options import (
    LOCAL,
    RANK_NAMES,
    TEXT_KINDS,
    AllowOutside,
    Beside,
    ContentThresholds,
    Engine,
    EngineThreads,
    Exclude,
    GapSeconds,
    Include,
    Level,
    ListColumns,
    NamedClasses,
    NumberOfAnswers,
    Option,
    OwnColumns,
    Per,
    PoolingRule,
    PriorFloor,
    PriorTable,
    PromisedAccuracy,
    Seed,
    SeedOption,
    SequenceColumn,
    Split,
    Taxa,
    Templates,
    TextTypeName,
    Unless,
    With,
    Without,
    list_given,
    question,
    split_names,
)
from bioprobe.progress import Step
from bioprobe.registry import METHODS
from bioprobe.result import Note, Table

if TYPE_CHECKING:
    from bioprobe.face.pages import Decisions, Predictions
    from bioprobe.face.pooled_pages import Contents
    from bioprobe.face.probe import Probe
    from bioprobe.learning.fitted import FittedProbe
    from bioprobe.learning.stack import FittedStack, SharedImages
    from bioprobe.learning.tune import Trial, Tuned
    from bioprobe.progress import Progress
    from bioprobe.task.columns import Columns
    from bioprobe.task.target import Texts
    from bioprobe.task.task import Task
    from bioprobe.taxonomy import Taxonomy
    from bioprobe.zeroshot.candidates import ClassNames

KINDS = (
    "linear", "lda", "ridge", "knn", "centroid", *TEXT_KINDS, "hierarchical", "attentive", "stack",
)  # fmt: skip
BASES = ("linear", "lda", "ridge", "knn", "centroid")
_BALANCES = ("none", "class-weight", "logit-adjustment", "focal", "smote", "mixup")
_CALIBRATORS = ("temperature", "vector", "isotonic", "none")
_READING = With("kind", TEXT_KINDS)

Strings = str | Sequence[str] | None
First = Annotated[
    str | None,
    Option(
        "Broadest rank that hierarchical learns, or the column above. [default: phylum]",
        ("--from",),
        when=(Without("chain"),),
    ),
]
Chain = Annotated[
    Strings,
    Option(
        "Ranks or columns that hierarchical learns one below the other, broadest first, such as "
        "diet,label; --level is the last.",
        shell=str,
    ),
]
Calibrator = Annotated[
    str,
    Option(
        "How probabilities are made to mean what they say, on held-out images: temperature, "
        "vector, isotonic or none.",
        choices=_CALIBRATORS,
    ),
]
ProbeName = Annotated[str, Option("Name of the probe.", ("-",))]
StackName = Annotated[str, Option("Name of the stack.", ("-",))]
With_ = Annotated[
    Strings,
    Option(
        "Store of the same images by another encoder; may be repeated.", ("--with",),
        shell=list[Path],
    ),
]  # fmt: skip
StoresOrColumns = Annotated[
    Strings,
    Option(
        "Of stack, a store of the same images by another encoder; may be repeated. Of other kinds, "
        "what --with-columns is.",
        ("--with",),
        shell=list[str],
    ),
]
WithColumns = Annotated[
    Strings,
    Option(
        "Columns that stand beside the vectors of linear, lda, ridge and hierarchical, such as "
        "latitude,longitude,date or site: numbers, dates, places, and categories as they are, or "
        "as said behind a colon: site:category. How much they count is chosen on held-out images, "
        "or said by --setting weight=0.5.",
        ("--with-columns",),
        shell=list[str],
        metavar="COLUMN,…",
        when=(Unless("kind", ("stack",)),),
    ),
]


AugmentViews = Annotated[
    int | None,
    Option(
        "Learn from several views of each picture: 2 (and mirrored), 4 (and its middle, mirrored "
        "too) or 10 (four corners, mirrored too). They are embedded once and kept; views teach "
        "only where their picture does, and only the whole is judged.",
        choices=("2", "4", "10"),
    ),
]


class Learns(Opened):
    """What can be asked of labelled images."""

    @question
    def fit(
        self,
        kind: Annotated[
            str,
            Option(
                f"{', '.join(KINDS[:-1])} or {KINDS[-1]}; prolip of a store that keeps "
                "projection-input, attentive of one that keeps tokens.",
                ("-",),
                KINDS,
            ),
        ],
        level: Level = "species",
        *,
        split: Split = "default",
        name: Annotated[str | None, Option("Name to keep it by; the kind's.")] = None,
        C: Annotated[  # noqa: N803 - scikit-learn's name
            float | None,
            Option("Inverse regularisation. By default chosen on held-out images.", ("--C",)),
        ] = None,
        setting: Annotated[
            Mapping[str, Any] | Sequence[str] | None,
            Option("Another setting of the kind: k=5, alpha=0.1, shrinkage=0.5 …", shell=list[str]),
        ] = None,
        balance: Annotated[
            str | None,
            Option(
                "What is done about small classes: class-weight, the default; none, "
                "logit-adjustment, focal, smote or mixup. knn has the first two.",
                choices=_BALANCES,
            ),
        ] = None,
        first: Annotated[First, With("kind", ("hierarchical",))] = None,
        chain: Annotated[Chain, With("kind", ("hierarchical",))] = None,
        calibration: Calibrator = "temperature",
        leave_out: Annotated[
            float,
            Option(
                "Also measure how well unknown classes are told: share of the classes that a "
                "second fit does not learn.",
                least=0,
                most=0.9,
                when=(With("calibration", _CALIBRATORS[:-1]),),
            ),
        ] = 0.0,
        classes: Annotated[NamedClasses, _READING] = None,
        taxa: Annotated[Taxa, _READING] = None,
        rank_column: ListColumns = None,
        text_type: Annotated[TextTypeName, _READING] = "taxon_com",
        templates: Annotated[Templates, _READING] = "plain",
        others: StoresOrColumns = None,
        with_columns: WithColumns = None,
        augment_views: Annotated[AugmentViews, Unless("kind", ("stack",))] = None,
        seed: Seed = 0,
        progress: Progress | None = None,
    ) -> Probe:
        """Learn from the labelled images, and keep the probe in the store.

        Training images are those of the part ``train``; what is not given is chosen on the part
        ``validation``, or on folds where it is empty. The part ``test`` is not read.

        Parameters
        ----------
        kind : str
            A method that learns; see :data:`bioprobe.registry.METHODS`.
        level : str
            Rank of the classes, or any column, whose values they are.
        split : str or None
            Name of a split; ``"none"`` or None learns from all labelled images.
        name : str, optional
            Under which the store keeps it; by default the kind's.
        C : float, optional
            Inverse regularisation.
        setting : mapping or sequence of str, optional
            Other arguments of the estimator.
        balance : str, optional
            What is done about small classes.
        first : str, optional
            Broadest rank of the chain of ``hierarchical``, or the column above the level.
        chain : str or sequence of str, optional
            All of that chain, in ranks or columns.
        calibration : str
            How probabilities are calibrated on held-out images.
        leave_out : float
            Share of the classes that a second fit does not learn, to measure unknown ones.
        classes, taxa, rank_column, text_type, templates
            Further classes, and how they are written, for kinds that start from texts: ``classes``
            of a column, the others of a rank.
        others : sequence of str, optional
            Stores of the same images by other encoders, for ``stack``; for other kinds what
            ``with_columns`` is.
        with_columns : str or sequence of str, optional
            Columns that stand beside the vectors; see :mod:`bioprobe.task.columns`. The setting
            ``weight`` says how much they vary, of what the vectors do; by default it is chosen.
        augment_views : int, optional
            Learn from so many views of each picture, see :func:`bioprobe.embed`: those that are
            mirrored and cropped teach where their picture does, and only the whole is judged.
        seed : int
            Of folds and of whatever is drawn.
        progress : callable, optional
            Told a step after each picture whose views are embedded.

        Returns
        -------
        Probe
            With a scikit-learn estimator inside.

        Raises
        ------
        ProbeError
            If the kind or a setting is unknown, or fewer than two classes have a training image.
        """
        from bioprobe.learning.fit import fit as fit_method
        from bioprobe.learning.fit import read_texts
        from bioprobe.learning.fitted import FittedProbe
        from bioprobe.learning.stack import FittedStack
        from bioprobe.task.columns import Columns

        reads = kind in METHODS.names and METHODS.load(kind).needs_texts
        texts = None
        if reads:
            texts = self._write_texts(
                level, open_list(taxa, rank_column), text_type, templates, classes
            )
        given = {"C": C, "balance": balance}
        settings = {key: value for key, value in given.items() if value is not None}
        settings |= _read_settings(setting)
        stores, columns = (others, None) if kind == "stack" else (None, with_columns or others)
        if kind != "stack" and with_columns and others:
            msg = "--with and --with-columns both name columns; give one of them"
            raise MisuseError(msg)
        weight: Any = settings.pop("weight", None) if columns else None
        task = self._task(
            level, first=first, chain=chain, split=split, texts=texts, seed=seed, others=stores,
            columns=Columns.of(columns, weight),
        )  # fmt: skip
        task, viewed = self._add_views(task, augment_views, progress)
        read_texts(task, kind)
        began = time.monotonic()
        fitted = fit_method(task, kind, settings)
        seconds_s = time.monotonic() - began
        if isinstance(fitted, FittedStack):
            said = describe_stack(fitted, seconds_s, is_open=C is None)
            return self._keep(name or kind, task, fitted.probe, "none", 0.0, said)
        if not isinstance(fitted, FittedProbe):
            msg = f"{kind} learns nothing that could be kept; ask it as it is: bioprobe {kind}"
            raise MisuseError(msg)
        said = [*describe_fit(fitted, seconds_s), *viewed]
        return self._keep(name or kind, task, fitted, calibration, leave_out, said)

    @question
    def tune(
        self,
        level: Level = "species",
        *,
        kinds: Annotated[
            Strings,
            Option(
                "Kinds to compare, such as lda,ridge,linear. By default all but adapter, clap and "
                "tip-adapter, prompt+probe where the store's encoder reads text.",
                shell=str,
            ),
        ] = None,
        n_trials: Annotated[int, Option("Trials at most.", least=1)] = 30,
        timeout: Annotated[
            float | None, Option("Seconds after which no trial is begun.", least=0)
        ] = None,
        metric: Annotated[
            str, Option("What is to be best: accuracy, macro_f1 or log_loss.")
        ] = "accuracy",
        split: Split = "default",
        name: Annotated[str, Option("Name to keep the best by.")] = "tuned",
        first: First = None,
        chain: Chain = None,
        classes: NamedClasses = None,
        taxa: Taxa = None,
        rank_column: ListColumns = None,
        text_types: Annotated[
            str | Sequence[str], Option("Text types that what reads texts chooses from.", shell=str)
        ] = "taxon_com,sci,sci_com,taxon",
        templates: Annotated[
            Strings,
            Option(
                "Template set, or one template, that what reads texts chooses from; may be given "
                "several times. By default plain, bare and field.",
                shell=list[str],
            ),
        ] = None,
        calibration: Calibrator = "temperature",
        with_columns: Beside = None,
        augment_views: AugmentViews = None,
        seed: Annotated[int, SeedOption("Seed of the proposals and the folds.")] = 0,
        progress: Progress | None = None,
    ) -> Tuned:
        """Try kinds of probe and their settings on held-out images, and keep the best.

        Parameters
        ----------
        level : str
            Rank of the classes, or any column, whose values they are.
        kinds : str or sequence of str, optional
            To compare.
        n_trials : int
            At most.
        timeout : float, optional
            Seconds after which no trial is begun.
        metric : str
            ``accuracy``, ``macro_f1`` or ``log_loss``.
        split : str or None
            As for :meth:`fit`.
        name : str
            Under which the best is kept.
        first : str, optional
            Broadest rank of the chain of ``hierarchical``, or the column above the level.
        chain : str or sequence of str, optional
            All of that chain, in ranks or columns.
        classes, taxa, rank_column, text_types, templates
            Further classes, and ways to write them, for kinds that start from texts.
        calibration : str
            How the probabilities of the best are calibrated.
        with_columns : str or sequence of str, optional
            Columns that stand beside the vectors of kinds that take them, as for :meth:`fit`;
            their ``weight`` is chosen too, and 0 is without them.
        augment_views : int, optional
            Views of each picture that may teach, as for :meth:`fit`; whether they do is chosen too,
            beside what is done about small classes.
        seed : int
            Of the proposals and the folds.
        progress : callable, optional
            Told of each trial; an error that it raises stops the work.

        Returns
        -------
        Tuned
            One row a trial; ``probe`` is the best.
        """
        from bioprobe.learning.keeping import find_folder
        from bioprobe.learning.tune import tune_probe
        from bioprobe.prompts import read_templates

        find_folder(self._view.store, name)
        asked = _list_kinds(kinds, reads=self._view.manifest.has_text_tower)
        texts = None
        if set(asked).intersection(TEXT_KINDS):
            texts = self._write_texts(level, open_list(taxa, rank_column), classes=classes)
        refuse_unused(asked, *TEXT_KINDS, taxa=taxa, templates=templates, classes=classes)
        refuse_unused(asked, "hierarchical", **{"from": first}, chain=chain)
        n_done = 0

        def advance(trial: Trial) -> None:
            nonlocal n_done
            n_done += 1
            if progress is not None:
                progress(Step(n_done, n_trials, "trials", int(bool(trial.problem))))

        task = self._task(
            level, first=first, chain=chain, split=split, texts=texts, seed=seed,
            columns=find_columns(with_columns, asked),
        )  # fmt: skip
        task, viewed = self._add_views(task, augment_views, progress)
        tuned = tune_probe(
            task, kinds=asked, n_trials=n_trials, timeout_s=timeout, metric=metric,
            text_types=["asis"] if task.target.rank is None else split_names(text_types),
            templates={one: read_templates(one) for one in
                       list_given(templates) or ("plain", "bare", "field")},
            on_trial=advance,
        )  # fmt: skip
        said = [*describe_trials(tuned, n_trials, name), *viewed]
        kept = self._keep(name, tuned.task, tuned.probe, calibration, 0.0, said)
        return tuned.say(kept.notes)

    @question
    def probe(self, name: ProbeName) -> Probe:
        """Return a probe that the store keeps.

        Parameters
        ----------
        name : str
            Its name; see :meth:`probes`.

        Raises
        ------
        StoreError
            If there is no such probe, or it is damaged.
        """
        from bioprobe.face.probe import Probe
        from bioprobe.learning.keeping import read_calibrated

        store = self._view.store
        fitted, calibration = read_calibrated(store, name)
        return Probe(name, fitted, self, calibration)

    def probes(self) -> Table:
        """List the probes that the store keeps, one a row; a damaged one says its problem."""
        import pandas as pd

        from bioprobe.learning.kept import list_probes

        rows: list[dict[str, Any]] = []
        for name in list_probes(self._view.store):
            try:
                rows.append({**self.probe(name).summarise(), "problem": ""})
            except BioprobeError as error:
                rows.append({"name": name, "problem": str(error)})
        columns = ["name", "kind", "level", "classes", "images", "split", "chosen", "accuracy"]
        return Table(pd.DataFrame(rows, columns=[*columns, "low", "high", "problem"]))

    @question
    def remove_probe(self, name: ProbeName) -> Table:
        """Forget a probe."""
        from bioprobe.learning.keeping import remove_probe

        remove_probe(self._view.store, name)
        return self._tell_removed(f"probe {name}")

    @question
    def predict(
        self,
        name: ProbeName,
        sources: Annotated[
            Strings,
            Option(
                "Pictures, folders or tables; by default the images in the store.",
                ("-",),
                shell=list[Path],
            ),
        ] = None,
        *,
        k: Annotated[NumberOfAnswers, Without("per")] = 5,
        calibrate: Annotated[
            bool | None,
            Option(
                "Probabilities as calibrated on held-out images at the fit, or as the probe gives "
                "them. [default: calibrated where the fit has done it]",
                ("--calibrate/--no-calibrate",),
            ),
        ] = None,
        abstain: Annotated[
            float | str | None,
            Option(
                "Answer at the deepest rank whose summed probability reaches this (0 to 1), or, "
                "with auto, what promises --accuracy by the held-out images; one row an image. A "
                "class of a column is answered, or none.",
                shell=str,
            ),
        ] = None,
        accuracy: PromisedAccuracy = 0.95,
        sets: Annotated[
            float | None,
            Option(
                "Add the classes that hold the right one with this chance, such as 0.9.",
                least=0,
                most=1,
            ),
        ] = None,
        set_kind: Annotated[
            str,
            Option(
                "How a class enters a set: lac, the smallest sets; aps, sets that grow with doubt; "
                "raps, the same with a charge for long sets.",
                choices=("lac", "aps", "raps"),
                fixed=True,
                when=(With("sets"),),
            ),
        ] = "lac",
        unknown: Annotated[
            bool,
            Option("Add a score that the image is of no known class, and whether it is."),
        ] = False,
        allow_outside: Annotated[AllowOutside, With("sources")] = False,
        exclude: Annotated[Exclude, With("sources")] = None,
        include: Annotated[Include, With("sources")] = None,
        per: Per = None,
        sequence: SequenceColumn = None,
        gap_seconds: GapSeconds = None,
        rule: PoolingRule = "log-mean",
        content_rules: ContentThresholds = None,
        columns: OwnColumns = None,
        prior: PriorTable = None,
        prior_floor: PriorFloor = 0.01,
        engine: Annotated[Engine, Without("sources")] = LOCAL,
        threads: EngineThreads = None,
    ) -> Predictions | Decisions | Contents:
        """Label the images by a probe that the store keeps.

        With an ``engine`` of ``ray`` the nodes of a Ray cluster do so, each some images at a time.

        See Also
        --------
        bioprobe.Probe.predict : the same of a probe at hand, and of other images.
        """
        probe, named = self.probe(name), list_given(sources)
        asked = (
            probe.store.pictures(
                named,
                allow_outside=allow_outside,
                exclude=exclude,
                include=include,
                keep=probe.fitted.estimator.reads or None,
            )
            if named
            else self._on(engine, threads)
        )
        return probe.predict(
            asked, k, calibrate=calibrate, abstain=abstain, accuracy=accuracy, sets=sets,
            set_kind=set_kind, unknown=unknown, per=per, sequence=sequence,
            gap_seconds=gap_seconds, rule=rule, content_rules=content_rules, columns=columns,
            prior=prior, prior_floor=prior_floor,
        )  # fmt: skip

    @question
    def fit_stack(
        self,
        others: With_,
        level: Level = "species",
        *,
        split: Split = "default",
        base: Annotated[
            Strings,
            Option(
                "Kind of the probe of each encoder: linear, lda, ridge, knn or centroid; may be "
                "repeated. [default: lda]",
                choices=BASES,
                shell=list[str],
            ),
        ] = None,
        name: Annotated[str, Option("Name to keep it by.")] = "stack",
        C: Annotated[  # noqa: N803 - scikit-learn's name
            float | None,
            Option(
                "Inverse regularisation of the combination. By default chosen on folds.", ("--C",)
            ),
        ] = None,
        seed: Annotated[int, SeedOption("Seed of the folds.")] = 0,
    ) -> Probe:
        """Fit a probe of each encoder and how to combine them, and keep this in the store.

        Parameters
        ----------
        others : sequence of str
            Stores of the same images by other encoders.
        level, split, name, C, seed
            As for :meth:`fit`.
        base : str or sequence of str, optional
            Kinds of the probes of each encoder.
        """
        from bioprobe.learning.stack import fit_stack

        task = self._task(level, split=split, seed=seed, others=others)
        began = time.monotonic()
        bases: list[tuple[str, dict[str, Any]]] = [(kind, {}) for kind in list_given(base)]
        stack = fit_stack(task, bases=bases or None, C=C)
        said = describe_stack(stack, time.monotonic() - began, is_open=C is None)
        return self._keep(name, task, stack.probe, "none", 0.0, said)

    @question
    def predict_stack(
        self,
        name: StackName,
        others: With_,
        *,
        k: NumberOfAnswers = 5,
        columns: OwnColumns = None,
    ) -> Predictions:
        """Label the images that all stores hold by a stack that this store keeps.

        Parameters
        ----------
        name : str
            Of the stack.
        others : sequence of str
            Stores of the same images by the other encoders.
        k : int
            Answers an image.
        columns : str or sequence of str, optional
            Columns of one's own that stand beside the answers; see :meth:`zeroshot`.
        """
        from bioprobe.face.pages import show_answers_of
        from bioprobe.face.probe import describe_labels
        from bioprobe.task.beside import Beside

        stack, shared, said = self._open_stack(name, others, self._view.rows)
        answers = stack.predict(shared, k)
        beside = Beside.of(self._view.take(answers.rows), columns)
        shown = show_answers_of(answers, beside)
        return shown.say((*self._notes, *said, *describe_labels(answers)))

    @question
    def compare_stack(
        self,
        name: StackName,
        others: With_,
        *,
        part: Annotated[
            str,
            Option(
                "Part of the split that the stack was fitted on: validation or test.",
                choices=("validation", "test"),
            ),
        ] = "validation",
    ) -> Table:
        """Compare a stack with each of its bases alone, on images that none learnt from.

        Parameters
        ----------
        name : str
            Of the stack.
        others : sequence of str
            Stores of the same images by the other encoders.
        part : str
            ``validation`` or ``test`` of the split that it was fitted on.

        Returns
        -------
        Table
            A row for the stack and for each base, with the paired test against the stack.
        """
        import pandas as pd

        from bioprobe.evaluation.paired import compare_bases
        from bioprobe.learning.stack import read_stack

        rows = read_stack(self._view.store, name).find_judged_rows(self._view.store, part)
        stack, shared, said = self._open_stack(name, others, rows)
        compared = compare_bases(stack.judge(shared), stack.base_names)
        provenance = stack.describe(shared, part=part).to_dict()
        return Table(pd.DataFrame(compared), provenance).say(said)

    def _task(
        self, level: str, *, split: str | None, first: str | None = None, chain: Strings = None,
        texts: Texts | None = None, seed: int = 0, others: Strings = None,
        columns: Columns | None = None,
    ) -> Task:  # fmt: skip
        from bioprobe.task.target import Target
        from bioprobe.task.task import Task

        if split is not None and ":" in split:
            msg = f"a part of a split chooses images, not what is learnt from; got --split {split}"
            raise MisuseError(msg)
        target = Target.of(level, first, split_names(chain or ()), images=self._view.images)
        return Task.of(
            self._view, target, split=None if split == "none" else split, texts=texts, seed=seed,
            others=tuple(self._open_others(others)), columns=columns,
        )  # fmt: skip

    def _add_views(
        self, task: Task, n_views: int | None, progress: Progress | None
    ) -> tuple[Task, list[str]]:
        """Return a task whose pictures teach by several views each, and what is said of it."""
        if n_views is None:
            return task, []
        from bioprobe.embedding import load_encoder_for
        from bioprobe.embedding.view_vectors import read_view_vectors

        seen = read_view_vectors(
            self._view.store, task.labelled.rows, n_views,
            lambda: load_encoder_for(self.folder, model=self._model, device=self._device),
            progress,
        )  # fmt: skip
        said = [f"{n_views} views of each of {len(seen.rows):,} pictures teach"]
        if not seen.known.all():
            n = int((~seen.known).sum())
            said.append(f"{n:,} of them cannot be read: only the vector of the whole teaches")
        return dataclasses.replace(task, extra=seen.take), said

    def _write_texts(
        self, level: str, taxa: str | Taxonomy | None = None, text_type: str = "taxon_com",
        templates: str = "plain", classes: ClassNames | None = None, prototypes: str | None = None,
    ) -> Texts:  # fmt: skip
        from bioprobe.face.pictured import Pictured
        from bioprobe.face.zeroshot import find_named, refuse_for_values
        from bioprobe.images.image_table import read_level
        from bioprobe.prompts import TextType, read_templates
        from bioprobe.task.target import Texts
        from bioprobe.taxonomy import Rank, Taxonomy
        from bioprobe.zeroshot.candidates import find_listed

        store, level = self._view.store, read_level(level, self._view.images)
        kind, read = TextType.parse(text_type), read_templates(templates)
        scale, encode = store.manifest.logit_scale, self._texts.encode_text
        if level in RANK_NAMES:
            if classes is not None:
                msg = f"--classes are values of a column, and {level} is a rank; give --taxa"
                raise MisuseError(msg)
            listed = find_listed(store, taxa, Rank(level))
            pictured = Pictured.of(self._view, prototypes)
            if pictured is not None and taxa is None:
                listed = Taxonomy.merge((*listed, *pictured.taxa.at(Rank(level))))
            return Texts(encode, scale, kind, read, listed)
        refuse_for_values(
            level, taxa=taxa, text_type=text_type != "taxon_com", prototypes=prototypes
        )
        if classes is None:
            return Texts(encode, scale, templates=read)
        named, phrases = find_named(self._view, classes, level)
        return Texts(encode, scale, templates=read, others=named.names, phrases=phrases)

    def _keep(
        self, name: str, task: Task, fitted: FittedProbe, calibration: str, leave_out: float,
        said: Sequence[str],
    ) -> Probe:  # fmt: skip
        """Keep a probe with what calibrates it on held-out images, or say why it has none."""
        from bioprobe.face.probe import Probe, say_calibration
        from bioprobe.learning.calibrated import fit_calibration
        from bioprobe.learning.fit import answer_held_out
        from bioprobe.learning.keeping import write_probe

        found = None
        calibrated: list[Note | str] = []
        if calibration != "none":
            began = time.monotonic()
            answers = answer_held_out(task, fitted, fitted.kind, left_out_fraction=leave_out)
            if (answers.truth >= 0).any():
                found = fit_calibration(answers, calibration)
                seconds_s = time.monotonic() - began
                calibrated = [f"{say_calibration(found)}, {seconds_s:.1f} s"]
            else:
                calibrated = ["not calibrated: no image could be held out"]
        folder = write_probe(task.store, name, fitted, found)
        notes: list[Note | str] = [*self._notes, *said, f"kept in {folder}", *calibrated]
        several = self._view.images.describe_several(self._view.rows, fitted.level)
        return Probe(name, fitted, self, found).say((*notes, *several))

    def _open_stack(
        self,
        name: str,
        others: Strings,
        rows: Any,  # noqa: ANN401 - ndarray of int64
    ) -> tuple[FittedStack, SharedImages, list[str]]:
        from bioprobe.learning.stack import find_shared_images, read_stack

        stack = read_stack(self._view.store, name)
        stores = stack.arrange([self._view.store, *self._open_others(others)])
        shared = find_shared_images(stores, rows)
        folders = [str(one.folder) for one in stores[1:]]
        return stack, shared, describe_missing(folders, shared.n_missing)


def _read_settings(given: Mapping[str, Any] | Sequence[str] | None) -> dict[str, Any]:

    if given is None or isinstance(given, Mapping):
        return dict(given or {})
    settings = {}
    for pair in list_given(given):
        key, between, value = pair.partition("=")
        if not between:
            msg = f"--setting is name=value, such as k=5; got {pair!r}"
            raise MisuseError(msg)
        try:
            settings[key] = parse_json(value)
        except ValueError:
            settings[key] = value
    return settings


def _list_kinds(given: Strings, *, reads: bool) -> list[str]:
    from bioprobe.learning.proposals import TUNED_KINDS

    if given is not None:
        return split_names(given)
    return [one for one in TUNED_KINDS if one not in TEXT_KINDS or reads]


def refuse_unused(asked: Sequence[str], *kinds: str, **given: object) -> None:
    """Refuse options of kinds or methods of which none is asked for."""
    named = [f"--{name}" for name, value in given.items() if value is not None]
    if named and not set(kinds).intersection(asked):
        which = "which is not" if len(kinds) == 1 else "none of which is"
        msg = (
            f"{' and '.join(named)} {'are' if len(named) > 1 else 'is'} for {', '.join(kinds)}, "
            f"{which} among {', '.join(asked)}; leave it out, or name {kinds[0]}"
        )
        raise MisuseError(msg)


def find_columns(
    given: Strings, asked: Sequence[str], weight: float | None = None
) -> Columns | None:
    """Return the columns for some methods, of which one at least must take them."""
    from bioprobe.learning.fit import list_taking_columns
    from bioprobe.task.columns import Columns

    found = Columns.of(given, weight)
    taking = [name for name in list_taking_columns(METHODS.names) if name in asked]
    if found is not None and not taking:
        msg = (
            f"--with is for {', '.join(list_taking_columns())}, of which none is among "
            f"{', '.join(asked)}; leave it out, or name one"
        )
        raise MisuseError(msg)
    return found
