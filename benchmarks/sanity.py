"""Whether maps say what the model looked at: measured on the model, and against where things are.

A map may be pretty and say nothing of the model. Three questions need nothing but the model:
whether the map changes when its weights do, whether hiding what the map calls important lowers the
answer more than hiding what a blind map calls so, and whether the shares that a map gives are in
the order of what they do. Where it is known where the animal is, two more can be asked.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

    from bioprobe.encoders.encoder import Encoder
    from bioprobe.encoders.families.torch_encoder import TorchEncoder
    from bioprobe.explanation.aim import Aim
    from bioprobe.types import Doubles

    Pixels = npt.NDArray[np.float32]
    Relevance = npt.NDArray[np.float32]
    Masks = npt.NDArray[np.bool_]

# Of the side of the picture: what is left of it then is colours without shapes.
_BLUR_FRACTION = 0.12
# Of the side of the picture, as a Gaussian has it that a photographer would be.
_CENTRE_FRACTION = 0.25


@dataclasses.dataclass(frozen=True, kw_only=True)
class Faithfulness:
    """How the answer follows a map, for each image.

    Parameters
    ----------
    deletion : ndarray of float64, shape (n_images,)
        Mean of the aim while the most relevant parts are hidden first; lower is better.
    insertion : ndarray of float64, shape (n_images,)
        Mean of the aim while the most relevant parts are shown first on a blurred picture; higher
        is better.
    saco : ndarray of float64, shape (n_images,)
        From -1 to 1: whether parts of more relevance cost more when they are hidden, weighted by
        how much more relevance they have. 0 for a map that is blind.
    """

    deletion: Doubles
    insertion: Doubles
    saco: Doubles


def measure_faithfulness(
    encoder: Encoder, pixels: Pixels, aim: Aim, relevance: Relevance, n_parts: int = 10
) -> Faithfulness:
    """Hide and show parts of pictures in the order of a map, and see what the answer does.

    Parameters
    ----------
    encoder : Encoder
    pixels : ndarray of float32, shape (n_images, 3, height_px, width_px)
        Preprocessed images.
    aim : Aim
    relevance : ndarray of float32, shape (n_images, grid_height, grid_width)
        One map an image.
    n_parts : int
        Parts of one size that the pixels are ranked into.

    Returns
    -------
    Faithfulness

    References
    ----------
    Deletion and insertion: Petsiuk et al. (2018), "RISE", BMVC. SaCo: Wu et al. (2024), "On the
    Faithfulness of Vision Transformer Explanations", CVPR.
    """
    fine = enlarge(relevance, pixels.shape[2:]) if len(pixels) else relevance
    deletion, insertion, saco = np.empty((3, len(pixels)))
    for row, (picture, one) in enumerate(zip(pixels, fine, strict=True)):
        parts = _rank_parts(one, n_parts)
        plain = np.broadcast_to(picture.mean(axis=(1, 2), keepdims=True), picture.shape)
        blurred = _blur(picture)
        seen = [
            picture,
            *(np.where(parts < n, plain, picture) for n in range(1, n_parts)),
            *(np.where(parts == n, plain, picture) for n in range(1, n_parts)),
            *(np.where(parts < n, picture, blurred) for n in range(1, n_parts)),
        ]
        scores, _ = aim.measure(encoder.encode_pixels(np.stack(seen).astype(np.float32)))
        whole, (deleted, without, inserted) = scores[0], np.split(scores[1:], 3)
        # To hide the first part alone is the first step of the deletion.
        falls = whole - np.append(deleted[0], without)
        shares = np.array([one[parts == n].sum() for n in range(n_parts)], dtype=np.float64)
        deletion[row] = np.append(whole, deleted).mean()
        insertion[row] = np.append(inserted, whole).mean()
        saco[row] = _measure_saco(shares, falls)
    return Faithfulness(deletion=deletion, insertion=insertion, saco=saco)


def _rank_parts(relevance: npt.NDArray[np.float32], n_parts: int) -> npt.NDArray[np.int64]:
    """Return the part of each pixel, 0 for the most relevant; all are of one size."""
    flat = relevance.ravel()
    # Ties are broken by lot, as by their place they would be broken from the top left.
    lot = np.random.default_rng(0).permutation(len(flat))
    parts = np.empty(len(flat), dtype=np.int64)
    parts[np.lexsort((lot, -flat))] = np.arange(len(flat)) * n_parts // len(flat)
    return parts.reshape(relevance.shape)


def _measure_saco(shares: Doubles, falls: Doubles) -> float:
    """Return how far parts are in the order of what it costs to hide them.

    Parameters
    ----------
    shares : ndarray of float64, shape (n_parts,)
        Relevance that each part holds, from the most relevant part to the least.
    falls : ndarray of float64, shape (n_parts,)
        How far the aim falls without each.

    Returns
    -------
    float

    Examples
    --------
    >>> _measure_saco(np.array([3.0, 1.0, 0.0]), np.array([5.0, 2.0, 1.0]))
    1.0
    >>> _measure_saco(np.array([3.0, 1.0, 0.0]), np.array([1.0, 2.0, 5.0]))
    -1.0
    """
    first, second = np.triu_indices(len(shares), k=1)
    weights = shares[first] - shares[second]
    total = weights.sum()
    signs = np.where(falls[first] >= falls[second], 1.0, -1.0)
    return float((signs * weights).sum() / total) if total > 0 else 0.0


def enlarge(relevance: Relevance, size_px: tuple[int, int]) -> Relevance:
    """Return maps at another size, smooth between the places of the grid.

    Parameters
    ----------
    relevance : ndarray of float32, shape (n_images, grid_height, grid_width)
    size_px : tuple of int
        Height and width.

    Returns
    -------
    ndarray of float32, shape (n_images, height, width)
    """
    from PIL import Image

    height_px, width_px = size_px
    return np.stack(
        [
            np.asarray(
                Image.fromarray(one).resize((width_px, height_px), Image.Resampling.BILINEAR)
            )
            for one in np.asarray(relevance, dtype=np.float32)
        ]
    )


def _blur(picture: Pixels) -> Pixels:
    from scipy import ndimage

    sigmas = [0.0, *(_BLUR_FRACTION * side_px for side_px in picture.shape[1:])]
    return np.asarray(ndimage.gaussian_filter(picture, sigmas, mode="nearest", truncate=2.0))


def draw_centre(n_images: int, grid: tuple[int, int]) -> Relevance:
    """Return a blind map that most pictures of animals agree with: a Gaussian in the middle.

    Parameters
    ----------
    n_images : int
    grid : tuple of int
        Places from top to bottom and from left to right.

    Returns
    -------
    ndarray of float32, shape (n_images, grid_height, grid_width)
    """
    down, across = (
        np.exp(-0.5 * (((np.arange(n) + 0.5) / n - 0.5) / _CENTRE_FRACTION) ** 2) for n in grid
    )
    return np.repeat((down[:, None] * across)[None].astype(np.float32), n_images, axis=0)


def draw_chance(n_images: int, grid: tuple[int, int], seed: int) -> Relevance:
    """Return blind maps of patches by lot.

    Parameters
    ----------
    n_images : int
    grid : tuple of int
        Places from top to bottom and from left to right.
    seed : int
        Of the lot.

    Returns
    -------
    ndarray of float32, shape (n_images, grid_height, grid_width)
    """
    return np.random.default_rng(seed).random((n_images, *grid), dtype=np.float32)


def find_hits(relevance: Relevance, masks: Masks) -> npt.NDArray[np.bool_]:
    """Tell of each map whether its most relevant place is on the animal (the pointing game).

    Parameters
    ----------
    relevance : ndarray of float32, shape (n_images, grid_height, grid_width)
    masks : ndarray of bool, shape (n_images, height, width)
        True on the animal, over the same part of the picture.

    Returns
    -------
    ndarray of bool, shape (n_images,)

    References
    ----------
    Zhang et al. (2016), "Top-down neural attention by excitation backprop", ECCV.
    """
    fine = enlarge(relevance, masks.shape[1:]).reshape(len(masks), -1)
    return np.asarray(masks.reshape(len(masks), -1)[np.arange(len(masks)), fine.argmax(axis=1)])


def measure_overlap(relevance: Relevance, masks: Masks) -> Doubles:
    """Return how much of the animal the most relevant places cover, as many as it has.

    Parameters
    ----------
    relevance : ndarray of float32, shape (n_images, grid_height, grid_width)
    masks : ndarray of bool, shape (n_images, height, width)
        True on the animal, over the same part of the picture.

    Returns
    -------
    ndarray of float64, shape (n_images,)
        Intersection over union, from 0 to 1; 1 where there is no animal.
    """
    fine = enlarge(relevance, masks.shape[1:]).reshape(len(masks), -1)
    flat = masks.reshape(len(masks), -1)
    found = np.empty(len(masks))
    for row, (one, mask) in enumerate(zip(fine, flat, strict=True)):
        chosen = np.zeros(mask.shape, dtype=bool)
        chosen[np.argsort(-one, kind="stable")[: mask.sum()]] = True
        union = (chosen | mask).sum()
        found[row] = (chosen & mask).sum() / union if union else 1.0
    return found


def correlate_maps(first: Relevance, second: Relevance) -> Doubles:
    """Return how far two maps of each image put its places in one order.

    Parameters
    ----------
    first, second : ndarray of float32, shape (n_images, grid_height, grid_width)

    Returns
    -------
    ndarray of float64, shape (n_images,)
        Spearman's rank correlation; 0 where a map is the same everywhere.
    """
    from scipy import stats

    ranks = [stats.rankdata(one.reshape(len(one), -1), axis=1) for one in (first, second)]
    centred = [one - one.mean(axis=1, keepdims=True) for one in ranks]
    products = (centred[0] * centred[1]).sum(axis=1)
    norms = np.prod([np.linalg.norm(one, axis=1) for one in centred], axis=0)
    return np.asarray(np.divide(products, norms, out=np.zeros(len(first)), where=norms > 0))


def randomise_top(encoder: TorchEncoder, share: float, seed: int) -> TorchEncoder:
    """Return an encoder of which the weights nearest to the answer are drawn by lot.

    Each tensor keeps its mean and its spread, so that the values between layers keep their size.

    Parameters
    ----------
    encoder : TorchEncoder
        Stays as it is.
    share : float
        Of the layers of the image side that have weights, counted from the answer: 1 is all.
    seed : int
        Of the lot.

    Returns
    -------
    TorchEncoder

    References
    ----------
    Adebayo et al. (2018), "Sanity checks for saliency maps", NeurIPS.
    """
    import PIL.Image
    import torch

    found = copy.copy(encoder)
    found.replace_module(copy.deepcopy(encoder.module))
    layers: list[torch.nn.Module] = []

    def see(part: torch.nn.Module, args: Any, result: Any) -> None:  # noqa: ANN401
        del args, result
        if part not in layers:
            layers.append(part)

    handles = [part.register_forward_hook(see) for part in found.module.modules()]
    pixels = found.preprocess(PIL.Image.new("RGB", (64, 64), "grey"))
    first = next(found.module.parameters())
    with torch.no_grad():
        # All of the model, of which encoding may leave out what no embedding depends on.
        found._image_tower.embed(found.module, torch.tensor(pixels)[None].to(first))
    for handle in handles:
        handle.remove()
    # Weights of parts that are never run, such as an attention's last, belong to what holds them.
    groups = [[*_iter_own_weights(layer, set(layers))] for layer in layers]
    groups = [group for group in groups if group]
    generator = torch.Generator().manual_seed(seed)
    n_changed = round(share * len(groups))
    with torch.no_grad():
        for group in groups[len(groups) - n_changed :]:
            for weights in group:
                drawn = torch.randn(weights.shape, generator=generator).to(weights)
                weights.copy_(weights.mean() + drawn * weights.std(correction=0))
    return found


def _iter_own_weights(
    part: torch.nn.Module, others: set[torch.nn.Module]
) -> Iterator[torch.nn.Parameter]:
    """Find the weights of a part without those of the parts of it that are run themselves."""
    yield from part.parameters(recurse=False)
    for child in part.children():
        if child not in others:
            yield from _iter_own_weights(child, others)
