"""Write the hashes of every pinned version anew.

::

    python -m scripts.pins

reads the versions in ``constraints.txt`` and writes beside each the SHA-256 of all its files in the
package index: those of every platform and Python, and of the source. Nothing of where they were
found is kept. To change a version, write it without hashes and run this.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
_PIN = re.compile(r"([a-z0-9-]+)==(\S+?)((?: --hash=sha256:[0-9a-f]{64})*)")


class Pin(NamedTuple):
    """The one version of a package that is installed.

    Attributes
    ----------
    name : str
        Normalised.
    version : str
    hashes : tuple of str
        SHA-256 of its files in hexadecimals, in order; empty where they are not known yet.
    """

    name: str
    version: str
    hashes: tuple[str, ...] = ()


def read_pins(text: str) -> dict[str, Pin]:
    """Read pins as pip and uv do: one ``name==version`` a line, which a backslash carries on.

    Raises
    ------
    ValueError
        If a line is anything else, such as the address of an index, or a name comes twice.
    """
    pins: dict[str, Pin] = {}
    for line in text.replace("\\\n", "").splitlines():
        found = _PIN.fullmatch(" ".join(line.split()))
        if found is None or found[1] in pins:
            msg = f"not one pin of one package (name==version --hash=sha256:…): {line!r}"
            raise ValueError(msg)
        hashes = tuple(sorted(found[3].replace("--hash=sha256:", "").split()))
        pins[found[1]] = Pin(found[1], found[2], hashes)
    return pins


def write_pins(pins: Iterable[Pin]) -> str:
    """Write pins in the order of their names, each hash on a line of its own."""
    return "".join(
        " \\\n    ".join(
            [f"{pin.name}=={pin.version}", *(f"--hash=sha256:{h}" for h in pin.hashes)]
        )
        + "\n"
        for pin in sorted(pins)
    )


def find_hashes(pins: Mapping[str, Pin]) -> dict[str, Pin]:
    """Ask the package index that this machine uses for the hashes of each pinned version.

    Raises
    ------
    ValueError
        If it does not answer, or has no hash of one.
    """
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-deps", "--universal"]
    command += ["--python-version", "3.11", "--no-header", "--no-annotate", "--generate-hashes"]
    asked = "".join(f"{pin.name}=={pin.version}\n" for pin in pins.values())
    done = subprocess.run([*command, "-"], input=asked, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"the package index gave no hashes: {done.stderr.strip()}"
        raise ValueError(msg)
    found = read_pins(done.stdout)
    lacking = [n for n, pin in pins.items() if found.get(n, Pin(n, ""))[:2] != pin[:2]]
    lacking += [name for name, pin in found.items() if not pin.hashes]
    if lacking:
        msg = f"the package index has no hashes of {', '.join(lacking)} in the pinned version"
        raise ValueError(msg)
    return found


def main() -> None:
    """Read the command line and write the file anew, or leave it as it is."""
    parser = argparse.ArgumentParser(description="Write the hashes of every pinned version anew.")
    parser.add_argument("file", nargs="?", type=Path, default=CONSTRAINTS)
    file = parser.parse_args().file
    try:
        pins = find_hashes(read_pins(file.read_text(encoding="utf-8")))
    except ValueError as error:
        sys.exit(f"Error: {error}")
    file.write_text(write_pins(pins.values()), encoding="utf-8")
    print(f"{len(pins)} pins with {sum(len(p.hashes) for p in pins.values()):,} hashes -> {file}")


if __name__ == "__main__":
    main()
