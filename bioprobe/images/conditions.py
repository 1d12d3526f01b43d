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

Texts compare in the one form of :func:`bioprobe.names.unify`. A cell equals a text that says what
is written in it, also where it is a number: ``count == '3'``. A column of text equals a number that
is written in it: ``sequence_id == 20240513123045001``; one of measurements (``12.50``) compares by
value. ``<`` and ``>`` read the numbers in text.
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
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bioprobe.cells import find_kind, number_cells, write_cell
from bioprobe.errors import SelectionError
from bioprobe.names import unify
from bioprobe.result import name_some

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
_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt,
    ast.LtE: ast.GtE,
    ast.Gt: ast.Lt,
    ast.GtE: ast.LtE,
}
_QUOTED = re.compile(r"('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`)")
_NUMBER = re.compile(r"[+-]?([0-9]{1,400}\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_MEASUREMENT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
# What pandas knows beside the text, all of it True or False.
_FLAGS = {"contains": {"case", "regex", "na"}, "startswith": {"na"}, "endswith": {"na"}}
_REMEDY = (
    "write columns, texts, numbers, lists, comparisons, in, and, or, not, isna(column), "
    "notna(column), contains(column, 'text')"
)


def match_rows(frame: pd.DataFrame, condition: str, columns: Sequence[str] | None = None) -> Truth:
    """Tell which rows of a table meet a condition.

    Parameters
    ----------
    frame : DataFrame
        Table whose columns are named by texts.
    condition : str
        In the language of this module.
    columns : sequence of str, optional
        Those that there are, where the table has no others than the condition names.

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
    known = list(map(str, frame.columns if columns is None else columns))
    try:
        code, quoted = _replace_quoted(condition)
        return _Condition(frame, quoted, code, known).find_truth(_parse(code))
    except _NotTrueOrFalseError as error:
        msg = f"the condition {_shorten(condition)!r} is not true or false for each image{error}"
        raise SelectionError(msg) from None
    except (RecursionError, MemoryError):
        reason = "it is nested too deeply; write it flatter"
    except Exception as error:  # noqa: BLE001 - pandas lets errors of operands through
        reason = str(error)
    reason = _find_bare(condition, known) or reason
    msg = (
        f"the condition {_shorten(condition)!r} cannot be applied ({reason}); columns: "
        f"{', '.join(map(_quote, known))}"
    )
    raise SelectionError(msg)


def write_equality(column: str, value: str) -> str:
    """Return the condition that a column says a text.

    Examples
    --------
    >>> print(write_equality("my site", "N'Gorongoro"))
    `my site` == "N'Gorongoro"
    """
    return f"{_quote(column)} == {value!r}"


def list_names(condition: str) -> set[str]:
    """Return the names that a condition has, of columns and others; none where it cannot be read.

    Examples
    --------
    >>> sorted(list_names("family == 'Felidae' and `my site` > 3"))
    ['family', 'my site']
    """
    try:
        code, quoted = _replace_quoted(condition)
        parts = ast.walk(_parse(code))
        return {quoted.get(one.id, one.id) for one in parts if isinstance(one, ast.Name)}
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return set()


#: Values of a column that are named where a condition is met by nothing.
_N_NAMED = 5
_LEAST_LIKENESS = 60.0


def name_values_of(frame: pd.DataFrame, condition: str) -> str:
    """Say which values the columns have that a condition compares with a text or number.

    Returns
    -------
    str
        Of each column the nearest value to the one that is asked for and the most frequent ones;
        ``""`` where the condition compares none.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"family": ["Felidae", "Canidae", "Felidae"]})
    >>> name_values_of(frame, "family == 'Felidea'")
    "family has no 'Felidea' (nearest: 'Felidae'); it has 'Felidae' (2), 'Canidae' (1)"
    """
    code, quoted = _replace_quoted(condition)
    asked = _Condition(frame.reset_index(drop=True), quoted, code)
    nodes: dict[str, ast.Name] = {}
    wanted: dict[str, list[str]] = {}
    for part in ast.walk(_parse(code)):
        if not isinstance(part, ast.Compare):
            continue
        sides = [part.left, *part.comparators]
        literals = [one for side in sides for one in getattr(side, "elts", [side])]
        by_order = any(type(operation) in _TURNED for operation in part.ops)
        texts = [] if by_order else [*filter(None, map(asked.write, literals))]
        for side in sides:
            if isinstance(side, ast.Name) and len(sides) > sum(
                isinstance(s, ast.Name) for s in sides
            ):
                nodes[side.id] = side
                wanted.setdefault(side.id, []).extend(texts)
    return "; ".join(asked.name_values(nodes[name], texts) for name, texts in wanted.items())


class _NotTrueOrFalseError(ValueError):
    """A part should be true or false and is not; the message says what to write instead."""


def _replace_quoted(condition: str) -> tuple[str, dict[str, str]]:
    """Return a condition as Python reads it, and the columns behind the names made up for it."""
    quoted: dict[str, str] = {}

    def make_up(column: str) -> str:
        name = f"__quoted_{len(quoted)}__"
        quoted[name] = column
        return name

    parts = _QUOTED.split(condition.strip())
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
        except (SyntaxError, ValueError) as error:
            msg = f"{_explain(code, error)}; {_REMEDY}"
            raise ValueError(msg) from None
    match statements:
        case [ast.Expr(value=expression)]:
            return expression
        case [ast.Assign()]:
            remedy = "; write == to compare"
            raise _NotTrueOrFalseError(remedy)
    msg = f"it is not one expression; {_REMEDY}"
    raise ValueError(msg)


def _explain(code: str, error: Exception) -> str:
    """Say in words of our own where Python stops to understand."""
    reason, place = str(getattr(error, "msg", error)), getattr(error, "offset", None)
    if "leading zeros" in reason:
        return "a number that begins with 0 is a text: write it in quotes, '007'"
    if not code.strip():
        return "it is empty"
    lines = code.splitlines()
    line = lines[min(getattr(error, "lineno", None) or 1, len(lines)) - 1]
    rest = line[max(0, (place or 1) - 1) :].strip()
    return f"it cannot be read at {_shorten(rest)!r}" if rest else "it is not complete"


def _find_bare(condition: str, columns: Iterable[str]) -> str:
    """Say how a column is written that is not one word and stands bare; ``""`` where none does."""
    outside = unify(_QUOTED.sub(" ' ", condition))
    for column in sorted(columns, key=len, reverse=True):
        name = unify(column)
        is_word = name.isidentifier() or not any(map(str.isalpha, name))
        if not is_word and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", outside):
            return (
                f"the column {column} is not one word, so write it in backticks: "
                f"`{column}` == 'value'; in a shell put the whole condition in single quotes, or a "
                "backslash before each backtick"
            )
    return ""


@dataclasses.dataclass(frozen=True, eq=False)
class _Cells:
    """Cells of a column: the place of each row's among the distinct ones, -1 for a hole."""

    numbers: npt.NDArray[np.int64]
    distinct: npt.NDArray[np.object_]

    def find(self, hits: Iterable[bool]) -> Truth:
        """Tell of each row whether its cell is hit."""
        return np.array([*hits, False], dtype=bool)[self.numbers]

    @functools.cached_property
    def texts(self) -> npt.NDArray[np.object_]:
        """Text of each row, None for a hole."""
        return np.array([*self.distinct, None], dtype=object)[self.numbers]

    @functools.cached_property
    def amounts(self) -> list[int | float | None]:
        """Number that each distinct cell is, None where it is none; whole ones of any length."""
        return [
            None if not _NUMBER.fullmatch(text) else float(text) if _has_part(text) else int(text)
            for text in self.distinct.tolist()
        ]

    @functools.cached_property
    def are_measurements(self) -> bool:
        """Whether all are numbers as one writes what is measured, and one at least has a point."""
        plain = all(_MEASUREMENT.fullmatch(text) for text in self.distinct)
        return plain and any("." in text for text in self.distinct)


