"""How many pictures of a species are found against pictures looked at, and what is left.

    python -m benchmarks.find_species [--photos STORE] [--cifar FOLDER] [--seeds 20]

One class is sought, drawn anew for each seed, from one question: its common name, or one picture of
it. Ways to look: ``search``, the question's own ranking to the end; ``uncertainty``, the head of
one class, and always what is nearest to its limit; ``top``, the same head, and always what is
likeliest; ``find``, as it is by default, which spends some looks on random draws. Figures are
shares of all pictures of the class that were found after as many looks as there are pictures of it,
after twice as many, and after 100 and 300, means with intervals of 95% over seeds, and of ``find``
less each other way, seed by seed.

Then what ``find`` says: in how many of the seeds the interval of their number held at every look,
the estimated recall less the true one, and the low end of the interval, after 100, 300 and 600
looks. ``--simulate`` shows that on drawn scores too, with .1%, .3% and 1% that are it, also where
the head knows nothing, 200 seeds each.

Worlds: ``drawn``, where none is named: vectors about many centres; ``photos``: a store of
photographs with ``species`` and ``common_name``; ``cifar``: 20 pictures of a class among the 450 of
the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import bioprobe as bp
from bioprobe.reviewing.find import IS, IS_NOT, Finder
from bioprobe.reviewing.find_head import PICTURE_WEIGHT, TEXT_WEIGHT
from bioprobe.reviewing.find_total import Draw, bound_total, find_chances

BATCH, N_LOOKS, SHOWN, N_DRAWS = 10, 600, (100, 300), 200
MIXES = {"uncertainty": {"margin": 1.0}, "top": {"top": 1.0}, "find": None}


class Pictures:
    """Vectors as a pool."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = np.asarray(vectors, dtype=np.float32)
        self.rows = np.arange(len(vectors))

    def read_vectors(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return vectors."""
        return self.vectors if rows is None else self.vectors[rows]

    def iter_vectors(self) -> Iterator[np.ndarray]:
        """Read them at once."""
        yield self.vectors


class Sought:
    """One class in one world: pictures, which of them are it, and the question.

    A question that is one of the pictures, by its number, is none of those that are searched.
    """

    def __init__(self, vectors: np.ndarray, is_it: np.ndarray, question: np.ndarray | int) -> None:
        self.weight = TEXT_WEIGHT
        if isinstance(question, int):
            self.weight, others = PICTURE_WEIGHT, np.arange(len(vectors)) != question
            question = vectors[question]
            vectors, is_it = vectors[others], is_it[others]
        self.vectors, self.is_it, self.question = vectors, is_it, np.asarray(question)

    def search(self) -> np.ndarray:
        """Return how many of it were found after each look, by the question's own ranking."""
        order = np.argsort(-(self.vectors @ self.question), kind="stable")
        return np.cumsum(self.is_it[order])

    def look(self, way: str, seed: int, n_looks: int = N_LOOKS) -> tuple[np.ndarray, list]:
        """Return how many were found after each look, and what was said after each batch."""
        finder = Finder(
            Pictures(self.vectors), self.question, mix=MIXES[way], question_weight=self.weight,
            seed=seed,
        )  # fmt: skip
        found: list[bool] = []
        said = []
        while len(found) < min(n_looks, len(self.is_it)):
            batch = finder.propose(BATCH)
            answers = np.where(self.is_it[batch.places], IS, IS_NOT)
            finder.answer(batch.places, answers)
            found += self.is_it[batch.places].tolist()
            if way == "find":
                said.append((len(found), finder.count()))
        return np.cumsum(found), said


def draw_world(seed: int, kind: str) -> Sought:
    """Draw vectors about 60 centres, of which one, of 1% of them, is sought."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(60, 64))
    shares = np.append(0.01, random.dirichlet(np.full(59, 0.5)) * 0.99)
    labels = random.choice(60, size=3000, p=shares)
    labels[:5] = 0
    vectors = centres[labels] + 1.6 * random.normal(size=(3000, 64))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    is_it = labels == 0
    if kind == "picture":
        return Sought(vectors.astype(np.float32), is_it, 0)
    question = centres[0] + 3 * random.normal(size=64)
    return Sought(vectors.astype(np.float32), is_it, question / np.linalg.norm(question))


class Photos:
    """A store of photographs, of which one species is sought."""

    def __init__(self, folder: Path) -> None:
        self.store = bp.open(folder)
        self.vectors, self.species = self.store.X, self.store.labels("species")
        self.common = self.store.images["common_name"].to_numpy(dtype=object)
        self.names = sorted({name for name in self.species.tolist() if name})

    def draw(self, seed: int, kind: str) -> Sought:
        """Draw a species, and ask by its common name or by one of its pictures."""
        random = np.random.default_rng(seed)
        is_it = self.species == self.names[random.integers(len(self.names))]
        if kind == "picture":
            return Sought(self.vectors, is_it, int(random.choice(np.flatnonzero(is_it))))
        question = self.store._texts.encode_text([str(self.common[is_it][0])])[0]
        return Sought(self.vectors, is_it, question)


class Cifar:
    """CIFAR-10's test pictures by CLIP, of which 20 of one class are left."""

    def __init__(self, folder: Path) -> None:
        import torch

        vectors = torch.load(folder / "cifar10_500.image_embeddings.pt").float().numpy()
        self.vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        self.labels = np.load(folder / "cifar10_500.labels.npy")

    def draw(self, seed: int, kind: str) -> Sought:  # noqa: ARG002 - as the others are called
        """Draw a class and 20 pictures of it; there are no texts of this encoder here."""
        random = np.random.default_rng(seed)
        of_it = random.choice(np.flatnonzero(self.labels == seed % 10), 20, replace=False)
        rows = random.permutation(np.append(of_it, np.flatnonzero(self.labels != seed % 10)))
        is_it = np.isin(rows, of_it)
        return Sought(self.vectors[rows], is_it, int(np.flatnonzero(is_it)[0]))


def show_mean(values: np.ndarray) -> str:
    """Write a mean with its interval of 95% over seeds, by Student's t."""
    from scipy.stats import t

    half = t.isf(0.025, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.3f} [{values.mean() - half:.3f}, {values.mean() + half:.3f}]"


def compare(name: str, draw: Callable[[int, str], Sought], kind: str, n_seeds: int) -> None:
    """Print what each way finds in one world."""
    shares: dict[str, list[list[float]]] = {way: [] for way in ("search", *MIXES)}
    held, errors, lows = [], [], []
    for seed in range(n_seeds):
        sought = draw(seed, kind)
        n_sought = int(sought.is_it.sum())
        looks = [n_sought, 2 * n_sought, *SHOWN]
        for way in shares:
            if way == "search":
                found = sought.search()
            else:
                found, said = sought.look(way, seed)
            shares[way].append([found[min(n, len(found)) - 1] / n_sought for n in looks])
        n_all = n_sought
        held.append(all(total.low <= n_all <= total.high for _, total in said))
        after = [[total for n, total in said if n <= looks][-1] for looks in (*SHOWN, N_LOOKS)]
        errors.append([total.recall[0] - total.n_found / n_all for total in after])
        lows.append([total.recall[1] for total in after])
    print(f"\n### {name}, by a {kind}: {n_seeds} seeds\n")
    print("| | as many looks | twice as many | " + " | ".join(map(str, SHOWN)) + " |")
    print("|---|---|---|---|---|")
    table = {way: np.array(rows) for way, rows in shares.items()}
    for way, rows in table.items():
        print(f"| {way} | " + " | ".join(show_mean(rows[:, at]) for at in range(4)) + " |")
    for way in ("search", "uncertainty"):
        less = table["find"] - table[way]
        print(
            f"| find less {way} | " + " | ".join(show_mean(less[:, at]) for at in range(4)) + " |"
        )
    print(f"\nthe interval held at every look in {np.mean(held):.3f} of the seeds")
    for at, n in enumerate((*SHOWN, N_LOOKS)):
        error, low = np.array(errors)[:, at], np.array(lows)[:, at]
        print(
            f"after {n} looks: estimated recall less the true {show_mean(error)}, typically off by "
            f"{np.sqrt((error**2).mean()):.3f}; low end {low.mean():.3f}"
        )


def simulate(n_seeds: int = N_DRAWS) -> None:
    """Print how often the interval holds at every look, where the truth is known."""
    print("\n### coverage of the number in all, drawn scores, 3,000 pictures\n")
    print("| share that is it | head | held at every look | width after 300 draws |")
    print("|---|---|---|---|")
    for share in (0.001, 0.003, 0.01, 0.2):
        for head, gain in (("good", 3.0), ("none", 0.0), ("wrong", -2.0)):
            held, widths = [], []
            for seed in range(n_seeds):
                low, high = zip(*follow(share, gain, seed), strict=True)
                n_all = count_sought(share)
                held.append(max(low) <= n_all <= min(high))
                widths.append(high[-1] - low[-1])
            print(
                f"| {share:g} | {head} | {np.mean(held):.3f} | {np.mean(widths):.0f} |", flush=True
            )


def count_sought(share: float, n: int = 3000) -> int:
    """Return how many pictures are it."""
    return max(1, round(share * n))


def follow(
    share: float, gain: float, seed: int, n: int = 3000, n_steps: int = 30
) -> Iterator[tuple[float, float]]:
    """Look at what scores highest and draw at random in turns.

    Yields
    ------
    (float, float)
        The interval at each look.
    """
    random = np.random.default_rng(seed)
    is_it = np.arange(n) < count_sought(share, n)
    scores = random.normal(size=n) + gain * is_it
    is_left = np.ones(n, dtype=bool)
    draws: list[Draw] = []
    n_found = 0
    for _ in range(n_steps):
        for _ in range(10):
            left = np.flatnonzero(is_left)
            chances = find_chances(scores[left])
            at = random.choice(len(left), p=chances / chances.sum())
            draws.append(Draw(bool(is_it[left[at]]), chances[at], chances.min(), n_found))
            n_found += int(is_it[left[at]])
            is_left[left[at]] = False
        left = np.flatnonzero(is_left)
        top = left[np.argsort(-scores[left])[:10]]
        n_found += int(is_it[top].sum())
        is_left[top] = False
        yield bound_total(draws, n_found, int(is_left.sum()))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--simulate", action="store_true")
    given = parser.parse_args()
    if given.photos:
        photos = Photos(given.photos)
        for kind in ("text", "picture"):
            compare("photos", photos.draw, kind, given.seeds)
    if given.cifar:
        compare("CIFAR", Cifar(given.cifar).draw, "picture", given.seeds)
    if not given.photos and not given.cifar:
        for kind in ("text", "picture"):
            compare("drawn", draw_world, kind, given.seeds)
    if given.simulate:
        simulate()


if __name__ == "__main__":
    main()
