"""How often estimates of shares hold the truth, and how wide they are, where the truth is known.

    python -m benchmarks.estimates [--cifar FOLDER] [--photos STORE]

Collections of 3,000 images are drawn from real vectors with what a classifier really answers to
them, one class of which has a share of .3, .05 or .01 whatever it had where the classifier learnt;
the others share the rest. Some are labelled, drawn at random as images or as whole sites of 10,
whose shares vary (a beta distribution with a + b = 4). Each line is of 500 collections: how often
the interval of 95% holds the truth, its median width beside that of the labelled images alone,
and by how much raw and threshold counts are off, as shares. The truth is that of the source for
PPI++, of the collection for the regression estimator.

Worlds: ``drawn``, where none is named: as ``cifar``, of drawn vectors; ``cifar``: a logistic
regression learnt from 76 of 500 vectors, 16 of one class and 2 of another; ``photos``: zero-shot
among the families of photographs that the encoder did not learn from, and of classes that it never
saw; ``blind``: photos, and the class in question is never answered.
``shift`` labels images that are no random sample: as many of each class.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import bioprobe as bp
from bioprobe.counting.ppi import (
    LABELLED,
    PPI,
    REGRESSION,
    Sample,
    Shares,
    estimate_shares,
)
from bioprobe.counting.prevalence import estimate_prevalence

SHARES, SIZES = (0.3, 0.05, 0.01), (50, 200, 800)
N_IMAGES, N_TRIALS, SITE, ALIKE, THRESHOLD = 3000, 500, 10, 4.0, 0.95
LEAST = 0.93


class World:
    """Images of known classes and what a classifier answers to each."""

    def __init__(self, answers: np.ndarray, truths: np.ndarray, asked: list[int]) -> None:
        self.answers, self.truths, self.asked = answers, truths, asked
        self.labels = np.eye(answers.shape[1])[truths]

    @classmethod
    def of_cifar(cls, folder: Path) -> World:
        """Return CIFAR-10's test images by CLIP."""
        import torch

        vectors = torch.load(folder / "cifar10_500.image_embeddings.pt").double().numpy()
        return cls._of_vectors(vectors, np.load(folder / "cifar10_500.labels.npy"))

    @classmethod
    def of_draws(cls) -> World:
        """Return vectors about ten centres, as near to each other as CIFAR's are."""
        random = np.random.default_rng(1)
        labels = np.arange(500) % 10
        vectors = random.standard_normal((10, 24))[labels] + 1.4 * random.standard_normal((500, 24))
        return cls._of_vectors(vectors, labels)

    @classmethod
    def _of_vectors(cls, vectors: np.ndarray, labels: np.ndarray) -> World:
        """Return what a probe answers that learnt from a sixth of the vectors, lopsidedly."""
        from sklearn.linear_model import LogisticRegression

        random = np.random.default_rng(0)
        taught = np.zeros(len(labels), dtype=bool)
        for label, n in enumerate((16, 14, 12, 10, 8, 6, 4, 3, 2, 2)):
            taught[random.choice(np.flatnonzero(labels == label), n, replace=False)] = True
        model = LogisticRegression(C=100, max_iter=500).fit(vectors[taught], labels[taught])
        return cls(model.predict_proba(vectors[~taught]), labels[~taught], list(range(10)))

    @classmethod
    def of_photos(cls, folder: Path, *, blind: bool = False) -> World:
        """Return photographs that the encoder did not learn from, by zero-shot among families."""
        store = bp.open(folder).where("role != 'train' and family != ''")
        answers = store.zeroshot("family", k=10_000)
        found, truths = answers.to_dense().astype(float), answers.truth_classes
        sizes = np.bincount(truths, minlength=found.shape[1])
        asked = np.flatnonzero(sizes >= 15).tolist()
        world = cls(found, truths, asked)
        world.is_blind = blind
        return world

    is_blind = False

    def draw(
        self, asked: int, share: float, random: np.random.Generator, *, by_site: bool
    ) -> np.ndarray:
        """Return which image each of a collection is; sites lie in a row."""
        shares = np.full(N_IMAGES, share)
        if by_site:
            ends = share * ALIKE, (1 - share) * ALIKE
            shares = random.beta(*ends, size=N_IMAGES // SITE).repeat(SITE)
        is_it = random.random(N_IMAGES) < shares
        of_it = np.flatnonzero(self.truths == asked)
        others = np.flatnonzero(self.truths != asked)
        return np.where(is_it, random.choice(of_it, N_IMAGES), random.choice(others, N_IMAGES))

    def answer(self, asked: int, images: np.ndarray) -> np.ndarray:
        """Return what is answered to images, shape (n_images, n_classes)."""
        answers = self.answers[images]
        if self.is_blind:
            answers[:, asked] = 0
            answers /= answers.sum(axis=1, keepdims=True)
        return answers


def sample_first(world: World, images: np.ndarray, answers: np.ndarray, n: int, *,
                 by_site: bool) -> Sample:  # fmt: skip
    """Label the first images; they come in random order."""
    units = np.arange(n) // SITE if by_site else np.arange(n)
    return Sample(
        world.labels[images[:n]], answers[:n], answers.mean(axis=0),
        answers.var(axis=0, ddof=1), len(images), units, np.ones(n), np.zeros(n, dtype=np.int64),
    )  # fmt: skip


def try_world(name: str, world: World, n_trials: int) -> bool:
    """Print a line for each share, number of labelled images and unit."""
    fits = True
    for by_site in (False, True):
        for share in SHARES:
            for n in SIZES:
                random = np.random.default_rng(int(share * 100) + n)
                rows = [
                    _try_once(world, world.asked[trial % len(world.asked)], share, n, random,
                              by_site=by_site)
                    for trial in range(n_trials)
                ]  # fmt: skip
                held = np.mean([row[0:3] for row in rows], axis=0)
                widths = np.median([row[3:6] for row in rows], axis=0)
                bias = np.mean([row[6:] for row in rows], axis=0)
                # Where nothing is answered nothing can be narrower.
                wide = widths[0] >= widths[2] and not world.is_blind
                star = "*" if held[0] < LEAST or wide else " "
                fits &= star == " "
                print(
                    f"{name:7s} {'site' if by_site else 'image':5s} {share:4.2f} {n:4d}  "
                    + "  ".join(f"{one:.3f}" for one in held)
                    + f"{star} {widths[0] / widths[2]:5.2f} {widths[1] / widths[2]:5.2f}  "
                    + "  ".join(f"{one:+.4f}" for one in bias),
                    flush=True,
                )
    return fits


def _try_once(
    world: World, asked: int, share: float, n: int, random: np.random.Generator, *, by_site: bool
) -> list[float]:
    images = world.draw(asked, share, random, by_site=by_site)
    answers = world.answer(asked, images)
    sample = sample_first(world, images, answers, n, by_site=by_site)
    here = float(np.mean(world.truths[images] == asked))
    found = [estimate_shares(sample, one) for one in (PPI, REGRESSION, LABELLED)]
    truths = (share, here, share)
    held = [float(one.low[asked] <= truth <= one.high[asked])
            for one, truth in zip(found[:2], truths, strict=False)]  # fmt: skip
    alone: Shares = found[0]
    held.append(float(alone.alone_low[asked] <= share <= alone.alone_high[asked]))
    widths = [float(one.high[asked] - one.low[asked]) for one in found[:2]]
    widths.append(float(alone.alone_high[asked] - alone.alone_low[asked]))
    best, score = answers.argmax(axis=1), answers.max(axis=1)
    off = [float(found[0].estimate[asked]) - share, float(np.mean(best == asked)) - here,
           float(np.mean((best == asked) & (score >= THRESHOLD))) - here]  # fmt: skip
    return [*held, *widths, *off]


def _find_large(labels: np.ndarray, answers: np.ndarray, others: np.ndarray) -> tuple[float, float]:
    """Return the ends of the interval of PPI++ for large samples, as ppi-python 0.2.3 has it."""
    n, n_others = len(labels), len(others)
    spread = np.var(np.concatenate([answers, others]), ddof=1)
    together = np.mean((labels - labels.mean()) * (answers - answers.mean()))
    slope = np.clip(together / max(spread * (1 + n / n_others), 1e-12), 0.0, 1.0)
    errors = labels - slope * answers
    middle = slope * others.mean() + errors.mean()
    half = 1.959963984540054 * np.sqrt(slope**2 * np.var(others) / n_others + np.var(errors) / n)
    return middle - half, middle + half


def try_large_samples(name: str, world: World, n_trials: int) -> None:
    """Print how often the large-sample interval of PPI++ holds, which is not what is used."""
    for share in SHARES:
        for n in SIZES:
            random = np.random.default_rng(int(share * 100) + n)
            held, widths = [], []
            for trial in range(n_trials):
                asked = world.asked[trial % len(world.asked)]
                images = world.draw(asked, share, random, by_site=False)
                answers = world.answer(asked, images)[:, asked]
                labels = world.labels[images[:n], asked]
                low, high = _find_large(labels, answers[:n], answers[n:])
                held.append(low <= share <= high)
                widths.append(high - low)
            print(f"{name:7s} large {share:4.2f} {n:4d}  {np.mean(held):.3f}  width "
                  f"{np.median(widths):.4f}", flush=True)  # fmt: skip


def try_groups(name: str, world: World, n_trials: int) -> bool:
    """Print a line for each share and number of labelled images, of ten groups apart."""
    fits = True
    factors = np.array([0, 0, 0.2, 0.5, 0.8, 1, 1, 1.5, 2, 3])
    for share in SHARES:
        for n in SIZES[1:]:
            random = np.random.default_rng(n)
            rows = []
            for trial in range(n_trials):
                asked = world.asked[trial % len(world.asked)]
                parts = [
                    world.draw(asked, share * factor, random, by_site=False)[: N_IMAGES // 10]
                    for factor in factors
                ]
                groups = random.permutation(np.repeat(np.arange(10), N_IMAGES // 10))
                images = np.empty(N_IMAGES, dtype=np.int64)
                for group, part in enumerate(parts):
                    images[groups == group] = part
                answers = world.answer(asked, images)
                whole = sample_first(world, images, answers, n, by_site=False)
                like = estimate_shares(whole)
                for group, factor in enumerate(factors):
                    drawn = np.flatnonzero(groups[:n] == group)
                    here = answers[groups == group]
                    one = estimate_shares(
                        Sample(
                            world.labels[images[drawn]], answers[drawn], here.mean(axis=0),
                            here.var(axis=0, ddof=1), len(here), np.arange(len(drawn)),
                            np.ones(len(drawn)), np.zeros(len(drawn), dtype=np.int64),
                        ),
                        like=like,
                    )  # fmt: skip
                    truth = share * factor
                    rows.append([
                        one.low[asked] <= truth <= one.high[asked],
                        one.alone_low[asked] <= truth <= one.alone_high[asked],
                        (one.high - one.low)[asked] / (one.alone_high - one.alone_low)[asked],
                        one.estimate[asked] - truth, factor > 0,
                    ])  # fmt: skip
            table = np.array(rows, dtype=float)
            there = table[table[:, 4] > 0]
            wide = np.median(there[:, 2]) >= 1 and not world.is_blind
            star = "*" if there[:, 0].mean() < LEAST or wide else " "
            fits &= star == " "
            print(
                f"{name:7s} group {share:4.2f} {n:4d}  {there[:, 0].mean():.3f}  "
                f"{table[:, 0].mean():.3f}  {there[:, 1].mean():.3f}{star} "
                f"{np.median(there[:, 2]):5.2f}  {np.median(table[:, 2]):5.2f}  "
                f"{np.mean(table[:, 3]):+.4f}",
                flush=True,
            )
    return fits


def try_strata(name: str, world: World, n_trials: int) -> bool:
    """Print how often intervals hold where as many of each answer are labelled, and how wide."""
    fits = True
    for share in SHARES:
        for n in SIZES[1:]:
            random = np.random.default_rng(n)
            rows = []
            for trial in range(n_trials):
                asked = world.asked[trial % len(world.asked)]
                images = world.draw(asked, share, random, by_site=False)
                answers = world.answer(asked, images)
                best = answers.argmax(axis=1)
                names = np.unique(best)
                of = [np.flatnonzero(best == one) for one in names]
                drawn = [some[: -(-n // len(names))] for some in of]
                sizes = [len(some) for some in drawn]
                weights = [len(some) / size for some, size in zip(of, sizes, strict=True)]
                at = np.concatenate(drawn)
                sample = Sample(
                    world.labels[images[at]], answers[at], answers.mean(axis=0),
                    answers.var(axis=0, ddof=1), len(images), np.arange(len(at)),
                    np.repeat(weights, sizes), np.repeat(np.arange(len(names)), sizes),
                )  # fmt: skip
                found = estimate_shares(sample)
                plain = estimate_shares(sample_first(world, images, answers, n, by_site=False))
                rows.append([
                    found.low[asked] <= share <= found.high[asked],
                    (found.high - found.low)[asked] / (plain.high - plain.low)[asked],
                ])  # fmt: skip
            held, ratio = np.mean([row[0] for row in rows]), np.median([row[1] for row in rows])
            fits &= bool(held >= LEAST)
            print(f"{name:7s} strata {share:4.2f} {n:4d}  {held:.3f}  width beside a plain draw "
                  f"{ratio:.2f}", flush=True)  # fmt: skip
    return fits


def try_shift(name: str, world: World, n_trials: int) -> None:
    """Print how prevalence adjustment does where 30 images of each class are labelled."""
    for share in SHARES:
        random = np.random.default_rng(0)
        rows = []
        for trial in range(n_trials):
            asked = world.asked[trial % len(world.asked)]
            of = [np.flatnonzero(world.truths == one) for one in world.asked]
            labelled = np.concatenate([random.choice(one, 30) for one in of])
            others = world.draw(asked, share, random, by_site=False)
            images = np.concatenate([labelled, others])
            answers, n = world.answer(asked, images), len(labelled)
            found = estimate_prevalence(
                lambda at, answers=answers: answers[at],
                labelled=np.arange(n), truths=world.truths[images],
                units=np.full(len(images), "", dtype=object),
                images=np.arange(n, len(images)), classes=np.array([asked]), n_resamples=60,
            )  # fmt: skip
            raw = float(np.mean(answers[n:].argmax(axis=1) == asked))
            # What the labelled images would say if they were taken for a random sample.
            rows.append([
                found.low[0] <= share <= found.high[0], found.high[0] - found.low[0],
                found.estimate[0] - share, raw - share,
                float(np.mean(world.truths[labelled] == asked)) - share,
            ])  # fmt: skip
        held, width, off, raw_off, taken = np.mean(rows, axis=0)
        print(f"{name:7s} shift {share:4.2f}  {held:.3f}  width {width:.3f}  bias: adjusted "
              f"{off:+.4f}, raw {raw_off:+.4f}, labels taken for random {taken:+.4f}",
              flush=True)  # fmt: skip


def main() -> int:
    """Try all worlds; 1 where an interval holds too rarely or is wider than labels alone."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cifar", type=Path, help="folder of cifar10_500 vectors")
    parser.add_argument("--photos", type=Path, help="store of the photographs")
    parser.add_argument("--trials", type=int, default=N_TRIALS)
    given = parser.parse_args()
    worlds = {} if given.cifar or given.photos else {"drawn": World.of_draws()}
    if given.cifar is not None:
        worlds["cifar"] = World.of_cifar(given.cifar)
    if given.photos is not None:
        worlds["photos"] = World.of_photos(given.photos)
        worlds["blind"] = World.of_photos(given.photos, blind=True)
    print("world   unit  share   n   PPI++  regr.  labels  width PPI++, regr.  "
          "bias: PPI++, raw, threshold")  # fmt: skip
    fits = [try_world(name, world, given.trials) for name, world in worlds.items()]
    if "cifar" in worlds:
        try_large_samples("cifar", worlds["cifar"], given.trials)
    print("world         share   n   PPI++ (where it is), (everywhere), labels; width; bias")
    fits += [try_groups(name, world, max(given.trials // 5, 1)) for name, world in worlds.items()]
    fits += [try_strata(name, world, given.trials) for name, world in worlds.items()]
    for name in worlds.keys() & {"cifar", "drawn"}:
        try_shift(name, worlds[name], given.trials)
    return 0 if all(fits) else 1


if __name__ == "__main__":
    sys.exit(main())
