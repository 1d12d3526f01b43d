"""What is read without typer is what typer reads, and what it refuses is refused in its words."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.main import get_command

from bioprobe.cli.reading import read_plainly

SEEN: list[dict[str, Any]] = []


def _record(
    text: Annotated[str | None, typer.Option()] = None,
    n: Annotated[int, typer.Option(min=1, max=9)] = 3,
    share: Annotated[float | None, typer.Option(min=0)] = None,
    folder: Annotated[Path, typer.Option(file_okay=False)] = Path("none"),
    names: Annotated[list[str] | None, typer.Option("--name")] = None,
    rows: Annotated[list[int] | None, typer.Option("--row", min=0)] = None,
    sure: Annotated[bool | None, typer.Option("--sure/--unsure")] = None,
    files: Annotated[list[Path] | None, typer.Argument()] = None,
) -> None:
    SEEN.append(dict(locals()))


def _run(arguments: list[str], capsys: pytest.CaptureFixture[str], *, plainly: bool) -> object:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(_record)
    made: Any = get_command(app)
    if plainly:
        kinds = inspect.signature(_record, eval_str=True).parameters
        read_plainly(made, {name: one.annotation for name, one in kinds.items()})
    SEEN.clear()
    with pytest.raises(SystemExit) as stop:
        made(arguments, prog_name="record")
    types = [{name: type(value) for name, value in one.items()} for one in SEEN]
    return stop.value.code, list(SEEN), types, capsys.readouterr()


@pytest.mark.parametrize(
    "given",
    [
        "", "--text a --n 4 --share .5 --folder .", "--share 2 --share 3", "--share 1e-3",
        "--share nan", "--n 0", "--n 10", "--n x", "--n 1.5", "--n \u0663", "--share -1",
        "--folder {file}",
        "--folder {here}/not-there", "--name a --name b --row 1 --row 2", "--row 1 --row -1",
        "--row 1 --row x", "--sure", "--unsure", "{file} other", "--text", "--no-such",
        "--text -1", "--n 12345678901234567890",
    ],
)  # fmt: skip
def test_what_is_typed_is_read_as_typer_reads_it(
    given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    arguments = given.format(file=tmp_path / "file", here=tmp_path).split()
    by_typer = _run(arguments, capsys, plainly=False)
    assert _run(arguments, capsys, plainly=True) == by_typer
