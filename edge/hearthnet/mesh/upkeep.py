"""What a node does for its data while it runs: check what opening left unchecked, and forget what may go (X02)."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from hearthnet.base.errors import DiskFull, StoreCorrupt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hearthnet.mesh.events import EventLog
    from hearthnet.ports import Clock, Store

log = logging.getLogger(__name__)

_FIRST_S: Final = 60.0  # after the start: people come first
_BETWEEN_TABLES_S: Final = 5.0
_BETWEEN_PAGES_S: Final = 0.2  # a thousand events; 10^6 take some four minutes
_FORGET_FIRST_S: Final = 900.0  # by then every view has joined the log
_FORGET_EVERY_S: Final = 6 * 3600.0


class Upkeep:
    """Two endless or long tasks; what people must know goes into `notices`, as locale keys."""

    def __init__(self, clock: Clock, notices: list[str]) -> None:
        self._clock = clock
        self._notices = notices

    async def check(self, stores: Iterable[Store], events: EventLog) -> None:
        """Walk the databases that were too large to be walked at the start, then hold every event against its hash."""
        await self._clock.sleep(_FIRST_S)
        for store in stores:
            await self._walk(store)
        try:
            await events.history.check_bytes(partial(self._clock.sleep, _BETWEEN_PAGES_S))
        except StoreCorrupt as error:
            self._say_damage(error)
        self.look(events)

    def look(self, events: EventLog) -> None:
        """Say so when stored events are damaged, or views miss some."""
        if events.history.damaged:
            log.error("%s stored events are damaged and left out", len(events.history.damaged))
            self._say("notice.events.damaged")
        if events.incomplete_views:
            log.error("the snapshot with forgotten events is lost: %s", ", ".join(sorted(events.incomplete_views)))
            self._say("notice.events.incomplete")

    async def forget(self, events: EventLog) -> None:
        """Let the log forget, every six hours, for ever."""
        await self._clock.sleep(_FORGET_FIRST_S)
        while True:
            try:
                forgotten = await events.forget()
            except DiskFull as error:  # the next round tries again
                log.warning("nothing forgotten: %s", error.detail)
            else:
                if forgotten.expired or forgotten.aged:
                    log.info("forgot %s expired events and %s old ones", forgotten.expired, forgotten.aged)
            await self._clock.sleep(_FORGET_EVERY_S)

    async def _walk(self, store: Store) -> None:
        try:
            tables = await store.walk(partial(self._clock.sleep, _BETWEEN_TABLES_S))
        except StoreCorrupt as error:
            self._say_damage(error)
        else:
            if tables:
                log.info("walked %s tables of a large database: sound", tables)

    def _say_damage(self, error: StoreCorrupt) -> None:
        log.critical("%s; %s", error.detail, error.fix)
        self._say("notice.store.suspect")

    def _say(self, key: str) -> None:
        if key not in self._notices:
            self._notices.append(key)
