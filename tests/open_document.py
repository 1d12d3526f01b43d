"""OpenDocument workbooks as LibreOffice writes them: OpenDocument 1.3, parts 2 and 3."""

from __future__ import annotations

import datetime
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

_MIMETYPE = "application/vnd.oasis.opendocument.spreadsheet"
_NAMES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for name in ("office", "style", "table", "text")
)
_STYLES = "".join(
    f'<style:style style:name="{name}" style:family="table">'
    f'<style:table-properties table:display="{shown}"/></style:style>'
    for name, shown in (("shown", "true"), ("hidden", "false"))
)
# Of what was never written to there is one cell, and one row, that stands for all to the end.
_TO_THE_RIGHT = '<table:table-cell table:number-columns-repeated="1000"/>'
_BELOW = (
    '<table:table-row table:number-rows-repeated="1048000"><table:table-cell/></table:table-row>'
)


def write_cell(value: object, more: str = "") -> str:
    """Write a cell; None is an empty one, and a text that begins with ``<`` is XML already."""
    if value is None:
        return f"<table:table-cell {more}/>"
    if isinstance(value, str) and value.startswith("<"):
        return value
    if isinstance(value, bool):
        kind, said = "boolean", f'office:boolean-value="{str(value).lower()}"'
    elif isinstance(value, int | float):
        kind, said = "float", f'office:value="{value}"'
    elif isinstance(value, datetime.date):
        kind, said = "date", f'office:date-value="{value.isoformat()}"'
    else:
        kind, said = "string", ""
    shown = escape(str(value))
    return (
        f'<table:table-cell office:value-type="{kind}" {said} {more}><text:p>{shown}</text:p>'
        "</table:table-cell>"
    )


def write_workbook(
    path: Path, sheets: Mapping[str, Sequence[Sequence[object]]], hidden: Collection[str] = ()
) -> None:
    """Write sheets, each of rows of cells."""
    tables = "".join(
        f'<table:table table:name="{escape(name)}" '
        f'table:style-name="{"hidden" if name in hidden else "shown"}">'
        + "".join(
            f"<table:table-row>{''.join(map(write_cell, row))}{_TO_THE_RIGHT}</table:table-row>"
            for row in rows
        )
        + f"{_BELOW}</table:table>"
        for name, rows in sheets.items()
    )
    write_content(path, tables)


def write_content(path: Path, tables: str, mimetype: str = _MIMETYPE) -> None:
    """Write a document of these tables, or of another kind."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("mimetype", mimetype, zipfile.ZIP_STORED)
        packed.writestr(
            "META-INF/manifest.xml",
            "<manifest:manifest "
            'xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0" '
            f'manifest:version="1.3"><manifest:file-entry manifest:full-path="/" '
            f'manifest:media-type="{mimetype}"/><manifest:file-entry '
            'manifest:full-path="content.xml" manifest:media-type="text/xml"/></manifest:manifest>',
        )
        packed.writestr(
            "content.xml",
            f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {_NAMES} '
            f'office:version="1.3"><office:automatic-styles>{_STYLES}</office:automatic-styles>'
            f"<office:body><office:spreadsheet>{tables}</office:spreadsheet></office:body>"
            "</office:document-content>",
        )
