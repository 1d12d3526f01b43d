"""A command made from a public question: its options are read from the question's signature."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import typer

from bioprobe.cli import options
from bioprobe.cli.output import say, write_frame
from bioprobe.cli.progress import show_progress
from bioprobe.face.opened import Opened
from bioprobe.face.store import open as open_store
from bioprobe.options import (
    Condition,
    Option,
    Without,
    check_given,
    read_defaults,
    read_options,
    write_flag,
)

if TYPE_CHECKING:
    from bioprobe.progress import Progress
    from bioprobe.result import Result

After = Callable[..., str | None]
Write = Callable[..., None]

# What commands have after their own options.
_COMMON: dict[str, tuple[Any, Any]] = {
    "store": (options.Store, options.DEFAULT_STORE),
    "output": (options.Output, "-"),
    "file_format": (options.Format, None),
    "quiet": (options.Quiet, False),
    "debug": (options.Debug, False),
}


@dataclasses.dataclass(frozen=True)
class Declared:
    """A parameter of a command: its type, what is said of it, and what it is if not given."""

    kind: Any
    option: Option
    default: Any


def command(
    app: typer.Typer,
    asks: Callable[..., Any],
    *,
    name: str | None = None,
    narrows: Sequence[str] = ("where", "mask"),
    encodes: bool = False,
    when: Mapping[str, Condition] | None = None,
    user_wide: Callable[..., Result] | None = None,
    shows: bool = True,
    says: str = "",
    write: Write | None = None,
) -> Callable[[After], After]:
    """Make a command that asks one question, says the notes and shows the table.

    What it decorates is called with the answer before the table is shown, and returns what is to
    be said of that. Its docstring is the help, its further parameters are options that only a
    shell has, such as ``--html FILE``. All options stand in the attribute ``options`` of the
    command's callback.

    Parameters
    ----------
    app : Typer
        Where the command goes.
    asks : callable
        Method of :class:`bioprobe.Store`, which is opened, or a function that needs none; its
        parameters become options.
    name : str, optional
        Of the command; by default the decorated function's.
    narrows : sequence of str
        Parameters of :meth:`bioprobe.Store.where` that choose images.
    encodes : bool
        Whether ``--model`` and ``--device`` choose the encoder of texts and pictures.
    when : mapping of str to condition, optional
        Conditions of options that stand in another signature, such as ``model``.
    user_wide : callable, optional
        What ``--user-wide`` asks instead: of the user, not of a store.
    shows : bool
        Whether the table is written, to ``--output`` in ``--format``.
    says : str
        Said before the question is asked, with the options in braces.
    write : callable, optional
        Writes the answer, in place of its table, to an output in a format.
    """

    def decorate(after: After) -> After:
        is_of_store = "self" in read_defaults(asks)
        declared = _read(asks)
        if is_of_store:
            declared |= _read(Opened.where, narrows)
        if encodes:
            declared |= _read(open_store, ("model", "device"))
        declared |= _read(after)
        if user_wide is not None:
            beyond = declared.keys() - read_options(user_wide).keys()
            declared |= {one: _limit(declared[one], Without("user_wide")) for one in beyond}
            declared["user_wide"] = Declared(bool, options.USER_WIDE, False)
        for one, condition in (when or {}).items():
            declared[one] = _limit(declared[one], condition)
        has_store = is_of_store or declared.pop("store", None) is not None
        left_out = (() if has_store else ("store",)) + (() if shows else ("output", "file_format"))
        parameters = [
            *(_declare(one, declared[one]) for one in declared),
            *(
                inspect.Parameter(key, _KEYWORD, default=default, annotation=kind)
                for key, (kind, default) in _COMMON.items()
                if key not in left_out
            ),
        ]

        def run(**given: Any) -> None:  # noqa: ANN401 - typer gives what the options say
            given = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
            _check(declared, given)
            if says:
                say(says.format(**given), quiet=given["quiet"])
            asked = user_wide if user_wide and given["user_wide"] else asks
            with show_progress(quiet=given["quiet"]) as progress:
                answer = _ask(asked, given, narrows, progress)
            tell(answer.notes, quiet=given["quiet"])
            done = after(answer, **{one: given[one] for one in read_options(after)})
            if done:
                say(done, quiet=given["quiet"])
            if shows:
                (write or write_answer)(
                    answer, given["output"], given["file_format"], quiet=given["quiet"]
                )

        run.__doc__ = after.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.options = declared  # type: ignore[attr-defined]
        app.command(name or after.__name__)(run)
        return after

    return decorate


def _read(question: Callable[..., Any], names: Sequence[str] | None = None) -> dict[str, Declared]:
    """Return the options of a question, or some of them."""
    defaults = read_defaults(question)
    return {
        name: Declared(kind, option, defaults[name])
        for name, (kind, option) in read_options(question).items()
        if names is None or name in names
    }


def _limit(declared: Declared, condition: Condition) -> Declared:
    option = dataclasses.replace(declared.option, when=(*declared.option.when, condition))
    return dataclasses.replace(declared, option=option)


def _check(declared: Mapping[str, Declared], given: Mapping[str, Any]) -> None:
    all_options = {name: one.option for name, one in declared.items()}
    check_given(all_options, {name: one.default for name, one in declared.items()}, given)


def _ask(
    asks: Callable[..., Any],
    given: Mapping[str, Any],
    narrows: Sequence[str],
    progress: Progress,
) -> Result:
    asked = {name: given[name] for name in read_options(asks)}
    defaults = read_defaults(asks)
    if "progress" in defaults:
        asked["progress"] = progress
    if "tell" in defaults:
        asked["tell"] = lambda line: say(line, quiet=given["quiet"])
    if "self" not in defaults:
        return asks(**asked)
    encoder = {name: given[name] for name in ("model", "device") if name in given}
    store = open_store(given["store"], **encoder)
    chosen = {name: given[name] for name in narrows if given[name] is not None}
    return asks(store.where(**chosen) if chosen else store, **asked)


def write_answer(answer: Any, output: str, file_format: str | None, *, quiet: bool) -> None:  # noqa: ANN401 - any result
    """Write the table of an answer, with where it comes from."""
    provenance = getattr(answer, "provenance", None)
    write_frame(
        answer.to_frame(),
        output,
        file_format,
        provenance=getattr(provenance, "to_dict", lambda: provenance)() or None,
        quiet=quiet,
    )


def tell(notes: Sequence[Any], *, quiet: bool) -> None:
    """Say notes on standard error; quietly, only what was lost or failed."""
    for note in notes:
        say(str(note), quiet=quiet and note.kind != "problem")


_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def _declare(name: str, declared: Declared) -> inspect.Parameter:
    """Return a parameter as typer reads it."""
    option, default = declared.option, declared.default
    kind = option.shell or declared.kind
    if get_origin(declared.kind) is Sequence:
        # Given several times, each of them so.
        kind = list[option.shell or get_args(declared.kind)[0]]  # type: ignore[misc]
    shown: dict[str, Any] = {"help": option.help, "metavar": option.metavar}
    if option.least is not None or option.most is not None:
        shown |= {"min": option.least, "max": option.most}
    if option.choices:
        shown["autocompletion"] = _complete(option.choices)
    if option.is_argument:
        given: Any = typer.Argument(**shown)
    else:
        flags = option.flags or (write_flag(name),)
        if kind is bool and default is not False and "/" not in flags[0]:
            flags = (f"{flags[0]}/{flags[0].replace('--', '--no-', 1)}",)
        given = typer.Option(*flags, **shown)
    if default is None and type(None) not in getattr(kind, "__args__", ()):
        kind = kind | None
    return inspect.Parameter(name, _KEYWORD, default=default, annotation=Annotated[kind, given])


def _complete(choices: Sequence[str]) -> Callable[[str], list[str]]:
    return lambda incomplete: [one for one in choices if one.startswith(incomplete)]
