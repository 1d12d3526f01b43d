"""Where the bytes of an image lie: a file below a root, or a row of a data set.

A file's name is bytes, a table's cell is text. Names that are not UTF-8 are therefore written
with one private-use character, U+EF80 to U+EFFF, for each byte that is none; the few names that
hold such a character themselves are written so as well, which makes the writing one to one. All
other names stay as they are.

References
----------
MirBSD's OPTU-8/16 encoding maps bytes that are no UTF-8 to the same characters.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
import re
import stat
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe import remote
from bioprobe.access import exists, is_file, is_folder, list_files
from bioprobe.errors import ImageReadError, SourceError
from bioprobe.files import read_json
from bioprobe.images.addresses import ARCHIVE_PREFIX, find_copy, is_address, join_address
from bioprobe.images.regions import Region
from bioprobe.table_bounds import check_parquet

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa


DATASET_PREFIX = "dataset:"
# A video named as a picture would fill the memory. The largest picture that is decoded, 16 bits a
# channel and not compressed, is half of this.
MAX_BYTES = 2 << 30

_PRIVATE, _SURROGATE = 0xEF00, 0xDC00
_TO_WRITE = re.compile("[\udc80-\udcff\uef80-\uefff]")
_TO_READ = re.compile("[\uef80-\uefff]")
_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@dataclasses.dataclass(frozen=True)
class ImageLocation:
    """Place of one image, as the columns of an image table say it.

    Parameters
    ----------
    root : str
        Folder, or ``dataset:SOURCE#SPLIT``.
    path : str
        Path relative to the folder, or name of the row.
    sha256 : str or None
        Of the bytes that the table is of, and no others are read; ``""`` where they are not known,
        and none are; None where a person named the file, and any are.
    region : str
        Name of the part of the image that is meant, ``""`` for the whole
        (:mod:`bioprobe.images.regions`).
    people : tuple of Region
        Where people are in it, who are obscured wherever it is shown.
    """

    root: str
    path: str
    sha256: str | None = None
    region: str = ""
    people: tuple[Region, ...] = ()

    def find_file(self) -> Path | None:
        """Return the file of the image; None where it is no file of its own."""
        if self.root.startswith((DATASET_PREFIX, ARCHIVE_PREFIX)) or is_address(self.root):
            return None
        return find_file(self.root, self.path)

    def read_bytes(self) -> bytes:
        """Return the encoded bytes, as :func:`read_image_bytes` does.

        A table may come from somebody else, and name any file of this machine. Who knows the
        SHA-256 of a file has its bytes already: where these are asked for, nothing is shown that
        the table's author did not have.

        Raises
        ------
        ImageReadError
            If the file is not the one that the table is of.
        """
        if self.sha256 == "":
            msg = (
                "its bytes were never read, so that it could be any file; embed it, or import "
                "the vectors with --root"
            )
            raise ImageReadError(msg)
        if self.sha256 is None:
            return read_image_bytes(self.root, self.path)
        data = read_image_bytes(self.root, self.path, allow_outside=True)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            msg = "the file is not the one that was embedded; embed it again"
            raise ImageReadError(msg)
        return data


def write_name(name: str) -> str:
    r"""Write a file's name as text that any UTF-8 table can hold.

    Parameters
    ----------
    name : str
        As Python's ``os`` functions give it, bytes that are no UTF-8 as surrogates.

    Examples
    --------
    >>> import os
    >>> write_name("café.jpg")
    'café.jpg'
    >>> ascii(write_name(os.fsdecode(b"caf\xe9.jpg")))
    "'caf\\uefe9.jpg'"
    """
    return _TO_WRITE.sub(_write_character, name)


def read_name(text: str) -> str:
    """Return the file's name that :func:`write_name` wrote."""
    raw = _TO_READ.sub(lambda match: chr(ord(match[0]) - _PRIVATE + _SURROGATE), text)
    return os.fsdecode(os.fsencode(raw)) if raw != text else text


def find_file(root: str, path: str) -> Path:
    """Return the file of a row of an image table; for a row of a data set there is none."""
    return Path(read_name(root), read_name(path))


