"""From types to checks: decoding of requests, validation of replies, JSON schemas and their hash (M03, protocol 4).

Whatever enters or leaves a capability passes through bytes: a typed request of another capability is encoded and then
decoded like one from the network, a reply is encoded once and decoded against its declared type. So both doors get
the same checks, and a reply that does not fit its own schema never leaves.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin

import msgspec
from blake3 import blake3
from msgspec import Struct

from hearthnet.base.errors import BadRequest, InternalError, SchemaMismatch
from hearthnet.base.log import sanitise
from hearthnet.base.types import SchemaHash
from hearthnet.wire import canonical

if TYPE_CHECKING:
    from hearthnet.mesh.capability import Descriptor

TERMINAL_EVENTS: Final = frozenset({"done", "error"})
Schema = dict[str, Any]
_WORDS = frozenset({"title", "description", "discriminator", "$defs"})
_LITERALS = frozenset({"enum", "const", "default", "examples", "required", "pattern"})

encode_json = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode  # canonical as a rule: signing needs no second form


class Typed(Struct, frozen=True):
    """A request as another capability hands it over."""

    params: Any
    input: Any


class Codec:
    """The types of one capability as fast functions."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.request_type = _request_type(descriptor)
        self._decode_request = msgspec.json.Decoder(self.request_type).decode
        self._decode_reply = msgspec.json.Decoder(descriptor.output_type).decode
        members = members_of(descriptor.output_type)
        self.frames = {_tag_of(frame): frame for frame in members} if descriptor.streams else {}
        self.counts_tokens = any("tokens_out" in getattr(member, "__struct_fields__", ()) for member in members)
        self._terminal = {frame for event, frame in self.frames.items() if event in TERMINAL_EVENTS}
        if descriptor.streams and "done" not in self.frames:
            raise TypeError(f"{descriptor.name}: a stream needs a frame with the tag done")

    def read(self, body: bytes) -> Any:
        """The request as a struct with `params` and `input`; raises SchemaMismatch, BadRequest."""
        try:
            return self._decode_request(body)
        except msgspec.ValidationError as error:
            raise SchemaMismatch(sanitise(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest(f"the request is not JSON: {sanitise(error)}") from error

    def check(self, reply: Any) -> tuple[Any, bytes]:
        """A handler's reply or frame, validated, and its JSON; raises InternalError when it does not fit."""
        try:
            body = _encode_sorted(reply)
            return self._decode_reply(body), body
        except (msgspec.MsgspecError, TypeError, UnicodeError, RecursionError) as error:
            raise InternalError(f"the reply does not fit its schema: {sanitise(error)}") from error

    def is_terminal(self, frame: object) -> bool:
        """Whether this frame ends its stream."""
        return type(frame) in self._terminal


def pack(params: Struct | dict[str, Any] | None, request: Struct | dict[str, Any]) -> bytes:
    """A request of another capability as the bytes a door would bring; raises BadRequest."""
    try:
        return encode_json(Typed({} if params is None else params, request))
    except (TypeError, UnicodeError, RecursionError) as error:
        raise BadRequest(f"the request has no JSON form: {sanitise(error)}") from error


def schemas_of(descriptor: Descriptor) -> tuple[Schema, Schema | None, Schema | None]:
    """JSON schemas (2020-12) of request, reply and stream frames; one of the last two is None."""
    request = schema_of(_request_type(descriptor))
    answer = schema_of(descriptor.output_type)
    return (request, None, answer) if descriptor.streams else (request, answer, None)


def schema_of(kind: Any) -> Schema:
    """The schema that travels: structure only, references inlined, no titles, no words.

    So it does not change when a class is renamed or a sentence mended.
    """
    found = msgspec.json.schema(kind)
    inlined: Schema = _inline(found, found.get("$defs", {}), ())
    return inlined


def schema_hash(descriptor: Descriptor) -> SchemaHash:
    """BLAKE3 of the canonical `{name, version, request_schema, response_schema, stream_schema}`."""
    request, response, stream = schemas_of(descriptor)
    major, minor = descriptor.name.version
    described = {
        "name": descriptor.name.name,
        "version": f"{major}.{minor}",
        "request_schema": request,
        "response_schema": response,
        "stream_schema": stream,
    }
    return SchemaHash(f"blake3:{blake3(canonical.encode(described)).hexdigest()}")


def members_of(kind: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _tag_of(frame: Any) -> str:
    config = getattr(frame, "__struct_config__", None)
    tag = config.tag if config is not None else None
    if not isinstance(tag, str):
        raise TypeError(f"{frame!r}: a frame is a Struct with a tag")
    return tag


def _request_type(descriptor: Descriptor) -> type[Struct]:
    fields = []
    for name, kind in (("params", descriptor.params_type), ("input", descriptor.input_type)):
        optional = all(not field.required for field in msgspec.structs.fields(kind))
        default = msgspec.field(default_factory=kind)
        fields.append((name, kind, default) if optional else (name, kind))
    name = f"Request[{descriptor.name}]"
    return msgspec.defstruct(name, fields, frozen=True, forbid_unknown_fields=True, kw_only=True)


def _inline(node: Any, definitions: Schema, above: tuple[str, ...]) -> Any:
    if isinstance(node, list):
        return [_inline(item, definitions, above) for item in node]
    if not isinstance(node, dict):
        return node
    if reference := node.get("$ref"):
        name = reference.rpartition("/")[2]
        if name in above:
            raise TypeError(f"{name} contains itself: it has no wire schema")
        return _inline(definitions[name], definitions, (*above, name))
    kept = {key: value for key, value in node.items() if key not in _WORDS}
    for key, value in kept.items():
        if key == "properties":  # its keys are field names: a field may be called title
            kept[key] = {field: _inline(schema, definitions, above) for field, schema in value.items()}
        elif key not in _LITERALS:
            kept[key] = _inline(value, definitions, above)
    return kept
