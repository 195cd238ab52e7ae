"""Announcements on one link: found at once when few, bounded whatever their number (M02, mesh.md section 7)."""

from __future__ import annotations

import heapq
import random

import pytest

from hearthnet.wire.announce_pace import AnnouncePace

LATENCY_S = 0.003


def announce(nodes, seconds, seed=1, spread_s=0.0):
    """Simulate `nodes` on one link; the times of all packets and, by node, whom it heard."""
    dice = random.Random(seed)
    paces = [AnnouncePace(random.Random(seed * 1000 + n).random, n * spread_s / nodes) for n in range(nodes)]
    todo = [(pace.due_at, n) for n, pace in enumerate(paces)]
    heapq.heapify(todo)
    sent, heard, on_air = [], [set() for _ in paces], []
    heapq.heappush(todo, (seconds, nodes))
    while True:
        now, number = heapq.heappop(todo)
        while on_air and on_air[0][0] <= now:
            at, sender = heapq.heappop(on_air)
            for other, pace in enumerate(paces):
                if other != sender:
                    pace.hear(str(sender), at)
                    heard[other].add(sender)
        if number == nodes:
            return sent, heard
        if paces[number].is_due(now):
            sent.append(now)
            heapq.heappush(on_air, (now + LATENCY_S * (0.5 + dice.random()), number))
        heapq.heappush(todo, (max(paces[number].due_at, now + 1e-6), number))


def busiest(sent, window_s):
    """Packets a second in the busiest stretch of that length."""
    best, first = 0, 0
    for last, at in enumerate(sent):
        while sent[first] <= at - window_s:
            first += 1
        best = max(best, last - first + 1)
    return best / window_s


@pytest.mark.parametrize("nodes", [1, 2, 8])
def test_few_nodes_find_each_other_within_seconds(nodes):
    sent, heard = announce(nodes, 5.0)
    assert len(sent) >= nodes
    assert all(len(others) == nodes - 1 for others in heard)


@pytest.mark.parametrize(("nodes", "seed"), [(30, 1), (300, 2), (1000, 3)])
def test_a_link_bears_at_most_five_packets_a_second(nodes, seed):
    sent, _ = announce(nodes, 60.0, seed)
    assert busiest(sent, 10.0) <= 5.0
    assert len(sent) >= 60  # and it is used


def test_a_crowd_is_heard_completely_and_stays_within_the_bound():
    sent, heard = announce(200, 240.0, seed=4)
    assert min(map(len, heard)) == 199
    assert busiest(sent, 10.0) <= 5.0


def test_a_lone_node_asks_every_five_seconds_and_one_among_many_rarely():
    alone = AnnouncePace(lambda: 0.5, 0.0)
    assert alone.interval_s(10.0) == 5.0
    for number in range(99):
        alone.hear(f"node {number}", 10.0)
    assert alone.interval_s(10.0) == 30.0
    for number in range(999):
        alone.hear(f"node {number}", 10.0)
    assert alone.interval_s(10.0) == 250.0


def test_nodes_that_left_no_longer_slow_the_others():
    pace = AnnouncePace(lambda: 0.5, 0.0)
    for number in range(999):
        pace.hear(f"node {number}", 1.0)
    assert pace.interval_s(100.0) == 250.0
    pace.hear("node 1", 2000.0)
    assert pace.interval_s(2000.0) == 5.0


def test_a_change_is_told_soon_but_not_on_a_busy_link():
    pace = AnnouncePace(lambda: 0.5, 0.0)
    assert pace.is_due(1.0)
    pace.hurry(2.0)
    for number in range(3):
        pace.hear(f"node {number}", 2.4)
    assert not pace.is_due(2.5)
    assert pace.is_due(5.0)


def test_memory_is_bounded_under_forged_senders():
    pace = AnnouncePace(lambda: 0.5, 0.0)
    for number in range(6000):
        pace.hear(f"forged {number}", 1.0)
    assert pace.interval_s(1.0) <= 4097 / 4
