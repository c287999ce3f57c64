"""Windows other than the calendar year by name: an agricultural year, a rainy or a dry season, a quarter, the last twelve months.

A season's dates follow from the latitude alone, which is a rule of thumb: it knows neither mountains nor monsoons, so every window
is told with its dates. Whoever knows the place gives dates of their own. Knows no network.
"""

from __future__ import annotations

import calendar
import datetime as dt
from dataclasses import dataclass
from typing import Literal, get_args

from tessera_core.dpixels.acquire.catalogue import Window
from tessera_core.dpixels.acquire.fewer_months import WHOLE_DAYS, lost
from tessera_core.errors import InputError
from tessera_core.language import later

Season = Literal["agricultural", "wet", "dry", "q1", "q2", "q3", "q4", "last12"]
SEASONS: tuple[Season, ...] = get_args(Season)
_QUARTERS = (
    later("the first quarter of the year"),
    later("the second quarter of the year"),
    later("the third quarter of the year"),
    later("the last quarter of the year"),
)
# Whether wet, and whether north of the equator.
_RAINS = {
    (True, True): later("the usual rains north of the equator"),
    (True, False): later("the usual rains south of the equator"),
    (False, True): later("the usual dry months north of the equator"),
    (False, False): later("the usual dry months south of the equator"),
}
TROPIC = 23.44
# Nearer to the equator it rains twice a year; farther than this from it, seasons are warm and cold rather than wet and dry.
TWO_RAINS, SUBTROPICS = 5.0, 30.0


@dataclass(frozen=True)
class NamedWindow:
    """A window with what is to be said of it.

    Attributes:
        window: the days.
        reason: why these, for people.
        latitude: of the region's middle, degrees; south is negative.
    """

    window: Window
    reason: str
    latitude: float

    @property
    def sentence(self) -> str:
        """The dates, why, and what is lost with fewer months than the encoders were trained on."""
        return " ".join(self.sentences)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The dates and why, then what is lost."""
        told = f"From {self.window.start} to {self.window.end}: {self.reason}."
        return told, *cost_of(self.window, self.latitude)


def cost_of(window: Window, latitude: float) -> tuple[str, ...]:
    """What fewer days than a year cost, in sentences for people; none for about a year.

    Args:
        window: the days.
        latitude: of the region's middle, degrees; south is negative.
    """
    days = (window.end - window.start).days + 1
    if days >= WHOLE_DAYS:
        return ()
    return (
        f"That is {days} days; the encoders were trained on whole years, so embeddings of it are not comparable with "
        "those of a year, and what tells classes apart by the rest of the year is lost.",
        lost(window, latitude),
    )


def seasons_at(latitude: float) -> tuple[Season, ...]:
    """The seasons that exist at a latitude, those of a year given by its number (all but ``"last12"``).

    Example:
        >>> seasons_at(52.0)[:3], seasons_at(12.0)[:3]
        (('agricultural', 'q1', 'q2'), ('wet', 'dry', 'q1'))
    """
    two = TWO_RAINS <= abs(latitude) <= SUBTROPICS
    own: tuple[Season, ...] = ("agricultural",) if abs(latitude) > TROPIC else ()
    return (*own, *(("wet", "dry") if two else ()), "q1", "q2", "q3", "q4")


def season_window(season: Season, year: int | None, latitude: float, today: dt.date | None = None) -> NamedWindow:
    """The window of a season.

    Args:
        season: its name; ``"last12"`` needs no year.
        year: in which it ends (an agricultural year is named after its harvest).
        latitude: of the region's middle, degrees; south is negative.
        today: for ``"last12"``; None for the real one.

    Raises:
        InputError: the season does not exist at that latitude, has not been yet, or the year is missing.

    Example:
        >>> season_window("agricultural", 2024, 52.0).window
        Window(start=datetime.date(2023, 10, 1), end=datetime.date(2024, 9, 30))
    """
    if season == "last12":
        end = (today or dt.date.today()).replace(day=1) - dt.timedelta(1)
        start = end.replace(year=end.year - 1, day=1)
        start = _first(start.year + start.month // 12, start.month % 12 + 1)
        return NamedWindow(Window(start, end), later("the last twelve whole months"), latitude)
    if year is None:
        raise InputError(f"Say of which year the season {season} is, such as --year 2024.")
    if season in ("q1", "q2", "q3", "q4"):
        first = 3 * int(season[1]) - 2
        return NamedWindow(_months(year, first, 3), _QUARTERS[int(season[1]) - 1], latitude)
    if season == "agricultural":
        if abs(latitude) <= TROPIC:
            return NamedWindow(
                Window.of_year(year),
                later("between the tropics fields are sown in any month, so the calendar year"),
                latitude,
            )
        if latitude > 0:
            return NamedWindow(
                _months(year - 1, 10, 12), later("from sowing in autumn to harvest, north of the tropics"), latitude
            )
        return NamedWindow(
            _months(year - 1, 7, 12), later("from sowing in spring to harvest, south of the tropics"), latitude
        )
    if season not in ("wet", "dry"):
        raise InputError(f"There is no season {season!r}; there are {', '.join(SEASONS)}.")
    if abs(latitude) < TWO_RAINS:
        raise InputError(
            "Near the equator it rains twice a year, in months that differ from place to place: give --start and --end."
        )
    if abs(latitude) > SUBTROPICS:
        raise InputError(
            f"At {abs(latitude):.0f} degrees of latitude years are not wet and dry: give --start and --end, or a quarter."
        )
    # The sun is high from May to October in the north, and it rains under it.
    summer = (season == "wet") == (latitude > 0)
    window = _months(year, 5, 6) if summer else _months(year - 1, 11, 6)
    return NamedWindow(window, _RAINS[season == "wet", latitude > 0], latitude)


def _first(year: int, month: int) -> dt.date:
    return dt.date(year, month, 1)


def _months(year: int, first: int, count: int) -> Window:
    """So many whole months."""
    months = year * 12 + first - 1 + count - 1
    last_year, last_month = divmod(months, 12)
    last_day = calendar.monthrange(last_year, last_month + 1)[1]
    return Window(_first(year, first), dt.date(last_year, last_month + 1, last_day))
