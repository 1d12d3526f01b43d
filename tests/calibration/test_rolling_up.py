from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from bioprobe.errors import SelectionError
from bioprobe.task.decisions import back_off_rows, choose_roll_up
from bioprobe.task.target import Classes
from bioprobe.taxonomy import RANKS, Rank, Taxon, Taxonomy


def _taxon(*names: str) -> Taxon:
    return Taxon((*names, *[""] * (7 - len(names))))


CLASSES = Taxonomy(
    (
        _taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae"),
        _taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae"),
        _taxon("Animalia", "Chordata", "Aves", "Anseriformes", "Anatidae"),
    )
)
KINGDOM, PHYLUM, CLASS, ORDER, FAMILY = range(5)
PROBABILITIES = np.array([[0.9, 0.06, 0.04], [0.5, 0.45, 0.05], [0.4, 0.2, 0.4]], dtype=np.float32)


def test_each_answer_is_at_the_deepest_rank_that_is_sure() -> None:
    levels, positions = zip(*map(CLASSES.group, RANKS[: FAMILY + 1]), strict=True)
    best, scores, depths = back_off_rows(PROBABILITIES, positions, 0.9)
    assert depths.tolist() == [FAMILY, ORDER, PHYLUM]
    assert levels[FAMILY].taxa[best[0, FAMILY]].name == "Felidae"
    assert levels[ORDER].taxa[best[1, ORDER]].name == "Carnivora"
    assert scores[1, ORDER] == pytest.approx(0.95)
    assert back_off_rows(PROBABILITIES, positions, 0.5)[2].tolist() == [FAMILY, FAMILY, ORDER]


FAMILIES = Classes.of(CLASSES, Rank.FAMILY)
FLAT = Classes(tuple("abcdef"), level="behaviour")


def _draw(
    random: np.random.Generator, n: int, sharpness: float = 1.5
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Draw predictions that are too sure of themselves, and their true classes."""
    truth = random.integers(len(FLAT), size=n)
    logits = random.normal(size=(n, len(FLAT)))
    logits[np.arange(n), truth] += 3 * random.uniform(0.2, 1.8, size=n)
    powers = np.exp(sharpness * logits)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), truth


def test_nothing_is_chosen_below_a_confidence_that_fails() -> None:
    # Half of those that are sure are wrong, and all of many that are less sure are right.
    sure, less = [0.955, *[0.009] * 5], [0.6, *[0.08] * 5]
    probabilities = np.array([sure] * 200 + [less] * 5000, dtype=np.float32)
    truth = np.r_[np.arange(200) % 2, np.zeros(5000)].astype(np.int64)
    found = choose_roll_up(probabilities, FLAT, truth, 0.9)
    assert (found.confidence, found.accuracy.n_images) == (math.inf, 0)
    assert choose_roll_up(probabilities[200:], FLAT, truth[200:], 0.9).confidence < 0.6


def _draw_others(random: np.random.Generator) -> Callable[[float], float]:
    """Draw many more, and return what tells the share of right answers from a confidence on."""
    probabilities, truth = _draw(random, 50_000)
    scores, is_right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    return lambda at: float(is_right[scores >= at].mean())


def test_what_is_promised_is_kept_in_nineteen_draws_of_twenty() -> None:
    random = np.random.default_rng(0)
    score = _draw_others(random)
    confidences = [choose_roll_up(*_draw_for(random, 400), 0.95).confidence for _ in range(200)]
    missed = [score(one) < 0.95 for one in confidences if math.isfinite(one)]
    assert len(missed) > 190
    assert sum(missed) <= 14, "7%: 5% and what 200 draws may add"
    assert np.median(confidences) < 0.97, "it answers where it may"


def _draw_for(
    random: np.random.Generator, n: int
) -> tuple[npt.NDArray[np.float32], Classes, npt.NDArray[np.int64]]:
    probabilities, truth = _draw(random, n)
    return probabilities, FLAT, truth


def test_images_of_a_group_are_one() -> None:
    # Bursts of ten pictures of one animal, which are right or wrong together.
    random = np.random.default_rng(0)
    score = _draw_others(random)
    groups = np.repeat(np.arange(200), 10)
    missed = {"alone": 0, "groups": 0}
    for _ in range(60):
        drawn, of = _draw(random, 200)
        probabilities, truth = drawn.repeat(10, axis=0), of.repeat(10)
        for name, given in (("alone", None), ("groups", groups)):
            chosen = choose_roll_up(probabilities, FLAT, truth, 0.9, given)
            if math.isfinite(chosen.confidence):
                missed[name] += score(chosen.confidence) < 0.9
    assert missed["groups"] <= 6
    assert missed["alone"] > 15
    assert choose_roll_up(probabilities, FLAT, truth, 0.9, groups).n_units == pytest.approx(200)


@pytest.mark.parametrize(("n", "is_promised"), [(58, False), (59, True)])
def test_so_many_images_as_the_chance_takes_are_needed(n: int, is_promised: bool) -> None:
    probabilities = np.tile([0.97, 0.03], (n, 1))
    two = Classes(("a", "b"), level="behaviour")
    chosen = choose_roll_up(probabilities, two, np.zeros(n, dtype=np.int64), 0.95)
    assert math.ceil(chosen.n_needed) == 59
    assert math.isfinite(chosen.confidence) == is_promised
    assert (chosen.bound <= 0.05) == is_promised


def test_answers_that_are_rolled_up_are_right_above_the_label_and_wrong_beside_it() -> None:
    # Felidae is named from .5 on in the second image, which is a dog.
    truth = np.repeat([0, 1, 2], 100)
    chosen = choose_roll_up(PROBABILITIES.repeat(100, axis=0), FAMILIES, truth, 0.95)
    assert chosen.confidence == pytest.approx(0.61)
    assert (chosen.accuracy.n_correct, chosen.accuracy.n_images, chosen.n_images) == (300,) * 3
    lower = choose_roll_up(PROBABILITIES.repeat(100, axis=0), FAMILIES, truth, 0.25)
    assert lower.confidence == pytest.approx(0.01)


def test_rows_of_no_class_are_left_out_and_too_much_asked_is_never_met() -> None:
    truth = np.repeat([0, -1, -1], 100)
    chosen = choose_roll_up(PROBABILITIES.repeat(100, axis=0), FAMILIES, truth, 0.9)
    assert chosen.n_images == 100
    assert chosen.confidence == pytest.approx(0.01)
    assert choose_roll_up(PROBABILITIES.repeat(100, axis=0), FAMILIES, truth, 1.0).confidence == (
        math.inf
    )
    far = Classes.of((_taxon("Animalia"), _taxon("Plantae")), Rank.KINGDOM)
    never = choose_roll_up(np.tile([1.0, 0.0], (100, 1)), far, np.ones(100, dtype=np.int64), 0.9)
    assert never.confidence == math.inf
    assert never.n_needed < never.n_images


def test_without_a_labelled_row_nothing_is_chosen() -> None:
    with pytest.raises(SelectionError, match=r"labelled rows \(0\)"):
        choose_roll_up(PROBABILITIES, FAMILIES, np.array([-1, -1, -1]), 0.5)
