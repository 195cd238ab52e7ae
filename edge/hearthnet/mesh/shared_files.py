"""Which node says that it holds which file: from the log, and from hints that neighbours gave (M07)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec
from msgspec import Struct

from hearthnet.base.types import CID, NodeID
from hearthnet.mesh.views import Order, order_of
from hearthnet.wire.event_types import CidAdvertised, CidUnpinned

if TYPE_CHECKING:
    from hearthnet.wire.event import Sealed

_HINTS_KEPT: Final = 10_000


class _Claim(Struct, frozen=True, gc=False):
    cid: CID
    node_id: NodeID
    order: Order
    holds: bool


class HoldersView:
    """The last word of each node on each file, by (lamport, event id)."""

    name: ClassVar[str] = "holders"
    kinds: ClassVar[tuple[type[Struct], ...]] = (CidAdvertised, CidUnpinned)

    def __init__(self) -> None:
        self._claims: dict[CID, dict[NodeID, _Claim]] = {}
        self._hints: OrderedDict[tuple[CID, NodeID], None] = OrderedDict()

    def reset(self) -> None:
        """Forget what the log said; hints stay."""
        self._claims = {}

    def apply(self, sealed: Sealed) -> None:
        """Take one event into account."""
        data = sealed.data
        if not isinstance(data, CidAdvertised | CidUnpinned):
            return
        claim = _Claim(data.cid, sealed.event.author, order_of(sealed), isinstance(data, CidAdvertised))
        by_node = self._claims.setdefault(data.cid, {})
        known = by_node.get(claim.node_id)
        if known is None or known.order < claim.order:
            by_node[claim.node_id] = claim

    def snapshot_state(self) -> bytes:
        """The state as JSON."""
        return msgspec.json.encode([claim for by_node in self._claims.values() for claim in by_node.values()])

    def restore_state(self, state: bytes) -> None:
        """Replace the state."""
        claims = msgspec.json.decode(state, type=list[_Claim])
        self._claims = {}
        for claim in claims:
            self._claims.setdefault(claim.cid, {})[claim.node_id] = claim

    def add_hint(self, cid: CID, node_id: NodeID) -> None:
        """A neighbour said so itself; the oldest hints go first."""
        self._hints[cid, node_id] = None
        self._hints.move_to_end((cid, node_id))
        if len(self._hints) > _HINTS_KEPT:
            self._hints.popitem(last=False)

    def is_shared(self, cid: CID, node_id: NodeID) -> bool:
        """Whether this node told the community that it holds the file."""
        claim = self._claims.get(cid, {}).get(node_id)
        return claim is not None and claim.holds

    def holders(self, cid: CID) -> list[NodeID]:
        """Nodes that may have the file."""
        told = {claim.node_id for claim in self._claims.get(cid, {}).values() if claim.holds}
        return sorted(told | {node_id for hinted, node_id in self._hints if hinted == cid})
