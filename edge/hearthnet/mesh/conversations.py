"""Conversations kept on the node: one browser's questions and the frames of their answers (M04).

A conversation belongs to an owner (a browser's secret, hashed by the door); nobody else can see or delete it.
A question asked twice with the same key is one turn, so that a repeated form post asks nothing again.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from msgspec import Struct, json

from hearthnet.base.errors import BadRequest, NotFound
from hearthnet.mesh.answers import Frame
from hearthnet.ports import Migration

if TYPE_CHECKING:
    from hearthnet.ports import Clock, Row, Store, Transaction

TURNS_MAX: Final = 100
CONVERSATIONS_MAX: Final = 200
_TITLE_CHARS: Final = 120

MIGRATIONS: Final = (
    Migration(
        "conversations",
        1,
        """
        CREATE TABLE conversation(id TEXT PRIMARY KEY, owner TEXT NOT NULL, title TEXT NOT NULL,
            created_at REAL NOT NULL, updated_at REAL NOT NULL) WITHOUT ROWID;
        CREATE INDEX conversation_owner ON conversation(owner, updated_at);
        CREATE TABLE conversation_turn(conversation TEXT NOT NULL REFERENCES conversation ON DELETE CASCADE,
            number INTEGER NOT NULL, question TEXT NOT NULL, key TEXT NOT NULL, asked_at REAL NOT NULL, frames BLOB,
            PRIMARY KEY(conversation, number)) WITHOUT ROWID;
        """,
    ),
)


class Conversation(Struct, frozen=True):
    """A conversation as listed."""

    id: str
    title: str
    updated_at: float
    turns: int


class Turn(Struct, frozen=True):
    """A question and its answer; `frames` is None while no end was kept."""

    number: int
    question: str
    asked_at: float
    frames: tuple[Frame, ...] | None


class Asked(Struct, frozen=True):
    """Where a question was put; `fresh` is False when its key was seen before."""

    conversation: str
    number: int
    fresh: bool


class Conversations:
    """All conversations of a node; every method names the owner, foreign ones are not found."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def ask(self, owner: str, conversation: str, question: str, key: str) -> Asked:
        """Add a question; an empty `conversation` opens a new one. Raises NotFound, BadRequest when it is full."""
        now = self._clock.now()

        def work(tx: Transaction) -> Asked:
            seen = tx.query(
                "SELECT t.conversation, t.number FROM conversation_turn t JOIN conversation c ON c.id = t.conversation"
                " WHERE c.owner = ? AND t.key = ? AND t.key != ''",
                (owner, key),
            )
            if seen:
                return Asked(seen[0][0], seen[0][1], fresh=False)
            target = conversation or _open(tx, owner, question, now)
            return Asked(target, _append(tx, owner, target, (question, key, now)), fresh=True)

        return await self._store.transact(work)

    async def ask_again(self, owner: str, conversation: str, key: str) -> Asked:
        """Drop the last answer and put its question once more."""
        now = self._clock.now()

        def work(tx: Transaction) -> Asked:
            last = tx.query(
                "SELECT t.number, t.question, t.key FROM conversation_turn t JOIN conversation c ON c.id ="
                " t.conversation WHERE c.owner = ? AND c.id = ? ORDER BY t.number DESC LIMIT 1",
                (owner, conversation),
            )
            if not last:
                raise _unknown()
            number, question, old_key = last[0]
            if key and key == old_key:
                return Asked(conversation, number, fresh=False)
            tx.execute("DELETE FROM conversation_turn WHERE conversation = ? AND number = ?", (conversation, number))
            return Asked(conversation, _append(tx, owner, conversation, (question, key, now)), fresh=True)

        return await self._store.transact(work)

    async def finish(self, conversation: str, number: int, frames: tuple[Frame, ...]) -> None:
        """Keep the frames of an answer; does nothing when the conversation was deleted meanwhile."""
        body = json.encode(frames)
        update = "UPDATE conversation_turn SET frames = ? WHERE conversation = ? AND number = ?"
        await self._store.transact(lambda tx: tx.execute(update, (body, conversation, number)))

    async def turns(self, owner: str, conversation: str) -> list[Turn]:
        """The turns in order; raises NotFound."""
        rows = await self._store.query(
            "SELECT t.number, t.question, t.asked_at, t.frames FROM conversation_turn t JOIN conversation c"
            " ON c.id = t.conversation WHERE c.owner = ? AND c.id = ? ORDER BY t.number",
            (owner, conversation),
        )
        if not rows:
            raise _unknown()
        return [_turn(row) for row in rows]

    async def list(self, owner: str, limit: int = CONVERSATIONS_MAX) -> list[Conversation]:
        """The owner's conversations, newest first."""
        rows = await self._store.query(
            "SELECT c.id, c.title, c.updated_at, count(t.number) FROM conversation c LEFT JOIN conversation_turn t"
            " ON t.conversation = c.id WHERE c.owner = ? GROUP BY c.id ORDER BY c.updated_at DESC, c.id LIMIT ?",
            (owner, limit),
        )
        return [Conversation(*row) for row in rows]

    async def delete(self, owner: str, conversation: str = "") -> int:
        """Delete one conversation, or all of the owner when none is named; returns how many."""
        chosen = "owner = ? AND (id = ? OR ? = '')"
        values = (owner, conversation, conversation)

        def work(tx: Transaction) -> int:
            inside = f"SELECT id FROM conversation WHERE {chosen}"  # noqa: S608  a constant
            tx.execute(f"DELETE FROM conversation_turn WHERE conversation IN ({inside})", values)  # noqa: S608
            return tx.execute(f"DELETE FROM conversation WHERE {chosen}", values)  # noqa: S608  our own words, no input

        return await self._store.transact(work)


def _unknown() -> NotFound:
    return NotFound("this conversation is not on this node, or belongs to another browser")


def _turn(row: Row) -> Turn:
    frames = None if row[3] is None else json.decode(row[3], type=tuple[Frame, ...])
    return Turn(row[0], row[1], row[2], frames)


def _open(tx: Transaction, owner: str, question: str, now: float) -> str:
    identifier = secrets.token_urlsafe(9)
    title = " ".join(question.split())[:_TITLE_CHARS]
    tx.execute("INSERT INTO conversation VALUES (?, ?, ?, ?, ?)", (identifier, owner, title, now, now))
    old = "SELECT id FROM conversation WHERE owner = ? ORDER BY updated_at DESC, id LIMIT -1 OFFSET ?"
    for (surplus,) in tx.query(old, (owner, CONVERSATIONS_MAX)):
        tx.execute("DELETE FROM conversation_turn WHERE conversation = ?", (surplus,))
        tx.execute("DELETE FROM conversation WHERE id = ?", (surplus,))
    return identifier


def _append(tx: Transaction, owner: str, conversation: str, turn: tuple[str, str, float]) -> int:
    question, key, now = turn
    if not tx.execute("UPDATE conversation SET updated_at = ? WHERE id = ? AND owner = ?", (now, conversation, owner)):
        raise _unknown()
    ((last,),) = tx.query("SELECT max(number) FROM conversation_turn WHERE conversation = ?", (conversation,))
    number = int(last or 0) + 1
    if number > TURNS_MAX:
        raise BadRequest(f"a conversation has at most {TURNS_MAX} questions", fix="begin a new one")
    row = (conversation, number, question, key, now, None)
    tx.execute("INSERT INTO conversation_turn VALUES (?, ?, ?, ?, ?, ?)", row)
    return number
