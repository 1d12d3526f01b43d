"""Short names of models, and what is known of each."""

from __future__ import annotations

import dataclasses
from typing import Literal

DEFAULT_MODEL = "bioclip-2"

Backend = Literal["open_clip", "transformers", "timm", "onnx"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What is known of a model that has a short name.

    Parameters
    ----------
    short_name : str
        Name given to ``--model``.
    source : str
        Full name that the short name stands for.
    n_parameters : int or None
        Parameters of both towers; None where nobody counted them.
    size_bytes : int or None
        Size of the weights in the hub or the package, rounded as the hub shows it.
    licence : str
        Licence of the weights, ``unknown`` where we could not read it.
    dim : int or None
        Length of a vector.
    image_size_px : int or None
        Side of the square the image tower sees.
    has_text_tower : bool
        Whether it embeds texts too.
    training_data : str
        One remark on what it has seen: it decides which benchmark numbers are honest.
    """

    short_name: str
    source: str
    n_parameters: int | None
    size_bytes: int | None
    licence: str
    dim: int | None
    image_size_px: int | None
    has_text_tower: bool
    training_data: str

    @property
    def backend(self) -> Backend:
        """Library that runs the model."""
        return "transformers" if self.source.startswith("transformers:") else "open_clip"


# Sources of the figures: the model cards and file lists on the hub (licence, size), and the
# architectures themselves counted in open_clip 3.3 and transformers 5 (parameters, dim, size).
_CARDS = (
    ModelCard(
        short_name="bioclip-2",
        source="hf-hub:imageomics/bioclip-2",
        n_parameters=427_616_513,
        size_bytes=1_710_000_000,
        licence="MIT",
        dim=768,
        image_size_px=224,
        has_text_tower=True,
        training_data=(
            "TreeOfLife-200M, 952,000 taxa; the Rare Species benchmark was NOT held out"
        ),
    ),
    ModelCard(
        short_name="bioclip-2.5",
        source="hf-hub:imageomics/bioclip-2.5-vith14",
        n_parameters=986_109_441,
        size_bytes=3_940_000_000,
        licence="MIT",
        dim=1024,
        image_size_px=224,
        has_text_tower=True,
        training_data=(
            "TreeOfLife-200M and 19 million more images; the Rare Species benchmark is not known "
            "to have been held out"
        ),
    ),
    ModelCard(
        short_name="bioclip",
        source="hf-hub:imageomics/bioclip",
        n_parameters=149_620_737,
        size_bytes=599_000_000,
        licence="MIT",
        dim=512,
        image_size_px=224,
        has_text_tower=True,
        training_data="TreeOfLife-10M, 454,000 taxa; the Rare Species benchmark was held out",
    ),
    ModelCard(
        short_name="clip-b16",
        source="hf-hub:timm/vit_base_patch16_clip_224.openai",
        n_parameters=149_620_737,
        size_bytes=599_000_000,
        licence="MIT",
        dim=512,
        image_size_px=224,
        has_text_tower=True,
        training_data="400 million image-text pairs of the web, not published",
    ),
    ModelCard(
        short_name="clip-b32",
        source="hf-hub:timm/vit_base_patch32_clip_224.openai",
        n_parameters=151_277_313,
        size_bytes=605_000_000,
        licence="MIT",
        dim=512,
        image_size_px=224,
        has_text_tower=True,
        training_data="400 million image-text pairs of the web, not published",
    ),
    ModelCard(
        short_name="siglip2-b16",
        source="hf-hub:timm/ViT-B-16-SigLIP2",
        n_parameters=375_187_970,
        size_bytes=1_500_000_000,
        licence="Apache-2.0",
        dim=768,
        image_size_px=224,
        has_text_tower=True,
        training_data="WebLI, image-text pairs of the web in many languages, not published",
    ),
    ModelCard(
        short_name="dinov2-b",
        source="transformers:facebook/dinov2-base",
        n_parameters=86_580_480,
        size_bytes=346_000_000,
        licence="Apache-2.0",
        dim=768,
        image_size_px=224,
        has_text_tower=False,
        training_data="LVD-142M, images of the web without labels, not published",
    ),
    ModelCard(
        short_name="sketch",
        source="sketch",
        n_parameters=None,
        size_bytes=None,
        licence="MIT",
        dim=None,
        image_size_px=None,
        has_text_tower=True,
        training_data="drawings made by bioprobe: for learning the tool, not for photographs",
    ),
)


def list_cards() -> tuple[ModelCard, ...]:
    """Return the models that have a short name, the default first."""
    return _CARDS


def find_card(name: str) -> ModelCard | None:
    """Return what is known of a short name, or None for any other name.

    Examples
    --------
    >>> find_card("bioclip-2").dim
    768
    """
    short_name = name.partition("@")[0]
    return next((card for card in _CARDS if card.short_name == short_name), None)
