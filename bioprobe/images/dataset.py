"""The pictures of a Hugging Face data set, row by row and never all at once.

A data set's root is ``dataset:SOURCE``, ``dataset:SOURCE#SPLIT`` or, where the column is not the
one that is found, ``dataset:SOURCE#SPLIT/COLUMN``. The source is the whole path of a folder or
Parquet file, or an id on the hub with ``@REVISION``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.errors import ImageReadError, SourceError
from bioprobe.images.location import DATASET_PREFIX, read_file

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

_BLOCK_ROWS = 1024


@dataclasses.dataclass(frozen=True)
class DatasetName:
    """What is opened, and which part of it.

    Parameters
    ----------
    source : str
        Path of a saved data set, a Parquet file or a folder of these; or an id on the hub.
    split : str
        Split, or ``""``: all, or the only one.
    column : str
        Column of the pictures, or ``""``: the one that is found.
    """

    source: str
    split: str = ""
    column: str = ""

    @classmethod
    def parse(cls, text: str) -> DatasetName:
        """Read ``dataset:SOURCE[#SPLIT[/COLUMN]]``.

        Examples
        --------
        >>> DatasetName.parse("dataset:org/name@main#train")
        DatasetName(source='org/name@main', split='train', column='')
        """
        source = text.removeprefix(DATASET_PREFIX)
        if Path(source).exists():
            return cls(str(Path(source).absolute()))
        if "#" in source:
            # The last one: a path may hold others.
            source, _, fragment = source.rpartition("#")
        else:
            fragment = ""
        split, _, column = fragment.partition("/")
        path = Path(source)
        return cls(str(path.absolute()) if path.exists() else source, split, column)

    def __str__(self) -> str:
        fragment = f"{self.split}/{self.column}" if self.column else self.split
        return f"{DATASET_PREFIX}{self.source}{'#' if fragment else ''}{fragment}"


class Pictures:
    """One split of a data set, opened.

    Parameters
    ----------
    name : DatasetName
        Where it came from.
    rows : datasets.Dataset
        Memory-mapped; its pictures are read one by one and are not decoded.

    Raises
    ------
    SourceError
        If no column holds pictures.
    """

    def __init__(self, name: DatasetName, rows: datasets.Dataset) -> None:
        schema = rows.features.arrow_schema
        column = name.column or find_picture_column(schema)
        if column is None or column not in schema.names:
            msg = (
                f"{DATASET_PREFIX}{name.source} has no column of pictures"
                f"{f' named {column!r}' if column else ''}; expected a column of encoded bytes, "
                f"got {', '.join(schema.names)}; name it with --path-column"
            )
            raise SourceError(msg)
        self.name = name
        self.column = column
        self.rows = rows
        self._cells = rows.select_columns([column]).with_format("arrow")
        self.row_names = _choose_names(self._iter_stored_paths(), len(rows))
        self._row_of_name = {text: row for row, text in enumerate(self.row_names)}

    def read(self, row_name: str) -> bytes:
        """Return the encoded bytes of one picture; threads may call this at once.

        Raises
        ------
        ImageReadError
            If there is no such row, or it holds no picture.
        """
        row = self._row_of_name.get(row_name)
        if row is None:
            msg = f"{self.name} has no row {row_name!r}; it has changed since it was listed"
            raise ImageReadError(msg)
        cell = self._cells[row].column(0)[0].as_py()
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        if isinstance(content, bytes):
            return content
        path = cell.get("path") if isinstance(cell, dict) else None
        if not path:
            msg = "the row holds no picture"
            raise ImageReadError(msg)
        source = Path(self.name.source)
        return read_file((source if source.is_dir() else source.parent) / path)

    def _iter_stored_paths(self) -> Iterator[str | None]:
        import pyarrow as pa
        import pyarrow.compute as pc

        kind = self.rows.features.arrow_schema.field(self.column).type
        if not pa.types.is_struct(kind) or kind.get_field_index("path") < 0:
            return
        for block in self._cells.iter(_BLOCK_ROWS):
            yield from pc.struct_field(block.column(0), "path").to_pylist()


_opened: dict[str, Pictures] = {}
_opening = threading.Lock()


def open_pictures(root: str) -> Pictures:
    """Open the data set of a root, once in a process.

    Raises
    ------
    SourceError
        If it cannot be opened.
    """
    with _opening:
        if root not in _opened:
            name = DatasetName.parse(root)
            splits = _load(name.source)
            _opened[root] = Pictures(name, _choose_split(splits, name))
        return _opened[root]


def open_splits(name: DatasetName) -> list[Pictures]:
    """Open what a name asks for, afresh: one split, or all.

    Raises
    ------
    SourceError
        If it cannot be opened, or has no such split.
    """
    splits = _load(name.source)
    wanted = [name.split] if name.split else list(splits)
    found = []
    for split in wanted:
        part = dataclasses.replace(name, split=split)
        found.append(Pictures(part, _choose_split(splits, part)))
    with _opening:
        _opened.update({str(pictures.name): pictures for pictures in found})
    return found


def is_saved_dataset(folder: Path) -> bool:
    """Tell whether a folder is what ``save_to_disk`` writes."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def find_picture_column(schema: pa.Schema) -> str | None:
    """Return the column that holds encoded pictures: ``image``, or the first of its kind.

    A struct of ``bytes`` and ``path`` comes before plain bytes.
    """
    import pyarrow as pa

    def is_bytes(kind: pa.DataType) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    def is_picture(kind: pa.DataType) -> bool:
        if not pa.types.is_struct(kind):
            return False
        place = kind.get_field_index("bytes")
        return place >= 0 and is_bytes(kind.field(place).type)

    for fits in (is_picture, is_bytes):
        names = [field.name for field in schema if fits(field.type)]
        if names:
            return "image" if "image" in names else str(names[0])
    return None


def _choose_names(stored: Iterator[str | None], n_rows: int) -> Sequence[str]:
    """Return the stored paths where they tell the rows apart, else numbers."""
    # A path from the root would name a file, and two roots would meet in it.
    names = [(path or "").lstrip("/") for path in stored]
    if names and all(names) and len(set(names)) == n_rows:
        return names
    width = len(str(max(n_rows - 1, 0)))
    return [str(row).zfill(width) for row in range(n_rows)]


def _choose_split(splits: dict[str, Any], name: DatasetName) -> datasets.Dataset:
    if name.split in splits:
        return splits[name.split]
    if not name.split and len(splits) == 1:
        return next(iter(splits.values()))
    msg = (
        f"{DATASET_PREFIX}{name.source} has no split {name.split!r}; it has "
        f"{', '.join(splits) or 'none'}"
    )
    raise SourceError(msg)


def _load(source: str) -> dict[str, Any]:
    """Return the splits of a data set by name; the name is ``""`` where it has no splits."""
    import datasets

    try:
        with _quiet():
            loaded = _open(source)
    except Exception as error:  # the hub, its cache and the files each raise their own
        path = Path(source)
        reason = " ".join(str(error).split()) or type(error).__name__
        remedy = (
            "expected a folder of save_to_disk, or Parquet files with pictures"
            if path.is_absolute()
            else "check the id; where no hub can be reached, save it on another machine with "
            f"datasets.load_dataset({source.partition('@')[0]!r}).save_to_disk(FOLDER), bring "
            "the folder here and give it as the source"
        )
        msg = f"the data set {source} cannot be opened ({reason}); {remedy}"
        raise SourceError(msg) from error
    if isinstance(loaded, datasets.DatasetDict):
        return {str(split): rows for split, rows in loaded.items()}
    return {"": loaded}


def _open(source: str) -> Any:  # noqa: ANN401 - Dataset or DatasetDict
    import datasets

    path = Path(source)
    if path.is_dir():
        if is_saved_dataset(path):
            return datasets.load_from_disk(source)
        return datasets.load_dataset("parquet", data_dir=source)
    if path.is_file():
        return datasets.load_dataset("parquet", data_files=[source], split="train")
    if path.is_absolute():
        msg = "there is no such file or folder"
        raise FileNotFoundError(msg)
    name, _, revision = source.partition("@")
    return datasets.load_dataset(name, revision=revision or None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    verbosity = datasets.logging.get_verbosity()
    datasets.logging.set_verbosity_error()
    # It logs each of the attempts of which the last is in our error.
    hub = logging.getLogger("huggingface_hub")
    hub_level = hub.level
    hub.setLevel(logging.CRITICAL)
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(verbosity)
        hub.setLevel(hub_level)
        if shown:
            datasets.enable_progress_bars()
