"""Options that only a shell has: where the store lies, and where what is answered goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bioprobe.options import Option, With, Without

DEFAULT_STORE = Path("embeddings/default")
FORMATS = ("csv", "json", "parquet", "table", "xlsx")

Store = Annotated[
    Path,
    typer.Option(
        "--store",
        "-s",
        envvar="BIOPROBE_STORE",
        metavar="FOLDER",
        help="Folder of the store.",
        file_okay=False,
        # Who opens it says more.
        readable=False,
    ),
]
Stores = Annotated[
    list[Path],
    typer.Option(
        "--store",
        "-s",
        envvar="BIOPROBE_STORE",
        metavar="FOLDER",
        help="Folder of the store; given several times, all of them are asked, in one ranking.",
        file_okay=False,
        readable=False,
    ),
]
Output = Annotated[
    str,
    typer.Option("--output", "-o", metavar="FILE", help="File to write; - is standard output."),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="csv, json, parquet, xlsx or table. By default what the file's ending says; on a "
        "terminal the first rows as a table, else csv.",
        autocompletion=lambda incomplete: [one for one in FORMATS if one.startswith(incomplete)],
    ),
]
SafeCsv = Annotated[
    bool,
    typer.Option(
        "--safe-csv",
        help="Put an apostrophe before texts in a CSV that begin with =, +, - or @, which a "
        "spreadsheet would compute.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No messages, no progress bar.")]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show the whole traceback of an error.", show_default=False)
]
USER_WIDE = Option(
    "The list that counts in every store of yours, instead of the store's: a file among your data, "
    "or where $BIOPROBE_TAXA says."
)


def page(text: str, *when: Without) -> Option:
    """Return an option that names a page to write."""
    return Option(text, writes="file", when=when)


AnswerPage = Annotated[Path | None, page("Also write the answers as a page of pictures.")]
PageBy = Annotated[
    str,
    Option(
        "What the page is grouped by: answer, or a column of the image table, such as station.",
        ("--html-by",),
        ("answer",),
        when=(With("html"),),
    ),
]
PageOrder = Annotated[
    str | None,
    Option(
        "Column that pictures of the page stand in the order of, such as alike, which bioprobe "
        "cluster --order keeps. By default the surest or nearest stand first.",
        ("--html-order",),
        when=(With("html"),),
    ),
]
