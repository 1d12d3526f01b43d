"""Classifiers that learn from the vectors of labelled images."""
