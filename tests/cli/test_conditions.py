"""Every option of every command is refused out of its condition and out of its limits."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest

import bioprobe
from bioprobe.cli.app import get_program, run
from bioprobe.cli.build import Declared
from bioprobe.errors import MisuseError
from bioprobe.face.probe import Probe
from bioprobe.options import (
    Condition,
    Ending,
    Option,
    Unless,
    With,
    WithAny,
    Without,
    name_option,
    question,
    read_options,
    write_flag,
)

Capture = pytest.CaptureFixture[str]
# What is given on a command line, by parameter.
Given = dict[str, list[str]]


def _iter_commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    for name, made in group.commands.items():
        if hasattr(made, "commands"):
            yield from _iter_commands(made, f"{path}{name} ")
        else:
            yield f"{path}{name}", made.callback


COMMANDS = dict(_iter_commands(get_program()))
OPTIONS: dict[str, dict[str, Declared]] = {
    command: callback.options
    for command, callback in COMMANDS.items()
    if hasattr(callback, "options")
}
CASES = [(command, name) for command, declared in OPTIONS.items() for name in declared]


def _name_flag(name: str, declared: Declared) -> str:
    return (declared.option.flags or (write_flag(name),))[0]


def _write(name: str, declared: Declared, value: str | None = None) -> list[str]:
    """Return what gives a parameter a value, by default one that is not its default."""
    option, flag = declared.option, _name_flag(name, declared)
    if (option.shell or declared.kind) is bool:
        plain = flag.partition("/")[0]
        return [plain if declared.default is not True else plain.replace("--", "--no-", 1)]
    value = _choose(declared) if value is None else value
    return [value] if option.is_argument else [flag, value]


def _choose(declared: Declared) -> str:
    option = declared.option
    others = [one for one in option.choices if one != declared.default]
    if others:
        return others[0]
    kinds = {one for kind in (option.shell, declared.kind) for one in (kind, *get_args(kind))}
    if not kinds & {int, float}:
        return "x"
    low = 0 if option.least is None else option.least
    high = low + 2 if option.most is None else option.most
    values = (low, high, low + 1) if int in kinds else ((low + high) / 2, low, high)
    return str(next(value for value in values if value != declared.default))


def _complete(command: str, name: str, value: str | None = None) -> Given:
    """Give a parameter, and whatever it counts with."""
    declared = OPTIONS[command]
    given = {name: _write(name, declared[name], value)}
    for condition in declared[name].option.when:
        if isinstance(condition, With):
            first = str(condition.values[0]) if condition.values else None
            given |= _complete(command, condition.name, first)
        elif isinstance(condition, WithAny):
            given |= _complete(command, condition.names[0])
        elif isinstance(condition, Ending):
            given |= _complete(command, condition.name, f"x{condition.suffix}")
    return given


def _iter_violations(command: str, name: str, condition: Condition) -> Iterator[Given]:
    """Find what is given where an option is given out of one condition, and within the others.

    Yields
    ------
    mapping of str to list of str
    """
    declared = OPTIONS[command]
    given = _complete(command, name)
    if isinstance(condition, Without):
        for other in condition.names:
            yield given | _complete(command, other)
    elif isinstance(condition, WithAny):
        yield {one: words for one, words in given.items() if one not in condition.names}
    elif isinstance(condition, Unless):
        chooser = declared[condition.name]
        yield given | {condition.name: _write(condition.name, chooser, condition.values[0])}
    elif isinstance(condition, Ending):
        yield given | {condition.name: _write(condition.name, declared[condition.name], "x")}
    elif not condition.values or declared[condition.name].default not in (
        *condition.values, inspect.Parameter.empty
    ):  # fmt: skip
        yield {one: words for one, words in given.items() if one != condition.name}
    else:
        chooser = declared[condition.name]
        wrong = next((v for v in chooser.option.choices if v not in condition.values), "x")
        yield given | {condition.name: _write(condition.name, chooser, wrong)}


VIOLATIONS = [
    (command, condition, given)
    for command, name in CASES
    for condition in OPTIONS[command][name].option.when
    for given in _iter_violations(command, name, condition)
]
LIMITS = [
    (command, name, limit)
    for command, name in CASES
    for limit in ("least", "most")
    if getattr(OPTIONS[command][name].option, limit) is not None
]


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run where there is no store: what is refused for itself is refused before that is seen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIOPROBE_STORE", "none")


def _ask(command: str, given: Given) -> int:
    declared = OPTIONS[command]
    needed = {
        name: _write(name, one)
        for name, one in declared.items()
        if one.default is inspect.Parameter.empty and name not in given
    }
    return run([*command.split(), *(word for words in (needed | given).values() for word in words)])


def test_every_command_is_made_from_a_question() -> None:
    assert COMMANDS.keys() == OPTIONS.keys()
    assert len(VIOLATIONS) > 50


@pytest.mark.parametrize(
    ("command", "condition", "given"),
    VIOLATIONS,
    ids=[
        " ".join([command, *itertools.chain(*given.values())]) for command, _, given in VIOLATIONS
    ],
)
def test_an_option_out_of_its_condition_is_refused(
    command: str, condition: Condition, given: Given, capsys: Capture
) -> None:
    assert _ask(command, given) == 2
    # What the option counts with may be refused first, by the same condition.
    options = {name: one.option for name, one in OPTIONS[command].items()}
    said = f"counts only with {condition.explain(options)}; leave"
    assert capsys.readouterr().err.startswith(
        tuple(f"Error: {name_option(one, options)} {said}" for one in given)
    )


@pytest.mark.parametrize(("command", "name", "limit"), LIMITS)
def test_a_number_out_of_its_limits_is_refused(
    command: str, name: str, limit: str, capsys: Capture
) -> None:
    declared = OPTIONS[command][name]
    beyond = getattr(declared.option, limit) + (1 if limit == "most" else -1)
    assert _ask(command, {name: _write(name, declared, str(beyond))}) == 2
    said = capsys.readouterr().err
    assert _name_flag(name, declared) in said


@pytest.mark.parametrize(
    ("command", "name"), [case for case in CASES if OPTIONS[case[0]][case[1]].option.fixed]
)
def test_what_is_none_of_the_choices_is_refused(command: str, name: str, capsys: Capture) -> None:
    given = _complete(command, name, "nonsense")
    assert _ask(command, given) == 2
    assert _name_flag(name, OPTIONS[command][name]) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "name"), [case for case in CASES if OPTIONS[case[0]][case[1]].option.when]
)
def test_an_option_within_its_condition_is_not_refused(
    command: str, name: str, capsys: Capture
) -> None:
    _ask(command, _complete(command, name))
    assert "counts only with" not in capsys.readouterr().err


def test_in_python_every_question_with_such_an_option_refuses_it_too() -> None:
    found = {
        f"{home.__name__}.{name}": ask
        for home in (bioprobe.models, bioprobe.taxa, Probe)
        for name, ask in vars(home).items()
    }
    found |= {name: getattr(bioprobe, name) for name in bioprobe.__all__}
    found |= {f"Store.{name}": getattr(bioprobe.Store, name) for name in dir(bioprobe.Store)}
    unchecked = {
        name
        for name, ask in found.items()
        if inspect.isroutine(ask) and not name.rpartition(".")[2].startswith("_")
        for _, option in read_options(ask).values()
        if option.when or option.fixed or option.least is not None or option.most is not None
        if not hasattr(ask, "__wrapped__")
    }
    assert not unchecked


def test_flags_that_messages_name_are_options_of_a_command() -> None:
    made = {"--help", "--x", "--y", "--force-reinstall"}  # click's, and other tools'
    groups = [get_program()]
    for group in groups:
        groups += [one for one in group.commands.values() if hasattr(one, "commands")]
        for command in (group, *group.commands.values()):
            for one in command.params:
                made.update(one.opts, one.secondary_opts)
    flag = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*(?<!-)(?![\w-])")
    files = [*Path(bioprobe.__file__).parent.rglob("*.py")]
    named = {(one, path.name) for path in files for one in flag.findall(path.read_text("utf-8"))}
    assert not {(one, name) for one, name in named if one not in made}


@question
def _refuse(*, form: Annotated[str, Option("", ("--as",))] = "") -> None:
    msg = f"--as is not {form} with --max-memory; see: bioprobe store index --kind hnsw"
    raise MisuseError(msg)


def test_in_python_an_error_says_which_parameters_the_flags_are() -> None:
    with pytest.raises(MisuseError) as caught:
        _refuse(form="x")
    assert caught.value.__notes__ == ["In Python: form (--as)"]
