"""Who sends a request to this node, by signature or by session, and the answer that fits it (X01).

A signature is judged by `wire.rpc` and `wire.exchange`, its freshness by `wire.replay`; a seal by the session's desk,
which asks no clock. What is proven here says nothing about membership, but a member's proof gives its address back the
token that the door has taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from aiohttp import web
from msgspec import Meta, Struct

from hearthnet.base.errors import BadRequest, InternalError, NotCanonical
from hearthnet.base.types import TrustLevel
from hearthnet.ports import Sender
from hearthnet.web.node_door import NODE_DOOR, PROOF, Proof
from hearthnet.wire import canonical
from hearthnet.wire.exchange import open_exchange, verify_exchange
from hearthnet.wire.field import UlidField
from hearthnet.wire.reply import ReplyHead, sign_reply
from hearthnet.wire.rpc import HEADER_PREFIX, SignedCall, open_call, verify_call
from hearthnet.wire.session import Sealed
from hearthnet.wire.session_key import SESSION_HEADER
from hearthnet.wire.timestamp import format_time

if TYPE_CHECKING:
    from hearthnet.web.node_door import NodeDoor


_FROM = f"{HEADER_PREFIX}From"


class _SealedHead(Struct, frozen=True):
    request_id: UlidField
    capability: Annotated[str, Meta(pattern=r"^[a-z_]+(\.[a-z_]+)+$", max_length=96)] = "transport.exchange"
    version: Annotated[str, Meta(pattern=r"^\d{1,4}\.\d{1,4}$", max_length=9)] = "1.0"


def prove_call(request: web.Request, content: bytes) -> Proof:
    """The sender of `POST /bus/v1/call`; raises BadRequest, InvalidSignature, Unauthorized, Expired, RateLimited."""
    if SESSION_HEADER in request.headers:
        head = _sealed_head(request)
        return _prove_sealed(request, head, ("call", head.capability, head.version, head.request_id), content)
    node = request.app[NODE_DOOR]
    call = open_call(request.headers.items(), content)
    verify_call(call, receiver=node.key.node_id)
    return prove_signed(request, call)


def prove_exchange(request: web.Request, content: bytes, path: str = "") -> Proof:
    """The sender of a request to an endpoint of the node; `path` = with its query. Raises like `prove_call`."""
    path = path or request.path
    if SESSION_HEADER in request.headers:
        head = _sealed_head(request)
        return _prove_sealed(request, head, ("post", path, head.request_id), content)
    call = open_exchange(request.headers.items(), path, content)
    verify_exchange(call, receiver=request.app[NODE_DOOR].key.node_id)
    return prove_signed(request, call)


def prove_signed(request: web.Request, call: SignedCall) -> Proof:
    """A call whose signature fits, if it is fresh; from here on errors are signed."""
    node = request.app[NODE_DOOR]
    sender = Sender(call.head.sender, call.head.community, request.remote or "")
    proof = Proof(sender, call.head.request_id, call, name=f"{call.head.capability}@{call.head.version}")
    request[PROOF] = proof
    node.guard.admit(call.head, node.clock.now())
    _welcome(node, sender)
    return proof


def answer(request: web.Request, status: int, body: bytes, media: str = "application/json") -> web.Response:
    """A response, signed or sealed as the request was; unproven ones and other communities' get a bare one."""
    node, proof = request.app[NODE_DOOR], request.get(PROOF)
    response = web.Response(status=status, body=body, content_type=media)
    if proof is None:
        return response
    if proof.sealed is not None:
        if mac := node.sessions.seal_reply(proof.sealed, status, body):
            response.headers[SESSION_HEADER] = mac
    elif proof.call is not None and proof.sender.community == node.community.community and media == "application/json":
        head = ReplyHead(
            request_id=proof.request_id, sender=node.key.node_id, timestamp=format_time(node.clock.now()),
            epoch=node.guard.epoch,
        )  # fmt: skip
        try:
            signed = sign_reply(
                node.key, node.community.community, head, status, *canonical.decode_with_form(body)
            )  # fmt: skip
        except (NotCanonical, BadRequest) as error:
            raise InternalError("the reply has no canonical form") from error
        response.headers.update(signed.headers())
    return response


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """On every response, streams too: who answers, when, and the epoch for the next call (decision 26).

    A sealed one says it with its seal.
    """
    proof = request.get(PROOF)
    if _FROM not in response.headers and (proof is None or proof.sealed is None):
        node = request.app[NODE_DOOR]
        named = {"From": node.key.node_id, "Timestamp": format_time(node.clock.now()), "Epoch": node.guard.epoch}
        for name, value in named.items():
            response.headers.setdefault(f"{HEADER_PREFIX}{name}", value)
    if proof is not None:
        response.headers.setdefault(f"{HEADER_PREFIX}Request-Id", proof.request_id)
    response.headers.pop("Server", None)
    response.headers["Cache-Control"] = "no-store"


def _sealed_head(request: web.Request) -> _SealedHead:
    names = {"request_id": "Request-Id", "capability": "Capability", "version": "Capability-Version"}
    found = {field: request.headers.get(f"{HEADER_PREFIX}{name}") for field, name in names.items()}
    return canonical.fit({field: value for field, value in found.items() if value is not None}, _SealedHead)


def _prove_sealed(request: web.Request, head: _SealedHead, words: tuple[str, ...], content: bytes) -> Proof:
    node = request.app[NODE_DOOR]
    sealed = Sealed.parse(request.headers[SESSION_HEADER])
    node_id, community = node.sessions.admit(sealed, words, content, node.clock.monotonic())
    sender = Sender(node_id, community, request.remote or "")
    proof = Proof(sender, head.request_id, sealed=sealed, name=f"{head.capability}@{head.version}")
    request[PROOF] = proof
    _welcome(node, sender)
    return proof


def _welcome(node: NodeDoor, sender: Sender) -> None:
    """A member's calls are limited by the bus, by name; its address gets its token back."""
    if node.server.trust(sender) is not TrustLevel.UNKNOWN:
        node.addresses.refund(sender.address, "")
