"""Files written whole or not at all, and told apart by their bytes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from bioprobe.access import exists, is_absent, reading
from bioprobe.errors import BioprobeError, SourceError, StoreError, UnreadableError

if TYPE_CHECKING:
    import numpy.typing as npt

T = TypeVar("T")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that takes the place of ``path`` when the block succeeds.

    A reader sees the old file or the new one, never a part; after a crash the old one stands.
    The temporary file lies beside the target, because a rename is atomic on one file system
    only; what killed writers left of the same target is cleared away. Whoever writes a file that
    people keep writes it so.

    Parameters
    ----------
    path : Path
        Target; its folder is made. A pipe or a device is written as it is, and of a link the
        file that it leads to is replaced.

    Yields
    ------
    Path
        Empty file to write to.

    Raises
    ------
    StoreError
        If the system refuses.
    """
    with explaining_refusal(path):
        if path.exists() and not (path.is_file() or path.is_dir()):
            yield path
            return
        target = Path(os.path.realpath(path))
        with _temporary(target) as temporary:
            yield temporary
            _take_name(temporary, target)


_closed: dict[str, tuple[str, str]] = {}


def closing(folder: Path, why: str, *, but: str) -> None:
    """Let nothing be written below a folder by this process from now on.

    Parameters
    ----------
    folder : Path
    why : str
        What is said, with the remedy.
    but : str
        Folder in it to which this does not apply.
    """
    _closed[os.path.realpath(folder)] = why, but


def opening(folder: Path) -> None:
    """Let a folder that was closed be written again."""
    _closed.pop(os.path.realpath(folder), None)


def refuse_closed(path: Path) -> None:
    """Refuse to write to a path below a folder that is closed.

    Raises
    ------
    StoreError
        If it is.
    """
    if not _closed:
        return
    target = Path(os.path.realpath(path))
    for folder in (target, *target.parents):
        why, but = _closed.get(str(folder), ("", ""))
        if why and target.relative_to(folder).parts[:1] != (but,):
            raise StoreError(why)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all.

    Raises
    ------
    StoreError
        If the system refuses.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array as ``.npy``, into a temporary file of :func:`replacing`.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    import numpy as np

    # numpy.save does not say why it wrote less than it should have: a full disk has no errno.
    whole = np.ascontiguousarray(array)
    with path.open("wb") as stream:
        write_array_header(stream, whole.shape, whole.dtype)
        stream.write(whole.data)


