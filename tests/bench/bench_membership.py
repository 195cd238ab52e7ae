"""Figures of membership: judging 10,000 acts of 1,000 members, beside checking their signatures (M01).

    python tests/bench/bench_membership.py [--json] [--members 1000] [--acts 10000]

Three communities: one line of acts, boxes that write side by side, and side by side with removals among them.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import tracemalloc
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "edge"), str(ROOT / "tests")]

from hearthnet.base.errors import EventRejected  # noqa: E402
from hearthnet.wire.cid import cid_of  # noqa: E402
from hearthnet.wire.community import (  # noqa: E402
    CommunityCreated,
    CommunityPolicy,
    KnownHead,
    MemberDemoted,
    MemberInvited,
    MemberJoined,
    MemberPromoted,
    MemberRevoked,
)
from hearthnet.wire.event import seal_event, verify_event  # noqa: E402
from hearthnet.wire.identity import KeyPair, node_id_of  # noqa: E402
from hearthnet.wire.membership import Membership  # noqa: E402
from hearthnet.wire.membership_act import Act  # noqa: E402

COMMUNITY = KeyPair(bytes([1]) * 32).node_id
LATER, NOW = "2030-01-01T00:00:00Z", "2026-01-01T00:00:00Z"
SIGNED = 500


class Crowd:
    """Acts as they look after their signatures were checked, which is measured apart."""

    def __init__(self, members, acts, *, beside, removals, seed=1):
        self.random = random.Random(seed)
        self.view = Membership(COMMUNITY)
        self.acts = []
        self.seqs = {}
        self.beside = beside
        self.removals = removals
        self.nodes = [COMMUNITY, *(node_id_of(number.to_bytes(32)) for number in range(2, members + 2))]
        self.put(COMMUNITY, CommunityCreated("Town", COMMUNITY, CommunityPolicy()), after=())
        for node in self.nodes[1:]:
            invited = self.put(COMMUNITY, MemberInvited(node, "A", "member", LATER), after=self.view.frontier())
            self.put(node, MemberJoined(invited.event_id, {}), after=self.view.frontier())
        for node in self.nodes[1:20]:
            anchors = [other for other in self.nodes[:4] if self.view.level(other).label == "anchor"]
            level = "anchor" if node in self.nodes[1:4] else "trusted"
            self.put(
                COMMUNITY,
                MemberPromoted(node, level, self.head(node), LATER),
                *anchors[1:3],
                after=self.view.frontier(),
            )
        while len(self.acts) < acts:
            self.go_on()

    def head(self, node):
        return KnownHead(0, self.seqs.get(node, 0))

    def put(self, author, data, *helpers, after):
        number = len(self.acts) + 1
        data = type(data)(**{name: getattr(data, name) for name in data.__struct_fields__} | {"after": after})
        self.seqs[author] = self.seqs.get(author, 0) + 1
        act = Act(
            cid_of(b"%d" % number), author, 0, self.seqs[author], number, f"{number:026}", NOW, data, (author, *helpers)
        )
        self.view.add(act)
        self.acts.append(act)
        return act

    def go_on(self):
        """Some boxes write, each knowing what all knew before this round."""
        after = self.view.frontier()
        for _ in range(self.random.randint(2, 12) if self.beside else 1):
            one, other = self.random.sample(self.nodes[20:], 2)
            signers = [node for node in self.nodes[:20] if self.view.level(node) >= 3][:6]
            kind = self.random.random()
            try:
                if self.removals and kind < 0.04:  # the target writes beside its removal
                    self.put(one, MemberInvited(other, "A", "member", LATER), after=after)
                if self.removals and kind < 0.02:
                    self.put(signers[0], MemberRevoked(one, "other", self.head(one), LATER), *signers[1:4], after=after)
                elif self.removals and kind < 0.04:
                    self.put(
                        signers[0],
                        MemberDemoted(one, "member", "other", self.head(one), LATER),
                        *signers[1:4],
                        after=after,
                    )
                elif kind < 0.1:
                    self.put(COMMUNITY, MemberPromoted(one, "trusted", self.head(one), LATER), after=after)
                else:
                    self.put(one, MemberInvited(other, "A", "member", LATER), after=after)
            except EventRejected:
                continue


def signature_seconds():
    """Opening and checking one event, the cheapest way that we know."""
    key = KeyPair(bytes([1]) * 32)
    data = MemberInvited(node_id_of(bytes([2]) * 32), "A name", "member", LATER, (cid_of(b"1"), cid_of(b"2")))
    sealed = [
        seal_event(key, data, community_id=COMMUNITY, event_id=f"{number:026}", lamport=number, now=1.8e9, after=None)
        for number in range(1, SIGNED + 1)
    ]
    best = 1e9
    for _ in range(3):
        began = time.perf_counter()
        for item in sealed:
            verify_event(item)
        best = min(best, (time.perf_counter() - began) / SIGNED)
    return best


def measure(name, members, acts, each_signature, **kind):
    crowd = Crowd(members, acts, **kind)
    best = 1e9
    for _ in range(3):
        began = time.perf_counter()
        view = Membership(COMMUNITY)
        for act in crowd.acts:
            view.add(act)
        found = len(view.members())
        best = min(best, time.perf_counter() - began)
    shuffled = list(crowd.acts)
    random.Random(2).shuffle(shuffled)
    began = time.perf_counter()
    mixed = Membership(COMMUNITY)
    for act in shuffled:
        mixed.add(act)
    assert mixed.members() == view.members()
    late = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(100):
        view.copy()
    copying = (time.perf_counter() - began) / 100
    tracemalloc.start()
    kept = Membership(COMMUNITY)
    for act in crowd.acts:
        kept.add(act)
    kept.members()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    void = sum(not stands for _, stands in view.history())
    return {
        "community": name, "acts": len(crowd.acts), "members": found, "void": void,
        "contested_removals": view._archive.contested.bit_count(), "us_per_act": round(best / len(crowd.acts) * 1e6, 1),
        "any_order_us_per_act": round(late / len(crowd.acts) * 1e6, 1), "copy_ms": round(copying * 1e3, 2),
        "bytes_per_act": size // len(crowd.acts),
        "times_the_signature_check": round(best / len(crowd.acts) / each_signature, 2),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--acts", type=int, default=10_000)
    options = parser.parse_args()
    each = signature_seconds()
    rows = [
        measure(name, options.members, options.acts, each, beside=beside, removals=removals)
        for name, beside, removals in (
            ("one line", False, False), ("side by side", True, False), ("with removals", True, True),
        )
    ]  # fmt: skip
    if options.json:
        print(json.dumps({"signature_us": round(each * 1e6, 1), "rows": rows}))
        return
    print(f"one signature check: {each * 1e6:.0f} us")
    for row in rows:
        print(", ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
