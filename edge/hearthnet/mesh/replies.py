"""Replies, frames and errors in the shape of the contract (X01, protocol 0 and 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct

from hearthnet.base.errors import HearthNetError
from hearthnet.base.log import sanitise

if TYPE_CHECKING:
    from hearthnet.mesh.invocation import Answer

_encode = msgspec.json.Encoder().encode
MESSAGE_MAX_CHARS = 500


class Meta(Struct, frozen=True):
    """What is said about a reply."""

    capability: str
    ms: float
    node_id: str
    trace_id: str


class _Reply(Struct, frozen=True):
    meta: Meta
    output: Raw


def encode_reply(answer: Answer) -> bytes:
    """`{"meta": {"capability", "ms", "node_id", "trace_id"}, "output": ...}`, keys sorted; the output as validated.

    A capability that has to say something about its reply (the model it used) gives its output a field `meta`, which
    moves up here.
    """
    meta = Meta(answer.capability, round(answer.ms, 3), answer.node_id, answer.trace_id)
    own = getattr(answer.output, "meta", None)
    if own is None:
        return _encode(_Reply(meta, Raw(answer.body)))
    output: dict[str, Any] = msgspec.to_builtins(answer.output)
    return _encode({"meta": {**output.pop("meta"), **msgspec.to_builtins(meta)}, "output": output})


def encode_frame(frame: Struct) -> tuple[str, bytes]:
    """Event name and data of one frame, for `event:` and `data:` lines."""
    fields: dict[str, Any] = msgspec.to_builtins(frame)
    event = fields.pop(frame.__struct_config__.tag_field or "type")
    return str(event), _encode(fields)


def encode_error(error: HearthNetError) -> bytes:
    """The contract's error object."""
    body: dict[str, Any] = {"error": error.code, "message": sanitise(error.detail, MESSAGE_MAX_CHARS)}
    if error.fix:
        body["fix"] = error.fix
    if error.retry_after_ms is not None:
        body["retry_after_ms"] = error.retry_after_ms
    return _encode(body)
