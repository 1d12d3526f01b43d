"""A Darwin Core archive: occurrences, and the pictures that show them."""

from __future__ import annotations

import datetime
import json
import mimetypes
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from bioprobe.exporting.answers import ANIMAL, UNKNOWN, Answers, Observation, Picture
from bioprobe.exporting.form import (
    AnswerFormat,
    ExportOptions,
    Zone,
    identify,
    read_time,
    write_rows,
    write_time,
)
from bioprobe.files import replacing, replacing_folder
from bioprobe.images.addresses import is_address
from bioprobe.result import Note
from bioprobe.taxonomy import RANKS, Rank
from bioprobe.taxonomy.columns import QUALIFIER, spell_column

_DWC, _DC = "http://rs.tdwg.org/dwc/terms/", "http://purl.org/dc/terms/"
_CORE = (
    "occurrenceID", "basisOfRecord", "occurrenceStatus", "eventID", "eventDate", "locationID",
    "decimalLatitude", "decimalLongitude", "geodeticDatum", "coordinateUncertaintyInMeters",
    "coordinatePrecision", "dataGeneralizations", "scientificName", "taxonRank", "kingdom",
    "phylum", "class", "order", "family", "genus", "specificEpithet", "vernacularName",
    "identificationQualifier", "individualCount", "sex", "lifeStage", "identifiedBy",
    "dateIdentified", "identificationVerificationStatus", "identificationRemarks",
    "occurrenceRemarks",
)  # fmt: skip
_MEDIA = ("type", "format", "identifier", "title", "created", "creator", "rightsHolder", "license")
_EVENT = ("eventid", "sequenceid", "seqid")
_LOCATION = ("locationid", "location", "deploymentid", "site", "station")
_NUMBERS = ("individualcount", "count")


def write_darwin_core(
    target: Path, answers: Answers, options: ExportOptions
) -> Sequence[Note | str]:
    """Write a Darwin Core archive with the extension Simple Multimedia.

    What shows no organism with a name, and people, is no occurrence: it is left out, and counted.

    Parameters
    ----------
    target : Path
        A new folder, or a ``.zip`` file.
    answers : Answers
        What is known of the pictures.
    options : ExportOptions
        ``about`` gives title, contributors and licence of ``eml.xml``.

    References
    ----------
    TDWG, *Darwin Core text guide*; GBIF, *Simple Multimedia* extension; GBIF, *EML profile* 1.1.
    """
    zone = Zone.parse(options.time_zone)
    core: list[list[Any]] = []
    media: list[list[Any]] = []
    n_left = n_floating = 0
    for picture, one in answers.observations:
        if one.taxon is None or one.content not in {ANIMAL, UNKNOWN}:
            n_left += 1
            continue
        said = _tell(answers, picture, one, zone)
        n_floating += bool(said["eventDate"]) and "T" in said["eventDate"] and not _is_sure(said)
        core.append([said.get(term) for term in _CORE])
        shown = _show(answers, picture, said, options)
        media.append([said["occurrenceID"], *(shown.get(term) for term in _MEDIA)])
    how = {"safe": options.safe_csv, "one_line": True}
    files = {
        "meta.xml": _write_meta(),
        "eml.xml": _write_eml(answers, options),
        "occurrence.csv": write_rows(_CORE, core, **how),
        "multimedia.csv": write_rows(("coreid", *_MEDIA), media, **how),
    }
    _write_archive(target, files)
    notes: list[Note | str] = [f"{len(core):,} occurrences"]
    if n_left:
        notes.append(
            f"{n_left:,} answers are no occurrences and left out: blank, of people or vehicles, or "
            "of no taxon"
        )
    notes += answers.tell_failed()
    if n_floating:
        notes.append(f"the times of {n_floating:,} say no offset from UTC; --time-zone gives it")
    return notes


def _is_sure(said: dict[str, Any]) -> bool:
    time = said["eventDate"].partition("T")[2]
    return time.endswith("Z") or "+" in time or "-" in time


def _tell(answers: Answers, picture: Picture, one: Observation, zone: Zone) -> dict[str, Any]:
    taxon = one.taxon
    assert taxon is not None
    time = read_time(answers, picture, zone)
    place = answers.places.get(picture.name)
    said: dict[str, Any] = {
        "occurrenceID": identify(answers, picture, one),
        "basisOfRecord": "MachineObservation",
        "occurrenceStatus": "present",
        "eventID": answers.cell(one.row, *_EVENT),
        "eventDate": write_time(time) if time else "",
        "locationID": answers.cell(one.row, *_LOCATION),
        "scientificName": taxon.name,
        "taxonRank": taxon.rank.value,
        "specificEpithet": taxon.epithet,
        "vernacularName": taxon.common_name,
        "identificationQualifier": _qualify(answers, one),
        "individualCount": _count(answers, one),
        "sex": answers.cell(one.row, "sex"),
        "lifeStage": answers.cell(one.row, "lifestage"),
    }
    said |= {rank.value: taxon.lineage[rank.depth] for rank in RANKS if rank is not Rank.SPECIES}
    if place is not None:
        said |= {
            "decimalLatitude": str(place.latitude),
            "decimalLongitude": str(place.longitude),
            "geodeticDatum": "EPSG:4326",
            "coordinateUncertaintyInMeters": place.uncertainty_m,
            "coordinatePrecision": place.precision,
            "dataGeneralizations": place.generalisation,
        }
    if one.machine:
        of_store = one.machine == "bioprobe"
        said |= {
            "identifiedBy": answers.model if of_store else one.machine,
            "dateIdentified": answers.time if of_store else "",
            "identificationVerificationStatus": "unverified",
            "identificationRemarks": "" if one.score is None else f"probability {one.score:.4f}",
        }
    else:
        said |= {
            "identifiedBy": one.by or answers.cell(one.row, "identifiedby", "annotator"),
            "dateIdentified": one.at,
            "identificationVerificationStatus": "verified",
        }
    if one.region is not None:
        said["occurrenceRemarks"] = f"region {one.name} of the picture (x, y, width, height)"
    return said


