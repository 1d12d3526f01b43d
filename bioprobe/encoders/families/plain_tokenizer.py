"""Tokenizers that need no transformers, which takes long to import: ``tokenizers`` reads them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import tokenizers
import torch

from bioprobe.access import is_file
from bioprobe.encoders.families.text_tower import Padding
from bioprobe.encoders.hub import list_tokenizer_files
from bioprobe.files import read_json

_VOCABULARY, _SETTINGS = "tokenizer.json", "tokenizer_config.json"
# Classes that add nothing to the vocabulary's file, by the names of versions 4 and 5.
_CLASSES = {"PreTrainedTokenizerFast", "TokenizersBackend"}
_SPECIAL = {f"{kind}_token" for kind in ("bos", "cls", "eos", "mask", "pad", "sep", "unk")}
# What else may be set: a class, and what has no effect where texts are cut to a given length.
_WITHOUT_EFFECT = {"tokenizer_class", "model_max_length", "clean_up_tokenization_spaces"}
# In larger ones transformers looks for a known mistake, and mends it.
_MOST_WORDS = 100_000


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PlainTokenizer:
    """A tokenizer whose ids are those that transformers gives by the same files.

    Parameters
    ----------
    whole : tokenizers.Tokenizer
        Neither cuts nor pads.
    cutting : tokenizers.Tokenizer
        The same, which gives rows of the context's length.
    clean : callable
        What is done to a text before.
    context_length : int
        Tokens of each row, special tokens included: longer texts are cut.
    padding : Padding
        What fills the rows.
    """

    whole: tokenizers.Tokenizer
    cutting: tokenizers.Tokenizer
    clean: Callable[[str], str]
    context_length: int
    padding: Padding

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """Return the ids of texts, int64 (n_texts, context_length)."""
        read = self.cutting.encode_batch([self.clean(text) for text in texts])
        ids = torch.tensor([one.ids for one in read], dtype=torch.int64)
        return ids.reshape(len(read), self.context_length)

    def count(self, text: str) -> int:
        """Return the number of tokens of a text, special tokens included, before any cut."""
        return len(self.whole.encode(self.clean(text)).ids)


def read_plain_tokenizer(
    folder: Path, *, context_length: int, clean: Callable[[str], str]
) -> PlainTokenizer | None:
    """Read a tokenizer of a model's folder, where nothing but ``tokenizer.json`` tells the ids.

    Parameters
    ----------
    folder : Path
        Holds ``tokenizer.json`` and ``tokenizer_config.json``.
    context_length : int
        Tokens of each row.
    clean : callable
        What is done to a text before.

    Returns
    -------
    PlainTokenizer or None
        None where transformers might do anything else: other files, a class with rules of its
        own, settings that are not known here, special tokens that it would add or change, cutting
        or padding that the file asks for; or where the file cannot be read, of which it tells.
    """
    names = {path.name for path in list_tokenizer_files(folder)}
    # A model's own configuration may name another class.
    if names != {_VOCABULARY, _SETTINGS} or is_file(folder / "config.json"):
        return None
    settings = read_json(folder / _SETTINGS, dict)
    special = {kind: token for kind, token in settings.items() if kind in _SPECIAL}
    if (
        settings.get("tokenizer_class") not in _CLASSES
        or not settings.keys() <= _SPECIAL | _WITHOUT_EFFECT
        or not all(isinstance(token, str) for token in special.values())
    ):
        return None
    try:
        whole = tokenizers.Tokenizer.from_file(str(folder / _VOCABULARY))
    except Exception:  # noqa: BLE001 - the library raises this very class
        return None
    ids = _find_ids(whole, special)
    if (
        "pad_token" not in ids
        or len(ids) < len(special)
        or whole.post_processor is None
        or whole.truncation is not None
        or whole.padding is not None
        or whole.get_vocab_size() > _MOST_WORDS
    ):
        return None
    cutting, pad_id = tokenizers.Tokenizer.from_str(whole.to_str()), ids["pad_token"]
    cutting.enable_truncation(context_length)
    cutting.enable_padding(length=context_length, pad_id=pad_id, pad_token=special["pad_token"])
    is_end = pad_id in {ids.get("eos_token"), ids.get("sep_token")}
    return PlainTokenizer(
        whole=whole, cutting=cutting, clean=clean, context_length=context_length,
        padding=Padding(token_id=pad_id, n_visible=2 if is_end else 1),
    )  # fmt: skip


def _find_ids(tokenizer: tokenizers.Tokenizer, special: dict[str, str]) -> dict[str, int]:
    """Return the ids of those special tokens that are as transformers has them."""
    known = {
        token.content: place
        for place, token in tokenizer.get_added_tokens_decoder().items()
        if token.special
        and not (token.normalized or token.lstrip or token.rstrip or token.single_word)
    }
    return {kind: known[token] for kind, token in special.items() if token in known}
