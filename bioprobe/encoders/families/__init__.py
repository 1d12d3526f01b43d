"""One module a library: how it loads a model and what it calls the embedding."""
