"""What makes the files that ship; run as modules from the top of the repository."""