@dataclasses.dataclass(frozen=True)
class _Condition:
    """Finds the value of each part of a condition; a part that it does not know is refused."""

    frame: pd.DataFrame
    quoted: Mapping[str, str]
    code: str = ""
    known: Sequence[str] | None = None
    cells: dict[str, _Cells] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def _columns(self) -> dict[str, str]:
        # Python reads names in normal form, however they were typed.
        known = self.frame.columns if self.known is None else self.known
        normal = {unicodedata.normalize("NFKC", name): name for name in known}
        return normal | {name: name for name in known}

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
        if isinstance(node, ast.Name) and (flags := self._find_flags_in(node)) is not None:
            return flags
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

    def _find_flags_in(self, node: ast.Name) -> Truth | None:
        """Return a column of the words true and false without a hole as such; None for another."""
        if not _holds_text(self._find_column(node)):
            return None
        cells = self._find_cells(node)
        words = [text.lower() for text in cells.distinct]
        if not words or set(words) - {"true", "false"} or (cells.numbers < 0).any():
            return None
        return cells.find(word == "true" for word in words)

    def _find_cells(self, node: ast.expr) -> _Cells:
        column = self._find_column(node)
        key = ast.dump(node)
        if key not in self.cells:
            self.cells[key] = _Cells(*number_cells(column))
        return self.cells[key]

    def _find_number(self, node: ast.expr, sign: int = 1) -> Column | float:
        value: Any = self._find_value(node)
        if isinstance(node, ast.Name) and _holds_text(value):
            value = self._read_amounts(node)
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
        if name not in self._columns:
            name = unicodedata.normalize("NFKC", name)
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

    def write(self, node: ast.expr) -> str:
        """Return a literal as a cell would say it, ``""`` for what is none."""
        value = self._find_value(node) if isinstance(node, ast.Constant | ast.UnaryOp) else None
        return unify(write_cell(value)) if isinstance(value, str | int | float) else ""

    def name_values(self, node: ast.expr, wanted: Sequence[str]) -> str:
        """Say what a column has, and what of it is nearest to what it has not."""
        from rapidfuzz import process

        cells = self._find_cells(node)
        counts = np.bincount(cells.numbers[cells.numbers >= 0], minlength=len(cells.distinct))
        order = np.argsort(-counts, kind="stable")
        column = self._show(node)
        if not len(order):
            return f"{column} is empty in all of them"
        missing = [text for text in dict.fromkeys(wanted) if text not in set(cells.distinct)]
        said = ""
        if missing:
            near = process.extractOne(
                missing[0], cells.distinct.tolist(), score_cutoff=_LEAST_LIKENESS
            )
            said = f"no {missing[0]!r}{f' (nearest: {near[0]!r})' if near else ''}; it has "
        amounts = [amount for amount in cells.amounts if amount is not None]
        if not wanted and len(amounts) == len(cells.distinct):
            return f"{column} is {min(amounts)} to {max(amounts)}"
        shown = (f"{_shorten(cells.distinct[i])!r} ({counts[i]:,})" for i in order)
        return f"{column} has {said}{name_some(shown, _N_NAMED)}"

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
        nodes = (left, right)
        values: Sequence[Any] = (one, other)
        if isinstance(one, Literal):
            nodes, values, operation = (right, left), (other, one), _turn(operation)
        if isinstance(values[1], Literal):
            found = self._compare_literal(nodes, operation, values[1])
            if found is not None:
                return found
        else:
            values = self._find_alike(nodes, values, by_order=type(operation) in _TURNED)
        return _apply(operation, *values)

    def _compare_literal(
        self, nodes: tuple[ast.expr, ast.expr], operation: ast.cmpop, value: Literal
    ) -> Truth | None:
        """Compare the cells of a column with a literal; None where pandas compares the values."""
        if type(operation) in _TURNED:
            return self._find_beyond(nodes[0], operation, value)
        if not isinstance(nodes[0], ast.Name):
            return None
        found = self._find_equal(nodes[0], [nodes[1]])
        return found if isinstance(operation, ast.Eq) else ~found

    def _find_equal(self, node: ast.expr, parts: Sequence[ast.expr]) -> Truth:
        """Tell which cells of a column equal one of several texts or numbers."""
        column, found = self._find_column(node), np.zeros(len(self.frame), dtype=bool)
        values = [(part, self._find_value(part)) for part in parts]
        if column.dtype.kind == "M":
            dates = [_read_date(value, column) for _, value in values if value is not None]
            return np.asarray(column.isin(dates))
        said = [(part, value) for part, value in values if not isinstance(value, str | None)]
        texts = {unify(value) for _, value in values if isinstance(value, str)}
        if said and not _holds_text(column):
            for kind in (int, float):
                found |= np.asarray(column.isin([v for _, v in said if isinstance(v, kind)]))
        elif said:
            texts |= self._write_numbers(node, said)
        if texts:
            found |= self._find_cells(node).find(map(texts.__contains__, self._list_cells(node)))
        return found

    def _list_cells(self, node: ast.expr) -> list[str]:
        return [str(text) for text in self._find_cells(node).distinct]

    def _write_numbers(self, node: ast.expr, said: Sequence[tuple[ast.expr, Any]]) -> set[str]:
        """Return the cells of a column of text that numbers, True or False stand for."""
        cells = self._find_cells(node)
        wanted = {value for _, value in said}
        if cells.are_measurements:
            pairs = zip(cells.distinct, cells.amounts, strict=True)
            return {text for text, amount in pairs if amount in wanted}
        present, texts = set(cells.distinct), set()
        for part, value in said:
            if isinstance(value, bool):
                texts |= {text for text in present if text.lower() == str(value).lower()}
            else:
                # As it is written in the condition: 1e5 is no 100000.0.
                written = self._find_written(part)
                texts.add(written if written in present else write_cell(value))
        return texts

    def _find_written(self, node: ast.expr) -> str:
        line = self._lines[node.lineno - 1]
        return line[node.col_offset : node.end_col_offset].decode()

    @functools.cached_property
    def _lines(self) -> list[bytes]:
        return self.code.encode().split(b"\n")

    def _find_beyond(self, node: ast.expr, operation: ast.cmpop, value: Literal) -> Truth | None:
        """Compare a column of text by order with a literal; None for a column of another kind."""
        import pandas as pd

        column, compare = self._find_value(node), _COMPARISONS[type(operation)]
        if isinstance(column, Literal) or isinstance(column.dtype, pd.CategoricalDtype):
            return None
        if isinstance(value, str) and column.dtype.kind in "iufb":
            msg = f"{self._show(node)} holds numbers, {value!r} is a text; leave the quotes out"
            raise TypeError(msg)
        if not isinstance(node, ast.Name) or not _holds_text(column):
            return None
        cells = self._find_cells(node)
        if value is None:
            return np.zeros(len(column), dtype=bool)
        if isinstance(value, str):
            return cells.find(compare(text, unify(value)) for text in cells.distinct)
        self._read_amounts(node)
        # By Python: ids differ where floats of them do not.
        return cells.find(one is not None and compare(one, value) for one in cells.amounts)

    def _find_alike(
        self, nodes: Sequence[ast.expr], values: Sequence[Any], *, by_order: bool
    ) -> Sequence[Any]:
        """Return two columns, one at least of text, as texts or as numbers that compare."""
        import pandas as pd

        pairs = list(zip(nodes, values, strict=True))
        texts = [isinstance(node, ast.Name) and _holds_text(value) for node, value in pairs]
        if by_order and texts[0] != texts[1]:
            return [
                self._read_amounts(node) if text else value
                for (node, value), text in zip(pairs, texts, strict=True)
            ]
        if by_order or not any(texts) or not all(isinstance(node, ast.Name) for node in nodes):
            return values
        return [pd.Series(self._find_cells(node).texts, self.frame.index) for node in nodes]

    def _read_amounts(self, node: ast.expr) -> Column:
        """Return the numbers that stand in a column of text, holes where a cell is none."""
        import pandas as pd

        cells = self._find_cells(node)
        if len(cells.distinct) and not any(amount is not None for amount in cells.amounts):
            msg = f"{self._show(node)} holds no numbers; write the text in quotes"
            raise TypeError(msg)
        amounts = [np.nan if one is None else float(one) for one in cells.amounts]
        return pd.Series(np.array([*amounts, np.nan])[cells.numbers], index=self.frame.index)

    def _find_members(self, left: ast.expr, right: ast.expr, operation: ast.cmpop) -> Truth:
        column = self._find_column(left)
        match right:
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                listed = parts
            case ast.Constant(value=str()):
                listed = [right]
            case _:
                listed = [left]
        if not all(isinstance(self._find_value(part), Literal) for part in listed):
            msg = (
                f"{self._show(right)} is no list of texts or numbers; write "
                "column in ['one', 'other'], or contains(column, 'text')"
            )
            raise ValueError(msg)
        found = self._find_equal(left, listed)
        if any(self._find_value(part) is None for part in listed):
            found |= np.asarray(column.isin([None]))
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


