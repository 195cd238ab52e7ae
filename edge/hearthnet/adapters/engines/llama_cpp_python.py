"""Child process: the `llama-cpp-python` package as another host of GGUF models, one answer at a time (M04)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from hearthnet.adapters.engines.guest import Guest, Operation, Steps, serve
from hearthnet.adapters.engines.orders import ServerOptions, TextOrder
from hearthnet.adapters.engines.pipe import pack
from hearthnet.base.errors import BadRequest, Unavailable
from hearthnet.ports import TextDelta

if TYPE_CHECKING:
    from collections.abc import Iterator


def load(options: bytes) -> Guest:
    """Load the model; raises Unavailable when it cannot be loaded."""
    import llama_cpp

    wanted = msgspec.msgpack.decode(options, type=ServerOptions)
    try:
        model = llama_cpp.Llama(
            wanted.path,
            n_ctx=wanted.context_tokens,
            n_threads=wanted.threads,
            n_threads_batch=wanted.batch_threads,
            n_batch=64,
            verbose=False,
        )
    except (RuntimeError, ValueError, MemoryError) as error:
        raise Unavailable(f"the model cannot be loaded: {error}") from None

    def generate(body: bytes) -> Steps:
        order = msgspec.msgpack.decode(body, type=TextOrder)
        count, reason = 0, "end"
        for text, finish in _run(llama_cpp, model, order):
            count += bool(text)
            reason = finish or reason
            yield pack(TextDelta(text=text))
        read = max(0, model.n_tokens - count)
        return pack(TextDelta(stop_reason=reason, tokens_in=read, tokens_out=count))

    return Guest(pack(None), {"generate": Operation("model", generate)})


def _run(llama_cpp: Any, model: Any, order: TextOrder) -> Iterator[tuple[str, str]]:
    """Text pieces, with the stop reason when there is one."""
    grammar = _grammar(llama_cpp, model, order)
    sampling = {
        "max_tokens": order.max_tokens, "temperature": order.temperature, "top_p": order.top_p,
        "stop": list(order.stop), "seed": order.seed, "grammar": grammar, "stream": True,
    }  # fmt: skip
    try:
        if order.prompt:
            pieces = model.create_completion(order.prompt, **sampling)
        else:
            messages = [{"role": role, "content": content} for role, content in order.messages]
            pieces = model.create_chat_completion(messages, **sampling)
        for piece in pieces:
            choice = piece["choices"][0]
            text = choice.get("text") or choice.get("delta", {}).get("content") or ""
            yield text, {"length": "max_tokens", "stop": "end"}.get(choice.get("finish_reason") or "", "")
    except ValueError as error:  # the context is exceeded
        raise BadRequest(str(error)) from None


def _grammar(llama_cpp: Any, model: Any, order: TextOrder) -> Any:
    """The grammar as an object; raises BadRequest. The library crashes on a wrong one, so it is compiled here first."""
    text = order.grammar
    if order.json_schema:
        try:
            text = llama_cpp.llama_grammar.json_schema_to_gbnf(order.json_schema)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadRequest(f"the JSON schema cannot be used: {error}") from None
        text = re.sub(r"^space ::=.*$", 'space ::= " "?', text, flags=re.MULTILINE)
    if not text:
        return None
    sampler = llama_cpp.llama_sampler_init_grammar(model._model.vocab, text.encode(), b"root")  # noqa: SLF001
    if not sampler:
        raise BadRequest("the grammar cannot be used")
    llama_cpp.llama_sampler_free(sampler)
    return llama_cpp.LlamaGrammar.from_string(text, verbose=False)


if __name__ == "__main__":
    serve(load)
