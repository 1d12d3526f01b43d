"""What is kept of pictures beside their vectors, by content: projection inputs and tokens.

Each kind lies in a folder below ``kept/``: parts, which are appended as shards are, and a card that
names them and is replaced at once. A part that no card names was never finished. As they are kept
by content, a row that moves, gets other labels or is a copy needs nothing; what is gone with its
last row goes at compaction.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from bioprobe.access import exists, list_names, reading
from bioprobe.encoders.keeping import KEPT_KINDS, KeptForm
from bioprobe.errors import BioprobeError, StoreError, UnreadableError
from bioprobe.files import (
    explaining_refusal,
    hash_file,
    lay_aside,
    read_json,
    replacing,
    save_array,
    sync,
    write_array_header,
    write_text,
)
from bioprobe.settings import COUNT, COUNTS, TEXT, check_fields
from bioprobe.store.shard import DTYPES, writing_folder
from bioprobe.types import Mask, Places

if TYPE_CHECKING:
    from bioprobe.store.gone import Changes, Gone

KEPT_NAME = "kept"
_CARD, _VALUES, _CONTENTS, _PROJECTION = "card.json", "values.npy", "contents.npy", "projection.npy"
#: Bytes of the values of a part, at most, and of those that wait to be written.
PART_BYTES = 1 << 28
# A part of so large a share of that, of which nothing goes, is taken as it is.
_LARGE_FRACTION = 0.5
_REMEDY = (
    "run: bioprobe store verify --repair, then embed the sources again, which fills what is missing"
)
_PART = {"name": TEXT, "n_images": COUNT, "values_sha256": TEXT, "contents_sha256": TEXT}
_FIELDS = {
    "kind": TEXT, "dtype": TEXT, "shape": COUNTS, "description": TEXT, "n_prefix": COUNT,
    "grid": COUNTS, "projection_sha256": TEXT, "next_number": COUNT,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class PartRecord:
    """One part as the card lists it.

    Parameters
    ----------
    name : str
        Folder, beside the card.
    n_images : int
    values_sha256, contents_sha256 : str
        SHA-256 of the two files' bytes.
    """

    name: str
    n_images: int
    values_sha256: str
    contents_sha256: str

    def __post_init__(self) -> None:
        check_fields(vars(self), _PART)
        if not self.name.isdigit():
            msg = f"the part {self.name!r} is no folder of a number"
            raise ValueError(msg)

    def list_files(self) -> dict[str, str]:
        """Return the SHA-256 of each file by its name."""
        return {_VALUES: self.values_sha256, _CONTENTS: self.contents_sha256}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card:
    """What a store keeps of one kind.

    Parameters
    ----------
    kind : str
        One of :data:`bioprobe.encoders.keeping.KEPT_KINDS`.
    dtype : str
        ``float16`` of tokens; of projection inputs that of the store's vectors.
    shape : tuple of int
        Of what there is of one picture.
    description : str
        What it is, in words.
    n_prefix, grid
        As :class:`~bioprobe.encoders.keeping.KeptForm` has them.
    projection_sha256 : str
        Of the file of the projection, ``""`` where there is none.
    next_number : int
        Of the part that is written next; no number is given twice.
    parts : tuple of PartRecord
    taken_out : tuple of PartRecord
        Parts that were damaged and taken out; they may be put back.
    """

    kind: str
    dtype: str
    shape: tuple[int, ...]
    description: str
    n_prefix: int = 0
    grid: tuple[int, ...] = ()
    projection_sha256: str = ""
    next_number: int = 0
    parts: tuple[PartRecord, ...] = ()
    taken_out: tuple[PartRecord, ...] = ()

    @classmethod
    def read(cls, folder: Path, kind: str) -> Card | None:
        """Read the card of a kind; None where the store keeps nothing of it.

        Raises
        ------
        StoreError
            If it is damaged.
        UnreadableError
            If it cannot be read just now.
        """
        path = folder / KEPT_NAME / kind / _CARD
        try:
            with reading(path):
                fields = read_json(path, dict)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise StoreError(_explain_card(path, error)) from error
        try:
            check_fields(fields, _FIELDS)
            lists = {
                name: tuple(PartRecord(**one) for one in fields[name])
                for name in ("parts", "taken_out")
            }
            card = cls(
                **{
                    **fields,
                    **lists,
                    "shape": tuple(fields["shape"]),
                    "grid": tuple(fields["grid"]),
                }
            )
            card.check(kind)
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(_explain_card(path, error)) from error
        return card

    def check(self, kind: str) -> None:
        """Refuse a card of another kind, or of a dtype that nothing is kept in.

        Raises
        ------
        ValueError
            If it is one.
        """
        if self.kind != kind or self.dtype not in DTYPES:
            msg = f"it says {self.kind} of {self.dtype}"
            raise ValueError(msg)

    def write(self, folder: Path) -> None:
        """Replace the card of a kind at once."""
        write_text(folder / KEPT_NAME / self.kind / _CARD, self.to_json())

    def to_json(self) -> str:
        """Return the card as it is written."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @property
    def row_bytes(self) -> int:
        """Bytes of what there is of one picture."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    @property
    def n_images(self) -> int:
        """Pictures of which there is something; copies of one count once."""
        return sum(part.n_images for part in self.parts)


def _explain_card(path: Path, error: Exception) -> str:
    return (
        f"{path} cannot be read ({error!r}); restore it from a copy, or remove {path.parent} and "
        "embed the sources again with --keep"
    )


class Kept:
    """What a store keeps of one kind, as it was when this was opened.

    All parts are mapped at once: what is compacted meanwhile is read on.

    Raises
    ------
    StoreError
        If a part is missing or damaged.
    """

    def __init__(self, folder: Path, card: Card) -> None:
        self.card = card
        self._folder = folder / KEPT_NAME / card.kind
        self._values = [_map_values(self._folder, card, part) for part in card.parts]
        contents = [_read_contents(self._folder, part) for part in card.parts]
        self._contents = np.concatenate(contents) if contents else np.zeros(0, dtype="S64")
        self._order = np.argsort(self._contents, kind="stable")
        self._starts = np.cumsum([0, *(part.n_images for part in card.parts)])

    @classmethod
    def open(cls, folder: Path, kind: str) -> Kept | None:
        """Open what a store keeps of a kind; None where it keeps nothing of it."""
        card = Card.read(folder, kind)
        if card is None:
            return None
        try:
            return cls(folder, card)
        except StoreError:
            # It may have been compacted between the two.
            again = Card.read(folder, kind)
            if again is None or again == card:
                raise
            return cls(folder, again)

    @property
    def n_bytes(self) -> int:
        """Bytes of all values."""
        return self.card.row_bytes * self.card.n_images

    def find(self, contents: Iterable[str]) -> Places:
        """Return the place of each content, -1 where nothing is kept of it.

        Parameters
        ----------
        contents : iterable of str
            As :func:`bioprobe.images.regions.name_content` names them; ``""`` is never kept.
        """
        wanted = np.array([one.encode() for one in contents], dtype="S")
        if not len(self._contents) or not len(wanted):
            return np.full(len(wanted), -1, dtype=np.int64)
        # Of a shorter type what is longer would be cut.
        width = max(wanted.itemsize, self._contents.itemsize)
        wanted, known = wanted.astype(f"S{width}"), self._contents.astype(f"S{width}")
        places = np.searchsorted(known, wanted, sorter=self._order)
        places = self._order[np.minimum(places, len(known) - 1)]
        return np.where((known[places] == wanted) & (wanted != b""), places, -1)

    def read(self, places: Places) -> npt.NDArray[Any]:
        """Read values into memory, shape (n, *shape of the card), in the dtype of the card."""
        out = np.empty((len(places), *self.card.shape), dtype=self.card.dtype)
        for number, values in enumerate(self._values):
            start, stop = self._starts[number], self._starts[number + 1]
            inside = np.flatnonzero((places >= start) & (places < stop))
            # In the order in which they lie on the disk.
            inside = inside[np.argsort(places[inside], kind="stable")]
            out[inside] = values[places[inside] - start]
        return out

    def read_projection(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Read what the encoder multiplies its projection input with, and what it adds.

        Returns
        -------
        matrix : ndarray of float32, shape (width, dim)
        bias : ndarray of float32, shape (dim,)

        Raises
        ------
        StoreError
            If it is damaged, or this is another kind.
        """
        path = self._folder / _PROJECTION
        both: npt.NDArray[np.float32] = _load(path)
        if both.ndim != 2 or both.shape[0] != self.card.shape[0] + 1:
            msg = (
                f"{path} is of the shape {both.shape}, which is no projection of {self.card.shape}"
            )
            raise StoreError(msg)
        return both[:-1], both[-1]


