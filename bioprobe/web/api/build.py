"""Routes made from public questions: their options say what a body holds, and within which limits.

A question may take what a server does not take from others, above all the names of files on its
own disk: a route therefore lists what it takes, and each text that a question would look for on
the disk is a :data:`Word`, which names no file.
"""

from __future__ import annotations

import collections.abc
import inspect
import os
import re
import types
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from fastapi import Query, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from bioprobe.options import Option, read_defaults, read_options
from bioprobe.result import Notes, Result, Table
from bioprobe.web.problems import MEDIA_TYPE

if TYPE_CHECKING:
    import pandas as pd

# Of one text, one list, and a number that nothing else limits.
_MOST_LETTERS, _MOST_ITEMS, _MOST = 2000, 256, 2**31 - 1
# They turn the direction of what follows (Unicode, UAX 9).
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_FLAG = re.compile(r"(?<![\w-])--?([a-z][a-z0-9-]*)")
_SEE = re.compile(r" ?\((?:see: )?bioprobe [^)]*\)|; see bioprobe [^.]*")


def _name_no_file(text: str) -> str:
    """Refuse a text by which something on the server's disk would be read."""
    if "/" in text or "\\" in text or "\0" in text or os.path.lexists(text):
        msg = "a name, not a file of the server"
        raise ValueError(msg)
    return text


def _is_template(text: str) -> str:
    return text if "{}" in text else _name_no_file(text)


def _is_plain(text: str) -> str:
    """Refuse what makes a text look like another one, or commands a terminal that shows it."""
    if any(unicodedata.category(letter) in {"Cc", "Cs"} or letter in _TURNING for letter in text):
        msg = "a text without control characters"
        raise ValueError(msg)
    return text


#: A text that is shown as it is.
Plain = Annotated[str, AfterValidator(_is_plain)]
Text = Annotated[Plain, Field(max_length=_MOST_LETTERS)]
#: A text that names no file of the server.
Word = Annotated[Text, AfterValidator(_name_no_file)]
#: A template set, or one template.
Template = Annotated[Text, AfterValidator(_is_template)]
#: A row of the store.
Row = Annotated[int, Field(ge=0, le=_MOST)]
#: Rows of the store.
Rows = Annotated[list[Row], Field(max_length=1000)]


#: Whether a CSV is for a spreadsheet.
SafeCsv = Annotated[
    bool,
    Query(description="Put an apostrophe before what a spreadsheet would compute, as =1+1."),
]


class Said(BaseModel):
    """Something to be said of an answer."""

    kind: Literal["fact", "warning", "problem"] = Field(
        description="A fact; what may make the answer wrong; what was lost or failed."
    )
    text: str = Field(description="For people.")


class Answer(BaseModel):
    """What a question is answered: what is to be said of it, and a table."""

    notes: list[Said] = Field(description="What is to be said of the answer.")
    rows: list[dict[str, Any]] = Field(description="The table, one object a row.")


#: What any request may be answered instead; the descriptions of routes name it once.
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": said,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, said in {
        400: "The request cannot be read",
        401: "No token was shown",
        403: "Who asks may not",
        404: "There is no such thing",
        408: "What was announced did not come in time",
        409: "The store does not allow it",
        413: "Too much was sent",
        415: "It was sent as another kind than is taken",
        422: "What was sent cannot be taken",
        423: "Somebody else is writing to the store",
        424: "A model, or something else, is not on this machine",
        429: "Too many requests; see Retry-After",
        503: "The disk cannot be read just now; see Retry-After",
        507: "The disk of the server has no room",
    }.items()
}


