"""Colours of text and of what it stands on, so that it can be read."""

from __future__ import annotations

from collections.abc import Sequence

from bioprobe.errors import MisuseError

# Of what is no text.
_LEAST_CONTRAST = 3.0
#: What a label stands on, and its letters.
PLATE, INK, FAINT_INK = "#15181c", "#ffffff", "#d0d5da"
#: Of what has no answer, and of contents that are no taxa.
GREY = FAINT_INK
#: Of what has no colour of its own.
PLAIN = "#ffd400"
#: Colours that people with any kind of colour vision tell apart, without black.
SERIES = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
"""Okabe and Ito 2008, *Color Universal Design*."""


def parse_colour(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue of a colour, 0 to 255.

    Parameters
    ----------
    colour : str
        As CSS writes it: ``#d81e05``, ``rgb(216, 30, 5)`` or ``red``.

    Raises
    ------
    MisuseError
        If it is no colour.
    """
    from PIL import ImageColor

    try:
        red, green, blue, *_ = ImageColor.getrgb(colour)
    except ValueError as error:
        msg = f"{colour!r} is no colour; expected one such as #d81e05 or red"
        raise MisuseError(msg) from error
    return red, green, blue


def measure_contrast(first: Sequence[int], second: Sequence[int]) -> float:
    """Return the contrast of two colours, 1 to 21.

    Parameters
    ----------
    first, second : sequence of int
        Red, green and blue, 0 to 255.

    References
    ----------
    Web Content Accessibility Guidelines 2.2, *contrast ratio* and *relative luminance*; text is to
    have 4.5 at least.

    Examples
    --------
    >>> round(measure_contrast((0, 0, 0), (255, 255, 255)), 2)
    21.0
    """
    one, other = sorted((_measure_luminance(first), _measure_luminance(second)))
    return (other + 0.05) / (one + 0.05)


def _measure_luminance(colour: Sequence[int]) -> float:
    shares = (value / 255 for value in colour)
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def choose_edge(colour: str) -> str:
    """Return what a line of a colour is framed by, so that one of both is seen on any ground.

    Examples
    --------
    >>> choose_edge("#f9e814") == PLATE, choose_edge("#000000") == INK
    (True, True)
    """
    is_dark = measure_contrast(parse_colour(colour), parse_colour(PLATE)) < _LEAST_CONTRAST
    return INK if is_dark else PLATE


def choose_ink(ground: str) -> str:
    """Return black or white, whichever is read better on a colour: one of them has 4.58 or more.

    Examples
    --------
    >>> choose_ink("#f9e814"), choose_ink("#d81e05")
    ('#000000', '#ffffff')
    """
    on = parse_colour(ground)
    dark, bright = measure_contrast(on, (0, 0, 0)), measure_contrast(on, (255, 255, 255))
    return "#000000" if dark >= bright else "#ffffff"
