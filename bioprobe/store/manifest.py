"""The manifest: the one file that says what a store holds."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from bioprobe.access import reading
from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import StoreError
from bioprobe.files import (
    COUNT,
    COUNTS,
    FLAG,
    NUMBER,
    TEXT,
    Kind,
    check_fields,
    read_json,
    write_text,
)

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
}


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
        if not self.name.isalnum():
            msg = f"the shard {self.name!r} is no folder below shards/"
            raise ValueError(msg)


@dataclasses.dataclass(frozen=True)
class TakenOut(ShardRecord):
    """A shard that was damaged and taken out, as it was listed before; it may be put back.

    Parameters
    ----------
    retired : tuple of int
        Which of its own rows were retired, counted from its first.
    """

    retired: tuple[int, ...] = ()


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
        return f"{len(self.shards):05d}"

    @property
    def vectors_sha256(self) -> str:
        """Identity of all vectors in row order; what is derived from them records it."""
        parts = "\n".join(shard.vectors_sha256 for shard in self.present_shards)
        return hashlib.sha256(parts.encode()).hexdigest()

    def take_out(self, names: Collection[str]) -> Manifest:
        """Return the manifest without the rows of some shards.

        The rows of later shards move up, and the retired ones with them.

        Parameters
        ----------
        names : collection of str
            Names of shards.
        """
        shards, retired, taken_out = [], [], list(self.taken_out)
        old_start = new_start = 0
        for shard in self.shards:
            old_stop = old_start + shard.n_images
            inside = [row - old_start for row in self.retired if old_start <= row < old_stop]
            if shard.name in names:
                shards.append(ShardRecord(shard.name, 0, "", ""))
                taken_out.append(TakenOut(**dataclasses.asdict(shard), retired=tuple(inside)))
            else:
                retired += [new_start + row for row in inside]
                new_start += shard.n_images
                shards.append(shard)
            old_start = old_stop
        return dataclasses.replace(
            self, shards=tuple(shards), retired=tuple(sorted(retired)), taken_out=tuple(taken_out)
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
        moved = [row + taken.n_images * (row >= start) for row in self.retired]
        return dataclasses.replace(
            self,
            shards=(*self.shards[:place], record, *self.shards[place + 1 :]),
            retired=tuple(sorted([*moved, *(start + row for row in retired)])),
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
        if not self.taken_out:
            del fields["taken_out"]
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
        return cls(
            encoder=Fingerprint.from_dict(fields["encoder"]),
            dim=fields["dim"],
            dtype=fields["dtype"],
            logit_scale=fields["logit_scale"],
            has_text_tower=fields["has_text_tower"],
            shards=tuple(ShardRecord(**shard) for shard in fields["shards"]),
            retired=tuple(fields["retired"]),
            taken_out=tuple(
                TakenOut(**{**one, "retired": tuple(one["retired"])})
                for one in fields.get("taken_out", ())
            ),
            has_regions=fields["schema_version"] == 2,
        )
