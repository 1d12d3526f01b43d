from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from bioprobe.errors import SourceError
from bioprobe.images.regions import REGION
from bioprobe.sources.source import SourceOptions, find_images
from tests.sources.packages_made import describe, draw, find, get, pack, say, write

_TABLES = ("deployments", "media", "observations")
_TAXA = [
    {"scientificName": "Lynx lynx", "taxonRank": "species", "kingdom": "Animalia",
     "family": "Felidae", "vernacularNames": {"deu": "Luchs", "eng": "Lynx"}}
]  # fmt: skip
_MEDIA = "mediaID,deploymentID,timestamp,filePath,fileMediatype\n"
_OBSERVATIONS = (
    "observationID,deploymentID,mediaID,eventID,eventStart,eventEnd,observationLevel,"
    "observationType,scientificName,count,bboxX,bboxY,bboxWidth,bboxHeight,classificationMethod,"
    "classifiedBy\n"
)


def _make(folder: Path, media: str, observations: str) -> Path:
    draw(folder, "007.jpg", "7.jpg")
    return write(
        folder,
        datapackage__json=describe(
            *_TABLES, profile="https://x/camtrap-dp/1.0.2/p.json", taxonomic=_TAXA
        ),
        deployments__csv="deploymentID,locationName,latitude,cameraID\n1,ridge,47.10,C1\n",
        media__csv=_MEDIA + media,
        observations__csv=_OBSERVATIONS + observations,
    )


def _two(folder: Path) -> Path:
    return _make(
        folder,
        "007,1,2021-05-01T10:00:00Z,007.jpg,image/jpeg\n"
        "7,1,2021-05-01T12:00:00+02:00,7.jpg,image/jpeg\n",
        "o1,1,007,e,,,media,animal,Lynx lynx,2,0.5,0.5,0.75,0.25,machine,M5\n"
        "o2,1,007,e,,,media,animal,Canis lupus,1,,,,,human,\n"
        "o3,1,,f,2021-05-01T09:59:00Z,2021-05-01T10:01:00Z,event,blank,,,,,,,human,\n",
    )


def test_observations_are_joined_by_media_and_by_event_and_time(tmp_path: Path) -> None:
    listing = find(_two(tmp_path))
    assert get(listing, "path") == ["007.jpg", "007.jpg", "7.jpg"]
    assert get(listing, "species") == ["Lynx lynx", "Canis lupus", ""]
    assert get(listing, "content") == ["animal", "animal", "blank"]
    assert get(listing, "observation_id") == ["o1", "o2", "o3"]
    assert get(listing, "media_id") == ["007", "007", "7"]
    assert get(listing, "event_id") == ["e", "e", "f"]
    assert get(listing, "family")[0] == "Felidae"
    assert get(listing, "common_name") == ["Lynx", "", ""]
    assert get(listing, "camera") == ["C1"] * 3
    assert get(listing, "latitude") == [47.1] * 3
    assert get(listing, "labels_from") == ["machine:M5", "", ""]
    assert "among the package's taxa: Canis lupus" in say(listing)


def test_a_box_is_a_region_clipped_to_its_picture(tmp_path: Path) -> None:
    listing = find(_two(tmp_path))
    assert get(listing, REGION) == ["0.5,0.5,0.5,0.25", "", ""]
    assert get(listing, "box_width") == [0.5, None, None]
    assert get(listing, "detection_category")[0] == "animal"
    assert "1 boxes leave their picture" in say(listing)


def test_options_of_regions_have_an_effect(tmp_path: Path) -> None:
    package = _two(tmp_path)
    padded = find_images([package], SourceOptions(pad=0.1, square=True))
    assert get(padded, REGION)[0] == "0.5,0.5,0.5,0.25+0.1s"
    blank = find_images([package], SourceOptions(categories=("empty",)))
    assert get(blank, "observation_id") == ["o3"]
    assert "2 rows are of no category that was asked for (empty): animal" in say(blank)


@pytest.mark.parametrize("box", ["1.5,1.5,0.1,0.1", "200,300,50,50", "0.1,,0.2,0.3", "0,0,0,0"])
def test_an_impossible_box_is_a_failure_that_names_its_entry(tmp_path: Path, box: str) -> None:
    _make(tmp_path, "m,1,,7.jpg,image/jpeg\n", f"o9,1,m,,,,media,animal,,1,{box},human,\n")
    listing = find(tmp_path)
    assert len(listing) == 0
    ((_, entry, why),) = listing.unread
    assert "7.jpg" in entry
    assert "o9" in entry
    assert "expected" in why


