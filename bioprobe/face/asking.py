"""Questions that need no label: zero-shot, search, filter, duplicates, description."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.errors import MisuseError
from bioprobe.face.opened import Opened, name_counts, tell_placeholders
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
    SeedOption,
    SequenceColumn,
    Site,
    Taxa,
    Templates,
    TextTypeName,
    ThroughAdapter,
    With,
    WithAny,
    Within,
    Without,
    list_given,
    question,
    split_names,
)
from bioprobe.result import FACT, WARNING, Note

if TYPE_CHECKING:
    from bioprobe import index
    from bioprobe.face.found_pages import Neighbors
    from bioprobe.face.pages import Contents, Decisions, Predictions
    from bioprobe.face.quality_pages import Duplicates, Flaws, NoiseFilter, Overlap, Repeats
    from bioprobe.quality import against, flaws, noise
    from bioprobe.quality import repeats as repeated
    from bioprobe.quality.closest import ClosestPairs
    from bioprobe.quality.description import Description
    from bioprobe.store.view import View

Pictures = str | Path | Sequence[str | Path] | None
Texts = str | Sequence[str] | None
Given = Sequence[Any] | None
RowNumbers = int | str | Sequence[int | str] | None

# Why the texts of a head cannot be written otherwise.
_FIXED = "whose texts, also of added taxa, are written by the recipe that it was made by"
# Texts that a question is compared with where none are named.
_BACKGROUND = "animal"
# Classes of which a filter names the share that it drops.
_SHOWN = 10
# Pairs on either side of a threshold that are named; a page shows more.
_CLOSEST = 3


# Of what is asked of a filter by texts alone.
_ASKED = Without("repeats", "blurred", "dark", "odd_size")


class Asks(Opened):
    """What can be asked of pictures alone."""

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
        from bioprobe.content import ContentRules
        from bioprobe.face.pages import pool_answers, show_answers_of
        from bioprobe.face.pictured import Pictured
        from bioprobe.face.taxa import open_list
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
        from bioprobe.task.prior import read_prior
        from bioprobe.task.sequences import DEPTH, SEQUENCE, Pooling
        from bioprobe.taxonomy import Rank
        from bioprobe.taxonomy.synonyms import read_synonyms

        view = self._on(engine, threads)._view
        level = read_level(level, self._view.images)
        beside = Beside.of(self._view, columns)
        how, best = Pooling(sequence, gap_seconds, rule, ContentRules.parse(content_rules)), k
        k = DEPTH if per == SEQUENCE else k
        known = read_prior(prior, floor=prior_floor) if prior else None
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
            return pool_answers(show_answers_of(named, beside), per, how, best)
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
        return pool_answers(answers, per, how, best)

    @question
    def search(
        self,
        *,
        image: Annotated[
            Pictures,
            Option(
                "Picture to look for; may be given several times. FILE::2 counts it twice, "
                "FILE::-1 keeps away from it.",
                shell=list[Path],
            ),
        ] = None,
        text: Annotated[
            Texts,
            Option(
                "Text to look for; may be given several times. TEXT::2 counts it twice, TEXT::-1 "
                "keeps away from it; a :: that is part of the text is written \\::.",
                shell=list[str],
            ),
        ] = None,
        row: Annotated[
            RowNumbers,
            Option(
                "Row of the store to look for, or ROW::WEIGHT; it is no answer itself.",
                shell=list[str],
            ),
        ] = None,
        minus_image: Annotated[
            Pictures, Option("Picture to keep away from.", shell=list[Path])
        ] = None,
        minus_text: Annotated[
            Texts,
            Option('Text to keep away from, such as "a zoo fence".', shell=list[str]),
        ] = None,
        minus_row: Annotated[RowNumbers, Option("Row to keep away from.", shell=list[str])] = None,
        vector: Given = None,
        minus_vector: Given = None,
        minus_weight: Annotated[
            float,
            Option(
                "How much what to keep away from counts against the rest.",
                least=0,
                when=(WithAny("minus_image", "minus_text", "minus_row"),),
            ),
        ] = 0.5,
        weight: Annotated[
            float | Sequence[float] | None,
            Option(
                "Weight of a term, one for each in order, in place of ::WEIGHT; below 0 it is "
                "kept away from.",
                shell=list[float],
            ),
        ] = None,
        min_similarity: Annotated[
            float | None,
            Option("Give all images of this cosine similarity or more.", least=-1, most=1),
        ] = None,
        share: Annotated[
            float | None,
            Option(
                "Give the best share of the images that may be answers, such as 0.01, rounded up.",
                least=0,
                most=1,
            ),
        ] = None,
        over_background: Annotated[
            float | None,
            Option(
                "Give all images that are nearer to the question than to background texts, by this "
                "much in --background-as: such as 2, or a probability of 0.5. Nearest first, with "
                "the value as a column.",
                when=(With("text"),),
            ),
        ] = None,
        background: Annotated[
            Texts,
            Option(
                "Texts that an image may be like as well: animal, plant or specimen (all phrases "
                "of bioprobe filter --keep), a .toml or .txt file, or a text; may be given several "
                "times. Without --over-background the value is only a column. [default: animal]",
                shell=list[str],
                when=(With("text"),),
            ),
        ] = None,
        background_as: Annotated[
            str,
            Option(
                "z: how many standard deviations above the mean similarity of the background. "
                "probability: softmax over question and background.",
                choices=("z", "probability"),
                fixed=True,
                when=(WithAny("over_background", "background"),),
            ),
        ] = "z",
        deduplicate: Annotated[
            bool,
            Option("Of copies (by bioprobe dedupe, else by bytes) only the nearest."),
        ] = False,
        exclude_query: Annotated[
            bool | None,
            Option(
                "Whether the images that are asked by may be answers. By default --row may not, "
                "and --image may.",
                ("--exclude-query/--include-query",),
                shell=bool,
                when=(WithAny("image", "row", "minus_image", "minus_row"),),
            ),
        ] = None,
        exact: Annotated[
            bool,
            Option(
                "Compare all vectors, whatever index the store has; thresholds do so by themselves."
            ),
        ] = False,
        k: Annotated[
            int | None,
            Option(
                "Answers, at most. [default: 10; with a threshold all that reach it]",
                ("-k", "--k"),
                least=1,
            ),
        ] = None,
        save_mask: Annotated[
            str | None,
            Option(
                "Keep the answers as a mask of that name, such as searches/snow, for --mask of "
                "every other command.",
                metavar="NAME",
            ),
        ] = None,
        engine: Engine = LOCAL,
        threads: EngineThreads = None,
        also: str | Path | Opened | Sequence[str | Path | Opened] | None = None,
    ) -> Neighbors:
        r"""Find the images nearest to a picture, a text, a row, or several together.

        All terms add up, but for those to keep away from: an image ranks by its similarity to the
        weighted mean of what is looked for, less ``minus_weight`` times that to the mean of what is
        not.

        Parameters
        ----------
        image, minus_image : str, Path, or sequence of them, optional
            Picture files to look for, and to keep away from; ``FILE::2`` has a weight.
        text, minus_text : str or sequence of str, optional
            Texts; ``TEXT::2`` has a weight, and a ``::`` that is part of a text is written ``\::``.
        row, minus_row : int, str, or sequence of them, optional
            Rows of the store; ``"3::2"`` has a weight.
        vector, minus_vector : sequence of array-like, optional
            Vectors of the store's encoder, each of shape (dim,): of pictures that are at hand; or
            pairs of one and its weight.
        minus_weight : float
            How much what to keep away from counts, ≥ 0. At 1, little of what both have in common
            is left.
        weight : float or sequence of float, optional
            One for each term, none of them 0: pictures, texts, rows and vectors to look for, then
            those to keep away from. Of what is looked for, terms below 0 are kept away
            from, by so much against the others' sum.
        min_similarity : float, optional
            Least cosine similarity, in [-1, 1].
        share : float, optional
            Best share of the images that may be answers, in (0, 1]. Of several thresholds an image
            reaches all.
        over_background : float, optional
            Least value above the background, in the form of ``background_as``.
        background : str or sequence of str, optional
            Sets that ship, files, or texts, that stand in place of the texts looked for.
        background_as : {"z", "probability"}
            How the place above the background is told.
        deduplicate : bool
            Whether of copies the nearest alone is given.
        exclude_query : bool, optional
            Whether the images that are asked by are no answers; by default rows are none, and
            pictures may be.
        exact : bool
            Whether all vectors are compared although there is an index; with a threshold they are.
        k : int, optional
            Answers at most, ≥ 1; by default 10, with a threshold all that reach it.
        save_mask : str, optional
            Name of a mask to keep: it keeps the answers and drops what else was asked.
        engine : {"local", "ray"}
            Where vectors are compared: in this process, or all of them by the nodes of a Ray
            cluster, whatever index the store has.
        threads : int, optional
            Cores that some vectors take on a node.
        also : str, Path, Store, or sequence of them, optional
            Further stores of the same encoder, whose images are answers too, in one ranking: the
            column ``store`` says whose. A mask or condition holds for them too, and rows that are
            looked for are of this store.

        Returns
        -------
        Neighbors
            Nearest first. A notebook draws the pictures.

        Raises
        ------
        SourceError
            If nothing is looked for, there is no such file, or a weight is none.
        ImageReadError
            If a picture cannot be decoded.
        StoreError
            If a mask of that name was made by another command.

        See Also
        --------
        bioprobe.index.Background : the two forms.

        Examples
        --------
        >>> store.search(text="a spotted cat on snow", k=10)  # doctest: +SKIP
        >>> store.search(text=["a cat::2", "snow"], over_background=2)  # doctest: +SKIP
        """
        from bioprobe.face.chosen import read_fields
        from bioprobe.face.found_pages import Neighbors
        from bioprobe.index import Background, Enough, Terms, compose_question, search

        if save_mask is not None:
            self._refuse_mask(save_mask)
        if also is not None and (share is not None or save_mask is not None):
            flag = "--share" if share is not None else "--save-mask"
            msg = f"{flag} is of one store; leave it out, or ask one store at a time"
            raise MisuseError(msg)
        plus = Terms.read(list_given(image), list_given(text), list_given(row), vector or ())
        minus = Terms.read(
            list_given(minus_image), list_given(minus_text), list_given(minus_row),
            minus_vector or (),
        )  # fmt: skip
        plus, minus = _weigh(plus, minus, list_given(weight))
        asked = compose_question(
            self._view.store, self._texts, plus, minus, minus_weight=minus_weight
        )
        above = None
        if over_background is not None or background is not None:
            named = list_given(background) or [_BACKGROUND]
            texts = _read_background(named)
            above = Background(
                texts, self._texts.encode_text(texts), named, background_as, over_background,
                self._view.manifest.logit_scale,
            )  # fmt: skip
        view = self._on(engine, threads)._view
        found = search(
            view, asked, k=k, enough=Enough(min_similarity, share, above),
            exclude_own=exclude_query, deduplicate=deduplicate, exact=exact,
        )  # fmt: skip
        said = [*_describe_question(found), *_describe_way(found), *_describe_hits(found)]
        if also is not None:
            found, further = self._search_also(
                view, asked, found, list_given(also), k, exclude_own=exclude_query,
                deduplicate=deduplicate, exact=exact,
            )  # fmt: skip
            said += further
        if save_mask is not None:
            found.write_mask(self._view, save_mask)
            said.append(f"kept as a mask; use it with: --mask {save_mask}")
        return Neighbors(**read_fields(found)).say((*self._notes, *said))

    def _refuse_mask(self, name: str) -> None:
        """Refuse a name that is no mask's, before there is any work to lose."""
        from bioprobe.face.keeping import SPLITS

        if self._view.origin:
            msg = "--save-mask is of a store; embed the pictures into one, then search there"
            raise MisuseError(msg)
        if name.startswith(SPLITS):
            msg = f"{name} would be a split; name a mask otherwise, such as searches/snow"
            raise MisuseError(msg)

    def _search_also(
        self, ours: View, asked: index.Question, found: index.Neighbors,
        also: list[str | Path | Opened], k: int | None, *, exclude_own: bool | None,
        deduplicate: bool, exact: bool,
    ) -> tuple[index.Neighbors, list[Note | str]]:  # fmt: skip
        """Ask further stores the same, and put all answers into one ranking."""
        from bioprobe.errors import SelectionError
        from bioprobe.index import find_in_other, join_neighbors, search
        from bioprobe.quality.against import check_encoders
        from bioprobe.store import EmbeddingStore
        from bioprobe.store.view import View

        said: list[Note | str] = []
        parts = [found]
        known = [ours]
        for one in also:
            other = (
                one._view
                if isinstance(one, Opened)
                else EmbeddingStore.open(one).counting(ours.store.counts)
            )
            view = View.all(other).on(ours.engine)
            check_encoders(ours, view)
            try:
                view = View.of(view, ours.condition or None, mask=ours.mask or None)
            except SelectionError as error:
                said.append(Note(f"nothing of {view.folder} may be an answer: {error}", WARNING))
                continue
            if any(_is_same_view(view, other) for other in known):
                text = f"{view.folder} is named more than once, and asked once"
                said.append(Note(text, WARNING))
                continue
            known.append(view)
            question = find_in_other(asked, ours.store, view.store)
            parts.append(
                search(
                    view, question, k=k, enough=found.enough, exclude_own=exclude_own,
                    deduplicate=deduplicate, exact=exact,
                )
            )  # fmt: skip
            ways = [*_describe_way(parts[-1]), *_describe_hits(parts[-1])]
            said += [
                Note(f"{view.folder}: {way}", way.kind if isinstance(way, Note) else FACT)
                for way in ways
            ]
        joined = join_neighbors(parts, k, deduplicate=deduplicate)
        folders = [one.provenance.store for one in parts]
        counts = {one: joined.stores.count(one) for one in dict.fromkeys(folders)}
        said.append(f"answers by store: {name_counts(counts)}")
        return joined, said

    @question
    def filter(
        self,
        keep: Annotated[
            str | Path | Sequence[str | Path],
            Option(
                "What is kept: animal, plant, specimen (what museums keep), or a .toml file of "
                "noise prompts; may be several, with commas or given several times.",
                shell=list[str],
                when=(_ASKED,),
            ),
        ] = ("animal",),
        *,
        labels: Annotated[
            str | None,
            Option(
                "Column that says of some images whether they are kept (animal or 1) or not (not "
                "animal or 0). The threshold is chosen on them; from 50 on, they replace the "
                "texts.",
                when=(_ASKED,),
            ),
        ] = None,
        recall: Annotated[
            float | None,
            Option(
                "Least share of the labelled images to keep. Default: best F1.",
                least=0,
                most=1,
                when=(With("labels"), Without("threshold")),
            ),
        ] = None,
        threshold: Annotated[
            float | None,
            Option(
                "Log-odds from which an image is kept. Default: by labels, else 0.",
                when=(_ASKED,),
            ),
        ] = None,
        by_content: Annotated[
            bool,
            Option(
                "Make the mask of the column content alone (animal, blank, human, vehicle); the "
                "pictures are not asked.",
                when=(Without("labels"), Without("threshold"), Without("taxa"), _ASKED),
            ),
        ] = False,
        level: Annotated[Level, _ASKED] = "family",
        taxa: Annotated[
            str | Path | None,
            Option(
                "Taxon list (as for zeroshot): an image without a label is also kept by the best "
                "text of any of its classes.",
                shell=str,
                when=(_ASKED,),
            ),
        ] = None,
        rank_column: ListColumns = None,
        seed: Annotated[
            int, SeedOption("Seed of the folds that measure the filter.", when=(With("labels"),))
        ] = 0,
        repeats: Annotated[
            bool,
            Option(
                "Drop what a detector finds in one place again and again, stones and branches, "
                "instead of asking what pictures hold: boxes of one camera that overlap and hold "
                "the like."
            ),
        ] = False,
        overlap: Annotated[
            float,
            Option(
                "Least intersection over union of two boxes in one place.",
                least=0.01,
                most=1,
                when=(With("repeats"),),
            ),
        ] = 0.6,
        similarity: Annotated[
            float,
            Option(
                "Least mean cosine similarity of the boxes of a group.",
                least=-1,
                most=1,
                when=(With("repeats"),),
            ),
        ] = 0.88,
        visits: Annotated[
            int,
            Option(
                "Least number of times, more than a minute apart, that it was seen.",
                least=2,
                when=(With("repeats"),),
            ),
        ] = 4,
        span: Annotated[
            str | None,
            Option(
                "Group only what is seen within so long, such as 30d. By default all of a camera.",
                when=(With("repeats"),),
            ),
        ] = None,
        confirm: Annotated[
            str | Sequence[str] | None,
            Option(
                "Groups of the last run that are stones, such as g3,g7, or all: dropped from then "
                "on.",
                shell=list[str],
                when=(With("repeats"),),
            ),
        ] = None,
        deny: Annotated[
            str | Sequence[str] | None,
            Option(
                "Groups of the last run that are none: kept from then on.",
                shell=list[str],
                when=(With("repeats"),),
            ),
        ] = None,
        blurred: Annotated[
            bool,
            Option(
                "Drop what is blurred, as was measured when the pictures were embedded, instead of "
                "asking what they hold.",
                when=(Without("repeats"),),
            ),
        ] = False,
        dark: Annotated[
            bool,
            Option(
                "Drop what is too dark, infrared pictures never.",
                when=(Without("repeats"),),
            ),
        ] = False,
        odd_size: Annotated[
            bool,
            Option(
                "Drop what has a side of less than 64 pixels, or one more than three times as long "
                "as the other.",
                when=(Without("repeats"),),
            ),
        ] = False,
        blurred_below: Annotated[
            float | None,
            Option(
                "Sharpness below which a picture is blurred. [default: chosen among these "
                "pictures, 0.54 to 0.6]",
                least=0,
                when=(With("blurred"),),
            ),
        ] = None,
        dark_below: Annotated[
            float | None,
            Option(
                "Brightness below which a picture is dark, 0 to 1. [default: chosen among these "
                "pictures, 0.3 to 0.42]",
                least=0,
                most=1,
                when=(With("dark"),),
            ),
        ] = None,
    ) -> NoiseFilter | Repeats | Flaws:
        """Tell pictures of what is kept from others, and keep a mask of them; nothing is deleted.

        Parameters
        ----------
        keep : str, Path, or sequence of them
            ``animal``, ``plant``, ``specimen``, or a TOML file of noise prompts; of several, what
            any of them keeps is kept. The mask is ``filters/animal``, or of that name, and of
            several ``filters/animal-plant``.
        labels : str, optional
            Column that says of some images whether they are kept.
        recall : float, optional
            Least share of the labelled images to keep, in [0, 1]; by default the best F1.
        threshold : float, optional
            Log-odds from which an image is kept; by default chosen on the labels, else 0.
        by_content : bool
            Whether the column ``content`` alone says what is kept. Without it, what the column says
            wins over the texts where no label does.
        level : str
            Rank or column of the classes whose share of dropped images is told.
        taxa : str or Path, optional
            Taxon list that an image without a label may be of.
        rank_column : mapping of str to str, or sequence of str, optional
            Columns of the list that hold a rank under another name.
        seed : int
            Of the folds that measure the filter.
        repeats : bool
            Whether instead boxes of a detector are dropped that lie in one place of a camera again
            and again and hold the like. The mask is ``filters/repeats``. A group that is more like
            boxes elsewhere that do not repeat, such as an animal that sleeps, is kept.
        overlap, similarity : float
            Least intersection over union, and least mean cosine similarity, of a group.
        visits : int
            Least number of times that it was seen.
        span : str, optional
            What is seen within so long is grouped, such as ``30d``.
        confirm, deny : str or sequence of str, optional
            Groups of the last run, ``g1`` or ``all``, that are, and are no, stones.
        blurred, dark, odd_size : bool
            Whether instead pictures are dropped that were taken badly: one or several of these. The
            mask is ``filters/flaws``. What looks as by infrared is not dark.
        blurred_below, dark_below : float, optional
            Sharpness and brightness below which a picture is; by default chosen among what is
            asked.

        Returns
        -------
        NoiseFilter, or Repeats with ``repeats``, or Flaws with ``blurred``, ``dark``, ``odd_size``
            One row an image: whether it is kept, its score, the reason. It can be asked at another
            threshold, and written as a page. Of repeats one row a box in a group.

        Raises
        ------
        PromptError
            If there are no such noise prompts.
        SelectionError
            If the labels cannot be used.

        Examples
        --------
        >>> store.filter("animal").write_page("dropped.html")  # doctest: +SKIP
        """
        if repeats:
            return self._filter_repeats(overlap, similarity, visits, span, confirm, deny)
        if blurred or dark or odd_size:
            return self._filter_flaws(
                {"blurred": blurred, "dark": dark, "odd size": odd_size},
                {"blurred": blurred_below, "dark": dark_below},
            )
        from bioprobe.face.chosen import read_fields
        from bioprobe.face.quality_pages import NoiseFilter
        from bioprobe.face.taxa import read_rank_columns
        from bioprobe.images.image_table import read_level
        from bioprobe.quality.noise import (
            filter_by_content,
            filter_noise,
            join_noise_prompts,
            read_noise_prompts,
        )
        from bioprobe.taxonomy import Rank
        from bioprobe.taxonomy.lists import read_taxonomy

        level = read_level(level, self._view.images)
        named = [name for one in list_given(keep) for name in split_names(str(one))]
        prompts = join_noise_prompts(map(read_noise_prompts, named))
        ranks = read_rank_columns(rank_column)
        listed = read_taxonomy(str(taxa), ranks).at(Rank.parse(level)) if taxa else None
        if by_content:
            found = filter_by_content(self._view, prompts)
        else:
            found = filter_noise(
                self._view, prompts, self._texts.encode_text, labels=labels, threshold=threshold,
                recall=recall, seed=seed, taxa=listed,
            )  # fmt: skip
        found.write(self._view.store)
        said = (*self._notes, *_describe_filter(found, level, lasts=not self._view.origin))
        return NoiseFilter(**read_fields(found), level=level).say(said)

    def _filter_repeats(
        self,
        overlap: float,
        similarity: float,
        visits: int,
        span: str | None,
        confirm: str | Sequence[str] | None,
        deny: str | Sequence[str] | None,
    ) -> Repeats:
        from bioprobe.face.chosen import read_fields
        from bioprobe.face.quality_pages import Repeats
        from bioprobe.quality.repeats import find_repeats

        found = find_repeats(
            self._view, overlap=overlap, similarity=similarity, visits=visits, span=span,
            confirm=_split_all(confirm), deny=_split_all(deny),
        )  # fmt: skip
        found.write(self._view.store)
        said = (*self._notes, *_describe_repeats(found, lasts=not self._view.origin))
        return Repeats(**read_fields(found)).say(said)

    def _filter_flaws(self, asked: dict[str, bool], below: dict[str, float | None]) -> Flaws:
        from bioprobe.face.chosen import read_fields
        from bioprobe.face.quality_pages import Flaws
        from bioprobe.quality.flaws import find_flaws

        found = find_flaws(
            self._view,
            [flaw for flaw, is_asked in asked.items() if is_asked],
            below={flaw: value for flaw, value in below.items() if value is not None},
        )
        found.write(self._view.store)
        said = (*self._notes, *_describe_flaws(found, below, lasts=not self._view.origin))
        return Flaws(**read_fields(found)).say(said)

    @question
    def dedupe(
        self,
        threshold: Annotated[
            float | None,
            Option(
                "Least cosine similarity of two images that are the same. Default: whatever it is "
                "where pictures look the same; where one cannot be read, from the similarities in "
                "the store, so that one image in 1,000 has a false copy.",
                least=-1,
                most=1,
            ),
        ] = None,
        *,
        confirm: Annotated[
            bool,
            Option(
                "Whether images must also look the same, as far as their pictures are known or can "
                "be read; without, their vectors alone decide."
            ),
        ] = True,
        against: Annotated[
            str | Path | None,
            Option(
                "Look in another store of the same encoder, or a file of its vectors that store "
                "import reads, for what is there too, instead of for copies in this store.",
                shell=Path,
            ),
        ] = None,
        engine: Annotated[Engine, Without("against")] = LOCAL,
        threads: EngineThreads = None,
    ) -> Duplicates | Overlap:
        """Find images that are in the store more than once, and keep one of each as a mask.

        Nothing is deleted: the mask ``filters/duplicates`` leaves the copies out where it is asked
        for.

        Parameters
        ----------
        threshold : float, optional
            Least cosine similarity of two images that are the same, in [-1, 1]; by default chosen
            by the similarities in the store, and only where a picture cannot be read.
        confirm : bool
            Whether their pictures must look the same too.
        against : str or Path, optional
            Another store, or a file of vectors, whose images are looked for here; the mask
            ``filters/against`` leaves them out. The pairs are kept in the cache of this machine,
            so that another threshold is answered without comparing again.
        engine : {"local", "ray"}
            Where vectors are compared: in this process, or by the nodes of a Ray cluster. Fewer
            than 50,000 images are compared here all the same, which takes seconds.
        threads : int, optional
            Cores that some vectors take on a node.

        Returns
        -------
        Duplicates, or Overlap with ``against``
            One row an image in a group: its group, whether it is kept, the similarity. Of an
            overlap one row an image that is there too, with the name and row it has there. Either
            can be asked at another threshold (``at``).

        Raises
        ------
        MismatchError
            If the other vectors are of another encoder.
        """
        if against is not None:
            return self._find_overlap(Path(against), threshold, confirm=confirm)
        from bioprobe.face.chosen import read_fields
        from bioprobe.face.quality_pages import Duplicates
        from bioprobe.quality import find_duplicates
        from bioprobe.store.selections import DUPLICATES_MASK

        view = self._on(engine, threads)._view
        found = find_duplicates(view, threshold=threshold, confirm=confirm)
        found.write(self._view.store)
        n_dropped = int((~found.kept).sum())
        said = [
            f"images: {len(found.rows):,}; groups of duplicates: {found.n_groups:,}; copies of an "
            f"image that is kept: {n_dropped:,} ({found.duplicate_fraction:.1%})"
        ]
        if found.n_unread or not confirm:
            what = f"{found.n_unread:,} near images could not be read to compare the pictures: "
            chosen = " (chosen by those in the store)" if threshold is None else ""
            said.append(
                f"{what if confirm else ''}vectors alone decided, from a similarity of "
                f"{found.threshold:.3f}{chosen}"
            )
        if found.recall is not None:
            said.append(
                "too many images to compare all near ones: of the near pairs of sampled images "
                f"the search found {found.recall}"
            )
        said += _describe_closest(found.closest, self._view.images.name_row)
        if not self._view.origin:
            said.append(f"kept as a mask; use it with: --mask {DUPLICATES_MASK}")
        return Duplicates(**read_fields(found)).say((*self._notes, *said))

    def _find_overlap(self, against: Path, threshold: float | None, *, confirm: bool) -> Overlap:
        from bioprobe.face.chosen import read_fields
        from bioprobe.face.quality_pages import Overlap
        from bioprobe.interchange.others import open_others
        from bioprobe.quality import find_overlap
        from bioprobe.quality.against import AGAINST_MASK

        others = open_others(against, self._view)
        found = find_overlap(self._view, others, threshold=threshold, confirm=confirm)
        found.write(self._view.store)
        said = describe_overlap(found, self._view.images.name_row)
        if not self._view.origin:
            said.append(f"kept as a mask of the others; use it with: --mask {AGAINST_MASK}")
        return Overlap(**read_fields(found)).say((*self._notes, *said))

    @question
    def describe(
        self,
        level: Annotated[
            str | None,
            Option(
                "List the classes at a rank, or the values of a column, instead of the ranks.",
                ("--level", "--rank", "-l"),
                RANK_NAMES,
            ),
        ] = None,
        *,
        measure: Annotated[
            bool,
            Option(
                "Measure pictures that were not when they were embedded, such as those of an older "
                "store: how sharp and light they are, whether by infrared. No encoder is loaded.",
            ),
        ] = False,
    ) -> Description:
        """Describe the images before any learning: classes, imbalance, sizes, modes, copies, holes.

        Parameters
        ----------
        level : str, optional
            Rank or column whose classes the table lists; by default it lists the ranks.
        measure : bool
            Whether pictures are measured that were not when they were embedded; their files are
            read for it.

        Returns
        -------
        Description

        Examples
        --------
        >>> store.describe("family").to_frame()  # doctest: +SKIP
        """
        from bioprobe.quality.description import describe_images

        said = list(self._notes)
        if measure:
            from bioprobe.images.measures import measure_picture
            from bioprobe.quality.seeing import read_seen
            from bioprobe.store.look_cache import MEASURES

            _, known = read_seen(
                self._view, MEASURES, measure_picture, progress=self._view.progress
            )
            if not known.all():
                text = (
                    f"{int((~known).sum()):,} pictures were not measured: their files are not "
                    "there, or cannot be read"
                )
                said.append(Note(text, WARNING))
        found = describe_images(self._view, level)
        return found.say((*said, *_describe_images(found)))


