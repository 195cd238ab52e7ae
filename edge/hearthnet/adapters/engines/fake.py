"""Engines without models: same contract, no child processes, a history that tests assert on, faults on demand.

Answers are invented but lawful: they obey max_tokens, stop, grammar and JSON schema, and the same seed gives the same
words. Vectors are hashed words and letter triples, so that texts about the same things lie close together.
"""

from __future__ import annotations

import math
import re
from array import array
from hashlib import blake2b
from random import Random
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from hearthnet.adapters.engines.grammar_fake import speak_grammar, speak_schema
from hearthnet.adapters.engines.orders import EmbedResult
from hearthnet.adapters.engines.schema_subset import read_schema
from hearthnet.adapters.engines.text_engine import check_request
from hearthnet.adapters.model_catalogue import known_models
from hearthnet.base.errors import BadRequest, EngineDied, NotFound, Unavailable
from hearthnet.ports import EngineStatus, GenerateRequest, ModelInfo, TextDelta

if TYPE_CHECKING:
    from asyncio import Event
    from collections.abc import AsyncGenerator, Mapping, Sequence

_DIM: Final = 384
_WORDS: Final = ("the", "water", "is", "warm", "and", "people", "help", "each", "other", "with", "light", "a", "radio")
FAKE_MODEL: Final = ModelInfo("fake-small", "local", "small_model", 2048)


class Asked(Struct, frozen=True):
    """One entry of the history."""

    kind: str  # generate | embed | infer | cancelled
    model: str = ""
    request: Any = None


class FakeEngines:
    """The Engines port from memory.

    `say` queues the next answers; `die_after` ends the next answer after so many pieces with EngineDied; `hold`
    makes answers wait before each piece until the event is set; `missing` names what is unavailable (`llm`,
    `embed`, `infer`).
    """

    def __init__(self, *models: ModelInfo) -> None:
        self._models = list(models) or [FAKE_MODEL]
        self._said: list[str] = []
        self._states: dict[tuple[str, str], int] = {}
        self.history: list[Asked] = []
        self.open_answers = 0
        self.die_after: int | None = None
        self.hold: Event | None = None
        self.missing: set[str] = set()

    def say(self, *answers: str) -> None:
        """Answer the next requests with these texts (a grammar is then not looked at)."""
        self._said += answers

    def models(self) -> list[ModelInfo]:
        """The models given at construction, none while `llm` is missing."""
        return [] if "llm" in self.missing else list(self._models)

    async def generate(self, model: str, request: GenerateRequest) -> AsyncGenerator[TextDelta, None]:
        """Stream an answer in pieces of one word."""
        info = self._choose(model)
        check_request(request)
        self.history.append(Asked("generate", info.name, request))
        pieces = re.findall(r"\s*\S+|\s+$", self._answer(request))
        reason, pieces = _cut(pieces, request)
        dying, self.die_after = self.die_after, None
        finished = False
        self.open_answers += 1
        try:
            for count, piece in enumerate(pieces):
                if self.hold is not None:
                    await self.hold.wait()
                if dying is not None and count >= dying:
                    finished = True
                    raise EngineDied("the fake engine was told to die")
                yield TextDelta(piece)
            finished = True
            read = len(request.raw_prompt.split()) + sum(len(text.split()) for _, text in request.messages)
            yield TextDelta("", reason, read, len(pieces))
        finally:
            self.open_answers -= 1
            if not finished:
                self.history.append(Asked("cancelled", info.name, request))

    async def embed(self, texts: Sequence[str], *, query: bool) -> EmbedResult:
        """Hashed vectors, normalised."""
        if "embed" in self.missing:
            raise Unavailable("the fake embedder is missing", fix="remove it from `missing`")
        self.history.append(Asked("embed", "query" if query else "passage", tuple(texts)))
        return EmbedResult(_DIM, b"".join(_vector(text) for text in texts))

    async def infer(self, model: str, inputs: Mapping[str, bytes], *, session: str = "") -> Mapping[str, bytes]:
        """The known answer for its input, zeros for any other; a session goes on where it was."""
        known = known_models().get(model)
        if "infer" in self.missing or known is None or known.known_answer is None:
            raise Unavailable(f"no tensor model {model[:64]!r}", fix="fetch it: make setup")
        self.history.append(Asked("infer", model, dict(inputs)))
        answer = known.known_answer
        step = len(answer.input_bytes()) // len(answer.output_bytes())
        if set(inputs) != {"input_audio"} or not inputs["input_audio"] or len(inputs["input_audio"]) % step:
            raise BadRequest(f"the model takes input_audio in steps of {step} bytes")
        at = self._states.get((model, session), 0) if session else 0
        data = inputs["input_audio"]
        expected = answer.input_bytes()[at * step : at * step + len(data)]
        count = len(data) // step
        if session:
            self._states[model, session] = at + count
        outputs = answer.output_bytes()[at : at + count] if expected == data else bytes(count)
        return {"StatefulPartitionedCall": outputs}

    def status(self) -> list[EngineStatus]:
        """Ready, or absent for what is missing."""
        rows = {"llm": self._models[0].name, "embed": "e5", "infer": "tflite"}
        return [
            EngineStatus(name, "absent", "missing on purpose", "remove it from `missing`")
            if key in self.missing
            else EngineStatus(name, "ready", pid=1)
            for key, name in rows.items()
        ]

    async def close(self) -> None:
        """Nothing to end."""
        self._states.clear()

    def _choose(self, model: str) -> ModelInfo:
        for info in self.models():
            if model in ("", info.name, f"{info.backend}/{info.name}"):
                return info
        if not model or "llm" in self.missing:
            raise Unavailable("no language model can answer now", fix="make setup")
        raise NotFound(f"no model {model[:64]!r}", fix="hearthnet models list")

    def _answer(self, request: GenerateRequest) -> str:
        if self._said:
            return self._said.pop(0)
        random = Random(_key(request))  # noqa: S311  not for secrets
        if request.grammar:
            return speak_grammar(request.grammar, random)
        if request.json_schema:
            return msgspec.json.encode(speak_schema(read_schema(request.json_schema))).decode()
        return " ".join(random.choice(_WORDS) for _ in range(40)) + "."


def _key(request: GenerateRequest) -> str:
    asked = "\n".join(f"{role}: {text}" for role, text in request.messages) + request.raw_prompt
    free = "" if request.temperature == 0 else str(request.seed)
    return f"{asked}{free}"


def _cut(pieces: list[str], request: GenerateRequest) -> tuple[str, list[str]]:
    """Apply stop sequences and max_tokens."""
    text = "".join(pieces)
    ends = [at for stop in request.stop if stop and (at := text.find(stop)) >= 0]
    reason = "end"
    if ends:
        reason, pieces = "stop_sequence", re.findall(r"\s*\S+|\s+$", text[: min(ends)])
    if len(pieces) > request.max_tokens:
        reason, pieces = "max_tokens", pieces[: request.max_tokens]
    return reason, pieces


def _vector(text: str) -> bytes:
    row = [0.0] * _DIM
    for word in re.findall(r"\w+", text.lower()):
        padded = f" {word} "
        for piece in (word, *(padded[at : at + 3] for at in range(len(padded) - 2))):
            digest = blake2b(piece.encode("utf-8", "replace"), digest_size=4).digest()
            row[int.from_bytes(digest[:2], "big") % _DIM] += 1.0 if digest[2] & 1 else -1.0
    length = math.sqrt(sum(value * value for value in row))
    if not length:
        row[0] = length = 1.0
    return array("f", (value / length for value in row)).tobytes()
