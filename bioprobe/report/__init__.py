"""One page that tells what was found."""
