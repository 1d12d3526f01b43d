"""The page: a section a part, each with its table, and the curves of growth."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Row
from benchmarks.results.measured import Measured

_HEAD = (
    "| work | on | median (range) | beside | times as good (range) | wanted | limit | share |\n"
    "|---|---|---|---|---|---|---|---|"
)
# A curve of fewer points shows nothing.
_LEAST_POINTS = 3
_N_COLOURS = 10
# Of the cores, from which on times say little.
_BUSY = 0.05


def write_table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    return "\n".join([_HEAD, *map(write_row, rows)])


def write_row(row: Row) -> str:
    """Return a row as a line of the table.

    Examples
    --------
    >>> line = write_row(Row(work="search", size="9 x 2", unit="queries/s", ours=(20, 30, 40),
    ...                      peer="numpy", theirs=(10, 10, 10), wanted=4, limit="reading", best=60))
    >>> line.split(" | ")[2:5]
    ['30 (20 to 40) queries/s', 'numpy: 10', '3.00 (2.00 to 4.00)']
    >>> line.split(" | ")[5:]
    ['4.00: no', 'reading', '50 % |']
    """
    ours = f"{_span(row.ours)} {row.unit}" if row.ours else "none"
    peer, ratio, wanted, share = row.peer, "", "", ""
    if ratios := row.ratios:
        peer = f"{row.peer}: {_number(statistics.median(row.theirs))}"
        ratio = f"{row.ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    said = "no" if row.misses else "yes"
    if row.wanted is not None and ratios:
        wanted = f"{row.wanted:.2f}: {said}"
    elif row.most is not None and row.ours:
        wanted = f"{'≥' if row.is_rate else '≤'} {_number(row.most)} {row.unit}: {said}"
    if row.limit:
        share = f"{row.share:.0%}".replace("%", " %")
    cells = (row.work, row.size, ours, peer, ratio, wanted, row.limit, share)
    return f"| {' | '.join(cells)} |"


def write_section(found: Measured) -> str:
    """Return what is said of a part: when, on what and how busy it was measured, and its rows."""
    busy = "the cores' other work is not known here"
    if found.others is not None:
        busy = f"other work kept {found.others:.0%} of the cores busy".replace("%", " %")
        if found.others > _BUSY:
            busy = f"**{busy}: times are longer than alone; ratios, of runs in turn, hold better**"
    sizes = "Small sizes" if found.is_quick else "Whole sizes"
    lines = [
        f"{sizes}, {found.begun:%d %B %Y}, at {found.revision}, in {found.took_s / 60:.1f} "
        f"minutes; {busy}.",
        f"On {'; '.join(found.place.machine)}. With {', '.join(found.place.versions)}.",
        write_table(found.rows),
    ]
    return "\n\n".join(lines)


def read_sections(page: str) -> dict[str, str]:
    r"""Return the sections of a page by their headings, as they stand.

    Examples
    --------
    >>> read_sections("# What was measured\n\n## start\n\n| a |\n\n## serve\n\n| b |\n")
    {'start': '| a |', 'serve': '| b |'}
    """
    parts = page.split("\n## ")[1:]
    return {name.strip(): text.strip() for name, _, text in (one.partition("\n") for one in parts)}


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
    titles = {"s": "seconds", "MB": "peak memory, MB"}
    units = [unit for unit in titles if any(of == unit for _, of in curves)]
    size = (6.5 * len(units), 4)
    figure, axes = plt.subplots(1, len(units), figsize=size, layout="constrained", squeeze=False)
    for axis, unit in zip(axes[0], units, strict=True):
        for (name, of_unit), points in curves.items():
            if of_unit == unit:
                n, values = zip(*sorted(points.items()), strict=True)
                # There are more curves than colours.
                line = "-" if len(axis.lines) < _N_COLOURS else "--"
                axis.plot(n, values, line, marker="o", markersize=3, label=name)
        axis.set(xscale="log", yscale="log", xlabel="pictures", title=titles[unit])
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(file, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return True


def _find_curves(rows: Sequence[Row]) -> dict[tuple[str, str], dict[int, float]]:
    curves: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        if not row.n or not row.ours:
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
    if 0.99 < value < 1:
        # A share that is nearly whole is not whole.
        return f"{value:.5g}"
    return f"{value:.3g}"
