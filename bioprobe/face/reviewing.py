"""A review is begun: what is asked of people, what proposes, and what answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.errors import MisuseError, SelectionError
from bioprobe.face.annotations import Corrects, Person
from bioprobe.face.learning import Learns
from bioprobe.face.lists import open_list
from bioprobe.face.written import find_person
from bioprobe.options import (
    GIVEN,
    Level,
    ListColumns,
    NamedClasses,
    NumberOfAnswers,
    Option,
    SeedOption,
    Taxa,
    Templates,
    TextTypeName,
    WhichLabels,
    Without,
    question,
)
from bioprobe.result import FACT, Note

if TYPE_CHECKING:
    from bioprobe.face.review import Review
    from bioprobe.reviewing.learner import ClassTexts
    from bioprobe.store import EmbeddingStore

#: Methods that answer in a review; those that learn from vectors alone, and two that read texts.
REVIEW_METHODS = ("linear", "prompt+probe", "zeroshot", "lda", "ridge", "knn", "centroid")


class Reviews(Learns, Corrects):
    """What people are shown, so that what they say helps most."""

    @question
    def review(
        self,
        level: Level = "species",
        *,
        by: Person = None,
        mix: Annotated[
            Mapping[str, float] | str | None,
            Option(
                "What is shown: doubt (least certain, no two alike), margin (least certain), "
                "disagreement (of methods), coverage (most unlike what is labelled), suspected "
                "(wrong labels), audit (drawn at random, for what is said of all pictures), "
                "confident (the surest of one class, --of), nearest (to a picture, --like); each "
                "with its share. [default: doubt=.8,audit=.2]",
                shell=str,
                metavar="NAME=SHARE,…",
            ),
        ] = None,
        batch: Annotated[int, Option("Pictures between which what answers learns.", least=1)] = 20,
        method: Annotated[
            str,
            Option(
                "What answers, and learns: linear; prompt+probe, which starts from the texts of "
                "classes; zeroshot, the texts alone; lda, ridge, knn or centroid. Before two "
                "classes have a picture texts answer, where there are any.",
                choices=REVIEW_METHODS,
                fixed=True,
            ),
        ] = "linear",
        C: Annotated[  # noqa: N803 - scikit-learn's name
            float | None,
            Option("Inverse regularisation of linear and prompt+probe. [default: 100]", ("--C",)),
        ] = None,
        of: Annotated[
            str | None,
            Option(
                "Class that confident is of; by default that which most "
                "waiting pictures are taken for."
            ),
        ] = None,
        like: Annotated[
            int | str | None,
            Option(
                "Row of the store that nearest is of, or the picture as answers name it.",
                shell=str,
                metavar="ROW|PICTURE",
            ),
        ] = None,
        overlap: Annotated[
            float,
            Option(
                "Share of what is shown that somebody else has answered already, so that it can be "
                "told how far people agree.",
                least=0,
                most=1,
            ),
        ] = 0.0,
        k: NumberOfAnswers = 5,
        trust_labels: Annotated[
            bool,
            Option(
                "Count labels that came with the pictures as right. Else they are claims: random "
                "draws check them as they do answers."
            ),
        ] = False,
        labels: WhichLabels = None,
        classes: NamedClasses = None,
        taxa: Annotated[Taxa, Without("classes")] = None,
        rank_column: ListColumns = None,
        text_type: Annotated[TextTypeName, Without("classes")] = "taxon_com",
        templates: Templates = "plain",
        seed: Annotated[int, SeedOption("Seed of what is drawn.")] = 0,
    ) -> Review:
        """Begin a review: pictures are proposed, and what is answered is learnt after each batch.

        No picture is encoded, and no text but those of classes that are new to the store.

        Parameters
        ----------
        level : str
            Rank or column that is asked for.
        by : str, optional
            Who answers; by default ``$BIOPROBE_PERSON``, or the name that this machine knows.
        mix : mapping of str to float, or str, optional
            Share of each strategy; see :data:`bioprobe.registry.STRATEGIES`.
        batch : int
            Pictures between which what answers learns.
        method : str
            What answers.
        C : float, optional
            Inverse regularisation of ``linear`` and ``prompt+probe``.
        of : str, optional
            Class that ``confident`` is of.
        like : int or str, optional
            Row that ``nearest`` is of, or the picture, of several regions the first.
        overlap : float
            Share of what is shown that somebody else has answered already.
        k : int
            Answers to each picture.
        trust_labels : bool
            Whether labels that came with the pictures count as right, and are not drawn at random.
        labels : {"both", "given", "confirmed"}, optional
            Which labels teach; see :meth:`where`.
        classes, taxa, rank_column, text_type, templates
            Classes that there may be although no picture has them, and how they are written.
        seed : int
            Of what is drawn.

        Returns
        -------
        Review
            ``next()`` shows a batch, ``answer()`` writes what is said of it.

        Raises
        ------
        MisuseError
            If a strategy or an option cannot be.
        SelectionError
            If there is no such level or row, or no image is left.
        ProbeError
            If the method starts from texts and there are none.

        Examples
        --------
        >>> review = store.review("species", by="anna")  # doctest: +SKIP
        >>> batch = review.next()  # doctest: +SKIP
        >>> review.answer([{"row": one.row, "verdict": "is"} for one in batch.pictures])
        ... # doctest: +SKIP
        """
        from bioprobe.face.review import Review
        from bioprobe.reviewing.desk import read_mix
        from bioprobe.task.target import Target

        if labels == GIVEN:
            msg = "a review learns from what people say: --labels is both or confirmed, got given"
            raise MisuseError(msg)
        shares = read_mix(mix)
        name = Target.of(level, images=self._view.images).name
        chosen = self if labels is None else self.where(labels=labels)
        row = None if like is None else _find_row(chosen._view.store, like)
        settings = {} if C is None else {"C": C}
        if C is not None and method not in {"linear", "prompt+probe"}:
            msg = f"--C is of linear and prompt+probe, got --method {method}; leave it out"
            raise MisuseError(msg)
        written = {
            "classes": classes, "taxa": taxa, "rank_column": rank_column, "text_type": text_type,
            "templates": templates,
        }  # fmt: skip
        known, texts, notes = chosen._find_classes(name, method, shares, written)
        mixed = ", ".join(f"{one} {share:.0%}" for one, share in shares.items())
        said = [
            *self._notes, *notes,
            Note(f"review of {len(chosen):,} pictures at {name}: {mixed}; batches of {batch:,}"),
        ]  # fmt: skip
        return Review(
            chosen, name, by=find_person(by), mix=shares, batch=batch, method=method,
            settings=settings, texts=texts, names=known, k=k, overlap=overlap, seed=seed, of=of,
            like=row, trust_labels=trust_labels, notes=tuple(said),
        )  # fmt: skip

    def _find_classes(
        self, level: str, method: str, shares: Mapping[str, float], written: Mapping[str, Any]
    ) -> tuple[list[str], ClassTexts | None, list[Note]]:
        """Return the names of classes that are known, their texts where these are wanted."""
        import numpy as np

        from bioprobe.face.review import read_labels
        from bioprobe.reviewing.learner import ClassTexts

        store = self._view.store
        taxa, classes = written["taxa"], written["classes"]
        named = taxa is not None or classes is not None
        texts = None
        if store.manifest.has_text_tower or named:
            listed = open_list(taxa, written["rank_column"])
            texts = self._write_texts(
                level, listed, written["text_type"], written["templates"], classes
            )
        task = self._task(level, split=None, texts=texts)
        found = task.classes if texts is not None else task.labelled.classes
        names = list(dict.fromkeys(found.short_names))
        n_taught = len({one for one in read_labels(self, level).tolist() if one})
        others = texts.others if texts is not None else None
        reads = method in {"prompt+probe", "zeroshot"}
        is_start = n_taught < 2 and bool(others)
        wanted = reads or is_start or (named and "disagreement" in shares)
        if not wanted or texts is None or not len(found):
            if reads and not store.manifest.has_text_tower:
                msg = f"{method} reads texts, and the encoder of this store reads none; take linear"
                raise MisuseError(msg)
            if reads:
                msg = f"{method} starts from texts of classes, and none is known; give --taxa or "
                msg += "--classes"
                raise MisuseError(msg)
            return names, None, []
        if not store.manifest.has_text_tower:
            note = "the encoder of this store reads no text: classes are known by name alone"
            return names, None, [Note(note, FACT)]
        embedded = texts.embed(found)
        place_of = {name: at for at, name in enumerate(names)}
        numbers = np.array([place_of[one] for one in found.short_names], dtype=np.int64)
        _, first = np.unique(numbers, return_index=True)
        vectors = np.ascontiguousarray(embedded["texts"][first], dtype=np.float32)
        return names, ClassTexts(vectors, numbers[first], float(embedded["scale"])), []


def _find_row(store: EmbeddingStore, picture: int | str) -> int:
    """Return the row of a picture that is named by number or by name."""
    from bioprobe.upkeep import find_paths, find_rows

    if isinstance(picture, int) or picture.isdigit():
        return int(find_rows(store, [int(picture)])[0])
    rows, _, _ = find_paths(store, [picture])
    if not len(rows):
        msg = f"{store.folder} has no picture {picture!r}; name it as answers do, or by its row"
        raise SelectionError(msg)
    return int(rows[0])
