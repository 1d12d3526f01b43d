"""Lineages become a tree whatever is missing from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from bioprobe.errors import TaxonomyError
from bioprobe.probes.label_tree import LabelTree, complete_lineages, make_unique_names


def to_lineages(*rows: str) -> npt.NDArray[np.object_]:
    """Read lineages written as ``Animalia/Felidae/lion``."""
    split = [row.split("/") for row in rows]
    lineages = np.empty((len(rows), len(split[0]) if split else 3), dtype=object)
    for place, row in enumerate(split):
        lineages[place] = row
    return lineages


def build(*rows: str) -> LabelTree:
    return LabelTree.from_lineages(to_lineages(*rows))


# root ── A ── Felidae ── lion, lynx
#      │    └─ Canidae ── wolf          (one species)
#      └─ P ── Poaceae ── wheat         (a parent with one child, twice)
ROWS = ("A/Felidae/lynx", "A/Felidae/lion", "A/Canidae/wolf", "P/Poaceae/wheat", "A/Felidae/lion")


def names_of(tree: LabelTree, nodes: Sequence[int] | npt.NDArray[np.int64]) -> list[str]:
    return ["/".join(name for name in tree.lineages[node] if name) for node in nodes]


def test_leaves_are_sorted_and_nodes_above_follow_from_the_broadest() -> None:
    tree = build(*ROWS)
    assert tree.leaf_names.tolist() == ["lion", "lynx", "wheat", "wolf"]
    assert names_of(tree, range(4, len(tree.paths))) == [
        "A",
        "P",
        "A/Canidae",
        "A/Felidae",
        "P/Poaceae",
    ]
    assert tree.paths[0].tolist() == [4, 7, 0]
    assert tree.depths.tolist() == [2, 2, 2, 2, 0, 0, 1, 1, 1]
    assert tree.parents.tolist() == [7, 7, 8, 6, -1, -1, 4, 4, 5]
    assert tree.leaf_counts.tolist() == [1, 1, 1, 1, 3, 1, 1, 2, 1]


def test_ancestors_are_the_paths_as_a_matrix() -> None:
    tree = build(*ROWS)
    matrix = tree.ancestors.toarray()
    for node, path in enumerate(tree.paths):
        assert np.flatnonzero(matrix[node]).tolist() == sorted(path[path >= 0])


def test_the_order_of_the_rows_changes_nothing() -> None:
    one, other = build(*ROWS), build(*reversed(ROWS))
    assert one.lineages.tolist() == other.lineages.tolist()
    assert one.paths.tolist() == other.paths.tolist()


@pytest.mark.parametrize(
    ("one", "other", "common", "height"),
    [
        (0, 0, 0, 0),
        (0, 1, 7, 1),
        (0, 3, 4, 2),
        (0, 2, -1, 3),
        (0, 7, 7, 1),
        (4, 3, 4, 2),
        (-1, 0, -1, 3),
    ],
)
def test_common_node_and_height_of_two_nodes(
    one: int, other: int, common: int, height: int
) -> None:
    tree = build(*ROWS)
    found = tree.find_common(np.array([one]), np.array([other]))
    assert found.tolist() == [common]
    assert tree.measure_heights(found).tolist() == [height]


def test_a_hole_is_completed_by_other_rows() -> None:
    tree = build("A/Felidae/lion", "/Felidae/lynx", "//lion", "A//wolf")
    assert names_of(tree, range(3)) == ["A/Felidae/lion", "A/Felidae/lynx", "A/wolf"]
    assert tree.paths[2].tolist() == [3, -1, 2]


def test_what_a_row_without_a_leaf_knows_completes_the_others() -> None:
    tree = build("/Felidae/lion", "A/Felidae/")
    assert names_of(tree, range(len(tree.paths))) == ["A/Felidae/lion", "A", "A/Felidae"]


def test_completion_goes_on_until_nothing_more_is_known() -> None:
    # The genus of the second row tells its family, and only then the kingdom is known to it.
    rows = to_lineages("A/F//", "/F/G/", "//G/s")
    assert complete_lineages(rows)[2].tolist() == ["A", "F", "G", "s"]


def test_homonyms_are_two_leaves_and_are_named_with_their_parents() -> None:
    tree = build("A/Felidae/Aus", "P/Poaceae/Aus", "A/Felidae/lion")
    assert tree.leaf_names.tolist() == ["Aus (Felidae)", "Aus (Poaceae)", "lion"]
    placed = tree.place(to_lineages("//Aus", "P//Aus", "/Felidae/Aus"))
    assert placed[1:, -1].tolist() == [1, 0]


def test_names_that_parents_do_not_tell_apart_hold_the_whole_lineage() -> None:
    rows = to_lineages("A/F/s", "B/F/s", "A/F/t", "A/G/t")
    assert make_unique_names(rows).tolist() == ["s (A, F)", "s (B, F)", "t (F)", "t (G)"]


def test_a_row_is_placed_as_far_as_it_is_known() -> None:
    tree = build(*ROWS)
    placed = tree.place(
        to_lineages("A/Felidae/tiger", "/Felidae/", "A/Ursidae/", "X/Y/Z", "//", "//wolf")
    )
    assert placed.tolist() == [
        [4, 7, -1],
        [4, 7, -1],
        [4, -1, -1],
        [-1, -1, -1],
        [-1, -1, -1],
        [4, 6, 3],
    ]


def test_no_row_is_placed_for_no_rows() -> None:
    assert build(*ROWS).place(to_lineages()).tolist() == []


def test_one_leaf_is_a_tree() -> None:
    tree = build("A/F/s")
    assert names_of(tree, range(3)) == ["A/F/s", "A", "A/F"]
    assert tree.paths.tolist() == [[1, 2, 0], [1, -1, -1], [1, 2, -1]]


def test_lineages_of_one_rank_are_a_tree_without_inner_nodes() -> None:
    tree = build("b", "a", "b")
    assert tree.leaf_names.tolist() == ["a", "b"]
    assert tree.parents.tolist() == [-1, -1]


@pytest.mark.parametrize("rows", [(), ("A/F/", "A//")])
def test_a_tree_without_leaves_is_refused(rows: tuple[str, ...]) -> None:
    with pytest.raises(TaxonomyError, match=f"none of {len(rows)} rows has a name at the lowest"):
        build(*rows)


def test_a_class_listed_twice_is_refused() -> None:
    with pytest.raises(TaxonomyError, match="1 of 2 classes are listed twice"):
        LabelTree.from_leaves(to_lineages("A/F", "A/F"))


def test_a_class_may_stand_above_another() -> None:
    tree = LabelTree.from_leaves(to_lineages("A/F/", "A/F/s"))
    assert tree.paths.tolist() == [[2, 0, -1], [2, 0, 1], [2, -1, -1]]
