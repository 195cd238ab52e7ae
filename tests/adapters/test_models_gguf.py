from __future__ import annotations

import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.gguf_maker import gguf
from hearthnet.adapters.gguf import estimate_memory, read_gguf
from hearthnet.base.errors import BadRequest


@pytest.fixture
def write(tmp_path):
    def put(data):
        path = tmp_path / "model.gguf"
        path.write_bytes(data)
        return path

    return put


def test_header_tells_what_serving_the_model_takes(write):
    data = gguf()
    header = read_gguf(write(data))
    assert (header.architecture, header.name, header.layers, header.context_tokens) == ("llama", "Tiny", 2, 512)
    assert header.parameters == 64 * 32 + 32
    assert header.kv_bytes_per_token == 2 * 2 * (16 + 16) * 2
    assert header.file_bytes == len(data)
    assert not header.has_chat_template
    assert estimate_memory(header, 4, 512) > estimate_memory(header, 1, 512) > len(data)


@pytest.mark.parametrize("missing", [1, 100, 8000])
def test_file_cut_off_anywhere_is_noticed(write, missing):
    with pytest.raises(BadRequest):
        read_gguf(write(gguf()[:-missing]))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!DOCTYPE html><title>Not found</title>",
        gguf(version=9),
        gguf(**{"llama.block_count": None}),
        gguf(**{"general.architecture": None}),
        b"GGUF" + struct.pack("<IQQ", 3, 2**40, 1),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**40),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**60),
    ],
    ids=["empty", "web page", "version", "no layers", "no architecture", "tensors", "pairs", "long key"],
)
def test_what_is_no_language_model_is_refused(write, data):
    with pytest.raises(BadRequest) as error:
        read_gguf(write(data))
    assert error.value.fix


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 600), st.binary(min_size=1, max_size=8), st.integers(0, 9000))
def test_damaged_file_is_described_or_refused_but_never_more(write, at, damage, keep):
    data = bytearray(gguf())
    data[at : at + len(damage)] = damage
    try:
        layers = read_gguf(write(bytes(data[:keep]))).layers
    except BadRequest:
        layers = 1
    assert layers > 0


def test_quantised_weights_are_counted_in_blocks(write):
    data = gguf(tensors=((256, 4),), kind=12)
    assert read_gguf(write(data)).file_bytes == len(data) - 256 * 4 * 4 + 4 * 144


def test_unknown_kind_of_weights_is_let_through(write):
    assert read_gguf(write(gguf(kind=999))).layers == 2
