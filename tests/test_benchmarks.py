"""How benchmarks are named at the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.__main__ import split
from benchmarks.harness import Row


def test_what_follows_the_names_is_handed_on() -> None:
    assert split([]) == ([], [])
    assert split(["kappa", "serve", "--seconds", "5"]) == (["kappa", "serve"], ["--seconds", "5"])
    assert split(["explaining", "photos", "200"]) == (["explaining"], ["photos", "200"])
    with pytest.raises(SystemExit, match="no benchmark 'kapa'; there are"):
        split(["kapa"])


def test_of_a_gpu_all_is_written_but_the_part_that_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = Row(work="forward alone", size="tiny", unit="s", ours=(1.0,))
    monkeypatch.setattr(gpu, "measure_model", lambda *_: [row])
    monkeypatch.setattr(gpu, "compare_answers", lambda *_: 1 / 0)
    with pytest.raises(SystemExit, match="failed: answers"):
        gpu.main(["--tiny", "--output", str(tmp_path / "table.md")])
    assert "| forward alone | tiny | 1 s |" in (tmp_path / "table.md").read_text()
