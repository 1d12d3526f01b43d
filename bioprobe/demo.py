"""The demonstration from an empty folder to a page, by public questions alone."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from bioprobe.errors import SourceError
from bioprobe.face.encoder import encoder
from bioprobe.face.filling import embed
from bioprobe.files import replacing, write_text
from bioprobe.options import RANK_NAMES, Option, SeedOption, question
from bioprobe.result import Notes, Record

if TYPE_CHECKING:
    from bioprobe.embedding import EmbedSummary
    from bioprobe.evaluation.result import MethodResult
    from bioprobe.face.evaluation import Evaluation
    from bioprobe.face.found_pages import Neighbors
    from bioprobe.face.quality_pages import NoiseFilter
    from bioprobe.face.store import Store
    from bioprobe.images.location import ImageLocation
    from bioprobe.intervals import Accuracy
    from bioprobe.progress import Progress
    from bioprobe.quality import Duplicates
    from bioprobe.sketch import SketchSpecies
    from bioprobe.splits.split import PartCounts
    from bioprobe.task.predictions import Predictions

#: The species without training pictures that the page tells of.
STORY_SPECIES = "Panthera uncia"
#: What the search by picture starts from.
SEARCH_SPECIES = "Danaus plexippus"
SEARCH_TEXT = "a spotted cat"
_N_FOUND = 6
_TRAINED_ANIMALS = "role == 'trained' and kind == 'animal'"

LEVEL = "family"
#: The quick ones, of every kind: from names, from class means, from a fitted classifier.
METHODS = ("zeroshot", "centroid", "linear")
_SAYS = {
    "zeroshot": "the names of the families as text; learns nothing",
    "centroid": "the mean picture of each family",
    "linear": "a logistic regression",
}
# Many pictures judge, so that the intervals of so small a collection say something.
_FRACTIONS = (0.4, 0.2, 0.4)
_KIND = "kind"

_N_SCENES = 12
_N_LABELLED = 12
_FULL_BAR_PX = 120
_MODEL = "sketch"
# What a process runs that draws.
_DRAW = """
import pathlib, sys
from bioprobe.files import parse_json
from bioprobe.sketch import write_pictures
folder, *how = parse_json(sys.argv[1])
write_pictures(pathlib.Path(folder), *how)
"""
# Marks a folder as a demonstration's own, which the next one may replace.
_MARK = ".bioprobe-demo"


@dataclasses.dataclass(frozen=True, repr=False)
class Demonstration(Record):
    """What the demonstration left on disk.

    Parameters
    ----------
    page : Path
        HTML page to open.
    report : Path
        The report of the methods that were compared, to which it links.
    store : Path
        Store on which more can be asked.
    notes : tuple of Note
        What is to be said of it.
    """

    page: Path
    report: Path
    store: Path
    notes: Notes = ()


@question
def demonstrate(
    output: Annotated[
        str | Path,
        Option(
            "Folder for pictures, store and page.", ("--output", "-o"), shell=Path, writes="any"
        ),
    ] = "demo",
    *,
    per_species: Annotated[int, Option("Pictures drawn of each species.", least=1)] = 3,
    seed: Annotated[int, SeedOption("Seed of the drawings.")] = 0,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> Demonstration:
    """Draw pictures, embed them with the small model sketch, ask, and write a page of it all.

    Parameters
    ----------
    output : str or Path
        New or empty folder, or that of an earlier demonstration, which is replaced.
    per_species : int
        Pictures of each species, ≥ 1.
    seed : int
        Of the drawings, the split and the resamples.
    progress : callable, optional
        Told a :class:`bioprobe.progress.Step` after each picture that is embedded.
    tell : callable, optional
        Told a line of each step before it begins.

    Raises
    ------
    SourceError
        If the folder holds something else.
    """
    from bioprobe.page import render_page

    folder, say = Path(output), tell or (lambda _: None)
    say(f"drawing pictures into {folder / 'photos'} …")
    with _drawing(folder, per_species, seed) as wait:
        # Meanwhile: to load the libraries of a model takes as long as to ask it all that follows.
        encoder(_MODEL)
        table = wait()
    with table.open(encoding="utf-8") as lines:
        n_images = sum(1 for _ in csv.reader(lines)) - 1
    say(f"embedding {n_images:,} pictures into {folder / 'store'} …")
    # To measure which backend is quickest takes longer than so few pictures.
    store = embed([table], store=folder / "store", model=_MODEL, backend="torch", progress=progress)
    summary = store.summary
    assert summary is not None  # a store that was filled now has one
    answers, learning = ask(store, folder), learn(store, seed=seed)
    report = learning.evaluation.report(folder / "report.html")
    content = _tell_story(answers, learning, summary, folder=folder, seed=seed)
    page = folder / "index.html"
    write_text(page, render_page("demo.html.j2", content))
    said = (
        f"{summary.n_embedded:,} embedded in {summary.seconds_s:.1f} s; ask more: bioprobe "
        f"zeroshot --level family --store {store.folder}"
    )
    served = f"look, ask and correct in the browser: bioprobe serve --store {store.folder}"
    return Demonstration(page, report, store.folder).say([said, served, "open this page:"])


def draw(folder: str | Path, *, n_per_species: int = 3, seed: int = 0) -> Path:
    """Draw the pictures of the demonstration, in place of those of an earlier one.

    Parameters
    ----------
    folder : str or Path
        New or empty folder, or that of an earlier demonstration.
    n_per_species : int
        Pictures of each species, ≥ 1.
    seed : int
        Seed of the drawings.

    Returns
    -------
    Path
        Table of the pictures with their labels.

    Raises
    ------
    SourceError
        If the folder holds something else.
    """
    from bioprobe.sketch import write_pictures

    photos = _clear(Path(folder))
    return write_pictures(photos, n_per_species, _N_SCENES, seed)


@contextlib.contextmanager
def _drawing(folder: Path, n_per_species: int, seed: int) -> Iterator[Callable[[], Path]]:
    """Draw the same in a process beside this one.

    Yields
    ------
    callable
        Waits until they are drawn, and returns their table.
    """
    photos = _clear(folder)
    asked = json.dumps([str(photos), n_per_species, _N_SCENES, seed])
    command = [sys.executable, "-c", _DRAW, asked]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:

        def wait() -> Path:
            _, said = process.communicate()
            if process.returncode:
                *_, why = said.strip().splitlines() or [f"exit code {process.returncode}"]
                msg = f"the pictures could not be drawn into {photos}: {why}"
                raise SourceError(msg)
            return photos / "pictures.csv"

        try:
            yield wait
        finally:
            # Where it is not waited for, as when this one is interrupted.
            process.kill()


def _clear(folder: Path) -> Path:
    """Make room for the pictures of a demonstration, and return where they go.

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
    return folder / "photos"


