"""`/openapi.json`: OpenAPI 3.1 made from what routes and capabilities declare, nothing written twice (M03, X01)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web
from msgspec import Struct

from hearthnet import __version__
from hearthnet.base.types import Role
from hearthnet.mesh.answers import Done
from hearthnet.mesh.schema import members_of
from hearthnet.web.calls import CALL_PATH, CallMeta, gathered_output
from hearthnet.web.door import door_of
from hearthnet.web.payload import reply
from hearthnet.web.routing import Contract, Route, RouteTable
from hearthnet.wire.canonical import INT_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hearthnet.mesh.capability import Descriptor
    from hearthnet.mesh.registry import Entry
    from hearthnet.web.i18n import Texts

routes = RouteTable()
_REFERENCE: Final = "#/components/schemas/{name}"
_PLACE: Final = re.compile(r"\{(\w+)(?::[^}]*)?\}")
_SECURED: Final[list[dict[str, list[str]]]] = [{"token": []}, {"session": []}]


class ErrorReply(Struct, frozen=True):
    """What every route answers when it refuses or fails."""

    error: str
    message: str
    fix: str = ""
    retry_after_ms: int = 0


class Operation(Struct, frozen=True):
    """One method and path with everything that travels; `key` is the locale key of its sentence."""

    name: str
    method: str
    path: str
    key: str
    tag: str
    role: Role
    contract: Contract

    @property
    def error(self) -> Any:
        """The type of its error body."""
        return self.contract.error or ErrorReply


@routes.add("GET", "/openapi.json", role=Role.GUEST, api=True, contract=Contract(reply=dict[str, Any]))
async def show_openapi(request: web.Request) -> web.Response:
    """This description."""
    door = door_of(request)
    kept: dict[tuple[str, ...], dict[str, Any]] = door.extras.setdefault("openapi", {})
    names = tuple(str(descriptor.name) for descriptor in door.bus.descriptors())
    if names not in kept:
        kept.clear()
        kept[names] = describe(operations_of(request), door.texts["en"])
    return reply(kept[names])


def operations_of(request: web.Request) -> list[Operation]:
    """Every documented route of this application and every capability of its node, in a stable order."""
    found: list[Operation] = []
    for one in request.app.router.routes():
        declared: Route | None = getattr(one.handler, "hearthnet_route", None)
        if declared is None:
            continue
        if declared.path == CALL_PATH:
            found += _calls(declared, door_of(request).bus.entries())
        elif declared.contract is not None:
            name = declared.handler.__name__
            found.append(
                Operation(
                    name=name,
                    method=declared.method,
                    path=_PLACE.sub(r"{\1}", declared.path),
                    key=f"api.{name}",
                    tag="openai" if declared.contract.error else "node",
                    role=declared.role,
                    contract=declared.contract,
                )
            )
    return sorted(found, key=lambda item: (item.tag != "openai", item.tag, item.path, item.method))


def describe(operations: Iterable[Operation], texts: Texts) -> dict[str, Any]:
    """The OpenAPI document with its sentences in one language."""
    operations = list(operations)
    types: list[Any] = []
    for item in operations:
        contract = item.contract
        types += [contract.request, contract.reply, contract.query, contract.frames, item.error]
    types = [kind for kind in types if kind is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    _bound_integers(components)
    schema_of = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, Any] = {}
    for item in operations:
        paths.setdefault(item.path, {})[item.method.lower()] = _operation(item, texts, schema_of, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "HearthNet",
            "version": __version__,
            "summary": texts("api.about"),
            "description": texts("api.access"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": texts("api.token")},
                "session": {"type": "apiKey", "in": "cookie", "name": "hearthnet_session"},
            },
        },
    }


def _bound_integers(node: Any) -> None:
    """Write the wire's rule into every schema: integers have at most 53 bits."""
    if isinstance(node, list):
        for item in node:
            _bound_integers(item)
    elif isinstance(node, dict):
        if node.get("type") == "integer":
            node.setdefault("minimum", -INT_MAX)
            node.setdefault("maximum", INT_MAX)
        for item in node.values():
            _bound_integers(item)


