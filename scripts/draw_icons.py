"""Draw the icons that a phone shows of the installed page, as the icon of the page has them."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

_STATIC = Path(__file__).parents[1] / "bioprobe" / "web" / "static"
_GREEN, _LEAF = "#256b42", "#d7efdf"
# Of drawing large and making it smaller, so that edges are smooth.
_SCALE = 4
# The leaf in a square of 64, by its edge from the stalk to the tip and back.
_TOP = ((14, 44), (14, 24), (28, 13), (51, 13))
_BACK = ((51, 13), (51, 36), (40, 50), (20, 50))
_STALK = ((20, 50), (17, 50), (14, 48), (14, 44))
_VEIN = ((10, 55), (18, 42), (28, 32), (40, 25))


def _bend(points: tuple[tuple[int, int], ...], n: int = 40) -> list[tuple[float, float]]:
    """Return places along a cubic curve."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = points
    steps = [at / n for at in range(n + 1)]
    return [
        (
            (1 - t) ** 3 * ax + 3 * (1 - t) ** 2 * t * bx + 3 * (1 - t) * t**2 * cx + t**3 * dx,
            (1 - t) ** 3 * ay + 3 * (1 - t) ** 2 * t * by + 3 * (1 - t) * t**2 * cy + t**3 * dy,
        )
        for t in steps
    ]


def draw_icon(size_px: int, *, masked: bool = False) -> Image.Image:
    """Draw the icon; a masked one fills its square, and keeps to the middle that all masks show."""
    whole = size_px * _SCALE
    image = Image.new("RGBA", (whole, whole), _GREEN if masked else (0, 0, 0, 0))
    pen = ImageDraw.Draw(image)
    if not masked:
        pen.rounded_rectangle((0, 0, whole - 1, whole - 1), radius=whole * 14 / 64, fill=_GREEN)
    share = 0.72 if masked else 1.0
    margin = whole * (1 - share) / 2

    def place(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(margin + share * whole * x / 64, margin + share * whole * y / 64)
                for x, y in points]  # fmt: skip

    pen.polygon(place([*_bend(_TOP), *_bend(_BACK), *_bend(_STALK)]), fill=_LEAF)
    width = round(share * whole * 4 / 64)
    pen.line(place(_bend(_VEIN)), fill=_GREEN, width=width, joint="curve")
    x, y = place([(40.0, 25.0)])[0]
    radius = share * whole * 5 / 64
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_GREEN)
    return image.resize((size_px, size_px), Image.Resampling.LANCZOS)


def main() -> None:
    """Write the icons beside the page."""
    for name, size_px, masked in (("icon-192", 192, False), ("icon-512", 512, False),
                                  ("icon-mask-512", 512, True)):  # fmt: skip
        draw_icon(size_px, masked=masked).quantize(32).save(_STATIC / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
