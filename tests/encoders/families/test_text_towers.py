"""Texts are cut to what their embeddings depend on, and embed as whole ones do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import transformers

from benchmarks import embed_speed
from bioprobe.encoders import load_encoder
from bioprobe.encoders.families.torch_encoder import TorchEncoder
from tests.encoders.conftest import CONTEXT_LENGTH, VISION, write_open_clip

BERT = {
    "initializer_range": 0.5,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
}
# Of one token to all that fit; and what is written as special tokens are.
TEXTS = [
    "owl",
    "",
    " ".join(["grey owl"] * 5),
    "a photo of a leopard.",
    "<pad> owl <pad>",
    "owl <end> snow fern",
    "a <end_of_text> owl",
    *(" ".join(["the fern"] * 5)[: 4 * n] for n in range(1, 10)),
]
LONG = [" ".join(["snow"] * n) for n in (12, 20, 43, 75)]

Write = Callable[[Path, transformers.PreTrainedTokenizerBase], str]


def write_with_causal_mask(
    folder: Path, tokenizer: transformers.PreTrainedTokenizerBase, pool: str
) -> str:
    """As those of CLIP in other languages, whose end token is not the highest."""
    tokenizer.save_pretrained(folder)
    text = {
        "context_length": CONTEXT_LENGTH, "vocab_size": len(tokenizer) + 3, "width": 32,
        "heads": 2, "layers": 2, "hf_tokenizer_name": "somewhere/else", "pool_type": pool,
        "eos_id": tokenizer.eos_token_id, "proj_bias": pool == "eos",
    }  # fmt: skip
    config = {"embed_dim": 24, "custom_text": True, "vision_cfg": VISION, "text_cfg": text}
    return f"local-dir:{write_open_clip(folder, config)}"


def write_with_bert(
    folder: Path, tokenizer: transformers.PreTrainedTokenizerBase, pooler: str
) -> str:
    config = transformers.BertConfig(
        **BERT, num_attention_heads=2, vocab_size=len(tokenizer), pad_token_id=0
    )
    transformers.BertModel(config).save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder)
    text = {
        "context_length": CONTEXT_LENGTH, "hf_model_name": str(folder / "bert"),
        "hf_tokenizer_name": "somewhere/else", "hf_pooler_type": pooler,
    }  # fmt: skip
    settings = {"embed_dim": 24, "custom_text": True, "vision_cfg": VISION, "text_cfg": text}
    return f"local-dir:{write_open_clip(folder, settings)}"


def write_coca(folder: Path, tokenizer: transformers.PreTrainedTokenizerBase) -> str:
    del tokenizer
    small = {"width": 32, "heads": 2, "layers": 2, "context_length": 12, "vocab_size": 49408}
    config = {
        "embed_dim": 24,
        "vision_cfg": VISION | {"attentional_pool": True, "output_tokens": True},
        "text_cfg": small | {"embed_cls": True, "output_tokens": True},
        "multimodal_cfg": small,
        "custom_text": True,
    }
    return f"local-dir:{write_open_clip(folder, config)}"


CUT: dict[str, Write | str] = {
    "open_clip": "open_clip_dir",
    "open_clip, end token": lambda f, t: write_with_causal_mask(f, t, "eos"),
    "open_clip, highest token": lambda f, t: write_with_causal_mask(f, t, "argmax"),
    "open_clip, BERT, mean": lambda f, t: write_with_bert(f, t, "mean_pooler"),
    "open_clip, BERT, first": lambda f, t: write_with_bert(f, t, "cls_pooler"),
    "transformers, CLIP": "clip_dir",
}
WHOLE: dict[str, Write | str] = {
    "open_clip, SigLIP": "open_clip_hf_dir",
    "open_clip, last token": lambda f, t: write_with_causal_mask(f, t, "last"),
    "open_clip, CoCa": write_coca,
    "transformers, SigLIP": "siglip_dir",
}
FOLDERS = {"open_clip_dir": "local-dir", "open_clip_hf_dir": "local-dir"}


@pytest.fixture
def load(
    request: pytest.FixtureRequest, tmp_path: Path, tokenizer: transformers.PreTrainedTokenizerBase
) -> Callable[[Write | str, int], TorchEncoder]:
    def load_it(what: Write | str, batch_size: int) -> TorchEncoder:
        if isinstance(what, str):
            family = FOLDERS.get(what, "transformers")
            name = f"{family}:{request.getfixturevalue(what)}"
        else:
            name = what(tmp_path, tokenizer)
        encoder = load_encoder(name, device="cpu", batch_size=batch_size)
        assert isinstance(encoder, TorchEncoder)
        return encoder

    return load_it


def embed_whole(encoder: TorchEncoder, texts: list[str]) -> np.ndarray:
    """Embed texts by the library alone, with all of their padding."""
    tower = encoder._text_tower
    assert tower is not None
    tokens = tower.tokenise(texts)
    with torch.inference_mode():
        if "text" in tokens:
            found = encoder.module.encode_text(tokens["text"])  # type: ignore[operator]
        else:
            found = encoder.module.get_text_features(**tokens).pooler_output  # type: ignore[operator]
        unit: np.ndarray = torch.nn.functional.normalize(found, dim=1).numpy()
    return unit


@pytest.mark.parametrize("name", CUT)
def test_texts_that_are_cut_embed_as_whole_ones_do(
    load: Callable[[Write | str, int], TorchEncoder], name: str
) -> None:
    encoder = load(CUT[name], 3)
    tower = encoder._text_tower
    assert tower is not None
    texts = [*TEXTS, *(LONG if tower.context_length > CONTEXT_LENGTH else [])]
    np.testing.assert_allclose(encoder.encode_text(texts), embed_whole(encoder, texts), atol=1e-6)
    lengths = list(encoder._text_runners)
    assert min(lengths) <= 8
    assert max(lengths) == tower.context_length
    assert len(lengths) == (5 if len(texts) > len(TEXTS) else 3)
    # The library's own embedding does tell them apart, and does so of each alone.
    alone = np.concatenate([encoder.encode_text([text]) for text in texts])
    np.testing.assert_allclose(alone, embed_whole(encoder, texts), atol=1e-6)
    assert np.abs(np.diff(alone[:4], axis=0)).max(axis=1).min() > 1e-4


@pytest.mark.parametrize("name", WHOLE)
def test_what_depends_on_all_tokens_is_given_all(
    load: Callable[[Write | str, int], TorchEncoder], name: str
) -> None:
    encoder = load(WHOLE[name], 3)
    np.testing.assert_allclose(encoder.encode_text(TEXTS), embed_whole(encoder, TEXTS), atol=1e-6)
    assert set(encoder._text_runners) == {CONTEXT_LENGTH}


def test_clip_of_a_wrong_end_token_is_cut_at_the_highest(
    clip_dir: Path, tmp_path: Path, texts: list[str]
) -> None:
    """OpenAI's checkpoints name token 2 in their settings, and end texts with another."""
    folder = shutil.copytree(clip_dir, tmp_path / "clip")
    settings = json.loads((folder / "config.json").read_text())
    settings["text_config"]["eos_token_id"] = 2
    (folder / "config.json").write_text(json.dumps(settings))
    encoder = load_encoder(f"transformers:{folder}", device="cpu")
    assert isinstance(encoder, TorchEncoder)
    vectors = encoder.encode_text(texts)
    assert set(encoder._text_runners) == {8}
    np.testing.assert_allclose(vectors, embed_whole(encoder, texts), atol=1e-6)


def test_a_text_is_tokenised_once(open_clip_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    read = open_clip.SimpleTokenizer.encode

    def watch(self: open_clip.SimpleTokenizer, text: str) -> list[int]:
        seen.append(text)
        tokens: list[int] = read(self, text)
        return tokens

    encoder = load_encoder(f"local-dir:{open_clip_dir}", device="cpu", batch_size=2)
    monkeypatch.setattr(open_clip.SimpleTokenizer, "encode", watch)
    encoder.encode_text(TEXTS)
    assert seen == TEXTS


def test_prompts_of_taxa_are_measured_beside_the_plain_loop(open_clip_dir: Path) -> None:
    rows = embed_speed._list_text_rows(open_clip_dir, 1e9, is_quick=True)
    assert [row.size for row in rows] == [
        "ViT-B/16, 32 short prompts",
        "ViT-B/16, 32 taxonomic prompts",
    ]
    tokens = open_clip.SimpleTokenizer()(embed_speed.draw_taxonomic_prompts(64))
    assert 26 <= float((tokens != 0).sum(dim=1).float().mean()) <= 31
