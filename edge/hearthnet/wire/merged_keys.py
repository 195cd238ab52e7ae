"""Two disjoint ordered sets of keys as one, without copying (X02, for `wire.reconcile`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hearthnet.wire.negentropy import KEY_BYTES, bound_between, fingerprint

if TYPE_CHECKING:
    from hearthnet.wire.ordered_keys import OrderedKeys

_SUM_MODULUS = 1 << 256


class MergedKeys:
    """A view of both sets as they are now; a key must not be in both."""

    def __init__(self, main: OrderedKeys, extra: OrderedKeys) -> None:
        self._main = main
        self._extra = extra
        self._of_extra: dict[int, int] = {}  # position -> how many keys of `extra` lie before it
        self._sizes = (0, 0)

    def __len__(self) -> int:
        return len(self._main) + len(self._extra)

    def find(self, bound: bytes) -> int:
        """How many keys lie before a bound."""
        of_extra = self._extra.find(bound)
        position = self._main.find(bound) + of_extra
        self._known()[position] = of_extra
        return position

    def bound_at(self, position: int) -> bytes:
        """The shortest bound before the key at a position and after the one before it; not for position 0."""
        both = self.keys(position - 1, position + 1)
        return bound_between(both[:KEY_BYTES], both[KEY_BYTES:])

    def keys(self, lower: int, upper: int) -> bytes:
        """The keys from one position to before another, packed."""
        low, high = self._count_extra(lower), self._count_extra(upper)
        own, extra = self._main.keys(lower - low, upper - high), self._extra.keys(low, high)
        both = own + extra
        return b"".join(sorted(both[at : at + KEY_BYTES] for at in range(0, len(both), KEY_BYTES)))

    def fingerprint(self, lower: int, upper: int) -> bytes:
        """Of the keys from one position to before another."""
        low, high = self._count_extra(lower), self._count_extra(upper)
        total = self._main.id_sum(lower - low, upper - high) + self._extra.id_sum(low, high)
        return fingerprint(total % _SUM_MODULUS, upper - lower)

    def _count_extra(self, position: int) -> int:
        """How many of the first `position` keys of both are of `extra`."""
        known = self._known()
        if position not in known:
            main, extra = self._main, self._extra
            low, high = max(0, position - len(main)), min(position, len(extra))
            while low < high:
                middle = (low + high) // 2
                if extra.key(middle) < main.key(position - middle - 1):
                    low = middle + 1
                else:
                    high = middle
            known[position] = low
        return known[position]

    def _known(self) -> dict[int, int]:
        sizes = (len(self._main), len(self._extra))
        if sizes != self._sizes:
            self._sizes, self._of_extra = sizes, {}
        return self._of_extra
