"""Order without labels: clusters of pictures, and a line along which neighbours are alike."""