def _count(answers: Answers, one: Observation) -> str:
    if one.n_regions > 1:
        return str(one.n_regions)
    return answers.cell(one.row, *_NUMBERS)


def _qualify(answers: Answers, one: Observation) -> str:
    # It came with the label, and says nothing of another answer.
    return "" if one.machine == "bioprobe" else answers.cell(one.row, spell_column(QUALIFIER))


def _show(
    answers: Answers, picture: Picture, said: dict[str, Any], options: ExportOptions
) -> dict[str, Any]:
    root, path = (str(answers.fact(picture.row, name)) for name in ("root", "path"))
    kind = mimetypes.guess_type(picture.name)[0] or "image/jpeg"
    licence: dict[str, Any] = next(iter(options.about.get("licenses") or []), {})
    return {
        "type": "StillImage",
        "format": kind,
        "identifier": f"{root}/{path}" if is_address(root) else picture.name,
        "title": PurePosixPath(picture.name).name,
        "created": said["eventDate"],
        "rightsHolder": next(
            (str(one.get("title", "")) for one in options.about.get("contributors") or []
             if one.get("role") == "rightsHolder"), "",
        ),
        "license": licence.get("path") or licence.get("name") or "",
    }  # fmt: skip


def _write_meta() -> str:
    how = (
        'encoding="UTF-8" fieldsTerminatedBy="," linesTerminatedBy="\\n" '
        'fieldsEnclosedBy=\'"\' ignoreHeaderLines="1"'
    )
    core = "\n".join(
        f'    <field index="{place}" term="{_DWC}{term}"/>' for place, term in enumerate(_CORE)
    )
    media = "\n".join(
        f'    <field index="{place}" term="{_DC}{term}"/>'
        for place, term in enumerate(_MEDIA, start=1)
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="eml.xml">
  <core {how} rowType="{_DWC}Occurrence">
    <files><location>occurrence.csv</location></files>
    <id index="0"/>
{core}
  </core>
  <extension {how} rowType="http://rs.gbif.org/terms/1.0/Multimedia">
    <files><location>multimedia.csv</location></files>
    <coreid index="0"/>
{media}
  </extension>
</archive>
"""


def _write_eml(answers: Answers, options: ExportOptions) -> str:
    about = options.about
    title = str(about.get("title") or "Pictures identified by a model")
    people = [one for one in about.get("contributors") or [] if isinstance(one, dict)]
    creators, contacts = (
        "\n".join(_write_party(tag, person) for person in people or [{}])
        for tag in ("creator", "contact")
    )
    licence: dict[str, Any] = next(iter(about.get("licenses") or []), {})
    rights = str(licence.get("title") or licence.get("name") or "not stated")
    abstract = str(about.get("description") or f"Identified by {answers.model}.")
    date = (answers.time or datetime.datetime.now(datetime.UTC).isoformat())[:10]
    provenance = json.dumps(dict(answers.provenance), ensure_ascii=False)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<eml:eml xmlns:eml="https://eml.ecoinformatics.org/eml-2.2.0"
    packageId={quoteattr(str(about.get("id") or f"bioprobe/{date}"))} system="bioprobe"
    scope="system">
  <dataset>
    <title>{escape(title)}</title>
{creators}
    <pubDate>{date}</pubDate>
    <language>eng</language>
    <abstract><para>{escape(abstract)}</para></abstract>
    <intellectualRights><para>{escape(rights)}</para></intellectualRights>
{contacts}
  </dataset>
  <additionalMetadata>
    <metadata><bioprobe>{escape(provenance)}</bioprobe></metadata>
  </additionalMetadata>
</eml:eml>
"""


def _write_party(tag: str, person: dict[str, Any]) -> str:
    name, organisation = person.get("title"), person.get("organization")
    said = []
    if name:
        said.append(f"<individualName><surName>{escape(str(name))}</surName></individualName>")
    if organisation or not name:
        shown = escape(str(organisation or "not stated"))
        said.append(f"<organizationName>{shown}</organizationName>")
    if person.get("email"):
        said.append(
            f"<electronicMailAddress>{escape(str(person['email']))}</electronicMailAddress>"
        )
    return f"    <{tag}>{''.join(said)}</{tag}>"


def _write_archive(target: Path, files: dict[str, str]) -> None:
    if target.suffix.lower() == ".zip":
        with (
            replacing(target) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for name, text in files.items():
                archive.writestr(name, text)
        return
    with replacing_folder(target) as folder:
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8", newline="")


DARWIN_CORE = AnswerFormat(
    write_darwin_core,
    (".zip", ""),
    "Darwin Core archive of occurrences with Simple Multimedia",
    ("about", "time_zone", "safe_csv"),
    tells_places=True,
)
