"""Zero-shot on pictures of camera traps, as published: one species a picture, and several."""
