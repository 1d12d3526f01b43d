"""The map of a store as a picture, with the names of classes beside their pictures."""

from __future__ import annotations

import base64
import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np

from bioprobe.mapping.classes import OTHERS, UNKNOWN, MapClasses
from bioprobe.mapping.faithful import Faith
from bioprobe.mapping.result import Map
from bioprobe.report.section import Section
from bioprobe.types import Doubles

# Colours that colour-blind people tell apart (Okabe and Ito 2008), each a little darker the second
# and third time; the names stand there too.
_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2", "#B7A800")
_GREYS = {OTHERS: "#9AA09C", UNKNOWN: "#C4C8C5"}
_INCHES, _DPI = (10, 7.5), 110
# Pictures of a class by which the middle of its densest group is found.
_DRAWN = 1500
MISSING = (
    "The picture of the map is drawn by datamapplot, which is not installed: "
    'pip install "bioprobe[map]"'
)


def describe_map(found: Map, classes: MapClasses) -> Section:
    """Return the part of a report that shows a map."""
    faith, picture = found.faith, None
    with contextlib.suppress(ImportError):
        data = draw_map(found.points.astype(np.float64), classes)
        picture = "data:image/png;base64," + base64.b64encode(data).decode("ascii")
    others = classes.n_classes - len(classes.names)
    content = {
        "name": found.name,
        "picture": picture,
        "missing": "" if picture else MISSING,
        "alt": _say_what_is_seen(found, classes),
        "level": classes.level,
        "others": others,
        "n_fitted": int(found.fitted.sum()),
        "n_images": len(found.rows),
        "facts": _list_facts(faith),
        "n_sample": faith.n_sample,
    }
    lead = (
        "Pictures that are alike lie near each other; what lies among strangers is worth a look. "
        "Directions, and the gaps between groups, mean nothing."
    )
    return Section("map", "Map", "A map of the pictures", lead, content)


def _list_facts(faith: Faith) -> list[dict[str, str]]:
    told = [
        ("trustworthiness", faith.trustworthiness, "1 where all that is near is alike"),
        ("continuity", faith.continuity, "1 where all that is alike is near"),
        ("neighbours kept", faith.kept, f"share of the {faith.n_neighbors} nearest"),
    ]
    return [
        {
            "label": label,
            "large": f"{one.estimate:.2f}",
            "said": f"{said}; {one.low:.2f} to {one.high:.2f}",
        }
        for label, one, said in told
    ]


def _say_what_is_seen(found: Map, classes: MapClasses) -> str:
    named = ", ".join(
        f"{name} {n:,}" for name, n in zip(classes.names, classes.counts, strict=True)
    )
    text = f"Map of {len(found.rows):,} pictures"
    return f"{text}, coloured by {classes.level}: {named}" if named else text


def draw_map(points: Doubles, classes: MapClasses) -> bytes:
    """Draw a map with the names of its classes, none of which covers another.

    Parameters
    ----------
    points : ndarray of float64, shape (n_images, 2)
    classes : MapClasses
        Of these images.

    Returns
    -------
    bytes
        A PNG.

    Raises
    ------
    ImportError
        If datamapplot is not installed.
    """
    with _without_network() as render:
        import matplotlib

        before = matplotlib.get_backend()
        matplotlib.use("agg")
        try:
            return _render(render, points, classes)
        finally:
            matplotlib.use(before)


def _render(render: Any, points: Doubles, classes: MapClasses) -> bytes:  # noqa: ANN401 - has no types
    from matplotlib import pyplot

    colours = [_find_colour(one) for one in range(len(classes.names))]
    # The commonest are drawn first, and what nobody can tell apart below them.
    order = np.argsort(-classes.codes.astype(int), kind="stable")
    shown = np.array([_GREYS.get(int(one)) or _find_colour(int(one)) for one in classes.codes])
    names = list(classes.names)
    places = np.array([_find_middle(points[classes.codes == one]) for one in range(len(names))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure, _ = render(
            points[order],
            shown[order].tolist(),
            names,
            places.reshape(-1, 2),
            fontfamily="DejaVu Sans",
            figsize=_INCHES,
            dpi=_DPI,
            label_font_size=10,
            label_text_colors=["#1F2933"] * len(names),
            label_arrow_colors=colours,
            point_size=float(np.clip(20_000 / len(points), 2, 18)),
            add_glow=False,
            force_matplotlib=True,
        )
        stream = io.BytesIO()
        figure.savefig(stream, format="png", facecolor="white", metadata={"Software": None})
        pyplot.close(figure)
    return stream.getvalue()


def _find_middle(points: Doubles) -> Doubles:
    """Return the point of a class about which its pictures lie closest.

    Unlike the mean of a class in two groups it lies in one of them.

    Parameters
    ----------
    points : ndarray of float64, shape (n ≥ 1, 2)

    Examples
    --------
    >>> _find_middle(np.array([[0.0, 0], [0, 1], [0, 2], [9, 9]]))
    array([0., 1.])
    """
    some = points[:: max(1, len(points) // _DRAWN)]
    gaps = np.square(some[:, None] - some).sum(axis=2)
    k = max(1, len(some) // 2)
    near = np.partition(gaps, k, axis=1)[:, : k + 1] if len(some) > 1 else gaps
    middle: Doubles = some[int(near.mean(axis=1).argmin())]
    return middle


def _find_colour(code: int) -> str:
    from matplotlib.colors import to_hex, to_rgb

    turn, place = divmod(code, len(_COLOURS))
    red, green, blue = (part * (1, 0.72, 0.5)[turn % 3] for part in to_rgb(_COLOURS[place]))
    return str(to_hex((red, green, blue)))


@contextlib.contextmanager
def _without_network() -> Iterator[Any]:
    """Import what draws the map, which would fetch fonts, and keep it from that.

    Yields
    ------
    callable
        ``datamapplot.render_plot``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from datamapplot import plot_rendering

    with mock.patch.object(plot_rendering, "get_google_font", return_value=None):
        yield plot_rendering.render_plot
