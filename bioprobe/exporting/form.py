"""What a format of answers is, what it is told, and how its tables and times are written."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import hashlib
import io
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.errors import SourceError
from bioprobe.exporting.answers import (
    ANIMAL,
    BLANK,
    HUMAN,
    TIME,
    UNKNOWN,
    VEHICLE,
    Answers,
    Guess,
    Observation,
    Picture,
)
from bioprobe.files import disarm_cell, read_json
from bioprobe.images.times import read_zone
from bioprobe.options import LEAVE_OUT
from bioprobe.result import Note
from bioprobe.taxonomy import Rank

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What a person says of an export; each format takes what it has a use for.

    Parameters
    ----------
    package : Path, optional
        Folder of the Camtrap DP that the pictures came from.
    deployments : DataFrame, optional
        One row a deployment.
    about : mapping
        Who and what: parts of a data package's descriptor.
    placeholders : bool
        Whether required fields that are not known are filled all the same, and marked.
    time_zone : str
        Of the times that have none, such as ``Europe/Zurich`` or ``+02:00``.
    map_by : str
        How the vectors are laid out on a map: ``pca`` or ``umap``.
    safe_csv : bool
        Whether cells that a spreadsheet would compute are written so that it does not.
    people : {"leave-out", "obscure", "keep"}
        What is done with people in the pictures that are written.
    """

    package: Path | None = None
    deployments: pd.DataFrame | None = None
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    placeholders: bool = False
    time_zone: str = ""
    map_by: str = "pca"
    safe_csv: bool = False
    people: str = LEAVE_OUT


@dataclasses.dataclass(frozen=True)
class AnswerFormat:
    """A format in which answers go to other tools.

    Parameters
    ----------
    write : callable
        Writes a target from :class:`~bioprobe.exporting.answers.Answers` and
        :class:`ExportOptions`, whole or not at all, and returns what is to be said of it. A file is
        replaced, a folder must be new.
    suffixes : tuple of str
        Endings of its file; ``""`` is a folder.
    what : str
        For people.
    takes : tuple of str
        Fields of :class:`ExportOptions` that it has a use for; others are refused.
    tells_places : bool
        Whether it writes where each picture was taken.
    """

    write: Callable[[Path, Answers, ExportOptions], Sequence[Note | str]]
    suffixes: tuple[str, ...]
    what: str
    takes: tuple[str, ...] = ()
    tells_places: bool = False


def read_about(path: Path) -> dict[str, Any]:
    """Read a JSON file that says who and what an export is of.

    Raises
    ------
    SourceError
        If it is no JSON object.
    """
    try:
        found: dict[str, Any] = read_json(path, dict)
    except (OSError, ValueError) as error:
        msg = (
            f"{path} cannot be read: {error}; expected a JSON object with title, contributors, "
            "project and licenses, as a Camtrap DP has them in datapackage.json"
        )
        raise SourceError(msg) from error
    return found


def write_rows(
    header: Sequence[str], rows: Iterable[Sequence[Any]], *, safe: bool, one_line: bool = False
) -> str:
    """Return a table as CSV: UTF-8, commas, one line feed a row.

    Parameters
    ----------
    header : sequence of str
        Names of the columns.
    rows : iterable of sequence
        None is an empty cell; True and False are written as ``true`` and ``false``.
    safe : bool
        Whether cells that a spreadsheet would compute get an apostrophe before them.
    one_line : bool
        Whether a line break in a cell becomes a blank, for readers that know none there.
    """
    stream = io.StringIO()
    out = csv.writer(stream, lineterminator="\n")
    out.writerow(header)
    for row in rows:
        cells = [_write_cell(cell) for cell in row]
        if one_line:
            cells = [" ".join(cell.splitlines()) for cell in cells]
        out.writerow(map(disarm_cell, cells) if safe else cells)
    return stream.getvalue()


