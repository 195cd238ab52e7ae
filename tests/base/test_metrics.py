"""Metrics in the text format of Prometheus, with bounded series (X03)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearthnet.base.metrics import SERIES_MAX, Metrics

SAMPLE = re.compile(
    r'(?P<name>[a-z_]+)(?:\{(?P<labels>[a-z]+="(?:[^"\\\n]|\\["\\])*"(?:,[a-z]+="(?:[^"\\\n]|\\["\\])*")*)\})? (?P<value>[-+.0-9e]+)'
)


def samples(metrics):
    """Each sample as text to figure; fails when a line is no valid exposition."""
    found = {}
    for line in metrics.render().splitlines():
        if not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, line
            key = line.rpartition(" ")[0]
            assert key not in found, f"{key} stands twice"
            found[key] = float(match["value"])
    return found


def test_a_family_appears_once_something_has_set_it():
    metrics = Metrics()
    assert metrics.render() == ""
    metrics.count_quarantine()
    assert metrics.render() == (
        "# HELP hearthnet_quarantines_total Entries that were quarantined\n"
        "# TYPE hearthnet_quarantines_total counter\n"
        "hearthnet_quarantines_total 1\n"
    )


def test_calls_are_counted_by_capability_and_result():
    metrics = Metrics()
    for result in ("ok", "ok", "timeout"):
        metrics.count_call("rag.query", result, 3.0)
    metrics.count_limited("rag.query", "soft")
    metrics.count("hearthnet_llm_tokens_generated_total", "smol", "llama_cpp", by=40)
    found = samples(metrics)
    assert found['hearthnet_requests_total{capability="rag.query",result="ok"}'] == 2
    assert found['hearthnet_requests_total{capability="rag.query",result="timeout"}'] == 1
    assert found['hearthnet_rate_limited_total{capability="rag.query",reason="soft"}'] == 1
    assert found['hearthnet_llm_tokens_generated_total{model="smol",backend="llama_cpp"}'] == 40


@given(st.lists(st.floats(0.001, 1e6), min_size=1))
def test_durations_are_cumulative_and_complete(times):
    metrics = Metrics()
    for ms in times:
        metrics.count_call("llm.chat", "ok", ms)
    found = samples(metrics)
    buckets = {key: value for key, value in found.items() if "_bucket" in key}
    assert list(buckets.values()) == sorted(buckets.values())
    assert buckets['hearthnet_request_duration_ms_bucket{capability="llm.chat",le="+Inf"}'] == len(times)
    for limit in ("1", "2.5", "1000", "120000"):
        expected = sum(ms <= float(limit) for ms in times)
        assert buckets[f'hearthnet_request_duration_ms_bucket{{capability="llm.chat",le="{limit}"}}'] == expected
    assert found['hearthnet_request_duration_ms_sum{capability="llm.chat"}'] == pytest.approx(sum(times))
    assert found['hearthnet_request_duration_ms_count{capability="llm.chat"}'] == len(times)


def test_a_call_that_never_ran_has_no_duration():
    metrics = Metrics()
    metrics.count_call("rag.query", "unauthorized", 0.0)
    assert not any("duration" in key for key in samples(metrics))


def test_gauges_are_read_when_asked():
    metrics, size = Metrics(), {}
    metrics.watch("hearthnet_event_log_size", lambda: size)
    assert metrics.render() == ""
    size[("ed25519:x",)] = 7
    assert samples(metrics) == {'hearthnet_event_log_size{community="ed25519:x"}': 7}
    size[("ed25519:x",)] = 2**53 - 1
    assert samples(metrics) == {'hearthnet_event_log_size{community="ed25519:x"}': 2**53 - 1}


@given(st.text(max_size=200))
def test_no_label_can_break_the_format(label):
    metrics = Metrics()
    metrics.count("hearthnet_signature_failures_total", label)
    metrics.count_call(label, "ok", 1.0)
    assert sum(samples(metrics).values()) >= 3


def test_a_flood_of_names_is_counted_under_other():
    metrics = Metrics()
    for number in range(SERIES_MAX + 50):
        metrics.count_call(f"made.up{number}", "ok", 1.0)
    found = samples(metrics)
    assert found['hearthnet_requests_total{capability="other",result="other"}'] == 50
    assert found['hearthnet_request_duration_ms_count{capability="other"}'] == 50
    assert len(found) < SERIES_MAX * 20
