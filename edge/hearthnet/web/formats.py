"""Numbers, sizes, times and dates as people of a language write them (ux.md 2.6)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hearthnet.web.i18n import Texts

_THIN: Final = "\u202f"  # narrow no-break space before units
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


class Formats:
    """Formatting in one language; months and the word for today come from the locale."""

    def __init__(self, texts: Texts, now: float) -> None:
        self._texts = texts
        self._now = now
        self._german = texts.language == "de"

    def number(self, value: float, digits: int = 0) -> str:
        """`1234.5` as `1 234,5` (de) or `1,234.5` (en)."""
        text = f"{value:,.{digits}f}"
        return text.replace(",", _THIN).replace(".", ",") if self._german else text

    def size(self, count: float) -> str:
        """Bytes in the unit that leaves one to three digits: `1,2 GB`."""
        unit = 0
        while count >= 999.5 and unit < len(_UNITS) - 1:
            count /= 1000
            unit += 1
        return f"{self.number(count, 1 if unit and count < 9.95 else 0)}{_THIN}{_UNITS[unit]}"

    def seconds(self, milliseconds: float) -> str:
        """A duration: `0,4 s`."""
        return f"{self.number(milliseconds / 1000, 1)}{_THIN}s"

    def span(self, seconds: float) -> str:
        """A long duration in its largest unit: `3 days`."""
        for key, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
            if seconds >= length:
                return self._texts(f"span.{key}", n=int(seconds // length))
        return self._texts("span.seconds", n=int(seconds))

    def clock(self, moment: float) -> str:
        """Local time of day: `21:14:02`."""
        return _local(moment).strftime("%H:%M:%S")

    def when(self, moment: float) -> str:
        """`21:14` today, else the date."""
        then = _local(moment)
        if then.date() == _local(self._now).date():
            return then.strftime("%H:%M")
        return self.date(then.year, then.month, then.day)

    def month(self, text: str) -> str:
        """`2026-11` as `November 2026`; anything else unchanged."""
        year, _, month = text.partition("-")
        if not (len(year) == 4 and year.isdigit() and month.isdigit() and 1 <= int(month) <= 12):
            return text
        return f"{self._texts(f'month.{int(month)}')} {year}"

    def date(self, year: int, month: int, day: int) -> str:
        """`21. November 2026` or `21 November 2026`."""
        return f"{day}{'.' if self._german else ''} {self._texts(f'month.{month}')} {year}"


def _local(moment: float) -> datetime:
    return datetime.fromtimestamp(moment).astimezone()
