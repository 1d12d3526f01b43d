"""Unknown species as provisional taxa: found, added by example, merged, and named later."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from bioprobe.errors import MisuseError, SelectionError, TaxonomyError
from bioprobe.face.clustering import GroupColumns
from bioprobe.face.opened import Opened
from bioprobe.options import RANK_NAMES, Option, SeedOption, list_given, question, split_given
from bioprobe.result import WARNING, Note, Notes, Result, Table, read_fields

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.clustering.unknown import Known, Parents
    from bioprobe.face.grouped_pages import Clusters
    from bioprobe.store import EmbeddingStore
    from bioprobe.store.view import View
    from bioprobe.taxonomy import Taxon
    from bioprobe.types import Doubles

# Pictures of a group that are kept as examples, the nearest to its mean.
_MOST_EXAMPLES = 50


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Unknown(Result):
    """Groups of pictures that are like no known class, each a provisional taxon.

    Parameters
    ----------
    clusters : Clusters
        The groups; their names are the provisional ones.
    parents : tuple of tuple of str
        Names above each group, from kingdom down to the deepest rank that is sure.
    nearest : tuple of str
        Known class nearest to each.
    similarities : ndarray of float64, shape (n_groups,)
        Cosine similarity of the mean of each to that of its nearest known class.
    n_asked, n_strange : int
        Pictures without a label, and those of them that are like no class.
    notes : tuple of Note
    """

    clusters: Clusters
    parents: tuple[tuple[str, ...], ...]
    nearest: tuple[str, ...]
    similarities: Doubles
    n_asked: int
    n_strange: int
    notes: Notes = ()

    def __len__(self) -> int:
        return len(self.clusters)

    @property
    def names(self) -> tuple[str, ...]:
        """Provisional name of each group."""
        return self.clusters.names

    def to_frame(self) -> pd.DataFrame:
        """Return one row a picture that is like no class, by group."""
        return self.clusters.to_frame()

    def to_lines(self, frame: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return one row a group, as a terminal shows it."""
        _ = frame
        return self.summarise()

    def summarise(self) -> pd.DataFrame:
        """Return one row a group: its name, size, the taxon above it, the nearest known class."""
        import numpy as np

        told = self.clusters.summarise()
        told.insert(1, "provisional", list(self.names))
        told.insert(2, "rank", [RANK_NAMES[len(one) - 1] if one else "" for one in self.parents])
        told.insert(3, "below", [one[-1] if one else "" for one in self.parents])
        told["nearest"] = list(self.nearest)
        told["similarity"] = np.round(self.similarities, 3)
        return told.drop(columns=["proposed", "score"], errors="ignore")

    def write_page(self, path: Any) -> int:  # noqa: ANN401 - str or Path
        """Write the groups as a page of pictures; returns how many pictures it has."""
        return self.clusters.write_page(path)


