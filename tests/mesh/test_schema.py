"""Schemas that travel: structure only, one hash for one shape."""

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from hearthnet.base.errors import BadRequest
from hearthnet.mesh.capability import offered_by
from hearthnet.mesh.schema import Codec, schema_hash, schema_of, schemas_of
from mesh.samples import AskInput, Library, Talker

QUERY = offered_by(Library())[0].descriptor
CHAT = offered_by(Talker(Library()))[0].descriptor


def test_the_request_schema_is_what_the_bus_accepts():
    request, response, stream = schemas_of(QUERY)
    assert stream is None
    assert request["properties"]["input"]["properties"]["query"] == {"type": "string", "maxLength": 20}
    assert request["required"] == ["input"]
    assert request["additionalProperties"] is False
    assert response["properties"]["text"]["maxLength"] == 100


def test_a_stream_has_the_schemas_of_its_frames():
    _, response, stream = schemas_of(CHAT)
    assert response is None
    assert {frame["properties"]["event"]["enum"][0] for frame in stream["anyOf"]} == {"token", "done", "error"}


def test_no_words_and_no_names_of_classes_travel():
    text = json.dumps([schemas_of(QUERY), schemas_of(CHAT)])
    assert "$ref" not in text
    assert "description" not in text
    assert "AskInput" not in text


class Titled(Struct):
    """A field may have the name of a keyword."""

    title: str
    description: str = ""
    properties: dict[str, str] = {}


def test_fields_named_like_keywords_stay():
    assert set(schema_of(Titled)["properties"]) == {"title", "description", "properties"}


class Tree(Struct):
    """Contains itself."""

    children: "list[Tree]"


def test_a_type_that_contains_itself_has_no_wire_schema():
    with pytest.raises(TypeError, match="contains itself"):
        schema_of(Tree)


def test_the_hash_is_that_of_the_shape():
    # a golden value: whoever changes a shape changes what neighbours compare
    assert schema_hash(QUERY) == "blake3:e26e4505c197645c725142a771f7f47d4b92c48bf89128b89bc73622c7e47ead"
    assert schema_hash(QUERY) != schema_hash(CHAT)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-5, 25) | st.text(max_size=25),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["query", "k", "x"]), inner),
        max_leaves=4,
    )
)
def test_types_and_schema_agree_on_what_is_valid(value):
    body = json.dumps({"input": value}).encode()
    try:
        Codec(QUERY).read(body)
        accepted = True
    except BadRequest:
        accepted = False
    valid = jsonschema.Draft202012Validator(schemas_of(QUERY)[0]).is_valid(json.loads(body))
    assert accepted == valid


def test_a_request_struct_is_what_the_handler_gets():
    read = Codec(QUERY).read(b'{"input":{"query":"water"}}')
    assert read.input == AskInput("water")


@given(st.binary(max_size=200) | st.text(max_size=60).map(lambda text: b'{"input":{"query":' + text.encode() + b"}}"))
def test_garbage_is_refused_as_the_callers_mistake(data):
    try:
        read = Codec(QUERY).read(data)
    except BadRequest:
        return
    assert isinstance(read.input, AskInput)
