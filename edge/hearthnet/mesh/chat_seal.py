"""Sealing a letter for one node and opening one from it, with the ratchet's next state to be stored (M23)."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING

from msgspec import Struct

from hearthnet.base.errors import DecryptFailed
from hearthnet.mesh.chat_store import ChatSession, save_session
from hearthnet.mesh.ratchets import PRE_KEY
from hearthnet.wire.chat import Letter, MessageSent, SealedBody, SealHeader, decode_letter, encode_letter

if TYPE_CHECKING:
    from hearthnet.base.types import NodeID
    from hearthnet.mesh.chat_keys import ChatKeys
    from hearthnet.mesh.chat_store import ChatMessage, ChatStore
    from hearthnet.mesh.ratchets import Ratchets
    from hearthnet.ports import Clock, Transaction


class Advance(Struct, frozen=True):
    """The ratchet's next state; call it in the transaction that stores what was sealed or read."""

    session: ChatSession
    account: str
    now: float

    def __call__(self, tx: Transaction) -> None:
        """Write it."""
        save_session(tx, self.session, self.now)
        if self.account:
            tx.execute("UPDATE chat_account SET account = ?", (self.account,))


class Sealer:
    """One node's sessions; the caller lets one message at a time in."""

    def __init__(self, chats: ChatStore, keys: ChatKeys, ratchets: Ratchets, own: NodeID, clock: Clock) -> None:
        self._chats = chats
        self._keys = keys
        self._ratchets = ratchets
        self._own = own
        self._clock = clock

    async def seal(self, message: ChatMessage) -> tuple[MessageSent, Advance]:
        """Raises SessionMissing before the other's keys are known, DecryptFailed when they are none."""
        account, sessions = await self._keys.account(), await self._chats.sessions(message.peer)
        session = next((one for one in sessions if self._keys.is_current(message.peer, one.identity)), None)
        if session is None:
            identity, prekey = self._keys.choose(message.peer, sessions)
            state = self._ratchets.open_session(account, identity, prekey)
            session = ChatSession(0, message.peer, identity, prekey, state)
        letter = Letter(self._own, message.peer, message.client_id, message.body, message.attachments)
        state, kind, ciphertext = self._ratchets.encrypt(session.state, encode_letter(letter))
        header = SealHeader(kind, self._ratchets.identity(account))
        text = urlsafe_b64encode(ciphertext).decode().rstrip("=")
        sent = MessageSent(message.client_id, message.peer, SealedBody(e2e=True, header=header, ciphertext=text))
        return sent, Advance(_next(session, state), "", self._clock.now())

    async def unseal(self, author: NodeID, sent: MessageSent) -> tuple[Letter, Advance]:
        """Raises DecryptFailed; then nothing has changed."""
        header, now = sent.body.header, self._clock.now()
        sealed = urlsafe_b64decode(sent.body.ciphertext + "=" * (-len(sent.body.ciphertext) % 4))
        for session in await self._chats.sessions(author):
            try:
                opened = self._ratchets.decrypt(session.state, header.kind, sealed)
            except DecryptFailed:
                continue
            letter = decode_letter(opened.plaintext, sender=author, sent=sent)
            return letter, Advance(_next(session, opened.session), "", now)
        if header.kind != PRE_KEY:
            raise DecryptFailed("no session fits")
        if not self._keys.is_current(author, header.identity_pubkey):
            raise DecryptFailed("the sender's key is not the one it has published")
        opened = self._ratchets.accept(await self._keys.account(), header.identity_pubkey, sealed)
        letter = decode_letter(opened.plaintext, sender=author, sent=sent)
        return letter, Advance(ChatSession(0, author, header.identity_pubkey, "", opened.session), opened.account, now)


def _next(session: ChatSession, state: str) -> ChatSession:
    return ChatSession(session.id, session.peer, session.identity, session.prekey, state)
