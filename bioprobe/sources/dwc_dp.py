"""Darwin Core data packages: events, occurrences and media, joined by their identifiers.

References
----------
TDWG, *Darwin Core Data Package guide* (2026); regions of media by Audubon Core, ``xFrac`` and its
kin.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bioprobe.content import CONTENT
from bioprobe.errors import SourceError
from bioprobe.result import WARNING, Note
from bioprobe.sources.camtrap_dp import open_data_package
from bioprobe.sources.formats import Format
from bioprobe.sources.package_pictures import BOX, ENTRY, FILE, make_part
from bioprobe.sources.package_tables import DataPackage, get_column, tell_count, write_snake

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.sources.files import SourceOptions
    from bioprobe.sources.listing import Part
    from bioprobe.sources.peek import Peek

_TABLES = ("media", "occurrence", "occurrence-media", "event", "event-media", "identification")
_BOX_TERMS = ("xFrac", "yFrac", "widthFrac", "heightFrac")
_FILE_TERMS = ("accessURI", "filePath", "goodQualityAccessURI", "identifier")
_NAMES = {
    "decimalLatitude": "latitude", "decimalLongitude": "longitude", "eventDate": "captured_at",
    "locality": "location", "organismQuantity": "organism_quantity", "individualCount": "count",
    "vernacularName": "common_name",
}  # fmt: skip
_NUMBERS = ("latitude", "longitude", "count", "coordinate_uncertainty_in_meters")
_NOT_CARRIED = frozenset(
    {*_BOX_TERMS, "accessURI", "filePath", "scientificNameAuthorship", "specificEpithet",
     "infraspecificEpithet", CONTENT}
)  # fmt: skip


def _is_dwc_dp(peek: Peek) -> bool:
    """Tell whether a source is a Darwin Core data package with media."""
    found = open_data_package(peek)
    if found is None or "media" not in found.resources:
        return False
    return "dwc-dp" in found.profile or bool(
        {"occurrence", "occurrence-media", "event-media"} & found.resources.keys()
    )


def _list_dwc_dp(peek: Peek, options: SourceOptions) -> list[Part]:
    """List the media of a Darwin Core data package, a row for each occurrence that they show.

    A medium without an occurrence is a row without a label.
    """
    found = open_data_package(peek)
    if found is None:
        msg = f"{peek.path} holds no datapackage.json"
        raise SourceError(msg)
    return [_DwcDp(found).list_rows(options)]


class _Table:
    """A table with the rows of each identifier."""

    def __init__(self, frame: pd.DataFrame, key: str) -> None:
        self.frame = frame
        self.keys = get_column(frame, key)
        self.rows: dict[str, int] = {}
        for row, one in enumerate(self.keys):
            if one:
                self.rows.setdefault(one, row)

    def __len__(self) -> int:
        return len(self.frame)

    def find_twice(self) -> list[str]:
        """Return the identifiers that several rows have."""
        counts = collections.Counter(filter(None, self.keys))
        return [key for key, n in counts.items() if n > 1]


class _DwcDp:
    """The tables of one package, while they are joined."""

    def __init__(self, found: DataPackage) -> None:
        self._package = found.package
        self._notes: list[Note] = []
        read = {name: found.read(name, self._notes) for name in _TABLES}
        self._media = _Table(read["media"], "mediaID")
        self._occurrences = _Table(read["occurrence"], "occurrenceID")
        self._events = _Table(read["event"], "eventID")
        self._of_occurrences, self._of_events = read["occurrence-media"], read["event-media"]
        self._identifications = read["identification"]
        if not len(self._media):
            msg = f"{self._package.path} names no media: its table 'media' has no row"
            raise SourceError(msg)
        for name, table in (("media", self._media), ("occurrence", self._occurrences),
                            ("event", self._events)):  # fmt: skip
            tell_count(
                self._notes, f"{{}} identifiers are of several rows of {name}; the first is taken",
                table.find_twice(),
            )  # fmt: skip

    def list_rows(self, options: SourceOptions) -> Part:
        """Join the tables."""
        import pandas as pd

        triples = self._join()
        media = [row for row, _, _ in triples]
        occurrences = [row for _, row, _ in triples]
        links = [row for _, _, row in triples]
        events = self._find_events(media, occurrences)
        names = [get_column(self._media.frame, term) for term in _FILE_TERMS]
        columns: dict[str, list[str]] = {
            FILE: [next((one[row] for one in names if one[row]), "") for row in media],
            ENTRY: [f"media {self._media.keys[row]}" for row in media],
            BOX: self._find_boxes(media, links),
        }
        identified = self._find_identifications(occurrences)
        for frame, rows, kind in (
            (self._occurrences.frame, occurrences, "occurrence"),
            (self._identifications, identified, "identification"),
            (self._media.frame, media, "media"),
            (self._events.frame, events, "event"),
        ):
            self._carry(columns, frame, rows, kind)
        frame = pd.DataFrame(columns, dtype=object)
        n_without = sum(row < 0 for row in occurrences)
        self._notes.insert(
            0,
            Note(
                f"{self._package.path} was read as a Darwin Core data package: "
                f"{len(self._media):,} media, {len(self._occurrences):,} occurrences"
            ),
        )
        if n_without:
            text = f"{n_without:,} media have no occurrence, and are rows without a label"
            self._notes.append(Note(text))
        used = len({row for row in occurrences if row >= 0})
        if used < len(self._occurrences):
            n_left = len(self._occurrences) - used
            self._notes.append(Note(f"{n_left:,} occurrences have no media, and are no row"))
        return make_part(self._package, frame, options, notes=self._notes, numbers=_NUMBERS)

    def _join(self) -> list[tuple[int, int, int]]:
        """Return the rows of medium, occurrence and link of each row to be; -1 is none."""
        found: dict[int, list[tuple[int, int]]] = {}
        lost = []
        of_media = get_column(self._of_occurrences, "mediaID")
        of_occurrences = get_column(self._of_occurrences, "occurrenceID")
        for link, (medium, occurrence) in enumerate(zip(of_media, of_occurrences, strict=True)):
            row, other = self._media.rows.get(medium), self._occurrences.rows.get(occurrence)
            if row is None or other is None:
                lost.append(f"{occurrence} ({medium})")
            else:
                found.setdefault(row, []).append((other, link))
        tell_count(
            self._notes,
            "{} rows of occurrence-media name an occurrence or a medium that is not there",
            lost,
        )
        self._join_directly(found)
        return [
            (row, *pair) for row in range(len(self._media)) for pair in found.get(row, [(-1, -1)])
        ]

    def _join_directly(self, found: dict[int, list[tuple[int, int]]]) -> None:
        """Join by a mediaID in occurrences, or an occurrenceID in media."""
        by_medium = get_column(self._occurrences.frame, "mediaID")
        for other, key in enumerate(by_medium):
            row = self._media.rows.get(key)
            if row is not None and all(other != one for one, _ in found.get(row, ())):
                found.setdefault(row, []).append((other, -1))
        for row, key in enumerate(get_column(self._media.frame, "occurrenceID")):
            other_row = self._occurrences.rows.get(key)
            if other_row is not None and all(other_row != one for one, _ in found.get(row, ())):
                found.setdefault(row, []).append((other_row, -1))

    def _find_events(self, media: Sequence[int], occurrences: Sequence[int]) -> list[int]:
        """Return the row of the event of each row: the occurrence's, else the medium's."""
        of_occurrence = [*get_column(self._occurrences.frame, "eventID"), ""]
        of_medium = get_column(self._media.frame, "eventID")
        keys = get_column(self._of_events, "mediaID")
        linked = dict(zip(keys, get_column(self._of_events, "eventID"), strict=True))
        events, lost = [], []
        for medium, occurrence in zip(media, occurrences, strict=True):
            key = (
                of_occurrence[occurrence]
                or of_medium[medium]
                or linked.get(self._media.keys[medium], "")
            )
            row = self._events.rows.get(key, -1) if key else -1
            if key and row < 0:
                lost.append(key)
            events.append(row)
        tell_count(self._notes, "{} rows name an eventID that no event has", lost, WARNING)
        return events

    def _find_identifications(self, occurrences: Sequence[int]) -> list[int]:
        """Return the first identification of each occurrence: it may have the name."""
        known: dict[str, int] = {}
        verdicts = get_column(self._identifications, "isAcceptedIdentification")
        for row, key in enumerate(get_column(self._identifications, "occurrenceID")):
            if key and (key not in known or verdicts[row].casefold() == "true"):
                known[key] = row
        return [known.get(self._occurrences.keys[row], -1) if row >= 0 else -1
                for row in occurrences]  # fmt: skip

    def _find_boxes(self, media: Sequence[int], links: Sequence[int]) -> list[str]:
        boxes = []
        own = [get_column(self._media.frame, term) for term in _BOX_TERMS]
        linked = [[*get_column(self._of_occurrences, term), ""] for term in _BOX_TERMS]
        for medium, link in zip(media, links, strict=True):
            box = ",".join(side[link] for side in linked)
            boxes.append(box if box.strip(",") else ",".join(side[medium] for side in own))
        return boxes

    def _carry(
        self,
        columns: dict[str, list[str]],
        frame: pd.DataFrame,
        rows: Sequence[int],
        kind: str,
    ) -> None:
        before = set(columns)
        for term in frame.columns:
            if term in _NOT_CARRIED:
                continue
            name = _NAMES.get(term) or write_snake(term)
            cells = [*get_column(frame, term), ""]
            values = [cells[row] for row in rows]
            if not any(values):
                continue
            if name in before and name.endswith("_id"):
                continue
            if name in before and kind == "identification":
                columns[name] = [a or b for a, b in zip(columns[name], values, strict=True)]
                continue
            columns[f"{kind}_{name}" if name in before else name] = values


DWC_DP = Format(
    "dwc-dp",
    "Darwin Core data packages (DwC-DP), a folder or a zip",
    _is_dwc_dp,
    _list_dwc_dp,
)
