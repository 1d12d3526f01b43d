"""Which probes a store keeps, by their names: to list them nothing is loaded that learns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bioprobe.access import is_file, list_names

if TYPE_CHECKING:
    from bioprobe.store import EmbeddingStore

PROBES_NAME, CARD_NAME = "probes", "probe.json"
#: What may name a probe.
NAME = re.compile(r"\w[\w.+-]*")


def list_probes(store: EmbeddingStore) -> list[str]:
    """Return the names of the probes that a store keeps, sorted.

    Raises
    ------
    UnreadableError
        If the folder of probes may not be listed, or that of one may not be entered.
    """
    folder = store.folder / PROBES_NAME
    names = (name for name in list_names(folder) if is_file(folder / name / CARD_NAME))
    return [name for name in names if NAME.fullmatch(name)]
