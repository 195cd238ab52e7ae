"""What a node says on the local network so that others find it: UDP multicast hints and mDNS TXT records (M02).

Neither is signed and neither is believed: a hint only says where to ask for a signed manifest. It carries the full
NodeID, because that is what the connection is pinned to and a short one never stands on the wire (decision 1), and no
name of a person or box. Readers ignore members that they do not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from hearthnet.base.errors import BadRequest
from hearthnet.wire import canonical
from hearthnet.wire.field import CommunityField, CountField, NodeIdField

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HINT_MAX_BYTES: Final = 1024
TXT_CAPS_MAX_BYTES: Final = 200
MDNS_TYPE: Final = "_hearthnet._tcp.local."

_CapabilityName = Annotated[str, Meta(pattern=r"^[a-z_]+(\.[a-z_]+)+$", max_length=96)]
_Profile = Literal["anchor", "hearth", "spark", "bridge"]


class Hint(Struct, frozen=True, omit_defaults=True):
    """Here is a node; `rev` rises when what it offers changes, so that readers ask again."""

    node: NodeIdField
    community: CommunityField
    port: Annotated[int, Meta(ge=1, le=65535)]
    caps: Annotated[tuple[_CapabilityName, ...], Meta(max_length=64)] = ()
    rev: CountField = 0


class _Datagram(Hint, frozen=True, kw_only=True):
    v: Literal[1]


def encode_hint(hint: Hint) -> bytes:
    """A hint as UDP datagram of at most 1 KB; capabilities that do not fit are left out."""
    fields: dict[str, Any] = {"v": 1, **msgspec.to_builtins(hint)}
    fields["caps"] = list(hint.caps)
    while len(data := canonical.encode(fields)) > HINT_MAX_BYTES:
        fields["caps"].pop()
    return data


def decode_hint(data: bytes) -> Hint:
    """A hint from a datagram; raises BadRequest."""
    found = canonical.fit(canonical.decode(data, max_bytes=HINT_MAX_BYTES, max_depth=3), _Datagram)
    return Hint(found.node, found.community, found.port, found.caps, found.rev)


def encode_txt(hint: Hint, profile: str, contract_version: str, manifest_url: str) -> dict[str, str]:
    """The TXT record of a hint; the port stands in the SRV record."""
    return {
        "v": "1",
        "node": hint.node,
        "community": hint.community,
        "profile": profile,
        "caps": ",".join(_fitting(hint.caps)),
        "rev": str(hint.rev),
        "manifest_url": manifest_url[:200],
        "contract_version": contract_version,
    }


def decode_txt(properties: Mapping[bytes, bytes | None], port: int) -> Hint:
    """A hint from a TXT record and the port of the SRV record beside it; raises BadRequest."""
    fields = {key: properties.get(key.encode()) or b"" for key in ("v", "node", "community", "caps", "rev")}
    if fields["v"] != b"1":
        raise BadRequest("not a record of version 1")
    try:
        texts = {key: value.decode("ascii") for key, value in fields.items()}
    except UnicodeDecodeError as error:
        raise BadRequest("a TXT record that is not ASCII") from error
    if not texts["rev"].isdigit() or len(texts["rev"]) > 16:
        texts["rev"] = "0"
    names = [name for name in texts["caps"].split(",") if name]
    value = {"node": texts["node"], "community": texts["community"], "port": port, "caps": names}
    return canonical.fit({**value, "rev": int(texts["rev"])}, Hint)


def instance_name(hint: Hint) -> str:
    """The mDNS instance: no name of a person or box, eight letters of the key against collisions (RFC 6763, 4.1.1)."""
    letters = "".join(sign for sign in hint.node.partition(":")[2] if sign.isalnum())
    return f"hearthnet-{letters[:8].lower()}.{MDNS_TYPE}"


def _fitting(names: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for name in names:
        if len(",".join([*kept, name])) > TXT_CAPS_MAX_BYTES:
            break
        kept.append(name)
    return kept
