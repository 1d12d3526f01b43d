"""Time and memory of a taxon list of the size of the tree of life.

The list is made up: every species in one of the genera, families and so on above it, in about the
proportions of TreeOfLife-200M.

Run it with ``python -m benchmarks.taxonomy``.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bioprobe.taxonomy import RANKS, Rank
from bioprobe.taxonomy.lists import read_taxonomy

# Taxa at each rank above species, for one million species.
_N_ABOVE = (6, 60, 300, 1_500, 10_000, 140_000)


def iter_rows(n_species: int) -> Iterator[tuple[list[str], str]]:
    """Yield the lineage and the common name of each species.

    Yields
    ------
    lineage : list of str, length 7
        Its last name is the epithet.
    common_name : str
    """
    sizes = [max(1, n * n_species // 1_000_000) for n in _N_ABOVE]
    for number in range(n_species):
        place, below, places = number, n_species, []
        for size in reversed(sizes):
            place, below = place * size // below, size
            places.append(place)
        names = [
            f"{rank.value.capitalize()}{above}"
            for rank, above in zip(RANKS, reversed(places), strict=False)
        ]
        yield [*names, f"epithet{number}"], f"common name {number}"


def write_list(path: Path, n_species: int) -> None:
    """Write a list as CSV or, where the name ends so, as TreeOfLife's JSON."""
    with path.open("w", encoding="utf-8") as stream:
        if path.suffix == ".json":
            entries = (json.dumps(row) for row in iter_rows(n_species))
            stream.write("[" + next(entries))
            stream.writelines(f", {entry}" for entry in entries)
            stream.write("]")
            return
        stream.write(",".join([*RANKS, "common_name"]) + "\n")
        stream.writelines(
            ",".join([*lineage, common_name]) + "\n"
            for lineage, common_name in iter_rows(n_species)
        )


def main() -> None:
    """Print the seconds of each step and the peak memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--taxa", type=int, default=870_000)
    parser.add_argument("--kind", choices=["csv", "json"], default="csv")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"taxa.{arguments.kind}")
        write_list(path, arguments.taxa)
        before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        start = time.perf_counter()
        taxa = read_taxonomy(path)
        print(f"| step | s |\n|---|---|\n| read {len(taxa):,} taxa | {_since(start)} |")
    for rank in (Rank.FAMILY, Rank.GENUS, Rank.SPECIES):
        start = time.perf_counter()
        n_taxa = len(taxa.at(rank))
        print(f"| the {n_taxa:,} at {rank.value} | {_since(start)} |")
    family = taxa.at(Rank.FAMILY).taxa[-1]
    for name, look_up in (
        ("find a name", lambda: taxa.find(taxa.taxa[-1].name)),
        ("children of a family", lambda: taxa.children(family)),
        ("taxa below a family", lambda: taxa.below([family])),
        ("ancestors of a species", lambda: taxa.ancestors(taxa.taxa[-1])),
    ):
        start = time.perf_counter()
        look_up()
        print(f"| {name} | {_since(start)} |")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\npeak memory {peak_mb:.0f} MB ({before_mb:.0f} MB before the list was read)")


def _since(start: float) -> str:
    return f"{time.perf_counter() - start:.2f}"


if __name__ == "__main__":
    main()