def build_body(
    name: str,
    question: Callable[..., Any],
    takes: Sequence[str],
    *,
    most: Mapping[str, float] | None = None,
    kinds: Mapping[str, Any] | None = None,
    fields: Mapping[str, Any] | None = None,
    needed: Sequence[str] = (),
    example: Mapping[str, Any],
) -> type[BaseModel]:
    """Return what a body must be for a question, made from its options.

    Parameters
    ----------
    name : str
        Of the shape, in the description.
    question : callable
        A public function or method.
    takes : sequence of str
        Its parameters that may be sent.
    most : mapping of str to float, optional
        Limits that a server has beside the option's own.
    kinds : mapping of str to type, optional
        What is taken for a parameter, where that is less than the question takes.
    fields : mapping of str to (type, default), optional
        What else may be sent.
    needed : sequence of str
        What must be sent although the question has a default.
    example : mapping of str to object
        A body, as the description shows it.
    """
    options, defaults = read_options(question), read_defaults(question)
    limits = most or {}
    made: dict[str, Any] = {}
    for key in takes:
        kind, option = options[key]
        default = defaults[key]
        if default is inspect.Parameter.empty or key in needed:
            default = ...
        shape = (kinds or {}).get(key) or _read_kind(kind, option)
        made[key] = (shape, _describe(option, default, limits.get(key), shape))
    made |= fields or {}
    return create_model(name, __config__=like(example), **made)


def like(example: Mapping[str, Any]) -> ConfigDict:
    """Return what makes a body strict, with an example for the description."""
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [dict(example)]})


def read_given(body: BaseModel) -> dict[str, Any]:
    """Return what was sent, by parameter; what was not stays as the question has it."""
    return {name: getattr(body, name) for name in body.model_fields_set}


def show_answer(answer: Result, **further: Any) -> Response:  # noqa: ANN401 - JSON-ready
    """Return a result as JSON: its notes, its table, and what else is given.

    Numbers that are none, and empty cells, are null.
    """
    import json

    notes = [{"kind": note.kind, "text": note.text} for note in answer.notes]
    rows = answer.to_frame().to_json(orient="records", date_format="iso", double_precision=10)
    head = json.dumps({"notes": notes, **further}, ensure_ascii=True)
    return Response(f'{head[:-1]}, "rows": {rows}}}', media_type="application/json")


def show_part(
    frame: pd.DataFrame, after: int, limit: int, *, notes: Notes = (), **counts: int
) -> Response:
    """Return some rows of a table, how many it has, and where the next ones begin."""
    further = after + limit if after + limit < len(frame) else None
    part = Table(frame.iloc[after : after + limit], notes=notes)
    return show_answer(part, **counts, next=further)


def answer_csv(frame: pd.DataFrame, name: str, *, safe: bool) -> Response:
    """Return a table as a CSV file, disarmed for spreadsheets where that is asked."""
    if safe:
        from bioprobe.files import disarm_cell

        frame = frame.map(disarm_cell)
    text = frame.to_csv(index=False).encode("utf-8", "replace")
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type="text/csv", headers=headers)


def _describe(option: Option, default: Any, most: float | None, shape: Any) -> Any:  # noqa: ANN401 - as pydantic
    """Return the field of an option."""
    said = _FLAG.sub(lambda found: found[1].replace("-", "_"), _SEE.sub("", option.help))
    limits: dict[str, Any] = {}
    if _is_number(shape):
        limits = {"ge": -_MOST if option.least is None else option.least,
                  "le": most or (_MOST if option.most is None else option.most)}  # fmt: skip
    if option.choices and not option.fixed:
        limits["examples"] = list(option.choices)
    return Field(default, description=said, **limits)


def _is_number(shape: Any) -> bool:  # noqa: ANN401 - a type
    wanted = {one for one in (get_args(shape) or (shape,)) if one is not type(None)}
    return bool(wanted) and wanted <= {int, float}


def _read_kind(kind: Any, option: Option) -> Any:  # noqa: ANN401 - types
    """Return a type that JSON has, without what would name a file."""
    if option.fixed and option.choices:
        fixed: Any = Literal[option.choices]
        return fixed | None if type(None) in get_args(kind) else fixed
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        parts = [_read_kind(one, Option(option.help)) for one in get_args(kind) if one is not Path]
        return Union[tuple(parts)]  # noqa: UP007 - made of parts
    if kind is str:
        return Text
    if origin is collections.abc.Sequence:
        inner: Any = _read_kind(get_args(kind)[0], Option(option.help))
        return Annotated[list[inner], Field(max_length=_MOST_ITEMS)]
    return kind
