"""Where the data shipped with bioprobe lie."""

from __future__ import annotations

from pathlib import Path

from bioprobe.errors import BioprobeError

_PACKAGE_DIR = Path(__file__).parent


def prompts_dir() -> Path:
    """Return the folder of templates, name lists and taxonomies.

    A wheel carries it inside the package as ``prompt_data``; in a checkout it is the top-level
    folder ``prompts``.

    Returns
    -------
    Path
        An existing folder.

    Raises
    ------
    BioprobeError
        If neither place exists, which means a broken installation.
    """
    for folder in (_PACKAGE_DIR / "prompt_data", _PACKAGE_DIR.parent / "prompts"):
        if folder.is_dir():
            return folder
    msg = (
        f"the folder of prompts is missing beside {_PACKAGE_DIR}: the installation is incomplete; "
        "reinstall bioprobe"
    )
    raise BioprobeError(msg)


def sketch_weights_dir() -> Path:
    """Return the folder of the embedded ``sketch`` model, in open_clip's local-dir layout."""
    return _PACKAGE_DIR / "sketch" / "weights"
