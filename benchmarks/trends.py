"""How often the intervals of trends hold a rate ratio that is known.

Each line is a number of sites and of years. Sites differ in how rich they are (log-normal, standard
deviation 1) and in how long they are watched, a tenth of their years are missing, and the rate of
each falls by a tenth a year. ``poisson``: records come by themselves; ``varied``: the rate of each
site and year varies by a factor of variance 0.2; ``wild``: by one of variance 1. A draw from which
no trend is told, since too little was recorded, is counted apart.

Where a ratio is held less often than 93 in 100 times, a star stands beside it.
"""

from __future__ import annotations

import math
import sys

import numpy as np
import pandas as pd

from bioprobe.counting.trends import estimate_trend
from bioprobe.errors import SelectionError

SIZES = ((5, 4), (5, 8), (8, 5), (12, 5), (20, 4), (30, 5))
KINDS = {"poisson": 0.0, "varied": 0.2, "wild": 1.0}
RATIO, N_TRIALS, LEAST = 0.9, 150, 0.93


def draw_table(
    random: np.random.Generator, n_sites: int, n_years: int, spread: float
) -> pd.DataFrame:
    """Return records and camera-days of each site and year."""
    rows = []
    for site in range(n_sites):
        level = 0.05 * math.exp(random.normal())
        for year in range(n_years):
            if random.random() < 0.1:
                continue
            days = random.uniform(40, 300)
            mean = days * level * RATIO**year
            mean *= random.gamma(1 / spread, spread) if spread else 1.0
            rows.append((f"s{site}", 2015 + year, random.poisson(mean), days))
    return pd.DataFrame(rows, columns=["site", "year", "n_records", "camera_days"])


def main() -> None:
    """Print how often each is held, how wide intervals are, and how often none is told."""
    n_trials = int(sys.argv[1]) if len(sys.argv) > 1 else N_TRIALS
    print("sites years kind     held   factor  not told")
    for n_sites, n_years in SIZES:
        for kind, spread in KINDS.items():
            random = np.random.default_rng(0)
            held, widths, n_refused = 0, [], 0
            for _ in range(n_trials):
                try:
                    found = estimate_trend("a", draw_table(random, n_sites, n_years, spread))
                except SelectionError:
                    n_refused += 1
                    continue
                held += found.low <= RATIO <= found.high
                widths.append(math.log(found.high / found.low) / 2)
            share = held / max(1, len(widths))
            star = "*" if share < LEAST else " "
            factor = math.exp(float(np.median(widths)))
            print(
                f"{n_sites:5} {n_years:5} {kind:8} {share:.3f}{star} {factor:6.2f}  "
                f"{n_refused / n_trials:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
