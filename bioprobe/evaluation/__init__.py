"""Methods side by side on images that none has learnt from, with intervals and tests."""

from bioprobe.evaluation.evaluate import Pictured, evaluate, measure_without
from bioprobe.evaluation.keeping import list_evaluations, read_evaluation, write_evaluation
from bioprobe.evaluation.result import Evaluation, MethodResult

__all__ = [
    "Evaluation",
    "MethodResult",
    "Pictured",
    "evaluate",
    "list_evaluations",
    "measure_without",
    "read_evaluation",
    "write_evaluation",
]
