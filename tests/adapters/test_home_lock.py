"""A second node on the same home is refused by name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from hearthnet.adapters.home_lock import HomeLock
from hearthnet.base.errors import AlreadyRunning

HOLD = """
import sys, time
from pathlib import Path
from hearthnet.adapters.home_lock import HomeLock
lock = HomeLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def start_holder(path):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "edge"}
    )
    assert child.stdout.readline() == b"held\n"
    return child


def test_another_process_is_refused_and_told_who_and_what_to_do(tmp_path):
    path = tmp_path / "data/node.lock"
    child = start_holder(path)
    with child.stdout, pytest.raises(AlreadyRunning, match=f"process {child.pid} ") as caught:
        HomeLock(path)
    assert str(child.pid) in caught.value.fix
    assert "HEARTHNET_HOME" in caught.value.fix
    child.send_signal(signal.SIGKILL)
    child.wait()
    HomeLock(path).release()


def test_the_lock_names_its_holder_and_can_be_taken_again_after_release(tmp_path):
    path = tmp_path / "node.lock"
    lock = HomeLock(path)
    assert path.read_text().strip() == str(os.getpid())
    with pytest.raises(AlreadyRunning):
        HomeLock(path)
    lock.release()
    lock.release()
    HomeLock(path).release()
    assert path.read_text() == ""
