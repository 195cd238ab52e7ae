"""The ports: what the node needs from the outside, as Protocols (hexagonal architecture).

Adapters implement one port per file and ship a fake beside it; both pass the same contract tests in
`tests/adapters/`. Time is never read elsewhere: everything that needs it takes a `Clock`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from msgspec import Struct

from hearthnet.base.constants import RPC_DEFAULT_TIMEOUT_S
from hearthnet.base.types import CommunityID, NodeID

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from hearthnet.base.types import CID, TraceID
    from hearthnet.wire.canonical import JsonObject
    from hearthnet.wire.cid import BlobManifest
    from hearthnet.wire.frame import StreamFrame
    from hearthnet.wire.manifest import NodeManifest

T = TypeVar("T")
SqlValue = str | bytes | int | float | None
Row = tuple[Any, ...]


class Clock(Protocol):
    """Time and sleeping; virtual in tests."""

    def now(self) -> float:
        """Wall clock, seconds since 1970 UTC; may be years off and may jump."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point, never backwards."""

    async def sleep(self, seconds: float) -> None:
        """Wait; cancellable."""


class Transaction(Protocol):
    """A write transaction; runs off the event loop, all or nothing."""

    def execute(self, sql: str, params: Sequence[SqlValue] = ()) -> int:
        """Run one statement; returns the number of changed rows."""

    def executemany(self, sql: str, rows: Sequence[Sequence[SqlValue]]) -> None:
        """Run one statement for many rows."""

    def query(self, sql: str, params: Sequence[SqlValue] = ()) -> list[Row]:
        """Read inside the transaction."""


Query = Callable[[str, Sequence[SqlValue]], list[Row]]  # one read statement
Probe = Callable[[Query], None]  # looks into a store just opened; raises StoreCorrupt when its content is damaged


class Migration(Struct, frozen=True):
    """One step of a schema. Each owner numbers its own steps from 1 and never changes one that was released."""

    owner: str
    number: int
    sql: str  # one or more statements, run in one transaction


