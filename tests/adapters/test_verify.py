"""Checking events in bulk: the processes say what the fake says, and their death harms nobody."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from hearthnet.adapters.verify_fake import FakeVerifier
from hearthnet.adapters.verify_processes import VerifyProcesses
from hearthnet.base.errors import Unavailable
from mesh.log_world import Author, Village, document

VILLAGE = Village()
GOOD = [VILLAGE.anna.seal(document(number), lamport=50 + number) for number in range(200)]


@pytest.fixture(params=["processes", "fake"])
def verifier(request):
    verifier = VerifyProcesses() if request.param == "processes" else FakeVerifier()
    yield verifier
    verifier.close()


def test_each_event_gets_its_verdict_in_order(verifier):
    forged = GOOD[1].wire.replace(b"Document", b"Dokument")
    stranger = Author(VILLAGE.bert.key).seal(document(1), lamport=9)
    verdicts = verifier.check([GOOD[0].wire, forged, b"torn", b"", stranger.wire])
    assert [verdict.hash for verdict in verdicts] == [GOOD[0].hash, "", "", "", stranger.hash]
    assert [verdict.code for verdict in verdicts] == ["", "invalid_signature", "bad_request", "bad_request", ""]
    assert verdicts[1].event_id == GOOD[1].event.event_id
    assert all(verdict.reason for verdict in verdicts[1:4])


def test_it_can_be_asked_again_and_after_a_rest(verifier):
    for _ in range(2):
        assert verifier.check([GOOD[0].wire])[0].hash == GOOD[0].hash
        assert verifier.check([]) == []
        verifier.rest()


def test_several_threads_each_have_a_child_and_none_is_left_behind():
    verifier = VerifyProcesses()
    wires = [sealed.wire for sealed in GOOD]
    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(verifier.check, [wires] * 4))
    assert all([verdict.hash for verdict in verdicts] == [sealed.hash for sealed in GOOD] for verdicts in done)
    children = list(verifier._idle)
    assert 1 <= len(children) <= 2
    verifier.rest()
    assert all(child.poll() is None for child in children)  # more may come
    verifier.close()
    assert all(child.returncode == 0 for child in children)


def test_a_killed_child_is_reported_and_replaced():
    verifier = VerifyProcesses()
    verifier.check([GOOD[0].wire])
    (child,) = verifier._idle
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    with pytest.raises(Unavailable):
        verifier.check([GOOD[0].wire])
    assert verifier.check([GOOD[0].wire])[0].hash == GOOD[0].hash
    verifier.close()


def test_children_end_by_themselves_when_nothing_follows():
    verifier = VerifyProcesses(linger_s=0.01)
    verifier.check([GOOD[0].wire])
    (child,) = verifier._idle
    verifier.rest()
    assert child.wait(timeout=15) == 0
    assert verifier.check([GOOD[0].wire])[0].hash == GOOD[0].hash  # a new one
    verifier.close()


def test_the_fake_dies_on_demand_and_remembers():
    fake = FakeVerifier(checks_left=1)
    fake.check([GOOD[0].wire])
    with pytest.raises(Unavailable):
        fake.check([GOOD[0].wire])
    fake.rest()
    assert fake.history == ["checked 1", "died", "rested"]
