"""Each kind of source, as a frame with one row an image."""
