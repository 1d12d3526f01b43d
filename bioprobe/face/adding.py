"""Taxa that are added by name, by text or by pictures, in a store or for all stores of a user."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bioprobe.errors import SourceError
from bioprobe.face.lists import open_list, read_rank_columns, write_texts
from bioprobe.face.opened import Opened
from bioprobe.options import (
    Ending,
    Option,
    RankColumns,
    Taxa,
    Templates,
    TextTypeName,
    WithAny,
    Without,
    question,
)
from bioprobe.result import Table

if TYPE_CHECKING:
    from bioprobe.prompts import PromptSet
    from bioprobe.store import EmbeddingStore
    from bioprobe.store.added_taxa import AddedList
    from bioprobe.taxonomy import Taxon, Taxonomy
    from bioprobe.types import Vectors
    from bioprobe.zeroshot.added_taxa import Added, KnownTaxa
    from bioprobe.zeroshot.blending import Blend
    from bioprobe.zeroshot.text_head import TextHead


TaxonName = Annotated[str, Option("Scientific name, such as 'Panthera uncia'.", ("-",))]
CommonName = Annotated[str, Option("Common name.")]
LineageNames = Annotated[
    str, Option("Names from kingdom down, separated by commas; leave holes empty.")
]
Parent = Annotated[
    str,
    Option(
        "Name of a known taxon above it, such as its family; the lineage is completed from the "
        "labels, the added taxa and the lists that ship."
    ),
]
Descriptions = Annotated[
    Sequence[str],
    Option(
        "Text that describes it, used instead of its names; may be given more than once.",
        ("--prompt",),
    ),
]
AddedName = Annotated[str, Option("Scientific or common name of an added taxon.", ("-",))]
OwnLineage = Annotated[
    str,
    Option(
        "Names from kingdom down, separated by commas, that tell it from homonyms; an empty one is "
        "any.",
        when=(Without("parent"),),
    ),
]
OwnParent = Annotated[
    str, Option("Name of a taxon above it at any rank, that tells it from homonyms.")
]
TaxonFile = Annotated[
    str | Path,
    Option(
        "Taxon list: CSV, TSV, Parquet, JSON, Darwin Core, SpeciesNet or TreeOfLife file, a text "
        "file with a name a line, or a list that ships.",
        ("-",),
        shell=str,
    ),
]
Synonyms = Annotated[
    str | Path | None, Option("Table with the columns synonym and accepted.", shell=str)
]
ListTarget = Annotated[
    str | Path,
    Option(
        "A .csv that bioprobe taxa import and --taxa read, or a .npy: TreeOfLife's form, text "
        "embeddings of shape (dim, n) with a .json of names beside them.",
        ("-",),
        shell=Path,
        writes="file",
    ),
]
HEAD = Ending("target", ".npy")
_PICTURED = WithAny("images", "prototypes")


class Adds(Opened):
    """Taxa that are added to a store."""

    @question
    def add_taxon(
        self,
        name: TaxonName,
        *,
        common: CommonName = "",
        lineage: Annotated[LineageNames, Without("parent")] = "",
        parent: Parent = "",
        prompts: Descriptions = (),
        images: Annotated[
            Sequence[str | Path],
            Option(
                "Example picture, or a folder of them; may be given more than once. The class is "
                "made of them and of its text, with a weight and an offset chosen on labelled "
                "images.",
                shell=Path,
            ),
        ] = (),
        prototypes: Annotated[
            str | None,
            Option(
                "Head of image prototypes in the store, of which that of the taxon stands in place "
                "of example pictures; names that are not given are the head's.",
                when=(Without("images"),),
            ),
        ] = None,
        no_text: Annotated[
            bool,
            Option("With --images or --prototypes: of pictures alone.", when=(_PICTURED,)),
        ] = False,
        taxa: Annotated[Taxa, _PICTURED] = None,
        text_type: Annotated[TextTypeName, _PICTURED] = "taxon_com",
        templates: Annotated[Templates, _PICTURED] = "plain",
    ) -> Added:
        """Add a taxon; the next question has it among its classes.

        Parameters
        ----------
        name : str
            Scientific name.
        common : str
            Common name.
        lineage : str
            Names from kingdom down, separated by commas.
        parent : str
            Known taxon above it, which completes the lineage.
        prompts : sequence of str
            Texts that describe it, used instead of its names.
        images : sequence of str or Path
            Example pictures, or folders of them. The class is made of them and of its text.
        prototypes : str, optional
            Head of image prototypes, of which that of the taxon stands in place of pictures.
        no_text : bool
            Whether the pictures count alone.
        taxa : str or Path, optional
            Classes that the weight of the pictures is chosen among; by default the labels.
        text_type, templates : str
            How these are written.

        Raises
        ------
        TaxonomyError
            If it was added before, or contradicts the taxa that were.
        PromptError
            If nobody knows the parent, or the head has no prototype of the taxon.

        Examples
        --------
        >>> store.add_taxon("Panthera uncia", common="snow leopard", parent="Felidae")
        ... # doctest: +SKIP
        """
        from bioprobe.store.added_taxa import AddedList

        store = self._view.store
        head = None if prototypes is None else self._find_prototypes(prototypes)
        if head is not None and not lineage and not parent:
            lineage, common = _find_in_head(head, name, common)
        taxon = complete(name, common, lineage, parent, prompts, store)
        place = AddedList.of_store(store)
        if not images and head is None:
            return add_by_text(place, taxon)
        with place.lock():
            written = (taxa, text_type, templates)
            blend = self._add_pictures(taxon, head or images, written, with_text=not no_text)
        return _tell_added(place, taxon, blend, _count_pictures(store, taxon))

    @question
    def remove_taxon(
        self, name: AddedName, *, lineage: OwnLineage = "", parent: OwnParent = ""
    ) -> KnownTaxa:
        """Remove an added taxon, and its example pictures.

        Parameters
        ----------
        name : str
            Scientific or common name.
        lineage : str
            Names from kingdom down, separated by commas, that tell it from homonyms.
        parent : str
            Name of a taxon above it, that tells it from homonyms.

        Raises
        ------
        TaxonomyError
            If no such taxon was added, or several were.
        """
        from bioprobe.store.added_taxa import AddedList

        store = self._view.store
        return remove_added(AddedList.of_store(store), name, store, lineage, parent)

    def added_taxa(self) -> KnownTaxa:
        """List the taxa that were added to the store or by the user, without those of labels."""
        from bioprobe.zeroshot.added_taxa import KnownTaxa, list_added

        return KnownTaxa(tuple(list_added(self._view.store)))

    @question
    def taxa(
        self,
        *,
        head: Annotated[
            str | None,
            Option(
                "List the taxa of a text head instead: treeoflife, the name of one in the store, "
                "or a .npy of one.",
                choices=("treeoflife",),
            ),
        ] = None,
    ) -> KnownTaxa | Table:
        """List the taxa that were added to the store or by the user, and those of the labels.

        Parameters
        ----------
        head : str, optional
            Text head whose taxa are listed instead, as zero-shot takes it.

        Returns
        -------
        KnownTaxa, or Table with ``head``
            One row a taxon, or a text of the head.
        """
        from bioprobe.face.answered import describe_head
        from bioprobe.zeroshot.added_taxa import KnownTaxa, list_known
        from bioprobe.zeroshot.heads import open_head

        if head is None:
            return KnownTaxa(tuple(list_known(self._view.store)))
        opened = open_head(self._view, head, model=self._model)
        about = self._view.describe(opened.describe())
        return Table(
            opened.taxa.assign(**{"from": opened.name}), about.to_dict(), describe_head(opened)
        )

    @question
    def import_taxa(
        self, file: TaxonFile, *, synonyms: Synonyms = None, rank_column: RankColumns = None
    ) -> KnownTaxa:
        """Add every taxon of a list; one that was added before is completed.

        Parameters
        ----------
        file : str or Path
            Taxon list, or the name of one that ships.
        synonyms : str or Path, optional
            Table with the columns ``synonym`` and ``accepted``.
        rank_column : mapping of str to str, or sequence of str, optional
            Rank to column of the list.

        Returns
        -------
        KnownTaxa
            All that are added now.
        """
        from bioprobe.store.added_taxa import AddedList

        return import_added(AddedList.of_store(self._view.store), file, synonyms, rank_column)

    @question
    def export_taxa(
        self,
        target: ListTarget,
        *,
        text_type: Annotated[TextTypeName, HEAD] = "taxon_com",
        templates: Annotated[Templates, HEAD] = "plain",
    ) -> KnownTaxa:
        """Write the added taxa, the store's and the user's, for another store or tool.

        Parameters
        ----------
        target : str or Path
            A ``.csv``, or a ``.npy`` of text embeddings with a ``.json`` of names beside it.
            Example pictures are not written.
        text_type, templates : str
            How the taxa are written in a ``.npy``.

        Raises
        ------
        SourceError
            If nothing was added, or the target is of another kind.
        """
        from bioprobe.store.added_taxa import find_added_taxa

        store = self._view.store
        return export_added(
            Path(target), find_added_taxa(store), "added", str(store.folder),
            lambda prompts: prompts.embed(self._texts.encode_text), text_type, templates,
        )  # fmt: skip

    def _add_pictures(
        self,
        taxon: Taxon,
        images: Sequence[str | Path] | TextHead,
        written: tuple[str | Path | None, str, str],
        *,
        with_text: bool,
    ) -> Blend:
        """Add a taxon with example pictures or a prototype; hold the store's lock meanwhile."""
        from bioprobe.taxonomy import Taxonomy
        from bioprobe.zeroshot.added_taxa import add_pictured
        from bioprobe.zeroshot.blending import WEIGHT_FRACTIONS
        from bioprobe.zeroshot.candidates import find_known_taxa
        from bioprobe.zeroshot.examples import embed_examples
        from bioprobe.zeroshot.fusion import take_prototype
        from bioprobe.zeroshot.text_head import TextHead

        taxa, text_type, templates = written
        known = find_known_taxa(self._view.store, open_list(taxa)).at(taxon.rank)
        prompts = write_texts(Taxonomy.merge((taxon, *known)), text_type, templates)
        made_of: Sequence[str] = ()
        if isinstance(images, TextHead):
            pictures = take_prototype(images, taxon)
            made_of = self._list_hashes(images)
        else:
            pictures = embed_examples(self._view.store, self._texts, [Path(one) for one in images])
        return add_pictured(
            self._view, taxon, pictures, prompts, self._texts.encode_text, left_out=made_of,
            weight_fractions=WEIGHT_FRACTIONS if with_text else (1.0,),
        )  # fmt: skip

    def _find_prototypes(self, name: str) -> TextHead:
        from bioprobe.zeroshot.fusion import get_made_of
        from bioprobe.zeroshot.text_head import read_head

        head = read_head(self._view.store, name)
        get_made_of(head)
        return head

    def _list_hashes(self, head: TextHead) -> Sequence[str]:
        """Return the SHA-256 of the images here that made prototypes."""
        from bioprobe.zeroshot.fusion import get_made_of

        view = self._view
        taught = get_made_of(head).find_taught(view.images, view.rows)
        hashes: Sequence[str] = view.images.column("sha256").to_numpy()[view.rows[taught]].tolist()
        return hashes


