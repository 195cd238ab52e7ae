"""`/docs`: the description of `/openapi.json` as a page, drawn here, with settings ready to paste (M08)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from msgspec import Struct, json

from hearthnet.base.types import Role
from hearthnet.mesh.answers import ASSISTANT_MODEL
from hearthnet.web.door import door_of, texts_of, visitor_of
from hearthnet.web.openapi import describe, operations_of
from hearthnet.web.pages import render
from hearthnet.web.routing import RouteTable
from hearthnet.wire.canonical import INT_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

routes = RouteTable()
_DEPTH_MAX: Final = 3
_BOUNDS: Final = (
    ("minimum", "≥ "),
    ("exclusiveMinimum", "> "),
    ("maximum", "≤ "),
    ("maxLength", "≤ "),
    ("pattern", ""),
)

_WIRE_BOUNDS: Final = (INT_MAX, -INT_MAX)  # true of every integer, worth no words


class Field(Struct, frozen=True):
    """One line of a table; `name` is the way to it, `[]` = each entry."""

    name: str
    kind: str
    required: bool
    note: str


class Shown(Struct, frozen=True):
    """One operation as the page shows it."""

    name: str
    method: str
    path: str
    summary: str
    role: str
    asked: list[Field]
    answered: list[Field]
    streamed: list[Field]


class Group(Struct, frozen=True):
    """Operations that belong together."""

    tag: str
    operations: list[Shown]


@routes.add("GET", "/docs", role=Role.GUEST)
async def show_docs(request: web.Request) -> web.Response:
    """What programs can do here."""
    document = describe(operations_of(request), texts_of(request))
    models = [model.name for model in door_of(request).services.engines.models()]
    local = visitor_of(request).via == "loopback"
    return render(
        request,
        "api.html",
        local=local,
        key="none" if local else "hn-...",
        groups=_groups(document),
        base=f"{request.scheme}://{request.host}/v1",
        model=ASSISTANT_MODEL,
        bare=[f"{ASSISTANT_MODEL}/{name}" for name in models],
    )


def _groups(document: dict[str, Any]) -> list[Group]:
    found: dict[str, list[Shown]] = {}
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found.setdefault(operation["tags"][0], []).append(_shown(method.upper(), path, operation, schemas))
    return [Group(tag, operations) for tag, operations in found.items()]


def _shown(method: str, path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> Shown:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    good = next(reply for status, reply in operation["responses"].items() if status.startswith("2"))
    content = good.get("content", {})
    query = [
        Field(one["name"], _kind(one["schema"], schemas), one["required"], _note(one["schema"], one["description"]))
        for one in operation["parameters"]
        if one["in"] == "query"
    ]
    event = content.get("text/event-stream", {}).get("schema", {}).get("properties", {})
    data = event.get("data", {})
    frames = data.get("anyOf", [data])[0].get("contentSchema", {})
    return Shown(
        name=operation["operationId"],
        method=method,
        path=path,
        summary=operation["summary"],
        role=operation["x-role"],
        asked=[*query, *_fields(body, schemas)],
        answered=_bare(_fields(content.get("application/json", {}).get("schema", {}), schemas)),
        streamed=_bare(_fields(frames, schemas)),
    )


def _fields(schema: dict[str, Any], schemas: dict[str, Any], prefix: str = "", depth: int = 0) -> Iterator[Field]:
    """The fields of an object, of its objects and of the entries of its lists, as flat lines."""
    schema = _followed(schema, schemas)
    for member in schema.get("anyOf", []):
        inner = _followed(member, schemas)
        if inner.get("type") in ("object", "array"):
            yield from _fields(inner, schemas, prefix, depth)
    if schema.get("type") == "array" and depth <= _DEPTH_MAX:
        yield from _fields(schema.get("items", {}), schemas, f"{prefix.removesuffix('.')}[].", depth)
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        yield Field(f"{prefix}{name}", _kind(field, schemas), name in required, _note(field, ""))
        if depth < _DEPTH_MAX:
            yield from _fields(field, schemas, f"{prefix}{name}.", depth + 1)


def _bare(fields: Iterator[Field]) -> list[Field]:
    """Fields of a reply: what is required or usual there only matters to who writes it."""
    return [Field(field.name, field.kind, False, "") for field in fields]


def _followed(schema: dict[str, Any] | bool, schemas: dict[str, Any]) -> dict[str, Any]:
    if isinstance(schema, bool):  # nothing or anything
        return {}
    reference = schema.get("$ref")
    found: dict[str, Any] = schemas[reference.rpartition("/")[2]] if reference else schema
    return found


def _kind(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    schema = _followed(schema, schemas)
    if "enum" in schema:
        return " | ".join(json.encode(value).decode() for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_kind(member, schemas) for member in schema["anyOf"]))
    if members := schema.get("prefixItems"):
        return f"[{', '.join(_kind(member, schemas) for member in members)}]"
    if schema.get("type") == "array":
        return f"{_kind(schema.get('items', {}), schemas)}[]"
    return str(schema.get("type", "any"))


def _note(schema: dict[str, Any], description: str) -> str:
    parts = [description or schema.get("description", "")]
    parts += [f"{sign}{schema[key]}" for key, sign in _BOUNDS if key in schema and schema[key] not in _WIRE_BOUNDS]
    if schema.get("default") not in (None, "", [], {}):
        parts.append(f"= {json.encode(schema['default']).decode()}")
    return ", ".join(part for part in parts if part)
