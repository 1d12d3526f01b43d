"""Darwin Core archives: occurrences, and the media that belong to them.

The core may be of occurrences, with media as an extension or in ``associatedMedia``; or of events
or taxa, with occurrences and media as extensions. Media of an event or taxon go with its one
occurrence; where it has several, that which the media name by ``occurrenceID``, else nobody knows
which, and they are rows without a label.

References
----------
TDWG, *Darwin Core text guide*; GBIF, *Simple Multimedia*; TDWG, *Audubon Core*; GBIF, *Download
formats* (``occurrence.txt`` and ``multimedia.txt``).
"""

from __future__ import annotations

import codecs
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET
from xml.parsers import expat

from bioprobe.errors import SourceError
from bioprobe.images.addresses import is_address
from bioprobe.images.location import write_name
from bioprobe.result import WARNING, Note
from bioprobe.sources.files import absolute
from bioprobe.sources.formats import Format
from bioprobe.sources.package_pictures import ENTRY, FILE, make_part
from bioprobe.sources.package_tables import (
    Dialect,
    get_column,
    read_text_table,
    tell_count,
    write_snake,
)
from bioprobe.sources.packages import Package
from bioprobe.sources.tables import split_paths
from bioprobe.sources.walking import IMAGE_SUFFIXES

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.sources.files import SourceOptions
    from bioprobe.sources.listing import Part
    from bioprobe.sources.peek import Peek

