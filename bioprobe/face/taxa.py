"""Taxa that are added by name, by text or by pictures.

The functions are about the list that counts in every store of a user; the methods of a store are
about its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bioprobe.errors import MisuseError, ModelUnavailableError, SourceError, TaxonomyError
from bioprobe.face.opened import Opened
from bioprobe.options import (
    GIVEN,
    Device,
    Ending,
    Level,
    Model,
    Option,
    RankColumns,
    SeedOption,
    StoreFolder,
    Taxa,
    Templates,
    TextTypeName,
    ThroughAdapter,
    With,
    WithAny,
    Without,
    question,
)
from bioprobe.result import WARNING, Note, Table

if TYPE_CHECKING:
    from bioprobe.encoders.text_heads import HeadDownload
    from bioprobe.progress import Progress
    from bioprobe.prompts import PromptSet
    from bioprobe.store import EmbeddingStore
    from bioprobe.store.added_taxa import AddedList
    from bioprobe.taxonomy import Rank, Taxon, Taxonomy
    from bioprobe.taxonomy.matching import NameList, ResolvedLabels
    from bioprobe.types import Vectors
    from bioprobe.zeroshot.added_taxa import Added, KnownTaxa
    from bioprobe.zeroshot.blending import Blend
    from bioprobe.zeroshot.head_recipe import HeadCheck
    from bioprobe.zeroshot.likeness import Likeness, Neighbours
    from bioprobe.zeroshot.prototypes import MadeOf
    from bioprobe.zeroshot.text_head import TextHead
    from bioprobe.zeroshot.unseen import GeneralisedReport

__all__ = ["add", "download", "export", "import_list", "list", "remove"]

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
_HEAD = Ending("target", ".npy")
_PICTURED = WithAny("images", "prototypes")


class Names(Opened):
    """What a store knows by name."""

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
        taxon = _complete(name, common, lineage, parent, prompts, store)
        place = AddedList.of_store(store)
        if not images and head is None:
            return _add_by_text(place, taxon)
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
        return _remove(AddedList.of_store(store), name, store, lineage, parent)

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
        from bioprobe.face.zeroshot import describe_head
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
    def resolve_taxa(
        self,
        *,
        names: Annotated[
            str | Path | None,
            Option(
                "Taxon list with common names, a file or one that ships; by default the taxa that "
                "were added, and all lists that ship.",
                shell=str,
            ),
        ] = None,
        column: Annotated[
            str | None,
            Option(
                "Column of the image table that holds the names; by default label, where that is "
                "empty the lowest rank, and where there is none the common name."
            ),
        ] = None,
        synonyms: Synonyms = None,
        rank_column: Annotated[RankColumns, With("names")] = None,
        apply: Annotated[
            bool,
            Option("Write the lineages that were found into the store, as corrected labels."),
        ] = False,
    ) -> ResolvedLabels:
        """Find the taxa of labels in a list, by scientific name, synonym or common name.

        Parameters
        ----------
        names : str or Path, optional
            Taxon list with common names; by default the taxa that were added, and all lists that
            ship.
        column : str, optional
            Column that holds the names; by default ``label``, where that is empty the lowest rank,
            and where there is none the common name.
        synonyms : str or Path, optional
            Table of synonyms and accepted names.
        rank_column : mapping of str to str, or sequence of str, optional
            Rank to column of the list.
        apply : bool
            Whether images get the lineages that were found, in new rows that replace theirs. Open
            the store again to see them.

        Returns
        -------
        ResolvedLabels
            One row a label: what it is and by what, proposals of names that are nearly the same,
            which are never applied, and the several taxa of an ambiguous one.

        Raises
        ------
        TaxonomyError
            If there is no such list or column.

        Examples
        --------
        >>> store.resolve_taxa(names="rare-species").to_frame()  # doctest: +SKIP
        """
        from bioprobe.store.added_taxa import find_added_taxa
        from bioprobe.taxonomy.matching import resolve_labels

        # What people said stays where it is: these are the labels that came with the pictures.
        view = self._view.counting(GIVEN)
        listed = open_names(names, synonyms, rank_column, added=find_added_taxa(view.store))
        frame = view.images.frame.iloc[view.rows]
        found = resolve_labels(frame, listed, column=column).say(self._notes)
        changed = found.find_changed(frame)
        if not apply:
            remedy = "write them with --apply" if len(changed) else "nothing is new"
            return found.say([f"{len(changed):,} images would get a new lineage; {remedy}"])
        if view.origin:
            msg = "lineages are written into a store; embed the pictures, with --names"
            raise MisuseError(msg)
        with view.store.lock():
            view.store.relabel(view.rows[changed], found.labels.iloc[changed])
        return found.say([f"{len(changed):,} images have a new lineage in {self.folder}"])

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

        return _import(AddedList.of_store(self._view.store), file, synonyms, rank_column)

    @question
    def export_taxa(
        self,
        target: ListTarget,
        *,
        text_type: Annotated[TextTypeName, _HEAD] = "taxon_com",
        templates: Annotated[Templates, _HEAD] = "plain",
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
        return _export(
            Path(target), find_added_taxa(store), "added", str(store.folder),
            lambda prompts: prompts.embed(self._texts.encode_text), text_type, templates,
        )  # fmt: skip

    @question
    def prototypes(
        self,
        level: Level = "species",
        *,
        name: Annotated[str, Option("Name of the head in the store.")] = "prototypes",
        group: Annotated[
            Sequence[str],
            Option(
                "Column whose equal values count as one picture: burst, individual, specimen. "
                "Several join. Copies of a picture count once anyhow."
            ),
        ] = (),
        target: Annotated[
            str | Path | None,
            Option(
                "Also write it as a .npy in the form of text heads, with .json and .pictures.npz "
                "beside it, which bioprobe store import brings into another store of the model.",
                ("--to",),
                shell=Path,
                writes="file",
            ),
        ] = None,
    ) -> Table:
        """Make an image prototype of each taxon of the labels, and keep them as a head.

        A prototype is the mean of the unit rows of the pictures of a taxon, made unit. The head is
        asked as any other is: ``zeroshot(head=NAME)`` answers by pictures alone,
        ``zeroshot(prototypes=NAME)`` by texts and pictures together.

        Parameters
        ----------
        level : str
            Rank of the taxa. Taxa above it are answered by what lies below them.
        name : str
            Of the head: letters, digits, ``.``, ``_`` and ``-``.
        group : sequence of str
            Columns whose equal values count as one picture, by their mean made unit. So do copies,
            and near duplicates where :meth:`dedupe` kept which these are.
        target : str or Path, optional
            A ``.npy`` that is written too: shape (dim, n_taxa), with names in a ``.json`` and
            counts in a ``.pictures.npz`` beside it.

        Returns
        -------
        Table
            One row a taxon: its names, ``n_images``, ``n_groups`` (those that count), and
            ``mean_cosine``, of these to the prototype: 1 where all pictures are alike.

        Raises
        ------
        SelectionError
            If no image has a label at the rank, or there is no such column.
        SourceError
            If the target has another ending than ``.npy``.
        StoreError
            If the store has a head of that name.

        Examples
        --------
        >>> store.where(split="default:train").prototypes(name="seen")  # doctest: +SKIP
        """
        from bioprobe.interchange.treeoflife import check_ending, export_prototypes
        from bioprobe.taxonomy import Rank
        from bioprobe.zeroshot.prototypes import make_prototypes
        from bioprobe.zeroshot.text_head import write_prototypes

        if target is not None:
            check_ending(Path(target))
        rank, columns = Rank.parse(level), [*group]
        made = make_prototypes(self._view, rank, group_columns=columns)
        head = write_prototypes(self._view.store, name, made)
        said = [describe_prototypes(made.made_of, name, rank)]
        if target is not None:
            export_prototypes(Path(target), made, self._view.manifest.encoder.key)
            said.append(f"{len(made):,} prototypes -> {target}")
        about = {"rank": rank.value, "group": columns, **head.describe()}
        provenance = self._view.describe(about).to_dict()
        return Table(made.to_frame(), provenance, self._notes).say(said)

    @question
    def check_taxon(
        self,
        name: Annotated[
            str,
            Option("Scientific name, known here or not; without one --head is checked.", ("-",)),
        ] = "",
        *,
        common: Annotated[CommonName, With("name")] = "",
        lineage: Annotated[LineageNames, With("name")] = "",
        images: Annotated[
            Sequence[str | Path],
            Option(
                "Picture of it, or a folder of them; may be given more than once. By default those "
                "it was added with, or the images that are labelled with it.",
                shell=Path,
                when=(With("name"),),
            ),
        ] = (),
        taxa: Annotated[Taxa, With("name")] = None,
        text_type: Annotated[TextTypeName, With("name")] = "taxon_com",
        templates: Annotated[Templates, With("name")] = "plain",
        k: Annotated[
            int, Option("Classes to show.", ("-k", "--k"), least=1, when=(With("name"),))
        ] = 5,
        head: Annotated[
            str | None,
            Option(
                "Text head in the store: 200 of its taxa are embedded as its own texts were, and "
                "where the two differ (cosine below .999) it is warned that the head is not this "
                "model's."
            ),
        ] = None,
        seed: Annotated[
            int, SeedOption("Of the taxa of the head that are drawn.", when=(With("head"),))
        ] = 0,
    ) -> Likeness:
        """Find the classes nearest to a taxon; warn of confusion, and of a head of another model.

        Parameters
        ----------
        name : str
            Scientific name, known here or not; ``""`` where only a head is checked.
        common, lineage : str
            What is said of it; by default what is known here.
        images : sequence of str or Path
            Pictures of it, or folders of them; by default those it was added with, or the images
            that are labelled with it.
        taxa : str or Path, optional
            Classes to compare with; by default the labels.
        text_type, templates : str
            How they are written.
        k : int
            Classes of each kind, ≥ 1.
        head : str, optional
            Text head in the store, of which 200 taxa are embedded by its own recipe.
        seed : int
            Of the taxa of the head that are drawn.

        Raises
        ------
        MisuseError
            If neither a taxon nor a head is named.
        TaxonomyError
            If homonyms share the name and no lineage is given.
        """
        checked = None if head is None else self._check_head(head, seed)
        told = () if checked is None else checked.describe()
        if name:
            written = (taxa, text_type, templates)
            found = self._find_likeness(name, common, lineage, images, written, k)
            return dataclasses.replace(found, head=checked, notes=(*found.notes, *told))
        if checked is None:
            msg = "say what to check: a taxon, such as 'Panthera uncia', or a text head with --head"
            raise MisuseError(msg)
        from bioprobe.zeroshot.likeness import Likeness

        provenance = self._view.describe({"head": head, "seed": seed})
        return Likeness(None, None, None, provenance, (*self._notes, *told), checked)

    def _check_head(self, head: str, seed: int) -> HeadCheck:
        from bioprobe.zeroshot.head_recipe import check_head
        from bioprobe.zeroshot.heads import open_head

        opened = open_head(self._view, head, model=self._model)
        if opened.made_of is not None:
            msg = (
                f"the head {head} holds image prototypes, which no text makes; a store takes "
                "those of its own encoder alone, so there is nothing to check"
            )
            raise MisuseError(msg)
        return check_head(opened, self._texts.encode_means, seed=seed)

    def _find_likeness(
        self,
        name: str,
        common: str,
        lineage: str,
        images: Sequence[str | Path],
        written: tuple[str | Path | None, str, str],
        k: int,
    ) -> Likeness:
        from bioprobe.taxonomy.taxon import complete_taxon
        from bioprobe.taxonomy.taxonomy import name_lineages
        from bioprobe.zeroshot.candidates import find_candidates, find_known_taxa
        from bioprobe.zeroshot.examples import embed_examples
        from bioprobe.zeroshot.likeness import Likeness, find_neighbours, find_neighbours_by_image

        taxa, text_type, templates = written
        store, listed = self._view.store, _name(taxa)
        known = [] if common or lineage else find_known_taxa(store, listed).find_listed(name)
        if len(known) > 1:
            msg = f"{name!r} may be {name_lineages(known)}; say which with --lineage"
            raise TaxonomyError(msg)
        taxon = known[0] if known else complete_taxon(name, lineage, common_name=common)
        classes = find_candidates(store, listed, taxon.rank)
        pictures = embed_examples(store, self._texts, _paths(images))[0] if images else None
        by_image = find_neighbours_by_image(taxon, store, classes, pictures=pictures, k=k)
        by_text = None
        if store.manifest.has_text_tower:
            prompts = _write(classes, text_type, templates)
            by_text = find_neighbours(taxon, prompts, self._texts.encode_text, k=k)
        options = {"name": name, "text_type": text_type, "templates": templates, "k": k}
        return Likeness(
            taxon,
            by_text,
            by_image,
            self._view.describe(options),
            (*self._notes, *_warn_of_confusion(taxon, by_text, by_image)),
        )

    @question
    def measure_unseen(
        self,
        unseen_where: Annotated[
            str,
            Option(
                "Condition on the images of taxa that the encoder was not trained with, such as "
                "\"role == 'unseen-class'\"; two of these taxa at least."
            ),
        ],
        *,
        seen_where: Annotated[
            str | None,
            Option(
                "Condition on the images of the other taxa; better not those it was trained on. "
                "By default all that have a label."
            ),
        ] = None,
        level: Level = "species",
        taxa: Taxa = None,
        text_type: TextTypeName = "taxon_com",
        templates: Templates = "plain",
        repeats: Annotated[int, Option("How often the unseen taxa are halved anew.", least=1)] = 5,
        seed: Annotated[int, Option("Of the halving.")] = 0,
        adapter: ThroughAdapter = None,
    ) -> GeneralisedReport:
        """Measure generalised zero-shot, and keep an offset for zero-shot answers in the store.

        Parameters
        ----------
        unseen_where : str
            Condition on the images of taxa that the encoder was not trained with.
        seen_where : str, optional
            Condition on the images of the other taxa; by default all that have a label.
        level : str
            Rank of the classes.
        taxa : str or Path, optional
            Classes; by default the labels.
        text_type, templates : str
            How they are written.
        repeats : int
            How often the unseen taxa are halved anew, ≥ 1.
        seed : int
            Of the halving.
        adapter : str, optional
            Name of a probe of the kind ``adapter``, as for :meth:`zeroshot`. Images that taught it
            take no part.

        Raises
        ------
        SelectionError
            If fewer than two unseen classes, or fewer than two images of seen ones, have labels.

        See Also
        --------
        bioprobe.zeroshot.unseen.measure_generalised : how it is measured.
        """
        from bioprobe.face.zeroshot import Adapter
        from bioprobe.store.writing import QUICK_WAIT_S
        from bioprobe.taxonomy import Rank
        from bioprobe.zeroshot.candidates import find_candidates
        from bioprobe.zeroshot.seen_offset import keep_offset
        from bioprobe.zeroshot.unseen import measure_generalised

        rank, store = Rank.parse(level), self._view.store
        through = Adapter.of(store, adapter)
        prompts = _write(find_candidates(store, _name(taxa), rank), text_type, templates)
        report = measure_generalised(
            store, prompts, self._texts.encode_text, rank=rank, unseen_condition=unseen_where,
            seen_condition=seen_where, n_repeats=repeats, seed=seed,
            matrix=None if through is None else through.matrix,
            adapter="" if through is None else through.key,
            taught=None if through is None else through.find_taught(store),
        )  # fmt: skip
        asked = {"rank": level, "text_type": text_type, "templates": templates}
        conditions = {"unseen_where": unseen_where, "seen_where": seen_where, "seed": seed}
        with store.lock(wait_s=QUICK_WAIT_S):
            keep_offset(store, report.offset, {**asked, **conditions, **report.to_dict()})
        low, high = min(report.fold_offsets), max(report.fold_offsets)
        said = (
            f"unseen taxa: {len(report.offset.new)}; offsets of the halves: {low:.3f} to "
            f"{high:.3f}; kept for zeroshot --offset auto: {report.offset.value:.3f}"
        )
        after = report.after
        figures = (
            f"right with the offset: seen {after.seen}, unseen {after.unseen}, harmonic mean "
            f"{after.harmonic_mean} (95% interval by {level}: {after.n_seen_classes} seen, "
            f"{after.n_unseen_classes} unseen)"
        )
        return report.say((*self._notes, said, figures))

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
        known = find_known_taxa(self._view.store, _name(taxa)).at(taxon.rank)
        prompts = _write(Taxonomy.merge((taxon, *known)), text_type, templates)
        made_of: Sequence[str] = ()
        if isinstance(images, TextHead):
            pictures = take_prototype(images, taxon)
            made_of = self._list_hashes(images)
        else:
            pictures = embed_examples(self._view.store, self._texts, _paths(images))
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


@question
def add(
    name: TaxonName,
    *,
    common: CommonName = "",
    lineage: Annotated[LineageNames, Without("parent")] = "",
    parent: Parent = "",
    prompts: Descriptions = (),
    store: StoreFolder | None = None,
) -> Added:
    """Add a taxon to the list that counts in every store of this user.

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
    store : str or Path, optional
        Folder of a store whose labels may name the parent, beside the user's taxa and the lists
        that ship.

    Raises
    ------
    TaxonomyError
        If it was added before, or contradicts the taxa that were.
    PromptError
        If nobody knows the parent.

    Examples
    --------
    >>> bp.taxa.add("Panthera uncia", common="snow leopard", parent="Felidae")  # doctest: +SKIP
    """
    from bioprobe.store.added_taxa import AddedList

    labelled = _open(store) if parent and store is not None else None
    taxon = _complete(name, common, lineage, parent, prompts, labelled)
    return _add_by_text(AddedList.of_user(), taxon)


@question
def remove(name: AddedName, *, lineage: OwnLineage = "", parent: OwnParent = "") -> KnownTaxa:
    """Remove a taxon from the list that counts in every store of this user.

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

    return _remove(AddedList.of_user(), name, None, lineage, parent)


