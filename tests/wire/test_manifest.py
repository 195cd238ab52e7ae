"""Node manifests: signed, valid for 30 s, readable across versions (M01)."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.errors import BadRequest, Expired, InvalidSignature
from hearthnet.wire import canonical
from hearthnet.wire.identity import Domain, KeyPair
from hearthnet.wire.manifest import (
    Endpoint,
    Hardware,
    Load,
    NodeManifest,
    OfferedCapability,
    open_node_manifest,
    sign_node_manifest,
)
from hearthnet.wire.signed_object import sign_object

KEY, OTHER = KeyPair(bytes(range(32))), KeyPair(bytes(32))
NOW = 1_700_000_000.0
DRAFT = NodeManifest(
    node_id=KEY.node_id, display_name="Kirchgasse 4", community_id=OTHER.node_id, profile="hearth",
    endpoints=(Endpoint("https", "10.0.0.7", 7080),), hardware=Hardware(ram_gb=7.5, cpu_cores=4),
    capabilities=(OfferedCapability("rag.query", "1.0", "beta", "blake3:" + "0" * 64, {"corpus": "system"}, 4),),
    uptime_seconds=120, load=Load(cpu=0.25), epoch="A" * 22,
)  # fmt: skip


def signed(now=NOW, **changes):
    return sign_node_manifest(KEY, msgspec.structs.replace(DRAFT, **changes), now)


def resigned(key=KEY, **changes):
    """A manifest with changed members, signed again: only the rules can refuse it."""
    fields = {**canonical.decode(signed()), **changes}
    return sign_object(key, Domain.NODE_MANIFEST, OTHER.node_id, fields)


@given(st.floats(0, 1e10), st.integers(0, 30), st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_a_manifest_survives_the_wire_while_it_is_valid(now, age, name):
    manifest = open_node_manifest(signed(now, display_name=name), now=now // 1 + age)
    assert msgspec.structs.replace(manifest, issued_at="", expires_at="", signature="") == msgspec.structs.replace(
        DRAFT, display_name=name
    )


def test_its_bytes_are_canonical_and_unset_members_absent():
    fields = canonical.decode_canonical(signed())
    assert "challenge" not in fields
    assert (fields["issued_at"], fields["expires_at"]) == ("2023-11-14T22:13:20Z", "2023-11-14T22:13:50Z")
    assert fields["hardware"]["gpu"] is None


def test_by_the_clock_it_is_valid_for_thirty_seconds():
    for now in (NOW - 31, NOW + 30.1, 0.0):
        with pytest.raises(Expired):
            open_node_manifest(signed(), now=now)
    assert open_node_manifest(signed(), now=None).uptime_seconds == 120


def test_by_a_challenge_no_clock_is_needed():
    data = signed(now=0, challenge="nonce")
    assert open_node_manifest(data, now=NOW, challenge="nonce").challenge == "nonce"
    for stale in (signed(now=NOW), signed(now=NOW, challenge="other")):
        with pytest.raises(Expired):
            open_node_manifest(stale, now=NOW, challenge="nonce")


def test_nobody_else_can_write_it():
    for data in (resigned(OTHER), resigned(node_id=OTHER.node_id), signed().replace(b"Kirchgasse 4", b"Kirchgasse 5")):
        with pytest.raises(InvalidSignature):
            open_node_manifest(data, now=NOW)
    with pytest.raises(InvalidSignature):  # another community
        open_node_manifest(signed().replace(OTHER.node_id.encode(), KEY.node_id.encode()), now=NOW)
    fields = canonical.decode(signed())
    for signature in ({}, {"signature": 5}):
        with pytest.raises((InvalidSignature, BadRequest)):
            open_node_manifest(
                canonical.encode({**{k: v for k, v in fields.items() if k != "signature"}, **signature}), now=NOW
            )


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2}, {"profile": "king"}, {"display_name": "x" * 81}, {"expires_at": "2023-11-14T22:13:51Z"},
        {"issued_at": "2023-02-30T22:13:20Z"}, {"issued_at": ""}, {"endpoints": [{"transport": "https", "host": "a", "port": 0}]},
        {"uptime_seconds": -1}, {"load": {"cpu": -0.5}}, {"node_id": "me"},
    ],
)  # fmt: skip
def test_a_signed_manifest_that_breaks_a_rule_is_refused(changes):
    with pytest.raises(BadRequest):
        open_node_manifest(resigned(**changes), now=NOW)


def test_members_of_later_versions_are_covered_and_ignored():
    data = resigned(civdef_profile={"active": True})
    assert open_node_manifest(data, now=NOW).profile == "hearth"
    with pytest.raises(InvalidSignature):
        open_node_manifest(data.replace(b"true", b"false"), now=NOW)


def test_an_oversized_manifest_is_refused():
    with pytest.raises(BadRequest, match="at most"):
        open_node_manifest(resigned(filler="x" * 50_000), now=NOW)


def test_within_a_boot_the_longer_uptime_is_fresher_whatever_the_clock_says():
    def opened(now, **changes):
        return open_node_manifest(signed(now, **changes), now=None)

    first, later = opened(NOW), opened(NOW - 1e6, uptime_seconds=140)
    assert later.supersedes(first)
    assert not first.supersedes(later)
    assert not first.supersedes(first)
    rebooted = opened(NOW + 60, uptime_seconds=5, epoch="B" * 22)
    assert rebooted.supersedes(first)
    assert not later.supersedes(rebooted)
    assert opened(NOW + 1, epoch=msgspec.UNSET).supersedes(opened(NOW, epoch=msgspec.UNSET))
