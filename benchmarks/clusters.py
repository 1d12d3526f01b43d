"""Whether clusters are species, and neighbours along a line are of one: with and without labels.

    python -m benchmarks clusters --photos STORE [--cifar FOLDER] [--tol FILE] [--draws 1000]

Each world has vectors and labels that no method sees. ``photos``: a store of photographs, all of
them and, where a column ``role`` says so, those of classes that never taught the encoder;
``cifar``: 500 pictures of CIFAR-10 by CLIP (``cifar10_500.*``); ``tol``: a Parquet file of BioCLIP
2 vectors with ranks (``emb``, ``family``), the families of five pictures or more. Copies count as
one. Groups: how many were found where the number is chosen, and how far they agree with the labels,
with intervals, there and where the number of classes is given. Lines: how often neighbours are of
one class, beside the nearest neighbour of each, chance, and the first principal component.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bioprobe.clustering.agreement import measure_agreement, measure_line, measure_nearest
from bioprobe.clustering.methods import METHODS, Wish, group_vectors
from bioprobe.clustering.neighbors import average_neighbors
from bioprobe.clustering.order import order_alike
from bioprobe.errors import MissingExtraError
from bioprobe.types import Names, Places, Vectors

_FEWEST = 5


@dataclasses.dataclass(frozen=True, eq=False)
class World:
    """Vectors with labels, and which of them count as one."""

    name: str
    vectors: Vectors
    labels: Names
    units: Places

    @property
    def codes(self) -> Places:
        """Class of each, from 0."""
        return np.unique(self.labels.astype(str), return_inverse=True)[1].astype(np.int64)


def read_photos(folder: Path) -> Iterator[World]:
    """Read a store of photographs in folders by class."""
    from bioprobe.clustering.clusters import find_units
    from bioprobe.quality import find_duplicates
    from bioprobe.store import EmbeddingStore
    from bioprobe.store.view import View

    view = View.all(EmbeddingStore.open(folder))
    find_duplicates(view).write(view.store)
    units, _ = find_units(view, None)
    labels = np.array([str(path).split("/")[-2] for path in view.images.file_names], dtype=object)
    labels, vectors = labels[view.rows], view.read_vectors()
    yield World("photos", vectors, labels, units)
    if "role" in view.images.frame:
        unseen = view.labels("role") == "unseen-class"
        if unseen.any():
            yield World("photos, unseen", vectors[unseen], labels[unseen], units[unseen])


def read_cifar(folder: Path) -> World:
    """Read CIFAR-10's vectors by CLIP."""
    import torch

    vectors = torch.load(folder / "cifar10_500.image_embeddings.pt").float().numpy()
    labels = np.load(folder / "cifar10_500.labels.npy").astype(str).astype(object)
    return World("CIFAR-10", _make_unit(vectors), labels, np.arange(len(labels)))


def read_tol(file: Path) -> World:
    """Read BioCLIP 2 vectors of the tree of life, by family."""
    import pandas as pd

    frame = pd.read_parquet(file)
    labels = frame["family"].fillna("").to_numpy(dtype=object)
    counts = dict(zip(*np.unique(labels.astype(str), return_counts=True), strict=True))
    kept = np.array([name != "" and counts[name] >= _FEWEST for name in labels.tolist()])
    vectors = _make_unit(np.stack(frame["emb"].to_numpy()).astype(np.float32))
    return World("tol200m, families", vectors[kept], labels[kept], np.arange(int(kept.sum())))


def _make_unit(vectors: Vectors) -> Vectors:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / norms, dtype=np.float32)


