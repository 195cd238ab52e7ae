"""Hypothesis strategies for values of declared types, so that every capability can be called without knowing it."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

_SHORT = 3


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """JSON values (as Python objects) that fit a type with its constraints."""
    return _strategy(inspect.type_info(kind))


def _strategy(info: inspect.Type) -> st.SearchStrategy[Any]:
    make = _MAKERS.get(type(info))
    assert make is not None, f"no strategy for {info}"
    return make(info)


def _struct(info):
    required = {field.encode_name: _strategy(field.type) for field in info.fields if field.required}
    optional = {field.encode_name: _strategy(field.type) for field in info.fields if not field.required}
    made = st.fixed_dictionaries(required, optional=optional)
    return made.map(lambda value: {info.tag_field: info.tag, **value}) if info.tag_field else made


def _text(info):
    if info.pattern:
        found = st.from_regex(info.pattern.removesuffix("$") + (r"\Z" if info.pattern.endswith("$") else ""))
        return found.filter(lambda text: _fits(text, info))
    return st.text(
        st.characters(codec="utf-8"), min_size=info.min_length or 0, max_size=min(20, info.max_length or 20)
    ) if (info.min_length or 0) <= 20 else st.just("x" * info.min_length)  # fmt: skip


def _fits(text, info):
    return (info.min_length or 0) <= len(text) <= (info.max_length if info.max_length is not None else len(text))


def _bound(info):
    low = info.ge if info.ge is not None else info.gt + 1 if info.gt is not None else None
    high = info.le if info.le is not None else info.lt - 1 if info.lt is not None else None
    return low, high


def _integer(info):
    low, high = _bound(info)
    return st.integers(-(2**53) + 1 if low is None else low, 2**53 - 1 if high is None else high)


def _number(info):
    low = info.ge if info.ge is not None else info.gt
    high = info.le if info.le is not None else info.lt
    return st.floats(
        low, high, allow_nan=False, allow_infinity=False, exclude_min=info.gt is not None, exclude_max=info.lt is not None
    )  # fmt: skip


def _sequence(info):
    low = info.min_length or 0
    high = max(low, min(_SHORT, _SHORT if info.max_length is None else info.max_length))
    return st.lists(_strategy(info.item_type), min_size=low, max_size=high)


def _mapping(info):
    return st.dictionaries(_strategy(info.key_type), _strategy(info.value_type), max_size=_SHORT)


_MAKERS = {
    inspect.StructType: _struct,
    inspect.StrType: _text,
    inspect.IntType: _integer,
    inspect.FloatType: _number,
    inspect.BoolType: lambda _: st.booleans(),
    inspect.NoneType: lambda _: st.none(),
    inspect.AnyType: lambda _: st.none() | st.booleans() | st.text(max_size=5),
    inspect.RawType: lambda _: st.just({}),
    inspect.BytesType: lambda _: st.binary(max_size=20).map(msgspec.to_builtins),
    inspect.LiteralType: lambda info: st.sampled_from(info.values),
    inspect.EnumType: lambda info: st.sampled_from([member.value for member in info.cls]),
    inspect.UnionType: lambda info: st.one_of([_strategy(member) for member in info.types]),
    inspect.ListType: _sequence,
    inspect.VarTupleType: _sequence,
    inspect.SetType: _sequence,
    inspect.TupleType: lambda info: st.tuples(*[_strategy(item) for item in info.item_types]).map(list),
    inspect.DictType: _mapping,
    inspect.Metadata: lambda info: _strategy(info.type),
}