@question
def list() -> KnownTaxa:
    """List the taxa that count in every store of this user."""
    from bioprobe.store.added_taxa import read_user_taxa

    return _know(read_user_taxa(), "user-wide")


@question
def import_list(
    file: TaxonFile, *, synonyms: Synonyms = None, rank_column: RankColumns = None
) -> KnownTaxa:
    """Add every taxon of a list to the list that counts in every store of this user.

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

    return _import(AddedList.of_user(), file, synonyms, rank_column)


@question
def export(
    target: ListTarget,
    *,
    text_type: Annotated[TextTypeName, _HEAD] = "taxon_com",
    templates: Annotated[Templates, _HEAD] = "plain",
    store: StoreFolder | None = None,
    model: Annotated[Model, _HEAD] = None,
    device: Annotated[Device, _HEAD] = "auto",
) -> KnownTaxa:
    """Write the taxa that count in every store of this user, for another user or tool.

    Parameters
    ----------
    target : str or Path
        A ``.csv``, or a ``.npy`` of text embeddings with a ``.json`` of names beside it.
    text_type, templates : str
        How the taxa are written in a ``.npy``.
    store : str or Path, optional
        Folder of a store whose encoder embeds them, where no model is named.
    model : str, optional
        Encoder of a ``.npy``.
    device : str
        Where it runs.

    Raises
    ------
    SourceError
        If nothing was added, the target is of another kind, or no encoder is known.
    """
    from bioprobe.store.added_taxa import AddedList, read_user_taxa

    def embed(prompts: PromptSet) -> Vectors:
        from bioprobe.encoders import load_encoder
        from bioprobe.store.view import View

        if model is not None:
            encoder = load_encoder(model, device=device, backend="auto")
            return prompts.embed(encoder.encode_text)
        if store is not None:
            return prompts.embed(Names(View.all(_open(store)), device=device)._texts.encode_text)
        msg = f"text embeddings need an encoder; name one to write {target}: model='bioclip-2'"
        raise SourceError(msg)

    return _export(
        Path(target), read_user_taxa(), "user-wide", AddedList.of_user().describe(), embed,
        text_type, templates,
    )  # fmt: skip


@question
def download(
    what: Annotated[
        str,
        Option(
            "treeoflife, the texts of all taxa that a model was trained with; treeoflife@REVISION "
            "for another than the newest.",
            ("-",),
            ("treeoflife",),
        ),
    ],
    *,
    to: Annotated[
        str | Path | None,
        Option(
            "Folder to fill, to be copied to a machine without a network.",
            shell=Path,
            writes="any",
        ),
    ] = None,
    model: Model = None,
    progress: Progress | None = None,
) -> HeadDownload:
    """Fetch the published text head of a model, into the Hugging Face cache or into a folder.

    Parameters
    ----------
    what : str
        ``treeoflife``, or ``treeoflife@REVISION``.
    to : str or Path, optional
        Folder to fill.
    model : str, optional
        Of which model; by default ``bioclip-2``.
    progress : callable, optional
        Told how many megabytes are here.

    Raises
    ------
    ModelUnavailableError
        If the hub cannot be reached, or the model has no published head.
    MisuseError
        If something else is asked for.
    """
    from bioprobe.encoders.catalog import DEFAULT_MODEL
    from bioprobe.encoders.hub import find_repository
    from bioprobe.encoders.text_heads import (
        TREE_OF_LIFE,
        download_head,
        find_published,
        name_published,
    )

    name, _, revision = what.partition("@")
    if name != TREE_OF_LIFE:
        msg = f"what is downloaded is {TREE_OF_LIFE}, got {what!r}"
        raise MisuseError(msg)
    published = find_published(find_repository(model or DEFAULT_MODEL))
    if published is None:
        msg = f"no text head of {model} is published; there are those of {name_published()}"
        raise ModelUnavailableError(msg)
    found = download_head(
        published, revision=revision, to=None if to is None else Path(to), progress=progress
    )
    use = f"--taxa {found.file}" if to is not None else f"--taxa {TREE_OF_LIFE}"
    return found.say(
        [
            f"{found.size_bytes / 1e6:,.0f} MB of texts for {found.model}, "
            f"{found.file.stem} of {found.repository} at {found.revision[:12]}, lie in "
            f"{found.folder}",
            f"Use it with: bioprobe zeroshot {use}",
        ]
    )


def describe_prototypes(made_of: MadeOf, name: str, rank: Rank) -> str:
    """Say how many prototypes there are, of how many pictures, and how to ask them."""
    import numpy as np

    n_images, n_groups = int(made_of.n_images.sum()), int(made_of.n_groups.sum())
    counted = f", {n_groups:,} of which count" if n_groups < n_images else ""
    n_single = int((made_of.n_groups == 1).sum())
    single = f", {n_single:,} of a single one" if n_single else ""
    return (
        f"{len(made_of.n_images):,} image prototypes at {rank} of {n_images:,} pictures{counted}"
        f"{single}, mean cosine {np.average(made_of.mean_cosine, weights=made_of.n_groups):.3f}; "
        f"ask: bioprobe zeroshot --prototypes {name}, or by pictures alone with --head {name}"
    )


def open_names(
    names: str | Path | None,
    synonyms: str | Path | None,
    rank_column: Mapping[str, str] | str | Sequence[str] | None = None,
    *,
    added: Iterable[Taxon] = (),
) -> NameList:
    """Open a list to find labels in; without one, what was added and the lists that ship."""
    from bioprobe.taxonomy.lists import read_taxa, shipped_taxonomies
    from bioprobe.taxonomy.matching import NameList
    from bioprobe.taxonomy.synonyms import read_synonyms

    accepted = read_synonyms(str(synonyms)) if synonyms is not None else {}
    if names is not None:
        return NameList(read_taxa(str(names), read_rank_columns(rank_column)), accepted)
    shipped = (taxon for name in shipped_taxonomies() for taxon in read_taxa(name))
    return NameList((*added, *shipped), accepted)


def open_list(
    taxa: str | Path | None, rank_column: Mapping[str, str] | str | Sequence[str] | None
) -> str | Taxonomy | None:
    """Return the name of a taxon list, or what is read of one whose columns are told."""
    from bioprobe.taxonomy.lists import read_taxonomy

    if taxa is None or not rank_column:
        return None if taxa is None else str(taxa)
    return read_taxonomy(str(taxa), read_rank_columns(rank_column))


def read_rank_columns(given: Mapping[str, str] | str | Sequence[str] | None) -> dict[Rank, str]:
    """Read what ``--rank-column`` says: rank to column, or ``rank=column``."""
    from bioprobe.options import list_given
    from bioprobe.taxonomy import Rank

    if isinstance(given, Mapping):
        return {Rank.parse(rank): column for rank, column in given.items()}
    columns = {}
    for text in list_given(given):
        rank, equals, column = text.partition("=")
        if not equals:
            msg = (
                f"--rank-column is RANK=COLUMN, such as species=label, or RANK= where no column "
                f"holds the rank; got {text!r}"
            )
            raise MisuseError(msg)
        columns[Rank.parse(rank)] = column
    return columns


def _open(store: str | Path) -> EmbeddingStore:
    from bioprobe.store import EmbeddingStore

    return EmbeddingStore.open(store)


def _name(taxa: str | Path | None) -> str | None:
    return None if taxa is None else str(taxa)


def _paths(files: Sequence[str | Path]) -> Sequence[Path]:
    return [Path(file) for file in files]


def _write(taxa: Taxonomy, text_type: str, templates: str) -> PromptSet:
    from bioprobe.prompts import PromptSet, TextType, read_templates

    return PromptSet(taxa, TextType.parse(text_type), read_templates(templates))


def _know(taxa: Taxonomy, origin: str) -> KnownTaxa:
    from bioprobe.zeroshot.added_taxa import KnownTaxa, KnownTaxon

    return KnownTaxa(tuple(KnownTaxon(taxon, origin) for taxon in taxa))


def _find_origin(place: AddedList) -> str:
    return "user-wide" if place.store is None else "added"


def _complete(
    name: str,
    common: str,
    lineage: str,
    parent: str,
    prompts: Sequence[str],
    store: EmbeddingStore | None,
) -> Taxon:
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


def _add_by_text(place: AddedList, taxon: Taxon) -> Added:
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


def _remove(
    place: AddedList, name: str, store: EmbeddingStore | None, lineage: str, parent: str
) -> KnownTaxa:
    from bioprobe.taxonomy import Taxonomy
    from bioprobe.zeroshot.added_taxa import remove_one

    with place.lock():
        taxon = remove_one(place, name, store, lineage=lineage, parent=parent)
    removed = _know(Taxonomy((taxon,)), _find_origin(place))
    return removed.say([f"removed {_show(taxon)} from {place.describe()}"])


def _import(
    place: AddedList,
    file: str | Path,
    synonyms: str | Path | None,
    rank_column: Mapping[str, str] | str | Sequence[str] | None,
) -> KnownTaxa:
    from bioprobe.taxonomy.lists import read_taxonomy
    from bioprobe.taxonomy.synonyms import read_synonyms, replace_synonyms
    from bioprobe.zeroshot.added_taxa import import_taxa

    taxa = read_taxonomy(str(file), read_rank_columns(rank_column))
    if synonyms is not None:
        taxa = replace_synonyms(taxa, read_synonyms(str(synonyms)))
    with place.lock():
        n_new = import_taxa(place, taxa)
    said = f"added {n_new:,} taxa to {place.describe()}; {len(taxa) - n_new:,} were there"
    return _know(place.read(), _find_origin(place)).say([said])


def _export(
    target: Path,
    taxa: Taxonomy,
    origin: str,
    place: str,
    embed: Callable[[PromptSet], Vectors],
    text_type: str,
    templates: str,
) -> KnownTaxa:
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
        export_text_head(target, taxa, embed(_write(taxa, text_type, templates)))
    return _know(taxa, origin).say([f"{len(taxa):,} taxa -> {target}"])


def _show(taxon: Taxon) -> str:
    lineage = " > ".join(name for name in taxon.lineage if name)
    return f"{lineage} ({taxon.common_name})" if taxon.common_name else lineage


def _warn_of_confusion(
    taxon: Taxon, by_text: Neighbours | None, by_image: Neighbours | None
) -> Sequence[Note]:
    said = []
    remedies = (
        ("text", by_text, "--prompt"),
        ("image", by_image, "--images of what tells them apart"),
    )
    for by, near, remedy in remedies:
        if near is not None and near.is_confusing:
            text = (
                f"warning: {taxon.name} will be confused with {near.taxa[0].name}: their {by}s "
                f"have similarity {near.similarities[0]:.3f}, nine in ten classes stay below "
                f"{near.usual:.3f} with their nearest; describe it with: bioprobe taxa add {remedy}"
            )
            said.append(Note(text, WARNING))
    if by_image is None:
        text = (
            f"no images of {taxon.name} and of other classes to compare: give --images, and label "
            "images of the others"
        )
        said.append(Note(text))
    return said


def __dir__() -> Sequence[str]:
    return __all__