def _is_same_view(one: View, other: View) -> bool:
    import numpy as np

    same_folder = one.folder.resolve() == other.folder.resolve()
    return same_folder and np.array_equal(one.rows, other.rows)


def _weigh(
    plus: index.Terms, minus: index.Terms, weights: Sequence[float]
) -> tuple[index.Terms, index.Terms]:
    """Return terms with the weights that are given for all of them in order."""
    if not weights:
        return plus, minus
    names = [*plus.name(), *minus.name()]
    if len(weights) != len(names):
        msg = (
            f"--weight is given once for each term, {len(names)} in all ({', '.join(names)}), got "
            f"{len(weights)}; or write the weight behind a term, as in TEXT::2"
        )
        raise MisuseError(msg)
    return plus.weigh(weights[: len(plus)]), minus.weigh(weights[len(plus) :])


def _read_background(named: Sequence[str]) -> list[str]:
    """Return background texts, each once: phrases of sets, lines of files, and texts."""
    from bioprobe.files import prompts_dir, read_lines
    from bioprobe.quality.noise import read_noise_prompts

    shipped = {file.stem for file in (prompts_dir() / "noise").glob("*.toml")}
    texts: list[str] = []
    for name in named:
        if name in shipped or name.endswith(".toml"):
            found = read_noise_prompts(name)
            texts += [one for side in (found.kept, found.dropped) for one in sum(side.values(), ())]
        elif name.endswith(".txt"):
            lines = read_lines(Path(name))
            texts += [line for line in lines if line and not line.startswith("#")]
        else:
            texts.append(name)
    return list(dict.fromkeys(texts))


