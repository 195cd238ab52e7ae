"""Agreement of several members to one act, each by its own signature (M01, decisions 2 and 8).

A co-signature covers the act's type and all its data but the co-signers, under a domain of its own and the community's
id: target, reason, the target's chain head, the acts known (`after`) and the expiry. It is worth nothing for another
target, another community or another state of affairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from hearthnet.base.errors import EventRejected, SchemaMismatch
from hearthnet.wire import canonical
from hearthnet.wire.community import CoSigner
from hearthnet.wire.event_types import EVENT_TYPES
from hearthnet.wire.identity import Domain, KeyPair, verify

if TYPE_CHECKING:
    from msgspec import Struct

    from hearthnet.base.types import CommunityID, NodeID

_NAME_OF: Final = {kind: name for name, kind in EVENT_TYPES.items()}


def co_sign(key: KeyPair, community: CommunityID, data: Struct) -> CoSigner:
    """This key agrees to the act; raises SchemaMismatch for data that takes no co-signers."""
    return CoSigner(key.node_id, key.sign(Domain.CO_SIGNATURE, community, agreement_bytes(data)))


def with_co_signers(data: Struct, co_signers: tuple[CoSigner, ...]) -> Struct:
    """The same act, agreed to by these."""
    return msgspec.structs.replace(data, co_signers=co_signers)


def check_co_signers(author: NodeID, community: CommunityID, data: Struct) -> tuple[NodeID, ...]:
    """Who agreed, the author first; raises EventRejected when one stands twice, InvalidSignature."""
    co_signers: tuple[CoSigner, ...] = getattr(data, "co_signers", ())
    if not co_signers:
        return (author,)
    signers = (author, *(co_signer.node_id for co_signer in co_signers))
    if len(set(signers)) != len(signers):
        raise EventRejected("a co-signer stands twice, or is the author")
    agreed = agreement_bytes(data)
    for co_signer in co_signers:
        verify(co_signer.node_id, Domain.CO_SIGNATURE, community, agreed, co_signer.signature)
    return signers


def agreement_bytes(data: Struct) -> bytes:
    """What co-signers sign, but for domain and community; raises SchemaMismatch for data that takes none."""
    fields = msgspec.to_builtins(data)
    if fields.pop("co_signers", None) is None:
        raise SchemaMismatch(f"{type(data).__name__} takes no co-signers")
    return canonical.encode({**fields, "act": _NAME_OF[type(data)]})
