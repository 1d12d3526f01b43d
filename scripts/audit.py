"""Ask which pinned versions have known vulnerabilities.

::

    python -m scripts.audit

asks the advisories that ``uv audit`` asks. A service that knows none answers as if nothing were
wrong, so a version that is known to be faulty is asked too. Exits 0 where no pin has an advisory,
1 where some have, and 2 where the advisories could not be reached.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from scripts.pins import CONSTRAINTS, Pin, read_pins

# Small, asks for nothing else, and is no package of ours; a crafted comment makes it hang.
KNOWN_FAULTY = Pin("sqlparse", "0.4.1")


class UnreachedError(Exception):
    """The advisories were not asked, or know nothing."""


class Advisory(NamedTuple):
    """What is known against a package.

    Attributes
    ----------
    name : str
    text : str
        Its identifier, what it is, and where it is mended; or that the project was withdrawn.
    """

    name: str
    text: str


def find_advisories(pins: Iterable[Pin], service: str | None = None) -> list[Advisory]:
    """Ask for the advisories of pinned versions.

    Parameters
    ----------
    pins : iterable of Pin
    service : str or None
        Address of a service that speaks OSV's interface; None is uv's own choice.

    Raises
    ------
    UnreachedError
        If it cannot be reached, was asked of fewer versions, or does not know the fault of
        :data:`KNOWN_FAULTY`.
    """
    asked = [*pins, KNOWN_FAULTY]
    command = [sys.executable, "-m", "uv", "audit", "--quiet", "--output-format", "json"]
    command += ["--preview-features", "audit-command,json-output"]
    command += [] if service is None else ["--service-url", service]
    listed = ", ".join(f'"{pin.name}=={pin.version}"' for pin in asked)
    with tempfile.TemporaryDirectory() as folder:
        project = 'name = "audited"\nversion = "0"\nrequires-python = ">=3.11"\n'
        project = f"[project]\n{project}dependencies = [{listed}]\n"
        Path(folder, "pyproject.toml").write_text(project, encoding="utf-8")
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "UV_PYTHON": sys.executable},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    try:
        report = json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise UnreachedError(done.stderr.strip()) from error
    n_asked = report["summary"]["audited_packages"]
    if n_asked < len(asked):
        msg = f"{n_asked} of {len(asked)} versions were asked"
        raise UnreachedError(msg)
    found = [_read_vulnerability(item) for item in report["vulnerabilities"]]
    if all(advisory.name != KNOWN_FAULTY.name for advisory in found):
        msg = f"what answered knows nothing against {KNOWN_FAULTY.name} {KNOWN_FAULTY.version}"
        raise UnreachedError(msg)
    found += [_read_status(item) for item in report["adverse_statuses"]]
    return [advisory for advisory in found if advisory.name != KNOWN_FAULTY.name]


def _read_vulnerability(item: dict[str, Any]) -> Advisory:
    mended = ", ".join(item["fix_versions"]) or "no version yet"
    name, version = item["dependency"]["name"], item["dependency"]["version"]
    text = f"{version}: {item['id']}: {item['summary'] or 'no summary'}; mended in {mended}"
    return Advisory(name, text)


def _read_status(item: dict[str, Any]) -> Advisory:
    return Advisory(item["name"], f"{item['status']}: {item['reason'] or 'no reason given'}")


def main() -> int:
    """Read the command line, ask, print, and say how it ended."""
    parser = argparse.ArgumentParser(description="Ask which pins have known vulnerabilities.")
    parser.add_argument("file", nargs="?", type=Path, default=CONSTRAINTS)
    parser.add_argument("--service", help="address of another service with OSV's interface")
    given = parser.parse_args()
    pins = read_pins(given.file.read_text(encoding="utf-8")).values()
    try:
        found = find_advisories(pins, given.service)
    except UnreachedError as error:
        print(f"Error: the advisories could not be reached: {error}", file=sys.stderr)
        return 2
    for advisory in found:
        print(f"{advisory.name} {advisory.text}")
    print(f"{len(found)} advisories against {len(pins)} pinned versions")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
