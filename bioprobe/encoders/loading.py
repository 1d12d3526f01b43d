"""Load an encoder by its name."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from bioprobe import __version__
from bioprobe.access import list_names
from bioprobe.encoders.catalog import parse_name
from bioprobe.encoders.encoder import Encoder, LoadOptions, hash_description
from bioprobe.encoders.hub import LAYOUTS, find_cached, get_snapshot, read_folder
from bioprobe.encoders.quantised import (
    INT8,
    QUANTISED,
    add_quantised,
    check_precision,
    split_quantised,
)
from bioprobe.encoders.views import ViewsEncoder, split_views
from bioprobe.errors import BioprobeError, ModelUnavailableError
from bioprobe.registry import ENCODERS

#: Told at the level INFO which model is loaded, before the seconds that it takes.
LOGGER = logging.getLogger("bioprobe.loading")
_LOGGERS = ("huggingface_hub", "transformers", "timm", "open_clip", "httpx", "torch")


@contextlib.contextmanager
def silence_libraries() -> Iterator[None]:
    """Quieten log records, warnings and progress bars of libraries while a model loads.

    What they have to say about a failed load is in the exception we raise. open_clip logs
    through the root logger, which would install a handler on standard error for the rest of
    the process, hence the null handler.
    """
    root = logging.getLogger()
    null_handler = logging.NullHandler()
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    root.addHandler(null_handler)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), _without_progress_bars():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(null_handler)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def _without_progress_bars() -> Iterator[None]:
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


DECODINGS = ("exact", "fast")


def load_encoder(
    name: str,
    *,
    device: str = "auto",
    precision: str = "fp32",
    batch_size: int | None = None,
    decoding: str = "exact",
    backend: str = "torch",
) -> Encoder:
    """Load an encoder: a cached copy if there is one, else from the model hub.

    Parameters
    ----------
    name : str
        A short name such as ``bioclip-2``, or any form that
        :func:`bioprobe.encoders.catalog.parse_name` reads.
    device : str
        ``auto`` (CUDA, else MPS, else CPU) or a PyTorch device such as ``cuda:1``.
    precision : str
        ``fp32``, ``bf16`` or ``fp16``: the type the weights are cast to. ``auto`` is bf16 where
        that is measured to be faster here and to give the same vectors (mean cosine ≥ .9999),
        else fp32. ``int8`` and ``fp8`` are the models ``NAME+int8`` and ``NAME+fp8``, quantised
        before: other encoders, see :mod:`bioprobe.encoders.families.quantised_encoder`. Vectors are
        float32 in any case.
    batch_size : int or None
        Images or texts in one forward pass; None chooses by device.
    decoding : str
        ``exact`` reads images whole and runs the checkpoint's own preprocessing; ``fast``
        decodes large JPEGs at a fraction of their size, at least twice what the model sees, and
        resamples only the crop. Vectors of both are compatible.
    backend : str
        What runs whole batches of a model that PyTorch loads: ``torch``, which is PyTorch as it is,
        a name of :data:`bioprobe.registry.BACKENDS`, or ``auto``, the one of them that is measured
        to be fastest here. Each vector by another has a cosine of at least .9999 with PyTorch's,
        in the first batch of every run. An ONNX file, and ``int8``, have their own runtime.

    Raises
    ------
    ModelUnavailableError
        If the name is unknown, or the weights are not here and cannot be fetched.
    MissingExtraError
        If ONNX Runtime is needed and not installed.
    BioprobeError
        If device, precision, batch size or backend is not possible here.
    """
    if batch_size is not None and batch_size < 1:
        msg = f"batch size is {batch_size}; it must be 1 or more"
        raise BioprobeError(msg)
    if decoding not in DECODINGS:
        msg = f'decoding "{decoding}" is not known; choose one of {", ".join(DECODINGS)}'
        raise BioprobeError(msg)
    source = parse_name(name)
    if source.n_views > 1:
        seeing = load_encoder(
            split_views(source.name)[0], device=device, precision=precision,
            batch_size=batch_size, decoding=decoding, backend=backend,
        )  # fmt: skip
        return ViewsEncoder(seeing, source.n_views)
    form = source.quantised or (precision if precision in QUANTISED else "")
    if form:
        from bioprobe.encoders.families.quantised_encoder import open_quantised

        if precision != "fp32":
            check_precision(source.name, precision)
        if form == INT8 and device == "auto":
            device = "cpu"
        if form == INT8 and backend not in {"auto", "torch", "onnx"}:
            msg = (
                f"{add_quantised(source.name, INT8)} runs in ONNX Runtime, got --backend "
                f"{backend}; leave the option out"
            )
            raise BioprobeError(msg)
        exact = load_encoder(
            split_quantised(source.name)[0], device=device, batch_size=batch_size,
            decoding=decoding, backend=backend,
        )  # fmt: skip
        return open_quantised(exact, form)
    options = LoadOptions(
        device=device, precision=precision, batch_size=batch_size, decoding=decoding,
        backend=backend,
    )  # fmt: skip
    LOGGER.info("loading %s …", name)
    with silence_libraries():
        if source.kind in {"hub", "folder"}:
            # Fetches what is missing, or says so within a second.
            get_snapshot(source, LAYOUTS[source.backend])
        # The libraries take seconds to import, so each is imported only for a model that needs it.
        encoder: Encoder = ENCODERS.load(source.backend)(source, options)
        return encoder


# What computes with the weights: of another version the vectors may be others.
_LIBRARIES = ("open_clip_torch", "pillow", "timm", "tokenizers", "torch", "transformers")


def stamp_model(name: str) -> str:
    """Tell what a name loads now without loading it: no library of models is imported.

    Returns
    -------
    str
        SHA-256 over the name, the files of the model's folder by size and time of their last
        change, and the versions of the libraries that load them; ``""`` where that cannot be told,
        as of a model that is not here, that its library finds by itself, or that is
        quantised.
    """
    import importlib.metadata

    try:
        source = parse_name(name)
    except ModelUnavailableError:
        return ""
    layout = LAYOUTS.get(source.backend)
    if layout is None or source.quantised or source.kind not in {"folder", "hub"}:
        return ""
    if source.kind == "folder":
        snapshot = read_folder(Path(source.target), layout)
    else:
        snapshot = find_cached(source.target, layout, revision=source.revision)
    if snapshot is None:
        return ""
    files = {}
    for file in list_names(snapshot.folder):
        facts = (snapshot.folder / file).stat()
        files[file] = [facts.st_size, facts.st_mtime_ns]
    versions = {"bioprobe": __version__}
    for library in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[library] = importlib.metadata.version(library)
    return hash_description(
        {"name": source.name, "folder": str(snapshot.folder), "files": files, "with": versions}
    )
