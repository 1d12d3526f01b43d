"""Text embeddings kept in the store, so that a question asked twice needs no model."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from bioprobe.access import list_names, reading
from bioprobe.encoders.encoder import Encoder, Fingerprint
from bioprobe.errors import (
    LongTextError,
    MismatchError,
    ModelUnavailableError,
    StoreError,
    UnreadableError,
)
from bioprobe.files import read_json, replacing, save_array, write_text
from bioprobe.progress import Progress, Step
from bioprobe.prompts import embed_means
from bioprobe.store.embedding_store import EmbeddingStore
from bioprobe.store.gone import Changes, Gone, write_pattern
from bioprobe.types import Vectors

_TEXTS_OF = "text_sha256"
# Texts that are encoded and kept at once: so many are lost at most when a run is killed.
_TEXTS_AT_ONCE = 2048
# Texts, at least, after which it is told how many are done.
_TEXTS_TOLD = 64


class TextCache:
    """Encode texts with the encoder of a store, each text once in the store's life.

    The cache lies in ``text/`` of the store, in a folder named by the encoder's key. Each block of
    new texts adds a pair of files, so that a killed run goes on where it was; a pair that is
    damaged, that cannot be read just now, or that an interrupted run left incomplete, is ignored
    and its texts are encoded again. In a store that cannot be written, as on a read-only or full
    disk, texts are kept as long as this object lives: a question is answered without the cache,
    only not as fast the next time.

    Parameters
    ----------
    store : EmbeddingStore
        Store whose vectors the texts will meet.
    load : callable
        Loads the encoder; called at most once, and only when a text is new.
    progress : callable, optional
        Told of new texts where they are many.

    Raises
    ------
    MismatchError
        At the first new text, if the encoder is not that of the store, or reads texts otherwise
        than the one whose texts are kept.
    """

    def __init__(
        self,
        store: EmbeddingStore,
        load: Callable[[], Encoder],
        progress: Progress | None = None,
    ) -> None:
        self._progress = progress
        self._store = store
        self._load = load
        self._encoder: Encoder | None = None
        self._folder = store.folder / "text" / store.manifest.encoder.key[:16]
        self._known: dict[str, Vectors] = {}
        self._unread: list[UnreadableError] = []
        try:
            names = list_names(self._folder)
        except UnreadableError as error:
            self._unread.append(error)
            names = []
        for name in names:
            if name.endswith(".json"):
                self._read(self._folder / name)

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        """Return the embeddings of texts.

        Returns
        -------
        ndarray of float32, shape (n_texts, dim), unit rows
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        errors: list[LongTextError] = []
        for start in range(0, len(new), _TEXTS_AT_ONCE):
            block = new[start : start + _TEXTS_AT_ONCE]
            done, vectors, failed = self._encode(block, start, len(new))
            self._keep(done, vectors)
            errors += failed
            self._tell(start + len(block), len(new))
        _refuse(errors)
        return self._stack(texts)

    def encode_means(self, texts: Sequence[Sequence[str]]) -> Vectors:
        """Return the mean embedding of each class's texts, made unit.

        Of a class with several texts the mean alone is kept: the 80 texts of each of a thousand
        taxa would be a hundred times as much to read at every question.

        Parameters
        ----------
        texts : sequence of sequence of str
            One text at least a class.

        Returns
        -------
        ndarray of float32, shape (n_classes, dim), unit rows

        Raises
        ------
        LongTextError
            If a text is longer than the encoder reads; it names all of them.

        See Also
        --------
        bioprobe.prompts.embed_means : the same, with nothing kept.
        """
        names = [_name_mean(of_class) for of_class in texts]
        pairs = zip(names, texts, strict=True)
        new = {name: of_class for name, of_class in pairs if name not in self._known}
        n_new, n_done = sum(map(len, new.values())), 0
        errors: list[LongTextError] = []
        for block in _split(new):
            distinct = list(dict.fromkeys(text for name in block for text in new[name]))
            done, vectors, failed = self._encode(distinct, n_done, n_new)
            errors += failed
            place = {text: row for row, text in enumerate(done)}
            whole = [name for name in block if all(text in place for text in new[name])]
            self._keep(whole, _average([new[name] for name in whole], place, vectors))
            n_done += sum(len(new[name]) for name in block)
            self._tell(n_done, n_new)
        _refuse(errors)
        return self._stack(names)

    def _stack(self, names: Sequence[str]) -> Vectors:
        if not names:
            return np.zeros((0, self._store.manifest.dim), dtype=np.float32)
        return np.stack([self._known[name] for name in names])

    def _encode(
        self, block: Sequence[str], n_before: int, n_new: int
    ) -> tuple[list[str], Vectors, list[LongTextError]]:
        """Encode new texts, and return why some are not; tell of all parts but the last.

        A part in which a text is too long is not encoded.

        Returns
        -------
        done : list of str
        vectors : ndarray of float32, shape (n_done, dim), unit rows
        errors : list of LongTextError
        """
        encoder = self._load_for_text()
        done: list[str] = []
        embeddings: list[Vectors] = []
        errors: list[LongTextError] = []
        # Whole passes of the encoder, so that vectors are those of one call.
        n_part = encoder.batch_size * -(-_TEXTS_TOLD // encoder.batch_size)
        if len(block) > n_part:
            # A pass costs what its longest text does; within a part the encoder sees to it.
            block = sorted(block, key=len)
        for start in range(0, len(block), n_part):
            part = block[start : start + n_part]
            if start:
                self._tell(n_before + start, n_new)
            try:
                embeddings.append(encoder.encode_text(part))
                done += part
            except LongTextError as error:
                errors.append(error)
        none = np.zeros((0, self._store.manifest.dim), dtype=np.float32)
        return done, np.concatenate(embeddings) if embeddings else none, errors

    def _keep(self, names: Sequence[str], vectors: Vectors) -> None:
        if names:
            self._write(names, vectors)
            self._known.update(zip(names, vectors, strict=True))

    def _tell(self, n_done: int, n_new: int) -> None:
        if self._progress is not None and n_new > min(_TEXTS_TOLD, _TEXTS_AT_ONCE):
            self._progress(Step(n_done, n_new, "texts"))

    @property
    def encoder(self) -> Encoder:
        """The encoder of the store's images, loaded at the first use."""
        encoder = self._load_once()
        self._store.check_encoder(encoder.fingerprint)
        return encoder

    def _load_for_text(self) -> Encoder:
        encoder = self._load_once()
        stored = self._store.manifest.encoder
        # How imported vectors were preprocessed nobody knows, but of the encoder that the user
        # named for them the texts are right.
        if stored.backend != "imported" or encoder.fingerprint.model != stored.model:
            self._store.check_encoder(encoder.fingerprint)
        self._check_texts(encoder.fingerprint)
        return encoder

    def _check_texts(self, encoder: Fingerprint) -> None:
        """Refuse to keep texts beside those of another tokenizer.

        The manifest may be older than the tokenizer's place in it, or than the tokenizer.
        """
        kept = self._folder / _TEXTS_OF
        with contextlib.suppress(OSError, UnicodeDecodeError):
            before = kept.read_text(encoding="utf-8").strip()
            if before and encoder.text_sha256 and before != encoder.text_sha256:
                msg = (
                    f"{self._folder} keeps texts of another tokenizer, or of other settings of "
                    f"texts, than {encoder.describe()} has now: they cannot be compared. Load the "
                    "model as it was, or remove that folder to have all texts encoded again"
                )
                raise MismatchError(msg)
            return
        if encoder.text_sha256:
            with contextlib.suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True)
                write_text(kept, encoder.text_sha256 + "\n")

    def _load_once(self) -> Encoder:
        if self._encoder is None:
            try:
                self._encoder = self._load()
            except ModelUnavailableError as error:
                if not self._unread:
                    raise
                msg = f"{error}. The texts that the store keeps might do: {self._unread[0]}"
                raise ModelUnavailableError(msg) from error
        return self._encoder

    def _read(self, names: Path) -> None:
        vectors = names.with_suffix(".npy")
        try:
            with reading(names):
                texts = read_json(names, list)
            with reading(vectors):
                embeddings = np.load(vectors)
        except UnreadableError as error:
            self._unread.append(error)
            return
        except (OSError, ValueError, EOFError):
            return
        if embeddings.shape == (len(texts), self._store.manifest.dim):
            self._known.update(zip(texts, embeddings, strict=True))

    def _write(self, texts: Sequence[str], embeddings: Vectors) -> None:
        name = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
        with contextlib.suppress(OSError, StoreError):
            self._store.make_folder(*self._folder.relative_to(self._store.folder).parts)
            with replacing(self._folder / f"{name}.npy") as temporary:
                save_array(temporary, embeddings)
            # Last: the list of texts is what makes the pair known.
            write_text(self._folder / f"{name}.json", json.dumps(list(texts)))


