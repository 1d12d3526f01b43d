"""TreeOfLife text heads into a store and out of it."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bioprobe.access import is_file
from bioprobe.encoders.catalog import CARDS, is_same_model
from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import MismatchError, SourceError
from bioprobe.files import replacing, save_array, write_set
from bioprobe.result import Notes, Record
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Taxonomy
from bioprobe.types import Vectors
from bioprobe.zeroshot.head_files import iter_blocks, read_text_head
from bioprobe.zeroshot.head_recipe import write_names
from bioprobe.zeroshot.prototypes import MadeOf, Prototypes
from bioprobe.zeroshot.text_head import write_head

LOOKS_LIKE = "a .npy of one taxon a column with a .json of [[7 ranks], common name] beside it"


def _write_text_head(target: Path, taxa: Taxonomy, embeddings: Vectors) -> None:
    """Write class embeddings as a head that pybioclip can read.

    Parameters
    ----------
    target : Path
        A ``.npy``; the names go into a ``.json`` of the same name.
    taxa : Taxonomy
        One a row.
    embeddings : ndarray of float32, shape (n_classes, dim), unit rows

    References
    ----------
    pybioclip, ``create_classification_dict``: the binomial is made of the sixth and seventh name.
    """
    entries = [[write_names(taxon), taxon.common_name] for taxon in taxa]
    matrix = np.ascontiguousarray(embeddings.T, dtype=np.float32)
    write_set(
        target.with_suffix(".json"),
        [(target, lambda file: save_array(file, matrix))],
        lambda _: json.dumps(entries, ensure_ascii=False),
    )


def export_prototypes(target: Path, made: Prototypes, encoder_key: str) -> None:
    """Write image prototypes in the form of text heads, with what they were made of beside it.

    Parameters
    ----------
    target : Path
        A ``.npy`` of shape (dim, n_taxa); the names go into a ``.json``, counts, spread, the marks
        of the pictures and the encoder into a ``.pictures.npz``.
    made : Prototypes
    encoder_key : str
        Of the encoder of the vectors.

    Raises
    ------
    SourceError
        If the target has another ending.
    """
    check_ending(target)
    of = made.made_of
    with replacing(_name_pictures(target)) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream, encoder_key=np.array(encoder_key), marks=of.marks, n_images=of.n_images,
            n_groups=of.n_groups, mean_cosine=of.mean_cosine,
        )  # fmt: skip
    _write_text_head(target, made.taxa, made.vectors)


def _name_pictures(head: Path) -> Path:
    return head.with_suffix(".pictures.npz")


def _read_pictures(
    source: Path, n_taxa: int, store: EmbeddingStore, model: str
) -> tuple[MadeOf | None, bool]:
    """Read what a head was made of, and whether by the store's encoder on the user's word alone.

    Prototypes of imported vectors, whose weights nobody saw, are of the store's encoder by the name
    of the model. A head of texts is made of nothing.

    Raises
    ------
    SourceError
        If it is damaged, or of another head.
    MismatchError
        If it was made by another encoder than the store's.
    """
    path = _name_pictures(source)
    if not is_file(path):
        return None, False
    try:
        with np.load(path, allow_pickle=False) as read:
            key = str(read["encoder_key"])
            made_of = MadeOf(read["n_images"], read["n_groups"], read["mean_cosine"], read["marks"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        msg = f"{path} cannot be read ({error}); write it again: bioprobe taxa prototypes --to"
        raise SourceError(msg) from error
    if len(made_of.n_images) != n_taxa:
        msg = (
            f"{path} is of {len(made_of.n_images)} taxa, {source} has {n_taxa}; write both again: "
            "bioprobe taxa prototypes --to"
        )
        raise SourceError(msg)
    stored = store.manifest.encoder
    if key != stored.key and key not in _list_imported_keys(stored.model, model):
        msg = (
            f"{source} holds prototypes of another encoder than {store.folder}, whose vectors are "
            f"of {store.manifest.encoder.describe()}: they cannot be compared; make them of a "
            "store of that encoder"
        )
        raise MismatchError(msg)
    return made_of, key != stored.key


def _list_imported_keys(*models: str) -> set[str]:
    """Return the keys that imported vectors of some models have, under each name of these."""
    names = {
        name
        for model in models
        for card in CARDS
        if is_same_model(model, card.short_name)
        for name in (card.short_name, card.source)
    }
    return {Fingerprint(model=name, backend="imported").key for name in {*models, *names}}


@dataclasses.dataclass(frozen=True, repr=False)
class HeadSummary(Record):
    """What came of importing a text head.

    Parameters
    ----------
    store : Path
        Folder of the store.
    name : str
        Name of the head in it.
    n_imported : int
        Rows that were kept.
    n_left_out : int
        Rows of zeros or of numbers that are not finite.
    left_out : tuple of str
        Names of the first of these.
    notes : tuple of Note
        What is to be said of it.
    n_pictures : int
        Pictures that image prototypes were made of, 0 of texts.
    is_on_word : bool
        Whether prototypes are of imported vectors, and of the store's encoder on the user's word.
    """

    store: Path
    name: str
    n_imported: int
    n_left_out: int
    left_out: tuple[str, ...] = ()
    notes: Notes = ()
    n_pictures: int = 0
    is_on_word: bool = False


def import_text_head(
    source: Path, store: EmbeddingStore, *, model: str, name: str | None = None
) -> HeadSummary:
    """Add a TreeOfLife text head to a store, or image prototypes that were written in its form.

    Parameters
    ----------
    source : Path
        A ``.npy`` of shape (dim, n) with a ``.json`` of the same name.
    store : EmbeddingStore
        Store of the same encoder's image vectors.
    model : str
        Encoder of the head, on the word of the user.
    name : str, optional
        Name of the head in the store; by default the file's.

    Raises
    ------
    MismatchError
        If the model is not the store's encoder, or the dim is another; of prototypes, if they were
        made by another encoder, whatever it is called; of those of imported vectors the name is
        all that is known.
    SourceError
        If the files cannot be read as a head.
    StoreError
        If the store has a head of that name.

    References
    ----------
    pybioclip, ``TreeOfLifeClassifier``; the heads of the data sets imageomics/TreeOfLife-10M and
    TreeOfLife-200M (``embeddings/txt_emb_species.npy``).
    """
    if not is_same_model(model, store.manifest.encoder.model):
        msg = (
            f"{store.folder} holds vectors of {store.manifest.encoder.describe()}, got a text head "
            f"of {model}: they cannot be compared. If the head was made by the same weights, say "
            f"--model {store.manifest.encoder.model}"
        )
        raise MismatchError(msg)
    taxa, embeddings = read_text_head(source)
    if embeddings.shape[1] != store.manifest.dim:
        msg = (
            f"{source} has text embeddings of dim {embeddings.shape[1]}, {store.folder} has "
            f"vectors of dim {store.manifest.dim}; bring the head of the store's encoder"
        )
        raise MismatchError(msg)
    made_of, is_on_word = _read_pictures(source, len(taxa), store, model)
    head = write_head(
        store, name or source.stem, taxa, iter_blocks(source), source=str(source.absolute()),
        made_of=made_of,
    )  # fmt: skip
    return HeadSummary(
        store.folder, head.name, len(head), head.about["n_left_out"], tuple(head.about["left_out"]),
        n_pictures=0 if made_of is None else len(made_of.marks), is_on_word=is_on_word,
    )  # fmt: skip


def export_text_head(target: Path, taxa: Taxonomy, embeddings: npt.NDArray[np.float32]) -> None:
    """Write classes and their text embeddings as a TreeOfLife head.

    Parameters
    ----------
    target : Path
        A ``.npy``; the names go into a ``.json`` beside it.
    taxa : Taxonomy
        The classes.
    embeddings : ndarray of float32, shape (n_classes, dim), unit rows

    Raises
    ------
    SourceError
        If the target has another ending.
    """
    check_ending(target)
    _write_text_head(target, taxa, embeddings)


def check_ending(target: Path) -> None:
    """Refuse a file that is no ``.npy``, before anything is computed for it.

    Raises
    ------
    SourceError
        If the target has another ending.
    """
    if target.suffix != ".npy":
        msg = f"a text head is a .npy file, got {target}; name it so"
        raise SourceError(msg)
