"""Pictures of species that no class stands for: told, placed below a sure taxon, named."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from bioprobe.clustering.unknown import learn_known, learn_parents, name_groups
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import SelectionError

Vectors = npt.NDArray[np.float32]
N_CLASSES, EACH, DIM = 12, 12, 32


def _draw(seed: int = 0) -> tuple[Vectors, npt.NDArray[np.int64]]:
    """Draw classes, of which each four lie near to each other, as the species of a family do."""
    random = np.random.default_rng(seed)
    families = 2 * random.normal(size=(3, DIM))
    centres = families[np.arange(N_CLASSES) // 4] + random.normal(size=(N_CLASSES, DIM))
    codes = np.repeat(np.arange(N_CLASSES), EACH)
    vectors = centres[codes] + 0.4 * random.normal(size=(len(codes), DIM))
    return normalise_rows(vectors.astype(np.float32)), codes


def test_what_is_of_no_class_is_strange_and_what_is_of_one_is_not() -> None:
    vectors, codes = _draw()
    is_held, numbers = codes >= N_CLASSES - 2, np.arange(len(codes))
    taught = ~is_held & (numbers % 2 == 0)
    known = learn_known(vectors[taught], codes[taught], numbers[taught])
    asked = ~taught
    strange = known.find_strange(vectors[asked], numbers[asked])
    assert strange[is_held[asked]].mean() > 0.95
    assert strange[~is_held[asked]].mean() < 0.15
    # Less is taken for known where less is asked for.
    strict = learn_known(vectors[taught], codes[taught], numbers[taught], 0.5)
    assert strict.limit < known.limit
    assert (known.own > known.limit).mean() <= 0.05


def test_a_burst_says_nothing_of_its_class() -> None:
    vectors, codes = _draw()
    with pytest.raises(SelectionError, match="label more"):
        learn_known(vectors, codes, codes)
    # Each picture twice, as one unit: the limit is that of the pictures alone, or nearly.
    twice, numbers = np.repeat(np.arange(len(codes)), 2), np.arange(len(codes))
    alone = learn_known(vectors, codes, numbers)
    doubled = learn_known(vectors[twice], codes[twice], numbers[twice])
    apart = learn_known(vectors[twice], codes[twice], np.arange(len(twice)))
    assert apart.limit < 0.7 * alone.limit
    assert doubled.limit == pytest.approx(alone.limit, rel=0.15)
    assert doubled.means == pytest.approx(alone.means, abs=1e-5)


def test_a_group_stands_below_the_deepest_taxon_that_is_sure() -> None:
    vectors, codes = _draw()
    held = codes == 0
    order = np.full(len(codes), "Carnivora", dtype=object)
    family = np.array(["Felidae", "Canidae", "Ursidae"], dtype=object)[codes // 4]
    genus = np.array([f"Genus{one}" for one in codes], dtype=object)
    known = [one[~held] for one in (order, family, genus)]
    parents = learn_parents(vectors[~held], codes[~held] - 1, known)
    # No class of another genus tells the genus, so that it is never sure.
    assert parents.shares[2] > 1
    assert parents.find(vectors[held]) == ("Carnivora", "Felidae")
    # Where families are no help, the rank above is what is sure.
    random = np.random.default_rng(0)
    mixed = np.array(["A", "B", "C"], dtype=object)[random.integers(0, 3, N_CLASSES)][codes]
    blind = learn_parents(vectors[~held], codes[~held] - 1, [known[0], mixed[~held]], 1.0)
    assert blind.find(vectors[held])[:1] == ("Carnivora",)
    assert learn_parents(vectors, np.zeros(len(codes), dtype=np.int64), [order]).find(vectors) == ()


def test_names_go_on_from_those_that_are_taken() -> None:
    assert name_groups(["Felidae", "Felidae"], ["Felidae sp. 2"]) == [
        "Felidae sp. 1",
        "Felidae sp. 3",
    ]
    assert name_groups([]) == []