def test_a_path_of_a_folder_is_completed_and_what_stands_twice_is_taken_once(
    tmp_path: Path,
) -> None:
    draw(tmp_path, "p/a.jpg", "p/b.jpg", "c.jpg")
    write(
        tmp_path, datapackage__json=describe("deployments", "media", "observations"),
        deployments__csv="deploymentID\n1\n",
        media__csv="mediaID,deploymentID,filePath,fileName\n"
        "a,1,p,a.jpg\nb,1,p/,b.jpg\nc,1,,c.jpg\n",
        observations__csv="observationID,deploymentID,mediaID,observationType,scientificName\n"
        + "o1,1,a,animal,Lynx lynx\n" * 2 + "o2,1,a,animal,Lynx lynx\n",
    )  # fmt: skip
    listing = find(tmp_path)
    assert get(listing, "path") == ["p/a.jpg", "p/a.jpg", "p/b.jpg", "c.jpg"]
    assert get(listing, "observation_id")[:2] == ["o1", "o2"]
    assert "1 observations stand there twice, and are taken once: o1" in say(listing)


def test_two_animals_of_one_picture_stay_two(tmp_path: Path) -> None:
    rows = "".join(f"o{i},1,m,,,,media,animal,Lynx lynx,1,,,,,human,\n" for i in range(3))
    _make(tmp_path, "m,1,,7.jpg,image/jpeg\n", rows)
    listing = find(tmp_path)
    assert get(listing, REGION) == ["", "#2", "#3"]
    assert "further observations" in say(listing)


def test_what_does_not_match_is_counted(tmp_path: Path) -> None:
    _make(
        tmp_path,
        "m,2,2021-05-01T10:00:00Z,7.jpg,image/jpeg\nv,2,,a.mp4,video/mp4\nn,2,,,image/jpeg\n",
        "o1,2,gone,,,,media,animal,,1,,,,,human,\no2,9,,x,,,event,animal,,1,,,,,human,\n"
        "o3,1,m,e,,,media,blank,,1,,,,,human,\n"
        "o4,2,,,2021-05-01T10:00:00Z,,event,animal,,1,,,,,human,\n",
    )
    listing = find(tmp_path)
    said = say(listing)
    assert get(listing, "path") == ["7.jpg"]
    for text in (
        "1 observations name a mediaID that no media has, and are no row: o1",
        "1 observations of events have no media by deployment and time, and are no row: o2",
        "1 observations name another deployment than their media, whose is taken: o3",
        "all have observations of their own, which are taken: o4",
        "1 deploymentIDs of media are not among the deployments: 2",
        "no pictures by their endings, and left out: a.mp4",
        "2 media have no observation",
    ):
        assert text in said
    assert [entry for _, entry, _ in listing.unread] == ["media n"]