def draw_store(folder: str | Path, *, n_per_species: int = 1, seed: int = 3) -> Path:
    """Draw the pictures of the demonstration and embed them by sketch, or find that done.

    Parameters
    ----------
    folder : str or Path
        As of :func:`draw`. Where its pictures are there they stay, whatever they were drawn with.
    n_per_species : int
        Pictures of each species, ≥ 1.
    seed : int
        Seed of the drawings.

    Returns
    -------
    Path
        Folder of the store.
    """
    folder = Path(folder)
    table = folder / "photos" / "pictures.csv"
    if not table.is_file():
        table = draw(folder, n_per_species=n_per_species, seed=seed)
    return embed(table, model=_MODEL, store=folder / "store").folder


@dataclasses.dataclass(frozen=True)
class Answers:
    """Everything that the page shows.

    Parameters
    ----------
    by_rank : tuple of Predictions
        Trained species' pictures, labelled at every rank from phylum to species.
    story : SketchSpecies
        Species that is added by text.
    before, after : Predictions
        Its pictures, with and without it among the classes.
    seen, unseen : Predictions
        Pictures of trained species, and of those known by text alone, with both among the
        classes.
    by_image, by_text : Neighbors
        Search results; of the first, the first answer is the query.
    """

    by_rank: tuple[Predictions, ...]
    story: SketchSpecies
    before: Predictions
    after: Predictions
    seen: Predictions
    unseen: Predictions
    by_image: Neighbors
    by_text: Neighbors


def ask(store: Store, folder: Path) -> Answers:
    """Ask the questions of the demonstration, and add the story's species to the store.

    Parameters
    ----------
    store : Store
        Pictures that the sketch drew, with the columns of its table.
    folder : Path
        Where the lists of taxa are written that the questions are about.
    """
    from bioprobe.sketch import read_species

    species = read_species()
    story = next(one for one in species if one.name == STORY_SPECIES)
    trained, everything = folder / "trained.csv", folder / "species.csv"
    _write_list(trained, (one for one in species if one.role == "trained"))
    _write_list(everything, species)

    of_story = store.where(f"species == '{STORY_SPECIES}'")
    animals, unseen = store.where(_TRAINED_ANIMALS), store.where("role == 'unseen'")
    before = _label(of_story, trained)
    by_rank = [_label(animals, trained, rank) for rank in RANK_NAMES[1:]]
    store.add_taxon(
        story.name, common=story.common_name, lineage=",".join(story.lineage[:-1]),
        prompts=[story.description],
    )  # fmt: skip
    (first, *_) = store.where(f"species == '{SEARCH_SPECIES}'").rows.tolist()
    return Answers(
        by_rank=tuple(by_rank),
        story=story,
        before=before,
        after=_label(of_story, trained),
        seen=_label(animals, everything),
        unseen=_label(unseen, everything),
        by_image=store.search(row=first, exclude_query=False, k=_N_FOUND),
        by_text=store.search(text=SEARCH_TEXT, k=_N_FOUND),
    )


def _label(store: Store, taxa: Path, level: str = "species") -> Predictions:
    # Nothing is abstained from, so these are no decisions.
    return cast("Predictions", store.zeroshot(level, taxa=taxa))


