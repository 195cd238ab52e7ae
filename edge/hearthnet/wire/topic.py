"""Names of what nodes tell each other at once, who may hear it, and the messages of a subscription (X06)."""

from __future__ import annotations

import re
from typing import Annotated, Final

from msgspec import Meta, Struct

from hearthnet.base.errors import BadRequest, NotFound, Unauthorized
from hearthnet.base.types import NodeID
from hearthnet.wire.canonical import JsonObject
from hearthnet.wire.field import CountField, EpochField
from hearthnet.wire.identity import short_id

_SHORT = r"ed25519:[A-Z2-7]{4}(?:-[A-Z2-7]{4}){3}"
_ID = r"[A-Za-z0-9_:-]{1,128}"
_LOCAL: Final = ("emergency.mode.changed", "capability.registered", "capability.deregistered")
_OPEN: Final = (
    "community.member.added", "community.member.revoked", "node.manifest.updated", "marketplace.post.created",
    "marketplace.post.expired", "federation.peer.added", f"federation.peer.heartbeat.{_ID}", "auth.token.issued",
    f"chat.thread.message.{_ID}", f"file.replication.request.{_ID}", f"observability.metrics.tick.{_ID}",
    "experimental.shard.advertised", f"experimental.fedlearn.round.opened.{_ID}", "experimental.moe.expert.registered",
    "experimental.lora.beacon.received", f"evidence.claim.{_ID}.changed", f"civdef.alert.{_ID}",
)  # fmt: skip
_PERSONAL: Final = ("chat.message", "e2e.prekey.request", "e2e.session.handshake")


_IS_OPEN = re.compile("|".join(pattern.replace(".", r"\.") for pattern in _OPEN), re.ASCII)
_IS_PERSONAL = re.compile(
    "(?:" + "|".join(name.replace(".", r"\.") for name in _PERSONAL) + rf")\.({_SHORT})", re.ASCII
)

TopicField = Annotated[str, Meta(min_length=1, max_length=200)]


class Subscription(Struct, frozen=True, forbid_unknown_fields=True):
    """What a subscriber asks: the next message after `last_seq` of that boot; without it only what comes now."""

    topic: TopicField
    last_seq: CountField | None = None
    boot: EpochField | None = None
    timeout: Annotated[float, Meta(ge=0, le=50)] = 30.0


class TopicMessage(Struct, frozen=True, omit_defaults=True):
    """One message; `missed` were dropped between the last one and this."""

    topic: TopicField
    seq: CountField
    data: JsonObject
    boot: EpochField
    missed: CountField = 0


class NoMessage(Struct, frozen=True):
    """Nothing came in time; go on after `seq`."""

    topic: TopicField
    seq: CountField
    boot: EpochField
    timeout: bool = True


def check_topic(topic: str) -> None:
    """Raise BadRequest for a name that is none of the protocol's."""
    if topic not in _LOCAL and not _IS_OPEN.fullmatch(topic) and not _IS_PERSONAL.fullmatch(topic):
        raise BadRequest("not a topic of the protocol")


def check_audience(topic: str, reader: NodeID) -> None:
    """Raise unless a member may hear it: NotFound for what never leaves its node, Unauthorized for another's own."""
    check_topic(topic)
    if topic in _LOCAL:
        raise NotFound("this topic is local to its node")
    personal = _IS_PERSONAL.fullmatch(topic)
    if personal and personal[1] != short_id(reader):
        raise Unauthorized("this topic is for another node")
