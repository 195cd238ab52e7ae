from __future__ import annotations

import math

import msgspec
import pytest

from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.adapters.engines.fake import FakeEngines
from hearthnet.base.config import Config
from hearthnet.base.errors import NotFound, Unavailable
from hearthnet.capabilities.embed import Embed, EmbedInput, EmbedParams
from hearthnet.mesh.capability import offered_by
from hearthnet.mesh.services import Services


@pytest.fixture
def engines():
    return FakeEngines()


@pytest.fixture
def embed(engines):
    """The service with the parts it uses; the others are absent, so that using one fails the test."""
    parts = dict.fromkeys(Services.__struct_fields__)
    return Embed(Services(**{**parts, "config": Config(), "clock": FakeClock(), "engines": engines}))


async def ask(embed, *texts, **params):
    return await embed.text(None, EmbedParams(**params), EmbedInput(texts))


async def test_every_text_gets_its_vector_in_order(embed):
    texts = [f"text number {number}" for number in range(40)]
    together = await ask(embed, *texts)
    alone = [await ask(embed, text) for text in texts]
    assert together.embeddings == tuple(output.embeddings[0] for output in alone)
    assert {len(row) for row in together.embeddings} == {together.dim}
    assert all(math.isclose(math.hypot(*row), 1, abs_tol=1e-5) for row in together.embeddings)
    assert together.meta.model == "multilingual-e5-small"


async def test_long_lists_reach_the_engine_in_small_batches(embed, engines):
    await ask(embed, *["a"] * 40)
    assert [len(asked.request) for asked in engines.history] == [16, 16, 8]


@pytest.mark.parametrize("kind", ["query", "passage"])
async def test_questions_and_passages_are_told_apart(embed, engines, kind):
    await ask(embed, "water", input_type=kind)
    assert [asked.model for asked in engines.history] == [kind]


async def test_own_model_may_be_named_and_another_is_not_found(embed):
    assert (await ask(embed, "water", model="multilingual-e5-small")).dim
    with pytest.raises(NotFound) as missing:
        await ask(embed, "water", model="bge-small-en-v1.5")
    assert "multilingual-e5-small" in missing.value.fix


async def test_missing_engine_is_unavailable(embed, engines):
    engines.missing.add("embed")
    with pytest.raises(Unavailable):
        await ask(embed, "water")


@pytest.mark.parametrize(
    "body",
    [
        '{"texts": []}',
        '{"texts": ["' + "x" * 8193 + '"]}',
        '{"texts": [' + ",".join(['"a"'] * 257) + "]}",
        '{"text": "a"}',
    ],
    ids=["none", "too long", "too many", "wrong name"],
)
def test_request_outside_the_limits_does_not_decode(body):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=EmbedInput)


def test_capability_is_declared_as_the_specification_says(embed):
    (found,) = offered_by(embed)
    descriptor = found.descriptor
    assert (str(descriptor.name), descriptor.timeout_s, descriptor.max_concurrent) == ("embed.text@1.0", 15, 8)
    assert descriptor.idempotent
