"""How a quantised model is named: it is another encoder than the exact one."""

from __future__ import annotations

from bioprobe.encoders.views import add_views, split_views
from bioprobe.errors import BioprobeError

INT8, FP8 = "int8", "fp8"
#: Precisions whose vectors are near those of the model, and not the same.
QUANTISED = (INT8, FP8)


def add_quantised(name: str, precision: str) -> str:
    """Return the name of a model in one of :data:`QUANTISED`, of as many views.

    Examples
    --------
    >>> add_quantised("bioclip-2", "int8"), add_quantised("bioclip-2+fp8", "fp8")
    ('bioclip-2+int8', 'bioclip-2+fp8')
    >>> add_quantised("bioclip-2+views4", "fp8")
    'bioclip-2+fp8+views4'
    """
    base, n_views = split_views(name)
    named = f"{split_quantised(base)[0]}+{precision}"
    return named if n_views == 1 else add_views(named, n_views)


def split_quantised(name: str) -> tuple[str, str]:
    """Return a model's name without the precision it ends in, and that; ``""`` for none.

    Examples
    --------
    >>> split_quantised("bioclip-2+int8"), split_quantised("bioclip-2")
    (('bioclip-2', 'int8'), ('bioclip-2', ''))
    """
    found = next((one for one in QUANTISED if name.endswith(f"+{one}")), "")
    return name.removesuffix(f"+{found}"), found


def find_quantised(name: str) -> str:
    """Return the precision that a model's name says, of any views; ``""`` for none."""
    return split_quantised(split_views(name)[0])[1]


def check_precision(name: str, precision: str) -> None:
    """Refuse another precision of a model that is named as a quantised one.

    Raises
    ------
    BioprobeError
        If it is asked for.
    """
    stated = find_quantised(name)
    if stated and precision not in {"auto", stated}:
        msg = f"{name} is in {stated}, got --precision {precision}; leave the option out"
        raise BioprobeError(msg)
