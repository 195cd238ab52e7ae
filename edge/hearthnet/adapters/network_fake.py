"""A network in memory: stations under one clock, joined by slow, lossy, cut and narrow links.

What happens to the n-th message of a link follows from the seed alone, not from what other links carry, so that a run
can be repeated. `history` and `traffic` say what was sent; `faults` holds what a handler raised that is no error of
the contract. `transport_fake` speaks the protocol over it (X01).
"""

from __future__ import annotations

import asyncio
import heapq
import struct
from collections import defaultdict, deque
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from blake3 import blake3
from msgspec import Struct

from hearthnet.base.errors import CallTimeout, HearthNetError, InternalError, InvalidSignature, Unavailable
from hearthnet.ports import Address

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from hearthnet.base.types import NodeID
    from hearthnet.ports import Clock, Peer, PeerServer

PORT: Final = 7080
HISTORY_MAX: Final = 200_000
_ROLL_MAX: Final = float(1 << 64)
_ROLLS: Final = struct.Struct(">5Q")


class Link(Struct, frozen=True):
    """How one direction between two nodes behaves; shares are between 0 and 1."""

    delay_s: float = 0.005
    jitter_s: float = 0.0  # evenly spread, added to the delay
    loss: float = 0.0  # share of messages that never arrive
    duplicate: float = 0.0  # share of requests that arrive twice
    reorder: float = 0.0  # share of messages that are held back, so that later ones overtake them
    held_s: float = 0.5  # at most, evenly spread
    bytes_per_s: float = 0.0  # one message after the other; 0 = no limit


class Delivery(Struct, frozen=True):
    """One message that somebody tried to send."""

    at: float  # monotonic
    source: NodeID
    target: NodeID
    what: str  # capability, path or "manifest"; "reply" for the way back
    size_bytes: int
    outcome: str  # sent | lost | cut


class Traffic(Struct):
    """What one node has sent, and its requests."""

    messages: int = 0
    bytes: int = 0
    requests: int = 0


class Station(Struct, eq=False):
    """One node on the network."""

    node_id: NodeID
    address: Address
    server: PeerServer | None
    flights: dict[asyncio.Task[Any], asyncio.Future[Any]]

    @property
    def listening(self) -> PeerServer:
        """What serves here; raises Unavailable for a node that only calls."""
        if self.server is None:
            raise Unavailable("nobody listens there")
        return self.server


class Fate(Struct, frozen=True):
    """What a link does to one message."""

    delay_s: float
    lost: bool = False
    twice_after_s: float | None = None


