"""The ``bioprobe`` command."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from bioprobe import __version__
from bioprobe.cli import STARTED_S
from bioprobe.cli.asking import app as asking_app
from bioprobe.cli.models import app as models_app
from bioprobe.cli.probe import app as probe_app
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
app.add_typer(asking_app)
app.add_typer(taxa_app, name="taxa")
app.add_typer(prompts_app, name="prompts")
app.add_typer(probe_app, name="probe")
app.add_typer(models_app, name="models")
app.add_typer(store_app, name="store")
app.add_typer(sources_app, name="sources")


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
        app(list(arguments), prog_name="bioprobe", obj=clock)
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
