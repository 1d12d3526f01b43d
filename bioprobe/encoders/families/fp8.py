"""The MLPs of an image tower in 8-bit floating point, which is two thirds of a ViT's products.

The maps of attention stay as they are: what goes into its softmax is not to be rounded to three
bits, and several libraries read their weights past the layer.
"""

from __future__ import annotations

import copy
import dataclasses

import PIL.Image
import torch

from bioprobe.encoders.encoder import hash_description
from bioprobe.encoders.families.torch_encoder import TorchEncoder
from bioprobe.encoders.quantised import FP8
from bioprobe.errors import BioprobeError

#: The format: 4 bits of exponent, 3 of mantissa, up to 448.
_KIND = torch.float8_e4m3fn
#: The least compute capability that multiplies it: NVIDIA's Ada, Hopper and later.
LEAST_CAPABILITY = (8, 9)
# Of its kernels.
_MULTIPLE = 16
# What tells its vectors from those of another way to quantise.
_RECIPE = {"kind": "e4m3", "layers": "MLPs", "scales": "of each row, of weights and activations"}


class Fp8Linear(torch.nn.Module):
    """A linear layer whose products are in fp8 (e4m3), each row of both sides by its own scale.

    No picture depends on what else is in its batch, and nothing is calibrated.

    Parameters
    ----------
    layer : torch.nn.Linear
        Of any floating dtype; both sizes multiples of 16.

    References
    ----------
    Micikevicius et al. 2022, *FP8 Formats for Deep Learning*.
    """

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, layer: torch.nn.Linear) -> None:
        super().__init__()
        weight, scale = _shorten(layer.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale.T.contiguous())
        self.bias = layer.bias

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Multiply rows of shape (…, n_in) to (…, n_out)."""
        rows, scale = _shorten(given.reshape(-1, given.shape[-1]))
        found = torch._scaled_mm(
            rows, self.weight.T, scale_a=scale, scale_b=self.scale, out_dtype=torch.bfloat16
        )
        found = found.to(given.dtype).view(*given.shape[:-1], -1)
        return found if self.bias is None else found + self.bias


def _shorten(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows in fp8, and the factors (n_rows, 1) that make them what they were."""
    largest = rows.abs().amax(dim=1, keepdim=True).float().clamp_min(1e-12)
    scale = largest / torch.finfo(_KIND).max
    return (rows.float() / scale).to(_KIND), scale


def find_obstacle(device: torch.device) -> str:
    """Return why a device does not multiply fp8, ``""`` where it does; a processor may, slowly."""
    if device.type not in {"cpu", "cuda"}:
        return f"PyTorch multiplies fp8 on cuda, and as a trial on cpu, not on {device.type}"
    if device.type == "cuda":
        if torch.version.hip:
            return "AMD's GPUs have another format of 8 bits"
        major, minor = torch.cuda.get_device_capability(device)
        if (major, minor) < LEAST_CAPABILITY:
            return (
                f"{torch.cuda.get_device_name(device)} has compute capability {major}.{minor}, and "
                "fp8 needs 8.9 or more: Ada, Hopper or later"
            )
    try:
        with torch.inference_mode():
            layer = torch.nn.Linear(_MULTIPLE, _MULTIPLE, device=device)
            Fp8Linear(layer)(torch.ones(_MULTIPLE, _MULTIPLE, device=device))
    except (RuntimeError, AttributeError, ValueError) as error:
        said = str(error).partition("\n")[0][:200]
        return f"PyTorch {torch.__version__} does not multiply fp8 on {device}: {said}"
    return ""


def copy_images(exact: TorchEncoder, precision: str) -> TorchEncoder:
    """Return the image side of an encoder in another precision, with weights of its own."""
    images = copy.copy(exact)
    images.replace_module(copy.deepcopy(exact.module))
    images.change_precision(precision)
    return images


def make_fp8(exact: TorchEncoder) -> TorchEncoder:
    """Return the image side of an encoder with its MLPs in fp8; it is to encode no texts.

    What is no MLP is computed in bf16, on a processor in fp32.

    Parameters
    ----------
    exact : TorchEncoder
        In fp32.

    Raises
    ------
    BioprobeError
        If its device does not multiply fp8, or nothing that computes pictures is an MLP.
    """
    if obstacle := find_obstacle(exact.runtime.device):
        msg = f"{exact.name} cannot run in fp8 here: {obstacle}; use --precision fp16 or bf16"
        raise BioprobeError(msg)
    images = copy_images(exact, FP8)
    mlps = _find_mlps(images)
    if not mlps:
        msg = (
            f"{exact.name} has no fp8 form: no MLP computes its pictures (two linear maps, to a "
            "wider layer and back, as vision transformers and ConvNeXts have them); use "
            "--precision fp16 or bf16"
        )
        raise BioprobeError(msg)
    for parent, name in mlps:
        setattr(parent, name, Fp8Linear(getattr(parent, name)))
    images.replace_module(images.module)
    weights = {"weights": exact.fingerprint.weights_sha256, "fp8": _RECIPE}
    images.fingerprint = dataclasses.replace(
        images.fingerprint, weights_sha256=hash_description(weights)
    )
    return images


def _find_mlps(images: TorchEncoder) -> list[tuple[torch.nn.Module, str]]:
    """Return the maps of MLPs that a picture runs through, by the modules that hold them."""
    found = {
        getattr(parent, name): (parent, name)
        for parent in images.module.modules()
        for name in _name_mlp(parent)
    }
    ran: list[torch.nn.Module] = []
    handles = [one.register_forward_pre_hook(lambda part, _: ran.append(part)) for one in found]
    try:
        with torch.inference_mode():
            grey = images.preprocess(PIL.Image.new("RGB", (64, 64), "grey"))
            pixels = torch.tensor(grey[None]).to(images.runtime.device, images.runtime.dtype)
            images.image_runner.tower(pixels)
    finally:
        for handle in handles:
            handle.remove()
    return [found[layer] for layer in dict.fromkeys(ran)]


def _name_mlp(parent: torch.nn.Module) -> list[str]:
    """Return which layers of a module are maps to something wider, and back."""
    # Its weights are read past its layers.
    if isinstance(parent, torch.nn.TransformerEncoderLayer):
        return []
    layers = {
        name: (layer.in_features, layer.out_features)
        for name, layer in parent.named_children()
        if type(layer) is torch.nn.Linear
        and layer.in_features % _MULTIPLE == layer.out_features % _MULTIPLE == 0
    }
    sizes = list(layers.values())
    pairs = {
        size
        for place, size in enumerate(sizes)
        if size[0] < size[1] and size[::-1] in sizes[place:]
    }
    return [name for name, size in layers.items() if {size, size[::-1]} & pairs]
