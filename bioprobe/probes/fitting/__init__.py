"""A probe fitted on a store: what it learns from, and how values are chosen."""
