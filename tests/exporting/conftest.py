"""A small store of two cameras whose files have the same names, and answers to its regions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.face.store import Store
from bioprobe.face.store import open as open_store
from bioprobe.files import hash_file
from bioprobe.images.regions import Region
from bioprobe.provenance import Provenance
from bioprobe.store import EmbeddingStore
from tests.conftest import PlainEncoder

TIGER = {
    "kingdom": "Animalia", "phylum": "Chordata", "class": "Mammalia", "order": "Carnivora",
    "family": "Felidae", "genus": "Panthera", "species": "Panthera tigris",
}  # fmt: skip
ROBIN = {
    "kingdom": "Animalia", "phylum": "Chordata", "class": "Aves", "order": "Passeriformes",
    "family": "Turdidae", "genus": "Turdus", "species": "Turdus migratorius",
}  # fmt: skip
CARNIVORE = TIGER | dict.fromkeys(("family", "genus", "species"), "")
NOTHING = dict.fromkeys(TIGER, "")
COMMON = {"Panthera tigris": "tiger", "Turdus migratorius": "American robin"}
LEFT, RIGHT, LOWER = (
    Region(0.1, 0.2, 0.3, 0.4), Region(0.5, 0.25, 0.4, 0.5, 0.1, square=True),
    Region(0.0, 0.5, 0.5, 0.5),
)  # fmt: skip
# Camera, file, region, label, content, category, confidence, latitude, time.
ROWS = (
    ("cam1", "IMG_1.JPG", LEFT.name, TIGER, "animal", "animal", 0.93, 47.1234, "10:00:00"),
    ("cam1", "IMG_1.JPG", RIGHT.name, ROBIN, "animal", "animal", 0.61, 47.1234, "10:00:00"),
    ("cam1", "IMG_2.JPG", LOWER.name, NOTHING, "human", "human", 0.88, 47.1234, "10:00:05"),
    ("cam2", "IMG_1.JPG", "", ROBIN, "animal", "", np.nan, 12.5678, "11:00:00"),
    ("cam2", "IMG_2.JPG", "", NOTHING, "blank", "", np.nan, 12.5678, "11:00:30"),
    ("cam2", "IMG_3.JPG", "", CARNIVORE, "animal", "", np.nan, 12.5678, "11:10:00"),
)
PROVENANCE = Provenance(
    encoder={"model": "plain-1", "weights_sha256": "ab" * 32}, store="store", n_rows=6,
    options={"kind": "linear"}, command="bioprobe probe predict linear", version="0.1.0",
    time="2026-05-01T10:00:00+00:00",
)  # fmt: skip


def _draw(file: Path, number: int) -> None:
    pixels = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize((80, 60), Image.Resampling.BILINEAR)
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (47.0, 7.0, 24.0), 3: "E", 4: (8.0, 15.0, 0.0)}
    exif[0xA431] = "SERIAL-4711"
    picture.save(file, "JPEG", exif=exif, comment=b"GPS 47.1234 8.2571")


@pytest.fixture
def store(tmp_path: Path, make_store: Callable[..., EmbeddingStore]) -> Store:
    frame = pd.DataFrame(
        [
            {"root": str(tmp_path / camera), "path": file, "image_region": region, **label,
             "common_name": COMMON.get(label["species"], ""), "content": content,
             "detection_category": category, "detection_confidence": confidence,
             "detector": "MDv5a" if category else "", "deployment_id": camera,
             "latitude": latitude, "longitude": 8.2571, "captured_at": f"2021-05-01T{time}",
             "width_px": 80, "height_px": 60, "n_bytes": 1000}
            for number, (camera, file, region, label, content, category, confidence, latitude, time)
            in enumerate(ROWS)
        ]
    )  # fmt: skip
    for number, (root, path) in enumerate(sorted(set(zip(frame["root"], frame["path"],
                                                         strict=True)))):  # fmt: skip
        Path(root).mkdir(exist_ok=True)
        _draw(Path(root) / path, number)
    files = [Path(root) / path for root, path in zip(frame["root"], frame["path"], strict=True)]
    frame["sha256"] = [hash_file(file) for file in files]
    vectors = np.random.default_rng(0).normal(size=(len(frame), 4))
    made = make_store(PlainEncoder(dim=4)).append(frame, normalise_rows(vectors))
    return open_store(made.folder)


@pytest.fixture
def answers(store: Store, tmp_path: Path) -> Path:
    """Write a table of answers as the commands do; two an image, one picture unread."""
    names = store._view.images.file_names
    best = [
        (TIGER, 0.91), (ROBIN, 0.8), (TIGER, 0.3), (ROBIN, 0.7), (TIGER, 0.2), (CARNIVORE, 0.72),
    ]  # fmt: skip
    rows = []
    for row, (label, score) in enumerate(best):
        other = ROBIN if label is not ROBIN else TIGER
        for answer, (one, said) in enumerate(((label, score), (other, 0.05)), start=1):
            rows.append(
                {"file_name": names[row], **one, "common_name": COMMON.get(one["species"], ""),
                 "score": said, "answer": answer, "row": row, "content": ROWS[row][4],
                 "reason": ""}
            )  # fmt: skip
    gone = {"file_name": "BROKEN.JPG", "content": "unreadable", "reason": "the file is empty"}
    frame = pd.DataFrame([*rows, gone]).astype({"row": "Int64", "answer": "Int64"})
    file = tmp_path / "answers.csv"
    frame.to_csv(file, index=False)
    text = json.dumps(PROVENANCE.to_dict())
    Path(f"{file}.provenance.json").write_text(text, encoding="utf-8")
    return file
