"""``bioprobe annotations``: what people say of pictures, beside the labels that came with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bioprobe.cli.build import command
from bioprobe.cli.groups import Commands

if TYPE_CHECKING:
    from bioprobe.result import Result

app = Commands(
    "Say what is on pictures, beside the labels that came with them; nothing is overwritten."
)


@command(app, "face.annotations:Corrects.annotate_rows", name="add", narrows=("where", "mask"))
def add(done: Result) -> None:
    """Say of pictures what they are, or are not; the log of the store keeps it.

    Example: bioprobe annotations add "Panthera leo" --row 12 --by anna
    """


@command(app, "face.annotations:Corrects.annotations", name="show")
def show(found: Result) -> None:
    """List what people said, the newest first, with who took what back.

    Example: bioprobe annotations show --level species --standing
    """


@command(app, "face.annotations:Corrects.import_annotations", name="import", narrows=())
def import_(done: Result) -> None:
    """Take annotations of a table, or the labels that people gave in another program.

    Labels that a machine gave are left out; what is there already is not written again.

    Example: bioprobe annotations import corrected.csv --by anna
    """


@command(app, "face.annotations:Corrects.export_annotations", name="export", shows=False)
def export(done: Result) -> None:
    """Write what people said into a table, for another store of the same pictures.

    The labels that come of it go to other programs, with who gave them, by: bioprobe export
    --labels --which-labels confirmed --as camtrap-dp.

    Example: bioprobe annotations export --output said.csv
    """


@command(app, "face.annotations:Corrects.agreement_between", name="agreement")
def agreement(found: Result) -> None:
    """Tell how far people agree who looked at the same pictures, with Cohen's kappa.

    Example: bioprobe annotations agreement --level species
    """


@command(app, "face.annotations:Corrects.retract", narrows=())
def retract(done: Result) -> None:
    """Take annotations back, by their ids; they stay in the log and do not count.

    Example: bioprobe annotations retract 0f8e2c51a4d94b0c8d5f1f6f0b7a3c21
    """
