"""Snapshots of the views, so that opening a long log replays little (X02).

A file `<lamport>.bin` is one line of canonical JSON, signed, and the state it names by hash. It is written whole or
not at all; the newest seven stay. A snapshot that does not verify, or was made from another file of events, is
passed over: the log itself is the truth.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Raw, Struct

from hearthnet.base.constants import SNAPSHOTS_KEPT
from hearthnet.base.errors import BadRequest, DiskFull, HearthNetError, InvalidSignature
from hearthnet.base.types import CID, CommunityID, NodeID, Signature
from hearthnet.wire import canonical, identity
from hearthnet.wire.cid import cid_of
from hearthnet.wire.timestamp import Timestamp, format_time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class SnapshotHead(Struct, frozen=True, forbid_unknown_fields=True):
    """The signed line: whose state this is and which events it covers."""

    author: NodeID
    community_id: CommunityID
    covers_events_up_to: int  # Lamport time of the newest event covered
    covers_hash: CID  # of the last covered event in order of arrival here
    covers_seq: int  # its arrival number
    lamport: int
    schema_version: Literal[1]
    state_hash: CID
    wall_clock: Timestamp
    signature: Signature = Signature("")


class Snapshot(Struct, frozen=True):
    """A verified snapshot; `state` holds each view's own JSON by name."""

    head: SnapshotHead
    state: dict[str, Raw]


class Snapshots:
    """The folder of this node's snapshots of one community."""

    def __init__(self, folder: Path, key: identity.KeyPair, community: CommunityID) -> None:
        self._folder = folder
        self._key = key
        self._community = community

    async def write(
        self, state: Mapping[str, bytes], *, lamport: int, covers: tuple[int, CID], now: float
    ) -> SnapshotHead:
        """Sign and store; `covers` is the last event in the state: arrival number and hash. Raises DiskFull."""
        body = msgspec.json.encode({name: Raw(part) for name, part in sorted(state.items())})
        head = SnapshotHead(
            author=self._key.node_id,
            community_id=self._community,
            covers_events_up_to=lamport,
            covers_hash=covers[1],
            covers_seq=covers[0],
            lamport=lamport,
            schema_version=1,
            state_hash=cid_of(body),
            wall_clock=format_time(now),
        )
        signature = self._key.sign(identity.Domain.SNAPSHOT, self._community, _signed_bytes(head))
        head = msgspec.structs.replace(head, signature=signature)
        await asyncio.to_thread(self._store, lamport, canonical.encode(head) + b"\n" + body)
        return head

    async def keep(self, count: int) -> None:
        """Remove all but the newest."""
        await asyncio.to_thread(self._remove_old, count)

    async def latest(self) -> Snapshot | None:
        """The newest one that verifies."""
        return await asyncio.to_thread(self._find)

    def _find(self) -> Snapshot | None:
        for file in reversed(self._files()):
            try:
                return self._open(file.read_bytes())
            except (OSError, msgspec.DecodeError, HearthNetError):
                continue
        return None

    def _open(self, data: bytes) -> Snapshot:
        line, _, body = data.partition(b"\n")
        head = canonical.decode_as(line, SnapshotHead)
        if head.community_id != self._community or head.author != self._key.node_id:
            raise InvalidSignature("a snapshot of another community or node")
        identity.verify(head.author, identity.Domain.SNAPSHOT, self._community, _signed_bytes(head), head.signature)
        if cid_of(body) != head.state_hash:
            raise BadRequest("the state is not the one that was signed")
        return Snapshot(head, msgspec.json.decode(body, type=dict[str, Raw]))

    def _store(self, lamport: int, data: bytes) -> None:
        part = self._folder / ".part"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._folder / f"{lamport:020}.bin")
        except OSError as error:
            part.unlink(missing_ok=True)
            raise DiskFull(f"cannot write the snapshot: {error.strerror}", fix="free some space") from error
        self._remove_old(SNAPSHOTS_KEPT)

    def _remove_old(self, count: int) -> None:
        for old in self._files()[:-count]:
            old.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.bin"))


def _signed_bytes(head: SnapshotHead) -> bytes:
    unsigned = msgspec.to_builtins(head)
    del unsigned["signature"]
    return canonical.encode(unsigned)
