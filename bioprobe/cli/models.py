"""``bioprobe models``: which encoders there are, and how to bring one to this machine."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli.options import Debug, Device, Precision, Quiet
from bioprobe.cli.output import say

if TYPE_CHECKING:
    from bioprobe.encoders.downloading import ModelStatus

app = typer.Typer(
    name="models",
    help="List the encoders, download one, and check that it works here.",
    no_args_is_help=True,
)

_N_TIMED_IMAGES = 16


class OutputFormat(StrEnum):
    """How a listing is written."""

    table = "table"
    json = "json"


FormatOption = Annotated[OutputFormat, typer.Option("--format", help="Form of the output.")]
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="A short name, hf-hub:org/name[@revision], local-dir:path, arch/pretrained-tag, "
        "arch/checkpoint.pt, transformers:org/name-or-dir, timm:name or onnx:file.onnx.",
    ),
]


@app.command("list")
def list_command(
    output_format: FormatOption = OutputFormat.table,
    debug: Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """List the models that have a short name, and whether each is on this machine.

    Example: bioprobe models list --format json
    """
    from bioprobe.encoders.downloading import list_models

    models = list_models()
    if output_format is OutputFormat.json:
        typer.echo(json.dumps([model.to_dict() for model in models], indent=2))
        return
    rows = [_build_row(model) for model in models]
    header = (
        "name",
        "backend",
        "dim",
        "pixels",
        "text",
        "parameters",
        "weights",
        "licence",
        "here",
    )
    typer.echo(_align([header, *rows]))
    say("More of one: bioprobe models info ID")


@app.command("info")
def info_command(
    model: ModelArgument,
    output_format: FormatOption = OutputFormat.table,
    debug: Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Show what is known of one model without loading it.

    Example: bioprobe models info bioclip-2
    """
    from bioprobe.encoders.downloading import describe_model

    facts = describe_model(model).to_dict()
    if output_format is OutputFormat.json:
        typer.echo(json.dumps(facts, indent=2))
        return
    facts["folder"] = facts["folder"] or "none"
    typer.echo(_align([(key, _show(value)) for key, value in facts.items()]))


@app.command("download")
def download_command(
    model: ModelArgument,
    to: Annotated[
        Path | None,
        typer.Option(help="Folder to fill, to be copied to a machine without a network."),
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Fetch a model from the hub, into the cache or into a folder.

    Example: bioprobe models download bioclip-2 --to bioclip-2
    """
    from bioprobe.encoders.downloading import download_model

    say(f"Fetching {model} …", quiet=quiet)
    download = download_model(model, to=to)
    say(f"{_show_bytes(download.size_bytes)} of weights lie in {download.folder}", quiet=quiet)
    say(f"Use it with --model {download.name}", quiet=quiet)
    typer.echo(str(download.folder))


@app.command("check")
def check_command(
    model: ModelArgument,
    device: Device = "auto",
    precision: Precision = "fp32",
    quiet: Quiet = False,
    debug: Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Load a model and encode one drawn picture and one text with it.

    Example: bioprobe models check sketch
    """
    from bioprobe.encoders import load_encoder
    from bioprobe.encoders.checking import check_encoder

    say(f"Loading {model} …", quiet=quiet)
    started = time.perf_counter()
    encoder = load_encoder(model, device=device, precision=precision or "fp32")
    load_s = time.perf_counter() - started
    check = check_encoder(encoder, n_images=_N_TIMED_IMAGES)
    rows = [
        ("model", encoder.fingerprint.describe()),
        ("fingerprint", encoder.fingerprint.key),
        ("revision", encoder.fingerprint.revision or "none"),
        ("dim", str(encoder.dim)),
        ("image norm", f"{check.image_norm:.6f}"),
        ("text norm", "no text tower" if check.text_norm is None else f"{check.text_norm:.6f}"),
        ("load", f"{load_s:.1f} s"),
        ("speed", f"{check.images_per_s:.1f} images/s"),
        ("ok", "yes"),
    ]
    typer.echo(_align(rows))


def _build_row(model: ModelStatus) -> tuple[str, ...]:
    facts = model.to_dict()
    n_parameters = facts["n_parameters"]
    return (
        model.name,
        model.backend,
        _show(model.dim),
        _show(model.image_size_px),
        _show(facts["has_text_tower"]),
        f"{n_parameters / 1e6:.0f} M" if isinstance(n_parameters, int) else "unknown",
        _show_bytes(facts["size_bytes"]),
        _show(facts["licence"]),
        _show(facts["is_here"]),
    )


def _show(value: str | int | bool | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)


def _show_bytes(value: str | int | None) -> str:
    return f"{value / 1e6:,.0f} MB" if isinstance(value, int) else "unknown"


def _align(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(lines)
