"""A command made from a public question: its options are read from the question's signature.

Commands are named and told in a line when their module is imported; what they ask is imported, and
their options are read, when one of them is asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import inspect
import mimetypes
import operator
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import typer
from typer.core import TyperCommand
from typer.main import get_command

from bioprobe.cli import options
from bioprobe.cli.groups import Commands, Context, Maker
from bioprobe.cli.reading import read_plainly
from bioprobe.cli.saying import Clock, confirm, say, show_progress
from bioprobe.cli.show import (
    check_output,
    is_csv_file,
    is_page,
    is_shown,
    is_text,
    write_csv,
    write_frame,
    write_page,
    write_paths,
)
from bioprobe.errors import MisuseError
from bioprobe.files import check_target
from bioprobe.options import (
    LEAVE_OUT,
    PEOPLE,
    Condition,
    Option,
    With,
    Without,
    check_given,
    list_given,
    name_option,
    read_defaults,
    read_options,
    write_flag,
)

if TYPE_CHECKING:
    from bioprobe.face.chosen import Pictures
    from bioprobe.progress import Progress
    from bioprobe.result import Notes

After = Callable[..., str | None]
Write = Callable[..., None]
Bare = Callable[[Sequence[str]], Mapping[str, Sequence[str]]]

STANDARD_OUTPUT = "-"
#: The parameter that says which labels count, and the name that it has among those of a question.
LABELS, _WHICH_LABELS = "labels", "which_labels"
_ENCODER = ("model", "device")
# Where a command keeps the order of its options.
_ORDER = "bioprobe.order"
# What commands have after their own options.
_COMMON: dict[str, tuple[Any, Any]] = {
    "store": (options.Store, options.DEFAULT_STORE),
    "output": (options.Output, "-"),
    "file_format": (options.Format, None),
    "safe_csv": (options.SafeCsv, False),
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
    app: Commands,
    place: str,
    *,
    name: str | None = None,
    narrows: Sequence[str] = ("where", "mask", LABELS),
    encodes: bool = False,
    sources: str | None = None,
    bare: Bare | None = None,
    when: Mapping[str, Condition] | None = None,
    instead: Mapping[str, tuple[Option | None, str]] | None = None,
    shows: bool = True,
    says: str = "",
    write: Write | None = None,
    chooses: bool = False,
    in_order: tuple[str, Sequence[str]] | None = None,
    also: str = "",
    lone: bool = False,
    no_table: Condition | None = None,
) -> Callable[[After], After]:
    """Make a command that asks one question, says the notes and shows the table.

    What it decorates is called with the answer before the table is shown, and returns what is to
    be said of that. Its docstring is the help, its further parameters are options that only a
    shell has, such as ``--html FILE``. All options stand in the attribute ``options`` of the
    command's callback.

    Parameters
    ----------
    app : Commands
        Where the command goes.
    place : str
        Where the question stands, such as ``face.asking:Asks.zeroshot``: a method of
        :class:`bioprobe.Store`, which is opened, or a function that needs none; its parameters
        become options.
    name : str, optional
        Of the command; by default the decorated function's.
    narrows : sequence of str
        Parameters of :meth:`bioprobe.Store.where` that choose images, and which labels count.
        Where the question has an option ``--labels`` of its own, that choice is ``--which-labels``.
    encodes : bool
        Whether ``--model`` and ``--device`` choose the encoder of texts and pictures.
    sources : str, optional
        How pictures are named that are asked instead of a store: ``-`` is as arguments, else a
        flag such as ``--in``. Folders are kept in the store, by whose encoder all are read.
    bare : callable, optional
        From arguments without a flag to the parameters that each is one of, with its values; its
        docstring is their help.
    when : mapping of str to condition, optional
        Conditions of options that stand in another signature, such as ``model``.
    instead : mapping of str to (Option, str), optional
        Flags by parameter, each with the place of the question that is asked instead where it is
        given; options that this one has not are refused beside it, and its further ones count
        beside it. Without an Option it is a parameter of the other question.
    shows : bool
        Whether the table is written, to ``--output`` in ``--format``.
    says : str
        Said before the question is asked, with the options in braces.
    write : callable, optional
        Writes the answer, in place of its table, to an output in a format.
    chooses : bool
        Whether the answer chooses pictures, which can be listed, copied and linked to.
    in_order : (str, sequence of str), optional
        A parameter that is given once for each of what others are given, in the order of the
        command line, and these others in the order in which the question counts them.
    also : str
        Parameter of the question that further stores are, where ``--store`` is given several times.
    lone : bool
        Whether pictures that are named, as ``sources`` of the question, are asked alone where there
        is no store.
    no_table : condition, optional
        Under which ``--output`` is no table, but a file or folder that ``write`` knows.
    """

    def make(after: After) -> Any:  # noqa: ANN401 - a command of typer's own click
        asks, others = _find_question(place), _find_others(instead)
        declared = _gather(asks, after, narrows, encodes=encodes, sources=sources, bare=bare)
        declared |= _read(bring_pictures) if chooses else {}
        shell = read_options(after).keys() | (_read(bring_pictures).keys() if chooses else set())
        _allow_instead(declared, others, narrows, shell)
        declared |= {one: _limit(declared[one], said) for one, said in (when or {}).items()}
        common = _declare_common(asks, declared, shows=shows, several=bool(also))
        parameters = [_CONTEXT, *(_declare(one, declared[one]) for one in declared), *common]

        def run(context: typer.Context, **given: Any) -> None:  # noqa: ANN401 - typer gives what the options say
            further = _take_first_store(given) if also else []
            given = _read_given(given, bare)
            given |= _sort_by_term(context, given, in_order)
            defaults = {one: declared[one].default for one in declared}
            check_given({one: declared[one].option for one in declared}, defaults, given)
            if sources == "-":
                _refuse_store(context, given["sources"] or ())
            is_table = no_table is None or not no_table.holds(given, defaults)
            _check_outputs(declared, given, shows=shows, is_table=is_table)
            if says:
                say(says.format(**given), quiet=given["quiet"])
            asked, given = _choose_instead(asks, others, given, context)
            quiet = given["quiet"]
            with _watch(context, quiet=quiet):
                with show_progress(quiet=quiet) as progress:
                    answer = _ask(
                        asked, given, narrows, progress, {also: further} if further else {},
                        lone=lone,
                    )  # fmt: skip
                tell(answer.notes, quiet=quiet)
                # Where the question has that option, it is answered already.
                if given.get("people") and "people" not in read_options(asked):
                    answer = answer.with_people(given["people"])
                done = after(answer, **{one: given[one] for one in read_options(after)})
                if done:
                    say(done, quiet=quiet)
                if chooses:
                    _bring_pictures(answer, given)
                if shows:
                    _write(_show_asked(answer, given, context), given, write or write_answer)

        run.__doc__ = after.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.options = declared  # type: ignore[attr-defined]
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(name or after.__name__, cls=_InOrder if in_order else None)(run)
        made = get_command(alone)
        made.context_class = Context
        return read_plainly(made, {one.name: one.annotation for one in parameters})

    def decorate(after: After) -> After:
        typed = name or after.__name__.replace("_", "-")
        app.makers[typed] = Maker(after.__doc__ or "", functools.partial(make, after))
        return after

    return decorate


def _find_question(place: str) -> Callable[..., Any]:
    """Import a question by where it stands: ``module:attribute``, the module in this package."""
    module, _, attribute = place.partition(":")
    found: Callable[..., Any] = operator.attrgetter(attribute)(
        importlib.import_module(f"bioprobe.{module}")
    )
    return found


def _find_others(
    instead: Mapping[str, tuple[Option | None, str]] | None,
) -> dict[str, tuple[Option | None, Callable[..., Any]]]:
    return {flag: (one, _find_question(place)) for flag, (one, place) in (instead or {}).items()}


def _allow_instead(
    declared: dict[str, Declared],
    instead: Mapping[str, tuple[Option | None, Callable[..., Any]]],
    narrows: Sequence[str],
    shell: Collection[str],
) -> None:
    """Add the flags of other questions, beside which options that these have not are refused.

    Those that only the shell has are of either. What further options the other question has count
    beside its flag, which is one of these where it has no Option of its own.
    """
    for flag, (option, other) in instead.items():
        own = _read(other)
        beyond = declared.keys() - own.keys() - instead.keys() - set(shell)
        if "self" in read_defaults(other):
            beyond -= {*narrows, _WHICH_LABELS} - {LABELS}
            beyond -= {*_ENCODER} if flag in own else set()
        declared |= {one: _limit(declared[one], Without(flag)) for one in beyond}
        further = own.keys() - declared.keys() - {flag}
        declared |= {one: _limit(own[one], With(flag)) for one in own if one in further}
        if option is not None:
            declared[flag] = Declared(bool, option, False)
        else:
            declared[flag] = Declared(own[flag].kind, own[flag].option, None)


def _choose_instead(
    asks: Callable[..., Any],
    instead: Mapping[str, tuple[Option | None, Callable[..., Any]]],
    given: dict[str, Any],
    context: typer.Context,
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return what is asked, and what is given to it: to another question by its own defaults."""
    switches = [write_flag(flag) for flag, (new, _) in instead.items() if new and given[flag]]
    if len(switches) > 1:
        msg = f"{' and '.join(switches)} ask different questions; give one of them"
        raise MisuseError(msg)
    asked = next((other for flag, (_, other) in instead.items() if given[flag]), None)
    if asked is None:
        return asks, given
    own, options = read_defaults(asked), read_options(asked)
    return asked, {
        name: own[name] if name in options and _is_default(context, name) else value
        for name, value in given.items()
    }


