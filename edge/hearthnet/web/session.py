"""Who is at the browser: sessions, pairing codes and bearer tokens, stored hashed (decisions 24 and 27)."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.base.errors import BadRequest, Expired, NotFound, TokenInvalid, TokenRevoked
from hearthnet.base.types import Role
from hearthnet.ports import Migration

if TYPE_CHECKING:
    from hearthnet.ports import Clock, Store, Transaction

PAIRING_TTL_S: Final = 900.0
SESSION_TTL_S: Final = 180 * 86400.0
_SEEN_EVERY_S: Final = 3600.0

MIGRATIONS: Final = (
    Migration(
        "session",
        1,
        """
        CREATE TABLE session(hash BLOB PRIMARY KEY, id TEXT NOT NULL, role INTEGER NOT NULL, name TEXT NOT NULL,
            created_at REAL NOT NULL, seen_at REAL NOT NULL) WITHOUT ROWID;
        CREATE TABLE pairing(hash BLOB PRIMARY KEY, role INTEGER NOT NULL, expires_at REAL NOT NULL) WITHOUT ROWID;
        CREATE TABLE token(hash BLOB PRIMARY KEY, id TEXT NOT NULL UNIQUE, label TEXT NOT NULL, role INTEGER NOT NULL,
            created_at REAL NOT NULL, revoked_at REAL) WITHOUT ROWID;
        """,
    ),
)


class Visitor(Struct, frozen=True):
    """The person or program behind a request."""

    role: Role
    subject: str  # stable id for fair queueing; never the secret
    via: str  # control | token | session | loopback | guest


class TokenRow(Struct, frozen=True):
    """A token as listed for an admin; the secret is shown only once, when made."""

    id: str
    label: str
    role: str
    created_at: float
    revoked_at: float | None


class SessionRow(Struct, frozen=True):
    """A paired device as listed for an admin."""

    id: str
    name: str
    role: str
    created_at: float
    seen_at: float


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


class Sessions:
    """Creates and checks cookies, pairing codes and tokens; secrets have 160 bits or more."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def open_pairing(self, role: Role) -> str:
        """A one-time code for a link or QR, valid for 15 minutes."""
        code = secrets.token_urlsafe(20)
        expires = self._clock.now() + PAIRING_TTL_S

        def work(tx: Transaction) -> None:
            tx.execute("DELETE FROM pairing WHERE expires_at < ?", (self._clock.now(),))
            tx.execute("INSERT INTO pairing VALUES (?, ?, ?)", (_digest(code), role, expires))

        await self._store.transact(work)
        return code

    async def redeem_pairing(self, code: str, name: str) -> tuple[str, Role]:
        """Turn a code into a session secret for the cookie; a code works once. Raises NotFound, Expired."""

        def work(tx: Transaction) -> tuple[Role, float] | None:
            rows = tx.query("SELECT role, expires_at FROM pairing WHERE hash = ?", (_digest(code),))
            tx.execute("DELETE FROM pairing WHERE hash = ?", (_digest(code),))
            return (Role(rows[0][0]), rows[0][1]) if rows else None

        found = await self._store.transact(work)
        if found is None:
            raise NotFound("this pairing code is unknown or was used", fix="hearthnet pair")
        if found[1] < self._clock.now():
            raise Expired("this pairing code is older than 15 minutes", fix="hearthnet pair")
        return await self.open_session(found[0], name), found[0]

    async def open_session(self, role: Role, name: str) -> str:
        """A new session; returns the secret for the cookie."""
        secret, now = secrets.token_urlsafe(32), self._clock.now()
        row = (_digest(secret), secrets.token_hex(8), role, name[:60], now, now)
        await self._store.transact(lambda tx: tx.execute("INSERT INTO session VALUES (?, ?, ?, ?, ?, ?)", row))
        return secret

    async def visitor_of_cookie(self, secret: str) -> Visitor | None:
        """The session behind a cookie, or None; refreshes its last use once an hour."""
        rows = await self._store.query("SELECT id, role, seen_at FROM session WHERE hash = ?", (_digest(secret),))
        if not rows:
            return None
        identifier, role, seen_at = rows[0]
        now = self._clock.now()
        if now - seen_at > SESSION_TTL_S:
            await self.close_session(secret)
            return None
        if now - seen_at > _SEEN_EVERY_S:
            update = "UPDATE session SET seen_at = ? WHERE hash = ?"
            await self._store.transact(lambda tx: tx.execute(update, (now, _digest(secret))))
        return Visitor(Role(role), f"session:{identifier}", "session")

    async def close_session(self, secret: str) -> None:
        """Forget the session of this cookie."""
        await self._store.transact(lambda tx: tx.execute("DELETE FROM session WHERE hash = ?", (_digest(secret),)))

    async def list_sessions(self) -> list[SessionRow]:
        """Paired devices, last seen first."""
        rows = await self._store.query(
            "SELECT id, name, role, created_at, seen_at FROM session ORDER BY seen_at DESC, id"
        )
        return [SessionRow(row[0], row[1], Role(row[2]).name.lower(), row[3], row[4]) for row in rows]

    async def end_session(self, identifier: str) -> None:
        """Unpair a device; raises NotFound."""
        if not await self._store.transact(lambda tx: tx.execute("DELETE FROM session WHERE id = ?", (identifier,))):
            raise NotFound("this device is not paired, or no longer")

    async def create_token(self, label: str, role: Role) -> tuple[str, str]:
        """A bearer token for programs; returns (id, secret), the secret is not kept."""
        if not label.strip() or len(label) > 60:
            raise BadRequest("a token needs a label of 1 to 60 characters")
        identifier, secret = secrets.token_hex(4), f"hn-{secrets.token_urlsafe(32)}"
        row = (_digest(secret), identifier, label.strip(), role, self._clock.now(), None)
        await self._store.transact(lambda tx: tx.execute("INSERT INTO token VALUES (?, ?, ?, ?, ?, ?)", row))
        return identifier, secret

    async def revoke_token(self, identifier: str) -> None:
        """Refuse this token from now on; raises NotFound."""
        update = "UPDATE token SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
        if not await self._store.transact(lambda tx: tx.execute(update, (self._clock.now(), identifier))):
            raise NotFound(f"no token {identifier!r}", fix="hearthnet token list")

    async def list_tokens(self) -> list[TokenRow]:
        """All tokens, newest first."""
        rows = await self._store.query(
            "SELECT id, label, role, created_at, revoked_at FROM token ORDER BY created_at DESC"
        )
        return [TokenRow(r[0], r[1], Role(r[2]).name.lower(), r[3], r[4]) for r in rows]

    async def visitor_of_token(self, secret: str) -> Visitor:
        """The program behind a bearer token; raises TokenInvalid, TokenRevoked."""
        rows = await self._store.query("SELECT id, role, revoked_at FROM token WHERE hash = ?", (_digest(secret),))
        if not rows:
            raise TokenInvalid("this token is not known here", fix="hearthnet token create LABEL")
        if rows[0][2] is not None:
            raise TokenRevoked("this token was revoked", fix="hearthnet token create LABEL")
        return Visitor(Role(rows[0][1]), f"token:{rows[0][0]}", "token")
