"""Newcomers: what a node that does not belong yet may ask of this one, with an invitation (M13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from hearthnet.base.constants import EVENT_MAX_BYTES
from hearthnet.base.errors import Unauthorized, Unavailable
from hearthnet.base.types import NodeID, Signature, TrustLevel
from hearthnet.mesh.capability import Call, NoParams, capability
from hearthnet.wire.field import CountField

if TYPE_CHECKING:
    from hearthnet.mesh.invitations import Invitations
    from hearthnet.mesh.services import Services

_Name = Annotated[str, Meta(max_length=80)]
_NodeIdOrNone = Annotated[str, Meta(pattern="^(|ed25519:[A-Za-z0-9_-]{43})$", max_length=51)]
_SignatureOrNone = Annotated[str, Meta(pattern="^(|ed25519:[A-Za-z0-9_-]{86})$", max_length=94)]


class RequestInput(Struct, frozen=True, forbid_unknown_fields=True):
    """A newcomer asks to be named; `bearer` and `proof` for an invitation that names nobody."""

    display_name: _Name = ""
    bearer: _NodeIdOrNone = ""
    proof: _SignatureOrNone = ""


class RequestOutput(Struct, frozen=True):
    """The event that invites the caller."""

    event_id: str


class ActsInput(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to go on."""

    offset: CountField = 0


class ActsOutput(Struct, frozen=True):
    """Membership events as their signed bytes; `next_offset` 0 = that was all."""

    events: tuple[str, ...]
    next_offset: int


class JoinInput(Struct, frozen=True, forbid_unknown_fields=True):
    """The caller's own joining, signed."""

    event: Annotated[str, Meta(max_length=EVENT_MAX_BYTES)]


class JoinOutput(Struct, frozen=True):
    """The caller belongs now."""

    accepted: bool = True


class Admissions:
    """The door for newcomers."""

    def __init__(self, services: Services) -> None:
        self._desk = services.community

    def _invitations(self) -> Invitations:
        if self._desk is None:
            raise Unavailable("this node keeps no community log")
        return self._desk.invitations

    @capability("community.admission.request@1.0", trust=TrustLevel.UNKNOWN, timeout_s=15, max_concurrent=4)
    async def request_admission(self, call: Call, params: NoParams, request: RequestInput) -> RequestOutput:
        """A newcomer with an invitation is named in the log."""
        newcomer, bearer = _newcomer(call), NodeID(request.bearer)
        proof = Signature(request.proof)
        return RequestOutput(await self._invitations().redeem(newcomer, request.display_name, bearer, proof))

    @capability(
        "community.admission.acts@1.0", trust=TrustLevel.UNKNOWN, timeout_s=30, max_concurrent=4, idempotent=True
    )
    async def read_acts(self, call: Call, params: NoParams, request: ActsInput) -> ActsOutput:
        """The membership events, for who is invited or belongs."""
        page = await self._invitations().acts(_newcomer(call), request.offset)
        return ActsOutput(page.events, page.next_offset)

    @capability(
        "community.admission.join@1.0", trust=TrustLevel.UNKNOWN, timeout_s=30, max_concurrent=4, idempotent=True
    )
    async def take_joining(self, call: Call, params: NoParams, request: JoinInput) -> JoinOutput:
        """A newcomer's own joining enters the log."""
        await self._invitations().admit(_newcomer(call), request.event)
        return JoinOutput()


def _newcomer(call: Call) -> NodeID:
    if call.caller.node_id is None:
        raise Unauthorized("only another node comes as a newcomer", fix="use community.redeem")
    return call.caller.node_id
