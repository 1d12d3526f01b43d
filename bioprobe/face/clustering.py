"""Order without labels: clusters that are kept as a column, and a line of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from bioprobe.errors import SelectionError
from bioprobe.face.lists import open_list
from bioprobe.face.opened import Opened
from bioprobe.options import (
    RANK_NAMES,
    ListColumns,
    Option,
    SeedOption,
    Taxa,
    Unless,
    With,
    question,
    split_given,
)
from bioprobe.progress import Progress, Step, tell_nobody
from bioprobe.result import WARNING, Note, Table, read_fields

if TYPE_CHECKING:
    from bioprobe.face.grouped_pages import Clusters, Order
    from bioprobe.store.view import View
    from bioprobe.types import Vectors

# Ways to group, the default first.
CLUSTER_METHODS = ("ward", "agglomerative", "kmeans", "evoc", "hdbscan")
_DENSITY = With("method", ("evoc", "hdbscan"))
_AGGLOMERATIVE = With("method", ("agglomerative",))

GroupColumns = Annotated[
    str | Sequence[str] | None,
    Option(
        "Column whose equal values count as one picture: burst, individual, deployment. Several "
        "join. By default sequences do, where a column or times say them; copies do anyhow.",
        shell=list[str],
    ),
]
ComparedLevel = Annotated[
    str | None,
    Option(
        "Rank or column whose labels the answer is compared with; they teach nothing.",
        ("--level", "--rank", "-l"),
        RANK_NAMES,
    ),
]
Averaged = Annotated[
    int | None,
    Option(
        "Nearest pictures that each vector is averaged with first; 0 for none. [default: 10; 0 "
        "with --threshold]",
        least=0,
    ),
]


Name = Annotated[
    str | None,
    Option(
        "Column that it is kept as; one that is kept is replaced. [default: cluster; alike with "
        "--order]"
    ),
]


class Groups(Opened):
    """What puts pictures together that are alike."""

    @question
    def cluster(
        self,
        method: Annotated[
            str,
            Option(
                "ward: groups are joined so that they stay as compact as can be. agglomerative: by "
                "the mean similarity of their pictures. kmeans: around so many means. evoc: by "
                "density, where the package evoc is installed. hdbscan: by density on the map that "
                "bioprobe map made. The last two leave pictures in no cluster.",
                choices=CLUSTER_METHODS,
                fixed=True,
            ),
        ] = "ward",
        *,
        n_clusters: Annotated[
            int | None,
            Option(
                "How many clusters; of evoc about so many. By default the number whose pictures "
                "are nearest to their own cluster, compared with the next (mean silhouette).",
                ("--clusters", "-n"),
                least=1,
                when=(Unless("method", ("hdbscan",)),),
            ),
        ] = None,
        threshold: Annotated[
            float | None,
            Option(
                "Least mean cosine similarity of two clusters that are joined, in place of a "
                "number of clusters.",
                least=-1,
                most=1,
                when=(_AGGLOMERATIVE,),
            ),
        ] = None,
        map_name: Annotated[
            str,
            Option(
                "Map whose places are clustered.", ("--map",), when=(With("method", ("hdbscan",)),)
            ),
        ] = "default",
        least_size: Annotated[
            int | None,
            Option(
                "Pictures that a cluster has at least. [default: a hundredth of all, 5 at least]",
                least=2,
                when=(_DENSITY,),
            ),
        ] = None,
        averaged: Annotated[Averaged, Unless("method", ("hdbscan",))] = None,
        group: GroupColumns = None,
        level: ComparedLevel = None,
        propose: Annotated[
            str | None,
            Option(
                "Rank at which texts propose a name for each cluster, of the taxa in the labels or "
                "of --taxa, as zeroshot answers for a picture.",
                choices=RANK_NAMES,
                fixed=True,
            ),
        ] = None,
        taxa: Annotated[Taxa, With("propose")] = None,
        rank_column: ListColumns = None,
        draws: Annotated[
            int,
            Option(
                "Times that four fifths of the pictures are clustered again, to tell how stable "
                "the clusters are; 0 for none.",
                least=0,
            ),
        ] = 10,
        seed: Annotated[int, SeedOption("Seed of the draws, and of kmeans and evoc.")] = 0,
        name: Name = None,
        progress: Progress | None = None,
    ) -> Clusters:
        """Group pictures that are alike, and keep the groups as a column of the store.

        The column stands beside the image table: no shard is written again. It is named wherever
        a column is, such as in :meth:`where`; pictures that come later have ``""`` in it.

        Parameters
        ----------
        method : str
            ``ward``, ``agglomerative``, ``kmeans``, ``evoc`` or ``hdbscan``.
        n_clusters : int, optional
            How many; by default the number with the greatest mean silhouette, of those from 2 to a
            fifth of the pictures.
        threshold : float, optional
            Least mean cosine similarity of two clusters that are joined, in [-1, 1]; of
            ``agglomerative`` alone.
        map_name : str
            Of the map whose places ``hdbscan`` clusters; see :meth:`map`.
        least_size : int, optional
            Pictures that a cluster of ``evoc`` or ``hdbscan`` has at least.
        averaged : int, optional
            Nearest pictures of other sequences that each vector is averaged with first; by default
            10, none with a threshold.
        group : str or sequence of str, optional
            Columns whose equal values count as one picture; by default sequences, where a column
            or times say them. Copies do anyhow.
        level : str, optional
            Rank or column whose labels the clusters are compared with.
        propose : str, optional
            Rank at which texts propose a name for each cluster, with its probability.
        taxa : str or Path, optional
            Taxon list of what may be proposed; by default the labels and the taxa that were added.
        rank_column : mapping of str to str, or sequence of str, optional
            Of a list whose columns are not recognised: rank to column, or ``rank=column``.
        draws : int
            Times that four fifths of the pictures are clustered again.
        seed : int
            Of the draws, and of what is random in a method.
        name : str, optional
            Of the column; by default ``cluster``.
        progress : callable, optional
            Told how far it is. An error that it raises stops the work, of which nothing is kept.

        Returns
        -------
        Clusters
            One row a picture, with its cluster and its similarity to the mean of that;
            ``summarise`` has one a cluster. It can be written as a page.

        Raises
        ------
        SelectionError
            If there are fewer pictures than clusters, or the name is that of another column.
        MissingExtraError
            If evoc is not installed.

        Examples
        --------
        >>> store.cluster(n_clusters=20).summarise()  # doctest: +SKIP
        >>> store.where("cluster == 3").labels("cluster")  # doctest: +SKIP
        """
        from bioprobe.clustering.clusters import cluster_images, find_units
        from bioprobe.clustering.methods import Wish
        from bioprobe.clustering.naming import propose_names
        from bioprobe.face.grouped_pages import Clusters
        from bioprobe.images.image_table import read_level
        from bioprobe.store.computed import check_name
        from bioprobe.taxonomy import Rank
        from bioprobe.zeroshot.candidates import find_candidates

        if n_clusters is not None and threshold is not None:
            msg = "either --clusters or --threshold says where to stop, got both; leave one out"
            raise SelectionError(msg)
        column = name or "cluster"
        check_name(self._view.store, column)
        wish = Wish(method, n_clusters, threshold, least_size, seed)
        nearest = averaged if averaged is not None else 0 if threshold is not None else 10
        columns = split_given(group)
        candidates = None
        if propose is not None:
            listed = open_list(taxa, rank_column)
            candidates = find_candidates(self._view.store, listed, Rank.parse(propose))
        view, points, told = self._view, None, list[Note | str]()
        if method == "hdbscan":
            view, points = self._read_points(map_name, told)
            nearest = 0
        units, by = find_units(view, columns or None)
        found = cluster_images(
            view, wish, units, name=column, averaged=nearest, n_draws=draws, points=points,
            told=progress or tell_nobody,
        )  # fmt: skip
        answer = Clusters(**read_fields(found))
        if candidates is not None:
            means = answer.find_means(view)
            named = propose_names(view.store, means, candidates, self._texts.encode_text)
            answer = answer.with_names(*named)
            n = len(candidates)
            told.append(f"names are proposed by texts, of {n:,} at {propose}; no label was asked")
        if progress is not None:
            progress(Step(len(view), len(view), "images clustered"))
        if not self._view.origin:
            answer.write(view)
        said = [*_describe(answer, by, kept=not self._view.origin), *told]
        if level is not None:
            said += _compare(answer, read_level(level, self._view.images))
        return answer.say((*self._notes, *said))

    def clusters(self) -> Table:
        """List the columns of clusters that the store keeps, one a row.

        See :meth:`cluster`.
        """
        import numpy as np
        import pandas as pd

        from bioprobe.store.columns import CLUSTERS, list_columns
        from bioprobe.store.computed import read_column

        store = self._view.store
        rows = []
        for _, name in list_columns(store.folder, CLUSTERS):
            found = read_column(store, name)
            given = found.values[store.rows]
            n_in = int((given != "").sum())
            n_clusters = len(np.unique(given[given != ""].astype(str)))
            rows.append((name, n_clusters, n_in, len(given) - n_in, found.facts.get("method", "")))
        columns = ["name", "n_clusters", "n_images", "in_none", "method"]
        return Table(pd.DataFrame(rows, columns=columns))

    @question
    def remove_clusters(
        self, name: Annotated[str, Option("Name of the column, such as cluster.", ("-",))]
    ) -> Table:
        """Forget a column of clusters; the images that it is about are not touched.

        Parameters
        ----------
        name : str
            Its name; see :meth:`clusters`.

        Raises
        ------
        StoreError
            If there is no such column.
        """
        from bioprobe.store.computed import remove_column

        remove_column(self._view.store, name)
        return self._tell_removed(f"clusters {name}")

    def _read_points(self, name: str, said: list[Note | str]) -> tuple[View, Vectors]:
        """Return the pictures that have a place on a map that the store keeps, and the places."""
        from bioprobe.mapping.result import open_map

        found = open_map(self._view, name)
        if n_new := len(self) - len(found.rows):
            again = "bioprobe map" if name == "default" else f"bioprobe map --name {name}"
            text = f"{n_new:,} pictures have no place on the map and are left out: {again}"
            said.append(Note(text, WARNING))
        said.append("the map's places are clustered: what it tears apart or joins is so here too")
        return self._view.take(found.rows), found.points

    @question
    def assign(self, *, name: Name = None) -> Clusters:
        """Give pictures that came later the cluster that they are nearest to; the others stay.

        A picture that is less like the mean of that cluster than all but a hundredth of its
        pictures stays in none. No cluster is made, and none is numbered anew.

        Parameters
        ----------
        name : str, optional
            Of the column; by default ``cluster``.

        Raises
        ------
        StoreError
            If there is no such column.
        """
        from bioprobe.clustering.clusters import assign_later, read_clusters
        from bioprobe.face.grouped_pages import Clusters
        from bioprobe.store.view import View

        # All that the store has: what is left out of a question keeps its cluster.
        view = View.all(self._view.store)
        found = read_clusters(view, name or "cluster")
        n_before = int((found.numbers == 0).sum())
        changed, later = assign_later(found, view)
        answer = Clusters(**read_fields(changed))
        answer.write(view)
        said = (
            f"{len(later):,} of {n_before:,} pictures in no cluster of {answer.name} were given "
            f"the nearest; {n_before - len(later):,} are unlike all and stay in none"
        )
        return answer.say((said,))

    @question
    def order(
        self,
        *,
        averaged: Averaged = None,
        group: GroupColumns = None,
        level: ComparedLevel = None,
        name: Name = None,
    ) -> Order:
        """Sort pictures along one line, so that neighbours are alike.

        What is alike is looked at together: a sheet in this order is reviewed several times as
        quickly. The places are kept as a column of the store, from 1.

        Parameters
        ----------
        averaged : int, optional
            Nearest pictures of other sequences that each vector is averaged with first; 10 by
            default.
        group : str or sequence of str, optional
            As for :meth:`cluster`.
        level : str, optional
            Rank or column of which it is told how often neighbours are of one, pairs of one
            sequence and copies left out.
        name : str, optional
            Of the column; by default ``alike``.

        Returns
        -------
        Order
            One row a picture, along the line, with its similarity to the one before. It can be
            written as a page.

        References
        ----------
        Sorting pictures for a quicker review: arXiv 2510.14596.

        Examples
        --------
        >>> store.order().write_page("sorted.html")  # doctest: +SKIP
        """
        import numpy as np

        from bioprobe.clustering.agreement import measure_line, measure_nearest
        from bioprobe.clustering.clusters import find_units
        from bioprobe.clustering.order import order_images
        from bioprobe.face.grouped_pages import Order
        from bioprobe.images.image_table import read_level
        from bioprobe.store.computed import check_name

        column = name or "alike"
        check_name(self._view.store, column)
        units, _ = find_units(self._view, split_given(group) or None)
        nearest = 10 if averaged is None else averaged
        found = order_images(self._view, nearest, units, column)
        answer = Order(**read_fields(found))
        n = len(answer.rows)
        mean = float(answer.similarities[1:].mean()) if n > 1 else 1.0
        said = [f"{n:,} pictures in order; mean similarity of neighbours {mean:.3f}"]
        if level is not None:
            labels = self._view.labels(read_level(level, self._view.images))
            place = {row: at for at, row in enumerate(self._view.rows.tolist())}
            line = np.array([place[row] for row in answer.rows.tolist()], dtype=np.int64)
            along = measure_line(labels[line], units[line])
            most = measure_nearest(self._view.read_vectors(), labels, units)
            said.append(
                f"neighbours are of one {level} in {along} of pairs, of other sequences and no "
                f"copies; the nearest of each picture is in {most}"
            )
        if not self._view.origin:
            answer.write(self._view)
            said.append(f"kept as the column {column}, by which pictures can be sorted")
        return answer.say((*self._notes, *said))


def _compare(found: Clusters, level: str) -> list[Note | str]:
    """Say how far clusters and labels are the same."""
    import numpy as np

    from bioprobe.clustering.agreement import measure_agreement

    labels = found.images.labels(level)[found.rows]
    has = labels != ""
    if not has.any():
        return [Note(f"no picture has a label at {level} to compare with", WARNING)]
    codes = np.unique(labels[has].astype(str), return_inverse=True)[1]
    agreed = measure_agreement(found.numbers[has] - 1, codes, found.units[has])
    figures = "; ".join(f"{name.replace('_', ' ')} {one}" for name, one in agreed.items())
    n_classes = int(codes.max()) + 1
    return [f"against {n_classes:,} labels at {level} of {int(has.sum()):,} pictures: {figures}"]


def _describe(found: Clusters, by: str, *, kept: bool) -> list[Note | str]:
    import numpy as np

    n_none = int((found.numbers == 0).sum())
    options = found.provenance.options
    said: list[Note | str] = []
    text = f"{len(found.rows):,} pictures in {len(found):,} clusters by {found.method}"
    if n_none:
        text += f"; {n_none:,} in none"
    if len(found):
        sizes = np.bincount(found.numbers, minlength=len(found) + 1)[1:]
        text += f"; of {sizes.min():,} to {sizes.max():,} pictures, median {np.median(sizes):,.0f}"
    said.append(text)
    if options["n_units"] < len(found.rows):
        what = f"copies, and what {by} says," if by else "copies"
        said.append(
            f"{what} count as one: {options['n_units']:,} of {len(found.rows):,} pictures are "
            "independent"
        )
    if found.tried:
        best = max(found.tried.values())
        said.append(
            f"the number was chosen of {len(found.tried)} from {min(found.tried)} to "
            f"{max(found.tried):,}, by a mean silhouette of {best:.3f}"
        )
    if options["at_bound"]:
        text = (
            "it is the greatest that was tried: no number of clusters stands out; say one with "
            "--clusters"
        )
        said.append(Note(text, WARNING))
    rand = found.rand[np.isfinite(found.rand)]
    if len(rand):
        n_unstable = int((found.stability < 0.5).sum())
        text = (
            f"stability: adjusted Rand {rand.mean():.3f} ({rand.min():.3f} to {rand.max():.3f}) "
            f"over {len(rand)} draws of {options['n_drawn']:,} pictures"
        )
        if n_unstable:
            text += f"; {n_unstable:,} clusters hardly come back (below .5)"
        said.append(text)
    if kept:
        said.append(
            f"kept as the column {found.name}; use it as any: --where '{found.name} == 1', --level "
            f"{found.name}"
        )
    return said
