"""Reading documents from outside in a child process with bounded time, memory and output (M05).

Parsers of PDF and HTML see bytes that nobody vouches for. A crash, a bomb or an endless loop ends the child and becomes
a `BadRequest`; the node goes on.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

import hearthnet
from hearthnet.adapters.readers.kinds import Limits, Order, Sheet
from hearthnet.base.errors import BadRequest, HearthNetError, Unavailable
from hearthnet.ports import Page, Reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LIMITS: Final = Limits()
_TOO_MUCH: Final = "split the document, or save the part you need as plain text"
_SOURCES: Final = str(Path(hearthnet.__file__).resolve().parents[1])
_LINE_BYTES: Final = 8 * 1_048_576


class ReaderProcess:
    """See `hearthnet.ports.DocumentReader`."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits

    async def read(self, content: AsyncIterator[bytes], media_type: str = "") -> Reading:
        """Text of a document; raises BadRequest, and Unavailable when no process can be started."""
        child = await _start()
        feeding = asyncio.create_task(self._feed(child, content, media_type), name="feed document reader")
        try:
            async with asyncio.timeout(self._limits.wall_s):
                return await self._collect(child)
        except BadRequest as refused:
            if feeding.done() and (fault := feeding.exception()) is not None:
                raise fault from refused  # the document never arrived whole
            raise
        except TimeoutError as error:
            raise BadRequest("reading this document takes too long", fix=_TOO_MUCH) from error
        finally:
            with suppress(ProcessLookupError):
                child.kill()
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            await child.wait()

    async def _feed(self, child: asyncio.subprocess.Process, content: AsyncIterator[bytes], media_type: str) -> None:
        """Give the child its order and the document; the blob's own errors pass, the child's end does not matter."""
        assert child.stdin is not None  # noqa: S101  started with a pipe
        child.stdin.write(msgspec.json.encode(Order(media_type, self._limits)) + b"\n")
        given = 0
        try:
            async for piece in content:
                given += len(piece)
                if given > self._limits.input_bytes:
                    raise BadRequest(f"the document is larger than {self._limits.input_bytes >> 20} MiB", fix=_TOO_MUCH)
                child.stdin.write(piece)
                with suppress(ConnectionError):
                    await child.stdin.drain()
        except HearthNetError:
            child.kill()
            raise
        child.stdin.close()

    async def _collect(self, child: asyncio.subprocess.Process) -> Reading:
        assert child.stdout is not None  # noqa: S101  started with a pipe
        pages: list[Page] = []
        chars = 0
        while line := await _next_line(child.stdout):
            sheet = msgspec.json.decode(line, type=Sheet)
            if sheet.error:
                raise BadRequest(sheet.error, fix=sheet.fix)
            if sheet.media_type:
                return Reading(tuple(pages), sheet.media_type, sheet.text)
            chars += len(sheet.text)
            if chars > self._limits.text_chars:
                raise BadRequest(f"the document holds more than {self._limits.text_chars:,} characters", fix=_TOO_MUCH)
            pages.append(Page(sheet.number, sheet.text))
        raise BadRequest(
            "the document cannot be read: it is damaged, or needs more memory or time than a document may",
            fix="open it and save it anew, or save it as plain text",
        )


async def _start() -> asyncio.subprocess.Process:
    known = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL", "SYSTEMROOT") if key in os.environ}
    known["PYTHONPATH"] = _SOURCES
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hearthnet.adapters.readers.child",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env=known, limit=_LINE_BYTES,
        )  # fmt: skip
    except OSError as error:
        raise Unavailable(f"no process for the document reader: {error.strerror}") from error


async def _next_line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError as error:  # one line above the limit
        raise BadRequest("one page of the document holds too much text", fix=_TOO_MUCH) from error
