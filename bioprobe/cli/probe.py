"""``bioprobe probe``."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bioprobe.cli import options, probe_stack
from bioprobe.cli.loading import open_with_texts, use_mask
from bioprobe.cli.output import say, write_frame
from bioprobe.cli.probe_calibration import (
    Calibrator,
    Wishes,
    answer,
    find_calibration,
    keep_calibration,
)
from bioprobe.cli.probe_tune import tune

if TYPE_CHECKING:
    from bioprobe.classify import Predictions
    from bioprobe.probes.text_prior import TextPrior
    from bioprobe.probes.trained import TrainedProbe
    from bioprobe.store import EmbeddingStore
    from bioprobe.taxonomy import Rank

app = typer.Typer(help="Learn from labelled images, and label others.", no_args_is_help=True)
app.add_typer(probe_stack.app, name="stack")
app.command()(tune)
_KINDS = ("linear", "lda", "ridge", "knn", "centroid", "prompt+probe", "hierarchical")
_BALANCES = ("none", "class-weight", "logit-adjustment", "focal", "smote", "mixup")
_SHOWN = 10

_Name = Annotated[str, typer.Argument(help="Name of the probe.")]


@app.command()
def fit(
    kind: Annotated[
        str,
        typer.Argument(
            help="linear, lda, ridge, knn, centroid, prompt+probe or hierarchical.",
            autocompletion=lambda incomplete: [k for k in _KINDS if k.startswith(incomplete)],
        ),
    ],
    level: options.Level = "species",
    split: Annotated[
        str, typer.Option(help="Split whose part train is learnt from; none: all labelled images.")
    ] = "default",
    name: Annotated[str | None, typer.Option(help="Name to keep it by; the kind's.")] = None,
    c: Annotated[
        float | None,
        typer.Option("--C", help="Inverse regularisation. By default chosen on held-out images."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(help="Another setting of the kind: k=5, alpha=0.1, shrinkage=0.5 …"),
    ] = None,
    balance: Annotated[
        str | None,
        typer.Option(
            help="What is done about small classes: none, class-weight, logit-adjustment, focal, "
            "smote or mixup.",
            autocompletion=lambda incomplete: [b for b in _BALANCES if b.startswith(incomplete)],
        ),
    ] = None,
    first: Annotated[
        str, typer.Option("--from", help="Broadest rank that hierarchical learns.")
    ] = "phylum",
    calibration: Calibrator = "temperature",
    leave_out: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.9,
            help="Also measure how well unknown classes are told: share of the classes that a "
            "second fit does not learn.",
        ),
    ] = 0.0,
    taxa: options.Taxa = None,
    text_type: options.TextTypeName = "taxon_com",
    templates: options.Templates = "plain",
    where: options.Where = None,
    mask: options.Mask = None,
    seed: Annotated[int, typer.Option(help="Seed of folds and of whatever is drawn.")] = 0,
    store: options.Store = options.DEFAULT_STORE,
    model: options.Model = None,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Fit a probe on labelled images and keep it in the store.

    Example: bioprobe probe fit linear --level family
    """
    from bioprobe.probes.saving import write_probe
    from bioprobe.probes.training import PROMPTED, fit_probe
    from bioprobe.store import EmbeddingStore
    from bioprobe.taxonomy import Rank

    rank = Rank.parse(level)
    opened = use_mask(EmbeddingStore.open(store), mask, quiet=quiet)
    texts = None
    if kind == PROMPTED:
        texts = _make_prior(store, model, device, rank, taxa, text_type, templates)
    given = {"C": c, "balance": balance}
    settings = {name: value for name, value in given.items() if value is not None}
    start_s = time.monotonic()
    parts = None if split == "none" else split
    probe = fit_probe(
        opened, kind, rank, split=parts,
        settings={**settings, **_read_settings(setting or [])}, seed=seed, condition=where,
        first_rank=Rank.parse(first), texts=texts,
    )  # fmt: skip
    seconds_s = time.monotonic() - start_s
    folder = write_probe(opened, name or kind, probe)
    if not quiet:
        _summarise(probe, seconds_s, folder)
    keep_calibration(
        opened, name or kind, probe, calibration, split=parts, seed=seed, condition=where,
        first_rank=Rank.parse(first), texts=texts, left_out_fraction=leave_out, quiet=quiet,
    )  # fmt: skip


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
    from bioprobe.probes.saving import read_probe
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
        masked = use_mask(opened, mask, quiet=quiet)
        rows = _find_part(masked, split) if split else None
        predictions = probe.predict(masked, rows, n_answers, where)
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

    from bioprobe.probes.saving import read_probe
    from bioprobe.store import EmbeddingStore

    probe = read_probe(EmbeddingStore.open(store), name)
    facts = {
        **_describe(name, probe),
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
    from bioprobe.probes.saving import list_probes, read_probe
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
    from bioprobe.probes.saving import remove_probe
    from bioprobe.store import EmbeddingStore

    remove_probe(EmbeddingStore.open(store), name)
    say(f"removed the probe {name} from {store}", quiet=quiet)


def _make_prior(
    folder: Path, model: str | None, device: str, rank: Rank, taxa: str | None, text_type: str,
    templates: str,
) -> TextPrior:  # fmt: skip
    from bioprobe.classify.candidates import find_candidates
    from bioprobe.probes.text_prior import TextPrior
    from bioprobe.prompts import TextType, read_templates

    opened, texts = open_with_texts(folder, model, device)
    return TextPrior(
        texts.encode_text,
        opened.manifest.logit_scale,
        TextType.parse(text_type),
        read_templates(templates),
        find_candidates(opened, taxa, rank),
    )


def _read_settings(pairs: list[str]) -> dict[str, Any]:
    settings = {}
    for pair in pairs:
        key, between, value = pair.partition("=")
        if not between:
            msg = f"--setting is name=value, such as k=5; got {pair!r}"
            raise typer.BadParameter(msg)
        try:
            settings[key] = json.loads(value)
        except json.JSONDecodeError:
            settings[key] = value
    return settings


def _ask_pictures(
    probe: TrainedProbe, store: EmbeddingStore, sources: list[Path], k: int, model: str | None,
    device: str,
) -> Predictions:  # fmt: skip
    from bioprobe.embedding.encoder_choice import load_encoder_for
    from bioprobe.images import find_images
    from bioprobe.probes.pictures import encode_pictures

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


def _describe(name: str, probe: TrainedProbe) -> dict[str, Any]:
    from bioprobe.classify.accuracy import Accuracy

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


def _summarise(probe: TrainedProbe, seconds_s: float, folder: Path) -> None:
    from bioprobe.classify.accuracy import Accuracy

    held_out, chosen = probe.held_out, probe.held_out.parameter
    of = f"part train of the split {probe.split_name}" if probe.split_name else "all labelled"
    say(
        f"{probe.kind} at {probe.rank.value}: {probe.n_rows:,} images ({of}), "
        f"{len(probe.classes):,} classes, {seconds_s:.1f} s"
    )
    if chosen:
        tried = f"{len(held_out.values)} values tried"
        say(f"chosen by {held_out.method}: {chosen} = {probe.settings[chosen]:g} ({tried})")
    if held_out.n_images:
        measured = Accuracy(1, held_out.n_correct, held_out.n_images)
        note = " (the best of those tried: a little too high)" if chosen else ""
        say(f"{held_out.method}, {held_out.n_images:,} images: {measured} (95% interval){note}")
    else:
        say("no image could be held out: nothing was chosen, and nothing is known of its accuracy")
    say(f"kept in {folder}")


def _report_accuracy(predictions: Predictions, *, quiet: bool) -> None:
    from bioprobe.classify import measure_accuracy

    measured = [] if quiet else measure_accuracy(predictions)
    if measured:
        figures = ", ".join(map(str, measured))
        say(f"against the labels of {measured[0].n_images:,} images: {figures} (95% interval)")
