"""The time that embeddings are of: a calendar year, or another window of at most a year that stands wherever a year stands.

Years are plain whole numbers all over the program: keys of a project, names of folders, columns of tables. A :class:`Period` is
one of these numbers, too, so that an agricultural year or a quarter lies beside the calendar years without anything else being
told; its text says its days. See docs/adr/0025-windows-beside-years.md. Knows no satellites and no files.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re
from functools import cached_property

from tessera_core.errors import InputError

# A window's number: the year of its last day, its first day counted from the New Year before that, and its length.
_YEAR, _FIRST = 1_000_000, 1_000
MOST_DAYS = 367
_SIDE = r"(\d{4}-\d{2}(?:-\d{2})?)"
# As it is written, as ISO 8601 has it, and without a space for a command line.
_TEXT = re.compile(rf"{_SIDE}(?: to |/|\.\.|_){_SIDE}")


class Period(int):
    """A window that is no calendar year; equal windows are equal numbers. Ordered by its last day, the longer one last.

    Args:
        start: the first day.
        end: the last day; both included.

    Raises:
        InputError: it ends before it starts, is longer than a year, or is a calendar year (see :func:`period_of`).

    Example:
        >>> season = Period(dt.date(2023, 10, 1), dt.date(2024, 9, 30))
        >>> print(season)
        2023-10 to 2024-09
        >>> sorted([2024, season, 2023])
        [2023, Period('2023-10 to 2024-09'), 2024]
    """

    def __new__(cls, start: dt.date, end: dt.date) -> Period:
        """The number of the window."""
        days = (end - start).days + 1
        if not 1 <= days <= MOST_DAYS:
            raise InputError(f"{start} to {end} is no window of a year at most.")
        if _is_year(start, end):
            raise InputError(f"{start} to {end} is the calendar year {start.year}.")
        first = (start - dt.date(end.year - 1, 1, 1)).days
        return super().__new__(cls, end.year * _YEAR + first * _FIRST + days - 1)

    def __getnewargs__(self) -> tuple[dt.date, dt.date]:  # type: ignore[override]
        return self.start, self.end

    @cached_property
    def start(self) -> dt.date:
        """The first day."""
        year, rest = divmod(int(self), _YEAR)
        return dt.date(year - 1, 1, 1) + dt.timedelta(rest // _FIRST)

    @cached_property
    def end(self) -> dt.date:
        """The last day."""
        return self.start + dt.timedelta(int(self) % _FIRST)

    @property
    def days(self) -> int:
        """How many there are."""
        return int(self) % _FIRST + 1

    @property
    def whole_months(self) -> bool:
        """Whether it begins with a month and ends with one."""
        return self.start.day == 1 and self.end.day == calendar.monthrange(self.end.year, self.end.month)[1]

    def __str__(self) -> str:
        shown = 7 if self.whole_months else 10
        return f"{self.start.isoformat()[:shown]} to {self.end.isoformat()[:shown]}"

    def __repr__(self) -> str:
        return f"Period({str(self)!r})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __lt__(self, other: int) -> bool:
        return _order(self) < _order(other)

    def __le__(self, other: int) -> bool:
        return _order(self) <= _order(other)

    def __gt__(self, other: int) -> bool:
        return _order(self) > _order(other)

    def __ge__(self, other: int) -> bool:
        return _order(self) >= _order(other)


def period_of(start: dt.date, end: dt.date) -> int:
    """The calendar year of the two days, or the window.

    Example:
        >>> period_of(dt.date(2024, 1, 1), dt.date(2024, 12, 31)), period_of(dt.date(2024, 1, 1), dt.date(2024, 3, 31))
        (2024, Period('2024-01 to 2024-03'))
    """
    return start.year if _is_year(start, end) else Period(start, end)


def period(value: int | str) -> int:
    """The year or window that a number or a text stands for; the inverse of ``int`` and of ``str``.

    Raises:
        InputError: it stands for none.

    Example:
        >>> period("2023-10 to 2024-09") == period("2023-10/2024-09") == period("2023-10-01..2024-09-30")
        True
        >>> period("2024"), period(2024)
        (2024, 2024)
    """
    if isinstance(value, Period):
        return value
    wrong = InputError(f"{value!r} is no year and no window; write 2024, or 2023-10 to 2024-09.")
    if isinstance(value, int):
        if value < _YEAR:
            return value
        year, rest = divmod(value, _YEAR)
        try:
            start = dt.date(year - 1, 1, 1) + dt.timedelta(rest // _FIRST)
            found = period_of(start, start + dt.timedelta(rest % _FIRST))
        except (ValueError, OverflowError) as error:
            raise wrong from error
        return found
    text = value.strip()
    if re.fullmatch(r"\d{4}", text):
        return int(text)
    match = _TEXT.fullmatch(text)
    if match is None:
        raise wrong
    try:
        return period_of(_day(match[1], first=True), _day(match[2], first=False))
    except ValueError as error:
        raise wrong from error


def is_period(text: str) -> bool:
    """Whether a text names a window, as a folder may.

    Example:
        >>> is_period("2023-10 to 2024-09"), is_period("2024")
        (True, False)
    """
    try:
        return isinstance(period(text), Period)
    except InputError:
        return False


def written(year: int | None) -> int | str | None:
    """A year or window for JSON: the number of a calendar year, the text of a window; :func:`period` reads both."""
    return str(year) if isinstance(year, Period) else year


def calendar_year(year: int) -> int:
    """The calendar year in which most of it lies.

    Example:
        >>> calendar_year(period("2023-10 to 2024-09")), calendar_year(2024)
        (2024, 2024)
    """
    if not isinstance(year, Period):
        return year
    return (year.start + (year.end - year.start) / 2).year


def days_of(year: int) -> tuple[dt.date, dt.date]:
    """The first and the last day of a year or window."""
    return (year.start, year.end) if isinstance(year, Period) else (dt.date(year, 1, 1), dt.date(year, 12, 31))


def day_in(year: int, day: int) -> dt.date:
    """The date of a day of the year, 1..366, in a year or window; of a day outside a window that of the year it ends in.

    Example:
        >>> day_in(period("2023-10/2024-09"), 300), day_in(period("2023-10/2024-09"), 10), day_in(2023, 1)
        (datetime.date(2023, 10, 27), datetime.date(2024, 1, 10), datetime.date(2023, 1, 1))
    """
    start, end = days_of(year)
    dates = [dt.date(one, 1, 1) + dt.timedelta(day - 1) for one in (end.year, start.year)]
    return next((date for date in dates if start <= date <= end), dates[0])


def other_months(first: int | None, second: int | None) -> bool:
    """Whether two years or windows are not of the same part of the year, so that what differs may be the season.

    Example:
        >>> other_months(2023, 2024), other_months(2024, period("2024-04/2024-06"))
        (False, True)
        >>> other_months(period("2022-10/2023-09"), period("2023-10/2024-09"))
        False
    """
    if first is None or second is None:
        return False
    (start, end), (other, last) = days_of(first), days_of(second)
    # The last of February is a day later in leap years.
    ends = abs(end.replace(year=2001, day=min(end.day, 28)) - last.replace(year=2001, day=min(last.day, 28))).days
    return (start.month, start.day) != (other.month, other.day) or ends > 0


def _is_year(start: dt.date, end: dt.date) -> bool:
    return start.year == end.year and (start.month, start.day, end.month, end.day) == (1, 1, 12, 31)


def _day(text: str, *, first: bool) -> dt.date:
    if len(text) == 10:
        return dt.date.fromisoformat(text)
    year, month = int(text[:4]), int(text[5:])
    return dt.date(year, month, 1 if first else calendar.monthrange(year, month)[1])


def _order(year: int) -> tuple[int, int]:
    if isinstance(year, Period):
        return year.end.toordinal(), year.days
    # What is no year (a number of something else) is only asked for its place beside windows.
    if not 1 <= year <= 9999:
        return (0 if year < 1 else 1 << 31), 0
    return dt.date(year, 12, 31).toordinal(), 366