class KeptRows:
    """What is kept of some rows, read only where it is asked for.

    Taking some of them reads nothing; :meth:`read` does.

    Parameters
    ----------
    kept : Kept
    places : ndarray of int64, shape (n_rows,)
        All of them there.
    """

    def __init__(self, kept: Kept, places: Places) -> None:
        self._kept = kept
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_rows, n_tokens, width)."""
        return len(self), *self._kept.card.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what is read."""
        return np.dtype(self._kept.card.dtype)

    def __getitem__(self, chosen: Any) -> KeptRows:  # noqa: ANN401 - whatever numpy takes for rows
        return KeptRows(self._kept, self._places[chosen])

    def read(self, rows: Places | slice) -> npt.NDArray[Any]:
        """Read some of them into memory."""
        return self._kept.read(self._places[rows])


class KeptWriter:
    """Adds what is kept of pictures to a store that is held for writing.

    Parameters
    ----------
    folder : Path
        Of the store.
    form : KeptForm
        What the encoder gives.
    dtype : str
        Of the store's vectors.

    Raises
    ------
    StoreError
        If what the store keeps already is of another shape, or the disk refuses.
    """

    def __init__(self, folder: Path, form: KeptForm, dtype: str) -> None:
        self._folder = folder
        card = Card.read(folder, form.kind)
        if card is None:
            card = _begin(folder, form, choose_dtype(form.kind, dtype))
        if card.shape != tuple(form.shape):
            msg = (
                f"{folder} keeps {form.kind} of the shape {card.shape}, the encoder gives "
                f"{tuple(form.shape)}; choose another --store"
            )
            raise StoreError(msg)
        self.card = card

    def add(self, contents: Sequence[str], values: npt.NDArray[Any]) -> None:
        """Write a part whole, then name it in the card.

        Parameters
        ----------
        contents : sequence of str
            Not kept yet, none ``""``.
        values : ndarray of the card's dtype, shape (n, *shape of the card)
        """
        if not len(contents):
            return
        names = np.array([one.encode() for one in contents], dtype="S")
        self.card = _append(
            self._folder, self.card, names, lambda path: save_array(path, values), len(names)
        )
        self.card.write(self._folder)


