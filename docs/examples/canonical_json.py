"""Two programs that sign the same value must sign the same bytes: canonical JSON (RFC 8785 numbers)."""

from hearthnet.wire import canonical

print(canonical.encode({"b": 1.0, "a": [1e21, "ö", None]}).decode())
assert canonical.encode({"b": 1.0, "a": 1.10}) == b'{"a":1.1,"b":1}'
