"""The demonstration from an empty folder to a page."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

from bioprobe.demo.answers import ask
from bioprobe.demo.learning import learn
from bioprobe.demo.story import tell_story
from bioprobe.embedding import EmbedSummary, Outcome, embed_images
from bioprobe.encoders import Encoder, load_encoder
from bioprobe.errors import SourceError
from bioprobe.files import write_text
from bioprobe.images import ImageTable, find_images
from bioprobe.page import render_page
from bioprobe.report import write_report
from bioprobe.sketch import write_pictures
from bioprobe.store import EmbeddingStore, TextCache

_N_SCENES = 12
# Marks a folder as a demonstration's own, which the next one may replace.
_MARK = ".bioprobe-demo"


@dataclasses.dataclass(frozen=True)
class DemoResult:
    """What the demonstration left on disk.

    Parameters
    ----------
    page : Path
        HTML page to open.
    report : Path
        The report of the methods that were compared, to which it links.
    store : Path
        Store on which more can be asked.
    summary : EmbedSummary
        Counts of the embedding.
    """

    page: Path
    report: Path
    store: Path
    summary: EmbedSummary


def draw(folder: Path, *, n_per_species: int = 3, seed: int = 0) -> ImageTable:
    """Draw the pictures of the demonstration, in place of those of an earlier one.

    Parameters
    ----------
    folder : Path
        New or empty folder, or that of an earlier demonstration.
    n_per_species : int
        Pictures of each species, ≥ 1.
    seed : int
        Seed of the drawings.

    Returns
    -------
    ImageTable
        Listing of the pictures with their labels.

    Raises
    ------
    SourceError
        If the folder holds something else.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARK).is_file():
        msg = f"{folder} holds something that is no demonstration; choose another with --output"
        raise SourceError(msg)
    for part in ("photos", "store"):
        shutil.rmtree(folder / part, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()
    return find_images([write_pictures(folder / "photos", n_per_species, _N_SCENES, seed)])


def run_demo(
    folder: Path,
    table: ImageTable,
    *,
    seed: int = 0,
    encoder: Encoder | None = None,
    advance: Callable[[Outcome], None] | None = None,
) -> DemoResult:
    """Embed drawn pictures, ask everything, compare methods, and write both pages.

    Parameters
    ----------
    folder : Path
        Folder that :func:`draw` drew in.
    table : ImageTable
        What it returned.
    seed : int
        Its seed, for the record.
    encoder : Encoder, optional
        By default the embedded ``sketch``.
    advance : callable, optional
        Told the outcome of each embedded image, for a progress bar.
    """
    encoder = encoder or load_encoder("sketch")
    store = EmbeddingStore.open_for(folder / "store", encoder)
    summary = embed_images(table, encoder, store, advance=advance)
    store = EmbeddingStore.open(store.folder)
    texts = TextCache(store, lambda: encoder)
    answers, learning = ask(store, texts), learn(store, texts, seed=seed)
    page, report = folder / "index.html", folder / "report.html"
    write_report(store, learning.evaluation, report)
    content = tell_story(answers, learning, summary, folder=folder, seed=seed)
    write_text(page, render_page("demo.html.j2", content))
    return DemoResult(page, report, store.folder, summary)
