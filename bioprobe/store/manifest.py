"""The manifest: the one file that says what a store holds."""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from bioprobe.access import reading
from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import StoreError
from bioprobe.files import parse_json, read_json, write_text
from bioprobe.settings import COUNT, COUNTS, FLAG, NUMBER, TEXT, TEXTS, Kind, check_fields

#: 1 where every row is a whole picture, 2 where one is a region of one: what reads 1 alone would
#: take rows of regions for copies of their picture.
SCHEMA_VERSIONS = (1, 2)
MANIFEST_NAME = "manifest.json"


_SHARD = {
    "name": TEXT, "n_images": COUNT, "vectors_sha256": TEXT, "images_sha256": TEXT,
}  # fmt: skip
_MANIFEST = {
    "dim": COUNT,
    "dtype": TEXT,
    "logit_scale": Kind("a number or null", lambda value: value is None or NUMBER.holds(value)),
    "has_text_tower": FLAG,
    "retired": COUNTS,
    "generation": COUNT,
    "is_cleared": FLAG,
    "older": TEXTS,
}
_REMOVAL = {"number": COUNT, "time": TEXT, "rows": COUNTS, "failed": TEXTS}
# Names of shards that a compaction wrote, and of those appended since: no older bioprobe, which
# counts shards, gives such a one, or takes it for what it left itself.
_GENERATION = re.compile(r"c(\d+)n\d+")


@dataclasses.dataclass(frozen=True)
class ShardRecord:
    """One shard as the manifest lists it.

    Parameters
    ----------
    name : str
        Folder below ``shards/``.
    n_images : int
        Number of rows; 0 where the shard was damaged and taken out. Its name is not given again.
    vectors_sha256, images_sha256 : str
        SHA-256 of the two files' bytes; ``""`` where the shard was taken out.
    """

    name: str
    n_images: int
    vectors_sha256: str
    images_sha256: str

    def __post_init__(self) -> None:
        check_fields(vars(self), _SHARD)
        # A store may come from somebody else: what is read, and laid aside by a repair, is its own.
        if not self.name.replace("-", "").isalnum():
            msg = f"the shard {self.name!r} is no folder below shards/"
            raise ValueError(msg)


