"""Windows that are no calendar year stand wherever a year stands: as numbers, texts, names of folders, and in order."""

import copy
import datetime as dt
import json
import pickle

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tessera_core.errors import InputError
from tessera_core.language import t, using
from tessera_core.periods import Period, calendar_year, days_of, is_period, period, period_of, written
from tessera_core.provenance import Provenance

DAYS = st.dates(dt.date(1990, 1, 1), dt.date(2099, 12, 31))
WINDOWS = st.builds(lambda start, more: period_of(start, start + dt.timedelta(more)), DAYS, st.integers(0, 366))


@given(WINDOWS)
@settings(deadline=None)
def test_a_window_survives_every_way_it_is_kept(year):
    assert period(str(year)) == period(int(year)) == period(written(year)) == year
    assert repr(pickle.loads(pickle.dumps(year))) == repr(copy.deepcopy(year)) == repr(year)
    assert str(period(json.loads(json.dumps(year)))) == str(year)
    made = Provenance(year=year, details={"tile": "a"})
    read = Provenance.from_json(json.loads(json.dumps(made.to_json())))
    assert read == made
    assert str(read.year) == str(year)
    assert not set(str(year)) & set('\\/:*?"<>|')
    assert int(year) < 1 << 31


@given(WINDOWS, WINDOWS)
@settings(deadline=None)
def test_windows_and_years_stand_in_the_order_of_their_last_days(first, second):
    assume(first != second)
    keys = [(days_of(one)[1], days_of(one)[1] - days_of(one)[0]) for one in (first, second)]
    assert (first < second) == (keys[0] < keys[1]) == (second > first)
    assert sorted([first, second]) == sorted([second, first])
    assert len({first, second}) == 2


def test_a_calendar_year_is_a_plain_number():
    assert type(period("2024-01 to 2024-12")) is int
    assert type(period_of(dt.date(2024, 1, 1), dt.date(2024, 12, 31))) is int
    assert max([period("2024-10/2024-12"), 2024, 2023]) == 2024
    assert calendar_year(period("2023-10..2024-09")) == 2024
    assert calendar_year(period("2023-10/2023-12")) == 2023
    with pytest.raises(InputError, match="calendar year 2024"):
        Period(dt.date(2024, 1, 1), dt.date(2024, 12, 31))


@pytest.mark.parametrize(
    "text", ["", "24", "2024-13/2025-01", "2024-09/2023-10", "2022-01/2024-01", "2024-1/2024-3", "x"]
)
def test_what_is_no_window_is_refused_with_what_to_write(text):
    assert not is_period(text)
    with pytest.raises(InputError):
        period(text)
    with pytest.raises(InputError, match="write 2024"):
        period(999_999_999_999)


def test_people_read_months():
    season = period("2023-10/2024-09")
    assert t("{year}", year=season) == "Oct 2023 – Sep 2024"
    assert t("{year}", year=period("2024-07/2024-09")) == "Jul–Sep 2024"
    assert t("{year}", year=period("2024-03-15/2024-04-02")) == "15 Mar – 2 Apr 2024"
    with using("qps"):
        assert t("{year}", year=season) != "Oct 2023 – Sep 2024"
    assert Provenance(year=season).tags()["tessera_year"] == "2023-10 to 2024-09"
    assert Provenance.from_json({"details": {"window": ["2024-01-01", "2024-12-31"]}}).year is None


@pytest.mark.parametrize("window", [None, 3, ["a", "b"], ["2024-01-01"], ["2020-01-01", "2024-01-01"], [1, 2]])
def test_a_damaged_window_in_a_file_is_kept_and_no_year(window):
    read = Provenance.from_json({"year": None, "details": {"window": window}})
    assert read.year is None
    assert read.details["window"] == window
