"""Images in: where they are listed, how one is read, and the table they make."""

from bioprobe.images.image_table import ImageTable
from bioprobe.images.reading import ImageFacts, decode_image, read_facts
from bioprobe.images.source import find_images, list_table

__all__ = ["ImageFacts", "ImageTable", "decode_image", "find_images", "list_table", "read_facts"]