@dataclasses.dataclass(frozen=True)
class TakenOut(ShardRecord):
    """A shard that was damaged and taken out, as it was listed before; it may be put back.

    Parameters
    ----------
    retired : tuple of int
        Which of its own rows were retired, counted from its first.
    removed : tuple of int
        Which of these a person had removed.
    """

    retired: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as the manifest lists it; what an older bioprobe does not know where needed."""
        fields = dataclasses.asdict(self)
        return fields if self.removed else {k: v for k, v in fields.items() if k != "removed"}


@dataclasses.dataclass(frozen=True)
class Replaced(ShardRecord):
    """A shard that a compaction has replaced, and whose files are there still.

    Parameters
    ----------
    retired : tuple of int
        Which of its own rows are gone, counted from its first.
    removed : tuple of int
        Which of these a person had removed.
    """

    retired: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Removal:
    """What a person removed at one time, undone until compaction.

    Parameters
    ----------
    number : int
        By which it is undone, from 1.
    time : str
        ISO 8601, UTC.
    rows : tuple of int
        Rows, ascending; they are retired too.
    failed : tuple of str
        Whole paths of pictures that could not be read: their lines in the list of failures.
    """

    number: int
    time: str
    rows: tuple[int, ...]
    failed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields({**vars(self), "rows": list(self.rows), "failed": list(self.failed)}, _REMOVAL)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a store holds.

    Parameters
    ----------
    encoder : Fingerprint
        Encoder of every vector.
    dim : int
        Length of a vector.
    dtype : str
        ``float32`` or ``float16``.
    logit_scale : float
        The encoder's, so that zero-shot needs no model when the texts are cached.
    has_text_tower : bool
        Whether the encoder can embed text.
    shards : tuple of ShardRecord
        In row order.
    retired : tuple of int
        Rows that a newer embedding of the same file has replaced, ascending.
    taken_out : tuple of TakenOut
        Shards that were damaged and taken out; an older bioprobe kept no such list.
    has_regions : bool
        Whether a row is, or was, a region of a picture, or one of several rows of one.
    removals : tuple of Removal
        What people removed since the last compaction.
    generation : int
        Compactions so far. A row has the number that it had as long as this is the same.
    replaced : tuple of Replaced
        Shards of the generation before whose files are there still, in row order.
    is_cleared : bool
        Whether nothing else in the store quotes what these held of rows that are gone.
    older : tuple of str
        Names of shards of generations before that one whose files are there still.
    """

    encoder: Fingerprint
    dim: int
    dtype: str
    logit_scale: float
    has_text_tower: bool
    shards: tuple[ShardRecord, ...] = ()
    retired: tuple[int, ...] = ()
    taken_out: tuple[TakenOut, ...] = ()
    has_regions: bool = False
    removals: tuple[Removal, ...] = ()
    generation: int = 0
    replaced: tuple[Replaced, ...] = ()
    is_cleared: bool = True
    older: tuple[str, ...] = ()

    @property
    def n_images(self) -> int:
        """Number of rows, retired ones included."""
        return sum(shard.n_images for shard in self.shards)

    @property
    def present_shards(self) -> tuple[ShardRecord, ...]:
        """Shards that have rows: all but those that were taken out."""
        return tuple(shard for shard in self.shards if shard.n_images)

    @property
    def next_shard_name(self) -> str:
        """Name of the shard that is appended next."""
        return self.name_shard(len(self.shards))

    def name_shard(self, place: int) -> str:
        """Return the name of the shard at a place of this generation."""
        return f"c{self.generation}n{place:05d}" if self.generation else f"{place:05d}"

    @property
    def outdated(self) -> tuple[str, ...]:
        """Names of shards of earlier generations that go once nobody reads them."""
        current = {one.name for one in self.shards}
        names = (*self.older, *(one.name for one in self.replaced))
        return tuple(name for name in names if name not in current)

    @property
    def removed(self) -> tuple[int, ...]:
        """Rows that people removed since the last compaction, ascending."""
        return tuple(sorted({row for one in self.removals for row in one.rows}))

    @property
    def vectors_sha256(self) -> str:
        """Identity of all vectors in row order; what is derived from them records it."""
        parts = "\n".join(shard.vectors_sha256 for shard in self.present_shards)
        return hashlib.sha256(parts.encode()).hexdigest()

    def take_out(self, names: Collection[str]) -> Manifest:
        """Return the manifest without the rows of some shards.

        The rows of later shards move up, and the retired ones with them.
        """
        shards, moved, taken_out = [], dict[int, int](), list(self.taken_out)
        old_start = new_start = 0
        for shard in self.shards:
            old_stop = old_start + shard.n_images
            retired, removed = (
                find_inside(rows, old_start, old_stop) for rows in (self.retired, self.removed)
            )
            if shard.name in names:
                shards.append(ShardRecord(shard.name, 0, "", ""))
                taken = TakenOut(**dataclasses.asdict(shard), retired=retired, removed=removed)
                taken_out.append(taken)
            else:
                moved |= {old_start + row: new_start + row for row in retired}
                new_start += shard.n_images
                shards.append(shard)
            old_start = old_stop
        return dataclasses.replace(
            self,
            shards=tuple(shards),
            retired=tuple(sorted(moved.values())),
            removals=_move(self.removals, moved),
            taken_out=tuple(taken_out),
        )

    def put_back(self, taken: TakenOut, *, retired: Collection[int]) -> Manifest:
        """Return the manifest with a shard that was taken out, at the place that it had.

        The rows of later shards move down, and the retired ones with them.

        Parameters
        ----------
        taken : TakenOut
            One of :attr:`taken_out`.
        retired : collection of int
            Which of its own rows are retired, counted from its first.
        """
        names = [shard.name for shard in self.shards]
        place = names.index(taken.name)
        start = sum(shard.n_images for shard in self.shards[:place])
        record = ShardRecord(taken.name, taken.n_images, taken.vectors_sha256, taken.images_sha256)
        moved = {row: row + taken.n_images * (row >= start) for row in self.retired}
        return dataclasses.replace(
            self,
            shards=(*self.shards[:place], record, *self.shards[place + 1 :]),
            retired=tuple(sorted([*moved.values(), *(start + row for row in retired)])),
            removals=_move(self.removals, moved),
            taken_out=tuple(one for one in self.taken_out if one.name != taken.name),
        )

    def write(self, folder: Path) -> None:
        """Replace the manifest of a store atomically.

        Raises
        ------
        StoreError
            If the disk refuses.
        """
        fields: dict[str, Any] = {
            "schema_version": 2 if self.has_regions else 1,
            "normalised": True,
            "n_images": self.n_images,
        }
        fields |= dataclasses.asdict(self)
        # The version says it.
        del fields["has_regions"]
        fields["taken_out"] = [taken.to_dict() for taken in self.taken_out]
        for name in ("taken_out", "removals", "generation", "replaced", "older"):
            if not fields[name]:
                del fields[name]
        if self.is_cleared:
            del fields["is_cleared"]
        write_text(folder / MANIFEST_NAME, json.dumps(fields, indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a store.

        Raises
        ------
        StoreError
            If there is none, it is damaged, or a newer bioprobe wrote it.
        UnreadableError
            If it is there and cannot be read just now.
        """
        path = folder / MANIFEST_NAME
        try:
            with reading(path):
                fields = read_json(path)
        except (FileNotFoundError, NotADirectoryError):
            msg = f"no store at {folder}; make one with: bioprobe embed IMAGES --store {folder}"
            raise StoreError(msg) from None
        except (OSError, ValueError) as error:
            msg = f"{path} cannot be read ({error}); restore it from a copy, or embed again"
            raise StoreError(msg) from error
        return cls._from_json(fields, path)

    @classmethod
    def parse(cls, data: bytes, place: str) -> Manifest:
        """Read the bytes of a manifest.

        Raises
        ------
        StoreError
            If they are damaged, or a newer bioprobe wrote them.
        """
        try:
            fields = parse_json(data)
        except ValueError as error:
            msg = f"{place} cannot be read ({error}); send the store again"
            raise StoreError(msg) from error
        return cls._from_json(fields, place)

    @classmethod
    def _from_json(cls, fields: Any, path: str | Path) -> Manifest:  # noqa: ANN401 - whatever it is
        version = fields.get("schema_version") if isinstance(fields, dict) else None
        if version is None:
            msg = f"{path} is not the manifest of a store; restore it from a copy, or embed again"
            raise StoreError(msg)
        if version not in SCHEMA_VERSIONS:
            known = " and ".join(map(str, SCHEMA_VERSIONS))
            msg = (
                f"{path} has schema version {version}, this bioprobe reads {known}; install the "
                "bioprobe that wrote it"
            )
            raise StoreError(msg)
        try:
            return cls._from_fields(fields)
        except (KeyError, TypeError, ValueError) as error:
            msg = f"{path} is damaged ({error!r}); restore it from a copy, or embed again"
            raise StoreError(msg) from error

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> Manifest:
        check_fields(fields, _MANIFEST)
        removals = tuple(Removal(**_freeze(one)) for one in fields.get("removals", ()))
        retired, older = set(fields["retired"]), tuple(fields.get("older", ()))
        if any(row not in retired for one in removals for row in one.rows):
            msg = "rows were removed that are current"
            raise ValueError(msg)
        if not all(name.isalnum() for name in older):
            # A store may come from somebody else: what is removed is its own.
            msg = f"the shards {', '.join(older)} are no folders below shards/"
            raise ValueError(msg)
        return cls(
            encoder=Fingerprint.from_dict(fields["encoder"]),
            dim=fields["dim"],
            dtype=fields["dtype"],
            logit_scale=fields["logit_scale"],
            has_text_tower=fields["has_text_tower"],
            shards=tuple(ShardRecord(**shard) for shard in fields["shards"]),
            retired=tuple(fields["retired"]),
            taken_out=tuple(TakenOut(**_freeze(one)) for one in fields.get("taken_out", ())),
            has_regions=fields["schema_version"] == 2,
            removals=removals,
            generation=max([fields.get("generation", 0), *map(_read_generation, fields["shards"])]),
            replaced=tuple(Replaced(**_freeze(one)) for one in fields.get("replaced", ())),
            is_cleared=bool(fields.get("is_cleared", True)),
            older=older,
        )


def _read_generation(shard: Mapping[str, Any]) -> int:
    # An older bioprobe, which appended since, did not keep the number itself.
    found = _GENERATION.fullmatch(str(shard["name"]))
    return int(found[1]) if found else 0


def _freeze(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(one) if isinstance(one, list) else one for name, one in fields.items()}


def find_inside(rows: Sequence[int], start: int, stop: int) -> tuple[int, ...]:
    """Return those of ascending rows that lie in a range, counted from its start."""
    first, last = bisect.bisect_left(rows, start), bisect.bisect_left(rows, stop)
    return tuple(row - start for row in rows[first:last])


def _move(removals: Sequence[Removal], moved: Mapping[int, int]) -> tuple[Removal, ...]:
    """Return removals under the numbers that rows have now; of rows that are away none."""
    left = (
        dataclasses.replace(one, rows=tuple(moved[row] for row in one.rows if row in moved))
        for one in removals
    )
    return tuple(one for one in left if one.rows or one.failed)
