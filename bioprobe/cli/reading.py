"""What a command line says, read without the library that typer loads to check it.

That library takes longer to load than most questions take. What is typed is nearly always plainly
of its type, and is read here; whatever is not, typer reads, or refuses in its own words.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

_WHOLE, _NUMBER = re.compile("-?[0-9]{1,15}"), re.compile("-?[0-9]{1,15}(\\.[0-9]{1,15})?")
_Read = Callable[[Any, Any], Any]


def read_plainly(command: Any, annotations: Mapping[str, Any]) -> Any:  # noqa: ANN401 - of typer's own click
    """Make a command read what is plainly of its type by itself.

    Parameters
    ----------
    command : Command
        As typer made it; it is changed.
    annotations : mapping of str to annotation
        By parameter: its type, ``Annotated`` with what typer is told of it.

    Returns
    -------
    Command
        The same.
    """
    command.get_params = functools.partial(_get_params, command.get_params, annotations)
    return command


def _get_params(
    get_all: Callable[[Any], list[Any]],
    annotations: Mapping[str, Any],
    context: Any,  # noqa: ANN401
) -> list[Any]:
    """Return the parameters of a command, that of its help too, each of which reads plainly."""
    found = get_all(context)
    for one in found:
        if not isinstance(one.process_value, functools.partial):
            kind, info = (*get_args(annotations.get(one.name)), None, None)[:2]
            one.process_value = functools.partial(
                _process, one, _find_reader(kind), info, one.process_value
            )
    return found


def _find_reader(kind: Any) -> _Read | None:  # noqa: ANN401 - any annotation
    """Return what reads a type, or each item of a list of it."""
    given = [one for one in (get_args(kind) or (kind,)) if one is not type(None)]
    if get_origin(kind) is not list and len(given) == 1 and get_origin(given[0]) is list:
        given = list(get_args(given[0]))
    return _READERS.get(given[0]) if len(given) == 1 else None


def _process(
    parameter: Any,  # noqa: ANN401 - of typer's own click
    read: _Read | None,
    info: Any,  # noqa: ANN401 - what typer is told of it
    by_typer: Callable[[Any, Any], Any],
    context: Any,  # noqa: ANN401
    value: Any,  # noqa: ANN401 - as it is typed, or a default
) -> Any:  # noqa: ANN401 - of the parameter's type
    is_many = getattr(parameter, "multiple", False) or parameter.nargs == -1
    if not value and parameter.required:
        return by_typer(context, value)
    if value is None:
        return () if is_many else None
    if read is None or parameter.callback is not None:
        return by_typer(context, value)
    try:
        return [read(one, info) for one in value] if is_many else read(value, info)
    except ValueError:
        return by_typer(context, value)


def _read_text(value: object, _info: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError


def _read_switch(value: object, _info: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError


def _read_whole(value: object, info: Any) -> int:  # noqa: ANN401
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if type(value) is not int:
        raise ValueError
    _check_range(value, info)
    return value


def _read_number(value: Any, info: Any) -> float:  # noqa: ANN401
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if type(value) not in {int, float}:
        raise ValueError
    _check_range(value, info)
    return float(value)


def _check_range(value: float, info: Any) -> None:  # noqa: ANN401
    if (info.min is not None and value < info.min) or (info.max is not None and value > info.max):
        raise ValueError


def _read_path(value: object, info: Any) -> Path:  # noqa: ANN401
    if not isinstance(value, (str, Path)) or info.exists:
        raise ValueError
    path = Path(value)
    is_there = path.exists()
    if is_there and not info.file_okay and path.is_file():
        raise ValueError
    if is_there and info.readable and not os.access(path, os.R_OK):
        raise ValueError
    return path


_READERS: dict[Any, _Read] = {
    str: _read_text, bool: _read_switch, int: _read_whole, float: _read_number, Path: _read_path,
}  # fmt: skip
