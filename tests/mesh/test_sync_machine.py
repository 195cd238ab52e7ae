"""Any history of writing, meeting, parting, crashing and restoring: after contact no event is missing (X02).

`HEARTHNET_HISTORIES=20000` runs as many histories as the soak asks for.
"""

from __future__ import annotations

import asyncio
import os

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from hearthnet.base.errors import CallTimeout
from hearthnet.mesh.event_rows import KEPT_TYPES
from hearthnet.wire.community import MemberInvited, MemberJoined
from mesh.log_world import document
from mesh.sync_world import SyncNode, Town

NAMES = ("founder", "anna", "bert")
NODES = st.sampled_from(NAMES)
HISTORIES = int(os.environ.get("HEARTHNET_HISTORIES", "20"))


class Logs(RuleBasedStateMachine):
    """The model is the set of acknowledged events that some disk still holds."""

    def __init__(self):
        super().__init__()
        self.runner = None
        self.number = 0
        self.backups = {}
        self.guest = ""

    def run(self, work):
        return self.runner.run(work)

    @initialize()
    def found(self):
        self.runner = asyncio.Runner()
        self.town = self.run(self._settle())

    async def _settle(self):
        return await Town().settle(*NAMES)

    def pick(self, name):
        return self.town.nodes[name]

    @rule(name=NODES, count=st.integers(1, 40), topic=st.integers(0, 3))
    def write(self, name, count, topic):
        self.number += 1
        events = [document(topic, title=f"{name} {self.number} {part}") for part in range(count)]
        self.run(self.pick(name).log.append_all(events))

    @rule(one=NODES, two=NODES)
    def meet(self, one, two):
        if one == two:
            return
        ours, theirs = self.pick(one), self.pick(two)
        before = self.run(ours.hashes()) | self.run(theirs.hashes())
        try:
            result = self.run(self.town.patiently(ours.sync(theirs)))
        except CallTimeout:
            assert not self.town.network.are_joined(ours.key.node_id, theirs.key.node_id)
            return
        assert result.complete
        assert self.run(ours.hashes()) == self.run(theirs.hashes()) == before

    @rule(name=NODES)
    def part(self, name):
        self.town.cut([name], [other for other in self.town.nodes if other != name])

    @rule()
    def heal(self):
        self.town.network.heal()

    @rule(name=NODES)
    def crash(self, name):
        self.run(self.pick(name).crash())

    @rule(name=NODES)
    def back_up(self, name):
        self.backups[name] = self.run(self.pick(name).copy_store())

    @precondition(lambda self: self.backups)
    @rule(data=st.data())
    def restore(self, data):
        name = data.draw(st.sampled_from(sorted(self.backups)))
        self.run(self.pick(name).crash(self.backups.pop(name)))
        self.run(self.pick(name).log.begin_epoch())

    @rule(name=NODES, to=NODES)
    def send_again(self, name, to):
        """Everything at once, in any order, with duplicates: as a broadcast or an import would."""
        wires = self.run(self._wires(name))
        receipt = self.run(self.pick(to).log.receive(wires[::-1] + wires))
        assert receipt.rejected == ()

    async def _wires(self, name):
        index = self.pick(name).index
        found, gone = await index.read([index.keys.key(at) for at in range(len(index.keys))], 10**9)
        assert gone == []
        return found

    @precondition(lambda self: not self.guest)
    @rule()
    def invite(self):
        self.guest = "dora"
        node = self.town.nodes["dora"] = self.run(SyncNode(self.town, "dora").start())
        invited = MemberInvited(node.key.node_id, "dora", "member", "2030-01-01T00:00:00Z")
        self.invitation = self.run(self.pick("founder").log.append(invited))
        self.run(self._redeem(node))

    async def _redeem(self, node):
        """The invitation brings the acts that make the community; she is known to others once they asked her."""
        acts = []
        async for page in self.pick("founder").log.history.by_types(KEPT_TYPES):
            acts += [sealed.wire for sealed in page]
        receipt = await node.log.receive(acts)
        assert receipt.rejected == ()
        await node.log.append(MemberJoined(self.invitation.event.event_id, {}))

    @precondition(lambda self: self.guest)
    @rule(host=NODES)
    def meet_the_guest(self, host):
        dora = self.pick("dora")
        self.run(dora.log.append(document(0, title=f"dora at {host}")))
        try:
            self.run(self.town.patiently(self.pick(host).sync(dora)))
        except CallTimeout:
            return
        assert self.run(self.pick(host).hashes()) == self.run(dora.hashes())

    def teardown(self):
        """All meet all, twice: nothing that a disk holds is missing anywhere, and all views are equal."""
        if self.runner is None:
            return
        with self.runner:
            self.town.network.heal()
            nodes = list(self.town.nodes.values())
            held = set().union(*(self.run(node.hashes()) for node in nodes))
            for _ in range(2):
                for one in nodes:
                    for two in nodes:
                        if one is not two and one.name != "dora" and two.name != "dora":
                            assert self.run(one.sync(two)).complete
            if self.guest:
                self.run(self._ask_guest())
            states = {self.run(node.hashes()) == held for node in nodes}
            assert states == {True}
            assert len({str(node.documents.documents("personal")) for node in nodes}) == 1
            for node in nodes:
                assert node.bans == []
                assert self.run(node.log.history.forks()) == []
                assert len(node.index.keys) == self.run(node.log.history.size())
            self.run(self.town.close())

    async def _ask_guest(self):
        """Members ask her, because she may not be one yet."""
        for _ in range(2):
            for name in NAMES:
                assert (await self.pick(name).sync(self.pick("dora"))).complete


TestLogs = Logs.TestCase
TestLogs.settings = settings(max_examples=HISTORIES, stateful_step_count=15, deadline=None)
