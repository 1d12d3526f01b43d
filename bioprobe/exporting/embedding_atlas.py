"""One Parquet file with vectors, a map of them, labels and thumbnails, for Embedding Atlas."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.errors import ImageReadError, MissingExtraError, SourceError
from bioprobe.exporting.answers import HUMAN, Answers, Observation, Picture
from bioprobe.exporting.form import AnswerFormat, ExportOptions
from bioprobe.files import replacing
from bioprobe.images.writing import write_picture
from bioprobe.options import LEAVE_OUT
from bioprobe.result import Note
from bioprobe.store.view import View
from bioprobe.taxonomy import RANKS
from bioprobe.types import Doubles, Rows, Vectors

if TYPE_CHECKING:
    import pyarrow as pa

_AT_ONCE = 512
_THUMBNAIL_PX = 160
PCA, UMAP = "pca", "umap"
_X, _Y = "projection_x", "projection_y"
# A map that a store came with.
_MAPS = ((_X, _Y), ("umap_x", "umap_y"), ("map_x", "map_y"))


def _write_embedding_atlas(
    target: Path, answers: Answers, options: ExportOptions
) -> Sequence[Note | str]:
    """Write vectors, map, labels and thumbnails; one row an observation.

    Open it with ``embedding-atlas FILE --x projection_x --y projection_y --image image``.
    People are obscured in thumbnails, unless ``people`` says otherwise.

    References
    ----------
    Apple, *Embedding Atlas: command line utility*.
    """
    import pyarrow.parquet as pq

    shown = list(answers.observations)
    rows = np.array([one.row for _, one in shown], dtype=np.int64)
    if not len(rows):
        msg = "none of the answers is of an image that was embedded; there is nothing to map"
        raise SourceError(msg)
    points, how = _lay_out(answers.view, rows, options.map_by)
    gone: list[str] = []
    writer = None
    with replacing(target) as temporary:
        try:
            for start in range(0, len(shown), _AT_ONCE):
                part = shown[start : start + _AT_ONCE]
                vectors = answers.view.store.read_vectors(rows[start : start + _AT_ONCE])
                here = points[start : start + _AT_ONCE]
                table = _make_table(answers, part, here, vectors, gone, options.people)
                if writer is None:
                    said = {"provenance": json.dumps(dict(answers.provenance)), "map": how}
                    schema = table.schema.with_metadata(said)
                    writer = pq.ParquetWriter(temporary, schema)
                writer.write_table(table.cast(writer.schema))
        finally:
            if writer is not None:
                writer.close()
    notes: list[Note | str] = [
        f"{len(shown):,} points, {how}; open: embedding-atlas {target} --x {_X} --y {_Y} --image "
        "image"
    ]
    if gone:
        notes.append(f"{len(gone):,} pictures cannot be read and have no thumbnail")
    notes += answers.tell_failed()
    return notes


def _lay_out(view: View, rows: Rows, map_by: str) -> tuple[Doubles, str]:
    """Return a point for each row, and how it was found."""
    frame = view.images.frame
    for names in _MAPS:
        if all(name in frame.columns and frame[name].dtype.kind == "f" for name in names):
            own = frame.iloc[rows][list(names)].to_numpy(np.float64)
            if np.isfinite(own).all():
                return own, f"mapped by the store's columns {names[0]} and {names[1]}"
    if map_by == UMAP:
        return _lay_out_by_umap(view, rows), "mapped by UMAP of cosine distances"
    return project(view, rows), "mapped by the first two principal components"


def project(view: View, rows: Rows) -> Doubles:
    """Return the first two principal components of vectors, a block of them in memory at a time.

    Parameters
    ----------
    view : View
        Whose store holds them.
    rows : ndarray of int64, shape (n,)

    Returns
    -------
    ndarray of float64, shape (n, 2)
        The sign of an axis is that which makes its largest loading positive.
    """
    dim = view.manifest.dim
    total, squares = np.zeros(dim), np.zeros((dim, dim))
    for block in _iter_blocks(view, rows):
        total += block.sum(axis=0)
        squares += block.T @ block
    mean = total / len(rows)
    _, axes = np.linalg.eigh(squares / len(rows) - np.outer(mean, mean))
    first = axes[:, ::-1][:, :2]
    largest = np.abs(first).argmax(axis=0)
    first = first * np.where(first[largest, range(first.shape[1])] < 0, -1.0, 1.0)
    points = [(block - mean) @ first for block in _iter_blocks(view, rows)]
    found = np.concatenate(points)
    # Vectors of one number have one component.
    return np.pad(found, ((0, 0), (0, 2 - found.shape[1])))


def _iter_blocks(view: View, rows: Rows) -> Iterator[Doubles]:
    for start in range(0, len(rows), 4096):
        yield view.store.read_vectors(rows[start : start + 4096]).astype(np.float64)


def _lay_out_by_umap(view: View, rows: Rows) -> Doubles:
    try:
        import umap  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        msg = (
            "a map by UMAP needs a library that is not installed; install it: pip install "
            "umap-learn, or leave --map-by out, which maps by principal components"
        )
        raise MissingExtraError(msg) from error
    vectors = view.store.read_vectors(rows)
    made = umap.UMAP(metric="cosine", random_state=0).fit_transform(vectors)
    return np.asarray(made, dtype=np.float64)


def _make_table(
    answers: Answers,
    shown: Sequence[tuple[Picture, Observation]],
    points: Doubles,
    vectors: Vectors,
    gone: list[str],
    people: str,
) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, Any] = {
        "file_name": [picture.name for picture, _ in shown],
        "image_region": [one.name for _, one in shown],
        "row": [one.row for _, one in shown],
        "label": [one.label for _, one in shown],
        "score": pa.array([one.score for _, one in shown], pa.float64()),
        "content": [one.content for _, one in shown],
    }
    for rank in RANKS:
        columns[rank.value] = [
            one.taxon.lineage[rank.depth] if one.taxon else "" for _, one in shown
        ]
    columns["common_name"] = [one.taxon.common_name if one.taxon else "" for _, one in shown]
    columns["labelled"] = [
        next((name for rank in reversed(RANKS)
              if (name := str(answers.view.images.labels(rank.value)[one.row]))), "")
        for _, one in shown
    ]  # fmt: skip
    for name in answers.own_columns:
        if name not in columns:
            texts = answers.view.images.labels(name)
            columns[name] = [str(texts[one.row]) for _, one in shown]
    places = [answers.places.get(picture.name) for picture, _ in shown]
    columns["latitude"] = pa.array([one and one.latitude for one in places], pa.float64())
    columns["longitude"] = pa.array([one and one.longitude for one in places], pa.float64())
    columns["generalised"] = [one.generalisation if one else "" for one in places]
    columns[_X], columns[_Y] = points[:, 0], points[:, 1]
    kind = pa.list_(pa.float32())
    columns["vector"] = pa.array(list(vectors.astype(np.float32)), kind)
    columns["image"] = pa.array(
        _make_thumbnails(answers, shown, gone, people),
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    return pa.table({name: _to_array(values) for name, values in columns.items()})


def _to_array(values: Any) -> Any:  # noqa: ANN401 - a list, an array or one of Arrow's
    import pyarrow as pa

    is_text = isinstance(values, list) and all(isinstance(one, str) for one in values)
    return pa.array(values, pa.string()) if is_text else values


def _make_thumbnails(
    answers: Answers,
    shown: Sequence[tuple[Picture, Observation]],
    gone: list[str],
    people: str,
) -> list[dict[str, Any] | None]:
    made: list[dict[str, Any] | None] = []
    before, whole = "", None
    for picture, one in shown:
        if people == LEAVE_OUT and one.content == HUMAN:
            made.append(None)
            continue
        if picture.name != before:
            before = picture.name
            try:
                whole = answers.decode(picture, people)
            except (ImageReadError, SourceError, OSError):
                whole = None
                gone.append(picture.name)
        if whole is None:
            made.append(None)
            continue
        cut = whole.crop(one.region.to_pixels(*whole.size)) if one.region else whole.copy()
        cut.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
        stream = io.BytesIO()
        write_picture(cut, stream, quality=82)
        made.append({"bytes": stream.getvalue(), "path": picture.name})
    return made


EMBEDDING_ATLAS = AnswerFormat(
    _write_embedding_atlas,
    (".parquet",),
    "vectors, map, labels and thumbnails for Embedding Atlas",
    ("map_by", "people"),
    tells_places=True,
)
