"""Quantise a model on one's own pictures, and measure what that does to their vectors."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bioprobe.embedding.embedder import embed_images
from bioprobe.embedding.shard_buffer import Outcome
from bioprobe.encoders.encoder import Encoder, Fingerprint
from bioprobe.encoders.families.fp8 import copy_images
from bioprobe.encoders.families.quantised_encoder import (
    ABOUT_NAME,
    GRAPH_NAME,
    LEAST_COSINE,
    Fp8Encoder,
    QuantisedEncoder,
    find_folder,
    open_int8,
)
from bioprobe.encoders.families.quantising import check_quantisable, quantise
from bioprobe.encoders.families.torch_encoder import TorchEncoder
from bioprobe.encoders.loading import silence_libraries
from bioprobe.encoders.quantised import FP8, INT8
from bioprobe.errors import BioprobeError, ImageReadError, SourceError
from bioprobe.files import check_target, read_json, replacing, write_text
from bioprobe.images import ImageTable
from bioprobe.images.reading import decode_region
from bioprobe.provenance import write_now
from bioprobe.result import Notes, Record
from bioprobe.store import EmbeddingStore
from bioprobe.types import Rows, Vectors

Pixels: TypeAlias = npt.NDArray[np.float32]

# Rows that are timed, and how often: as backends are.
_N_TIMED, _N_ROUNDS = 4, 3
# One alone has no neighbour.
_LEAST_CHECKED = 2


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Quantised(Record):
    """What quantising did to the vectors of pictures that did not calibrate.

    Parameters
    ----------
    model : str
        The name that loads it.
    encoder : Fingerprint
        Which it is.
    n_calibrated, n_checked : int
        Pictures that calibrated, none for fp8, and others that were encoded by both.
    least_cosine, mean_cosine : float
        Of a picture's vector with that in fp32.
    same_neighbour_fraction : float
        Of the checked pictures, those whose nearest neighbour among them is the same.
    gain : float
        Its speed by that of PyTorch, both on one batch in turn.
    beside : str
        The precision of that: fp32, on a GPU bf16, the faster of what is not quantised there.
    folder : Path
        Where it lies.
    notes : tuple of Note
        What is to be said of it.
    """

    model: str
    encoder: Fingerprint
    n_calibrated: int
    n_checked: int
    least_cosine: float
    mean_cosine: float
    same_neighbour_fraction: float
    gain: float
    beside: str
    folder: Path
    notes: Notes = ()

    @property
    def judged(self) -> str:
        """Which pictures were compared, in words."""
        said = f"{self.n_checked:,} pictures"
        return f"{said} that did not calibrate" if self.n_calibrated else said

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping."""
        return super().to_dict() | {"encoder": self.encoder.key}


@dataclasses.dataclass(frozen=True)
class Trial:
    """Both encoders, and a store of each with the pictures that did not calibrate."""

    found: Quantised
    stores: tuple[EmbeddingStore, EmbeddingStore]
    encoders: tuple[Encoder, Encoder]

    @property
    def precision(self) -> str:
        """In which it was quantised."""
        return self.found.encoder.precision


def quantise_model(
    encoder: Encoder,
    table: ImageTable,
    scratch: Path,
    *,
    precision: str = INT8,
    n_calibrated: int = 64,
    n_checked: int = 256,
    advance: Callable[[Outcome], None] | None = None,
) -> Trial:
    """Quantise an encoder on some pictures, compare it on others, and keep it if it is near.

    Both are spread evenly over the table, so that they are of all folders.

    Parameters
    ----------
    encoder : Encoder
        In fp32; for int8 on the processor.
    table : ImageTable
        Pictures of the kind that it is for.
    scratch : Path
        An empty folder for two stores.
    precision : str
        Of :data:`bioprobe.encoders.quantised.QUANTISED`; fp8 needs no pictures that calibrate, and
        is measured anew where it was before.
    n_calibrated, n_checked : int
        Most pictures that calibrate, and that are encoded by both.
    advance : callable, optional
        Told the outcome of each that is encoded.

    Raises
    ------
    BioprobeError
        If it was quantised to int8 before, cannot be, or a picture's vector comes out too far from
        that in fp32.
    SourceError
        If too few pictures can be read.
    StoreError
        If the cache cannot be written, which is found out first.
    """
    exact = check_quantisable(encoder)
    folder, is_fp8 = find_folder(exact.fingerprint, precision), precision == FP8
    if (folder / GRAPH_NAME).exists():
        msg = (
            f"{exact.name} has an int8 form, in {folder}; to make another remove that folder, but "
            "stores of the one that is there cannot be added to then"
        )
        raise BioprobeError(msg)
    check_target(folder / ABOUT_NAME)
    calibrating, checking = _choose(len(table), 1 if is_fp8 else n_calibrated, n_checked)
    read = [_read(exact, table, int(row)) for row in calibrating]
    pixels = [one for one in read if not isinstance(one, str)]
    if not pixels or len(checking) < _LEAST_CHECKED:
        reasons = [one for one in read if isinstance(one, str)]
        raise SourceError(_explain_few(len(pixels), len(table), len(checking), reasons))
    rough = Fp8Encoder(exact) if is_fp8 else _make_int8(exact, pixels, scratch / GRAPH_NAME)
    checked = dataclasses.replace(table, frame=table.frame.iloc[checking].reset_index(drop=True))
    stores = (
        _embed(checked, exact, scratch / "exact", advance),
        _embed(checked, rough, scratch / "quantised", advance),
    )
    truth, near = (one.read_vectors() for one in stores)
    if len(truth) < _LEAST_CHECKED:
        reasons = [one.reason for one in stores[0].list_failures()]
        raise SourceError(_explain_few(len(pixels), len(table), len(truth), reasons))
    cosines = (truth * near).sum(axis=1)
    is_gpu = exact.device != "cpu"
    beside = copy_images(exact, "bf16") if is_gpu else exact
    n_timed = exact.batch_size if is_gpu else _N_TIMED
    found = Quantised(
        model=rough.name,
        encoder=rough.fingerprint,
        n_calibrated=0 if is_fp8 else len(pixels),
        n_checked=len(truth),
        least_cosine=float(cosines.min()),
        mean_cosine=float(cosines.mean()),
        same_neighbour_fraction=float((_find_nearest(truth) == _find_nearest(near)).mean()),
        gain=_time(beside, rough, np.resize(pixels, (n_timed, *pixels[0].shape))),
        beside=beside.fingerprint.precision,
        folder=folder,
    )
    if is_fp8:
        (folder / ABOUT_NAME).unlink(missing_ok=True)
    _refuse_far(found, exact.name)
    about = {**found.to_dict(), "time": write_now()}
    write_text(folder / ABOUT_NAME, json.dumps(about, indent=2))
    if not is_fp8:
        # Last: once it is there, there is an int8 form.
        with replacing(folder / GRAPH_NAME) as temporary:
            shutil.copyfile(scratch / GRAPH_NAME, temporary)
    return Trial(found, stores, (exact, rough))


