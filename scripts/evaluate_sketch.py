"""Measure the sketch model on freshly drawn pictures and write its card.

::

    python -m scripts.evaluate_sketch bioprobe/sketch/weights

draws pictures from another seed than the training, names them at every rank with every text type,
and writes ``evaluation.json`` and ``README.md`` into the folder.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioprobe.sketch.drawing import draw_animal
from bioprobe.sketch.scenes import SCENES, draw_scene
from bioprobe.sketch.tree import RANKS, SketchSpecies, read_species
from scripts.sketch.captions import say_name

TEMPLATE = "a photo of {}."
TEXT_TYPES = ("sci", "com", "taxon", "sci_com", "taxon_com")
ANIMAL, NOT_ANIMAL = "a photo of an animal.", "a photo of something that is not an animal."
DATE = "2026-11-21"


class Model:
    """Load a local-dir by open_clip and embed with it.

    Parameters
    ----------
    folder : Path
        An open_clip local-dir.
    """

    def __init__(self, folder: Path) -> None:
        import open_clip

        name = f"local-dir:{folder}"
        self._model, _, self._preprocess = open_clip.create_model_and_transforms(name)
        self._model.eval()
        self._tokenizer = open_clip.get_tokenizer(name)

    def embed_images(self, pictures: list[Any]) -> NDArray[np.float32]:
        """Return unit rows, one a picture."""
        import torch

        with torch.inference_mode():
            parts = [
                self._model.encode_image(torch.stack([self._preprocess(one) for one in batch]))
                for batch in (pictures[i : i + 64] for i in range(0, len(pictures), 64))
            ]
        return _unit(torch.cat(parts).numpy())

    def embed_texts(self, texts: list[str]) -> NDArray[np.float32]:
        """Return unit rows, one a text."""
        import torch

        with torch.inference_mode():
            return _unit(self._model.encode_text(self._tokenizer(texts)).numpy())


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def share(right: NDArray[np.bool_]) -> dict[str, Any]:
    """Return a fraction with its 95% Wilson interval and the number it rests on."""
    n, p, z = len(right), float(right.mean()), 1.96
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return {"value": round(p, 4), "interval": [round(low, 4), round(high, 4)], "n": n}


def area_under_roc(positive: NDArray[np.float32], negative: NDArray[np.float32]) -> float:
    """Return the chance that a positive scores above a negative; ties count half."""
    difference = positive[:, None] - negative[None, :]
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


def name_species(species: SketchSpecies, text_type: str) -> str:
    """Write the prompt of one species."""
    if text_type == "asis":
        return TEMPLATE.format(species.description)
    return TEMPLATE.format(say_name(species.lineage, species.common_name, text_type))


def score_rank(
    model: Model,
    images: NDArray[np.float32],
    truth: list[SketchSpecies],
    rank: str,
    text_type: str,
) -> dict[str, Any]:
    """Score zero-shot labels at one rank, among the taxa of the trained species."""
    level = RANKS.index(rank)
    taxa = {one.lineage[level]: one for one in truth}
    texts = [
        name_species(one, text_type)
        if rank == "species"
        else TEMPLATE.format(say_name(one.lineage[: level + 1], "", text_type))
        for one in taxa.values()
    ]
    best = (images @ model.embed_texts(texts).T).argmax(1)
    answers = np.array(list(taxa))[best]
    right = answers == np.array([one.lineage[level] for one in truth])
    return {**share(right), "n_classes": len(taxa)}


def score_unseen(
    model: Model,
    images: NDArray[np.float32],
    truth: list[SketchSpecies],
    species: list[SketchSpecies],
    text_type: str,
) -> dict[str, Any]:
    """Score unseen species by text: among themselves, and among all species."""
    names = np.array([one.name for one in species])
    unseen = np.array([one.role == "unseen" for one in species])
    similarity = images @ model.embed_texts([name_species(one, text_type) for one in species]).T
    true_names = np.array([one.name for one in truth])
    is_unseen = np.array([one.role == "unseen" for one in truth])
    among = names[unseen][similarity[is_unseen][:, unseen].argmax(1)] == true_names[is_unseen]
    right = names[similarity.argmax(1)] == true_names
    on_seen, on_unseen = float(right[~is_unseen].mean()), float(right[is_unseen].mean())
    mean = 2 * on_seen * on_unseen / max(on_seen + on_unseen, 1e-9)
    return {
        "among_unseen": {**share(among), "n_classes": int(unseen.sum())},
        "seen_among_all": {**share(right[~is_unseen]), "n_classes": len(species)},
        "unseen_among_all": {**share(right[is_unseen]), "n_classes": len(species)},
        "harmonic_mean": round(mean, 4),
    }


def score_unseen_family(
    model: Model, images: NDArray[np.float32], truth: list[SketchSpecies]
) -> dict[str, Any]:
    """Score the family of unseen species, among all families, by the lineage in Latin."""
    level = RANKS.index("family")
    families = {one.lineage[level]: one.lineage[: level + 1] for one in truth}
    texts = [TEMPLATE.format(say_name(lineage, "", "taxon")) for lineage in families.values()]
    answers = np.array(list(families))[(images @ model.embed_texts(texts).T).argmax(1)]
    right = answers == np.array([one.lineage[level] for one in truth if one.role == "unseen"])
    return {**share(right), "n_classes": len(families)}


def score_animal(
    model: Model, animals: NDArray[np.float32], scenes: NDArray[np.float32], seed: int
) -> dict[str, Any]:
    """Score animal against not animal, with a bootstrap interval over the pictures."""
    yes, no = model.embed_texts([ANIMAL, NOT_ANIMAL])
    positive, negative = animals @ (yes - no), scenes @ (yes - no)
    rng = np.random.default_rng(seed)
    drawn = [
        area_under_roc(rng.choice(positive, len(positive)), rng.choice(negative, len(negative)))
        for _ in range(500)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {
        "auroc": round(area_under_roc(positive, negative), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
        "n_animals": len(positive),
        "n_not_animals": len(negative),
        "accuracy": share(np.concatenate([positive > 0, negative <= 0])),
    }


def evaluate(folder: Path, n_per_species: int, n_per_scene: int, seed: int) -> dict[str, Any]:
    """Draw, embed and score."""
    model, species = Model(folder), read_species()
    rng = np.random.default_rng(seed)
    truth = [one for one in species for _ in range(n_per_species)]
    images = model.embed_images([draw_animal(one, rng) for one in truth])
    scenes = model.embed_images(
        [draw_scene(kind, rng) for kind in SCENES for _ in range(n_per_scene)]
    )
    seen = np.array([one.role == "trained" for one in truth])
    seen_truth = [one for one in truth if one.role == "trained"]
    ranks: dict[str, dict[str, Any]] = {}
    for rank in RANKS[1:]:
        types = (*TEXT_TYPES, "asis") if rank == "species" else ("sci", "taxon")
        ranks[rank] = {
            kind: score_rank(model, images[seen], seen_truth, rank, kind) for kind in types
        }
    return {
        "date": DATE,
        "seed": seed,
        "template": TEMPLATE,
        "ranks": ranks,
        "unseen": {
            kind: score_unseen(model, images, truth, species, kind)
            for kind in ("com", "taxon_com", "asis")
        },
        "unseen_family": score_unseen_family(model, images[~seen], truth),
        "animal": score_animal(model, images, scenes, seed),
    }


def _cell(score: dict[str, Any]) -> str:
    low, high = score["interval"]
    return f"{score['value']:.3f} ({low:.3f} to {high:.3f})"


def write_card(folder: Path, figures: dict[str, Any]) -> None:
    """Write the model card from the figures and from what the training took."""
    training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    n_seen = figures["ranks"]["species"]["sci"]["n"]
    rank_rows = [
        f"| {rank} | {score['n_classes']} | {kind} | {_cell(score)} |"
        for rank, types in figures["ranks"].items()
        for kind, score in types.items()
    ]
    unseen_rows = [
        f"| {kind} | {_cell(score['among_unseen'])} | {_cell(score['seen_among_all'])} | "
        f"{_cell(score['unseen_among_all'])} | {score['harmonic_mean']:.3f} |"
        for kind, score in figures["unseen"].items()
    ]
    animal = figures["animal"]
    low, high = animal["interval"]
    text = CARD.format(
        **training,
        n_seen=n_seen,
        n_unseen=figures["unseen"]["asis"]["among_unseen"]["n"],
        test_seed=figures["seed"],
        date=figures["date"],
        size_mib=(folder / "open_clip_model.safetensors").stat().st_size / 2**20,
        rank_rows="\n".join(rank_rows),
        unseen_rows="\n".join(unseen_rows),
        auroc=f"{animal['auroc']:.3f} ({low:.3f} to {high:.3f})",
        n_animals=animal["n_animals"],
        n_not_animals=animal["n_not_animals"],
        unseen_family=_cell(figures["unseen_family"]),
        animal_accuracy=_cell(animal["accuracy"]),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


CARD = """# sketch: a very small CLIP for learning the tool

