"""``bioprobe probe stack``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.output import say, write_frame

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from bioprobe.learning.stack import FittedStack, SharedImages
    from bioprobe.store import EmbeddingStore

_BASES = ("linear", "lda", "ridge", "knn", "centroid")

app = typer.Typer(
    help="Combine probes of several encoders over the same images.\n\n"
    "Example: bioprobe probe stack fit --with embeddings/other --level family",
    no_args_is_help=True,
)

_With = Annotated[
    list[Path],
    typer.Option("--with", help="Store of the same images by another encoder; may be repeated."),
]
_Name = Annotated[str, typer.Argument(help="Name of the stack.")]


@app.command()
def fit(
    others: _With,
    level: options.Level = "species",
    split: Annotated[
        str, typer.Option(help="Split whose part train is learnt from; none: all labelled images.")
    ] = "default",
    base: Annotated[
        list[str] | None,
        typer.Option(
            help="Kind of the probe of each encoder: linear, lda, ridge, knn or centroid; may be "
            "repeated. [default: lda]",
            autocompletion=lambda incomplete: [b for b in _BASES if b.startswith(incomplete)],
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Name to keep it by.")] = "stack",
    c: Annotated[
        float | None,
        typer.Option(
            "--C", help="Inverse regularisation of the combination. By default chosen on folds."
        ),
    ] = None,
    where: options.Where = None,
    seed: Annotated[int, typer.Option(help="Seed of the folds.")] = 0,
    store: options.Store = options.DEFAULT_STORE,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Fit a probe of each encoder and how to combine them, and keep this in the store.

    Example: bioprobe probe stack fit --with embeddings/other --level family
    """
    from bioprobe.learning.keeping import write_probe
    from bioprobe.learning.stack import fit_stack
    from bioprobe.store import EmbeddingStore
    from bioprobe.store.view import View
    from bioprobe.task.task import Task

    stores = [EmbeddingStore.open(folder) for folder in (store, *others)]
    start_s = time.monotonic()
    task = Task.of(
        View.of(stores[0], where), level, split=None if split == "none" else split, seed=seed,
        others=tuple(stores[1:]),
    )  # fmt: skip
    stack = fit_stack(task, bases=[(kind, {}) for kind in base or ["lda"]], C=c)
    seconds_s = time.monotonic() - start_s
    folder = write_probe(stores[0], name, stack.probe)
    if not quiet:
        _summarise(stack, seconds_s, folder, is_open=c is None)


