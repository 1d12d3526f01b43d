"""Train the embedded sketch model on pictures that this repository draws.

One command does all of it, in the memory and on the cores of a laptop::

    python -m scripts.train_sketch --out bioprobe/sketch/weights

The folder that it writes is an open_clip local-dir: configuration, tokenizer and weights.
``scripts/evaluate_sketch.py`` then measures the model and writes its card.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from bioprobe.sketch.drawing import FORMS, draw_look
from bioprobe.sketch.scenes import SCENES, draw_scene
from bioprobe.sketch.tree import SketchSpecies, read_species
from scripts.sketch.chimeras import draw_chimera_look, find_lineages
from scripts.sketch.lessons import Subject, Teacher, match

IMAGE_PX = 80
EMBED_DIM = 192
CONTEXT_LENGTH = 64
MEAN, STD = 0.5, 0.25
OpenClipModel: TypeAlias = Any  # open_clip ships no types
OpenClipTokenizer: TypeAlias = Any
PAD, BEGIN, END = "<pad>", "<begin>", "<end>"


@dataclass(frozen=True)
class Options:
    """Hold what the command line asks for."""

    out: Path
    steps: int
    batch_size: int
    n_per_species: int
    n_per_form: int
    n_per_scene: int
    seed: int
    workers: int


def draw_subject(job: tuple[Subject, int]) -> NDArray[np.uint8]:
    """Draw one training picture; runs in a worker process."""
    subject, seed = job
    rng = np.random.default_rng(seed)
    if subject.look is None:
        return np.asarray(draw_scene(subject.scene, rng, IMAGE_PX))
    return np.asarray(draw_look(subject.look, rng, IMAGE_PX))


def list_subjects(species: list[SketchSpecies], options: Options) -> list[Subject]:
    """List what is drawn: trained species, chimeras of every form, scenes."""
    rng = np.random.default_rng(options.seed)
    real = {one.look for one in species}
    trained = [one for one in species if one.role == "trained"]
    subjects = [Subject(one.look, one) for one in trained for _ in range(options.n_per_species)]
    subjects += [
        Subject(draw_chimera_look(rng, real, form))
        for form in FORMS
        for _ in range(options.n_per_form)
    ]
    return subjects + [Subject(scene=kind) for kind in SCENES for _ in range(options.n_per_scene)]


def draw_all(subjects: list[Subject], options: Options) -> NDArray[np.uint8]:
    """Draw every picture in worker processes; none is written to disk."""
    jobs = [(subject, options.seed * 1_000_003 + i) for i, subject in enumerate(subjects)]
    with ProcessPoolExecutor(options.workers) as pool:
        return np.stack(list(pool.map(draw_subject, jobs, chunksize=64)))


def hire_teacher(subjects: list[Subject], rng: np.random.Generator) -> Teacher:
    """Return a teacher that never speaks of what the unseen species look like."""
    species = read_species()
    unseen = frozenset(one.look for one in species if one.role == "unseen")
    return Teacher(subjects, find_lineages(species), rng, unseen)


def write_tokenizer(corpus: Iterable[str], out: Path, context_length: int) -> int:
    """Train a lower-casing byte-pair tokenizer and write it in the Hugging Face layout.

    Parameters
    ----------
    corpus : iterable of str
        Captions to learn pieces of words from; bytes cover what was not met.
    out : Path
        Folder to write into.
    context_length : int
        Longest text in tokens.

    Returns
    -------
    int
        Size of the vocabulary. The end token has the highest id: open_clip pools where the id is
        highest.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    # A word after a hyphen gets the same pieces as after a space: "blue-banded", "banded".
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Whitespace(),
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1400,
        min_frequency=3,
        special_tokens=[PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_special_tokens([BEGIN, END])
    ends = [(token, tokenizer.token_to_id(token)) for token in (BEGIN, END)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A {END}", special_tokens=ends
    )
    tokenizer.save(str(out / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": PAD,
        "bos_token": BEGIN,
        "eos_token": END,
        "model_max_length": context_length,
        "clean_up_tokenization_spaces": False,
    }
    text = json.dumps(settings, indent=2) + "\n"
    (out / "tokenizer_config.json").write_text(text, encoding="utf-8")
    return int(tokenizer.get_vocab_size())


def contrast(
    logits: torch.Tensor, true: torch.Tensor, images: torch.Tensor, texts: torch.Tensor
) -> torch.Tensor:
    """Return the contrastive loss of true pairs against every false one.

    For a pair of similarity s it is ``log(1 + Σ exp(false) / exp(s))``, over the false texts of its
    picture and over the pictures its text is false of; other true pairs take no part.

    Parameters
    ----------
    logits : Tensor of float32, shape (n_images, n_texts)
        Scaled similarities.
    true : Tensor of bool, shape (n_images, n_texts)
        Which texts are true of which pictures.
    images, texts : Tensor of int64, shape (n_pairs,)
        The pairs that were said.

    Returns
    -------
    Tensor
        Scalar.
    """
    false = logits.masked_fill(true, -1e4)
    said = logits[images, texts]
    by_image = torch.nn.functional.softplus(false.logsumexp(1)[images] - said)
    by_text = torch.nn.functional.softplus(false.logsumexp(0)[texts] - said)
    return (by_image.mean() + by_text.mean()) / 2


def encode_text(model: OpenClipModel, tokens: torch.Tensor) -> torch.Tensor:
    """Encode texts as the model does, without the padding that follows the longest of them."""
    length = int((tokens != 0).sum(1).max())
    tokens = tokens[:, :length]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    x = model.ln_final(x)[torch.arange(len(tokens)), tokens.argmax(1)]
    return torch.nn.functional.normalize((x @ model.text_projection).float(), dim=-1)


def encode_sorted(model: OpenClipModel, tokens: torch.Tensor, parts: int = 5) -> torch.Tensor:
    """Encode short texts with short ones: most of the time would go into padding."""
    order = (tokens != 0).sum(1).argsort()
    encoded = torch.cat([encode_text(model, tokens[chunk]) for chunk in order.chunk(parts)])
    return encoded[order.argsort()]


def augment(pictures: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Shift, flip and relight a batch of pictures, and scale them to the model's input."""
    x = pictures.permute(0, 3, 1, 2).float() / 255
    pad = 5
    x = torch.nn.functional.pad(x, (pad,) * 4, mode="replicate")
    dx, dy = (int(i) for i in rng.integers(0, 2 * pad + 1, 2))
    x = x[:, :, dy : dy + IMAGE_PX, dx : dx + IMAGE_PX]
    x = x.flip(3) if rng.random() < 0.5 else x
    gain = torch.from_numpy(rng.normal(1.0, 0.05, (len(x), 3, 1, 1))).float()
    return ((x * gain - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def model_config(vocab_size: int) -> dict[str, Any]:
    """Return the open_clip configuration: a small ResNet beside a small transformer."""
    vision = {"image_size": IMAGE_PX, "layers": [1, 2, 2, 2], "width": 16, "head_width": 64}
    text = {
        "context_length": CONTEXT_LENGTH,
        "vocab_size": vocab_size,
        "hf_tokenizer_name": "sketch",
        "tokenizer_kwargs": {"clean": "whitespace"},
        "width": 128,
        "heads": 4,
        "layers": 2,
    }
    return {"embed_dim": EMBED_DIM, "vision_cfg": vision, "text_cfg": text}


@dataclass(frozen=True)
class Desk:
    """Hold what the workers share: each teaches a copy of the model on one core.

    One thread a worker and one meeting a step is far quicker on shared cores than two threads that
    wait for each other in every layer.
    """

    pictures: torch.Tensor
    gradients: torch.Tensor
    barrier: Any

    def average(self, worker: int, gradient: torch.Tensor) -> torch.Tensor:
        """Give one worker's gradient and return the mean of all; every worker gets the same."""
        self.gradients[worker] = gradient
        self.barrier.wait()
        mean = self.gradients.mean(0)
        self.barrier.wait()
        return mean


def teach(worker: int, subjects: list[Subject], desk: Desk, options: Options) -> None:
    """Teach one worker's copy of the model; the first worker writes it at the end."""
    import open_clip

    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    teacher = hire_teacher(subjects, np.random.default_rng((options.seed, 1, worker)))
    tokenizer = open_clip.tokenizer.HFTokenizer(str(options.out), context_length=CONTEXT_LENGTH)
    config = model_config(len(tokenizer.tokenizer))
    model = open_clip.model.CLIP(**config).train()
    model.visual.to(memory_format=torch.channels_last)
    parameters = list(model.parameters())
    optimizer = _optimizer(parameters)
    for step in range(options.steps):
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, options.steps)
        loss = take_step(model, desk.pictures, teacher, tokenizer, options.batch_size)
        loss.backward()  # type: ignore[no-untyped-call]
        flat = torch.cat([p.grad.reshape(-1) for p in parameters])
        _take_gradient(parameters, desk.average(worker, flat))
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        if worker == 0 and step % 25 == 0:
            print(f"step {step} of {options.steps}, loss {loss.item():.3f}", flush=True)
    if worker == 0:
        write_model(model, config, options.out)


def _optimizer(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    decay = [p for p in parameters if p.ndim >= 2]
    rest = [p for p in parameters if p.ndim < 2]
    groups = [{"params": decay, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98))


def _rate(step: int, steps: int) -> float:
    return 2e-3 * min(1.0, (step + 1) / 80) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _take_gradient(parameters: list[torch.nn.Parameter], flat: torch.Tensor) -> None:
    flat = flat * min(1.0, 1.0 / (float(flat.norm()) + 1e-6))
    for p, part in zip(parameters, torch.split(flat, [p.numel() for p in parameters]), strict=True):
        p.grad = part.view_as(p)


def take_step(
    model: OpenClipModel,
    pictures: torch.Tensor,
    teacher: Teacher,
    tokenizer: OpenClipTokenizer,
    batch_size: int,
) -> torch.Tensor:
    """Choose a batch, say things about it, and return the loss."""
    rows = teacher.choose(batch_size)
    texts, places, claims = teacher.say(rows)
    true = torch.from_numpy(match(teacher.facts[rows], claims))
    images = augment(pictures[torch.from_numpy(rows)], teacher.rng)
    with torch.autocast("cpu", torch.bfloat16):
        image_embeddings = model.visual(images).float()
        text_embeddings = encode_sorted(model, tokenizer(texts))
    image_embeddings = torch.nn.functional.normalize(image_embeddings, dim=-1)
    logits = model.logit_scale.exp() * image_embeddings @ text_embeddings.T
    own = torch.from_numpy(np.flatnonzero(places >= 0))
    return contrast(logits, true, torch.from_numpy(places)[own], own)


def write_model(model: OpenClipModel, config: dict[str, Any], out: Path) -> None:
    """Write configuration and half-precision weights."""
    from safetensors.torch import save_file

    preprocess: dict[str, Any] = {"mean": [MEAN] * 3, "std": [STD] * 3}
    preprocess |= {"interpolation": "bicubic", "resize_mode": "squash"}
    card = {"model_cfg": config, "preprocess_cfg": preprocess}
    (out / "open_clip_config.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    path = out / "open_clip_model.safetensors"
    save_file(state, path)
    path.chmod(0o644)  # safetensors writes for the owner alone; other users load it too


def train(options: Options) -> dict[str, Any]:
    """Draw, teach and write; return what it took."""
    from torch.multiprocessing.spawn import spawn

    started = time.monotonic()
    subjects = list_subjects(read_species(), options)
    pictures = draw_all(subjects, options)
    drawn_s = time.monotonic() - started
    print(f"drew {len(subjects)} pictures in {drawn_s:.0f} s", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    teacher = hire_teacher(subjects, np.random.default_rng((options.seed, 2)))
    corpus = [text for _ in range(12) for text in teacher.say(teacher.choose(400))[0]]
    n_parameters = count_parameters(write_tokenizer(corpus, options.out, CONTEXT_LENGTH))
    context = multiprocessing.get_context("spawn")
    desk = Desk(
        torch.from_numpy(pictures).share_memory_(),  # type: ignore[no-untyped-call]
        torch.zeros(options.workers, n_parameters).share_memory_(),  # type: ignore[no-untyped-call]
        context.Barrier(options.workers),
    )
    if options.workers == 1:
        teach(0, subjects, desk, options)
    else:
        spawn(teach, (subjects, desk, options), options.workers)  # type: ignore[no-untyped-call]
    cpu = os.times()
    return {
        "n_pictures": len(subjects),
        "steps": options.steps,
        "pictures_per_step": options.batch_size * options.workers,
        "seed": options.seed,
        "wall_s": round(time.monotonic() - started),
        "cpu_s": round(sum(cpu[:4])),
        "drawing_wall_s": round(drawn_s),
        "n_parameters": n_parameters,
    }


def count_parameters(vocab_size: int) -> int:
    """Return the number of parameters of the model with a vocabulary of some size."""
    import open_clip

    model = open_clip.model.CLIP(**model_config(vocab_size))
    return sum(p.numel() for p in model.parameters())


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--batch-size", type=int, default=128, help="of one worker")
    parser.add_argument("--n-per-species", type=int, default=60)
    parser.add_argument("--n-per-form", type=int, default=420)
    parser.add_argument("--n-per-scene", type=int, default=150)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workers", type=int, default=2)
    options = Options(**vars(parser.parse_args(arguments)))
    spent = train(options)
    text = json.dumps(spent, indent=2) + "\n"
    (options.out / "training.json").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