def _write_list(path: Path, species: Iterable[SketchSpecies]) -> None:
    """Write a taxon list; a species that was not trained on is known by its description."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow([*RANK_NAMES, "common_name", "prompt"])
        for one in species:
            prompt = one.description if one.role == "unseen" else ""
            table.writerow([*one.lineage, one.common_name, prompt])


@dataclasses.dataclass(frozen=True)
class Learning:
    """What was found, also kept in the store."""

    duplicates: Duplicates
    noise: NoiseFilter
    split: PartCounts
    evaluation: Evaluation


def learn(store: Store, *, seed: int = 0) -> Learning:
    """Clean and split the pictures of a store, and compare methods on those held out.

    Parameters
    ----------
    store : Store
        Pictures that the sketch drew, with the columns of its table.
    seed : int
        Of split and resamples.
    """
    return Learning(
        duplicates=cast("Duplicates", store.dedupe()),
        noise=cast("NoiseFilter", store.filter("animal", labels=_KIND)),
        split=store.split(LEVEL, fractions=_FRACTIONS, seed=seed),
        evaluation=store.evaluate(LEVEL, methods=METHODS, seed=seed),
    )


def _show_learning(learning: Learning) -> dict[str, Any]:
    """Return what the page says of it."""
    evaluation, split = learning.evaluation, learning.split
    return {
        "n_copies": int((~learning.duplicates.kept).sum()),
        "n_noise": int((~learning.noise.kept).sum()),
        "n_parts": list(split.totals.values()),
        "rank": LEVEL,
        "n_classes": len(evaluation.classes),
        "methods": [_show_method(result, evaluation) for result in evaluation.results],
    }


def _write_learning_commands(folder: Path, seed: int) -> list[str]:
    """Return the command lines that do the same."""
    seeded = f"--seed {seed} " if seed else ""
    store = f"--store {shlex.quote(str(folder / 'store'))}"
    report = shlex.quote(str(folder / "report.html"))
    fractions = ",".join(map(str, _FRACTIONS))
    return [
        f"bioprobe dedupe {store}",
        f"bioprobe filter --keep animal --labels {_KIND} {store}",
        f"bioprobe split --level {LEVEL} --fractions {fractions} {seeded}{store}",
        f"bioprobe evaluate --level {LEVEL} --methods {','.join(METHODS)} {seeded}{store}",
        f"bioprobe report --output {report} {store}",
    ]


def _show_method(result: MethodResult, evaluation: Evaluation) -> dict[str, str]:
    accuracy = result.metrics["accuracy"]
    compared = evaluation.compare_with_best().get(result.method)
    return {
        "method": result.method,
        "says": _SAYS[result.method],
        "fraction": f"{accuracy.estimate:.3f}",
        "interval": f"[{accuracy.low:.3f}, {accuracy.high:.3f}]",
        "against_best": f"p = {compared.p_adjusted:.2g}" if compared else "the best",
    }


def _tell_story(
    answers: Answers,
    learning: Learning,
    summary: EmbedSummary,
    *,
    folder: Path,
    seed: int,
) -> dict[str, Any]:
    """Return the content of the page."""
    species = answers.by_rank[-1]
    provenance = species.provenance
    commands = write_commands(answers, folder)
    return {
        "title": "Embed once, then ask everything",
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
        "learning": _show_learning(learning),
        "commands": [*commands.values(), *_write_learning_commands(folder, seed)],
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
    top1 = predictions.accuracy()[0]
    return {
        "rank": str(predictions.rank),
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
    n_shown = min(_N_LABELLED, len(predictions))
    last, steps = len(predictions) - 1, max(1, n_shown - 1)
    return [_show_answer(predictions, n * last // steps) for n in range(n_shown)]


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
        known_as = predictions.images.column("common_name").iloc[row] or truth
        lines.append({"text": f"is: {known_as}", "tone": "soft"})
    place = predictions.images.locate(int(predictions.rows[position]))
    return _show_picture(place, title or best.name, lines)


def _show_before_after(answers: Answers) -> list[dict[str, Any]]:
    shown = []
    for position in range(len(answers.before)):
        shown.append(_show_answer(answers.before, position, "before"))
        shown.append(_show_answer(answers.after, position, "after"))
    return shown


def _show_unseen(answers: Answers) -> dict[str, Any]:
    unseen, seen = answers.unseen.accuracy()[0], answers.seen.accuracy()[0]
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
        title = frame["common_name"] or frame["species"] or Path(frame["path"]).stem
        place = found.images.locate(int(row))
        shown.append(_show_picture(place, title, [{"text": note, "tone": "soft"}]))
    return shown


def _show_picture(place: ImageLocation, title: str, lines: list[dict[str, str]]) -> dict[str, Any]:
    from bioprobe.page import make_thumbnail

    return {"thumbnail": make_thumbnail(place), "caption": title, "lines": lines}
