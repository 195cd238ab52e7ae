"""Times on the wire: RFC 3339, UTC with `Z`, whole seconds, one spelling each (contract "Time")."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NewType

from hearthnet.base.errors import BadRequest

Timestamp = NewType("Timestamp", str)

TIMESTAMP_PATTERN: Final = r"^\d{4}-\d\d-\d\dT([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ$"
_TIMESTAMP = re.compile(TIMESTAMP_PATTERN[:-1], re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_MIN = -62_135_596_800  # year 1
_SECONDS_MAX = 253_402_300_799  # year 9999


def format_time(seconds: float) -> Timestamp:
    """The second that `seconds` since 1970 lies in; a clock beyond the years 1 to 9999 is held at their ends."""
    return _format_whole(int(min(max(_SECONDS_MIN, seconds), _SECONDS_MAX) // 1))


def parse_time(text: str) -> int:
    """Seconds since 1970; raises BadRequest for any other spelling and for days that do not exist."""
    if not _TIMESTAMP.fullmatch(text):
        raise BadRequest("not a time", fix="write it like 2026-01-31T08:15:00Z")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRequest(f"no such time: {error}", fix="write it like 2026-01-31T08:15:00Z") from error
    return int((moment - _EPOCH).total_seconds())


def refuse_no_day(text: str) -> None:
    """Raise BadRequest unless the day of a time that fits TIMESTAMP_PATTERN exists."""
    _check_day(text[:10])


@lru_cache(maxsize=1024)
def _check_day(day: str) -> None:
    parse_time(f"{day}T00:00:00Z")


@lru_cache(maxsize=64)  # many things happen in one second
def _format_whole(seconds: int) -> Timestamp:
    moment = _EPOCH + timedelta(seconds=seconds)
    return Timestamp(moment.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0"))
