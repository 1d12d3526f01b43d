"""``bioprobe review``: pictures are proposed in plain text, and what is answered is learnt."""

from __future__ import annotations

import collections
import contextlib
import math
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli.build import command, tell, write_answer
from bioprobe.cli.groups import Commands
from bioprobe.cli.saying import say, spell
from bioprobe.errors import MisuseError
from bioprobe.options import Option, With, Without
from bioprobe.result import name_some

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from bioprobe.face.find import Find
    from bioprobe.face.review import Review
    from bioprobe.face.sitting import Shown

app = Commands()

_KEYS = (
    "Enter: yes; 1 to 9: that answer; a name, or how it begins: that class; =NAME: a class of this "
    "name, new or not; n: not this; n NAME: not that; u: unsure; b: blank; s: skip; z: take back; "
    "q: stop"
)
_FIND_KEYS = (
    "Enter or y: this is it; n: it is not; u: unsure; s: skip; z: take back; q: stop; the name of "
    "another class: it is that"
)
# Classes that are listed where several begin so.
_LISTED = 8


def _write(
    session: Review | Find, output: str, file_format: str | None, *, safe_csv: bool, quiet: bool
) -> None:
    """Write what the review answered last."""
    if session.last is not None:
        tell(session.last.notes, quiet=quiet)
        write_answer(session.last, output, file_format, safe_csv=safe_csv, quiet=quiet)


@command(
    app, "face.reviewing:Reviews.review", narrows=("where", "mask"), encodes=True, write=_write,
    instead={"sought": (None, "face.finding:Finds.find")},
)  # fmt: skip
def review(
    session: Review | Find,
    *,
    propose: Annotated[
        int | None,
        Option(
            "Write the next N pictures with what is suggested and why they are shown, and ask "
            "nothing: value and verdict are to be filled in.",
            least=1,
            metavar="N",
            when=(Without("status"),),
        ),
    ] = None,
    answers: Annotated[
        Path | None,
        Option(
            "Take back such a table that was filled in; with --propose or --status, before the "
            "next are proposed or it is said how far the review is."
        ),
    ] = None,
    status: Annotated[
        bool,
        Option(
            "Say how far the review is, how good what would be handed over is, and whether to go "
            "on; ask nothing."
        ),
    ] = False,
    goal: Annotated[
        float,
        Option(
            "Accuracy of what would be handed over that is wished.",
            metavar="SHARE",
            when=(With("status"), Without("sought")),
        ),
    ] = 0.95,
    unseen: Annotated[
        float,
        Option(
            "Chance that the next picture is of something new that is borne.",
            metavar="SHARE",
            when=(With("status"), Without("sought")),
        ),
    ] = 0.01,
    width: Annotated[
        float | None,
        Option(
            "Also say how many further random draws bring the accuracy's interval to this width.",
            metavar="SHARE",
            when=(With("status"), Without("sought")),
        ),
    ] = None,
    site: Annotated[
        str | None,
        Option(
            "Column of sites, such as deployment_id: also say what was found at each.",
            metavar="COLUMN",
            when=(With("status"), Without("sought")),
        ),
    ] = None,
    each_class: Annotated[
        bool,
        Option(
            "Also list precision and recall of each class.",
            when=(With("status"), Without("sought")),
        ),
    ] = False,
) -> str:
    """Look at pictures and say what they are; what answers learns from each batch.

    At a terminal each picture is named with what is suggested; Enter says yes, a name or how it
    begins corrects it, n, u, b, s, z and q are not this, unsure, blank, skip, take back and stop.
    What is answered is on the disk at once, as annotations of the store. Scripts use --propose and
    --answers. With --find one species is sought, from one question and without labels: is this it?

    Example: bioprobe review --level species --by anna

    Example: bioprobe review --find "a pangolin" --by anna
    """
    said = ""
    if answers is not None:
        notes = session.answer(answers).notes
        said = "; ".join(map(str, notes)) if status or propose is not None else ""
    if _is_find(session):
        if status:
            session.progress()
    elif status:
        session.progress(goal=goal, unseen=unseen, width=width, site=site, each_class=each_class)
    if propose is not None:
        session.next(propose)
    if session.last is not None:
        return said
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        msg = (
            "a review asks at a terminal, and there is none; without one: --propose 20 --output "
            "next.csv, fill in value and verdict, then --answers next.csv"
        )
        raise MisuseError(msg)
    say(ask_all(session, read_terminal))
    raise typer.Exit


def read_terminal(prompt: str) -> str:
    """Read a line; input() would wait for ever where the end came while nothing was read yet."""
    try:
        import fcntl
        import termios
    except ImportError:
        return input(prompt)
    is_ready = bool(select.select([sys.stdin], [], [], 0)[0])
    if is_ready and not any(fcntl.ioctl(sys.stdin, termios.FIONREAD, bytes(4))):
        raise EOFError
    return input(prompt)