class Store(Protocol):
    """One SQLite database: WAL, migrated at open, integrity-checked (decision 9).

    `transact` resolves only after the commit is durable when the store was opened durable
    (`synchronous=FULL`). Raises `DiskFull` when nothing could be kept, `StoreCorrupt` at open.
    """

    async def query(self, sql: str, params: Sequence[SqlValue] = ()) -> list[Row]:
        """Rows of one read statement, from a reader that never blocks the writer."""

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one write transaction and return its result; its exception rolls back.

        A caller cancelled before `work` began changes nothing; cancelled later, `work` still runs to the end.
        """

    async def backup(self, target: str) -> None:
        """Consistent copy while the node runs; the target file appears whole or not at all."""

    async def close(self) -> None:
        """Checkpoint and close; idempotent."""


class EventVerdict(Struct, frozen=True, array_like=True):
    """What checking an event found: its hash when all is right, else the reason."""

    hash: str
    event_id: str = ""
    code: str = ""
    reason: str = ""


class BulkVerifier(Protocol):
    """Checks many events at once, in other processes (X02)."""

    def check(self, wires: Sequence[bytes]) -> list[EventVerdict]:
        """Form, data and signature of each event, in order; blocking. Raises Unavailable: check them yourself."""

    def rest(self) -> None:
        """Give back what checking held."""


class BlobWriter(Protocol):
    """A blob being written; nothing is visible before `commit`."""

    async def write(self, data: bytes) -> None:
        """Append bytes; raises DiskFull."""

    async def commit(self) -> CID:
        """Hash, sync, rename; returns the content id."""


class Blobs(Protocol):
    """Content-addressed store (M07); every byte is verified on write and on read."""

    def writer(self, expected: CID | None = None) -> AbstractAsyncContextManager[BlobWriter]:
        """Start a blob; leaving the context without commit removes every trace."""

    def read(self, cid: CID) -> AsyncIterator[bytes]:
        """Stream the bytes in chunks; raises NotFound, HashMismatch (before the wrong bytes are given out)."""

    async def has(self, cid: CID) -> bool:
        """Whether the blob is here."""

    async def size(self, cid: CID) -> int:
        """Size in bytes; raises NotFound."""

    async def find(self, cid: CID) -> CID:
        """The blob that an id stands for: its own, its manifest's, or one of its chunks'; raises NotFound."""

    async def manifest(self, cid: CID) -> BlobManifest:
        """Chunk list of a blob, asked for by the blob's own id or by its manifest's; raises NotFound."""

    async def chunk(self, cid: CID) -> bytes:
        """One chunk by its own id, whichever blob holds it; raises NotFound, HashMismatch."""

    async def room(self) -> int:
        """Bytes that may still be stored before `DiskFull`."""

    async def delete(self, cid: CID) -> bool:
        """Remove an unpinned blob; False when it was pinned or absent."""

    async def pin(self, cid: CID, pinned: bool = True) -> None:
        """Protect from (or release to) garbage collection."""

    async def list(self, prefix: str = "") -> list[CID]:
        """Content ids that begin with the prefix."""

    async def collect_garbage(self) -> int:
        """Remove least recently used unpinned blobs while the disk is above its threshold; bytes freed."""


class GenerateRequest(Struct, frozen=True):
    """One text generation; only these fields ever reach an engine."""

    messages: tuple[tuple[str, str], ...]  # (role, content)
    max_tokens: int
    temperature: float = 0.7
    top_p: float = 0.95
    stop: tuple[str, ...] = ()
    seed: int | None = None
    grammar: str = ""  # GBNF; empty = free text
    json_schema: str = ""  # JSON text; empty = none
    raw_prompt: str = ""  # for completion without chat template; then messages is empty
    session: str = ""  # keeps the prompt state of a conversation warm


class TextDelta(Struct, frozen=True):
    """A piece of generated text; the last one has a stop reason."""

    text: str = ""
    stop_reason: str = ""  # end | max_tokens | stop_sequence
    tokens_in: int = 0
    tokens_out: int = 0


class ModelInfo(Struct, frozen=True):
    """One model that an engine can run now."""

    name: str
    backend: str
    tier: str  # Tier value of free wording by this model
    context_tokens: int
    requires_internet: bool = False
    loaded: bool = False


class Vectors(Protocol):
    """Embedding vectors: float32 little-endian, row-major, normalised."""

    @property
    def dim(self) -> int:
        """Length of each vector."""

    @property
    def data(self) -> bytes:
        """All vectors, one after another."""


class EngineStatus(Struct, frozen=True):
    """What an engine process is doing, for status and doctor."""

    name: str
    state: str  # absent | idle | starting | ready | backing_off
    detail: str = ""
    fix: str = ""  # the one command that mends it, when absent
    pid: int = 0
    rss_bytes: int = 0
    restarts: int = 0


class Engines(Protocol):
    """Model engines, each a child process started on first use (M04, M11)."""

    def models(self) -> list[ModelInfo]:
        """Text models that can answer now, preferred first."""

    def generate(self, model: str, request: GenerateRequest) -> AsyncGenerator[TextDelta, None]:
        """Stream text; closing the iterator frees the slot within 200 ms.

        Raises NotFound (model), EngineDied, Unavailable.
        """

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        """Vectors of the texts, as queries or as passages; raises Unavailable."""

    async def infer(self, model: str, inputs: Mapping[str, bytes], *, session: str = "") -> Mapping[str, bytes]:
        """Run a tensor model (TFLite) that passed its known-answer self-test; raises Unavailable, BadRequest.

        An input may hold several steps. Without a session each run starts from the model's first state; runs of a
        named session go on where the last one ended.
        """

    def status(self) -> list[EngineStatus]:
        """State of every engine."""

    async def close(self) -> None:
        """End all children."""


class VectorHits(Struct, frozen=True):
    """Rows nearest to a query, best first."""

    rows: list[int]
    scores: list[float]  # cosine
    mean: float = 0.0  # of all rows


class VectorIndex(Protocol):
    """Normalised vectors in memory, found by cosine; rows are numbered from 0 in the order they were added."""

    def append(self, vectors: Sequence[bytes]) -> None:
        """Add rows: little-endian half floats; raises BadRequest when one has another dimension."""

    def nearest(self, query: bytes, count: int, rows: Sequence[int] | None = None) -> VectorHits:
        """The best rows for a float32 query, among `rows` only if given; blocking, short."""

    def scores(self, query: bytes, rows: Sequence[int]) -> list[float]:
        """Cosines of these rows."""

    def __len__(self) -> int:
        """Number of rows."""


class Page(Struct, frozen=True):
    """Text of one page; number 0 = the document has no pages."""

    number: int
    text: str


class Reading(Struct, frozen=True):
    """What a document says."""

    pages: tuple[Page, ...]
    media_type: str  # as found by its bytes
    title: str = ""  # as the document names itself


class DocumentReader(Protocol):
    """Text of documents from outside, read in a bounded child process (M05)."""

    async def read(self, content: AsyncIterator[bytes], media_type: str = "") -> Reading:
        """Pages with text; raises BadRequest (kind unknown, no text, broken, too large, takes too long)."""


class Address(Struct, frozen=True):
    """Where a node listens for others; the host is a name, an IPv4 or an IPv6 address (with its zone)."""

    host: str
    port: int


class Peer(Struct, frozen=True):
    """A partner: who it must be, and where it may be reached, likeliest first."""

    node_id: NodeID
    addresses: tuple[Address, ...]


class Sender(Struct, frozen=True):
    """Who sent a request, proven by its signature or session."""

    node_id: NodeID
    community: CommunityID  # in whose name it signed; whether it belongs there is another question
    address: str = ""  # host it came from


Exchange = Callable[[NodeID, bytes], Awaitable[bytes]]  # an endpoint of our own: (sender, content) -> content


class Transport(Protocol):
    """The way to other nodes (X01).

    Raises what the other node answered; Unavailable when it cannot be reached, CallTimeout when it does not answer,
    InvalidSignature when another node answers in its place.
    """

    async def call(
        self, peer: Peer, capability: str, version: str, body: JsonObject, timeout_s: float = RPC_DEFAULT_TIMEOUT_S
    ) -> JsonObject:
        """Call a capability there; the reply `{output, meta}`."""

    def stream(self, peer: Peer, capability: str, version: str, body: JsonObject) -> AsyncGenerator[StreamFrame, None]:
        """Frames of a streamed reply up to its terminal one; closing the iterator cancels the handler there."""

    async def request(self, peer: Peer, path: str, content: bytes, timeout_s: float = RPC_DEFAULT_TIMEOUT_S) -> bytes:
        """Authenticated POST of bytes to the partner's own endpoint, e.g. `/sync/v2/reconcile`; returns bytes.

        At most REQUEST_MAX_BYTES each way. It may run there more than once, and also when no answer arrives here.
        """

    async def manifest(self, peer: Peer) -> NodeManifest:
        """What the node says about itself now, signed by it and answering our challenge."""

    async def close(self) -> None:
        """Close all connections."""


class PeerServer(Protocol):
    """What a node serves to others, whichever transport carries it: `mesh.peer_server`."""

    async def answer(self, sender: Sender, name: str, content: bytes, trace_id: TraceID) -> bytes:
        """One call of `name@X.Y`; the reply `{output, meta}`. Raises what refused or ended it."""

    def answer_stream(
        self, sender: Sender, name: str, content: bytes, trace_id: TraceID
    ) -> AsyncGenerator[tuple[str, bytes], None]:
        """Event and data of each frame, the last one terminal; raises what refused it before the first."""

    def streams(self, name: str) -> bool:
        """Whether the reply of `name@X.Y` is a stream."""

    async def exchange(self, sender: Sender, path: str, content: bytes) -> bytes:
        """The answer of the `Exchange` registered for this path; raises NotFound, Unauthorized, Revoked."""

    def manifest(self, challenge: str, reached_at: Address | None) -> bytes:
        """The signed manifest of now with the reader's challenge in it; raises BadRequest for an unfit challenge."""
