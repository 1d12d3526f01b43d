"""``bioprobe store``: what a store holds, whether it is whole, and its exchange with others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bioprobe.cli.build import command
from bioprobe.cli.groups import Commands
from bioprobe.cli.saying import spell
from bioprobe.options import TEXT_HEAD, Option, Unless, With, Without

if TYPE_CHECKING:
    from bioprobe.index.tuning import IndexReport
    from bioprobe.interchange import ExportSummary, HeadSummary, ImportSummary
    from bioprobe.merging import Merged
    from bioprobe.quality.description import StoreFacts
    from bioprobe.result import Result
    from bioprobe.store.health import Verification
    from bioprobe.store.remote import Moved
    from bioprobe.upkeep import Compaction, Removed

app = Commands("Look into a store, and exchange its vectors with other tools.")

FactsFormat = Annotated[str, Option("table or json.", ("--format",), ("table", "json"), fixed=True)]
_AS_HEAD, _AS_VECTORS = With("layout", (TEXT_HEAD,)), Unless("layout", (TEXT_HEAD,))


@command(app, "face.keeping:Keeps.info", narrows=("labels",), shows=False)
def info(found: StoreFacts, file_format: FactsFormat = "table") -> None:
    """Show the encoder, the counts, the labels and the failures of a store.

    Example: bioprobe store info --store embeddings/default
    """
    facts = found.to_dict()
    if file_format == "json":
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    failures = facts.pop("failures")
    for name, value in facts.items():
        typer.echo(spell(f"{name:<16} {_write_fact(value)}"))
    typer.echo(spell(f"{'failed':<16} {failures['images']:,}"))
    for reason, n_images in failures["reasons"].items():
        typer.echo(spell(f"{'':<16} {n_images:,}: {reason}"))
    for failure in failures["examples"]:
        typer.echo(spell(f"{'for example':<16} {failure['path']}: {failure['reason']}"))


def _write_fact(value: object) -> str:
    """Write a fact for reading: of several all, and what is said of each."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {said}" for name, said in value.items()) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


@command(app, "face.keeping:Keeps.verify", narrows=(), shows=False)
def verify(found: Verification) -> None:
    """Check every byte of a store against its manifest; exit 1 if something is wrong.

    Example: bioprobe store verify --repair
    """
    if found.repair is not None:
        for problem in found.repair.problems:
            typer.echo(spell(f"{problem.where}: {problem.what}"))
        for file in found.repair.lost:
            typer.echo(spell(f"lost: {file}"))
        if found.repair.n_unlisted:
            typer.echo(spell(f"lost: {found.repair.n_unlisted:,} images of a damaged image table"))
    if found.restoration is not None:
        for name in found.restoration.shards:
            typer.echo(spell(f"put back: shards/{name}"))
        for problem in found.restoration.left:
            typer.echo(spell(f"{problem.where}: {problem.what}"))
    for problem in found.problems:
        typer.echo(spell(f"{problem.where}: {problem.what}"))
    if not found.is_whole:
        raise typer.Exit(1)


@command(app, "face.keeping:Keeps.masks", narrows=())
def masks(found: Result) -> None:
    """List the masks of a store, and how many images each keeps.

    Example: bioprobe store masks
    """


@command(app, "face.keeping:Keeps.remove_mask", name="remove-mask", narrows=(), shows=False)
def remove_mask(done: Result) -> None:
    """Forget a mask; the images are not touched.

    Example: bioprobe store remove-mask filters/animal
    """


@command(app, "face.mapping:Maps.maps", narrows=())
def maps(found: Result) -> None:
    """List the maps of a store, and how far each can be trusted.

    Example: bioprobe store maps
    """


@command(app, "face.mapping:Maps.remove_map", name="remove-map", narrows=(), shows=False)
def remove_map(done: Result) -> None:
    """Forget a map; the images are not touched.

    Example: bioprobe store remove-map default
    """


@command(app, "face.clustering:Groups.clusters", narrows=())
def clusters(found: Result) -> None:
    """List the columns of clusters of a store; bioprobe cluster makes one.

    Example: bioprobe store clusters
    """


@command(
    app,
    "face.clustering:Groups.remove_clusters",
    name="remove-clusters",
    narrows=(),
    shows=False,
)
def remove_clusters(done: Result) -> None:
    """Forget a column of clusters; the images are not touched.

    Example: bioprobe store remove-clusters cluster
    """


