"""What the demonstration's page says, from the answers it got."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np

from bioprobe.classify import Accuracy, Predictions, measure_accuracy
from bioprobe.demo.answers import SEARCH_TEXT, Answers
from bioprobe.demo.learning import Learning, show_learning
from bioprobe.demo.learning import write_commands as write_learning_commands
from bioprobe.embedding import EmbedSummary
from bioprobe.index import Neighbors
from bioprobe.page import make_thumbnail
from bioprobe.sketch import SketchSpecies

_N_LABELLED = 12
_FULL_BAR_PX = 220


def tell_story(
    answers: Answers,
    learning: Learning,
    summary: EmbedSummary,
    *,
    folder: Path,
    seed: int,
) -> dict[str, Any]:
    """Return the content of the page.

    Parameters
    ----------
    answers : Answers
        What was asked and answered.
    learning : Learning
        What was learnt from labels.
    summary : EmbedSummary
        Counts of the embedding.
    folder : Path
        Folder of the demonstration, as the user named it.
    seed : int
        Seed of the drawings.
    """
    species = answers.by_rank[-1]
    provenance = species.provenance
    commands = write_commands(answers, folder)
    return {
        "n_images": summary.n_images,
        "images_per_s": f"{summary.images_per_s:.0f}",
        "n_species": len(species.classes),
        "ranks": [_show_rank(predictions) for predictions in answers.by_rank],
        "labelled": _show_labelled(species),
        "added": {
            "name": answers.story.name,
            "common_name": answers.story.common_name,
            "command": commands["add"],
        },
        "before_after": _show_before_after(answers),
        "unseen": _show_unseen(answers),
        "by_image": _show_neighbors(answers.by_image, "the picture looked for"),
        "by_text": _show_neighbors(answers.by_text, ""),
        "search_text": SEARCH_TEXT,
        "learning": show_learning(learning),
        "commands": [*commands.values(), *write_learning_commands(folder, seed)],
        "encoder": f"{provenance.encoder['model']} ({provenance.encoder['weights_sha256'][:12]})",
        "seed": seed,
        "version": provenance.version,
        "time": provenance.time,
    }


def write_commands(answers: Answers, folder: Path) -> dict[str, str]:
    """Return the command lines that give the same answers, by what they do."""
    story: SketchSpecies = answers.story
    store = f"--store {shlex.quote(str(folder / 'store'))}"
    table = shlex.quote(str(folder / "photos" / "pictures.csv"))
    lineage = ",".join(story.lineage[:-1])
    query = answers.by_image.images.locate(int(answers.by_image.rows[0]))
    shown_query = shlex.quote(str(folder / "photos" / query.path))
    return {
        "embed": f"bioprobe embed {table} --model sketch {store}",
        "zeroshot": f"bioprobe zeroshot --level family {store}",
        "add": f'bioprobe taxa add "{story.name}" --common "{story.common_name}" '
        f'--lineage "{lineage}" --prompt "{story.description}" {store}',
        "image": f"bioprobe search --image {shown_query} {store}",
        "text": f'bioprobe search --text "{SEARCH_TEXT}" {store}',
    }


def _show_rank(predictions: Predictions) -> dict[str, Any]:
    top1 = measure_accuracy(predictions)[0]
    return {
        "rank": predictions.rank.value,
        "n_classes": len(predictions.classes),
        "fraction": f"{top1.fraction:.3f}",
        "interval": _show_interval(top1),
        "width_px": round(_FULL_BAR_PX * top1.fraction),
    }


def _show_interval(accuracy: Accuracy) -> str:
    low, high = accuracy.interval
    return f"[{low:.3f}, {high:.3f}]"


def _show_labelled(predictions: Predictions) -> list[dict[str, Any]]:
    # Evenly over the table, so that the page shows many kinds and not the first.
    chosen = np.linspace(0, len(predictions) - 1, min(_N_LABELLED, len(predictions))).astype(int)
    return [_show_answer(predictions, int(position)) for position in chosen]


def _show_answer(predictions: Predictions, position: int, title: str = "") -> dict[str, Any]:
    truth = predictions.truth[position]
    best = predictions.classes.taxa[predictions.top_classes[position, 0]]
    right = best.name == truth
    lines = [
        {
            "text": f"{best.common_name or best.name} {predictions.scores[position, 0]:.2f}",
            "tone": "right" if right else "wrong",
        }
    ]
    if not right:
        row = int(predictions.rows[position])
        known_as = predictions.images.frame["common_name"].iloc[row] or truth
        lines.append({"text": f"is: {known_as}", "tone": "soft"})
    place = predictions.images.locate(int(predictions.rows[position]))
    return {"thumbnail": make_thumbnail(place), "title": title or best.name, "lines": lines}


def _show_before_after(answers: Answers) -> list[dict[str, Any]]:
    shown = []
    for position in range(len(answers.before)):
        shown.append(_show_answer(answers.before, position, "before"))
        shown.append(_show_answer(answers.after, position, "after"))
    return shown


def _show_unseen(answers: Answers) -> dict[str, Any]:
    unseen, seen = measure_accuracy(answers.unseen)[0], measure_accuracy(answers.seen)[0]
    names = set(answers.unseen.truth)
    return {
        "n_species": len(names),
        "n_images": len(answers.unseen),
        "n_classes": len(answers.unseen.classes),
        "fraction": f"{unseen.fraction:.3f}",
        "interval": _show_interval(unseen),
        "seen_fraction": f"{seen.fraction:.3f}",
        "seen_interval": _show_interval(seen),
    }


def _show_neighbors(found: Neighbors, first: str) -> list[dict[str, Any]]:
    shown = []
    for position, row in enumerate(found.rows):
        frame = found.images.frame.iloc[row]
        similarity = f"{found.similarities[position]:.2f}"
        note = first if first and position == 0 else f"similarity {similarity}"
        shown.append(
            {
                "thumbnail": make_thumbnail(found.images.locate(int(row))),
                "title": frame["common_name"] or frame["species"] or Path(frame["path"]).stem,
                "lines": [{"text": note, "tone": "soft"}],
            }
        )
    return shown
