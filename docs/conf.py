"""How the docs are built: Markdown by MyST, docstrings by autodoc, commands from typer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

CHECKOUT = Path(__file__).parents[1]
sys.path.insert(0, str(CHECKOUT))

import bioprobe  # noqa: E402
from scripts.command_reference import write_commands  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "bioprobe"
author = "The bioprobe developers"
version = release = bioprobe.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"bioprobe {version}"
html_copy_source = False
myst_heading_anchors = 3
# A docstring says what types the parameters have.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
# A name may be found in several places, as where a result hands on what stands below it.
suppress_warnings = ["ref.python"]


def add_commands(_app: Sphinx, page: str, source: list[str]) -> None:
    """Put the commands, as they are now, at the end of their page."""
    if page == "reference/commands":
        source[0] += write_commands()


def leave_out_annotations(
    _app: Sphinx, _what: str, _name: str, _object: object, _options: object, *said: str | None
) -> tuple[str | None, str | None]:
    """Keep the options of the command line out of the signature of what they are made from."""
    signature, _returned = said
    return signature, None


def leave_out_routing(
    _app: Sphinx, _what: str, name: str, _object: object, _skip: bool, _options: object
) -> bool | None:
    """Leave out what scikit-learn adds to every estimator to hand metadata on."""
    return True if name.startswith("set_") and name.endswith("_request") else None


def setup(app: Sphinx) -> None:
    """Tell Sphinx of these."""
    app.connect("source-read", add_commands)
    app.connect("autodoc-process-signature", leave_out_annotations)
    app.connect("autodoc-skip-member", leave_out_routing)
