"""The description of the API as a page that people read, and the kinds of problems."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from bioprobe.web.desk import find_desk
from bioprobe.web.problems import list_kinds

router = APIRouter(prefix="/api/v1", include_in_schema=False)


@router.get("")
@router.get("/")
@router.get("/docs")
def show(request: Request) -> HTMLResponse:
    """Show what can be asked, part by part."""
    described = request.app.openapi()
    shapes = described["components"]["schemas"]
    parts: dict[str, list[dict[str, Any]]] = {}
    for path, ways in described["paths"].items():
        for method, route in ways.items():
            parts.setdefault(route["tags"][0], []).append(_describe(path, method, route, shapes))
    return find_desk(request).show(request, "api.html.j2", parts=parts)


@router.get("/problems")
def show_problems(request: Request) -> HTMLResponse:
    """Show the kinds of problems, by which answers name them."""
    return find_desk(request).show(request, "problems.html.j2", kinds=list_kinds())


def _describe(
    path: str, method: str, route: dict[str, Any], shapes: dict[str, Any]
) -> dict[str, Any]:
    content = route.get("requestBody", {}).get("content", {})
    shape = content.get("application/json", {}).get("schema", {})
    name = _find_reference(shape)
    fields = shapes[name]["properties"] if name else {}
    form = content.get("multipart/form-data", {}).get("schema", {}).get("properties", {})
    needed = shapes[name].get("required", []) if name else []
    listed = [
        {"name": one, "kind": _name_kind(field), "said": field.get("description", ""),
         "needed": one in needed}
        for one, field in {**fields, **form}.items()
    ]  # fmt: skip
    asked = [
        {"name": one["name"], "kind": _name_kind(one["schema"]),
         "said": one.get("description") or one["schema"].get("description", ""),
         "needed": one.get("required", False)}
        for one in route.get("parameters", [])
    ]  # fmt: skip
    return {
        "method": method.upper(), "path": path, "said": route.get("description", ""),
        "fields": [*asked, *listed],
    }  # fmt: skip


def _find_reference(shape: dict[str, Any]) -> str:
    """Return the name of the shape that a body has."""
    for one in (shape, *shape.get("anyOf", [])):
        if "$ref" in one:
            return str(one["$ref"]).rpartition("/")[2]
    return ""


def _name_kind(field: dict[str, Any]) -> str:
    """Return what a field takes, in few words."""
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    if "anyOf" in field:
        kinds = [_name_kind(one) for one in field["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    kind = str(field.get("type") or _find_reference(field) or "any")
    if kind == "array":
        return f"list of {_name_kind(field.get('items', {}))}"
    limits = [f"{word} {field[key]:g}" for key, word in _LIMITS.items() if key in field]
    return " ".join([kind, *limits])


_LIMITS = {"minimum": "from", "maximum": "to"}
