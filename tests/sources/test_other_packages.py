"""Darwin Core archives and data packages, Wildlife Insights, Timelapse, iNaturalist."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bioprobe.errors import SourceError
from bioprobe.images.regions import REGION
from bioprobe.sources.source import SourceOptions, find_images
from tests.sources.packages_made import describe, draw, find, get, pack, say, write

_DWC = "http://rs.tdwg.org/dwc/terms/"
_DC = "http://purl.org/dc/terms/"


def _meta(core: str, *extensions: str) -> str:
    return f'<archive xmlns="http://rs.tdwg.org/dwc/text/">{core}{"".join(extensions)}</archive>'


def _table(
    kind: str,
    row_type: str,
    files: str,
    terms: str,
    *,
    how: str = "",
    key: str = "",
    more: str = "",
) -> str:
    located = "".join(f"<location>{name}</location>" for name in files.split())
    fields = "".join(
        f'<field index="{index}" term="{term}"/>' for index, term in enumerate(terms.split(), 1)
    )
    key = key or ("id" if kind == "core" else "coreid")
    how = how or 'fieldsTerminatedBy="\\t" fieldsEnclosedBy="" ignoreHeaderLines="1"'
    return (
        f'<{kind} rowType="{row_type}" {how}><files>{located}</files><{key} index="0"/>'
        f"{fields}{more}</{kind}>"
    )


_MEDIA = _table(
    "extension", "http://rs.gbif.org/terms/1.0/Multimedia", "multimedia.txt",
    f"{_DC}identifier {_DC}title {_DC}type",
)  # fmt: skip


def _archive(folder: Path) -> Path:
    draw(folder, "p/a.jpg", "p/b.jpg")
    meta = _meta(
        _table("core", f"{_DWC}Occurrence", "o1.txt o2.txt", f"{_DWC}scientificName {_DWC}order",
               more=f'<field term="{_DWC}country" default="NO"/>'),
        _MEDIA,
    )  # fmt: skip
    return write(
        folder,
        meta__xml=meta,
        o1__txt="id\tn\to\n007\tLynx lynx (Linnaeus, 1758)\tCarnivora\n",
        o2__txt='id\tn\to\n7\t"Alces alces\t\n8\tUrsus arctos\t\n',
        multimedia__txt='id\tf\tt\tk\n007\tp/a.jpg\tthe "old\tStillImage\n'
        "7\tp/b.jpg\t\tStillImage\n9\tp/b.jpg\t\t\n7\tp/c.mp3\t\tSound\n",
    )


def test_a_darwin_core_archive_is_read_as_its_meta_xml_says(tmp_path: Path) -> None:
    listing = find(_archive(tmp_path))
    assert get(listing, "path") == ["p/a.jpg", "p/b.jpg", "p/b.jpg"]
    assert get(listing, "species")[0] == "Lynx lynx"
    assert get(listing, "core_id") == ["007", "7", None]
    assert get(listing, "media_title")[0] == 'the "old'
    assert get(listing, "country")[:2] == ["NO", "NO"]
    said = say(listing)
    assert "1 media belong to no one occurrence, and are rows without a label: 9" in said
    assert "p/c.mp3" in said
    assert "1 of 3 occurrences have no media" in said


def test_a_picture_in_two_tables_of_media_is_one(tmp_path: Path) -> None:
    draw(tmp_path, "p/a.jpg", "p/b.jpg")
    audubon = _table("extension", "http://rs.tdwg.org/ac/terms/Multimedia", "ac.txt",
                     f"http://rs.tdwg.org/ac/terms/accessURI {_DC}title")  # fmt: skip
    core = _table("core", f"{_DWC}Occurrence", "o.txt", f"{_DWC}scientificName")
    write(
        tmp_path, meta__xml=_meta(core, _MEDIA, audubon), o__txt="id\tn\n7\tAlces alces\n",
        multimedia__txt="id\tf\tt\tk\n7\tp/a.jpg\t\tStillImage\n7\tp/a.jpg\t\tStillImage\n",
        ac__txt="id\tf\tt\n7\tp/a.jpg\tMoose\n7\tp/b.jpg\t\n",
    )  # fmt: skip
    listing = find(tmp_path)
    assert get(listing, "path") == ["p/a.jpg", "p/b.jpg"]
    assert get(listing, "media_title")[0] == "Moose"
    assert "2 media stand in several rows or tables" in say(listing)


def test_a_zipped_archive_is_one_and_no_plain_zip(tmp_path: Path) -> None:
    file = pack(_archive(tmp_path / "in"), tmp_path / "a.zip")
    listing = find(file)
    assert set(get(listing, "root")) == {f"archive:{file}"}
    assert get(listing, "species")[0] == "Lynx lynx"


def test_quotes_encodings_and_several_media_of_a_cell(tmp_path: Path) -> None:
    draw(tmp_path, "a.jpg", "b.jpg")
    how = 'fieldsTerminatedBy="," encoding="latin-1"'
    meta = _meta(_table("core", f"{_DWC}Occurrence", "o.csv",
                        f"{_DWC}associatedMedia {_DWC}locality", how=how))  # fmt: skip
    write(tmp_path, meta__xml=meta)
    (tmp_path / "o.csv").write_bytes('1,a.jpg | b.jpg,"Höh, wide"\n'.encode("latin-1"))
    listing = find(tmp_path)
    assert get(listing, "path") == ["a.jpg", "b.jpg"]
    assert get(listing, "location") == ["Höh, wide"] * 2


def test_media_of_an_event_go_with_its_one_occurrence(tmp_path: Path) -> None:
    draw(tmp_path, "a.jpg", "b.jpg")
    meta = _meta(
        _table("core", f"{_DWC}Event", "e.txt", f"{_DWC}locality"),
        _table("extension", f"{_DWC}Occurrence", "o.txt", f"{_DWC}scientificName"),
        _MEDIA,
    )
    write(tmp_path, meta__xml=meta, e__txt="id\tl\n1\tridge\n2\tcreek\n",
          o__txt="id\tn\n1\tLynx lynx\n2\tAlces alces\n2\tUrsus arctos\n",
          multimedia__txt="id\tf\tt\tk\n1\ta.jpg\t\t\n2\tb.jpg\t\t\n")  # fmt: skip
    listing = find(tmp_path)
    assert get(listing, "species") == ["Lynx lynx", ""]
    assert get(listing, "location")[0] == "ridge"
    assert "rows without a label: 2" in say(listing)


def test_a_download_without_meta_xml_is_read(tmp_path: Path) -> None:
    draw(tmp_path, "a.jpg")
    write(tmp_path, occurrence__txt="gbifID\tscientificName\n1\tLynx lynx\n",
          multimedia__txt="gbifID\tidentifier\n1\ta.jpg\n")  # fmt: skip
    assert get(find(tmp_path), "species") == ["Lynx lynx"]


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        ('<!DOCTYPE a [<!ENTITY b "c">]><archive xmlns="http://rs.tdwg.org/dwc/text/"/>', "docume"),
        ("<archive xmlns='http://rs.tdwg.org/dwc/text/'>", "XML"),
        (_meta(""), "no core"),
        (_meta(_table("core", "x/Occurrence", "gone.txt", "")), "gone.txt"),
        (_meta(_table("core", "x/Occurrence", "../../x", "")), "outside"),
        (_meta(_table("core", "x/Occurrence", "", "")), "without a file"),
        (_meta('<core><files><location>o</location></files><id index="x"/></core>'), "whole"),
    ],
)
def test_a_meta_xml_that_cannot_be_read_says_why(tmp_path: Path, meta: str, says: str) -> None:
    write(tmp_path, meta__xml=meta)
    with pytest.raises(SourceError, match=says):
        find(tmp_path)


def test_a_darwin_core_data_package_is_joined_by_text_keys(tmp_path: Path) -> None:
    draw(tmp_path, "a.jpg", "b.jpg")
    write(
        tmp_path,
        datapackage__json=describe("event", "occurrence", "media", "occurrence-media"),
        event__csv="eventID,locality,decimalLatitude\n07,ridge,47.5\n",
        occurrence__csv="occurrenceID,eventID,scientificName\n1,07,Lynx lynx\n01,7,Alces alces\n"
        "2,07,Ursus arctos\n",
        media__csv="mediaID,accessURI\n1,a.jpg\n01,b.jpg\n",
    )
    (tmp_path / "occurrence-media.csv").write_text(
        "occurrenceID,mediaID,xFrac,yFrac,widthFrac,heightFrac\n1,1,0.1,0.1,0.5,0.5\n01,1,,,,\n5,1,,,,\n"
    )
    listing = find(tmp_path)
    assert get(listing, "path") == ["a.jpg", "a.jpg", "b.jpg"]
    assert get(listing, "species") == ["Lynx lynx", "Alces alces", ""]
    assert get(listing, REGION) == ["0.1,0.1,0.5,0.5", "", ""]
    assert get(listing, "location")[:2] == ["ridge", None]
    for text in ("not there: 5 (1)", "no event has: 7", "1 occurrences have no media",
                 "1 media have no occurrence"):  # fmt: skip
        assert text in say(listing)


_WI = (
    "project_id,deployment_id,image_id,filename,location,is_blank,identified_by,wi_taxon_id,class,"
    "order,family,genus,species,common_name,timestamp\n"
)


def _insights(folder: Path, *rows: str) -> Path:
    return write(folder, images__csv=_WI + "".join(f"{row}\n" for row in rows),
                 deployments__csv="deployment_id,placename,latitude\nD0,ridge,47.1\n")  # fmt: skip


def test_wildlife_insights_rows_find_their_pictures(tmp_path: Path) -> None:
    draw(tmp_path, "photos/D0/a.jpg", "photos/D1/a.jpg", "photos/x/b.jpg", "photos/y/b.jpg",
         "in/c.jpg")  # fmt: skip
    folder = _insights(
        tmp_path / "in",
        "1,D0,i0,a.jpg,gs://bucket/u/a.jpg,0,Ann,t,Mammalia,Carnivora,Felidae,Lynx,lynx,Lynx,"
        "2021-05-01 10:00:00",
        "1,D1,i1,,gs://bucket/photos/D1/a.jpg,1,Computer vision,t,No CV Result,No CV Result,,,,"
        "Blank,",
        "1,D0,i2,c.jpg,,0,Ann,t,Mammalia,Primates,Hominidae,Homo,sapiens,Human-Hiker,",
        "1,D9,i3,b.jpg,gs://bucket/b.jpg,0,Ann,t,Aves,,,,,Bird,",
        "1,D0,i4,z.jpg,gs://bucket/z.jpg,0,Ann,t,Aves,,,,,Bird,",
        "1,D0,i0,a.jpg,gs://bucket/u/a.jpg,0,Ann,t,Aves,,,,,Bird,",
    )
    for source in (folder, folder / "images.csv"):
        listing = find(source)
        paths = get(listing, "path")
        assert [paths[i] for i in (0, 1, 2, 5)] == [
            "photos/D0/a.jpg", "photos/D1/a.jpg", "c.jpg", "photos/D0/a.jpg"
        ]  # fmt: skip
        assert get(listing, "content") == ["animal", "blank", "human", "animal", "animal", "animal"]
        assert get(listing, "species")[:3] == ["Lynx lynx", "", ""]
        assert get(listing, "class")[1:4] == ["", "", "Aves"]
        assert get(listing, REGION)[5] == "#2"
        assert get(listing, "location")[0] == "ridge"
        assert get(listing, "captured_at")[0] == "2021-05-01T10:00:00"
        assert len(listing.reasons) == 2
        assert any("several files" in why for why in listing.reasons.values())
        assert "deployment_ids of images are not in deployments.csv: D1, D9" in say(listing)


def test_images_of_wildlife_insights_are_labelled_by_their_sequences(tmp_path: Path) -> None:
    draw(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    images = "project_id,deployment_id,image_id,sequence_id,filename,location\n" + "".join(
        f"1,D0,{name},{sequence},{name}.jpg,gs://b/u/{name}.jpg\n"
        for name, sequence in (("a", "s1"), ("b", "s1"), ("c", "s2"))
    )
    sequences = (
        "project_id,deployment_id,sequence_id,is_blank,class,genus,species,common_name,group_size\n"
        "1,D0,s1,0,Mammalia,Lynx,lynx,Lynx,2\n1,D0,s1,0,Aves,,,Bird,1\n1,D0,s2,1,,,,Blank,\n"
        "1,D0,s9,0,Aves,,,Bird,1\n"
    )
    listing = find(write(tmp_path, images__csv=images, sequences__csv=sequences))
    assert get(listing, "path") == ["a.jpg", "a.jpg", "b.jpg", "b.jpg", "c.jpg"]
    assert get(listing, "species") == ["Lynx lynx", "", "Lynx lynx", "", ""]
    assert get(listing, "content") == ["animal"] * 4 + ["blank"]
    assert "3 images are labelled by their sequences" in say(listing)
    assert "1 sequences have no image, and are no row: s9" in say(listing)


def test_root_says_where_the_pictures_of_wildlife_insights_are(tmp_path: Path) -> None:
    draw(tmp_path, "far/D0/a.jpg")
    folder = _insights(tmp_path / "x/in", "1,D0,i0,a.jpg,gs://b/u/a.jpg,0,A,t,Aves,,,,,Bird,")
    assert find(folder).reasons
    listing = find_images([folder], SourceOptions(root=tmp_path / "far"))
    assert (get(listing, "path"), listing.reasons) == (["D0/a.jpg"], {})


def test_a_table_of_timelapse_is_read(tmp_path: Path) -> None:
    draw(tmp_path, "S1/100/a.jpg", "S2/a.jpg")
    write(tmp_path, t__csv="File,RelativePath,DateTime,DeleteFlag,Species,Empty\n"
          "a.jpg,S1\\100,2021-05-01 10:00:00,false,Lynx lynx,false\n"
          "a.jpg,S2,2021-05-01 10:00:01,true,,true\n")  # fmt: skip
    listing = find(tmp_path / "t.csv")
    assert get(listing, "path") == ["S1/100/a.jpg", "S2/a.jpg"]
    assert get(listing, "species") == ["Lynx lynx", ""]
    assert get(listing, "content")[1] == "blank"
    assert get(listing, "captured_at")[0] == "2021-05-01T10:00:00"
    assert "1 pictures are marked to be deleted" in say(listing)


def test_options_of_tables_overrule_what_is_recognised(tmp_path: Path) -> None:
    draw(tmp_path, "a.jpg", "b.jpg")
    write(tmp_path, t__csv="File,RelativePath,DeleteFlag,other\na.jpg,,false,b.jpg\n")
    told = find_images([tmp_path / "t.csv"], SourceOptions(path_column="other"))
    assert get(told, "path") == ["b.jpg"]


def test_older_tables_of_timelapse_have_date_and_time(tmp_path: Path) -> None:
    draw(tmp_path, "S1/a.jpg", "S2/a.jpg")
    write(tmp_path, t__csv="File;Folder;Date;Time;DeleteFlag\n"
          "a.jpg;S2;01-May-2021;10:00:00;false\n")  # fmt: skip
    listing = find(tmp_path / "t.csv")
    assert (get(listing, "path"), get(listing, "captured_at")) == (
        ["S2/a.jpg"], ["2021-05-01T10:00:00"]
    )  # fmt: skip


def test_an_export_of_inaturalist_is_read(tmp_path: Path) -> None:
    write(tmp_path, o__csv="id,observed_on,image_url,latitude,scientific_name,common_name,"
          "taxon_family_name,taxon_genus_name,taxon_species_name\n"
          "7,2021-05-01,https://i.org/photos/1/medium.jpg,47.1,Lynx lynx,Lynx,Felidae,Lynx,"
          "Lynx lynx\n"
          "8,,https://i.org/photos/2/medium.jpg,,Felidae,Cats,Felidae,,\n"
          "9,,,,Alces alces,Moose,,,\n")  # fmt: skip
    listing = find(tmp_path / "o.csv")
    assert get(listing, "species") == ["Lynx lynx", ""]
    assert get(listing, "family") == ["Felidae", "Felidae"]
    assert get(listing, "observation_id") == ["7", "8"]
    assert get(listing, "root")[0] == "https://i.org/photos/1"
    assert "1 observations have no picture, and are no row: 9" in say(listing)


def test_open_data_of_inaturalist_are_joined(tmp_path: Path) -> None:
    draw(tmp_path, "10.jpg")
    write(
        tmp_path,
        photos__csv="photo_id\tobservation_uuid\textension\n10\tu\tjpg\n11\tgone\tpng\n",
        observations__csv="observation_uuid\tlatitude\ttaxon_id\tobserved_on\nu\t1.5\t3\t2020-01-02\n",
        taxa__csv="taxon_id\tancestry\trank\tname\n1\t\tkingdom\tAnimalia\n2\t1\tgenus\tLynx\n"
        "3\t1/2\tspecies\tLynx lynx\n",
    )
    listing = find(tmp_path)
    assert get(listing, "path") == ["10.jpg", "medium.png"]
    assert get(listing, "species") == ["Lynx lynx", ""]
    assert get(listing, "kingdom") == ["Animalia", ""]
    assert "1 photos are of an observation that is not there" in say(listing)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["dwca", "dwca.zip"])
def test_the_sample_archives_say_what_their_readme_says(shared_dir: Path, name: str) -> None:
    listing = find(shared_dir / "data/field-files" / name)
    assert len(listing) == 8
    assert set(get(listing, "species")) == {
        "Panthera tigris", "Alces alces", "Turdus migratorius", "Ursus maritimus"
    }  # fmt: skip
    assert set(get(listing, "media_title")) == {'the "old" one'}


@pytest.mark.shared
def test_the_sample_of_wildlife_insights_says_what_its_readme_says(shared_dir: Path) -> None:
    listing = find(shared_dir / "data/field-files/wildlife_insights/images.csv")
    rows = {
        (Path(path).name, region): row
        for path, region, row in zip(
            get(listing, "path"), get(listing, REGION), listing.frame.to_dict("records"),
            strict=True,
        )
    }  # fmt: skip
    assert len({name for name, _ in rows}) == 8
    blank, mammal = rows["IMG_0001.JPG", ""], rows["IMG_0003.JPG", ""]
    assert (blank["content"], blank["class"], blank["species"]) == ("blank", "", "")
    assert (mammal["class"], mammal["order"], mammal["species"]) == ("Mammalia", "", "")
    assert rows["IMG_0005.JPG", ""]["species"] == "Turdus migratorius"
    assert rows["IMG_0005.JPG", "#2"]["species"] == "Canis lupus"
    assert "further observations" in say(listing)
    assert not listing.reasons


def test_a_folder_of_pictures_with_another_json_is_a_folder(tmp_path: Path) -> None:
    draw(tmp_path, "a.jpg")
    write(tmp_path, datapackage__json=json.dumps({"resources": [{"name": "birds"}]}))
    assert get(find(tmp_path), "path") == ["a.jpg"]


def test_images_of_a_large_project_in_several_tables_are_one_download(tmp_path: Path) -> None:
    draw(tmp_path, "p/a.jpg", "p/b.jpg", "p/c.jpg")
    rows = [f"1,D0,i{n},{n}.jpg,gs://b/p/{n}.jpg,0,A,t,Aves,,,,,Bird," for n in "ab"]
    write(tmp_path, images_2000001__csv=f"{_WI}{rows[0]}\n",
          images_2000002__csv=f"{_WI}{rows[1]}\n")  # fmt: skip
    listing = find(tmp_path)
    assert get(listing, "path") == ["p/a.jpg", "p/b.jpg"]
    assert "images_2000001.csv, images_2000002.csv of" in say(listing)
    # What a package does not name is not lost without a word.
    assert f"1 pictures below {tmp_path} are of none of its rows, and not listed" in say(listing)


def test_a_meta_xml_is_known_in_utf_16_and_when_cut(tmp_path: Path) -> None:
    folder = _archive(tmp_path)
    meta = (folder / "meta.xml").read_text()
    paths = get(find(folder), "path")
    (folder / "meta.xml").write_text(f'<?xml version="1.0" encoding="UTF-16"?>{meta}', "utf-16")
    assert get(find(folder), "path") == paths
    (folder / "meta.xml").write_text("<archive><core", "utf-8")
    with pytest.raises(SourceError, match=r"meta\.xml of .* cannot be read as XML"):
        find(folder)


def test_packages_below_a_folder_are_named_and_a_bad_one_stops_nothing(tmp_path: Path) -> None:
    draw(tmp_path, "A/p/a.jpg", "B/p/b.jpg")
    row = "1,D0,i0,a.jpg,gs://b/p/a.jpg,0,A,t,Aves,,,,,Bird,"
    write(tmp_path / "A", images__csv=f"{_WI}{row}\n")
    write(tmp_path / "B", datapackage__json="{")
    listing = find(tmp_path)
    assert get(listing, "path") == ["A/p/a.jpg", "B/p/b.jpg"]
    assert f"1 folders below {tmp_path} are packages" in say(listing)
    assert f"{tmp_path / 'A'} (wildlife-insights)" in say(listing)


def test_a_table_in_a_zip_that_was_read_was_not_left_out(tmp_path: Path) -> None:
    draw(tmp_path / "z", "p/a.jpg")
    write(tmp_path / "z", t__csv="file,species\np/a.jpg,Alces alces\n", n__txt="notes")
    listing = find(pack(tmp_path / "z", tmp_path / "z.zip"))
    assert get(listing, "species") == ["Alces alces"]
    assert "1 .txt" in say(listing)
    assert ".csv" not in say(listing)


def test_lines_that_end_early_and_media_in_one_cell_are_read(tmp_path: Path) -> None:
    draw(tmp_path, "p/a.jpg", "p/b.jpg")
    terms = f"{_DWC}scientificName {_DWC}associatedMedia {_DWC}order"
    write(
        tmp_path,
        meta__xml=_meta(_table("core", f"{_DWC}Occurrence", "o.txt", terms)),
        o__txt="id\tn\ta\to\n1\tAlces alces\tp/a.jpg; p/b.jpg\n2\tLynx lynx\thttps://e.org/1|https://e.org/2\tCarnivora\n",
    )
    listing = find(tmp_path)
    assert get(listing, "path") == ["p/a.jpg", "p/b.jpg", "1", "2"]
    assert get(listing, "order") == ["", "", "Carnivora", "Carnivora"]


def test_media_whose_format_is_an_ending_are_pictures(tmp_path: Path) -> None:
    draw(tmp_path, "p/a.jpg")
    media = _table("extension", "http://rs.gbif.org/terms/1.0/Multimedia", "m.txt",
                   f"{_DC}identifier {_DC}format")  # fmt: skip
    core = _table("core", f"{_DWC}Occurrence", "o.txt", f"{_DWC}scientificName")
    write(tmp_path, meta__xml=_meta(core, media), o__txt="id\tn\n1\tAlces alces\n",
          m__txt="id\tf\tk\n1\tp/a.jpg\tJPEG\n1\tp/b.mp4\tmp4\n")  # fmt: skip
    assert get(find(tmp_path), "path") == ["p/a.jpg"]


def test_a_quote_of_an_archive_that_is_not_closed_is_named_by_its_line(tmp_path: Path) -> None:
    how = 'fieldsTerminatedBy="\\t" fieldsEnclosedBy="&quot;" ignoreHeaderLines="1"'
    terms = f"{_DWC}scientificName {_DWC}associatedMedia"
    write(
        tmp_path,
        meta__xml=_meta(_table("core", f"{_DWC}Occurrence", "o.txt", terms, how=how)),
        o__txt='id\tn\ta\n1\tAlces alces\tp/a.jpg\n2\t"Lynx lynx\tp/b.jpg\n',
    )
    with pytest.raises(SourceError, match="has a quote in line 3 that is not closed"):
        find(tmp_path)
