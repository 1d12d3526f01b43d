"""What questions cost that are asked in parts, as the nodes of a cluster are: CPU seconds.

Draws a store as :mod:`benchmarks.store_scale` does, asks it whole, and then in parts by an engine
that pickles whatever a cluster would send. What the parts took is what nodes share; the rest is the
driver's own, which no node takes from it: ``python -m benchmarks.parts [--rows 100000] [--dim 512]
[--classes 1000] [--queries 1024]``. Answers must be equal.
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.store_scale import draw_store
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.engines import Engine
from bioprobe.index import NeighborIndex
from bioprobe.quality import find_duplicates
from bioprobe.store.view import View
from bioprobe.task.leaves import Leaves
from bioprobe.task.tree import Tree
from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from bioprobe.types import Vectors
from bioprobe.zeroshot.question import Question, answer_at_rank


class Parts:
    """Works on parts one after the other, and counts what they take and how large they are."""

    def __init__(self) -> None:
        self.seconds_s, self.n_parts, self.n_shared, self.n_sent = 0.0, 0, 0, 0

    def map(self, work: Callable[[Any], Any], parts: Iterable[Any]) -> Iterator[Any]:
        """Do the work on each part.

        Yields
        ------
        object
        """
        shared = pickle.dumps(work)
        self.n_shared += len(shared)
        on_node = pickle.loads(shared)
        for part in parts:
            sent = pickle.dumps(part)
            started = time.process_time()
            found = pickle.dumps(on_node(pickle.loads(sent)))
            self.seconds_s += time.process_time() - started
            self.n_parts += 1
            self.n_sent += len(sent) + len(found)
            yield pickle.loads(found)


def measure(ask: Callable[[Engine | None], tuple[Any, ...]]) -> str:
    """Ask whole and in parts, and return a line of figures."""
    started = time.process_time()
    whole = ask(None)
    once, engine = time.process_time() - started, Parts()
    started = time.process_time()
    parts = ask(engine)
    every = time.process_time() - started
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)
    return (
        f"{once:8.1f} {engine.seconds_s:8.1f} {every - engine.seconds_s:8.2f} {engine.n_parts:6} "
        f"{engine.n_shared / 1e6:9.1f} {engine.n_sent / 1e6:7.1f}"
    )


def put_question(classes: Vectors, logit_scale: float) -> Question:
    """Make a question of species that stand for directions."""
    taxa = [
        Taxon.from_names({"genus": f"Genus{n // 4}", "species": f"Genus{n // 4} s{n}"})
        for n in range(len(classes))
    ]
    tree = Tree(Taxonomy(tuple(taxa)), Rank.SPECIES)
    return Question(tree, Leaves.of(classes), logit_scale, {})


def main() -> None:
    """Print a line for each question."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=1024)
    given = parser.parse_args()
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as temporary:
        store = draw_store(Path(temporary, "store"), given.rows, given.dim, 16_384)
        view = View.of(store)
        drawn = normalise_rows(random.normal(size=(given.classes, given.dim)))
        question = put_question(drawn, 100.0)
        queries = store.read_vectors(np.sort(random.choice(given.rows, given.queries)))

        def zeroshot(engine: Engine | None) -> tuple[Any, ...]:
            answers = answer_at_rank(view.on(engine), question, 5)
            return answers.top_classes, answers.scores

        def search(engine: Engine | None) -> tuple[Any, ...]:
            return NeighborIndex.open(store, exact=True, engine=engine).search(queries, 10)

        def dedupe(engine: Engine | None) -> tuple[Any, ...]:
            found = find_duplicates(view.on(engine), threshold=0.95, confirm=False)
            return found.groups, np.sort(found.strengths)

        print(f"{given.rows:,} x {given.dim}; CPU s, MB")
        print(f"{'':9} {'whole':>8} {'parts':>8} {'driver':>8} {'n':>6} {'to each':>9} {'else':>7}")
        for name, ask in {"zeroshot": zeroshot, "search": search, "dedupe": dedupe}.items():
            print(f"{name:9} {measure(ask)}", flush=True)


if __name__ == "__main__":
    main()