@app.command()
def predict(
    name: _Name,
    others: _With,
    k: options.NumberOfAnswers = 5,
    where: options.Where = None,
    split: Annotated[
        str | None, typer.Option(help="Only a part of a split: NAME:train, :validation or :test.")
    ] = None,
    store: options.Store = options.DEFAULT_STORE,
    output: options.Output = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Label the images that all stores hold.

    Example: bioprobe probe stack predict stack --with embeddings/other --split default:test
    """
    import numpy as np

    from bioprobe.splits import read_split
    from bioprobe.store.view import View

    stack, stores = _open(store, others, name)
    rows = View.of(stores[0], where).rows
    if split:
        split_name, _, part = split.partition(":")
        rows = np.intersect1d(rows, read_split(stores[0], split_name).rows(part))
    shared = _share(stores, rows, quiet=quiet)
    predictions = stack.predict(shared, k)
    for measured in predictions.accuracy():
        say(f"{measured.n_images:,} labelled images: {measured} (95% interval)", quiet=quiet)
    write_frame(
        predictions.to_frame(), output, file_format,
        provenance=predictions.provenance.to_dict(), quiet=quiet,
    )  # fmt: skip


@app.command()
def compare(
    name: _Name,
    others: _With,
    part: Annotated[
        str,
        typer.Option(
            help="Part of the split that the stack was fitted on: validation or test.",
            autocompletion=lambda incomplete: [
                one for one in ("validation", "test") if one.startswith(incomplete)
            ],
        ),
    ] = "validation",
    store: options.Store = options.DEFAULT_STORE,
    output: options.Output = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Compare the stack with each of its bases alone, on images that none learnt from.

    Example: bioprobe probe stack compare stack --with embeddings/other --part test
    """
    stack, stores = _open(store, others, name)
    rows = stack.find_judged_rows(stores[0], part)
    shared = _share(stores, rows, quiet=quiet)
    provenance = stack.describe(shared, part=part)
    write_frame(
        _compare(stack, shared), output, file_format, provenance=provenance.to_dict(), quiet=quiet
    )


def _open(folder: Path, others: list[Path], name: str) -> tuple[FittedStack, list[EmbeddingStore]]:
    from bioprobe.learning.stack import read_stack
    from bioprobe.store import EmbeddingStore

    first = EmbeddingStore.open(folder)
    stack = read_stack(first, name)
    return stack, stack.arrange([first, *map(EmbeddingStore.open, others)])


def _share(
    stores: list[EmbeddingStore], rows: npt.NDArray[np.int64], *, quiet: bool
) -> SharedImages:
    from bioprobe.learning.stack import find_shared_images

    shared = find_shared_images(stores, rows)
    folders = [str(one.folder) for one in stores[1:]]
    _say_missing(folders, shared.n_missing, quiet=quiet)
    return shared


def _say_missing(folders: list[str], n_missing: tuple[int, ...], *, quiet: bool) -> None:
    for folder, n in zip(folders, n_missing, strict=True):
        if n:
            say(f"{folder} lacks {n:,} of the images, which are left out", quiet=quiet)


def _compare(stack: FittedStack, shared: SharedImages) -> pd.DataFrame:
    """Return a row for the stack and for each base, with the test against the stack."""
    import pandas as pd

    from bioprobe.evaluation.paired import adjust_by_holm, count_disagreements, measure_mcnemar
    from bioprobe.intervals import Accuracy

    first, *others = stack.judge(shared)
    only = [count_disagreements(first, other) for other in others]
    p_values = [measure_mcnemar(*pair) for pair in only]
    tests = zip(only, p_values, adjust_by_holm(p_values), strict=True)
    rows: list[dict[str, str | int | float]] = []
    for method, right in zip(["stack", *stack.base_names], [first, *others], strict=True):
        accuracy = Accuracy(1, int(right.sum()), len(right))
        low, high = accuracy.interval
        row: dict[str, str | int | float] = {
            "method": method, "images": len(right), "accuracy": accuracy.fraction,
            "low": low, "high": high,
        }  # fmt: skip
        if rows:
            (only_stack, only_base), p_value, p_adjusted = next(tests)
            row |= {
                "right_by_stack_only": only_stack, "right_by_base_only": only_base,
                "p_mcnemar": p_value, "p_holm": p_adjusted,
            }  # fmt: skip
        rows.append(row)
    return pd.DataFrame(rows)


def _summarise(stack: FittedStack, seconds_s: float, folder: Path, *, is_open: bool) -> None:
    from bioprobe.intervals import Accuracy

    probe, about = stack.probe, stack.probe.provenance["options"]
    of = f"part train of the split {probe.split_name}" if probe.split_name else "all labelled"
    say(
        f"stack at {probe.rank.value}: {probe.n_rows:,} images ({of}), {len(probe.classes):,} "
        f"classes, {seconds_s:.1f} s"
    )
    _say_missing(about["stores"][1:], stack.n_missing, quiet=False)
    for base, (_, settings) in zip(stack.base_names, probe.settings["bases"], strict=True):
        said = ", ".join(f"{key} = {value:g}" for key, value in settings.items())
        say(f"  {base}{f': {said}' if said else ''}")
    chosen = " (chosen on folds of the training images)" if is_open else ""
    say(f"  combined at C = {probe.settings['C']:g}{chosen}")
    held_out = probe.held_out
    measured = Accuracy(1, held_out.n_correct, held_out.n_images)
    note = "" if held_out.method == "validation" else " (a little too high)"
    say(f"{held_out.method}, {held_out.n_images:,} images: {measured} (95% interval){note}")
    say(f"kept in {folder}")
