"""Configuration of a node as frozen structs, one per TOML section (X04).

Every key can be set as `HEARTHNET_<SECTION>_<KEY>`; `base/configfile.py` reads files and environment.
Secrets never stand here: a key that needs one names the environment variable that holds it.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(ge=0)]
Bytes = Annotated[int, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]
Fraction = Annotated[float, Meta(gt=0, le=1)]


class NodeSection(Struct, frozen=True, forbid_unknown_fields=True):
    """Who this box is to people."""

    name: Annotated[str, Meta(max_length=40, description="Name shown to people; empty = made from the node id")] = ""
    language: Annotated[str, Meta(description="Language when a browser states none: de or en", pattern="^(de|en)$")] = (
        "en"
    )
    profile: Annotated[str, Meta(description="What the node offers", pattern="^(anchor|hearth|spark|bridge)$")] = (
        "hearth"
    )


class IdentitySection(Struct, frozen=True, forbid_unknown_fields=True):
    """The device key (M01)."""

    keys_dir: Annotated[str, Meta(description="Folder of the device key; empty = <data>/keys")] = ""
    auto_generate: Annotated[bool, Meta(description="Make a key at first start")] = True


class TransportSection(Struct, frozen=True, forbid_unknown_fields=True):
    """Calls between nodes (X01): TLS 1.3 with a certificate of the node key."""

    enabled: Annotated[bool, Meta(description="Listen for other nodes")] = True
    host: Annotated[str, Meta(description="Address to listen on")] = "0.0.0.0"  # noqa: S104  neighbours must reach it
    port: Annotated[Port, Meta(description="Port to listen on; 0 = any free one")] = 7080


class UiSection(Struct, frozen=True, forbid_unknown_fields=True):
    """Pages and API for people and programs."""

    host: Annotated[str, Meta(description="Address to listen on; 0.0.0.0 opens it to the network")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port of pages and API; 0 = any free one")] = 7860
    hosts: Annotated[
        tuple[str, ...], Meta(description="Further host names under which browsers may reach the pages")
    ] = ()
    loopback_role: Annotated[
        str,
        Meta(description="Role of a browser on this machine: guest, member or admin", pattern="^(guest|member|admin)$"),
    ] = "member"


class BusSection(Struct, frozen=True, forbid_unknown_fields=True):
    """Routing of capability calls (M03)."""

    prefer_local: Annotated[bool, Meta(description="Answer here while this node is not loaded")] = True
    local_load_threshold: Annotated[Fraction, Meta(description="Load up to which local entries are preferred")] = 0.8


class LlmBackend(Struct, frozen=True, forbid_unknown_fields=True):
    """One OpenAI-compatible server: Ollama, LM Studio, vLLM, NIM, MiniCPM, Hugging Face router, ..."""

    name: Annotated[str, Meta(pattern="^[a-z0-9-]{1,32}$", description="Short name, shown to people")]
    url: Annotated[str, Meta(pattern="^https?://", description="Base address, ends before /chat/completions")]
    model: Annotated[str, Meta(min_length=1, description="Model name as that server knows it")]
    api_key_env: Annotated[str, Meta(description="Environment variable that holds the key; empty = none")] = ""
    requires_internet: Annotated[bool, Meta(description="Dropped in offline mode")] = False
    context_tokens: Annotated[Count, Meta(description="Context length of the model")] = 8192
    tier: Annotated[str, Meta(pattern="^(small_model|large_model)$", description="Tier of its answers")] = "large_model"


class LlmSection(Struct, frozen=True, forbid_unknown_fields=True):
    """Language models (M04)."""

    model: Annotated[str, Meta(description="Local model to use; empty = the default or the one set by models use")] = ""
    slots: Annotated[Count, Meta(description="Answers made at the same time by the local engine")] = 8
    context_tokens: Annotated[Count, Meta(description="Context per slot, tokens")] = 2048
    threads: Annotated[int, Meta(ge=0, description="Threads of the engine; 0 = cores minus one, at least one")] = 0
    idle_unload_s: Annotated[Seconds, Meta(description="End the engine after this idle time; 0 = never")] = 900.0
    queue_per_slot: Annotated[Count, Meta(description="Waiting requests per slot before busy is answered")] = 8
    free_wording: Annotated[
        bool, Meta(description="Let large models word answers freely, each claim with a source")
    ] = True
    offline: Annotated[bool, Meta(description="Drop backends that need the Internet")] = False
    backends: Annotated[tuple[LlmBackend, ...], Meta(description="Further model servers, best first")] = ()


class EmbeddingSection(Struct, frozen=True, forbid_unknown_fields=True):
    """Embeddings for search (M11)."""

    model: Annotated[str, Meta(description="Embedding engine")] = "multilingual-e5-small"
    idle_unload_s: Annotated[Seconds, Meta(description="End the engine after this idle time; 0 = never")] = 900.0


class RagSection(Struct, frozen=True, forbid_unknown_fields=True):
    """The library (M05)."""

    enabled: Annotated[bool, Meta(description="Offer the library")] = True
    library_dir: Annotated[str, Meta(description="Folder of the handbook cards; empty = the one that ships")] = ""


class FileSection(Struct, frozen=True, forbid_unknown_fields=True):
    """Content-addressed blobs (M07)."""

    min_free_bytes: Annotated[Bytes, Meta(description="Refuse to store below this free space")] = 1_000_000_000
    gc_threshold: Annotated[Fraction, Meta(description="Clean unpinned blobs above this disk use")] = 0.8


class ObservabilitySection(Struct, frozen=True, forbid_unknown_fields=True):
    """Logs and metrics (X03)."""

    log_level: Annotated[str, Meta(pattern="^(debug|info|warning|error)$", description="Lowest level written")] = "info"
    metrics_enabled: Annotated[bool, Meta(description="Serve /metrics to admins")] = True


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration; every section has working defaults."""

    node: NodeSection = NodeSection()
    identity: IdentitySection = IdentitySection()
    transport: TransportSection = TransportSection()
    ui: UiSection = UiSection()
    bus: BusSection = BusSection()
    llm: LlmSection = LlmSection()
    embedding: EmbeddingSection = EmbeddingSection()
    rag: RagSection = RagSection()
    file: FileSection = FileSection()
    observability: ObservabilitySection = ObservabilitySection()
