"""Options that mean the same in every command.

Their names stay free of library imports, so that ``bioprobe --help`` answers at once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from bioprobe.options import Option

USER_WIDE = Option(
    "The list that counts in every store of yours, instead of the store's: a file among your data, "
    "or where $BIOPROBE_TAXA says."
)
DEFAULT_STORE = Path("embeddings/default")
RANK_NAMES = ("kingdom", "phylum", "class", "order", "family", "genus", "species")


def _choices(*names: str) -> Callable[[str], list[str]]:
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


Store = Annotated[
    Path,
    typer.Option(
        "--store", "-s", envvar="BIOPROBE_STORE", help="Folder of the store.", file_okay=False
    ),
]
Output = Annotated[str, typer.Option("--output", "-o", help="File to write; - is standard output.")]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="csv, json, parquet or table. By default what the file's ending says; on a terminal "
        "the first rows as a table, else csv.",
        autocompletion=_choices("csv", "json", "parquet", "table"),
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No messages, no progress bar.")]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show the whole traceback of an error.", show_default=False)
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Encoder: a short name (see: bioprobe models list), hf-hub:org/name[@revision], "
        "local-dir:FOLDER, arch/tag, arch/FILE.pt, transformers:NAME, timm:NAME or onnx:FILE.",
        autocompletion=_choices(
            "bioclip-2", "bioclip-2.5", "bioclip", "clip-b16", "clip-b32", "siglip2-b16",
            "dinov2-b", "sketch", "local-dir:", "hf-hub:", "transformers:", "timm:", "onnx:",
        ),
    ),
]  # fmt: skip
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda, cuda:1 or mps.",
        autocompletion=_choices("auto", "cpu", "cuda", "mps"),
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        help="fp32, bf16 or fp16: what the weights are cast to. auto is bf16 where that is "
        "measured to be faster and to give the same vectors, else fp32. By default as the store "
        "was begun, a new one auto.",
        autocompletion=_choices("auto", "fp32", "bf16", "fp16"),
    ),
]
Level = Annotated[
    str,
    typer.Option(
        "--level",
        "--rank",
        "-l",
        help="Rank of the answers: kingdom, phylum, class, order, family, genus or species.",
        autocompletion=_choices(*RANK_NAMES),
    ),
]
Taxa = Annotated[
    str | None,
    typer.Option(
        help="Taxon list: a CSV, TSV or Parquet file with rank columns, a text file with a name "
        "a line, or a list that ships. By default the labels in the store."
    ),
]
TextTypeName = Annotated[
    str,
    typer.Option(
        "--text-type",
        help="How a taxon is written: sci, com, taxon, sci_com, taxon_com or asis.",
        autocompletion=_choices("sci", "com", "taxon", "sci_com", "taxon_com", "asis"),
    ),
]
Templates = Annotated[
    str,
    typer.Option(
        help="Template set (see: bioprobe prompts list), a text file, or one template with {} "
        "where the name goes.",
        autocompletion=_choices(
            "plain",
            "bare",
            "field",
            "camera-trap",
            "herbarium",
            "illustration",
            "insect-drawer",
            "museum",
            "openai",
            "underwater",
        ),
    ),
]
Where = Annotated[
    str | None,
    typer.Option(help="Only images that meet a condition, such as \"family == 'Felidae'\"."),
]
NumberOfAnswers = Annotated[int, typer.Option("-k", "--k", min=1, help="Answers an image.")]
Mask = Annotated[str | None, typer.Option(help="Only images that a named mask keeps.")]
Split = Annotated[
    str, typer.Option("--split", help="Name of the split (see: bioprobe split --list).")
]
