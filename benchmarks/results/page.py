"""The page of a run: the table, and the curves of growth."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Row

_HEAD = (
    "| work | on | median (range) | beside | times as good (range) | wanted | limit | share |\n"
    "|---|---|---|---|---|---|---|---|"
)
# A curve of fewer points shows nothing.
_LEAST_POINTS = 3


def write_table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    return "\n".join([_HEAD, *map(write_row, rows)])


def write_row(row: Row) -> str:
    r"""Return a row as a line of the table.

    Examples
    --------
    >>> write_row(Row(work="search", size="9 x 2", unit="queries/s", ours=(20, 30, 40),
    ...               peer="numpy", theirs=(10, 10, 10), wanted=4, limit="reading", best=60))
    '| search | 9 x 2 | 30 (20 to 40) queries/s | numpy: 10 | 3.00 (2.00 to 4.00) | 4.00: no | \
reading | 50 % |'
    """
    ours = f"{_span(row.ours)} {row.unit}"
    peer = ratio = wanted = share = ""
    if row.peer:
        peer = f"{row.peer}: {_number(statistics.median(row.theirs))}"
        ratios = row.ratios
        ratio = f"{row.ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        if row.wanted is not None:
            wanted = f"{row.wanted:.2f}: {'yes' if row.ratio >= row.wanted else 'no'}"
    if row.limit:
        share = f"{row.share:.0%}".replace("%", " %")
    cells = (row.work, row.size, ours, peer, ratio, wanted, row.limit, share)
    return f"| {' | '.join(cells)} |"


_N_COLOURS = 10


def draw_growth(rows: Sequence[Row], file: Path) -> bool:
    """Draw how times and memory grow with pictures; False where there are too few points.

    Parameters
    ----------
    rows : sequence of Row
        Those with ``n`` and the same work, but for numbers in it, are one curve.
    file : Path
        PNG that is written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    curves = {
        name: points for name, points in _find_curves(rows).items() if len(points) >= _LEAST_POINTS
    }
    if not curves:
        return False
    figure, axes = plt.subplots(1, 2, figsize=(13, 4), layout="constrained")
    for axis, unit, title in zip(axes, ("s", "MB"), ("seconds", "peak memory, MB"), strict=True):
        for (name, of_unit), points in curves.items():
            if of_unit == unit:
                n, values = zip(*sorted(points.items()), strict=True)
                # There are more curves than colours.
                line = "-" if len(axis.lines) < _N_COLOURS else "--"
                axis.plot(n, values, line, marker="o", markersize=3, label=name)
        axis.set(xscale="log", yscale="log", xlabel="pictures", title=title)
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(file, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return True


def _find_curves(rows: Sequence[Row]) -> dict[tuple[str, str], dict[int, float]]:
    curves: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        if not row.n:
            continue
        middle = statistics.median(row.ours)
        unit = "s" if row.is_rate else row.unit
        if row.is_rate:
            # Of a search the time of a thousand questions, which grows.
            middle = 1000 / middle
        name = row.work.removesuffix(", CPU").removesuffix(", memory")
        curves.setdefault((name, unit), {})[row.n] = middle
    return curves


def _span(values: Sequence[float]) -> str:
    middle = _number(statistics.median(values))
    return f"{middle} ({_number(min(values))} to {_number(max(values))})" if values[1:] else middle


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