def draw_world(n_kinds: int = 12, n_each: int = 20, dim: int = 32, seed: int = 0) -> World:
    """Draw kinds around means of their own, and of each kind's pictures some copies."""
    random = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(n_kinds), n_each)
    means = random.normal(size=(n_kinds, dim))
    drawn = means[kinds] + 0.6 * random.normal(size=(len(kinds), dim))
    copied = random.choice(len(kinds), len(kinds) // 4)
    places = np.append(np.arange(len(kinds)), copied)
    vectors = _make_unit(drawn[places].astype(np.float32))
    return World("drawn", vectors, kinds[places].astype(str).astype(object), places)


def measure_groups(
    world: World, methods: tuple[str, ...], n_draws: int, averaged: tuple[int, ...] = (0, 10)
) -> list[dict[str, Any]]:
    """Group a world by each method, and return how far that agrees with its labels."""
    found = []
    for nearest in averaged:
        vectors = average_neighbors(world.vectors, nearest, world.units)
        for method in methods:
            for number in (None, len(np.unique(world.codes))):
                started = time.process_time()
                try:
                    groups = group_vectors(vectors, world.units, Wish(method, number)).numbers
                except MissingExtraError:
                    continue
                took_s = time.process_time() - started
                agreed = measure_agreement(groups, world.codes, world.units, n_resamples=n_draws)
                found.append({
                    "world": world.name, "method": method, "averaged": nearest,
                    "number": "chosen" if number is None else "given",
                    "n_clusters": len(np.unique(groups[groups >= 0])),
                    "in_none": float((groups < 0).mean()),
                    **{name: str(one) for name, one in agreed.items()}, "cpu_s": round(took_s, 2),
                })  # fmt: skip
    return found


def measure_lines(world: World, seed: int = 0) -> list[dict[str, Any]]:
    """Sort a world in several ways, and return how often neighbours are of one class."""
    vectors, labels, units = world.vectors, world.labels, world.units
    alone = np.arange(len(units))
    centred = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    started = time.process_time()
    alike = order_alike(average_neighbors(vectors, 10, units))
    took_s = time.process_time() - started
    lines = {
        "alike": alike,
        "alike, not averaged": order_alike(vectors),
        "first principal component": np.argsort(centred @ axes[:, -1]),
        "by chance": np.random.default_rng(seed).permutation(len(vectors)),
    }
    found = [
        {
            "world": world.name, "line": name,
            "of_one_class": str(measure_line(labels[line], units[line])),
            "copies_too": str(measure_line(labels[line], alone)),
            "cpu_s": round(took_s, 1) if name == "alike" else "",
        }
        for name, line in lines.items()
    ]  # fmt: skip
    most, with_copies = (measure_nearest(vectors, labels, one) for one in (units, alone))
    found.append({
        "world": world.name, "line": "nearest of each", "of_one_class": str(most),
        "copies_too": str(with_copies), "cpu_s": "",
    })  # fmt: skip
    return found


def main() -> None:
    """Measure the worlds that are named, or one that is drawn."""
    import pandas as pd

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="store of photographs in folders by class")
    parser.add_argument("--cifar", type=Path, help="folder of CIFAR-10's vectors by CLIP")
    parser.add_argument("--tol", type=Path, help="Parquet file of BioCLIP 2 vectors")
    parser.add_argument("--draws", type=int, default=1000, help="resamples of an interval")
    parser.add_argument("--methods", default="ward,agglomerative,kmeans", help="or with evoc")
    given = parser.parse_args()
    worlds = list(read_photos(given.photos)) if given.photos else []
    worlds += [read_cifar(given.cifar)] if given.cifar else []
    worlds += [read_tol(given.tol)] if given.tol else []
    methods = tuple(one for one in METHODS if one in given.methods.split(","))
    for world in worlds or [draw_world()]:
        print(f"{world.name}: {len(world.labels):,} pictures, {len(np.unique(world.units)):,} "
              f"without copies, {len(np.unique(world.codes))} classes")  # fmt: skip
        print(pd.DataFrame(measure_lines(world)).to_string(index=False))
        print(pd.DataFrame(measure_groups(world, methods, given.draws)).to_string(index=False))


if __name__ == "__main__":
    main()
