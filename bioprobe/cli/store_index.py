"""``bioprobe store index``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bioprobe.cli import options
from bioprobe.cli.output import say

if TYPE_CHECKING:
    from bioprobe.index import IndexReport

_KINDS = ("flat", "ivf", "hnsw", "ivfpq", "sq8")


def index(
    kind: Annotated[
        str,
        typer.Option(
            help="flat: exact, no index. hnsw: quickest, larger than the vectors. ivf: as large. "
            "ivfpq: smallest. sq8: a quarter. Candidates are compared again by their vectors.",
            autocompletion=lambda incomplete: [n for n in _KINDS if n.startswith(incomplete)],
        ),
    ] = "hnsw",
    recall: Annotated[
        float, typer.Option(help="Least share of the k nearest images that is found, in (0, 1].")
    ] = 0.95,
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="Answers the recall is about.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of the held-out images and the training.")] = 0,
    store: options.Store = options.DEFAULT_STORE,
    file_format: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Build the index that search uses, as quick as a recall allows, and measure it.

    The settings are chosen with some held-out images of the store and the recall is measured with
    others; a text, which is no image, may find fewer.

    Example: bioprobe store index --kind ivf --recall 0.95
    """
    from bioprobe.index import build_index
    from bioprobe.store import EmbeddingStore

    report = build_index(EmbeddingStore.open(store), kind, recall=recall, k=k, seed=seed)
    if file_format == "json":
        typer.echo(json.dumps(report.to_dict(), indent=2))
    else:
        for name, value in _describe(report).items():
            typer.echo(f"{name:<18} {value}")
    if not report.is_reached:
        say("the recall measured is below what was asked for, within its error; kept all the same")
    say(f"search in {store} now uses it", quiet=quiet)


def _describe(report: IndexReport) -> dict[str, str]:
    facts: dict[str, Any] = report.to_dict()
    shown = {"kind": facts["kind"], "recall": "1, as every vector is compared"}
    if report.note is not None:
        low, high = facts["recall_interval"]
        settings = ", ".join(f"{name} {value}" for name, value in facts["settings"].items())
        shown["settings"] = settings
        shown["recall"] = (
            f"{facts['recall']:.4f} [{low:.4f}, {high:.4f}] of the {facts['k']} nearest, on "
            f"{facts['n_queries']} held-out images"
        )
    share = report.index_bytes / max(report.vectors_bytes, 1)
    return shown | {
        "memory": f"{report.index_bytes:,} bytes, {share:.2f} of the {report.vectors_bytes:,} of "
        f"{report.n_rows:,} vectors in float32",
        "queries/s": _compare(report.queries_per_s, report.exact_queries_per_s),
        "queries/s, single": _compare(report.single_per_s, report.exact_single_per_s),
        "built in": f"{report.build_s:.1f} s",
    }


def _compare(rate: float, exact: float) -> str:
    return f"{rate:,.0f}, exact {exact:,.0f}: {rate / exact:.1f} times"
