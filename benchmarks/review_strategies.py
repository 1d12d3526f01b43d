"""What a review finishes by each strategy, beside looking at random pictures, on real vectors.

A reviewer who knows every picture answers batch after batch. Then the collection is finished: its
labels are the reviewer's where given, what answers elsewhere. Measured are how many of these are
right, how many pictures of classes with at most five are (recall of rare classes), and how many
classes the reviewer has seen. Each is a mean over draws with the 95% interval (t) of its difference
from random on the same draws.

Pools are drawn balanced, and long-tailed as camera sites are: the two commonest classes have 71% of
the pictures. In half of the runs one answer in twenty is another class.

- ``photos``: photographs that ``wildlife-mini`` never saw, its vectors. Balanced: 12 of each of 75
  species. Long-tailed: Mammalia and Aves as a whole, and single species of the rest.
- ``tol200m``: BioCLIP 2 vectors. Balanced: 10 of each order that has as many. Long-tailed: classes.
- ``cifar``: CLIP ViT-B/32 vectors of CIFAR-10.

What is the default was chosen on other draws than those that are reported (``--first 100``); they
are of the same pictures. Each draw is written down at once, so that a run that is stopped goes on
where it was, until the code that it measures changes.

Run it with ``python -m benchmarks review_strategies``; it needs ``../shared``.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bioprobe.reviewing.desk import Desk, read_mix
from bioprobe.reviewing.pool import Pool

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
HEAD_SHARE, RARE = 0.71, 5
WRONG_SHARE = 0.05
RANDOM = "audit"
MIXES = ("doubt=.8,audit=.2", "margin", "doubt", "coverage", "disagreement")

Vectors = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Draw = Callable[[np.random.Generator], tuple[Vectors, Places]]


@dataclasses.dataclass(frozen=True)
class Finished:
    """A finished collection.

    Parameters
    ----------
    accuracy : float
        Share of its labels that are right.
    rare_recall : float
        Of the pictures of classes with at most five; NaN where there is no such class.
    found : float
        Share of the classes of which the reviewer saw a picture.
    """

    accuracy: float
    rare_recall: float
    found: float


def load_photos(cache: Path) -> tuple[Vectors, Sequence[str], Sequence[str]]:
    """Return vectors, species and classes of the photographs that the model never saw."""
    import pandas as pd

    import bioprobe as bp

    folder = cache / "photos"
    table = pd.read_csv(SHARED / "data" / "photos" / "photos.csv", keep_default_na=False)
    chosen = table[table["role"] != "train"]
    if not (folder / "manifest.json").exists():
        cache.mkdir(parents=True, exist_ok=True)
        files = [SHARED / "data" / "photos" / one for one in chosen["path"]]
        (cache / "photos.txt").write_text("\n".join(map(str, files)), encoding="utf-8")
        model = f"local-dir:{SHARED / 'models' / 'wildlife-mini'}"
        bp.embed(cache / "photos.txt", store=folder, model=model)
    store = bp.open(folder)
    names = [Path(one).parent.name for one in store.images["path"]]
    above = dict(zip(chosen["class"], chosen["class_rank"], strict=True))
    return store.X, names, [above[one] for one in names]


def load_tol(rank: str) -> tuple[Vectors, Sequence[str]]:
    """Return BioCLIP 2 vectors with their names at a rank."""
    import pandas as pd

    file = SHARED / "data" / "tol200m-bioclip2-1k" / "example_1k.parquet"
    frame = pd.read_parquet(file)
    frame = frame[frame[rank].fillna("") != ""]
    vectors = np.array(frame["emb"].tolist(), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), frame[rank].tolist()


def load_cifar() -> tuple[Vectors, Sequence[str]]:
    """Return CLIP vectors of CIFAR-10."""
    import torch

    folder = SHARED / "data" / "clip-vitb32-cached"
    vectors = torch.load(folder / "cifar10_500.image_embeddings.pt", weights_only=True)
    labels = np.load(folder / "cifar10_500.labels.npy")
    X = vectors.float().numpy()  # noqa: N806 - scikit-learn's name
    return X / np.linalg.norm(X, axis=1, keepdims=True), [str(one) for one in labels]


def draw_balanced(X: Vectors, names: Sequence[str], n_each: int) -> Draw:  # noqa: N803
    """Return a draw of so many of each class that has them."""
    classes, labels = np.unique(np.array(names), return_inverse=True)
    kept = np.flatnonzero(np.bincount(labels) >= n_each)

    def draw(random: np.random.Generator) -> tuple[Vectors, Places]:
        rows = np.concatenate([
            random.permutation(np.flatnonzero(labels == one))[:n_each] for one in kept
        ])  # fmt: skip
        rows = random.permutation(rows)
        return X[rows], np.searchsorted(kept, labels[rows])

    assert len(classes)
    return draw


def draw_long_tailed(X: Vectors, names: Sequence[str], n_tail: int) -> Draw:  # noqa: N803
    """Return a draw in which the two commonest classes have 71%; the rest halves class by class."""
    _, labels = np.unique(np.array(names), return_inverse=True)
    counts = np.bincount(labels)
    order = np.argsort(-counts, kind="stable")

    def draw(random: np.random.Generator) -> tuple[Vectors, Places]:
        tail = random.permutation(order[2:])
        sizes = _shrink(counts[tail], n_tail)
        n_rest = int(sizes.sum())
        n_head = round(n_rest * HEAD_SHARE / (1 - HEAD_SHARE))
        both = counts[order[:2]]
        head = np.minimum(both, np.round(n_head * both / both.sum()).astype(int))
        chosen = [*zip(order[:2], head, strict=True), *zip(tail, sizes, strict=True)]
        rows = np.concatenate([
            random.permutation(np.flatnonzero(labels == one))[:n] for one, n in chosen
        ])  # fmt: skip
        rows = random.permutation(rows)
        return X[rows], np.unique(labels[rows], return_inverse=True)[1]

    return draw


def _shrink(available: Places, n: int) -> Places:
    """Return sizes of about n in all that fall from class to class, each at least 1."""
    rate = 0.5 ** (6 / len(available))
    for scale in np.linspace(1, n, 400):
        sizes = np.minimum(available, np.maximum(1, scale * rate ** np.arange(len(available))))
        if sizes.sum() >= n:
            break
    return np.asarray(sizes, dtype=np.int64)


def review(
    X: Vectors,  # noqa: N803 - scikit-learn's name
    y: Places,
    mix: Mapping[str, float],
    *,
    seed: int,
    n_batches: int,
    batch: int,
    wrong: float,
    strength: float = 100.0,
) -> list[Finished]:
    """Answer batch after batch; return what the collection would be after each."""
    n_classes = int(y.max()) + 1
    pool = Pool.of(X, [str(one) for one in range(n_classes)], np.full(len(y), -1))
    desk = Desk(pool, mix, seed=seed, settings={"C": strength})
    mistakes = np.random.default_rng([seed, 1])
    counts = np.bincount(y)
    is_rare = (counts <= RARE)[y]
    finished = []
    desk.learn()
    for _ in range(n_batches):
        for pick in desk.propose(batch):
            said = int(y[pick.place])
            if mistakes.random() < wrong:
                said = int((said + mistakes.integers(1, n_classes)) % n_classes)
            pool.labels[pick.place], pool.is_checked[pick.place] = said, True
        desk.learn()
        labels = np.where(pool.is_checked, pool.labels, pool.best[:, 0])
        right = labels == y
        seen = len(np.unique(y[pool.is_checked]))
        rare = float(right[is_rare].mean()) if is_rare.any() else math.nan
        finished.append(Finished(float(right.mean()), rare, seen / n_classes))
    return finished


class Log:
    """Figures of draws that were measured, a line each in a file of the code that was.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        files = [Path(__file__), *sorted((ROOT / "bioprobe/reviewing").rglob("*.py"))]
        files += sorted((ROOT / "bioprobe/probes").rglob("*.py"))
        code = hashlib.sha256(b"".join(one.read_bytes() for one in files)).hexdigest()
        self.path = folder / f"strategies-{code[:12]}.jsonl"
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        self._known = dict(json.loads(one) for one in lines if one.endswith("]"))

    def measure(self, key: str, finish: Callable[[], Finished]) -> tuple[float, ...]:
        """Return what is known, or measure it and write it down."""
        if key not in self._known:
            self._known[key] = dataclasses.astuple(finish())
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, self._known[key]]) + "\n")
        return tuple(self._known[key])


