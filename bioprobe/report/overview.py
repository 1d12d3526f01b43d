"""One page of pictures that nobody has labelled: what they are like, and what names fit them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.files import write_text
from bioprobe.images.image_table import read_level
from bioprobe.page.html import render_page
from bioprobe.provenance import Provenance
from bioprobe.quality.description import describe_images
from bioprobe.report.advice import find_usable
from bioprobe.report.brief import describe_usable, join
from bioprobe.report.data import describe_masks, name_all
from bioprobe.report.errors import count_unread, make_shower
from bioprobe.report.naming import Naming
from bioprobe.report.plots import plot_class_sizes
from bioprobe.report.status import describe_stored
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Taxon
from bioprobe.types import Names, Rows

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.report.errors import ShowPicture
    from bioprobe.task.predictions import Predictions

FOLDER = "folder"
# What people call the place of a camera, a trap or a plot.
_PLACES = (
    "station", "site", "location", "camera", "deployment", "plot", "locality", "transect", "place",
)  # fmt: skip
_SURE, _LIKELY = 0.9, 0.5
_N_NAMED, _N_ANSWERS, _N_PICTURES, _N_MODES = 3, 30, 12, 4


def find_place(store: EmbeddingStore, by: str | None = None) -> tuple[str, Names]:
    """Return what pictures are told apart by, and the value of each row of the store.

    Parameters
    ----------
    store : EmbeddingStore
        Of the images.
    by : str, optional
        A rank or column, or ``folder``. By default a column that says where pictures were taken,
        such as ``station``, else the folder.

    Raises
    ------
    SelectionError
        If there is no such rank or column.
    """
    columns = {name.casefold(): name for name in store.images.free_columns}
    if by is None:
        by = next((columns[name] for name in _PLACES if name in columns), FOLDER)
    if by == FOLDER and FOLDER not in store.images.free_columns:
        folders = [str(PurePosixPath(path).parent) for path in store.images.frame["path"]]
        return by, np.array(["" if one == "." else one for one in folders], dtype=object)
    return by, store.images.labels(read_level(by, store.images))


def write_overview(
    store: EmbeddingStore,
    path: Path,
    answers: Predictions | None,
    *,
    unasked: str = "",
    by: str | None = None,
    title: str | None = None,
    names: Iterable[Taxon] | None = None,
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

    Raises
    ------
    OSError
        If the page cannot be written.
    SelectionError
        If there is no such column.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = describe_overview(store, answers, unasked=unasked, by=by, title=title, names=names)
    write_text(path, render_page("overview.html.j2", content))


def describe_overview(
    store: EmbeddingStore,
    answers: Predictions | None,
    *,
    unasked: str = "",
    by: str | None = None,
    title: str | None = None,
    names: Iterable[Taxon] | None = None,
) -> dict[str, Any]:
    """Return everything that the page shows."""
    listed = names if names is not None or answers is None else _list_taxa(store, answers)
    naming = Naming.of(store, listed, is_asked=names is not None)
    place, values = find_place(store, by)
    found = describe_images(store)
    show = make_shower(store, naming)
    asked = _describe_answers(answers, values, naming, show) if answers is not None else None
    usable, masks = find_usable(store)
    provenance = Provenance(
        encoder=store.manifest.encoder.to_dict(), store=str(store.folder),
        n_rows=len(store.rows), options={"by": place},
    )  # fmt: skip
    return {
        "title": title or store.folder.name,
        "encoder": store.manifest.encoder.describe(),
        "brief": _describe_briefly(store, values, place, asked),
        "found": found,
        "modes": list(found.modes.items())[:_N_MODES],
        "has_sizes": bool(np.isfinite(found.sizes_px).all()),
        "masks": describe_masks(store),
        "n_dropped": int((~usable[store.rows]).sum()),
        "mask_names": masks,
        "place": place,
        "places": _describe_places(store, values, usable, answers),
        "asked": asked,
        "unasked": unasked,
        "status": describe_stored(store),
        "n_unread": count_unread(asked["galleries"]) if asked else 0,
        "asked_by": answers.provenance.to_dict() if answers is not None else None,
        "reported": provenance.to_dict(),
    }


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
    names = answers.names[:, 0] if answers is not None else np.zeros(0, dtype=object)
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
            "name": answers.names[:, 0],
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