@command(
    app, "face.removing:Removes.remove", shows=False,
    when={"where": Without("undo"), "mask": Without("undo")},
)  # fmt: skip
def remove(
    done: Removed,
    *,
    yes: Annotated[
        bool, Option("Do not ask first.", ("--yes", "-y"), when=(Without("undo"),))
    ] = False,
) -> None:
    """Remove rows from a store; they come back with --undo, until the store is compacted.

    It says how many rows, and what hangs on them, and asks. The pictures are not touched.

    Example: bioprobe store remove --where "site == 'camp'" --yes
    """
    _ = yes
    if done.is_declined:
        raise typer.Exit(1)


@command(app, "face.removing:Removes.removed", narrows=())
def removed(found: Result) -> None:
    """List what was removed from a store and can be brought back.

    Example: bioprobe store removed
    """


@command(app, "face.removing:Removes.compact", narrows=(), shows=False)
def compact(done: Compaction) -> None:
    """Join small shards, and make removed rows be gone, with all that quotes them.

    Rows keep their order, and get new numbers. Programs that read the store go on reading.

    Example: bioprobe store compact --dry-run
    """


@command(app, "face.keeping:Keeps.index", narrows=(), shows=False)
def index(report: IndexReport, file_format: FactsFormat = "table") -> None:
    """Build the index that search uses, as quick as a recall allows, and measure it.

    The settings are chosen with some held-out images of the store and the recall is measured with
    others; a text, which is no image, may find fewer. With --max-memory or --max-query-ms kinds are
    tried until one keeps all limits, and what each reached is said.

    Example: bioprobe store index --recall 0.95 --max-memory 500MB --max-query-ms 5
    """
    if file_format == "json":
        typer.echo(json.dumps(report.to_dict(), indent=2))
        return
    for name, value in _describe(report).items():
        typer.echo(spell(f"{name:<18} {value}"))


@command(app, "face.keeping:import_vectors", name="import", shows=False)
def import_command(summary: ImportSummary | HeadSummary) -> None:
    """Bring vectors that another tool made into a store, or a text head into one that is there.

    Example: bioprobe store import vectors.parquet --store embeddings/copy --model sketch
    """


@command(
    app, "face.keeping:Keeps.export", encodes=True, shows=False,
    when={"where": _AS_VECTORS, "mask": _AS_VECTORS, "model": _AS_HEAD, "device": _AS_HEAD},
)  # fmt: skip
def export(summary: ExportSummary) -> None:
    """Write the vectors of a store for another tool, with all that is known of the images.

    With --layout treeoflife the classes that zeroshot would ask for are written instead, as a
    text head; --level, --taxa, --text-type, --templates, --model and --device are for that.

    Example: bioprobe store export vectors.parquet --layout emb-explorer
    """


@command(app, "face.sending:Sends.push", narrows=(), shows=False)
def push(done: Moved) -> None:
    """Send a store to an address, from which --store ADDRESS reads it; the manifest goes last.

    Example: bioprobe store push s3://bucket/stores/photos
    """


@command(app, "face.sending:pull", shows=False)
def pull(done: Moved) -> None:
    """Copy the store at an address into a folder, or bring what was copied up to date.

    Example: bioprobe store pull s3://bucket/stores/photos --store embeddings/photos
    """


@command(app, "face.store:merge", shows=False)
def merge(done: Merged) -> None:
    """Make one store of several, such as the shares of one run, with all that hangs on their rows.

    Shares of a run (embed --shard) come in the order of that run, and all of them must be there.
    Pictures are not read. The stores that are merged stay as they are.

    Example: bioprobe store merge embeddings/all-*-of-8 --store embeddings/all
    """


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
        "ms a query": f"{report.query_ms:.3g} alone, {1000 / report.queries_per_s:.3g} of many",
        "queries/s": _compare(report.queries_per_s, report.exact_queries_per_s),
        "queries/s, single": _compare(report.single_per_s, report.exact_single_per_s),
        "built in": f"{report.build_s:.1f} s",
    }


def _compare(rate: float, exact: float) -> str:
    return f"{rate:,.0f}, exact {exact:,.0f}: {rate / exact:.1f} times"
