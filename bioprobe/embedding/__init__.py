"""The run that fills a store: list, read, encode, append."""

from bioprobe.embedding.embedder import embed_images
from bioprobe.embedding.encoder_choice import load_encoder_for
from bioprobe.embedding.on_demand import OnDemandEncoder, open_on_demand
from bioprobe.embedding.summary import EmbedSummary, Outcome

__all__ = [
    "EmbedSummary",
    "OnDemandEncoder",
    "Outcome",
    "embed_images",
    "load_encoder_for",
    "open_on_demand",
]
