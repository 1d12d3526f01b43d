"""What learns: the last blocks of an image tower, or low-rank changes of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from bioprobe.encoders.families.torch_encoder import TorchEncoder
from bioprobe.errors import MissingExtraError, MisuseError, ModelUnavailableError
from bioprobe.finetuning.cut import Cut, cut_tower
from bioprobe.types import Vectors


@dataclasses.dataclass(eq=False)
class Learner:
    """The part of an encoder that learns. Make one with :func:`open_learner`.

    Parameters
    ----------
    cut : Cut
        The tower in two parts.
    parameters : dict of str to Parameter
        What learns, by name.
    adapted : tuple of str
        Names of the linear layers that low-rank changes are of; empty where the weights learn.
    lora : object, optional
        What puts the changes into the weights, of ``peft``.
    """

    cut: Cut
    parameters: dict[str, torch.nn.Parameter]
    adapted: tuple[str, ...] = ()
    lora: Any = None

    @property
    def n_parameters(self) -> int:
        """Numbers that learn."""
        return sum(one.numel() for one in self.parameters.values())

    def embed(self, activations: torch.Tensor) -> torch.Tensor:
        """Return unit rows of activations, with a graph where gradients are asked."""
        return torch.nn.functional.normalize(self.cut.run_trained(activations).float(), dim=-1)

    def read(self) -> dict[str, torch.Tensor]:
        """Return a copy of what learns as it is now, on the processor."""
        return {name: one.detach().cpu().clone() for name, one in self.parameters.items()}

    def write(self, values: dict[str, torch.Tensor]) -> None:
        """Put values of :meth:`read` in place."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(values[name])

    def finish(self) -> torch.nn.Module:
        """Return the whole model; low-rank changes become part of its weights."""
        if self.lora is not None:
            self.lora.merge_and_unload()
        return self.cut.module.requires_grad_(False)


def open_learner(
    encoder: TorchEncoder, n_blocks: int, rank: int | None = None, *, seed: int = 0
) -> Learner:
    """Make a copy of an encoder of which the last blocks learn.

    What comes after them, such as the last norm and the projection, learns with them. With a rank,
    only low-rank changes of their linear layers do. Nothing is dropped out, and norms by batch keep
    the means that they have: a batch of one's own pictures may be of one site.

    Parameters
    ----------
    encoder : TorchEncoder
        In fp32; it is left as it is.
    n_blocks : int
        Blocks that learn.
    rank : int, optional
        Of the low-rank changes.
    seed : int
        Of their start.

    Raises
    ------
    MisuseError
        If it has fewer blocks.
    MissingExtraError
        If a rank is given and ``peft`` is not installed.
    ModelUnavailableError
        If no blocks can be told apart.

    References
    ----------
    Hu et al. 2022, *LoRA: Low-Rank Adaptation of Large Language Models*.
    """
    module, embed = encoder.copy_image_tower()
    device = encoder.runtime.device
    picture = _draw_noise(encoder).to(device)
    cut = cut_tower(encoder.name, module, embed, picture, n_blocks)
    if rank is None:
        named = dict(module.named_parameters())
        parameters = {name: named[name] for name in cut.learning}
        return Learner(cut, _let_learn(parameters))
    adapted = _list_layers(cut)
    if not adapted:
        msg = f"the last {n_blocks} blocks of {encoder.name} have no linear layer for --lora"
        raise ModelUnavailableError(msg)
    lora = _inject(module, adapted, rank, seed)
    module.to(device).eval()
    parameters = {name: one for name, one in module.named_parameters() if ".lora_" in name}
    return Learner(cut, _let_learn(parameters), adapted, lora)


def _let_learn(parameters: dict[str, torch.nn.Parameter]) -> dict[str, torch.nn.Parameter]:
    for one in parameters.values():
        one.requires_grad_()
    return parameters


def _draw_noise(encoder: TorchEncoder) -> torch.Tensor:
    import PIL.Image

    random = np.random.default_rng(0)
    picture = PIL.Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    return torch.tensor(encoder.preprocess(picture)[None])


def _list_layers(cut: Cut) -> tuple[str, ...]:
    """Return the layers of the blocks that learn which low-rank changes can be of.

    An attention that holds its weights in one piece, as open_clip's do, is one layer.
    """
    found: list[str] = []
    for block in cut.trained_blocks:
        for name, part in cut.module.get_submodule(block).named_modules(prefix=block):
            if any(name.startswith(f"{other}.") for other in found):
                continue
            is_whole_conv = isinstance(part, torch.nn.Conv2d) and part.groups == 1
            if isinstance(part, torch.nn.MultiheadAttention):
                # Only what is asked for queries, keys and values as one can be adapted.
                if part.in_proj_weight is not None:
                    found.append(name)
            elif isinstance(part, torch.nn.Linear) or is_whole_conv:
                found.append(name)
    return tuple(found)


def _inject(module: torch.nn.Module, adapted: tuple[str, ...], rank: int, seed: int) -> Any:  # noqa: ANN401
    try:
        from peft import LoraConfig
        from peft.tuners.lora import LoraModel
    except ImportError as error:
        msg = 'low-rank changes need peft, which is not installed: pip install "bioprobe[finetune]"'
        raise MissingExtraError(msg) from error
    # By the square root of the rank, so that a rate does for every rank.
    config = LoraConfig(r=rank, lora_alpha=rank, use_rslora=True, target_modules=list(adapted))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LoraModel(module, config, "default")


def find_means(vectors: Vectors, labels: np.ndarray, n_classes: int) -> Vectors:
    """Return the mean vector of each class, made unit again, shape (n_classes, dim)."""
    sums = np.zeros((n_classes, vectors.shape[1]), dtype=np.float64)
    np.add.at(sums, labels, vectors)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(sums / np.maximum(norms, 1e-12), dtype=np.float32)


def check_encoder(encoder: object, name: str) -> TorchEncoder:
    """Return an encoder that can learn.

    Raises
    ------
    MisuseError
        If it runs in no PyTorch, or sees several views of a picture.
    """
    if isinstance(encoder, TorchEncoder):
        return encoder
    msg = (
        f"{name} cannot learn: what is finetuned is a model of open_clip, transformers or timm "
        "that sees each picture once; embed the pictures with such a one, or fit a probe"
    )
    raise MisuseError(msg)
