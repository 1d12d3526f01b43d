"""Text embeddings that came from elsewhere."""
