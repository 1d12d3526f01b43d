"""What texts say of an image: classes from prompts or a text head, and taxa that a user adds."""
