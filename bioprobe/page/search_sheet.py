"""The answers of a search as a contact sheet."""

from __future__ import annotations

from pathlib import Path

from bioprobe.images import ImageTable
from bioprobe.index import Neighbors, Question, Terms
from bioprobe.page.contact_sheet import SheetGroup, SheetPicture, write_contact_sheet
from bioprobe.taxonomy import RANKS


def write_search_sheet(path: Path, found: Neighbors, question: Question) -> None:
    """Write the answers of a search with their similarities and labels as one HTML page.

    Parameters
    ----------
    path : Path
        HTML file.
    found : Neighbors
        The answers.
    question : Question
        What was asked; its pictures stand before the answers.

    Raises
    ------
    OSError
        If the page cannot be written.
    """
    groups = [
        SheetGroup(heading, "", _show_terms(terms, found.images))
        for heading, terms in (
            ("Looked for", question.plus_terms),
            ("Not looked for", question.minus_terms),
        )
    ]
    answers = [
        show_row(found.images, int(row), f"similarity {similarity:.3f}")
        for row, similarity in zip(found.rows, found.similarities, strict=True)
    ]
    groups = [group for group in groups if group.pictures]
    groups.append(SheetGroup("Found", "Nearest first, by cosine similarity.", answers))
    write_contact_sheet(path, f"Search: {question.text}", _introduce(found), groups)


def show_row(images: ImageTable, row: int, *lines: str) -> SheetPicture:
    """Return the picture of a row with its lowest label, and further lines.

    Parameters
    ----------
    images : ImageTable
    row : int
    *lines : str
        What stands before the common name, the higher labels and the file.
    """
    facts = images.frame.iloc[row]
    # From species up.
    labels = [str(facts[rank.value]) for rank in reversed(RANKS) if facts[rank.value]]
    names = [*labels[:1], str(facts["path"])]
    rest = (str(facts["common_name"]), " · ".join(labels[1:4]), f"row {row} · {facts['path']}")
    return SheetPicture(images.locate(row), names[0], (*lines, *(part for part in rest if part)))


def _show_terms(terms: Terms, images: ImageTable) -> list[SheetPicture]:
    given = [SheetPicture(file, file.name, ("picture given",)) for file in terms.images]
    return given + [show_row(images, row) for row in terms.rows]


def _introduce(found: Neighbors) -> str:
    source = found.provenance
    kind, recall = source.options["index"], source.options.get("recall")
    way = "exact search" if recall is None else f"index {kind}, measured recall {recall:.3f}"
    condition = f" where {source.condition}" if source.condition else ""
    return (
        f"{source.n_rows:,} images of {source.store}{condition}\n"
        f"{source.encoder['model']} · {way} · bioprobe {source.version} · {source.time}"
    )
