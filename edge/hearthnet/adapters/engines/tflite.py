"""Child process: TFLite models by `ai-edge-litert`, or `tflite-runtime` as the same interface (M04, M11).

The older runtime returned silently wrong results for newer models (decision 18), so no model runs before it gave its
recorded known answer here. Models may keep state between steps (resource variables): every run without a session
gets a fresh interpreter, because `reset_all_variables` does not bring them back to the start; a named session goes
on where it was. An input may hold several steps; the outputs then hold as many.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any, Final

import msgspec

from hearthnet.adapters.engines.guest import Guest, Operation, Steps, serve
from hearthnet.adapters.engines.orders import InferOrder
from hearthnet.adapters.engines.pipe import pack
from hearthnet.base.errors import BadRequest, HashMismatch, NotFound, Unavailable

_SESSIONS_MAX: Final = 8
_STEPS_MAX: Final = 100_000


class Tensors:
    """Loaded models: their bytes once checked, and the interpreters of sessions."""

    def __init__(self, interpreter: Any, np: Any) -> None:
        self._interpreter = interpreter
        self._np = np
        self._checked: dict[str, bytes] = {}
        self._sessions: OrderedDict[tuple[str, str], Any] = OrderedDict()

    def infer(self, body: bytes) -> Steps:
        """One run; raises NotFound, HashMismatch, Unavailable (wrong known answer), BadRequest (inputs)."""
        order = msgspec.msgpack.decode(body, type=InferOrder)
        content = self._content(order)
        if not order.session:
            return (yield from self._run(self._fresh(content), order.inputs))
        key = (order.sha256, order.session)
        engine = self._sessions.pop(key, None) or self._fresh(content)
        result = yield from self._run(engine, order.inputs)
        self._sessions[key] = engine
        while len(self._sessions) > _SESSIONS_MAX:
            self._sessions.popitem(last=False)
        return result

    def _content(self, order: InferOrder) -> bytes:
        content = self._checked.get(order.sha256)
        if content is None:
            try:
                with open(order.path, "rb") as file:  # noqa: PTH123  no pathlib in a child
                    content = file.read()
            except OSError:
                raise NotFound("the model file is gone") from None
            if hashlib.sha256(content).hexdigest() != order.sha256:
                raise HashMismatch("the model file was changed")
            self._check(content, order)
            self._checked[order.sha256] = content
        return content

    def _check(self, content: bytes, order: InferOrder) -> None:
        if not order.answer_out:
            raise Unavailable("the model has no known answer to test this runtime with")
        engine = self._fresh(content)
        (name, _), *_ = self._slots(engine.get_input_details())
        got = self._finish(self._run(engine, {name: order.answer_in}))
        (output,) = got.values()
        worst = max((abs(a - b) for a, b in zip(output, order.answer_out, strict=False)), default=256)
        if len(output) != len(order.answer_out) or worst > order.tolerance:
            raise Unavailable(
                f"this runtime computes the model wrongly: off by {worst} of 255 in the known-answer test"
            )

    def _fresh(self, content: bytes) -> Any:
        try:
            engine = self._interpreter(model_content=content, num_threads=1)
            engine.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise Unavailable(f"this runtime cannot load the model: {error}") from None
        return engine

    def _run(self, engine: Any, inputs: dict[str, bytes]) -> Steps:
        taken = dict(self._slots(engine.get_input_details()))
        if taken.keys() != inputs.keys():
            raise BadRequest(f"the model takes {sorted(taken)}, not {sorted(inputs)[:8]}")
        steps = {name: self._cut(taken[name], data, name) for name, data in inputs.items()}
        counts = {len(parts) for parts in steps.values()}
        if len(counts) != 1:
            raise BadRequest("the inputs hold different numbers of steps")
        given = self._slots(engine.get_output_details())
        outputs: dict[str, list[bytes]] = {name: [] for name, _ in given}
        for step in range(counts.pop()):
            for name, parts in steps.items():
                engine.set_tensor(taken[name]["index"], parts[step])
            engine.invoke()
            for name, detail in given:
                outputs[name].append(engine.get_tensor(detail["index"]).tobytes())
            if step % 64 == 63:
                yield None
        return pack({name: b"".join(parts) for name, parts in outputs.items()})

    def _cut(self, detail: Any, data: bytes, name: str) -> Any:
        size = int(self._np.prod(detail["shape"])) * self._np.dtype(detail["dtype"]).itemsize
        if not data or len(data) % size or len(data) // size > _STEPS_MAX:
            raise BadRequest(f"input {name} takes steps of {size} bytes")
        return self._np.frombuffer(data, dtype=detail["dtype"]).reshape((-1, *detail["shape"]))

    @staticmethod
    def _slots(details: Any) -> list[tuple[str, Any]]:
        """Tensors under the short name of the model's signature: `serving_default_audio:0` is `audio`."""
        return [(d["name"].removeprefix("serving_default_").partition(":")[0], d) for d in details]

    @staticmethod
    def _finish(steps: Steps) -> dict[str, bytes]:
        while True:
            try:
                next(steps)
            except StopIteration as result:
                return msgspec.msgpack.decode(result.value, type=dict[str, bytes])


def load(_options: bytes) -> Guest:
    """Import the runtime; models are loaded when first used."""
    import numpy as np

    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tflite_runtime.interpreter import Interpreter
    tensors = Tensors(Interpreter, np)
    return Guest(pack(Interpreter.__module__), {"infer": Operation("infer", tensors.infer)})


if __name__ == "__main__":
    serve(load)
