"""``bioprobe models``: which encoders there are, and how to bring one to this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli.build import command
from bioprobe.cli.groups import Commands
from bioprobe.options import Option

if TYPE_CHECKING:
    from bioprobe.embedding.quantising import Quantised
    from bioprobe.encoders.checking import EncoderCheck
    from bioprobe.encoders.downloading import Download, Models, ModelStatus

app = Commands("List the encoders, download one, and check that it works here.")

OutputFormat = Annotated[
    str, Option("Form of the output.", ("--format",), ("table", "json"), fixed=True)
]


@command(app, "face.models:list", name="list", shows=False)
def list_models(found: Models, output_format: OutputFormat = "table") -> None:
    """List the models that have a short name, and whether each is on this machine.

    Example: bioprobe models list --format json
    """
    if output_format == "json":
        typer.echo(json.dumps([model.to_dict() for model in found.models], indent=2))
        return
    rows = [_build_row(model) for model in found.models]
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


@command(app, "face.models:info", shows=False)
def info(model: ModelStatus, output_format: OutputFormat = "table") -> None:
    """Show what is known of one model without loading it.

    Example: bioprobe models info bioclip-2
    """
    facts = model.to_dict()
    if output_format == "json":
        typer.echo(json.dumps(facts, indent=2))
        return
    facts["folder"] = facts["folder"] or "none"
    typer.echo(_align([(key, _show(value)) for key, value in facts.items()]))


@command(app, "face.models:download", shows=False, says="Fetching {model} …")
def download(found: Download) -> None:
    """Fetch a model from the hub, into the cache or into a folder.

    Example: bioprobe models download bioclip-2 --to bioclip-2
    """
    typer.echo(str(found.folder))


@command(app, "face.models:check", shows=False, says="Loading {model} …")
def check(found: EncoderCheck) -> None:
    """Load a model and encode one drawn picture and one text with it.

    Example: bioprobe models check sketch
    """
    rows = [
        ("model", found.encoder.describe()),
        ("fingerprint", found.encoder.key),
        ("revision", found.encoder.revision or "none"),
        ("dim", str(found.dim)),
        ("image norm", f"{found.image_norm:.6f}"),
        ("text norm", "no text tower" if found.text_norm is None else f"{found.text_norm:.6f}"),
        ("load", f"{found.load_s:.1f} s"),
        ("speed", f"{found.images_per_s:.1f} images/s"),
        ("precision", found.encoder.precision),
        *([("  measured", found.bf16_trial.describe())] if found.bf16_trial else []),
        ("backend", found.backend),
        *((f"  {one.backend}", one.describe()) for one in found.trials),
        *([("  measured in", f"{found.trials_s:.0f} s, once")] if found.trials_s else []),
        ("ok", "yes"),
    ]
    typer.echo(_align(rows))


@command(app, "face.models:quantise", shows=False, says="Quantising {model} …")
def quantise(found: Quantised) -> None:
    """Quantise a model to 8 bits on pictures of yours, and tell what that does to answers.

    Example: bioprobe models quantise local-dir:model photos/ --level family --folder-rank species
    """
    typer.echo(found.model)


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