#: How a reason says of a file that it is none of those that :class:`Bounds` hold.
OUTSIDE = "outside of the folders that were named"


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Folders below which files may be read, links resolved.

    Parameters
    ----------
    folders : frozenset of str
        Without links in their paths.
    """

    folders: frozenset[str]
    _known: dict[str, str] = dataclasses.field(default_factory=dict, compare=False, repr=False)
    _held: dict[str, bool] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def below(cls, *folders: Path) -> Bounds:
        """Allow all that lies below some folders."""
        return cls(frozenset(os.path.realpath(folder) for folder in folders))

    def hold(self, file: str) -> bool:
        """Tell whether a file, which need not exist, lies below one of the folders."""
        folder, name = os.path.split(file)
        if name in {"", os.curdir, os.pardir}:
            real = os.path.realpath(file)
        else:
            # There are many files in a folder, and each part of a path takes the system's answer.
            if folder not in self._known:
                self._known[folder] = os.path.realpath(folder)
            real = os.path.join(self._known[folder], name)  # noqa: PTH118
            real = os.path.realpath(real) if os.path.islink(real) else real  # noqa: PTH114
        parent = os.path.dirname(real)  # noqa: PTH120
        if parent not in self._held:
            above = (Path(parent), *Path(parent).parents)
            self._held[parent] = any(str(one) in self.folders for one in above)
        return self._held[parent]


def read_image_bytes(root: str, path: str, *, allow_outside: bool = False) -> bytes:
    """Read the encoded bytes of one image.

    Parameters
    ----------
    root : str
        Folder, ``dataset:SOURCE#SPLIT``, or an address up to its last slash.
    path : str
        Path relative to the folder, name of the row, or the rest of the address.
    allow_outside : bool
        Whether the row of a data set may name a file outside of the data set's folder; by default
        as it was listed.

    Raises
    ------
    ImageReadError
        If it is no plain file, too large to be a picture, or a row without a picture.
    SourceError
        If the data set cannot be opened.
    OSError
        If the system refuses: no such file, permission denied.
    """
    if root.startswith(DATASET_PREFIX):
        return open_pictures(root).read(path, allow_outside=allow_outside)
    if root.startswith(ARCHIVE_PREFIX):
        from bioprobe.images.archives import open_archive

        return open_archive(Path(read_name(root.removeprefix(ARCHIVE_PREFIX)))).read(path)
    if is_address(root):
        return _read_address(root, path)
    return read_file(find_file(root, path))


def is_asked(root: str) -> bool:
    """Tell whether pictures of a root are read at its address: a person named it."""
    return bool(remote.find_address(root)) and remote.is_named(root)


def _read_address(root: str, path: str) -> bytes:
    """Return the bytes at an address that a person named; of others those that were fetched."""
    if is_asked(root):
        if ".." in path.split("/"):
            msg = "its path leads out of the address that it starts from"
            raise ImageReadError(msg)
        return remote.read(join_address(root, read_name(path)), most_bytes=MAX_BYTES)
    address = join_address(root, path)
    try:
        return read_file(find_copy(address))
    except FileNotFoundError:
        msg = "an address, and no file; nothing is fetched unless asked: bioprobe embed --fetch"
        raise ImageReadError(msg) from None


def read_file(file: Path) -> bytes:
    """Read a plain file; what could wait for ever, such as a pipe, is refused.

    Raises
    ------
    ImageReadError
        If it is a pipe, socket or device, or has more than 2 GiB.
    OSError
        If the system refuses.
    """
    facts = file.stat()
    for is_kind, name in _KINDS:
        if is_kind(facts.st_mode):
            msg = f"{name}, not a file"
            raise ImageReadError(msg)
    if facts.st_size > MAX_BYTES:
        msg = f"the file has {facts.st_size:,} bytes, more than any picture ({MAX_BYTES:,})"
        raise ImageReadError(msg)
    return file.read_bytes()


def _write_character(match: re.Match[str]) -> str:
    # A surrogate is one byte; a private-use character is the three bytes of its UTF-8.
    raw = match[0].encode("utf-8", "surrogateescape")
    return "".join(chr(_PRIVATE + byte) for byte in raw)


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
        if exists(Path(source)):
            return cls(str(Path(source).absolute()))
        if "#" in source:
            # The last one: a path may hold others.
            source, _, fragment = source.rpartition("#")
        else:
            fragment = ""
        split, _, column = fragment.partition("/")
        path = Path(source)
        return cls(str(path.absolute()) if exists(path) else source, split, column)

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
    allow_outside : bool
        Whether its rows may name files outside of its folder.

    Raises
    ------
    SourceError
        If no column holds pictures.
    """

    def __init__(
        self, name: DatasetName, rows: datasets.Dataset, *, allow_outside: bool = False
    ) -> None:
        schema = rows.features.arrow_schema
        column = name.column or find_picture_column(schema)
        if column is None or column not in schema.names:
            msg = (
                f"{DATASET_PREFIX}{name.source} has no column of pictures"
                f"{f' named {column!r}' if column else ''}; expected a column of encoded bytes, "
                f"got {', '.join(schema.names)}; name it with --path-column"
            )
            raise SourceError(msg)
        source = Path(name.source)
        # Of a data set on the hub there is no folder.
        self._folder = source if source.is_dir() else source.parent if source.is_file() else None
        self._bounds = None if self._folder is None else Bounds.below(self._folder)
        self._allows_outside = allow_outside
        self.name = name
        self.column = column
        self.rows = rows
        self._cells = rows.select_columns([column]).with_format("arrow")
        self.row_names = _choose_names(self._iter_stored_paths(), len(rows))
        self._row_of_name = {text: row for row, text in enumerate(self.row_names)}

    def read(self, row_name: str, *, allow_outside: bool = False) -> bytes:
        """Return the encoded bytes of one picture; threads may call this at once.

        Parameters
        ----------
        row_name : str
            One of ``row_names``.
        allow_outside : bool
            Whether it may be a file outside of the data set's folder; it may where that was
            allowed for all.

        Raises
        ------
        ImageReadError
            If there is no such row, it holds no picture, or names one elsewhere.
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
        if not path or self._folder is None or self._bounds is None:
            msg = "the row holds no picture"
            raise ImageReadError(msg)
        file = self._folder / path
        if not (allow_outside or self._allows_outside or self._bounds.hold(str(file))):
            msg = f"its picture {path} lies {OUTSIDE}; --allow-outside reads it"
            raise ImageReadError(msg)
        return read_file(file)

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
            splits = _load(name.source, allow_outside=True)
            _opened[root] = Pictures(name, _choose_split(splits, name))
        return _opened[root]


def open_splits(name: DatasetName, *, allow_outside: bool = False) -> list[Pictures]:
    """Open what a name asks for, afresh: one split, or all.

    Parameters
    ----------
    name : DatasetName
        The data set.
    allow_outside : bool
        Whether it may name files outside of its folder.

    Raises
    ------
    SourceError
        If it cannot be opened, or has no such split.
    """
    splits = _load(name.source, allow_outside=allow_outside)
    wanted = [name.split] if name.split else list(splits)
    found = []
    for split in wanted:
        part = dataclasses.replace(name, split=split)
        rows = _choose_split(splits, part)
        found.append(Pictures(part, rows, allow_outside=allow_outside))
    with _opening:
        _opened.update({str(pictures.name): pictures for pictures in found})
    return found


def is_saved_dataset(folder: Path) -> bool:
    """Tell whether a folder is what ``save_to_disk`` writes."""
    return is_file(folder / "state.json") or is_file(folder / "dataset_dict.json")


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
        # Where each picture is saved as its path alone, there is no type of the bytes.
        is_path = kind.get_field_index("path") >= 0 and place >= 0
        return place >= 0 and (
            is_bytes(kind.field(place).type)
            or (is_path and pa.types.is_null(kind.field(place).type))
        )

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


def _load(source: str, *, allow_outside: bool) -> dict[str, Any]:
    """Return the splits of a data set by name; the name is ``""`` where it has no splits."""
    import datasets

    try:
        with _quiet():
            if not allow_outside:
                _check_saved(Path(source))
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


def _check_saved(folder: Path) -> None:
    """Refuse a saved data set that names files outside of its folder, or splits elsewhere."""
    bounds = Bounds.below(folder)
    for said in folder.glob("**/state.json") if is_saved_dataset(folder) else ():
        for one in read_json(said, dict)["_data_files"]:
            _check_named(said.parent / one["filename"], bounds)
    if (folder / "dataset_dict.json").is_file():
        splits = read_json(folder / "dataset_dict.json", dict)["splits"]
        for split in splits:
            _check_named(folder / split, bounds)


def _check_named(file: Path, bounds: Bounds) -> None:
    # Links are whoever's that laid them there, as those of a folder are; names are the author's.
    if not bounds.hold(os.path.normpath(file)):
        msg = f"it names {file}, {OUTSIDE}; --allow-outside reads it"
        raise SourceError(msg)


def _open(source: str) -> Any:  # noqa: ANN401 - Dataset or DatasetDict
    import datasets

    path = Path(source)
    if is_folder(path):
        if is_saved_dataset(path):
            return datasets.load_from_disk(source)
        for name in list_files(path, ".parquet"):
            check_parquet(path / name)
        return datasets.load_dataset("parquet", data_dir=source)
    if is_file(path):
        check_parquet(path)
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
