"""What few labelled images buy, and what becomes of classes that none of them shows.

    python -m benchmarks.adapters --photos STORE --cifar FOLDER

Real vectors with the texts of their classes: photographs by an image-text model, of classes that it
was trained with (65) and of others (10), a store with the columns ``species`` and ``role`` of
images; and 500 images of CIFAR-10 by CLIP ViT-B/32 with ImageNet's names (``cifar10_500.*`` and
``imagenet1k.*``). Each of some seeds keeps a third of the images of each class to judge, and draws
so many of each class from the rest, all of them where there are fewer; every method learns from
the same. Settings are the usual ones: nothing is chosen, so that no further image is used.

The first table of each is the accuracy, the second that of base-to-new: half of the classes,
another half for each seed, are learnt, the others asked by their texts alone, each half among its
own names; the harmonic mean of the two accuracies, and beside it where all names may be answered.
Intervals are of 95% over the seeds (Student's t); a difference is that of the same seeds. It prints
the time of a fit in seconds of the processor too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.evaluation.curves import draw_images
from bioprobe.task.method import find_probe, make_probe

SHOTS, N_SEEDS, JUDGING = (1, 2, 4, 8, 16), 10, 3
LEARNING = ("linear", "centroid", "knn")
METHODS = ("prompt+probe", "adapter", "clap", "tip-adapter", *LEARNING)
ZEROSHOT = "zeroshot"
# Tip-Adapter-F asks classes without images by their texts alone, as CLAP does.
UNTAUGHT = ("prompt+probe", "adapter", "clap")
# Rows of the 1,000 ImageNet names that are each class of CIFAR-10.
CIFAR_ROWS = (
    (404, 895),
    (436, 468, 511, 609, 627, 656, 661, 751, 817),
    (*range(7, 25), *range(80, 101), *range(127, 147)),
    tuple(range(281, 288)),
    (351, 352, 353),
    tuple(range(151, 269)),
    (30, 31, 32),
    (339,),
    (484, 510, 554, 625, 628, 724, 780, 814, 871, 914),
    (555, 569, 675, 717, 864, 867),
)

Vectors = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]


class World:
    """Vectors of images, their classes, and the texts of these."""

    def __init__(self, vectors: Vectors, classes: Places, texts: Vectors, scale: float) -> None:
        self.vectors, self.classes, self.texts, self.scale = vectors, classes, texts, scale

    @classmethod
    def of_photos(cls, folder: Path, condition: str) -> World:
        """Return photographs of a store that meet a condition."""
        import bioprobe as bp
        from bioprobe.prompts import PromptSet, TextType
        from bioprobe.store.view import View
        from bioprobe.task.target import Target, label_rows

        store = bp.open(folder)
        view = View.of(store._view.store, condition)
        labelled = label_rows(view.images, view.rows, Target.of("species", images=view.images))
        labelled = labelled.take(labelled.positions >= 0)
        prompts = PromptSet(labelled.classes.taxonomy, TextType.TAXON_COM, ("a photo of {}.",))
        texts = prompts.embed(store._texts.encode_text)
        vectors = view.store.read_vectors(labelled.rows)
        return cls(vectors, labelled.positions, texts, view.manifest.logit_scale)

    @classmethod
    def of_cifar(cls, folder: Path) -> World:
        """Return CIFAR-10's test images by CLIP; a class is the mean of its ImageNet names."""
        import torch

        vectors = torch.load(folder / "cifar10_500.image_embeddings.pt").float().numpy()
        names = torch.load(folder / "imagenet1k.text_features2.pt").float().numpy()
        names /= np.linalg.norm(names, axis=1, keepdims=True)
        texts = np.stack([names[list(rows)].mean(axis=0) for rows in CIFAR_ROWS])
        texts /= np.linalg.norm(texts, axis=1, keepdims=True)
        classes = np.load(folder / "cifar10_500.labels.npy").astype(np.int64)
        return cls(vectors, classes, texts, 100.0)

    def draw_judging(self, seed: int) -> npt.NDArray[np.bool_]:
        """Return which images judge: a third of each class."""
        judges = np.zeros(len(self.classes), dtype=bool)
        sizes = np.bincount(self.classes)
        for one, size in enumerate(sizes):
            drawn = draw_images(np.where(self.classes == one, 0, -1), size // JUDGING, 1000 + seed)
            judges[drawn] = True
        return judges

    def fit(self, method: str, rows: Places) -> Any:  # noqa: ANN401 - a probe
        """Return a probe that learnt from some images."""
        given: dict[str, Any] = {}
        if find_probe(method).needs_texts:
            names = np.arange(len(self.texts))
            given = {"texts": self.texts, "text_classes": names, "scale": self.scale}
        return make_probe(method, given).fit(self.vectors[rows], self.classes[rows])


Figures = dict[tuple[str, int], list[float]]


def measure(world: World, shots: Sequence[int], n_seeds: int) -> tuple[Figures, ...]:
    """Return accuracies, harmonic means among a half and among all, by method and images a class.

    Interrupted (Ctrl-C), it returns those of the seeds that are done.

    Returns
    -------
    accuracies, halves, wholes : dict
        One figure a seed.
    """
    tables: tuple[Figures, ...] = ({}, {}, {})
    try:
        for seed in range(n_seeds):
            for table, found in zip(tables, _measure_seed(world, shots, seed), strict=True):
                for key, figure in found.items():
                    table.setdefault(key, []).append(figure)
    except KeyboardInterrupt:
        print(f"\nstopped after {seed} seeds")
    return tables


def _measure_seed(
    world: World, shots: Sequence[int], seed: int
) -> tuple[dict[tuple[str, int], float], ...]:
    accuracies, halves, wholes = {}, {}, {}
    judges = world.draw_judging(seed)
    asked, truth = world.vectors[judges], world.classes[judges]
    base = np.random.default_rng(seed).permutation(len(world.texts)) < len(world.texts) // 2
    zeroshot = asked @ world.texts.T
    for n in shots:
        rows = draw_images(np.where(judges, -1, world.classes), n, seed)
        taught = rows[base[world.classes[rows]]]
        for method in (ZEROSHOT, *METHODS):
            right, logits = _answer(world, method, rows, taught, asked, truth, zeroshot)
            accuracies[method, n] = float(right.mean())
            if logits is None:
                continue
            of_half = np.where(base[truth][:, np.newaxis] == base, logits, -np.inf)
            for found, figures in ((of_half, halves), (logits, wholes)):
                is_right = found.argmax(axis=1) == truth
                both = is_right[base[truth]].mean(), is_right[~base[truth]].mean()
                figures[method, n] = float(2 * both[0] * both[1] / max(1e-9, both[0] + both[1]))
    return accuracies, halves, wholes


def _answer(
    world: World,
    method: str,
    rows: Places,
    taught: Places,
    asked: Vectors,
    truth: Places,
    zeroshot: Vectors,
) -> tuple[npt.NDArray[np.bool_], Vectors | None]:
    """Return which images are right, and logits of what learnt half of the classes, if any can."""
    if method == ZEROSHOT:
        return zeroshot.argmax(axis=1) == truth, zeroshot
    right = world.fit(method, rows).predict(asked) == truth
    if method not in UNTAUGHT:
        return right, None
    return right, world.fit(method, taught).logits(asked)


def describe(values: Sequence[float]) -> str:
    """Return a mean with its interval over seeds."""
    from scipy.stats import t

    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return f"{mean:.3f}"
    half = float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return f"{mean:.3f} ± {half:.3f}"


def list_lines(figures: Figures, shots: Sequence[int]) -> Iterator[str]:
    """List the lines of a table, one a method, and what adapter is better than another by."""
    methods = [one for one in (ZEROSHOT, *METHODS) if (one, shots[0]) in figures]
    yield f"| method | {' | '.join(map(str, shots))} |"
    yield "|---" * (len(shots) + 1) + "|"
    for method in methods:
        yield f"| {method} | {' | '.join(describe(figures[method, n]) for n in shots)} |"
    for other in (ZEROSHOT, "prompt+probe", "clap", "linear"):
        if other in methods:
            gains = (np.subtract(figures["adapter", n], figures[other, n]) for n in shots)
            yield f"| adapter less {other} | {' | '.join(describe(one) for one in gains)} |"


def time_fits() -> None:
    """Print what a fit takes of 10,000 vectors, beside that of linear."""
    from benchmarks.probe_speed import draw_embeddings
    from bioprobe.probes.adapter import find_means

    vectors, drawn = draw_embeddings(10_000)
    names, classes = np.unique(drawn, return_inverse=True)
    means = find_means(vectors, classes)
    noise = np.random.default_rng(0).normal(size=means.shape) * 0.6 / np.sqrt(means.shape[1])
    texts = (means + noise).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    world = World(vectors, classes, texts, 50.0)
    print(f"\n10,000 vectors of dim {vectors.shape[1]}, {len(names)} classes; one fit\n")
    print("| method | s of the processor |\n|---|---|")
    for method in ("linear", "prompt+probe", "adapter", "clap", "tip-adapter"):
        begun_s = time.process_time()
        world.fit(method, np.arange(len(classes)))
        print(f"| {method} | {time.process_time() - begun_s:.1f} |", flush=True)


def main() -> None:
    """Print the tables of what is at hand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="store of photographs")
    parser.add_argument("--cifar", type=Path, help="folder of CIFAR-10's vectors by CLIP")
    parser.add_argument("--seeds", type=int, default=N_SEEDS)
    parser.add_argument("--shots", type=int, nargs="+", default=SHOTS)
    parser.add_argument("--only", default="", help="of the worlds, those with this in their name")
    parser.add_argument("--no-times", action="store_true")
    given = parser.parse_args()
    worlds: dict[str, World] = {}
    if given.photos:
        known, new = "role == 'test'", "role == 'unseen-class'"
        worlds["photographs, 65 classes that the model knows"] = World.of_photos(
            given.photos, known
        )
        worlds["photographs, 10 classes that it never saw"] = World.of_photos(given.photos, new)
    if given.cifar:
        worlds["CIFAR-10, CLIP ViT-B/32"] = World.of_cifar(given.cifar)
    titles = ("accuracy", "harmonic mean, each half among its own", "harmonic mean, among all")
    worlds = {name: one for name, one in worlds.items() if given.only in name}
    for name, world in worlds.items():
        tables = measure(world, given.shots, given.seeds)
        for title, figures in zip(titles, tables, strict=True):
            print(f"\n### {name}: {title}\n")
            print("\n".join(list_lines(figures, given.shots)), flush=True)
    if not given.no_times:
        time_fits()


if __name__ == "__main__":
    main()
