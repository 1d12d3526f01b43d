"""What the two data sets hold, and where; what lies otherwise is refused, with what is missing.

IDLE-OO Camera Traps is a folder of tables, ``SET-balanced.csv``, whose column ``filepath``
(``SET/FILE``) is below ``data/test``. The multi-species benchmark is Parquet: a row for each
species of a picture, with the bytes of the picture, and a box where one was drawn.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
from PIL import Image

from benchmarks.camera_traps.published import SET_SIZES
from bioprobe.images.regions import BOX_COLUMNS

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
# The tables say "cls", a word that Python leaves free.
SET_COLUMNS = ("kingdom", "phylum", "cls", "order", "family", "genus", "species",
               "common_name", "filepath")  # fmt: skip
SET_PICTURES = Path("data", "test")
MULTI_COLUMNS = (
    "image_id", "source_benchmark", "source_dataset", "source_url", "image", "n_species_in_image",
    "species_idx", "role", "bbox_px", *RANKS, "common_name", "taxonomy_source", "reviewer",
)  # fmt: skip
BOX_FORMS = ("xyxy", "xywh")
_N_TOLD = 3
# A box that is rounded may end a pixel outside of its picture.
_SLACK_PX = 1.0


class LayoutError(ValueError):
    """Files that are not laid out as the data set is."""


def read_sets(folder: Path) -> pd.DataFrame:
    """List the pictures of IDLE-OO Camera Traps.

    Returns
    -------
    DataFrame
        A row for each picture: ``path`` (absolute), ``set``, the seven ranks, ``common_name``.

    Raises
    ------
    LayoutError
        If a table, one of its columns, or a picture that it names is not there.
    """
    parts = []
    for name in SET_SIZES:
        file = folder / f"{name}-balanced.csv"
        if not file.is_file():
            raise LayoutError(_refuse(folder, f"no table {file.name}"))
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        _check_columns(table.columns, SET_COLUMNS, file)
        paths = [folder.absolute() / SET_PICTURES / path for path in table["filepath"]]
        missing = [str(path) for path in paths if not path.is_file()]
        if missing:
            what = f"{len(missing):,} of its {len(paths):,} pictures are not there"
            raise LayoutError(_refuse(file, f"{what}: {', '.join(missing[:_N_TOLD])}"))
        ranks = table.rename(columns={"cls": "class"})[[*RANKS, "common_name"]]
        parts.append(ranks.assign(set=name, path=[str(path) for path in paths]))
    return pd.concat(parts, ignore_index=True)


def find_differences(listed: pd.DataFrame) -> list[str]:
    """Say what of the pictures is not as published; figures of such stand beside nothing."""
    found = []
    for name, size in SET_SIZES.items():
        of_set = listed[listed["set"] == name]
        if len(of_set) != size:
            found.append(f"{name} has {len(of_set):,} pictures, published are {size:,}")
        counts = of_set.groupby(list(RANKS)).size()
        if counts.nunique() > 1:
            found.append(f"{name} is not balanced: {counts.min()} to {counts.max()} a species")
    return found


def read_multi(folder: Path, pictures: Path, box_form: str | None = None) -> pd.DataFrame:
    """List the multi-species benchmark, and write its pictures as files.

    Parameters
    ----------
    folder : Path
        Holds the Parquet files, at any depth.
    pictures : Path
        Where the pictures go; those that are there stay.
    box_form : {"xyxy", "xywh"}, optional
        What the four numbers of a box are: its ends, or a corner with width and height. By default
        the one of the two by which every box lies inside of its picture.

    Returns
    -------
    DataFrame
        A row for each species of each picture: ``path`` (absolute), ``image_id``, the seven ranks,
        ``common_name``, and the box as shares of the picture, not numbers where there is none.

    Raises
    ------
    LayoutError
        If there is no Parquet file, a column or the bytes of a picture are not there, or boxes
        leave their pictures, or could be meant either way.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(folder.rglob("*.parquet"))
    if not files:
        raise LayoutError(_refuse(folder, "no Parquet file"))
    pictures.mkdir(parents=True, exist_ok=True)
    parts, sizes = [], dict[str, tuple[int, int]]()
    for file in files:
        with pq.ParquetFile(file) as opened:
            schema = opened.schema_arrow
            _check_columns(schema.names, MULTI_COLUMNS, file)
            kind = schema.field("image").type
            if not pa.types.is_struct(kind) or "bytes" not in {one.name for one in kind}:
                raise LayoutError(_refuse(file, f"'image' is {kind}, expected a field 'bytes'"))
            for batch in opened.iter_batches(batch_size=64):
                part = batch.to_pandas()
                part["path"] = [
                    _keep(pictures, image_id, image["bytes"], sizes)
                    for image_id, image in zip(part["image_id"], part["image"], strict=True)
                ]
                parts.append(part.drop(columns="image"))
    found: pd.DataFrame = pd.concat(parts, ignore_index=True)
    names = [*RANKS, "common_name"]
    found[names] = found[names].astype(object).where(found[names].notna(), "").astype(str)
    form = box_form or _find_box_form(found, sizes)
    for column, shares in _to_shares(found, sizes, form).items():
        found[column] = shares
    return found


