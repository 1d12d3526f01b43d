"""Answers out: predictions and labels in the formats of the tools that people work with."""

from bioprobe.exporting.answers import (
    Answers,
    join_predictions,
    list_threatened,
    read_predictions,
    take_labels,
)
from bioprobe.exporting.form import AnswerFormat, ExportOptions, read_about
from bioprobe.exporting.places import Grid, Sensitive

__all__ = [
    "AnswerFormat",
    "Answers",
    "ExportOptions",
    "Grid",
    "Sensitive",
    "join_predictions",
    "list_threatened",
    "read_about",
    "read_predictions",
    "take_labels",
]
