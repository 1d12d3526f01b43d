"""What tuning tries, and what came of it."""
