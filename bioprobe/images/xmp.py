"""Answers as keywords that photo programs read: XMP, beside a picture or in a copy of it.

Lightroom reads the tree of a keyword in ``lr:hierarchicalSubject``, parted by ``|``; digiKam in
``digiKam:TagsList``, parted by ``/``; all read ``dc:subject``. Boxes are regions of the Metadata
Working Group, which lie in the picture as it is stored, not as it is shown.

References
----------
ISO 16684-1 (XMP); Metadata Working Group, *Guidelines for Handling Image Metadata* 2.0, 5.9.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from bioprobe.images.regions import Region

_URIS = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
}
_HEAD = b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_TAIL = b'\n<?xpacket end="w"?>\n'
_SEGMENT_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
# A segment of a JPEG says its length in two bytes.
_MOST_BYTES = 65_533


@dataclasses.dataclass(frozen=True)
class Keyword:
    """What is said of a picture, or of a region in it.

    Parameters
    ----------
    names : tuple of str
        From the broadest to the finest, such as a lineage; ≥ 1.
    region : Region, optional
        Where it is.
    others : tuple of str
        Names that stand beside the finest, such as a common one.
    """

    names: tuple[str, ...]
    region: Region | None = None
    others: tuple[str, ...] = ()


def write_xmp(
    keywords: Sequence[Keyword], *, width_px: int = 0, height_px: int = 0, orientation: int = 1
) -> bytes:
    """Write keywords as an XMP packet, as it stands in a file beside a picture.

    Parameters
    ----------
    keywords : sequence of Keyword
    width_px, height_px : int
        Of the picture when upright; needed where a keyword has a region.
    orientation : int
        EXIF orientation of the file, 1 to 8.

    Returns
    -------
    bytes
        UTF-8.
    """
    from bioprobe import __version__

    for prefix, uri in _URIS.items():
        ET.register_namespace(prefix, uri)
    root = ET.Element(_name("x", "xmpmeta"), {_name("x", "xmptk"): f"bioprobe {__version__}"})
    graph = ET.SubElement(root, _name("rdf", "RDF"))
    said = ET.SubElement(graph, _name("rdf", "Description"), {_name("rdf", "about"): ""})
    words = [word for one in keywords for word in (one.names[-1], *one.others)]
    _list(said, "dc", "subject", "Bag", words)
    # What parts names may stand in none of them.
    lines = ["|".join(name.replace("|", "/") for name in one.names) for one in keywords]
    _list(said, "lr", "hierarchicalSubject", "Bag", lines)
    paths = ["/".join(name.replace("/", "|") for name in one.names) for one in keywords]
    _list(said, "digiKam", "TagsList", "Seq", paths)
    boxes = [(one, one.region) for one in keywords if one.region is not None]
    if boxes:
        _write_regions(said, boxes, width_px, height_px, orientation)
    ET.indent(root, " ")
    written: bytes = ET.tostring(root, "utf-8")
    return _HEAD + written + _TAIL


def insert_xmp(data: bytes, packet: bytes) -> bytes:
    """Return a JPEG with an XMP packet; another kind of file as it is.

    Parameters
    ----------
    data : bytes
        Content of a file without XMP.
    packet : bytes
        As :func:`write_xmp` writes it.

    Raises
    ------
    ValueError
        If the packet is too long for a JPEG.
    """
    body = _SEGMENT_HEAD + packet
    if data[:3] != b"\xff\xd8\xff":
        return data
    if len(body) > _MOST_BYTES:
        msg = f"{len(body):,} bytes of keywords, and a JPEG takes {_MOST_BYTES:,}"
        raise ValueError(msg)
    segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    # Behind the segments that must come first: JFIF, and EXIF.
    place = 2
    while data[place : place + 2] in (b"\xff\xe0", b"\xff\xe1"):
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return data[:place] + segment + data[place:]


def read_orientation(data: bytes) -> int:
    """Return the EXIF orientation of a picture, 1 where it says none."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            found = image.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001 - whoever shows the picture says what is wrong with it
        return 1
    return found if found in range(1, 9) else 1


def _name(prefix: str, name: str) -> str:
    return f"{{{_URIS[prefix]}}}{name}"


def _list(parent: ET.Element, prefix: str, name: str, kind: str, texts: Sequence[str]) -> None:
    texts = list(dict.fromkeys(text for text in texts if text))
    if not texts:
        return
    items = ET.SubElement(ET.SubElement(parent, _name(prefix, name)), _name("rdf", kind))
    for text in texts:
        ET.SubElement(items, _name("rdf", "li")).text = _clean(text)


def _clean(text: str) -> str:
    # What XML 1.0 has no character for.
    return "".join(c for c in text if c in "\t\n\r" or (c >= " " and not 0xD800 <= ord(c) < 0xE000))


def _write_regions(
    parent: ET.Element, boxes: Sequence[tuple[Keyword, Region]], width_px: int, height_px: int,
    orientation: int,
) -> None:  # fmt: skip
    if orientation >= 5:
        width_px, height_px = height_px, width_px
    resource = {_name("rdf", "parseType"): "Resource"}
    regions = ET.SubElement(parent, _name("mwg-rs", "Regions"), resource)
    size = {"w": str(width_px), "h": str(height_px), "unit": "pixel"}
    ET.SubElement(
        regions, _name("mwg-rs", "AppliedToDimensions"),
        {_name("stDim", key): value for key, value in size.items()},
    )  # fmt: skip
    listed = ET.SubElement(
        ET.SubElement(regions, _name("mwg-rs", "RegionList")), _name("rdf", "Bag")
    )
    for keyword, box in boxes:
        x, y, width, height = lay(box, orientation)
        item = ET.SubElement(listed, _name("rdf", "li"))
        one = ET.SubElement(
            item, _name("rdf", "Description"), {_name("mwg-rs", "Name"): _clean(keyword.names[-1])}
        )
        area = {"x": x + width / 2, "y": y + height / 2, "w": width, "h": height}
        written = {_name("stArea", key): f"{value:.6f}" for key, value in area.items()}
        written[_name("stArea", "unit")] = "normalized"
        ET.SubElement(one, _name("mwg-rs", "Area"), written)


def lay(box: Region, orientation: int) -> tuple[float, float, float, float]:
    """Return a box of the upright picture as it lies in the picture that is stored.

    Parameters
    ----------
    box : Region
    orientation : int
        EXIF orientation, 1 to 8.

    Returns
    -------
    tuple of float
        x, y, width and height, relative.

    Examples
    --------
    >>> lay(Region(0.125, 0.25, 0.5, 0.25), 6)  # turned by a quarter to be upright
    (0.25, 0.375, 0.25, 0.5)
    """
    x, y, width, height = box.x, box.y, box.width, box.height
    right, lower = 1 - x - width, 1 - y - height
    return {
        1: (x, y, width, height),
        2: (right, y, width, height),
        3: (right, lower, width, height),
        4: (x, lower, width, height),
        5: (y, x, height, width),
        6: (y, right, height, width),
        7: (lower, right, height, width),
        8: (lower, x, height, width),
    }[orientation]
