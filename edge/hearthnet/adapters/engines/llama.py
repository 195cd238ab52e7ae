"""Child process: llama.cpp's own server from the `xllamacpp` wheel, on loopback with a random key (M04).

The key and the port travel over the pipe only. The server is given no web page, no slots page, no metrics, and no
file access; requests come from `llm_server.py`, which builds them field by field.
"""

from __future__ import annotations

import secrets

import msgspec

from hearthnet.adapters.engines.guest import Guest, serve
from hearthnet.adapters.engines.orders import ServerAddress, ServerOptions
from hearthnet.adapters.engines.pipe import pack
from hearthnet.base.errors import Unavailable


def load(options: bytes) -> Guest:
    """Start the server; raises Unavailable when the model cannot be loaded."""
    import xllamacpp

    wanted = msgspec.msgpack.decode(options, type=ServerOptions)
    key = secrets.token_urlsafe(32)
    params = xllamacpp.CommonParams()
    params.model.path = wanted.path
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.ui = False
    params.endpoint_slots = False
    params.offline = True
    params.n_parallel = wanted.slots
    params.n_ctx = wanted.slots * wanted.context_tokens
    params.cont_batching = True
    params.n_batch = params.n_ubatch = BATCH_TOKENS
    params.cpuparams.n_threads = wanted.threads
    params.cpuparams_batch.n_threads = wanted.batch_threads
    params.cpuparams.poll = params.cpuparams_batch.poll = 0
    params.n_threads_http = wanted.slots + 2
    params.cache_ram_mib = wanted.cache_mib
    params.sse_ping_interval = -1
    params.warmup = False
    try:
        server = xllamacpp.Server(params)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise Unavailable(f"the model cannot be loaded: {error}") from None
    _keep.append(server)
    return Guest(pack(ServerAddress(server.listening_address, key)), {})


BATCH_TOKENS = 64  # tokens read at once: the longest stretch in which a cancelled request is not noticed
_keep: list[object] = []  # the server lives as long as the process

if __name__ == "__main__":
    serve(load)
