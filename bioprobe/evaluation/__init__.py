"""Methods side by side on images that none has learnt from, with intervals and tests."""

from bioprobe.evaluation.evaluation import evaluate
from bioprobe.evaluation.result import Evaluation, MethodResult
from bioprobe.evaluation.saving import list_evaluations, read_evaluation, write_evaluation

__all__ = [
    "Evaluation",
    "MethodResult",
    "evaluate",
    "list_evaluations",
    "read_evaluation",
    "write_evaluation",
]
