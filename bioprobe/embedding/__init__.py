"""The run that fills a store: list, read, encode, append."""

from bioprobe.embedding.embedder import embed_images
from bioprobe.embedding.encoder_choice import (
    EncoderChoice,
    OnDemandEncoder,
    choose_encoder,
    load_encoder_for,
    names_encoder_of,
    open_on_demand,
)
from bioprobe.embedding.shard_buffer import EmbedSummary, Outcome
from bioprobe.embedding.sharing import embed_share

__all__ = [
    "EmbedSummary",
    "EncoderChoice",
    "OnDemandEncoder",
    "Outcome",
    "choose_encoder",
    "embed_images",
    "embed_share",
    "load_encoder_for",
    "names_encoder_of",
    "open_on_demand",
]
