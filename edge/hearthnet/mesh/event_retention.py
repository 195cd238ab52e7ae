"""What the log forgets, and what never (X02, decisions 6, 29, 38).

The bytes of an event go when its author's `expires_at` has passed, or when it arrived EVENT_LOG_RETENTION_DAYS ago and
a snapshot holds what it meant. Its row stays for ever: hash, Lamport time and place in its author's chain, so that sync
neither fetches nor misses it and chains stay whole. Never forgotten are membership and policy (`community.*`), both
sides of a fork, and each author's newest event, whose signature vouches for the chain; that one only when it expired.

Days are counted as this node saw them pass. A clock that jumps by years neither ages an event nor lets one expire, and
an author whose clock is years off is heard as long as others.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.base.constants import EVENT_LOG_RETENTION_DAYS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hearthnet.mesh.view_set import ViewSet
    from hearthnet.ports import Clock, Row, Store, Transaction

_DAY_S: Final = 86_400
_JUMP_S: Final = 3600.0  # the wall clock and the monotonic one part by more than this: it was set
_SLICE_EVENTS: Final = 500  # in one transaction: an append waits for one slice at most
_WINDOW_SEQS: Final = 5000
_MAY_GO: Final = (
    "kept IS NULL AND length(wire) > 0 AND hash NOT IN (SELECT known FROM forks UNION SELECT other FROM forks)"
)
_EXPIRED: Final = (
    f"SELECT seq, event_type FROM events WHERE expires_at BETWEEN 0 AND ? AND {_MAY_GO}"  # noqa: S608  a constant
    # an author whose clock is far off: the days it asked for, as this node saw them pass since the event came
    f" UNION ALL SELECT seq, event_type FROM events WHERE expires_at < 0 AND {_MAY_GO} AND seq <= coalesce("
    "(SELECT last_seq FROM log_days WHERE number ="
    f" (SELECT max(number) FROM log_days) - ({_DAY_S - 1} - expires_at) / {_DAY_S}), 0) ORDER BY 1"
)
_AGED: Final = (
    f"SELECT seq, event_type FROM events AS old WHERE seq > ? AND seq <= ? AND {_MAY_GO}"  # noqa: S608  a constant
    " AND EXISTS (SELECT 1 FROM events WHERE author = old.author AND author_seq > old.author_seq) ORDER BY seq"
)
_ERASE: Final = f"UPDATE events SET wire = x'' WHERE seq = ? AND {_MAY_GO}"  # noqa: S608  a constant


class Forgotten(Struct, frozen=True):
    """How many events gave up their bytes."""

    expired: int = 0
    aged: int = 0


class Retention:
    """Forgets on demand; made when the log opens, so that it notices a clock that is set meanwhile."""

    def __init__(self, store: Store, views: ViewSet, clock: Clock) -> None:
        self._store = store
        self._views = views
        self._clock = clock
        self._offset_s = clock.now() - clock.monotonic()
        self._looked_until = 0

    async def sweep(self, lamport: int) -> Forgotten:
        """Forget what may go now; `lamport` is the log's time, for the snapshot. Raises DiskFull."""
        now = self._clock.now()
        jumped = self._clock_was_set(now)
        until = await self._store.transact(partial(_pass_day, now=int(now), jumped=jumped))
        if jumped:  # the new time is believed from the next sweep on
            return Forgotten()
        expired, aged = await self._expired(now), await self._aged(until)
        if not expired and not aged:
            return Forgotten()
        covered = await self._views.snapshot(lamport, now)
        if expired:
            await self._views.drop_older_snapshots()  # they may hold what expired
        aged = [row for row in aged if row[0] <= covered]
        return Forgotten(await self._forget(expired), await self._forget(aged))

    def _clock_was_set(self, now: float) -> bool:
        before, self._offset_s = self._offset_s, now - self._clock.monotonic()
        return abs(self._offset_s - before) > _JUMP_S

    async def _expired(self, now: float) -> list[Row]:
        return await self._store.query(_EXPIRED, (int(now),))

    async def _aged(self, until: int) -> list[Row]:
        """Events up to this arrival number that may go, without their authors' newest; looked for once a day."""
        rows: list[Row] = []
        if until != self._looked_until:
            for start in range(0, until, _WINDOW_SEQS):
                rows += await self._store.query(_AGED, (start, min(start + _WINDOW_SEQS, until)))
        self._looked_until = until
        return rows

    async def _forget(self, rows: Sequence[Row]) -> int:
        forgotten = 0
        for start in range(0, len(rows), _SLICE_EVENTS):
            forgotten += await self._store.transact(partial(_erase, rows[start : start + _SLICE_EVENTS]))
        return forgotten


def _pass_day(tx: Transaction, *, now: int, jumped: bool) -> int:
    """Note a day that has passed; returns the arrival number up to which events are old, 0 when none is."""
    days = tx.query("SELECT number, began_at FROM log_days ORDER BY number DESC LIMIT 1")
    number, began_at = days[0] if days else (0, now - _DAY_S)
    if jumped or now < began_at:
        tx.execute("UPDATE log_days SET began_at = ? WHERE number = ?", (now, number))
    elif now - began_at >= _DAY_S:
        number += 1
        tx.execute("INSERT INTO log_days SELECT ?, ?, coalesce(max(seq), 0) FROM events", (number, now))
    oldest = number - EVENT_LOG_RETENTION_DAYS
    tx.execute("DELETE FROM log_days WHERE number < ?", (oldest,))
    found = tx.query("SELECT last_seq FROM log_days WHERE number = ?", (oldest,))
    return int(found[0][0]) if found else 0


def _erase(rows: Sequence[Row], tx: Transaction) -> int:
    erased = 0
    for seq, event_type in rows:
        if not tx.execute(_ERASE, (seq,)):
            continue  # it became one side of a fork meanwhile
        erased += 1
        tx.execute(
            "INSERT INTO forgotten VALUES (?, 1, ?) ON CONFLICT (event_type)"
            " DO UPDATE SET count = count + 1, last_seq = max(last_seq, excluded.last_seq)",
            (event_type, seq),
        )
    return erased
