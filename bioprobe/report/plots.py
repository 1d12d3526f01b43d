"""Plots of a report, as SVG that lives inside the page.

Each takes plain numbers and returns a data URL; nothing here knows of stores or probes. Colours
are those of Okabe and Ito, which people who confuse red and green can tell apart.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from bioprobe.conservation import COLOURS as COLOURS_OF_STATUS
from bioprobe.conservation import INKS
from bioprobe.types import Doubles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text


BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8A8F98"
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000", GREY)
_INK, _FAINT = "#1F2933", "#D9DEE4"
_STYLE: dict[str, Any] = {
    "svg.hashsalt": "bioprobe",  # the same numbers give the same bytes
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    # Others that a machine may have are looked for anew for each text.
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.edgecolor": GREY,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": _FAINT,
}


_PAGE_FONT = "system-ui, sans-serif"
_FONT = re.compile(r"(font(?:-family)?: [^;\"']*)'DejaVu Sans'[^;\"]*")
# What no XML may hold, however it is written.
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_LONGEST = 40
# Places whose effort is drawn.
_N_PLACES = 40


@dataclasses.dataclass(frozen=True)
class Curve:
    """One line of a plot.

    Parameters
    ----------
    name : str
        For the legend.
    x, y : ndarray of float64, shape (n_points,)
    low, high : ndarray of float64, shape (n_points,), optional
        Interval of each ``y``.
    """

    name: str
    x: Doubles
    y: Doubles
    low: Doubles | None = None
    high: Doubles | None = None


def plot_intervals(
    names: Sequence[str], values: Doubles, low: Doubles, high: Doubles, *, label: str
) -> str:
    """Plot a figure of each method with its interval, the highest on top and in colour.

    Parameters
    ----------
    names : sequence of str, length n_methods
    values, low, high : ndarray of float64, shape (n_methods,)
    label : str
        What the figure is.
    """
    order = np.argsort(values, kind="stable")
    figure, axes = _begin(6.4, 0.9 + 0.36 * len(names))
    for place, method in enumerate(order):
        colour = BLUE if place == len(order) - 1 else GREY
        axes.plot([low[method], high[method]], [place, place], color=colour, linewidth=2)
        axes.plot(values[method], place, "o", color=colour)
        axes.annotate(
            f"{values[method]:.3f}",
            (high[method], place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_yticks(range(len(order)), [names[method] for method in order])
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.margins(x=0.12)
    axes.grid(axis="x")
    axes.set_xlabel(f"{label} (95% interval)")
    return _finish(figure)


_N_LARGEST, _N_SMALLEST = 30, 15


# Of the smallest bar, and where a logarithmic scale begins.
_MOST_TIMES, _LOG_START = 20, 0.8


def plot_class_sizes(names: Sequence[str], counts: npt.NDArray[np.int64], *, label: str) -> str:
    """Plot how many images each class has, by name, the largest first.

    The scale is logarithmic where a bar would else be too short to see. Of more than 45 classes
    the 30 largest and the 15 smallest are drawn, and between them how many are left out.

    Parameters
    ----------
    names : sequence of str, length n_classes
    counts : ndarray of int64, shape (n_classes,)
        At least 1 each.
    label : str
        What is counted.
    """
    order = np.argsort(-counts, kind="stable").tolist()
    n_left = len(order) - _N_LARGEST - _N_SMALLEST
    shown: list[tuple[str, int]] = [(names[place], int(counts[place])) for place in order]
    if n_left > 0:
        shown[_N_LARGEST:-_N_SMALLEST] = [(f"({n_left:,} more)", 0)]
    figure, axes = _begin(6.4, 0.8 + 0.2 * len(shown))
    places = np.arange(len(shown))[::-1]
    is_log = counts.max() > _MOST_TIMES * counts.min()
    lengths = [max(_LOG_START, n) if is_log else n for _, n in shown]
    axes.barh(places, lengths, left=0.0, color=BLUE, alpha=0.85)
    for place, (_, n) in zip(places, shown, strict=True):
        if n:
            axes.annotate(f"{n:,}", (n, place), xytext=(3, 0), textcoords="offset points",
                          va="center", fontsize=8)  # fmt: skip
    median = float(np.median(counts))
    axes.axvline(median, color=ORANGE, linewidth=1, linestyle="--")
    axes.set_yticks(places, [_cut(name) for name, _ in shown], fontsize=8)
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.margins(x=0.1)
    if is_log:
        axes.set_xscale("log")
    axes.set_xlim(left=_LOG_START if is_log else 0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(axis="x")
    scale = "logarithmic; " if is_log else ""
    axes.set_xlabel(f"{_cut(label)} ({scale}dashed: median {median:g})")
    return _finish(figure)


_LEAST_LABELLED = 0.035


def plot_statuses(names: Sequence[str], counts: npt.NDArray[np.int64], codes: Sequence[str]) -> str:
    """Plot the share of images of each conservation status, a bar for each name.

    Parts have the official colours, and a dark line around them: black and white are among them.

    Parameters
    ----------
    names : sequence of str, length n_names
        Of places or seasons, the first on top.
    counts : ndarray of int64, shape (n_names, n_codes)
    codes : sequence of str, length n_codes
        In the order in which they stand in a bar; ``""`` is no status.
    """
    figure, axes = _begin(7.0, 1.35 + 0.42 * len(names))
    totals = np.maximum(1, counts.sum(axis=1))
    shares = counts / totals[:, np.newaxis]
    places = np.arange(len(names))[::-1]
    left = np.zeros(len(names))
    for at, code in enumerate(codes):
        colour, ink = COLOURS_OF_STATUS.get(code, "#FFFFFF"), INKS.get(code, "#000000")
        axes.barh(
            places, shares[:, at], left=left, height=0.72, color=colour, edgecolor=_INK,
            linewidth=0.7, hatch=None if code else "////", label=code or "no status",
        )  # fmt: skip
        for place, share, start, n in zip(places, shares[:, at], left, counts[:, at], strict=True):
            if share >= _LEAST_LABELLED:
                axes.text(
                    start + share / 2, place, f"{code}\n{n:,}" if code else f"{n:,}", color=ink,
                    ha="center", va="center", fontsize=7.5, linespacing=0.95,
                    bbox=None if code else {"facecolor": "#FFFFFF", "edgecolor": "none",
                                            "pad": 1.0},
                )  # fmt: skip
        left += shares[:, at]
    axes.set_yticks(places, [f"{_cut(name)} ({n:,})" for name, n in
                             zip(names, counts.sum(axis=1).tolist(), strict=True)])  # fmt: skip
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("share of the pictures")
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper center", ncols=len(codes),
        frameon=False, fontsize=8, handlelength=1.1, columnspacing=1.0,
    )  # fmt: skip
    return _finish(figure)


def plot_reliability(curves: Sequence[Curve]) -> str:
    """Plot accuracy against confidence; a calibrated method lies on the diagonal.

    Parameters
    ----------
    curves : sequence of Curve
        ``x`` the mean confidence and ``y`` the accuracy of a bin, in [0, 1].
    """
    figure, axes = _begin(4.4, 4.0)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    for curve, colour in zip(curves, COLOURS, strict=False):
        _draw_curve(axes, curve, colour, bars=True)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy", aspect="equal")
    axes.grid()
    axes.legend(loc="upper left", frameon=False)
    return _finish(figure)


def plot_risk_coverage(curves: Sequence[Curve]) -> str:
    """Plot the accuracy of the most confident answers against how many are given.

    Parameters
    ----------
    curves : sequence of Curve
        ``x`` the coverage and ``y`` the accuracy, in [0, 1].
    """
    figure, axes = _begin(5.6, 3.2)
    for curve, colour in zip(curves, COLOURS, strict=False):
        _draw_curve(axes, curve, colour, marker="")
    lowest = min(float(curve.y[len(curve.y) // 20 :].min()) for curve in curves)
    axes.set(xlim=(0, 1), xlabel="fraction of images answered", ylabel="accuracy of the answers")
    axes.set_ylim(max(0.0, lowest - 0.05), 1.005)
    axes.grid()
    axes.legend(loc="lower left", frameon=False)
    return _finish(figure)


def plot_label_efficiency(curves: Sequence[Curve]) -> str:
    """Plot accuracy against the number of training images a class, on a logarithmic scale.

    Parameters
    ----------
    curves : sequence of Curve
        ``x`` the images a class, ``low`` and ``high`` the spread over seeds.
    """
    figure, axes = _begin(5.6, 3.2)
    for curve, colour in zip(curves, COLOURS, strict=False):
        _draw_curve(axes, curve, colour)
    axes.set_xscale("log")
    ticks = sorted({float(x) for curve in curves for x in curve.x})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="labelled images a class", ylabel="accuracy")
    axes.grid()
    axes.legend(loc="lower right", frameon=False)
    return _finish(figure)


def plot_over_time(curves: Sequence[Curve]) -> str:
    """Plot accuracy over time.

    Parameters
    ----------
    curves : sequence of Curve
        ``x`` days since 1970-01-01, ``low`` and ``high`` the interval.
    """
    figure, axes = _begin(6.4, 3.2)
    for curve, colour in zip(curves, COLOURS, strict=False):
        _draw_curve(axes, curve, colour)
    axes.xaxis_date()
    axes.tick_params(axis="x", labelrotation=30)
    axes.set(ylabel="accuracy", ylim=(0, 1.02))
    axes.grid()
    axes.legend(loc="best", frameon=False)
    return _finish(figure)


def plot_strengths(
    strengths: Sequence[str],
    lines: Mapping[str, tuple[Doubles, Doubles | None, Doubles | None]],
    label: str,
    before: float | None = None,
) -> str:
    """Plot figures by the strength of an alteration, one beside the other.

    Parameters
    ----------
    strengths : sequence of str, length n_strengths
    lines : mapping of str to (values, low, high), ndarrays of shape (n_strengths,)
        By what they are; without ends where there is no interval.
    label : str
        What a strength is.
    before : float, optional
        Accuracy without any, as a dotted line.
    """
    figure, axes = _begin(5.2, 2.6)
    at = np.arange(len(strengths))
    for place, (name, (values, low, high)) in enumerate(lines.items()):
        # Beside each other, so that no interval hides another.
        shifted, colour = at + 0.08 * (place - 1), COLOURS[place]
        axes.plot(shifted, values, "o-", color=colour, label=name)
        if low is not None and high is not None:
            axes.vlines(shifted, low, high, color=colour, alpha=0.5)
    if before is not None:
        axes.axhline(before, color=GREY, linestyle=":")
    axes.set_xticks(at, list(strengths))
    axes.set(xlabel=label, ylim=(-0.02, 1.04), xlim=(-0.4, len(strengths) - 0.6))
    axes.grid(axis="y")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return _finish(figure)


def plot_distribution(sides: Mapping[str, Doubles], label: str, mark: float | None = None) -> str:
    """Plot which share of the pictures has which value, one outline for each kind of them.

    Parameters
    ----------
    sides : mapping of str to ndarray of float64, shape (n_images,)
        Values by the kind of picture; none is empty.
    label : str
        What is measured.
    mark : float, optional
        Value that is drawn as a line, such as a threshold.
    """
    figure, axes = _begin(3.4, 2.2)
    edges = np.histogram_bin_edges(np.concatenate(list(sides.values())), bins=20)
    for place, (name, values) in enumerate(sides.items()):
        shares = np.histogram(values, edges)[0] / len(values)
        axes.stairs(shares, edges, color=COLOURS[place], label=name, linewidth=1.5)
        if not place:
            axes.stairs(shares, edges, color=COLOURS[place], alpha=0.2, fill=True)
    if mark is not None and edges[0] <= mark <= edges[-1]:
        axes.axvline(mark, color=GREY, linestyle=":")
    axes.set(xlabel=label, ylabel="share")
    axes.set_ylim(bottom=0)
    if len(sides) > 1:
        figure.legend(loc="outside upper left", ncols=2, frameon=False)
    return _finish(figure)


def plot_counts(
    names: Sequence[str], count: Curve, marks: Mapping[str, Doubles], *, label: str
) -> str:
    """Plot counts with their intervals, the highest on top, and other counts beside as marks.

    Parameters
    ----------
    names : sequence of str, length n_lines
        From the top.
    count : Curve
        ``y`` the counts, ``low`` and ``high`` their intervals.
    marks : mapping of str to ndarray of float64, shape (n_lines,)
        Further counts by name, not a number where there is none.
    label : str
        What is counted.
    """
    height_in = 1.1 + 0.27 * len(names)
    figure, axes = _begin(6.8, height_in)
    places = np.arange(len(names))
    if count.low is not None and count.high is not None:
        axes.hlines(places, count.low, count.high, color=BLUE, linewidth=2.5)
    axes.plot(count.y, places, "o", color=BLUE, markersize=6, label=count.name)
    for (name, values), shape, colour in zip(marks.items(), "xD", (ORANGE, GREY), strict=False):
        axes.plot(values, places, shape, color=colour, markersize=6, label=name)
    axes.set_yticks(places, [_cut(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.margins(x=0.08)
    axes.grid(axis="x")
    axes.set_xlabel(label)
    figure.legend(loc="outside upper left", ncols=3, frameon=False)
    return _finish(figure)


def plot_roc(curves: Sequence[Curve], answers: Sequence[tuple[float, float]], *, label: str) -> str:
    """Plot the recall of a class against the false positive rate, over all thresholds.

    Parameters
    ----------
    curves : sequence of Curve
        ``x`` the false positive rate and ``y`` the recall, in [0, 1].
    answers : sequence of (float, float)
        The point of each curve that is the answer as given.
    label : str
        What is looked for.
    """
    figure, axes = _begin(4.6, 4.4)
    _draw_operating(axes, curves, answers)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="chance")
    axes.set(xlabel="false positive rate", ylabel=f"recall of {_cut(label)}")
    axes.legend(loc="lower right", frameon=False, handlelength=1.2)
    return _finish(figure)


def plot_precision_recall(
    curves: Sequence[Curve], answers: Sequence[tuple[float, float]], share: float, *, label: str
) -> str:
    """Plot the precision of a class against its recall, over all thresholds.

    Parameters
    ----------
    curves : sequence of Curve
        ``x`` the recall, ascending, and ``y`` the precision, in [0, 1]: that of a recall holds
        down to the next lower one, as the average precision has it.
    answers : sequence of (float, float)
        The point of each curve that is the answer as given; not a number where there is none.
    share : float
        Of the class among the images: the precision of chance.
    label : str
        What is looked for.
    """
    figure, axes = _begin(4.6, 4.4)
    _draw_operating(axes, curves, answers, drawstyle="steps-pre")
    axes.axhline(share, color=GREY, linewidth=1, linestyle="--", label="chance")
    axes.set(xlabel=f"recall of {_cut(label)}", ylabel=f"precision of {_cut(label)}")
    axes.legend(loc="best", frameon=False, handlelength=1.2)
    return _finish(figure)


def _draw_operating(
    axes: Axes,
    curves: Sequence[Curve],
    answers: Sequence[tuple[float, float]],
    drawstyle: Any = "default",  # noqa: ANN401 - matplotlib's own
) -> None:
    for curve, answer, colour in zip(curves, answers, COLOURS, strict=False):
        axes.plot(
            curve.x, curve.y, color=colour, linewidth=1.6, label=curve.name, drawstyle=drawstyle
        )
        axes.plot(*answer, "o", color=colour, markersize=6, markeredgecolor="white", clip_on=False)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
    axes.grid()


def plot_thresholds(curves: Sequence[Curve], chosen: Sequence[float]) -> str:
    """Plot what a threshold gives, at every one, with the one that was chosen.

    Parameters
    ----------
    curves : sequence of Curve
        ``x`` the threshold, ascending, and ``y`` a share in [0, 1]: that of a threshold holds down
        to the next lower one. The last is drawn faintly.
    chosen : sequence of float
        Thresholds that were chosen on other images; empty where there is none.
    """
    figure, axes = _begin(6.4, 3.4)
    for curve, colour in zip(curves, COLOURS, strict=False):
        last = curve is curves[-1]
        axes.plot(
            curve.x, curve.y, drawstyle="steps-pre", color=GREY if last else colour,
            linestyle="--" if last else "-", linewidth=1.3 if last else 1.7, label=curve.name,
        )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="threshold of the probability")
    axes.grid()
    if len(chosen):
        low, high = min(chosen), max(chosen)
        axes.axvspan(low, high, color=_INK, alpha=0.1, linewidth=0)
        axes.axvline((low + high) / 2, color=_INK, linewidth=1)
        said = f"{low:.2f}" if high - low < 0.005 else f"{low:.2f} to {high:.2f}"
        axes.annotate(
            f"chosen: {said}", ((low + high) / 2, 1.02), xytext=(0, 3),
            textcoords="offset points", xycoords="data", annotation_clip=False,
            ha="left" if low + high < 0.3 else "right" if low + high > 1.7 else "center",
        )  # fmt: skip
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return _finish(figure)


# Beside a matrix: its labels without the names, the bar of its colours, and where nothing is.
_ROOM_OF_LABEL_IN, _ROOM_OF_BAR_IN, _EDGE_IN = 0.32, 0.84, 0.08
_LEAST_MATRIX_IN = 1.75  # As long as what its bar is labelled with.


def plot_confusion(
    matrix: Doubles, names: Sequence[str], groups: Sequence[str], *, label: str
) -> str:
    """Plot a confusion matrix, its classes in the order of the tree.

    Parameters
    ----------
    matrix : ndarray of float64, shape (n_classes, n_classes)
        Images by true class (row) and answer (column); rows are shown as fractions.
    names : sequence of str, length n_classes
        In the order of the tree.
    groups : sequence of str, length n_classes
        Taxon above each class; lines part the groups.
    label : str
        What the classes are.
    """
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros_like(matrix), where=totals > 0)
    names, label, n_classes = [_cut(name) for name in names], _cut(label), len(names)
    side = float(np.clip(1.8 + 0.16 * n_classes, 3.2, 9.5))
    side += 0.06 * max(0, max(map(len, names), default=0) - 20)
    size = 0 if n_classes > 60 else 8 if n_classes <= 30 else 6
    room_in = _measure_longest(names, size) / 72 + _ROOM_OF_LABEL_IN if size else _ROOM_OF_LABEL_IN
    matrix_in = min(1.15 * side - room_in - _ROOM_OF_BAR_IN, side - room_in - _EDGE_IN)
    matrix_in = max(matrix_in, _LEAST_MATRIX_IN)
    width_in, height_in = matrix_in + room_in + _ROOM_OF_BAR_IN, matrix_in + room_in + _EDGE_IN
    figure, axes = _begin(width_in, height_in, layout=None)
    axes.set_position(
        (room_in / width_in, room_in / height_in, matrix_in / width_in, matrix_in / height_in)
    )
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    # As ticks they would take several times as long to draw.
    for place, name in enumerate(names if size else ()):
        axes.annotate(name, (place, 0), (0, -3), ("data", "axes fraction"), "offset points",
                      rotation=90, ha="center", va="top", color=_INK, fontsize=size)  # fmt: skip
        axes.annotate(name, (0, place), (-3, 0), ("axes fraction", "data"), "offset points",
                      ha="right", va="center", color=_INK, fontsize=size)  # fmt: skip
    for place in range(1, n_classes):
        if groups[place] != groups[place - 1]:
            axes.axhline(place - 0.5, color=GREY, linewidth=0.6)
            axes.axvline(place - 0.5, color=GREY, linewidth=0.6)
    label_pad = 72 * (room_in - _ROOM_OF_LABEL_IN) + 6
    axes.set_xlabel(f"answer ({label})", labelpad=label_pad)
    axes.set_ylabel(f"truth ({label})", labelpad=label_pad)
    bar = figure.add_axes(
        (
            1 - (_ROOM_OF_BAR_IN - 0.12) / width_in,
            (room_in + 0.275 * matrix_in) / height_in,
            0.12 / width_in,
            0.45 * matrix_in / height_in,
        )
    )
    figure.colorbar(shown, cax=bar, ticks=(0, 0.5, 1), label="fraction of the true class")
    return _finish(figure)


def plot_activity(curves: Sequence[Curve], marks: Sequence[float], *, label: str) -> str:
    """Plot how activity is spread over the day.

    Parameters
    ----------
    curves : sequence of Curve
        ``x`` the hour, from 0 to 24, and ``y`` the share of the activity an hour.
    marks : sequence of float
        Hours of sunrise and sunset; empty where times are the clock's.
    label : str
        What the hours are by.
    """
    figure, axes = _begin(8.4, 3.2)
    for curve, colour in zip(curves, COLOURS, strict=False):
        _draw_curve(axes, curve, colour, marker="")
    axes.axhline(1 / 24, color=GREY, linewidth=1, linestyle="--")
    if len(marks) == 2:
        for night in ((0, marks[0]), (marks[1], 24)):
            axes.axvspan(*night, color=_INK, alpha=0.07, linewidth=0)
    axes.set(xlim=(0, 24), xlabel=_cut(label), ylabel="share of activity an hour")
    axes.set_ylim(bottom=0)
    axes.set_xticks(range(0, 25, 3))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
    axes.grid()
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False)
    return _finish(figure)


def plot_accumulation(
    curve: Curve, estimate: tuple[float, float, float], others: Sequence[Curve] = ()
) -> str:
    """Plot how many taxa come with so many places, and how many there are.

    Parameters
    ----------
    curve : Curve
        ``x`` the number of places, ``y`` of taxa.
    estimate : (float, float, float)
        Taxa that there are at least, with the ends of the interval.
    others : sequence of Curve
        The same of parts, without what there is.
    """
    figure, axes = _begin(7.6 if others else 5.6, 3.2)
    _draw_curve(axes, curve, BLUE, marker="o" if len(curve.x) < 30 else "")
    for number, one in enumerate(others):
        colour = COLOURS[(number + 2) % len(COLOURS)]
        axes.plot(one.x, one.y, color=colour, linewidth=1.4, marker=".", label=one.name)
    axes.axhspan(estimate[1], estimate[2], color=ORANGE, alpha=0.12, linewidth=0)
    axes.axhline(estimate[0], color=ORANGE, linewidth=1.4, linestyle="--", label="Chao1")
    axes.set(xlabel="places", ylabel="taxa")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    axes.grid()
    if others:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False)
    else:
        axes.legend(loc="lower right", frameon=False)
    return _finish(figure)


def plot_discovery(labels: npt.NDArray[np.int64], found: npt.NDArray[np.int64]) -> str:
    """Plot how many classes were found by so many labels.

    Parameters
    ----------
    labels, found : ndarray of int64, shape (n_labels,)
    """
    from matplotlib import ticker

    figure, axes = _begin(6.4, 3.0)
    axes.step(labels, found, where="post", color=BLUE, linewidth=2)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.yaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    axes.grid(axis="y")
    axes.set_xlabel("labels")
    axes.set_ylabel("classes found")
    return _finish(figure)


def plot_rates(points: Sequence[Curve], lines: Sequence[Curve]) -> str:
    """Plot rates of years as points, and trends through them as lines with their interval.

    Parameters
    ----------
    points, lines : sequence of Curve
        ``x`` the year and ``y`` the rate per 100 camera-days; of a trend all that it says. Each
        line goes with the points of its place.
    """
    figure, axes = _begin(8.8, 3.4)
    for number, (its, line) in enumerate(zip(points, lines, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(its.x, its.y, "o", color=colour, markersize=5)
        _draw_curve(axes, line, colour, marker="")
    axes.set(xlabel="year", ylabel="records per 100 camera-days")
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    axes.grid()
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False)
    return _finish(figure)


def plot_stints(names: Sequence[str], spans: Sequence[Sequence[tuple[float, float]]]) -> str:
    """Plot when the camera of each place worked, the first on top.

    Of more than 40 places the first 40 are drawn, and how many are left out.

    Parameters
    ----------
    names : sequence of str, length n_places
    spans : sequence of sequence of (float, float), length n_places
        Beginning and end of each stretch of time, in days since 1970-01-01.
    """
    n_shown = min(len(names), _N_PLACES)
    figure, axes = _begin(6.4, 0.9 + 0.24 * n_shown)
    for place in range(n_shown):
        bars = [(start, end - start) for start, end in spans[place]]
        axes.broken_barh(bars, (n_shown - place - 1.35, 0.7), facecolors=BLUE)
    axes.set_yticks(range(n_shown), [_cut(name) for name in reversed(names[:n_shown])], fontsize=8)
    axes.set_ylim(-0.6, n_shown - 0.4)
    axes.xaxis_date()
    axes.tick_params(axis="x", labelrotation=30)
    if len(names) > n_shown:
        axes.set_title(f"{len(names) - n_shown:,} more places are not drawn", fontsize=9)
    axes.grid(axis="x")
    return _finish(figure)


def _draw_curve(
    axes: Axes, curve: Curve, colour: str, *, bars: bool = False, marker: str = "o"
) -> None:
    axes.plot(curve.x, curve.y, color=colour, marker=marker, markersize=4, label=curve.name)
    if curve.low is None or curve.high is None:
        return
    if bars:
        axes.vlines(curve.x, curve.low, curve.high, color=colour, linewidth=1)
    else:
        axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)


def _begin(
    width_in: float, height_in: float, layout: Literal["constrained"] | None = "constrained"
) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure
    from matplotlib.style import context

    with context(_STYLE):
        figure = Figure(figsize=(width_in, height_in), layout=layout)
        return figure, figure.add_subplot()


def _measure_longest(names: Sequence[str], size: float) -> float:
    """Return the width of the longest name in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=_STYLE["font.sans-serif"], size=size)
    with _silence():
        widths = [text_to_path.get_text_width_height_descent(one, font, False)[0] for one in names]
    return max(widths, default=0.0)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Say nothing of letters that matplotlib's own font lacks: the reader's browser has them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def _finish(figure: Figure) -> str:
    """Return a figure as a data URL; its texts are text, in the font of the page.

    What a label says is never read as mathematics. Letters that matplotlib's own font lacks are
    drawn by the reader's browser, and only measured here.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.style import context
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    stream = io.BytesIO()
    with context(_STYLE), _silence():
        texts = figure.findobj(Text)
        for text in texts:
            text.set_parse_math(False)
        if layout := figure.get_layout_engine():
            layout.execute(figure)
            # Laid out by now, which savefig would do once more before it draws.
            figure.set_layout_engine("none")
        extra_in = max(map(_measure_wide, texts))
        if extra_in:
            ends = figure.get_size_inches() + extra_in
            area = Bbox.from_extents(-extra_in, -extra_in, *ends)
            figure.savefig(stream, format="svg", metadata={"Date": None}, bbox_inches=area)
        else:
            FigureCanvasSVG(figure).print_svg(  # type: ignore[no-untyped-call]
                stream, metadata={"Date": None}
            )
    drawn = _NO_XML.sub("\N{REPLACEMENT CHARACTER}", stream.getvalue().decode("utf-8"))
    drawn = _FONT.sub(rf"\1{_PAGE_FONT}", drawn)
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.encode()).decode("ascii")


def _measure_wide(text: Text) -> float:
    """Return by how many inches a text is longer than it is measured without its letters."""
    lines = text.get_text().splitlines() if text.get_visible() else ()
    n_wide = (sum(unicodedata.east_asian_width(one) in "WF" for one in line) for line in lines)
    # The box that stands for a missing letter is 0.6 em wide, a wide letter 1.
    return 0.4 * max(n_wide, default=0) * float(text.get_fontsize()) / 72


def _cut(name: str) -> str:
    """Shorten a name that would leave no room for the plot."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
