"""Pictures of every kind, damaged in hundreds of ways: nothing crashes, hangs or gets lost."""

from __future__ import annotations

from pathlib import Path

from benchmarks.fuzz_images import KINDS, embed_all, iter_damaged, measure_peak_mb, read_all
from tests.conftest import PlainEncoder


def test_the_same_seed_gives_the_same_damage() -> None:
    first, again = (list(iter_damaged(40, 7)) for _ in range(2))
    assert first == again
    assert {kind for kind, _ in first} <= set(KINDS)
    assert list(iter_damaged(40, 8)) != first


def test_damaged_pictures_are_decoded_or_refused_with_a_reason() -> None:
    before_mb = measure_peak_mb()
    tallies = read_all(400, seed=1)
    assert sum(tally.n_decoded + tally.n_failed for tally in tallies.values()) == 400
    assert all(tally.n_failed for tally in tallies.values())
    assert sum(tally.n_decoded for tally in tallies.values()) > 50
    assert max(tally.slowest_s for tally in tallies.values()) < 10
    assert measure_peak_mb() - before_mb < 2000


def test_damaged_pictures_are_embedded_or_listed(tmp_path: Path, encoder: PlainEncoder) -> None:
    tally = embed_all(300, 2, encoder, tmp_path, n_group=150)
    assert tally.n_decoded + tally.n_failed == 300
    assert tally.n_decoded > 40
