"""Train twins of the sketch model that have a vision transformer, for the tests alone.

Both models that can be asked without a network are CNNs, and most models that people use are not.
Each twin is a small ViT of open_clip that learns to give sketch's own vector (by cosine) of the
pictures that this repository draws, so that sketch's texts can be asked of it; one reads its class
token, one the mean of its patches, one pools by attention. One command does all of it::

    python -m scripts.train_sketch_twins --out tests/explanation/twins

Each folder that it writes is an open_clip local-dir, without a tokenizer.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bioprobe.encoders import load_encoder
from bioprobe.sketch.drawing import FORMS, draw_look
from bioprobe.sketch.tree import read_species
from scripts.sketch.chimeras import draw_chimera_look
from scripts.train_sketch import EMBED_DIM, IMAGE_PX, augment, write_model

_VISION = {"image_size": IMAGE_PX, "patch_size": 8, "width": 64, "layers": 4, "head_width": 16}
#: What each twin has beside the size that they share.
POOLINGS: dict[str, dict[str, Any]] = {
    "class-token": {"pool_type": "tok"},
    "mean": {"pool_type": "avg"},
    "attention": {"attentional_pool": True, "attn_pooler_queries": 1, "attn_pooler_heads": 4},
}


@dataclass(frozen=True)
class Options:
    """Hold what the command line asks for."""

    out: Path
    steps: int
    batch_size: int
    n_pictures: int
    seed: int
    workers: int


def draw_picture(job: tuple[int, int]) -> NDArray[np.uint8]:
    """Draw a species, or an animal of any look, by a number; runs in a worker process."""
    rng = np.random.default_rng(job)
    species = [one.look for one in read_species()]
    if job[1] % 2:
        look = species[int(rng.integers(len(species)))]
    else:
        forms = tuple(FORMS)
        look = draw_chimera_look(rng, set(species), forms[int(rng.integers(len(forms)))])
    return np.asarray(draw_look(look, rng, IMAGE_PX))


def configure(pooling: str) -> dict[str, Any]:
    """Return the open_clip configuration of a twin; its text side is there for the form alone."""
    text = {"context_length": 4, "vocab_size": 4, "width": 8, "heads": 1, "layers": 1}
    text["hf_tokenizer_name"] = "none"  # type: ignore[assignment]
    return {
        "embed_dim": EMBED_DIM,
        "vision_cfg": _VISION | POOLINGS[pooling],
        "text_cfg": text,
    }


def train(options: Options) -> dict[str, dict[str, Any]]:
    """Draw, teach all twins on the same pictures, and write them; return what it took."""
    import open_clip

    jobs = [(options.seed, number) for number in range(options.n_pictures)]
    with ProcessPoolExecutor(options.workers) as pool:
        pictures = torch.from_numpy(np.stack(list(pool.map(draw_picture, jobs, chunksize=64))))
    print(f"drew {len(pictures)} pictures", flush=True)
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    teacher = load_encoder("sketch", device="cpu", precision="fp32")
    twins = {name: open_clip.model.CLIP(**configure(name)).train() for name in POOLINGS}
    parameters = [p for twin in twins.values() for p in twin.visual.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=0.0, weight_decay=0.05, betas=(0.9, 0.98))
    cosines: dict[str, list[float]] = {name: [] for name in twins}
    for step in range(options.steps):
        warm = min(1.0, (step + 1) / 60)
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * warm * 0.5 * (1 + math.cos(math.pi * step / options.steps))
        rows = torch.from_numpy(rng.integers(0, len(pictures), options.batch_size))
        pixels = augment(pictures[rows], rng).contiguous()
        wanted = torch.from_numpy(teacher.encode_pixels(pixels.numpy()))
        loss = torch.zeros(())
        for name, twin in twins.items():
            vectors = twin.visual(pixels)
            cosine = torch.nn.functional.cosine_similarity(vectors, wanted).mean()
            cosines[name].append(cosine.item())
            loss = loss + 1 - cosine
        loss.backward()  # type: ignore[no-untyped-call]
        for twin in twins.values():
            torch.nn.utils.clip_grad_norm_(twin.visual.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 25 == 0:
            said = ", ".join(f"{name} {values[-1]:.3f}" for name, values in cosines.items())
            print(f"step {step} of {options.steps}: {said}", flush=True)
    for name, twin in twins.items():
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        write_model(twin, configure(name), folder)
    return {
        name: {
            "taught_by": "sketch",
            "cosine_of_last_50_steps": round(float(np.mean(values[-50:])), 4),
            "n_pictures": options.n_pictures,
            "steps": options.steps,
            "pictures_per_step": options.batch_size,
            "seed": options.seed,
        }
        for name, values in cosines.items()
    }


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--steps", type=int, default=550)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--n-pictures", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workers", type=int, default=2)
    options = Options(**vars(parser.parse_args(arguments)))
    started = time.process_time()
    for name, taken in train(options).items():
        text = json.dumps(taken, indent=2) + "\n"
        (options.out / name / "training.json").write_text(text, encoding="utf-8")
        print(name, text)
    print(f"{time.process_time() - started:.0f} s of CPU beside the drawing")


if __name__ == "__main__":
    main()
