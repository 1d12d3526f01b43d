"""Exchange vectors with other tools: their files into a store, a store into their files."""

from bioprobe.interchange.draft import ImportSummary
from bioprobe.interchange.exporting import ExportSummary, export_store
from bioprobe.interchange.importing import import_vectors
from bioprobe.interchange.layouts import recognise_layout
from bioprobe.interchange.treeoflife import HeadSummary, import_text_head

__all__ = [
    "ExportSummary",
    "HeadSummary",
    "ImportSummary",
    "export_store",
    "import_text_head",
    "import_vectors",
    "recognise_layout",
]