def copy_kept(source: Path, target: Path, kind: str, contents: Sequence[str]) -> int:
    """Copy what a store keeps of some pictures into another, and return of how many.

    Parameters
    ----------
    source, target : Path
        Folders of stores of one encoder; the target is held for writing, or nobody else has it.
    kind : str
    contents : sequence of str
        What the target has of them already is not copied again.
    """
    kept = Kept.open(source, kind)
    if kept is None:
        return 0
    matrix = bias = None
    if kept.card.projection_sha256:
        matrix, bias = kept.read_projection()
    form = KeptForm(
        kind, kept.card.shape, kept.card.description, kept.card.n_prefix, kept.card.grid, matrix,
        bias,
    )  # fmt: skip
    writer = KeptWriter(target, form, kept.card.dtype)
    there = Kept(target, writer.card)
    wanted = np.array(sorted(set(contents) - {""}), dtype=str)
    places = kept.find(wanted)
    new = (places >= 0) & (there.find(wanted) < 0)
    wanted, places = wanted[new], places[new]
    at_once = max(1, PART_BYTES // kept.card.row_bytes)
    for start in range(0, len(wanted), at_once):
        part = slice(start, start + at_once)
        values = kept.read(places[part]).astype(writer.card.dtype)
        writer.add(wanted[part].tolist(), values)
    return len(wanted)


def choose_dtype(kind: str, dtype: str) -> str:
    """Return how a kind is kept: tokens in half precision, else as the store keeps its vectors."""
    return "float16" if kind == "tokens" else dtype


def round_values(values: npt.NDArray[np.float32], dtype: str, name: str) -> npt.NDArray[Any]:
    """Return values in the dtype in which they are kept.

    Parameters
    ----------
    values : ndarray of float32
    dtype : str
    name : str
        Of the encoder and what it gave, for the message.

    Raises
    ------
    BioprobeError
        If one is not finite, or beyond what the dtype holds.
    """
    with np.errstate(over="ignore"):
        rounded = values.astype(dtype)
    if not np.isfinite(rounded).all():
        largest = float(np.abs(values).max())
        msg = (
            f"{name} holds numbers up to {largest:g}, more than {dtype} can; leave --keep out, or "
            "of projection-input use a store of --dtype float32"
        )
        raise BioprobeError(msg)
    return rounded


def list_kept(folder: Path) -> tuple[Card, ...]:
    """Return the cards of what a store keeps."""
    cards = (Card.read(folder, kind) for kind in KEPT_KINDS)
    return tuple(card for card in cards if card is not None)


def _begin(folder: Path, form: KeptForm, dtype: str) -> Card:
    place, checksum = folder / KEPT_NAME / form.kind, ""
    with explaining_refusal(place):
        place.mkdir(parents=True, exist_ok=True)
    if form.projection is not None and form.bias is not None:
        both = np.concatenate([form.projection, form.bias[None]]).astype(np.float32)
        with replacing(place / _PROJECTION) as temporary:
            save_array(temporary, both)
        checksum = hash_file(place / _PROJECTION)
    card = Card(
        kind=form.kind, dtype=dtype, shape=tuple(form.shape), description=form.description,
        n_prefix=form.n_prefix, grid=tuple(form.grid), projection_sha256=checksum,
    )  # fmt: skip
    card.write(folder)
    return card


def _append(
    folder: Path,
    card: Card,
    contents: npt.NDArray[np.bytes_],
    write_values: Callable[[Path], object],
    n_images: int,
) -> Card:
    """Write a part, and return the card that names it, which is not written yet."""
    place, name = folder / KEPT_NAME / card.kind, f"{card.next_number:05d}"
    with writing_folder(place / name) as part:
        values_path, contents_path = part / _VALUES, part / _CONTENTS
        write_values(values_path)
        save_array(contents_path, contents)
        for path in (values_path, contents_path):
            sync(path)
        record = PartRecord(name, n_images, hash_file(values_path), hash_file(contents_path))
    return dataclasses.replace(card, parts=(*card.parts, record), next_number=card.next_number + 1)


def _load(path: Path, mmap_mode: Literal["r"] | None = None) -> npt.NDArray[Any]:
    try:
        with reading(path):
            found: npt.NDArray[Any] = np.load(path, mmap_mode=mmap_mode)
    except (OSError, ValueError, EOFError) as error:
        msg = f"{path} cannot be read ({error}); {_REMEDY}"
        raise StoreError(msg) from error
    return found


def _map_values(place: Path, card: Card, part: PartRecord) -> npt.NDArray[Any]:
    path = place / part.name / _VALUES
    values = _load(path, mmap_mode="r")
    expected = (part.n_images, *card.shape)
    if values.shape != expected or values.dtype != np.dtype(card.dtype):
        msg = (
            f"{path} is of {values.dtype} and the shape {values.shape}, its card says {card.dtype} "
            f"and {expected}; {_REMEDY}"
        )
        raise StoreError(msg)
    return values


def _read_contents(place: Path, part: PartRecord) -> npt.NDArray[np.bytes_]:
    path = place / part.name / _CONTENTS
    contents: npt.NDArray[np.bytes_] = _load(path)
    # Which picture each is of: of others they would be taken for theirs.
    if contents.shape != (part.n_images,) or hash_file(path) != part.contents_sha256:
        msg = f"{path} is not what its card says; {_REMEDY}"
        raise StoreError(msg)
    return contents


def sweep_kept(folder: Path) -> None:
    """Remove parts that were never finished; call it under the lock of the store."""
    for kind in KEPT_KINDS:
        place = folder / KEPT_NAME / kind
        if not place.is_dir():
            continue
        with contextlib.suppress(StoreError):
            card = Card.read(folder, kind)
            for begun in place.glob(".[0-9]*.tmp"):
                shutil.rmtree(begun, ignore_errors=True)
            for name in list_names(place):
                # Of an older card that was put back all that came since.
                if name.isdigit() and card is not None and int(name) >= card.next_number:
                    shutil.rmtree(place / name, ignore_errors=True)


@dataclasses.dataclass(frozen=True)
class KeptProblem:
    """Something of what is kept that is not as its card says.

    Parameters
    ----------
    where : str
        File, relative to the store.
    what : str
        What was got and what was expected.
    kind, part : str
        Whose; the part ``""`` where it is the card, or the projection.
    is_damage : bool
        As :class:`bioprobe.store.health.Problem` has it.
    """

    where: str
    what: str
    kind: str
    part: str = ""
    is_damage: bool = True


def verify_kept(folder: Path) -> list[KeptProblem]:
    """Read every byte of what a store keeps, and compare it with the cards."""
    problems: list[KeptProblem] = []
    for kind in KEPT_KINDS:
        where = f"{KEPT_NAME}/{kind}"
        try:
            card = Card.read(folder, kind)
        except StoreError as error:
            is_damage = not isinstance(error, UnreadableError)
            problems.append(KeptProblem(f"{where}/{_CARD}", str(error), kind, is_damage=is_damage))
            continue
        if card is None:
            continue
        files = {"": {_PROJECTION: card.projection_sha256}} if card.projection_sha256 else {}
        files |= {part.name: part.list_files() for part in card.parts}
        for name, expected in files.items():
            found = [
                KeptProblem("/".join(filter(None, (where, name, file))), *said)
                for file, checksum in expected.items()
                for said in _compare(folder / KEPT_NAME / kind / name / file, checksum, kind, name)
            ]
            problems += found
            part = next((one for one in card.parts if one.name == name), None)
            if part is not None and not found:
                problems += _verify_shape(folder, card, part)
    return problems


def _compare(path: Path, checksum: str, kind: str, part: str) -> list[tuple[str, str, str, bool]]:
    try:
        with reading(path):
            got = hash_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return [("the file is missing", kind, part, True)]
    except UnreadableError as error:
        return [(str(error), kind, part, False)]
    except OSError as error:
        return [(f"it is no file ({error.strerror})", kind, part, True)]
    if got != checksum:
        what = f"its SHA-256 is {got[:12]}…, its card says {checksum[:12]}…"
        return [(what, kind, part, True)]
    return []


def _verify_shape(folder: Path, card: Card, part: PartRecord) -> Iterator[KeptProblem]:
    place = folder / KEPT_NAME / card.kind
    try:
        _map_values(place, card, part)
        _read_contents(place, part)
    except StoreError as error:
        is_damage = not isinstance(error, UnreadableError)
        yield KeptProblem(
            f"{KEPT_NAME}/{card.kind}/{part.name}", str(error), card.kind, part.name, is_damage
        )


def repair_kept(folder: Path, problems: Collection[KeptProblem], aside: Path) -> int:
    """Take the damaged parts out of the cards, lay them aside, and return how many pictures go.

    Of a kind whose card or projection is damaged all is laid aside: the next run that keeps it
    begins anew. What cannot be read just now stays.
    """
    n_lost = 0
    for kind in KEPT_KINDS:
        own = [one for one in problems if one.kind == kind]
        away = {one.part for one in own if not one.is_damage}
        damaged = {one.part for one in own if one.is_damage} - away
        place = folder / KEPT_NAME / kind
        if not damaged or "" in away:
            continue
        if "" in damaged:
            with contextlib.suppress(StoreError):
                card = Card.read(folder, kind)
                n_lost += 0 if card is None else card.n_images
            lay_aside(place, aside, f"{KEPT_NAME}-{kind}")
            continue
        card = Card.read(folder, kind)
        if card is None:
            continue
        taken = tuple(part for part in card.parts if part.name in damaged)
        n_lost += sum(part.n_images for part in taken)
        dataclasses.replace(
            card, parts=tuple(part for part in card.parts if part.name not in damaged),
            taken_out=(*card.taken_out, *taken),
        ).write(folder)  # fmt: skip
        for part in taken:
            lay_aside(place / part.name, aside, f"{KEPT_NAME}-{kind}-{part.name}")
    return n_lost


def restore_kept(folder: Path, aside: Path) -> int:
    """Put back parts that were taken out, where they are whole, and return how many pictures."""
    n_back = 0
    for card in list_kept(folder):
        back: list[PartRecord] = []
        for part in card.taken_out:
            names = [
                name for name in list_names(aside)
                if name == (own := f"{KEPT_NAME}-{card.kind}-{part.name}")
                or name.startswith(f"{own}-")
            ]  # fmt: skip
            for name in names:
                is_whole = not any(
                    _compare(aside / name / file, checksum, card.kind, part.name)
                    for file, checksum in part.list_files().items()
                )
                target = folder / KEPT_NAME / card.kind / part.name
                if is_whole and not exists(target):
                    with explaining_refusal(target):
                        (aside / name).rename(target)
                        sync(target.parent)
                    back.append(part)
                    break
        if back:
            n_back += sum(part.n_images for part in back)
            dataclasses.replace(
                card, parts=(*card.parts, *back),
                taken_out=tuple(part for part in card.taken_out if part not in back),
            ).write(folder)  # fmt: skip
    return n_back


def forget_gone(gone: Gone, changes: Changes) -> None:
    """Write anew the parts that hold something of pictures that the store has no longer.

    Small parts are joined. What no card names goes too: an interrupted compaction may have left it.
    """
    for before in list_kept(gone.folder):
        kept = Kept(gone.folder, before)
        stays = _find_stays(kept, gone.contents)
        plan, whole = _plan(before, kept, stays)
        changes.counts[KEPT_NAME] += int((~stays).sum())
        if changes.is_trial:
            continue
        # What was taken out may hold what is gone.
        taken_out = () if len(gone.rows) else before.taken_out
        card = dataclasses.replace(before, parts=whole, taken_out=taken_out)
        _check_whole(gone.folder, before, card)
        for places in plan:
            card = _copy(gone.folder, card, kept, places)
        text = card.to_json()
        place = gone.folder / KEPT_NAME / card.kind
        if card.parts != before.parts or card.taken_out != before.taken_out:
            changes.replace(place / _CARD).write_text(text, encoding="utf-8")
        named = {part.name for part in card.parts}
        for name in list_names(place):
            if name.isdigit() and name not in named:
                changes.afterwards(
                    functools.partial(shutil.rmtree, place / name, ignore_errors=True)
                )


def estimate_space(folder: Path, contents: Collection[str]) -> tuple[int, int]:
    """Return the bytes that a compaction writes of what is kept, and those that go."""
    known = np.array(sorted(one.encode() for one in contents if one), dtype="S")
    written = freed = 0
    for card in list_kept(folder):
        kept = Kept(folder, card)
        plan, whole = _plan(card, kept, _find_stays(kept, known))
        n_written = sum(map(len, plan))
        written += card.row_bytes * n_written
        freed += card.row_bytes * (card.n_images - sum(part.n_images for part in whole))
    return written, freed


def _find_stays(kept: Kept, known: npt.NDArray[np.bytes_]) -> Mask:
    """Tell which values are of pictures that stay, each once."""
    contents = kept._contents
    stays = np.isin(contents, known) if len(known) else np.zeros(len(contents), dtype=bool)
    first = np.zeros(len(contents), dtype=bool)
    first[np.unique(contents, return_index=True)[1]] = True
    return np.asarray(stays & first)


def _plan(card: Card, kept: Kept, stays: Mask) -> tuple[list[Places], tuple[PartRecord, ...]]:
    """Return which values make which new parts, and the parts that stay as they are."""
    most = max(1, PART_BYTES // card.row_bytes)
    starts = kept._starts
    whole: list[PartRecord] = []
    left: list[Places] = []
    for part, start, stop in zip(card.parts, starts[:-1], starts[1:], strict=True):
        own = np.flatnonzero(stays[start:stop]) + start
        if len(own) == part.n_images and part.n_images >= _LARGE_FRACTION * most:
            whole.append(part)
        else:
            left.append(own)
    if len(left) == 1 and len(left[0]) and len(card.parts) - len(whole) == 1:
        # One part alone of which nothing goes is not written again.
        only = next(part for part in card.parts if part not in whole)
        if len(left[0]) == only.n_images:
            return [], card.parts
    rest = np.concatenate(left) if left else np.zeros(0, dtype=np.int64)
    return [rest[at : at + most] for at in range(0, len(rest), most)], tuple(whole)


def _check_whole(folder: Path, before: Card, after: Card) -> None:
    """Refuse to copy what is damaged."""
    for part in before.parts:
        path = folder / KEPT_NAME / before.kind / part.name / _VALUES
        if part not in after.parts and hash_file(path) != part.values_sha256:
            msg = (
                f"{path} is damaged: its SHA-256 is not the one in its card; nothing was "
                "compacted. First run: bioprobe store verify --repair"
            )
            raise StoreError(msg)


def _copy(folder: Path, card: Card, kept: Kept, places: Places) -> Card:
    """Write some values as a new part, some at a time."""
    at_once = max(1, (PART_BYTES // 8) // card.row_bytes)

    def write(path: Path) -> None:
        with path.open("wb") as stream:
            write_array_header(stream, (len(places), *card.shape), card.dtype)
            for start in range(0, len(places), at_once):
                values = kept.read(places[start : start + at_once])
                stream.write(np.ascontiguousarray(values).data)

    return _append(folder, card, kept._contents[places], write, len(places))
