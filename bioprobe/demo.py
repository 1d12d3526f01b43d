"""The demonstration from an empty folder to a page."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bioprobe.embedding import EmbedSummary, Outcome, embed_images
from bioprobe.encoders import Encoder, load_encoder
from bioprobe.errors import SourceError
from bioprobe.evaluation import Evaluation, MethodResult, evaluate, write_evaluation
from bioprobe.files import write_text
from bioprobe.images import ImageTable
from bioprobe.index import Neighbors, search
from bioprobe.intervals import Accuracy
from bioprobe.page import make_thumbnail, render_page
from bioprobe.prompts import PromptSet, TextType, read_templates
from bioprobe.quality import Duplicates, find_duplicates
from bioprobe.quality.noise import NoiseFilter, filter_noise, read_noise_prompts
from bioprobe.report import write_report
from bioprobe.sketch import SketchSpecies, read_species, write_pictures
from bioprobe.sources.source import find_images
from bioprobe.splits import Split, make_split, write_split
from bioprobe.store import EmbeddingStore, TextCache, add_taxon
from bioprobe.store.view import View
from bioprobe.task.predictions import Predictions
from bioprobe.task.target import Texts
from bioprobe.task.task import Task
from bioprobe.taxonomy import RANKS, Rank, Taxon, Taxonomy
from bioprobe.zeroshot.zeroshot import zeroshot

#: The species without training pictures that the page tells of.
STORY_SPECIES = "Panthera uncia"
#: What the search by picture starts from.
SEARCH_SPECIES = "Danaus plexippus"
SEARCH_TEXT = "a spotted cat"
_N_FOUND = 6
_TRAINED_ANIMALS = "role == 'trained' and kind == 'animal'"


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


def ask(store: EmbeddingStore, texts: TextCache) -> Answers:
    """Ask the questions of the demonstration, and add the story's species to the store.

    Parameters
    ----------
    store : EmbeddingStore
        Pictures that the sketch drew, with the columns of its table.
    texts : TextCache
        Of the same store.
    """
    species = read_species()
    story = next(one for one in species if one.name == STORY_SPECIES)
    trained = Taxonomy(tuple(_to_taxa(one for one in species if one.role == "trained")))
    described = tuple(_to_taxa(one for one in species if one.role == "unseen"))

    def label(taxa: Taxonomy, condition: str, rank: Rank = Rank.SPECIES) -> Predictions:
        prompts = PromptSet(taxa.at(rank), TextType.TAXON_COM, read_templates("plain"))
        return zeroshot(View.of(store, condition), prompts, texts.encode_text, rank=rank)

    of_story = f"species == '{STORY_SPECIES}'"
    before = label(trained, of_story)
    (story_taxon,) = _to_taxa([story])
    add_taxon(store, story_taxon)
    everything = Taxonomy((*trained, *described))
    return Answers(
        by_rank=tuple(label(trained, _TRAINED_ANIMALS, rank) for rank in RANKS[1:]),
        story=story,
        before=before,
        after=label(Taxonomy((*trained, story_taxon)), of_story),
        seen=label(everything, _TRAINED_ANIMALS),
        unseen=label(everything, "role == 'unseen'"),
        by_image=_search_by_image(store),
        by_text=search(store, texts.encode_text([SEARCH_TEXT]), k=_N_FOUND),
    )


def _search_by_image(store: EmbeddingStore) -> Neighbors:
    query = View.of(store, f"species == '{SEARCH_SPECIES}'").rows[:1]
    return search(store, store.read_vectors(np.asarray(query)), k=_N_FOUND)


def _to_taxa(species: Iterable[SketchSpecies]) -> Iterator[Taxon]:
    for one in species:
        names = {rank.value: name for rank, name in zip(RANKS, one.lineage, strict=True)}
        # A species that was trained on is known by its names, another by its description.
        prompts = (one.description,) if one.role == "unseen" else ()
        yield Taxon.from_names(names, common_name=one.common_name, prompts=prompts)


LEVEL = Rank.FAMILY
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


@dataclasses.dataclass(frozen=True)
class Learning:
    """What was found, also kept in the store.

    Parameters
    ----------
    duplicates : Duplicates
        Pictures that are there twice.
    noise : NoiseFilter
        Pictures of something else than animals.
    split : Split
        Which pictures learn, choose and judge.
    evaluation : Evaluation
        The methods side by side.
    """

    duplicates: Duplicates
    noise: NoiseFilter
    split: Split
    evaluation: Evaluation


def learn(store: EmbeddingStore, texts: TextCache, *, seed: int = 0) -> Learning:
    """Clean and split the pictures of a store, and compare methods on those held out.

    Parameters
    ----------
    store : EmbeddingStore
        Pictures that the sketch drew, with the columns of its table.
    texts : TextCache
        Of the same store.
    seed : int
        Of split and resamples.
    """
    duplicates = find_duplicates(store)
    duplicates.write(store)
    noise = filter_noise(store, read_noise_prompts("animal"), texts.encode_text, labels=_KIND)
    noise.write(store)
    split = make_split(store, LEVEL, fractions=_FRACTIONS, seed=seed)
    write_split(store, split)
    prior = Texts(texts.encode_text, store.manifest.logit_scale, templates=read_templates("plain"))
    task = Task.of(store, LEVEL, split=split, texts=prior, seed=seed)
    evaluation = evaluate(task, METHODS)
    write_evaluation(store, evaluation)
    return Learning(duplicates, noise, split, evaluation)


def show_learning(learning: Learning) -> dict[str, Any]:
    """Return what the page says of it."""
    evaluation, split = learning.evaluation, learning.split
    return {
        "n_copies": int((~learning.duplicates.kept).sum()),
        "n_noise": int((~learning.noise.kept).sum()),
        "n_parts": [len(split.rows(part)) for part in ("train", "validation", "test")],
        "rank": LEVEL.value,
        "n_classes": len(evaluation.classes),
        "methods": [_show_method(result, evaluation) for result in evaluation.results],
    }


def write_learning_commands(folder: Path, seed: int) -> list[str]:
    """Return the command lines that do the same."""
    seeded = f"--seed {seed} " if seed else ""
    store = f"--store {shlex.quote(str(folder / 'store'))}"
    report = shlex.quote(str(folder / "report.html"))
    fractions = ",".join(map(str, _FRACTIONS))
    return [
        f"bioprobe dedupe {store}",
        f"bioprobe filter --keep animal --labels {_KIND} {store}",
        f"bioprobe split --level {LEVEL.value} --fractions {fractions} {seeded}{store}",
        f"bioprobe evaluate --level {LEVEL.value} --methods {','.join(METHODS)} {seeded}{store}",
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
        shown.append(
            {
                "thumbnail": make_thumbnail(found.images.locate(int(row))),
                "title": frame["common_name"] or frame["species"] or Path(frame["path"]).stem,
                "lines": [{"text": note, "tone": "soft"}],
            }
        )
    return shown


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
