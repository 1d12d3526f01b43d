from __future__ import annotations

import numpy as np
import pytest

from benchmarks.sanity import (
    correlate_maps,
    draw_centre,
    draw_chance,
    find_hits,
    measure_faithfulness,
    measure_overlap,
    randomise_top,
)
from bioprobe.encoders.encoder import Encoder
from bioprobe.explanation.maps import explain_images
from tests.conftest import draw_picture
from tests.encoders.families.architectures import TRANSFORMERS, wrap
from tests.explanation.aims import Direction
from tests.explanation.test_occlusion import CornerEncoder


def test_a_map_of_what_the_model_sees_is_more_faithful_than_blind_ones() -> None:
    encoder: Encoder = CornerEncoder()  # type: ignore[assignment] # no text, no fingerprint
    pixels = np.zeros((2, 3, 20, 20), dtype=np.float32)
    pixels[:, :, 10:, 10:] = 1
    right = np.zeros((2, 4, 4), dtype=np.float32)
    right[:, 2:, 2:] = 1
    aim = Direction(np.array([1.0, 0.0]), scale=1.0)
    true, wrong, centre = (
        measure_faithfulness(encoder, pixels, aim, one, 4)
        for one in (right, 1 - right, draw_centre(2, (4, 4)))
    )
    assert (true.deletion < centre.deletion).all()
    assert (centre.deletion < wrong.deletion).all()
    assert (true.insertion > centre.insertion).all()
    assert (centre.insertion > wrong.insertion).all()
    np.testing.assert_allclose(true.saco, 1)
    assert (wrong.saco < 0).all()


def test_a_map_that_says_nothing_has_no_faithfulness() -> None:
    encoder: Encoder = CornerEncoder()  # type: ignore[assignment] # no text, no fingerprint
    pixels = np.ones((1, 3, 20, 20), dtype=np.float32)
    flat = np.zeros((1, 4, 4), dtype=np.float32)
    found = measure_faithfulness(encoder, pixels, Direction(np.ones(2)), flat)
    assert found.saco.tolist() == [0]
    none = measure_faithfulness(encoder, pixels[:0], Direction(np.ones(2)), flat[:0])
    assert len(none.saco) == len(none.deletion) == 0


def test_hits_and_overlap_of_masks() -> None:
    relevance = np.zeros((2, 4, 4), dtype=np.float32)
    relevance[:, 0, 0] = 1
    masks = np.zeros((2, 4, 4), dtype=bool)
    masks[0, 0, 0] = masks[1, 3, 3] = True
    assert find_hits(relevance, masks).tolist() == [True, False]
    assert measure_overlap(relevance, masks).tolist() == [1, 0]
    half = np.zeros((1, 4, 4), dtype=bool)
    half[0, 0, :2] = True
    relevance[0, 3, 3] = 0.9
    assert measure_overlap(relevance[:1], half).tolist() == [pytest.approx(1 / 3)]
    assert measure_overlap(relevance[:1], np.zeros((1, 4, 4), dtype=bool)).tolist() == [1]


def test_correlation_of_ranks() -> None:
    rising = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    maps = np.concatenate([rising, rising, np.ones_like(rising)])
    others = np.concatenate([rising**2, -rising, rising])
    np.testing.assert_allclose(correlate_maps(maps, others), [1, -1, 0], atol=1e-12)


def test_blind_maps_are_what_they_are_called() -> None:
    centre = draw_centre(2, (5, 7))
    assert centre.shape == (2, 5, 7)
    assert centre[0].argmax() == 2 * 7 + 3
    np.testing.assert_allclose(centre, centre[:, ::-1, ::-1], rtol=1e-6)
    assert (draw_chance(1, (3, 3), 0) != draw_chance(1, (3, 3), 1)).any()


def test_weights_by_lot_from_the_top() -> None:
    encoder = wrap(*TRANSFORMERS["timm, class token"][0]())
    picture = draw_picture(1, (32, 32))
    before = {name: x.clone() for name, x in encoder.module.named_parameters()}
    changed = randomise_top(encoder, 0.25, 0)
    others = dict(changed.module.named_parameters())
    moved = {name for name in before if not before[name].equal(others[name])}
    assert any(name.startswith("blocks.2.") for name in moved)
    assert not any(name.startswith("blocks.0.") for name in moved)
    assert all(x.equal(before[name]) for name, x in encoder.module.named_parameters())
    assert abs(float(changed.encode_image([picture])[0] @ encoder.encode_image([picture])[0])) < 0.9
    one, two = (randomise_top(encoder, 1, seed).encode_image([picture]) for seed in (0, 1))
    assert not np.allclose(one, two)
    same = randomise_top(encoder, 0, 0)
    np.testing.assert_allclose(same.encode_image([picture]), encoder.encode_image([picture]))
    aim = Direction(np.eye(encoder.dim)[0])
    first, second = (
        explain_images(one, [picture], aim).relevance
        for one in (encoder, randomise_top(encoder, 1, 0))
    )
    assert abs(correlate_maps(first, second)[0]) < 0.9
