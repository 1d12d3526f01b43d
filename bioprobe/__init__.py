"""Embed every image once, then ask everything of the embeddings.

The package is laid out as the data flow: ``taxonomy`` and ``prompts`` (what can be asked),
``images`` and ``encoders`` (what turns pictures into vectors), ``store`` (where vectors live),
``embedding`` (the run that fills a store), ``index``, ``classify`` (questions), ``page`` and
``cli`` (answers shown). A module imports only from those that stand before it.
"""

from __future__ import annotations

__version__ = "0.1.0"