def know(taxa: Taxonomy, origin: str) -> KnownTaxa:
    """Return taxa as a table of them says where they are from."""
    from bioprobe.zeroshot.added_taxa import KnownTaxa, KnownTaxon

    return KnownTaxa(tuple(KnownTaxon(taxon, origin) for taxon in taxa))


def _find_origin(place: AddedList) -> str:
    return "user-wide" if place.store is None else "added"


def complete(
    name: str,
    common: str,
    lineage: str,
    parent: str,
    prompts: Sequence[str],
    store: EmbeddingStore | None,
) -> Taxon:
    """Return a taxon with its lineage, completed from a taxon above it if one is named."""
    from bioprobe.taxonomy.taxon import complete_taxon
    from bioprobe.zeroshot.candidates import find_parent

    if parent:
        above = find_parent(store, parent)
        lineage = ",".join(above.lineage[: above.depth + 1])
    return complete_taxon(name, lineage, common_name=common, prompts=tuple(prompts))


def _find_in_head(head: TextHead, name: str, common: str) -> tuple[str, str]:
    """Return the lineage and common name that a head has of a taxon, as they are given."""
    from bioprobe.taxonomy.columns import to_taxonomy

    found = to_taxonomy(head.taxa).find_all(name)
    if len(found) != 1:
        return "", common
    return ",".join(found[0].lineage[: found[0].depth]), common or found[0].common_name


