"""``bioprobe search``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.loading import open_with_texts, view_images
from bioprobe.cli.output import say, write_frame

if TYPE_CHECKING:
    from bioprobe.index import Neighbors

Pictures = list[Path] | None
Texts = list[str] | None
Rows = list[int] | None


def search(
    image: Annotated[
        Pictures, typer.Option(help="Picture to look for; may be given several times.")
    ] = None,
    text: Annotated[
        Texts, typer.Option(help="Text to look for; may be given several times.")
    ] = None,
    row: Annotated[
        Rows, typer.Option(min=0, help="Row of the store to look for; it is no answer itself.")
    ] = None,
    minus_image: Annotated[Pictures, typer.Option(help="Picture to keep away from.")] = None,
    minus_text: Annotated[
        Texts, typer.Option(help='Text to keep away from, such as "a zoo fence".')
    ] = None,
    minus_row: Annotated[Rows, typer.Option(min=0, help="Row to keep away from.")] = None,
    minus_weight: Annotated[
        float,
        typer.Option(min=0, help="How much what to keep away from counts against the rest."),
    ] = 0.5,
    deduplicate: Annotated[
        bool,
        typer.Option(
            "--deduplicate", help="Of copies (by bioprobe dedupe, else by bytes) only the nearest."
        ),
    ] = False,
    exclude_query: Annotated[
        bool | None,
        typer.Option(
            "--exclude-query/--include-query",
            help="Whether the images that are asked by may be answers. By default --row may not, "
            "and --image may.",
            show_default=False,
        ),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare all vectors, whatever index the store has.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="Also write the answers as a page of pictures.")
    ] = None,
    store: options.Store = options.DEFAULT_STORE,
    k: options.NumberOfAnswers = 10,
    where: options.Where = None,
    mask: options.Mask = None,
    model: options.Model = None,
    device: options.Device = "auto",
    output: options.Output = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Find the images nearest to a picture, a text, a row, or several together.

    All terms add up, but for those of --minus-image, --minus-text and --minus-row: an image ranks
    by its similarity to the mean of what is looked for, less --minus-weight times that to the mean
    of what is not. At 1, little of what both have in common is left.

    Example: bioprobe search --image leopard.jpg --text "a spotted cat on snow" -k 10
    """
    from bioprobe.index import Terms, compose_question
    from bioprobe.index import search as find_neighbors

    opened, texts = open_with_texts(store, model, device)
    plus = Terms(image or (), text or (), row or ())
    minus = Terms(minus_image or (), minus_text or (), minus_row or ())
    question = compose_question(opened, texts, plus, minus, minus_weight=minus_weight)
    asked = view_images(opened, where, mask, quiet=quiet)
    found = find_neighbors(
        asked, question, k=k, exclude_own=exclude_query, deduplicate=deduplicate,
        exact=exact,
    )  # fmt: skip
    _say_how(found, quiet=quiet)
    if html is not None:
        from bioprobe.page.sheets import write_search_sheet

        write_search_sheet(html, found, question)
        say(f"wrote {len(found.rows):,} pictures to {html}", quiet=quiet)
    provenance = found.provenance.to_dict()
    write_frame(found.to_frame(), output, file_format, provenance=provenance, quiet=quiet)


def _say_how(found: Neighbors, *, quiet: bool) -> None:
    facts = found.provenance.options
    if facts["index"] == "flat":
        return
    if facts["exact"]:
        say("exact search, not the index: asked for, or few images may be answers", quiet=quiet)
        return
    grown = "; the store has grown since: run bioprobe store index" * facts["index_outgrown"]
    say(
        f"by the {facts['index']} index, which finds {facts['recall']:.1%} of the "
        f"{facts['recall_k']} nearest (--exact compares all){grown}",
        quiet=quiet,
    )
