"""Logs: nothing from the wire can forge a line, files turn at UTC midnight, a full disk loses lines only (X03)."""

import io
import json
import logging
import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hearthnet.base.log import DayFiles, sanitise, start_logging

MIDNIGHT = 1_700_006_400.0  # 2023-11-15T00:00:00Z


@pytest.fixture
def written(tmp_path):
    """Start logging into a folder; yields a function that returns the parsed lines of all day files."""
    console = io.StringIO()
    handlers = start_logging("info", tmp_path, stderr=console)

    def lines():
        return [json.loads(line) for path in sorted(tmp_path.glob("*.log")) for line in path.read_text().splitlines()]

    lines.console = console
    yield lines
    handlers.close()


def record_at(created: float, text: str = "tick") -> logging.LogRecord:
    record = logging.LogRecord("hearthnet.test", logging.INFO, __file__, 1, text, None, None)
    record.created = created
    return record


# ---- sanitise ------------------------------------------------------------------------------------------------


@given(st.text(), st.integers(0, 60))
@example("\x1b\x1b[31m[31mred", 60)
@example("a\u202eevil\u2066\u200b", 60)
@example("\x9d" * 500, 60)
def test_sanitised_text_is_one_short_harmless_line(text, cap):
    clean = sanitise(text, cap)
    assert len(clean) <= cap
    assert len(clean.splitlines()) <= 1
    assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in clean)
    assert not any(
        unicodedata.bidirectional(char) in ("LRO", "RLO", "LRE", "RLE", "PDF", "LRI", "RLI", "FSI", "PDI")
        for char in clean
    )
    assert sanitise(clean, cap) == clean


@given(st.binary(max_size=300))
def test_any_bytes_make_a_line_that_utf8_can_hold(data):
    for text in (data.decode("utf-8", "surrogateescape"), data):
        assert len(sanitise(text, 100).encode()) <= 400


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Wasser abkochen: 3 Minuten", "Wasser abkochen: 3 Minuten"),
        ("two\nlines\r\n\tindented", "two lines indented"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;http://evil\x07click\x1b]8;;\x07", "click"),
        ("\x9b2Jgone\x1bc", "gone"),
        ("abc\u202etxt.exe", "abctxt.exe"),
        ("👨‍👩‍👧 family", "👨‍👩‍👧 family"),
    ],
)
def test_sanitise_keeps_the_words_and_drops_the_tricks(text, clean):
    assert sanitise(text) == clean


def test_a_cut_is_visible():
    assert sanitise("x" * 100, 10) == "x" * 9 + "…"
    assert sanitise("\x00" * 10_000 + "tail", 10) == "…"


# ---- records -------------------------------------------------------------------------------------------------


def test_a_record_becomes_one_json_line_and_one_plain_line(written):
    logging.getLogger("hearthnet.mesh.bus").warning(
        "slow %s", "call\x1b[31m\nforged", extra={"ms": 1200.5, "capability": "rag\u202e.query"}
    )
    (line,) = written()
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "hearthnet.mesh.bus",
        "msg": "slow call forged",
        "ms": 1200.5,
        "capability": "rag.query",
    }
    assert written.console.getvalue().endswith("warning mesh.bus: slow call forged ms=1200.5 capability=rag.query\n")
    assert written.console.getvalue().count("\n") == 1


def test_fields_cannot_overwrite_the_record(written):
    logging.getLogger("hearthnet.x").info("real", extra={"level": "forged", "ok": True})
    (line,) = written()
    assert (line["level"], line["ok"]) == ("info", True)


def test_records_below_the_level_are_not_written(written):
    logging.getLogger("hearthnet.x").debug("noise")
    assert written() == []


def test_a_call_whose_arguments_do_not_fit_is_still_logged(tmp_path):
    files = DayFiles(tmp_path)
    files.handle(logging.LogRecord("hearthnet.x", logging.ERROR, __file__, 1, "%d of %d", ("one",), None))
    files.close()
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_text())["msg"] == "%d of %d ('one',)"


def test_an_exception_is_kept_line_by_line(written):
    def fail():
        raise ValueError("bad\x1b[31m")

    try:
        fail()
    except ValueError:
        logging.getLogger("hearthnet.x").exception("failed")
    (line,) = written()
    assert line["exception"][-1] == "ValueError: bad"
    assert "    ValueError: bad\n" in written.console.getvalue()


def test_closing_restores_the_root_logger(tmp_path):
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    handlers = start_logging("error", None)
    assert root.level == logging.ERROR
    assert root.handlers[-1].stream is sys.stderr
    handlers.close()
    handlers.close()
    assert (list(root.handlers), root.level) == before


# ---- files ---------------------------------------------------------------------------------------------------


def test_a_new_file_begins_at_utc_midnight_and_old_ones_go(tmp_path):
    for name in ("2023-10-31.log", "2023-11-01.log", "2023-10-01.log", "notes.txt", "2023-10-01.log.gz"):
        (tmp_path / name).touch()
    files = DayFiles(tmp_path)
    files.emit(record_at(MIDNIGHT - 0.5, "before"))
    files.emit(record_at(MIDNIGHT, "after"))
    files.emit(record_at(MIDNIGHT + 1, "more"))
    files.close()
    assert {path.name for path in tmp_path.iterdir()} == {
        "2023-11-01.log", "2023-11-14.log", "2023-11-15.log", "notes.txt", "2023-10-01.log.gz",
    }  # fmt: skip
    assert len((tmp_path / "2023-11-15.log").read_text().splitlines()) == 2


def test_a_disk_that_refuses_loses_lines_but_says_so_later(tmp_path):
    blocked = tmp_path / "log"
    blocked.touch()  # a file where the folder should be
    files = DayFiles(blocked)
    files.emit(record_at(MIDNIGHT, "lost"))
    files.emit(record_at(MIDNIGHT, "lost too"))
    blocked.unlink()
    files.emit(record_at(MIDNIGHT, "back"))
    files.emit(record_at(MIDNIGHT, "normal"))
    files.close()
    back, normal = map(json.loads, (blocked / "2023-11-15.log").read_text().splitlines())
    assert (back["msg"], back["lines_lost"]) == ("back", 2)
    assert "lines_lost" not in normal
