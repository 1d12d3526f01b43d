"""The last blocks of an encoder trained on labelled pictures."""
