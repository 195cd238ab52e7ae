"""OpenAI's `tools` on bare models: the call is written under a JSON schema, so that it always parses (M04).

The engine writes `{"name": ..., "arguments": ...}` for a call or `{"reply": ...}` for words; which of them are allowed
follows from `tool_choice`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from hearthnet.base.errors import BadRequest
from hearthnet.mesh.answers import Done, Progress
from hearthnet.web.openai_stream import ChatEvents
from hearthnet.web.openai_types import (
    ChatMessage,
    ChatRequest,
    Delta,
    FunctionCall,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
)

_INTRODUCTION: Final = (
    'Functions are at hand. To call one, write {"name": its name, "arguments": its arguments}.'
    ' To answer in words, write {"reply": the words}. The functions:'
)


class ToolPlan(Struct, frozen=True):
    """What the engine must be told so that it may or must call a function."""

    json_schema: str
    introduction: str


class _Written(Struct, frozen=True):
    name: str = ""
    arguments: dict[str, Any] = {}
    reply: str | None = None


def plan_tools(asked: ChatRequest) -> ToolPlan | None:
    """The plan for a request; None when no tool may be called. Raises BadRequest for a choice that is not there."""
    tools, choice = asked.tools or [], asked.tool_choice or "auto"
    if isinstance(choice, ToolChoice):
        tools = [tool for tool in tools if tool.function.name == choice.function.name]
        if not tools:
            raise BadRequest(f"tool_choice names {choice.function.name!r}, which is not among the tools")
    elif choice == "required" and not tools:
        raise BadRequest("tool_choice is required, but there are no tools")
    if not tools or choice == "none":
        return None
    definitions: dict[str, Any] = {}
    shapes = [_shape_of(tool, definitions) for tool in tools]
    if choice == "auto":
        shapes.append(_object({"reply": {"type": "string"}}))
    schema: dict[str, Any] = shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
    if definitions:
        schema = {**schema, "$defs": definitions}
    described = [msgspec.json.encode(tool.function).decode() for tool in tools]
    return ToolPlan(msgspec.json.encode(schema).decode(), "\n".join([_INTRODUCTION, *described]))


def read_tool_text(text: str, call_id: str) -> tuple[str | None, list[ToolCall]]:
    """(words, calls) of what the engine wrote; text that broke off counts as words."""
    try:
        written = msgspec.json.decode(text, type=_Written)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return text, []
    if written.name:
        arguments = msgspec.json.encode(written.arguments).decode()
        return None, [ToolCall(call_id, FunctionCall(written.name, arguments))]
    return (text if written.reply is None else written.reply), []


def words_of(message: ChatMessage) -> str:
    """A turn as text; calls and their results keep the form that the engine itself writes."""
    if message.tool_calls:
        calls = [
            b'{"name":%b,"arguments":%b}'
            % (
                msgspec.json.encode(call.function.name),
                call.function.arguments.encode() or b"{}",
            )
            for call in message.tool_calls
        ]
        return b"\n".join(calls).decode()
    content = message.content
    if isinstance(content, list):
        return "\n".join(part.text for part in content)
    return content or ""


class ToolEvents(ChatEvents):
    """A chat that may end in a call: what it is shows only when all of it is there, so it comes in one chunk."""

    _written = ""

    def frame(self, frame: Any) -> bytes:
        """A comment while waiting, everything with the last frame."""
        if type(frame) is Progress:
            return super().frame(frame)
        self._written += self._text.feed(frame)
        if type(frame) is not Done:
            return b""
        words, calls = read_tool_text(self._written, call_id_of(self._head.id))
        if not calls:
            return self._said(Delta(role="assistant", content=words or ""), self._text.finish)
        first = calls[0]
        return self._said(Delta(role="assistant", tool_calls=[ToolCallDelta(first.id, first.function)]), "tool_calls")


def call_id_of(answer_id: str) -> str:
    """The id of the one call of an answer."""
    return answer_id.replace("chatcmpl-", "call_")


def _shape_of(tool: Tool, definitions: dict[str, Any]) -> dict[str, Any]:
    function = tool.function
    parameters = dict(function.parameters or {"type": "object"})
    definitions.update(parameters.pop("$defs", {}))
    return _object({"name": {"enum": [function.name]}, "arguments": parameters})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object", "properties": properties, "required": list(properties), "additionalProperties": False,
    }  # fmt: skip
