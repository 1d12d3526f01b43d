"""Methods that learn from one part and answer another."""
