"""Logs: JSON lines in one file per UTC day, plain lines on stderr, nothing unsanitised in either (X03).

Modules write with `logging.getLogger(__name__)`; fields go into `extra={...}`. Every message and field passes
`sanitise`, so text from the wire can forge neither lines nor colours.
"""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, date, datetime, timedelta
from typing import IO, TYPE_CHECKING, Final

import msgspec

from hearthnet.base.constants import LOG_RETENTION_DAYS

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE_MAX_CHARS: Final = 2000
FIELD_MAX_CHARS: Final = 500
_EXCEPTION_MAX_CHARS = 8000
_FIELDS_MAX = 20

_ANSI = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC: window title, links
    r"|\x1b[ -/]*[0-~]?"  # the rest of ECMA-48
)
_BREAKS = re.compile(r"[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
# other control characters, bidirectional controls, zero-width marks that hide text, lone surrogates
_INVISIBLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_DAY_FILE = re.compile(r"^\d{4}-\d\d-\d\d\.log$")
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def sanitise(text: object, cap: int = FIELD_MAX_CHARS) -> str:
    """One harmless line of at most `cap` characters: no control, ANSI or bidirectional characters.

    Line breaks and tabs become a space; a cut is marked with an ellipsis, which counts.
    """
    raw = str(text)
    head = raw[: 8 * cap + 64]  # what is cut anyway need not be cleaned; eight times leaves room for what vanishes
    clean = _INVISIBLE.sub("", _BREAKS.sub(" ", _ANSI.sub("", head)))
    if len(clean) <= cap and len(head) == len(raw):
        return clean
    return clean[: max(0, cap - 1)] + "…"[:cap]


def start_logging(level: str, folder: Path | None, *, stderr: IO[str] | None = None) -> LogHandlers:
    """Send all records of `level` and above to day files in `folder` (None = no files) and to stderr."""
    handlers: list[logging.Handler] = [_Console(stderr or sys.stderr)]
    if folder is not None:
        handlers.append(DayFiles(folder))
    root = logging.getLogger()
    for handler in handlers:
        root.addHandler(handler)
    before = root.level
    root.setLevel(level.upper())
    return LogHandlers(handlers, before)


class LogHandlers:
    """What `start_logging` installed; `close` takes it away again."""

    def __init__(self, handlers: list[logging.Handler], level_before: int) -> None:
        self._handlers = handlers
        self._level_before = level_before

    def close(self) -> None:
        """Remove and close the handlers; idempotent."""
        root = logging.getLogger()
        for handler in self._handlers:
            root.removeHandler(handler)
            handler.close()
        if self._handlers:
            root.setLevel(self._level_before)
        self._handlers = []


class DayFiles(logging.Handler):
    """Appends to `<folder>/<date>.log`; a new file at UTC midnight, old ones go after 14 days.

    A full disk loses lines, never the node: the next line that can be written says how many.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._day: date | None = None
        self._file: IO[bytes] | None = None
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one JSON line."""
        line = _json_line(record, self._lost)
        try:
            self._file_for(datetime.fromtimestamp(record.created, UTC).date()).write(line)
            self._lost = 0
        except OSError:
            self._lost += 1
            self._drop_file()

    def close(self) -> None:
        """Close the file of the day."""
        self.acquire()
        self._drop_file()
        self.release()
        super().close()

    def _file_for(self, day: date) -> IO[bytes]:
        if self._file is None or day != self._day:
            self._drop_file()
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = (self._folder / f"{day.isoformat()}.log").open("ab", buffering=0)
            self._day = day
            self._remove_before(day - timedelta(days=LOG_RETENTION_DAYS))
        return self._file

    def _drop_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _remove_before(self, oldest: date) -> None:
        for path in self._folder.iterdir():
            if _DAY_FILE.match(path.name) and path.stem < oldest.isoformat():
                path.unlink(missing_ok=True)


class _Console(logging.StreamHandler[IO[str]]):
    """Plain lines for people."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={value}" for key, value in _fields(record).items())
        when = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        line = (
            f"{when} {record.levelname.lower():7} {record.name.removeprefix('hearthnet.')}: {_message(record)}{fields}"
        )
        trace = _exception_lines(record)
        return "\n".join([line, *(f"    {part}" for part in trace)])


def _json_line(record: logging.LogRecord, lost: int) -> bytes:
    entry: dict[str, object] = {
        "ts": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "msg": _message(record),
    }
    for key, value in _fields(record).items():
        entry.setdefault(key, value)
    if trace := _exception_lines(record):
        entry["exception"] = trace
    if lost:
        entry["lines_lost"] = lost
    return msgspec.json.encode(entry) + b"\n"


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except (TypeError, ValueError):  # the call site's arguments do not fit its text; both are still worth keeping
        text = f"{record.msg} {record.args}"
    return sanitise(text, MESSAGE_MAX_CHARS)


def _fields(record: logging.LogRecord) -> dict[str, str | int | float]:
    extra = [key for key in vars(record) if key not in _STANDARD_FIELDS][:_FIELDS_MAX]
    return {sanitise(key, 40): _field(getattr(record, key)) for key in extra}


def _field(value: object) -> str | int | float:
    if isinstance(value, bool | int):
        return value
    return float(value) if isinstance(value, float) else sanitise(value)  # float(): numpy's are subclasses


def _exception_lines(record: logging.LogRecord) -> list[str]:
    if not record.exc_info:
        return []
    text = logging.Formatter().formatException(record.exc_info)[-_EXCEPTION_MAX_CHARS:]
    return [sanitise(line) for line in text.splitlines()]
