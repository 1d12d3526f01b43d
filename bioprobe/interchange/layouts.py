"""Which layout a file or folder of vectors has."""

from __future__ import annotations

from pathlib import Path

from bioprobe.errors import SourceError
from bioprobe.interchange import treeoflife
from bioprobe.interchange.vector_source import Layout
from bioprobe.registry import EXPORTERS

TREEOFLIFE = "treeoflife"


def find_layout(name: str) -> Layout:
    """Return the layout of a name.

    Raises
    ------
    SourceError
        If there is none of that name.
    """
    if name not in EXPORTERS.names:
        known = ", ".join(EXPORTERS.names)
        msg = f"{name!r} is not a layout of images; expected one of {known}"
        raise SourceError(msg)
    found: Layout = EXPORTERS.load(name)
    return found


def recognise_layout(source: Path) -> str:
    """Tell which layout a file or folder has; a text head is ``treeoflife``.

    Raises
    ------
    SourceError
        If there is nothing there, or it has none of the layouts.

    See Also
    --------
    bioprobe.registry.EXPORTERS : what there is, in the order in which it is tried.
    """
    if not source.exists():
        msg = f"no file or folder at {source}"
        raise SourceError(msg)
    if treeoflife.is_text_head(source):
        return TREEOFLIFE
    ours = {name: find_layout(name) for name in EXPORTERS.places}
    for name, layout in ours.items():
        if layout.recognise(source):
            return name
    added, broken = EXPORTERS.load_added()
    for name, layout in added.items():
        if layout.recognise(source):
            return name
    known = {name: layout for name, layout in (ours | added).items() if layout.open_source}
    forms = "; ".join(f"{layout.looks_like} ({name})" for name, layout in known.items())
    missed = "".join(f"; {reason}" for reason in broken.values())
    msg = (
        f"{source} has no layout that bioprobe knows. Looked for: {forms}; "
        f"{treeoflife.LOOKS_LIKE} ({TREEOFLIFE}). Say which it is with --layout, and the column of "
        f"vectors with --column{missed}"
    )
    raise SourceError(msg)
