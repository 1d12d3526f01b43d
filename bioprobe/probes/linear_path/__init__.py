"""Solver of the multinomial logistic regression: many regularisation values and folds together."""