def _describe_question(found: index.Neighbors) -> list[str]:
    """Say what was asked, where terms have weights of their own."""
    asked = found.question
    has_weights = asked.plus_terms.weights or asked.minus_terms.weights
    return [f"asked: {asked.text}"] if has_weights else []


def _describe_hits(found: index.Neighbors) -> list[Note | str]:
    """Say how many images are enough, and how many of them are given."""
    facts, enough = found.provenance.options, found.enough
    said: list[Note | str] = []
    above = enough.background
    if above is not None:
        said.append(f"background: {len(above.texts):,} texts of {', '.join(above.names)}")
        if above.form == "probability" and above.logit_scale == 1:
            text = "the logit scale is not known, so probabilities are flat: --background-as z"
            said.append(Note(text, WARNING))
    if not enough.is_threshold:
        return said
    n_asked, n_reached = found.provenance.n_rows, facts["n_reached"]
    if not n_reached:
        nearest = dict(facts["nearest"])
        row = nearest.pop("row")
        its = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in nearest.items())
        text = f"no image of {n_asked:,} reaches {enough.explain()}; the nearest, row {row}: {its}"
        return [*said, Note(text, WARNING)]
    text = f"{n_reached:,} of {n_asked:,} images reach {enough.explain()}"
    if "n_distinct" in facts:
        text += f", {facts['n_distinct']:,} without copies"
    if len(found.rows) < facts.get("n_distinct", n_reached):
        text += f"; the nearest {len(found.rows):,} are given, as -k says"
    return [*said, text]


