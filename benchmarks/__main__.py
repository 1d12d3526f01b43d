"""Run every benchmark, or those that are named: ``python -m benchmarks embed_speed``."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = (
    "start",
    "embed_speed",
    "embed_memory",
    "fuzz_images",
    "dedupe",
    "repeats",
    "taxonomy",
    "zeroshot_scale",
    "head_speed",
    "search_index",
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


def main() -> None:
    """Run each benchmark in a process of its own and print what it prints."""
    for name in sys.argv[1:] or BENCHMARKS:
        if name not in BENCHMARKS:
            sys.exit(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
        print(f"\n## {name}\n", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)


if __name__ == "__main__":
    main()
