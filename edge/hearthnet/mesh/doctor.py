"""The node's check-up as data: what was looked at, how it is, and the one command that mends it (X03, M12).

It needs no running node; what only a running one knows comes in as a `NodeView`. A finding names its sentence by a
locale key, `doctor.<check>.<reason>`, filled with its `values`. The looking blocks: call it off the event loop.
"""

from __future__ import annotations

import time
from threading import Thread
from typing import TYPE_CHECKING, Final

from hearthnet.base.constants import HEALTH_WINDOW_CALLS
from hearthnet.base.errors import WIRE_CODES, BadRequest, NotFound
from hearthnet.mesh import doctor_node, doctor_storage
from hearthnet.mesh.doctor_finding import GROUPS, Check, Finding, Look, NodeView, Scene

if TYPE_CHECKING:
    from hearthnet.base.trace import TraceRing

CHECKS: Final[tuple[Check, ...]] = tuple(
    sorted((*doctor_storage.CHECKS, *doctor_node.CHECKS), key=lambda check: GROUPS.index(check.group))
)
WITHIN_S: Final = 5.0  # for all checks together


def examine(scene: Scene, only: str = "") -> list[Finding]:
    """Look at everything that applies, or at one check; in a fixed order. Raises NotFound for an unknown check."""
    chosen = [check for check in CHECKS if only in ("", check.id)]
    if not chosen:
        raise NotFound(f"no check {only[:64]!r}", fix="hearthnet doctor")
    chosen = [check for check in chosen if scene.node is not None or not check.needs_node]
    looks: dict[str, Look] = {}
    # daemon threads: a name server or a dead disk that never answers must not keep the process
    threads = [Thread(target=_look_into, args=(looks, check, scene), daemon=True) for check in chosen]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + WITHIN_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    slow = Look("warn", "slow", {"seconds": f"{WITHIN_S:g}"})
    return [_finding(check, looks.get(check.id, slow)) for check in chosen]


def _look_into(looks: dict[str, Look], check: Check, scene: Scene) -> None:
    try:
        looks[check.id] = check.look(scene)
    except OSError as fault:
        values = {"path": str(fault.filename or ""), "why": fault.strerror or str(fault)}
        looks[check.id] = Look("fail", "unreadable", values)


def mend(scene: Scene, finding: Finding) -> Finding:
    """Do what is safe about a finding and look again; raises BadRequest where nothing safe can be done."""
    check = next((check for check in CHECKS if check.id == finding.check), None)
    if check is None or check.mend is None or not finding.mendable:
        raise BadRequest(f"{finding.check}: nothing here can be mended safely", fix=finding.fix)
    check.mend(scene)
    return examine(scene, check.id)[0]


def count_faults(traces: TraceRing) -> tuple[int, int]:
    """(failed by this node's fault, looked at) of the last calls; mistakes of callers are not ours."""
    recent = traces.recent(HEALTH_WINDOW_CALLS)
    own = {code for code, error in WIRE_CODES.items() if error.fault == "local"}
    return sum(event.is_local and event.result in own for event in recent), len(recent)


def _finding(check: Check, look: Look) -> Finding:
    return Finding(
        check=check.id,
        group=check.group,
        state=look.state,
        reason=look.reason,
        values=look.values,
        fix=look.fix,
        mendable=look.state != "ok" and check.mend is not None and look.mendable,
    )


__all__ = ["CHECKS", "Finding", "NodeView", "Scene", "count_faults", "examine", "mend"]
