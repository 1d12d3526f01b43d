"""Where a convolutional network looked: LayerCAM by ``grad-cam``."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import torch

from bioprobe.errors import MissingExtraError
from bioprobe.explanation.transformer import Embed, Gradient

# The last maps of small pictures may have four places, which say nothing of where.
_LEAST_PLACES = 7


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A copy of a convolutional network that may be looked into.

    Parameters
    ----------
    module : torch.nn.Module
        The whole model.
    embed : callable
        From pixels to embeddings.
    last : torch.nn.Module
        What gives the last map of 7 x 7 places or more, shape (n, channels, height, width).
    """

    module: torch.nn.Module
    embed: Embed
    last: torch.nn.Module

    def draw_cam(
        self, pixels: torch.Tensor, find_gradient: Gradient
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Weigh each place of each channel of the last map by its gradient, where that is above 0.

        Grad-CAM, which weighs each channel by its mean gradient, is less faithful than a blind
        map of the middle in deletion (``benchmarks/explaining.py``), and is not offered.

        Parameters
        ----------
        pixels : Tensor of float32, shape (n_images, 3, height_px, width_px)
        find_gradient : callable
            From unit rows to the gradient of the aim.

        Returns
        -------
        maps : Tensor of float32, shape (n_images, grid_height, grid_width)
            0 or more, of no fixed scale.
        vectors : Tensor of float32, shape (n_images, dim), unit rows
            What the encoder gives for these images.

        Raises
        ------
        MissingExtraError
            If ``grad-cam`` is not installed.

        References
        ----------
        Jiang et al. (2021), "LayerCAM", IEEE Transactions on Image Processing;
        ``pytorch_grad_cam`` of Gildenblat.
        """
        try:
            import pytorch_grad_cam
        except ImportError as error:
            msg = (
                "the map of a convolutional network needs grad-cam, which is not installed: "
                'pip install "bioprobe[explain]"; or ask for method="occlusion"'
            )
            raise MissingExtraError(msg) from error
        with torch.no_grad():
            vectors = torch.nn.functional.normalize(self.embed(pixels), dim=-1)
        aims = [functools.partial(_measure_along, row) for row in find_gradient(vectors)]

        class AtItsOwnSize(pytorch_grad_cam.LayerCAM):  # type: ignore[misc] # it ships no types
            def get_target_width_height(self, input_tensor: torch.Tensor) -> None:
                del input_tensor

        # The weights of the copy need no gradient, so the pixels must.
        with torch.enable_grad(), AtItsOwnSize(_UnitTower(self), [self.last]) as camera:
            drawn = camera(pixels.detach().requires_grad_(), targets=aims)
        return torch.from_numpy(drawn), vectors


def _measure_along(gradient: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    return (gradient * vector).sum()


class _UnitTower(torch.nn.Module):
    """A module that gives unit rows of pixels."""

    def __init__(self, tower: Convolution) -> None:
        super().__init__()
        self._module = tower.module
        self._embed = tower.embed

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(self._embed(pixels), dim=-1)


def read_convolution(
    module: torch.nn.Module, embed: Embed, pixels: torch.Tensor
) -> Convolution | None:
    """Find the last map of a convolutional network by running it.

    Parameters
    ----------
    module : torch.nn.Module
        A copy of the whole model.
    embed : callable
        From pixels to embeddings.
    pixels : Tensor of float32, shape (1, 3, height_px, width_px)
        A picture.

    Returns
    -------
    Convolution or None
        None where nothing gives such a map, or tokens are computed after it.
    """
    ran: list[tuple[str, torch.Size]] = []

    def listen(name: str) -> Callable[..., None]:
        def see(part: torch.nn.Module, args: Any, result: Any) -> None:  # noqa: ANN401
            del part, args
            if isinstance(result, torch.Tensor):
                ran.append((name, result.shape))

        return see

    handles = [x.register_forward_hook(listen(name)) for name, x in module.named_modules()]
    try:
        with torch.no_grad():
            embed(pixels)
    finally:
        for handle in handles:
            handle.remove()
    side_ratio = pixels.shape[2] / pixels.shape[3]
    places = [n for n, (_, shape) in enumerate(ran) if _is_map(shape, side_ratio)]
    if not places or any(len(shape) == 3 and shape[1] > 1 for _, shape in ran[places[-1] :]):
        return None
    # Of the coarsest maps: what a whole stage gives, not a part within it.
    smallest = min(ran[n][1][2] * ran[n][1][3] for n in places)
    found = [ran[n] for n in places if ran[n][1][2] * ran[n][1][3] == smallest]
    depth = min(name.count(".") for name, _ in found)
    last = [name for name, _ in found if name.count(".") == depth][-1]
    return Convolution(module=module, embed=embed, last=module.get_submodule(last))


def _is_map(shape: torch.Size, side_ratio: float) -> bool:
    """Tell whether an output has places in the shape of the picture, after the channels."""
    if len(shape) != 4 or min(shape[2], shape[3]) < _LEAST_PLACES:
        return False
    # Rounded up or down at each halving.
    return abs(shape[2] / shape[3] / side_ratio - 1) <= 1 / min(shape[2], shape[3])
