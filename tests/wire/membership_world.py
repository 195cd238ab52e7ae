"""Boxes that found, invite, join, remove: each with its own chain, key and replica of the acts."""

from __future__ import annotations

import itertools

import msgspec

from hearthnet.wire.co_signature import co_sign, with_co_signers
from hearthnet.wire.community import (
    CommunityCreated,
    CommunityPolicy,
    KnownHead,
    MemberDemoted,
    MemberInvited,
    MemberJoined,
    MemberLeft,
    MemberPromoted,
    MemberRevoked,
    PolicyUpdated,
    RootSucceeded,
)
from hearthnet.wire.event import seal_event
from hearthnet.wire.identity import KeyPair
from hearthnet.wire.membership import Membership
from hearthnet.wire.membership_act import act_of

KEYS = [KeyPair(bytes([number]) * 32) for number in range(1, 41)]
COMMUNITY = KEYS[0].node_id
LATER = "2030-01-01T00:00:00Z"
_numbers = itertools.count(1)


class Box:
    """One node: what it writes follows what it has heard, unless it is told to lie."""

    def __init__(self, number, acts=(), lamport=0):
        self.key = KEYS[number]
        self.node_id = self.key.node_id
        self.view = Membership(COMMUNITY)
        self.last = None
        self.lamport = lamport
        self.acts = []
        self.heads = {}
        self.hear(acts)

    def hear(self, acts):
        for act in acts:
            self.lamport = max(self.lamport, act.lamport)
            self.view.add(act)
            self.acts.append(act)
            if act.author_seq > self.heads.get(act.author, KnownHead()).author_seq:
                self.heads[act.author] = KnownHead(act.author_epoch, act.author_seq, act.hash)
        return self

    def head(self, target):
        return self.heads.get(target.node_id, KnownHead())

    def follow(self, data, after=None):
        """The data, naming what this box knows, or what it says it knows."""
        if after is None:
            after = (
                () if isinstance(data, CommunityCreated) else self.view.frontier(*self.view.last_act_of(self.node_id))
            )
        return msgspec.structs.replace(data, after=tuple(sorted(after)))

    def seal(self, data, **changes):
        """Sign any data at the end of the own chain; nothing is judged."""
        fields = {
            "community_id": COMMUNITY, "event_id": f"01HZX3M7Q8{next(_numbers):016}", "lamport": self.lamport + 1,
            "now": 1.8e9, "after": self.last,
        }  # fmt: skip
        sealed = seal_event(self.key, data, **{**fields, **changes})
        self.lamport = sealed.event.lamport
        self.last = sealed.entry
        return sealed

    def write(self, data, *helpers, **changes):
        """An own act, agreed to by the helpers, judged and taken in."""
        data = self.follow(data, changes.pop("after", None))
        if helpers:
            data = with_co_signers(data, tuple(co_sign(helper.key, COMMUNITY, data) for helper in helpers))
        act = act_of(self.seal(data, **changes))
        self.view.judge(act)
        self.hear([act])
        return act

    # ---- what boxes do

    def found(self, policy=None):
        return self.write(CommunityCreated("Our street", COMMUNITY, policy or CommunityPolicy()))

    def invite(self, other, level="member", *helpers, **changes):
        return self.write(MemberInvited(other.node_id, "A name", level, LATER), *helpers, **changes)

    def join(self, invitation, **changes):
        return self.write(MemberJoined(invitation.event_id, {}), **changes)

    def promote(self, other, level, *helpers, **changes):
        return self.write(MemberPromoted(other.node_id, level, self.head(other), LATER), *helpers, **changes)

    def demote(self, other, level, *helpers, **changes):
        return self.write(MemberDemoted(other.node_id, level, "other", self.head(other), LATER), *helpers, **changes)

    def revoke(self, other, *helpers, **changes):
        return self.write(MemberRevoked(other.node_id, "compromised", self.head(other), LATER), *helpers, **changes)

    def leave(self, **changes):
        return self.write(MemberLeft(), **changes)

    def set_policy(self, **fields):
        return self.write(PolicyUpdated(CommunityPolicy(**fields)))

    def succeed(self, other, *helpers, reason="lost", **changes):
        return self.write(RootSucceeded(other.node_id, reason, LATER), *helpers, **changes)

    def level(self, other):
        return self.view.level(other.node_id).label


def levels(view):
    return {member.node_id: member.level.label for member in view.members()}


def street(*wanted, policy=None):
    """A founder and one box a word of `wanted` (member, trusted, anchor), who all know everything."""
    founder = Box(0)
    founder.found(policy)
    boxes = [founder]
    for number in range(1, len(wanted) + 1):
        box = Box(number, founder.acts, founder.lamport)
        box.hear([founder.invite(box)])
        founder.hear([box.join(founder.acts[-1])])
        boxes.append(box)
    for box, level in zip(boxes[1:], wanted, strict=True):
        if level != "member":
            helpers = (
                [other for other in boxes[1:] if founder.level(other) == "anchor"][:2] if level == "anchor" else []
            )
            founder.promote(box, level, *helpers)
    meet(*boxes)
    return boxes


def meet(*boxes):
    """All boxes hear all that each of them knows."""
    known = {act.hash: act for box in boxes for act in box.acts}
    for box in boxes:
        have = {act.hash for act in box.acts}
        box.hear(
            [act for act in sorted(known.values(), key=lambda act: (act.lamport, act.event_id)) if act.hash not in have]
        )
