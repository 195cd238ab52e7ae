"""Which events enter the log: those written as a member at that place of a chain, and acts by their right (decision 8).

Membership is judged by causal past alone. An act that follows acts not known here is refused for now and comes again
with the next exchange.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hearthnet.base.errors import EventRejected
from hearthnet.mesh.members_view import MembersView
from hearthnet.wire.community import CommunityCreated, KnownHead, MemberJoined
from hearthnet.wire.membership_act import act_of

if TYPE_CHECKING:
    from msgspec import Struct

    from hearthnet.base.types import NodeID
    from hearthnet.wire.membership_act import Written


class Admission:
    """Judges events in order.

    `check` and `count` are called from one thread; `members` is never changed, a copy is when the first act is counted.
    """

    def __init__(self, members: MembersView) -> None:
        self._members = members
        self._own_copy = False

    def branch(self) -> Admission:
        """The same knowledge, on which events can be tried."""
        return Admission(self._members)

    def follow(self, data: Struct, author: NodeID) -> Struct:
        """An own act that names nothing yet, with the newest acts known now; everything else as it is."""
        if not isinstance(data, MembersView.kinds) or isinstance(data, CommunityCreated) or data.after:  # type: ignore[attr-defined]
            return data
        membership = self._members.membership
        invited = [
            act.hash for act in membership.invitations_of(author)
            if isinstance(data, MemberJoined) and act.event_id == data.invite_event_id
        ]  # fmt: skip
        after = membership.frontier(*invited, *membership.last_act_of(author))
        return msgspec.structs.replace(data, after=after)

    def check(self, written: Written) -> None:
        """Raise EventRejected or InvalidSignature unless the author could write this there."""
        event, membership = written.event, self._members.membership
        if not isinstance(written.data, MembersView.kinds):
            place = KnownHead(event.author_epoch, event.author_seq, written.hash)
            membership.check_author(event.author, place)
            return
        act = act_of(written)
        if membership.missing(act):
            raise EventRejected("unknown_author: it follows acts that are not known here yet")
        membership.judge(act)

    def count(self, written: Written) -> None:
        """The event was accepted; an act counts from here on."""
        if isinstance(written.data, MembersView.kinds):
            if not self._own_copy:
                self._members, self._own_copy = self._members.copy(), True
            self._members.apply(written)
