"""Images in: how one is read, and the table they make."""

from typing import TYPE_CHECKING

from bioprobe.doors import open_door
from bioprobe.images.image_table import ImageTable

if TYPE_CHECKING:
    from bioprobe.images.reading import ImageFacts, decode_image, read_facts

__all__ = ["ImageFacts", "ImageTable", "decode_image", "read_facts"]

__getattr__ = open_door(
    __name__, dict.fromkeys(("ImageFacts", "decode_image", "read_facts"), "reading")
)
