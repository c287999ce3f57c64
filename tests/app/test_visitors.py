"""A class on one server: scripted visitors who open the demo in the same moment and label while their maps are scored."""

from __future__ import annotations

from typing import Any

import pytest

from tessera_core.bench.visitors import measure


def nothing_mixed_lost_or_stale(row: dict[str, Any], visitors: int) -> None:
    assert row["problems"] == []
    assert row["distinct_projects"] == [visitors] * len(row["distinct_projects"])
    assert row["mixed_labels"] == 0
    assert row["lost_clicks"] == row["doubled_clicks"] == row["unknown_labels"] == 0
    assert row["used_names"] == 0
    assert row["wrong_pictures"] == 0
    assert row["pictures_checked"] >= visitors
    assert row["clicks"] >= 2 * visitors
    assert row["visitors_with_last_score"] == visitors
    # A crew for all, not a thread for each.
    assert row["threads_most"] <= row["threads_before"] + visitors + 12


@pytest.mark.soak
def test_six_visitors_at_once_each_have_their_own_map_and_score() -> None:
    (row,) = measure([6], 6.0, rounds=0, size=96, left=0)["rows"]
    nothing_mixed_lost_or_stale(row, 6)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_thirty_visitors_five_times_over() -> None:
    (row,) = measure([30], 40.0, rounds=5, size=128)["rows"]
    nothing_mixed_lost_or_stale(row, 30)
    # What people leave is put away: less than a megabyte each remains.
    assert row["left_mb"] < row["before_mb"] + 30


@pytest.mark.soak
def test_two_processes_serve_one_home_and_visitors_move_between_them() -> None:
    (row,) = measure([4], 12.0, rounds=1, size=96, left=0, servers=2)["rows"]
    assert row["problems"] == []
    assert row["distinct_projects"] == [4]
    assert row["mixed_labels"] == row["lost_clicks"] == row["doubled_clicks"] == row["unknown_labels"] == 0
    assert row["used_names"] == row["wrong_pictures"] == 0
    assert row["clicks"] >= 8
    assert row["visitors_with_last_score"] == 4
