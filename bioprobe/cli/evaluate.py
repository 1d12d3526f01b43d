"""``bioprobe evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.loading import open_with_texts
from bioprobe.cli.output import say, write_frame

if TYPE_CHECKING:
    from bioprobe.evaluation import Evaluation
    from bioprobe.evaluation.curves import EfficiencyPlan
    from bioprobe.store import EmbeddingStore, TextCache
    from bioprobe.task.target import Texts
    from bioprobe.taxonomy import Rank

_DEFAULT_METHODS = "zeroshot,knn,centroid,linear"
_SHOWN = 3


def evaluate_methods(
    store: options.Store = options.DEFAULT_STORE,
    level: options.Level = "family",
    methods: Annotated[
        str,
        typer.Option(
            help="Which to compare: zeroshot, knn, centroid, lda, ridge, linear, hierarchical, "
            "prompt+probe, stack."
        ),
    ] = _DEFAULT_METHODS,
    split: Annotated[
        str, typer.Option(help="Split in the store (see: bioprobe split).")
    ] = "default",
    mask: Annotated[
        str | None,
        typer.Option(
            help="Learn only from images that a named mask keeps; all test images are judged, and "
            "beside them those that it keeps."
        ),
    ] = None,
    with_store: Annotated[
        list[Path] | None,
        typer.Option(
            help="Store of the same images by another encoder, for stack; may be repeated."
        ),
    ] = None,
    taxa: options.Taxa = None,
    text_type: options.TextTypeName = "taxon_com",
    templates: options.Templates = "plain",
    seed: Annotated[int, typer.Option(help="Seed of resamples, folds and probes.")] = 0,
    n_resamples: Annotated[
        int, typer.Option("--n-resamples", min=1, help="Resamples of the bootstrap.")
    ] = 1000,
    label_efficiency: Annotated[
        bool,
        typer.Option(
            "--label-efficiency", help="Also measure accuracy by the images a class learnt from."
        ),
    ] = False,
    shots: Annotated[
        str, typer.Option(help="Images a class, for --label-efficiency.")
    ] = "1,2,5,10,20,50,100",
    draws: Annotated[
        int, typer.Option(min=1, help="Draws of so many images, for --label-efficiency.")
    ] = 5,
    name: Annotated[
        str | None, typer.Option(help="Name under which the store keeps it. [default: the rank]")
    ] = None,
    predictions: Annotated[
        str | None, typer.Option(help="Parquet file for the answers: one row an image and method.")
    ] = None,
    model: options.Model = None,
    device: options.Device = "auto",
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="File to write, of which .json has everything, in the shape of CLIP_benchmark's "
            "results; - is standard output.",
        ),
    ] = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Compare methods on images that none of them learnt from, with intervals and tests.

    Example: bioprobe evaluate --level family --methods zeroshot,knn,linear --output results.json
    """
    from bioprobe.evaluation import evaluate, write_evaluation
    from bioprobe.store import EmbeddingStore
    from bioprobe.task.task import Task
    from bioprobe.taxonomy import Rank

    asked = [part.strip() for part in methods.split(",") if part.strip()]
    if with_store and "stack" not in asked:
        msg = f"--with-store is for the method stack, which is not among {', '.join(asked)}"
        raise typer.BadParameter(msg)
    rank = Rank.parse(level)
    opened, cache = open_with_texts(store, model, device)
    task = Task.of(
        opened, rank, split=split, seed=seed,
        texts=_describe_texts(opened, cache, rank, taxa, text_type, templates),
        others=tuple(EmbeddingStore.open(other) for other in with_store or ()),
    )  # fmt: skip
    found = evaluate(
        task, asked, name=name or rank.value, mask=mask, n_resamples=n_resamples,
        efficiency=_plan(shots, draws) if label_efficiency else None,
        report=lambda message: say(message, quiet=quiet),
    )  # fmt: skip
    write_evaluation(opened, found)
    if predictions:
        write_frame(
            found.predictions, predictions, "parquet", provenance=found.provenance, quiet=quiet
        )
    _write(found, output, file_format, quiet=quiet)
    if not quiet:
        _summarise(found)


