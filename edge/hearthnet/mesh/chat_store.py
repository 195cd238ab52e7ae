"""Direct messages of this household, kept here in the clear; sessions and account are kept sealed (M10, M23)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, json

from hearthnet.base.types import NodeID
from hearthnet.ports import Migration
from hearthnet.wire.chat import Attachment, MessageSent

if TYPE_CHECKING:
    from hearthnet.ports import Row, Store, Transaction

WAITING: Final = "waiting"  # for the other's keys; nothing has left this node
QUEUED: Final = "queued"  # in our log
HANDED_ON: Final = "handed_on"  # in a neighbour's log
DELIVERED: Final = "delivered"  # the recipient says so
READ: Final = "read"
UNREADABLE: Final = "unreadable"  # received, but it does not open; a new one was asked for
_ORDER: Final = (WAITING, QUEUED, HANDED_ON, DELIVERED, READ)
SESSIONS_KEPT: Final = 4  # with one node: both may open one at once

MIGRATIONS: Final = (
    Migration(
        "chat",
        1,
        """
        CREATE TABLE chat_account(id INTEGER PRIMARY KEY CHECK (id = 1), account TEXT NOT NULL, published_at REAL,
            cursor INTEGER NOT NULL DEFAULT 0);
        CREATE TABLE chat_session(id INTEGER PRIMARY KEY, peer TEXT NOT NULL, identity TEXT NOT NULL,
            prekey TEXT NOT NULL, state TEXT NOT NULL, used_at REAL NOT NULL);
        CREATE INDEX chat_session_peer ON chat_session(peer, used_at);
        CREATE TABLE chat_message(id INTEGER PRIMARY KEY, peer TEXT NOT NULL, outgoing INTEGER NOT NULL,
            client_id TEXT NOT NULL, body TEXT NOT NULL, attachments TEXT NOT NULL, state TEXT NOT NULL,
            created_at REAL NOT NULL, event_id TEXT NOT NULL DEFAULT '', lamport INTEGER NOT NULL DEFAULT 0,
            hash TEXT NOT NULL DEFAULT '', delivered_at REAL, read_at REAL, sealed BLOB, resent INTEGER NOT NULL
            DEFAULT 0, UNIQUE(peer, outgoing, client_id));
        CREATE INDEX chat_message_event ON chat_message(event_id);
        CREATE INDEX chat_message_hash ON chat_message(hash) WHERE outgoing;
        """,
    ),
)

_COLUMNS: Final = (
    "id, peer, outgoing, client_id, body, attachments, state, created_at, event_id, lamport, hash, delivered_at,"
    " read_at, sealed, resent"
)


class ChatMessage(Struct, frozen=True):
    """One message as this household sees it; times are local wall clock seconds."""

    id: int
    peer: NodeID
    outgoing: bool
    client_id: str
    body: str
    attachments: tuple[Attachment, ...]
    state: str
    created_at: float
    event_id: str
    lamport: int
    hash: str
    delivered_at: float | None
    read_at: float | None
    sealed: MessageSent | None
    resent: int


class NewMessage(Struct, frozen=True):
    """A message to enter; fields as in `ChatMessage`."""

    peer: NodeID
    outgoing: bool
    client_id: str
    body: str
    attachments: tuple[Attachment, ...]
    state: str
    created_at: float
    event_id: str = ""
    lamport: int = 0


class Conversation(Struct, frozen=True):
    """One other node, with the last message."""

    peer: NodeID
    last: ChatMessage
    unread: int


class ChatSession(Struct, frozen=True):
    """A ratchet with one node."""

    id: int
    peer: NodeID
    identity: str
    prekey: str
    state: str


class ChatStore:
    """Reads and single writes; what must happen together is done in one `transact` with the functions below."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def message(self, where: str, *values: Any) -> ChatMessage | None:
        """The first message that fits."""
        rows = await self.store.query(f"SELECT {_COLUMNS} FROM chat_message WHERE {where} LIMIT 1", values)  # noqa: S608  our own words
        return _message(rows[0]) if rows else None

    async def messages(self, where: str, *values: Any, order: str = "id") -> list[ChatMessage]:
        """All messages that fit."""
        sql = f"SELECT {_COLUMNS} FROM chat_message WHERE {where} ORDER BY {order}"  # noqa: S608  our own words
        return [_message(row) for row in await self.store.query(sql, values)]

    async def conversations(self) -> list[Conversation]:
        """Every node that messages went to or came from, the newest first."""
        rows = await self.store.query(
            f"SELECT {_COLUMNS}, (SELECT count(*) FROM chat_message u WHERE u.peer = m.peer AND NOT u.outgoing"  # noqa: S608  our own words
            " AND u.state = ?) FROM chat_message m WHERE id = (SELECT max(id) FROM chat_message WHERE peer = m.peer)"
            " ORDER BY id DESC",
            (DELIVERED,),
        )
        return [Conversation(NodeID(row[1]), _message(row[:-1]), row[-1]) for row in rows]

    async def sessions(self, peer: NodeID) -> list[ChatSession]:
        """Sessions with a node, the one used last first."""
        rows = await self.store.query(
            "SELECT id, peer, identity, prekey, state FROM chat_session WHERE peer = ? ORDER BY used_at DESC, id DESC",
            (peer,),
        )
        return [ChatSession(row[0], NodeID(row[1]), *row[2:]) for row in rows]

    async def advance(self, message: ChatMessage, state: str, at: float | None = None) -> None:
        """Take a message to a later state; never back."""
        earlier = _ORDER[: _ORDER.index(state)]
        column = {DELIVERED: "delivered_at", READ: "read_at"}.get(state)
        set_time = f", {column} = coalesce({column}, ?)" if column else ""
        values: list[Any] = [state, *([at] if column else []), message.id, *earlier]
        marks = ",".join("?" * len(earlier))
        sql = f"UPDATE chat_message SET state = ?{set_time} WHERE id = ? AND state IN ({marks})"  # noqa: S608  our own words
        await self.store.transact(lambda tx: tx.execute(sql, values))


