"""The community manifest follows from the log and is believed by whoever knows the root key (M01)."""

from hearthnet.mesh.community_roll import describe_community
from hearthnet.wire.community_manifest import open_community_manifest, sign_community_manifest
from mesh.log_world import COMMUNITY, FOUNDER, LogNode


async def test_a_community_of_one_describes_itself_by_its_log():
    node = await LogNode().found()
    signed = sign_community_manifest(FOUNDER, await describe_community(node.log))
    read = open_community_manifest(signed)
    assert (read.community_id, read.name, read.head_lamport) == (COMMUNITY, "Our street", node.log.lamport)
    assert [(member.node_id, member.level, member.added_by) for member in read.members] == [
        (FOUNDER.node_id, "anchor", FOUNDER.node_id)
    ]
