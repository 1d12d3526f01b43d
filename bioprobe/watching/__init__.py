"""What arrives in a folder: when a file is whole, what was done with it, and who is told."""
