"""The manifest this node hands to others: who it is, what it offers, how busy it is (M01)."""

from __future__ import annotations

import os
import shutil
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from hearthnet.base.types import TrustLevel
from hearthnet.mesh.schema import schema_hash
from hearthnet.wire.manifest import Endpoint, Hardware, Load, NodeManifest, OfferedCapability, sign_node_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hearthnet.base.types import CommunityID, SchemaHash
    from hearthnet.mesh.capability import Descriptor
    from hearthnet.mesh.registry import Entry
    from hearthnet.web.door import Door
    from hearthnet.wire.identity import KeyPair

_GIB = 1024**3


def write_manifest(
    door: Door, key: KeyPair, community: CommunityID, *, epoch: str, challenge: str, reached_at: tuple[str, int] | None
) -> bytes:
    """The signed bytes of now; `reached_at` is the address at which the reader found us."""
    clock, entries = door.services.clock, door.bus.entries()
    fields: dict[str, Any] = {"challenge": challenge} if challenge else {}
    manifest = NodeManifest(
        node_id=key.node_id,
        display_name=door.facts.name,
        community_id=community,
        profile=cast("Any", door.config.node.profile),  # the configuration allows the same four words
        endpoints=() if reached_at is None else (Endpoint("https", *reached_at),),
        hardware=_hardware(door),
        capabilities=tuple(_offered(entries)),
        uptime_seconds=int(clock.monotonic() - door.facts.started_at),
        load=Load(cpu=_load(), in_flight_total=sum(entry.in_flight for entry in entries)),
        epoch=epoch,
        **fields,
    )
    return sign_node_manifest(key, manifest, clock.now())


def _offered(entries: Iterable[Entry]) -> Iterable[OfferedCapability]:
    """What others may call; what is for this node's own people only is nobody else's business."""
    for entry in entries:
        descriptor = entry.descriptor
        if entry.is_local and descriptor.trust < TrustLevel.SELF:
            yield OfferedCapability(
                name=entry.capability,
                version=entry.version,
                stability=descriptor.stability.value,
                schema_hash=_hash_of(descriptor),
                params=dict(entry.offer.params()) if entry.offer is not None else {},
                max_concurrent=descriptor.max_concurrent,
            )


@lru_cache(maxsize=256)
def _hash_of(descriptor: Descriptor) -> SchemaHash:
    return schema_hash(descriptor)


def _hardware(door: Door) -> Hardware:
    return Hardware(
        ram_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB, 1),
        cpu_cores=os.cpu_count() or 1,
        disk_free_gb=round(shutil.disk_usage(door.paths.data).free / _GIB, 1),
    )


def _load() -> float:
    return round(os.getloadavg()[0] / (os.cpu_count() or 1), 2)
