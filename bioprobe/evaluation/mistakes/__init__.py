"""Where a method errs."""
