"""Images in: how one is read, and the table they make."""

from bioprobe.images.image_table import ImageTable
from bioprobe.images.reading import ImageFacts, decode_image, read_facts

__all__ = ["ImageFacts", "ImageTable", "decode_image", "read_facts"]
