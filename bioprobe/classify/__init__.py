"""Classes for images: predictions, zero-shot from text, and how often they are right."""

from bioprobe.classify.accuracy import Accuracy
from bioprobe.classify.measured import measure_accuracy
from bioprobe.classify.predictions import Predictions
from bioprobe.classify.zeroshot import find_top_classes, zeroshot

__all__ = ["Accuracy", "Predictions", "find_top_classes", "measure_accuracy", "zeroshot"]
