"""Modules of ours as trees, for what must hold of each."""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterable
from pathlib import Path


def parse_modules(paths: Iterable[Path]) -> dict[Path, ast.Module]:
    """Parse modules without looking for garbage meanwhile: that takes as long again."""
    gc.disable()
    try:
        return {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    finally:
        gc.enable()
