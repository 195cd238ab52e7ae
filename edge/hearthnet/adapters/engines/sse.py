"""Server-sent events, cut from a stream of bytes; pure (M04)."""

from __future__ import annotations

from typing import Final

from hearthnet.base.errors import FrameMalformed

EVENT_MAX_BYTES: Final = 1_048_576


class EventReader:
    """Collects bytes and gives out the `data` of each line; other fields and comments are passed over."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The data of the lines completed by these bytes; raises FrameMalformed when a line grows without end."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > EVENT_MAX_BYTES:
            raise FrameMalformed("an event without an end")
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]
