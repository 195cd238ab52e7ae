"""A document reader without a process, for tests: text is its own reading; `history` lists the media types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hearthnet.base.errors import BadRequest
from hearthnet.ports import Page, Reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class FakeReader:
    """Reads UTF-8 text, a form feed ends a page; bytes that are no UTF-8 are refused."""

    def __init__(self) -> None:
        self.history: list[str] = []

    async def read(self, content: AsyncIterator[bytes], media_type: str = "") -> Reading:
        """See `hearthnet.ports.DocumentReader`."""
        self.history.append(media_type)
        try:
            text = b"".join([piece async for piece in content]).decode()
        except UnicodeDecodeError as error:
            raise BadRequest("not a text") from error
        parts = [part for part in text.split("\f") if part.strip()]
        if not parts:
            raise BadRequest("the document holds no text")
        numbered = len(parts) > 1
        return Reading(
            tuple(Page(number if numbered else 0, part) for number, part in enumerate(parts, 1)),
            media_type or "text/plain",
        )
