from __future__ import annotations

import subprocess
import sys
import time
from typing import get_args

import pytest

from bioprobe import __version__
from bioprobe.cli.app import run

HEAVY = {"torch", "transformers", "open_clip", "faiss", "sklearn", "pandas", "datasets", "numpy"}


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys; from bioprobe.cli.app import run; run(['--help']);"
        f"print(sorted(set(sys.modules) & {HEAVY!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_answers_in_well_under_half_a_second() -> None:
    seconds_s = []
    for _ in range(5):
        start_s = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "bioprobe", "--help"], capture_output=True, check=True
        )
        seconds_s.append(time.perf_counter() - start_s)
    # The best of five: a busy machine makes some slow, none fast.
    assert min(seconds_s) < 0.5


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_misuse_exits_2() -> None:
    assert run(["embed"]) == 2
    assert run(["zeroshot", "--no-such-option"]) == 2


def test_failed_work_exits_1_with_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    assert run(["zeroshot", "--store", f"{tmp_path}/none"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Error: no store at ")
    assert captured.err.count("\n") == 1


def test_every_shipped_template_set_is_completed() -> None:
    from bioprobe import options
    from bioprobe.prompts import shipped_templates

    (option,) = get_args(options.Templates)[1:]
    assert sorted(option.choices) == shipped_templates()