def _describe_closest(
    closest: ClosestPairs | None,
    name: Callable[[int], str],
    name_other: Callable[[int], str] | None = None,
) -> list[str]:
    """Say which pairs are nearest to a threshold, so that a person can judge it."""
    import numpy as np

    if closest is None or not len(closest):
        return []
    said = [f"pairs of other bytes nearest to the threshold of {closest.threshold:.4f}:"]
    distances = closest.similarities - np.float32(closest.threshold)
    near = [
        places[np.argsort(np.abs(distances[places]), kind="stable")][:_CLOSEST]
        for places in (np.flatnonzero(distances >= 0), np.flatnonzero(distances < 0))
    ]
    for at in [*near[0][::-1].tolist(), *near[1].tolist()]:
        one, other = int(closest.first[at]), int(closest.second[at])
        said.append(
            f"  {closest.similarities[at]:.4f} {name(one)} and {(name_other or name)(other)}: "
            f"{closest.explain(at)}"
        )
    return said


def describe_overlap(found: against.Overlap, name: Callable[[int], str]) -> list[Note | str]:
    """Say how many images are in another collection too, by what, and what is nearly."""
    others, is_copy = found.others, found.is_copy
    kinds = found.to_frame()["kind"].value_counts().to_dict()
    n_found = int(is_copy.sum())
    share = n_found / max(1, len(found.rows))
    text = (
        f"images: {len(found.rows):,}; in {others.name} ({others.n_rows:,} images) too: "
        f"{n_found:,} ({share:.1%})"
    )
    words = {"exact": "of the same bytes", "near": "that look the same",
             "vector": "by their vectors alone"}  # fmt: skip
    if kinds:
        text += ": " + ", ".join(f"{n:,} {words[str(kind)]}" for kind, n in kinds.items())
    said: list[Note | str] = [text]
    chosen = " (chosen by those there)" if found.provenance.options["threshold_is_chosen"] else ""
    said.append(
        f"vectors alone decide from a similarity of {found.alone:.4f}{chosen}, pictures are "
        f"compared from {found.lowest:.4f}; from {found.floor:.4f} on another --threshold is "
        "answered by what is kept in the cache"
    )
    if not others.is_told:
        text = (
            f"{others.name} does not say which encoder made its vectors: that it is this store's "
            "is your word"
        )
        said.append(Note(text, WARNING))
    listed = dict(
        zip(found.closest.second.tolist(), others.name_rows(found.closest.second), strict=True)
    )
    return [*said, *_describe_closest(found.closest, name, listed.__getitem__)]


