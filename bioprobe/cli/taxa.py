"""``bioprobe taxa`` and ``bioprobe prompts``: what is asked for, and by which texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bioprobe.cli import options
from bioprobe.cli.build import command
from bioprobe.cli.groups import Commands
from bioprobe.options import Ending, Option, WithAny

if TYPE_CHECKING:
    from bioprobe.encoders.text_heads import HeadDownload
    from bioprobe.prompts import Shipped
    from bioprobe.result import Table
    from bioprobe.taxonomy.matching import ResolvedLabels
    from bioprobe.zeroshot.added_taxa import Added, KnownTaxa
    from bioprobe.zeroshot.comparison import ComparedPrompts
    from bioprobe.zeroshot.likeness import Likeness
    from bioprobe.zeroshot.unseen import GeneralisedReport


def _of_user(place: str) -> dict[str, tuple[Option, str]]:
    """Return what ``--user-wide`` asks: of the user, not of a store."""
    return {"user_wide": (options.USER_WIDE, place)}


app = Commands("Add taxa by name, by text or by example pictures.")

_PICTURED = WithAny("images", "prototypes")
_FOR_PICTURES = {"model": _PICTURED, "device": _PICTURED}
_FOR_HEADS = {"model": Ending("target", ".npy"), "device": Ending("target", ".npy")}


@command(
    app, "face.adding:Adds.add_taxon", narrows=(), encodes=True, when=_FOR_PICTURES,
    instead=_of_user("face.taxa:add"), shows=False,
)  # fmt: skip
def add(added: Added) -> None:
    """Add a taxon to a store; the next question has it among its classes.

    --taxa, --text-type, --templates, --model and --device are for --images and --prototypes: the
    weight is chosen among these classes, with texts written so.

    Example: bioprobe taxa add "Panthera uncia" --common "snow leopard"
    --lineage "Animalia,Chordata,Mammalia,Carnivora,Felidae,Panthera"
    """


@command(
    app,
    "face.adding:Adds.remove_taxon",
    narrows=(),
    instead=_of_user("face.taxa:remove"),
    shows=False,
)
def remove(removed: KnownTaxa) -> None:
    """Remove an added taxon, and its example pictures, from a store.

    Example: bioprobe taxa remove "Panthera uncia"
    """


@command(app, "face.naming:Names.resolve_taxa", name="resolve")
def resolve(found: ResolvedLabels) -> None:
    """Find the taxa of labels in a list, by scientific name, synonym or common name.

    Names that are nearly those of the list are proposed and never applied.

    Example: bioprobe taxa resolve --names rare-species --output labels.csv
    """


@command(
    app,
    "face.adding:Adds.import_taxa",
    name="import",
    narrows=(),
    instead=_of_user("face.taxa:import_list"),
    shows=False,
)
def import_list(imported: KnownTaxa) -> None:
    """Add every taxon of a list to a store.

    Example: bioprobe taxa import rare-species
    """


@command(
    app, "face.adding:Adds.export_taxa", name="export", narrows=(), encodes=True, when=_FOR_HEADS,
    instead=_of_user("face.taxa:export"), shows=False,
)  # fmt: skip
def export_list(written: KnownTaxa) -> None:
    """Write the added taxa, the store's and the user's, for another store or tool.

    Example pictures are not written. --text-type, --templates, --model and --device are for .npy.

    Example: bioprobe taxa export mine.csv
    """


@command(app, "face.provisional:Provisionals.merge_taxa", name="merge", narrows=())
def merge(found: Table) -> None:
    """Make several added taxa one, with the example pictures of all.

    Example: bioprobe taxa merge "Noctuidae sp. 1" "Noctuidae sp. 3"
    """


@command(app, "face.provisional:Provisionals.rename_taxon", name="rename", narrows=())
def rename(found: Table) -> None:
    """Give an added taxon another name, such as the real one of a provisional species.

    Example: bioprobe taxa rename "Noctuidae sp. 1" "Agrotis ipsilon"
    """


@command(app, "face.provisional:Provisionals.taxa_history", name="history", narrows=())
def history(found: Table) -> None:
    """List what became of the added taxa: when they were added, merged and renamed.

    Example: bioprobe taxa history
    """


@command(app, "face.adding:Adds.taxa", name="list", narrows=("labels",))
def list_taxa(known: KnownTaxa | Table) -> None:
    """List the taxa of a store: those of its labels, and those that were added; or of a text head.

    Example: bioprobe taxa list --format csv
    """


@command(app, "face.naming:Names.prototypes", narrows=("where", "mask", "split", "labels"))
def prototypes(made: Table) -> None:
    """Make an image prototype of each taxon of the labels, and keep them as a head beside texts.

    Example: bioprobe taxa prototypes --level species --name seen --split default:train
    """


@command(app, "face.taxa:download", shows=False, says="Fetching {what} …")
def download(found: HeadDownload) -> None:
    """Fetch the published text head of a model, into the cache or into a folder.

    Example: bioprobe taxa download treeoflife --model bioclip-2 --to heads
    """
    typer.echo(str(found.file))


@command(app, "face.naming:Names.check_taxon", narrows=("labels",), encodes=True)
def check(found: Likeness) -> None:
    """Show the classes nearest to a taxon; warn of confusion, and of a head of another model.

    Example: bioprobe taxa check "Panthera uncia" --common "snow leopard"
    """


@command(app, "face.naming:Names.measure_unseen", narrows=("labels",), encodes=True)
def measure(report: GeneralisedReport) -> None:
    """Measure generalised zero-shot, and keep an offset for zeroshot --offset auto.

    Example: bioprobe taxa measure --unseen-where "role == 'unseen-class'"
    """


prompts = Commands("Compare and list the texts that classes are asked by.")


@command(prompts, "face.prompts:Texts.prompts", encodes=True)
def compare(compared: ComparedPrompts) -> None:
    """Measure text types and template sets on labelled images, and recommend one.

    Example: bioprobe prompts compare --level family --split default:validation
    """


@command(prompts, "face.prompts:shipped", name="list")
def list_sets(sets: Shipped) -> None:
    """List the template sets and taxon lists that ship with bioprobe.

    Example: bioprobe prompts list --format table
    """
