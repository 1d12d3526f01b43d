"""How vectors and answers change when pictures are altered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bioprobe.face.asking import Asks
from bioprobe.face.learning import Learns
from bioprobe.options import (
    RANK_NAMES,
    NamedClasses,
    Option,
    SeedOption,
    Taxa,
    With,
    Without,
    list_given,
    question,
    split_given,
)
from bioprobe.result import WARNING, Note, read_fields

if TYPE_CHECKING:
    from bioprobe.face.compared_pages import Robustness
    from bioprobe.progress import Progress
    from bioprobe.robustness.trial import Answered
    from bioprobe.store.view import View

# What is said line by line of the alterations that change most.
_SHOWN = 5
# Copies whose vectors are nearer than this to the store's are made as they were.
_SAME = 0.995


class Tries(Asks, Learns):
    """What is tried on altered copies of the pictures."""

    @question
    def robustness(
        self,
        level: Annotated[
            str | None,
            Option(
                "Rank or column that zero-shot answers at. Without it, --classes and --probe only "
                "vectors are compared.",
                ("--level", "--rank", "-l"),
                RANK_NAMES,
                when=(Without("probe"), Without("classes")),
            ),
        ] = None,
        *,
        classes: Annotated[NamedClasses, Without("probe")] = None,
        taxa: Annotated[Taxa, With("level")] = None,
        probe: Annotated[
            str | None, Option("Ask a probe that the store keeps, instead of texts.")
        ] = None,
        alterations: Annotated[
            str | Sequence[str] | None,
            Option(
                "Of grey, saturation, contrast, brightness, blur, noise, jpeg, rotation, crop, "
                "flip, night and resize, with commas between. [default: all]",
                shell=list[str],
            ),
        ] = None,
        sample: Annotated[
            int, Option("Pictures at most, drawn by --seed.", ("--sample", "-n"), least=1)
        ] = 100,
        seed: Annotated[
            int, SeedOption("Seed of the sample, and of noise, places and directions.")
        ] = 0,
        group: Annotated[
            str | Sequence[str] | None,
            Option(
                "Column whose equal values count together in intervals: burst, individual, "
                "deployment. Several join. Copies of an image do anyhow.",
                shell=list[str],
            ),
        ] = None,
        progress: Progress | None = None,
    ) -> Robustness:
        """Alter pictures, and tell how their vectors and answers change.

        Parameters
        ----------
        level : str, optional
            Rank or column that zero-shot answers at.
        classes : str, sequence of str, or mapping of str to texts, optional
            What zero-shot answers, where these are no taxa.
        taxa : str or Path, optional
            Taxon list of what there may be; by default the labels and the taxa that were added.
        probe : str, optional
            Name of a probe that is asked instead. Pictures that taught it are left out of the
            sample where others are there.
        alterations : str or sequence of str, optional
            Names of :data:`bioprobe.robustness.alterations.ALTERATIONS`; by default all.
        sample : int
            Pictures at most.
        seed : int
            Of the sample and of what is random in an alteration.
        group : str or sequence of str, optional
            Columns whose equal values count together in intervals.
        progress : callable, optional
            Told a step after each picture.

        Returns
        -------
        Robustness
            One row an alteration and strength: cosine to the unaltered, flip rate and accuracy
            with intervals. It can be written as a page.

        Raises
        ------
        MisuseError
            If there is no such alteration.
        SelectionError
            If no picture of the sample can be read.

        Examples
        --------
        >>> store.robustness("family").write_page("robustness.html")  # doctest: +SKIP
        """
        from bioprobe.embedding import load_encoder_for
        from bioprobe.face.compared_pages import Robustness
        from bioprobe.robustness.alterations import choose_alterations
        from bioprobe.robustness.trial import try_alterations

        chosen = choose_alterations(split_given(alterations) or None)
        view, said = self._view, list(self._notes)
        ask, asked = None, ""
        if probe is not None:
            ask, asked = self._try_probe(probe), f"the probe {probe}"
            view = self._leave_out_taught(view, probe, said)
        elif level is not None or classes is not None:
            ask = self._try_texts(level, classes, taxa)
            asked = f"zero-shot at {level}" if level else "zero-shot of the classes"
        encoder = load_encoder_for(self.folder, model=self._model, device=self._device)
        found = try_alterations(
            view, encoder, chosen, ask, asked=asked, sample=sample, seed=seed,
            group=list_given(group), progress=progress,
        )  # fmt: skip
        answered = Robustness(**read_fields(found))
        return answered.say((*said, *_describe(answered)))

    def _try_texts(
        self, level: str | None, classes: NamedClasses, taxa: str | Path | None
    ) -> Callable[[View], Answered]:
        from bioprobe.robustness.trial import read_answers

        def ask(view: View) -> Answered:
            asked = type(self)(view, model=self._model, device=self._device, texts=self._find_texts)
            if classes is not None:
                return read_answers(asked.zeroshot(classes=classes, k=1))
            return read_answers(asked.zeroshot(level or "species", taxa=taxa, k=1))

        return ask

    def _try_probe(self, name: str) -> Callable[[View], Answered]:
        from bioprobe.robustness.trial import read_answers

        fitted = self.probe(name)

        def ask(view: View) -> Answered:
            return read_answers(fitted.predict(type(self)(view), k=1))

        return ask

    def _leave_out_taught(self, view: View, name: str, said: list[Note]) -> View:
        """Return the pictures that did not teach a probe, all where it learnt from all of them."""
        taught = self.probe(name).fitted.ask(view, 1).taught
        if taught is None or not taught.any():
            return view
        if taught.all():
            text = f"all pictures taught the probe {name}: nothing is known of its accuracy"
            said.append(Note(text, WARNING))
            return view
        text = f"{int(taught.sum()):,} pictures that taught the probe {name} are left out"
        said.append(Note(text))
        return view.take(view.rows[~taught])


def _describe(found: Robustness) -> list[Note | str]:
    """Say what was done, and which alterations change most."""
    about = found.provenance.options
    said: list[Note | str] = [
        f"{len(found.rows):,} pictures, {len(found.altered):,} altered copies of each"
        + (f"; asked: {found.asked}" if found.asked else "; only vectors are compared")
    ]
    if found.n_unread:
        text = f"{found.n_unread:,} pictures of the sample could not be read and are left out"
        said.append(Note(text, WARNING))
    if about["cosine_to_stored"] < _SAME:
        text = (
            "the pictures' vectors made now have a mean cosine of "
            f"{about['cosine_to_stored']:.3f} to those of the store: files or settings have "
            "changed, or pictures are large and were embedded from more pixels"
        )
        said.append(Note(text, WARNING))
    frame = found.to_frame()
    by = "flip_rate" if found.asked else "cosine"
    worst = frame.sort_values(by, ascending=by == "cosine", kind="stable").head(_SHOWN)
    for row in worst.to_dict("records"):
        text = f"  {row['alteration']} {row['strength']}: cosine {row['cosine']:.3f}"
        if found.asked:
            text += (
                f", {row['flip_rate']:.0%} [{row['flip_rate_low']:.0%}, "
                f"{row['flip_rate_high']:.0%}] of the answers change"
            )
        if found.asked and row["n_labelled"]:
            text += f", accuracy {row['accuracy']:.3f} for {row['accuracy_unaltered']:.3f}"
        said.append(text)
    return said
