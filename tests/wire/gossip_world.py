"""Nodes that gossip in virtual time: the real overlay and broadcast, a network with delay, loss and deaths."""

from __future__ import annotations

import heapq
import random
from itertools import count

from hearthnet.base.types import NodeID
from hearthnet.wire.broadcast import Broadcast, Verify
from hearthnet.wire.gossip_message import (
    Contact,
    Disconnect,
    Gossip,
    Neighbor,
    NeighborReply,
    Send,
    Shuffle,
    ShuffleReply,
    decode_messages,
    encode_messages,
)
from hearthnet.wire.overlay import Down, Overlay, Up

OVERLAY = (Neighbor, NeighborReply, Disconnect, Shuffle, ShuffleReply)
FAILS_AFTER_S = 1.0


class Node:
    """One node: its views, its trees, the events it has with the hops they took."""

    def __init__(self, world, number):
        self.world, self.dice = world, random.Random(world.seed * 100_003 + number)
        self.node_id = NodeID(f"ed25519:{number:043d}")
        self.contact = Contact(self.node_id, f"10.0.{number >> 8}.{number & 255}", 7080)
        self.overlay = Overlay(self.contact, self.dice.random, 0.0)
        self.tree = Broadcast()
        self.got = {}
        self.forged = set()
        self.gossips = 0
        self.alive = True

    def do(self, effects, now):
        for effect in effects:
            match effect:
                case Send(node_id=target, message=message):
                    self.world.send(self, target, message, now)
                case Up(node_id=node_id):
                    self.tree.up(node_id)
                case Down(node_id=node_id):
                    self.tree.down(node_id)
                case Verify(hash=hash_, wire=wire):
                    if wire == b"forged":
                        self.forged.add(hash_)
                        self.tree.refuse(hash_, now)
                    else:
                        self.got[hash_] = now
                        self.do(self.tree.accept(hash_, now), now)
        due = self.tree.due_at()
        if due is not None:
            self.world.at(max(due, now), self.tick)

    def tick(self, now):
        self.do(self.tree.tick(now), now)

    def beat(self, now):
        if self.alive:
            self.do(self.overlay.tick(now), now)
            self.do(self.tree.tick(now), now)
            self.world.at(now + 1.0, self.beat)

    def receive(self, sender, message, now):
        if isinstance(message, OVERLAY):
            self.do(self.overlay.receive(sender.contact, message, now), now)
        else:
            self.gossips += isinstance(message, Gossip)
            if isinstance(message, Gossip):
                self.world.hops.setdefault(message.hash, []).append(message.hops)
            self.do(self.tree.receive(sender.node_id, message, now), now)

    def publish(self, hash_, now):
        self.got[hash_] = now
        self.do(self.tree.publish(hash_, b"event", now), now)


class World:
    """All nodes know `known` others from discovery."""

    def __init__(self, nodes, seed=1, loss=0.0, known=30):
        self.seed, self.loss = seed, loss
        self.dice = random.Random(seed)
        self.now, self._todo, self._order = 0.0, [], count()
        self.hops = {}
        self.nodes = [Node(self, number) for number in range(nodes)]
        self.by_id = {node.node_id: node for node in self.nodes}
        for node in self.nodes:
            others = self.dice.sample(self.nodes, min(known + 1, nodes))
            node.overlay.suggest(other.contact for other in others if other is not node)
            self.at(self.dice.random(), node.beat)

    def at(self, when, work):
        heapq.heappush(self._todo, (when, next(self._order), work))

    def run(self, seconds):
        end = self.now + seconds
        while self._todo and self._todo[0][0] <= end:
            self.now, _, work = heapq.heappop(self._todo)
            work(self.now)
        self.now = end

    def send(self, source, target_id, message, now):
        target = self.by_id[target_id]
        [message] = decode_messages(encode_messages((message,)))
        if not target.alive or self.dice.random() < self.loss:
            if not target.alive:
                self.at(now + FAILS_AFTER_S, lambda at: source.do(source.overlay.fail(target_id), at))
            return
        delay = 0.010 + 0.040 * self.dice.random()
        self.at(now + delay, lambda at: target.alive and target.receive(source, message, at))

    def kill(self, share):
        for node in self.dice.sample(self.nodes, int(len(self.nodes) * share)):
            node.alive = False

    @property
    def living(self):
        return [node for node in self.nodes if node.alive]

    def share(self, hash_):
        """Share of the living nodes that have an event."""
        return sum(hash_ in node.got for node in self.living) / len(self.living)

    def redundancy(self, before=0):
        """Relative message redundancy: pushes per node beyond the one that was needed."""
        pushed = sum(node.gossips for node in self.nodes) - before
        return pushed / (len(self.living) - 1) - 1
