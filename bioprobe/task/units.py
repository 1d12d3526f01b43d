"""How the answers to the rows of a sequence are put together: what is asked for."""

from __future__ import annotations

import dataclasses

from bioprobe.content import ContentRules
from bioprobe.errors import MisuseError

#: Rows of one sequence belong together.
SEQUENCE = "sequence"
#: How several answers become one, the default first.
RULES = ("log-mean", "mean", "max", "vote")
#: Best classes of a row that are pooled; the others share what is left of its probability.
DEPTH = 256


@dataclasses.dataclass(frozen=True)
class Pooling:
    """How rows are put together to sequences, and their answers to one.

    Parameters
    ----------
    column : str, optional
        That says the sequence of each row.
    gap_seconds : float, optional
        Pictures of one camera make a sequence that are no further apart.
    rule : {"log-mean", "mean", "max", "vote"}
        Mean of log-probabilities, which takes pictures for independent witnesses; mean and maximum
        of probabilities; number of pictures whose best class it is.
    content : ContentRules
        Thresholds by which boxes and answers say what a picture holds.
    """

    column: str | None = None
    gap_seconds: float | None = None
    rule: str = RULES[0]
    content: ContentRules = dataclasses.field(default_factory=ContentRules)

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            msg = f"a rule of pooling is {', '.join(RULES)}, got {self.rule!r}"
            raise MisuseError(msg)