def add_by_text(place: AddedList, taxon: Taxon) -> Added:
    """Add a taxon to a list by its names and texts alone."""
    from bioprobe.zeroshot.added_taxa import add_one

    with place.lock():
        add_one(place, taxon)
    return _tell_added(place, taxon)


def _tell_added(
    place: AddedList, taxon: Taxon, blend: Blend | None = None, n_pictures: int = 0
) -> Added:
    from bioprobe.zeroshot.added_taxa import Added, KnownTaxon

    added = Added(KnownTaxon(taxon, _find_origin(place), n_pictures), blend)
    said = f"added {_show(taxon)} to {place.describe()}"
    return added.say((*(_tell_blend(blend) if blend is not None else ()), said))


def _tell_blend(blend: Blend) -> Sequence[str]:
    """Say what was chosen, how, and what it does to the other classes."""
    said = [
        f"pictures count {blend.weight_fraction:g}, its text {1 - blend.weight_fraction:g}; "
        f"{blend.offset:.3f} subtracted from its logit ({blend.rule})"
    ]
    if blend.own is not None:
        said.append(f"of {blend.own.n_images:,} images of it, {blend.own.fraction:.3f} go to it")
    if blend.others_before is not None and blend.others_after is not None:
        said.append(
            f"of {blend.others_before.n_images:,} labelled images of other classes, "
            f"{blend.others_before.fraction:.3f} were right before, "
            f"{blend.others_after.fraction:.3f} are now"
        )
    return said


