"""The run that fills a store: list, read, encode, append."""

from bioprobe.embedding.embedder import embed_images
from bioprobe.embedding.encoder_choice import OnDemandEncoder, load_encoder_for, open_on_demand
from bioprobe.embedding.shard_buffer import EmbedSummary, Outcome

__all__ = [
    "EmbedSummary",
    "OnDemandEncoder",
    "Outcome",
    "embed_images",
    "load_encoder_for",
    "open_on_demand",
]
