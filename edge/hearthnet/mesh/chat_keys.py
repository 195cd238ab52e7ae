"""Keys for sessions: what others have published, and our own (M23).

Without a server nobody hands one-time keys out, so each is made for one named node; whoever has none uses the signed
prekey that all share. Keys are published at most once a day, because every member keeps every such event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import msgspec
from msgspec import Struct

from hearthnet.base.errors import SessionMissing
from hearthnet.base.types import NodeID
from hearthnet.mesh.views import Order, order_of
from hearthnet.wire.chat import OneTimePrekey, PrekeysPublished, SignedPrekey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hearthnet.mesh.chat_store import ChatSession, ChatStore
    from hearthnet.mesh.events import EventLog
    from hearthnet.mesh.ratchets import Ratchets
    from hearthnet.ports import Clock, Transaction
    from hearthnet.wire.event import Sealed

ONE_TIME_KEYS: Final = 40  # what an Olm account keeps is 50
PUBLISH_EVERY_S: Final = 86_400.0


class _Published(Struct, frozen=True):
    order: Order
    keys: PrekeysPublished


class PrekeysView:
    """The newest published keys of every member."""

    name: ClassVar[str] = "prekeys"
    kinds: ClassVar[tuple[type[Struct], ...]] = (PrekeysPublished,)

    def __init__(self) -> None:
        self._keys: dict[NodeID, _Published] = {}

    def reset(self) -> None:
        """Forget everything."""
        self._keys = {}

    def apply(self, sealed: Sealed) -> None:
        """Take one event into account."""
        if isinstance(sealed.data, PrekeysPublished):
            found = _Published(order_of(sealed), sealed.data)
            known = self._keys.get(sealed.event.author)
            if known is None or known.order < found.order:
                self._keys[sealed.event.author] = found

    def snapshot_state(self) -> bytes:
        """The state as JSON."""
        return msgspec.json.encode(self._keys)

    def restore_state(self, state: bytes) -> None:
        """Replace the state."""
        self._keys = msgspec.json.decode(state, type=dict[NodeID, _Published])

    def of(self, node_id: NodeID) -> PrekeysPublished | None:
        """What a node has published last."""
        found = self._keys.get(node_id)
        return found.keys if found else None


class ChatKeys:
    """This node's account, and the choice of keys for a new session."""

    def __init__(self, view: PrekeysView, chats: ChatStore, ratchets: Ratchets, log: EventLog, clock: Clock) -> None:
        self._view = view
        self._chats = chats
        self._ratchets = ratchets
        self._log = log
        self._clock = clock

    async def account(self) -> str:
        """Our account, made at first need."""
        rows = await self._chats.store.query("SELECT account FROM chat_account")
        if rows:
            return str(rows[0][0])
        account = self._ratchets.new_account()
        await self._chats.store.transact(
            lambda tx: tx.execute("INSERT OR IGNORE INTO chat_account (id, account) VALUES (1, ?)", (account,))
        )
        return await self.account()

    async def publish(self, partners: Sequence[NodeID], *, now_anyway: bool = False) -> bool:
        """Publish our keys when there are none of ours in the log, or a day has passed; whether it was done.

        Partners get one-time keys first, then the other members.
        """
        account, now = await self.account(), self._clock.now()
        ((published_at,),) = await self._chats.store.query("SELECT published_at FROM chat_account")
        ours = self._view.of(self._log.node_id)
        current = ours is not None and ours.identity_pubkey == self._ratchets.identity(account)
        if current and not now_anyway and published_at is not None and 0 <= now - published_at < PUBLISH_EVERY_S:
            return False
        others = [member.node_id for member in self._log.members.members() if member.node_id != self._log.node_id]
        chosen = list(dict.fromkeys([*(node for node in partners if node in others), *others]))[:ONE_TIME_KEYS]
        account, keys = self._ratchets.make_keys(account, len(chosen))

        def keep(tx: Transaction) -> None:
            tx.execute("UPDATE chat_account SET account = ?, published_at = ?", (account, now))

        await self._chats.store.transact(keep)  # first: a key that was published must be ours after a crash
        pairs = zip(chosen, keys.one_time, strict=True)
        await self._log.append(
            PrekeysPublished(
                keys.identity, SignedPrekey(keys.fallback), tuple(OneTimePrekey(node, key) for node, key in pairs)
            )
        )
        return True

    def choose(self, peer: NodeID, sessions: Iterable[ChatSession]) -> tuple[str, str]:
        """Identity key and prekey for a new session with a node; raises SessionMissing."""
        keys = self._view.of(peer)
        if keys is None:
            raise SessionMissing("the other node has not published its keys yet")
        used = {session.prekey for session in sessions}
        for offered in keys.one_time_prekeys:
            if offered.node_id == self._log.node_id and offered.pubkey not in used:
                return keys.identity_pubkey, offered.pubkey
        return keys.identity_pubkey, keys.signed_prekey.pubkey

    def is_current(self, peer: NodeID, identity: str) -> bool:
        """Whether sessions with this identity key of a node are still worth using."""
        keys = self._view.of(peer)
        return keys is None or keys.identity_pubkey == identity