class FakeNetwork:
    """Stations and links; `transport_fake.FakeTransport` is one node's way onto it."""

    def __init__(self, clock: Clock, seed: int = 0, link: Link = Link()) -> None:  # noqa: B008  frozen
        self.clock = clock
        self.default = link
        self.history: deque[Delivery] = deque(maxlen=HISTORY_MAX)
        self.traffic: defaultdict[NodeID, Traffic] = defaultdict(Traffic)
        self.faults: list[BaseException] = []
        self.deadlines = _Deadlines(clock)
        self._key = blake3(b"hearthnet fake network %d" % seed).digest()
        self._stations: dict[NodeID, Station] = {}
        self._by_address: dict[Address, Station] = {}
        self._links: dict[tuple[NodeID, NodeID], Link] = {}
        self._sent: defaultdict[tuple[NodeID, NodeID], int] = defaultdict(int)
        self._busy_until: dict[tuple[NodeID, NodeID], float] = {}
        self._group: dict[NodeID, int] = {}
        self._hosts = count(1)

    # ---- who is there -----------------------------------------------------------------------------------------

    def join(self, node_id: NodeID, server: PeerServer | None) -> Station:
        """Put a node on the network, at a new address; one that was there is replaced."""
        self.leave(node_id)
        station = Station(node_id, self._new_address(), server, {})
        self._stations[node_id] = self._by_address[station.address] = station
        return station

    def leave(self, node_id: NodeID) -> None:
        """A node crashes: what runs there ends, who waits for it learns at once."""
        station = self._stations.pop(node_id, None)
        if station is None:
            return
        self._by_address.pop(station.address, None)
        for flight, reply in list(station.flights.items()):
            if not reply.done():
                reply.set_exception(Unavailable(f"{station.address.host} broke off"))
                reply.exception()  # nobody has to ask for it
            flight.cancel()

    def move(self, node_id: NodeID) -> Address:
        """A node gets another address, as from DHCP."""
        station = self._stations[node_id]
        del self._by_address[station.address]
        station.address = self._new_address()
        self._by_address[station.address] = station
        return station.address

    def _new_address(self) -> Address:
        number = next(self._hosts)
        return Address(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", PORT)

    # ---- links --------------------------------------------------------------------------------------------------

    def connect(self, source: NodeID, target: NodeID, link: Link, *, both: bool = True) -> None:
        """Give a pair of nodes a link of its own."""
        self._links[source, target] = link
        if both:
            self._links[target, source] = link

    def split(self, *groups: Iterable[NodeID]) -> None:
        """Cut the network: nodes reach those of their group only; who is in none forms one more."""
        self._group = {node_id: number for number, group in enumerate(groups, 1) for node_id in group}

    def heal(self) -> None:
        """End every cut."""
        self._group = {}

    def are_joined(self, source: NodeID, target: NodeID) -> bool:
        """Whether messages can pass now."""
        return self._group.get(source, 0) == self._group.get(target, 0)

    # ---- messages -----------------------------------------------------------------------------------------------

    def find(self, source: NodeID, peer: Peer) -> Station | None:
        """Who answers at one of the peer's addresses; None when nothing comes back.

        Raises Unavailable when all refuse, InvalidSignature when another node answers.
        """
        if source not in self._stations:
            raise Unavailable("this node is off the network")
        silent, another = False, False
        for address in peer.addresses:
            station = self._by_address.get(address)
            if station is None:
                continue
            if not self.are_joined(source, station.node_id):
                silent = True
            elif station.node_id == peer.node_id:
                return station
            else:
                another = True
        if another:
            raise InvalidSignature("another node answers there")
        if silent:
            return None
        raise Unavailable("nobody listens there")

    def send(self, source: NodeID, target: NodeID, what: str, size: int) -> Fate:
        """Put one message on a link."""
        now = self.clock.monotonic()
        fate = self._fate(source, target, size, now)
        outcome = "lost" if fate.lost else "sent"
        if not self.are_joined(source, target):
            fate, outcome = Fate(0.0, lost=True), "cut"
        self.history.append(Delivery(now, source, target, what, size, outcome))
        sent = self.traffic[source]
        sent.messages += 1
        sent.bytes += size
        sent.requests += what != "reply"
        return fate

    def _fate(self, source: NodeID, target: NodeID, size: int, now: float) -> Fate:
        way = (source, target)
        link = self._links.get(way, self.default)
        number = self._sent[way]
        self._sent[way] = number + 1
        delay = link.delay_s
        if link.bytes_per_s:
            begins = max(now, self._busy_until.get(way, 0.0))
            self._busy_until[way] = begins + size / link.bytes_per_s
            delay += self._busy_until[way] - now
        if not (link.jitter_s or link.loss or link.duplicate or link.reorder):
            return Fate(delay)
        rolls = blake3(f"{source} {target} {number}".encode(), key=self._key).digest(40)
        jitter, loss, duplicate, reorder, held = (roll / _ROLL_MAX for roll in _ROLLS.unpack(rolls))
        delay += jitter * link.jitter_s
        if reorder < link.reorder:
            delay += held * link.held_s
        again = delay + held * link.held_s if duplicate < link.duplicate else None
        return Fate(delay, loss < link.loss, again)

    # ---- work in flight -----------------------------------------------------------------------------------------

    def fly(
        self, work: Coroutine[Any, Any, Any], reply: asyncio.Future[Any], *stations: Station,
        within_s: float | None = None,
    ) -> asyncio.Task[Any]:  # fmt: skip
        """Run what answers `reply` until it ends, the deadline passes or one of the stations leaves."""
        flight = asyncio.get_running_loop().create_task(work)
        for station in stations:
            station.flights[flight] = reply

        def landed(_: asyncio.Task[Any]) -> None:
            for station in stations:
                station.flights.pop(flight, None)
            error = None if flight.cancelled() else flight.exception()
            if error is not None and not isinstance(error, HearthNetError):
                self.faults.append(error)
                if not reply.done():
                    reply.set_exception(InternalError("the node made a mistake; it is in `faults`"))

        flight.add_done_callback(landed)
        if within_s is not None:
            self.deadlines.add(self.clock.monotonic() + within_s, reply)
        return flight


class _Deadlines:
    """Futures that fail with CallTimeout when their time has come; one sleeping task for all of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: list[tuple[float, int, asyncio.Future[Any]]] = []
        self._order = count()
        self._watcher: asyncio.Task[None] | None = None
        self._wakes_at = 0.0

    def add(self, at: float, reply: asyncio.Future[Any]) -> None:
        """Watch a future until it is done."""
        heapq.heappush(self._due, (at, next(self._order), reply))
        if self._watcher is not None and not self._watcher.done() and self._wakes_at <= at:
            return
        self.close()
        self._wakes_at = at
        self._watcher = asyncio.get_running_loop().create_task(self._watch(), name="fake network deadlines")

    def close(self) -> None:
        """End the task."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def _watch(self) -> None:
        while self._due:
            self._wakes_at = self._due[0][0]
            await self._clock.sleep(self._wakes_at - self._clock.monotonic())
            now = self._clock.monotonic()
            while self._due and (self._due[0][0] <= now or self._due[0][2].done()):
                reply = heapq.heappop(self._due)[2]
                if not reply.done():
                    reply.set_exception(CallTimeout("no answer in time"))
