"""Where the model looked: maps of what in a picture speaks for an answer, by the best method."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from bioprobe.encoders.encoder import Encoder
from bioprobe.errors import BioprobeError
from bioprobe.explanation.aim import Aim
from bioprobe.explanation.occlusion import draw_occlusion
from bioprobe.explanation.viewing import find_view
from bioprobe.types import Doubles, Vectors

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from bioprobe.encoders.families.torch_encoder import TorchEncoder

#: Preprocessed images, shape (n_images, 3, height_px, width_px).
Pixels: TypeAlias = npt.NDArray[np.float32]
#: Of no fixed scale, shape (n_images, grid_height, grid_width), and the vectors of the images.
Drawn: TypeAlias = tuple[npt.NDArray[np.float32], Vectors]
_Draw: TypeAlias = Callable[[Pixels, Aim], Drawn]
_Way: TypeAlias = "Callable[..., tuple[torch.Tensor, torch.Tensor]]"

#: What is offered for each kind of tower, the default first. By ``benchmarks/explaining.py``: on
#: drawings cut out of their middle the overlap with the animal is better than a Gaussian's in the
#: middle by .04 ± .03 (class token), .07 ± .03 (mean) and .08 ± .04 (attention) with ``chefer``,
#: and by .04 ± .03 (mean) and .09 ± .03 (attention) with ``layer-cam``, which is not better with a
#: class token; with all weights by lot both maps have a rank correlation of .1 or less with these.
#: LayerCAM of the first layers' tokens less their mean overlaps best of all (.10 ± .02 more than
#: the Gaussian), but also with all weights by lot. On 183 photographs ``layer-cam`` of a
#: convolutional network beats the Gaussian by .50 ± .09 logits in insertion and .13 ± .13 in
#: deletion.
METHODS: dict[str, tuple[str, ...]] = {
    "class token": ("chefer", "legrad", "occlusion"),
    "mean": ("chefer", "layer-cam", "legrad", "occlusion"),
    "attention": ("chefer", "layer-cam", "legrad", "occlusion"),
    "convolution": ("layer-cam", "occlusion"),
    "other": ("occlusion",),
}
_MOST_IMAGES_AT_ONCE = 8
#: Which find the animals in drawings better than chance, but less well than a Gaussian in the
#: middle; whoever asks for one is told.
WEAK = frozenset({"legrad"})
# The graph of all layers is kept for so many images: of a ViT-L it is half a gigabyte for each.
_MOST_WITH_GRAPH = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Maps:
    """Where the model looked in each of some pictures.

    Parameters
    ----------
    relevance : ndarray of float32, shape (n_images, grid_height, grid_width)
        From 0 to 1 in each picture, over what the preprocessing left of it; all 0 where nothing
        speaks for the answer more than the rest.
    boxes : ndarray of float64, shape (n_images, 4)
        That part of each whole picture: left, top, right and bottom as fractions of its width and
        height. Beyond 0 and 1 where the preprocessing put a border around it.
    method : str
        How they were drawn.
    scores : ndarray of float64, shape (n_images,)
        The value of the aim for each picture.
    """

    relevance: npt.NDArray[np.float32]
    boxes: Doubles
    method: str
    scores: Doubles


def open_tower(encoder: Encoder) -> Mapping[str, _Draw]:
    """Return the ways to draw a map that are offered for an encoder, the default first.

    Opening a tower copies its weights: what explains many pictures for :func:`explain_images`
    opens it once.
    """
    found: dict[str, _Draw] = {"occlusion": functools.partial(draw_occlusion, encoder)}
    kind = "other"
    if hasattr(encoder, "copy_image_tower"):
        kind, inside = _look_inside(cast("TorchEncoder", encoder))
        found |= inside
    return {name: found[name] for name in METHODS[kind]}


def explain_images(
    encoder: Encoder,
    images: Sequence[Image],
    aim: Aim,
    method: str = "auto",
    *,
    tower: Mapping[str, _Draw] | None = None,
) -> Maps:
    """Draw where the model looked toward an aim.

    The encoder stays as it is: what looks inside is a copy in fp32.

    Parameters
    ----------
    encoder : Encoder
        Of any family; one that does not run in PyTorch is asked by hiding parts of the picture.
    images : sequence of PIL.Image.Image
        Upright RGB images.
    aim : Aim
        The answer that is explained.
    method : str, default "auto"
        ``layer-cam``, ``chefer``, ``legrad``, ``occlusion``, or ``auto`` for the best of the
        encoder's tower.
    tower : mapping, optional
        What :func:`open_tower` returned for the encoder, where it is open already.

    Raises
    ------
    BioprobeError
        If the method is not offered for the encoder, or the model gives values that are not
        finite.
    MissingExtraError
        If ``grad-cam``, which the method needs, is not installed.

    References
    ----------
    LayerCAM: Jiang et al. (2021), IEEE Transactions on Image Processing. Relevance through
    attention: Chefer et al. (2021), ICCV. LeGrad: Bousselham et al. (2025), ICCV. Occlusion: Zeiler
    and Fergus (2014), ECCV.
    """
    offered = open_tower(encoder) if tower is None else tower
    chosen = next(iter(offered)) if method == "auto" else method
    if chosen not in offered:
        msg = (
            f'method "{method}" is not offered for {encoder.name}; choose auto or '
            f"{' or '.join(offered)}"
        )
        raise BioprobeError(msg)
    at_once = min(encoder.batch_size, _MOST_IMAGES_AT_ONCE)
    maps, scores = [np.empty((0, 1, 1), dtype=np.float32)], [np.empty(0)]
    for start in range(0, len(images), at_once):
        batch = images[start : start + at_once]
        pixels = np.stack([encoder.preprocess(image) for image in batch])
        drawn, vectors = offered[chosen](pixels, aim)
        if not np.isfinite(drawn).all():
            msg = f"{encoder.name} gave maps that are not finite by {chosen}; try another method"
            raise BioprobeError(msg)
        maps.append(_scale(drawn))
        scores.append(aim.measure(vectors)[0])
    views = {size: find_view(encoder, size) for size in {image.size for image in images}}
    boxes = [views[image.size] for image in images]
    return Maps(
        relevance=np.concatenate(maps[1:] or maps),
        boxes=np.array(boxes, dtype=np.float64).reshape(len(images), 4),
        method=chosen,
        scores=np.concatenate(scores),
    )


def _look_inside(encoder: TorchEncoder) -> tuple[str, dict[str, _Draw]]:
    import PIL.Image
    import torch

    from bioprobe.encoders.families.towers import MapTower, TokenTower, read_tower
    from bioprobe.explanation.convolution import draw_layer_cam
    from bioprobe.explanation.transformer import read_transformer

    module, embed = encoder.copy_image_tower()
    device = encoder.runtime.device

    def draw_by(draw: _Way, pixels: Pixels, aim: Aim) -> Drawn:
        def find_gradient(vectors: torch.Tensor) -> torch.Tensor:
            _, gradient = aim.measure(vectors.cpu().numpy())
            return torch.as_tensor(gradient, dtype=torch.float32, device=device)

        asked = torch.tensor(pixels, device=device)
        parts = [
            draw(asked[start : start + _MOST_WITH_GRAPH], find_gradient)
            for start in range(0, len(asked), _MOST_WITH_GRAPH)
        ]
        maps, vectors = (torch.cat(found).cpu().numpy() for found in zip(*parts, strict=True))
        return maps, vectors

    grey = encoder.preprocess(PIL.Image.new("RGB", (64, 64), "grey"))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, *grey.shape, generator=generator).to(device)
    found = read_tower(module, embed, noise)
    ways: dict[str, _Way] = {}
    kind = "other"
    if isinstance(found, TokenTower) and (transformer := read_transformer(found, noise)):
        kind = transformer.pooling
        ways = {
            "chefer": transformer.draw_relevance,
            "layer-cam": transformer.draw_cam,
            "legrad": transformer.draw_legrad,
        }
    if isinstance(found, MapTower):
        kind = "convolution"
        ways = {"layer-cam": functools.partial(draw_layer_cam, found)}
    return kind, {name: functools.partial(draw_by, way) for name, way in ways.items()}


def _scale(drawn: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Bring each map from 0, where least speaks for the answer, to 1."""
    lowest = drawn.min(axis=(1, 2), keepdims=True)
    span = drawn.max(axis=(1, 2), keepdims=True) - lowest
    scaled = np.divide(drawn - lowest, span, out=np.zeros_like(drawn), where=span > 0)
    return np.asarray(scaled, dtype=np.float32)
