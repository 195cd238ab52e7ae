"""Text from an engine that may die: tried once more while nothing is lost by it, never a hang (M04)."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import msgspec

from hearthnet.base.errors import EngineDied
from hearthnet.wire.quote import choice_grammar, settled_choice

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from hearthnet.ports import Engines, GenerateRequest, TextDelta

_TRIES: Final = 2


async def generate_text(engines: Engines, model: str, request: GenerateRequest) -> AsyncGenerator[TextDelta, None]:
    """The engine's text.

    When the engine dies, a text to complete goes on behind the words written so far, and a chat begins anew if nothing
    was said yet; else EngineDied is raised.
    """
    written = ""
    for attempt in range(_TRIES):
        try:
            async with aclosing(engines.generate(model, _behind(request, written))) as deltas:
                async for delta in deltas:
                    written += delta.text
                    yield delta
            return
        except EngineDied:
            constrained = request.grammar or request.json_schema
            if attempt + 1 == _TRIES or (written and (constrained or not request.raw_prompt)):
                raise


async def choose_sentence(engines: Engines, model: str, request: GenerateRequest, options: Sequence[str]) -> int:
    """Which of these sentences the model says next; its grammar allows no other words."""
    written = ""
    bound = msgspec.structs.replace(request, grammar=choice_grammar(options))
    async with aclosing(generate_text(engines, model, bound)) as deltas:
        async for delta in deltas:
            written += delta.text
            settled = settled_choice(written, options)
            if settled is not None:
                return settled
    return 0


def _behind(request: GenerateRequest, written: str) -> GenerateRequest:
    if not written:
        return request
    left = max(1, request.max_tokens - len(written) // 4)
    return msgspec.structs.replace(request, raw_prompt=request.raw_prompt + written, max_tokens=left)
