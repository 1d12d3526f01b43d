"""Which rows of a table meet a condition, in a language that can neither run nor write anything.

A condition is written as in Python, of these parts alone:

- columns by their names, in backticks where the name has spaces or the like: ```my site```;
- texts, numbers, ``True``, ``False`` and ``None``;
- ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, also chained: ``200 < width_px <= 500``;
- ``in`` and ``not in`` a list: ``family in ['Felidae', 'Canidae']``;
- ``and``, ``or``, ``not``, also as ``&``, ``|``, ``~``; parentheses;
- ``isna(column)``, ``notna(column)`` and ``contains(column, 'text')``, or as pandas has them:
  ``column.isna()``, ``column.notna()``, ``column.str.contains('pattern')``,
  ``column.str.startswith('text')``, ``column.str.endswith('text')``;
- ``index``, the number of a row, where no column has that name: ``index < 100``;
- ``+``, ``-``, ``*``, ``/``, ``//``, ``%`` of numbers: ``width_px / height_px > 1.5``.

``class`` is the rank, although Python means something else by the word. A rank that is not known
is ``''``. A hole meets ``isna``, ``!=`` and ``not in``, and nothing else. Dates are compared with
dates written as texts: ``when >= '2020-05-01'``.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import keyword
import operator
import re
import unicodedata
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError

if TYPE_CHECKING:
    import pandas as pd

    Column: TypeAlias = pd.Series[Any]

Truth: TypeAlias = npt.NDArray[np.bool_]
Literal: TypeAlias = str | int | float | None  # True and False are whole numbers

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
# Without powers, which have no end: 9**9**9.
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_HOLES = {"isna": True, "isnull": True, "notna": False, "notnull": False}
# What pandas knows beside the text, all of it True or False.
_FLAGS = {"contains": {"case", "regex", "na"}, "startswith": {"na"}, "endswith": {"na"}}
_REMEDY = (
    "write columns, texts, numbers, lists, comparisons, in, and, or, not, isna(column), "
    "notna(column), contains(column, 'text')"
)


def match_rows(frame: pd.DataFrame, condition: str) -> Truth:
    """Tell which rows of a table meet a condition.

    Parameters
    ----------
    frame : DataFrame
        Table whose columns are named by texts.
    condition : str
        In the language of this module.

    Returns
    -------
    ndarray of bool, shape (n_rows,)

    Raises
    ------
    SelectionError
        If the condition cannot be read, names no column of the table, compares what cannot be
        compared, or is not true or false for each row.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"family": ["Felidae", "Canidae"], "width_px": [640, 320]})
    >>> match_rows(frame, "family in ['Felidae', 'Ursidae'] and width_px > 500").tolist()
    [True, False]
    """
    try:
        code, quoted = _replace_quoted(condition)
        return _Condition(frame, quoted).find_truth(_parse(code))
    except _NotTrueOrFalseError as error:
        msg = f"the condition {_shorten(condition)!r} is not true or false for each image{error}"
        raise SelectionError(msg) from None
    except (RecursionError, MemoryError):
        reason = "it is nested too deeply; write it flatter"
    except Exception as error:  # noqa: BLE001 - pandas lets errors of operands through
        reason = str(error)
    columns = ", ".join(_quote(str(column)) for column in frame.columns)
    msg = f"the condition {_shorten(condition)!r} cannot be applied ({reason}); columns: {columns}"
    raise SelectionError(msg)


class _NotTrueOrFalseError(ValueError):
    """A part should be true or false and is not; the message says what to write instead."""


def _replace_quoted(condition: str) -> tuple[str, dict[str, str]]:
    """Return a condition as Python reads it, and the columns behind the names made up for it."""
    quoted: dict[str, str] = {}

    def make_up(column: str) -> str:
        name = f"__quoted_{len(quoted)}__"
        quoted[name] = column
        return name

    parts = re.split(r"('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`)", condition.strip())
    # At the odd places stands what is between quotes or backticks.
    for place, part in enumerate(parts):
        if place % 2 == 0:
            words = re.sub(r"\bclass\b", lambda found: make_up(found[0]), part)
            parts[place] = words.replace("&", " and ").replace("|", " or ")
        elif part.startswith("`"):
            parts[place] = make_up(part[1:-1])
    return "".join(parts), quoted


def _parse(code: str) -> ast.expr:
    with warnings.catch_warnings():
        # Python warns of a backslash that it does not know; patterns have many.
        warnings.simplefilter("ignore")
        try:
            statements = ast.parse(code).body
        except SyntaxError as error:
            msg = f"{error.msg}; {_REMEDY}"
            raise ValueError(msg) from None
    match statements:
        case [ast.Expr(value=expression)]:
            return expression
        case [ast.Assign()]:
            remedy = "; write == to compare"
            raise _NotTrueOrFalseError(remedy)
    msg = f"it is not one expression; {_REMEDY}"
    raise ValueError(msg)


@dataclasses.dataclass(frozen=True)
class _Condition:
    """Finds the value of each part of a condition; a part that it does not know is refused."""

    frame: pd.DataFrame
    quoted: Mapping[str, str]

    @functools.cached_property
    def _columns(self) -> dict[str, str]:
        # Python reads names in normal form, however they were typed.
        normal = {unicodedata.normalize("NFKC", name): name for name in self.frame.columns}
        return normal | {name: name for name in self.frame.columns}

    def find_truth(self, node: ast.expr) -> Truth:
        match node:
            case ast.BoolOp(op=operation, values=parts):
                join = np.logical_and if isinstance(operation, ast.And) else np.logical_or
                return _join(join, [self.find_truth(part) for part in parts])
            case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=part):
                return ~self.find_truth(part)
            case ast.Compare(left=left, ops=operations, comparators=others):
                pairs = zip([left, *others], operations, others, strict=False)
                return _join(np.logical_and, [self._compare(*pair) for pair in pairs])
            case ast.Call():
                return self._call(node)
        value = self._find_value(node)
        if isinstance(value, Literal) or value.dtype != "bool":
            remedy = f"; compare {self._show(node)} with something"
            raise _NotTrueOrFalseError(remedy)
        return np.asarray(value)

    def _find_value(self, node: ast.expr) -> Column | Literal:
        match node:
            case ast.Name():
                return self._find_column(node)
            case ast.Constant(value=str() | int() | float() | None as literal):
                return literal
            case ast.UnaryOp(op=ast.USub(), operand=part):
                return self._find_number(part, sign=-1)
            case ast.UnaryOp(op=ast.UAdd(), operand=part):
                return self._find_number(part)
            case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _ARITHMETIC:
                numbers = self._find_number(left), self._find_number(right)
                result: Column | float = _ARITHMETIC[type(operation)](*numbers)
                return result
            case ast.BoolOp() | ast.UnaryOp() | ast.Compare() | ast.Call():
                import pandas as pd

                return pd.Series(self.find_truth(node), index=self.frame.index)
        msg = f"{self._show(node)} is no part of a condition; {_REMEDY}"
        raise ValueError(msg)

    def _find_number(self, node: ast.expr, sign: int = 1) -> Column | float:
        value: Any = self._find_value(node)
        if getattr(value, "dtype", np.asarray(value).dtype).kind not in "iuf":
            msg = f"{self._show(node)} is no number; only numbers are added and multiplied"
            raise ValueError(msg)
        number: Column | float = sign * value
        return number

    def _find_column(self, node: ast.expr) -> Column:
        import pandas as pd

        if not isinstance(node, ast.Name):
            msg = f"{self._show(node)} is no column; {_REMEDY}"
            raise TypeError(msg)
        name = self.quoted.get(node.id, node.id)
        if name == "index" and name not in self._columns:
            return self.frame.index.to_series()
        if name not in self._columns:
            close = difflib.get_close_matches(name, self._columns, n=1)
            hint = f"; did you mean {_quote(close[0])}?" if close else ""
            msg = f"there is no column {_quote(name)}{hint}"
            raise ValueError(msg)
        column = self.frame[self._columns[name]]
        is_of_days = column.dtype == object and pd.api.types.infer_dtype(column) == "date"
        return pd.to_datetime(column) if is_of_days else column

    def _compare(self, left: ast.expr, operation: ast.cmpop, right: ast.expr) -> Truth:
        match operation, left, right:
            case ast.In() | ast.NotIn(), _, _:
                return self._find_members(left, right, operation)
            case ast.Eq() | ast.NotEq(), _, ast.List() | ast.Tuple():
                return self._find_members(left, right, operation)
            case ast.Eq() | ast.NotEq(), ast.List() | ast.Tuple(), _:
                return self._find_members(right, left, operation)
            case ast.Is() | ast.IsNot(), _, _:
                msg = "is compares nothing here; write ==, isna(column) or notna(column)"
                raise ValueError(msg)
        one, other = self._find_value(left), self._find_value(right)
        if isinstance(one, Literal) and isinstance(other, Literal):
            msg = f"neither {self._show(left)} nor {self._show(right)} is a column"
            raise TypeError(msg)
        found = _COMPARISONS[type(operation)](_read_date(one, other), _read_date(other, one))
        if found.dtype != bool:
            # Columns that keep holes apart from values answer with a hole.
            found = found.fillna(isinstance(operation, ast.NotEq)).astype(bool)
        return np.asarray(found)

    def _find_members(self, left: ast.expr, right: ast.expr, operation: ast.cmpop) -> Truth:
        column = self._find_column(left)
        match right:
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                values = [self._find_value(part) for part in parts]
            case ast.Constant(value=str() as text):
                values = [text]
            case _:
                values = [column]
        if not all(isinstance(value, Literal) for value in values):
            msg = (
                f"{self._show(right)} is no list of texts or numbers; write "
                "column in ['one', 'other'], or contains(column, 'text')"
            )
            raise ValueError(msg)
        found = np.asarray(column.isin([_read_date(value, column) for value in values]))
        return found if isinstance(operation, ast.In | ast.Eq) else ~found

    def _call(self, node: ast.Call) -> Truth:
        match node:
            case (
                ast.Call(func=ast.Name(id=word), args=[column], keywords=[])
                | ast.Call(func=ast.Attribute(value=column, attr=word), args=[], keywords=[])
            ) if word in _HOLES:
                return np.asarray(self._find_column(column).isna() == _HOLES[word])
            case ast.Call(func=ast.Name(id="contains"), args=[column, text], keywords=flags):
                options = {"regex": False, **self._find_flags("contains", flags)}
                return _find_texts(self._find_column(column), "contains", self._read(text), options)
            case ast.Call(
                func=ast.Attribute(value=ast.Attribute(value=column, attr="str"), attr=word),
                args=[text],
                keywords=flags,
            ) if word in _FLAGS:
                options = self._find_flags(word, flags)
                return _find_texts(self._find_column(column), word, self._read(text), options)
        msg = f"{self._show(node)} is no part of a condition; {_REMEDY}"
        raise ValueError(msg)

    def _read(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(value=str() as text):
                return text
        msg = f"{self._show(node)} is no text in quotes"
        raise ValueError(msg)

    def _find_flags(self, word: str, nodes: Sequence[ast.keyword]) -> dict[str, bool]:
        flags = {}
        for node in nodes:
            match node:
                case ast.keyword(arg=str() as name, value=ast.Constant(value=bool() as flag)) if (
                    name in _FLAGS[word]
                ):
                    flags[name] = flag
                case _:
                    known = ", ".join(sorted(_FLAGS[word]))
                    msg = f"{word} takes {known} = True or False, got {self._show(node.value)}"
                    raise ValueError(msg)
        return flags

    def _show(self, node: ast.expr) -> str:
        shown = ast.unparse(node)
        for name, column in self.quoted.items():
            shown = shown.replace(name, _quote(column))
        return _shorten(shown)


def _join(join: np.ufunc, truths: Sequence[Truth]) -> Truth:
    return np.asarray(join.reduce(truths))


def _read_date(value: Any, beside: Any) -> Any:  # noqa: ANN401 - a column or a literal
    """Return a text that is compared with a column of dates as a date; all else as it is."""
    import pandas as pd

    if not isinstance(value, str) or isinstance(beside, Literal) or beside.dtype.kind != "M":
        return value
    date, zone = pd.Timestamp(value), beside.dt.tz
    return date.tz_localize(zone) if date.tz is None else date.tz_convert(zone)


def _find_texts(column: Column, word: str, text: str, flags: Mapping[str, bool]) -> Truth:
    """Tell which texts of a column contain, start with or end with another.

    Patterns are those of RE2, which takes no longer for a wicked one.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if pd.api.types.infer_dtype(column) not in {"string", "empty"}:
        msg = f"{word} searches texts, and {_quote(str(column.name))} holds none"
        raise ValueError(msg)
    texts = pa.array(column, from_pandas=True).cast(pa.large_string())
    if word == "contains":
        search = pc.match_substring_regex if flags.get("regex", True) else pc.match_substring
        found = search(texts, text, ignore_case=not flags.get("case", True))
    else:
        found = {"startswith": pc.starts_with, "endswith": pc.ends_with}[word](texts, text)
    return np.asarray(found.fill_null(flags.get("na", False)), dtype=bool)


def _quote(column: str) -> str:
    """Write a column as a condition must name it."""
    plain = column.isidentifier() and not keyword.iskeyword(column)
    return column if plain else f"`{column}`"


def _shorten(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:199]}…"
