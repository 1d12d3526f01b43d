"""The Rare Species benchmark: zero-shot as published, and probes against trained networks."""
