"""Small packages of other tools that tests write."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from bioprobe.sources.listing import Listing
from bioprobe.sources.source import find_images


def write(folder: Path, **files: str) -> Path:
    """Write text files; ``__`` in a name is its dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def draw(folder: Path, *names: str) -> Path:
    """Write tiny pictures."""
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (len(name), 9, 9)).save(file, "JPEG")
    return folder


def pack(folder: Path, target: Path, inside: str = "") -> Path:
    """Pack a folder as a zip."""
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{inside}{file.relative_to(folder)}")
    return target


def describe(*tables: str, **more: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """Write a datapackage.json whose tables are NAME.csv."""
    resources: Sequence[Mapping[str, Any]] = [{"name": n, "path": f"{n}.csv"} for n in tables]
    return json.dumps({"resources": resources, **more})


def say(listing: Listing) -> str:
    """Return all notes of a listing as one text."""
    return "\n".join(str(note) for note in listing.notes)


def get(listing: Listing, column: str) -> list[Any]:
    """Return a column, ``None`` where it is missing or NaN."""
    values = listing.frame[column].astype(object)
    return values.where(values.notna(), None).tolist()


def find(path: Path) -> Listing:
    """List one source."""
    return find_images([path])