class Provisionals(Opened):
    """What is like no known species."""

    @question
    def find_unknown(
        self,
        *,
        level: Annotated[
            str,
            Option(
                "Rank or column whose labels are the known classes; pictures without one are "
                "asked.",
                ("--level", "--rank", "-l"),
                RANK_NAMES,
            ),
        ] = "species",
        recall: Annotated[
            float,
            Option("Share of pictures of known classes that is to be taken for known.", least=0,
                   most=1),
        ] = 0.95,
        n_clusters: Annotated[
            int | None,
            Option("How many groups; chosen by the mean silhouette where it is not said.",
                   ("--clusters", "-n"), least=1),
        ] = None,
        group: GroupColumns = None,
        seed: Annotated[int, SeedOption("Seed of what is drawn.")] = 0,
        name: Annotated[str, Option("Column that the groups are kept as.")] = "cluster",
        add: Annotated[
            bool,
            Option("Also add each group to the taxa, by example, as taxa add --images does."),
        ] = False,
    ) -> Unknown:  # fmt: skip
        """Group the pictures that are like no known class, each group as a provisional taxon.

        Pictures with a label say what is known. One without is strange where it is less like the
        mean of every class than all but a few of the labelled pictures are. Strange ones are
        grouped; each group is named for the deepest taxon above it that is sure, such as
        ``Noctuidae sp. 1``, and its nearest known class is told.

        Parameters
        ----------
        level : str
            Rank or column of the known classes.
        recall : float
            Share of pictures of known classes that is taken for known, in (0, 1].
        n_clusters : int, optional
            How many groups.
        group : str or sequence of str, optional
            Columns whose equal values count as one picture, as for :meth:`cluster`.
        seed : int
            Of what is drawn.
        name : str
            Of the column; the names stand in ``NAME_name``.
        add : bool
            Whether each group becomes a taxon that is asked for.

        Raises
        ------
        SelectionError
            If no picture has a label, none lacks one, or none is strange.
        MisuseError
            If groups are to be added, and the encoder reads no text.

        Examples
        --------
        >>> store.find_unknown(level="species").summarise()  # doctest: +SKIP
        """
        from bioprobe.images.image_table import read_level
        from bioprobe.store.computed import check_name

        store = self._view.store
        where = read_level(level, self._view.images)
        check_name(store, name)
        if add and not store.manifest.has_text_tower:
            msg = "taxa are asked by texts, and this encoder reads none; leave --add out"
            raise MisuseError(msg)
        columns = split_given(group)
        learnt = _Learnt.of(store, where, recall, columns)
        view, notes = self._find_strange(learnt, where, columns)
        found = _group(view, learnt, n_clusters, seed, name, columns)
        if not self._view.origin:
            found.clusters.write(view)
        found = dataclasses.replace(found, n_asked=learnt.count_asked(self._view, where))
        said = [*self._notes, *notes, *_tell(found, name)]
        if add:
            said += self._add_groups(found, view)
        return found.say(said)

    def _find_strange(
        self, learnt: _Learnt, level: str, group: Sequence[str]
    ) -> tuple[View, list[Note]]:
        from bioprobe.clustering.clusters import find_units

        view = self._view
        asked = view.rows[view.labels(level) == ""]
        if not len(asked):
            msg = (
                f"every picture has a label at {level}: none is left that may be unknown; ask a "
                "store that holds pictures without one"
            )
            raise SelectionError(msg)
        units, _ = find_units(view.take(asked), group or None)
        strange = asked[learnt.known.find_strange(view.store.read_vectors(asked), units)]
        share = f"{len(strange):,} of {len(asked):,} pictures without a label at {level}"
        if not len(strange):
            msg = f"{share} are like no known class: each is as like one as known pictures are"
            raise SelectionError(msg)
        limit = 1 - learnt.known.limit
        text = (
            f"{share} are like none of {len(learnt.names):,} known classes: less than {limit:.3f} "
            f"to the nearest mean, as {learnt.n_over:,} of {learnt.n_known:,} known ones are"
        )
        return view.take(strange), [Note(text)]

    def _add_groups(self, found: Unknown, view: View) -> list[Note]:
        """Add each group to the taxa, with its pictures as examples."""
        import numpy as np

        from bioprobe.prompts import PromptSet, TextType, read_templates
        from bioprobe.store.added_taxa import AddedList
        from bioprobe.taxonomy import Taxonomy
        from bioprobe.zeroshot.added_taxa import add_pictured
        from bioprobe.zeroshot.candidates import find_known_taxa

        store, clusters = view.store, found.clusters
        hashes = store.given.column("sha256").to_numpy(dtype=object)
        place = AddedList.of_store(store)
        with place.lock():
            for number, (name, above) in enumerate(
                zip(found.names, found.parents, strict=True), start=1
            ):
                taxon = make_provisional(name, above)
                inside = np.flatnonzero(clusters.numbers == number)
                order = np.argsort(-clusters.similarities[inside], kind="stable")
                rows = clusters.rows[inside[order][:_MOST_EXAMPLES]]
                known = find_known_taxa(store, None).at(taxon.rank)
                prompts = PromptSet(
                    Taxonomy.merge((taxon, *known)), TextType.parse("taxon_com"),
                    read_templates("plain"),
                )  # fmt: skip
                pictures = store.read_vectors(rows), tuple(map(str, hashes[rows]))
                add_pictured(
                    self._view, taxon, pictures, prompts, self._texts.encode_text,
                    weight_fractions=(1.0,),
                )  # fmt: skip
        return [
            Note(
                f"{len(found):,} provisional taxa are added to {self.folder}; they are asked for "
                "from now on; once one has a name: bioprobe taxa rename OLD NEW"
            )
        ]

    @question
    def merge_taxa(
        self,
        names: Annotated[
            str | Sequence[str],
            Option(
                "Added taxa that are one; the first stays, unless --into names it anew.", ("-",),
                shell=list[str],
            ),
        ],
        *,
        into: Annotated[str, Option("Name that they have together.")] = "",
    ) -> Table:  # fmt: skip
        """Make several added taxa one, with the example pictures of all.

        Parameters
        ----------
        names : sequence of str
            Scientific or common names; two at least.
        into : str
            Name that they have together; by default the first.

        Raises
        ------
        TaxonomyError
            If one was not added, or they are not of one rank.

        Examples
        --------
        >>> store.merge_taxa(["Noctuidae sp. 1", "Noctuidae sp. 3"])  # doctest: +SKIP
        """
        given = list(dict.fromkeys(list_given(names)))
        if len(given) < 2:
            msg = f"two taxa at least become one, got {len(given)}; name them all"
            raise MisuseError(msg)
        return self._replace(given, into or given[0], "merged")

    @question
    def rename_taxon(
        self,
        name: Annotated[str, Option("Added taxon, such as 'Noctuidae sp. 1'.", ("-",))],
        new: Annotated[str, Option("Its name from now on.", ("-",))],
        *,
        parent: Annotated[
            str, Option("Known taxon above it, where that is not what stood above before.")
        ] = "",
    ) -> Table:
        """Give an added taxon another name, such as the real one of a provisional species.

        Its example pictures, weight and offset stay, and so does what it was called before, which
        the history tells.

        Parameters
        ----------
        name, new : str
            Scientific name before, and from now on.
        parent : str
            Known taxon above it, which completes the lineage.

        Raises
        ------
        TaxonomyError
            If no such taxon was added, or one of the new name was.
        PromptError
            If nobody knows the parent.

        Examples
        --------
        >>> store.rename_taxon("Noctuidae sp. 1", "Agrotis ipsilon")  # doctest: +SKIP
        """
        return self._replace([name], new, "renamed", parent)

    def taxa_history(self) -> Table:
        """List what became of the added taxa, the oldest first: added, merged, renamed, removed.

        Returns
        -------
        Table
            ``at``, ``what``, ``before``, ``after``, and ``now``, the name by now, ``""`` of one
            that was removed.
        """
        import pandas as pd

        from bioprobe.store.added_taxa import AddedList

        rows = list[tuple[str, ...]]()
        now = dict[str, str]()
        for line in reversed(AddedList.of_store(self._view.store).read_history()):
            after = now.get(line["after"], line["after"])
            now |= dict.fromkeys([*line["before"], line["after"]], after)
            rows.append(
                (line["at"], line["what"], " | ".join(line["before"]), line["after"], after)
            )
        columns = ["at", "what", "before", "after", "now"]
        found = Table(pd.DataFrame(rows[::-1], columns=columns))
        none = f"no taxon was added to {self.folder} until now; see: bioprobe taxa add"
        return found if rows else found.say([none])

    def _replace(self, names: Sequence[str], new: str, what: str, parent: str = "") -> Table:
        """Put one added taxon in the place of others, with the example pictures of all."""
        import numpy as np

        from bioprobe.store.added_taxa import AddedList
        from bioprobe.zeroshot.added_taxa import check_additions
        from bioprobe.zeroshot.examples import (
            Examples,
            forget_unlisted_examples,
            keep_examples,
            read_examples,
        )

        store = self._view.store
        place = AddedList.of_store(store)
        with place.lock():
            before = [place.find(name) for name in names]
            if len({taxon.rank for taxon in before}) > 1:
                told = ", ".join(f"{taxon.name} ({taxon.rank.value})" for taxon in before)
                msg = f"taxa of one rank become one, got {told}"
                raise TaxonomyError(msg)
            taxon = _name_anew(store, before[0], new, parent)
            rest = [one for one in place.read() if one.lineage not in {b.lineage for b in before}]
            if any(one.lineage == taxon.lineage for one in rest):
                msg = (
                    f"{new!r} was added before; to make them one: bioprobe taxa merge {new!r} "
                    f"{names[0]!r}"
                )
                raise TaxonomyError(msg)
            check_additions((*rest, taxon))
            own = [one for one in read_examples(store) if any(one.is_of(b) for b in before)]
            if own:
                hashes = [digest for one in own for digest in one.sha256s]
                every = np.concatenate([one.vectors for one in own])
                # Of pictures whose bytes nobody saw the vectors tell.
                known = [digest or row.tobytes() for digest, row in zip(hashes, every, strict=True)]
                first = [known.index(one) for one in dict.fromkeys(known)]
                vectors, kept = every[first], tuple(hashes[at] for at in first)
                # The strictest offset of them: less is taken from other classes.
                offset = max(one.offset for one in own)
                keep_examples(
                    store,
                    Examples(taxon, vectors, kept, own[0].weight_fraction, offset, own[0].rule),
                )
            place.write((*rest, taxon))
            forget_unlisted_examples(type(store).open(store.folder))
            place.record(what, [one.name for one in before], taxon.name)
        n_pictures = len(kept) if own else 0
        said = f"{' and '.join(one.name for one in before)} {'are' if len(before) > 1 else 'is'} "
        said += f"{taxon.name} from now on, with {n_pictures:,} example pictures"
        frame = self.taxa_history().to_frame()
        return Table(frame[frame["now"] == taxon.name].reset_index(drop=True)).say([said])


