import pytest

from mesh.samples import World


@pytest.fixture
async def world():
    made = World()
    yield made
    await made.bus.close()
