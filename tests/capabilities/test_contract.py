"""What every capability of the folder keeps, whoever wrote it: declared once, enforced for each call (M03).

The handlers are stand-ins with the declared types, so that this suite grows with the folder and needs no port.
"""

import asyncio
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from capabilities.typed_values import values_of
from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.base import errors
from hearthnet.base.config import BusSection
from hearthnet.base.metrics import Metrics
from hearthnet.base.trace import TraceRing
from hearthnet.base.types import NodeID, TrustLevel
from hearthnet.mesh.bus import CapabilityBus
from hearthnet.mesh.capability import Caller, Capability, offered_by
from hearthnet.mesh.limits import Plan, Rate
from hearthnet.mesh.registry import check_namespace
from hearthnet.mesh.schema import TERMINAL_EVENTS, members_of, schema_hash
from hearthnet.node import capability_classes, list_capabilities
from hearthnet.web.i18n import load_texts

DESCRIPTORS = list_capabilities()
each = pytest.mark.parametrize("descriptor", DESCRIPTORS, ids=lambda item: str(item.name))
HERE = NodeID("ed25519:" + "A" * 43)
WIDE = Plan(Rate(1e6, 1e7), Rate(1e6, 1e7))
REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "capabilities.md"


class Stand:
    """A bus that offers one capability with a stand-in for its handler."""

    def __init__(self, descriptor):
        self.clock = FakeClock()
        self.descriptor = descriptor
        self.reply = None
        self.seen = []
        self.cancelled = asyncio.Event()
        self.bus = CapabilityBus(
            HERE, self.clock, BusSection(), TraceRing(), Metrics(), limits=WIDE, own_limits=WIDE
        )  # fmt: skip
        handler = self.stream if descriptor.streams else self.answer
        self.bus.attach(Capability(descriptor, handler), HERE)

    async def answer(self, call, params, request):
        self.seen.append((params, request))
        return await self.give()

    async def stream(self, call, params, request):
        self.seen.append((params, request))
        yield await self.give()

    async def give(self):
        """The prepared reply, or wait to be cancelled."""
        if self.reply is not None:
            return self.reply
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()

    async def call(self, body, trust=TrustLevel.SELF):
        """The reply or the frames."""
        caller = Caller(None, trust, "someone")
        data = msgspec.json.encode(body)
        if not self.descriptor.streams:
            return (await self.bus.handle_call(str(self.descriptor.name), data, caller=caller)).output
        async with aclosing(self.bus.handle_stream(str(self.descriptor.name), data, caller=caller)) as frames:
            return [frame async for frame in frames]


def bodies_of(descriptor):
    return st.fixed_dictionaries(
        {"params": values_of(descriptor.params_type), "input": values_of(descriptor.input_type)}
    )


def last_frames_of(descriptor):
    """Replies; of a stream its terminal frame."""
    kinds = members_of(descriptor.output_type)
    if descriptor.streams:
        kinds = [kind for kind in kinds if kind.__struct_config__.tag == "done"]
    return st.one_of([values_of(kind) for kind in kinds])


