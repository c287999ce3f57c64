"""Plain words for numbers."""

from __future__ import annotations

import pytest

from tessera_core.ui import humanize


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        (0.2058, 0.0678, "0.206"),
        (18.234, 3.1, "18.2"),
        (1234.5, 120, "1,234"),
        (-12.34, 5.5, "−12.3"),
        (-0.001, 3.0, "0.0"),
        (3.0, 0.0, "3"),
        (3.0, float("nan"), "3"),
        (0.00012, 0.00003, "0.000120"),
    ],
)
def test_a_number_is_as_exact_as_its_margin(value: float, scale: float, text: str) -> None:
    assert humanize.number(value, scale) == text


def test_a_plus_is_written_where_it_tells_something() -> None:
    assert [humanize.number(value, 3.0, sign=True) for value in (0.26, -0.26, 0.001, 0.0)] == [
        "+0.3",
        "−0.3",
        "0.0",
        "0.0",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(9, "a few seconds"), (62, "60 s"), (90, "2 min"), (3569, "59 min"), (3590, "1 h"), (7260, "2 h 1 min")],
)
def test_a_time_has_no_part_that_is_nothing(seconds: float, text: str) -> None:
    assert humanize.duration(seconds) == text


def test_positions_name_their_hemisphere() -> None:
    assert humanize.position(52.016093, 3.8945) == "52.01609° N, 3.89450° E"
    assert humanize.position(-33.45, -70.666667) == "33.45000° S, 70.66667° W"