_META = "meta.xml"
_OCCURRENCES = ("occurrence.txt", "occurrence.csv", "occurrences.txt", "occurrences.csv")
_MEDIA = ("multimedia.txt", "multimedia.csv", "media.txt", "media.csv")
_MOST_META_BYTES = 4 << 20
_ID = "\0id"
_OCCURRENCE = "occurrence"
# Last parts of row types of media: Simple Multimedia, and Audubon Core.
_MEDIA_TYPES = ("multimedia", "image")
#: Where media say their file: the file itself first, then the page or place that names it.
_FILE_TERMS = ("accessURI", "identifier", "goodQualityAccessURI", "references")
_ESCAPES = re.compile(r"\\[tnrfv\\'\"0]")
_STILL = ("", "stillimage", "image")
# Terms of an occurrence that have another name here.
_NAMES = {
    "decimalLatitude": "latitude", "decimalLongitude": "longitude", "eventDate": "captured_at",
    "locality": "location", "individualCount": "count", "occurrenceID": "occurrence_id",
    "locationID": "location_id", "eventID": "event_id", "vernacularName": "common_name",
    "verbatimTaxonRank": "verbatim_rank",
}  # fmt: skip
_OF_MEDIA = {
    "title": "media_title", "creator": "media_creator", "license": "media_license",
    "rightsHolder": "media_rights_holder", "created": "media_created", "format": "media_format",
    "references": "media_references", "description": "media_description",
    "variantLiteral": "media_variant", "rights": "media_rights",
}  # fmt: skip
# Names of files, keys, and what the names of taxa are read from already.
_NOT_CARRIED = frozenset(
    {"associatedMedia", "specificEpithet", "infraspecificEpithet", "scientificNameAuthorship",
     "genericName", "subgenus"}
)  # fmt: skip
_NUMBERS = (
    "latitude", "longitude", "count", "coordinate_uncertainty_in_meters", "coordinate_precision",
    "year", "month", "day", "elevation", "depth",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _File:
    """A table that ``meta.xml`` describes.

    Parameters
    ----------
    row_type : str
        Last part of what a row is, in small letters.
    names : tuple of str
        Its files.
    dialect : Dialect
    key : int or None
        Column of the identifier that the tables are joined by.
    fields : dict of str to int or None
        Column of each term, by the term's last part; None is one with a default alone.
    defaults : dict of str to str
        What a term says where its column is not there or is empty.
    """

    row_type: str
    names: tuple[str, ...]
    dialect: Dialect
    key: int | None
    fields: Mapping[str, int | None]
    defaults: Mapping[str, str]

    def read(self, package: Package, notes: list[Note]) -> pd.DataFrame:
        """Return the table, with a column a term, and the key."""
        import pandas as pd

        found = read_text_table(package, self.names, self.dialect, notes)
        empty = [""] * len(found)
        columns: dict[str, list[str]] = {}
        for term, index in self.fields.items():
            has = index is not None and index < len(found.columns)
            values = _list_column(found, index) if index is not None and has else empty
            default = self.defaults.get(term, "")
            columns[term] = [value or default for value in values] if default else values
            if index is not None and not has and len(found):
                text = f"{self.names[0]} of {package.path} has no column {index} for {term}"
                notes.append(Note(text, WARNING))
        if self.key is not None and self.key < len(found.columns):
            columns[_ID] = [one.strip() for one in _list_column(found, self.key)]
        else:
            columns[_ID] = empty
        return pd.DataFrame(columns, index=range(len(found)), dtype=object)


def _list_column(frame: pd.DataFrame, number: int) -> list[str]:
    return [str(cell) for cell in frame[frame.columns[number]].tolist()]


def _is_darwin_core_archive(peek: Peek) -> bool:
    """Tell whether a source is a Darwin Core archive, or a folder as GBIF's download is."""
    package = Package.look(peek.path, _META, *_OCCURRENCES)
    if package is None:
        return False
    if name := package.find(_META):
        with package.as_file(name) as file, file.open("rb") as stream:
            # In UTF-16 there is a zero between letters.
            head = stream.read(65_536).replace(b"\0", b"")
        return b"rs.tdwg.org/dwc/text" in head or b"<archive" in head
    return bool(package.find(*_OCCURRENCES) and package.find(*_MEDIA))


def _list_darwin_core_archive(peek: Peek, options: SourceOptions) -> list[Part]:
    """List the media of a Darwin Core archive, each with its occurrence."""
    package = Package.look(peek.path, _META, *_OCCURRENCES)
    if package is None:
        msg = f"{peek.path} is no Darwin Core archive"
        raise SourceError(msg)
    notes: list[Note] = []
    meta = package.find(_META)
    if meta:
        core, *extensions = _read_meta(package, meta)
    else:
        core, *extensions = _guess_meta(package)
    return [_Archive(package, core, extensions, notes).list_rows(options)]


def _guess_meta(package: Package) -> list[_File]:
    """Describe the tables of a folder without ``meta.xml``, as GBIF writes them."""
    found = []
    for names, row_type in ((_OCCURRENCES, _OCCURRENCE), (_MEDIA, "multimedia")):
        name = package.find(*names)
        with package.as_file(name) as file, file.open("rb") as stream:
            line = stream.readline(1 << 20).removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
        delimiter = max("\t,;", key=line.count)
        # GBIF writes tabs without quotes around cells.
        quote = "" if delimiter == "\t" else '"'
        header = [cell.strip().strip('"') for cell in line.split(delimiter)]
        fields = {one.rpartition(":")[2]: at for at, one in enumerate(header) if one}
        keys = [one for one in ("gbifID", "coreid", "id", "occurrenceID") if one in fields]
        dialect = Dialect(delimiter, quote, n_skipped=1, has_header=False)
        key = fields[keys[0]] if keys else 0
        found.append(_File(row_type, (name,), dialect, key, fields, {}))
    return found


def _read_meta(package: Package, name: str) -> list[_File]:
    """Read ``meta.xml``: the core first.

    Raises
    ------
    SourceError
        If it is no XML, has a document type (whose entities could stand for anything), or no core.
    """
    with package.as_file(name) as file:
        if file.stat().st_size > _MOST_META_BYTES:
            msg = f"{name} of {package.path} has more than {_MOST_META_BYTES:,} bytes"
            raise SourceError(msg)
        data = file.read_bytes()
    try:
        root = _parse_xml(data)
    except (ET.ParseError, expat.ExpatError, ValueError, LookupError) as error:
        msg = f"{name} of {package.path} cannot be read as XML: {error}"
        raise SourceError(msg) from error
    elements = {kind: _find_all(root, kind) for kind in ("core", "extension")}
    if not elements["core"]:
        msg = f"{name} of {package.path} names no core; expected an element 'core'"
        raise SourceError(msg)
    listed = [*elements["core"][:1], *elements["extension"]]
    return [_read_element(one, f"{name} of {package.path}") for one in listed]


def _parse_xml(data: bytes) -> ET.Element:
    """Parse XML that has no document type."""
    check = expat.ParserCreate()

    def refuse(*_given: object) -> None:
        msg = "it has a document type, which no meta.xml has"
        raise ValueError(msg)

    check.StartDoctypeDeclHandler = refuse
    check.Parse(data, True)
    return ET.fromstring(data)


def _find_all(element: ET.Element, name: str) -> list[ET.Element]:
    return [one for one in element if isinstance(one.tag, str) and one.tag.endswith(name)
            and one.tag.rpartition("}")[2] == name]  # fmt: skip


def _read_element(element: ET.Element, what: str) -> _File:
    names = [
        (location.text or "").strip()
        for files in _find_all(element, "files")
        for location in _find_all(files, "location")
    ]
    if not any(names):
        msg = f"{what} has a table without a file; expected files and location"
        raise SourceError(msg)
    keys = [*_find_all(element, "id"), *_find_all(element, "coreid")]
    fields: dict[str, int | None] = {}
    defaults: dict[str, str] = {}
    for field in _find_all(element, "field"):
        term = re.split("[/#:]", field.get("term", "").rstrip("/"))[-1]
        if not term:
            continue
        index = _read_index(field.get("index"), what)
        # A term may stand twice: with its column, and with a default.
        if fields.get(term) is None:
            fields[term] = index
        if field.get("default"):
            defaults[term] = field.get("default", "")
    row_type = re.split("[/#:]", element.get("rowType", "").rstrip("/"))[-1].lower()
    return _File(
        row_type, tuple(one for one in names if one), _read_dialect(element, what),
        _read_index(keys[0].get("index"), what) if keys else None, fields, defaults,
    )  # fmt: skip


def _read_index(text: str | None, what: str) -> int | None:
    if text is None or not text.strip():
        return None
    if not text.strip().isdecimal():
        msg = f"{what} has the index {text!r}, expected a whole number"
        raise SourceError(msg)
    return int(text)


def _read_dialect(element: ET.Element, what: str) -> Dialect:
    delimiter = _unescape(element.get("fieldsTerminatedBy", ","))
    quote = _unescape(element.get("fieldsEnclosedBy", '"'))
    n_skipped = _read_index(element.get("ignoreHeaderLines"), what) or 0
    indexes = [
        one.get("index") for kind in ("id", "coreid", "field") for one in _find_all(element, kind)
    ]
    places = [at for one in indexes if (at := _read_index(one, what)) is not None]
    for name, value in (("fieldsTerminatedBy", delimiter), ("fieldsEnclosedBy", quote)):
        if len(value) > 1 or (not value and name == "fieldsTerminatedBy") or value in {"\n", "\r"}:
            msg = f"{what} has {name} {value!r}, expected one character"
            raise SourceError(msg)
    return Dialect(
        delimiter, quote, encoding=element.get("encoding") or "utf-8", n_skipped=n_skipped,
        has_header=False, width=1 + max(places, default=-1),
    )  # fmt: skip


def _unescape(text: str) -> str:
    return _ESCAPES.sub(lambda found: codecs.decode(found[0], "unicode_escape"), text)


class _Archive:
    """The tables of one archive, while they are joined."""

    def __init__(
        self, package: Package, core: _File, extensions: Sequence[_File], notes: list[Note]
    ) -> None:
        self._package, self._notes = package, notes
        core_rows = core.read(package, notes)
        self._media: list[pd.DataFrame] = []
        occurrences: pd.DataFrame | None = core_rows if core.row_type == _OCCURRENCE else None
        others = []
        for one in extensions:
            if one.row_type in _MEDIA_TYPES:
                self._media.append(one.read(package, notes))
            elif one.row_type == _OCCURRENCE and occurrences is None:
                occurrences = one.read(package, notes)
            else:
                others.append(one.names[0])
        tell_count(
            notes, f"{{}} tables of {package.path} are neither occurrences nor media, and left out",
            others,
        )  # fmt: skip
        self._is_core = occurrences is core_rows
        self._core = core_rows
        if occurrences is None:
            # A core of taxa with media says of each medium what it shows.
            occurrences, self._is_core = core_rows, True
        self._rows = occurrences
        self._what = core.row_type or "unknown"

    def list_rows(self, options: SourceOptions) -> Part:
        """Join media to occurrences."""
        import pandas as pd

        pairs: list[tuple[str, int, dict[str, str], str]] = []
        for media in self._media:
            pairs += self._join(media)
        pairs, n_said = _join_repeated(pairs), len(pairs)
        if n_said > len(pairs):
            text = f"{n_said - len(pairs):,} media stand in several rows or tables of {{}}"
            self._notes.append(Note(f"{text.format(self._package.path)}, and are taken once"))
        named = {(name, row) for name, row, _, _ in pairs}
        associated = get_column(self._rows, "associatedMedia")
        base = write_name(absolute(options.root or self._package.folder))
        for row, cell in enumerate(associated):
            for name in _split_media(cell, base):
                if (name, row) not in named:
                    named.add((name, row))
                    pairs.append((name, row, {}, f"associatedMedia of row {row + 1}"))
        if not pairs:
            msg = (
                f"{self._package.path} names no picture: its tables have neither media "
                "(Simple Multimedia, Audubon Core) nor associatedMedia"
            )
            raise SourceError(msg)
        with_media = {row for _, row, _, _ in pairs}
        n_without = len(self._rows) - len(with_media - {-1})
        if n_without:
            text = f"{n_without:,} of {len(self._rows):,} occurrences have no media, and are no row"
            self._notes.append(Note(text))
        self._notes.insert(
            0,
            Note(
                f"{self._package.path} was read as a Darwin Core archive of {self._what}: "
                f"{len(self._rows):,} occurrences, {len(pairs):,} media"
            ),
        )
        rows = [row for _, row, _, _ in pairs]
        columns: dict[str, list[Any]] = {
            FILE: [name for name, _, _, _ in pairs],
            ENTRY: [entry for _, _, _, entry in pairs],
        }
        columns |= self._describe(rows)
        for term in dict.fromkeys(term for _, _, said, _ in pairs for term in said):
            columns[term] = [said.get(term, "") for _, _, said, _ in pairs]
        frame = pd.DataFrame(columns, dtype=object)
        return make_part(self._package, frame, options, notes=self._notes, numbers=_NUMBERS)

    def _join(self, media: pd.DataFrame) -> list[tuple[str, int, dict[str, str], str]]:
        """Return the file, the row of the occurrence (-1: none), and more of each medium."""
        names, pages = self._find_names(media)
        rows = self._find_rows(media)
        lost = [(key, row) for key, row in zip(media[_ID].tolist(), rows, strict=True) if row < 0]
        tell_count(
            self._notes, "{} media belong to no one occurrence, and are rows without a label",
            (key for key, _ in lost),
        )  # fmt: skip
        kinds = [one.casefold() for one in get_column(media, "type")]
        formats = [one.casefold() for one in get_column(media, "format")]
        others = []
        found = []
        said = {
            column: get_column(media, term) for term, column in _OF_MEDIA.items() if term in media
        }
        for at, (name, row) in enumerate(zip(names, rows, strict=True)):
            kind = re.split("[/#:]", kinds[at])[-1]
            is_image = formats[at].startswith("image") or f".{formats[at]}" in IMAGE_SUFFIXES
            is_still = kind in _STILL and (not formats[at] or is_image)
            if not is_still and not formats[at].startswith("image/"):
                others.append(f"{name} ({kinds[at] or formats[at]})")
                continue
            more = {column: values[at] for column, values in said.items() if values[at]}
            found.append((name, row, more, f"media row {at + 1} of {media[_ID].iloc[at]}"))
        tell_count(
            self._notes, "{} media are sounds, videos or texts, not pictures, and left out", others
        )
        tell_count(self._notes, "{} media name a page alone, which is taken for the file", pages)
        return found

    def _find_names(self, media: pd.DataFrame) -> tuple[list[str], list[str]]:
        terms = [get_column(media, term) for term in _FILE_TERMS]
        names, pages = [], []
        for cells in zip(*terms, strict=True):
            name = next(filter(None, cells[:-1]), "")
            if not name and is_address(cells[-1]):
                name = cells[-1]
                pages.append(name)
            names.append(name)
        return names, pages

    def _find_rows(self, media: pd.DataFrame) -> list[int]:
        by_key: dict[str, list[int]] = {}
        for row, key in enumerate(self._rows[_ID].tolist()):
            if key:
                by_key.setdefault(key, []).append(row)
        own = get_column(self._rows, "occurrenceID")
        by_own = {key: row for row, key in reversed(list(enumerate(own))) if key}
        if self._is_core:
            twice = [key for key, rows in by_key.items() if len(rows) > 1]
            tell_count(
                self._notes, "{} identifiers are of several occurrences; the first has the media",
                twice,
            )  # fmt: skip
        rows = []
        for key, name in zip(media[_ID].tolist(), get_column(media, "occurrenceID"), strict=True):
            mine = by_key.get(key, [])
            if name and name in by_own:
                rows.append(by_own[name])
            elif len(mine) == 1 or (mine and self._is_core):
                rows.append(mine[0])
            else:
                rows.append(-1)
        return rows

    def _describe(self, rows: Sequence[int]) -> dict[str, list[str]]:
        """Return what the occurrences say, and where they are an extension their core."""
        columns: dict[str, list[str]] = {}
        frames = [(self._rows, list(rows))]
        if not self._is_core:
            keys = self._rows[_ID].tolist()
            at = {key: row for row, key in reversed(list(enumerate(self._core[_ID].tolist())))}
            frames.append((self._core, [at.get(keys[row], -1) if row >= 0 else -1 for row in rows]))
        for frame, places in frames:
            for term in frame.columns:
                if term in _NOT_CARRIED or (term == _ID and frame is self._core
                                            and not self._is_core):  # fmt: skip
                    continue
                name = "core_id" if term == _ID else _NAMES.get(term) or write_snake(term)
                values = [*get_column(frame, term), ""]
                filled = [values[row] for row in places]
                if name in columns:
                    old = columns[name]
                    columns[name] = [a or b for a, b in zip(old, filled, strict=True)]
                elif any(filled):
                    columns[name] = filled
        self._complete_species(columns, rows)
        return columns

    def _complete_species(self, columns: dict[str, list[str]], rows: Sequence[int]) -> None:
        """Make a name of genus and epithet where there is no scientific name."""
        epithets = [*get_column(self._rows, "specificEpithet"), ""]
        genera = columns.get("genus") or columns.get("generic_name")
        if not genera or "scientific_name" in columns or not any(epithets):
            return
        columns["scientific_name"] = [
            f"{genus} {epithets[row]}" if genus and epithets[row] else genus
            for genus, row in zip(genera, rows, strict=True)
        ]


def _split_media(cell: str, base: str) -> list[str]:
    """Return what a cell names: by the bar of the standard, and by what people write for it."""
    parts = [part.strip() for part in cell.split("|")]
    return [name for part in parts if part for name in split_paths(part, base)]


DARWIN_CORE_ARCHIVE = Format(
    "darwin-core-archive",
    "Darwin Core archives, a folder or a zip; GBIF's downloads",
    _is_darwin_core_archive,
    _list_darwin_core_archive,
)


def _join_repeated(
    pairs: Sequence[tuple[str, int, dict[str, str], str]],
) -> list[tuple[str, int, dict[str, str], str]]:
    """Make one of the media that are one file of one occurrence; the first to say a thing wins."""
    known: dict[tuple[str, int], tuple[str, int, dict[str, str], str]] = {}
    for name, row, more, entry in pairs:
        # What has no name is no file, and stays a failure of its own.
        key = (name or entry, row)
        first = known.setdefault(key, (name, row, more, entry))
        known[key] = (name, row, {**more, **first[2]}, first[3])
    return list(known.values())
