"""List the licence of every pinned package, as its own metadata say it.

::

    python -m scripts.licences

reads what is installed, so all that is pinned must be (``make licences`` sees to that), and writes
``licences.csv``. A licence that none of the rules here knows is listed as ``unknown``.
"""

from __future__ import annotations

import csv
import functools
import io
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from scripts.pins import CONSTRAINTS, Pin, read_pins

PYPROJECT = CONSTRAINTS.with_name("pyproject.toml")
LICENCES = CONSTRAINTS.with_name("licences.csv")
UNKNOWN = "unknown"
PROPRIETARY = "LicenseRef-NVIDIA-Proprietary"
# Permissive ones; MPL-2.0, which asks for nothing but of changes to its own files; and CC-BY-4.0,
# of colours that are tables, which asks that who made them is named.
FREE = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD", "BSD-2-Clause", "BSD-3-Clause",
    "Artistic-1.0-Perl", "BSL-1.0", "CC-BY-4.0", "CC0-1.0", "CNRI-Python", "ISC", "MIT", "MIT-0",
    "MIT-CMU", "MPL-2.0", "PSF-2.0", "Zlib",
}  # fmt: skip
_SPELLINGS = {
    "2-clause BSD": "BSD-2-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",  # as peft and accelerate write it; their files are of 2.0
    "Apache License": "Apache-2.0",  # as cleanlab writes it; its file is of 2.0
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 3-Clause": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "BSD",  # which of them is not said
    "ISC License": "ISC",
    "ISC license": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "NVIDIA Proprietary Software": PROPRIETARY,
    "PSFL": "PSF-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
# The first says none itself, and holds nothing: its extras name NVIDIA's packages. The metadata of
# the second name its file alone, which is MIT's; the axe-core that it holds is under MPL.
_UNSAID = {
    "cuda-toolkit": PROPRIETARY,
    "axe-playwright-python": "MIT AND MPL-2.0",
    # All of it under BSD, what came since 2017 under Apache's too.
    "python-dateutil": "BSD-3-Clause AND Apache-2.0",
    "python-dwca-reader": "BSD-3-Clause",
    # Ours to choose, the other is the GPL; it is installed to develop alone.
    "text-unidecode": "Artistic-1.0-Perl",
    # The metadata name each licence of a file in its source; of these the GPL's is an Emacs mode
    # that is not installed. All else is dedicated to the public by the rules of CC0, or BSD.
    "docutils": "CC0-1.0 AND BSD-3-Clause AND BSD-2-Clause",
}


class Licence(NamedTuple):
    """Under what a package may be used.

    Attributes
    ----------
    name, version : str
        As pinned.
    licence : str
        SPDX expression, ``BSD`` where it is not said which, or :data:`UNKNOWN`.
    needed_to : str
        ``run`` bioprobe, its extras included, to ``develop`` it, or only to ``show`` it: to make
        the docs, open the notebooks, name what lies on a map, cluster by one more method, run
        on a cluster and read buckets, for which it is installed when it is asked for.
    """

    name: str
    version: str
    licence: str
    needed_to: str


def find_licence(package: Distribution) -> str:
    """Read a licence: the expression, else the field of one line, else the classifiers."""
    said = package.metadata
    name = canonicalize_name(said["Name"])
    if name in _UNSAID:
        return _UNSAID[name]
    field = said["License"].strip() if "License" in said else ""
    field = "" if field == "UNKNOWN" else field  # as old build tools write it
    classes = [text for text in said.get_all("Classifier") or () if text.startswith("License ::")]
    if "License-Expression" in said:
        spelt = [said["License-Expression"]]
    elif field and ("\n" not in field or not classes):
        spelt = field.split("\n")[:1]
    else:  # Where the whole text stands in the field, its first line may be anybody's name.
        spelt = [text.split(" :: ")[-1] for text in classes]
    found = [_SPELLINGS.get(text.strip(), text.strip()) for text in spelt]
    is_known = found and _split(" AND ".join(found)) <= FREE | {PROPRIETARY}
    return " AND ".join(found) if is_known else UNKNOWN


def find_forbidden(licences: Iterable[Licence]) -> list[Licence]:
    """Find what may not be depended on: all but :data:`FREE`, and NVIDIA's below torch.

    Where an expression offers a choice, each of its licences must be free.
    """
    return [
        found
        for found in licences
        if not _split(found.licence) <= FREE
        and not (found.licence == PROPRIETARY and re.match(r"nvidia-|cuda-toolkit$", found.name))
    ]


def list_licences(pins: Mapping[str, Pin]) -> list[Licence]:
    """List the licence of each pin that is installed in the pinned version, in order.

    A build of it (``2.15.0+cpu``) counts as the version.
    """
    to_run = find_needed("bioprobe", {"excel", "heif", "onnx", "raw"})
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    groups, extras = project["dependency-groups"], project["project"]["optional-dependencies"]
    shown = (
        groups["docs"],
        *(extras[name] for name in ("notebook", "cluster", "map", "ray", "remote")),
    )
    to_show = _find_all([one for some in shown for one in some])
    to_show -= _find_all([*groups["dev"], *groups["bench"]])
    licences = []
    for name, version, _ in sorted(pins.values()):
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        if package.version.split("+")[0] == version:
            use = "run" if name in to_run else "show" if name in to_show else "develop"
            licences.append(Licence(name, version, find_licence(package), use))
    return licences


def _find_all(asked: Iterable[str]) -> set[NormalizedName]:
    """Find what requirements ask for here, themselves included."""
    names = [Requirement(text).name for text in asked]
    return set().union(*map(find_needed, names))


def find_needed(name: str, extras: Iterable[str] = ()) -> set[NormalizedName]:
    """Find what a package asks for here, and what that asks for, among what is installed."""
    found: set[NormalizedName] = set()
    waiting, seen = [(canonicalize_name(name), frozenset(extras))], set()
    while waiting:
        asked = waiting.pop()
        if asked in seen:
            continue
        seen.add(asked)
        needs = _read_needs(asked[0])
        if needs is None:
            continue
        found.add(asked[0])
        for need in needs:
            contexts = [{"extra": extra} for extra in ("", *asked[1])]
            if need.marker is None or any(map(need.marker.evaluate, contexts)):
                waiting.append((canonicalize_name(need.name), frozenset(need.extras)))
    return found


@functools.cache
def _read_needs(name: NormalizedName) -> tuple[Requirement, ...] | None:
    """Read what a package asks for; None where it is not installed."""
    try:
        return tuple(map(Requirement, distribution(name).requires or ()))
    except PackageNotFoundError:
        return None


def write_licences(licences: Iterable[Licence]) -> str:
    """Write a list as CSV."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerows([Licence._fields, *licences])
    return text.getvalue()


def _split(expression: str) -> set[str]:
    return set(re.split(r" AND | OR ", re.sub("[()]", "", expression)))


def main() -> None:
    """Write the list anew, or say what is not installed or may not be used."""
    pins = read_pins(CONSTRAINTS.read_text(encoding="utf-8"))
    licences = list_licences(pins)
    lacking = pins.keys() - {found.name for found in licences}
    if lacking:
        sys.exit(f"Error: not installed as pinned: {', '.join(sorted(lacking))}")
    LICENCES.write_text(write_licences(licences), encoding="utf-8")
    print(f"{len(licences)} licences -> {LICENCES}")
    if forbidden := find_forbidden(licences):
        named = ", ".join(f"{found.name} ({found.licence})" for found in forbidden)
        sys.exit(f"Error: neither free nor NVIDIA's for torch: {named}")


if __name__ == "__main__":
    main()
