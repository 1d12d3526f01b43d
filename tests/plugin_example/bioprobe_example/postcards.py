"""Templates as people write on postcards."""

POSTCARDS = ("look, {}!", "greetings from {} and the others.")
