from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bioprobe.cli.app import get_program, run
from bioprobe.cli.build import Declared
from bioprobe.options import Option, write_flag

_FOLDERS = {"others", "root", "to"}
# What else a command asks for.
_NEEDED = {
    "export": ["--labels", "--as", "coco"], "search": ["--text", "a lion"],
    "compare": ["one.csv", "other.csv"], "probe predict": ["x"],
    "taxa add": ["x"], "taxa check": ["x"],
    "taxa measure": ["--unseen-where", "row > 1"],
}  # fmt: skip


def _list_commands(group: Any, name: str = "") -> Iterator[tuple[str, dict[str, Declared]]]:  # noqa: ANN401
    for said, made in group.commands.items():
        if hasattr(made, "commands"):
            yield from _list_commands(made, f"{name} {said}".strip())
            continue
        options = dict(getattr(made.callback, "options", {}))
        if "output" in inspect.signature(made.callback).parameters and "output" not in options:
            options["output"] = Declared(str, Option("", ("--output",), writes="file"), "-")
        yield f"{name} {said}".strip(), options


COMMANDS = dict(_list_commands(get_program()))


def _list_pairs() -> Iterator[tuple[str, str, str]]:
    for command, options in COMMANDS.items():
        files = [
            name for name, one in options.items()
            if not one.option.writes and not one.option.choices and not one.option.when
            and name not in _FOLDERS and not one.option.is_argument
            and "Path" in f"{one.kind}{one.option.shell}"
        ]  # fmt: skip
        outputs = [name for name, one in options.items() if one.option.writes]
        for output in outputs:
            if not options[output].option.is_argument:
                yield from ((command, name, output) for name in files)


@pytest.mark.parametrize(("command", "name", "output"), sorted(set(_list_pairs())))
def test_no_file_that_a_command_reads_is_overwritten(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    name: str,
    output: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("given.csv").write_text("species\nPanthera leo\n")
    options = COMMANDS[command]
    flags = {key: one.option.flags or (write_flag(key),) for key, one in options.items()}
    asked = [*command.split(), *_NEEDED.get(command, []), flags[name][0], "given.csv"]
    assert run([*asked, flags[output][0], "./given.csv"]) == 2
    assert "reads; name another file" in capsys.readouterr().err
    assert Path("given.csv").read_text() == "species\nPanthera leo\n"


@pytest.mark.parametrize("output", ["--output", "--html"])
def test_pictures_sources_and_files_of_the_store_are_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("photos/lion.jpg", "photos/metadata.csv", "table.csv", "store/manifest.json"):
        Path(file).parent.mkdir(exist_ok=True)
        Path(file).write_text("as it was")
    Path("link.csv").symlink_to("table.csv")
    asked = ["zeroshot", "--classes", "cat,dog", output]
    for more, file in (
        (["photos"], "photos/lion.jpg"),
        (["photos"], "photos/metadata.csv"),
        (["photos/lion.jpg"], "photos/lion.jpg"),
        (["table.csv"], "link.csv"),
        (["--store", "store"], "store/manifest.json"),
    ):
        # Whatever the format.
        form = ["--format", "csv"] if output == "--output" else []
        assert run([*asked, file, *more, *form]) == 2
        assert "nothing was written" in capsys.readouterr().err
        assert Path(file).read_text() == "as it was"


def test_two_outputs_are_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = str(tmp_path / "page.html")
    assert run(["zeroshot", "--classes", "cat", "--html", same, "--output", same]) == 2
    assert "--html and --output are the same file" in capsys.readouterr().err
