"""``bioprobe prompts``: which texts to ask by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.loading import open_with_texts
from bioprobe.cli.output import say, write_frame

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.classify.comparison import Compared

app = typer.Typer(
    no_args_is_help=True, help="Compare and list the texts that classes are asked by."
)


@app.command()
def compare(
    store: options.Store = options.DEFAULT_STORE,
    level: options.Level = "species",
    taxa: options.Taxa = None,
    text_types: Annotated[
        str, typer.Option(help="Text types to compare, separated by commas.")
    ] = "sci,com,taxon,sci_com,taxon_com",
    template_sets: Annotated[
        str, typer.Option(help="Template sets to compare, separated by commas; all for every one.")
    ] = "plain,bare,field",
    where: options.Where = None,
    split: Annotated[
        str | None,
        typer.Option(help="Only images with this value in a column: COLUMN=VALUE."),
    ] = None,
    model: options.Model = None,
    device: options.Device = "auto",
    output: options.Output = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Measure text types and template sets on labelled images, and recommend one.

    Example: bioprobe prompts compare --level family --split role=validation
    """
    from bioprobe.classify.candidates import find_candidates
    from bioprobe.classify.comparison import compare_prompts
    from bioprobe.prompts import TextType, read_templates, shipped_templates
    from bioprobe.taxonomy import Rank

    rank = Rank.parse(level)
    opened, texts = open_with_texts(store, model, device)
    names = shipped_templates() if template_sets == "all" else template_sets.split(",")
    compared = compare_prompts(
        opened,
        find_candidates(opened, taxa, rank),
        texts.encode_text,
        rank=rank,
        text_types=[TextType.parse(name) for name in text_types.split(",")],
        template_sets={name.strip(): read_templates(name.strip()) for name in names},
        condition=_join_conditions(where, split),
    )
    _recommend(compared, quiet=quiet)
    write_frame(_to_frame(compared), output, file_format, quiet=quiet)


@app.command("list")
def list_sets(
    output: options.Output = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """List the template sets and taxon lists that ship with bioprobe.

    Example: bioprobe prompts list --format table
    """
    import pandas as pd

    from bioprobe.prompts import read_templates, shipped_templates
    from bioprobe.taxonomy.reading import read_taxonomy, shipped_taxonomies

    sets = {name: read_templates(name) for name in shipped_templates()}
    rows = [
        {"kind": "templates", "name": name, "n": len(texts), "first": texts[0]}
        for name, texts in sets.items()
    ]
    for name in shipped_taxonomies():
        listed = read_taxonomy(name)
        first = listed.taxa[0].name
        rows.append({"kind": "taxonomy", "name": name, "n": len(listed), "first": first})
    write_frame(pd.DataFrame(rows), output, file_format, quiet=quiet)


def _join_conditions(where: str | None, split: str | None) -> str | None:
    if split is None:
        return where
    column, sign, value = split.partition("=")
    if not sign or not column.strip():
        msg = f"--split is COLUMN=VALUE, got {split!r}"
        raise typer.BadParameter(msg)
    condition = f"`{column.strip()}` == {value.strip()!r}"
    return f"({where}) and {condition}" if where else condition


def _recommend(compared: list[Compared], *, quiet: bool) -> None:
    best = compared[0]
    low = best.accuracy.interval[0]
    near = sum(one.accuracy.interval[1] >= low for one in compared[1:])
    say(
        f"recommended: --text-type {best.text_type.value} --templates {best.templates} "
        f"({best.accuracy}, {best.accuracy.n_images:,} images, 95% interval)",
        quiet=quiet,
    )
    say(
        f"the intervals of {near} of the {len(compared) - 1} others overlap with it; it was chosen "
        "on these images, so measure it on others",
        quiet=quiet,
    )


def _to_frame(compared: list[Compared]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "text_type": one.text_type.value,
                "templates": one.templates,
                "n_templates": one.n_templates,
                "accuracy": one.accuracy.fraction,
                "low": one.accuracy.interval[0],
                "high": one.accuracy.interval[1],
                "n_images": one.accuracy.n_images,
            }
            for one in compared
        ]
    )