def test_the_description_says_how_tables_are_written(tmp_path: Path) -> None:
    draw(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    parts = ["mediaID;filePath\n1;a.jpg\n", "mediaID;filePath\n01;b.jpg\n"]
    (tmp_path / "m1.csv").write_text(parts[0], encoding="utf-16")
    (tmp_path / "m2.csv.gz").write_bytes(gzip.compress(parts[1].encode("utf-16")))
    pd.DataFrame({"observationID": ["o"], "mediaID": ["01"], "observationType": ["human"],
                  "count": [3]}).to_parquet(tmp_path / "o.parquet")  # fmt: skip
    resources = [
        {"name": "media", "path": ["m1.csv", "m2.csv.gz"], "encoding": "utf-16",
         "dialect": {"delimiter": ";"}},
        {"name": "observations", "path": "o.parquet"},
        {"name": "deployments", "data": [{"deploymentID": "1"}]},
    ]  # fmt: skip
    write(tmp_path, datapackage__json=json.dumps({"resources": resources}))
    listing = find(tmp_path)
    assert get(listing, "path") == ["a.jpg", "b.jpg"]
    assert get(listing, "content") == ["", "human"]
    assert get(listing, "media_id") == ["1", "01"]


def test_a_zip_is_read_where_it_lies(tmp_path: Path) -> None:
    file = pack(_two(tmp_path / "in"), tmp_path / "package.zip", "package/")
    listing = find(file)
    assert set(get(listing, "root")) == {f"archive:{file}"}
    assert get(listing, "path")[0] == "package/007.jpg"
    assert get(listing, "species")[0] == "Lynx lynx"


def test_pictures_beside_the_package_are_read_and_none_farther_out(tmp_path: Path) -> None:
    draw(tmp_path, "x/pictures/a.jpg", "secret/b.jpg", "secret/c.txt")
    package = _make(
        tmp_path / "x" / "package",
        "1,1,,../pictures/a.jpg,image/jpeg\n2,1,,../../secret/b.jpg,image/jpeg\n"
        "3,1,,../pictures/c.txt,image/jpeg\n",
        "",
    )
    listing = find(package)
    assert get(listing, "path") == ["pictures/a.jpg"]
    assert [Path(path).name for _, path, _ in listing.unread] == ["b.jpg"]
    assert "--allow-outside" in listing.unread[0][2]
    both = find_images([package], SourceOptions(allow_outside=True))
    assert len(both) == 2
    named = find_images([package, tmp_path / "secret"])
    assert "2" in get(named, "media_id")


def test_a_package_in_somebodys_home_names_no_picture_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    draw(tmp_path, "own/a.jpg")
    package = _make(tmp_path / "package", "1,1,,../own/a.jpg,image/jpeg\n", "")
    assert len(find(package)) == 0


def test_addresses_are_rows_of_their_own(tmp_path: Path) -> None:
    _make(tmp_path, "1,1,,https://example.org/a/b.jpg,image/jpeg\n", "")
    listing = find(tmp_path)
    assert (get(listing, "root"), get(listing, "path")) == (["https://example.org/a"], ["b.jpg"])
    assert "--fetch" in say(listing)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read"),
        (describe("media", "observations", "deployments"), "deployments.csv"),
        (describe("media", profile="camtrap-dp"), "media.csv"),
        (json.dumps({"profile": "camtrap-dp", "resources": [{"name": "media"}]}), "no path"),
        (json.dumps({"profile": "camtrap-dp", "resources": "?"}), "no media"),
        (json.dumps({"profile": "camtrap-dp", "resources": [
            {"name": "media", "path": "../../x.csv"}]}), "outside"),
        (json.dumps({"profile": "camtrap-dp", "resources": [
            {"name": "media", "path": "https://x.org/m.csv"}]}), "fetch"),
    ],
)  # fmt: skip
def test_a_package_that_cannot_be_read_says_why(tmp_path: Path, text: str, says: str) -> None:
    write(tmp_path, datapackage__json=text)
    with pytest.raises(SourceError, match=says):
        find(tmp_path)


@pytest.mark.shared
def test_the_sample_says_what_its_readme_says(shared_dir: Path) -> None:
    listing = find(shared_dir / "data/field-files/camtrap_dp")
    names = [Path(path).name for path in get(listing, "path")]
    assert sorted(set(names)) == [f"IMG_000{i}.JPG" for i in range(8)]
    rows = dict(zip(zip(names, get(listing, REGION), strict=True),
                    get(listing, "species"), strict=True))  # fmt: skip
    assert rows["IMG_0005.JPG", ""] == "Turdus migratorius"
    assert rows["IMG_0005.JPG", "#2"] == "Canis lupus"
    assert rows["IMG_0003.JPG", ""] == "Alces alces"
    assert dict(zip(names, get(listing, "content"), strict=True))["IMG_0001.JPG"] == "blank"
    assert get(listing, "location")[:2] == ["ridge", "creek"]


@pytest.mark.parametrize("name", ["eventID", "sequenceID"])
def test_media_of_older_packages_say_their_event(tmp_path: Path, name: str) -> None:
    draw(tmp_path, "p/a.jpg", "p/b.jpg")
    write(
        tmp_path,
        datapackage__json=describe(*_TABLES, profile="…/camtrap-dp/0.6/camtrap-dp-profile.json"),
        deployments__csv="deploymentID\nD1\n",
        media__csv=f"mediaID,deploymentID,{name},filePath\nm0,D1,e1,p/a.jpg\nm1,D1,e2,p/b.jpg\n",
        observations__csv=f"observationID,deploymentID,{name},observationType,scientificName\n"
        "o0,D1,e2,animal,Alces alces\n",
    )
    listing = find(tmp_path)
    assert dict(zip(get(listing, "path"), get(listing, "species"), strict=True)) == {
        "p/a.jpg": "", "p/b.jpg": "Alces alces"
    }  # fmt: skip
