"""Write the reference of commands: each with its help, its arguments and its options.

::

    python -m scripts.command_reference

prints it as Markdown, which is what the docs show. Nothing is written by hand: it is read from the
commands themselves, as ``--help`` is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from bioprobe.cli.app import get_program


def write_commands() -> str:
    """Return every command as a section in Markdown, in the order of ``bioprobe --help``.

    Examples
    --------
    >>> write_commands().splitlines()[0]
    '## `bioprobe demo`'
    """
    return "\n".join(_write_command(name, made) for name, made in _list_commands())


def _list_commands() -> Iterator[tuple[str, Any]]:
    """Find the commands.

    Yields
    ------
    tuple of str and command
        As it is typed, and what typer made of it.
    """
    waiting: list[tuple[str, Any]] = [("bioprobe", get_program())]
    while waiting:
        name, made = waiting.pop(0)
        inner = getattr(made, "commands", None)
        if inner is None:
            yield name, made
        else:
            waiting[:0] = [(f"{name} {word}", command) for word, command in inner.items()]


def _write_command(name: str, made: Any) -> str:  # noqa: ANN401 - typer's own classes have no name
    said, _, example = str(made.help).partition("Example:")
    shown = [one for one in made.params if not getattr(one, "hidden", False)]
    arguments = [one for one in shown if one.param_type_name == "argument"]
    options = [one for one in shown if one.param_type_name == "option"]
    usage = " ".join([name, *(_name_argument(one) for one in arguments), "[OPTIONS]"])
    parts = [f"## `{name}`", "\n\n".join(_join(part) for part in said.strip().split("\n\n"))]
    parts += [f"```text\n{usage}\n\n{_join(example)}\n```"]
    rows = [*map(_write_row, arguments), *map(_write_row, options)]
    parts += ["| | takes | what it does |\n|---|---|---|\n" + "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def _write_row(parameter: Any) -> str:  # noqa: ANN401
    if parameter.param_type_name == "argument":
        flags = f"`{_name_argument(parameter)}`"
    else:
        flags = ", ".join(f"`{flag}`" for flag in (*parameter.opts, *parameter.secondary_opts))
    is_switch = getattr(parameter, "is_flag", False)
    takes = "" if is_switch else _name_type(parameter)
    said = _join(parameter.help or "Show this message and exit.")
    default = parameter.default
    has_default = isinstance(default, (int, float)) or bool(default)
    if has_default and not is_switch:
        said += f" Default: `{default}`."
    if variable := getattr(parameter, "envvar", None):
        said += f" Taken from `${variable}` where it is not given."
    if getattr(parameter, "required", False):
        said += " Required."
    return f"| {flags} | {_escape(takes)} | {_escape(said)} |"


def _name_type(parameter: Any) -> str:  # noqa: ANN401
    """Return what a parameter takes: its type, with its limits, and whether it may be repeated."""
    name = parameter.display_type(_CONTEXT).strip("<>").removesuffix(" range")
    least, most = getattr(parameter, "min", None), getattr(parameter, "max", None)
    limits = [f"≥ {least:g}"] if least is not None else []
    limits += [f"≤ {most:g}"] if most is not None else []
    repeated = re.fullmatch(r"list\[(.*)\]", name)
    return f"{repeated[1]}, repeated" if repeated else " ".join([name, ", ".join(limits)]).strip()


def _name_argument(parameter: Any) -> str:  # noqa: ANN401
    return str(parameter.name).upper()


def _join(text: str) -> str:
    return " ".join(text.replace("\b", "").split())


def _escape(text: str) -> str:
    r"""Keep a cell one, and what looks like a tag or a link as it is written.

    Examples
    --------
    >>> print(_escape("a|b <c> {d} [e] *f*"))
    a\|b \<c> {d} \[e] \*f\*
    """
    return re.sub(r"([|<\[*])", r"\\\1", text)


_CONTEXT: Any = get_program().make_context("bioprobe", [], resilient_parsing=True)

if __name__ == "__main__":
    print(write_commands())
