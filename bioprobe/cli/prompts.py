"""``bioprobe prompts``: which texts to ask by."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.loading import open_with_texts
from bioprobe.cli.output import say, write_frame

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from bioprobe.store import EmbeddingStore
    from bioprobe.zeroshot.comparison import Compared

    Rows = npt.NDArray[np.int64]

_SHOWN = 5

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
        typer.Option(
            help="Only a part of a split, NAME[:PART] (see: bioprobe split); the part is "
            "validation, else train, and test only where it is named. Or COLUMN=VALUE: only "
            "images with this value in a column."
        ),
    ] = None,
    model: options.Model = None,
    device: options.Device = "auto",
    output: options.Output = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Measure text types and template sets on labelled images, and recommend one.

    Example: bioprobe prompts compare --level family --split default
    """
    from bioprobe.prompts import TextType, read_templates, shipped_templates
    from bioprobe.store.view import View
    from bioprobe.taxonomy import Rank
    from bioprobe.zeroshot.candidates import find_candidates
    from bioprobe.zeroshot.comparison import compare_prompts

    rank = Rank.parse(level)
    opened, texts = open_with_texts(store, model, device)
    names = shipped_templates() if template_sets == "all" else template_sets.split(",")
    asked = View.of(opened, where)
    compared = compare_prompts(
        asked.take(_find_rows(opened, split, quiet=quiet)) if split else asked,
        find_candidates(opened, taxa, rank),
        texts.encode_text,
        rank=rank,
        text_types=[TextType.parse(name) for name in text_types.split(",")],
        template_sets={name.strip(): read_templates(name.strip()) for name in names},
    )
    frame = _to_frame(compared)
    _recommend(compared, frame, quiet=quiet)
    write_frame(frame, output, file_format, quiet=quiet)


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
    from bioprobe.taxonomy.lists import read_taxonomy, shipped_taxonomies

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


def _find_rows(store: EmbeddingStore, split: str, *, quiet: bool) -> Rows:
    """Return the rows of NAME[:PART] or of COLUMN=VALUE."""
    import numpy as np

    from bioprobe.splits import PARTS, read_split

    column, is_condition, value = (text.strip() for text in split.partition("="))
    if is_condition:
        return np.flatnonzero(_find_equal(store, column, value)).astype(np.int64)
    name, _, part = (text.strip() for text in split.partition(":"))
    if not name or part not in ("", *PARTS):
        msg = f"--split is NAME[:PART] ({', '.join(PARTS)}) or COLUMN=VALUE, got {split!r}"
        raise typer.BadParameter(msg)
    found = read_split(store, name)
    part = part or ("validation" if len(found.rows("validation")) else "train")
    rows = found.rows(part)
    say(f"images of the part {part} of the split {name}: {len(rows):,}", quiet=quiet)
    return rows


def _find_equal(store: EmbeddingStore, column: str, value: str) -> npt.NDArray[np.bool_]:
    """Return which images have a value in a column; 1 is 1.0 where the column holds numbers."""
    import numpy as np
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    frame = store.images.frame
    if column not in frame:
        msg = f"--split: no column {column!r}; there are {', '.join(map(str, frame.columns))}"
        raise typer.BadParameter(msg)
    values = frame[column]
    if is_bool_dtype(values) or not is_numeric_dtype(values):
        text = values.astype(str)
        same = text.str.lower() == value.lower() if is_bool_dtype(values) else text == value
        return same.to_numpy(dtype=np.bool_)
    try:
        return (values == float(value)).fillna(False).to_numpy(dtype=np.bool_)
    except ValueError:
        msg = f"--split: the column {column} holds numbers, got {value!r}"
        raise typer.BadParameter(msg) from None


def _recommend(compared: list[Compared], frame: pd.DataFrame, *, quiet: bool) -> None:
    from bioprobe.evaluation.paired import SIGNIFICANCE_LEVEL

    best = compared[0]
    say(
        f"recommended: --text-type {best.text_type.value} --templates {best.templates} "
        f"({best.accuracy}, {best.accuracy.n_images:,} images, 95% interval)",
        quiet=quiet,
    )
    others = frame[frame["p_value"].notna() & (frame["same_texts_as"] == "")]
    close = others[~others["is_worse"]]
    if len(close):
        shown = close.head(_SHOWN)[["text_type", "templates", "p_value"]]
        said = [f"{kind} {name} (p = {p:.2g})" for kind, name, p in shown.itertuples(index=False)]
        if len(close) > _SHOWN:
            said.append(f"and {len(close) - _SHOWN} more")
        say(f"not distinguishable from it on these images: {', '.join(said)}", quiet=quiet)
    if len(others):
        say(
            f"worse than it, by more than chance explains: {int(others['is_worse'].sum())} of "
            f"{len(others)} others (p < {SIGNIFICANCE_LEVEL}; exact McNemar, Holm over all pairs)",
            quiet=quiet,
        )
    for one in compared:
        if one.same_texts_as:
            say(f"{one.name} asks by the same texts as {one.same_texts_as}", quiet=quiet)
    say("it was chosen on these images, so measure it on others", quiet=quiet)


def _to_frame(compared: list[Compared]) -> pd.DataFrame:
    """Return one row a combination; those that repeat another's texts are tested once."""
    import pandas as pd

    from bioprobe.evaluation.paired import compare_with_best

    distinct = [one for one in compared if not one.same_texts_as]
    against = compare_with_best([one.right for one in distinct])
    tested = {one.name: test for one, test in zip(distinct[1:], against, strict=True)}
    rows = []
    for one in compared:
        test = tested.get(one.same_texts_as or one.name)
        rows.append(
            {
                "text_type": one.text_type.value,
                "templates": one.templates,
                "n_templates": one.n_templates,
                "accuracy": one.accuracy.fraction,
                "low": one.accuracy.interval[0],
                "high": one.accuracy.interval[1],
                "n_images": one.accuracy.n_images,
                "difference": test.difference if test else 0.0,
                "p_value": test.p_value if test else math.nan,
                "is_worse": test is not None and test.is_worse,
                "same_texts_as": one.same_texts_as,
            }
        )
    return pd.DataFrame(rows)
