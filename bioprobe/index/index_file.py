"""An approximate index on disk: ``index.faiss``, and what is known of it in ``index.json``."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.files import hash_file, read_json, replacing, write_text
from bioprobe.index.kinds import Dial, Structure
from bioprobe.store import EmbeddingStore

if TYPE_CHECKING:
    import faiss

INDEX_NAME, NOTE_NAME = "index.faiss", "index.json"


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
        SHA-256 of ``index.faiss``.
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
    """Return what is known of the index in a folder, or None if there is none to trust."""
    try:
        fields = read_json(folder / NOTE_NAME, dict)
        fields.pop("kind")
        fields |= {
            "structure": Structure(**fields["structure"]),
            "dial": Dial(**fields["dial"]),
            "recall_interval": tuple(fields["recall_interval"]),
            "shards": tuple(fields["shards"]),
        }
        return IndexNote(**fields)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def read_index(folder: Path, note: IndexNote) -> faiss.IndexIDMap | None:
    """Read the index that a note is about, or None if its bytes are others.

    The bytes are compared with the note's, because faiss would follow the links of a damaged graph
    out of its memory.
    """
    import faiss

    path = folder / INDEX_NAME
    try:
        if hash_file(path) != note.index_sha256:
            return None
        index: Any = faiss.read_index(str(path))
    except (OSError, RuntimeError):
        return None
    return index if isinstance(index, faiss.IndexIDMap) else None


def write_index(index: faiss.IndexIDMap, note: IndexNote, store: EmbeddingStore) -> IndexNote:
    """Keep an index with its note in a store, and return the note completed.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    import faiss

    path = store.folder / INDEX_NAME
    with replacing(path) as temporary:
        try:
            faiss.write_index(index, str(temporary))
        except RuntimeError as error:  # how faiss says that the disk is full
            raise OSError(str(error)) from error
        digest = hash_file(temporary)
    completed = complete_note(dataclasses.replace(note, index_sha256=digest), store)
    # An interrupted run leaves an old note, whose digest is of other bytes.
    write_text(store.folder / NOTE_NAME, json.dumps(completed.to_dict(), indent=2) + "\n")
    return completed


def complete_note(note: IndexNote, store: EmbeddingStore) -> IndexNote:
    """Return a note that says which vectors are in the index: all of the store."""
    shards = tuple(shard.vectors_sha256 for shard in store.manifest.present_shards)
    return dataclasses.replace(note, vectors_sha256=store.manifest.vectors_sha256, shards=shards)


def remove_index(folder: Path) -> None:
    """Forget the index of a store; search is exact again.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    # The note first: without it the index is never read.
    for name in (NOTE_NAME, INDEX_NAME):
        with contextlib.suppress(FileNotFoundError):
            (folder / name).unlink()
