"""What others published on these data sets, to stand beside ours."""

from __future__ import annotations

import dataclasses

# Pictures of each set of IDLE-OO Camera Traps; each species of a set has equally many.
SET_SIZES = {
    "desert-lion": 352,
    "ENA24": 1120,
    "island": 310,
    "ohio-small-animals": 468,
    "orinoquia": 336,
}


@dataclasses.dataclass(frozen=True)
class MeanResult:
    """Top-1 accuracy over the species of each set by text alone, the mean of the five sets."""

    model: str
    accuracy: float


# Gu et al. 2025 (BioCLIP 2): lineage with common name, the 80 templates of OpenAI. What each set
# gave is not published there. The pictures are of LILA BC, which CLIP's data are not known to hold.
MEAN_RESULTS = (
    MeanResult("hf-hub:timm/vit_large_patch14_clip_224.openai", 0.295),
    MeanResult("bioclip", 0.317),
    MeanResult("bioclip-2", 0.539),
)
