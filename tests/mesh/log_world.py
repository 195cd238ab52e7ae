"""Nodes with event logs over stores in memory, and events that other nodes could send."""

from __future__ import annotations

import itertools
from typing import ClassVar

import msgspec

from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.adapters.store_fake import FakeStore
from hearthnet.mesh.event_history import Position
from hearthnet.mesh.event_rows import EVENTS_SCHEMA
from hearthnet.mesh.events import EventLog, create_community
from hearthnet.mesh.views import DocumentsView
from hearthnet.wire.cid import cid_of
from hearthnet.wire.community import CommunityCreated, CommunityPolicy, MemberInvited, MemberJoined
from hearthnet.wire.event import seal_event
from hearthnet.wire.event_types import DocumentIngested
from hearthnet.wire.identity import KeyPair
from hearthnet.wire.membership_act import MEMBERSHIP_KINDS

FOUNDER = KeyPair(bytes([1]) * 32)
ANNA = KeyPair(bytes([2]) * 32)
BERT = KeyPair(bytes([3]) * 32)
COMMUNITY = FOUNDER.node_id


def document(number=0, corpus="personal", title=None):
    return DocumentIngested(corpus, cid_of(b"%d" % number), title or f"Document {number}", "en", number)


class LogNode:
    """A log with its store and views; `restart` is a clean stop, `crash` is none."""

    def __init__(self, key=FOUNDER, store=None, snapshots=None, bulk=None):
        self.bulk = bulk
        self.key = key
        self.snapshots = snapshots
        self.clock = FakeClock()
        self.with_documents = True
        self.store = store or FakeStore(EVENTS_SCHEMA)
        self._make_log()

    def _make_log(self):
        self.documents = DocumentsView()
        self.log = EventLog(
            self.store, self.key, COMMUNITY, self.clock, bytes,
            views=[self.documents] if self.with_documents else [],
            snapshots=self.snapshots, bulk=self.bulk,
        )  # fmt: skip

    async def found(self):
        self.opened = await self.log.open()
        if self.key is FOUNDER and self.opened.events == 0:
            await create_community(self.log, "Our street")
        return self

    async def crash(self, **faults):
        self.log._verifier.close()  # its threads die with the process
        self.store = self.store.crash(**faults)
        self._make_log()
        self.opened = await self.log.open()

    async def restart(self):
        await self.log.close()
        self._make_log()
        self.opened = await self.log.open()

    async def wires(self):
        return [sealed.wire for sealed in await self.events()]

    async def events(self):
        page, _ = await self.log.history.page(Position(), 100_000)
        return page


class Author:
    """Seals events outside any log, also ones that a log would refuse."""

    _numbers = itertools.count(1)
    _invitations: ClassVar = {}

    def __init__(self, key, lamport=0):
        self.key = key
        self.lamport = lamport
        self.last = None
        self.last_act = None

    def seal(self, data, **changes):
        data = self.follow(data)
        fields = {
            "community_id": COMMUNITY,
            "event_id": f"01HZX3M7Q8{next(self._numbers):016}",
            "lamport": self.lamport + 1,
            "now": 1.8e9,
            "after": self.last,
        }
        sealed = seal_event(self.key, data, **{**fields, **changes})
        self.lamport = sealed.event.lamport
        self.last = sealed.entry
        if isinstance(data, MEMBERSHIP_KINDS):
            self.last_act = sealed.hash
        if isinstance(data, MemberInvited):
            self._invitations[sealed.event.event_id] = sealed.hash
        return sealed

    def follow(self, data):
        """An act names the author's act before it, a joining its invitation too."""
        if not isinstance(data, MEMBERSHIP_KINDS) or isinstance(data, CommunityCreated) or data.after:
            return data
        known = {self.last_act, self._invitations.get(getattr(data, "invite_event_id", ""))} - {None}
        return msgspec.structs.replace(data, after=tuple(sorted(known)))


class Village:
    """A founded community with two members, as events in order."""

    def __init__(self):
        self.founder, self.anna, self.bert = Author(FOUNDER), Author(ANNA), Author(BERT)
        self.created = self.founder.seal(CommunityCreated("Our street", COMMUNITY, CommunityPolicy()))
        self.events = [self.created]
        for author in (self.anna, self.bert):
            self.events += self.join(author)

    def invite(self, author, level="member"):
        return self.founder.seal(MemberInvited(author.key.node_id, "A name", level, "2030-01-01T00:00:00Z"))

    def join(self, author, level="member"):
        invitation = self.invite(author, level)
        author.lamport = invitation.event.lamport
        return [invitation, author.seal(MemberJoined(invitation.event.event_id, {}))]

    @property
    def wires(self):
        return [sealed.wire for sealed in self.events]
