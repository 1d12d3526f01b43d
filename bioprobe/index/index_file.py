"""An approximate index on disk: ``index.json`` says what is known of it, and names its bytes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.access import reading
from bioprobe.files import (
    explaining_refusal,
    find_data,
    hash_file,
    read_json,
    sweep_data,
    write_card,
)
from bioprobe.index.kinds import Dial, Structure
from bioprobe.settings import COUNT, NUMBER, TABLE, TEXT, TEXTS, Kind, check_fields
from bioprobe.store import EmbeddingStore

if TYPE_CHECKING:
    import faiss

NOTE_NAME, _SUFFIX = "index.json", ".faiss"


def _are_ends(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(NUMBER.holds, value))


_FIELDS = {
    "structure": TABLE,
    "dial": TABLE,
    "k": COUNT,
    "recall": NUMBER,
    "recall_interval": Kind("two numbers", _are_ends),
    "recall_wanted": NUMBER,
    "n_queries": COUNT,
    "n_measured": COUNT,
    "vectors_sha256": TEXT,
    "shards": TEXTS,
    "index_sha256": TEXT,
}
_STRUCTURE = {"kind": TEXT, "n_lists": COUNT, "n_links": COUNT, "n_bytes": COUNT}
_DIAL = {"n_probes": COUNT, "ef_search": COUNT, "n_candidates": COUNT}


@dataclasses.dataclass(frozen=True)
class IndexNote:
    """What is known of an index.

    Parameters
    ----------
    structure : Structure
        What was fixed when it was built.
    dial : Dial
        What reached the recall.
    k : int
        Answers a query that the recall is about.
    recall : float
        Measured share of the k nearest that are found, in [0, 1].
    recall_interval : tuple of float
        95% interval of it.
    recall_wanted : float
        What was asked for.
    n_queries : int
        Held-out images that it was measured on.
    n_measured : int
        Rows of the store at that time.
    seed : int
        Of the sample and the k-means.
    vectors_sha256 : str
        Identity of the vectors in the index.
    shards : tuple of str
        SHA-256 of the vectors of each of their shards.
    index_sha256 : str
        SHA-256 of the file of faiss.
    """

    structure: Structure
    dial: Dial
    k: int
    recall: float
    recall_interval: tuple[float, float]
    recall_wanted: float
    n_queries: int
    n_measured: int
    seed: int
    vectors_sha256: str = ""
    shards: tuple[str, ...] = ()
    index_sha256: str = ""

    @property
    def kind(self) -> str:
        """Kind of the index."""
        return self.structure.kind

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping, with the kind first."""
        return {"kind": self.kind, **dataclasses.asdict(self)}


def read_note(folder: Path) -> IndexNote | None:
    """Return what is known of the index in a folder, or None if there is none to trust.

    Raises
    ------
    UnreadableError
        If it cannot be read just now.
    """
    path = folder / NOTE_NAME
    try:
        with reading(path):
            fields = read_json(path, dict)
        fields.pop("kind")
        check_fields(fields, _FIELDS, needed=("structure", "dial"))
        check_fields(fields["structure"], _STRUCTURE, needed=("kind",))
        check_fields(fields["dial"], _DIAL, needed=tuple(_DIAL))
        fields |= {
            "structure": Structure(**fields["structure"]),
            "dial": Dial(**fields["dial"]),
            "recall_interval": tuple(fields["recall_interval"]),
            "shards": tuple(fields["shards"]),
        }
        return IndexNote(**fields)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def find_index(folder: Path, note: IndexNote) -> Path:
    """Return the file of the index that a note is about."""
    return find_data(folder / NOTE_NAME, note.index_sha256, _SUFFIX)


def read_index(folder: Path, note: IndexNote) -> faiss.IndexIDMap | None:
    """Read the index that a note is about, or None if its bytes are others.

    The bytes are compared with the note's, because faiss would follow the links of a damaged graph
    out of its memory.

    Raises
    ------
    UnreadableError
        If it cannot be read just now.
    """
    import faiss

    path = find_index(folder, note)
    try:
        with reading(path):
            digest = hash_file(path)
        if digest != note.index_sha256:
            return None
        index: Any = faiss.read_index(str(path))
    except (OSError, RuntimeError):
        return None
    return index if isinstance(index, faiss.IndexIDMap) else None


def write_index(index: faiss.IndexIDMap, note: IndexNote, store: EmbeddingStore) -> IndexNote:
    """Keep an index with its note in a store, and return the note completed.

    Raises
    ------
    StoreError
        If the folder cannot be written; the index that was there is whole.
    """
    import faiss

    completed = complete_note(note, store)

    def fill(path: Path) -> None:
        try:
            faiss.write_index(index, str(path))
        except RuntimeError as error:  # how faiss says that the disk is full
            raise OSError(str(error)) from error

    def describe(digests: Sequence[str]) -> str:
        nonlocal completed
        completed = dataclasses.replace(completed, index_sha256=digests[0])
        return json.dumps(completed.to_dict(), indent=2) + "\n"

    write_card(store.folder / NOTE_NAME, [(_SUFFIX, fill)], describe)
    return completed


def complete_note(note: IndexNote, store: EmbeddingStore) -> IndexNote:
    """Return a note that says which vectors are in the index: all of the store."""
    shards = tuple(shard.vectors_sha256 for shard in store.manifest.present_shards)
    return dataclasses.replace(note, vectors_sha256=store.manifest.vectors_sha256, shards=shards)


def forget_gone(folder: Path) -> None:
    """Remove the vectors of an index whose store was compacted; its note says how to build it.

    Raises
    ------
    StoreError
        If the folder cannot be written.
    """
    note = read_note(folder)
    if note is None:
        remove_index(folder)
        return
    with explaining_refusal(folder):
        find_index(folder, note).unlink(missing_ok=True)


def remove_index(folder: Path) -> None:
    """Forget the index of a store; search is exact again.

    Raises
    ------
    StoreError
        If the folder cannot be written.
    """
    card = folder / NOTE_NAME
    with explaining_refusal(card):
        # The note first: without it the index is never read.
        card.unlink(missing_ok=True)
        card.with_suffix(_SUFFIX).unlink(missing_ok=True)
    sweep_data(card)