def _is_default(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name in {"DEFAULT", "DEFAULT_MAP"}


def _show_asked(
    answer: Any,  # noqa: ANN401 - any result
    given: Mapping[str, Any],
    context: typer.Context,
) -> Any:  # noqa: ANN401 - any result
    """Return the answer, as many of which a terminal shows an image as were asked for by name."""
    if "k" not in given or not hasattr(answer, "n_shown") or _is_default(context, "k"):
        return answer
    return dataclasses.replace(answer, n_shown=given["k"])


def _write(answer: Any, given: Mapping[str, Any], write: Write) -> None:  # noqa: ANN401 - any result
    if given.get("paths"):
        write_paths(answer.paths, given["output"], null=given["null"])
        return
    output, quiet = given["output"], given["quiet"]
    write(answer, output, given["file_format"], safe_csv=given["safe_csv"], quiet=quiet)


def _bring_pictures(answer: Pictures, given: Mapping[str, Any]) -> None:
    chosen = {one: given[one] for one in read_options(bring_pictures)}
    with show_progress(quiet=given["quiet"]) as progress:
        tell(bring_pictures(answer, **chosen, progress=progress), quiet=given["quiet"])


def bring_pictures(
    answer: Pictures,
    *,
    paths: Annotated[
        bool,
        Option(
            "Write the files of the pictures, one a line, in place of the table: of a filter those "
            "that are kept, of dedupe the copies."
        ),
    ] = False,
    null: Annotated[
        bool,
        Option(
            "With --paths: end each by a NUL byte, for xargs -0; a name may hold a line break.",
            ("--null", "-0"),
            when=(With("paths"),),
        ),
    ] = False,
    copy_to: Annotated[
        Path | None,
        Option(
            "Copy these pictures into a folder, in one below it for each answer; nothing there is "
            "replaced. GPS, serial numbers and names are taken out.",
            writes="any",
        ),
    ] = None,
    link_to: Annotated[
        Path | None,
        Option(
            "Make links to these pictures in a folder, as --copy-to makes copies.",
            writes="any",
            when=(Without("copy_to"),),
        ),
    ] = None,
    people: Annotated[
        str | None,
        Option(
            "Pictures with people, told by a detector or the column content: leave-out, obscure or "
            "keep. By default obscured on pages, and left out of copies and links.",
            choices=PEOPLE,
            fixed=True,
        ),
    ] = None,
    keep_metadata: Annotated[
        bool,
        Option(
            "Copy each file as it is, with what the camera wrote beside the pixels.",
            when=(With("copy_to"),),
        ),
    ] = False,
    keywords: Annotated[
        bool,
        Option(
            "Write the answers into the copies as keywords that photo programs read (XMP); of what "
            "is no JPEG into a file beside it.",
            when=(With("copy_to"),),
        ),
    ] = False,
    progress: Progress | None = None,
) -> Notes:
    """Copy the pictures of an answer, or link to them, where that is asked for."""
    _ = paths, null
    if copy_to is not None:
        return answer.copy_to(
            copy_to, people=people or LEAVE_OUT, keep_metadata=keep_metadata, keywords=keywords,
            progress=progress,
        )  # fmt: skip
    if link_to is not None:
        return answer.link_to(link_to, people=people or LEAVE_OUT, progress=progress)
    return ()


def _gather(
    asks: Callable[..., Any],
    after: After,
    narrows: Sequence[str],
    *,
    encodes: bool,
    sources: str | None,
    bare: Bare | None,
) -> dict[str, Declared]:
    """Return the options of a command: the question's, those that choose images, the shell's."""
    from bioprobe.face.store import open as open_store
    from bioprobe.face.store import pictures as open_pictures

    declared, encoder = _read(asks), _read(open_store, _ENCODER)
    if "self" in read_defaults(asks):
        declared |= _read_narrowing(asks, narrows)
    if encodes:
        declared |= encoder
    elif sources:
        declared |= {name: _limit(one, With("sources")) for name, one in encoder.items()}
    if sources:
        kind, option = read_options(open_pictures)["sources"]
        named = Declared(kind, dataclasses.replace(option, flags=(sources,)), None)
        # A store has masks, pictures have none yet.
        masks = {"mask": _limit(declared["mask"], Without("sources"))}
        listing = _read(open_pictures, ("allow_outside", "exclude", "include"))
        declared = {"sources": named, **declared, **masks}
        declared |= {name: _limit(one, With("sources")) for name, one in listing.items()}
    if bare is not None:
        option = Option(inspect.cleandoc(bare.__doc__ or ""), ("-",), shell=list[str])
        declared = {"terms": Declared(str, option, None), **declared}
    return declared | _read(after)


def _check_outputs(
    declared: Mapping[str, Declared], given: Mapping[str, Any], *, shows: bool, is_table: bool
) -> None:
    """Refuse what cannot be written before the question is asked, which may change a store.

    Nor is what the command reads overwritten.
    """
    flags = {name: one.option for name, one in declared.items()}
    written, read = {}, {}
    for name, one in declared.items():
        if given[name] is None or (one.option.writes and str(given[name]) == STANDARD_OUTPUT):
            continue
        if one.option.writes:
            check_target(Path(given[name]), is_file=one.option.writes == "file")
            written[name_option(name, flags)] = Path(given[name])
        elif isinstance(given[name], (str, Path, tuple)):
            read[name_option(name, flags)] = [
                Path(value) for value in list_given(given[name]) if isinstance(value, (str, Path))
            ]
    if shows and given["output"] != "-":
        if is_table:
            check_output(given["output"], given["file_format"])
        else:
            check_target(Path(given["output"]), is_file=False)
        written["--output"] = Path(given["output"])
    store = Path(given["store"]) if "store" in given else None
    for flag, path in written.items():
        _refuse_overwriting(flag, path, read, store)
        for other, its in written.items():
            if other != flag and os.path.realpath(path) == os.path.realpath(its):
                msg = f"{flag} and {other} are the same file, {path}; name another"
                raise MisuseError(msg)


def _refuse_overwriting(
    flag: str, path: Path, read: Mapping[str, Sequence[Path]], store: Path | None
) -> None:
    """Refuse a file to write that the command reads: one that is named, a picture, the store's."""
    if not os.path.lexists(path):
        return
    real = Path(os.path.realpath(path))
    named = [
        (other, value) for other, values in read.items() for value in values
        if Path(os.path.realpath(value)) in {real, real.parent if real.stem == "metadata" else real}
    ]  # fmt: skip
    why = ""
    if named:
        why = f"is what {named[0][0]} reads"
    elif (mimetypes.guess_type(path)[0] or "").startswith("image/"):
        why = "is a picture"
    elif store is not None and Path(os.path.realpath(store)) in real.parents:
        why = f"is a file of the store {store}"
    if why:
        msg = f"{flag} {path} {why}; name another file, nothing was written"
        raise MisuseError(msg)


def _read_given(given: Mapping[str, Any], bare: Bare | None) -> dict[str, Any]:
    """Return what was given by parameter, arguments without a flag among those they are one of."""
    read = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
    terms = bare(read.pop("terms") or ()) if bare is not None else {}
    for name, values in terms.items():
        if values:
            read[name] = (*values, *(read[name] or ()))
    return {"terms": None, **read} if bare is not None else read


class _InOrder(TyperCommand):
    """Keeps the order in which the options of a command line stand."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's own click
        """Read a command line, and remember the parameter of each option."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        ctx.meta[_ORDER] = [one.name for one in order]
        return super().parse_args(ctx, args)


def _sort_by_term(
    context: typer.Context, given: Mapping[str, Any], in_order: tuple[str, Sequence[str]] | None
) -> dict[str, Sequence[Any]]:
    """Return values in the order in which a question counts terms, not as they were typed.

    Terms without a flag come first, as their place among the options is not known.
    """
    if in_order is None:
        return {}
    name, terms = in_order
    flagged = [one for one in context.meta.get(_ORDER, ()) if one in terms]
    given_by_term = {one: len(given[one] or ()) for one in terms}
    bare = [one for one, n in given_by_term.items() for _ in range(n - flagged.count(one))]
    typed, values = [*bare, *flagged], given[name] or ()
    if len(values) != len(typed) or not values:
        return {}
    places = sorted(range(len(typed)), key=lambda place: terms.index(typed[place]))
    return {name: tuple(values[place] for place in places)}


def _watch(context: typer.Context, *, quiet: bool) -> contextlib.AbstractContextManager[None]:
    """Say what takes long, where a process was started for the command."""
    clock = context.obj
    return clock.watching(quiet=quiet) if isinstance(clock, Clock) else contextlib.nullcontext()


def _refuse_store(context: typer.Context, sources: Sequence[str | Path]) -> None:
    """Refuse a store beside pictures that are not kept there."""
    if all(Path(one).is_dir() for one in sources):
        return
    source = context.get_parameter_source("store")
    if source is not None and source.name == "COMMANDLINE":
        msg = "pictures in no folder are asked instead of a store; leave --store out, or them"
        raise MisuseError(msg)


def _read(question: Callable[..., Any], names: Sequence[str] | None = None) -> dict[str, Declared]:
    """Return the options of a question, or some of them."""
    defaults = read_defaults(question)
    return {
        name: Declared(kind, option, defaults[name])
        for name, (kind, option) in read_options(question).items()
        if names is None or name in names
    }


def _read_narrowing(asks: Callable[..., Any], narrows: Sequence[str]) -> dict[str, Declared]:
    """Return the options that choose images and labels, beside those of a question."""
    from bioprobe.face.opened import Opened

    declared = _read(Opened.where, narrows)
    if LABELS in declared:
        one = declared.pop(LABELS)
        flag = write_flag(_WHICH_LABELS if LABELS in read_options(asks) else LABELS)
        option = dataclasses.replace(one.option, flags=(flag,))
        declared[_WHICH_LABELS] = dataclasses.replace(one, option=option)
    return declared


def _limit(declared: Declared, condition: Condition) -> Declared:
    option = dataclasses.replace(declared.option, when=(*declared.option.when, condition))
    return dataclasses.replace(declared, option=option)


def _ask(
    asks: Callable[..., Any],
    given: Mapping[str, Any],
    narrows: Sequence[str],
    progress: Progress,
    further: Mapping[str, Any],
    *,
    lone: bool = False,
) -> Any:  # noqa: ANN401 - what the question returns
    asked = {**{name: given[name] for name in read_options(asks)}, **further}
    defaults = read_defaults(asks)
    if "progress" in defaults:
        asked["progress"] = progress
    if "tell" in defaults:
        asked["tell"] = lambda line: say(line, quiet=given["quiet"])
    if "emit" in defaults:
        asked["emit"] = functools.partial(typer.echo, nl=False)
    if "ask_first" in defaults:
        asked["ask_first"] = functools.partial(confirm, yes=given["yes"])
    if "self" not in defaults:
        return asks(**asked)
    from bioprobe.face.pictures import has_store
    from bioprobe.face.store import open as open_store
    from bioprobe.face.store import pictures as open_pictures

    encoder = {name: given[name] for name in ("model", "device") if name in given}
    is_lone = lone and not has_store(given["store"])
    if given.get("sources") and ("sources" not in asked or is_lone):
        if "sources" in asked:
            asked["sources"] = None
        store = open_pictures(
            given["sources"], like=given["store"], keep=not is_lone, **encoder,
            allow_outside=given["allow_outside"], exclude=given["exclude"],
            include=given["include"], progress=progress,
        )  # fmt: skip
    else:
        store = open_store(given["store"], **encoder, progress=progress)
    keys = {name: _WHICH_LABELS if name == LABELS else name for name in narrows}
    chosen = {name: given[key] for name, key in keys.items() if given[key] is not None}
    return asks(store.where(**chosen) if chosen else store, **asked)


def write_answer(
    answer: Any,  # noqa: ANN401 - any result
    output: str,
    file_format: str | None,
    *,
    safe_csv: bool = False,
    quiet: bool,
) -> None:
    """Write the table of an answer, with where it comes from; or its page, where a file is one."""
    if is_page(output, file_format):
        _write_page(answer, output, quiet=quiet)
        return
    provenance = getattr(answer, "provenance", None)
    said = getattr(provenance, "to_dict", lambda: provenance)() or None
    if is_csv_file(output, file_format):
        write_csv(answer.iter_tables, output, said, safe=safe_csv, quiet=quiet)
        return
    is_short = is_shown(output, file_format)
    table = answer.to_columns(short=is_short) if is_text(output, file_format) else None
    if table is None:
        table = answer.to_lines() if is_short else answer.to_frame()
    write_frame(
        table,
        output,
        file_format,
        provenance=said,
        safe_csv=safe_csv,
        quiet=quiet,
    )


def _write_page(answer: Any, output: str, *, quiet: bool) -> None:  # noqa: ANN401 - any result
    if not hasattr(answer, "write_page"):
        msg = f"this answer is no page of pictures, got {output}; end it in .csv, .json or .parquet"
        raise MisuseError(msg)
    say(write_page(answer, Path(output)), quiet=quiet)


def tell(notes: Sequence[Any], *, quiet: bool) -> None:
    """Say notes on standard error; quietly, only what was lost or failed."""
    for note in notes:
        say(str(note), quiet=quiet and note.kind != "problem")


_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_CONTEXT = inspect.Parameter("context", _KEYWORD, annotation=typer.Context)


def _take_first_store(given: dict[str, Any]) -> list[Path]:
    """Leave the first of several stores, of which the others are returned."""
    first, *further = given["store"] or [options.DEFAULT_STORE]
    given["store"] = first
    return further


def _declare_common(
    asks: Callable[..., Any], declared: dict[str, Declared], *, shows: bool, several: bool
) -> list[inspect.Parameter]:
    """Return what a command has after its own options."""
    # One of that name in the signature is the store that every command has.
    has_store = declared.pop("store", None) is not None or "self" in read_defaults(asks)
    left_out = (() if has_store else ("store",)) + (
        () if shows else ("output", "file_format", "safe_csv")
    )
    common = {key: its for key, its in _COMMON.items() if key not in left_out}
    if several:
        common["store"] = (options.Stores, [options.DEFAULT_STORE])
    return [
        inspect.Parameter(key, _KEYWORD, default=default, annotation=kind)
        for key, (kind, default) in common.items()
    ]


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
