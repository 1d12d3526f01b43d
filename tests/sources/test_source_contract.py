"""What every source of images holds, ours and that of another package."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import fsspec
import pandas as pd
import pytest

from bioprobe.errors import SourceError
from bioprobe.registry import SOURCES
from bioprobe.sources.source import SourceOptions, find_images, recognise_source
from tests.open_document import write_workbook

pytestmark = pytest.mark.usefixtures("example_package")

NAMES = (
    "-", "txt", "json", "dataset", "folder", "csv", "tsv", "parquet", "pq", "jsonl", "ndjson",
    "xlsx", "xlsm", "xls", "ods", "trip", "address",
)  # fmt: skip
N = 4


class _Typed(io.TextIOWrapper):
    def isatty(self) -> bool:
        return False


def _write(name: str, photos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the pictures of a folder as a source."""
    files = sorted(photos.iterdir())
    target = photos.parent / f"listed.{name}"
    frame = pd.DataFrame({"path": [str(file) for file in files]})
    if name == "-":
        data = io.BytesIO("\n".join(frame["path"]).encode())
        monkeypatch.setattr(sys, "stdin", _Typed(data))
        return Path("-")
    if name == "folder":
        return photos
    if name == "address":
        for file in files:
            fsspec.filesystem("memory").pipe_file(f"/listed/{file.name}", file.read_bytes())
        return Path("memory://listed")
    if name in {"txt", "json"}:
        paths = frame["path"].tolist()
        target.write_text("\n".join(paths) if name == "txt" else json.dumps(paths))
        return target
    if name == "dataset":
        import datasets

        columns = {"image": [str(file) for file in files], "name": [file.name for file in files]}
        made = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
        made.save_to_disk(target)
        return target
    _write_table(name, frame, target)
    return target


def _write_table(name: str, frame: pd.DataFrame, target: Path) -> None:
    if name in {"parquet", "pq"}:
        frame.to_parquet(target)
    elif name in {"jsonl", "ndjson"}:
        frame.to_json(target, orient="records", lines=True)
    elif name in {"xlsx", "xlsm"}:
        frame.to_excel(target, engine="xlsxwriter")
    elif name == "ods":
        write_workbook(target, {"pictures": [["path"], *([path] for path in frame["path"])]})
    elif name == "xls":
        # What many tools call a workbook is text that spreadsheets open.
        frame.to_csv(target, index=False, sep="\t")
    elif name == "trip":
        target.write_text("".join(f"{path} | Felidae\n" for path in frame["path"]))
    else:
        frame.to_csv(target, index=False, sep="\t" if name == "tsv" else ",")


def test_every_source_is_tested_here() -> None:
    assert set(NAMES) == set(SOURCES.names)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_listed_in_order_and_once(
    name: str, write_pictures: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = write_pictures(N)
    source = _write(name, photos, monkeypatch)
    assert recognise_source(source, SourceOptions()) == name
    again = {"dataset": [], "address": [Path("memory://listed/002.png")]}
    table = find_images([source, *again.get(name, [photos / "002.png"])])
    assert len(table) == N
    if name in again:
        column = "name" if name == "dataset" else "path"
        assert list(table.frame[column]) == [f"{number:03d}.png" for number in range(N)]
    else:
        found = [Path(root, path) for root, path in table.frame[["root", "path"]].to_numpy()]
        assert found == sorted(photos.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_a_source_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    gone = {
        "-": tmp_path / "gone",
        "dataset": Path(f"dataset:{tmp_path}/gone"),
        "folder": tmp_path / "gone",
        "trip": Path(f"trip:{tmp_path}/gone"),
        "address": Path("memory://gone"),
    }.get(name, tmp_path / f"gone.{name}")
    with pytest.raises(SourceError, match="gone"):
        find_images([gone])
