"""Households that exchange events by hand and messages through them."""

from __future__ import annotations

from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.adapters.store_fake import FakeStore
from hearthnet.mesh import chat_store
from hearthnet.mesh.chat import ChatService
from hearthnet.mesh.chat_keys import ChatKeys, PrekeysView
from hearthnet.mesh.chat_store import ChatStore
from hearthnet.mesh.event_history import Position
from hearthnet.mesh.event_rows import EVENTS_SCHEMA
from hearthnet.mesh.events import EventLog
from hearthnet.mesh.ratchets import Ratchets
from mesh.log_world import ANNA, BERT, COMMUNITY, FOUNDER, Village


class Household:
    """A node with log and messages; `restart` keeps its disks, `lose_messages` gives it an older one."""

    def __init__(self, key, events):
        self.key, self.membership = key, events
        self.clock = FakeClock()
        self.events_store, self.store = FakeStore(EVENTS_SCHEMA), FakeStore(chat_store.MIGRATIONS)
        self.ids = iter(range(10**6))

    async def start(self):
        numbers = iter(range(10**9))
        self.prekeys = PrekeysView()

        def random_bytes(count):
            return (next(numbers) + hash(self.key.node_id) % 10**9).to_bytes(count)

        self.log = EventLog(self.events_store, self.key, COMMUNITY, self.clock, random_bytes, views=[self.prekeys])
        await self.log.open()
        await self.log.receive(self.membership)
        self.chats, ratchets = ChatStore(self.store), Ratchets(self.key.derive("chat state"))
        keys = ChatKeys(self.prekeys, self.chats, ratchets, self.log, self.clock)
        self.chat = ChatService(self.chats, keys, ratchets, self.log, self.clock)
        await self.chat.catch_up()
        return self

    async def stop(self):
        await self.log.close()

    async def crash(self):
        self.log._verifier.close()
        self.events_store, self.store = self.events_store.crash(), self.store.crash()
        await self.start()

    async def send(self, other, text, client_id=None):
        return await self.chat.send(client_id or f"m{next(self.ids)}", other.key.node_id, text)

    async def wires(self):
        page, _ = await self.log.history.page(Position(), 100_000)
        return [sealed.wire for sealed in page]

    async def texts(self, other):
        """What came from the other, and what was sent, with states."""
        messages = await self.chats.messages("peer = ?", other.key.node_id)
        return [(message.outgoing, message.body, message.state) for message in messages]

    async def bodies(self, other):
        return [body for outgoing, body, _ in await self.texts(other) if not outgoing]


class Street:
    """Three households that know each other's membership."""

    def __init__(self):
        village = Village()
        self.founder, self.anna, self.bert = (Household(key, village.wires) for key in (FOUNDER, ANNA, BERT))
        self.all = [self.founder, self.anna, self.bert]

    async def start(self):
        for household in self.all:
            await household.start()
        await self.meet(*self.all)
        return self

    async def meet(self, *households, rounds=3):
        """They exchange what they have and work it off, until nothing more happens."""
        for _ in range(rounds):
            for one in households:
                for other in households:
                    if one is not other:
                        await one.log.receive(await other.wires())
            for one in households:
                await one.chat.catch_up()

    async def stop(self):
        for household in self.all:
            await household.stop()
