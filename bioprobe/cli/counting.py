"""The commands that count: records of independent events, activity, richness and trends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bioprobe.cli.build import command, tell, write_answer
from bioprobe.errors import MisuseError
from bioprobe.face.counting import PLAIN, Counts
from bioprobe.options import Unless

if TYPE_CHECKING:
    from bioprobe.face.counting import Records

app = typer.Typer()


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


@command(app, Counts.records, encodes=True, write=_write_records, no_table=Unless("form", (PLAIN,)))
def records(found: Records) -> None:
    """Make independent records of what was seen, with the camera effort.

    Labels in the store count, and predictions where there are any: a table of them, a probe of the
    store, or zero-shot; a label wins over a prediction. Pictures without a time that can be are
    rows without a start, and say what is wrong.

    Example: bioprobe records --deployments deployments.csv --output records.csv
    """
