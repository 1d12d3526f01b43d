"""Exchange vectors with other tools: their files into a store, a store into their files."""

from bioprobe.interchange.draft import ImportSummary
from bioprobe.interchange.in_part import PartSummary, import_in_part, is_read_in_part
from bioprobe.interchange.layouts import (
    ExportSummary,
    export_store,
    import_vectors,
    recognise_layout,
)
from bioprobe.interchange.treeoflife import HeadSummary, import_text_head

__all__ = [
    "ExportSummary",
    "HeadSummary",
    "ImportSummary",
    "PartSummary",
    "export_store",
    "import_in_part",
    "import_text_head",
    "import_vectors",
    "is_read_in_part",
    "recognise_layout",
]
