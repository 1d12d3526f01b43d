"""What ``bioprobe probe`` says and asks of held-out answers: calibration, sets, abstention."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bioprobe.cli.output import say
from bioprobe.face.zeroshot import describe_depths

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from bioprobe.intervals import Accuracy
    from bioprobe.learning.calibrated import Calibration
    from bioprobe.learning.fitted import FittedProbe
    from bioprobe.store import EmbeddingStore
    from bioprobe.task.predictions import Predictions
    from bioprobe.task.task import Task

_KINDS = ("temperature", "vector", "isotonic", "none")
_RECALL = 0.95

Calibrator = Annotated[
    str,
    typer.Option(
        help="How probabilities are made to mean what they say, on held-out images: temperature, "
        "vector, isotonic or none.",
        autocompletion=lambda incomplete: [k for k in _KINDS if k.startswith(incomplete)],
    ),
]


@dataclasses.dataclass(frozen=True)
class Wishes:
    """What is asked beside the classes; the options of the same names."""

    calibrate: bool | None
    abstain: str | None
    accuracy: float
    sets: float | None
    unknown: bool

    @property
    def needs_all_classes(self) -> bool:
        """Whether every class needs its probability."""
        return self.abstain is not None or self.sets is not None or self.unknown

    @property
    def confidence(self) -> float | None:
        """The confidence that was given, None where it is to be chosen.

        Raises
        ------
        BadParameter
            If it is no probability.
        """
        if self.abstain in {None, "auto"}:
            return None
        try:
            given = float(str(self.abstain))
        except ValueError:
            given = math.nan
        if not 0 < given <= 1:
            msg = f"--abstain is auto, or a probability above 0 and at most 1; got {self.abstain!r}"
            raise typer.BadParameter(msg)
        return given


def keep_calibration(
    store: EmbeddingStore, name: str, task: Task, probe: FittedProbe, kind: str,
    left_out_fraction: float, *, quiet: bool,
) -> None:  # fmt: skip
    """Fit a calibration on held-out images and keep it beside the probe, or say why not."""
    from bioprobe.learning.calibrated import fit_calibration
    from bioprobe.learning.fit import answer_held_out
    from bioprobe.learning.keeping import write_calibration

    if kind == "none":
        return
    start_s = time.monotonic()
    answers = answer_held_out(task, probe, probe.kind, left_out_fraction=left_out_fraction)
    if not (answers.truth >= 0).any():
        say("not calibrated: no image could be held out", quiet=quiet)
        return
    calibration = fit_calibration(answers, kind)
    write_calibration(store, name, calibration)
    seconds_s = time.monotonic() - start_s
    say(f"calibrated by {describe_calibration(calibration)}, {seconds_s:.1f} s", quiet=quiet)


def find_calibration(
    store: EmbeddingStore, name: str, wishes: Wishes, *, quiet: bool
) -> Calibration | None:
    """Return what was kept at the fit, with its calibrator or, if so wished, without.

    Raises
    ------
    BadParameter
        If it is needed and was not kept.
    """
    from bioprobe.learning.keeping import read_calibration

    found = read_calibration(store, name)
    chooses = wishes.confidence is None and wishes.abstain is not None
    if found is None and (wishes.calibrate or wishes.sets or wishes.unknown or chooses):
        msg = (
            f"the probe {name} has no held-out answers that --calibrate, --abstain auto, --sets "
            "and --unknown take; fit it again with --calibration temperature"
        )
        raise typer.BadParameter(msg)
    if found is None or wishes.calibrate is False:
        return found and found.without_calibrator()
    say(f"calibrated by {describe_calibration(found)}", quiet=quiet)
    return found


def answer(
    predictions: Predictions, probe: FittedProbe, calibration: Calibration | None, wishes: Wishes,
    k: int, *, quiet: bool,
) -> pd.DataFrame:  # fmt: skip
    """Return the table that was asked for; predictions have every class where that is needed."""
    if not wishes.needs_all_classes:
        return predictions.to_frame()
    probabilities = predictions.to_dense()
    columns: dict[str, npt.NDArray[Any]] = {}
    if wishes.sets is not None and calibration is not None:
        columns |= _find_sets(predictions, calibration, wishes.sets, quiet=quiet)
    if wishes.unknown and calibration is not None:
        columns |= _score_unknown(probabilities, calibration, quiet=quiet)
    if wishes.abstain is not None:
        from bioprobe.task.decisions import decide

        confidence = wishes.confidence
        if confidence is None and calibration is not None:
            confidence = _choose_confidence(probe, calibration, wishes.accuracy, quiet=quiet)
        backed_off = decide(predictions, confidence or 1.0)
        for said in describe_depths(backed_off):
            say(said, quiet=quiet)
        return backed_off.to_frame().assign(**columns)
    top = dataclasses.replace(
        predictions,
        top_classes=predictions.top_classes[:, :k],
        scores=predictions.scores[:, :k],
    )
    repeated = {name: values.repeat(top.scores.shape[1]) for name, values in columns.items()}
    return top.to_frame().assign(**repeated)


def describe_calibration(calibration: Calibration) -> str:
    """Say what calibrates, and on how many images."""
    calibrator, answers = calibration.calibrator, calibration.answers
    value = getattr(calibrator, "temperature", None)
    said = calibrator.kind + ("" if value is None else f" {value:.3g}")
    return f"{said} on {calibration.n_known:,} held-out images ({answers.method})"


def _format(accuracy: Accuracy) -> str:
    low, high = accuracy.interval
    return f"{accuracy.fraction:.3f} [{low:.3f}, {high:.3f}]"


def _find_sets(
    predictions: Predictions, calibration: Calibration, coverage_fraction: float, *, quiet: bool
) -> dict[str, npt.NDArray[Any]]:
    import numpy as np

    from bioprobe.calibration.conformal import measure_sets

    probabilities = predictions.to_dense()
    fitted = calibration.fit_sets(coverage_fraction)
    sets = fitted.find_sets(probabilities)
    said = (
        f"sets that hold the class with a chance of {coverage_fraction:g}, for images like the "
        f"{fitted.n_images:,} held-out ones ({calibration.answers.method}) that chose the limit"
    )
    truth = predictions.truth_classes
    if (truth >= 0).any():
        found = measure_sets(sets, truth)
        said += (
            f"; of {found.coverage.n_images:,} labelled images here {_format(found.coverage)} do, "
            f"{found.mean_size:.2f} classes a set, {found.single_fraction:.0%} of one class"
        )
    say(said, quiet=quiet)
    names = np.array([taxon.name for taxon in predictions.classes], dtype=object)
    order = predictions.top_classes
    listed = ["|".join(names[row[flags[row]]]) for row, flags in zip(order, sets, strict=True)]
    return {"set": np.array(listed, dtype=object), "set_size": sets.sum(axis=1)}


def _score_unknown(
    probabilities: npt.NDArray[np.float32], calibration: Calibration,
    *, quiet: bool,
) -> dict[str, npt.NDArray[Any]]:  # fmt: skip
    from bioprobe.calibration.unknown import score_max_softmax

    limit = calibration.find_unknown_limit(_RECALL)
    measured = calibration.measure_unknown(_RECALL)
    method = calibration.answers.method
    say(
        f"unknown above a score of {limit:.4g}, which {_RECALL:.0%} of {calibration.n_known:,} "
        f"held-out images of known classes do not pass ({method})",
        quiet=quiet,
    )
    if measured is None:
        said = (
            "how many images of unknown classes it misses was not measured: no held-out image is "
            "of a class that was not learnt; probe fit --leave-out 0.2 makes some"
        )
    else:
        said = (
            f"of {measured.n_unknown:,} held-out images of classes that were not learnt it takes "
            f"{measured.false_accept_fraction:.1%} for known (AUROC {measured.auroc:.3f})"
        )
    say(said, quiet=quiet)
    scores = score_max_softmax(probabilities)
    return {"unknown_max_softmax": scores, "is_unknown": scores > limit}


def _choose_confidence(
    probe: FittedProbe, calibration: Calibration, accuracy: float, *, quiet: bool
) -> float:
    chosen = calibration.choose_confidence(probe, accuracy)
    if math.isinf(chosen.confidence):
        say(
            f"no confidence gives {accuracy:g} right answers on {chosen.n_images:,} held-out "
            "images; only what is certain is answered",
            quiet=quiet,
        )
        return 1.0
    say(
        f"confidence {chosen.confidence:g}, the lowest at which {accuracy:g} of the answers to "
        f"{chosen.n_images:,} held-out images ({calibration.answers.method}) are right: "
        f"{_format(chosen.accuracy)}, {chosen.coverage_fraction:.1%} answered",
        quiet=quiet,
    )
    return chosen.confidence
