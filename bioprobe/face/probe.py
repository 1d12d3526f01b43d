"""A probe as people hold it: fitted, kept under a name, and asked."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bioprobe.content import ContentRules
from bioprobe.errors import MisuseError
from bioprobe.face.answered import describe_depths
from bioprobe.face.opened import Opened
from bioprobe.options import check_given, check_numbers, read_defaults, read_options
from bioprobe.result import WARNING, Note, Notes, Result, count

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from bioprobe.face.pages import Decisions, Predictions
    from bioprobe.face.pooled_pages import Contents
    from bioprobe.intervals import Accuracy
    from bioprobe.learning.calibrated import Calibration
    from bioprobe.learning.fitted import FittedProbe
    from bioprobe.store.view import View
    from bioprobe.task.predictions import Predictions as Answered

# Share of the images of known classes that pass the limit of what is unknown.
_RECALL = 0.95


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Probe(Result):
    """A classifier that was fitted on the embeddings of a store and is kept in it.

    Parameters
    ----------
    name : str
        Under which the store keeps it.
    fitted : FittedProbe
        The classifier with everything that says what it is.
    store : Opened
        That keeps it, and whose encoder reads pictures.
    calibration : Calibration, optional
        What its answers on held-out images promise; None where it was not calibrated.
    notes : tuple of Note
        What is to be said of how it was fitted.
    """

    __module__ = "bioprobe"

    name: str
    fitted: FittedProbe
    store: Opened
    calibration: Calibration | None = None
    notes: Notes = ()

    @property
    def estimator(self) -> Any:  # noqa: ANN401 - scikit-learn has no types
        """The scikit-learn estimator: ``predict_proba(X)`` takes embeddings, ``classes_`` names."""
        return self.fitted.estimator

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the estimator's."""
        return self.fitted.classes.names

    @property
    def provenance(self) -> dict[str, Any]:
        """What it was fitted on: command, condition, mask, split, seed."""
        return self.fitted.provenance

    def predict(
        self,
        asked: Opened | str | Path | Sequence[str | Path] | None = None,
        k: int = 5,
        *,
        calibrate: bool | None = None,
        abstain: float | str | None = None,
        accuracy: float = 0.95,
        sets: float | None = None,
        set_kind: str = "lac",
        unknown: bool = False,
        per: str | None = None,
        sequence: str | None = None,
        gap_seconds: float | None = None,
        rule: str = "log-mean",
        content_rules: str | None = None,
        columns: str | Sequence[str] | None = None,
        prior: str | Path | None = None,
        prior_floor: float = 0.01,
    ) -> Predictions | Decisions | Contents:
        """Label the images of a store, or those that were opened as pictures.

        Parameters
        ----------
        asked : Store, str, Path or sequence of them, optional
            Images embedded by the encoder that the probe learnt from, or pictures, folders and
            tables, which are not added to the store; by default all images of the store.
        k : int
            Answers an image.
        calibrate : bool, optional
            Probabilities as calibrated on held-out images, or as the probe gives them; by default
            calibrated where the fit has done it.
        abstain : float or "auto", optional
            Answer at the deepest rank whose summed probability reaches this, or what promises
            ``accuracy`` by the held-out images. Of classes that are no taxa the best is answered,
            or none.
        accuracy : float
            Share of answers that is right with a chance of 95%, for ``abstain="auto"``.
        sets : float, optional
            Add the classes that hold the right one with this chance.
        set_kind : str
            ``lac``: the smallest sets; ``aps``: sets that grow with doubt; ``raps``: the same,
            with a charge for long sets.
        unknown : bool
            Add a score that the image is of no known class, and whether it is.
        per : str, optional
            ``image``: what is in each picture, from the best answers to its regions; ``sequence``:
            one answer to the pictures of a burst or event together.
        sequence : str, optional
            Column whose equal values are one sequence.
        gap_seconds : float, optional
            Pictures of one camera are a sequence that are no further apart in time.
        rule : str
            How the answers to a sequence become one: ``log-mean``, ``mean``, ``max`` or ``vote``.
        content_rules : str, optional
            ``NAME=NUMBER,…``: thresholds by which boxes and answers together say what a picture
            holds, as :class:`bioprobe.ContentRules` has them.
        columns : str or sequence of str, optional
            Columns of one's own that stand beside the answers; see :meth:`bioprobe.Store.zeroshot`.
        prior : str or Path, optional
            Table of how frequent taxa are; see :func:`bioprobe.task.prior.read_prior`.
            Probabilities, calibrated ones where there are, are multiplied by the weight of their
            class, which stands in the column ``prior``.
        prior_floor : float
            Least weight of a class, relative to the greatest of its place.

        Returns
        -------
        Predictions, Decisions or Contents
            Decisions where it may abstain, Contents with ``per``. Accuracies leave out
            the images that it learnt from.

        Raises
        ------
        MismatchError
            If the images were embedded by another encoder.
        MisuseError
            If what is asked for needs held-out answers that the probe has not.
        """
        from bioprobe.face.pages import show_answers_of
        from bioprobe.task.beside import Beside
        from bioprobe.task.units import SEQUENCE, Pooling

        by_name = cast("Any", type(self.store)).predict
        numbers = {"k": k, "accuracy": accuracy, "sets": sets, "prior_floor": prior_floor}
        check_numbers(by_name, numbers)
        pooled = {"k": k, "per": per, "sequence": sequence, "gap_seconds": gap_seconds,
                  "rule": rule, "content_rules": content_rules, "prior": prior,
                  "prior_floor": prior_floor}  # fmt: skip
        defaults = read_defaults(by_name)
        options = {name: read_options(by_name)[name][1] for name in pooled}
        check_given(options, {name: defaults[name] for name in pooled}, pooled)
        confidence = _read_confidence(abstain)
        chooses = abstain is not None and confidence is None
        _refuse_promises(prior, abstain=chooses, sets=sets is not None, unknown=unknown)
        calibration, notes = self._calibrate(calibrate, needed=bool(sets or unknown or chooses))
        probe = calibration.apply(self.fitted) if calibration else self.fitted
        if prior is not None:
            from bioprobe.task.prior import read_prior

            probe = probe.with_prior(read_prior(prior, floor=prior_floor))
        how, is_pooled = (
            Pooling(sequence, gap_seconds, rule, ContentRules.parse(content_rules)),
            per == SEQUENCE,
        )
        needs_all = abstain is not None or sets is not None or unknown or is_pooled
        opened = self.store if asked is None else asked
        if not isinstance(opened, Opened):
            reads = probe.estimator.reads
            opened = self.store.pictures(opened, keep=reads or None)
        view: View = opened._view
        answers = probe.ask(view, len(probe.classes) if needs_all else k)
        options = self.fitted.provenance["options"]
        changed = self.store._view.tell_changed(f"the probe {self.name}", options)
        notes = [*opened._notes, *notes, *changed, *describe_labels(answers)]
        said: dict[str, npt.NDArray[Any]] = {}
        if sets is not None and calibration is not None:
            said |= _find_sets(answers, calibration, sets, set_kind, notes)
        if unknown and calibration is not None:
            said |= _score_unknown(answers, calibration, notes)
        asked_for = {
            "calibrate": calibrate, "abstain": None if abstain is None else str(abstain),
            "accuracy": accuracy, "sets": sets, "set_kind": set_kind, "unknown": unknown,
        }  # fmt: skip
        about = {**answers.provenance.options, "asked": asked_for}
        provenance = dataclasses.replace(answers.provenance, options=about)
        beside = Beside.of(view, columns)
        columns_of = {**answers.columns, **said}
        answers = dataclasses.replace(answers, columns=columns_of, provenance=provenance)
        shown: Predictions | Decisions
        if abstain is None:
            best = answers if is_pooled else answers.keep_best(k)
            shown = show_answers_of(best, beside).say(notes)
        else:
            from bioprobe.task.decisions import decide, group_classes

            if confidence is None and calibration is not None:
                confidence = _choose_confidence(self.fitted, calibration, accuracy, notes)
            decided = decide(answers, confidence or 1.0)
            if (weighed := probe.weigh(view)) is not None:
                decided = weighed.complete_decisions(decided, group_classes(probe.classes)[1])
            shown = show_answers_of(decided, beside).say((*notes, *describe_depths(decided)))
        if per is None:
            return shown
        from bioprobe.face.pooled_pages import pool_answers

        return pool_answers(shown, per, how, k)

    def __repr__(self) -> str:
        n_classes = count(len(self.classes), "class", "classes")
        return f"<Probe {self.name}: {self.fitted.kind} at {self.fitted.level}, {n_classes}>"

    def to_frame(self) -> pd.DataFrame:
        """Return its facts, one a row: settings, classes, split, held-out accuracy."""
        import pandas as pd

        fitted, held_out = self.fitted, self.fitted.held_out
        calibration = self.calibration
        facts: dict[str, Any] = {
            **self.summarise(),
            "calibrated by": describe_calibration(calibration) if calibration else "",
            "settings": json.dumps(fitted.settings),
            "chosen on": held_out.method,
            "encoder": fitted.encoder.describe(),
            **({"columns": fitted.block.describe()} if fitted.block else {}),
            "split hash": fitted.split_hash,
            "training rows hash": fitted.rows_hash,
            "taxonomy hash": fitted.taxonomy_hash,
            "command": str(fitted.provenance.get("command", "")),
            "time": str(fitted.provenance.get("time", "")),
            "class names": ", ".join(fitted.classes.short_names),
        }
        tried = zip(held_out.values, held_out.accuracies, strict=True)
        facts |= {f"accuracy at {value:g}": f"{accuracy:.4f}" for value, accuracy in tried}
        said = [f"{one:.4f}" if isinstance(one, float) else str(one) for one in facts.values()]
        return pd.DataFrame({"field": list(facts), "value": said})

    def summarise(self) -> dict[str, Any]:
        """Return what a list of probes says of it."""
        from bioprobe.intervals import Accuracy

        fitted, held_out = self.fitted, self.fitted.held_out
        accuracy, chosen = Accuracy(1, held_out.n_correct, held_out.n_images), held_out.parameter
        low, high = accuracy.interval
        return {
            "name": self.name,
            "kind": fitted.kind,
            "level": fitted.level,
            "classes": len(fitted.classes),
            "images": fitted.n_rows,
            "split": fitted.split_name or "none",
            "chosen": f"{chosen}={fitted.settings[chosen]:g}" if chosen else "",
            "accuracy": accuracy.fraction,
            "low": low,
            "high": high,
        }

    def _calibrate(
        self, calibrate: bool | None, *, needed: bool
    ) -> tuple[Calibration | None, list[Note | str]]:
        found = self.calibration
        if found is None and (calibrate or needed):
            msg = (
                f"the probe {self.name} has no held-out answers that --calibrate, --abstain auto, "
                "--sets and --unknown take; fit it again with --calibration temperature"
            )
            raise MisuseError(msg)
        if found is None or calibrate is False:
            return found and found.without_calibrator(), []
        return found, [say_calibration(found)]


