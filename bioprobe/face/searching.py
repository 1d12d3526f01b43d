"""Pictures are looked for: by pictures, texts, rows, and what to keep away from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.errors import MisuseError, SelectionError
from bioprobe.face.opened import Opened, name_counts
from bioprobe.files import prompts_dir, read_lines
from bioprobe.options import (
    LOCAL,
    Engine,
    EngineThreads,
    Option,
    With,
    WithAny,
    list_given,
    question,
)
from bioprobe.result import FACT, WARNING, Note, read_fields

if TYPE_CHECKING:
    from bioprobe import index
    from bioprobe.face.found_pages import Neighbors
    from bioprobe.store.view import View


Pictures = str | Path | Sequence[str | Path] | None
Texts = str | Sequence[str] | None
# A sequence of vectors or an array of one or several: numpy is not imported for a name.
Given = Any
RowNumbers = int | str | Sequence[int | str] | None
# Texts that a question is compared with where none are named.
_BACKGROUND = "animal"


class Seeks(Opened):
    """Pictures are looked for."""

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
        vector, minus_vector : ndarray or sequence of array-like, optional
            Vectors of the store's encoder, of shape (dim,) or (n, dim), or a list of such of shape
            (dim,): of pictures that are at hand; or pairs of one and its weight.
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
        from bioprobe.face.found_pages import Neighbors
        from bioprobe.index import Background, Enough, Terms, compose_question, search

        if save_mask is not None:
            self._refuse_mask(save_mask)
        if also is not None and (share is not None or save_mask is not None):
            flag = "--share" if share is not None else "--save-mask"
            msg = f"{flag} is of one store; leave it out, or ask one store at a time"
            raise MisuseError(msg)
        plus = Terms.read(
            list_given(image), list_given(text), list_given(row), _list_vectors(vector)
        )
        minus = Terms.read(
            list_given(minus_image), list_given(minus_text), list_given(minus_row),
            _list_vectors(minus_vector),
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
        from bioprobe.store.selections import SPLITS

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
        from bioprobe.index import find_in_other, join_neighbors, search
        from bioprobe.quality.against import check_encoders
        from bioprobe.store.view import View

        said: list[Note | str] = []
        parts = [found]
        known = [ours]
        for one in also:
            other = one._view if isinstance(one, Opened) else self._open_others(one)[0]
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


def _is_same_view(one: View, other: View) -> bool:
    import numpy as np

    same_folder = one.folder.resolve() == other.folder.resolve()
    return same_folder and np.array_equal(one.rows, other.rows)


def _list_vectors(given: Given) -> Sequence[Any]:
    """Return vectors one by one, of which an array may be one or several."""
    if given is None:
        return ()
    ndim = getattr(given, "ndim", None)
    return [given] if ndim == 1 else list(given)


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
