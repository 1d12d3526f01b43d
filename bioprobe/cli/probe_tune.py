"""``bioprobe probe tune``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.loading import open_with_texts, view_images
from bioprobe.cli.output import say, write_frame
from bioprobe.cli.probe_calibration import Calibrator, keep_calibration

if TYPE_CHECKING:
    from bioprobe.learning.tune import Trial, Tuned
    from bioprobe.store import EmbeddingStore
    from bioprobe.task.target import Target, Texts
    from bioprobe.task.task import Task
    from bioprobe.taxonomy import Rank

_PROMPTED = "prompt+probe"


def tune(
    level: options.Level = "species",
    kinds: Annotated[
        str | None,
        typer.Option(
            help="Kinds to compare, such as lda,ridge,linear. By default all, prompt+probe where "
            "the store's encoder reads text."
        ),
    ] = None,
    n_trials: Annotated[int, typer.Option(min=1, help="Trials at most.")] = 30,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds after which no trial is begun.")
    ] = None,
    metric: Annotated[
        str, typer.Option(help="What is to be best: accuracy, macro_f1 or log_loss.")
    ] = "accuracy",
    split: Annotated[
        str,
        typer.Option(help="Split whose part train is learnt from; none: all labelled images."),
    ] = "default",
    name: Annotated[str, typer.Option(help="Name to keep the best by.")] = "tuned",
    first: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Broadest rank that hierarchical learns. [default: phylum]",
            show_default=False,
        ),
    ] = None,
    taxa: options.Taxa = None,
    text_types: Annotated[
        str, typer.Option(help="Text types that prompt+probe chooses from.")
    ] = "taxon_com,sci,sci_com,taxon",
    templates: Annotated[
        list[str] | None,
        typer.Option(
            help="Template set, or one template, that prompt+probe chooses from; may be given "
            "several times. By default plain, bare and field."
        ),
    ] = None,
    calibration: Calibrator = "temperature",
    where: options.Where = None,
    mask: options.Mask = None,
    seed: Annotated[int, typer.Option(help="Seed of the proposals and the folds.")] = 0,
    store: options.Store = options.DEFAULT_STORE,
    model: options.Model = None,
    device: options.Device = "auto",
    output: options.Output = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Choose the best kind of probe and its settings on held-out images, and keep it.

    Example: bioprobe probe tune --level family --n-trials 30
    """
    from bioprobe.learning.keeping import find_folder, write_probe
    from bioprobe.learning.tune import tune_probe
    from bioprobe.prompts import read_templates
    from bioprobe.store import EmbeddingStore
    from bioprobe.taxonomy import Rank

    opened = EmbeddingStore.open(store)
    view = view_images(opened, where, mask, quiet=quiet)
    find_folder(opened, name)
    asked = _list_kinds(opened, kinds)
    rank = Rank.parse(level)
    texts = _make_texts(opened, rank, taxa, model, device) if _PROMPTED in asked else None
    named = {one: read_templates(one) for one in templates or ("plain", "bare", "field")}
    task = Task.of(
        view, Target.of(rank, first), split=None if split == "none" else split, texts=texts,
        seed=seed,
    )  # fmt: skip
    with _count_trials(n_trials, quiet=quiet) as advance:
        tuned = tune_probe(
            task, kinds=asked, n_trials=n_trials, timeout_s=timeout, metric=metric,
            text_types=text_types.split(","), templates=named, on_trial=advance,
        )  # fmt: skip
    folder = write_probe(opened, name, tuned.probe)
    if not quiet:
        _summarise(tuned, n_trials, folder)
    keep_calibration(opened, name, tuned.task, tuned.probe, calibration, 0.0, quiet=quiet)
    write_frame(
        tuned.to_frame(), output, file_format, provenance=tuned.probe.provenance, quiet=quiet
    )


def _list_kinds(store: EmbeddingStore, given: str | None) -> list[str]:
    from bioprobe.learning.proposals import TUNED_KINDS

    if given is not None:
        return [one.strip() for one in given.split(",") if one.strip()]
    return [one for one in TUNED_KINDS if one != _PROMPTED or store.manifest.has_text_tower]


def _make_texts(
    store: EmbeddingStore, rank: Rank, taxa: str | None, model: str | None, device: str
) -> Texts:
    from bioprobe.task.target import Texts
    from bioprobe.zeroshot.candidates import find_listed

    _, texts = open_with_texts(store.folder, model, device)
    others = find_listed(store, taxa, rank)
    return Texts(texts.encode_text, store.manifest.logit_scale, others=others)


@contextlib.contextmanager
def _count_trials(n_trials: int, *, quiet: bool) -> Iterator[Callable[[Trial], None]]:
    from tqdm import tqdm

    # None: off unless standard error is a terminal.
    with tqdm(total=n_trials, unit=" trials", disable=True if quiet else None) as bar:

        def advance(trial: Trial) -> None:
            bar.set_postfix_str(f"{trial.kind} {trial.score:.4f}", refresh=False)
            bar.update()

        yield advance


def _summarise(tuned: Tuned, n_trials: int, folder: Path) -> None:
    best, n = tuned.best, len(tuned.trials)
    said = f"{n} trials, {tuned.n_compared:,} settings compared"
    if tuned.n_repeated:
        said += f"; {tuned.n_repeated} proposals were repeated and not run again"
    say(said + (f"; {n_trials} were allowed" if n < n_trials else ""))
    failed = [one for one in tuned.trials if one.problem]
    if failed:
        say(f"{len(failed)} trials failed: {failed[0].problem}")
    say(
        f"best {tuned.metric} {best.score:.4f} on {tuned.n_held_out:,} held-out images "
        f"({tuned.method}): {best.kind} {best.settings}"
    )
    say(
        "this is the best of many on the images it was chosen on, so too high; bioprobe evaluate, "
        f"or probe predict {folder.name} --split NAME:test, tells what it is worth on new ones"
    )
    say(f"kept in {folder}")
