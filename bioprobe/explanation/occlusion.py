"""What hiding a part of the picture costs the answer: for any encoder, from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from bioprobe.encoders.encoder import Encoder
    from bioprobe.explanation.aim import Aim
    from bioprobe.types import Vectors

    Pixels = npt.NDArray[np.float32]

#: Places of the window from top to bottom and from left to right.
N_STEPS = 10
#: Side of the window in steps.
WINDOW_STEPS = 3


def draw_occlusion(
    encoder: Encoder, pixels: Pixels, aim: Aim
) -> tuple[npt.NDArray[np.float32], Vectors]:
    """Hide each part of the pictures in turn, and see how far the answer falls.

    A square window goes over the picture in steps of a tenth of its sides, and is filled with the
    mean colour of the picture. A place of the map is the mean fall over the windows that hid it.

    Parameters
    ----------
    encoder : Encoder
    pixels : ndarray of float32, shape (n_images, 3, height_px, width_px)
        Preprocessed images.
    aim : Aim

    Returns
    -------
    maps : ndarray of float32, shape (n_images, grid_height, grid_width)
        0 where hiding does not lower the answer.
    vectors : ndarray of float32, shape (n_images, dim), unit rows
        Of the whole images.

    References
    ----------
    Zeiler and Fergus (2014), "Visualizing and Understanding Convolutional Networks", ECCV.
    """
    vectors = encoder.encode_pixels(pixels)
    whole, _ = aim.measure(vectors)
    height_px, width_px = pixels.shape[2:]
    rows = np.linspace(0, height_px, min(N_STEPS, height_px) + 1).round().astype(int)
    columns = np.linspace(0, width_px, min(N_STEPS, width_px) + 1).round().astype(int)
    shape = (len(rows) - 1, len(columns) - 1)
    fall = np.zeros((len(pixels), *shape))
    n_hidden = np.zeros(shape)
    reach = WINDOW_STEPS // 2
    fill = pixels.mean(axis=(2, 3), keepdims=True)
    for top in range(shape[0]):
        for left in range(shape[1]):
            window = _reach(top, reach, shape[0]), _reach(left, reach, shape[1])
            down, across = (
                slice(edges[one.start], edges[one.stop])
                for edges, one in zip((rows, columns), window, strict=True)
            )
            hidden = pixels.copy()
            hidden[:, :, down, across] = fill
            scores, _ = aim.measure(encoder.encode_pixels(hidden))
            fall[:, *window] += (whole - scores)[:, None, None]
            n_hidden[window] += 1
    return np.maximum(fall / n_hidden, 0).astype(np.float32), vectors


def _reach(place: int, reach: int, n_places: int) -> slice:
    return slice(max(0, place - reach), min(n_places, place + reach + 1))
