"""Words that a grammar or a JSON schema allows, for the fake engine: the part of GBNF that the node itself writes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from hearthnet.base.errors import BadRequest

if TYPE_CHECKING:
    from random import Random

_TOKEN = re.compile(r'\s*(?:("(?:\\.|[^"\\])*")|(\[(?:\\.|[^\]\\])+\])|([\w-]+)|([()|?*+])|(\{[\d,]+\}))')
_RULE = re.compile(r"^([\w-]+)\s*::=", re.MULTILINE)
_LEAST = {"?": 0, "*": 0, "+": 1}


def speak_grammar(grammar: str, random: Random) -> str:
    """A text of the grammar's language; raises BadRequest when it cannot be read."""
    starts = list(_RULE.finditer(grammar))
    ends = [found.start() for found in starts[1:]] + [len(grammar)]
    rules = {found[1]: _tokens(grammar[found.end() : end]) for found, end in zip(starts, ends, strict=True)}
    return _Speaker(rules, random).rule("root", 0)


def _tokens(body: str) -> list[str]:
    body, tokens, at = body.strip(), [], 0
    while at < len(body):
        found = _TOKEN.match(body, at)
        if not found:
            raise BadRequest(f"the grammar cannot be read at {body[at : at + 20]!r}")
        tokens.append(found[0].strip())
        at = found.end()
    return tokens


class _Speaker:
    def __init__(self, rules: dict[str, list[str]], random: Random) -> None:
        self._rules = rules
        self._random = random

    def rule(self, name: str, depth: int) -> str:
        if name not in self._rules or depth > 40:
            raise BadRequest(f"the grammar has no rule {name!r}")
        text, rest = self._choice(self._rules[name], depth)
        if rest:
            raise BadRequest("the grammar has a bracket too many")
        return text

    def _choice(self, tokens: list[str], depth: int) -> tuple[str, list[str]]:
        """One of the alternatives up to a closing bracket or the end, and the tokens after it."""
        branches, current = [], list[str]()
        while tokens and tokens[0] != ")":
            if tokens[0] == "|":
                branches.append("".join(current))
                current, tokens = [], tokens[1:]
                continue
            text, tokens = self._item(tokens, depth)
            current.append(text)
        return self._random.choice([*branches, "".join(current)]), tokens

    def _item(self, tokens: list[str], depth: int) -> tuple[str, list[str]]:
        head, rest = tokens[0], tokens[1:]
        if head == "(":
            text, rest = self._choice(rest, depth)
            if not rest:
                raise BadRequest("the grammar has an open bracket")
            rest = rest[1:]
        elif head.startswith('"'):
            text = str(msgspec.json.decode(head.encode()))
        elif head.startswith("["):
            text = "a" if head.startswith("[^") else head[1]
        else:
            text = self.rule(head, depth + 1)
        if rest and rest[0] in _LEAST:
            return text * _LEAST[rest[0]], rest[1:]
        if rest and rest[0].startswith("{"):
            return text * int(rest[0][1:-1].split(",")[0] or 0), rest[1:]
        return text, rest


def speak_schema(schema: Any) -> Any:
    """The least value that fits a JSON schema."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return speak_schema(schema[key][0])
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        required = schema.get("required", list(schema.get("properties", {})))
        return {name: speak_schema(schema.get("properties", {}).get(name, {"type": "null"})) for name in required}
    if kind == "array":
        return [speak_schema(schema.get("items", {"type": "null"}))] * schema.get("minItems", 0)
    plain = {"string": "a" * schema.get("minLength", 1), "boolean": True, "null": None}
    return plain.get(kind, schema.get("minimum", 1))