def _count_pictures(store: EmbeddingStore, taxon: Taxon) -> int:
    from bioprobe.zeroshot.examples import read_examples

    return sum(len(one) for one in read_examples(store) if one.taxon.lineage == taxon.lineage)


def remove_added(
    place: AddedList, name: str, store: EmbeddingStore | None, lineage: str, parent: str
) -> KnownTaxa:
    """Remove a taxon from a list."""
    from bioprobe.taxonomy import Taxonomy
    from bioprobe.zeroshot.added_taxa import remove_one

    with place.lock():
        taxon = remove_one(place, name, store, lineage=lineage, parent=parent)
    removed = know(Taxonomy((taxon,)), _find_origin(place))
    return removed.say([f"removed {_show(taxon)} from {place.describe()}"])


def import_added(
    place: AddedList,
    file: str | Path,
    synonyms: str | Path | None,
    rank_column: Mapping[str, str] | str | Sequence[str] | None,
) -> KnownTaxa:
    """Add the taxa of a file to a list."""
    from bioprobe.taxonomy.lists import read_taxonomy
    from bioprobe.taxonomy.synonyms import read_synonyms, replace_synonyms
    from bioprobe.zeroshot.added_taxa import import_taxa

    taxa = read_taxonomy(str(file), read_rank_columns(rank_column))
    if synonyms is not None:
        taxa = replace_synonyms(taxa, read_synonyms(str(synonyms)))
    with place.lock():
        n_new = import_taxa(place, taxa)
    said = f"added {n_new:,} taxa to {place.describe()}; {len(taxa) - n_new:,} were there"
    return know(place.read(), _find_origin(place)).say([said])


def export_added(
    target: Path,
    taxa: Taxonomy,
    origin: str,
    place: str,
    embed: Callable[[PromptSet], Vectors],
    text_type: str,
    templates: str,
) -> KnownTaxa:
    """Write the taxa of a list, or their texts as a head."""
    from bioprobe.interchange.treeoflife import export_text_head
    from bioprobe.taxonomy.lists import write_taxonomy

    if target.suffix not in {".csv", ".npy"}:
        msg = f"added taxa are written as .csv or .npy, got {target}; name it so"
        raise SourceError(msg)
    if not len(taxa):
        msg = f"no taxon was added to {place}; add one with: bioprobe taxa add"
        raise SourceError(msg)
    if target.suffix == ".csv":
        write_taxonomy(target, taxa)
    else:
        export_text_head(target, taxa, embed(write_texts(taxa, text_type, templates)))
    return know(taxa, origin).say([f"{len(taxa):,} taxa -> {target}"])


def _show(taxon: Taxon) -> str:
    lineage = " > ".join(name for name in taxon.lineage if name)
    return f"{lineage} ({taxon.common_name})" if taxon.common_name else lineage
