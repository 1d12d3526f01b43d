"""Example pictures of an added taxon, kept in the store as vectors."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bioprobe.access import exists, is_file, is_folder, reading
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MismatchError, SourceError, StoreError
from bioprobe.files import explaining_refusal, parse_json, replacing
from bioprobe.images.addresses import refuse_address
from bioprobe.store import EmbeddingStore, TextCache
from bioprobe.store.added_taxa import read_added_taxa
from bioprobe.store.gone import Changes, Gone
from bioprobe.taxonomy import Taxon, Taxonomy
from bioprobe.types import Vectors

EXAMPLES_NAME = "taxa-examples.safetensors"


@dataclasses.dataclass(frozen=True)
class Examples:
    """What a few pictures say of a taxon.

    Parameters
    ----------
    taxon : Taxon
        Whose pictures they are.
    vectors : ndarray of float32, shape (n_examples, dim), unit rows
        Their vectors.
    sha256s : tuple of str
        SHA-256 of each file.
    weight_fraction : float
        Share of the pictures in the class embedding, in [0, 1]; the rest is the text's.
    offset : float
        Subtracted from the logit of the class.
    rule : str
        How the two were chosen, in words.
    """

    taxon: Taxon
    vectors: Vectors
    sha256s: tuple[str, ...]
    weight_fraction: float
    offset: float
    rule: str

    def __len__(self) -> int:
        return len(self.vectors)

    def blend(self, text: Vectors) -> Vectors:
        """Blend with a text, unit of shape (dim,): unit(w · unit(mean) + (1 − w) · text)."""
        weight = self.weight_fraction
        mixed = weight * find_centre(self.vectors) + (1 - weight) * text
        return np.asarray(normalise_rows(mixed[np.newaxis])[0])

    def is_of(self, taxon: Taxon) -> bool:
        """Tell whether they are of this taxon, in whatever detail it is written."""
        return is_same(self.taxon, taxon)


def is_same(one: Taxon, other: Taxon) -> bool:
    """Tell whether two taxa are one, in whatever detail each is written."""
    # Two of one name and rank merge exactly where no rank names them differently.
    alike = (one.name, one.depth) == (other.name, other.depth)
    return alike and len(Taxonomy.merge((one, other))) == 1


def find_centre(vectors: Vectors) -> Vectors:
    """Return the mean of unit vectors, made unit again, shape (dim,)."""
    return np.asarray(normalise_rows(vectors.mean(axis=0, keepdims=True))[0])


def embed_examples(
    store: EmbeddingStore, texts: TextCache, files: Sequence[Path]
) -> tuple[Vectors, tuple[str, ...]]:
    """Embed example pictures; those whose bytes are in the store are not decoded.

    Parameters
    ----------
    store : EmbeddingStore
        Looked through for the same bytes.
    texts : TextCache
        Gives the encoder where a picture is new.
    files : sequence of Path
        Image files, or folders of such; the same bytes count once.

    Returns
    -------
    vectors : ndarray of float32, shape (n_examples, dim), unit rows
    sha256s : tuple of str, length n_examples

    Raises
    ------
    SourceError
        If there is no such file, or no image in a folder.
    ImageReadError
        If one cannot be decoded.
    """
    from bioprobe.images.reading import hash_bytes
    from bioprobe.index.question import embed_query_image

    distinct = {hash_bytes(file.read_bytes()): file for file in _list(files)}
    rows = [embed_query_image(store, texts, file) for file in distinct.values()]
    return np.concatenate(rows), tuple(distinct)


def _list(files: Sequence[Path]) -> list[Path]:
    from bioprobe.sources.source import find_images

    for file in files:
        refuse_address(file)
    missing = [file for file in files if not exists(file)]
    if missing or not files:
        where = f"at {missing[0]}" if missing else "is given"
        msg = f"no example picture {where}; give image files, or a folder of them"
        raise SourceError(msg)
    listed: list[Path] = []
    for file in files:
        if is_folder(file):
            inside = find_images([file])
            for root, path, why in inside.unread:
                msg = f"{root}/{path} is no example picture: {why}"
                raise SourceError(msg)
            listed += [inside.find_file(row) for row in range(len(inside))]
        else:
            listed.append(file)
    return listed


def read_examples(store: EmbeddingStore) -> tuple[Examples, ...]:
    """Return the example pictures of the taxa that were added to a store.

    The list of added taxa says which count: those of a taxon that it lacks are what a killed
    ``taxa add`` or ``taxa remove`` left.

    Raises
    ------
    MismatchError
        If they are vectors of another encoder than the store's.
    StoreError
        If the file is damaged.
    """
    if not (store.folder / EXAMPLES_NAME).is_file():
        return ()
    added = read_added_taxa(store)
    return tuple(one for one in _read(store) if any(one.is_of(taxon) for taxon in added))


def _read(store: EmbeddingStore) -> tuple[Examples, ...]:
    path = store.folder / EXAMPLES_NAME
    if not is_file(path):
        return ()
    from safetensors import SafetensorError, safe_open

    with reading(path):
        # Its library does not say why it cannot read.
        path.read_bytes()
    try:
        with safe_open(path, framework="numpy") as file:
            said = file.metadata()
            about: list[dict[str, Any]] = parse_json(said["taxa"], list)
            vectors = [file.get_tensor(str(number)) for number in range(len(about))]
            key = said["encoder_key"]
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        msg = f"{path} cannot be read ({error}); remove it and add the taxa with --images again"
        raise StoreError(msg) from error
    if key != store.manifest.encoder.key:
        msg = (
            f"the example pictures in {path} were embedded by another encoder than "
            f"{store.manifest.encoder.describe()}; remove the taxa and add them again"
        )
        raise MismatchError(msg)
    return tuple(
        Examples(
            Taxon(tuple(one["lineage"])), rows, tuple(one["sha256s"]), one["weight_fraction"],
            one["offset"], one["rule"],
        )
        for one, rows in zip(about, vectors, strict=True)
    )  # fmt: skip


def keep_examples(store: EmbeddingStore, examples: Examples) -> None:
    """Keep example pictures in a store, in place of those of the same taxon.

    They count as soon as the taxon is in the list of added ones. Hold
    :meth:`EmbeddingStore.lock` meanwhile.

    Raises
    ------
    StoreError
        If the disk refuses.
    """
    others = (one for one in read_examples(store) if one.taxon.lineage != examples.taxon.lineage)
    _write(store, (*others, examples))


def forget_examples(store: EmbeddingStore, taxon: Taxon) -> None:
    """Remove the example pictures of a taxon, if it has some; hold the lock meanwhile.

    Raises
    ------
    StoreError
        If the disk refuses.
    """
    _keep(store, (one for one in read_examples(store) if one.taxon.lineage != taxon.lineage))


def forget_unlisted_examples(store: EmbeddingStore) -> None:
    """Remove the example pictures of taxa that are not in the list; hold the lock meanwhile.

    Raises
    ------
    StoreError
        If the disk refuses.
    """
    _keep(store, read_examples(store))


def forget_gone(store: EmbeddingStore, gone: Gone, changes: Changes) -> None:
    """Take example pictures that are gone out of a store; taxa stay, by text alone if need be."""
    known = _read(store)
    kept = []
    for one in known:
        goes = gone.find_vectors(one.vectors) | np.isin(one.sha256s, list(gone.hashes))
        changes.counts["examples"] += int(goes.sum())
        if goes.all():
            changes.said.append(f"{one.taxon.name} has no example picture any more; its text stays")
            continue
        hashes = tuple(digest for digest, gone in zip(one.sha256s, goes, strict=True) if not gone)
        kept.append(dataclasses.replace(one, vectors=one.vectors[~goes], sha256s=hashes))
    if sum(map(len, kept)) == sum(map(len, known)):
        return
    path = store.folder / EXAMPLES_NAME
    if kept:
        changes.replace(path).write_bytes(_dump(store, tuple(kept)))
    else:
        changes.afterwards(functools.partial(path.unlink, missing_ok=True))


def _keep(store: EmbeddingStore, examples: Iterable[Examples]) -> None:
    kept = tuple(examples)
    if len(kept) < len(_read(store)):
        _write(store, kept)


def _write(store: EmbeddingStore, examples: tuple[Examples, ...]) -> None:
    path = store.folder / EXAMPLES_NAME
    if not examples:
        with explaining_refusal(path):
            path.unlink(missing_ok=True)
        return
    with replacing(path) as temporary:
        temporary.write_bytes(_dump(store, examples))


def _dump(store: EmbeddingStore, examples: tuple[Examples, ...]) -> bytes:
    from safetensors.numpy import save

    about = [
        {
            "lineage": one.taxon.lineage,
            "sha256s": one.sha256s,
            "weight_fraction": one.weight_fraction,
            "offset": one.offset,
            "rule": one.rule,
        }
        for one in examples
    ]
    metadata = {"encoder_key": store.manifest.encoder.key, "taxa": json.dumps(about)}
    tensors = {str(n): np.ascontiguousarray(one.vectors) for n, one in enumerate(examples)}
    dumped: bytes = save(tensors, metadata=metadata)
    return dumped
