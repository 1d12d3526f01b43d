"""Pictures are named without a label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bioprobe.content import ContentRules
from bioprobe.face.lists import open_list
from bioprobe.face.opened import Opened
from bioprobe.options import (
    LOCAL,
    RANK_NAMES,
    Admin1,
    ContentThresholds,
    Country,
    Engine,
    EngineThreads,
    GapSeconds,
    HeadName,
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
    SequenceColumn,
    Site,
    Taxa,
    Templates,
    TextTypeName,
    ThroughAdapter,
    With,
    Within,
    Without,
    question,
)

if TYPE_CHECKING:
    from bioprobe.face.pages import Decisions, Predictions
    from bioprobe.face.pooled_pages import Answers, Contents
    from bioprobe.task.prior import Prior
    from bioprobe.task.units import Pooling


# Why the texts of a head cannot be written otherwise.
_FIXED = "whose texts, also of added taxa, are written by the recipe that it was made by"


class Asks(Opened):
    """Pictures are named by texts."""

    @question
    def zeroshot(
        self,
        level: Level = "species",
        *,
        classes: NamedClasses = None,
        taxa: Annotated[Taxa, Without("classes")] = None,
        rank_column: ListColumns = None,
        text_type: Annotated[
            TextTypeName, Without("head", why=_FIXED), Without("classes")
        ] = "taxon_com",
        templates: Annotated[Templates, Without("head", why=_FIXED)] = "plain",
        head: Annotated[HeadName, Without("classes")] = None,
        pool: Annotated[
            str | None,
            Option(
                "How several texts of a class become one score: max (the best text), mean (their "
                "mean embedding; default), sum (of their probabilities; default of a head).",
                choices=("max", "mean", "sum"),
                when=(Without("roll_up", "abstain", "classes"),),
            ),
        ] = None,
        roll_up: Annotated[
            bool,
            Option(
                "Score the lowest taxa of the list and sum their probabilities up the tree, "
                "instead of naming the classes of the rank.",
                when=(Without("head", "abstain", "classes"),),
            ),
        ] = False,
        within: Annotated[Within, Without("classes")] = None,
        country: Country = None,
        admin1: Admin1 = None,
        site: Site = None,
        also: Annotated[
            str | Path | Sequence[str | Path] | None,
            Option(
                "Taxa at any rank down to --level whose scores are always given, though they are "
                "not among the best: names with commas between, or a list.",
                shell=list[str],
                metavar="TAXA|FILE",
                when=(Without("classes"),),
            ),
        ] = None,
        every_rank: Annotated[
            bool,
            Option(
                "The best answers at every rank down to --level, by the summed probabilities of "
                "the lowest taxa; the column rank says which.",
                when=(Without("classes", "abstain", "roll_up", "pool", "open_set"),),
            ),
        ] = False,
        abstain: Annotated[
            float | None,
            Option(
                "Answer at the deepest rank whose summed probability reaches this (0 to 1), not "
                "below --level; one row an image, with the score at each rank and the reason.",
                least=0,
                most=1,
                when=(Without("classes"),),
            ),
        ] = None,
        open_set: Annotated[
            bool,
            Option(
                "Add columns that say how little an image is like any class: unknown_max_softmax, "
                "unknown_energy, unknown_distance.",
                when=(Without("head", "abstain", "classes"),),
            ),
        ] = False,
        adapter: Annotated[
            ThroughAdapter, Without("open_set", why="which measures vectors as they are")
        ] = None,
        prototypes: Annotated[
            str | None,
            Option(
                "Head of image prototypes in the store (see: bioprobe taxa prototypes) that stands "
                "beside the texts: a class is asked by its text, its pictures, or both. Its taxa "
                "are classes too unless --taxa says otherwise. By pictures alone: --head.",
                when=(
                    Without("classes"),
                    Without("adapter", why="which moves pictures, and no prototypes"),
                ),
            ),
        ] = None,
        text_worth: Annotated[
            float | None,
            Option(
                "How many pictures a text counts as beside a prototype of n: its weight is "
                "n / (n + this). By default by counts and spread.",
                least=0,
                when=(With("prototypes"),),
            ),
        ] = None,
        worth_where: Annotated[
            str | None,
            Option(
                "Condition on labelled images on which --text-worth is chosen; those that made "
                "the prototypes are left out, and those that are asked judge nothing.",
                when=(With("prototypes"),),
            ),
        ] = None,
        offset: Annotated[
            float | str | None,
            Option(
                "Subtract this from the logits of all classes but the new ones: those added "
                "without pictures, and those that bioprobe taxa measure was told are unseen. auto "
                "takes the offset that it found.",
                shell=str,
                when=(Without("head", "classes"),),
            ),
        ] = None,
        synonyms: Annotated[
            str | Path | None,
            Option(
                "Table with the columns synonym and accepted; candidates and labels take the "
                "accepted names.",
                shell=str,
                when=(Without("classes"),),
            ),
        ] = None,
        k: Annotated[NumberOfAnswers, Without("abstain", "per")] = 5,
        per: Per = None,
        sequence: SequenceColumn = None,
        gap_seconds: GapSeconds = None,
        rule: PoolingRule = "log-mean",
        content_rules: ContentThresholds = None,
        columns: OwnColumns = None,
        prior: PriorTable = None,
        prior_floor: PriorFloor = 0.01,
        engine: Engine = LOCAL,
        threads: EngineThreads = None,
    ) -> Predictions | Decisions | Contents:
        """Label images by text prompts, at any rank.

        Parameters
        ----------
        level : str
            Rank of the classes; or any column, whose values are asked for as they are written.
        classes : str, sequence of str, or mapping of str to texts, optional
            Classes that are no taxa, asked for instead: names, from each class to its texts, or a
            file (``class``, ``text``, and columns of ranks for the taxon that it stands for). The
            probability of a class is the sum of those of its texts. They are compared with the
            labels at ``level`` where these are such names, or with their taxa.
        taxa : str or Path, optional
            Taxon list, a file or one that ships; or a text head, ``treeoflife`` (the published one
            of the model, with ``@revision`` of another commit) or a ``.npy`` of one. By default
            the labels in the store, and without these ``treeoflife`` for the models that have one.
            Added taxa are candidates always, but for a head's.
        rank_column : mapping of str to str, or sequence of str, optional
            Columns of the list that hold a rank under another name, such as ``species=Art``.
        text_type : str
            How a taxon is written: ``sci``, ``com``, ``taxon``, ``sci_com``, ``taxon_com`` or
            ``asis``.
        templates : str
            Template set, text file, or one template with ``{}``.
        head : str, optional
            Text head that takes the place of texts: the name of one in the store, ``treeoflife``,
            or a ``.npy``. Added taxa stand beside its own, embedded by the recipe that it was made
            by.
        pool : {"max", "mean", "sum"}, optional
            How the texts of a class become one score: ``mean`` by default, of a head ``sum``.
        roll_up : bool
            Whether the probabilities of the lowest taxa are summed up to the rank.
        within : str, Path, or sequence of them, optional
            What may occur, by names (``!`` before what may not) or files. All candidates are
            scored; of what may not occur the answers say ``share_outside`` and ``best_outside``.
        country, admin1, site : str, optional
            Where all pictures were taken, for rules that count in some places; by default their
            columns say it.
        also : str, Path, or sequence of them, optional
            Taxa whose scores are given always, with ``also`` true in the table.
        every_rank : bool
            Whether the best at every rank down to ``level`` are given, summed up the tree.
        abstain : float, optional
            In (0, 1]: answer at the deepest rank whose summed probability reaches it.
        open_set : bool
            Whether columns say how little an image is like any class.
        adapter : str, optional
            Name of a probe of the kind ``adapter``, through which the pictures are seen; see
            :class:`bioprobe.probes.AdapterProbe`. Images that taught it judge nothing.
        prototypes : str, optional
            Head of image prototypes in the store, as :meth:`prototypes` makes it, that stands
            beside texts or a text head. Images that made it judge nothing.
        text_worth : float, optional
            Pictures that a text counts as beside a prototype: of n pictures it has the weight
            n / (n + ``text_worth``). By default the variance of pictures of a class over that of
            texts about it, from counts and spread.
        worth_where : str, optional
            Condition on labelled images on which it is chosen; these judge nothing.
        offset : float or "auto", optional
            Subtracted from the logits of all classes but the new ones.
        synonyms : str or Path, optional
            Table of synonyms and accepted names.
        k : int
            Answers an image, ≥ 1.
        sequence : str, optional
            With ``per="sequence"``, column whose equal values are one sequence; by default
            ``sequence_id``, ``seq_id`` or ``event_id``, without these times.
        gap_seconds : float, optional
            Pictures of one camera are a sequence that ``captured_at`` tells no further apart.
        rule : str
            How the answers to a sequence become one: ``log-mean``, ``mean``, ``max`` or ``vote``.
        content_rules : str, optional
            ``NAME=NUMBER,…``: thresholds by which boxes and answers together say what a picture
            holds, as :class:`bioprobe.ContentRules` has them.
        per : str, optional
            ``image``: what is in each picture, from the best answers to its regions; ``sequence``:
            one answer to the pictures of a burst or event together.
        columns : str or sequence of str, optional
            Columns of one's own that stand beside the answers in a table: ``all``, ``none`` or
            names; by default those whose names say which picture, where and when.
        prior : str or Path, optional
            Table of how frequent taxa are, by columns such as site and month that the pictures have
            too: probabilities are multiplied by the weight of their class, which stands in the
            column ``prior``; see :func:`bioprobe.task.prior.read_prior`.
        prior_floor : float
            Least weight of a class, relative to the greatest of its place.
        engine : {"local", "ray"}
            Where images are scored: in this process, or by the nodes of a Ray cluster.
        threads : int, optional
            Cores that some images take on a node.

        Returns
        -------
        Predictions, or Decisions with ``abstain``, or Contents with ``per``
            Scores are probabilities. The table has a row too for each picture that a mask leaves
            out and that could not be read.

        Raises
        ------
        PromptError
            If no taxon has a name at the rank, or a text type, template or candidate is unknown.
        MisuseError
            If options do not go together.

        Examples
        --------
        >>> store.zeroshot("family", k=1).to_frame()  # doctest: +SKIP
        >>> store.zeroshot("life_stage", classes={"adult": ["an adult", "a grown animal"],
        ...                                       "young": "a young animal"})  # doctest: +SKIP
        """
        from bioprobe.face.pages import show_answers_of
        from bioprobe.face.pictured import Pictured
        from bioprobe.face.zeroshot import (
            Adapter,
            Asked,
            Wording,
            ask_named,
            ask_taxa,
            find_head,
            refuse_for_head,
            refuse_for_values,
        )
        from bioprobe.images.image_table import read_level
        from bioprobe.task.beside import Beside
        from bioprobe.task.units import DEPTH, SEQUENCE, Pooling
        from bioprobe.taxonomy import Rank
        from bioprobe.taxonomy.synonyms import read_synonyms

        view = self._on(engine, threads)._view
        level = read_level(level, self._view.images)
        beside = Beside.of(self._view, columns)
        how, best = Pooling(sequence, gap_seconds, rule, ContentRules.parse(content_rules)), k
        k = DEPTH if per == SEQUENCE else k
        known = _read_prior(prior, prior_floor) if prior else None
        through = Adapter.of(self._view.store, adapter)
        if classes is not None or level not in RANK_NAMES:
            refuse_for_values(
                level, taxa=taxa, text_type=text_type != "taxon_com", head=head, pool=pool,
                roll_up=roll_up, within=within, abstain=abstain, also=also,
                every_rank=every_rank, open_set=open_set, offset=offset,
                synonyms=synonyms, prototypes=prototypes,
            )  # fmt: skip
            named = ask_named(
                view, self._notes, self._texts, classes, level, templates, k, known, through
            )  # fmt: skip
            return _pool(show_answers_of(named, beside), per, how, best)
        accepted = read_synonyms(str(synonyms)) if synonyms else {}
        opened, said = find_head(self._view, taxa, head, self._model)
        listed = open_list(taxa if opened is None or head is not None else None, rank_column)
        notes = (*self._notes, *said)
        given = {"country": country, "admin1": admin1, "site": site}
        asked = Asked(
            view, notes, Rank.parse(level), listed, within, accepted, k, abstain, prior=known,
            place={part: value for part, value in given.items() if value}, whole=per == SEQUENCE,
            also=also, every_rank=every_rank, adapter=through,
        )  # fmt: skip
        if opened is not None:
            refuse_for_head(
                opened, text_type=text_type != "taxon_com", templates=templates != "plain",
                roll_up=roll_up, open_set=open_set, offset=offset,
                rank_column=rank_column and head is None,
            )  # fmt: skip
        pictured = Pictured.of(self._view, prototypes, text_worth, worth_where)
        wording = Wording(text_type, templates, opened, pool, roll_up, open_set, offset, pictured)
        answers = show_answers_of(ask_taxa(asked, wording, self._find_texts), beside)
        return _pool(answers, per, how, best)


def _read_prior(prior: str | Path, floor: float) -> Prior:
    from bioprobe.task.prior import read_prior

    return read_prior(prior, floor=floor)


def _pool(answers: Predictions | Decisions, per: str | None, how: Pooling, k: int) -> Answers:
    """Return answers to rows as they are, or what they say of each unit."""
    if per is None:
        return answers
    from bioprobe.face.pooled_pages import pool_answers

    return pool_answers(answers, per, how, k)