**Not for photographs.** This model has seen only pictures that this repository draws. It is here so
that every command can be tried, and tested, with no network. On a photograph its answers mean
nothing; use `bioclip-2` or another model for work.

- Form: open_clip local-dir; a ResNet of width 16 on 80 by 80 pixels beside a 2-layer transformer of
  width 128; {n_parameters:,} parameters, half precision, {size_mib:.1f} MiB; 192 dimensions.
- Tokenizer: lower-casing byte-level BPE, trained on the captions.
- Date {date}. Licence MIT, as the code. The species are those of `prompts/taxonomies/sketch.csv`.

## How it was trained

`python -m scripts.train_sketch --out bioprobe/sketch/weights`, seed {seed}: {n_pictures:,} pictures
drawn by `bioprobe.sketch`, {steps:,} steps of {pictures_per_step} pictures, {wall_s} s of wall time
({drawing_wall_s} s of it drawing) and {cpu_s} s of processor time on two shared cores.

The pictures are of three kinds: trained species under their names (all text types, all ranks) and
descriptions; chimeras, which are every form in colours and patterns drawn by lot, under
descriptions and invented names; and scenes without an animal. A caption that is also
true of another picture of the batch is not held against it. Each picture also meets a false
description of itself.

The looks of the unseen species (form, colour, second colour and pattern together) are in no
training picture and in no description of a whole animal, and their names are in no caption. Each
form, colour and pattern is met with others.