def _describe_way(found: index.Neighbors) -> list[str]:
    """Say by which index, where there is one."""
    facts = found.provenance.options
    if "index_unread" in facts:
        return [f"exact search, as the index cannot be used: {facts['index_unread']}"]
    if facts["index"] == "flat":
        return []
    if found.enough.is_threshold:
        return ["exact search, not the index, so that a threshold misses none"]
    if facts["exact"]:
        return ["exact search, not the index: asked for, or few images may be answers"]
    grown = "; the store has grown since: run bioprobe store index" * facts["index_outgrown"]
    return [
        f"by the {facts['index']} index, which finds {facts['recall']:.1%} of the "
        f"{facts['recall_k']} nearest (--exact compares all){grown}"
    ]


def _describe_filter(found: noise.NoiseFilter, level: str, *, lasts: bool) -> list[Note | str]:
    n_dropped = int((~found.kept).sum())
    use = f"; use it with: --mask filters/{found.name}" if lasts else ""
    said: list[Note | str] = [
        f"images: {len(found.rows):,}; dropped: {n_dropped:,} ({n_dropped / len(found.rows):.1%}); "
        f"by {found.method}, threshold {found.threshold:.3g}{use}"
    ]
    if found.quality:
        q = found.quality
        said.append(
            f"on {q.n_labels} labelled images, each by what was learnt from others: AUROC "
            f"{q.auroc:.3f}; dropping: precision {q.precision_fraction:.3f}, recall "
            f"{q.recall_fraction:.3f}, F1 {q.f1_fraction:.3f}; kept of those to keep: "
            f"{q.kept_fraction:.3f}"
        )
    rates = found.count_drops(level)
    # What is to be warned of stands among those shown, however many classes lose more.
    rates = rates.sort_values("suspicious", ascending=False, kind="stable")
    for row in rates[rates["dropped_fraction"] > 0].head(_SHOWN).to_dict("records"):
        name = row["class"] or f"(no {level})"
        text = f"  {name}: {row['dropped_fraction']:.1%} of {row['n_images']:,} dropped"
        if row["suspicious"]:
            said.append(
                Note(f"{text}  WARNING: more than the overall rate, beyond chance", WARNING)
            )
        else:
            said.append(Note(text))
    return said


