"""Sticky sessions: a conversation stays with the node that holds its prompt state (M03)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from hearthnet.base.constants import STICKY_IDLE_TTL_S

if TYPE_CHECKING:
    from hearthnet.mesh.registry import Entry

SESSIONS_MAX: Final = 10_000
SessionKey = tuple[str, str, str]  # caller, session id, capability: ids of two callers never meet


class StickySessions:
    """Bindings in the order of their last use; idle ones end after ten minutes, the oldest fall out."""

    def __init__(self) -> None:
        self._bound: OrderedDict[SessionKey, tuple[Entry, float]] = OrderedDict()

    def find(self, key: SessionKey, now: float) -> Entry | None:
        """The entry this session is bound to; using it keeps it bound."""
        found = self._bound.get(key)
        if found is None:
            return None
        if now - found[1] > STICKY_IDLE_TTL_S:
            del self._bound[key]
            return None
        self._bound[key] = (found[0], now)
        self._bound.move_to_end(key)
        return found[0]

    def bind(self, key: SessionKey, entry: Entry, now: float) -> None:
        """Bind, or bind anew."""
        self._bound[key] = (entry, now)
        self._bound.move_to_end(key)
        while self._bound:
            oldest, (_, used) = next(iter(self._bound.items()))
            if len(self._bound) <= SESSIONS_MAX and now - used <= STICKY_IDLE_TTL_S:
                return
            del self._bound[oldest]

    def release(self, entry: Entry) -> None:
        """Unbind all sessions of an entry that leaves."""
        for key in [key for key, (bound, _) in self._bound.items() if bound is entry]:
            del self._bound[key]

    def __len__(self) -> int:
        return len(self._bound)
