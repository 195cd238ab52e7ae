"""Making this node known on the local network and hearing of others, at the pace that the link bears (M02)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hearthnet.wire.announce_pace import AnnouncePace
from hearthnet.wire.discovery import Hint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hearthnet.base.types import CommunityID, NodeID
    from hearthnet.mesh.peers import PeerRegistry
    from hearthnet.ports import Announcer, Clock, Sighting

ENOUGH_PEERS: Final = 2
_LOOK_AGAIN_S: Final = 5.0  # at the interfaces
_REST_MIN_S: Final = 0.05


class Discovery:
    """Runs the announcers; what they hear goes to the registry, which asks the nodes themselves."""

    def __init__(
        self, node_id: NodeID, community: CommunityID, port: Callable[[], int], offered: Callable[[], Sequence[str]],
        registry: PeerRegistry, announcers: Sequence[Announcer], clock: Clock, random: Callable[[], float],
    ) -> None:  # fmt: skip
        self._node_id = node_id
        self._community = community
        self._port = port
        self._offered = offered
        self._registry = registry
        self._announcers = announcers
        self._clock = clock
        self._random = random
        self._pace = AnnouncePace(random, clock.monotonic())
        self._hint: Hint | None = None

    async def run(self) -> None:
        """Announce and listen until cancelled; then withdraw."""
        try:
            for announcer in self._announcers:
                await announcer.open(self._hear)
            while True:
                await self.step()
                rest_s = min(self._pace.due_at - self._clock.monotonic(), _LOOK_AGAIN_S)
                await self._clock.sleep(max(_REST_MIN_S, rest_s))
        finally:
            for announcer in self._announcers:
                await announcer.close()

    async def step(self) -> None:
        """Look at the interfaces and at what is offered; announce when it is time."""
        now = self._clock.monotonic()
        self._pace.hurried = self._registry.is_offline
        moved = [announcer.refresh() for announcer in self._announcers]
        if any(moved):
            self._registry.look_again()
        hint = self._describe()
        if hint != self._hint or any(moved):
            self._hint = hint
            self._pace.hurry(now)
        if self._pace.is_due(now):
            for announcer in self._announcers:
                await announcer.announce(hint)
        looking = len(self._registry.peers()) < ENOUGH_PEERS
        for announcer in self._announcers:
            await announcer.look(looking)

    def _describe(self) -> Hint:
        """The hint of now; its revision rises with what is offered."""
        caps = tuple(sorted(set(self._offered())))[:64]
        if self._hint is not None and (self._hint.caps, self._hint.port) == (caps, self._port()):
            return self._hint
        rev = int(self._clock.monotonic() * 1000) if self._hint is None else self._hint.rev + 1
        return Hint(self._node_id, self._community, self._port(), caps, rev)

    def _hear(self, sighting: Sighting) -> None:
        if sighting.hint.node != self._node_id:
            self._pace.hear(sighting.hint.node, self._clock.monotonic())
            self._registry.sight(sighting)
