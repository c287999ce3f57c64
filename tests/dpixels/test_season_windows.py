"""Windows by name: whole months, the right half of the year on each side of the equator, and a sentence where there is none."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_core.cli import main
from tessera_core.dpixels.acquire.presets import SEASONS, SUBTROPICS, TWO_RAINS, season_window
from tessera_core.errors import InputError

TODAY = dt.date(2026, 3, 17)


@pytest.mark.parametrize(
    ("season", "latitude", "start", "end"),
    [
        ("agricultural", 52.0, "2023-10-01", "2024-09-30"),
        ("agricultural", -33.0, "2023-07-01", "2024-06-30"),
        ("agricultural", 10.0, "2024-01-01", "2024-12-31"),
        ("wet", 12.0, "2024-05-01", "2024-10-31"),
        ("dry", 12.0, "2023-11-01", "2024-04-30"),
        ("wet", -15.0, "2023-11-01", "2024-04-30"),
        ("dry", -15.0, "2024-05-01", "2024-10-31"),
        ("q1", 0.0, "2024-01-01", "2024-03-31"),
        ("q4", 70.0, "2024-10-01", "2024-12-31"),
    ],
)
def test_a_season_is_where_it_belongs(season: str, latitude: float, start: str, end: str) -> None:
    found = season_window(season, 2024, latitude).window  # type: ignore[arg-type]
    assert (str(found.start), str(found.end)) == (start, end)


def test_the_last_twelve_months_are_whole_ones() -> None:
    assert season_window("last12", None, 0.0, TODAY).window.interval() == "2025-03-01T00:00:00Z/2026-02-28T23:59:59Z"
    january = season_window("last12", None, 0.0, dt.date(2026, 1, 1)).window
    assert (january.start, january.end) == (dt.date(2025, 1, 1), dt.date(2025, 12, 31))
    assert january.year == 2025


def test_fewer_months_are_said_to_cost_something_and_a_year_is_not() -> None:
    assert "not comparable" in season_window("q2", 2024, 50.0).sentence
    assert "not comparable" not in season_window("agricultural", 2024, 50.0).sentence


@given(st.sampled_from(SEASONS), st.integers(2018, 2025), st.floats(-80, 80))
def test_a_window_is_whole_months_of_at_most_a_year_or_told_not_to_be(season: str, year: int, latitude: float) -> None:
    if season in ("wet", "dry") and not TWO_RAINS <= abs(latitude) <= SUBTROPICS:
        with pytest.raises(InputError, match="give --start and --end"):
            season_window(season, year, latitude, TODAY)  # type: ignore[arg-type]
        return
    found = season_window(season, year, latitude, TODAY).window  # type: ignore[arg-type]
    assert found.start.day == 1
    assert (found.end + dt.timedelta(1)).day == 1
    assert 89 <= (found.end - found.start).days <= 366


def test_wet_and_dry_make_a_year_without_a_gap() -> None:
    wet, dry = (season_window(name, 2024, 12.0).window for name in ("wet", "dry"))  # type: ignore[arg-type]
    assert dry.end + dt.timedelta(1) == wet.start


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("--season wet --year 2023 --bbox 0,51,0.01,51.01", "not wet and dry"),
        ("--season q1 --bbox 0,51,0.01,51.01", "of which year"),
        ("--season q1 --year 2023 --start 2023-01-01 --bbox 0,51,0.01,51.01", "chooses the days itself"),
        ("--season last12 --year 2023 --bbox 0,51,0.01,51.01", "leave away --year"),
        ("--bbox 0,51,0.01,51.01", "Say when"),
    ],
)
def test_the_command_tells_what_makes_no_sense(args: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acquire", *args.split(), "--out", "nowhere"]) == 2
    assert words in capsys.readouterr().err
