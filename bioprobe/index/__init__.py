"""Nearest neighbours: a FAISS index over a store, and search by picture and text."""

from bioprobe.index.neighbor_index import NeighborIndex
from bioprobe.index.search import Neighbors, embed_query_image, search

__all__ = ["NeighborIndex", "Neighbors", "embed_query_image", "search"]