def _name_mean(texts: Sequence[str]) -> str:
    """Return the name under which the mean of texts is kept; one text's own embedding is its."""
    if len(texts) == 1:
        return texts[0]
    digest = hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()
    return f"mean of {len(texts)} texts {digest}"


def _average(texts: Sequence[Sequence[str]], place: Mapping[str, int], vectors: Vectors) -> Vectors:
    """Return the mean embedding of each class from those of its texts, by their places."""

    def look_up(asked: Sequence[str]) -> Vectors:
        return vectors[[place[text] for text in asked]]

    return embed_means(texts, look_up) if texts else vectors[:0]


def _split(classes: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """Cut classes into blocks of no more texts than are encoded and kept at once.

    Yields
    ------
    list of str
        Names, one at least.
    """
    block: list[str] = []
    n_texts = 0
    for name, texts in classes.items():
        if block and n_texts + len(texts) > _TEXTS_AT_ONCE:
            yield block
            block, n_texts = [], 0
        block.append(name)
        n_texts += len(texts)
    if block:
        yield block


def _refuse(errors: Sequence[LongTextError]) -> None:
    if errors:
        long = tuple(text for error in errors for text in error.texts)
        raise LongTextError(str(errors[0]), long)


def forget_gone(gone: Gone, labels: Sequence[str], changes: Changes) -> None:
    """Take out kept texts that name a picture that is gone, or a label that only such had."""
    for file in sorted((gone.folder / "text").glob("*/*.json")):
        vectors = file.with_suffix(".npy")
        try:
            texts, embeddings = read_json(file, list), np.load(vectors)
        except (OSError, ValueError, EOFError):
            continue
        whole = "\n".join(map(str, texts))
        folded = whole.casefold()
        names = [write_pattern(name) for name in gone.names if name in whole]
        names += [_write_word(label) for label in labels if label.casefold() in folded]
        stays = np.array([not any(one.search(text) for one in names) for text in texts], dtype=bool)
        if stays.all() or len(stays) != len(embeddings):
            continue
        changes.counts["texts"] += int((~stays).sum())
        rest = [text for text, kept in zip(texts, stays, strict=True) if kept]
        if rest:
            name = hashlib.sha256("\n".join(rest).encode()).hexdigest()[:16]
            # What is entered last takes its name first: the list makes the pair known.
            listed = changes.replace(file.with_name(f"{name}.json"))
            listed.write_text(json.dumps(rest), encoding="utf-8")
            save_array(changes.replace(file.with_name(f"{name}.npy")), embeddings[stays])
        for one in (file, vectors):
            changes.afterwards(functools.partial(one.unlink, missing_ok=True))


def _write_word(label: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(label)}(?!\w)", re.IGNORECASE)
