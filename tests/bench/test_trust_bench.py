"""The measurement of intervals, on few draws."""

from __future__ import annotations

import numpy as np

from tessera_core.bench import trust


def test_intervals_hold_where_plain_ones_do_not() -> None:
    regions = [r for r in trust.REGIONS if r.title in ("4 x 10 places, .99", "good map, stopped at 100 of 257")]
    assert len(regions) == 2
    result = trust.measure(regions, 120, seed=3)
    assert result["worst"] > 0.9
    assert result["plain_worst"] < 0.6
    assert {row["of"] for row in result["rows"]} >= {"right in all", "area of class 5", "found of class 5"}
    assert result["table"].count("\n") == len(result["rows"]) + 3


def test_who_stops_early_has_as_many_answers_as_said() -> None:
    (region,) = (r for r in trust.REGIONS if r.title == "middling map, stopped at 100 of 257")
    seen = trust.drawn(region, 50, 1)
    assert (seen.sum((1, 2)) == 100).all()
    assert (seen.sum(2) <= np.array(region.places)).all()