def _split_all(given: str | Sequence[str] | None) -> list[str]:
    return [name for one in list_given(given) for name in split_names(str(one))]


def _describe_repeats(found: repeated.Repeats, *, lasts: bool) -> list[Note | str]:
    """Say what stands still, what is left out of it, and how a person has the last word."""
    n_boxes = int((found.groups >= 0).sum())
    n_dropped = int((~found.kept).sum())
    use = "; use it with: --mask filters/repeats" if lasts else ""
    said: list[Note | str] = [
        f"rows: {len(found.rows):,}; groups that stand in one place: {found.n_groups:,}, of "
        f"{n_boxes:,} boxes; dropped: {n_dropped:,} ({n_dropped / len(found.rows):.1%}){use}"
    ]
    why = {
        "repeat": "dropped: the like stands still elsewhere too, or is nowhere else",
        "like what passes": "kept: more like boxes that do not repeat, as an animal that sleeps is",
        "nothing to compare with": "kept: every other box of the store repeats as well",
        "confirmed": "dropped, as a person said",
        "denied": "kept, as a person said",
    }
    for finding, (n_groups, n) in found.count().items():
        said.append(f"  {finding}: {n_groups:,} groups, {n:,} boxes; {why[finding]}")
    n_alone = int(((found.groups < 0) & ~found.kept).sum())
    if n_alone:
        said.append(f"  {n_alone:,} boxes are in no group now and dropped, as a person said before")
    if lasts and found.n_groups:
        said.append("look at them with --html FILE; say what they are with --confirm and --deny")
    return said


