"""``bioprobe taxa measure``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.loading import open_with_texts
from bioprobe.cli.output import say, write_frame

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.zeroshot.unseen import GeneralisedReport


def measure(
    unseen_where: Annotated[
        str,
        typer.Option(
            help="Condition on the images of taxa that the encoder was not trained with, such as "
            "\"role == 'unseen-class'\"; two of these taxa at least."
        ),
    ],
    seen_where: Annotated[
        str | None,
        typer.Option(
            help="Condition on the images of the other taxa; better not those it was trained on. "
            "By default all that have a label."
        ),
    ] = None,
    level: options.Level = "species",
    taxa: options.Taxa = None,
    text_type: options.TextTypeName = "taxon_com",
    templates: options.Templates = "plain",
    repeats: Annotated[
        int, typer.Option(min=1, help="How often the unseen taxa are halved anew.")
    ] = 5,
    seed: Annotated[int, typer.Option(help="Of the halving.")] = 0,
    store: options.Store = options.DEFAULT_STORE,
    model: options.Model = None,
    device: options.Device = "auto",
    output: options.Output = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Measure generalised zero-shot, and keep an offset for zeroshot --offset auto.

    Example: bioprobe taxa measure --unseen-where "role == 'unseen-class'"
    """
    from bioprobe.prompts import PromptSet, TextType, read_templates
    from bioprobe.store.writing import QUICK_WAIT_S
    from bioprobe.taxonomy import Rank
    from bioprobe.zeroshot.candidates import find_candidates
    from bioprobe.zeroshot.seen_offset import keep_offset
    from bioprobe.zeroshot.unseen import measure_generalised

    rank = Rank.parse(level)
    opened, texts = open_with_texts(store, model, device)
    classes = find_candidates(opened, taxa, rank)
    prompts = PromptSet(classes, TextType.parse(text_type), read_templates(templates))
    report = measure_generalised(
        opened, prompts, texts.encode_text, rank=rank, unseen_condition=unseen_where,
        seen_condition=seen_where, n_repeats=repeats, seed=seed,
    )  # fmt: skip
    asked = {"rank": level, "text_type": text_type, "templates": templates}
    conditions = {"unseen_where": unseen_where, "seen_where": seen_where, "seed": seed}
    with opened.lock(wait_s=QUICK_WAIT_S):
        keep_offset(opened, report.offset, {**asked, **conditions, **report.to_dict()})
    _report(report, quiet=quiet)
    write_frame(_to_frame(report), output, file_format, quiet=quiet)


def _report(report: GeneralisedReport, *, quiet: bool) -> None:
    low, high = min(report.fold_offsets), max(report.fold_offsets)
    say(
        f"unseen taxa: {len(report.offset.new)}; offsets of the halves: {low:.3f} to {high:.3f}; "
        f"kept for zeroshot --offset auto: {report.offset.value:.3f}",
        quiet=quiet,
    )


def _to_frame(report: GeneralisedReport) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for name, measured in (("without", report.before), ("with", report.after)):
        row: dict[str, object] = {"offset": name}
        for side, accuracy in (("seen", measured.seen), ("unseen", measured.unseen)):
            row[f"{side}_accuracy"] = accuracy.fraction
            row[f"{side}_low"], row[f"{side}_high"] = accuracy.interval
            row[f"n_{side}"] = accuracy.n_images
        row["harmonic_mean"] = measured.harmonic_mean
        row["harmonic_low"], row["harmonic_high"] = measured.interval
        rows.append(row)
    return pd.DataFrame(rows)
