"""One OpenAI-compatible model server a row: Ollama, LM Studio, vLLM, NIM, MiniCPM, Hugging Face router (M04)."""

from __future__ import annotations

import os
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec
from msgspec import Struct

from hearthnet.adapters.engines.http_stream import Patience, stream_events
from hearthnet.adapters.engines.supervisor import CrashGuard
from hearthnet.adapters.engines.text_engine import check_request
from hearthnet.base.errors import BadRequest, EngineDied, Unavailable
from hearthnet.ports import EngineStatus, GenerateRequest, ModelInfo, TextDelta

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from hearthnet.base.config import LlmBackend
    from hearthnet.ports import Clock

_FIRST_EVENT_S: Final = 60.0  # a server may load the model first
_STOP_REASONS: Final = {"length": "max_tokens", "stop": "end", "eos": "end", "eos_token": "end"}


class _Words(Struct):
    content: str | None = None


class _Choice(Struct):
    delta: _Words | None = None
    text: str | None = None
    finish_reason: str | None = None
    stop_reason: Any = None  # vLLM: the stop sequence that was met


class _Usage(Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Event(Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


_events: Final = msgspec.json.Decoder(_Event)


class RemoteEngine:
    """One row; out of service for a while after three failures."""

    def __init__(self, row: LlmBackend, clock: Clock, environ: Mapping[str, str] = os.environ) -> None:
        self._row = row
        self._clock = clock
        self._environ = environ
        self._guard = CrashGuard()
        self._http: aiohttp.ClientSession | None = None

    def info(self) -> ModelInfo | None:
        """The model, unless the server failed too often just now."""
        if self._guard.open_for_s(self._clock.monotonic()) > 0:
            return None
        row = self._row
        return ModelInfo(row.model, row.name, row.tier, row.context_tokens, row.requires_internet, loaded=True)

    def status(self) -> EngineStatus:
        """What is known of the server; it is not asked."""
        failing = self._guard.recent(self._clock.monotonic()) > 0
        state = "backing_off" if failing else "ready"
        return EngineStatus(self._row.name, state, self._guard.reason if failing else "", restarts=self._guard.total)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[TextDelta, None]:
        """Stream an answer; raises BadRequest for a grammar, which the common interface does not know."""
        check_request(request)
        self._guard.check(self._row.name, self._clock.monotonic())
        path = "/completions" if request.raw_prompt else "/chat/completions"
        post = self._post(path, _body(request, self._row.model))
        patience = Patience(_FIRST_EVENT_S, self._clock.monotonic())
        reason, usage, pieces = "", _Usage(), 0
        try:
            async with aclosing(stream_events(post, patience, self._clock)) as events:
                async for event in events:
                    if event == b"[DONE]":
                        break
                    found = _read(event)
                    usage = found.usage or usage
                    for choice in found.choices[:1]:
                        text = choice.text or (choice.delta.content if choice.delta else "") or ""
                        reason = _stop_reason(choice) or reason
                        if text:
                            pieces += 1
                            yield TextDelta(text)
            if not reason:
                raise EngineDied(f"{self._row.name}: the answer broke off")
        except Unavailable as error:  # EngineDied is one
            self._guard.crashed(self._clock.monotonic(), error.detail)
            if not pieces:
                raise Unavailable(error.detail, fix=error.fix) from None
            raise
        yield TextDelta("", reason, usage.prompt_tokens, usage.completion_tokens or pieces)

    async def unload(self) -> None:
        """Nothing of it is in our memory."""

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    async def _post(self, path: str, body: dict[str, Any]) -> aiohttp.ClientResponse:
        if self._http is None:
            # a connection each: a server may close a kept one at the moment it is used again
            connector = aiohttp.TCPConnector(force_close=True)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
            self._http = aiohttp.ClientSession(connector=connector, timeout=timeout)
        headers = {"Content-Type": "application/json"}
        if self._row.api_key_env:
            key = self._environ.get(self._row.api_key_env, "")
            if not key:
                raise Unavailable(
                    f"{self._row.name} needs a key", fix=f"set the environment variable {self._row.api_key_env}"
                )
            headers["Authorization"] = f"Bearer {key}"
        return await self._http.post(self._row.url.rstrip("/") + path, data=msgspec.json.encode(body), headers=headers)


def _body(request: GenerateRequest, model: str) -> dict[str, Any]:
    if request.grammar:
        raise BadRequest("this model server takes no grammar", fix="use a local model, or a JSON schema")
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.stop:
        body["stop"] = list(request.stop)
    if request.seed is not None:
        body["seed"] = request.seed
    if request.raw_prompt:
        body["prompt"] = request.raw_prompt
    else:
        body["messages"] = [{"role": role, "content": content} for role, content in request.messages]
    if request.json_schema:
        try:
            schema = msgspec.json.decode(request.json_schema)
        except msgspec.DecodeError as error:
            raise BadRequest(f"the JSON schema is not JSON: {error}") from None
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": schema},
        }
    return body


def _read(event: bytes) -> _Event:
    try:
        found = _events.decode(event)
    except msgspec.DecodeError as error:
        raise EngineDied(f"the model server spoke nonsense: {error}") from None
    if found.error:
        raise EngineDied(f"the model server failed: {str(found.error)[:300]}")
    return found


def _stop_reason(choice: _Choice) -> str:
    if choice.finish_reason == "stop" and isinstance(choice.stop_reason, str):
        return "stop_sequence"
    return _STOP_REASONS.get(choice.finish_reason, "end") if choice.finish_reason else ""
