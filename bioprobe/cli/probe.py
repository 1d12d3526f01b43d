"""``bioprobe probe``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bioprobe.cli import options, probe_stack
from bioprobe.cli.loading import view_images
from bioprobe.cli.output import say, write_frame
from bioprobe.cli.probe_calibration import Wishes, answer, describe_calibration, find_calibration
from bioprobe.cli.probe_fit import fit
from bioprobe.cli.probe_tune import tune

if TYPE_CHECKING:
    from bioprobe.learning.fitted import FittedProbe
    from bioprobe.store import EmbeddingStore
    from bioprobe.task.predictions import Predictions

app = typer.Typer(help="Learn from labelled images, and label others.", no_args_is_help=True)
app.add_typer(probe_stack.app, name="stack")
app.command()(fit)
app.command()(tune)
_SHOWN = 10

_Name = Annotated[str, typer.Argument(help="Name of the probe.")]


@app.command()
def predict(
    name: _Name,
    sources: Annotated[
        list[Path] | None,
        typer.Argument(help="Pictures, folders or tables; by default the images in the store."),
    ] = None,
    k: options.NumberOfAnswers = 5,
    calibrate: Annotated[
        bool | None,
        typer.Option(
            "--calibrate/--no-calibrate",
            help="Probabilities as calibrated on held-out images at the fit, or as the probe gives "
            "them. [default: calibrated where the fit has done it]",
            show_default=False,
        ),
    ] = None,
    abstain: Annotated[
        str | None,
        typer.Option(
            help="Answer at the deepest rank whose summed probability reaches this (0 to 1), or, "
            "with auto, what gives --accuracy on held-out images; one row an image."
        ),
    ] = None,
    accuracy: Annotated[
        float, typer.Option(help="Share of answers that --abstain auto wants right.")
    ] = 0.95,
    sets: Annotated[
        float | None,
        typer.Option(help="Add the classes that hold the right one with this chance, such as 0.9."),
    ] = None,
    unknown: Annotated[
        bool,
        typer.Option(
            "--unknown", help="Add a score that the image is of no known class, and whether it is."
        ),
    ] = False,
    where: options.Where = None,
    mask: options.Mask = None,
    split: Annotated[
        str | None, typer.Option(help="Only a part of a split: NAME:train, :validation or :test.")
    ] = None,
    store: options.Store = options.DEFAULT_STORE,
    model: options.Model = None,
    device: options.Device = "auto",
    output: options.Output = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Label the images of a store, or picture files, by a probe.

    Example: bioprobe probe predict linear --split default:test --output answers.csv
    """
    from bioprobe.learning.keeping import read_probe
    from bioprobe.store import EmbeddingStore

    if sources and (where or mask or split):
        msg = "--where, --mask and --split choose images of the store; leave them, or the files"
        raise typer.BadParameter(msg)
    wishes = Wishes(calibrate, abstain, accuracy, sets, unknown)
    opened = EmbeddingStore.open(store)
    probe = read_probe(opened, name)
    calibration = find_calibration(opened, name, wishes, quiet=quiet)
    probe = calibration.apply(probe) if calibration else probe
    n_answers = len(probe.classes) if wishes.needs_all_classes else k
    if sources:
        predictions = _ask_pictures(probe, opened, sources, n_answers, model, device)
    else:
        view = view_images(opened, where, mask, quiet=quiet)
        view = view.take(_find_part(opened, split)) if split else view
        predictions = probe.ask(view, n_answers)
    _report_accuracy(predictions, quiet=quiet)
    frame = answer(predictions, probe, calibration, wishes, k, quiet=quiet)
    provenance = {**predictions.provenance.to_dict(), "asked": dataclasses.asdict(wishes)}
    write_frame(frame, output, file_format, provenance=provenance, quiet=quiet)


