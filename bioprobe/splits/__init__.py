"""Which images learn, which choose, and which judge."""
