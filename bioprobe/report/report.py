"""One self-contained page that a biologist can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bioprobe.errors import StoreError
from bioprobe.evaluation.result import Evaluation
from bioprobe.evaluation.saving import EVALUATIONS_NAME, list_evaluations
from bioprobe.files import write_text
from bioprobe.page.html import render_page
from bioprobe.provenance import Provenance
from bioprobe.report.certainty import describe_certainty
from bioprobe.report.data import describe_data, describe_split, find_split
from bioprobe.report.errors import describe_errors
from bioprobe.report.galleries import choose_pictures, count_unread, make_shower
from bioprobe.report.methods import describe_methods, plot_efficiency, summarise
from bioprobe.report.next_steps import find_next_steps
from bioprobe.store import EmbeddingStore

TEMPLATE = "report.html.j2"


def find_newest(store: EmbeddingStore) -> str:
    """Return the name of the evaluation that a store was given last.

    Raises
    ------
    StoreError
        If it has none.
    """
    names = list_evaluations(store)
    if not names:
        msg = f"there is nothing to report of {store.folder}; first: bioprobe evaluate"
        raise StoreError(msg)
    folder = store.folder / EVALUATIONS_NAME
    return max(names, key=lambda name: (folder / f"{name}.json").stat().st_mtime_ns)


def write_report(store: EmbeddingStore, evaluation: Evaluation, path: Path) -> None:
    """Write what an evaluation found as one HTML file that needs no network.

    Parameters
    ----------
    store : EmbeddingStore
        That the evaluation was made on.
    evaluation : Evaluation
        See :func:`bioprobe.evaluation.saving.read_evaluation`.
    path : Path
        HTML file; written whole or not at all, its folder is made.

    Raises
    ------
    OSError
        If the page cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render_page(TEMPLATE, describe_report(store, evaluation)))


def describe_report(store: EmbeddingStore, evaluation: Evaluation) -> dict[str, Any]:
    """Return everything that the page shows."""
    show = make_shower(store)
    split = find_split(store, evaluation)
    galleries = choose_pictures(store, evaluation, split, show)
    provenance = Provenance(
        encoder=store.manifest.encoder.to_dict(),
        store=str(store.folder),
        n_rows=evaluation.provenance["n_rows"],
        options={"evaluation": evaluation.name},
    )
    return {
        "title": f"{store.folder.name}: {evaluation.rank.value}",
        "rank": evaluation.rank.value,
        "encoder": store.manifest.encoder.describe(),
        "summary": summarise(evaluation),
        "data": describe_data(store, evaluation.rank),
        "split": describe_split(split) if split else None,
        "split_name": evaluation.provenance["options"]["split"],
        "methods": describe_methods(evaluation),
        "errors": describe_errors(evaluation, show),
        "galleries": galleries,
        "n_unread": count_unread(galleries),
        "certainty": describe_certainty(evaluation),
        "efficiency": plot_efficiency(evaluation),
        "next": find_next_steps(store, evaluation, split),
        "evaluated": evaluation.provenance,
        "reported": provenance.to_dict(),
    }
