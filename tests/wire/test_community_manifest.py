"""Community manifests vouch for nothing but what the root key or a known anchor signed (M01)."""

import pytest

from hearthnet.base.errors import BadRequest, InvalidSignature
from hearthnet.wire import canonical
from hearthnet.wire.community import CommunityPolicy
from hearthnet.wire.community_manifest import (
    CommunityManifest,
    Member,
    RevokedMember,
    open_community_manifest,
    sign_community_manifest,
)
from hearthnet.wire.identity import Domain, KeyPair
from hearthnet.wire.signed_object import sign_object

ROOT, ANCHOR = KeyPair(bytes(range(32))), KeyPair(bytes(32))
TIME = "2026-11-21T06:13:00Z"
MANIFEST = CommunityManifest(
    community_id=ROOT.node_id, name="Kirchgasse", root_key=ROOT.node_id, created_at=TIME, lamport_at_creation=1,
    policy=CommunityPolicy(), members=(Member(ANCHOR.node_id, "anchor", TIME, ROOT.node_id),),
    revoked=(RevokedMember(KeyPair(b"r" * 32).node_id, TIME),), head_lamport=9, signed_by=ROOT.node_id,
)  # fmt: skip


def resigned(key, **changes):
    fields = {**canonical.decode(sign_community_manifest(ROOT, MANIFEST)), **changes}
    return sign_object(key, Domain.COMMUNITY_MANIFEST, ROOT.node_id, fields)


def test_the_root_keys_manifest_is_believed():
    opened = open_community_manifest(sign_community_manifest(ROOT, MANIFEST))
    assert (opened.members, opened.policy, opened.signed_by) == (MANIFEST.members, MANIFEST.policy, ROOT.node_id)


def test_an_anchor_is_believed_only_when_the_log_made_it_one():
    data = sign_community_manifest(ANCHOR, MANIFEST)
    assert open_community_manifest(data, anchors=[ANCHOR.node_id]).signed_by == ANCHOR.node_id
    with pytest.raises(InvalidSignature, match="anchor"):  # although its own member list says so
        open_community_manifest(data)


def test_a_borrowed_name_does_not_help():
    with pytest.raises(InvalidSignature):
        open_community_manifest(resigned(ANCHOR))
    with pytest.raises(BadRequest, match="root key"):
        open_community_manifest(resigned(ANCHOR, root_key=ANCHOR.node_id, signed_by=ANCHOR.node_id))


@pytest.mark.parametrize(
    "changes", [{"name": ""}, {"members": [{"node_id": ROOT.node_id}]}, {"policy": {"min_signatures_to_invite": 0}}]
)
def test_a_signed_manifest_that_breaks_a_rule_is_refused(changes):
    with pytest.raises(BadRequest):
        open_community_manifest(resigned(ROOT, **changes))