def _name_anew(store: EmbeddingStore, taxon: Taxon, new: str, parent: str) -> Taxon:
    """Return a taxon under another name: below what stood above it, or below a parent."""
    from bioprobe.taxonomy import Taxon
    from bioprobe.taxonomy.lists import is_provisional
    from bioprobe.taxonomy.taxon import complete_taxon
    from bioprobe.zeroshot.candidates import find_parent

    if new == taxon.name and not parent:
        return taxon
    above = taxon.lineage[: taxon.depth]
    if parent:
        over = find_parent(store, parent)
        above = over.lineage[: over.depth + 1]
    if is_provisional(new):
        return make_provisional(new, tuple(above)[:6])
    genus = new.split()[0]
    if not parent and taxon.depth == len(RANK_NAMES) - 1:
        # The genus is part of a binomial.
        above = (*above[:5], genus)
    completed = complete_taxon(new, ",".join(above).rstrip(","))
    return Taxon(completed.lineage, taxon.common_name, taxon.prompts)


@dataclasses.dataclass(frozen=True, eq=False)
class _Learnt:
    """What the labelled pictures of a store say, and the example pictures of added taxa."""

    names: list[str]
    taken: list[str]
    known: Known
    parents: Parents | None
    n_known: int
    n_over: int

    @classmethod
    def of(cls, store: EmbeddingStore, level: str, recall: float, group: Sequence[str]) -> _Learnt:
        import numpy as np

        from bioprobe.clustering.clusters import find_units
        from bioprobe.clustering.unknown import learn_known, learn_parents
        from bioprobe.store.added_taxa import AddedList
        from bioprobe.store.view import View
        from bioprobe.zeroshot.examples import read_examples

        view = View.all(store)
        labels = view.labels(level)
        view = view.take(view.rows[labels != ""])
        if not len(view):
            msg = (
                f"no picture has a label at {level}, and so nothing is known; label some, or group "
                "all pictures: bioprobe cluster"
            )
            raise SelectionError(msg)
        # What was added with pictures is known too: asked again, it is no new species.
        added = [one for one in read_examples(store) if one.taxon.rank.value == level]
        sizes = [len(one) for one in added]
        further = np.repeat(np.array([one.taxon.name for one in added], dtype=object), sizes)
        labels = np.append(view.labels(level), further)
        names, codes = np.unique(labels.astype(str), return_inverse=True)
        units, _ = find_units(view, group or None)
        units = np.append(units, units.max() + 1 + np.arange(len(further)))
        vectors = np.concatenate([view.read_vectors(), *(one.vectors for one in added)])
        known = learn_known(vectors, codes, units, recall)
        parents = None
        if level in RANK_NAMES[1:]:
            lineages = [
                np.append(view.labels(rank), np.repeat(
                    np.array([one.taxon.lineage[depth] for one in added], dtype=object), sizes
                ))
                for depth, rank in enumerate(RANK_NAMES[: RANK_NAMES.index(level)])
            ]  # fmt: skip
            parents = learn_parents(vectors, codes, lineages)
        n_over = int(np.nansum(known.own > known.limit))
        # A number that was given once is of one species for good, whatever became of it.
        place = AddedList.of_store(store)
        taken = {*names.tolist(), *(taxon.name for taxon in place.read())}
        for line in place.read_history():
            taken |= {*line["before"], line["after"]}
        return cls(names.tolist(), sorted(taken), known, parents, len(labels), n_over)

    def count_asked(self, view: View, level: str) -> int:
        return int((view.labels(level) == "").sum())


