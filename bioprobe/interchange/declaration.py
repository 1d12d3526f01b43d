"""What a file that bioprobe exported says of its vectors."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from bioprobe import __version__
from bioprobe.errors import SourceError

KEY = "bioprobe"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Declaration:
    """What is known of exported vectors, kept in the metadata of their file.

    Parameters
    ----------
    model : str
        Encoder of the vectors.
    logit_scale : float
        The encoder's factor from cosine similarity to logits.
    columns : mapping of str to str
        Column of the image table to the column of the file that holds it.
    text_columns : tuple of str
        Columns of the image table that hold text: a CSV file cannot tell ``007`` from 7.
    normalised : bool
        Whether every vector has unit length.
    version : str
        Version of bioprobe that wrote the file.
    """

    model: str
    logit_scale: float
    columns: Mapping[str, str]
    text_columns: tuple[str, ...] = ()
    normalised: bool = True
    version: str = __version__

    def to_json(self) -> str:
        """Return the fields as a JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str | bytes | None, source: object) -> Declaration | None:
        """Read the fields, or return None where a file of another tool says nothing.

        Raises
        ------
        SourceError
            If the text is damaged or of a newer bioprobe.
        """
        if not text:
            return None
        try:
            fields = json.loads(text)
            return cls(**{**fields, "text_columns": tuple(fields["text_columns"])})
        except (ValueError, TypeError, KeyError) as error:
            msg = f"what {source} says of its own vectors cannot be read ({error}); export it again"
            raise SourceError(msg) from error
