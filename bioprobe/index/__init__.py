"""Nearest neighbours: exact or by a FAISS index, and search by picture, text and row."""

from bioprobe.index.enough import Background, Enough
from bioprobe.index.neighbor_index import NeighborIndex
from bioprobe.index.question import Question, Terms, compose_question, find_in_other
from bioprobe.index.search import Neighbors, join_neighbors, search

__all__ = [
    "Background",
    "Enough",
    "NeighborIndex",
    "Neighbors",
    "Question",
    "Terms",
    "compose_question",
    "find_in_other",
    "join_neighbors",
    "search",
]
