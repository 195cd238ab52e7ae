"""The ports: what the node needs from the outside, as Protocols (hexagonal architecture).

Adapters implement one port per file and ship a fake beside it; both pass the same contract tests in
`tests/adapters/`. Time is never read elsewhere: everything that needs it takes a `Clock`.
"""

from hearthnet.ports.models import (
    DocumentReader,
    Engines,
    EngineStatus,
    GenerateRequest,
    ModelInfo,
    Page,
    Reading,
    TextDelta,
    VectorHits,
    VectorIndex,
    Vectors,
)
from hearthnet.ports.network import (
    Address,
    Announcer,
    Exchange,
    Peer,
    PeerServer,
    Sender,
    Sighting,
    Transport,
)
from hearthnet.ports.storage import (
    Blobs,
    BlobWriter,
    BulkVerifier,
    Clock,
    EventVerdict,
    Migration,
    Probe,
    Query,
    Row,
    SqlValue,
    Store,
    Transaction,
)

__all__ = [
    "Address",
    "Announcer",
    "BlobWriter",
    "Blobs",
    "BulkVerifier",
    "Clock",
    "DocumentReader",
    "EngineStatus",
    "Engines",
    "EventVerdict",
    "Exchange",
    "GenerateRequest",
    "Migration",
    "ModelInfo",
    "Page",
    "Peer",
    "PeerServer",
    "Probe",
    "Query",
    "Reading",
    "Row",
    "Sender",
    "Sighting",
    "SqlValue",
    "Store",
    "TextDelta",
    "Transaction",
    "Transport",
    "VectorHits",
    "VectorIndex",
    "Vectors",
]
