"""What the embedded model is taught: pictures' subjects, and what is said of each."""
