"""Run every benchmark, or those that are named: ``python -m benchmarks embed_speed dedupe``.

What follows the names is handed on: ``python -m benchmarks review_speed --sizes 10000``.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Sequence

BENCHMARKS = (
    "start",
    "embed_speed",
    "backend_speed",
    "embed_memory",
    "fuzz_images",
    "dedupe",
    "repeats",
    "taxonomy",
    "zeroshot_scale",
    "head_speed",
    "search_index",
    "store_scale",
    "published_vectors",
    "merging",
    "parts",
    "probe_speed",
    "adapters",
    "many_classes",
    "clusters",
    "coverage",
    "find_species",
    "unknown_species",
    "estimates",
    "kappa",
    "explaining",
    "finetuning",
    "maps",
    "trends",
    "review_strategies",
    "review_speed",
    "serve",
    "review_coverage",
    "wrong_labels",
)


def split(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Split arguments into the names they begin with and what is handed on; exit on a wrong name.

    Examples
    --------
    >>> split(["kappa", "serve", "--seconds", "5"])
    (['kappa', 'serve'], ['--seconds', '5'])
    """
    names = list(itertools.takewhile(lambda one: one in BENCHMARKS, arguments))
    if arguments and not names:
        sys.exit(f"no benchmark {arguments[0]!r}; there are {', '.join(BENCHMARKS)}")
    return names, list(arguments[len(names) :])


def main() -> None:
    """Run each benchmark in a process of its own and print what it prints."""
    names, handed_on = split(sys.argv[1:])
    for name in names or BENCHMARKS:
        print(f"\n## {name}\n", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *handed_on], check=True)


if __name__ == "__main__":
    main()
