"""Anti-entropy: again and again a session with one partner chosen at random, so that no event stays unknown (X02).

Whatever is lost elsewhere (a broadcast, a push, a partner that lies) is found here. A session that moved events is
soon followed by the next, because what is new to one is new to others; else the interval is the specification's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from hearthnet.base.errors import HearthNetError, InvalidSignature, RateLimited
from hearthnet.mesh.sync_session import SyncResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hearthnet.mesh.standing import Standing
    from hearthnet.mesh.sync_client import SyncClient
    from hearthnet.ports import Clock, Peer

INTERVAL_S: Final = 300.0
EMERGENCY_INTERVAL_S: Final = 30.0
NEWS_INTERVAL_S: Final = 1.0
_JITTER: Final = 0.2  # of the interval, so that nodes switched on together do not ask together


class Partners(Protocol):
    """Who can be asked now: verified members of the community, without this node."""

    def __call__(self) -> Sequence[Peer]:
        """The peers with their addresses."""


class Gossip:
    """Chooses partners and holds sessions; `run` is a task of the node, `wake` asks it to be quick."""

    def __init__(
        self,
        client: SyncClient,
        partners: Partners,
        standing: Standing,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        on_result: Callable[[Peer, SyncResult | HearthNetError], None] | None = None,
    ) -> None:
        self.interval_s = INTERVAL_S  # the emergency mode sets it lower
        self._client = client
        self._partners = partners
        self._standing = standing
        self._clock = clock
        self._random_bytes = random_bytes
        self._on_result = on_result
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There is news here: let the next session come soon."""
        self._woken.set()

    async def run(self) -> None:
        """Hold sessions for ever."""
        while True:
            result = await self.tick()
            if result is not None and result.pulled + result.pushed:
                self.wake()
            await self._pause()

    async def tick(self) -> SyncResult | None:
        """One session with a partner chosen at random; None when there was none to ask or it failed."""
        able = [peer for peer in self._partners() if not self._standing.is_resting(peer.node_id)]
        if not able:
            return None
        peer = able[self._draw(len(able))]
        result: SyncResult | HearthNetError
        try:
            result = await self._client.sync(peer)
            self._standing.succeed(peer.node_id)
        except HearthNetError as error:
            if error.fault == "local" or isinstance(error, RateLimited | InvalidSignature):
                self._standing.fail(peer.node_id)  # not there, busy, or somebody else in its place
            result = error
        if self._on_result is not None:
            self._on_result(peer, result)
        return result if isinstance(result, SyncResult) else None

    async def _pause(self) -> None:
        """Wait for the interval, or a moment when there is news."""
        share = 1 - _JITTER / 2 + _JITTER * self._draw(1 << 16) / (1 << 16)
        waiting = asyncio.ensure_future(self._clock.sleep(self.interval_s * share))
        woken = asyncio.ensure_future(self._woken.wait())
        try:
            await asyncio.wait((waiting, woken), return_when=asyncio.FIRST_COMPLETED)
            if self._woken.is_set():
                self._woken.clear()
                await self._clock.sleep(NEWS_INTERVAL_S * share)
        finally:
            waiting.cancel()
            woken.cancel()

    def _draw(self, below: int) -> int:
        return int.from_bytes(self._random_bytes(8)) % below
