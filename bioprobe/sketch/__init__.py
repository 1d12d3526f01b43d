"""The embedded ``sketch`` model and the pictures it was taught with.

The pictures are drawn by this package; the model in ``weights/`` was trained on them by
``scripts/train_sketch.py``. It is for learning the tool, not for photographs.
"""

from bioprobe.sketch.drawing import draw_animal
from bioprobe.sketch.scenes import SCENES, draw_scene, write_pictures
from bioprobe.sketch.tree import SketchSpecies, read_species

__all__ = [
    "SCENES",
    "SketchSpecies",
    "draw_animal",
    "draw_scene",
    "read_species",
    "write_pictures",
]