def _has_part(number: str) -> bool:
    return not number.lstrip("+-").isdigit()


def _turn(operation: ast.cmpop) -> ast.cmpop:
    """Return the comparison that says the same with its sides changed."""
    return _TURNED.get(type(operation), type(operation))()


def _apply(operation: ast.cmpop, one: Any, other: Any) -> Truth:  # noqa: ANN401 - columns or literals
    found = _COMPARISONS[type(operation)](_read_date(one, other), _read_date(other, one))
    if found.dtype != bool:
        # Columns that keep holes apart from values answer with a hole.
        found = found.fillna(isinstance(operation, ast.NotEq)).astype(bool)
    return np.asarray(found)


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
    texts = pc.utf8_normalize(pa.array(column, from_pandas=True).cast(pa.large_string()), "NFC")
    text = unicodedata.normalize("NFC", text)
    if word == "contains":
        search = pc.match_substring_regex if flags.get("regex", True) else pc.match_substring
        found = search(texts, text, ignore_case=not flags.get("case", True))
    else:
        found = {"startswith": pc.starts_with, "endswith": pc.ends_with}[word](texts, text)
    return np.asarray(found.fill_null(flags.get("na", False)), dtype=bool)


def _holds_text(column: Any) -> bool:  # noqa: ANN401 - a column or a literal
    return not isinstance(column, Literal) and find_kind(column) in {"string", "empty"}


def _quote(column: str) -> str:
    """Write a column as a condition must name it."""
    plain = column.isidentifier() and not keyword.iskeyword(column)
    return column if plain else f"`{column}`"


def _shorten(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:199]}…"
