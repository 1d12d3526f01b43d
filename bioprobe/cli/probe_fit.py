"""``bioprobe probe fit``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bioprobe.cli import options
from bioprobe.cli.loading import open_with_texts, view_images
from bioprobe.cli.output import say
from bioprobe.cli.probe_calibration import Calibrator, keep_calibration

if TYPE_CHECKING:
    from bioprobe.learning.fitted import FittedProbe
    from bioprobe.task.target import Texts
    from bioprobe.taxonomy import Rank

_KINDS = ("linear", "lda", "ridge", "knn", "centroid", "prompt+probe", "hierarchical")
_BALANCES = ("none", "class-weight", "logit-adjustment", "focal", "smote", "mixup")


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
        str | None,
        typer.Option(
            "--from",
            help="Broadest rank that hierarchical learns. [default: phylum]",
            show_default=False,
        ),
    ] = None,
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
    from bioprobe.learning.fit import fit as fit_method
    from bioprobe.learning.fitted import FittedProbe
    from bioprobe.learning.keeping import write_probe
    from bioprobe.learning.stack import FittedStack
    from bioprobe.store import EmbeddingStore
    from bioprobe.task.target import Target
    from bioprobe.task.task import Task
    from bioprobe.taxonomy import Rank

    opened = EmbeddingStore.open(store)
    view = view_images(opened, where, mask, quiet=quiet)
    texts = None
    if kind == "prompt+probe":
        texts = _write_texts(store, model, device, Rank.parse(level), taxa, text_type, templates)
    given = {"C": c, "balance": balance}
    settings = {name: value for name, value in given.items() if value is not None}
    settings |= _read_settings(setting or [])
    start_s = time.monotonic()
    task = Task.of(
        view, Target.of(level, first), split=None if split == "none" else split, texts=texts,
        seed=seed,
    )  # fmt: skip
    fitted = fit_method(task, kind, settings)
    probe = fitted.probe if isinstance(fitted, FittedStack) else fitted
    if not isinstance(probe, FittedProbe):
        msg = f"{kind} learns nothing that could be kept; ask it by bioprobe {kind}"
        raise typer.BadParameter(msg)
    seconds_s = time.monotonic() - start_s
    folder = write_probe(opened, name or kind, probe)
    if not quiet:
        _summarise(probe, seconds_s, folder)
    keep_calibration(opened, name or kind, task, probe, calibration, leave_out, quiet=quiet)


def _write_texts(
    folder: Path, model: str | None, device: str, rank: Rank, taxa: str | None, text_type: str,
    templates: str,
) -> Texts:  # fmt: skip
    from bioprobe.prompts import TextType, read_templates
    from bioprobe.task.target import Texts
    from bioprobe.zeroshot.candidates import find_listed

    opened, texts = open_with_texts(folder, model, device)
    return Texts(
        texts.encode_text,
        opened.manifest.logit_scale,
        TextType.parse(text_type),
        read_templates(templates),
        find_listed(opened, taxa, rank),
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


def _summarise(probe: FittedProbe, seconds_s: float, folder: Path) -> None:
    from bioprobe.intervals import Accuracy

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
