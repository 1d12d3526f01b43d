"""Watch a folder again and again, killed at drawn moments, in processes of their own.

Run with a folder, a seed and a number of kills. A moment is before or after a statement to the
ledger, a rename, a wait for the disk or for a command.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bioprobe as bp
import bioprobe.embedding.encoder_choice
import bioprobe.encoders
from bioprobe.watching.ledger import Ledger
from tests.conftest import PlainEncoder

Act = Callable[..., Any]
# About as many as a watch of what is left at a time has.
N_MOMENTS = 160


def watch(folder: Path) -> None:
    """Do what is there, two pictures at a time, of which each is an event and alerts."""
    for module in (bioprobe.encoders, bioprobe.embedding.encoder_choice):
        vars(module)["load_encoder"] = lambda *_, **__: PlainEncoder()
    line = f"/bin/sh -c 'echo \"$BIOPROBE_ALERT_FILE\" >> {folder}/told'"
    bp.watch(
        folder / "inbox", store=folder / "store", taxa=folder / "taxa.csv",
        level="family", model=None if (folder / "store" / "manifest.json").exists() else "plain",
        output=folder / "answers.csv", alert=["Mammalia"], over=[0.9], command=line, gap_seconds=0,
        settle=0, wait=0, together=2, once=True,
    )  # fmt: skip


def watch_until(folder: Path, moment: int) -> int:
    """Watch in a process of its own, and kill it at a moment, counted from 1; 0 is never.

    Returns
    -------
    int
        Moments that there were, 0 where it was killed.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        n_moments = 0

        def pass_moment() -> None:
            nonlocal n_moments
            n_moments += 1
            if n_moments == moment:
                os.kill(os.getpid(), signal.SIGKILL)

        def count(act: Act) -> Act:
            def counted(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever it takes
                pass_moment()
                done = act(*given, **named)
                pass_moment()
                return done

            return counted

        owners: Sequence[tuple[Any, str]] = (
            (Ledger, "_execute"), (Path, "replace"), (os, "fsync"), (subprocess.Popen, "wait"),
        )  # fmt: skip
        for owner, name in owners:
            setattr(owner, name, count(getattr(owner, name)))
        watch(folder)
        os.write(writer, str(n_moments).encode())
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as said:
        found = int(said.read() or 0)
    if status not in {0, signal.SIGKILL}:
        sys.exit(f"the watch ended with {status}")
    return found


def main(folder: Path, seed: int, n_kills: int) -> None:
    """Watch until all is done, with a number of kills on the way."""
    drawn = random.Random(seed)
    # All is imported once, before there are processes.
    warm = folder / "warm"
    shutil.copytree(folder / "inbox", warm / "inbox")
    shutil.copy(folder / "taxa.csv", warm)
    watch(warm)
    for _ in range(n_kills):
        watch_until(folder, drawn.randrange(1, N_MOMENTS))
    watch_until(folder, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
