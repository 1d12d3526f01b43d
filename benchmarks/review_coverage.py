"""How often the intervals of a review hold at all looks together, and when rules would stop it.

    python -m benchmarks.review_coverage [--photos STORE] [--tol FILE] [--cifar FOLDER]
        [--trials 200] [--review] [--wrong] [--came] [--stop]

A review is played: a ridge classifier learns from what has a label, the least certain and the most
unlike are looked at with a random sample among them, 20 a batch, and it learns again. After every
batch the interval of 95% is asked of what would be handed over then. A trial holds where all its
looks do. Each line is of one world: how often the accuracy's interval holds, and its lower end
alone; the upper end of the chance of something new; precision and recall of the largest class, a
middling one and a small one; Wilson's interval of the random draws, which is not what is used; then
the accuracy and the median width of its interval after some batches.

Worlds: ``drawn``, where none is named: vectors about 40 centres, of which few are common; of real
vectors ``photos``, ``tol`` (taxonomic classes) and ``cifar`` as they are, and ``…-tail``, drawn so
that the two commonest classes are 71% of 800. ``…-wrong``: one in twenty of a person's answers is
wrong, and what is right is what this person would say; a last column says how often the interval
holds what is really so. ``…-came``: two in three of the pictures came with a label, one in thirteen
of them wrong; they teach, and are claims that the draws check. ``--review`` plays with what
``bioprobe review`` itself proposes and learns in place of the ridge, which takes longer. ``--stop``
plays until rules stop instead, of 3,000 pictures and 50 a batch, half of them drawn at random:
held-out accuracy (of the random draws, by who did not learn from them; an estimate), the accuracy's
lower end, and both that and the chance of something new.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bioprobe.intervals import find_wilson
from bioprobe.reviewing.confidence import Draws
from bioprobe.reviewing.discovery import measure_discovery
from bioprobe.reviewing.finished import Judged, measure_accuracy, measure_class

BATCH, N_LOOKS, LEAST = 20, 30, 0.93
# Share of the pictures that came with a label, and of these that is drawn anew.
CAME, CAME_WRONG = 0.65, 0.08
MIXES = {"margin": (0.8, 0.0, 0.2), "mixed": (0.5, 0.3, 0.2), "half": (0.5, 0.0, 0.5)}
SHOWN = (2, 5, 10, 20, 29)


@dataclasses.dataclass(frozen=True, eq=False)
class World:
    """Vectors with their classes."""

    vectors: np.ndarray
    classes: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray, names: np.ndarray) -> World:
        """Return named vectors, of length one."""
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return cls(unit.astype(np.float64), np.unique(names, return_inverse=True)[1])

    @classmethod
    def of_draws(cls, random: np.random.Generator, n: int = 1000, n_classes: int = 40) -> World:
        """Return vectors about centres, of which few have many."""
        shares = np.arange(1, n_classes + 1) ** -1.5
        classes = random.choice(n_classes, n, p=shares / shares.sum())
        centres = random.standard_normal((n_classes, 24))
        return cls.of(centres[classes] + 0.9 * random.standard_normal((n, 24)), classes)

    def sample(self, random: np.random.Generator, n: int = 1000) -> World:
        """Return some of them."""
        rows = random.permutation(len(self.classes))[:n]
        return World(self.vectors[rows], self.classes[rows])

    def tail(self, random: np.random.Generator, n: int = 800) -> World:
        """Return some, moved a little where they are taken twice, two classes with 71% of them."""
        n_classes = int(self.classes.max()) + 1
        rest = np.arange(1, n_classes - 1) ** -1.2
        shares = np.concatenate([[0.45, 0.26], 0.29 * rest / rest.sum()])
        rows = []
        for name, share in zip(random.permutation(n_classes), shares, strict=True):
            of = random.permutation(np.flatnonzero(self.classes == name))
            wanted = max(1, round(share * n))
            more = random.choice(of, max(0, wanted - len(of)))
            rows.append(np.concatenate([of[:wanted], more]))
        taken = random.permutation(np.concatenate(rows))
        moved = self.vectors[taken]
        moved = moved + 0.02 * random.standard_normal(moved.shape)
        return World.of(moved, self.classes[taken])


class Ridge:
    """Ridge regression of the classes, with each row's answer by the others in closed form."""

    def __init__(self, vectors: np.ndarray, alpha: float = 0.3) -> None:
        self.rows = np.hstack([vectors, np.full((len(vectors), 1), 0.3)])
        self.alpha = alpha

    def answer(self, taught: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the classes, and the probabilities of each row, of a taught one without it.

        The temperature is the one of five that suits the answers of the others best.
        """
        classes, targets = np.unique(labels, return_inverse=True)
        wanted, rows = np.eye(len(classes))[targets], self.rows[taught]
        inverse = np.linalg.inv(rows @ rows.T + self.alpha * np.eye(len(taught)))
        weights = inverse @ wanted
        scores = self.rows @ (rows.T @ weights)
        scores[taught] = wanted - weights / np.diag(inverse)[:, None]
        own = np.arange(len(taught))
        scaled = [_softmax(scores * factor) for factor in (2, 4, 8, 16, 32)]
        losses = [-np.log(np.maximum(one[taught][own, targets], 1e-3)).mean() for one in scaled]
        return classes, scaled[int(np.argmin(losses))]


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@dataclasses.dataclass(frozen=True, eq=False)
class Look:
    """What is known after a batch, and the truth."""

    judged: Judged
    truth: np.ndarray
    fact: np.ndarray
    came: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of what would be handed over that is right, by the person."""
        return float(np.mean(self.judged.handed_over == self.truth))

    @property
    def really(self) -> float:
        """Share of what would be handed over that is right, whatever the person says."""
        return float(np.mean(self.judged.handed_over == self.fact))

    @property
    def unseen(self) -> float:
        """Share of what nobody looked at that is of a class that was not found."""
        left = self.judged.draws.left
        found = np.concatenate([self.judged.labels[self.judged.draws.order], self.came])
        return float(np.mean(~np.isin(self.truth[left], found))) if left.any() else 0.0

    def measure(self, code: int) -> tuple[float, float]:
        """Return precision and recall of a class."""
        handed, is_it = self.judged.handed_over == code, self.truth == code
        both = float((handed & is_it).sum())
        return both / max(handed.sum(), 1), both / max(is_it.sum(), 1)


def play(
    world: World, random: np.random.Generator, mix: tuple[float, float, float], *,
    n_looks: int = N_LOOKS, batch: int = BATCH, wrong: float = 0.0, came: float = 0.0,
) -> Iterator[Look]:  # fmt: skip
    """Review a world until nothing is left, a look after every batch; the first is random.

    Parameters
    ----------
    mix : tuple of float
        Shares of the least certain, the most unlike, and the random sample.
    wrong : float
        Share of the answers of the person that are wrong; what is right is what is answered.
    came : float
        Share of the pictures that came with a label.
    """
    n, model = len(world.classes), Ridge(world.vectors)
    truth = _err(world.classes, random, wrong)
    claims = _come(world.classes, random, came)
    labels, order = np.full(n, -1), []
    drawn, before, found = [], [], None
    for _ in range(n_looks):
        left = np.flatnonzero(labels < 0)
        if not len(left):
            return
        n_drawn = batch if found is None else max(1, round(batch * mix[2]))
        audit = random.permutation(left)[:n_drawn]
        before += [len(order)] * len(audit)
        chosen = list(audit)
        if found is not None:
            free = np.setdiff1d(left[claims[left] < 0], audit)
            chosen += _choose(world, found, free, order + chosen, mix, batch)
        drawn += list(audit)
        labels[chosen] = truth[chosen]
        order += chosen
        known = np.where(labels >= 0, labels, claims)
        taught = np.flatnonzero(known >= 0)
        classes, found = model.answer(taught, known[taught])
        draws = Draws(n, np.array(order), np.array(drawn), np.array(before))
        is_claim = claims >= 0
        judged = Judged(
            draws, labels.copy(), np.where(is_claim, claims, classes[found.argmax(axis=1)]),
            np.where(is_claim, 1.0, found.max(axis=1)), is_claim,
        )  # fmt: skip
        yield Look(judged, truth, world.classes, claims)


def play_review(
    world: World, random: np.random.Generator, mix: tuple[float, float, float], *,
    n_looks: int = N_LOOKS, batch: int = BATCH, wrong: float = 0.0, came: float = 0.0,
) -> Iterator[Look]:  # fmt: skip
    """Review a world as ``bioprobe review`` does: its strategies, its learner, five folds.

    Parameters
    ----------
    mix, wrong, came
        As for :func:`play`.
    """
    from bioprobe.reviewing.desk import Desk
    from bioprobe.reviewing.looks import Said, judge, read_looks
    from bioprobe.reviewing.pool import Pool

    n, truth = len(world.classes), _err(world.classes, random, wrong)
    claims = _come(world.classes, random, came)
    names = [str(one) for one in range(int(truth.max()) + 1)]
    pool = Pool.of(world.vectors.astype(np.float32), names, claims)
    shares = dict(zip(("margin", "coverage", "audit"), mix, strict=True))
    desk = Desk(
        pool, {name: share for name, share in shares.items() if share},
        seed=int(random.integers(1 << 30)),
    )  # fmt: skip
    said: list[Said] = []
    if came:
        desk.learn()
    for _ in range(n_looks):
        picks = desk.propose(batch)
        if not picks:
            return
        said += [Said(one.place, one.strategy, one.chance) for one in picks]
        places = np.array([one.place for one in picks])
        pool.labels[places], pool.is_checked[places] = truth[places], True
        pool.is_out[:] = False
        desk.learn()
        draws = read_looks(n, np.zeros(n, dtype=bool), said).draws
        yield Look(judge(desk.learner, draws, claims), truth, world.classes, claims)


def _err(classes: np.ndarray, random: np.random.Generator, share: float) -> np.ndarray:
    """Return classes of which a share is drawn anew."""
    said, is_wrong = classes.copy(), random.random(len(classes)) < share
    said[is_wrong] = random.integers(said.max() + 1, size=int(is_wrong.sum()))
    return said


def _come(classes: np.ndarray, random: np.random.Generator, share: float) -> np.ndarray:
    """Return labels that come with a share of the pictures, -1 for none."""
    if not share:
        return np.full(len(classes), -1)
    labels = _err(classes, random, CAME_WRONG)
    return np.where(random.random(len(classes)) < share, labels, -1)


def _choose(
    world: World, found: np.ndarray, rest: np.ndarray, looked: list[int],
    mix: tuple[float, float, float], batch: int,
) -> list[int]:  # fmt: skip
    best = np.sort(found[rest], axis=1)
    margins = best[:, -1] - best[:, -2] if found.shape[1] > 1 else best[:, -1]
    chosen = rest[np.argsort(margins)[: round(batch * mix[0])]].tolist()
    rest = np.setdiff1d(rest, chosen)
    wanted = min(len(rest), round(batch * mix[1]))
    if wanted:
        near = (world.vectors[rest] @ world.vectors[[*looked, *chosen]].T).max(axis=1)
        for _ in range(wanted):
            far = int(near.argmin())
            chosen.append(int(rest[far]))
            near = np.maximum(near, world.vectors[rest] @ world.vectors[rest[far]])
            near[far] = np.inf
    return chosen


def find_misses(looks: Iterator[Look], asked: list[int]) -> tuple[np.ndarray, list[list[float]]]:
    """Tell what did not hold at some look, and how it went.

    Returns
    -------
    misses : ndarray of bool, shape (7,)
        Accuracy, its lower end, the chance of something new, precision, recall, Wilson's interval,
        and of the accuracy by what is really so.
    course : list of [accuracy, width]
        At each look.
    """
    misses, course = np.zeros(7, dtype=bool), []
    for look in looks:
        judged, true = look.judged, look.accuracy
        found = measure_accuracy(judged).share
        new = measure_discovery(judged.draws, judged.labels, came=look.came).unseen
        misses[:3] |= [
            _is_outside(true, found.low, found.high), true < found.low - 1e-9,
            look.unseen > new.high + 1e-9,
        ]  # fmt: skip
        for code in asked:
            of = measure_class(judged, code)
            for place, (value, interval) in enumerate(
                zip(look.measure(code), (of.precision, of.recall), strict=True), start=3
            ):
                misses[place] |= _is_outside(value, interval.low, interval.high)
        units, left = judged.draws.units, judged.draws.left.mean()
        share = float(judged.errors[1][units].mean())
        low, high = find_wilson(share, len(units), 1.96)
        misses[5] |= _is_outside(true, 1 - high * left, 1 - low * left)
        misses[6] |= _is_outside(look.really, found.low, found.high)
        course.append([true, found.high - found.low])
    return misses, course


def _is_outside(value: float, low: float, high: float) -> bool:
    return value < low - 1e-9 or value > high + 1e-9


def try_world(
    name: str, make: Callable[..., World], n_trials: int, mix: str, wrong: float, came: float,
    player: Callable[..., Iterator[Look]] = play,
) -> bool:  # fmt: skip
    """Print how often intervals of a world hold, and how wide they are."""
    misses, courses = np.zeros(7), []
    for trial in range(n_trials):
        random = np.random.default_rng(trial)
        world = make(random)
        order = np.argsort(-np.bincount(world.classes), kind="stable")
        asked = [int(order[at]) for at in (0, len(order) // 4, len(order) // 2)]
        missed, course = find_misses(
            player(world, random, MIXES[mix], wrong=wrong, came=came), asked
        )
        misses += missed
        courses.append(course)
    held = 1 - misses / n_trials
    star = "*" if held[:5].min() < LEAST else " "
    told = [
        np.median([one[look] for one in courses if len(one) > look], axis=0)
        for look in SHOWN if any(len(one) > look for one in courses)
    ]  # fmt: skip
    print(
        f"{name:16s} {mix:6s}  " + "  ".join(f"{one:.3f}" for one in held) + f"{star} "
        + "  ".join(f"{true:.3f} {width:.3f}" for true, width in told),
        flush=True,
    )  # fmt: skip
    return star == " "


GOAL, UNSEEN, N_STOPPED, BATCH_STOPPED = 0.95, 0.02, 3000, 50


def try_stopping(name: str, make: Callable[..., World], n_trials: int, mix: str) -> None:
    """Print where rules stop, and what is lost there."""
    rules = ("held-out", "accuracy", "both")
    rows: dict[str, list[list[float]]] = {one: [] for one in rules}
    for trial in range(n_trials):
        random = np.random.default_rng(trial)
        world = make(random, N_STOPPED)
        sizes = np.bincount(world.classes)
        open_ = dict.fromkeys(rules)
        n_looks = len(world.classes) // BATCH_STOPPED + 1
        for look in play(world, random, MIXES[mix], n_looks=n_looks, batch=BATCH_STOPPED):
            judged = look.judged
            given = judged.is_given
            held_out = 1 - float(judged.errors[1][judged.draws.units].mean())
            accuracy = measure_accuracy(judged).share.low
            new = measure_discovery(judged.draws, judged.labels).unseen.high
            is_all = not judged.draws.left.any()
            reached = {
                "held-out": held_out >= GOAL or is_all,
                "accuracy": accuracy >= GOAL or is_all,
                "both": (accuracy >= GOAL and new <= UNSEEN) or is_all,
            }
            found = np.isin(np.arange(len(sizes)), judged.labels[given])
            rare = (sizes > 0) & (sizes <= 5)
            for rule in [one for one in open_ if reached[one]]:
                del open_[rule]
                rows[rule].append([
                    float(given.sum()), look.accuracy, look.accuracy >= GOAL,
                    float(found[sizes > 0].mean()), float(found[rare].mean()) if rare.any() else 1,
                    look.unseen,
                ])  # fmt: skip
            if not open_:
                break
    for rule in rules:
        n, accuracy, ok, found, rare, new = np.mean(rows[rule], axis=0)
        print(f"{name:12s} {mix:6s} {rule:9s} labels {n:5.0f}  accuracy {accuracy:.3f}, reached in "
              f"{ok:.2f}  species found {found:.3f}, rare {rare:.3f}  new {new:.4f}",
              flush=True)  # fmt: skip


def _read_worlds(options: argparse.Namespace) -> dict[str, Callable[..., World]]:
    found: dict[str, Callable[..., World]] = {"drawn": World.of_draws}
    real: dict[str, World] = {}
    if options.photos:
        from bioprobe.store import EmbeddingStore

        store = EmbeddingStore.open(Path(options.photos))
        names = [Path(store.images.file_names[row]).parent.name for row in store.rows.tolist()]
        real["photos"] = World.of(store.read_vectors(store.rows), np.array(names))
    if options.tol:
        import pandas as pd

        frame = pd.read_parquet(options.tol)
        frame = frame[frame["class"].fillna("") != ""]
        real["tol"] = World.of(np.stack(frame["emb"].to_list()), frame["class"].to_numpy(dtype=str))
    if options.cifar:
        import torch

        vectors = torch.load(Path(options.cifar) / "cifar10_500.image_embeddings.pt").numpy()
        labels = np.load(Path(options.cifar) / "cifar10_500.labels.npy")
        real["cifar"] = World.of(vectors, labels)
    for name, world in real.items():
        found[name], found[f"{name}-tail"] = world.sample, world.tail
    return found


def main() -> int:
    """Return 1 where intervals of some world hold less often than they ought to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("photos", "tol", "cifar"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--stop", action="store_true")
    parser.add_argument("--review", action="store_true", help="as bioprobe review learns")
    parser.add_argument("--wrong", action="store_true", help="also with wrong answers")
    parser.add_argument("--came", action="store_true", help="also where labels came")
    parser.add_argument("--only", help="worlds, such as photos,photos-tail")
    parser.add_argument("--mix", default="margin,mixed", help="of margin, mixed and half")
    options = parser.parse_args()
    worlds, fits = _read_worlds(options), True
    player = play_review if options.review else play
    names = options.only.split(",") if options.only else list(worlds)
    for name in names:
        for mix in options.mix.split(","):
            if options.stop:
                try_stopping(name, worlds[name], options.trials, mix)
                continue
            for of, wrong, came in (("", 0.0, 0.0), ("-wrong", 0.05, 0.0), ("-came", 0.0, CAME)):
                if not of or getattr(options, of[1:]):
                    fits &= try_world(
                        name + of, worlds[name], options.trials, mix, wrong, came, player
                    )
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
