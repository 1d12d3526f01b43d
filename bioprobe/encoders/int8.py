"""How a model in 8-bit integers is named: it is another encoder than the exact one."""

from __future__ import annotations

from bioprobe.encoders.views import add_views, split_views
from bioprobe.errors import BioprobeError

INT8 = "int8"
_SUFFIX = "+int8"


def add_int8(name: str) -> str:
    """Return the name of a model in int8, of as many views.

    Examples
    --------
    >>> add_int8("bioclip-2"), add_int8("bioclip-2+int8"), add_int8("bioclip-2+views4")
    ('bioclip-2+int8', 'bioclip-2+int8', 'bioclip-2+int8+views4')
    """
    base, n_views = split_views(name)
    named = f"{split_int8(base)[0]}{_SUFFIX}"
    return named if n_views == 1 else add_views(named, n_views)


def split_int8(name: str) -> tuple[str, bool]:
    """Return a model's name without ``+int8``, and whether it said that.

    Examples
    --------
    >>> split_int8("bioclip-2+int8"), split_int8("bioclip-2")
    (('bioclip-2', True), ('bioclip-2', False))
    """
    return name.removesuffix(_SUFFIX), name.endswith(_SUFFIX)


def check_precision(name: str, precision: str) -> None:
    """Refuse another precision of a model that is named as one in int8.

    Raises
    ------
    BioprobeError
        If it is asked for.
    """
    if split_int8(split_views(name)[0])[1] and precision not in {"auto", INT8}:
        msg = f"{name} is in int8, got --precision {precision}; leave the option out"
        raise BioprobeError(msg)
