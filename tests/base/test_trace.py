"""The ring of traces: bounded, newest first (X03)."""

import msgspec

from hearthnet.base.trace import CallTraceEvent, Span, TraceRing


def event(number, capability="rag.query"):
    return CallTraceEvent(
        ts=float(number), trace_id=str(number), capability=capability, version="1.0", from_node="a", to_node="b", is_local=True,
        result="ok", ms=1.0, span=Span("call", 0.0, 1.0, children=[Span("route", 0.1)]),
    )  # fmt: skip


def test_the_oldest_call_falls_out():
    ring = TraceRing(3)
    for number in range(5):
        ring.add(event(number))
    assert len(ring) == 3
    assert [item.ts for item in ring.recent(10)] == [4.0, 3.0, 2.0]


def test_the_newest_calls_of_one_capability_can_be_asked_for():
    ring = TraceRing()
    for number in range(6):
        ring.add(event(number, "llm.chat" if number % 2 else "rag.query"))
    assert [item.ts for item in ring.recent(2, "llm.chat")] == [5.0, 3.0]
    assert ring.recent(2, "chat.send") == []


def test_a_trace_keeps_its_spans_when_written_out():
    written = msgspec.json.decode(msgspec.json.encode(event(1)), type=CallTraceEvent)
    assert written.span.children[0].name == "route"
    assert Span("a", 0.0).children is not Span("b", 0.0).children
