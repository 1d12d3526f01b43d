"""Small models with random weights, each written by its own library in its own format."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import open_clip
import pytest
import safetensors.torch
import timm
import tokenizers
import torch
import transformers
from PIL import Image

WORDS = ("a", "photo", "of", "leopard", "owl", "fern", ".", "grey", "snow", "the")
CONTEXT_LENGTH = 12

VISION = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
PREPROCESSING = {
    "mean": [0.4, 0.5, 0.6],
    "std": [0.2, 0.3, 0.25],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Seven pictures of different shapes: more than one batch of 3, with a short last one."""
    random = np.random.default_rng(7)
    sizes = [(48, 32), (32, 48), (40, 40), (64, 50), (33, 77), (32, 32), (100, 60)]
    return [
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for width, height in sizes
    ]


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return ["a photo of a leopard.", "owl", "the grey fern of snow", "a photo of the owl."]


@pytest.fixture(scope="session")
def tokenizer() -> transformers.PreTrainedTokenizerBase:
    return build_tokenizer()


def build_tokenizer() -> transformers.PreTrainedTokenizerBase:
    vocabulary = {"<pad>": 0, "<start>": 1, "<unk>": 2}
    vocabulary |= {word: 3 + row for row, word in enumerate(WORDS)}
    vocabulary["<end>"] = len(vocabulary)
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="<start> $A <end>",
        special_tokens=[("<start>", 1), ("<end>", vocabulary["<end>"])],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<start>",
        eos_token="<end>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=CONTEXT_LENGTH,
        padding_side="right",
    )


def write_open_clip(
    folder: Path, model_config: dict[str, object], *, dtype: torch.dtype = torch.float32
) -> Path:
    """Write a random model as open_clip's local directory."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": model_config, "preprocess_cfg": PREPROCESSING}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(3)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    weights = {name: value.to(dtype).contiguous() for name, value in model.state_dict().items()}
    safetensors.torch.save_file(weights, folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="session")
def open_clip_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIP with open_clip's own tokenizer."""
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    config = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": text}
    return write_open_clip(tmp_path_factory.mktemp("open_clip"), config)


@pytest.fixture(scope="session")
def open_clip_hf_dir(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: transformers.PreTrainedTokenizerBase
) -> Path:
    """CLIP whose tokenizer is a Hugging Face one, as SigLIP's is."""
    folder = tmp_path_factory.mktemp("open_clip_hf")
    tokenizer.save_pretrained(folder)
    text = {
        "context_length": CONTEXT_LENGTH,
        "vocab_size": len(tokenizer),
        "width": 32,
        "heads": 2,
        "layers": 2,
        "hf_tokenizer_name": "somewhere/else",
        "pool_type": "last",
        "no_causal_mask": True,
    }
    config = {"embed_dim": 24, "custom_text": True, "vision_cfg": VISION, "text_cfg": text}
    return write_open_clip(folder, config)


@pytest.fixture(scope="session")
def open_clip_resnet_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIP whose image tower normalises by batch, as the sketch model's does."""
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    vision = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64}
    config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    return write_open_clip(tmp_path_factory.mktemp("open_clip_resnet"), config)


def _save_transformers(
    folder: Path,
    model: transformers.PreTrainedModel,
    processor: transformers.BaseImageProcessor,
    tokenizer: transformers.PreTrainedTokenizerBase | None = None,
) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return folder


_TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
_HEADS = {"num_attention_heads": 2}
_PATCHES = {"image_size": 32, "patch_size": 8}


@pytest.fixture(scope="session")
def clip_dir(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: transformers.PreTrainedTokenizerBase
) -> Path:
    torch.manual_seed(4)
    text = {
        **_TOWER,
        **_HEADS,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": CONTEXT_LENGTH,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = transformers.CLIPConfig(
        text_config=text, vision_config={**_TOWER, **_HEADS, **_PATCHES}, projection_dim=20
    )
    processor = transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    folder = tmp_path_factory.mktemp("clip")
    return _save_transformers(folder, transformers.CLIPModel(config), processor, tokenizer)


@pytest.fixture(scope="session")
def siglip_dir(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: transformers.PreTrainedTokenizerBase
) -> Path:
    """SigLIP, and SigLIP 2 of fixed resolution, which has the same classes on disk."""
    torch.manual_seed(5)
    text = {
        **_TOWER,
        **_HEADS,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": CONTEXT_LENGTH,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = transformers.SiglipConfig(
        text_config=text, vision_config={**_TOWER, **_HEADS, **_PATCHES}
    )
    processor = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
    folder = tmp_path_factory.mktemp("siglip")
    return _save_transformers(folder, transformers.SiglipModel(config), processor, tokenizer)


@pytest.fixture(scope="session")
def dinov2_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(6)
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8
    )
    processor = transformers.BitImageProcessor(
        size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}
    )
    folder = tmp_path_factory.mktemp("dinov2")
    return _save_transformers(folder, transformers.Dinov2Model(config), processor)


@pytest.fixture(scope="session")
def resnet_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of transformers that normalises by batch."""
    torch.manual_seed(7)
    config = transformers.ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 24], depths=[1, 1], layer_type="basic"
    )
    processor = transformers.BitImageProcessor(
        size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}
    )
    folder = tmp_path_factory.mktemp("resnet")
    return _save_transformers(folder, transformers.ResNetModel(config), processor)


@pytest.fixture(scope="session")
def timm_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(8)
    model = timm.create_model("test_resnet", num_classes=5)
    folder = tmp_path_factory.mktemp("timm")
    timm.models.save_for_hf(model, folder, safe_serialization=True)
    return folder


def write_onnx(
    path: Path, *, batch: int | str = "n", outputs: Sequence[str] = ("features",)
) -> Path:
    """Write a convolution, rectified and averaged, as an ONNX file."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(9)
    kernel = random.normal(size=(6, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["pixels", "kernel"], ["maps"], strides=[2, 2]),
        helper.make_node("Relu", ["maps"], ["rectified"]),
        helper.make_node("GlobalAveragePool", ["rectified"], ["pooled"]),
    ]
    nodes += [helper.make_node("Flatten", ["pooled"], [name]) for name in outputs]
    graph = helper.make_graph(
        nodes,
        "backbone",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [batch, 3, 24, 24])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 6]) for name in outputs],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_onnx(tmp_path_factory.mktemp("onnx") / "backbone.onnx")


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, and no hub to be reached."""

    def refuse(*_arguments: object, **_options: object) -> None:
        msg = "Name or service not known"
        raise OSError(msg)

    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", refuse)
    return cache


COMMIT = "c0ffee" + "0" * 34


@pytest.fixture
def put_in_cache(hub_cache: Path) -> Callable[[str, Path], Path]:
    """Copy a folder into the cache as the newest commit of a repository."""

    def put(repository: str, folder: Path) -> Path:
        root = hub_cache / f"models--{repository.replace('/', '--')}"
        snapshot = shutil.copytree(folder, root / "snapshots" / COMMIT)
        (root / "refs").mkdir()
        (root / "refs" / "main").write_text(COMMIT)
        return snapshot

    return put
