"""Direct messages between households: sealed, handed on by neighbours, acknowledged (M10, M23, decision 10).

A message is on the disk before `send` returns. It becomes an event that every member keeps and hands on for 30 days;
the recipient opens it, keeps the text and says so by another event. What has happened is worked off by the log's own
order of arrival, so that a crash anywhere repeats a step and loses none.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from msgspec import json

from hearthnet.base.constants import EVENT_LOG_RETENTION_DAYS
from hearthnet.base.errors import BadRequest, DecryptFailed, DiskFull, NotFound, SessionMissing
from hearthnet.base.types import NodeID, TrustLevel
from hearthnet.mesh import chat_store as states
from hearthnet.mesh.chat_seal import Sealer
from hearthnet.mesh.chat_store import ChatStore, NewMessage, add_message
from hearthnet.mesh.waiting import rest
from hearthnet.wire.chat import (
    Attachment,
    MessageDelivered,
    MessageRead,
    MessageSent,
    PrekeysPublished,
    SessionBroken,
)
from hearthnet.wire.event_types import EVENT_TYPES
from hearthnet.wire.timestamp import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hearthnet.mesh.chat_keys import ChatKeys
    from hearthnet.mesh.chat_store import ChatMessage
    from hearthnet.mesh.events import EventLog
    from hearthnet.mesh.ratchets import Ratchets
    from hearthnet.ports import Clock, Transaction
    from hearthnet.wire.event import Sealed

log = logging.getLogger(__name__)

_KINDS: Final = (MessageSent, MessageDelivered, MessageRead, SessionBroken, PrekeysPublished)
_TYPES: Final = tuple(name for name, kind in EVENT_TYPES.items() if kind in _KINDS)
_KEPT_S: Final = EVENT_LOG_RETENTION_DAYS * 86_400.0
_RESENT_MAX: Final = 3
_RETRY_S: Final = 60.0


class ChatService:
    """One household's messages; `run` works off what the log brings."""

    def __init__(
        self, chats: ChatStore, keys: ChatKeys, ratchets: Ratchets, events: EventLog, clock: Clock,
        *, read_receipts: bool = True,
    ) -> None:  # fmt: skip
        self._chats = chats
        self._keys = keys
        self._sealer = Sealer(chats, keys, ratchets, events.node_id, clock)
        self._events = events
        self._clock = clock
        self._read_receipts = read_receipts
        self._turn = asyncio.Lock()  # ratchets advance one message at a time
        self._woken = asyncio.Event()
        self._changed = asyncio.Event()
        events.subscribe(self._note)

    # ---- what people do ---------------------------------------------------------------------------------------

    async def send(
        self, client_id: str, recipient: NodeID, body: str, attachments: Sequence[Attachment] = ()
    ) -> ChatMessage:
        """Take a message; it is kept when this returns. The same `client_id` again gives the message sent then.

        Raises BadRequest (empty, to oneself), NotFound (no member), DiskFull.
        """
        if not body.strip() and not attachments:
            raise BadRequest("the message is empty", fix="write something, or attach a file")
        if recipient == self._events.node_id:
            raise BadRequest("this is the node's own id", fix="choose another member")
        if self._events.members.trust(recipient) < TrustLevel.MEMBER:
            raise NotFound("the recipient is no member of this community")
        now = self._clock.now()
        await self._chats.store.transact(
            lambda tx: add_message(
                tx, NewMessage(recipient, True, client_id, body, tuple(attachments), states.WAITING, now)
            )
        )
        await self._dispatch(recipient, client_id)
        return await self._own(recipient, client_id)

    async def mark_read(self, peer: NodeID) -> int:
        """The household has seen everything that came from a node; returns how many were new."""
        fresh = await self._chats.messages("peer = ? AND NOT outgoing AND state = ?", peer, states.DELIVERED)
        now = self._clock.now()
        if self._read_receipts and fresh:
            await self._events.append_all([MessageRead(message.event_id, format_time(now)) for message in fresh])
        for message in fresh:
            await self._chats.advance(message, states.READ, now)
        return len(fresh)

    async def handed_on(self, hashes: Sequence[str]) -> None:
        """Neighbours keep these events now."""
        for hash_ in hashes:
            message = await self._chats.message("outgoing AND hash = ?", hash_)
            if message is not None:
                await self._chats.advance(message, states.HANDED_ON)
                self._tell()

    async def wait_for_change(self) -> None:
        """Until a message came or changed its state."""
        await self._changed.wait()

    # ---- what the log brings ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work off, until cancelled."""
        await self._find_appended()
        while True:
            self._woken.clear()
            try:
                await self.catch_up()
            except DiskFull as error:
                log.warning("messages wait for room on the disk: %s", error.detail)
            await rest(self._clock, _RETRY_S, self._woken)

    async def catch_up(self) -> None:
        """Everything that has arrived since the last time; then send what waits."""
        await self._keys.account()
        ((cursor,),) = await self._chats.store.query("SELECT cursor FROM chat_account")
        last = await self._events.history.last_seq()
        async for page in self._events.history.by_types(_TYPES, cursor):
            for sealed in page:
                await self._take(sealed)
        if last > cursor:
            await self._chats.store.transact(lambda tx: tx.execute("UPDATE chat_account SET cursor = ?", (last,)))
        partners = [conversation.peer for conversation in await self._chats.conversations()]
        await self._keys.publish(partners)
        for message in await self._chats.messages("outgoing AND state = ?", states.WAITING):
            await self._dispatch(message.peer, message.client_id)

    async def _take(self, sealed: Sealed) -> None:
        own, author = self._events.node_id, sealed.event.author
        match sealed.data:
            case MessageSent(recipient=recipient) if recipient == own:
                await self._open(sealed, sealed.data)
            case MessageDelivered(target_event_id=target):
                await self._acknowledged(author, target, states.DELIVERED)
            case MessageRead(target_event_id=target):
                await self._acknowledged(author, target, states.READ)
            case SessionBroken(peer=peer, target_event_id=target) if peer == own:
                await self._send_anew(author, target)

    async def _acknowledged(self, author: NodeID, event_id: str, state: str) -> None:
        message = await self._chats.message("outgoing AND peer = ? AND event_id = ?", author, event_id)
        if message is not None:
            await self._chats.advance(message, state, self._clock.now())
            self._tell()

    # ---- opening ----------------------------------------------------------------------------------------------

    async def _open(self, sealed: Sealed, sent: MessageSent) -> None:
        """Open a message, keep its text, say so. A second time only the saying is repeated, where it is missing."""
        event, author = sealed.event, sealed.event.author
        async with self._turn:
            known = await self._chats.message("NOT outgoing AND peer = ? AND client_id = ?", author, sent.client_id)
            if known is None or known.state == states.UNREADABLE:
                try:
                    letter, save = await self._sealer.unseal(author, sent)
                except DecryptFailed as error:
                    log.warning("a message cannot be opened: %s", error.detail)
                    await self._unreadable(sealed, sent)
                    return
                now = self._clock.now()

                def keep(tx: Transaction) -> None:
                    save(tx)
                    tx.execute(
                        "DELETE FROM chat_message WHERE peer = ? AND NOT outgoing AND client_id = ? AND state = ?",
                        (author, sent.client_id, states.UNREADABLE),
                    )
                    add_message(
                        tx,
                        NewMessage(
                            author, False, sent.client_id, letter.body, letter.attachments, states.DELIVERED, now,
                            event.event_id, event.lamport,
                        ),
                    )  # fmt: skip

                await self._chats.store.transact(keep)
                known = await self._chats.message("NOT outgoing AND event_id = ?", event.event_id)
        if known is not None and known.delivered_at is None:
            await self._events.append(
                MessageDelivered(event.event_id, format_time(self._clock.now())), expires_at=self._until()
            )
            await self._chats.store.transact(
                lambda tx: tx.execute(
                    "UPDATE chat_message SET delivered_at = ? WHERE id = ?", (known.created_at, known.id)
                )
            )
        self._tell()

    async def _unreadable(self, sealed: Sealed, sent: MessageSent) -> None:
        event, now = sealed.event, self._clock.now()
        broken = NewMessage(
            event.author, False, sent.client_id, "", (), states.UNREADABLE, now, event.event_id, event.lamport
        )  # fmt: skip
        fresh = await self._chats.store.transact(lambda tx: add_message(tx, broken))
        if fresh:
            await self._keys.publish([event.author], now_anyway=True)
            await self._events.append(SessionBroken(event.author, event.event_id), expires_at=self._until())
            self._tell()

    # ---- sealing ----------------------------------------------------------------------------------------------

    async def _dispatch(self, peer: NodeID, client_id: str) -> None:
        """Seal a waiting message and put it into the log; without the other's keys it goes on waiting."""
        async with self._turn:
            message = await self._own(peer, client_id)
            if message.event_id:
                return
            try:
                sealed = message.sealed or await self._seal(message)
            except (SessionMissing, DecryptFailed) as error:
                log.info("a message waits: %s", error.detail)
                return
            event = await self._events.append(sealed, expires_at=self._until())
            await self._appended(message, event)
        self._tell()

    async def _seal(self, message: ChatMessage) -> MessageSent:
        sent, save = await self._sealer.seal(message)

        def keep(tx: Transaction) -> None:
            save(tx)
            tx.execute("UPDATE chat_message SET sealed = ? WHERE id = ?", (json.encode(sent), message.id))

        await self._chats.store.transact(keep)
        return sent

    async def _appended(self, message: ChatMessage, sealed: Sealed) -> None:
        await self._chats.store.transact(
            lambda tx: tx.execute(
                "UPDATE chat_message SET event_id = ?, lamport = ?, hash = ?, state = ?, sealed = NULL WHERE id = ?",
                (sealed.event.event_id, sealed.event.lamport, sealed.hash, states.QUEUED, message.id),
            )
        )

    async def _find_appended(self) -> None:
        """Messages that were sealed when the node stopped: some are in the log already."""
        lost = {
            (message.peer, message.client_id): message
            for message in await self._chats.messages("outgoing AND event_id = '' AND sealed IS NOT NULL")
        }
        if not lost:
            return
        async for page in self._events.history.by_type("chat.message.sent"):
            for sealed in page:
                data = sealed.data
                if sealed.event.author == self._events.node_id and isinstance(data, MessageSent):
                    message = lost.pop((data.recipient, data.client_id), None)
                    if message is not None and message.sealed == data:
                        await self._appended(message, sealed)

    async def _send_anew(self, peer: NodeID, event_id: str) -> None:
        """The other could not open a message: seal it again in a new session, a few times at most."""
        message = await self._chats.message("outgoing AND peer = ? AND event_id = ?", peer, event_id)
        if message is None or message.state in (states.DELIVERED, states.READ) or message.resent >= _RESENT_MAX:
            return

        def reset(tx: Transaction) -> None:
            tx.execute("DELETE FROM chat_session WHERE peer = ?", (peer,))
            tx.execute(
                "UPDATE chat_message SET event_id = '', hash = '', sealed = NULL, state = ?, resent = resent + 1"
                " WHERE id = ?",
                (states.WAITING, message.id),
            )

        await self._chats.store.transact(reset)

    # ---- small steps ------------------------------------------------------------------------------------------

    async def _own(self, peer: NodeID, client_id: str) -> ChatMessage:
        message = await self._chats.message("outgoing AND peer = ? AND client_id = ?", peer, client_id)
        if message is None:
            raise NotFound("no such message")
        return message

    def _until(self) -> float:
        return self._clock.now() + _KEPT_S

    def _note(self, sealed: Sealed) -> None:
        if isinstance(sealed.data, _KINDS):
            self._woken.set()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
