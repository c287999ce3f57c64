"""What maps lose when embeddings are made of fewer months: figures that ``tessera study year`` measured, and a sentence of them.

Source: docs/pretraining.md, "What a sensor year can lose": class means with ten labels a class, embeddings of studio-nano, a
simulated world of central Europe and labelled pixels of Arkansas and California. Points of macro F1 of 100, against the whole
year. Knows no network.
"""

from __future__ import annotations

from tessera_core.dpixels.acquire.catalogue import Window
from tessera_core.language import later

# First month and last month, of January 1 to December 12 -> what they are called, and points lost (negative) or won in a simulated
# landscape of central Europe, on fields in Arkansas and on fields in California.
MEASURED: dict[tuple[int, int], tuple[str, float, float, float]] = {
    (1, 9): (later("January to September"), -4.8, -0.2, 1.3),
    (4, 12): (later("April to December"), -1.1, 0.3, 1.8),
    (1, 6): (later("January to June"), -10.9, -22.5, -2.2),
    (4, 9): (later("April to September"), -5.9, 0.0, 2.6),
    (7, 12): (later("July to December"), -6.7, -1.1, -2.5),
    (1, 3): (later("January to March"), -39.2, -50.0, -21.2),
    (4, 6): (later("April to June"), -11.7, -23.6, 2.5),
    (7, 9): (later("July to September"), -15.0, -4.2, 0.5),
    (10, 12): (later("October to December"), -20.3, -31.1, -7.1),
}
# So much of the months must be shared with what was measured; else figures of that length of time are told.
_LIKE = 0.7
_TROPIC = 23.44
WHOLE_DAYS = 350


def months_of(window: Window) -> frozenset[int]:
    """The months of the year, 1..12, of which the window has at least half.

    Example:
        >>> import datetime as dt
        >>> sorted(months_of(Window(dt.date(2023, 11, 10), dt.date(2024, 1, 31))))
        [1, 11, 12]
    """
    import calendar
    import datetime as dt

    days: dict[int, int] = {}
    for number in range(window.start.toordinal(), window.end.toordinal() + 1):
        month = dt.date.fromordinal(number).month
        days[month] = days.get(month, 0) + 1
    return frozenset(month for month, count in days.items() if count >= calendar.monthrange(2001, month)[1] / 2)


def lost(window: Window, latitude: float) -> str:
    """What maps from the window lose, as far as it was measured, for people; empty for about a year.

    Args:
        window: the days.
        latitude: of the region's middle, degrees; south is negative, where the year is turned by six months.

    Example:
        >>> import datetime as dt
        >>> lost(Window(dt.date(2024, 1, 1), dt.date(2024, 3, 31)), 50.0)[:45]
        'Measured with January to March instead of the'
    """
    if (window.end - window.start).days + 1 >= WHOLE_DAYS:
        return ""
    if abs(latitude) < _TROPIC:
        return "What fewer months cost between the tropics was not measured."
    months = months_of(window)
    north = months if latitude > 0 else frozenset((month + 5) % 12 + 1 for month in months)
    nearest = max(MEASURED, key=lambda known: _like(north, known))
    if _like(north, nearest) >= _LIKE:
        return _measured(nearest, latitude)
    length = min((3, 6, 9), key=lambda count: (abs(count - len(months)), count))
    figures = [value for (a, b), (_, *all_) in MEASURED.items() if b - a + 1 == length for value in all_]
    return (
        f"Measured with {length} months instead of the whole year, ten labels a class, in points of 100 (macro F1): from "
        f"{_points(max(figures))} to {_points(min(figures))}, by the months; the time when things grow counts most."
    )


def _measured(known: tuple[int, int], latitude: float) -> str:
    months, simulated, arkansas, california = MEASURED[known]
    if latitude > 0:
        return (
            f"Measured with {months} instead of the whole year, ten labels a class, in points of 100 (macro F1): "
            f"{_points(simulated)} in a simulated landscape of central Europe, {_points(arkansas)} on fields in Arkansas, "
            f"{_points(california)} on fields in California."
        )
    return (
        f"Measured in the north with {months}, half a year from here, instead of the whole year, ten labels a class, in points of "
        f"100 (macro F1): {_points(simulated)} in a simulated landscape of central Europe, {_points(arkansas)} on fields in "
        f"Arkansas, {_points(california)} on fields in California."
    )


def _points(value: float) -> str:
    """A gain or a loss for people.

    >>> _points(-4.2), _points(0.3), _points(2.6)
    ('−4', '0', '+3')
    """
    count = round(abs(value))
    return f"{'−' if value < 0 else '+'}{count}" if count else "0"


def _like(months: frozenset[int], known: tuple[int, int]) -> float:
    other = set(range(known[0], known[1] + 1))
    return len(months & other) / len(months | other) if months else 0.0
