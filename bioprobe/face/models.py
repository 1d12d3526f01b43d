"""Encoders: which there are, what is known of one, whether it works here, and bringing it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bioprobe.options import Backend, Device, Option, Precision, question

if TYPE_CHECKING:
    from bioprobe.encoders.checking import EncoderCheck
    from bioprobe.encoders.downloading import Download, Models, ModelStatus

__all__ = ["check", "download", "info", "list"]

ModelName = Annotated[
    str,
    Option(
        "A short name, hf-hub:org/name[@revision], local-dir:path, arch/pretrained-tag, "
        "arch/checkpoint.pt, "
        "transformers:org/name-or-dir, timm:name or onnx:file.onnx.",
        ("-",),
        metavar="ID",
    ),
]


@question
def list() -> Models:
    """List the models that have a short name, and whether each is on this machine.

    Examples
    --------
    >>> import bioprobe as bp
    >>> "bioclip-2" in set(bp.models.list().to_frame()["name"])
    True
    """
    from bioprobe.encoders.downloading import Models, list_models

    models = Models(tuple(list_models()))
    return models.say(["More of one: bioprobe models info ID"])


@question
def info(model: ModelName) -> ModelStatus:
    """Tell what is known of one model, without loading it.

    Parameters
    ----------
    model : str
        Its name.

    Raises
    ------
    ModelUnavailableError
        If the name has no known form.
    """
    from bioprobe.encoders.downloading import describe_model
    from bioprobe.encoders.taught import read_training_of

    found = describe_model(model)
    training = None if found.folder is None else read_training_of(model)
    return found if training is None else found.say([training.describe()])


@question
def download(
    model: ModelName,
    *,
    to: Annotated[
        str | Path | None,
        Option("Folder to fill, to be copied to a machine without a network.", shell=Path),
    ] = None,
) -> Download:
    """Fetch a model from the hub, into the cache or into a folder.

    Parameters
    ----------
    model : str
        Its name.
    to : str or Path, optional
        Folder to fill.

    Raises
    ------
    ModelUnavailableError
        If the hub cannot be reached, or the model is a folder or file already.
    """
    from bioprobe.encoders.downloading import download_model

    found = download_model(model, to=None if to is None else Path(to))
    return found.say(
        [
            f"{found.size_bytes / 1e6:,.0f} MB of weights lie in {found.folder}",
            f"Use it with --model {found.name}",
        ]
    )


@question
def check(
    model: ModelName,
    *,
    device: Device = "auto",
    precision: Precision = "fp32",
    backend: Backend = "auto",
) -> EncoderCheck:
    """Load a model, and encode a drawn picture and a text with it.

    Parameters
    ----------
    model : str
        Its name.
    device : str
        Where it runs.
    precision : str
        What its weights are cast to.
    backend : str
        What runs whole batches; what ``auto`` chooses is measured here if it never was, and kept.

    Raises
    ------
    ModelUnavailableError
        If it is not on this machine and cannot be fetched.
    BioprobeError
        If its vectors are not what it says.
    """
    from bioprobe.encoders.checking import check_model

    return check_model(model, device=device, precision=precision or "fp32", backend=backend)


def __dir__() -> Sequence[str]:
    return __all__
