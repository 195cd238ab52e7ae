"""Types of the fields that recur in signed objects, with the checks that every reader makes (contract "Identifiers").

Each pattern comes with a length, because `$` alone would let a trailing line break pass.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from hearthnet.base.types import CID, CommunityID, NodeID
from hearthnet.base.ulid import ULID_PATTERN
from hearthnet.wire.timestamp import TIMESTAMP_PATTERN, Timestamp

NodeIdField = Annotated[NodeID, Meta(pattern="^ed25519:[A-Za-z0-9_-]{43}$", max_length=51)]
CommunityField = Annotated[CommunityID, Meta(pattern="^ed25519:[A-Za-z0-9_-]{43}$", max_length=51)]
CidField = Annotated[CID, Meta(pattern="^blake3:[0-9a-f]{64}$", max_length=71)]
UlidField = Annotated[str, Meta(pattern=ULID_PATTERN, max_length=26)]
TimeField = Annotated[Timestamp, Meta(pattern=TIMESTAMP_PATTERN, max_length=20)]
CountField = Annotated[int, Meta(ge=0, le=2**53 - 1)]
EpochField = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{22}$", max_length=22)]
ClientIdField = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:-]+$")]  # of a form or program