def _keep(pictures: Path, image_id: str, content: bytes, sizes: dict[str, tuple[int, int]]) -> str:
    """Write a picture once, and measure it; return where it lies."""
    path = pictures.absolute() / f"{hashlib.sha256(image_id.encode()).hexdigest()[:24]}.jpg"
    if str(path) not in sizes:
        if not path.exists():
            path.write_bytes(content)
        with Image.open(path) as image:
            sizes[str(path)] = image.size
    return str(path)


def _find_box_form(found: pd.DataFrame, sizes: dict[str, tuple[int, int]]) -> str:
    fitting = []
    for form in BOX_FORMS:
        try:
            _to_shares(found, sizes, form)
        except LayoutError:
            continue
        fitting.append(form)
    if found["bbox_px"].isna().all():
        return BOX_FORMS[0]
    if len(fitting) != 1:
        how = "could be meant either way" if fitting else "leave their pictures either way"
        msg = f"boxes {how}, as ends or as corner and size: say --boxes {' or '.join(BOX_FORMS)}"
        raise LayoutError(msg)
    return fitting[0]


def _to_shares(
    found: pd.DataFrame, sizes: dict[str, tuple[int, int]], form: str
) -> dict[str, list[float]]:
    """Return the columns of boxes relative to their pictures."""
    shares: list[tuple[float, ...]] = []
    for path, box in zip(found["path"], found["bbox_px"], strict=True):
        if box is None or len(box) == 0:
            shares.append((float("nan"),) * 4)
            continue
        x, y, third, fourth = (float(one) for one in box)
        width, height = (third - x, fourth - y) if form == "xyxy" else (third, fourth)
        width_px, height_px = sizes[path]
        is_inside = (
            min(x, y) >= -_SLACK_PX and min(width, height) > 0
            and x + width <= width_px + _SLACK_PX and y + height <= height_px + _SLACK_PX
        )  # fmt: skip
        if not is_inside:
            msg = f"{path}: box {list(box)} as {form} leaves its {width_px} by {height_px} pixels"
            raise LayoutError(msg)
        shares.append((x / width_px, y / height_px, width / width_px, height / height_px))
    return dict(zip(BOX_COLUMNS, map(list, zip(*shares, strict=True)), strict=True))


def _check_columns(got: object, wanted: tuple[str, ...], file: Path) -> None:
    missing = [name for name in wanted if name not in list(got)]  # type: ignore[call-overload]
    if missing:
        raise LayoutError(_refuse(file, f"no column {', '.join(missing)}"))


def _refuse(what: Path, reason: str) -> str:
    return f"{what}: {reason}; fetch the whole data set, as its publisher lays it out"
