"""Counters, gauges and durations by the specification's names, in the text format of Prometheus (X03).

A family appears in the text once something has set it. Counting costs a dictionary access; gauges are read when asked.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct

from hearthnet.base.log import sanitise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

Labels: TypeAlias = tuple[str, ...]

SERIES_MAX: Final = 500  # of one family; more are counted together under "other"
_BUCKETS_MS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 120_000)
_LABEL_MAX_CHARS = 128


class _Family(Struct, frozen=True):
    kind: str
    labels: Labels
    help: str


_FAMILIES: Final = {
    "hearthnet_requests_total": _Family("counter", ("capability", "result"), "Calls that ended, by result"),
    "hearthnet_rate_limited_total": _Family("counter", ("capability", "reason"), "Calls refused by a rate limit"),
    "hearthnet_quarantines_total": _Family("counter", (), "Entries that were quarantined"),
    "hearthnet_llm_tokens_generated_total": _Family("counter", ("model", "backend"), "Tokens that models wrote"),
    "hearthnet_signature_failures_total": _Family("counter", ("reason",), "Signatures that were refused"),
    "hearthnet_active_streams": _Family("gauge", ("capability",), "Streams that are open"),
    "hearthnet_event_log_size": _Family("gauge", ("community",), "Events in the log"),
    "hearthnet_event_log_lamport_head": _Family("gauge", ("community",), "Highest Lamport time in the log"),
    "hearthnet_blob_storage_bytes": _Family("gauge", (), "Bytes of stored blobs"),
    "hearthnet_llm_concurrent": _Family("gauge", ("model",), "Answers being written"),
    "hearthnet_capability_health_success_rate": _Family(
        "gauge", ("capability", "node"), "Share of calls that succeeded"
    ),
}
_DURATION = "hearthnet_request_duration_ms"


class Metrics:
    """The figures of one node; for use on its event loop only."""

    def __init__(self) -> None:
        self._counters: dict[str, dict[Labels, int]] = {}
        self._gauges: dict[str, Callable[[], Mapping[Labels, float]]] = {}
        self._requests = self._counters.setdefault("hearthnet_requests_total", {})
        self._durations: dict[str, _Durations] = {}

    def count_call(self, capability: str, result: str, ms: float) -> None:
        """A call ended; one that was refused took 0 ms and has no duration."""
        key = (capability, result)
        if key in self._requests:
            self._requests[key] += 1
        else:
            self.count("hearthnet_requests_total", *key)
        if ms:
            durations = self._durations.get(capability)
            if durations is None:
                name = capability if len(self._durations) < SERIES_MAX else "other"
                durations = self._durations.setdefault(name, _Durations())
            durations.add(ms)

    def count_limited(self, capability: str, reason: str) -> None:
        """A call was refused by a rate limit, `soft` or `hard`."""
        self.count("hearthnet_rate_limited_total", capability, reason)

    def count_quarantine(self) -> None:
        """An entry was quarantined."""
        self.count("hearthnet_quarantines_total")

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        """Raise a counter of the table above."""
        series = self._counters.setdefault(name, {})
        if labels not in series and len(series) >= SERIES_MAX:
            labels = ("other",) * len(labels)
        series[labels] = series.get(labels, 0) + by

    def watch(self, name: str, read: Callable[[], Mapping[Labels, float]]) -> None:
        """Read a gauge of the table above, label values to figure, whenever the metrics are asked for."""
        self._gauges[name] = read

    def render(self) -> str:
        """The text exposition, version 0.0.4."""
        return "\n".join([*self._family_lines(), *self._duration_lines(), ""])

    def _family_lines(self) -> Iterator[str]:
        for name, family in _FAMILIES.items():
            read = self._gauges.get(name)
            series: Mapping[Labels, float] = read() if read else self._counters.get(name, {})
            if series:
                yield from _head(name, family.kind, family.help)
            for labels, figure in series.items():
                yield f"{name}{_braces(zip(family.labels, labels, strict=True))} {figure:.17g}"

    def _duration_lines(self) -> Iterator[str]:
        if self._durations:
            yield from _head(_DURATION, "histogram", "Time of calls that ran, in milliseconds")
        for capability, durations in self._durations.items():
            below = 0
            for limit, count in zip((*_BUCKETS_MS, "+Inf"), durations.counts, strict=True):
                below += count
                yield f"{_DURATION}_bucket{_braces([('capability', capability), ('le', str(limit))])} {below}"
            labels = _braces([("capability", capability)])
            yield f"{_DURATION}_sum{labels} {durations.sum_ms:.17g}"
            yield f"{_DURATION}_count{labels} {below}"


class _Durations:
    """How many calls took how long."""

    __slots__ = ("counts", "sum_ms")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BUCKETS_MS) + 1)
        self.sum_ms = 0.0

    def add(self, ms: float) -> None:
        self.counts[bisect_left(_BUCKETS_MS, ms)] += 1
        self.sum_ms += ms


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"


def _braces(labels: Iterable[tuple[str, str]]) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{inside}}}" if inside else ""


def _escaped(value: str) -> str:
    return sanitise(value, _LABEL_MAX_CHARS).replace("\\", "\\\\").replace('"', '\\"')
