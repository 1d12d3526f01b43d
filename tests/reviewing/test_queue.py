"""What is shown next, what answers learn, and how both compare with what is slower and plain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MisuseError, ProbeError
from bioprobe.probes import path
from bioprobe.probes.linear import LinearProbe, PromptedProbe
from bioprobe.probes.objective import Objective
from bioprobe.reviewing import wrong_labels
from bioprobe.reviewing.desk import Desk, read_mix
from bioprobe.reviewing.learner import ClassTexts, Learner
from bioprobe.reviewing.nearest import N_NEIGHBORS, Nearest
from bioprobe.reviewing.pool import Pool, find_best_two, take_least
from bioprobe.reviewing.strategies.audit import draw_audit
from bioprobe.reviewing.strategies.coverage import choose_centres
from bioprobe.reviewing.strategies.doubt import choose_representatives
from bioprobe.reviewing.teaching import choose_teaching
from bioprobe.reviewing.wrong_labels import predict_left_out, rank_labels
from bioprobe.task.lazy_rows import AnyRows, LazyRows
from bioprobe.types import Scores

Vectors = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

N, DIM, N_CLASSES = 240, 12, 6
NAMES = [f"species {one}" for one in range(N_CLASSES)]


def _draw(seed: int = 0, n: int = N, spread: float = 0.6) -> tuple[Vectors, Places]:
    random = np.random.default_rng(seed)
    centres = random.normal(size=(N_CLASSES, DIM))
    y = random.integers(0, N_CLASSES, n)
    return normalise_rows((centres[y] + spread * random.normal(size=(n, DIM))).astype("f4")), y


X, Y = _draw()


def _make_pool(n_labelled: int = 30, names: Sequence[str] = NAMES) -> Pool:
    labels = np.full(N, -1)
    labels[:n_labelled] = Y[:n_labelled]
    return Pool.of(X, names, labels)


def _make_desk(mix: str, n_labelled: int = 30, **settings: Any) -> Desk:  # noqa: ANN401
    desk = Desk(_make_pool(n_labelled), read_mix(mix), **settings)
    desk.learn()
    return desk


def _answer(desk: Desk, picks: Sequence[Any]) -> None:
    for one in picks:
        desk.pool.labels[one.place], desk.pool.is_checked[one.place] = Y[one.place], True
    desk.learn()


def _check_nearly_solved(mine: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> None:
    """Check that probabilities are nearly the same, and of a hundred answers at most one differs.

    After a batch it is solved as far as answers show, not to the minimum.
    """
    assert np.abs(mine - other).max() < 0.1
    assert np.abs(mine - other).mean() < 0.005
    assert (mine.argmax(axis=1) != other.argmax(axis=1)).mean() <= 0.01


def test_what_answers_is_the_probe_of_the_same_settings() -> None:
    desk = _make_desk("margin")
    probe = LinearProbe(100, balance="class-weight").fit(X[:30], Y[:30])
    mine = desk.learner.predict(np.arange(N))
    _check_nearly_solved(mine, probe.predict_proba(X))
    best, scores = find_best_two(X, probe.coef_, probe.intercept_)
    order = np.argsort(-probe.predict_proba(X), axis=1)[:, :2]
    np.testing.assert_array_equal(best, order)
    np.testing.assert_allclose(
        scores, np.take_along_axis(probe.predict_proba(X), order, axis=1), atol=1e-5
    )


def test_going_on_from_the_last_solution_ends_where_a_new_start_does() -> None:
    desk = _make_desk("margin", n_labelled=12)
    for _ in range(3):
        _answer(desk, desk.propose(8))
    anew = Desk(Pool.of(X, NAMES, desk.pool.labels), read_mix("margin"))
    anew.learn()
    places = np.arange(N)
    _check_nearly_solved(desk.learner.predict(places), anew.learner.predict(places))


def test_margin_shows_what_is_least_certain_and_nothing_twice() -> None:
    desk = _make_desk("margin")
    probabilities = np.sort(desk.learner.predict(np.arange(N)), axis=1)
    margins = probabilities[:, -1] - probabilities[:, -2]
    margins[:30] = np.inf
    first = [one.place for one in desk.propose(5)]
    assert first == np.argsort(margins, kind="stable")[:5].tolist()
    again = [one.place for one in desk.propose(5)]
    assert again == np.argsort(margins, kind="stable")[5:10].tolist()


def test_doubt_shows_uncertain_pictures_that_stand_for_each_other() -> None:
    desk = _make_desk("doubt")
    margins = np.where(np.arange(N) < 30, np.inf, desk.pool.margins)
    # Eight for each; of 210 that wait a quarter would be more.
    doubtful = np.argsort(margins, kind="stable")[:48]
    alike = np.maximum(X[doubtful] @ X[doubtful].T, 0).astype(np.float64) ** 8
    wrong = 1 - desk.pool.scores[doubtful, 0].astype(np.float64)
    expected: list[int] = []
    for _ in range(6):
        sums = [wrong @ alike[[*expected, one]].max(axis=0) for one in range(48)]
        expected.append(int(np.argmax(sums)))
    shown = desk.propose(6)
    assert [one.place for one in shown] == doubtful[expected].tolist()
    assert "stands for" in shown[0].reason
    # Before anything answers all are in doubt, and the first is the most like all others.
    first = _make_desk("doubt", n_labelled=0).propose(1)[0]
    assert first.place == (np.maximum(X @ X.T, 0) ** 8).sum(axis=1).argmax()


def test_what_is_represented_already_needs_no_picture() -> None:
    vectors = np.repeat(np.eye(3, dtype="f4"), [5, 3, 1], axis=0)
    asked, same, nothing = np.arange(9), np.ones(9, dtype="f4"), np.zeros(9, dtype="f4")
    places, counts = choose_representatives(vectors, asked, same, nothing, 3)
    assert (places.tolist(), counts) == ([0, 5, 8], [5, 3, 1])
    covered = np.repeat(np.array([1, 0, 0], dtype="f4"), [5, 3, 1])
    assert choose_representatives(vectors, asked, same, covered, 2)[0].tolist() == [5, 8]
    # Five that are hardly in doubt are worth less than one that is.
    doubts = np.repeat(np.array([0.01, 0.2, 0.5], dtype="f4"), [5, 3, 1])
    assert choose_representatives(vectors, asked, doubts, nothing, 3)[0].tolist() == [5, 8, 0]
    assert len(choose_representatives(vectors, asked[:2], same[:2], nothing[:2], 5)[0]) == 2


def test_what_one_strategy_lacks_costs_the_random_sample_nothing() -> None:
    desk = _make_desk("suspected=.8,audit=.2")
    desk.pool.is_checked[:30] = True
    for _ in range(6):
        names = [one.strategy for one in desk.propose(10)]
        assert (names.count("audit"), names.count("doubt")) == (2, 8)
        assert desk.short == {"suspected": 8}


def test_greedy_centres_are_those_of_comparing_all() -> None:
    n = 3000
    many, _ = _draw(3, n)
    near = (many @ many[:10].T).max(axis=1)
    expected, left = [], near.copy()
    for _ in range(40):
        expected.append(int(left.argmin()))
        left = np.maximum(left, many @ many[expected[-1]])
    found, similarities = choose_centres(many, np.arange(n), near, 40)
    assert found.tolist() == expected
    assert similarities[0] == pytest.approx(near.min())
    asked = np.arange(0, n, 2)
    assert not (choose_centres(many, asked, near, 5)[0] % 2).any()
    assert len(choose_centres(many, asked[:3], near, 5)[0]) == 3


def test_nearest_labelled_pictures_are_kept_up_to_date() -> None:
    nearest, labels = Nearest(X), np.full(N, -1)
    for taught in (np.arange(3), np.arange(40), np.r_[0:10, 20:60]):
        nearest.update(taught.astype(np.int64))
        labels[:] = -1
        labels[taught] = Y[taught]
        for place in (5, 100, 239):
            others = taught[taught != place]
            order = others[np.argsort(-(X[others] @ X[place]), kind="stable")][:N_NEIGHBORS]
            kept = nearest.places[place][nearest.places[place] >= 0]
            assert kept.tolist() == order.tolist()
    classes, shares = nearest.vote(labels)
    near = nearest.places[100]
    weights = np.exp(nearest.similarities[100] / 0.07)
    sums = np.bincount(labels[near], weights, N_CLASSES)
    assert classes[100] == sums.argmax()
    assert shares[100] == pytest.approx(sums.max() / sums.sum(), rel=1e-5)


def test_disagreement_shows_only_what_methods_differ_on() -> None:
    desk = _make_desk("disagreement")
    shown = desk.propose(4)
    said = {name: classes for name, classes, _ in desk.list_opinions()}
    assert set(said) == {"linear", "nearest"}
    assert shown
    for one in shown:
        assert said["linear"][one.place] != said["nearest"][one.place]
        assert "linear: species" in one.reason


def test_the_random_sample_is_drawn_first_and_says_its_chances() -> None:
    desk = Desk(_make_pool(N - 12), read_mix("margin=.5,audit=.5"))
    desk.pool.is_trusted = desk.pool.labels >= 0
    drawn = [one for one in desk.propose(4) if one.strategy == "audit"]
    assert [one.chance for one in drawn] == pytest.approx([1 / 12, 1 / 11])
    desk.pool.is_out[:] = False
    seen = np.zeros(N)
    for _ in range(300):
        seen[draw_audit(desk, 2).places] += 1
    # Two of twelve, 300 times: 50 each, give or take four standard deviations.
    assert (np.abs(seen[N - 12 :] - 50) < 26).all()


def test_somebody_else_looking_at_a_picture_keeps_it_from_no_random_sample() -> None:
    desk = _make_desk("audit", n_labelled=N - 3)
    # A label that came with a picture is to be checked, unless it is trusted.
    assert len(desk.auditable) == N
    desk.pool.is_trusted = desk.pool.labels >= 0
    desk.pool.is_held[N - 3 :] = True
    assert len(desk.auditable) == 3
    assert not desk.pool.waiting.any()


def test_suspected_labels_come_first_where_they_are_wrong() -> None:
    clear, truth = _draw(1, spread=0.35)
    pool = Pool.of(clear, NAMES, truth)
    wrong = np.arange(0, N, 20)
    pool.labels[wrong] = (pool.labels[wrong] + 1) % N_CLASSES
    desk = Desk(pool, read_mix("suspected"))
    desk.learn()
    shown = desk.propose(len(wrong))
    assert np.isin([one.place for one in shown], wrong).mean() >= 0.8
    assert "labelled species" in shown[0].reason
    pool.is_checked[:] = True
    assert not desk.propose(5)
    assert desk.short == {"suspected": 5}


def test_left_out_answers_are_those_of_the_others_alone() -> None:
    desk = _make_desk("suspected", n_labelled=60)
    places, classes, probabilities = desk.learner.predict_left_out()
    folds = desk.learner._folds[:60]
    for fold in range(2):
        taught = np.flatnonzero(folds != fold)
        probe = LinearProbe(100, balance="class-weight").fit(X[taught], Y[taught])
        out = np.flatnonzero(folds[places] == fold)
        found = probabilities[out][:, np.searchsorted(classes, probe.classes_)]
        np.testing.assert_allclose(found, probe.predict_proba(X[places[out]]), atol=0.02)
    # A fold stays what it was when more is labelled.
    desk.pool.labels[60:70] = Y[60:70]
    desk.learner.predict_left_out()
    np.testing.assert_array_equal(desk.learner._folds[:60], folds)


def test_left_out_answers_remember_no_label(monkeypatch: pytest.MonkeyPatch) -> None:
    # All together could learn these by heart, and each fold begins where all together end.
    random = np.random.default_rng(3)
    vectors = normalise_rows(random.normal(size=(N, 200)).astype("f4"))
    labels = random.integers(0, N_CLASSES, N)
    learner = Learner(Pool.of(vectors, NAMES, labels))
    way, gone = path._iter_states, list[int]()

    def watch(objective: Objective, *given: Any) -> Iterator[path.State]:  # noqa: ANN401
        gone.append(objective.problems.n_problems)
        return way(objective, *given)

    monkeypatch.setattr(path, "_iter_states", watch)
    _, classes, found = learner.predict_left_out()
    assert gone == [1]
    fold = learner._folds == 0
    alone = LinearProbe(100, balance="class-weight").fit(vectors[~fold], labels[~fold])
    own = np.searchsorted(classes, labels[fold])
    of_label = [
        one[np.arange(len(own)), own] for one in (found[fold], alone.predict_proba(vectors[fold]))
    ]
    assert abs(np.mean(of_label[0]) - np.mean(of_label[1])) < 0.005


def test_classes_without_a_left_out_picture_are_no_trouble_to_suspicion() -> None:
    found = rank_labels(
        np.array([0, 2, 2]), np.array([[0.6, 0.1, 0.3], [0.0, 1.0, 0.0], [0.1, 0.1, 0.8]], "f4")
    )
    assert found.order.tolist() == [1, 0, 2]
    assert len(rank_labels(np.zeros(0, dtype=np.int64), np.zeros((0, 3), "f4")).order) == 0


def test_confident_shows_the_surest_of_a_class() -> None:
    desk = _make_desk("confident", wanted=2)
    shown = desk.propose(3)
    scores = np.where(desk.pool.best[:, 0] == 2, desk.pool.scores[:, 0], 0)
    scores[:30] = 0
    assert [one.place for one in shown] == np.argsort(-scores, kind="stable")[:3].tolist()
    commonest = np.bincount(desk.pool.best[30:, 0]).argmax()
    other = _make_desk("confident").propose(1)[0]
    assert desk.pool.best[other.place, 0] == commonest


def test_nearest_shows_what_is_like_a_picture() -> None:
    desk = _make_desk("nearest", shown=X[7])
    similarities = X @ X[7]
    similarities[:30] = -1
    shown = [one.place for one in desk.propose(4)]
    assert shown == np.argsort(-similarities, kind="stable")[:4].tolist()
    assert not _make_desk("nearest").propose(0)


def test_each_strategy_has_its_share_however_few_are_asked_for() -> None:
    desk = _make_desk("margin=.5,coverage=.3,audit=.2")
    names = [one.strategy for _ in range(20) for one in desk.propose(1)]
    assert {one: names.count(one) for one in names} == {"margin": 10, "coverage": 6, "audit": 4}


def test_before_two_classes_have_a_picture_texts_answer_or_nothing() -> None:
    desk = _make_desk("margin", n_labelled=0)
    assert desk.learner.answering == ""
    assert {one.strategy for one in desk.propose(4)} == {"doubt"}
    assert desk.short == {"margin": 4}
    texts = ClassTexts(normalise_rows(np.eye(N_CLASSES, DIM, dtype="f4")), np.arange(6), 10.0)
    desk = _make_desk("margin", n_labelled=0, texts=texts)
    assert desk.learner.answering == "zeroshot"
    np.testing.assert_array_equal(desk.pool.best[:, 0], (X[:, :N_CLASSES]).argmax(axis=1))
    _answer(desk, desk.propose(12))
    assert desk.learner.answering == "linear"


def test_prompted_answers_are_the_probes_and_name_classes_without_a_picture() -> None:
    texts = ClassTexts(normalise_rows(np.eye(N_CLASSES, DIM, dtype="f4")), np.arange(6), 10.0)
    pool = _make_pool(30)
    pool.labels[pool.labels > 3] = -1
    learner = Learner(pool, "prompt+probe", {"C": 5.0}, texts)
    learner.learn()
    taught = pool.taught
    probe = PromptedProbe(
        5.0, texts=texts.vectors, text_classes=texts.classes, scale=10.0, balance="class-weight"
    ).fit(X[taught], pool.labels[taught])
    assert learner.solution is not None
    mine = learner.predict(np.arange(N))[:, np.argsort(learner.solution.classes)]
    _check_nearly_solved(mine, probe.predict_proba(X))


@pytest.mark.parametrize("kind", ["lda", "ridge", "knn", "centroid"])
def test_other_classifiers_answer_as_they_do_alone(kind: str) -> None:
    desk = _make_desk("margin=.5,suspected=.5", n_labelled=40, kind=kind)
    from bioprobe.task.method import make_probe

    probe = make_probe(kind).fit(X[:40], Y[:40])
    np.testing.assert_array_equal(desk.pool.best[:, 0], probe.predict(X))
    assert len(desk.propose(6)) == 6


def test_a_name_that_was_new_is_answered_from_the_next_fit_on() -> None:
    desk = _make_desk("margin")
    desk.pool.names.append("another")
    desk.pool.labels[200:204], desk.pool.is_checked[200:204] = N_CLASSES, True
    desk.learn()
    assert (desk.pool.best[200:204, 0] == N_CLASSES).all()


def test_what_a_picture_is_not_is_not_suggested_and_is_learnt() -> None:
    desk = _make_desk("margin")
    before = desk.learner.predict(np.arange(N))
    place = int(desk.pool.margins[30:].argmin()) + 30
    wrong = int(before[place].argmax())
    desk.pool.excluded[place] = {wrong}
    for _ in range(3):
        desk.learn()
    assert desk.pool.best[place, 0] != wrong
    del desk.pool.excluded[place]
    # The class is less likely without being forbidden, as others are taught in its place.
    assert desk.learner.predict(np.array([place]))[0, wrong] < before[place, wrong] - 0.05


def test_a_mix_is_refused_that_cannot_be() -> None:
    for given, said in (
        ("margn=1", "did you mean margin"),
        ("margin=-1", "share of 0 or more"),
        ("margin=.5,margin=.5", "once"),
        ("margin=0", "above 0"),
        ("margin=a lot", "share"),
        ("", "above 0"),
    ):
        with pytest.raises(MisuseError, match=said):
            read_mix(given)
    assert read_mix({"margin": 1, "audit": 1}) == {"margin": 0.5, "audit": 0.5}
    with pytest.raises(ProbeError, match="starts from the texts"):
        Learner(_make_pool(), "prompt+probe")
    with pytest.raises(ProbeError, match="the setting C"):
        Learner(_make_pool(), "linear", {"tau": 1.0})


def test_of_equal_values_the_first_are_taken() -> None:
    values = np.array([2.0, 1.0, 1.0, 1.0, 0.5])
    assert take_least(values, np.arange(5), 3).tolist() == [4, 1, 2]
    assert take_least(values, np.array([0, 3]), 5).tolist() == [3, 0]
    assert take_least(values, np.arange(5), 0).tolist() == []


@pytest.mark.parametrize("kind", ["linear", "centroid"])
def test_what_is_suggested_of_a_labelled_picture_is_not_its_own_label(kind: str) -> None:
    """Labels drawn at random are repeated by what learnt them, and told by nothing else."""
    random = np.random.default_rng(5)
    vectors = normalise_rows(random.normal(size=(N, 200)).astype("f4"))
    labels = random.integers(0, N_CLASSES, N)
    pool = Pool.of(vectors, NAMES, np.where(np.arange(N) < 200, labels, -1))
    learner = Learner(pool, kind)
    learner.learn()
    taught, rest = np.arange(200), np.arange(200, N)
    repeated = learner.predict(taught).argmax(axis=1) == labels[taught]
    best, scores = learner.find_best(np.arange(N), 3)
    assert repeated.mean() > 0.8
    # Of six classes one in six is met by chance, give or take .026.
    assert (best[taught, 0] == labels[taught]).mean() < 0.27
    assert (np.diff(scores, axis=1) <= 0).all()
    # A picture without a label is answered by all that teach, as before.
    np.testing.assert_array_equal(best[rest, 0], learner.predict(rest).argmax(axis=1))
    # What people say that it is not is not suggested either.
    refused = int(best[0, 0])
    pool.excluded[0] = {refused}
    again, found = learner.find_best(np.array([0]), 3)
    assert refused not in again[0]
    assert found[0, 0] > 0


def test_what_others_say_is_asked_again_when_many_more_teach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(6)
    vectors = normalise_rows(random.normal(size=(N, 200)).astype("f4"))
    labels = random.integers(0, N_CLASSES, N)
    pool = Pool.of(vectors, NAMES, np.where(np.arange(N) < 100, labels, -1))
    learner = Learner(pool)
    asked, ask = [], learner.predict_left_out

    def count(*, alone: bool) -> tuple[Places, Places, Scores]:
        asked.append(len(pool.taught))
        return ask(alone=alone)

    monkeypatch.setattr(learner, "predict_left_out", count)
    for n, places in ((100, [3, 1]), (105, [1, 7]), (105, [103]), (108, [3]), (120, [3])):
        pool.labels[:n] = labels[:n]
        learner.learn()
        learner.find_best(np.array(places), 3)
    assert asked == [100, 105, 120]


def test_of_more_labels_than_can_be_waited_for_a_draw_teaches() -> None:
    pool = _make_pool(N)
    # One class has two pictures, one half of all; copies of one are five.
    pool.labels[:] = np.where((Y == 5) | (Y == 4) | (Y == 3), 0, Y)
    pool.labels[[100, 200]] = 5
    pool.groups = np.full(N, -1)
    pool.groups[10:15] = 7
    assert choose_teaching(pool, 0, N).tolist() == list(range(N))
    chosen = choose_teaching(pool, 0, 60)
    every, counts = (np.bincount(pool.labels[of]) for of in (np.arange(N), chosen))
    assert 60 <= len(chosen) <= 64
    assert (np.diff(chosen) > 0).all()
    assert counts[5] == 2
    # Less of the common class than by lot, more than by class alone: a third of what is left.
    assert (60 - 2) / 3 + 4 < counts[0] < 60 * every[0] / N
    assert np.isin(np.arange(10, 15), chosen).sum() in (0, 5)
    pool.groups = np.arange(N) // 4
    for most in (57, 58, 59, 60):
        of_groups = np.bincount(choose_teaching(pool, 0, most) // 4)
        assert set(of_groups.tolist()) <= {0, 4}
        assert of_groups.sum() == 60
    pool.groups = None
    chosen = choose_teaching(pool, 0, 60)
    # A label less changes little of it, and what people said last is in it.
    pool.labels[chosen[0]] = -1
    again = choose_teaching(pool, 0, 60)
    assert len(np.setdiff1d(chosen, again)) <= 6
    pool.said[N - 30 :] = np.arange(30)
    assert np.isin(np.arange(N - 30, N), choose_teaching(pool, 0, 60)).all()
    pool.said[:] = np.arange(N)
    latest = choose_teaching(pool, 0, 60)
    assert np.isin(np.arange(N - 30, N), latest).all()
    assert np.isin([100, 200], latest).all()


@pytest.mark.parametrize("kind", ["linear", "lda"])
def test_what_is_not_drawn_is_answered_by_what_is(kind: str) -> None:
    pool = _make_pool(200)
    learner = Learner(pool, kind, most_taught=60)
    learner.learn()
    teaching = learner.teaching
    assert len(teaching) == 60
    few = _make_pool(0)
    few.labels[teaching] = Y[teaching]
    alone = Learner(few, kind)
    alone.learn()
    np.testing.assert_array_equal(pool.best, few.best)
    rest = np.setdiff1d(np.arange(N), teaching)
    np.testing.assert_array_equal(
        learner.find_best(rest, 2)[0], np.argsort(-learner.predict(rest), axis=1)[:, :2]
    )
    # What taught is answered by the others, as ever.
    np.testing.assert_array_equal(
        learner.find_best(teaching, 2)[0], alone.find_best(teaching, 2)[0]
    )
    assert np.isin(predict_left_out(learner)[0], teaching).all()


def test_of_many_labels_the_vectors_of_those_that_are_ranked_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wrong_labels, "_MOST_RANKED", 100)
    clear, truth = _draw(1, spread=0.35)
    # One label in twenty is wrong.
    labels = (truth + (np.arange(N) % 20 == 0)) % N_CLASSES
    names, read = np.array(NAMES, dtype=object)[labels], list[int]()

    def take(places: Places) -> Vectors:
        read.extend(places.tolist())
        return clear[places]

    found = wrong_labels.find_wrong_labels(LazyRows(take, np.arange(N), DIM), names)
    assert len(read) == len(set(read)) == 100
    expected = wrong_labels.find_wrong_labels(clear, names)
    assert found.places.tolist() == expected.places.tolist() != []


def test_vectors_that_are_read_some_at_a_time_give_the_same() -> None:
    mix = "doubt=.4,coverage=.2,disagreement=.2,nearest=.2"
    desks = []
    both: tuple[AnyRows, ...] = (X, LazyRows(X.__getitem__, np.arange(N), DIM))
    for vectors in both:
        pool = Pool.of(vectors, NAMES, _make_pool().labels)
        desk = Desk(pool, read_mix(mix), shown=X[3])
        desk.learn()
        desks.append([one.place for one in desk.propose(20)])
    assert desks[0] == desks[1]


def test_of_very_many_labels_and_classes_gaussian_ones_alone_are_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = _make_pool(N)
    swapped = np.arange(0, N, 24)
    pool.labels[swapped] = (Y[swapped] + 1) % N_CLASSES
    learner = Learner(pool, n_folds=4)
    whole = predict_left_out(learner)[2]
    monkeypatch.setattr(wrong_labels, "_MOST_BOTH", N * N_CLASSES - 1)
    monkeypatch.setattr(wrong_labels, "_MOST_WEIGHED", N // 2)
    monkeypatch.setattr(learner, "predict_left_out", None)
    places, classes, found = predict_left_out(learner)
    assert found.shape == whole.shape
    assert np.abs(found - whole).max() > 0.01
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    ranked = rank_labels(np.searchsorted(classes, pool.labels[places]), found)
    assert np.isin(ranked.order[:10], swapped).sum() >= 8