def add_message(tx: Transaction, message: NewMessage) -> bool:
    """Enter a message; False when it was there already."""
    return bool(
        tx.execute(
            "INSERT OR IGNORE INTO chat_message (peer, outgoing, client_id, body, attachments, state, created_at,"
            " event_id, lamport) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                message.peer, message.outgoing, message.client_id, message.body,
                json.encode(message.attachments).decode(), message.state, message.created_at, message.event_id,
                message.lamport,
            ),
        )
    )  # fmt: skip


def save_session(tx: Transaction, session: ChatSession, now: float) -> None:
    """Enter a session (id 0) or its next state; the ones longest unused of that node go."""
    if session.id:
        tx.execute("UPDATE chat_session SET state = ?, used_at = ? WHERE id = ?", (session.state, now, session.id))
        return
    tx.execute(
        "INSERT INTO chat_session (peer, identity, prekey, state, used_at) VALUES (?, ?, ?, ?, ?)",
        (session.peer, session.identity, session.prekey, session.state, now),
    )
    tx.execute(
        "DELETE FROM chat_session WHERE peer = ? AND id NOT IN"
        " (SELECT id FROM chat_session WHERE peer = ? ORDER BY used_at DESC, id DESC LIMIT ?)",
        (session.peer, session.peer, SESSIONS_KEPT),
    )


def _message(row: Row) -> ChatMessage:
    fields = list(row)
    fields[1], fields[2] = NodeID(row[1]), bool(row[2])
    fields[5] = json.decode(row[5], type=tuple[Attachment, ...])
    fields[13] = json.decode(row[13], type=MessageSent) if row[13] else None
    return ChatMessage(*fields)
