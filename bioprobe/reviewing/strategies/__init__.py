"""Ways to choose what is looked at next: each is one function in one file, found by its name."""
