"""What pictures do to answers: altered copies, and how vectors and answers move with them."""

from bioprobe.robustness.trial import Robustness

__all__ = ["Robustness"]