@app.command()
def show(
    name: _Name,
    store: options.Store = options.DEFAULT_STORE,
    output: options.Output = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Show what a probe learnt from, how, and how it did on held-out images.

    Example: bioprobe probe show linear
    """
    import pandas as pd

    from bioprobe.learning.keeping import read_calibration, read_probe
    from bioprobe.store import EmbeddingStore

    opened = EmbeddingStore.open(store)
    probe, calibration = read_probe(opened, name), read_calibration(opened, name)
    facts = {
        **_describe(name, probe),
        "calibrated by": describe_calibration(calibration) if calibration else "",
        "settings": json.dumps(probe.settings),
        "chosen on": probe.held_out.method,
        "encoder": probe.encoder.describe(),
        "split hash": probe.split_hash,
        "training rows hash": probe.rows_hash,
        "taxonomy hash": probe.taxonomy_hash,
        "command": str(probe.provenance.get("command", "")),
        "time": str(probe.provenance.get("time", "")),
        "class names": ", ".join(taxon.name for taxon in probe.classes),
    }
    tried = zip(probe.held_out.values, probe.held_out.accuracies, strict=True)
    facts |= {f"accuracy at {value:g}": f"{accuracy:.4f}" for value, accuracy in tried}
    rows = [{"field": field, "value": str(value)} for field, value in facts.items()]
    frame = pd.DataFrame(rows)
    write_frame(frame, output, file_format, provenance=probe.provenance, quiet=quiet)


@app.command("list")
def list_all(
    store: options.Store = options.DEFAULT_STORE,
    output: options.Output = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """List the probes of a store.

    Example: bioprobe probe list
    """
    import pandas as pd

    from bioprobe.errors import BioprobeError
    from bioprobe.learning.keeping import list_probes, read_probe
    from bioprobe.store import EmbeddingStore

    opened = EmbeddingStore.open(store)
    rows: list[dict[str, Any]] = []
    for name in list_probes(opened):
        try:
            rows.append({**_describe(name, read_probe(opened, name)), "problem": ""})
        except BioprobeError as error:
            rows.append({"name": name, "problem": str(error)})
    columns = ["name", "kind", "level", "classes", "images", "split", "chosen", "accuracy"]
    frame = pd.DataFrame(rows, columns=[*columns, "low", "high", "problem"])
    write_frame(frame, output, file_format, quiet=quiet)


@app.command()
def remove(
    name: _Name,
    store: options.Store = options.DEFAULT_STORE,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Remove a probe from a store.

    Example: bioprobe probe remove knn
    """
    from bioprobe.learning.keeping import remove_probe
    from bioprobe.store import EmbeddingStore

    remove_probe(EmbeddingStore.open(store), name)
    say(f"removed the probe {name} from {store}", quiet=quiet)


def _ask_pictures(
    probe: FittedProbe, store: EmbeddingStore, sources: list[Path], k: int, model: str | None,
    device: str,
) -> Predictions:  # fmt: skip
    from bioprobe.embedding.encoder_choice import load_encoder_for
    from bioprobe.learning.fitted import encode_pictures
    from bioprobe.sources.source import find_images

    encoder = load_encoder_for(store.folder, model=model, device=device)
    store.check_encoder(encoder.fingerprint)
    encoded = encode_pictures(find_images(sources), encoder)
    for path, reason in encoded.failures[:_SHOWN]:
        say(f"skipped {path}: {reason}")
    if len(encoded.failures) > _SHOWN:
        say(f"… and {len(encoded.failures) - _SHOWN:,} more could not be read")
    source = " ".join(map(str, sources))
    return probe.predict_images(encoded.images, encoded.vectors, k, source=source)


def _find_part(store: EmbeddingStore, text: str) -> Any:  # noqa: ANN401 - ndarray of int64
    from bioprobe.splits import PARTS, read_split

    name, _, part = text.partition(":")
    if part not in PARTS:
        msg = f"--split names a part, such as default:test ({', '.join(PARTS)}); got {text!r}"
        raise typer.BadParameter(msg)
    return read_split(store, name).rows(part)


def _describe(name: str, probe: FittedProbe) -> dict[str, Any]:
    from bioprobe.intervals import Accuracy

    held_out = probe.held_out
    accuracy = Accuracy(1, held_out.n_correct, held_out.n_images)
    chosen = held_out.parameter
    low, high = accuracy.interval
    return {
        "name": name,
        "kind": probe.kind,
        "level": probe.rank.value,
        "classes": len(probe.classes),
        "images": probe.n_rows,
        "split": probe.split_name or "none",
        "chosen": f"{chosen}={probe.settings[chosen]:g}" if chosen else "",
        "accuracy": accuracy.fraction,
        "low": low,
        "high": high,
    }


def _report_accuracy(predictions: Predictions, *, quiet: bool) -> None:

    measured = [] if quiet else predictions.accuracy()
    if measured:
        figures = ", ".join(map(str, measured))
        say(f"against the labels of {measured[0].n_images:,} images: {figures} (95% interval)")
