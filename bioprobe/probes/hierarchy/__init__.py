"""Classes that form a tree: index arrays, the loss at every rank, and its minimum."""