def _describe_texts(
    store: EmbeddingStore, cache: TextCache, rank: Rank, taxa: str | None, text_type: str,
    templates: str,
) -> Texts | None:  # fmt: skip
    from bioprobe.prompts import TextType, read_templates
    from bioprobe.task.target import Texts
    from bioprobe.zeroshot.candidates import find_listed

    if not store.manifest.has_text_tower:
        return None
    return Texts(
        cache.encode_text,
        store.manifest.logit_scale,
        TextType.parse(text_type),
        read_templates(templates),
        find_listed(store, taxa, rank),
    )


def _plan(shots: str, draws: int) -> EfficiencyPlan:
    from bioprobe.evaluation.curves import EfficiencyPlan

    try:
        numbers = tuple(int(part) for part in shots.split(","))
    except ValueError:
        msg = f"--shots are numbers of images such as 1,2,5; got {shots!r}"
        raise typer.BadParameter(msg) from None
    return EfficiencyPlan(numbers, draws)


def _write(found: Evaluation, output: str, file_format: str | None, *, quiet: bool) -> None:
    from bioprobe.evaluation.keeping import dump_json, write_results

    is_json = file_format == "json" or (file_format is None and output.lower().endswith(".json"))
    if not is_json:
        write_frame(found.to_frame(), output, file_format, provenance=found.provenance, quiet=quiet)
    elif output == "-":
        from bioprobe.evaluation.keeping import to_clip_benchmark

        typer.echo(dump_json(to_clip_benchmark(found)), nl=False)
    else:
        write_results(Path(output), found)
        say(f"wrote {len(found.results)} results to {output}", quiet=quiet)


def _summarise(found: Evaluation) -> None:
    options_of = found.provenance["options"]
    best = found.best
    groups = f" in {options_of['n_groups']:,} groups" if options_of["is_clustered"] else ""
    rounds = options_of["n_rounds"]
    kept = f"; the mask keeps {options_of['n_kept']:,}" if options_of["mask"] else ""
    say(
        f"judged: {found.provenance['n_rows']:,} images{groups} of split {options_of['split']}"
        f"{f' in {rounds} folds' if rounds > 1 else ''}, {options_of['n_classes']} classes{kept}; "
        f"{options_of['n_not_judged']:,} not judged; intervals of 95% by "
        f"{options_of['n_resamples']:,} resamples"
    )
    for result in found.results:
        if result.n_unknown:
            say(
                f"{result.method}: {result.n_unknown:,} images are of a class that it does not "
                "know, and count as wrong"
            )
    for leak in options_of["leakage"]:
        say(
            f"WARNING: {leak['kind']}: {leak['n_test']:,} test images are in groups that other "
            "parts share; figures may be too good"
        )
    say(f"best: {best.method}, accuracy {best.metrics['accuracy']}")
    for method, one in found.compare_with_best().items():
        sign = "is not told apart from it" if one.p_adjusted > 0.05 else "is worse"
        say(f"  {method} {sign}: p {one.p_adjusted:.3g} ({one.test}, Holm)")
    surest = found.best_calibrated
    if surest is not None:
        ece, scaled = (surest.metrics[name] for name in ("ece", "ece_calibrated"))
        say(
            f"best calibrated after temperature scaling: {surest.method}, ECE {scaled} "
            f"({ece.estimate:.3f} as it comes)"
        )
    for pair in best.pairs[:_SHOWN]:
        above = f"both in {pair['ancestor']}" if pair["ancestor"] else "nothing in common"
        say(f"  {pair['truth']} taken for {pair['answer']}: {pair['n_images']} images, {above}")
    say(f"kept in the store as {found.name}")
