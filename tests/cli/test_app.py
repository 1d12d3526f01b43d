from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from bioprobe import __version__
from bioprobe.cli.app import run


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_help_says_a_default_that_depends_on_something(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["cluster", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "0 for none. [default: 10; 0 with --threshold]" in said


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


@pytest.mark.parametrize(
    ("words", "at", "completed"),
    [("bioprobe zer", 1, ["zeroshot"]), ("bioprobe store in", 2, ["info", "index"]),
     ("bioprobe zeroshot --te", 2, ["--text-type", "--templates", "--text-worth"])],
)  # fmt: skip
def test_a_word_is_completed(
    words: str,
    at: int,
    completed: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("_BIOPROBE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(at))
    assert run([]) == 0
    assert capsys.readouterr().out.split() == completed


def test_every_shipped_template_set_is_completed() -> None:
    from bioprobe import options
    from bioprobe.prompts import shipped_templates

    (option,) = get_args(options.Templates)[1:]
    assert sorted(option.choices) == shipped_templates()


def test_help_shows_what_stands_in_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["annotations", "add", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", "").split())
    assert "[default: $BIOPROBE_PERSON" in said
