"""One self-contained page that a biologist can read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bioprobe.errors import StoreError
from bioprobe.evaluation.keeping import EVALUATIONS_NAME, list_evaluations
from bioprobe.evaluation.result import Evaluation
from bioprobe.files import write_text
from bioprobe.page.html import render_page
from bioprobe.provenance import Provenance
from bioprobe.quality.description import describe_images
from bioprobe.report.advice import find_next_steps
from bioprobe.report.brief import (
    describe_failings,
    describe_pictures,
    describe_success,
    describe_usable,
)
from bioprobe.report.certainty import describe_certainty
from bioprobe.report.clusters import describe_clusters
from bioprobe.report.data import describe_data, describe_split, find_split
from bioprobe.report.errors import choose_pictures, count_unread, describe_errors, make_shower
from bioprobe.report.looks import describe_looks
from bioprobe.report.methods import (
    describe_methods,
    describe_windows,
    list_effects,
    plot_efficiency,
    summarise,
)
from bioprobe.report.naming import Naming
from bioprobe.report.positive import describe_positive
from bioprobe.report.section import Section, arrange, describe_provenance
from bioprobe.report.status import describe_stored
from bioprobe.result import say_time
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Taxon

TEMPLATE = "report.html.j2"
_INTRO = (
    "A computer looked at these pictures once, and learnt from labelled ones to name others. This "
    "page says how well that goes, what is on the pictures, and what would help."
)


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


def write_report(
    store: EmbeddingStore,
    evaluation: Evaluation,
    path: Path,
    *,
    title: str | None = None,
    names: Iterable[Taxon] | None = None,
    sections: Sequence[Section] = (),
) -> None:
    """Write what an evaluation found as one HTML file that needs no network.

    Parameters
    ----------
    store : EmbeddingStore
        That the evaluation was made on.
    evaluation : Evaluation
        See :func:`bioprobe.evaluation.keeping.read_evaluation`.
    path : Path
        HTML file; written whole or not at all, its folder is made.
    title : str, optional
        First heading; by default the store and the level.
    names : iterable of Taxon, optional
        Whose common names are shown; by default those of the labels and of added taxa.
    sections : sequence of Section
        Further parts: what is found by asking again.

    Raises
    ------
    StoreError
        If the page cannot be written.
    """
    content = describe_report(store, evaluation, title=title, names=names, sections=sections)
    write_text(path, render_page(TEMPLATE, content))


def describe_report(
    store: EmbeddingStore,
    evaluation: Evaluation,
    *,
    title: str | None = None,
    names: Iterable[Taxon] | None = None,
    sections: Sequence[Section] = (),
) -> dict[str, Any]:
    """Return everything that the page shows."""
    naming = Naming.of(store, names)
    level, options = evaluation.level, evaluation.provenance["options"]
    show, split = make_shower(store, naming), find_split(store, evaluation)
    common, found = naming.find_all(evaluation.classes), describe_images(store, level)
    provenance = Provenance(
        encoder=store.manifest.encoder.to_dict(), store=str(store.folder),
        n_rows=evaluation.provenance["n_rows"], options={"evaluation": evaluation.name},
    ).to_dict()  # fmt: skip
    assert found.listed is not None  # of a level that is asked for
    evaluated = evaluation.provenance
    galleries = choose_pictures(store, evaluation, split, show)
    best = evaluation.best.method
    own = [
        Section(
            "next", "What next", "What to do next",
            "What would make answers better, by the mistakes that were made.",
            find_next_steps(store, evaluation, split), is_open=True,
        ),
        Section(
            "pictures", "Pictures", "Pictures, with what was answered",
            "How answers look that are right, wrong, and in doubt.",
            {"galleries": galleries, "n_unread": count_unread(galleries)}, is_open=True,
        ),
        *describe_clusters(store, show, level),
        describe_looks(store, found, show, evaluation=evaluation, split=split),
        Section(
            "data", "Labels", "How the pictures are labelled",
            "What nobody has labelled cannot be learnt or judged, and a class of few pictures is "
            "learnt and judged badly.",
            describe_data(store, found, level, common) | {"names_are_asked": naming.is_asked},
        ),
        Section(
            "split", "Split", "Which pictures taught and which judge",
            "A method is judged by labelled pictures that it has not seen before, or it would be "
            "praised for its memory.",
            {"asked": options["split"], "name": ""} | (describe_split(split) if split else {}),
        ),
        Section(
            "methods", "Methods", "Which method is best, and by how much",
            "Methods were asked about the same pictures; where intervals overlap widely, a "
            "difference may be luck.",
            describe_methods(evaluation) | {"summary": summarise(evaluation)},
        ),
        Section(
            "errors", "Mistakes", f"Where {best} errs",
            "Which classes are taken for which, and whether the answer is at least near.",
            describe_errors(evaluation, show, common) | {"rank": level},
        ),
        Section(
            "certainty", "Certainty", "Can its probabilities be believed?",
            "Where they can, one may keep the sure answers and look at the others oneself.",
            describe_certainty(evaluation),
        ),
        describe_provenance(
            store.manifest.encoder.describe(), [evaluated["command"], provenance["command"]],
            evaluated,
        ),
        *describe_stored(store),
        *_describe_further(evaluation),
        *sections,
    ]  # fmt: skip
    arranged = arrange(own)
    return {
        "title": title or f"{store.folder.name}: {level}",
        "intro": _INTRO,
        "notes": [],
        "brief": [
            describe_pictures(store, found.listed, naming),
            describe_usable(store, level, options["mask"]),
            describe_success(evaluation),
            describe_failings(evaluation, common),
            *(one.brief for one in arranged if one.brief),
        ],
        "common": common,
        "sections": arranged,
        "footer": f"bioprobe {evaluated['version']}, evaluated "
        f"{say_time(evaluated['time'])}, reported {say_time(provenance['time'])}",
    }


def _describe_further(evaluation: Evaluation) -> list[Section]:
    """Return the parts about what was measured in some evaluations alone."""
    positive, windows = describe_positive(evaluation), describe_windows(evaluation)
    efficiency, effects = plot_efficiency(evaluation), list_effects(evaluation)
    own = []
    if positive:
        own.append(Section(
            "positive", f"{positive['name']} or {positive['other']}",
            f"How well is {positive['name']} told from {positive['other']}?",
            f"How many that are {positive['name']} are found, and how many that are called so are.",
            positive,
        ))  # fmt: skip
    if efficiency:
        own.append(Section(
            "labels", "Labels needed", "How many labels are needed?",
            "How much better answers get by more labelled pictures.", {"plot": efficiency},
        ))  # fmt: skip
    if effects:
        own.append(Section(
            "effects", "What was added", "Did what was added help?",
            "What columns beside the pictures, frequencies of place and season, or pictures beside "
            "texts bring.", {"rows": effects},
        ))  # fmt: skip
    if windows:
        own.append(Section(
            "time", "Over time", "How does it do over time?",
            "Whether answers are as often right on later pictures as on earlier ones.", windows,
        ))  # fmt: skip
    return own
