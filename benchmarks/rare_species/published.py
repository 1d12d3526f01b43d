"""Figures that others published on the Rare Species images, to stand beside ours."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class FamilyResult:
    """What a network, trained on the pictures, reached at family on held-out pictures."""

    model: str
    accuracy: float
    macro_f1: float
    auroc: float | None
    test_images: str


# Frozen backbone with a dense head over 202 families; students' projects, 80/10/10 split unless
# the last column says otherwise.
FAMILY_RESULTS = (
    FamilyResult("small CNN from scratch", 0.236, 0.135, 0.864, "1,199"),
    FamilyResult("VGG19", 0.612, 0.576, 0.946, "1,199"),
    FamilyResult("ResNet152V2", 0.621, 0.566, 0.949, "1,199"),
    FamilyResult("EfficientNetV2B0", 0.749, 0.716, 0.974, "1,199"),
    FamilyResult("ConvNeXtBase", 0.848, 0.827, 0.983, "1,199"),
    FamilyResult("ConvNeXtBase, another team", 0.817, 0.802, None, "15%"),
)
# What a tool that embeds once has to pass: accuracy, macro-F1 and top-5 on the unfiltered test.
ACCURACY_TO_BEAT, MACRO_F1_TO_BEAT, TOP5_TO_BEAT = 0.848, 0.829, 0.942


@dataclasses.dataclass(frozen=True)
class ZeroShotResult:
    """Top-1 accuracy over the 400 species by text alone.

    Parameters
    ----------
    model : str
        Short name of the encoder.
    text_type : str
        Text type of the published figure.
    accuracy : float
        As published.
    saw_species : bool
        Whether these species were in the encoder's training data.
    """

    model: str
    text_type: str
    accuracy: float
    saw_species: bool


# Stevens et al. 2024 (BioCLIP) held the species out; Gu et al. 2025 (BioCLIP 2) did not. CLIP's
# data are not public: pictures of these species are surely among them.
ZERO_SHOT_RESULTS = (
    ZeroShotResult("clip-b16", "com", 0.318, saw_species=True),
    ZeroShotResult("bioclip", "taxon_com", 0.381, saw_species=False),
    ZeroShotResult("bioclip-2", "taxon_com", 0.768, saw_species=True),
)
