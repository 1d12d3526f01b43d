"""The commands that count: records of independent events, activity, richness and trends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bioprobe.cli.build import command, tell, write_answer
from bioprobe.cli.groups import Commands
from bioprobe.cli.show import write_page
from bioprobe.errors import MisuseError
from bioprobe.options import PLAIN, Option, Unless

if TYPE_CHECKING:
    from bioprobe.face.count_pages import Activity, Records, Richness, Trends

app = Commands()

CountPage = Annotated[
    Path | None, Option("Also write a page with the figure and the tables.", writes="file")
]


def _write_records(
    found: Records, output: str, file_format: str | None, *, safe_csv: bool, quiet: bool
) -> None:
    """Write the table, or what another tool reads."""
    if found.form == PLAIN:
        write_answer(found, output, file_format, safe_csv=safe_csv, quiet=quiet)
        return
    if output == "-" or file_format is not None:
        msg = f"--as {found.form} needs --output TARGET, a file or a new folder, and no --format"
        raise MisuseError(msg)
    tell(found.write(output, safe_csv=safe_csv), quiet=quiet)


@command(
    app,
    "face.counting:Counts.records",
    encodes=True,
    write=_write_records,
    no_table=Unless("form", (PLAIN,)),
)
def records(found: Records, *, html: CountPage = None) -> str:
    """Make independent records of what was seen, with the camera effort.

    Labels in the store count, and predictions where there are any: a table of them, a probe of the
    store, or zero-shot; a label wins over a prediction. Pictures without a time that can be are
    rows without a start, and say what is wrong.

    Example: bioprobe records --deployments deployments.csv --output records.csv
    """
    return write_page(found, html)


@command(app, "face.counting:Counts.activity", encodes=True)
def activity(found: Activity, *, html: CountPage = None) -> str:
    """Tell at which hours taxa are active, with intervals, and how much they overlap.

    Example: bioprobe activity --taxon "Lynx lynx,Capreolus capreolus" --html activity.html
    """
    return write_page(found, html)


@command(app, "face.counting:Counts.richness", encodes=True)
def richness(found: Richness, *, html: CountPage = None) -> str:
    """Tell how many taxa there are at least, and how they come with places.

    Example: bioprobe richness --html richness.html
    """
    return write_page(found, html)


@command(app, "face.counting:Counts.trend", encodes=True)
def trend(found: Trends, *, html: CountPage = None) -> str:
    """Tell by how much rates change from year to year, site by site, with intervals.

    Example: bioprobe trend --deployments deployments.csv --html trends.html
    """
    return write_page(found, html)
