"""What is done for each encoder: embed once, ask by text, compare probes."""

from __future__ import annotations

import csv
import dataclasses
import sys
from pathlib import Path

from tqdm import tqdm

from benchmarks.rare_species.stand_in import ID
from bioprobe.embedding import embed_images, load_encoder_for
from bioprobe.encoders import load_encoder
from bioprobe.evaluation.evaluate import evaluate
from bioprobe.evaluation.keeping import write_evaluation
from bioprobe.evaluation.result import Evaluation
from bioprobe.images import ImageTable
from bioprobe.intervals import Accuracy
from bioprobe.prompts import PromptSet, TextType, read_templates
from bioprobe.report import write_report
from bioprobe.sources.source import SourceOptions, find_images
from bioprobe.splits import Split, make_split, write_split
from bioprobe.store import EmbeddingStore, TextCache
from bioprobe.task.target import Texts
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank
from bioprobe.zeroshot.zeroshot import zeroshot

METHODS = ("zeroshot", "knn", "centroid", "lda", "linear", "hierarchical", "prompt+probe")
# Column of the published table, and of the store, that says train, val or test.
SPLIT_COLUMN = "g37_split"


def list_images(source: str, table: Path | None) -> ImageTable:
    """List the pictures of the data set, with the published split beside each where it is known."""
    listed = find_images([Path(source)], SourceOptions())
    if table is None:
        return listed
    with table.open(encoding="utf-8", newline="") as stream:
        parts = {row[ID]: row[SPLIT_COLUMN] for row in csv.DictReader(stream)}
    frame = listed.frame.assign(**{SPLIT_COLUMN: listed.frame[ID].astype(str).map(parts)})
    return dataclasses.replace(listed, frame=frame.fillna({SPLIT_COLUMN: ""}))


def embed(listed: ImageTable, model: str, folder: Path) -> EmbeddingStore:
    """Embed what is new; a second run finds everything there."""
    encoder = load_encoder_for(folder, model=model)
    store = EmbeddingStore.open_for(folder, encoder)
    with tqdm(total=len(listed), unit="image", file=sys.stderr, disable=None) as bar:
        embed_images(listed, encoder, store, advance=lambda _: bar.update() and None)
    return EmbeddingStore.open(folder)


def split(store: EmbeddingStore) -> Split:
    """Take the published split, or make an 80/10/10 one, stratified by family."""
    if SPLIT_COLUMN in store.images.frame:
        made = make_split(store, Rank.FAMILY, method="imported", column=SPLIT_COLUMN)
    else:
        made = make_split(store, Rank.FAMILY, method="stratified")
    write_split(store, made)
    return made


def read_texts(store: EmbeddingStore, text_type: str) -> Texts | None:
    """Return how the classes are written: by the 80 templates of OpenAI, as the papers do."""
    if not store.manifest.has_text_tower:
        return None
    cache = TextCache(store, lambda: load_encoder(store.manifest.encoder.model))
    return Texts(
        cache.encode_text,
        store.manifest.logit_scale,
        TextType.parse(text_type),
        read_templates("openai"),
    )


def measure_zero_shot(store: EmbeddingStore, texts: Texts) -> list[Accuracy]:
    """Measure top-1 and top-5 over the species by text alone, on all pictures."""
    classes = store.images.taxa.at(Rank.SPECIES)
    prompts = PromptSet(classes, texts.text_type, texts.templates)
    return zeroshot(store, prompts, texts.encode_text, rank=Rank.SPECIES, k=5).accuracy()


def compare(
    store: EmbeddingStore, made: Split, texts: Texts | None, methods: tuple[str, ...]
) -> Evaluation:
    """Compare methods at family on the unfiltered test pictures, and write the report."""
    found = evaluate(
        Task.of(store, Rank.FAMILY, split=made, texts=texts),
        methods,
        report=lambda line: print(line, file=sys.stderr),
    )
    write_evaluation(store, found)
    write_report(store, found, store.folder / "report.html")
    return found
