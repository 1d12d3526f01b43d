"""One page of pictures that nobody has labelled: what they are like, and what names fit them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.files import write_text
from bioprobe.page.html import render_page
from bioprobe.provenance import Provenance
from bioprobe.quality.description import describe_images
from bioprobe.report.advice import find_usable
from bioprobe.report.brief import describe_usable, join
from bioprobe.report.clusters import describe_clusters
from bioprobe.report.data import find_place, name_all
from bioprobe.report.errors import count_unread, make_shower
from bioprobe.report.looks import describe_looks
from bioprobe.report.naming import Naming
from bioprobe.report.plots import plot_class_sizes
from bioprobe.report.section import Section, arrange, describe_provenance
from bioprobe.report.status import describe_stored
from bioprobe.result import say_time
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Taxon
from bioprobe.types import Names, Rows

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.report.errors import ShowPicture
    from bioprobe.task.predictions import Predictions

_SURE, _LIKELY = 0.9, 0.5
_N_NAMED, _N_ANSWERS, _N_PICTURES = 3, 30, 12


def write_overview(
    store: EmbeddingStore,
    path: Path,
    answers: Predictions | None,
    *,
    unasked: str = "",
    by: str | None = None,
    title: str | None = None,
    names: Iterable[Taxon] | None = None,
    sections: Sequence[Section] = (),
) -> None:
    """Write what pictures are like, and what zero-shot found in them, as one HTML file.

    Parameters
    ----------
    store : EmbeddingStore
        Of the images.
    path : Path
        HTML file; written whole or not at all, its folder is made.
    answers : Predictions, optional
        What zero-shot found in the pictures that no filter drops.
    unasked : str
        Why there are none.
    by : str, optional
        What pictures are told apart by; see :func:`find_place`.
    title : str, optional
        First heading; by default the store's name.
    names : iterable of Taxon, optional
        Whose common names are shown; by default those of the labels and of added taxa.
    sections : sequence of Section
        Further parts.

    Raises
    ------
    OSError
        If the page cannot be written.
    SelectionError
        If there is no such column.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = _describe_overview(
        store, answers, unasked=unasked, by=by, title=title, names=names, sections=sections
    )
    write_text(path, render_page("report.html.j2", content))


def _describe_overview(
    store: EmbeddingStore,
    answers: Predictions | None,
    *,
    unasked: str = "",
    by: str | None = None,
    title: str | None = None,
    names: Iterable[Taxon] | None = None,
    sections: Sequence[Section] = (),
) -> dict[str, Any]:
    """Return everything that the page shows."""
    listed = names if names is not None or answers is None else _list_taxa(store, answers)
    naming = Naming.of(store, listed, is_asked=names is not None)
    place, values = find_place(store, by)
    show = make_shower(store, naming)
    asked = _describe_answers(answers, values, naming, show) if answers is not None else None
    usable, _ = find_usable(store)
    provenance = Provenance(
        encoder=store.manifest.encoder.to_dict(), store=str(store.folder),
        n_rows=len(store.rows), options={"by": place},
    ).to_dict()  # fmt: skip
    commands = [answers.provenance.command] if answers is not None else []
    own = [
        Section(
            "places", f"By {place}", f"By {place}", "What each has, and what was found there.",
            {"place": place, "asked": asked,
             "places": _describe_places(store, values, usable, answers)}, is_open=True,
        ),
        *describe_clusters(store, show),
        describe_looks(store, describe_images(store), show, by=by),
        describe_provenance(store.manifest.encoder.describe(), [*commands, provenance["command"]]),
        *describe_stored(store),
        *sections,
    ]  # fmt: skip
    if asked:
        own.append(Section(
            "found", "What was found", "What was found",
            "Nobody told it what is on a picture: each got the name that fits it best.",
            asked | {"place": place, "n_unread": count_unread(asked["galleries"])}, is_open=True,
        ))  # fmt: skip
    arranged = arrange(own)
    return {
        "title": title or store.folder.name,
        "intro": "This page says what these pictures are like, and what a computer sees in them "
        "that was told no label.",
        "notes": [f"No name was looked for: {unasked}."] if unasked else [],
        "brief": [*_describe_briefly(store, values, place, asked),
                  *(one.brief for one in arranged if one.brief)],
        "common": {},
        "sections": arranged,
        "footer": f"bioprobe {provenance['version']} · {say_time(provenance['time'])}",
    }  # fmt: skip


def _list_taxa(store: EmbeddingStore, answers: Predictions) -> Iterable[Taxon]:
    return [*answers.classes.taxa, *Naming.list_known(store)]