def one_of(strategy):
    """One fixed value of a strategy."""
    found = []

    @settings(max_examples=1, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def take(value):
        found.append(value)

    take()
    return found[0]


def structs_in(info, seen):
    """All structs that a type is made of."""
    if isinstance(info, inspect.StructType):
        if info.cls in seen:
            return
        seen.add(info.cls)
        for field in info.fields:
            structs_in(field.type, seen)
    for part in ("type", "item_type", "key_type", "value_type"):
        if (inner := getattr(info, part, None)) is not None:
            structs_in(inner, seen)
    for inner in (*getattr(info, "types", ()), *getattr(info, "item_types", ())):
        structs_in(inner, seen)


def test_the_folder_offers_something():
    assert DESCRIPTORS


def test_no_name_is_declared_twice_and_each_service_stays_in_its_namespace():
    names = [str(descriptor.name) for descriptor in DESCRIPTORS]
    assert len(names) == len(set(names))
    for kind in capability_classes():
        check_namespace(offered_by(object.__new__(kind)))


@each
def test_every_struct_of_a_request_is_frozen_and_forbids_unknown_fields(descriptor):
    structs = set()
    for kind in (descriptor.params_type, descriptor.input_type):
        structs_in(inspect.type_info(kind), structs)
    open_ones = [
        kind.__name__
        for kind in structs
        if not (kind.__struct_config__.frozen and kind.__struct_config__.forbid_unknown_fields)
    ]
    assert not open_ones


@each
@settings(max_examples=10, deadline=None)
@given(st.data())
def test_what_its_types_allow_is_accepted_and_answered(descriptor, data):
    body = data.draw(bodies_of(descriptor))
    reply = data.draw(last_frames_of(descriptor))

    async def check():
        stand = Stand(descriptor)
        stand.reply = msgspec.convert(reply, descriptor.output_type)
        answered = await stand.call(body)
        assert answered == ([stand.reply] if descriptor.streams else stand.reply)
        params, request = stand.seen[0]
        assert params == msgspec.convert(body["params"], descriptor.params_type)
        assert request == msgspec.convert(body["input"], descriptor.input_type)
        await stand.bus.close()

    asyncio.run(check())


@each
@pytest.mark.parametrize("where", ["", "params", "input"])
async def test_unknown_fields_are_refused(descriptor, where):
    stand = Stand(descriptor)
    body = one_of(bodies_of(descriptor))
    (body[where] if where else body)["unheard_of"] = 1
    with pytest.raises(errors.SchemaMismatch, match="unheard_of"):
        await stand.call(body)
    assert stand.seen == []


@each
async def test_who_is_trusted_too_little_is_refused(descriptor):
    body = one_of(bodies_of(descriptor))
    for trust in TrustLevel:
        stand = Stand(descriptor)
        if trust < descriptor.trust:
            with pytest.raises(errors.Unauthorized):
                await stand.call(body, trust)
            assert stand.seen == []


@each
async def test_its_deadline_cancels_the_handler(descriptor):
    stand = Stand(descriptor)
    called = asyncio.ensure_future(stand.call(one_of(bodies_of(descriptor))))
    await stand.clock.advance(descriptor.timeout_s - 0.01)
    assert len(stand.seen) == 1
    assert not called.done()
    await stand.clock.advance(0.02)
    with pytest.raises(errors.CallTimeout):
        await called
    assert stand.cancelled.is_set()


@each
async def test_a_caller_who_leaves_cancels_the_handler_within_200_ms(descriptor):
    stand = Stand(descriptor)
    called = asyncio.ensure_future(stand.call(one_of(bodies_of(descriptor))))
    for _ in range(5):
        await asyncio.sleep(0)
    called.cancel()
    async with asyncio.timeout(0.2):
        await stand.cancelled.wait()
    with pytest.raises(asyncio.CancelledError):
        await called
    assert all(entry.in_flight == 0 for entry in stand.bus.entries())


@each
async def test_no_more_calls_run_at_once_than_declared(descriptor):
    stand = Stand(descriptor)
    body = one_of(bodies_of(descriptor))
    running = [asyncio.ensure_future(stand.call(body)) for _ in range(descriptor.max_concurrent)]
    for _ in range(5):
        await asyncio.sleep(0)
    with pytest.raises(errors.CapacityExceeded):
        await stand.call(body)
    assert len(stand.seen) == descriptor.max_concurrent
    for called in running:
        called.cancel()
    await asyncio.gather(*running, return_exceptions=True)


@each
def test_its_declaration_is_sound(descriptor):
    assert 0 < descriptor.timeout_s <= 600
    assert 1 <= descriptor.max_concurrent <= 256
    assert schema_hash(descriptor).startswith("blake3:")
    if descriptor.streams:
        tags = {kind.__struct_config__.tag for kind in members_of(descriptor.output_type)}
        assert tags & TERMINAL_EVENTS >= {"done"}


@each
@pytest.mark.parametrize("language", ["de", "en"])
def test_it_has_a_label(descriptor, language):
    assert load_texts()[language].find(f"capability.{descriptor.name.name}", "").strip()


@each
def test_the_reference_describes_it(descriptor):
    assert f"\n## {descriptor.name}\n" in REFERENCE.read_text(encoding="utf-8")
