"""Calibrations kept beside their probes: arrays in safetensors, the rest in JSON; no pickle."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.calibration.calibrated import Calibration
from bioprobe.calibration.kinds import restore_calibrator
from bioprobe.errors import BioprobeError, StoreError
from bioprobe.files import replacing, write_text
from bioprobe.probes.fitting.held_out import HeldOutAnswers
from bioprobe.probes.saving import CARD_NAME, find_folder
from bioprobe.store import EmbeddingStore
from bioprobe.store.write_errors import explaining_refusal

ARRAYS_NAME, ABOUT_NAME = "calibration.safetensors", "calibration.json"
SCHEMA_VERSION = 1
_PREFIX = "calibrator."


def write_calibration(store: EmbeddingStore, name: str, calibration: Calibration) -> Path:
    """Keep a calibration beside the probe of a name, which is kept already.

    Returns
    -------
    Path
        Folder of the probe.

    Raises
    ------
    ProbeError
        If the name cannot be used.
    StoreError
        If there is no such probe, or the disk refuses.
    """
    from safetensors.numpy import save

    folder = find_folder(store, name)
    learnt = calibration.calibrator.to_arrays()
    arrays = {_PREFIX + key: np.ascontiguousarray(array) for key, array in learnt.items()}
    arrays["logits"] = np.ascontiguousarray(calibration.answers.logits)
    arrays["truth"] = np.ascontiguousarray(calibration.answers.truth)
    data = save(arrays)
    about = {
        "schema_version": SCHEMA_VERSION,
        "calibrator": calibration.calibrator.kind,
        "method": calibration.answers.method,
        "n_held_out": calibration.n_held_out,
        "probe_sha256": _hash_card(folder),
        "arrays_sha256": hashlib.sha256(data).hexdigest(),
    }
    with explaining_refusal(folder):
        with replacing(folder / ARRAYS_NAME) as temporary:
            temporary.write_bytes(data)
        write_text(folder / ABOUT_NAME, json.dumps(about, indent=2) + "\n")
    return folder


def read_calibration(store: EmbeddingStore, name: str) -> Calibration | None:
    """Read the calibration of a probe; None where it has none, or one of an earlier fit.

    Raises
    ------
    ProbeError
        If the name cannot be used.
    StoreError
        If there is no such probe, or the calibration is damaged.
    """
    folder = find_folder(store, name)
    if not (folder / ABOUT_NAME).is_file():
        return None
    try:
        about = json.loads((folder / ABOUT_NAME).read_text(encoding="utf-8"))
        if about["probe_sha256"] != _hash_card(folder):
            return None
        return _build(about, (folder / ARRAYS_NAME).read_bytes())
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, BioprobeError):
            raise
        msg = f"the calibration in {folder} is damaged: {error}; fit the probe again"
        raise StoreError(msg) from error


def _build(about: dict[str, Any], data: bytes) -> Calibration:
    from safetensors.numpy import load

    if about["schema_version"] != SCHEMA_VERSION:
        msg = f"format {about['schema_version']}, and this bioprobe reads {SCHEMA_VERSION}"
        raise ValueError(msg)
    if hashlib.sha256(data).hexdigest() != about["arrays_sha256"]:
        msg = f"{ARRAYS_NAME} is not what {ABOUT_NAME} was written with"
        raise ValueError(msg)
    arrays: dict[str, npt.NDArray[Any]] = load(data)
    learnt = {
        key.removeprefix(_PREFIX): array for key, array in arrays.items() if key.startswith(_PREFIX)
    }
    answers = HeldOutAnswers(arrays["logits"], arrays["truth"], about["method"])
    calibrator = restore_calibrator(about["calibrator"], learnt)
    return Calibration(calibrator, answers, int(about["n_held_out"]))


def _hash_card(folder: Path) -> str:
    """Return what tells one fit from the next of the same name."""
    try:
        return hashlib.sha256((folder / CARD_NAME).read_bytes()).hexdigest()
    except FileNotFoundError as error:
        msg = f"there is no probe in {folder}; fit it first: bioprobe probe fit"
        raise StoreError(msg) from error
