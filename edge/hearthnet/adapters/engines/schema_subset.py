"""The JSON schemas that engines obey; anything else is refused before it is silently ignored (M04).

llama.cpp logs a schema that it cannot compile and then writes free text. So only keywords known to work pass, and
what comes back is looked at again: `JsonWatch` notices free text at its first character and at its end.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from hearthnet.base.errors import BadRequest, InternalError

_TYPES: Final = {"object", "array", "string", "number", "integer", "boolean", "null"}
_NOTES: Final = {"title", "description", "default", "examples", "$schema", "$id", "$comment", "format", "deprecated"}
_PLAIN: Final = {
    "required", "enum", "const", "minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum",
}  # fmt: skip
_ONE: Final = {"items", "additionalProperties"}
_MANY: Final = {"properties", "$defs", "definitions"}
_LISTS: Final = {"anyOf", "prefixItems"}
_DEPTH_MAX: Final = 24
_FIX: Final = "use type, properties, required, items, enum, const, anyOf, local $ref and lengths or limits"


def read_schema(text: str) -> dict[str, Any]:
    """The schema without notes; raises BadRequest when it is no schema or uses what engines cannot follow."""
    try:
        schema = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"the JSON schema cannot be read: {error}") from None
    clean: dict[str, Any] = _clean(schema, 0)
    return clean


def _clean(schema: Any, depth: int) -> Any:
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, dict) or depth > _DEPTH_MAX:
        raise BadRequest("a part of the JSON schema is no schema", fix=_FIX)
    clean: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _NOTES:
            continue
        clean[key] = _clean_value(key, value, depth)
    return clean


def _clean_value(key: str, value: Any, depth: int) -> Any:
    if key in _PLAIN:
        return value
    if key == "type" and _names_types(value):
        return value
    if key == "$ref" and re.fullmatch(r"#(/[\w$.-]+)*", str(value)):
        return value
    if key in _ONE:
        return _clean(value, depth + 1)
    if key in _MANY and isinstance(value, dict):
        return {name: _clean(part, depth + 1) for name, part in value.items()}
    if key in _LISTS and isinstance(value, list) and value:
        return [_clean(part, depth + 1) for part in value]
    raise BadRequest(f"engines cannot follow {key!r} of the JSON schema", fix=_FIX)


def _names_types(value: Any) -> bool:
    kinds = value if isinstance(value, list) else [value]
    return bool(kinds) and all(isinstance(kind, str) and kind in _TYPES for kind in kinds)


class JsonWatch:
    """Looks at an answer that must be JSON, piece by piece."""

    def __init__(self) -> None:
        self._text: list[str] = []

    def see(self, piece: str, stop_reason: str) -> None:
        """Raise BadRequest when the answer begins as no JSON does, InternalError when it ends and is none."""
        begun = any(part.strip() for part in self._text)
        if not begun and piece.strip() and piece.strip()[0] not in '{["-0123456789tfn':
            raise BadRequest("the engine cannot follow this JSON schema", fix=_FIX)
        self._text.append(piece)
        if stop_reason == "end":
            try:
                msgspec.json.decode("".join(self._text))
            except msgspec.DecodeError as error:
                raise InternalError(f"the engine's answer is no JSON: {error}") from None
