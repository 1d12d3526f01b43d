"""The trainer runs end to end and never teaches that a true caption is false."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bioprobe.sketch import draw_animal, read_species

ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_two_steps_write_a_model_that_open_clip_loads(tmp_path: Path) -> None:
    import open_clip

    sizes = "--steps 2 --batch-size 9 --n-per-species 1 --n-per-form 1 --n-per-scene 1 --workers 1"
    command = [sys.executable, "-m", "scripts.train_sketch", "--out", str(tmp_path), *sizes.split()]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path}")(["a cat"])
    picture = draw_animal(read_species()[0], np.random.default_rng(0), 80)
    with torch.inference_mode():
        image, text = (
            model.eval().encode_image(preprocess(picture)[None]),
            model.encode_text(tokens),
        )
    assert image.shape == text.shape == (1, 192)
    assert (tmp_path / "training.json").is_file()


def test_twins_learn_the_vectors_of_sketch(tmp_path: Path) -> None:
    from bioprobe.encoders import load_encoder
    from scripts.train_sketch_twins import POOLINGS, Options, train

    options = Options(tmp_path, steps=3, batch_size=4, n_pictures=6, seed=1, workers=1)
    taken = train(options)
    assert set(taken) == set(POOLINGS)
    picture = draw_animal(read_species()[0], np.random.default_rng(0), 80)
    vectors = []
    for name, said in taken.items():
        twin = load_encoder(f"local-dir:{tmp_path / name}", device="cpu", precision="fp32")
        assert -1 <= said["cosine_of_last_50_steps"] <= 1
        vectors.append(twin.encode_image([picture])[0])
    assert np.linalg.matrix_rank(np.array(vectors)) == len(POOLINGS)
