"""Sets of templates, read from text files or from open_clip."""

from __future__ import annotations

from pathlib import Path

from bioprobe.errors import PromptError
from bioprobe.files import read_lines
from bioprobe.resources import prompts_dir

OPENAI = "openai"
_PLACEHOLDER = "{}"


def shipped_templates() -> list[str]:
    """Return the names of the template sets that can be asked for by name."""
    files = (path.stem for path in (prompts_dir() / "templates").glob("*.txt"))
    return sorted([*files, OPENAI])


def read_templates(source: str) -> tuple[str, ...]:
    """Read a set of templates.

    Parameters
    ----------
    source : str
        A shipped set (``plain``), ``openai`` for the 80 ImageNet templates, a text file with one
        template a line, or one template that holds ``{}``.

    Returns
    -------
    tuple of str
        At least one; each holds ``{}`` once.

    Raises
    ------
    PromptError
        If there is no such set, or a line has no placeholder or several.
    SourceError
        If the file is not text.

    Examples
    --------
    >>> read_templates("plain")
    ('a photo of {}.',)
    >>> read_templates("a drawing of {}")
    ('a drawing of {}',)
    """
    if _PLACEHOLDER in source:
        return (_check(source, "the template"),)
    if source == OPENAI:
        return _openai_templates()
    path = Path(source)
    if not path.is_file():
        path = prompts_dir() / "templates" / f"{source}.txt"
    if not path.is_file():
        known = ", ".join(shipped_templates())
        msg = (
            f"no template set {source!r}; expected one of {known}, a text file, or a template "
            "with {} where the name goes"
        )
        raise PromptError(msg)
    templates = tuple(
        _check(line, f"{path.name} line {number}")
        for number, line in enumerate(read_lines(path), start=1)
        if line and not line.startswith("#")
    )
    if not templates:
        msg = f"{path} holds no template; write one a line, with {{}} where the name goes"
        raise PromptError(msg)
    return templates


def _check(template: str, where: str) -> str:
    if template.count(_PLACEHOLDER) != 1:
        msg = f"{where} must hold {{}} once, where the name goes; got {template!r}"
        raise PromptError(msg)
    return template


def _openai_templates() -> tuple[str, ...]:
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    return tuple(template(_PLACEHOLDER) for template in OPENAI_IMAGENET_TEMPLATES)