def _refuse_promises(prior: str | Path | None, **asked: bool) -> None:
    """Refuse promises that held-out answers made, which had no prior."""
    named = [
        {"abstain": "--abstain auto"}.get(one, f"--{one}") for one, is_it in asked.items() if is_it
    ]
    if prior is not None and named:
        msg = (
            f"what {' and '.join(named)} promises was measured on held-out images without a prior, "
            "which moves probabilities; leave --prior out, or give --abstain a number"
        )
        raise MisuseError(msg)


def describe_labels(answers: Answered) -> list[Note | str]:
    """Say how often the answers are the labels, on images that the probe did not learn from."""
    n_taught = 0 if answers.taught is None else int(answers.taught.sum())
    known_of = f"; the {n_taught:,} that it learnt from are left out" if n_taught else ""
    measured = answers.accuracy()
    if not measured:
        return [f"{n_taught:,} of the images taught the probe"] if n_taught else []
    figures = ", ".join(map(str, measured))
    said: list[Note | str] = [
        f"against the labels of {measured[0].n_images:,} images: {figures} (95% interval){known_of}"
    ]
    said += answers.images.describe_several(answers.rows, answers.level)
    if answers.taught is None:
        said.append(
            Note(
                "an earlier version kept this probe without its images: those that it learnt from "
                "may be among these, so the figure may be too good",
                WARNING,
            )
        )
    return said


