"""Figures of answers, flat and on the tree."""
