"""How many species that nobody knows come back as one group each, on real photographs.

    python -m benchmarks.unknown_species [--photos STORE] [--cifar FOLDER] [--draws 10]

Classes are held out, 20 of 75 of ``photos`` and 3 of 10 of CIFAR-10's 500 test pictures (whose
vectors by CLIP are all that there is of it here); half of the pictures of the others are known, and
the other half and all held-out ones are asked. Figures over draws with intervals of 95% (Student's
t): how many of the unknown are told as such and how many of a known species are taken for new; over
what is told, adjusted Rand and purity of the groups against the true classes; the share of the held
out classes that come back as one group (more than half of its pictures in one group, more than half
of which are it); how often the taxon above a group is right where one is said.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import bioprobe as bp
from benchmarks.find_species import Cifar, show_mean
from bioprobe.clustering.agreement import measure_agreement
from bioprobe.clustering.methods import Wish, group_vectors
from bioprobe.clustering.neighbors import average_neighbors
from bioprobe.clustering.unknown import LEAST_IMAGES, learn_known, learn_parents
from bioprobe.taxonomy import RANKS

FIGURES = (
    "told unknown", "known taken for new", "adjusted Rand", "purity", "one group each", "groups",
    "parents said", "of them right",
)  # fmt: skip


def try_draw(
    vectors: np.ndarray, labels: np.ndarray, lineages: list[np.ndarray], n_held: int, seed: int
) -> list[float]:
    """Hold out classes, find what is strange among all that is asked, group it, and judge."""
    random = np.random.default_rng(seed)
    names = np.unique(labels)
    held = np.isin(labels, random.choice(names, n_held, replace=False))
    known = np.zeros(len(labels), dtype=bool)
    known[random.permutation(np.flatnonzero(~held))[: int((~held).sum()) // 2]] = True
    codes = np.unique(labels[known], return_inverse=True)[1]
    units = np.arange(int(known.sum()))
    learnt = learn_known(vectors[known], codes, units)
    asked = np.flatnonzero(~known)
    strange = asked[learnt.find_strange(vectors[asked], np.arange(len(asked)))]
    near = average_neighbors(vectors[strange], 10)
    groups = group_vectors(near, np.arange(len(strange)), Wish()).numbers
    sizes = np.bincount(groups)
    is_group = sizes >= LEAST_IMAGES
    agreed = measure_agreement(
        groups, np.unique(labels[strange], return_inverse=True)[1], np.arange(len(strange)),
        n_resamples=1,
    )  # fmt: skip
    once = []
    for name in np.unique(labels[held]):
        inside = groups[labels[strange] == name]
        counts = np.bincount(inside, minlength=len(sizes))
        best = int(counts.argmax()) if len(counts) else 0
        n_asked = int((labels == name).sum())
        once.append(len(inside) > 0 and counts[best] * 2 > max(sizes[best], n_asked))
    said, right = 0, 0
    if lineages:
        parents = learn_parents(vectors[known], codes, [one[known] for one in lineages])
        for group in np.flatnonzero(is_group):
            inside = strange[groups == group]
            above = parents.find(vectors[inside])
            if above:
                said += 1
                truth = lineages[len(above) - 1][inside]
                right += np.mean(truth == above[-1]) > 0.5
    return [
        float(np.isin(np.flatnonzero(held), strange).mean()),
        float(np.isin(asked[~held[asked]], strange).mean()),
        agreed["adjusted_rand"].estimate, agreed["purity"].estimate, float(np.mean(once)),
        float(is_group.sum()), said / max(1, int(is_group.sum())), right / said if said else np.nan,
    ]  # fmt: skip


def show(name: str, figures: list[list[float]]) -> None:
    """Print the figures of all draws."""
    print(f"\n### {name}: {len(figures)} draws\n")
    for what, values in zip(FIGURES, np.array(figures).T, strict=True):
        held = values[np.isfinite(values)]
        print(f"| {what} | {show_mean(held) if len(held) > 1 else 'none'} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--draws", type=int, default=10)
    given = parser.parse_args()
    if given.photos:
        store = bp.open(given.photos)
        lineages = [store.labels(rank.value) for rank in RANKS[:-1]]
        found = [
            try_draw(store.X, store.labels("species"), lineages, 20, seed)
            for seed in range(given.draws)
        ]
        show("photos, 20 of 75 classes held out", found)
    if given.cifar:
        world = Cifar(given.cifar)
        found = [try_draw(world.vectors, world.labels, [], 3, seed) for seed in range(given.draws)]
        show("CIFAR, 3 of 10 classes held out", found)
    if not given.photos and not given.cifar:
        random = np.random.default_rng(0)
        labels = random.integers(40, size=1200)
        vectors = random.normal(size=(40, 64))[labels] + 0.8 * random.normal(size=(1200, 64))
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        found = [try_draw(vectors, labels, [], 10, seed) for seed in range(given.draws)]
        show("drawn vectors, 10 of 40 classes held out", found)


if __name__ == "__main__":
    main()