def describe_calibration(calibration: Calibration) -> str:
    """Say what calibrates, and on how many images; or why nothing does."""
    calibrator, answers = calibration.calibrator, calibration.answers
    if calibration.left:
        return f"left as they come: {calibration.left} ({answers.method})"
    value = getattr(calibrator, "temperature", None)
    said = calibrator.kind + ("" if value is None else f" {value:.3g}")
    return f"{said} on {calibration.n_known:,} held-out images ({answers.method})"


def say_calibration(calibration: Calibration) -> str:
    """Say so in a sentence of its own."""
    start = "probabilities are " if calibration.left else "calibrated by "
    return start + describe_calibration(calibration)


def _read_confidence(abstain: float | str | None) -> float | None:
    if abstain is None or abstain == "auto":
        return None
    try:
        given = math.nan if isinstance(abstain, bool) else float(abstain)
    except (TypeError, ValueError, OverflowError):
        given = math.nan
    if not 0 < given <= 1:
        msg = f"--abstain is auto, or a probability above 0 and at most 1; got {abstain!r}"
        raise MisuseError(msg)
    return given


def _format(accuracy: Accuracy) -> str:
    low, high = accuracy.interval
    return f"{accuracy.fraction:.3f} [{low:.3f}, {high:.3f}]"


def _find_sets(
    answers: Answered, calibration: Calibration, coverage_fraction: float, kind: str,
    notes: list[Note | str],
) -> dict[str, npt.NDArray[Any]]:  # fmt: skip
    import numpy as np

    from bioprobe.calibration.conformal import measure_sets

    fitted = calibration.fit_sets(coverage_fraction, kind)
    sets = fitted.find_sets(answers.to_dense())
    said = (
        f"sets that hold the class with a chance of {coverage_fraction:g}, for images like the "
        f"{fitted.n_images:,} held-out ones ({calibration.answers.method}) that chose the limit"
    )
    truth = answers.truth_classes
    if answers.taught is not None:
        truth = np.where(answers.taught, -1, truth)
    if (truth >= 0).any():
        found = measure_sets(sets, truth)
        said += (
            f"; of {found.coverage.n_images:,} labelled images here {_format(found.coverage)} do, "
            f"{found.mean_size:.2f} classes a set, {found.single_fraction:.0%} of one class"
        )
    notes.append(said)
    names = np.array(answers.classes.short_names, dtype=object)
    order = answers.top_classes
    listed = ["|".join(names[row[flags[row]]]) for row, flags in zip(order, sets, strict=True)]
    return {"set": np.array(listed, dtype=object), "set_size": sets.sum(axis=1)}


