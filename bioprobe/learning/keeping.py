"""Probes kept in a store: arrays in safetensors, everything else in JSON; no pickle."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.calibration.calibrators import find_calibrator
from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import BioprobeError, ProbeError, StoreError
from bioprobe.files import explaining_refusal, replacing, write_text
from bioprobe.learning.calibrated import Calibration
from bioprobe.learning.fit import HeldOutAnswers
from bioprobe.learning.fitted import FittedProbe, HeldOut
from bioprobe.store import EmbeddingStore
from bioprobe.task.method import make_probe
from bioprobe.task.target import read_classes, write_classes
from bioprobe.types import Arrays

PROBES_NAME = "probes"
ARRAYS_NAME, CARD_NAME = "probe.safetensors", "probe.json"
SCHEMA_VERSION = 1
# Among the arrays: what stands for each image that taught.
_TAUGHT = "taught_images"
_NAME = re.compile(r"\w[\w.+-]*")


def write_probe(store: EmbeddingStore, name: str, probe: FittedProbe) -> Path:
    """Keep a probe in a store under a name, in place of one of that name.

    The card names the SHA-256 of the arrays and is written last: what an interrupted run leaves
    is never read as whole.

    Parameters
    ----------
    store : EmbeddingStore
        Store that the probe was fitted on.
    name : str
        Letters, digits, ``_``, ``-``, ``+`` and ``.``.
    probe : FittedProbe
        What is kept.

    Returns
    -------
    Path
        Its folder.

    Raises
    ------
    ProbeError
        If the name cannot be used, or what was learnt is not finite.
    StoreError
        If the disk refuses.
    """
    folder = find_folder(store, name)
    arrays = dict(probe.estimator.to_arrays())
    if probe.taught is not None:
        arrays[_TAUGHT] = probe.taught
    card = {
        "schema_version": SCHEMA_VERSION,
        "kind": probe.kind,
        "settings": probe.settings,
        "rank": probe.level,
        "classes": write_classes(probe.classes, probe.estimator.classes_),
        "taxonomy_hash": probe.taxonomy_hash,
        "encoder": probe.encoder.to_dict(),
        "dim": probe.dim,
        "split": {"name": probe.split_name, "hash": probe.split_hash},
        "training_rows": {"n": probe.n_rows, "hash": probe.rows_hash},
        "held_out": dataclasses.asdict(probe.held_out),
        "provenance": probe.provenance,
    }
    _write_files(folder / ARRAYS_NAME, arrays, folder / CARD_NAME, card)
    return folder


def _write_files(file: Path, arrays: Arrays, about: Path, said: dict[str, Any]) -> None:
    """Write arrays, and then what is said of them, with their SHA-256.

    Raises
    ------
    ProbeError
        If an array has numbers that are not finite.
    """
    broken = [name for name, one in arrays.items() if not np.isfinite(one).all()]
    if broken:
        msg = (
            f"the numbers of {', '.join(broken)} are not all finite, got by the settings "
            f"{said.get('settings', said.get('calibrator'))}; nothing is kept: choose others"
        )
        raise ProbeError(msg)
    from safetensors.numpy import save

    data = save({key: np.ascontiguousarray(array) for key, array in arrays.items()})
    card = {**said, "arrays_sha256": hashlib.sha256(data).hexdigest()}
    with explaining_refusal(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            temporary.write_bytes(data)
        write_text(about, json.dumps(card, indent=2, ensure_ascii=False) + "\n")


def read_probe(store: EmbeddingStore, name: str) -> FittedProbe:
    """Read a probe of a store, and check that it may be asked of its vectors.

    Raises
    ------
    ProbeError
        If the name cannot be used.
    StoreError
        If there is no such probe, or its files are damaged.
    MismatchError
        If it learnt from vectors of another encoder than the store's.
    """
    card, data = _read_files(store, name)
    try:
        probe = _build(card, data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _describe_damage(find_folder(store, name), error) from error
    if probe.taxonomy_hash != card["taxonomy_hash"]:
        folder = find_folder(store, name)
        raise _describe_damage(folder, "its classes are not those that were written")
    probe.check_encoder(store.manifest.encoder)
    return probe


def find_folder(store: EmbeddingStore, name: str) -> Path:
    """Return the folder of a probe of a name, kept or not.

    Raises
    ------
    ProbeError
        If the name cannot be used.
    """
    if not _NAME.fullmatch(name):
        msg = f"{name!r} cannot name a probe; use letters, digits, '_', '-', '+' and '.'"
        raise ProbeError(msg)
    return store.folder / PROBES_NAME / name


def list_probes(store: EmbeddingStore) -> list[str]:
    """Return the names of the probes that a store keeps, sorted."""
    return sorted(path.parent.name for path in store.folder.glob(f"{PROBES_NAME}/*/{CARD_NAME}"))


def remove_probe(store: EmbeddingStore, name: str) -> None:
    """Forget a probe.

    Raises
    ------
    ProbeError
        If the name cannot be used.
    StoreError
        If there is no such probe, or the disk refuses.
    """
    folder = find_folder(store, name)
    if name not in list_probes(store):
        raise _describe_absence(store, name)
    with explaining_refusal(folder):
        # Without its card it is no probe: what an interrupted run leaves is not listed.
        (folder / CARD_NAME).unlink()
        shutil.rmtree(folder)


def _read_files(store: EmbeddingStore, name: str) -> tuple[dict[str, Any], bytes]:
    folder = find_folder(store, name)
    if name not in list_probes(store):
        raise _describe_absence(store, name)
    try:
        card = json.loads((folder / CARD_NAME).read_text(encoding="utf-8"))
        data = (folder / ARRAYS_NAME).read_bytes()
        version, digest = card["schema_version"], card["arrays_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _describe_damage(folder, error) from error
    if version != SCHEMA_VERSION:
        msg = (
            f"{folder} was written in format {version}, this bioprobe reads {SCHEMA_VERSION}; "
            "update bioprobe, or fit the probe again"
        )
        raise StoreError(msg)
    if hashlib.sha256(data).hexdigest() != digest:
        raise _describe_damage(folder, f"{ARRAYS_NAME} is not what {CARD_NAME} was written with")
    return card, data


def _build(card: dict[str, Any], data: bytes) -> FittedProbe:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays: dict[str, npt.NDArray[Any]] = load(data)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    names = np.array([one["name"] for one in card["classes"]], dtype=np.str_)
    taught = arrays.pop(_TAUGHT, None)
    return FittedProbe(
        estimator=make_probe(card["kind"], card["settings"]).set_arrays(arrays, names),
        classes=read_classes(card["classes"], card["rank"]),
        settings=card["settings"],
        encoder=Fingerprint.from_dict(card["encoder"]),
        dim=int(card["dim"]),
        rows_hash=card["training_rows"]["hash"],
        n_rows=int(card["training_rows"]["n"]),
        taught=taught,
        split_name=card["split"]["name"],
        split_hash=card["split"]["hash"],
        held_out=HeldOut.from_dict(card["held_out"]),
        provenance=card["provenance"],
    )


def _describe_absence(store: EmbeddingStore, name: str) -> StoreError:
    known = ", ".join(list_probes(store)) or "none; bioprobe probe fit makes one"
    return StoreError(f"no probe {name!r} in {store.folder}; there are: {known}")


def _describe_damage(folder: Path, reason: object) -> StoreError:
    said = f"it lacks {reason}" if isinstance(reason, KeyError) else str(reason)
    return StoreError(f"the probe in {folder} is damaged: {said}; fit it again")


CALIBRATION_ARRAYS_NAME, CALIBRATION_NAME = "calibration.safetensors", "calibration.json"
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
    folder = find_folder(store, name)
    learnt = calibration.calibrator.to_arrays()
    arrays = {_PREFIX + key: array for key, array in learnt.items()}
    arrays |= calibration.answers.to_arrays()
    about = {
        "schema_version": SCHEMA_VERSION,
        "calibrator": calibration.calibrator.kind,
        "method": calibration.answers.method,
        "n_held_out": calibration.n_held_out,
        "left": calibration.left,
        "probe_sha256": _hash_card(folder),
    }
    _write_files(folder / CALIBRATION_ARRAYS_NAME, arrays, folder / CALIBRATION_NAME, about)
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
    if not (folder / CALIBRATION_NAME).is_file():
        return None
    try:
        about = json.loads((folder / CALIBRATION_NAME).read_text(encoding="utf-8"))
        if about["probe_sha256"] != _hash_card(folder):
            return None
        return _build_calibration(about, (folder / CALIBRATION_ARRAYS_NAME).read_bytes())
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, BioprobeError):
            raise
        msg = f"the calibration in {folder} is damaged: {error}; fit the probe again"
        raise StoreError(msg) from error


def _build_calibration(about: dict[str, Any], data: bytes) -> Calibration:
    from safetensors.numpy import load

    if about["schema_version"] != SCHEMA_VERSION:
        msg = f"format {about['schema_version']}, and this bioprobe reads {SCHEMA_VERSION}"
        raise ValueError(msg)
    if hashlib.sha256(data).hexdigest() != about["arrays_sha256"]:
        msg = f"{CALIBRATION_ARRAYS_NAME} is not what {CALIBRATION_NAME} was written with"
        raise ValueError(msg)
    arrays: dict[str, npt.NDArray[Any]] = load(data)
    learnt = {
        key.removeprefix(_PREFIX): array for key, array in arrays.items() if key.startswith(_PREFIX)
    }
    held_out = {key: array for key, array in arrays.items() if not key.startswith(_PREFIX)}
    n_held_out = int(about["n_held_out"])
    answers = HeldOutAnswers(**held_out, method=about["method"], n_held_out=n_held_out)
    calibrator = find_calibrator(about["calibrator"]).from_arrays(learnt)
    return Calibration(calibrator, answers, n_held_out, about.get("left", ""))


def _hash_card(folder: Path) -> str:
    """Return what tells one fit from the next of the same name."""
    try:
        return hashlib.sha256((folder / CARD_NAME).read_bytes()).hexdigest()
    except FileNotFoundError as error:
        msg = f"there is no probe in {folder}; fit it first: bioprobe probe fit"
        raise StoreError(msg) from error
