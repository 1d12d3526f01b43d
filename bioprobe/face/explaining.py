"""Why: where the model looked toward an answer, and which pictures speak for and against it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bioprobe.errors import (
    BioprobeError,
    MismatchError,
    MisuseError,
    ModelUnavailableError,
    PromptError,
)
from bioprobe.face.lists import open_list
from bioprobe.face.opened import Opened
from bioprobe.options import (
    RANK_NAMES,
    AllowOutside,
    Exclude,
    Include,
    Level,
    ListColumns,
    NamedClasses,
    Option,
    Taxa,
    Templates,
    TextTypeName,
    With,
    Without,
    list_given,
    question,
)
from bioprobe.progress import Progress, Step
from bioprobe.result import PROBLEM, WARNING, Note

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.encoders.encoder import Encoder
    from bioprobe.explanation.candidates import Candidates, Named
    from bioprobe.explanation.explain import Teachers, Unread, Wanted
    from bioprobe.explanation.result import Explanation
    from bioprobe.face.compared_pages import Explanations
    from bioprobe.store import TextCache
    from bioprobe.store.view import View
    from bioprobe.task.predictions import Predictions

#: What the map of an answer is told apart from, where no name is given.
RUNNERS_UP = "runners-up"
#: What a map is toward besides names.
ANSWER, LABEL = "answer", "label"
# Pictures that could not be read and are named one by one.
_SHOWN = 10
# Best answers among which runners-up are looked for.
_LOOKED_AT = 64
# How alike the vector of a picture is to the stored one where both are of one encoder.
_SAME = 0.99


class Explains(Opened):
    """What can be asked about answers."""

    @question
    def explain(
        self,
        sources: Annotated[
            str | Path | Sequence[str | Path] | None,
            Option(
                "Pictures, folders or tables to explain; by default images in the store.",
                ("-",),
                shell=list[Path],
            ),
        ] = None,
        *,
        toward: Annotated[
            str | Sequence[str] | None,
            Option(
                "What the map is toward: a taxon at any rank, a class, or a text such as "
                '"a striped tail"; answer, the best class of each picture; label, its label. Given '
                "several times, the maps stand side by side. [default: answer]",
                shell=list[str],
                metavar="NAME|TEXT",
            ),
        ] = None,
        against: Annotated[
            str | Sequence[str] | None,
            Option(
                "What it is told apart from: names as for --toward, or runners-up, the -k best "
                "after it. The map is then of what speaks for the one and not for the others.",
                choices=(RUNNERS_UP, ANSWER, LABEL),
                shell=list[str],
                metavar="NAME|TEXT",
            ),
        ] = None,
        alpha: Annotated[
            float,
            Option(
                "How much what it is told apart from counts: 0 is the map of the one alone, 1 of "
                "the difference.",
                least=0,
                when=(With("against"),),
            ),
        ] = 1.0,
        probe: Annotated[
            str | None,
            Option(
                "Probe in the store that answers, in place of texts (see: bioprobe probe list).",
                metavar="NAME",
            ),
        ] = None,
        others: Annotated[
            str | Path | Sequence[str | Path] | None,
            Option(
                "Store of the same images by another encoder, for a probe that is a stack of "
                "several; its vectors are held. May be repeated.",
                ("--with",),
                shell=list[Path],
                when=(With("probe"), Without("sources")),
            ),
        ] = None,
        level: Annotated[Level, Without("probe")] = "species",
        classes: Annotated[NamedClasses, Without("probe")] = None,
        taxa: Annotated[Taxa, Without("probe"), Without("classes")] = None,
        rank_column: ListColumns = None,
        text_type: Annotated[TextTypeName, Without("probe"), Without("classes")] = "taxon_com",
        templates: Annotated[Templates, Without("probe")] = "plain",
        method: Annotated[
            str,
            Option(
                "How the map is made: layer-cam, chefer, legrad or occlusion, of which a model has "
                "some; auto is the best for it.",
                choices=("auto", "layer-cam", "chefer", "legrad", "occlusion"),
            ),
        ] = "auto",
        row: Annotated[
            int | Sequence[int] | None,
            Option(
                "Row of the store to explain; may be given several times.",
                shell=list[int],
                when=(Without("sources"), Without("wrong")),
            ),
        ] = None,
        wrong: Annotated[
            bool,
            Option(
                "Explain the pictures whose answer is not their label, the surest first; by "
                "default toward the answer, and beside it toward the label."
            ),
        ] = False,
        limit: Annotated[
            int, Option("Pictures to explain at most, as each takes a while.", least=1)
        ] = 24,
        k: Annotated[
            int,
            Option(
                "Runners-up that are named, and nearest labelled pictures for and against.",
                ("-k", "--k"),
                least=1,
            ),
        ] = 3,
        allow_outside: Annotated[AllowOutside, With("sources")] = False,
        exclude: Annotated[Exclude, With("sources")] = None,
        include: Annotated[Include, With("sources")] = None,
        progress: Progress | None = None,
    ) -> Explanations:
        """Show why pictures have their answers: where the model looked, and what is like them.

        Parameters
        ----------
        sources : str, Path or sequence of them, optional
            Pictures, folders or tables, which are not added to the store; by default its own.
        toward : str or sequence of str, optional
            Taxa at any rank, classes, or texts as they are written; ``answer`` and ``label`` are
            those of each picture. Of a taxon above the level the classes below it are taken
            together.
        against : str or sequence of str, optional
            What that is told apart from; ``runners-up`` are the ``k`` best after it.
        alpha : float
            The map is of the logit of ``toward`` less ``alpha`` times the mean logit of these.
        probe : str, optional
            Probe that answers, whose logits are explained, in place of texts.
        others : str, Path or sequence of them, optional
            Of a stack of several encoders, stores of the same images by the others: the map is of
            what this store's encoder sees.
        level : str
            Rank of the classes, or column whose values they are.
        classes, taxa, rank_column, text_type, templates
            As for :meth:`zeroshot`; the taxa are the lowest ones, summed up to the level.
        method : str
            ``auto``, ``layer-cam``, ``chefer``, ``legrad`` or ``occlusion``.
        row : int or sequence of int, optional
            Rows to explain, in place of all.
        wrong : bool
            Whether the surest answers that are not the label are explained.
        limit : int
            Pictures at most, ≥ 1.
        k : int
            Runners-up, and nearest labelled pictures, ≥ 1.
        allow_outside, exclude, include
            Of ``sources``, as for :func:`bioprobe.embed`.
        progress : callable, optional
            Told a step after each picture.

        Returns
        -------
        Explanations
            One row a map. Pictures that could not be read are in its ``failures``.

        Raises
        ------
        MisuseError
            If nothing can be asked of this model, or a name is that of several taxa or of none.
        MismatchError
            If the model is not the one that made the vectors.

        References
        ----------
        Zhang et al., *Finer-CAM*, CVPR 2025: a map against what is like the answer.

        Examples
        --------
        >>> store.explain("a.jpg", toward=["a long tail", "spots"])  # doctest: +SKIP
        >>> store.explain(row=3, against="runners-up").write_page("why.html")  # doctest: +SKIP
        """
        from bioprobe.explanation.explain import explain_pictures
        from bioprobe.face.compared_pages import Explanations

        asked = self._choose_pictures(sources, row, allow_outside, exclude, include)
        names, rivals = _read_names(toward, wrong=wrong), [str(one) for one in list_given(against)]
        # That of pictures that were opened is loaded where they are new: one model is enough.
        reader = self if asked._view.store is self._view.store else asked
        encoder = _load_encoder(reader)
        notes = list(asked._notes)
        needs_answers = wrong or not {ANSWER, LABEL, RUNNERS_UP}.isdisjoint((*names, *rivals))
        if probe is not None:
            candidates = self._ask_probe(probe, list_given(others))
        else:
            candidates = self._ask_texts(
                encoder, reader._find_texts, level, classes, taxa, rank_column, text_type,
                templates, notes, needed=needs_answers,
            )  # fmt: skip
        # Of a taxon those below it are no runners-up.
        n_answers = max(k + 1, _LOOKED_AT) if RUNNERS_UP in rivals else k + 1
        view, answers = _find_answers(asked._view, candidates, n_answers, wrong=wrong)
        if len(view) > limit:
            which = "surest" if wrong else "first"
            notes.append(Note(f"the {which} {limit:,} of {len(view):,} pictures are explained; "
                              "--limit takes more"))  # fmt: skip
            view = view.take(view.rows[:limit])
        plan = _Plan.of(candidates, names, rivals, view, answers, k, notes)
        self._check_imported(encoder, view)
        teachers = self._find_teachers(candidates, view, notes)
        items: list[Explanation] = []
        unread: list[Unread] = []
        steps = explain_pictures(
            view, encoder, candidates, plan.wanted, answers, alpha=alpha, method=method,
            teachers=teachers, k=k,
        )  # fmt: skip
        for n_done, found in enumerate(steps, 1):
            if isinstance(found, list):
                items += found
            else:
                unread.append(found)
            if progress is not None:
                progress(Step(n_done, len(view), "pictures explained", len(unread)))
        options = {
            "toward": names, "against": rivals, "alpha": alpha, "probe": probe or "",
            "level": candidates.classes.level, "n_classes": len(candidates.classes),
            "method": sorted({one.method for one in items}), "k": k, "wrong": wrong,
        }  # fmt: skip
        explained = Explanations(
            view.images, tuple(items), self._view.images,
            _list_unread(view, unread, asked if list_given(sources) else None),
            view.describe(options),
        )  # fmt: skip
        return explained.say((*notes, *_describe(explained)))

    def _find_teachers(
        self, candidates: Candidates, view: View, notes: list[Note]
    ) -> Teachers | None:
        """Find the labelled pictures that speak for and against: those that taught, of a probe."""
        import numpy as np

        from bioprobe.explanation.explain import Teachers

        store = self._view.store
        if not store.manifest.encoder.is_compatible(view.manifest.encoder):
            notes.append(Note("the store has vectors of another encoder: none of its pictures is "
                              "named for and against"))  # fmt: skip
            return None
        taught = None
        if candidates.probe is not None:
            is_own = candidates.probe.find_taught(store.images, store.rows)
            if is_own is not None:
                taught = np.zeros(len(store.images), dtype=bool)
                taught[store.rows] = is_own
        found = Teachers(store, candidates, taught)
        if not len(found.rows):
            notes.append(Note("no labelled picture of these classes is in the store: none is named "
                              "for and against"))  # fmt: skip
        return found

    def _choose_pictures(
        self,
        sources: str | Path | Sequence[str | Path] | None,
        row: int | Sequence[int] | None,
        allow_outside: bool,
        exclude: str | Sequence[str] | None,
        include: str | Sequence[str] | None,
    ) -> Opened:
        named = list_given(sources)
        if named:
            return self.pictures(
                named, allow_outside=allow_outside, exclude=exclude, include=include
            )
        rows = list(dict.fromkeys(list_given(row)))
        if not rows:
            return self
        missing = [one for one in rows if one not in set(self._view.rows.tolist())]
        if missing:
            msg = (
                f"{self.folder} has no image in row {', '.join(map(str, missing))} that may be "
                f"asked; its {len(self):,} images are in rows {self._view.rows.min()} to "
                f"{self._view.rows.max()}"
            )
            raise MisuseError(msg)
        return self.where(rows=rows)

    def _check_imported(self, encoder: Encoder, view: View) -> None:
        """Refuse an encoder that did not make imported vectors: a map would be of other answers."""
        import numpy as np

        from bioprobe.images.reading import decode_region

        if view.manifest.encoder.backend != "imported":
            return
        for one in view.rows.tolist():
            location = view.images.locate(one)
            try:
                image = decode_region(location.read_bytes(), location.region)
            except (BioprobeError, OSError, ValueError):
                continue
            stored = view.store.read_vectors(np.array([one]))[0]
            made = encoder.encode_image([image])[0]
            alike = float(stored @ made) if len(stored) == len(made) else -1.0
            if alike < _SAME:
                msg = (
                    f"{view.folder} holds imported vectors, and {encoder.name} makes another of "
                    f"{view.images.name_row(one)} (similarity {alike:.3f}): a map by it would "
                    "explain other answers. Name the model that made them with --model, or embed "
                    "the pictures into a store: bioprobe embed"
                )
                raise MismatchError(msg)
            return

    def _ask_probe(self, name: str, others: Sequence[str | Path]) -> Candidates:
        from bioprobe.explanation.candidates import from_probe, from_stack
        from bioprobe.learning.keeping import read_calibrated
        from bioprobe.learning.stack import FittedStack
        from bioprobe.probes.stacked import StackProbe
        from bioprobe.store import EmbeddingStore

        fitted, calibration = read_calibrated(self._view.store, name)
        fitted.check_encoder(self._view.manifest.encoder)
        if isinstance(fitted.estimator, StackProbe) and not fitted.estimator.is_shared_:
            if not others:
                msg = (
                    f"the probe {name} is a stack of several encoders; name the stores of the "
                    "others by --with STORE, or explain a probe of one encoder"
                )
                raise MisuseError(msg)
            opened = [EmbeddingStore.open(one) for one in others]
            return from_stack(FittedStack(probe=fitted), opened)
        if fitted.estimator.reads:
            msg = (
                f"the probe {name} answers from {fitted.estimator.reads}, and maps are toward "
                "answers to the vector; explain a probe of vectors, such as linear"
            )
            raise MisuseError(msg)
        if others:
            msg = f"--with is of a stack of several encoders, and the probe {name} is of one"
            raise MisuseError(msg)
        return from_probe(calibration.apply(fitted) if calibration else fitted)

    def _ask_texts(
        self,
        encoder: Encoder,
        find_texts: Callable[[], TextCache],
        level: str,
        classes: object,
        taxa: str | Path | None,
        rank_column: object,
        text_type: str,
        templates: str,
        notes: list[Note],
        *,
        needed: bool,
    ) -> Candidates:
        """Find the classes that texts stand for; none where only texts are asked."""
        from bioprobe.explanation.candidates import from_phrases, from_question, from_texts
        from bioprobe.face.zeroshot import Asked, Wording, find_head, find_named, put_taxa
        from bioprobe.images.image_table import read_level
        from bioprobe.prompts import read_templates
        from bioprobe.task.target import Texts
        from bioprobe.taxonomy import RANKS, Rank
        from bioprobe.zeroshot.zeroshot import embed_phrases

        view = self._view
        if not encoder.has_text_tower:
            msg = (
                f"{encoder.name} is image-only and reads no text: say --probe NAME, of a probe "
                "that was fitted on this store (bioprobe probe list; bioprobe probe fit lda)"
            )
            raise MisuseError(msg)
        texts, scale = find_texts(), view.manifest.logit_scale
        level = read_level(level, view.images)
        if classes is not None or level not in RANK_NAMES:
            found, phrases = find_named(view, classes, level)  # type: ignore[arg-type]
            written = Texts(
                texts.encode_text, scale, templates=read_templates(templates), phrases=phrases
            )
            embedded = embed_phrases(
                written.list_phrases(found), written.templates, texts.encode_text
            )
            return from_phrases(found, embedded, scale, texts.encode_text)
        head, said = find_head(view, taxa, None, self._model) if needed or taxa else (None, ())
        listed = open_list(taxa if head is None else None, rank_column)  # type: ignore[arg-type]
        wording = Wording(text_type, templates, head, None, False, False, None)
        lowest = Rank.parse(level)
        # Where no class is asked for, a taxon may be named though the labels end above the level.
        ranks = [lowest] if needed or taxa else RANKS[lowest.depth :: -1]
        for rank in ranks:
            asked = Asked(view, (), rank, listed, None, {}, 1, every_rank=True)
            try:
                question_, put = put_taxa(asked, wording, find_texts)
            except PromptError:
                if needed or taxa is not None:
                    raise
                continue
            if rank != lowest:
                text = f"no label has a name at {level}: the taxa are those at {rank.value}"
                notes.append(Note(text))
            notes += [*said, *put]
            return from_question(question_, texts.encode_text)
        return from_texts(scale, texts.encode_text)


def _load_encoder(opened: Opened) -> Encoder:
    """Load the encoder of a store; of imported vectors, the one that is said to be theirs."""
    from bioprobe.embedding import load_encoder_for

    stored = opened._view.manifest.encoder
    if stored.backend != "imported":
        return opened._texts.encoder
    try:
        return load_encoder_for(opened.folder, model=opened._model, device=opened._device)
    except ModelUnavailableError as error:
        msg = (
            f"{opened.folder} holds imported vectors of {stored.model}, and a map looks into the "
            "model that made them; name it with --model, or embed the pictures into a store. "
            f"{error}"
        )
        raise ModelUnavailableError(msg) from error


def _read_names(toward: str | Sequence[str] | None, *, wrong: bool) -> list[str]:
    given = [str(one) for one in list_given(toward)]
    return list(dict.fromkeys(given)) or ([ANSWER, LABEL] if wrong else [ANSWER])


def _find_answers(
    asked: View, candidates: Candidates, k: int, *, wrong: bool
) -> tuple[View, Predictions]:
    """Answer the pictures, and choose those that are wrong, the surest first, if that is asked."""
    import numpy as np

    answers = candidates.ask(asked, k)
    if len(answers) < len(asked):
        # Of a stack those that the other stores lack are not answered.
        asked = asked.take(answers.rows)
    if not wrong:
        return asked, answers
    truth = candidates.classes.find_labels(asked.images, asked.rows)
    is_wrong = np.flatnonzero((truth >= 0) & (truth != answers.top_classes[:, 0]))
    if not len(is_wrong):
        n_labelled = int((truth >= 0).sum())
        msg = (
            f"none of {n_labelled:,} pictures that have a label among the classes is answered "
            "wrongly; leave --wrong out"
        )
        raise MisuseError(msg)
    order = is_wrong[np.argsort(-answers.scores[is_wrong, 0], kind="stable")]
    return dataclasses.replace(asked, rows=asked.rows[order]), answers


@dataclasses.dataclass(frozen=True, eq=False)
class _Plan:
    """Maps that are wanted of each picture."""

    wanted: dict[int, list[Wanted]]

    @classmethod
    def of(
        cls,
        candidates: Candidates,
        names: Sequence[str],
        others: Sequence[str],
        view: View,
        answers: Predictions,
        k: int,
        notes: list[Note],
    ) -> _Plan:
        from bioprobe.explanation.explain import Wanted

        special = {ANSWER, LABEL, RUNNERS_UP}
        fixed = {
            name: _find(candidates, name, notes)
            for name in dict.fromkeys((*names, *others)) if name not in special
        }  # fmt: skip
        truth = dict(zip(view.rows.tolist(),
                         candidates.classes.find_labels(view.images, view.rows).tolist(),
                         strict=True))  # fmt: skip
        places = {int(row): at for at, row in enumerate(answers.rows.tolist())}
        wanted: dict[int, list[Wanted]] = {}
        n_unlabelled = n_alone = 0
        for row in view.rows.tolist():
            best = answers.top_classes[places[row]].tolist()
            own = {ANSWER: best[:1], LABEL: [truth[row]] if truth[row] >= 0 else []}
            wanted[row] = []
            for name in names:
                toward = fixed[name] if name in fixed else _get(candidates, own[name])
                if toward is None:
                    n_unlabelled += name == LABEL
                    continue
                rivals: list[Named] = []
                for other in others:
                    if other == RUNNERS_UP:
                        rest = [candidates.get(one) for one in best]
                        rivals += [
                            one for one in rest if not set(one.members) & set(toward.members)
                        ][:k]
                    else:
                        one = fixed.get(other) or _get(candidates, own.get(other, []))
                        rivals += [] if one is None else [one]
                apart = [one for one in dict.fromkeys(rivals) if one.members != toward.members]
                if others and not apart:
                    n_alone += 1
                    continue
                asked = Wanted(toward, tuple(apart))
                # Two names may be of one: of a picture whose answer is its label, or in case.
                if asked not in wanted[row]:
                    wanted[row].append(asked)
        if n_unlabelled:
            text = f"{n_unlabelled:,} pictures have no label among the classes: no map toward it"
            notes.append(Note(text, WARNING))
        if n_alone:
            text = f"{n_alone:,} maps are left out: there is nothing that they are told apart from"
            notes.append(Note(text, WARNING))
        return cls(wanted)


def _get(candidates: Candidates, places: Sequence[int]) -> Named | None:
    return candidates.get(places[0]) if places else None


def _find(candidates: Candidates, name: str, notes: list[Note]) -> Named:
    """Find what a name is of, and say what it was taken for."""
    from bioprobe.explanation.candidates import TEXT

    found, near = candidates.find(name)
    if found.kind == TEXT:
        text = f"{name!r} is asked as a text, as it is written"
        if near:
            notes.append(Note(f"{text}; no class is called so: did you mean {' or '.join(near)}?",
                              WARNING))  # fmt: skip
        else:
            notes.append(Note(text))
        return found
    together = f", {len(found.members):,} together" if len(found.members) > 1 else ""
    notes.append(Note(f"{found.name}: {found.kind}{together}"))
    return found


def _list_unread(view: View, unread: Sequence[Unread], asked: Opened | None) -> pd.DataFrame:
    """Return the pictures that could not be read now, or when they were opened to be asked."""
    import pandas as pd

    rows: list[dict[str, object]] = [
        {"row": one.row, "file_name": view.images.name_row(one.row), "reason": one.reason}
        for one in unread
    ]
    if asked is not None:
        failed = asked.failures
        rows += [
            {"row": pd.NA, "file_name": path, "reason": reason}
            for path, reason in zip(failed["path"], failed["reason"], strict=True)
        ]
    frame = pd.DataFrame(rows, columns=["row", "file_name", "reason"])
    return frame.astype({"row": "Int64", "file_name": object, "reason": object})


def _describe(found: Explanations) -> list[Note]:
    """Say how many pictures have maps, by what, and what could not be read."""
    from bioprobe.explanation.maps import WEAK

    used = {one.method for one in found.items}
    methods = ", ".join(sorted(used))
    by = f", by {methods}" if methods else ""
    said = [
        Note(f"{one} finds the animals in drawings less well than a blind map of the middle; "
             "--method auto is surer", WARNING)
        for one in sorted(used & WEAK)
    ]  # fmt: skip
    said.append(Note(f"pictures: {len(found.rows):,}; maps: {len(found):,}{by}"))
    # Those that could not be opened were said when they were.
    failed = found.failures[found.failures["row"].notna()]
    for name, reason in failed[["file_name", "reason"]].head(_SHOWN).itertuples(index=False):
        said.append(Note(f"not explained: {name}: {reason}", PROBLEM))
    n_more = len(failed) - _SHOWN
    if n_more > 0:
        said.append(Note(f"… and {n_more:,} more could not be read", PROBLEM))
    return said
