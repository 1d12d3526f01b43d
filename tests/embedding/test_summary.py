from __future__ import annotations

import pytest

from bioprobe.embedding import EmbedSummary


def test_a_summary_counts_images_and_speed() -> None:
    summary = EmbedSummary(n_embedded=6, n_reused=2, n_kept=3, n_failed=1, seconds_s=4.0)
    assert summary.n_images == 12
    assert summary.images_per_s == pytest.approx(2.0)


def test_no_time_is_no_speed() -> None:
    summary = EmbedSummary(n_embedded=0, n_reused=0, n_kept=0, n_failed=0, seconds_s=0.0)
    assert summary.images_per_s == 0.0
