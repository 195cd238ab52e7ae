"""What a GGUF model file says of itself, read without trusting it (M04).

Only the header is read: key-value pairs and the table of tensors. From the table follows how long the file must be,
so that a truncated file is refused without a hash. Every count and length is bounded before it is used.
"""

from __future__ import annotations

import math
import struct
from typing import IO, TYPE_CHECKING, Final

from msgspec import Struct

from hearthnet.base.errors import BadRequest

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC: Final = b"GGUF"
_PAIRS_MAX: Final = 4096
_TENSORS_MAX: Final = 65_536
_STRING_MAX: Final = 4 * 1_048_576
_ITEMS_MAX: Final = 4_000_000
_FIX: Final = "copy or download the file again; models are files that end in .gguf"
_NUMBERS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
# tensor type -> (weights in a block, bytes of a block)
_BLOCKS: Final = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip


class GgufHeader(Struct, frozen=True):
    """The part of a model's own description that we use."""

    architecture: str
    name: str
    parameters: int
    context_tokens: int
    layers: int
    kv_bytes_per_token: int
    has_chat_template: bool
    file_bytes: int  # how long the file must be at least


def read_gguf(path: Path) -> GgufHeader:
    """Check and describe a model file; raises BadRequest when it is not GGUF, not a text model, or too short."""
    with path.open("rb") as file:
        reader = _Reader(file)
        tensors, values = _read_head(reader)
        parameters, end = _read_tensors(reader, tensors)
        align = _number(values, "general.alignment", 32) or 32
        need = reader.offset + (-reader.offset) % align + end
        have = path.stat().st_size
    if have < need:
        raise BadRequest(f"{path.name} is cut off: {have} of {need} bytes", fix=_FIX)
    architecture = str(values.get("general.architecture", ""))
    layers = _number(values, f"{architecture}.block_count", 0)
    if not architecture or not layers:
        raise BadRequest(f"{path.name} holds no language model", fix=_FIX)
    return GgufHeader(
        architecture=architecture,
        name=str(values.get("general.name", ""))[:200],
        parameters=parameters,
        context_tokens=_number(values, f"{architecture}.context_length", 2048),
        layers=layers,
        kv_bytes_per_token=_kv_bytes(values, architecture, layers),
        has_chat_template="tokenizer.chat_template" in values,
        file_bytes=need,
    )


def estimate_memory(header: GgufHeader, slots: int, context_tokens: int) -> int:
    """Bytes of memory that serving this model takes: weights, key-value cache and working space."""
    return header.file_bytes + slots * context_tokens * header.kv_bytes_per_token + 150_000_000


Value = str | int | float | bool


class _Reader:
    """Bounded reads that say what is wrong with the file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.offset = 0

    def take(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise BadRequest("the model file ends inside its header", fix=_FIX)
        self.offset += count
        return data

    def number(self, kind: int) -> int | float | bool:
        form = _NUMBERS.get(kind)
        if form is None:
            raise BadRequest(f"the model file uses an unknown value type {kind}", fix=_FIX)
        (value,) = struct.unpack("<" + form, self.take(struct.calcsize(form)))
        return value if isinstance(value, int | float) else 0

    def count(self, largest: int) -> int:
        (value,) = struct.unpack("<Q", self.take(8))
        if value > largest:
            raise BadRequest(f"the model file's header names a count of {value}", fix=_FIX)
        return int(value)

    def text(self) -> str:
        return self.take(self.count(_STRING_MAX)).decode("utf-8", "replace")

    def skip_array(self) -> None:
        kind = int(self.number(4))
        items = self.count(_ITEMS_MAX)
        if kind == _STRING:
            for _ in range(items):
                self.take(self.count(_STRING_MAX))
        elif kind in _NUMBERS:
            self.take(items * struct.calcsize(_NUMBERS[kind]))
        else:
            raise BadRequest(f"the model file nests arrays of type {kind}", fix=_FIX)


def _read_head(reader: _Reader) -> tuple[int, dict[str, Value]]:
    if reader.take(4) != _MAGIC:
        raise BadRequest("this is not a GGUF model file", fix=_FIX)
    version = int(reader.number(4))
    if version not in (2, 3):
        raise BadRequest(f"GGUF version {version} is not known here", fix=_FIX)
    tensors = reader.count(_TENSORS_MAX)
    values: dict[str, Value] = {}
    for _ in range(reader.count(_PAIRS_MAX)):
        key, kind = reader.text(), int(reader.number(4))
        if kind == _ARRAY:
            reader.skip_array()
        else:
            values[key] = reader.text() if kind == _STRING else reader.number(kind)
    return tensors, values


def _read_tensors(reader: _Reader, count: int) -> tuple[int, int]:
    """Number of weights in all, and the end of the last tensor counted from the start of the data."""
    weights = end = 0
    for _ in range(count):
        reader.text()
        dimensions = int(reader.number(4))
        if not 1 <= dimensions <= 8:
            raise BadRequest(f"a tensor of {dimensions} dimensions stands in the model file", fix=_FIX)
        size = math.prod(reader.count(2**40) for _ in range(dimensions))
        kind = int(reader.number(4))
        offset = reader.count(2**50)
        per_block, block_bytes = _BLOCKS.get(kind, (1, 0))  # a type we do not know: only its start can be checked
        weights += size
        end = max(end, offset + -(-size // per_block) * block_bytes)
    return weights, end


def _kv_bytes(values: dict[str, Value], architecture: str, layers: int) -> int:
    heads = max(1, _number(values, f"{architecture}.attention.head_count", 1))
    kv_heads = _number(values, f"{architecture}.attention.head_count_kv", heads)
    width = _number(values, f"{architecture}.embedding_length", 0) // heads
    key = _number(values, f"{architecture}.attention.key_length", width)
    value = _number(values, f"{architecture}.attention.value_length", width)
    return layers * kv_heads * (key + value) * 2


def _number(values: dict[str, Value], key: str, otherwise: int) -> int:
    value = values.get(key, otherwise)
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else otherwise