def _describe_flaws(
    found: flaws.Flaws, below: dict[str, float | None], *, lasts: bool
) -> list[Note | str]:
    """Say how many pictures were taken badly, and by which thresholds."""
    from bioprobe.quality.flaws import RULES

    n_dropped = int((~found.kept).sum())
    use = "; use it with: --mask filters/flaws" if lasts else ""
    said: list[Note | str] = [
        f"images: {len(found.rows):,}; dropped: {n_dropped:,} ({n_dropped / len(found.rows):.1%})"
        f"{use}"
    ]
    for flaw, n in found.count().items():
        text = f"  {flaw}: {n:,}"
        if flaw in found.thresholds:
            chosen = "chosen here" if below[flaw] is None else "as given"
            text += f"; {RULES[flaw].measure} below {found.thresholds[flaw]:.3f}, {chosen}"
        said.append(text)
    n_night = int((found.measured.known & found.measured.values["night"]).sum())
    if n_night and "dark" in found.looked_for:
        said.append(f"  {n_night:,} look as by infrared, which is not dark")
    return said


def _describe_looks(looks: flaws.Looks, n_images: int) -> list[str]:
    """Say how the pictures were taken."""
    if not looks.n_measured:
        return ["how sharp and light the pictures are is not known: --measure reads them for it"]
    said = []
    for name in ("sharpness", "brightness", "contrast"):
        least, low, median, high, most = looks.quartiles[name]
        said.append(
            f"{name}: median {median:.2f}, half in {low:.2f} to {high:.2f}, all in {least:.2f} to "
            f"{most:.2f}"
        )
    found = name_counts({"by infrared": looks.n_night, **looks.flaws})
    of = "" if n_images == looks.n_measured else f" of {looks.n_measured:,} that were measured"
    return [*said, f"as they were taken{of}: {found}"]