def describe(own: npt.NDArray[np.float64], random: npt.NDArray[np.float64]) -> list[str]:
    """Write each figure with the interval of its difference from random."""
    from scipy.stats import t

    cells = []
    for values, others in zip(own.T, random.T, strict=True):
        if np.isnan(values).all():
            cells.append("")
            continue
        gaps = values - others
        half = t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / math.sqrt(len(gaps))
        text = f"{values.mean():.3f}"
        if own is not random:
            text += f" ({gaps.mean() - half:+.3f} to {gaps.mean() + half:+.3f})"
        cells.append(text)
    return cells


@dataclasses.dataclass(frozen=True)
class Reviewed:
    """Pools that are drawn, and how much of each is looked at: about a fifth.

    Parameters
    ----------
    name : str
    draw : function
    n_batches : int
    batch : int
        Pictures in one.
    """

    name: str
    draw: Draw
    n_batches: int
    batch: int

    def finish(self, mix: str, wrong: float, seed: int) -> Finished:
        """Return the finished collection of one draw."""
        X, y = self.draw(np.random.default_rng(seed))  # noqa: N806 - scikit-learn's name
        return review(
            X, y, read_mix(mix), seed=seed, n_batches=self.n_batches, batch=self.batch, wrong=wrong
        )[-1]

    def describe(self) -> str:
        """Return what is looked at, and of how much."""
        n = len(self.draw(np.random.default_rng(0))[1])
        return f"{self.name}: {self.n_batches * self.batch} of {n:,}"


