"""What may be registered, and what stops the start."""

from collections.abc import AsyncIterator

import pytest
from msgspec import Struct

from hearthnet.base.errors import CapabilityConflict
from hearthnet.base.types import TrustLevel
from hearthnet.mesh.capability import Call, NoParams, capability, parse_name
from mesh.samples import AskInput, AskOutput, Library, Word, World


def declare(*names):
    """A service with these capabilities."""

    def method(name):
        @capability(name, trust=TrustLevel.MEMBER, timeout_s=5, max_concurrent=1)
        async def handle(self, call: Call, params: NoParams, request: AskInput) -> AskOutput:
            return AskOutput("")

        return handle

    return type("Service", (), {f"m{number}": method(name) for number, name in enumerate(names)})()


async def test_a_name_declared_twice_stops_the_start(world):
    with pytest.raises(CapabilityConflict, match=r"rag\.query@1\.0 is declared twice"):
        world.bus.register(Library())


@pytest.mark.parametrize("names", [("weather.now@1.0",), ("rag.other@1.0", "market.list@1.0")])
async def test_a_name_outside_the_services_namespace_stops_the_start(world, names):
    with pytest.raises(CapabilityConflict):
        world.bus.register(declare(*names))


async def test_unreserved_names_go_under_experimental(world):
    world.bus.register(declare("experimental.weather.now@1.0"))
    assert parse_name("experimental.weather.now@1.0") in [item.name for item in world.bus.descriptors()]


async def test_descriptors_are_listed_by_name():
    assert [str(item.name) for item in World().bus.descriptors()] == ["llm.chat@1.0", "rag.query@1.0"]


async def test_a_stream_without_a_done_frame_cannot_be_declared(world):
    class Endless:
        @capability("llm.endless@1.0", trust=TrustLevel.MEMBER, timeout_s=5, max_concurrent=1)
        def talk(self, call: Call, params: NoParams, request: AskInput) -> AsyncIterator[Word]:
            raise AssertionError

    with pytest.raises(TypeError, match="done"):
        world.bus.register(Endless())


async def test_a_frame_without_tag_cannot_be_declared(world):
    class Bare(Struct, frozen=True):
        text: str

    globals()["Bare"] = Bare

    class Untagged:
        @capability("llm.untagged@1.0", trust=TrustLevel.MEMBER, timeout_s=5, max_concurrent=1)
        def talk(self, call: Call, params: NoParams, request: AskInput) -> AsyncIterator[Bare]:
            raise AssertionError

    with pytest.raises(TypeError, match="tag"):
        world.bus.register(Untagged())
