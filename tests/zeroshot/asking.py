"""Questions in one step, as tests ask them."""

from __future__ import annotations

from bioprobe.prompts import PromptSet
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.decisions import Decisions
from bioprobe.task.predictions import Predictions
from bioprobe.task.text_pooling import Pool
from bioprobe.taxonomy import Rank
from bioprobe.types import EncodeText
from bioprobe.zeroshot.question import answer_at_rank, answer_deepest
from bioprobe.zeroshot.text_head import HeadClasses, TextHead, ask_rows
from bioprobe.zeroshot.zeroshot import ask_prompts


def zeroshot_rolled_up(
    asked: EmbeddingStore | View, prompts: PromptSet, encode_text: EncodeText, *, rank: Rank,
    k: int = 5,
) -> Predictions:  # fmt: skip
    view = View.of(asked)
    return answer_at_rank(view, ask_prompts(view, prompts, encode_text, rank=rank), k)


def back_off(
    asked: EmbeddingStore | View, prompts: PromptSet, encode_text: EncodeText, *,
    threshold: float, rank: Rank = Rank.SPECIES,
) -> Decisions:  # fmt: skip
    view = View.of(asked)
    return answer_deepest(view, ask_prompts(view, prompts, encode_text, rank=rank), threshold)


def zeroshot_by_head(
    asked: EmbeddingStore | View, head: TextHead, classes: HeadClasses, *, rank: Rank,
    k: int = 5, pool: Pool = Pool.SUM,
) -> Predictions:  # fmt: skip
    view = View.of(asked)
    return answer_at_rank(view, ask_rows(view, head, classes, rank=rank, pool=pool), k)
