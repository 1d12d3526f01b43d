"""What to look at next: the queue of a review that learns from each batch of answers."""