def write_array_header(stream: IO[bytes], shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
    """Write the header of a ``.npy``; the numbers follow, row by row."""
    import numpy as np

    layout = np.lib.format
    descr = layout.dtype_to_descr(np.dtype(dtype))
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    layout.write_array_header_1_0(stream, header)


def map_matrix(path: Path) -> npt.NDArray[Any]:
    """Memory-map a matrix of numbers.

    Raises
    ------
    SourceError
        If the file cannot be read, or holds something else.
    """
    import numpy as np

    try:
        matrix: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read as a .npy array: {error}"
        raise SourceError(msg) from error
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
        msg = (
            f"{path} has shape {matrix.shape} and type {matrix.dtype}; expected a matrix of "
            "numbers, one vector a row"
        )
        raise SourceError(msg)
    return matrix


@contextlib.contextmanager
def _temporary(target: Path, *, is_folder: bool = False) -> Iterator[Path]:
    """Make an empty file or folder beside a target, and hold it while the block runs.

    Yields
    ------
    Path
        So that others see that somebody is at work on it.
    """
    refuse_closed(target)
    sweep_temporaries(target.parent, target.name)
    temporary, descriptor = _make_temporary(target, is_folder=is_folder)
    try:
        yield temporary
    finally:
        _remove(temporary)
        os.close(descriptor)


def _make_temporary(target: Path, *, is_folder: bool) -> tuple[Path, int]:
    import tempfile

    while True:
        target.parent.mkdir(parents=True, exist_ok=True)
        named: dict[str, Any] = {
            "prefix": f".{target.name}.", "suffix": ".tmp", "dir": target.parent,
        }  # fmt: skip
        # Another writer may clear the empty folder away, or the file that nobody holds yet.
        with contextlib.suppress(FileNotFoundError):
            if is_folder:
                temporary = Path(tempfile.mkdtemp(**named))
                descriptor = os.open(temporary, os.O_RDONLY)
            else:
                descriptor, name = tempfile.mkstemp(**named)
                temporary = Path(name)
            _hold(descriptor)
            if os.path.samestat(os.fstat(descriptor), temporary.stat()):
                return temporary, descriptor


def _take_name(temporary: Path, target: Path) -> None:
    sync(temporary)
    # mkstemp makes a private file; the target is as readable as any other new file.
    temporary.chmod(0o666 & ~_umask())
    temporary.replace(target)
    sync(target.parent)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


_TEMPORARY = re.compile(r"\.(?P<target>.+)\.[a-z0-9_]{8}\.tmp")
# Where the disk knows no such locks, nobody is at work for so long without a write.
_ABANDONED_AGE_S = 3600.0


def _hold(descriptor: int) -> bool | None:
    """Lock a file or folder until it is closed; False where another holds it, None: who knows."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove_abandoned(path: Path) -> None:
    """Remove a file or folder unless its writer, or somebody in it, is alive."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
        try:
            held = _hold(descriptor)
            age_s = time.time() - path.stat().st_mtime
            if held or (held is None and age_s > _ABANDONED_AGE_S):
                _remove(path)
        finally:
            os.close(descriptor)


def sweep_temporaries(folder: Path, name: str | None = None) -> None:
    """Remove the temporary files and folders that killed writers left in a folder.

    Parameters
    ----------
    folder : Path
        Looked through, not what lies below it.
    name : str, optional
        Only what was to take this name.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _TEMPORARY.fullmatch(entry.name)
            if found and name in {None, found["target"]}:
                _remove_abandoned(Path(entry.path))


Part = tuple[str, Callable[[Path], object]]


def write_card(card: Path, parts: Sequence[Part], describe: Callable[[Sequence[str]], str]) -> None:
    """Write data and the card that names them; the card's rename is the one change.

    Data lie beside the card under the name of their content, so that the old ones stand until the
    new card does, and go after it.

    Parameters
    ----------
    card : Path
        Text file; the data begin with its stem.
    parts : sequence of (str, callable)
        Ending of each, and what fills a file of it.
    describe : callable
        Returns the card's text from the SHA-256 of each, all of which it must hold.

    Raises
    ------
    StoreError
        If the system refuses; what was there before is whole.
    """
    with drafting_card(card, parts, describe):
        pass


@contextlib.contextmanager
def drafting_card(
    card: Path, parts: Sequence[Part], describe: Callable[[Sequence[str]], str]
) -> Iterator[None]:
    """Write what :func:`write_card` does, and let the card take its name when the block succeeds.

    Yields
    ------
    None
        When all is written: what is left needs no space on the disk.
    """
    with explaining_refusal(card):
        try:
            with contextlib.ExitStack() as held:
                digests = []
                for suffix, fill in parts:
                    temporary = held.enter_context(_temporary(card.with_name(card.stem + suffix)))
                    fill(temporary)
                    digests.append(hash_file(temporary))
                    _take_name(temporary, _name_data(card, digests[-1], suffix))
                with replacing(card) as drafted:
                    drafted.write_text(describe(digests), encoding="utf-8")
                    yield
        finally:
            sweep_data(card)


def find_data(card: Path, sha256: str, suffix: str) -> Path:
    """Return the data of a card by its SHA-256; earlier versions gave it the card's own stem."""
    path, old = _name_data(card, sha256, suffix), card.with_name(card.stem + suffix)
    return old if is_absent(path) and not is_absent(old) else path


def _name_data(card: Path, sha256: str, suffix: str) -> Path:
    return card.with_name(f"{card.stem}-{sha256[:16]}{suffix}")


def sweep_data(card: Path) -> None:
    """Remove data that a card does not name, and nobody is about to write a card for."""
    named = re.compile(rf"{re.escape(card.stem)}-([0-9a-f]{{16}})(\.\w+)")
    with contextlib.suppress(OSError):
        text = card.read_bytes() if card.exists() else b""
        for path in list(card.parent.iterdir()):
            found = named.fullmatch(path.name)
            if not found or path.with_suffix(card.suffix).exists():
                continue
            if found[1].encode() not in text:
                _remove_abandoned(path)
            else:
                # As earlier versions named it.
                _remove(card.with_name(card.stem + found[2]))


def read_whole(card: Path, read: Callable[[], T]) -> T:
    """Read what a card is about, again where a writer has replaced it meanwhile.

    Parameters
    ----------
    card : Path
        Whose data a writer removes after it has replaced the card.
    read : callable
        Reads both, and raises a :class:`~bioprobe.errors.BioprobeError` where they do not fit.
    """
    while True:
        before = _find_state(card)
        try:
            found = read()
        except BioprobeError:
            if _find_state(card) == before:
                raise
        else:
            if _find_state(card) == before:
                return found


def _find_state(path: Path) -> tuple[bytes, int, int] | None:
    """Return what a file holds and which one it is: a later one may hold the same again."""
    try:
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            return file.read(), facts.st_ino, facts.st_mtime_ns
    except OSError:
        return None


def _read_bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def write_set(
    card: Path,
    parts: Sequence[tuple[Path, Callable[[Path], object]]],
    describe: Callable[[Sequence[str]], str],
) -> None:
    """Write files of one name together, for readers who expect them under just these names.

    As there is no rename of several files, the parts wait under a name that the card's content
    gives, and take their own after the card has taken its: :func:`find_part` finds them where a
    writer was killed before that.

    Parameters
    ----------
    card : Path
        Text file.
    parts : sequence of (Path, callable)
        The other files, and what fills each.
    describe : callable
        Returns the card's text from the SHA-256 of each; of several parts it must hold these.

    Raises
    ------
    StoreError
        If the system refuses; what was there before is whole.
    """
    with explaining_refusal(parts[0][0]), contextlib.ExitStack() as held:
        filled = [(path, held.enter_context(_temporary(path)), fill) for path, fill in parts]
        for _, temporary, fill in filled:
            fill(temporary)
        text = describe([hash_file(temporary) for _, temporary, _ in filled])
        waiting = [_name_waiting(path, text.encode()) for path, _ in parts]
        before = _read_bytes(card)
        try:
            for (_, temporary, _), name in zip(filled, waiting, strict=True):
                _take_name(temporary, name)
            if before != text.encode():
                write_text(card, text)
        except BaseException:
            if before != text.encode() and _read_bytes(card) == before:
                for name in waiting:
                    _remove(name)
            raise
        for (path, _), name in zip(parts, waiting, strict=True):
            name.replace(path)
            sync(path.parent)
            for left in _list_waiting(path):
                _remove_abandoned(left)


def find_part(card: Path, path: Path) -> Path:
    """Return where a part of what :func:`write_set` wrote lies."""
    said = _read_bytes(card)
    waiting = None if said is None else _name_waiting(path, said)
    return waiting if waiting is not None and waiting.is_file() else path


def _name_waiting(path: Path, card: bytes) -> Path:
    import hashlib

    return path.with_name(f".{path.name}.{hashlib.sha256(card).hexdigest()[:16]}.tmp")


def _list_waiting(path: Path) -> list[Path]:
    named = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.tmp")
    return [one for one in path.parent.iterdir() if named.fullmatch(one.name)]


@contextlib.contextmanager
def reading_source(path: Path) -> Iterator[None]:
    """Turn what the system says of a read into an error of the source.

    Raises
    ------
    SourceError
        If the system refuses; see :func:`bioprobe.access.reading`.
    """
    try:
        with reading(path):
            yield
    except UnreadableError as error:
        raise SourceError(str(error)) from error


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 text file without the space around each.

    Raises
    ------
    SourceError
        If the file cannot be read, is not UTF-8 text, or has a line that is none.
    """
    from bioprobe.table_bounds import check_lines

    try:
        with reading_source(path):
            check_lines(path)
            # Some editors begin a file with a mark that is no part of its first line.
            text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{path} is not UTF-8 text ({error}); save it as UTF-8"
        raise SourceError(msg) from error
    return [line.strip() for line in text.splitlines()]


def read_json(path: Path, kind: type | None = None) -> Any:  # noqa: ANN401 - whatever it holds
    """Read a UTF-8 JSON file, as :func:`parse_json` reads its text.

    Raises
    ------
    ValueError
        If it is no JSON, is nested too deeply, or is of another kind.
    OSError
        If it cannot be read.
    """
    return parse_json(path.read_text(encoding="utf-8-sig"), kind)


def parse_json(text: str | bytes, kind: type | None = None) -> Any:  # noqa: ANN401
    """Read JSON that anybody may have written.

    Parameters
    ----------
    text : str or bytes
        Of one value.
    kind : type, optional
        What it must be, such as ``dict``.

    Raises
    ------
    ValueError
        If it is no JSON, is nested more deeply than Python calls functions, or of another kind.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        msg = "its lists are nested too deeply"
        raise ValueError(msg) from None
    if kind is not None and not isinstance(value, kind):
        expected, got = (_JSON_NAMES.get(one, "nothing") for one in (kind, type(value)))
        msg = f"expected {expected}, got {got}"
        raise ValueError(msg)
    return value


_JSON_NAMES = {
    dict: "an object", list: "an array", str: "a text", int: "a number", float: "a number",
    bool: "true or false",
}  # fmt: skip


# What begins a formula in a spreadsheet; blanks before it are passed over there.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")


def disarm_cell(value: Any) -> Any:  # noqa: ANN401 - whatever a cell holds
    """Put an apostrophe before a text that a spreadsheet would compute; a number stays.

    References
    ----------
    OWASP, *CSV Injection*.

    Examples
    --------
    >>> disarm_cell("=1+1"), disarm_cell("-1.50"), disarm_cell("lion")
    ("'=1+1", '-1.50', 'lion')
    """
    if not isinstance(value, str) or not value.lstrip(" ").startswith(_FORMULA):
        return value
    return value if _NUMBER.fullmatch(value) else f"'{value}"


def sync(path: Path) -> None:
    """Ask the system to put a file or folder on disk, so that a power cut cannot undo it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hash_file(path: Path, *further: Path) -> str:
    """Return the SHA-256 of files' bytes, one after another, as 64 hexadecimal digits."""
    import hashlib

    digest = hashlib.sha256()
    for one in (path, *further):
        with one.open("rb") as stream:
            hashlib.file_digest(stream, lambda: digest)
    return digest.hexdigest()


def _umask() -> int:
    # The mask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextlib.contextmanager
def explaining_refusal(place: Path) -> Iterator[None]:
    """Turn what the system says of a write into an error with a remedy.

    Raises
    ------
    StoreError
        If the block raises an :class:`OSError` that is none of ours.
    """
    try:
        yield
    except (BioprobeError, BrokenPipeError):
        raise
    except OSError as error:
        reason = error.strerror.lower() if error.strerror else str(error)
        msg = f"{place} cannot be written: {reason}; {find_remedy(error)}"
        raise StoreError(msg) from error


def is_full(error: BaseException) -> bool:
    """Tell whether a write failed as the disk has no room, which may come back."""
    cause = error.__cause__
    if isinstance(cause, OSError):
        return has_no_room(cause)
    return getattr(cause, "sqlite_errorname", "") == "SQLITE_FULL"


def has_no_room(error: OSError) -> bool:
    """Tell whether the system says that the disk, or one's share of it, is full."""
    return error.errno in _FULL


def find_remedy(error: OSError) -> str:
    """Say what to do about what the system refuses."""
    if has_no_room(error):
        return "what was there before is whole; free space, then run the same command again"
    if error.errno in _FORBIDDEN:
        return "get the right to write there, or choose another place"
    return "what was there before is whole; mend that, then run the same command again"


def check_target(path: Path, *, is_file: bool = True) -> None:
    """Refuse a file or folder that could not be written, before there is any work to lose.

    Parameters
    ----------
    path : Path
        Nothing of it is made here.
    is_file : bool
        Whether it must be no folder.

    Raises
    ------
    StoreError
        If the system refuses.
    """
    import tempfile

    with explaining_refusal(path):
        if path.exists() and not (path.is_file() or path.is_dir()):
            return
        target = Path(os.path.realpath(path))
        if is_file and target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        place = next(one for one in target.parents if one.exists())
        if target.is_dir():
            place = target
        with tempfile.TemporaryFile(dir=place):
            pass


def check_new_folder(target: Path) -> None:
    """Refuse a folder that holds something.

    Raises
    ------
    SourceError
        If it is not empty, or is a file.
    """
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        msg = f"{target} is there already; choose another name, or remove it first"
        raise SourceError(msg)


@contextlib.contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """Write a folder that takes the name of ``target`` when the block succeeds.

    Yields
    ------
    Path
        A temporary folder beside the target.

    Raises
    ------
    SourceError
        If the target holds something already.
    StoreError
        If the system refuses.
    """
    with explaining_refusal(target):
        check_new_folder(target)
        with scratch_beside(target) as temporary:
            yield temporary
            for path in (*temporary.rglob("*"), temporary):
                if path.is_file():
                    # As readable as any other new file, whatever a library made of it.
                    path.chmod(0o666 & ~_umask())
                sync(path)
            # mkdtemp makes a private folder; the target is as readable as the one it lies in.
            temporary.chmod(target.parent.stat().st_mode & 0o777)
            if target.is_dir():
                target.rmdir()
            temporary.rename(target)
            sync(target.parent)


@contextlib.contextmanager
def scratch_beside(target: Path) -> Iterator[Path]:
    """Make a folder beside a target that is gone after the block, or with the next one.

    Yields
    ------
    Path
        Temporary folder.
    """
    with _temporary(target, is_folder=True) as temporary:
        yield temporary


def lay_aside(place: Path, aside: Path, name: str) -> None:
    """Move a file or folder that is there into another, which is made, by a name that is free.

    Raises
    ------
    StoreError
        If the disk refuses.
    """
    if not exists(place):
        return
    wanted = Path(name)
    number, chosen = 1, aside / name
    while exists(chosen):
        number += 1
        chosen = aside / f"{wanted.stem}-{number}{wanted.suffix}"
    with explaining_refusal(aside):
        aside.mkdir(exist_ok=True)
        place.rename(chosen)
        sync(place.parent)
        sync(aside)


def remove_folder(folder: Path) -> None:
    """Remove a folder by one rename: it is there whole, or gone.

    Raises
    ------
    StoreError
        If the system refuses.
    """
    with explaining_refusal(folder), scratch_beside(folder) as temporary:
        folder.rename(temporary / folder.name)
        sync(folder.parent)


_PACKAGE_DIR = Path(__file__).parent


def prompts_dir() -> Path:
    """Return the folder of templates, name lists and taxonomies.

    A wheel carries it inside the package as ``prompt_data``; in a checkout it is the top-level
    folder ``prompts``.

    Returns
    -------
    Path
        An existing folder.

    Raises
    ------
    BioprobeError
        If neither place exists, which means a broken installation.
    """
    for folder in (_PACKAGE_DIR / "prompt_data", _PACKAGE_DIR.parent / "prompts"):
        if folder.is_dir():
            return folder
    msg = (
        f"the folder of prompts is missing beside {_PACKAGE_DIR}: the installation is incomplete; "
        "reinstall bioprobe"
    )
    raise BioprobeError(msg)


def sketch_weights_dir() -> Path:
    """Return the folder of the embedded ``sketch`` model, in open_clip's local-dir layout."""
    return _PACKAGE_DIR / "sketch" / "weights"
