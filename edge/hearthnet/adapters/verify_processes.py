"""Checking many events in child processes, past the interpreter lock (X02).

A child starts with the first large delivery; between deliveries it waits a while, because to start one costs as much as
to check a thousand events. One that dies takes nothing along: the caller checks
those events itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import msgspec

import hearthnet
from hearthnet.base.errors import Unavailable
from hearthnet.ports import EventVerdict

if TYPE_CHECKING:
    from collections.abc import Sequence

LINGER_S: Final = 10.0
_SOURCES: Final = str(Path(hearthnet.__file__).resolve().parents[1])

_pack = msgspec.msgpack.Encoder().encode
_read = msgspec.msgpack.Decoder(list[EventVerdict]).decode


class VerifyProcesses:
    """The `BulkVerifier` port; blocking, called from several threads, each with a child of its own meanwhile."""

    def __init__(self, linger_s: float = LINGER_S) -> None:
        self._lock = threading.Lock()
        self._turns = threading.Semaphore(os.cpu_count() or 1)  # more callers than children keep every child busy
        self._idle: list[subprocess.Popen[bytes]] = []
        self._linger_s = linger_s
        self._end_soon: threading.Timer | None = None

    def check(self, wires: Sequence[bytes]) -> list[EventVerdict]:
        """Form, data and signature of each event; raises Unavailable when there is no child to ask."""
        request = _pack(wires)
        with self._turns:
            with self._lock:
                self._stay()
                child = self._idle.pop() if self._idle else None
            child = child or _start()
            try:
                reply = _ask(child, request)
            except (OSError, EOFError) as error:
                _end(child, kill=True)
                raise Unavailable("the process that checks events ended") from error
            with self._lock:
                self._idle.append(child)
        return _read(reply)

    def rest(self) -> None:
        """Nothing more to check for now: the children end unless more comes soon."""
        with self._lock:
            self._stay()
            self._end_soon = threading.Timer(self._linger_s, self.close)
            self._end_soon.daemon = True
            self._end_soon.start()

    def close(self) -> None:
        """Let the children end now."""
        with self._lock:
            self._stay()
            children, self._idle = self._idle, []
        for child in children:
            _end(child)

    def _stay(self) -> None:
        if self._end_soon is not None:
            self._end_soon.cancel()
            self._end_soon = None


def _start() -> subprocess.Popen[bytes]:
    known = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL") if key in os.environ}
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-s", "-m", "hearthnet.adapters.verify_child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, env=known | {"PYTHONPATH": _SOURCES},
        )  # fmt: skip
    except OSError as error:
        raise Unavailable(f"no process to check events: {error.strerror}") from error


def _ask(child: subprocess.Popen[bytes], request: bytes) -> bytes:
    source, target = _pipes(child)
    target.write(len(request).to_bytes(4) + request)
    target.flush()
    header = source.read(4)
    if len(header) < 4:
        raise EOFError
    size = int.from_bytes(header)
    reply = source.read(size)
    if len(reply) < size:
        raise EOFError
    return reply


def _end(child: subprocess.Popen[bytes], *, kill: bool = False) -> None:
    source, target = _pipes(child)
    if kill:
        child.kill()
    try:
        target.close()
    except BrokenPipeError:  # it ended first
        pass
    finally:
        child.wait()
        source.close()


def _pipes(child: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if child.stdout is None or child.stdin is None:
        raise Unavailable("the child was started without pipes")
    return child.stdout, child.stdin
