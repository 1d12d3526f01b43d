"""Probabilities that mean what they say, and when not to answer."""
