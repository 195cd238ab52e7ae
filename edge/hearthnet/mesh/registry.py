"""What can be called, here and later at neighbours: entries by name and version (M03)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from hearthnet.base.errors import CapabilityConflict
from hearthnet.base.types import NodeID
from hearthnet.mesh.capability import CapabilityName, Descriptor, Offer, parse_name
from hearthnet.mesh.health import Health
from hearthnet.mesh.schema import Codec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hearthnet.mesh.capability import Capability
    from hearthnet.mesh.deadlines import Lane

NAMESPACES: Final = frozenset({
    "auth", "chat", "civdef", "community", "discovery", "embed", "evidence", "experimental", "federation", "file",
    "img", "llm", "lora", "market", "model", "moe", "observability", "ocr", "protocol", "rag", "rerank", "stt",
    "tool", "trans", "tts",
})  # fmt: skip


class Entry(Struct, eq=False):
    """One capability at one node, with what the router must know about it.

    `invoke(call, params, input)` is the handler itself for a local entry; an entry at a neighbour has one that sends
    the call there. Nothing else tells them apart.
    """

    name: str  # name@X.Y
    capability: str
    version: str
    node_id: NodeID
    descriptor: Descriptor
    is_local: bool
    invoke: Callable[..., Any]
    codec: Codec
    lane: Lane
    health: Health
    offer: Offer | None = None
    in_flight: int = 0
    last_seen: float = 0.0  # monotonic; only of neighbours
    threshold: float = 0.0  # in_flight below which a local entry is preferred


class Registry:
    """Entries by name; every change clears what was looked up before."""

    def __init__(self) -> None:
        self._entries: dict[tuple[NodeID, CapabilityName], Entry] = {}
        self._found: dict[str, tuple[Entry, ...]] = {}

    def add(self, entry: Entry) -> None:
        """Add an entry; the same name, version and node twice raises CapabilityConflict."""
        key = (entry.node_id, entry.descriptor.name)
        if key in self._entries:
            raise CapabilityConflict(f"{entry.name} is declared twice")
        self._entries[key] = entry
        self._found.clear()

    def remove(self, entry: Entry) -> None:
        """Take an entry out; calls that run there go on."""
        self._entries.pop((entry.node_id, entry.descriptor.name), None)
        self._found.clear()

    def find(self, text: str) -> tuple[Entry, ...]:
        """All entries that satisfy `name@X.Y`: local ones first, then higher versions; raises BadRequest."""
        found = self._found.get(text)
        if found is None:
            wanted = parse_name(text)
            matching = [entry for entry in self._entries.values() if entry.descriptor.name.satisfies(wanted)]
            matching.sort(key=lambda entry: (not entry.is_local, [-part for part in entry.descriptor.name.version]))
            found = tuple(matching)
            if found:
                self._found[text] = found
        return found

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)


def make_entry(
    capability: Capability, node_id: NodeID, lane: Lane, *, is_local: bool, preferred_load: float, now: float
) -> Entry:
    """The entry of a capability at a node; a local one is preferred while its load is below `preferred_load`."""
    descriptor = capability.descriptor
    major, minor = descriptor.name.version
    return Entry(
        name=str(descriptor.name),
        capability=descriptor.name.name,
        version=f"{major}.{minor}",
        node_id=node_id,
        descriptor=descriptor,
        is_local=is_local,
        invoke=capability.handler,
        codec=Codec(descriptor),
        lane=lane,
        health=Health(),
        offer=capability.offer,
        last_seen=now,
        threshold=preferred_load * descriptor.max_concurrent,
    )


def check_namespace(offered: Iterable[Capability]) -> None:
    """One service stays below one reserved first word; raises CapabilityConflict (`namespace_violation`)."""
    own = ""
    for capability in offered:
        first = capability.descriptor.name.name.partition(".")[0]
        if first not in NAMESPACES:
            raise CapabilityConflict(f"{capability.descriptor.name}: write it experimental.{first}...")
        if own and first != own:
            raise CapabilityConflict(f"{capability.descriptor.name}: this service's namespace is {own}")
        own = first
