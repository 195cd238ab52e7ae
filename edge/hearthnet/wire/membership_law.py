"""Who may do what: the rules of membership, applied to an act and its causal past (M01, decision 8, ADR 0010).

| act | who signs | how many |
|---|---|---|
| invite as member | members, or trusted ones if the policy says so | `min_signatures_to_invite` |
| invite as or promote to trusted | anchors: `min_signatures_to_promote`; or trusted ones: as for a demotion |
| invite as or promote to anchor | anchors | as for a demotion |
| demote, revoke | trusted ones, of the target's level at least | `min_signatures_to_demote`, `_revoke` |
| policy | the root | 1 |
| successor of the root | the root, or anchors | 1, or their majority |

No number is asked for beyond the majority of those who could sign, the target left out: two nodes can act. Each
signer counts once, at the level that the act's own past gives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hearthnet.base.errors import EventRejected
from hearthnet.base.types import NodeID, TrustLevel
from hearthnet.wire.community import (
    CommunityCreated,
    MemberDemoted,
    MemberInvited,
    MemberJoined,
    MemberLeft,
    MemberPromoted,
    MemberRevoked,
    PolicyUpdated,
)
from hearthnet.wire.membership_archive import NOBODY, Rule

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from hearthnet.wire.membership_act import Act
    from hearthnet.wire.membership_archive import Archive, Past, Record


def rule_for(act: Act, past: Past, archive: Archive) -> Rule:
    """What the act needs and does; raises EventRejected for what nobody may. Ask `stands` whether it has it."""
    data = act.data
    if not act.after and not isinstance(data, CommunityCreated):
        raise EventRejected("it names no act before it")
    match data:
        case CommunityCreated():
            return _founding(act, archive)
        case MemberInvited():
            need, quorum = _invitation(act, past)
            return Rule(need, quorum)
        case MemberJoined():
            return _joining(act, past, archive)
        case MemberPromoted():
            return _promotion(act, past, archive)
        case MemberDemoted() | MemberRevoked():
            return _removal(act, past, archive)
        case MemberLeft():
            return _leaving(act, past)
        case PolicyUpdated():
            return Rule(of_root=True)
        case _:
            return _succession(act, past)


def stands(record: Record, past: Past, struck: AbstractSet[NodeID] = frozenset()) -> bool:
    """Whether enough signers have what the act needs, those in `struck` not counted."""
    act, rule = record.act, record.rule
    if rule.of_root:
        return act.author == past.root() and act.author not in struck
    if rule.invitation >= 0:
        return rule.invitation in past
    counted = [signer for signer in act.signers if signer not in struck and past.level(signer) >= rule.need]
    return act.author in counted and len(counted) >= rule.quorum


def quorum_for(kind: type, past: Past, target: NodeID = NOBODY, level: TrustLevel = TrustLevel.MEMBER) -> Rule:
    """What an act on a target (or an invitation to a level) would need now, for people who want to propose it."""
    if kind in (MemberDemoted, MemberRevoked):
        need, quorum = _removal_quorum(kind, past, target)
    else:
        need, quorum = _elevation(past, level, ())
    return Rule(need, quorum)


def _founding(act: Act, archive: Archive) -> Rule:
    if act.author != archive.founder or act.data.founder_node_id != act.author:
        raise EventRejected("a community is founded by its root key")
    if act.after or act.author_seq != 1:
        raise EventRejected("founded already: the founding follows nothing and is the root key's first event")
    return Rule(about=act.author, gives=TrustLevel.ANCHOR)


def _invitation(act: Act, past: Past) -> tuple[TrustLevel, int]:
    given, policy = TrustLevel[act.data.initial_level.upper()], past.policy()
    need = TrustLevel.MEMBER if policy.default_member_can_invite else TrustLevel.TRUSTED
    quorum = _at_most_majority(policy.min_signatures_to_invite, past, need)
    if given > TrustLevel.MEMBER:
        need, more = _elevation(past, given, act.signers)
        quorum = max(more, _at_most_majority(policy.min_signatures_to_invite, past, need))
    return need, quorum


def _joining(act: Act, past: Past, archive: Archive) -> Rule:
    found = [number for number in archive.invitations.get(act.data.invite_event_id, ()) if number in past]
    if len(found) != 1:
        raise EventRejected("unknown_author: the invitation is not known here")
    invitation = found[0]
    offered = archive.records[invitation].act.data
    if offered.invitee_node_id != act.author:
        raise EventRejected("the invitation is for another node")
    if past.level(act.author) > TrustLevel.UNKNOWN:
        raise EventRejected("already_member: the node belongs to the community")
    known = archive.about.get(act.author, ())
    used = any(archive.records[number].rule.invitation == invitation and number in past for number in known)
    removed = any(
        number in past
        and archive.records[number].rule.gives is TrustLevel.UNKNOWN
        and not archive.records[invitation].past >> number & 1
        for number in known
    )
    if used or removed:
        raise EventRejected("the invitation was used, or is older than the removal of the node")
    gives = TrustLevel[offered.initial_level.upper()]
    return Rule(about=act.author, gives=gives, invitation=invitation)


def _promotion(act: Act, past: Past, archive: Archive) -> Rule:
    target, level = act.data.target_node_id, TrustLevel[act.data.new_level.upper()]
    current = past.level(target)
    if not TrustLevel.UNKNOWN < current < level:
        raise EventRejected("only a member of a lower level is promoted")
    _check_head(act, past, archive)
    need, quorum = _elevation(past, level, act.signers)
    return Rule(need, quorum, about=target, gives=level)


def _removal(act: Act, past: Past, archive: Archive) -> Rule:
    data, target = act.data, act.data.target_node_id
    current = past.level(target)
    gives = TrustLevel[data.new_level.upper()] if isinstance(data, MemberDemoted) else TrustLevel.UNKNOWN
    invited = gives is TrustLevel.UNKNOWN and any(number in past for number in archive.invited.get(target, ()))
    if current <= gives and not invited:
        raise EventRejected("the target has no such level to lose")
    if target == past.root():
        raise EventRejected("the root key is succeeded before it loses its place")
    _check_head(act, past, archive)
    if act.signers == (target,) and gives:
        return Rule(TrustLevel.MEMBER, 1, about=target, gives=gives, strikes=True)  # steps back itself
    need, quorum = _removal_quorum(type(data), past, target)
    if target in act.signers:
        raise EventRejected("nobody votes on the own removal")
    return Rule(need, quorum, about=target, gives=gives, strikes=True)


def _leaving(act: Act, past: Past) -> Rule:
    if past.level(act.author) is TrustLevel.UNKNOWN:
        raise EventRejected("unknown_author: not a member of the community")
    if act.author == past.root():
        raise EventRejected("the root key names a successor before it leaves")
    return Rule(about=act.author, gives=TrustLevel.UNKNOWN, strikes=True)


def _succession(act: Act, past: Past) -> Rule:
    root, successor = past.root(), act.data.successor_node_id
    if successor == root or past.level(successor) is not TrustLevel.ANCHOR:
        raise EventRejected("the successor of the root key is another anchor")
    if act.signers == (root,):
        return Rule(of_root=True, unroots=root)
    quorum = _majority(past.voters(TrustLevel.ANCHOR))
    return Rule(TrustLevel.ANCHOR, quorum, unroots=root)


def _check_head(act: Act, past: Past, archive: Archive) -> None:
    """An agreement from before the target came (again) is none."""
    joined = [
        archive.records[number].act.author_seq
        for number in past.standings(act.data.target_node_id)
        if archive.records[number].act.author == act.data.target_node_id
    ]
    if act.data.target_head.author_seq < max(joined, default=0):
        raise EventRejected("the agreement is older than the target's membership")


def _elevation(past: Past, level: TrustLevel, signers: tuple[NodeID, ...]) -> tuple[TrustLevel, int]:
    """Who may give a level: one trusted member alone must not name two others that then sign as it likes."""
    policy = past.policy()
    several = max(policy.min_signatures_to_promote, policy.min_signatures_to_demote)
    if level is TrustLevel.ANCHOR:
        return TrustLevel.ANCHOR, _at_most_majority(several, past, TrustLevel.ANCHOR)
    few = _at_most_majority(policy.min_signatures_to_promote, past, TrustLevel.ANCHOR)
    anchors = sum(past.level(signer) is TrustLevel.ANCHOR for signer in signers)
    if not signers or (anchors >= few and past.level(signers[0]) is TrustLevel.ANCHOR):
        return TrustLevel.ANCHOR, few
    return TrustLevel.TRUSTED, _at_most_majority(several, past, TrustLevel.TRUSTED)


def _removal_quorum(kind: type, past: Past, target: NodeID) -> tuple[TrustLevel, int]:
    policy = past.policy()
    wanted = policy.min_signatures_to_revoke if kind is MemberRevoked else policy.min_signatures_to_demote
    need = max(TrustLevel.TRUSTED, past.level(target))
    return need, _at_most_majority(wanted, past, need, target)


def _at_most_majority(wanted: int, past: Past, need: TrustLevel, without: NodeID = NOBODY) -> int:
    return 1 if wanted == 1 else min(wanted, _majority(past.voters(need, without)))


def _majority(voters: int) -> int:
    return voters // 2 + 1
