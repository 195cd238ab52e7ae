"""Flow control of a streamed reply: at most 16 frames unread, exactly one terminal frame (X01 "Streams").

| state | frame | terminal frame | ack | cancel |
|---|---|---|---|---|
| open, fewer than 16 unread | sent | sent, then closed | counted | then cancelled |
| full, 16 unread | refused | sent, then closed | counted, open again | then cancelled |
| cancelled | refused | sent, then closed | counted | nothing |
| closed | refused | refused | nothing | nothing |
"""

from __future__ import annotations

from typing import Any

from hearthnet.base.constants import STREAM_ACK_INTERVAL_FRAMES, STREAM_ACK_TIMEOUT_S, STREAM_WINDOW_FRAMES
from hearthnet.base.errors import FrameMalformed, InternalError
from hearthnet.wire.frame import TERMINAL_EVENTS, StreamFrame


class StreamSender:
    """The side that answers; time is an argument."""

    def __init__(self, window: int = STREAM_WINDOW_FRAMES) -> None:
        self._window = window
        self._sent = 0
        self._acked = 0
        self._full_since: float | None = None
        self.cancelled = False
        self.closed = False

    @property
    def is_ready(self) -> bool:
        """Whether a frame that is not terminal may be sent now."""
        return not self.closed and not self.cancelled and self._sent - self._acked < self._window

    def send(self, event: str, data: Any, now: float) -> StreamFrame:
        """The next frame; raises InternalError when the table above refuses it."""
        terminal = event in TERMINAL_EVENTS
        if self.closed or not (terminal or self.is_ready):
            raise InternalError(f"frame {event!r} sent on a stream that is closed, cancelled or full")
        self._sent += 1
        self.closed = terminal
        if not terminal and not self.is_ready:
            self._full_since = now
        return StreamFrame(event, data, self._sent)

    def ack(self, upto: int) -> None:
        """The reader has read up to this frame; raises FrameMalformed for frames that were never sent."""
        if upto > self._sent or upto < 0:
            raise FrameMalformed(f"ack of frame {upto}, {self._sent} were sent")
        if upto > self._acked:
            self._acked = upto
            self._full_since = None

    def cancel(self) -> None:
        """The reader wants no more; only the terminal frame may follow."""
        self.cancelled = True

    def is_stalled(self, now: float) -> bool:
        """Whether the reader has left the window full for longer than the ack timeout."""
        return not self.closed and self._full_since is not None and now - self._full_since > STREAM_ACK_TIMEOUT_S


class StreamReceiver:
    """The side that asked; says when to acknowledge and whether the stream kept the rules."""

    def __init__(self) -> None:
        self._received = 0
        self.closed = False

    def receive(self, frame: StreamFrame) -> int | None:
        """Count a frame; the number to acknowledge, if it is time. Raises FrameMalformed."""
        if self.closed:
            raise FrameMalformed("a frame after the terminal one")
        if frame.seq != self._received + 1:
            raise FrameMalformed(f"frame {frame.seq} where {self._received + 1} was due")
        self._received = frame.seq
        self.closed = frame.is_terminal
        due = frame.seq % STREAM_ACK_INTERVAL_FRAMES == 0 and not self.closed
        return frame.seq if due else None

    def finish(self) -> None:
        """The connection has ended; raises FrameMalformed when no terminal frame came."""
        if not self.closed:
            raise FrameMalformed("the stream ended without a terminal frame")
