"""Noise prompt sets: texts of what a collection keeps and of what else is found in it."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from bioprobe.errors import PromptError
from bioprobe.resources import prompts_dir


@dataclasses.dataclass(frozen=True)
class NoisePrompts:
    """Concepts on both sides of a filter, each described by several texts.

    Parameters
    ----------
    name : str
        What is kept, such as ``animal``.
    templates : tuple of str
        Each holds ``{}`` once.
    kept, dropped : dict of str to tuple of str
        Concept to phrases.
    """

    name: str
    templates: tuple[str, ...]
    kept: dict[str, tuple[str, ...]]
    dropped: dict[str, tuple[str, ...]]

    def write(self, phrases: tuple[str, ...]) -> tuple[str, ...]:
        """Return every phrase in every template."""
        return tuple(t.replace("{}", phrase) for phrase in phrases for t in self.templates)


def read_noise_prompts(source: str) -> NoisePrompts:
    """Read a noise prompt set.

    Parameters
    ----------
    source : str
        A shipped set (``animal``), or a TOML file.

    Raises
    ------
    PromptError
        If there is none, or it is not complete.

    Examples
    --------
    >>> "map" in read_noise_prompts("animal").dropped
    True
    """
    path = Path(source) if source.endswith(".toml") else prompts_dir() / f"noise/{source}.toml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in (prompts_dir() / "noise").glob("*.toml")))
        msg = f"no noise prompts {source!r}; expected one of {known}, or a .toml file"
        raise PromptError(msg)
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
        sides = [_read_side(fields, side) for side in ("kept", "dropped")]
        templates = tuple(fields["templates"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{path} holds no noise prompts ({error!r}); it needs templates, [kept], [dropped]"
        raise PromptError(msg) from error
    if not templates or any(template.count("{}") != 1 for template in templates):
        msg = f"{path}: each template must hold {{}} once, where the phrase goes; got {templates}"
        raise PromptError(msg)
    return NoisePrompts(path.stem, templates, *sides)


def _read_side(fields: dict[str, Any], side: str) -> dict[str, tuple[str, ...]]:
    concepts = {name: tuple(phrases) for name, phrases in fields[side].items()}
    if not concepts or not all(concepts.values()):
        msg = f"[{side}] is empty"
        raise ValueError(msg)
    return concepts
