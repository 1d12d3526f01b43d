"""How a family reads texts: tokens, which of them its embedding depends on, and batches of these.

A text is padded to the context length that the model was trained with, mostly to several times its
own. Where nothing depends on the padding it is cut off: texts of like lengths form a batch, which
is as long as its longest, rounded up.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: A model's integer inputs by name, each of shape (n_texts, n_tokens).
Tokens: TypeAlias = Mapping[str, torch.Tensor]

# A backend is prepared for each length, so that there are few: of 1,000 taxa's names five.
_STEP = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextTower:
    """How one family turns texts into embeddings.

    Parameters
    ----------
    tokenise : callable
        From texts to the model's integer inputs, padded to the context length.
    embed : callable
        From those inputs to embeddings (n_texts, dim); where ``count_needed`` is given, also from
        inputs that are cut off after what it counts.
    count_tokens : callable
        Number of tokens of one text, special tokens included, before any cut.
    looks_full : callable
        From the inputs to a boolean tensor (n_texts,): True where a text may have been cut.
    context_length : int
        Most tokens the model reads.
    count_needed : callable or None
        From the inputs to the number of first tokens that the embedding of each text depends on,
        int64 (n_texts,); None where it depends on all, padding included.
    """

    tokenise: Callable[[Sequence[str]], Tokens]
    embed: Callable[[Tokens], torch.Tensor]
    count_tokens: Callable[[str], int]
    looks_full: Callable[[Tokens], torch.Tensor]
    context_length: int
    count_needed: Callable[[Tokens], torch.Tensor] | None = None

    def make_batches(
        self, tokens: Tokens, batch_size: int
    ) -> Iterator[tuple[torch.Tensor, Tokens]]:
        """Share texts among batches of like lengths, cut to what is needed of them.

        Parameters
        ----------
        tokens : mapping of str to Tensor, shape (n_texts, context_length)
            As :attr:`tokenise` gave them.
        batch_size : int
            Texts of each batch but the last.

        Yields
        ------
        rows : Tensor of int64
            Which texts.
        part : dict of str to Tensor, shape (n_rows, n_tokens)
            Their inputs.
        """
        if self.count_needed is None:
            first = next(iter(tokens.values()))
            needed = torch.full(first.shape[:1], first.shape[1])
        else:
            needed = self.count_needed(tokens)
        order = torch.argsort(needed, stable=True)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            n_tokens = math.ceil(int(needed[rows[-1]]) / _STEP) * _STEP
            yield rows, {key: values[rows, :n_tokens] for key, values in tokens.items()}


def find_highest(ids: torch.Tensor) -> torch.Tensor:
    """Return the place of the first of the highest tokens of each text, int64 (n_texts,).

    It is where CLIP's text ends: no other token is as high as the one that ends a text.
    """
    return ids.argmax(dim=1)


def find_first(ids: torch.Tensor, token_id: int) -> torch.Tensor:
    """Return the place of the first token of this kind, 0 where there is none, int64 (n_texts,)."""
    return (ids == token_id).int().argmax(dim=1)


def count_to_padding(ids: torch.Tensor, token_id: int) -> torch.Tensor:
    """Return the number of tokens up to the last that is no padding, int64 (n_texts,).

    Examples
    --------
    >>> count_to_padding(torch.tensor([[5, 0, 6, 0], [0, 5, 6, 7]]), 0).tolist()
    [3, 4]
    """
    return ids.shape[1] - (ids != token_id).flip(1).int().argmax(dim=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Padding:
    """How a tokenizer fills short rows, which tells the rows that cannot have been cut.

    Parameters
    ----------
    token_id : int or None
        Token that fills the rest of a row.
    n_visible : int
        Padding tokens that prove the rest is padding: 2 where the same token ends a text.
    is_left : bool
        Whether the padding stands before the text.
    """

    token_id: int | None
    n_visible: int = 1
    is_left: bool = False

    def find_full_rows(self, ids: torch.Tensor) -> torch.Tensor:
        """Return a boolean tensor (n_texts,): True where no padding is seen.

        Examples
        --------
        >>> Padding(token_id=0).find_full_rows(torch.tensor([[5, 6, 0], [5, 6, 7]])).tolist()
        [False, True]
        """
        if self.token_id is None:
            return torch.ones(len(ids), dtype=torch.bool)
        edge = ids[:, : self.n_visible] if self.is_left else ids[:, -self.n_visible :]
        return (edge != self.token_id).any(dim=1)


def find_padding(tokenizer: PreTrainedTokenizerBase) -> Padding:
    """Return the padding of a tokenizer of transformers."""
    ends = {tokenizer.eos_token_id, tokenizer.sep_token_id}
    return Padding(
        token_id=tokenizer.pad_token_id,
        n_visible=2 if tokenizer.pad_token_id in ends else 1,
        is_left=tokenizer.padding_side == "left",
    )
