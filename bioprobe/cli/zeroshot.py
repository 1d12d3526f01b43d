"""``bioprobe zeroshot``."""

from __future__ import annotations

from typing import Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.output import write_frame
from bioprobe.cli.zeroshot_answers import Question, Way, ask_head, ask_texts

_POOLS = ("max", "mean", "sum")


def zeroshot(
    store: options.Store = options.DEFAULT_STORE,
    level: options.Level = "species",
    taxa: options.Taxa = None,
    text_type: options.TextTypeName = "taxon_com",
    templates: options.Templates = "plain",
    head: Annotated[
        str | None,
        typer.Option(
            help="Text head in the store (see: bioprobe store import) to take text embeddings "
            "from, instead of --text-type and --templates. Its taxa are the classes unless --taxa "
            "says otherwise; no model is loaded."
        ),
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option(
            help="How several texts of a class become one score: max (the best text), mean (their "
            "mean embedding; default), sum (of their probabilities; default of a head).",
            autocompletion=lambda incomplete: [n for n in _POOLS if n.startswith(incomplete)],
        ),
    ] = None,
    roll_up: Annotated[
        bool,
        typer.Option(
            "--roll-up",
            help="Score the lowest taxa of the list and sum their probabilities up the tree, "
            "instead of naming the classes of the rank.",
        ),
    ] = False,
    within: Annotated[
        str | None,
        typer.Option(
            help="Only candidates that are this taxon or lie below it: a name at any rank, or a "
            "taxon list (file)."
        ),
    ] = None,
    abstain: Annotated[
        float | None,
        typer.Option(
            help="Answer at the deepest rank whose summed probability reaches this (0 to 1), not "
            "below --level; one row an image, with the score at each rank and the reason."
        ),
    ] = None,
    open_set: Annotated[
        bool,
        typer.Option(
            "--open-set",
            help="Add columns that say how little an image is like any class: unknown_max_softmax, "
            "unknown_energy, unknown_distance.",
        ),
    ] = False,
    offset: Annotated[
        str | None,
        typer.Option(
            help="Subtract this from the logits of all classes but the new ones: those added "
            "without pictures, and those that bioprobe taxa measure was told are unseen. auto "
            "takes the offset that it found."
        ),
    ] = None,
    synonyms: Annotated[
        str | None,
        typer.Option(
            help="Table with the columns synonym and accepted; candidates and labels take the "
            "accepted names."
        ),
    ] = None,
    k: options.NumberOfAnswers = 5,
    where: options.Where = None,
    mask: options.Mask = None,
    model: options.Model = None,
    device: options.Device = "auto",
    output: options.Output = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Label images by text prompts, at any rank.

    Example: bioprobe zeroshot --level family --output families.csv
    """
    from bioprobe.taxonomy import Rank
    from bioprobe.taxonomy.synonyms import read_synonyms

    way = Way(text_type, templates, pool, model, device, roll_up, abstain, open_set, offset)
    way.refuse_misuse(head)
    accepted = read_synonyms(synonyms) if synonyms else {}
    question = Question(store, Rank.parse(level), taxa, within, accepted, where, mask, k, quiet)
    answers = ask_texts(question, way) if head is None else ask_head(question, head, pool)
    frame, provenance = answers
    write_frame(frame, output, file_format, provenance=provenance.to_dict(), quiet=quiet)
