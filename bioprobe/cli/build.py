"""A command made from a public question: its options are read from the question's signature."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bioprobe.cli import options
from bioprobe.cli.output import say, write_frame
from bioprobe.cli.progress import show_progress
from bioprobe.errors import MisuseError
from bioprobe.face.opened import Opened
from bioprobe.face.pictures import pictures as open_pictures
from bioprobe.face.store import open as open_store
from bioprobe.options import check_options, read_options, write_flag

if TYPE_CHECKING:
    from bioprobe.result import Result

After = Callable[..., str | None]

# What every command has after its own options.
_COMMON: dict[str, tuple[Any, Any]] = {
    "store": (options.Store, options.DEFAULT_STORE),
    "output": (options.Output, "-"),
    "file_format": (options.Format, None),
    "quiet": (options.Quiet, False),
    "debug": (options.Debug, False),
}


def command(
    app: typer.Typer,
    asks: Callable[..., Result],
    *,
    name: str | None = None,
    narrows: bool = True,
    encodes: bool = False,
    sources: str | None = None,
) -> Callable[[After], After]:
    """Make a command that opens a store, asks it one question, says the notes and shows the table.

    What it decorates is called with the answer before the table is shown, and returns what is to
    be said of that. Its docstring is the help, its further parameters are options that only a
    shell has, such as ``--html FILE``.

    Parameters
    ----------
    app : Typer
        Where the command goes.
    asks : callable
        Method of :class:`bioprobe.Store`, whose parameters become options.
    name : str, optional
        Of the command; by default the decorated function's.
    narrows : bool
        Whether ``--where`` and ``--mask`` choose images.
    encodes : bool
        Whether texts or pictures are asked, by the encoder of ``--model`` on ``--device``.
    sources : str, optional
        How pictures are named that are asked instead of a store: ``-`` is as arguments, all else
        a flag such as ``--in``, beside which ``--store`` says whose encoder reads them.
    """

    def decorate(after: After) -> After:
        own = list(inspect.signature(after).parameters.values())[1:]
        narrowing = ["where", "mask"] if narrows else []
        encoding = ["model", "device"] if encodes or sources else []
        parameters = [
            *([_CONTEXT, _declare_sources(sources)] if sources else []),
            *(_declare(asks, name) for name in read_options(asks)),
            *(_declare(Opened.where, name) for name in narrowing),
            *(_declare(open_store, name) for name in encoding),
            *(_declare(after, one.name) for one in own),
            *map(_declare_common, _COMMON),
        ]

        def run(**given: Any) -> None:  # noqa: ANN401 - typer gives what the options say
            extras = {one.name: given[one.name] for one in own}
            check_options(after, extras)
            check_options(asks, {name: given[name] for name in read_options(asks)})
            if sources:
                _refuse_misuse(given, encodes=encodes, both=sources != "-")
            answer = _ask(asks, given, narrowing, encoding)
            tell(answer.notes, quiet=given["quiet"])
            done = after(answer, **extras)
            if done:
                say(done, quiet=given["quiet"])
            provenance = getattr(answer, "provenance", None)
            write_frame(
                answer.to_frame(),
                given["output"],
                given["file_format"],
                provenance=getattr(provenance, "to_dict", lambda: provenance)(),
                quiet=given["quiet"],
            )

        _register(app, name or after.__name__, run, after, parameters)
        return after

    return decorate


def work(
    app: typer.Typer, does: Callable[..., Any], *, name: str | None = None
) -> Callable[[After], After]:
    """Make a command of a public function of which the notes alone are shown, and its progress.

    What it decorates is called with what the function returned. Its docstring is the help.

    Parameters
    ----------
    app : Typer
        Where the command goes.
    does : callable
        Public function; its parameters become options, but for ``progress``.
    name : str, optional
        Of the command; by default the decorated function's.
    """

    def decorate(after: After) -> After:
        names = list(read_options(does))
        parameters = [
            *(_declare_common(name) if name in _COMMON else _declare(does, name) for name in names),
            *map(_declare_common, ("quiet", "debug")),
        ]

        def run(**given: Any) -> None:  # noqa: ANN401 - typer gives what the options say
            with show_progress(quiet=given["quiet"]) as progress:
                done = does(**{name: given[name] for name in names}, progress=progress)
            tell(done.notes, quiet=given["quiet"])
            after(done)

        _register(app, name or after.__name__, run, after, parameters)
        return after

    return decorate


def _register(
    app: typer.Typer,
    name: str,
    run: Callable[..., None],
    after: After,
    parameters: Sequence[inspect.Parameter],
) -> None:
    run.__doc__ = after.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    app.command(name)(run)


def _ask(
    asks: Callable[..., Result],
    given: Mapping[str, Any],
    narrowing: Sequence[str],
    encoding: Sequence[str],
) -> Result:
    encoder = {name: given[name] for name in encoding}
    if given.get("sources"):
        with show_progress(quiet=given["quiet"]) as progress:
            store = open_pictures(
                given["sources"], like=given["store"], **encoder, progress=progress
            )
    else:
        store = open_store(given["store"], **encoder)
    chosen = {name: given[name] for name in narrowing if given[name] is not None}
    if chosen:
        store = store.where(**chosen)
    return asks(store, **{name: given[name] for name in read_options(asks)})


def _refuse_misuse(given: Mapping[str, Any], *, encodes: bool, both: bool) -> None:
    """Refuse options that do not count where pictures are asked, or where a store is."""
    named = given["context"].get_parameter_source("store").name == "COMMANDLINE"
    if not given["sources"]:
        if not encodes and (given["model"] is not None or given["device"] != "auto"):
            msg = "--model and --device read pictures that are named; a store is asked as it is"
            raise MisuseError(msg)
    elif named and not both:
        msg = "pictures that are named are asked instead of a store; leave --store out, or them"
        raise MisuseError(msg)
    elif given.get("mask") is not None:
        msg = "a mask is kept in a store; leave --mask out, or embed the pictures into a store"
        raise MisuseError(msg)


def tell(notes: Sequence[Any], *, quiet: bool) -> None:
    """Say notes on standard error; quietly, only what was lost or failed."""
    for note in notes:
        say(str(note), quiet=quiet and note.kind != "problem")


_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_CONTEXT = inspect.Parameter("context", _KEYWORD, annotation=typer.Context)


def _declare_sources(flag: str) -> inspect.Parameter:
    """Return the pictures that are asked instead of a store, which need not be given."""
    _, option = read_options(open_pictures)["sources"]
    given: Any = typer.Argument if flag == "-" else functools.partial(typer.Option, flag)
    kind: Any = option.shell | None
    shown = given(help=option.help)
    return inspect.Parameter("sources", _KEYWORD, default=None, annotation=Annotated[kind, shown])


def _declare_common(name: str) -> inspect.Parameter:
    kind, default = _COMMON[name]
    return inspect.Parameter(name, _KEYWORD, default=default, annotation=kind)


def _declare(question: Callable[..., Any], name: str) -> inspect.Parameter:
    """Return a parameter as typer reads it."""
    kind, option = read_options(question)[name]
    default = inspect.signature(question).parameters[name].default
    kind = option.shell or kind
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
