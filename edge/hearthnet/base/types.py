"""Names of the values that travel: identifiers, trust levels, stability (glossary of the specification)."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import NewType

NodeID = NewType("NodeID", str)  # "ed25519:" + base64url of the 32 byte public key, 43 characters
ShortID = NewType("ShortID", str)  # display only, 4x4 base32 characters of the first 10 bytes (decision 1)
CommunityID = NewType("CommunityID", str)  # NodeID form of the community root key
CID = NewType("CID", str)  # "blake3:" + 64 lowercase hex digits
SchemaHash = NewType("SchemaHash", str)  # same form as CID
EventID = NewType("EventID", str)  # ULID, 26 Crockford base32 characters
TraceID = NewType("TraceID", str)  # ULID
Signature = NewType("Signature", str)  # "ed25519:" + base64url of 64 bytes


class TrustLevel(IntEnum):
    """How far a caller is trusted; a capability names the lowest level that may call it.

    `SELF` is a member or admin session of this node, or its control socket (decision 24).
    """

    UNKNOWN = 0
    FEDERATED = 1
    MEMBER = 2
    TRUSTED = 3
    ANCHOR = 4
    SELF = 5

    @property
    def label(self) -> str:
        """The word used on the wire and in documents."""
        return self.name.lower()


class Stability(Enum):
    """Promise made for a capability's shape."""

    EXPERIMENTAL = "experimental"
    BETA = "beta"
    STABLE = "stable"
    DEPRECATED = "deprecated"


class Role(IntEnum):
    """What a browser or token may do on this node (decision 24)."""

    GUEST = 0
    MEMBER = 1
    ADMIN = 2


class Profile(Enum):
    """What a node offers its community."""

    ANCHOR = "anchor"
    HEARTH = "hearth"
    SPARK = "spark"
    BRIDGE = "bridge"


class Tier(Enum):
    """Where the words of an answer come from; always shown beside it (decision 22)."""

    QUOTED = "quoted"
    SMALL_MODEL = "small_model"
    LARGE_MODEL = "large_model"
    NOT_IN_LIBRARY = "not_in_library"
    UNGROUNDED = "ungrounded"