def _write_cell(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    return f"{cell:.7g}" if isinstance(cell, float) else str(cell)


@dataclasses.dataclass(frozen=True)
class Zone:
    """Where a time that says no offset from UTC was taken.

    Parameters
    ----------
    zone : tzinfo, optional
        None where nobody said.
    """

    zone: datetime.tzinfo | None

    @classmethod
    def parse(cls, text: str) -> Zone:
        """Read ``Europe/Zurich``, ``UTC``, ``+02:00`` or ``-0330``; ``""`` is none.

        Raises
        ------
        MisuseError
            If there is no such zone.
        """
        if not text:
            return cls(None)
        return cls(read_zone(text))

    def read(self, text: str) -> datetime.datetime | None:
        """Read a time as tables and cameras write it; it may lack its offset from UTC.

        Returns
        -------
        datetime or None
            None where it is no time. Of a day its beginning.
        """
        said = text.strip()
        # EXIF writes the date with colons.
        if len(said) >= 10 and said[4] == said[7] == ":":
            said = f"{said[:4]}-{said[5:7]}-{said[8:]}"
        try:
            found = datetime.datetime.fromisoformat(said)
        except ValueError:
            return None
        if found.tzinfo is None and self.zone is not None:
            found = found.replace(tzinfo=self.zone)
        return found


def read_time(answers: Answers, picture: Picture, zone: Zone) -> datetime.datetime | None:
    """Return when a picture was taken, by the columns of the store; None where none says."""
    return zone.read(answers.cell(picture.row, *TIME))


def write_time(time: datetime.datetime) -> str:
    """Return a time with its offset as Camtrap DP and Darwin Core take it.

    Examples
    --------
    >>> write_time(datetime.datetime(2021, 5, 1, 10, tzinfo=datetime.UTC))
    '2021-05-01T10:00:00Z'
    """
    whole = time.replace(microsecond=0).isoformat()
    return whole.replace("+00:00", "Z")


def make_id(*parts: str) -> str:
    """Return an identifier that is the same for the same parts, and no other."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "bioprobe:" + "\x1f".join(parts)))


def identify(answers: Answers, picture: Picture, one: Observation) -> str:
    """Return an identifier of an observation that does not change from export to export."""
    digest = str(answers.fact(one.row, "sha256"))
    said = one.best.label if one.best else one.content
    return make_id(digest, picture.name, one.name, said)


# The seven-part names by which Wildlife Insights, SpeciesNet and what reads its files know what is
# no taxon below animals (SpeciesNet 5, ``constants.py``).
_OF_CONTENT = {
    BLANK: "f1856211-cfb7-4a5b-9158-c0f72fd09ee6;;;;;;blank",
    ANIMAL: "1f689929-883d-4dae-958c-3d57ab5b6c16;;;;;;animal",
    HUMAN: "990ae9dd-7a59-4344-afcb-1b7b21368000;mammalia;primates;hominidae;homo;sapiens;human",
    VEHICLE: "e2895ed5-780b-48f6-8a11-9e27cb594511;;;;;;vehicle",
    UNKNOWN: "f2efdae9-efb8-48fb-8a91-eccf79ab4ffb" + ";no cv result" * 6,
}
#: Identifiers of the same, as Wildlife Insights has them.
CONTENT_IDS = {content: text.partition(";")[0] for content, text in _OF_CONTENT.items()}
_PARTS = (Rank.CLASS, Rank.ORDER, Rank.FAMILY, Rank.GENUS)


def write_seven_parts(guess: Guess | None, content: str, taxon_id: str = "") -> str:
    """Return a class as seven parts: id, class, order, family, genus, epithet, common name.

    Parameters
    ----------
    guess : Guess, optional
        The class; without one the content is written.
    content : str
        animal, blank, human, vehicle or unknown.
    taxon_id : str
        As Wildlife Insights has it; by default one that is made of the names.

    References
    ----------
    SpeciesNet, *README* (output format); MegaDetector, *Output format* 1.6
    (``classification_category_descriptions``).

    Examples
    --------
    >>> from bioprobe.taxonomy import Taxon
    >>> tiger = Taxon.from_names({"family": "Felidae", "species": "Panthera tigris"})
    >>> write_seven_parts(Guess(tiger, tiger.name, 0.9), "animal", "0a1b")
    '0a1b;;;felidae;panthera;tigris;panthera tigris'
    """
    if guess is None or guess.label == content:
        return _OF_CONTENT[content]
    taxon = guess.taxon
    if content == HUMAN:
        return _OF_CONTENT[HUMAN]
    if taxon is None:
        parts = ["", "", "", "", "", guess.label]
    elif taxon.name == "Animalia":
        return _OF_CONTENT[ANIMAL]
    else:
        ranks = [taxon.lineage[rank.depth] for rank in _PARTS]
        parts = [*ranks, taxon.epithet, taxon.common_name or taxon.name]
    clean = [" ".join(part.replace(";", ",").split()).lower() for part in parts]
    number = taxon_id or _number_names(clean)
    return ";".join((number, *clean))


def _number_names(parts: Sequence[str]) -> str:
    digest = hashlib.sha256(";".join(parts).encode()).hexdigest()
    return str(uuid.UUID(digest[:32], version=4))


#: Columns in which Wildlife Insights' own identifier of a taxon came along.
TAXON_ID = ("witaxonid", "taxonuuid", "taxonid")


def find_taxon_id(answers: Answers, one: Observation) -> str:
    """Return Wildlife Insights' identifier of an observation's taxon, where it came along.

    It came with the label of the row, so that it counts only where the answer is that label.
    """
    said = answers.cell(one.row, *TAXON_ID[:2])
    if one.taxon is None or not said:
        return ""
    own = str(answers.view.images.labels(one.taxon.rank.value)[one.row])
    return said if own == one.taxon.name else ""
