"""Load timm backbones: the pooled output before the classifier, image-only."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from bioprobe.encoders.catalog import ModelSource
from bioprobe.encoders.families.compiler import imported_when_used
from bioprobe.encoders.families.fast_transform import build_transform
from bioprobe.encoders.families.precision import runs_in_torch
from bioprobe.encoders.families.runtime import Runtime
from bioprobe.encoders.families.torch_encoder import (
    LOAD_ERRORS,
    ImageTower,
    TorchEncoder,
    describe_failure,
    identify,
    measure_dim,
    refuse_code,
)
from bioprobe.encoders.hub import TIMM, get_snapshot, read_settings
from bioprobe.errors import ModelUnavailableError

with imported_when_used():
    import timm


@runs_in_torch
def load_timm(source: ModelSource, runtime: Runtime) -> TorchEncoder:
    """Load a backbone through timm, with the data configuration it resolves itself.

    Parameters
    ----------
    source : ModelSource
        Of kind ``hub``, ``folder`` or ``tag``.
    runtime : Runtime
        Device, precision and batch size.

    Raises
    ------
    ModelUnavailableError
        If timm has no such model, or the weights are not here and cannot be fetched.
    """
    if source.kind == "tag":
        source = _name_tag(source)
    snapshot = get_snapshot(_find_repository(source), TIMM)
    refuse_code(snapshot.weights)
    try:
        model = timm.create_model(f"local-dir:{snapshot.folder}", pretrained=True, num_classes=0)
    except LOAD_ERRORS as error:
        said = describe_failure(error)
        msg = f'model "{source.name}": timm cannot load {snapshot.folder}: {said}'
        raise ModelUnavailableError(msg) from error
    runtime.place(model)
    data_config = timm.data.resolve_model_data_config(model)
    chain = timm.data.create_transform(**data_config, is_training=False)
    transform, draft_side_px = build_transform(chain, runtime.decoding)
    image_tower = ImageTower(
        transform=transform,
        embed=_embed,
        dim=measure_dim(model, transform, _embed, runtime),
        draft_side_px=draft_side_px,
    )
    return TorchEncoder(
        name=source.name,
        module=model,
        image_tower=image_tower,
        text_tower=None,
        logit_scale=1.0,
        fingerprint=identify(
            source,
            snapshot,
            _describe(data_config, model),
            image_tower,
            runtime,
            settings=read_settings(snapshot.folder, [TIMM.config]),
        ),
        runtime=runtime,
    )


def _embed(model: Any, pixels: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 -- any timm class
    embeddings: torch.Tensor = model(pixels)
    return embeddings


def find_repository(source: ModelSource) -> ModelSource:
    """Return the hub repository behind a name that timm knows; other sources as they are.

    Parameters
    ----------
    source : ModelSource
        Of backend ``timm``.

    Returns
    -------
    ModelSource
        Of kind ``hub`` or ``folder``.

    Raises
    ------
    ModelUnavailableError
        If timm knows no such pretrained model.
    """
    return _find_repository(_name_tag(source) if source.kind == "tag" else source)


def _name_tag(source: ModelSource) -> ModelSource:
    # The default weights of an architecture change between versions of timm: name them.
    try:
        config = timm.get_pretrained_cfg(source.target)
    except RuntimeError:
        # timm raises for a wrong tag, and returns None for a wrong architecture.
        config = None
    if config is None or not config.hf_hub_id:
        close = timm.list_pretrained(f"{source.target.partition('.')[0]}*")[:5]
        hint = f"it has {', '.join(close)}" if close else "see timm.list_pretrained()"
        msg = f'model "{source.name}": timm has no such pretrained model; {hint}'
        raise ModelUnavailableError(msg)
    target = f"{config.architecture}.{config.tag}" if config.tag else config.architecture
    return dataclasses.replace(source, name=f"timm:{target}", target=target)


def _find_repository(source: ModelSource) -> ModelSource:
    if source.kind != "tag":
        return source
    repository = timm.get_pretrained_cfg(source.target).hf_hub_id
    return dataclasses.replace(source, kind="hub", target=repository)


def _describe(data_config: dict[str, Any], model: Any) -> dict[str, Any]:  # noqa: ANN401 -- any timm class
    return {
        "library": "timm",
        **{key: list(v) if isinstance(v, tuple) else v for key, v in data_config.items()},
        # Not a step before the tensor, but the same weights pooled otherwise give other vectors.
        "global_pool": str(getattr(model, "global_pool", "")),
    }
