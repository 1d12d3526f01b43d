"""Packages with columns removed, cells mutated and files missing are read or refused."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from bioprobe.errors import BioprobeError
from bioprobe.sources.source import find_images
from tests.sources.packages_made import describe, draw, write

_CELLS = (
    "", "\0", '"', "a;b\t,", "-1", "1e400", "NaN", "../../../etc/passwd", "/etc/x.jpg", "é" * 9,
    "http://[", r"\\?\C:\a.jpg", "x" * 300, "..", "0,0,0,0", "gs://",
)  # fmt: skip


def _camtrap(folder: Path) -> Path:
    write(
        folder,
        datapackage__json=describe("deployments", "media", "observations", profile="camtrap-dp",
                                   taxonomic=[{"scientificName": "Lynx lynx", "family": "Fe"}]),
        deployments__csv="deploymentID,locationName,latitude\n1,ridge,47.1\n",
        media__csv="mediaID,deploymentID,timestamp,filePath\n" + "".join(
            f"m{i},1,2021-05-01T10:00:0{i}Z,{'ab'[i % 2]}.jpg\n" for i in range(4)),
        observations__csv="observationID,deploymentID,mediaID,eventID,eventStart,observationLevel,"
        "observationType,scientificName,bboxX,bboxY,bboxWidth,bboxHeight\n"
        "1,1,m1,e,,media,animal,Lynx lynx,0.1,0.1,0.2,0.2\n"
        "2,1,,f,2021-05-01T10:00:02Z,event,animal,Lynx lynx,,,,\n",
    )  # fmt: skip
    return folder


def _dwca(folder: Path) -> Path:
    return write(
        folder,
        occurrence__txt="gbifID\tscientificName\torder\n1\tLynx lynx\tCarnivora\n2\tAlces\t\n",
        multimedia__txt="gbifID\tidentifier\ttype\n1\ta.jpg\tStillImage\n2\tb.jpg\t\n",
    )


def _insights(folder: Path) -> Path:
    return write(
        folder,
        images__csv="project_id,deployment_id,image_id,filename,location,wi_taxon_id,class,genus,"
        "species\n1,D,i,a.jpg,gs://b/a.jpg,t,Mammalia,Lynx,lynx\n1,D,j,b.jpg,gs://b/b.jpg,t,,,\n",
        deployments__csv="deployment_id,placename\nD,ridge\n",
    )


def _open_data(folder: Path) -> Path:
    return write(
        folder,
        photos__csv="photo_id\tobservation_uuid\textension\n10\tu\tjpg\n11\tv\tpng\n",
        observations__csv="observation_uuid\ttaxon_id\nu\t3\nv\t2\n",
        taxa__csv="taxon_id\tancestry\trank\tname\n2\t\tgenus\tLynx\n3\t2\tspecies\tLynx lynx\n",
    )


def _dwc_dp(folder: Path) -> Path:
    return write(
        folder,
        datapackage__json=describe("event", "occurrence", "media"),
        event__csv="eventID,locality\n1,ridge\n",
        occurrence__csv="occurrenceID,eventID,mediaID,scientificName\n1,1,1,Lynx lynx\n",
        media__csv="mediaID,accessURI\n1,a.jpg\n2,b.jpg\n",
    )


def _mutate(folder: Path, chance: random.Random) -> None:
    files = sorted(file for file in folder.iterdir() if file.suffix != ".jpg")
    if not files:
        return
    file = chance.choice(files)
    kind = chance.choice(["cell", "cell", "cell", "column", "file", "bytes", "line"])
    if kind == "file":
        file.unlink()
        return
    data = file.read_bytes()
    if kind == "bytes" or file.suffix == ".json":
        at = chance.randrange(max(len(data), 1))
        file.write_bytes(data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :])
        return
    separator = b"\t" if b"\t" in data else b","
    rows = [line.split(separator) for line in data.split(b"\n")[:-1]]
    if not rows:
        return
    row = chance.randrange(len(rows))
    if kind == "cell":
        cell = chance.choice(_CELLS).encode("utf-8", "replace")
        rows[row][chance.randrange(len(rows[row]))] = cell
    elif kind == "column":
        at = chance.randrange(len(rows[0]))
        rows = [cells[:at] + cells[at + 1 :] for cells in rows]
    else:
        rows.insert(row, rows[row] + rows[row][: chance.randrange(3)])
    file.write_bytes(b"".join(separator.join(cells) + b"\n" for cells in rows))


@pytest.mark.parametrize("n_packages", [20, pytest.param(200, marks=pytest.mark.long)])
@pytest.mark.parametrize("make", [_camtrap, _dwca, _insights, _open_data, _dwc_dp])
def test_mutated_packages_are_read_or_refused(
    tmp_path: Path, make: Callable[[Path], Path], n_packages: int
) -> None:
    chance = random.Random(15)
    n_read = 0
    for number in range(n_packages):
        folder = draw(make(tmp_path / str(number)), "a.jpg", "b.jpg")
        for _ in range(chance.randrange(1, 4)):
            _mutate(folder, chance)
        with contextlib.suppress(BioprobeError):
            listing = find_images([folder])
            n_read += 1
            assert len(listing) or listing.unread or listing.notes
            assert not any(str(file).endswith("passwd") for file in listing.frame["path"])
    assert n_read > n_packages / 6