def _score_unknown(
    answers: Answered, calibration: Calibration, notes: list[Note | str]
) -> dict[str, npt.NDArray[Any]]:
    from bioprobe.calibration.unknown import score_max_softmax

    limit = calibration.find_unknown_limit(_RECALL)
    measured = calibration.measure_unknown(_RECALL)
    notes.append(
        f"unknown above a score of {limit:.4g}, which {_RECALL:.0%} of {calibration.n_known:,} "
        f"held-out images of known classes do not pass ({calibration.answers.method})"
    )
    if measured is None:
        notes.append(
            "how many images of unknown classes it misses was not measured: no held-out image is "
            "of a class that was not learnt; probe fit --leave-out 0.2 makes some"
        )
    else:
        is_chosen, by_class = calibration.has_left_out, ""
        of = f"classes {'left out on purpose' if is_chosen else 'that happen not to be learnt'}"
        if measured.n_classes:
            of = f"{measured.n_classes:,} {of}"
            by_class = f" [{measured.low:.1%}, {measured.high:.1%}] (95% interval by class)"
        notes.append(
            f"of {measured.n_unknown:,} held-out images of {of} it takes "
            f"{measured.false_accept_fraction:.1%}{by_class} for known (AUROC {measured.auroc:.3f})"
        )
        if not calibration.has_left_out:
            notes.append(
                Note(
                    "this is of images that no one chose, which may be less like the known classes "
                    "than other species are; probe fit --leave-out 0.2 measures it on whole "
                    "classes that are left out",
                    WARNING,
                )
            )
        notes.append(
            "whether the encoder was trained on pictures of these classes is not known; of species "
            "that it never saw more may be taken for known"
        )
    scores = score_max_softmax(answers.to_dense())
    return {"unknown_max_softmax": scores, "is_unknown": scores > limit}


def _choose_confidence(
    probe: FittedProbe, calibration: Calibration, accuracy: float, notes: list[Note | str]
) -> float:
    from bioprobe.task.decisions import CHANCE

    chosen = calibration.choose_confidence(probe, accuracy)
    counted, unit = f"{chosen.n_images:,} held-out images", "images"
    if chosen.n_units < chosen.n_images - 0.5:
        counted, unit = f"{counted} in groups that count as {chosen.n_units:,.0f}", "groups"
    if math.isfinite(chosen.confidence):
        notes.append(
            f"confidence {chosen.confidence:g}: with a chance of {CHANCE:.0%} at least "
            f"{accuracy:g} of the answers to images like the {counted} "
            f"({calibration.answers.method}) are right; of those it answers "
            f"{chosen.coverage_fraction:.1%}, {_format(chosen.accuracy)} are right, and at most "
            f"{chosen.bound:.3f} wrong"
        )
        return chosen.confidence
    if math.isinf(chosen.n_needed):
        why = f"no number of images promises that all answers are right, and there are {counted}"
    elif chosen.n_units < chosen.n_needed:
        why = (
            f"{counted} are too few to promise {accuracy:g} right answers with a chance of "
            f"{CHANCE:.0%}: that takes {math.ceil(chosen.n_needed):,} {unit} without an error"
        )
    else:
        why = (
            f"at no confidence are {accuracy:g} right answers shown on {counted} with a chance of "
            f"{CHANCE:.0%}; a lower --accuracy, or more held-out images, may be"
        )
    notes.append(Note(f"nothing is promised: {why}; only what is certain is answered", WARNING))
    return 1.0
