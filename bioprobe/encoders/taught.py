"""Which pictures taught an encoder that was finetuned: said beside its weights, and in stores."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from bioprobe.access import is_file
from bioprobe.encoders.catalog import parse_name
from bioprobe.encoders.views import split_views
from bioprobe.errors import ModelUnavailableError, StoreError
from bioprobe.files import read_json, write_text
from bioprobe.types import Mask, Names

#: Beside the weights: what they were trained from.
CARD_FILE = "bioprobe_training.json"
#: Beside it: the SHA-256 of the bytes of each picture that taught, or chose, one a line.
TAUGHT_FILE = "bioprobe_taught.txt"


@dataclasses.dataclass(frozen=True, eq=False)
class Training:
    """What an encoder was trained from, on top of what it began as.

    Parameters
    ----------
    card : dict
        JSON-ready: ``base``, ``level``, ``split``, ``n_images``, ``n_classes``, ``settings`` …
    hashes : frozenset of str
        SHA-256 of the bytes of the pictures that taught it or chose when to stop, and of those that
        taught what it began as.
    """

    card: dict[str, Any]
    hashes: frozenset[str]

    def write(self, folder: Path) -> None:
        """Write both files into a folder.

        Raises
        ------
        StoreError
            If the system refuses.
        """
        write_text(folder / TAUGHT_FILE, "".join(f"{one}\n" for one in sorted(self.hashes)))
        write_text(folder / CARD_FILE, json.dumps(self.card, indent=2) + "\n")

    def find_taught(self, hashes: Names) -> Mask:
        """Tell which pictures taught, by the SHA-256 of their bytes, ``""`` where not known."""
        return np.array([str(one) in self.hashes for one in hashes], dtype=bool)

    def describe(self) -> str:
        """Return in a sentence what it was trained from."""
        card = self.card
        return (
            f"finetuned from {card['base']['model']} on {card['n_images']:,} pictures of "
            f"{card['n_classes']:,} classes at {card['level']} ({card['store']}, split "
            f"{card['split'] or 'none'})"
        )


def read_training(folder: Path) -> Training | None:
    """Return what stands beside weights, or in a store, of how they were trained; None if nothing.

    Raises
    ------
    StoreError
        If the files are there and cannot be read: pictures that taught would be taken for new ones.
    """
    if not is_file(folder / CARD_FILE):
        return None
    try:
        card = read_json(folder / CARD_FILE, dict)
        hashes = frozenset((folder / TAUGHT_FILE).read_text(encoding="utf-8").split())
        training = Training(card, hashes)
        training.describe()
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = (
            f"{folder / CARD_FILE} and {TAUGHT_FILE} say which pictures taught the encoder, and "
            f"cannot be read ({error}); copy both again from where the model was made"
        )
        raise StoreError(msg) from error
    return training


def read_training_of(name: str) -> Training | None:
    """Return how the model of a name was trained; None where nothing says so."""
    try:
        source = parse_name(split_views(name)[0])
    except ModelUnavailableError:
        return None
    return read_training(Path(source.target)) if source.kind == "folder" else None
