"""A search that learns: what is looked at next, what is learnt, what is taken back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import Ridge

from benchmarks.find_species import draw_world
from bioprobe.errors import MisuseError
from bioprobe.reviewing.find import AUDIT, BAND, IS, IS_NOT, MARGIN, TOP, UNSEEN, UNSURE, Finder
from bioprobe.reviewing.find_head import Rest, fit_head

Vectors = npt.NDArray[np.float32]
N, DIM = 300, 12


class Pool:
    """Vectors in memory, of which the first 12 are it."""

    def __init__(self, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        vectors = random.normal(size=(N, DIM))
        vectors[:12, 0] += 4
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        self.vectors = vectors.astype(np.float32)
        self.rows = np.arange(N)
        self.n_read = 0

    def read_vectors(self, rows: npt.NDArray[np.int64] | None = None) -> Vectors:
        return self.vectors if rows is None else self.vectors[rows]

    def iter_vectors(self) -> Iterator[Vectors]:
        for start in range(0, N, 128):
            yield self.vectors[start : start + 128]


QUESTION = np.eye(DIM, dtype=np.float32)[0] * 0.8 + np.eye(DIM, dtype=np.float32)[1] * 0.6


def _say(finder: Finder, n: int) -> None:
    batch = finder.propose(n)
    finder.answer(batch.places, np.where(batch.places < 12, IS, IS_NOT))


def test_the_first_batch_is_the_search_itself() -> None:
    pool = Pool()
    batch = Finder(pool, QUESTION, mix={TOP: 1}).propose(5)
    assert batch.places.tolist() == np.argsort(-(pool.vectors @ QUESTION))[:5].tolist()
    assert batch.whys == (TOP,) * 5
    assert np.isnan(batch.chances).all()
    assert batch.scores == pytest.approx((pool.vectors @ QUESTION)[batch.places])


def test_the_head_is_a_ridge_regression_with_everything_as_weak_negatives() -> None:
    pool = Pool()
    rest, is_it = Rest.of(pool.vectors), np.arange(20) < 8
    head = fit_head(rest, QUESTION, pool.vectors[:20], is_it, question_weight=0.7)
    away = (pool.vectors - rest.centre).astype(float)
    rows = np.concatenate([away[:20], [QUESTION - rest.centre], away])
    target = np.concatenate([is_it, [1.0], np.zeros(N)])
    weights = np.concatenate([np.ones(20), [0.7], np.full(N, 100 / N)])
    same = Ridge(alpha=0.1, fit_intercept=False, solver="cholesky").fit(rows, target, weights)
    assert head.weights == pytest.approx(same.coef_, abs=1e-4)
    assert head.score(pool.vectors) == pytest.approx(away @ same.coef_, abs=1e-4)


def test_what_the_head_says_of_its_own_examples_is_without_them() -> None:
    pool, is_it = Pool(), np.arange(20) < 8
    rest = Rest.of(pool.vectors)
    head = fit_head(rest, QUESTION, pool.vectors[:20], is_it)
    others = np.arange(1, 20)
    without = fit_head(rest, QUESTION, pool.vectors[others], is_it[others])
    told = head.tell(without.score(pool.vectors[:1]))
    assert head.left_out[0] == pytest.approx(float(told[0]), abs=1e-3)


def test_what_is_drawn_at_random_is_drawn_once_and_the_last_for_sure() -> None:
    finder = Finder(Pool(), QUESTION, mix={AUDIT: 1})
    batch = finder.propose(N)
    assert sorted(batch.places.tolist()) == list(range(N))
    assert set(batch.whys) == {AUDIT}
    assert batch.chances.max() == pytest.approx(1)
    finder.answer(batch.places, np.where(batch.places < 12, IS, IS_NOT))
    draws = finder._read_draws()
    # At each draw those are gone that were found before it.
    is_it = np.array([one.is_it for one in draws])
    assert [one.n_found for one in draws] == (np.cumsum(is_it) - is_it).tolist()


def test_it_finds_all_with_few_looks() -> None:
    finder = Finder(Pool(), QUESTION, mix={TOP: 1})
    for _ in range(5):
        _say(finder, 5)
    assert finder.n_found == 12


def test_it_finds_more_than_search_and_than_what_is_least_certain() -> None:
    less = []
    for seed in range(2):
        sought = draw_world(seed, "text")
        n = int(sought.is_it.sum())
        find, uncertainty = (sought.look(way, seed, n)[0] for way in ("find", "uncertainty"))
        less.append([find[n - 1] - sought.search()[n - 1], find[n - 1] - uncertainty[n - 1]])
    assert (np.mean(less, axis=0) > 2).all()


def test_a_mix_gives_each_its_share() -> None:
    finder = Finder(Pool(), QUESTION, mix={TOP: 0.25, MARGIN: 0.25, AUDIT: 0.5})
    _say(finder, 20)
    batch = finder.propose(20)
    assert Counter(batch.whys) == {TOP: 5, MARGIN: 5, AUDIT: 10}
    at = {why: np.array(batch.whys) == why for why in (TOP, MARGIN, AUDIT)}
    assert np.isfinite(batch.chances[at[AUDIT]]).all()
    assert np.isnan(batch.chances[~at[AUDIT]]).all()
    left = finder.probabilities[finder.verdicts == UNSEEN]
    nearest = np.sort(np.abs(left - 0.5))[:20]
    assert (np.abs(batch.scores[at[MARGIN]] - 0.5) <= nearest[-1]).all()


def test_a_band_shows_what_lies_between_its_ends() -> None:
    finder = Finder(Pool(), QUESTION, mix={BAND: 0.9, TOP: 0.1}, band=(0.001, 0.3))
    _say(finder, 40)
    batch = finder.propose(10)
    inside = batch.scores[np.array(batch.whys) == BAND]
    assert len(inside)
    assert ((inside >= 0.001) & (inside <= 0.3)).all()


def test_more_is_drawn_at_random_once_the_top_yields_nothing() -> None:
    finder = Finder(Pool(), QUESTION)
    before = [finder._share(20)[AUDIT]]
    for _ in range(6):
        _say(finder, 10)
    assert before[0] == 1
    assert finder._share(20)[AUDIT] == 10


def test_unsure_is_looked_at_and_teaches_nothing() -> None:
    finder = Finder(Pool(), QUESTION, mix={TOP: 1})
    first = finder.propose(1).places
    finder.answer(first, [UNSURE])
    assert (finder.n_looked, finder.n_found, finder.head) == (1, 0, None)
    assert first[0] not in finder.propose(5).places


def test_a_draw_that_is_not_answered_is_shown_again_first_and_counts_only_then() -> None:
    finder = Finder(Pool(), QUESTION, mix={AUDIT: 1})
    first = finder.propose(4)
    finder.answer(first.places[1:], [IS_NOT] * 3)
    again = finder.propose(3)
    assert first.places[0] in again.places
    at = again.places.tolist().index(first.places[0])
    assert again.chances[at] == first.chances[0]


def test_undo_gives_back_what_was_before() -> None:
    finder = Finder(Pool(), QUESTION, seed=3)
    _say(finder, 20)
    scores, said, total = finder.scores, finder.verdicts.copy(), finder.count()
    batch = finder.propose(10)
    finder.answer(batch.places, [IS] * 10)
    finder.propose(10)
    assert sorted(finder.undo().tolist()) == sorted(batch.places.tolist())
    assert finder.scores == pytest.approx(scores)
    assert (finder.verdicts == said).all()
    assert finder.count() == total
    finder.undo()
    with pytest.raises(MisuseError, match="nothing to undo"):
        finder.undo()


def test_what_is_saved_goes_on_as_it_was() -> None:
    one = Finder(Pool(), QUESTION, seed=3)
    for _ in range(3):
        _say(one, 20)
    other = Finder(Pool(), QUESTION, one.verdicts, seed=3)
    assert other.count() != one.count()
    other.restore(one.save())
    assert other.count() == one.count()


def test_the_same_seed_shows_the_same_and_another_draws_otherwise() -> None:
    drawn = [
        Finder(Pool(), QUESTION, mix={AUDIT: 1}, seed=seed).propose(10).places.tolist()
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_everything_may_be_looked_at_and_then_the_number_is_known() -> None:
    finder = Finder(Pool(), QUESTION)
    while finder.n_looked < N:
        _say(finder, 77)
    assert len(finder.propose(5)) == 0
    total = finder.count()
    assert (total.n_found, total.estimate, total.low, total.high) == (12, 12, 12, 12)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"mix": {"best": 1}}, "gives shares"),
        ({"mix": {TOP: -1}}, "gives shares"),
        ({"mix": {TOP: 0.0}}, "gives shares"),
        ({"mix": {TOP: float("nan")}}, "gives shares"),
        ({"mix": {BAND: 1}}, "--band LOW,HIGH"),
        ({"mix": {TOP: 1}, "band": (0.1, 0.2)}, "no share"),
        ({"band": (0.5, 0.2)}, "lower first"),
        ({"band": (0.5, 1.2)}, "lower first"),
    ],
)
def test_a_mix_that_makes_no_sense_is_refused(asked: dict[str, object], said: str) -> None:
    with pytest.raises(MisuseError, match=said):
        Finder(Pool(), QUESTION, **asked)  # type: ignore[arg-type]


def test_what_is_no_answer_is_refused() -> None:
    finder = Finder(Pool(), QUESTION)
    with pytest.raises(MisuseError, match="unsure"):
        finder.answer([0], [7])
    with pytest.raises(MisuseError, match="1 image or more"):
        finder.propose(0)
