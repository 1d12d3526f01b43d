"""See why: where the model looked toward an answer, and which pictures speak for and against it."""
