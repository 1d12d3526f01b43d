"""What the demonstration learns from labels, after cleaning and splitting the pictures."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

from bioprobe.evaluation import Evaluation, MethodResult, evaluate, write_evaluation
from bioprobe.probes.text_prior import TextPrior
from bioprobe.prompts import read_templates
from bioprobe.prompts.noise import read_noise_prompts
from bioprobe.quality import Duplicates, find_duplicates
from bioprobe.quality.noise import NoiseFilter, filter_noise
from bioprobe.splits import Split, make_split, write_split
from bioprobe.store import EmbeddingStore, TextCache
from bioprobe.taxonomy import Rank

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
    prior = TextPrior(
        texts.encode_text, store.manifest.logit_scale, templates=read_templates("plain")
    )
    evaluation = evaluate(store, LEVEL, METHODS, split, texts=prior, seed=seed)
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


def write_commands(folder: Path, seed: int) -> list[str]:
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
