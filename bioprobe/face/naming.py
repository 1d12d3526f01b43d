"""What the taxa of a store are told apart by: names, texts, prototypes, and how well."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bioprobe.errors import MisuseError, TaxonomyError
from bioprobe.face.adding import CommonName, LineageNames, Synonyms
from bioprobe.face.lists import open_list, open_names, write_texts
from bioprobe.face.opened import Opened
from bioprobe.options import (
    GIVEN,
    Level,
    Option,
    RankColumns,
    SeedOption,
    Taxa,
    Templates,
    TextTypeName,
    ThroughAdapter,
    With,
    question,
)
from bioprobe.result import WARNING, Note, Table

if TYPE_CHECKING:
    from bioprobe.taxonomy import Rank, Taxon
    from bioprobe.taxonomy.matching import ResolvedLabels
    from bioprobe.zeroshot.head_recipe import HeadCheck
    from bioprobe.zeroshot.likeness import Likeness, Neighbours
    from bioprobe.zeroshot.prototypes import MadeOf
    from bioprobe.zeroshot.unseen import GeneralisedReport


class Names(Opened):
    """Taxa of a store, named and checked."""

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
        said = [_describe_prototypes(made.made_of, name, rank)]
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
        store, listed = self._view.store, open_list(taxa)
        known = [] if common or lineage else find_known_taxa(store, listed).find_listed(name)
        if len(known) > 1:
            msg = f"{name!r} may be {name_lineages(known)}; say which with --lineage"
            raise TaxonomyError(msg)
        taxon = known[0] if known else complete_taxon(name, lineage, common_name=common)
        classes = find_candidates(store, listed, taxon.rank)
        files = [Path(one) for one in images]
        pictures = embed_examples(store, self._texts, files)[0] if files else None
        by_image = find_neighbours_by_image(taxon, store, classes, pictures=pictures, k=k)
        by_text = None
        if store.manifest.has_text_tower:
            prompts = write_texts(classes, text_type, templates)
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
        seed: Annotated[int, SeedOption("Seed of the halving.")] = 0,
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
        prompts = write_texts(find_candidates(store, open_list(taxa), rank), text_type, templates)
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


def _describe_prototypes(made_of: MadeOf, name: str, rank: Rank) -> str:
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