## What was measured

`python -m scripts.evaluate_sketch bioprobe/sketch/weights`, on pictures drawn from seed {test_seed}
at 256 pixels, with the one template "a photo of {{}}.". Top-1 with 95% Wilson intervals.

Trained species, {n_seen:,} pictures, zero-shot among the taxa of the trained species:

| rank | classes | text type | top-1 |
|---|---|---|---|
{rank_rows}

Unseen species, {n_unseen:,} pictures, by text alone; "among all" sets seen and unseen side by side:

| text type | among the unseen | seen, among all | unseen, among all | harmonic mean |
|---|---|---|---|---|
{unseen_rows}

The family of the unseen species (`taxon`, among all families): {unseen_family}.

Animal or not: "a photo of an animal." against "a photo of something that is not an animal.",
{n_animals:,} pictures with and {n_not_animals:,} without: AUROC {auroc} (bootstrap over the
pictures), accuracy at equal similarity {animal_accuracy}.

`evaluation.json` holds the same figures, `training.json` what the training took.
"""


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n-per-species", type=int, default=15)
    parser.add_argument("--n-per-scene", type=int, default=40)
    parser.add_argument("--seed", type=int, default=20261121)
    options = parser.parse_args(arguments)
    figures = evaluate(options.folder, options.n_per_species, options.n_per_scene, options.seed)
    text = json.dumps(figures, indent=2) + "\n"
    (options.folder / "evaluation.json").write_text(text, encoding="utf-8")
    write_card(options.folder, figures)
    print((options.folder / "README.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