def _operation(item: Operation, texts: Texts, schema_of: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    contract = item.contract
    described: dict[str, Any] = {
        "operationId": item.name,
        "tags": [item.tag],
        "summary": texts.find(item.key, item.name),
        "security": _SECURED if item.role > Role.GUEST else [],
        "x-role": item.role.name.lower(),
        "parameters": [*_path_parameters(item.path), *_query_parameters(contract, schema_of, components)],
        "responses": _responses(item, texts, schema_of),
    }
    if contract.body_media != "application/json":
        described["requestBody"] = {"required": True, "content": {contract.body_media: {"schema": {"type": "string"}}}}
    elif contract.request is not None:
        body = {"schema": schema_of[repr(contract.request)]}
        described["requestBody"] = {"required": True, "content": {contract.body_media: body}}
    return described


def _responses(item: Operation, texts: Texts, schema_of: dict[str, Any]) -> dict[str, Any]:
    contract, content = item.contract, {}
    if contract.reply is not None:
        content[contract.media] = {"schema": schema_of[repr(contract.reply)]}
    if contract.frames is not None:
        content["text/event-stream"] = {"schema": _event(schema_of[repr(contract.frames)], contract.end_mark)}
    good: dict[str, Any] = {"description": texts("api.good")}
    if content:
        good["content"] = content
    error = {"application/json": {"schema": schema_of[repr(item.error)]}}
    wait = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": texts("api.retry_after")}}
    large = contract.request is not None or contract.body_media != "application/json"
    return {
        **{str(status): good for status in (contract.status, *contract.alternatives)},
        **({"413": {"description": texts("api.too_large"), "content": error}} if large else {}),
        **{str(status): {"description": texts("api.refused"), "content": error} for status in contract.faults},
        "429": {"description": texts("api.busy"), "headers": wait, "content": error},
        "default": {"description": texts("api.refused"), "content": error},
    }


def _event(frame: dict[str, Any], end_mark: str) -> dict[str, Any]:
    data: dict[str, Any] = {"type": "string", "contentMediaType": "application/json", "contentSchema": frame}
    if end_mark:
        data = {"anyOf": [data, {"const": end_mark}]}
    return {"type": "object", "required": ["data"], "properties": {"event": {"type": "string"}, "data": data}}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PLACE.findall(path)
    ]


def _query_parameters(
    contract: Contract, schema_of: dict[str, Any], components: dict[str, Any]
) -> list[dict[str, Any]]:
    if contract.query is None:
        return []
    schema = components[schema_of[repr(contract.query)]["$ref"].rpartition("/")[2]]
    needed = schema.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in needed,
            "description": field.get("description", ""),
            "schema": {key: value for key, value in field.items() if key != "description"},
        }
        for name, field in schema["properties"].items()
    ]


def _calls(route: Route, entries: Iterable[Entry]) -> list[Operation]:
    newest: dict[str, Entry] = {}
    for entry in entries:
        if entry.is_local:
            newest[str(entry.descriptor.name)] = entry
    return [
        Operation(
            name=re.sub(r"\W", "_", name),
            method=route.method,
            path=CALL_PATH.replace("{name}", name),
            key=f"capability.{entry.descriptor.name.name}",
            tag=entry.descriptor.name.name.partition(".")[0],
            role=route.role,
            contract=_contract(entry.descriptor, entry.codec.request_type),
        )
        for name, entry in newest.items()
    ]


def _contract(descriptor: Descriptor, request: type[Struct]) -> Contract:
    output: Any = gathered_output(descriptor) if descriptor.streams else descriptor.output_type
    own = {field.name: field for field in msgspec.structs.fields(output)}
    added: Any = None
    if "meta" in own:
        added = own.pop("meta").type
        output = _struct(f"Output[{descriptor.name}]", own.values())
    elif descriptor.streams and Done in members_of(descriptor.output_type):
        added = Done
    meta = {field.name: field for kind in (added, CallMeta) if kind for field in msgspec.structs.fields(kind)}
    fields = [("output", output), ("meta", _struct(f"Meta[{descriptor.name}]", meta.values()))]
    made = msgspec.defstruct(f"Reply[{descriptor.name}]", fields)
    return Contract(reply=made, request=request, frames=descriptor.output_type if descriptor.streams else None)


def _struct(name: str, fields: Iterable[msgspec.structs.FieldInfo]) -> type[Struct]:
    """A struct of fields that were declared elsewhere; those that must be there come first."""
    made: list[Any] = []
    for field in sorted(fields, key=lambda field: not field.required):
        if field.required:
            made.append((field.name, field.type))
        elif field.default is not msgspec.NODEFAULT:
            made.append((field.name, field.type, msgspec.field(default=field.default)))
        else:
            made.append((field.name, field.type, msgspec.field(default_factory=field.default_factory)))
    return msgspec.defstruct(name, made)