def note_answers(found: Quantised, said: Sequence[str]) -> None:
    """Keep what quantising did to answers beside what it did to vectors."""
    file = found.folder / ABOUT_NAME
    write_text(file, json.dumps(read_json(file, dict) | {"answers": list(said)}, indent=2))


def _make_int8(exact: TorchEncoder, pixels: Sequence[Pixels], graph: Path) -> QuantisedEncoder:
    with silence_libraries():
        quantise(exact, np.stack(pixels), graph)
    return open_int8(exact, graph)


def _explain_few(n_calibrating: int, n_all: int, n_left: int, reasons: Sequence[str]) -> str:
    return (
        f"{n_calibrating:,} of {n_all:,} pictures can calibrate and {n_left:,} are left to "
        "compare; name a folder of three readable pictures or more"
        + (f" (the first cannot be read: {reasons[0]})" if reasons else "")
    )


def _refuse_far(found: Quantised, name: str) -> None:
    if found.least_cosine >= LEAST_COSINE:
        return
    precision = found.encoder.precision
    msg = (
        f"{name} is not kept in {precision}: of {found.judged}, the "
        f"least cosine to fp32 is {found.least_cosine:.4f} (mean {found.mean_cosine:.4f}), wanted "
        f"{LEAST_COSINE}; {found.same_neighbour_fraction:.1%} keep their nearest neighbour, and it "
        f"runs at {found.gain:.2f} x the speed of torch in {found.beside}. "
        + ("Calibrate on more pictures (--calibrate), or use" if precision == INT8 else "Use")
        + " the model as it is with --backend auto"
    )
    raise BioprobeError(msg)


def _choose(n_images: int, n_calibrated: int, n_checked: int) -> tuple[Rows, Rows]:
    """Return the places of both, each evenly spread; of few pictures both get their share."""
    n_both = min(n_images, n_calibrated + n_checked)
    places = np.linspace(0, n_images - 1, n_both).round().astype(np.int64)
    n_first = max(1, n_both * n_calibrated // (n_calibrated + n_checked))
    first = np.linspace(0, n_both - 1, n_first).round().astype(np.int64)
    return places[first], np.delete(places, first)


def _read(encoder: Encoder, table: ImageTable, row: int) -> Pixels | str:
    """Return a picture as the encoder takes it, or why it cannot be read."""
    location = table.locate(row)
    try:
        return encoder.preprocess(decode_region(location.read_bytes(), location.region))
    except (ImageReadError, OSError, ValueError) as error:
        return str(error)


def _embed(
    table: ImageTable,
    encoder: Encoder,
    folder: Path,
    advance: Callable[[Outcome], None] | None,
) -> EmbeddingStore:
    store = EmbeddingStore.open_for(folder, encoder)
    embed_images(table, encoder, store, advance=advance)
    return EmbeddingStore.open(folder)


def _find_nearest(vectors: Vectors) -> Rows:
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -np.inf)
    nearest: Rows = alike.argmax(axis=1)
    return nearest


def _time(exact: Encoder, rough: Encoder, pixels: Pixels) -> float:
    """Return the median gain of rounds in turn, after one that chooses kernels."""
    gains = []
    for _ in range(1 + _N_ROUNDS):
        took_s = []
        for one in (exact, rough):
            started_s = time.perf_counter()
            one.encode_pixels(pixels)
            took_s.append(time.perf_counter() - started_s)
        gains.append(took_s[0] / took_s[1])
    return float(np.median(gains[1:]))
