"""What is asked of which images, and what comes back."""
