"""What libraries warn programmers of is nothing for a person's terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bioprobe.cli.app import run

# What each library warns of as it is imported is seen once: all commands are run by one process.
_RUN = """
import json, sys
from bioprobe.cli.app import main
for words in json.loads(sys.argv[1]):
    print("begins", file=sys.stderr)
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            sys.exit(f"{words} ended with {ended.code}")
"""


def _run(*commands: list[str], before: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "always", "-c", before + _RUN, json.dumps(commands)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("store")
def test_no_command_shows_a_warning(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A label that matplotlib's font lacks, and that it would read as mathematics.
    table = "path,family\n" + "".join(
        f"{file},{'猫科' if number % 2 else '$x_$'}\n"
        for number, file in enumerate(sorted((drawn / "photos").rglob("*.jpg"))[:12])
    )
    Path("labels.csv").write_text(table, encoding="utf-8")
    monkeypatch.setenv("PYTHONUTF8", "1")
    # What the libraries of models warn of as they are imported, tests/test_wheel.py looks for.
    asked = ["embed", "labels.csv", "--root", str(drawn), "-s", "new", "--model", "sketch"]
    assert run([*asked, "--quiet"]) == 0
    done = _run(
        ["split", "-s", "new", "--level", "family", "--seed", "1"],
        ["evaluate", "-s", "new", "--level", "family", "--methods", "knn,centroid"],
        ["report", "-s", "new", "--output", "report.html"],
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert Path("report.html").is_file()


def test_a_warning_of_a_library_is_seen_with_debug_alone() -> None:
    noisy = """
import functools, warnings, bioprobe.face.prompts as prompts
shipped = prompts.shipped
@functools.wraps(shipped)
def warn():
    warnings.warn("of a library")
    return shipped()
prompts.shipped = warn
"""
    # Each begins with a line of its own, and the warning is no less due the second time.
    done = _run(["prompts", "list", "--debug"], ["prompts", "list"], before=noisy)
    _, with_debug, without = done.stderr.split("begins\n")
    assert "of a library" in with_debug
    assert "of a library" not in without
