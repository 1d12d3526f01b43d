"""Probes kept in a store: arrays in safetensors, everything else in JSON; no pickle."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.access import describe_absence, is_file, read_bytes, reading
from bioprobe.calibration.calibrators import find_calibrator
from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import ProbeError, SelectionError, StoreError
from bioprobe.files import (
    Part,
    drafting_card,
    find_data,
    parse_json,
    read_json,
    read_whole,
    remove_folder,
)
from bioprobe.images.image_table import ImageTable
from bioprobe.learning.calibrated import Calibration
from bioprobe.learning.fit import HeldOutAnswers
from bioprobe.learning.fitted import FittedProbe, HeldOut
from bioprobe.learning.kept import CARD_NAME, NAME, PROBES_NAME, list_probes
from bioprobe.settings import COUNT, NUMBER, TABLE, TEXT, check_fields
from bioprobe.store import EmbeddingStore
from bioprobe.store.gone import Changes, Gone
from bioprobe.task.columns import ColumnBlock
from bioprobe.task.method import make_probe
from bioprobe.task.target import mark_gone, mark_rows, read_classes, write_classes
from bioprobe.types import Arrays, Rows, Vectors

_SUFFIX = ".safetensors"
SCHEMA_VERSION = 1
# Among the arrays: what stands for each image that taught.
_TAUGHT = "taught_images"
# Ends of the names of arrays that hold vectors, or means of vectors.
_VECTORS, _MEANS = "vectors", "means"
# Of those that hold a learnt key for each image that taught, which is hardly its vector any more.
_KEYS = "keys"


def write_probe(
    store: EmbeddingStore, name: str, probe: FittedProbe, calibration: Calibration | None = None
) -> Path:
    """Keep a probe in a store under a name, in place of one of that name.

    The card names the SHA-256 of the arrays, which lie beside it, and is replaced last: the probe
    that was there stands until this one is whole, its calibration included.

    Parameters
    ----------
    store : EmbeddingStore
        Store that the probe was fitted on.
    name : str
        Letters, digits, ``_``, ``-``, ``+`` and ``.``.
    probe : FittedProbe
        What is kept.
    calibration : Calibration, optional
        What calibrates it, kept with it.

    Returns
    -------
    Path
        Its folder.

    Raises
    ------
    ProbeError
        If the name cannot be used, or what was learnt is not finite.
    StoreError
        If the disk refuses; what was there is whole.
    """
    store.check_current()
    with _drafting_probe(store, name, probe, calibration):
        pass
    folder = find_folder(store, name)
    # As earlier versions kept it, of an earlier fit.
    for old in (_OLD_CALIBRATION_NAME, _OLD_CALIBRATION_ARRAYS_NAME):
        (folder / old).unlink(missing_ok=True)
    return folder


def _drafting_probe(
    store: EmbeddingStore, name: str, probe: FittedProbe, calibration: Calibration | None
) -> contextlib.AbstractContextManager[None]:
    """Return a context in which a probe is written, and takes the name when it ends.

    See Also
    --------
    write_probe : the parameters, and what it raises.
    """
    folder = find_folder(store, name)
    arrays = dict(probe.estimator.to_arrays())
    if probe.taught is not None:
        arrays[_TAUGHT] = probe.taught
    card: dict[str, Any] = {
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
    if probe.block is not None:
        card["columns"] = probe.block.to_dict()
    parts = [_make_part(arrays, f"the settings {probe.settings}")]
    about: dict[str, Any] = {}
    if calibration is not None:
        found, about = _describe_calibration(calibration)
        parts.append(_make_part(found, f"the calibrator {calibration.calibrator.kind}"))
        card["calibration"] = about

    def describe(digests: Sequence[str]) -> str:
        for said, digest in zip((card, about), digests, strict=False):
            said["arrays_sha256"] = digest
        return json.dumps(card, indent=2, ensure_ascii=False) + "\n"

    return drafting_card(folder / CARD_NAME, parts, describe)


def forget_gone(store: EmbeddingStore, gone: Gone, changes: Changes) -> None:
    """Take the vectors of images that are gone out of the probes of a store, and their marks.

    Of a probe that keeps the vectors of its images, as kNN does, those that stay answer. One that
    would keep such a vector all the same, as the mean of a class that had no other image, is
    forgotten. What others have learnt of them stays, and the card says of how many images that is.
    """
    names = list_probes(store)
    if not names:
        return
    marks = mark_gone(gone)
    for name in names:
        folder = find_folder(store, name)
        card, data = read_whole(folder / CARD_NAME, functools.partial(_read_files, store, name))
        try:
            probe = _build(card, data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _describe_damage(folder, error) from error
        arrays, why = _drop_vectors(probe, gone, marks)
        if why:
            again = f"bioprobe probe fit {probe.kind} --level {probe.level} --name {name}"
            changes.said.append(f"the probe {name} {why}: forgotten; fit it again: {again}")
            changes.afterwards(functools.partial(remove_folder, folder))
            continue
        n_taught = 0 if probe.taught is None else int(np.isin(probe.taught, marks).sum())
        provenance = gone.scrub(probe.provenance)
        if not n_taught and arrays is None and provenance == probe.provenance:
            continue
        if n_taught:
            provenance = {**provenance, "n_removed": provenance.get("n_removed", 0) + n_taught}
        estimator = probe.estimator
        if arrays is not None:
            estimator = make_probe(probe.kind, probe.settings)
            estimator = estimator.set_arrays(arrays, probe.estimator.classes_)
        changed = dataclasses.replace(
            probe,
            estimator=estimator,
            taught=None if probe.taught is None else np.setdiff1d(probe.taught, marks),
            provenance=provenance,
        )
        changes.counts["probes"] += 1
        changes.enter(_drafting_probe(store, name, changed, read_calibration(store, name)))
        for old in (_OLD_CALIBRATION_NAME, _OLD_CALIBRATION_ARRAYS_NAME):
            changes.afterwards(functools.partial((folder / old).unlink, missing_ok=True))


def _drop_vectors(
    probe: FittedProbe, gone: Gone, marks: npt.NDArray[np.uint64]
) -> tuple[Arrays | None, str]:
    """Return the arrays of a probe without vectors that are gone, None where it has none of them.

    Returns
    -------
    arrays : dict of ndarray, or None
    why : str
        Why the probe cannot stay, ``""`` where it can.
    """
    arrays = dict(probe.estimator.to_arrays())
    changed = False
    for key, array in list(arrays.items()):
        if array.ndim != 2 or array.dtype.kind != "f":
            continue
        if key.rpartition(".")[2] == _KEYS and _has_taught(probe, gone, marks):
            return None, "keeps a key for each of its images, of which some go"
        is_gone = gone.find_vectors(array)
        labels = f"{key.removesuffix(_VECTORS)}labels"
        if key.rpartition(".")[2] == _MEANS and _has_lone_mean(probe, gone, marks):
            return None, "keeps the mean of a class of which no image is left"
        if not is_gone.any():
            continue
        if not key.endswith(_VECTORS) or len(arrays.get(labels, ())) != len(array):
            return None, "keeps a vector that goes"
        if is_gone.all():
            return None, "keeps no other vectors"
        arrays[key], arrays[labels] = array[~is_gone], arrays[labels][~is_gone]
        changed = True
    return arrays if changed else None, ""


def _has_taught(probe: FittedProbe, gone: Gone, marks: npt.NDArray[np.uint64]) -> bool:
    """Tell whether images that are gone taught a probe, or may have."""
    if probe.taught is None:
        return len(gone.removed) > 0
    return bool(np.isin(probe.taught, marks).any())


def _has_lone_mean(probe: FittedProbe, gone: Gone, marks: npt.NDArray[np.uint64]) -> bool:
    """Tell whether a class mean is, or may be, of images alone that are gone."""
    if probe.taught is None or not _has_taught(probe, gone, marks):
        return _has_taught(probe, gone, marks)
    known = probe.taught

    def list_taught(images: ImageTable, rows: Rows) -> set[str]:
        taught = rows[np.isin(mark_rows(images, rows), known)]
        return set(images.labels(probe.level)[taught].astype(str)) - {""}

    try:
        left = list_taught(gone.kept, np.arange(len(gone.kept)))
        return not list_taught(gone.images, gone.rows) <= left
    except SelectionError:  # another store's column
        return True


def _make_part(arrays: Arrays, got_by: str) -> Part:
    """Return what writes arrays.

    Raises
    ------
    ProbeError
        If one has numbers that are not finite.
    """
    broken = [name for name, one in arrays.items() if not np.isfinite(one).all()]
    if broken:
        msg = (
            f"the numbers of {', '.join(broken)} are not all finite, got by {got_by}; nothing is "
            "kept: choose others"
        )
        raise ProbeError(msg)
    from safetensors.numpy import save

    data = save({key: np.ascontiguousarray(array) for key, array in arrays.items()})
    return _SUFFIX, lambda file: file.write_bytes(data)


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
    card, data = read_whole(find_folder(store, name) / CARD_NAME, lambda: _read_files(store, name))
    try:
        probe = _build(card, data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _describe_damage(find_folder(store, name), error) from error
    if probe.taxonomy_hash != card["taxonomy_hash"]:
        folder = find_folder(store, name)
        raise _describe_damage(folder, "its classes are not those that were written")
    probe.check_encoder(store.manifest.encoder)
    return probe


def read_adapter(store: EmbeddingStore, name: str) -> tuple[FittedProbe, Vectors]:
    """Read a probe that learnt what any text can be asked through, and its matrix.

    Returns
    -------
    probe : FittedProbe
    matrix : ndarray of float32, shape (dim, dim)
        :attr:`bioprobe.probes.adapter.AdapterProbe.matrix_`.

    Raises
    ------
    ProbeError
        If it is of another kind.
    StoreError, MismatchError
        As in :func:`read_probe`.
    """
    probe = read_probe(store, name)
    matrix: Vectors | None = getattr(probe.estimator, "matrix_", None)
    if matrix is None:
        msg = (
            f"the probe {name} is of the kind {probe.kind}, which knows its own classes alone; "
            f"texts are asked through one of the kind adapter: bioprobe probe fit adapter --level "
            f"{probe.level}"
        )
        raise ProbeError(msg)
    return probe, matrix


def find_folder(store: EmbeddingStore, name: str) -> Path:
    """Return the folder of a probe of a name, kept or not.

    Raises
    ------
    ProbeError
        If the name cannot be used.
    """
    if not NAME.fullmatch(name):
        msg = f"{name!r} cannot name a probe; use letters, digits, '_', '-', '+' and '.'"
        raise ProbeError(msg)
    return store.folder / PROBES_NAME / name


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
    remove_folder(folder)


def _read_files(store: EmbeddingStore, name: str) -> tuple[dict[str, Any], bytes]:
    folder = find_folder(store, name)
    if name not in list_probes(store):
        raise _describe_absence(store, name)
    try:
        with reading(folder / CARD_NAME):
            card = read_json(folder / CARD_NAME, dict)
        version, digest = card["schema_version"], card["arrays_sha256"]
        file = find_data(folder / CARD_NAME, digest, _SUFFIX)
        data = read_bytes(file)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _describe_damage(folder, error) from error
    if version != SCHEMA_VERSION:
        msg = (
            f"{folder} was written in format {version}, this bioprobe reads {SCHEMA_VERSION}; "
            "update bioprobe, or fit the probe again"
        )
        raise StoreError(msg)
    if hashlib.sha256(data).hexdigest() != digest:
        raise _describe_damage(folder, f"{file.name} is not what {CARD_NAME} was written with")
    return card, data


_CARD = {
    "kind": TEXT, "settings": TABLE, "rank": TEXT, "encoder": TABLE, "dim": COUNT,
    "training_rows": TABLE, "split": TABLE, "held_out": TABLE, "provenance": TABLE,
    "taxonomy_hash": TEXT,
}  # fmt: skip
_SPLIT = {"name": TEXT, "hash": TEXT}
_ROWS = {"hash": TEXT, "n": COUNT}


def _build(card: dict[str, Any], data: bytes) -> FittedProbe:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays: dict[str, npt.NDArray[Any]] = load(data)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    check_fields(card, _CARD, needed=tuple(_CARD))
    check_fields(card["split"], _SPLIT, needed=tuple(_SPLIT))
    check_fields(card["training_rows"], _ROWS, needed=tuple(_ROWS))
    held_out = HeldOut.from_dict(card["held_out"])
    if (chosen := held_out.parameter) and chosen not in card["settings"]:
        msg = f"it has no setting {chosen!r}, which was chosen on held-out images"
        raise ValueError(msg)
    if chosen:
        check_fields(card["settings"], {chosen: NUMBER})
    names = np.array([one["name"] for one in card["classes"]], dtype=np.str_)
    taught = arrays.pop(_TAUGHT, None)
    if taught is not None and not (taught[1:] > taught[:-1]).all():
        msg = f"its {_TAUGHT} are not sorted"
        raise ValueError(msg)
    estimator = make_probe(card["kind"], card["settings"]).set_arrays(arrays, names)
    block = ColumnBlock.from_dict(card["columns"]) if "columns" in card else None
    if block is not None and not block.width < int(card["dim"]) == estimator.n_features_in_:
        msg = f"{block.width} columns stand beside vectors of {card['dim']} numbers in all"
        raise ValueError(msg)
    return FittedProbe(
        estimator=estimator,
        block=block,
        classes=read_classes(card["classes"], card["rank"]),
        settings=card["settings"],
        encoder=Fingerprint.from_dict(card["encoder"]),
        dim=int(card["dim"]),
        rows_hash=card["training_rows"]["hash"],
        n_rows=int(card["training_rows"]["n"]),
        taught=taught,
        split_name=card["split"]["name"],
        split_hash=card["split"]["hash"],
        held_out=held_out,
        provenance=card["provenance"],
    )


def _describe_absence(store: EmbeddingStore, name: str) -> StoreError:
    maker = "bioprobe probe fit makes one"
    return describe_absence(store.folder, "probe", name, list_probes(store), maker)


def _describe_damage(folder: Path, reason: object) -> StoreError:
    said = f"it lacks {reason}" if isinstance(reason, KeyError) else str(reason)
    return StoreError(f"the probe in {folder} is damaged: {said}; fit it again")


_PREFIX = "calibrator."
# Earlier versions kept a calibration in files of its own.
_OLD_CALIBRATION_NAME = "calibration.json"
_OLD_CALIBRATION_ARRAYS_NAME = "calibration.safetensors"


def _describe_calibration(calibration: Calibration) -> tuple[Arrays, dict[str, Any]]:
    learnt = calibration.calibrator.to_arrays()
    arrays = {_PREFIX + key: array for key, array in learnt.items()}
    return arrays | calibration.answers.to_arrays(), {
        "schema_version": SCHEMA_VERSION,
        "calibrator": calibration.calibrator.kind,
        "method": calibration.answers.method,
        "n_held_out": calibration.n_held_out,
        "left": calibration.left,
    }


def read_calibrated(store: EmbeddingStore, name: str) -> tuple[FittedProbe, Calibration | None]:
    """Read a probe of a store and the calibration of the same fit; see these two for the errors."""
    card = find_folder(store, name) / CARD_NAME
    return read_whole(card, lambda: (read_probe(store, name), read_calibration(store, name)))


def read_calibration(store: EmbeddingStore, name: str) -> Calibration | None:
    """Read the calibration of a probe; None where it has none.

    Raises
    ------
    ProbeError
        If the name cannot be used.
    StoreError
        If there is no such probe, or the calibration is damaged.
    """
    card = find_folder(store, name) / CARD_NAME
    return read_whole(card, lambda: _read_calibration(card))


def _read_calibration(card: Path) -> Calibration | None:
    folder = card.parent
    try:
        data = read_bytes(card)
    except (FileNotFoundError, NotADirectoryError) as error:
        msg = f"there is no probe in {folder}; fit it first: bioprobe probe fit"
        raise StoreError(msg) from error
    try:
        about = parse_json(data, dict).get("calibration")
        if about is not None:
            file = find_data(card, about["arrays_sha256"], _SUFFIX)
        elif is_file(folder / _OLD_CALIBRATION_NAME):
            with reading(folder / _OLD_CALIBRATION_NAME):
                about = read_json(folder / _OLD_CALIBRATION_NAME, dict)
            file = folder / _OLD_CALIBRATION_ARRAYS_NAME
            if about["probe_sha256"] != hashlib.sha256(data).hexdigest():
                # It is of an earlier fit.
                return None
        else:
            return None
        return _build_calibration(about, file)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, StoreError):
            raise
        msg = f"the calibration in {folder} is damaged: {error}; fit the probe again"
        raise StoreError(msg) from error


def _build_calibration(about: dict[str, Any], file: Path) -> Calibration:
    from safetensors.numpy import load

    if about["schema_version"] != SCHEMA_VERSION:
        msg = f"format {about['schema_version']}, and this bioprobe reads {SCHEMA_VERSION}"
        raise ValueError(msg)
    data = read_bytes(file)
    if hashlib.sha256(data).hexdigest() != about["arrays_sha256"]:
        msg = f"{file.name} is not what it was written with"
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
