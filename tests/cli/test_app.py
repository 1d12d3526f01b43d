from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from bioprobe import __version__
from bioprobe.cli.app import run

# Whatever a question needs beyond what draws the help: typer and rich.
HEAVY = {
    *("PIL", "datasets", "faiss", "huggingface_hub", "imblearn", "jinja2", "matplotlib", "numpy"),
    *("onnxruntime", "open_clip", "optuna", "pandas", "pyarrow", "safetensors", "scipy", "sklearn"),
    *("timm", "tokenizers", "torch", "torchvision", "transformers"),
}


def test_help_loads_no_heavy_library() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "bioprobe", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Embed every image once" in done.stdout
    modules = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()]
    assert "bioprobe.cli.app" in modules
    assert not HEAVY & {module.partition(".")[0] for module in modules}
    # Some 350 today, of a fraction of a millisecond each; as many on a busy machine as on another.
    assert len(modules) < 500


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_help_says_a_default_that_depends_on_something(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    assert run(["cluster", "--help"]) == 0
    assert "0 for none. [default: 10; 0 with --threshold]" in capsys.readouterr().out


def test_two_questions_at_once_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked = ["cluster", "--order", "--unknown", "--store", str(tmp_path)]
    assert run(asked) == 2
    assert "--order and --unknown ask different questions" in capsys.readouterr().err


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


def test_help_shows_what_stands_in_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["annotations", "add", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", "").split())
    assert "[default: $BIOPROBE_PERSON" in said
