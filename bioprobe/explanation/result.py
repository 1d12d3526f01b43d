"""What is said of pictures when they are explained."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.result import Notes, Result

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.explanation.examples import Example
    from bioprobe.explanation.focus import Box
    from bioprobe.images import ImageTable
    from bioprobe.provenance import Provenance
    from bioprobe.types import Scores


@dataclasses.dataclass(frozen=True)
class Share:
    """What lies inside of a box of a picture.

    Parameters
    ----------
    label : str
        What the box is said to hold, else its name.
    share : float
        Of the map.
    area : float
        Of what the model saw: what the share would be if the map were even.
    """

    label: str
    share: float
    area: float


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """Why one picture has an answer.

    Parameters
    ----------
    row : int
        Row of the picture.
    toward : str
        What the map is toward.
    kind : str
        ``text``, ``class``, or the rank of a taxon.
    against : tuple of str
        What it is told apart from; none for a map of the answer alone.
    logit : float
        Of what it is toward, less ``alpha`` times the mean of the others.
    method : str
        Of the map.
    relevance : ndarray of float32, shape (grid_height, grid_width)
        In [0, 1], over what the model saw.
    seen : tuple of float
        That part: left, upper, right and lower edge, in shares of the upright picture; beyond 0 and
        1 where it saw a border around the picture.
    half : tuple of float
        Box around the fewest cells that hold half of the map.
    half_share : float
        How few cells those are, as a share.
    answers : tuple of (str, float)
        The best answers with their probabilities, best first: those after the first are what it
        was closest to lose against.
    truth : str
        Label of the picture among the classes, ``""`` where it has none.
    pictures_for, pictures_against : tuple of Example
        Nearest labelled pictures of what it is toward, and of the first of the others.
    inside : tuple of Share
        What lies in each box of a detector.
    """

    row: int
    toward: str
    kind: str
    against: tuple[str, ...]
    logit: float
    method: str
    relevance: Scores
    seen: Box
    half: Box
    half_share: float
    answers: tuple[tuple[str, float], ...] = ()
    truth: str = ""
    pictures_for: tuple[Example, ...] = ()
    pictures_against: tuple[Example, ...] = ()
    inside: tuple[Share, ...] = ()

    @property
    def title(self) -> str:
        """What the map is toward and against, in words."""
        if not self.against:
            return self.toward
        *others, last = self.against
        return f"{self.toward} against {', '.join(others)}{' and ' if others else ''}{last}"


# Columns of boxes, and of what a box is of.
_EDGES = ("left", "upper", "right", "lower")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Explanations(Result):
    """Why pictures have their answers: a map each, and what speaks for and against.

    Parameters
    ----------
    images : ImageTable
        That the rows are of.
    items : tuple of Explanation
        Those of one picture one after the other.
    known : ImageTable
        That the rows of examples are of.
    failures : DataFrame
        Pictures that could not be read: ``row``, a hole where it has none, ``file_name`` and
        ``reason``.
    provenance : Provenance
        What was asked of which pictures, by which encoder.
    notes : tuple of Note
        What is to be said of it.
    """

    images: ImageTable
    items: tuple[Explanation, ...]
    known: ImageTable
    failures: pd.DataFrame
    provenance: Provenance
    notes: Notes = ()

    def __len__(self) -> int:
        return len(self.items)

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of the pictures, each once."""
        return tuple(dict.fromkeys(one.row for one in self.items))

    def to_frame(self) -> pd.DataFrame:
        """Return one row a map, and one for each picture that could not be read.

        ``half_…`` is the box around half of the map, ``half_share`` of how few cells it is;
        ``seen_…`` is what of the picture the model saw; ``in_boxes`` what share of the map lies in
        each box of a detector, and behind a slash what share of the area does.
        """
        import pandas as pd

        rows = np.array([one.row for one in self.items], dtype=np.int64)
        named = self.images.name_rows(rows)
        frame = pd.DataFrame(
            [self._describe(one) for one in self.items], columns=list(_COLUMNS)
        ).astype({"row": "int64"})
        for place, (name, values) in enumerate(named.items()):
            frame.insert(1 + place, name, values)
        frame["reason"] = ""
        if not len(self.failures):
            return frame
        unread = self.failures[["row", "file_name", "reason"]].reset_index(drop=True)
        return pd.concat([frame.astype({"row": "Int64"}), unread], ignore_index=True)

    def to_lines(self, frame: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return what a terminal has room for."""
        frame = self.to_frame() if frame is None else frame
        shown = ("file_name", "toward", "against", "logit", "answer", "score", "half_share",
                 "in_boxes", "reason")  # fmt: skip
        lines = frame[[name for name in shown if name in frame.columns]]
        return lines[[name for name in lines if (lines[name].fillna("") != "").any()]]

    def _describe(self, one: Explanation) -> dict[str, Any]:
        answer, score = one.answers[0] if one.answers else ("", float("nan"))
        return {
            "row": one.row,
            "toward": one.toward,
            "kind": one.kind,
            "against": "; ".join(one.against),
            "logit": one.logit,
            "method": one.method,
            "answer": answer,
            "score": score,
            "runners_up": "; ".join(f"{name} {value:.3f}" for name, value in one.answers[1:]),
            "truth": one.truth,
            **{f"half_{edge}": at for edge, at in zip(_EDGES, one.half, strict=True)},
            "half_share": one.half_share,
            **{
                f"seen_{edge}": min(max(at, 0.0), 1.0)
                for edge, at in zip(_EDGES, one.seen, strict=True)
            },
            "in_boxes": "; ".join(
                f"{box.label} {box.share:.2f}/{box.area:.2f}" for box in one.inside
            ),
            "nearest_for": self._name(one.pictures_for),
            "nearest_against": self._name(one.pictures_against),
        }

    def _name(self, examples: tuple[Example, ...]) -> str:
        return "; ".join(f"{self.known.name_row(one.row)} {one.similarity:.3f}" for one in examples)


_COLUMNS = (
    "row", "toward", "kind", "against", "logit", "method", "answer", "score", "runners_up", "truth",
    *(f"half_{edge}" for edge in _EDGES), "half_share", *(f"seen_{edge}" for edge in _EDGES),
    "in_boxes", "nearest_for", "nearest_against",
)  # fmt: skip
