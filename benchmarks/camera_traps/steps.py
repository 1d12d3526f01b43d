"""What is done for each encoder: embed once, ask by text, count what is right."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.camera_traps.layout import RANKS
from benchmarks.rare_species.steps import embed as embed
from bioprobe.images import ImageTable
from bioprobe.images.regions import BOX_COLUMNS
from bioprobe.intervals import Accuracy, Interval, find_wilson, measure_share
from bioprobe.prompts import PromptSet
from bioprobe.sources.source import SourceOptions, find_images
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.target import Texts
from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from bioprobe.zeroshot.zeroshot import zeroshot

_Z = 1.959963984540054
# Answers of a picture that are looked at, where it holds fewer species.
_K = 5


def list_table(frame: pd.DataFrame, file: Path) -> ImageTable:
    """Write rows as a table and list its pictures, wherever they lie."""
    file.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(file, index=False)
    return find_images([file], SourceOptions(allow_outside=True))


def read_taxa(frame: pd.DataFrame) -> list[Taxon | None]:
    """Return the taxon of each row, None where no species is named."""
    named = frame[[*RANKS, "common_name"]].to_dict("records")
    return [
        Taxon.from_names({rank: row[rank] for rank in RANKS}, common_name=row["common_name"])
        if row["species"]
        else None
        for row in named
    ]


def measure_sets(store: EmbeddingStore, texts: Texts) -> dict[str, Accuracy]:
    """Measure each set among its own species, top-1 by text alone."""
    view = View.of(store)
    sets = store.images.frame["set"].to_numpy(dtype=str)
    found = {}
    for name in dict.fromkeys(sets[view.rows]):
        rows = view.rows[sets[view.rows] == name]
        frame = store.images.frame.iloc[rows].fillna("")
        taxa = Taxonomy.merge(one for one in read_taxa(frame) if one)
        prompts = PromptSet(taxa.at(Rank.SPECIES), texts.text_type, texts.templates)
        answered = zeroshot(view.take(rows), prompts, texts.encode_text, rank=Rank.SPECIES, k=1)
        found.update({str(name): one for one in answered.accuracy()})
    return found


def find_mean(of_sets: Iterable[Accuracy]) -> Interval:
    """Return the mean over sets, each of which counts alike, with Wilson's interval.

    The interval has the number of pictures that, all in one set, would leave the mean as uncertain.
    """
    shares = np.array([one.fraction for one in of_sets])
    sizes = np.array([one.n_images for one in of_sets], dtype=np.float64)
    mean = float(shares.mean())
    variance = float((shares * (1 - shares) / sizes).sum()) / len(shares) ** 2
    effective = len(shares) ** 2 / float((1 / sizes).sum())
    if variance:
        effective = mean * (1 - mean) / variance
    return Interval(mean, *find_wilson(mean, effective, _Z))


class Several:
    """Pictures of several species each, and which these are.

    Parameters
    ----------
    listed : DataFrame
        As :func:`benchmarks.camera_traps.layout.read_multi` returns it.
    """

    def __init__(self, listed: pd.DataFrame) -> None:
        taxa = read_taxa(listed)
        self.taxa = Taxonomy.merge(one for one in taxa if one).at(Rank.SPECIES)
        places = {one.name: place for place, one in enumerate(self.taxa)}
        truth = np.array([places[one.name] if one else -1 for one in taxa], dtype=np.int64)
        self.rows = listed.assign(truth=truth)
        is_whole = self.rows.groupby("image_id")["truth"].min() >= 0
        #: Pictures of which every species is named; of others not all that is right is known.
        self.known = sorted(is_whole[is_whole].index)

    def list_pictures(self, file: Path) -> ImageTable:
        """List each picture once, whole."""
        return list_table(self.rows.drop_duplicates("path")[["path", "image_id"]], file)

    def list_boxes(self, file: Path) -> ImageTable | None:
        """List each box, with the species in it; None where there is none."""
        boxed = self.rows[self.rows[BOX_COLUMNS[0]].notna() & (self.rows["truth"] >= 0)]
        columns = ["path", "image_id", "truth", *BOX_COLUMNS]
        return list_table(boxed[columns], file) if len(boxed) else None

    def ask(
        self, store: EmbeddingStore, texts: Texts
    ) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
        """Return the rows of a store, and the places of the best species of each."""
        prompts = PromptSet(self.taxa, texts.text_type, texts.templates)
        most = int(self.rows.groupby("image_id").size().max())
        k = min(len(self.taxa), max(_K, most))
        answered = zeroshot(View.of(store), prompts, texts.encode_text, rank=Rank.SPECIES, k=k)
        order = [list(self.taxa).index(one) for one in answered.classes.taxa]
        return store.images.frame.iloc[answered.rows], np.array(order)[answered.top_classes]


def measure_pictures(
    several: Several, frame: pd.DataFrame, best: npt.NDArray[np.int64]
) -> dict[str, Interval]:
    """Measure whole pictures: how many of their species are among the best answers."""
    truths = several.rows.groupby("image_id")["truth"].agg(lambda ones: sorted(set(ones)))
    known = set(several.known)
    any_right, found_share, all_right, among = [], [], [], []
    for image_id, answers in zip(frame["image_id"], best, strict=True):
        if image_id not in known:
            continue
        truth = truths[image_id]
        found = np.isin(truth, answers[: len(truth)])
        any_right.append(answers[0] in truth)
        found_share.append(found.mean())
        all_right.append(found.all())
        among.append(np.isin(truth, answers[:_K]).mean())
    alone = np.full(len(any_right), "")
    return {
        "the first answer is in the picture": measure_share(np.array(any_right), alone),
        "of its n species, among the first n": measure_share(np.array(found_share), alone),
        "all n among the first n": measure_share(np.array(all_right), alone),
        f"of its species, among the first {_K}": measure_share(np.array(among), alone),
    }


def measure_boxes(
    boxes: tuple[pd.DataFrame, npt.NDArray[np.int64]],
    pictures: tuple[pd.DataFrame, npt.NDArray[np.int64]],
) -> dict[str, Interval]:
    """Measure boxes, beside what the whole picture answers of each; pictures are drawn together."""
    frame, best = boxes
    first = dict(zip(pictures[0]["image_id"], pictures[1][:, 0], strict=True))
    truth = frame["truth"].astype(int).to_numpy()
    groups = frame["image_id"].to_numpy(dtype=str)
    whole = np.array([first.get(one, -1) for one in groups])
    return {
        "the first answer to a box": measure_share(best[:, 0] == truth, groups),
        "that to the whole picture": measure_share(whole == truth, groups),
    }