def _group(
    view: View, learnt: _Learnt, n_clusters: int | None, seed: int, name: str, group: Sequence[str]
) -> Unknown:
    """Group what is strange, leave out what is too small, and name the groups."""
    import numpy as np

    from bioprobe.clustering.clusters import cluster_images, find_mean, find_units
    from bioprobe.clustering.methods import Wish
    from bioprobe.clustering.unknown import LEAST_IMAGES, name_groups
    from bioprobe.face.grouped_pages import Clusters

    units, _ = find_units(view, group or None)
    found = cluster_images(
        view, Wish(n_clusters=n_clusters, seed=seed), units, name=name, averaged=10, n_draws=0
    )
    n_kept = int((np.bincount(found.numbers)[1:] >= LEAST_IMAGES).sum())
    sizes = np.bincount(found.numbers)[1:]
    kept = np.flatnonzero(sizes >= LEAST_IMAGES) + 1
    number_of = np.zeros(len(sizes) + 1, dtype=np.int64)
    number_of[kept] = np.arange(1, n_kept + 1)
    numbers = number_of[found.numbers]
    vectors = view.read_vectors()
    parents, nearest, similarities = [], [], []
    for number in range(1, n_kept + 1):
        inside = vectors[numbers == number]
        mean = find_mean(inside, np.ones(len(inside)))
        alike = learnt.known.means @ mean
        nearest.append(learnt.names[int(alike.argmax())])
        similarities.append(float(alike.max()))
        parents.append(learnt.parents.find(inside) if learnt.parents else ())
    names = name_groups([one[-1] if one else "" for one in parents], learnt.taken)
    clusters = Clusters(**read_fields(found))
    clusters = dataclasses.replace(
        clusters, numbers=numbers, medoids=found.medoids[kept - 1], names=tuple(names),
        similarities=np.where(numbers > 0, found.similarities, np.nan),
        stability=found.stability[kept - 1], scores=np.full(n_kept, np.nan),
    )  # fmt: skip
    return Unknown(clusters, tuple(parents), tuple(nearest), np.array(similarities), 0, len(view))


def make_provisional(name: str, above: Sequence[str]) -> Taxon:
    """Return a provisional species below the taxa above it, from kingdom down."""
    from bioprobe.taxonomy import RANKS, Taxon

    holes = [""] * (len(RANKS) - 1 - len(above))
    return Taxon((*above, *holes, name))


def _tell(found: Unknown, name: str) -> list[Note]:
    n_in = int((found.clusters.numbers > 0).sum())
    said = [
        Note(
            f"{n_in:,} of them are in {len(found):,} groups, kept as the column {name}, with "
            f"their names as {name}_name; {found.n_strange - n_in:,} stand alone or in twos"
        )
    ]
    sure = sum(bool(one) for one in found.parents)
    if len(found) > sure:
        text = f"of {len(found) - sure:,} groups no taxon above is sure; they are Unknown sp."
        said.append(Note(text, WARNING))
    return said
