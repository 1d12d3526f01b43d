"""The tree above the lowest classes, against the taxonomy's own grouping, and sums by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.leaves import Leaves
from bioprobe.task.prior import read_prior
from bioprobe.task.scores import sum_columns
from bioprobe.task.tree import Tree, group_ranks
from bioprobe.taxonomy import RANKS, Rank, Taxon, Taxonomy
from bioprobe.zeroshot.question import Question, answer_at_rank

if TYPE_CHECKING:
    from tests.conftest import PlainEncoder

CATS = [
    Taxon.from_names({"order": "Carnivora", "family": family, "species": species})
    for family, species in [
        ("Felidae", "Panthera leo"), ("Canidae", "Canis lupus"), ("Felidae", "Lynx lynx"),
    ]
]  # fmt: skip


def test_ranks_are_grouped_as_a_taxonomy_groups_each() -> None:
    random = np.random.default_rng(0)
    for _ in range(40):
        rows = []
        for depth in random.integers(0, 7, 9):
            names = random.choice(["", "a", "b"], 7).tolist()
            rows.append((*names[:depth], str(random.choice(["a", "b"])), *[""] * (6 - depth)))
        taxa = Taxonomy.merge(Taxon(row, str(random.choice(["", "c"]))) for row in rows)
        for rank, (classes, places) in zip(RANKS, group_ranks(taxa, RANKS), strict=True):
            expected, at = taxa.group(rank)
            assert classes == expected
            assert places.tolist() == at.tolist()


def test_sums_of_the_finest_groups_are_summed_up() -> None:
    slug = Taxon.from_names({"genus": "Arion"})
    tree = Tree(Taxonomy((*CATS, slug)), Rank.SPECIES)
    assert tree.has_singles
    assert tree.place_of.tolist() == [0, 1, 2, -1]
    sums = np.zeros((1, tree.n_groups), dtype=np.float32)
    np.add.at(sums[0], tree.groups, np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32))
    sizes = map(len, tree.levels)
    summed = [sum_columns(sums, one, n) for one, n in zip(tree.parents, sizes, strict=False)]
    assert len(summed) == 6
    orders, families = summed[Rank.ORDER.depth], summed[Rank.FAMILY.depth]
    np.testing.assert_allclose(orders, [[0.6]], rtol=1e-6)
    assert [taxon.name for taxon in tree.levels[Rank.FAMILY.depth]] == ["Felidae", "Canidae"]
    np.testing.assert_allclose(families, [[0.4, 0.2]], rtol=1e-6)
    assert not Tree(tree.taxa, Rank.FAMILY).has_singles


def test_a_prior_counts_by_kind_of_image(
    make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder, tmp_path: Path
) -> None:
    vectors = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    frame = pd.DataFrame({"path": list("abc"), "site": ["no wolves", "", ""]})
    view = View.of(make_store(encoder).append(frame, vectors))
    (tmp_path / "prior.csv").write_text(
        "species,site,weight\nPanthera leo,no wolves,1\nLynx lynx,no wolves,1\n"
    )
    weighed = read_prior(tmp_path / "prior.csv").weigh_taxa(CATS, view)
    texts = np.eye(3, view.manifest.dim, dtype=np.float32)
    leaves = Leaves(texts, np.arange(3), np.arange(3))
    plain = Question(Tree(Taxonomy(tuple(CATS)), Rank.SPECIES), leaves, 5.0, {})
    before = answer_at_rank(view, plain, 3).to_dense()
    after = answer_at_rank(view, plain.with_prior(weighed), 3).to_dense()
    weighted = before[0] * [1, 0.01, 1]
    np.testing.assert_allclose(after[0], weighted / weighted.sum(), rtol=1e-4)
    np.testing.assert_allclose(after[1:], before[1:], rtol=1e-5)
