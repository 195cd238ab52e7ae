"""What a node says about itself, signed (M01).

Members that this version does not know are kept under the signature and ignored, so that newer nodes can be read.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from hearthnet.base.constants import MANIFEST_TTL_S
from hearthnet.base.errors import BadRequest, Expired
from hearthnet.base.types import Signature
from hearthnet.wire import canonical
from hearthnet.wire.canonical import JsonObject
from hearthnet.wire.field import CommunityField, CountField, EpochField, NodeIdField, TimeField
from hearthnet.wire.identity import Domain, KeyPair
from hearthnet.wire.signed_object import sign_object, verify_object
from hearthnet.wire.timestamp import Timestamp, format_time, parse_time

_MAX_BYTES = 49_152  # leaves room for the envelope of an event that carries it
_Amount = Annotated[float, Meta(ge=0)]
_Name = Annotated[str, Meta(max_length=80)]


class Endpoint(Struct, frozen=True):
    """Where a node can be reached."""

    transport: Annotated[str, Meta(max_length=16)]
    host: Annotated[str, Meta(min_length=1, max_length=253)]
    port: Annotated[int, Meta(ge=1, le=65535)]


class Hardware(Struct, frozen=True):
    """What a node is made of."""

    gpu: Annotated[str, Meta(max_length=80)] | None = None
    vram_gb: _Amount = 0
    ram_gb: _Amount = 0
    cpu_cores: CountField = 0
    disk_free_gb: _Amount = 0


class OfferedCapability(Struct, frozen=True):
    """A capability as its offerer describes it."""

    name: Annotated[str, Meta(max_length=96)]
    version: Annotated[str, Meta(max_length=9)]
    stability: Annotated[str, Meta(max_length=16)]
    schema_hash: Annotated[str, Meta(max_length=71)]
    params: JsonObject = {}
    max_concurrent: CountField = 1


class Load(Struct, frozen=True):
    """How busy a node is."""

    cpu: _Amount = 0
    vram_used_gb: _Amount = 0
    in_flight_total: CountField = 0


class NodeManifest(Struct, frozen=True, kw_only=True):
    """What a node says about itself, valid for 30 s after a fresh one was received (decision 26).

    `uptime_seconds` is its age since boot, `epoch` what its callers sign with, `challenge` the reader's own words back.
    """

    version: Literal[1] = 1
    contract_version: Annotated[str, Meta(max_length=9)] = "1.0"
    node_id: NodeIdField
    display_name: _Name
    community_id: CommunityField
    profile: Literal["anchor", "hearth", "spark", "bridge"]
    endpoints: Annotated[tuple[Endpoint, ...], Meta(max_length=16)] = ()
    hardware: Hardware = Hardware()
    capabilities: Annotated[tuple[OfferedCapability, ...], Meta(max_length=512)] = ()
    uptime_seconds: CountField = 0
    load: Load = Load()
    issued_at: TimeField = Timestamp("")
    expires_at: TimeField = Timestamp("")
    signature: Signature = Signature("")
    epoch: EpochField | UnsetType = UNSET
    challenge: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET

    def supersedes(self, other: NodeManifest) -> bool:
        """Whether this is a fresher word of the same node, judged by its own boot and clock, not by ours."""
        if self.epoch is not UNSET and self.epoch == other.epoch:
            return self.uptime_seconds > other.uptime_seconds
        return self.issued_at > other.issued_at


def sign_node_manifest(key: KeyPair, manifest: NodeManifest, now: float) -> bytes:
    """The signed bytes, issued now and valid for 30 s; `manifest.node_id` must be the key's."""
    issued = format_time(now)
    expires = format_time(parse_time(issued) + MANIFEST_TTL_S)
    draft = msgspec.structs.replace(manifest, issued_at=issued, expires_at=expires)
    return sign_object(key, Domain.NODE_MANIFEST, manifest.community_id, msgspec.to_builtins(draft))


def open_node_manifest(data: bytes, *, now: float | None, challenge: str = "") -> NodeManifest:
    """A manifest whose signature fits its node; raises BadRequest, InvalidSignature, Expired.

    With a `challenge` freshness is that it came back; else the wall clock decides, and `now=None` asks no clock, for
    a manifest inside an event.
    """
    fields = canonical.decode(data, max_bytes=_MAX_BYTES)
    manifest = canonical.fit(fields, NodeManifest)
    verify_object(fields, Domain.NODE_MANIFEST, manifest.community_id, manifest.node_id)
    issued, expires = parse_time(manifest.issued_at), parse_time(manifest.expires_at)
    if expires - issued != MANIFEST_TTL_S:
        raise BadRequest(f"a node manifest is valid for {MANIFEST_TTL_S} s, not {expires - issued}")
    if challenge and manifest.challenge != challenge:
        raise Expired("the manifest does not answer the challenge")
    if not challenge and now is not None and not issued - MANIFEST_TTL_S <= now <= expires:
        raise Expired("the manifest is not of now", fix="ask with a challenge, which needs no clock")
    return manifest
