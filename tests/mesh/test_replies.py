"""Replies, frames and errors as the contract writes them."""

from msgspec import Struct, json

from hearthnet.base.errors import RateLimited
from hearthnet.mesh.invocation import Answer
from hearthnet.mesh.replies import encode_error, encode_frame, encode_reply
from mesh.samples import HERE, ME, Done, Word


async def test_a_reply_has_output_and_meta(world):
    answer = await world.bus.handle_call("rag.query@1.0", b'{"input":{"query":"water"}}', caller=ME)
    reply = json.decode(encode_reply(answer))
    assert reply["output"] == {"text": "water", "tokens_out": 0}
    assert reply["meta"] == {
        "capability": "rag.query@1.0",
        "ms": reply["meta"]["ms"],
        "trace_id": answer.trace_id,
        "node_id": HERE,
    }


class Used(Struct):
    model: str
    ms: int = 7


class Embedded(Struct):
    dim: int
    meta: Used


def test_what_a_capability_says_about_its_reply_moves_into_meta():
    answer = Answer(Embedded(3, Used("e5")), b"unused", 1.5, "T", HERE, "embed.text@1.0")
    assert json.decode(encode_reply(answer)) == {
        "output": {"dim": 3},
        "meta": {"model": "e5", "capability": "embed.text@1.0", "ms": 1.5, "trace_id": "T", "node_id": HERE},
    }


def test_the_name_of_a_frame_is_the_event_and_not_in_the_data():
    assert encode_frame(Word("a")) == ("token", b'{"text":"a"}')
    assert encode_frame(Done(1, 2)) == ("done", b'{"tokens_in":1,"tokens_out":2}')


def test_an_error_says_what_to_do_and_cannot_forge_lines():
    body = json.decode(encode_error(RateLimited("slow\ndown\x1b[31m", fix="wait", retry_after_ms=7)))
    assert body == {"error": "rate_limited", "message": "slow down", "fix": "wait", "retry_after_ms": 7}
    assert json.decode(encode_error(RateLimited())) == {"error": "rate_limited", "message": ""}
