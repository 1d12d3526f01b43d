"""How benchmarks are named at the command line."""

from __future__ import annotations

import pytest

from benchmarks.__main__ import split


def test_what_follows_the_names_is_handed_on() -> None:
    assert split([]) == ([], [])
    assert split(["kappa", "serve", "--seconds", "5"]) == (["kappa", "serve"], ["--seconds", "5"])
    assert split(["explaining", "photos", "200"]) == (["explaining"], ["photos", "200"])
    with pytest.raises(SystemExit, match="no benchmark 'kapa'; there are"):
        split(["kapa"])
