"""The ``bioprobe`` command."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from bioprobe import __version__
from bioprobe.cli import STARTED_S
from bioprobe.cli.groups import PLAIN, Commands, Maker, make_group
from bioprobe.cli.saying import Clock, say
from bioprobe.errors import BioprobeError, MisuseError
from bioprobe.files import find_remedy
from bioprobe.progress import Stopped

# Which module has the commands that stand at the top, and which those under a word of their own.
_ALONE = ("asking", "counting", "review", "serving")
_GROUPS = {
    "taxa": "cli.taxa:app",
    "prompts": "cli.taxa:prompts",
    "probe": "cli.probe:app",
    "models": "cli.models:app",
    "store": "cli.store:app",
    "annotations": "cli.annotations:app",
    "sources": "cli.sources:app",
}


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


def _bioprobe(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Embed every image once, then ask everything of the embeddings."""


class _Makers(Mapping[str, Maker]):
    """What makes each command: of a group only the module of that group is imported."""

    def __getitem__(self, name: str) -> Maker:
        if name in _GROUPS:
            return _load(_GROUPS[name]).as_group(name)
        return self._alone[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*self._alone, *_GROUPS))

    def __len__(self) -> int:
        return len(self._alone) + len(_GROUPS)

    @functools.cached_property
    def _alone(self) -> dict[str, Maker]:
        loaded = [_load(f"cli.{module}:app") for module in _ALONE]
        return {name: one for commands in loaded for name, one in commands.makers.items()}


def _load(place: str) -> Commands:
    module, _, name = place.partition(":")
    found: Commands = getattr(importlib.import_module(f"bioprobe.{module}"), name)
    return found


@functools.cache
def get_program() -> Any:  # noqa: ANN401 - a group of typer's own click
    """Return the whole program: a group with its ``commands`` by name."""
    app = typer.Typer(
        name="bioprobe", pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100}, **PLAIN,
    )  # fmt: skip
    app.callback()(_bioprobe)
    return make_group(app, _Makers())


def run(arguments: Sequence[str], clock: Clock | None = None) -> int:
    """Run one command line.

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


# New objects that are looked through for garbage; what a first answer loads are fewer.
_GARBAGE_AT = 100_000
_INTERRUPTED = "Interrupted. What was embedded, or said of pictures, is kept."
_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _end_as_interrupted() -> None:
    """Make SIGTERM and SIGHUP end a run as Ctrl-C does: what was read is kept."""

    def stop(number: int, _frame: object) -> None:
        for name in _ENDING:
            # A second one does not stop what keeps the rest.
            signal.signal(name, signal.SIG_IGN)
        raise Stopped(128 + number)

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
    # What is imported stays: to look through it for garbage as it grows takes a tenth of an answer.
    gc.set_threshold(_GARBAGE_AT)
    code = run(sys.argv[1:], Clock(STARTED_S))
    # To look for garbage among all that is loaded, as Python does at its end, takes as long as a
    # search. Those that run models complain of what is left.
    if not {"onnx", "onnxruntime", "openvino", "torch"} & sys.modules.keys():
        gc.freeze()
    sys.exit(code)
