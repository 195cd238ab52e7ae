"""Signed POSTs of bytes to a node's own endpoints, e.g. `/sync/v2/reconcile` (X01, decision 2).

Signed is a call's head with the body {path, content}, where content is the BLAKE3 of the bytes, under a domain of its
own: such a signature is none for a call of a capability. Freshness and receiver are as in `rpc`. The answer comes over
the connection that is pinned to the receiver's key and carries no signature of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from hearthnet.base.errors import InvalidSignature, Unauthorized
from hearthnet.base.types import Signature
from hearthnet.wire import canonical
from hearthnet.wire.cid import cid_of
from hearthnet.wire.identity import Domain, KeyPair, verify
from hearthnet.wire.rpc import CallHead, SignedCall, read_headers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hearthnet.base.types import NodeID

EXCHANGE_NAME: Final = "transport.exchange"
EXCHANGE_VERSION: Final = "1.0"


def sign_exchange(key: KeyPair, head: CallHead, path: str, content: bytes) -> SignedCall:
    """Sign a POST; `head.sender` must be the key's id and `head.capability` EXCHANGE_NAME."""
    call = _call(head, path, content, "")
    return msgspec.structs.replace(call, signature=key.sign(Domain.EXCHANGE, head.community, call.signed()))


def open_exchange(headers: Iterable[tuple[str, str]], path: str, content: bytes) -> SignedCall:
    """Read a POST's headers, without believing them yet; raises BadRequest, InvalidSignature."""
    fields, signature = read_headers(headers)
    if not signature:
        raise InvalidSignature("the request carries no signature")
    head = canonical.fit(fields, CallHead)
    return _call(head, path, content, signature)


def verify_exchange(call: SignedCall, *, receiver: NodeID) -> None:
    """Raise unless the sender signed exactly this and meant `receiver`; freshness is `replay.ReplayGuard`'s."""
    verify(call.head.sender, Domain.EXCHANGE, call.head.community, call.signed(), call.signature)
    if call.head.to != receiver:
        raise Unauthorized("the request was signed for another node")


def _call(head: CallHead, path: str, content: bytes, signature: str) -> SignedCall:
    body = {"path": path, "content": cid_of(content)}
    return SignedCall(head, body, Signature(signature), canonical.encode(body))
