"""How exactly a place is told, and of which taxa."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MisuseError
from bioprobe.exporting.places import Grid, Place, Sensitive, read_place
from bioprobe.face.store import open as open_store
from bioprobe.images.writing import write_picture
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Taxon
from tests.conftest import PlainEncoder

KM_A_DEGREE = 111.19508


def _measure(one: Place, other: Place) -> float:
    """Return metres between two places near each other."""
    north = (one.latitude - other.latitude) * KM_A_DEGREE
    middle = math.cos(math.radians((one.latitude + other.latitude) / 2))
    turned = (one.longitude - other.longitude + 180) % 360 - 180
    return math.hypot(north, turned * KM_A_DEGREE * middle) * 1000


@pytest.mark.parametrize("step", ["0.1", "1", "0.01deg", "10km", "500m"])
def test_the_true_place_lies_within_the_uncertainty_that_is_told(step: str) -> None:
    grid = Grid.parse(step)
    random = np.random.default_rng(1)
    told = set()
    for latitude, longitude in zip(random.uniform(-80, 80, 200), random.uniform(-180, 180, 200),
                                   strict=True):  # fmt: skip
        exact = Place(latitude, longitude, 12.0)
        rough = grid.generalise(exact)
        assert rough.uncertainty_m is not None
        assert _measure(exact, rough) <= rough.uncertainty_m - 11
        assert -90 <= rough.latitude <= 90
        assert -180 <= rough.longitude <= 180
        assert rough.generalisation.startswith("rounded to ")
        told.add((rough.precision, rough.generalisation))
    # By degrees all are told alike; by kilometres the step east grows towards the poles.
    assert (len(told) == 1) == ("m" not in step)


def test_a_grid_is_read_or_refused() -> None:
    assert not Grid.parse("none")
    assert not Grid.parse("0")
    place = Place(1.0, 2.0)
    assert Grid.parse("none").generalise(place) is place
    for text in ("", "far", "-1", "11", "2000km", "0.1 miles", "nan"):
        with pytest.raises(MisuseError, match="degrees or kilometres"):
            Grid.parse(text)


@pytest.mark.parametrize(
    ("names", "is_secret"),
    [
        ({"genus": "Panthera", "species": "Panthera uncia"}, True),
        ({"genus": "Panthera", "species": "Panthera uncia irbis"}, True),
        ({"genus": "Panthera"}, True),  # it may be one
        ({"genus": "Panthera", "species": "Panthera leo"}, False),
        ({"family": "Felidae"}, False),
        ({"order": "Pholidota", "family": "Manidae"}, True),
        ({"family": "Orchidaceae", "species": "Ophrys apifera"}, True),
    ],
)
def test_what_lies_below_a_listed_name_is_sensitive(names: dict[str, str], is_secret: bool) -> None:
    listed = Sensitive.of(["panthera_uncia", "Pholidota", "ORCHIDACEAE"], Grid.parse("0.1"))
    assert listed.holds(Taxon.from_names(names)) == is_secret
    assert not Sensitive.of(["Pholidota"], Grid()).holds(Taxon.from_names(names))


def test_what_is_no_place_is_refused() -> None:
    assert read_place({"latitude": "", "longitude": "1"}, "a.jpg") is None
    for latitude, longitude in (("91", "1"), ("1", "181"), ("8E", "47N"), ("nan", "1")):
        with pytest.raises(MisuseError, match=r"a\.jpg lies at latitude"):
            read_place({"latitude": latitude, "longitude": longitude}, "a.jpg")


def test_a_column_of_status_makes_taxa_sensitive_wherever_they_are(
    make_store: Callable[..., EmbeddingStore], tmp_path: Path
) -> None:
    frame = pd.DataFrame(
        {"root": str(tmp_path), "path": ["a.jpg", "b.jpg", "c.jpg"],
         "genus": ["Panthera", "Panthera", "Turdus"],
         "species": ["Panthera tigris", "Panthera tigris", "Turdus merula"],
         "iucn_status": ["EN", "", "LC"], "latitude": [47.12, 11.34, 22.56], "longitude": 8.26}
    )  # fmt: skip
    made = make_store(PlainEncoder(dim=4)).append(frame, normalise_rows(np.eye(3, 4)))
    store = open_store(made.folder)
    for text, wanted in (("0.1", ["47.1", "11.3", "22.56"]), ("none", ["47.12", "11.34", "22.56"])):
        target = tmp_path / f"out-{text}"
        store.export_answers(labels=True, form="darwin-core", target=target, generalise=text)
        found = pd.read_csv(target / "occurrence.csv", dtype=str)
        assert found["decimalLatitude"].tolist() == wanted
    with pytest.raises(MisuseError, match="--sensitive counts only where"):
        store.export_answers(
            labels=True, form="darwin-core", target=tmp_path / "x", generalise="none",
            sensitive=tmp_path / "list.txt",
        )  # fmt: skip


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_written_picture_says_nothing_of_its_camera(kind: str, tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 8), "red")
    exif = Image.Exif()
    exif[0x010F] = "SECRET-CAMERA"
    picture.info = {"exif": exif.tobytes(), "comment": b"SECRET place", "xmp": b"SECRET xmp",
                    "icc_profile": b"\0" * 16 + b"CMYKSECRET"}  # fmt: skip
    stream = io.BytesIO()
    write_picture(picture, stream, kind=kind)
    assert b"SECRET" not in stream.getvalue()
    assert picture.info["comment"] == b"SECRET place"
    write_picture(picture, tmp_path / "kept", kind=kind, exif=exif.tobytes())
    with Image.open(tmp_path / "kept") as kept:
        assert kept.getexif()[0x010F] == "SECRET-CAMERA"
