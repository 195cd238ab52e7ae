"""Two nodes append, exchange, crash, restart and run out of disk in any order: what was acknowledged stays."""

from __future__ import annotations

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from hearthnet.base.errors import DiskFull
from hearthnet.mesh.event_history import Position
from hearthnet.wire.event import open_event
from mesh.log_world import ANNA, FOUNDER, LogNode, Village, document

SIDES = st.sampled_from(["founder", "anna"])


class TwoLogs(RuleBasedStateMachine):
    """The model is the set of acknowledged events of each node."""

    wires = Bundle("wires")

    def __init__(self):
        super().__init__()
        self.runner = None
        self.number = 0

    def run(self, work):
        return self.runner.run(work)

    @initialize()
    def found(self):
        self.runner = asyncio.Runner()
        self.village = Village()
        self.nodes = {"founder": LogNode(FOUNDER), "anna": LogNode(ANNA)}
        self.acknowledged = {"founder": set(), "anna": set()}
        self.full = set()
        for name, node in self.nodes.items():
            self.run(node.log.open())
            receipt = self.run(node.log.receive(self.village.wires))
            assert receipt.accepted == 5
            self.acknowledged[name].update(sealed.hash for sealed in self.village.events)

    @rule(target=wires, side=SIDES, count=st.integers(1, 5), topic=st.integers(0, 3))
    def append(self, side, count, topic):
        node, stored = self.nodes[side], []
        self.number += 1
        jobs = [node.log.append(document(topic, title=f"{side} {self.number} {part}")) for part in range(count)]
        for outcome in self.run(_gather(jobs)):
            if isinstance(outcome, DiskFull):
                assert side in self.full
            else:
                stored.append(outcome.wire)
                self.acknowledged[side].add(outcome.hash)
        return stored

    @rule(side=SIDES, batches=st.lists(wires, max_size=4))
    def receive(self, side, batches):
        sent = [wire for batch in batches for wire in batch]
        try:
            receipt = self.run(self.nodes[side].log.receive(sent))
        except DiskFull:
            assert side in self.full
            return
        assert receipt.rejected == ()
        assert receipt.forks == 0
        assert receipt.accepted + receipt.duplicates == len(sent)
        self.acknowledged[side].update(self.hashes(sent))

    @rule(side=SIDES)
    def crash(self, side):
        self.full.discard(side)
        self.run(self.nodes[side].crash())

    @rule(side=SIDES)
    def restart(self, side):
        self.run(self.nodes[side].restart())

    @rule(side=SIDES)
    def fill_disk(self, side):
        self.nodes[side].store.fill_disk()
        self.full.add(side)

    @rule(side=SIDES)
    def free_disk(self, side):
        self.nodes[side].store.free_disk()
        self.full.discard(side)

    @invariant()
    def what_was_acknowledged_is_stored_and_in_order(self):
        for name, node in self.nodes.items() if self.runner else ():
            page, _ = self.run(node.log.history.page(Position(), 10_000))
            assert {sealed.hash for sealed in page} == self.acknowledged[name]
            order = [(sealed.event.lamport, sealed.event.event_id) for sealed in page]
            assert order == sorted(order)
            assert node.log.lamport >= max(lamport for lamport, _ in order)

    def teardown(self):
        """At the end both exchange everything and agree."""
        if self.runner is None:
            return
        with self.runner:
            for side in self.nodes:
                self.free_disk(side)
            everything = {name: self.run(node.wires()) for name, node in self.nodes.items()}
            self.run(self.nodes["founder"].log.receive(everything["anna"]))
            self.run(self.nodes["anna"].log.receive(everything["founder"]))
            one, two = self.nodes.values()
            assert self.run(one.wires()) == self.run(two.wires())
            assert one.documents.documents("personal") == two.documents.documents("personal")
            for node in self.nodes.values():
                assert self.run(node.log.history.verify_all(node.key.node_id)) == len(self.run(node.wires()))
                self.run(node.log.close())

    def hashes(self, wires):
        return {open_event(wire).hash for wire in wires}


async def _gather(jobs):
    return await asyncio.gather(*jobs, return_exceptions=True)


TestTwoLogs = TwoLogs.TestCase
TestTwoLogs.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