def _describe_briefly(
    store: EmbeddingStore, values: Names, place: str, asked: dict[str, Any] | None
) -> list[dict[str, str]]:
    places = [one for one in dict.fromkeys(values[store.rows].tolist()) if one]
    said = f"From {len(places):,} different {place}s." if len(places) > 1 else "From one place."
    brief = [{"label": "Pictures", "large": f"{len(store.rows):,}", "said": said},
             describe_usable(store, None, None)]  # fmt: skip
    if asked is None:
        return brief
    most = [f"{one['shown']} ({one['n_images']:,})" for one in asked["answers"][:_N_NAMED]]
    sure = asked["n_sure"]
    return [
        *brief,
        {
            "label": "What the computer sees",
            "large": asked["answers"][0]["shown"],
            "said": f"Nobody told it what is on a picture: each got the name that fits it best, of "
            f"{asked['n_classes']:,}. Most often: {join(most)}.",
        },
        {
            "label": "How sure",
            "large": f"{sure:,} of {asked['n_images']:,}",
            "said": f"So many names have a probability of {_SURE:.0%} or more; "
            f"{asked['n_unsure']:,} have less than {_LIKELY:.0%} and are to be looked at first. "
            f"{_tell_labels(asked['n_labelled'])}",
        },
    ]


def _tell_labels(n_labelled: int) -> str:
    if not n_labelled:
        return "No label says whether a name is right."
    return (
        f"{n_labelled:,} pictures have a label; bioprobe split and bioprobe evaluate measure how "
        "often names are right."
    )


def _describe_places(
    store: EmbeddingStore, values: Names, usable: np.ndarray, answers: Predictions | None
) -> list[dict[str, Any]]:
    names = answers.best_names if answers is not None else np.zeros(0, dtype=object)
    rows = answers.rows if answers is not None else np.zeros(0, dtype=np.int64)
    scores = answers.scores[:, 0] if answers is not None else np.zeros(0)
    described = []
    for value in sorted(set(values[store.rows].tolist())):
        own = store.rows[values[store.rows] == value]
        inside = values[rows] == value
        found, counts = np.unique(names[inside].astype(str), return_counts=True)
        most = np.argsort(-counts, kind="stable")[:_N_NAMED].tolist()
        described.append(
            {
                "name": value or "(none)",
                "n_images": len(own),
                "n_usable": int(usable[own].sum()),
                "found": ", ".join(f"{found[one]} {counts[one]:,}" for one in most)
                + (", …" if len(found) > _N_NAMED else ""),
                "n_names": len(found),
                "mean": float(scores[inside].mean()) if inside.any() else None,
                "sure": float((scores[inside] >= _SURE).mean()) if inside.any() else None,
            }
        )
    return described


def _describe_answers(
    answers: Predictions, values: Names, naming: Naming, show: ShowPicture
) -> dict[str, Any]:
    frame = _tabulate(answers, values)
    common = naming.find_all(answers.classes)
    grouped = frame.groupby("name", sort=False)
    table = grouped.agg(n_images=("row", "size"), mean=("score", "mean"),
                        n_sure=("score", lambda one: int((one >= _SURE).sum())),
                        n_places=("place", "nunique"))  # fmt: skip
    table = table.sort_values("n_images", ascending=False, kind="stable").reset_index()
    shown = name_all(table["name"].tolist(), common)
    surest = frame.sort_values("score", ascending=False, kind="stable").drop_duplicates("name")
    least = frame.sort_values("score", kind="stable").head(_N_PICTURES)
    galleries = [
        ("Surest", "The surest picture of each name.", surest.head(_N_PICTURES)),
        ("Least sure", "The names with the lowest probability: look at these first.", least),
    ]
    return {
        "level": answers.level,
        "n_classes": len(answers.classes),
        "n_images": len(frame),
        "n_labelled": int((answers.truth != "").sum()) if answers.level else 0,
        "n_sure": int((frame["score"] >= _SURE).sum()),
        "n_unsure": int((frame["score"] < _LIKELY).sum()),
        "sure": _SURE,
        "answers": [
            {**one, "shown": text, "common": common.get(str(one["name"]), "")}
            for one, text in zip(table.to_dict("records"), shown, strict=True)
        ][:_N_ANSWERS],
        "n_names": len(table),
        "plot": plot_class_sizes(
            shown, table["n_images"].to_numpy(dtype=np.int64), label="pictures of each name"
        ),
        "galleries": [
            {"heading": heading, "note": note, "pictures": _show_all(of, common, show)}
            for heading, note, of in galleries
        ],
    }


def _tabulate(answers: Predictions, values: Names) -> pd.DataFrame:
    import pandas as pd

    rows: Rows = answers.rows
    return pd.DataFrame(
        {
            "row": rows,
            "name": answers.best_names,
            "score": answers.scores[:, 0].astype(np.float64),
            "place": values[rows],
        }
    )


def _show_all(
    frame: pd.DataFrame, common: dict[str, str], show: ShowPicture
) -> list[dict[str, Any]]:
    shown = []
    for one in frame.to_dict("records"):
        lines = (common.get(one["name"], ""), f"probability {one['score']:.2f}", one["place"])
        shown.append(show(int(one["row"]), one["name"], tuple(filter(None, lines))))
    return shown
