"""What maps keep of neighbourhoods, and what they take: t-SNE beside UMAP and PaCMAP.

``python -m benchmarks.maps STORE [LEVEL]`` lays out a store by each that is installed, with two
seeds; without a store, drawn groups of vectors.
"""

from __future__ import annotations

import importlib.util
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

import bioprobe as bp
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.mapping.faithful import judge_layout
from bioprobe.mapping.layout import fit_layout, place_new

Layout = npt.NDArray[np.float64]
_NEAR = 10
_MOST_JUDGED = 3000


def main() -> None:
    """Print a line for each method and seed."""
    vectors, labels = _read(*sys.argv[1:3]) if len(sys.argv) > 1 else _draw()
    print(f"{len(vectors):,} vectors of dim {vectors.shape[1]}")
    random = np.random.default_rng(0)
    sample = np.sort(random.choice(len(vectors), min(_MOST_JUDGED, len(vectors)), replace=False))
    for name, lay_out in _METHODS.items():
        if name != "t-SNE" and importlib.util.find_spec(name) is None:
            print(f"{name} is not installed")
            continue
        for seed in (0, 1):
            start = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                layout = np.asarray(lay_out(vectors, seed), dtype=np.float64)
            took_s = time.process_time() - start
            faith = judge_layout(vectors, layout, sample)
            print(
                f"{name}, seed {seed}: trustworthiness {faith.trustworthiness}, continuity "
                f"{faith.continuity}, kept {faith.kept}, of the class {_purity(layout, labels):.3f}"
                f", {took_s:.1f} CPU seconds",
                flush=True,
            )
    _place(vectors, sample)


def _place(vectors: Any, sample: npt.NDArray[np.int64]) -> None:  # noqa: ANN401
    """Hold out a tenth, place it, and judge it beside what was fitted."""
    is_new = np.arange(len(vectors)) % 10 == 0
    known = fit_layout(vectors[~is_new], neighbors=15, seed=0)
    start = time.process_time()
    placed = place_new(vectors[~is_new], known, vectors[is_new])
    took_s = time.process_time() - start
    layout = np.empty((len(vectors), 2))
    layout[~is_new], layout[is_new] = known, placed
    for said, rows in (("fitted", sample[~is_new[sample]]), ("placed", sample[is_new[sample]])):
        faith = judge_layout(vectors, layout, rows)
        print(f"{said}: trustworthiness {faith.trustworthiness}, kept {faith.kept}")
    print(f"{int(is_new.sum()):,} placed in {took_s:.1f} CPU seconds")


def _purity(layout: Layout, labels: npt.NDArray[Any]) -> float:
    from sklearn.neighbors import NearestNeighbors

    known = labels != ""
    layout, labels = layout[known], labels[known]
    if len(layout) <= _NEAR:
        return float("nan")
    near = NearestNeighbors(n_neighbors=_NEAR + 1).fit(layout).kneighbors(layout)[1][:, 1:]
    return float((labels[near] == labels[:, None]).mean())


def _read(folder: str, level: str = "family") -> tuple[Any, npt.NDArray[Any]]:
    store = bp.open(folder)
    return store.X, store.labels(level)


def _draw() -> tuple[Any, npt.NDArray[Any]]:
    random = np.random.default_rng(0)
    labels = random.integers(0, 40, 2000)
    middles = random.standard_normal((40, 128))
    vectors = normalise_rows(middles[labels] + random.standard_normal((2000, 128)))
    return vectors, labels.astype(str)


def _tsne(vectors: Any, seed: int) -> Layout:  # noqa: ANN401
    return fit_layout(vectors, neighbors=15, seed=seed)


def _umap(vectors: Any, seed: int) -> Layout:  # noqa: ANN401
    import umap

    model = umap.UMAP(n_neighbors=15, metric="cosine", random_state=seed, n_jobs=1)
    return np.asarray(model.fit_transform(vectors), dtype=np.float64)


def _pacmap(vectors: Any, seed: int) -> Layout:  # noqa: ANN401
    import pacmap

    model = pacmap.PaCMAP(n_components=2, random_state=seed)
    return np.asarray(model.fit_transform(vectors, init="pca"), dtype=np.float64)


_METHODS: dict[str, Callable[[Any, int], Layout]] = {
    "t-SNE": _tsne, "umap": _umap, "pacmap": _pacmap,
}  # fmt: skip


if __name__ == "__main__":
    main()