def _describe_images(found: Description) -> list[str | Note]:
    said: list[str | Note] = [
        f"images: {found.n_images:,}; files that could not be read: {found.n_failures:,}"
    ]
    if found.n_unsized < found.n_images:
        for side, sizes in zip(("width", "height"), found.sizes_px, strict=True):
            least, low, median, high, most = (f"{size:,.0f}" for size in sizes)
            said.append(
                f"{side}: median {median} px, half in {low} to {high}, all in {least} to {most}"
            )
    if found.modes:
        said.append(f"modes: {name_counts(found.modes)}")
    near = "not looked for (bioprobe dedupe)" if found.n_near is None else f"{found.n_near:,}"
    said.append(
        f"copies of the same bytes: {found.n_copies:,}; of exact and near duplicates: {near}"
    )
    if found.looks is not None:
        said += _describe_looks(found.looks, found.n_images)
    if found.missing:
        said.append(f"without a value: {name_counts(found.missing)}")
    if found.n_damaged:
        text = f"damaged, of which what could be decoded was taken: {found.n_damaged:,}"
        said.append(Note(f"{text} ({name_counts(found.damage)})", WARNING))
    if found.columns and not any(counts.names for counts in found.ranks):
        said.append(f"no image has a taxon; columns that --level takes: {', '.join(found.columns)}")
    return [*said, *tell_placeholders(found.n_placeholders, found.placeholders)]
