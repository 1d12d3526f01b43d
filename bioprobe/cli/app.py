"""The ``bioprobe`` command."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer
from typer.main import get_command

from bioprobe import __version__
from bioprobe.cli import STARTED_S
from bioprobe.cli.annotations import app as annotations_app
from bioprobe.cli.asking import app as asking_app
from bioprobe.cli.counting import app as counting_app
from bioprobe.cli.models import app as models_app
from bioprobe.cli.probe import app as probe_app
from bioprobe.cli.review import app as review_app
from bioprobe.cli.serving import app as serving_app
from bioprobe.cli.show import Clock, say
from bioprobe.cli.sources import app as sources_app
from bioprobe.cli.store import app as store_app
from bioprobe.cli.taxa import app as taxa_app
from bioprobe.cli.taxa import prompts_app
from bioprobe.errors import BioprobeError, MisuseError
from bioprobe.files import find_remedy

app = typer.Typer(
    name="bioprobe",
    help="Embed every image once, then ask everything of the embeddings.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
# What stands at the top, and what under a word of its own.
_ALONE = (asking_app, counting_app, review_app, serving_app)
_GROUPS = {
    "taxa": taxa_app,
    "prompts": prompts_app,
    "probe": probe_app,
    "models": models_app,
    "store": store_app,
    "annotations": annotations_app,
    "sources": sources_app,
}


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _bioprobe(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Embed every image once, then ask everything of the embeddings."""


class _Commands(Mapping[str, Any]):
    """Commands by name, each made when it is first asked for: all take longer than an answer."""

    def __init__(self, makers: Mapping[str, Callable[[], Any]]) -> None:
        self._makers = makers
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - a command of typer's own click
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def _make_command(info: Any) -> Any:  # noqa: ANN401 - of typer and its own click
    alone = typer.Typer(add_completion=False)
    alone.registered_commands.append(info)
    return get_command(alone)


def _make_group(name: str, group: typer.Typer) -> Any:  # noqa: ANN401 - of typer's own click
    around = typer.Typer(add_completion=False)
    around.add_typer(group, name=name)
    made: Any = get_command(around)
    return made.commands[name]


@functools.cache
def get_program() -> Any:  # noqa: ANN401 - a group of typer's own click
    """Return the whole program: a group with its ``commands`` by name."""
    program: Any = get_command(app)
    makers: dict[str, Callable[[], Any]] = {
        info.name or info.callback.__name__.replace("_", "-"): functools.partial(
            _make_command, info
        )
        for group in _ALONE
        for info in group.registered_commands
        if info.callback
    }
    makers |= {name: functools.partial(_make_group, name, group) for name, group in _GROUPS.items()}
    program.commands = _Commands(makers)
    return program


def run(arguments: Sequence[str], clock: Clock | None = None) -> int:
    """Run one command line.

    Parameters
    ----------
    arguments : sequence of str
        Without the program's name.
    clock : Clock, optional
        Of the process, where a person waits for it.

    Returns
    -------
    int
        0 done, 1 the work failed, 2 misuse, 130 interrupted; 143 or 129 where the system asked it
        to end.
    """
    try:
        get_program()(list(arguments), prog_name="bioprobe", obj=clock)
    except SystemExit as stop:
        code = int(stop.code or 0)
        if code > 128:
            # The terminal may be gone.
            with contextlib.suppress(OSError):
                say(_INTERRUPTED)
        return code
    except BioprobeError as error:
        if "--debug" in arguments:
            raise
        say(f"Error: {error}")
        return 2 if isinstance(error, MisuseError) else 1
    except BrokenPipeError:
        # The reader of a pipe, such as head, has seen enough. Python would complain once more
        # when it flushes standard output at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # Without a number it is none of the system's, but a bug.
        if "--debug" in arguments or error.errno is None:
            raise
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        say(f"Error: {where}{(error.strerror or str(error)).lower()}; {find_remedy(error)}")
        return 1
    return 0


_INTERRUPTED = "Interrupted. What was embedded is kept; the same command goes on from there."
_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _end_as_interrupted() -> None:
    """Make SIGTERM and SIGHUP end a run as Ctrl-C does: what was read is kept."""

    def stop(number: int, _frame: object) -> None:
        for name in _ENDING:
            # A second one does not stop what keeps the rest.
            signal.signal(name, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for name in _ENDING:
        # One that is ignored is meant to be, as under nohup.
        if signal.getsignal(name) is signal.SIG_DFL:
            signal.signal(name, stop)


def main() -> None:
    """Run the command line of this process and exit.

    What libraries warn their programmers of goes to the logger ``py.warnings``, not to a person's
    terminal, but with ``--debug``.
    """
    _end_as_interrupted()
    if "--debug" not in sys.argv:
        logging.captureWarnings(True)
        logging.getLogger("py.warnings").propagate = False
    sys.exit(run(sys.argv[1:], Clock(STARTED_S)))
