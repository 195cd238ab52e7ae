"""Chat messages as one prompt (M04).

Templates inside model files are programs; for models of the catalogue we write the prompt ourselves. Words of people
and documents can never open a new turn: what would be read as a control token is broken up.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hearthnet.base.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

_CONTROL: Final = re.compile(r"<(?=\||/?s>|(?:start|end)_of_turn>|begin_of|end_of)|\[(?=/?INST\]|gMASK\])")
_ROLES: Final = ("system", "user", "assistant")


def neutral(text: str) -> str:
    """The text with every control token broken up by a space."""
    return _CONTROL.sub(lambda found: f"{found[0]} ", text)


def neutral_messages(messages: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Checked roles and neutral contents; raises BadRequest for a role that no model knows."""
    clean = []
    for role, content in messages:
        if role not in _ROLES:
            raise BadRequest(f"{role[:32]!r} is no role", fix="use system, user or assistant")
        clean.append((role, neutral(content)))
    return clean


def chatml(messages: Iterable[tuple[str, str]]) -> str:
    """The prompt of ChatML models such as SmolLM2, open for the assistant's turn."""
    turns = [f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in neutral_messages(messages)]
    return "".join(turns) + "<|im_start|>assistant\n"
