"""What people write of pictures, by hand or in a table, as annotations; and who they are."""

from __future__ import annotations

import getpass
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bioprobe.content import CONTENT
from bioprobe.errors import MisuseError, SelectionError
from bioprobe.names import unify

if TYPE_CHECKING:
    from bioprobe.store import EmbeddingStore
    from bioprobe.store.annotations import Annotation, Unit

PERSON_VARIABLE = "BIOPROBE_PERSON"
# What a row of a table says of an annotation, under the names that answers have too.
_FIELDS = (
    "id", "level", "value", "verdict", "by", "at", "suggestion", "suggested_by", "score",
    "shown_for", "chance",
)  # fmt: skip
#: Column of what was sought by a text that is no class of a rank.
FOUND = "found"
# What a picture holds before it holds a taxon, and what was sought by words, may be said in any
# store.
_ALWAYS = (CONTENT, FOUND)
_PLACE = {"file_name": "path", "image_region": "region"}
_NUMBERS = ("score", "chance")


def find_person(by: str | None) -> str:
    """Return who annotates.

    Raises
    ------
    MisuseError
        If nobody says.
    """
    named = by or os.environ.get(PERSON_VARIABLE)
    if named:
        return named
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError) as error:
        msg = f"say who annotates: --by NAME, or ${PERSON_VARIABLE}"
        raise MisuseError(msg) from error


class AnnotationReader:
    """Makes annotations of what people write.

    Parameters
    ----------
    store : EmbeddingStore
        Of the images.
    by : str, optional
        Who says what says nothing of it.
    is_new : bool
        Whether a level may be a column that the store has not.
    """

    def __init__(self, store: EmbeddingStore, by: str | None, *, is_new: bool = False) -> None:
        from bioprobe.interchange.annotations import Units

        self._store = store
        self._by = by
        self._is_new = is_new
        self._units = Units(store)
        self._levels: dict[str, str] = {}

    def read(self, given: Mapping[str, Any] | Annotation, place: int) -> Annotation:
        """Return an annotation; ``place`` says which it is, from 1."""
        from bioprobe.store.annotations import Annotation

        try:
            if isinstance(given, Annotation):
                self._read_level(given.level)
                return given
            return self.make(given)
        except (MisuseError, SelectionError) as error:
            msg = f"annotation {place}: {error}"
            raise type(error)(msg) from error

    def make(self, given: Mapping[str, Any], *, lasts: bool = False) -> Annotation:
        """Return an annotation of what a mapping says.

        Parameters
        ----------
        given : mapping
        lasts : bool
            Whether one without an id has the same one each time.
        """
        from bioprobe.interchange.annotations import make_id
        from bioprobe.store.annotations import IS, UNSURE, Annotation

        said = {
            _PLACE.get(name, name): value for name, value in given.items() if not _is_hole(value)
        }
        unknown = sorted(said.keys() - {*_FIELDS, "row", "root", "path", "region", "sha256"})
        if unknown:
            msg = f"{unknown[0]!r} is nothing that an annotation has; it has row, path, region, "
            raise MisuseError(msg + ", ".join(_FIELDS))
        unit = self._find_unit(said)
        level = self._read_level(str(said.get("level", "")))
        value = unify(str(said.get("value", ""))).strip()
        verdict = str(said.get("verdict") or (IS if value else UNSURE)).replace("_", " ")
        said |= {"level": level, "value": value, "verdict": verdict}
        said["by"] = str(said.get("by") or find_person(self._by))
        further: dict[str, Any] = {
            name: str(said[name]) for name in ("suggestion", "suggested_by", "shown_for")
            if name in said
        }  # fmt: skip
        for name in _NUMBERS:
            if name in said:
                further[name] = _read_number(name, said[name])
        return Annotation.make(
            unit, level, value, verdict, by=said["by"], at=_read_time(said.get("at", "")),
            id=str(said.get("id") or (make_id(unit, said) if lasts else "")), **further,
        )  # fmt: skip

    def _find_unit(self, said: Mapping[str, Any]) -> Unit:
        from bioprobe.store.labels import list_units
        from bioprobe.upkeep import find_rows

        if "row" in said:
            row = int(_read_number("row", said["row"]))
            return list_units(self._store.given, find_rows(self._store, [row]))[0]
        if "path" not in said:
            msg = "it says neither row nor path, and so not which image it is of"
            raise MisuseError(msg)
        return self._units.find(
            str(said["path"]), str(said.get("region", "")), root=str(said.get("root", "")),
            sha256=str(said.get("sha256", "")),
        )  # fmt: skip

    def _read_level(self, level: str) -> str:
        from bioprobe.images.image_table import COLUMNS, read_level
        from bioprobe.taxonomy.columns import LABEL_COLUMNS

        if level not in self._levels:
            if not level:
                msg = "it has no level: a rank, or a column of the image table"
                raise MisuseError(msg)
            annotated = {one.level for one in self._store.annotations.standing}
            is_known = self._is_new or level in annotated or level in _ALWAYS
            if level in set(COLUMNS) - set(LABEL_COLUMNS):
                msg = f"{level} is what the picture is, and no label; choose a rank or a column"
                raise MisuseError(msg)
            self._levels[level] = level if is_known else read_level(level, self._store.given)
        return self._levels[level]


def list_rows(given: Any) -> list[Any]:  # noqa: ANN401 - a frame, a mapping, or a sequence
    """Return the rows of a table, or what is a row or several already."""
    if hasattr(given, "to_dict") and hasattr(given, "columns"):
        return list(given.astype(object).to_dict("records"))
    return [given] if isinstance(given, Mapping) else list(given)


def place_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what says which image an annotation of a file is of: its name before its row."""
    # A row is a number of the store that the file was written of.
    return {name: said[name] for name in said if name != "row" or "path" not in said}


def take_back(one: Annotation, by: str, at: object = "") -> Annotation:
    """Return the record by which one of a file was taken back, the same each time.

    Where the file does not say when, it is when it was said.
    """
    from bioprobe.interchange.annotations import make_id
    from bioprobe.store.annotations import Annotation

    number = make_id(one.unit, {"level": one.id, "by": by, "verdict": "retracted"})
    return Annotation.make(
        one.unit, one.level, "", "", by=by, at=_read_time(at) or one.at, id=number,
        retracts=one.id,
    )  # fmt: skip


def _is_hole(value: object) -> bool:
    return (
        value is None
        or value == ""
        or (isinstance(value, float) and math.isnan(value))
        or str(value) in ("<NA>", "NaT")
    )


def _read_number(name: str, value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        msg = f"{name} is a number, got {value!r}"
        raise MisuseError(msg) from None


def _read_time(at: object) -> Any:  # noqa: ANN401 - a text or a time
    return at if isinstance(at, str) or hasattr(at, "tzinfo") else str(at)
