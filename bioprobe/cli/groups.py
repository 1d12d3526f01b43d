"""Commands by name, of which only what is asked for is made.

To make a command its question is imported and all its options are read, which takes longer than
most answers. A list of commands needs their names and what is said of each.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from bioprobe.cli.reading import read_plainly


@dataclasses.dataclass(frozen=True)
class Maker:
    """What is said of a command or a group, and what makes it."""

    help: str
    make: Callable[[], Any]


class Commands:
    """Commands that stand together, in their order.

    Parameters
    ----------
    help : str
        What is said of them where they stand under a word of their own.
    """

    def __init__(self, help: str = "") -> None:
        self.help = help
        self.makers: dict[str, Maker] = {}

    def add(self, name: str, commands: Commands) -> None:
        """Have further commands under a word of their own."""
        self.makers[name] = commands.as_group(name)

    def as_group(self, name: str) -> Maker:
        """Return what makes a group of these."""
        app = typer.Typer(name=name, help=self.help, add_completion=False, **PLAIN)
        # Without a callback typer takes a group for one command.
        app.callback()(lambda: None)
        return Maker(self.help, functools.partial(make_group, app, self.makers))


class Made(Mapping[str, Any]):
    """Commands by name, each made when it is first asked for."""

    def __init__(self, makers: Mapping[str, Maker]) -> None:
        self.makers = makers
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - a command of typer's own click
        if name not in self._made:
            self._made[name] = self.makers[name].make()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.makers)

    def __len__(self) -> int:
        return len(self.makers)


class _Group(TyperGroup):
    """Lists its commands without making them."""

    # A Made.
    commands: Any

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - typer's own click
        """Return the names of the commands."""
        return list(self.commands)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:  # noqa: ANN401
        """Complete a word by names, each with what is said of the command."""
        told = {
            name: TyperCommand(name, help=one.help) for name, one in self.commands.makers.items()
        }
        ctx.command = copy.copy(self)
        ctx.command.commands = told
        return super(_Group, ctx.command).shell_complete(ctx, incomplete)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002
        """Write a line for each command: the first paragraph of its help."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, " ".join(one.help.partition("\n\n")[0].split()))
                    for name, one in self.commands.makers.items()
                ]
            )


# Of typer's own click.
_Formatter: Any = typer.Context.formatter_class


class _Help(_Formatter):  # type: ignore[misc]
    """Names types as people do, and breaks no line within an option's name."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write how a command is called, with what it must be given in capitals."""
        shown = re.sub(r"\{(\w+)\}|\[(\w+)\]", lambda found: found[0].upper().strip("{}"), args)
        super().write_usage(prog, shown, prefix)

    def write_text(self, text: str) -> None:
        """Write a paragraph."""
        super().write_text(_hold(text))

    def write_dl(
        self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Write what options and arguments are called beside what is said of them."""
        named = [(_hold(_name_type(name)), _hold(said)) for name, said in rows]
        super().write_dl(named, col_max, col_spacing)

    def getvalue(self) -> str:
        """Return all that was written."""
        return str(super().getvalue().replace(_HELD, "-"))


_HELD = "\u2011"
_TYPES = {"str": "TEXT", "int": "N", "float": "NUMBER", "path": "PATH", "dir": "FOLDER"}


def _hold(text: str) -> str:
    """Put hyphens at which no line is broken in place of those at which one is."""
    return text.replace("-", _HELD)


def _name_type(name: str) -> str:
    """Write ``--seed N`` for ``--seed <int range>``, and an argument in capitals without a type."""
    flag, _, kind = name.partition(" <")
    if not name.startswith("-"):
        return flag.upper() if kind else name
    kind = kind.strip("<>").removesuffix(" range").removeprefix("list[").removesuffix("]")
    return f"{flag} {_TYPES.get(kind.lower(), kind.upper())}" if kind else name


class Context(typer.Context):
    """Of a command whose help is for people."""

    formatter_class = _Help


def make_group(app: typer.Typer, makers: Mapping[str, Maker]) -> Any:  # noqa: ANN401 - of typer's own click
    """Return a group of typer's, with commands that are made when they are asked for."""
    group = read_plainly(get_command(app), {})
    group.commands = Made(makers)
    group.context_class = Context
    return group


#: Of each group. The library that would draw frames around a help takes longer than all else.
PLAIN: dict[str, Any] = {"cls": _Group, "no_args_is_help": True, "rich_markup_mode": None}
