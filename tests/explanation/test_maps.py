from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from bioprobe.errors import BioprobeError
from bioprobe.explanation.maps import METHODS, explain_images, open_tower
from tests.conftest import PlainEncoder, draw_picture
from tests.encoders.families.architectures import CONVOLUTIONS, TRANSFORMERS, wrap
from tests.explanation.aims import Direction, make_aim


def make_transformer() -> Any:  # noqa: ANN401 -- as wrap returns it
    return wrap(*TRANSFORMERS["timm, mean"][0]())


def test_methods_follow_the_tower() -> None:
    assert tuple(open_tower(make_transformer())) == METHODS["mean"]
    assert tuple(open_tower(wrap(*CONVOLUTIONS["timm, ResNet"]()))) == METHODS["convolution"]
    assert tuple(open_tower(PlainEncoder())) == ("occlusion",)


def test_maps_of_more_pictures_than_a_batch() -> None:
    encoder = make_transformer()
    pictures = [draw_picture(n, (40 + 9 * n, 30)) for n in range(4)]
    aim = make_aim(encoder.dim)
    maps = explain_images(encoder, pictures, aim)
    assert maps.method == METHODS["mean"][0]
    assert maps.relevance.shape == (4, 4, 4)
    assert maps.relevance.dtype == np.float32
    np.testing.assert_allclose(maps.relevance.min(axis=(1, 2)), 0)
    np.testing.assert_allclose(maps.relevance.max(axis=(1, 2)), 1)
    np.testing.assert_allclose(
        maps.scores, aim.measure(encoder.encode_image(pictures))[0], atol=1e-4
    )
    np.testing.assert_allclose(maps.boxes, np.tile([0, 0, 1, 1], (4, 1)), atol=5e-3)
    # The others of a batch have no part in it.
    alone = explain_images(encoder, pictures[2:3], aim)
    np.testing.assert_allclose(alone.relevance[0], maps.relevance[2], atol=1e-4)


def test_each_method_draws_another_map() -> None:
    encoder = make_transformer()
    pictures = [draw_picture(1, (32, 32))]
    found = [
        explain_images(encoder, pictures, make_aim(encoder.dim), method)
        for method in METHODS["mean"]
    ]
    assert [one.method for one in found] == list(METHODS["mean"])
    corners = {round(float(one.relevance.mean()), 6) for one in found}
    assert len(corners) == len(found)


def test_another_aim_draws_another_map() -> None:
    encoder = make_transformer()
    aim = make_aim(encoder.dim)
    there, back = (
        explain_images(encoder, [draw_picture(1, (32, 32))], one).relevance
        for one in (aim, Direction(-aim.vector))
    )
    assert not np.allclose(there, back)


def test_no_picture_has_no_map() -> None:
    encoder = make_transformer()
    maps = explain_images(encoder, [], make_aim(encoder.dim))
    assert len(maps.relevance) == len(maps.boxes) == len(maps.scores) == 0
    assert maps.boxes.shape == (0, 4)


def test_an_aim_that_nothing_moves_has_an_empty_map() -> None:
    encoder = make_transformer()
    aim = Direction(np.zeros(encoder.dim))
    for method in open_tower(encoder):
        maps = explain_images(encoder, [draw_picture(1, (32, 32))], aim, method)
        assert not maps.relevance.any()


def test_a_method_that_is_not_offered_is_refused() -> None:
    with pytest.raises(BioprobeError, match='"legrad" is not offered for plain-1; choose auto'):
        explain_images(PlainEncoder(), [], make_aim(16), "legrad")


def test_the_encoder_encodes_as_ever_while_it_is_explained() -> None:
    encoder = make_transformer()
    picture = draw_picture(1, (32, 32))
    expected = encoder.encode_image([picture])
    wrong: list[float] = []
    is_done = threading.Event()

    def encode() -> None:
        while not is_done.is_set():
            wrong.append(float(np.abs(encoder.encode_image([picture]) - expected).max()))

    thread = threading.Thread(target=encode)
    thread.start()
    for method in ("legrad", "layer-cam"):
        explain_images(encoder, [picture], make_aim(encoder.dim), method)
    is_done.set()
    thread.join()
    assert wrong
    assert max(wrong) < 1e-6
