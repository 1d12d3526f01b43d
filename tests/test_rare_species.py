"""The benchmark that nobody can run here with its own pictures runs on a stand-in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.long
@pytest.mark.slow
def test_the_whole_path_runs_on_drawn_patterns(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.rare_species", "--stand-in", "--n-species", "3"]
    command += ["--methods", "centroid,lda", "--output", str(tmp_path)]
    environment = {**os.environ, "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "90 pictures" in done.stdout
    assert "sketch, lda" in done.stdout
    assert "ConvNeXtBase" in done.stdout
    # What is drawn beats nobody.
    assert "beat" not in done.stdout
    assert (tmp_path / "sketch" / "report.html").is_file()