def list_pools(cache: Path) -> list[Reviewed]:
    """Return the pools of the three sets of pictures."""
    photos, species, classes = load_photos(cache)
    heads = {"Mammalia", "Aves"}
    mixed = [
        above if above in heads else own for own, above in zip(species, classes, strict=True)
    ]  # fmt: skip
    return [
        Reviewed("photos, balanced", draw_balanced(photos, species, 12), 9, 20),
        Reviewed("photos, long-tailed", draw_long_tailed(photos, mixed, 190), 7, 20),
        Reviewed("tol200m, balanced", draw_balanced(*load_tol("order"), 10), 5, 10),
        Reviewed("tol200m, long-tailed", draw_long_tailed(*load_tol("class"), 180), 6, 20),
        Reviewed("cifar, balanced", draw_balanced(*load_cifar(), 50), 5, 10),
        Reviewed("cifar, long-tailed", draw_long_tailed(*load_cifar(), 40), 5, 6),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every strategy on every pool, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="The first seed.")
    parser.add_argument("--cache", type=Path, default=Path("embeddings/review-benchmark"))
    parser.add_argument("--only", default="", help="Part of a pool's name.")
    parser.add_argument("--mixes", default=";".join(MIXES), help="Random is always among them.")
    parser.add_argument("--wrong", type=float, nargs="*", default=[0.0, WRONG_SHARE])
    given = parser.parse_args(arguments)
    pools = [one for one in list_pools(given.cache) if given.only in one.name]
    log = Log(given.cache)
    print(f"{given.seeds} draws from seed {given.first} on\n")
    print("| pool: looked at | answers wrong | what is shown | right | right of the rare | "
          "classes seen |\n|---|---|---|---|---|---|", flush=True)  # fmt: skip
    for pool, wrong in itertools.product(pools, given.wrong):
        random = None
        for mix in dict.fromkeys([RANDOM, *given.mixes.split(";")]):
            figures = []
            for seed in range(given.first, given.first + given.seeds):
                key = f"{pool.name}; {mix}; {wrong}; {seed}"
                figures.append(log.measure(key, partial(pool.finish, mix, wrong, seed)))
            own = np.array(figures)
            random = own if random is None else random
            cells = " | ".join(describe(own, random))
            print(f"| {pool.describe()} | {wrong:.0%} | `{mix}` | {cells} |", flush=True)


if __name__ == "__main__":
    main()