def _is_find(session: Review | Find) -> TypeIs[Find]:
    from bioprobe.face.find import Find

    return isinstance(session, Find)


def ask_all(session: Review | Find, read: Callable[[str], str]) -> str:
    """Show batch after batch and ask for each picture, until there is none or a person stops.

    Parameters
    ----------
    session : Review or Find
    read : callable
        Shows a prompt, and returns a line; raises EOFError where there is no more.

    Returns
    -------
    str
        What was done, for people.
    """
    n_done = 0
    say(_FIND_KEYS if _is_find(session) else _KEYS)
    with _completing(session):
        while True:
            batch = session.next()
            tell(batch.notes, quiet=False)
            if not len(batch):
                return _sum_up(n_done, "no picture is left")
            n_done, is_over = _ask_batch(session, batch.pictures, read, n_done)
            if is_over:
                return _sum_up(n_done, "")
            if _is_find(session):
                tell(session.progress().notes, quiet=False)


def _ask_batch(
    session: Review | Find, pictures: Sequence[Shown], read: Callable[[str], str], n_done: int
) -> tuple[int, bool]:
    """Ask for each picture of a batch; say how many have been answered, and whether to stop."""
    left = collections.deque(pictures)
    before: list[tuple[Shown, bool]] = []
    while left:
        one = left[0]
        _show(one, len(before) + 1, len(pictures))
        try:
            line = read("> ").strip()
        except EOFError:
            return n_done, True
        if line == "q":
            return n_done, True
        if line == "z":
            if not before:
                say("nothing of this batch to take back")
                continue
            last, was_answered = before.pop()
            if was_answered:
                tell(session.undo().notes, quiet=False)
                n_done -= 1
            left.appendleft(last)
            continue
        if line == "s":
            session.skip(one.row)
            before.append((left.popleft(), False))
            continue
        said = _read_line(session, one, line)
        if said is None:
            continue
        session.answer([{"row": one.row, **said}])
        n_done += 1
        before.append((left.popleft(), True))
    return n_done, False


def _show(one: Shown, at: int, n: int) -> None:
    region = f" [{one.image_region}]" if one.image_region else ""
    label = f", labelled {one.label}" if one.label else ""
    say(f"\n{at} of {n}: {one.file_name}{region}{label}\n  {one.shown_for}: {one.reason}")
    answers = [
        f"{place} {name}" + ("" if math.isnan(score) else f" {score:.2f}")
        for place, (name, score) in enumerate(one.answers, start=1)
    ]
    say("  " + (";  ".join(answers) or "nothing is suggested: name it"))


def _read_line(session: Review | Find, one: Shown, line: str) -> dict[str, str] | None:
    """Return what a line says of a picture; None, once the person was told, where it cannot be."""
    if line in {"u", "b"}:
        return {"verdict": "unsure"} if line == "u" else {"value": "blank"}
    if line == "" or line == "n":
        if not one.suggestion:
            say("nothing is suggested; name the class, or u, b, s, z, q")
            return None
        return {"value": one.suggestion, "verdict": "is not" if line else "is"}
    verdict, name = ("is not", line[2:]) if line.startswith("n ") else ("is", line)
    if name.isdigit() and 1 <= int(name) <= len(one.answers):
        return {"value": one.answers[int(name) - 1][0], "verdict": verdict}
    if name.startswith("="):
        return {"value": name[1:].strip(), "verdict": verdict} if name[1:].strip() else None
    found = session.find_classes(name)
    exact = [known for known in found if known.casefold() == name.casefold()]
    if exact or len(found) == 1:
        return {"value": (exact or found)[0], "verdict": verdict}
    if not found:
        say(f"no class begins with {spell(name)}; to make it one: ={spell(name)}")
        return None
    say(f"{len(found):,} classes begin so: {name_some(found, _LISTED)}")
    return None


@contextlib.contextmanager
def _completing(session: Review | Find) -> Iterator[None]:
    """Complete names of classes by the tab key, where the system has a library for it."""
    try:
        import readline
    except ImportError:
        yield
        return
    before, delimiters = readline.get_completer(), readline.get_completer_delims()

    def complete(start: str, at: int) -> str | None:
        found = session.find_classes(start)
        return found[at] if at < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims("")
    readline.parse_and_bind("tab: complete")
    try:
        yield
    finally:
        readline.set_completer(before)
        readline.set_completer_delims(delimiters)


def _sum_up(n_done: int, why: str) -> str:
    return "; ".join(filter(None, (why, f"{n_done:,} pictures answered in this sitting")))
