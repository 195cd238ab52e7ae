"""Tiny but lawful GGUF files for tests."""

from __future__ import annotations

import struct


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key, value):
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    if isinstance(value, list):
        items = b"".join(text(item) for item in value)
        return text(key) + struct.pack("<IIQ", 9, 8, len(value)) + items
    return text(key) + struct.pack("<II", 4, value)


def gguf(version=3, tensors=((64, 32), (32,)), kind=0, **pairs):
    """Bytes of a model file; `kind` is the tensor type (0 = float32)."""
    values = {
        "general.architecture": "llama",
        "general.name": "Tiny",
        "llama.block_count": 2,
        "llama.context_length": 512,
        "llama.embedding_length": 64,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "tokenizer.ggml.tokens": ["a", "b", "ä"],
        **pairs,
    }
    values = {key: value for key, value in values.items() if value is not None}
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values))
    head += b"".join(pair(key, value) for key, value in values.items())
    offset = 0
    for number, shape in enumerate(tensors):
        size = 4
        for length in shape:
            size *= length
        head += text(f"t{number}") + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        head += struct.pack("<IQ", kind, offset)
        offset += size
    return head + bytes(-len(head) % 32) + bytes(offset)
