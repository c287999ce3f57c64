"""Charts: figures hold the numbers they were given, and names are text."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.ui import charts


def test_confusion_stands_in_the_order_of_the_list_and_hovers_whole_names() -> None:
    shares = np.array([[90.0, 10.0, 0.0], [0.2, 79.8, 20.0], [0.0, 0.0, 100.0]])
    names = ["Water & <b>reed</b> of the northern fen", "Wood", "Grass"]
    (heat,) = charts.confusion_figure(names, [3, 1, 2], shares).data
    assert list(heat.x) == ["1", "2", "3"]
    assert [row[0] for row in heat.y] == ["1", "2", "3"]
    np.testing.assert_allclose(heat.z, [[79.8, 20.0, 0.2], [0.0, 100.0, 0.0], [10.0, 0.0, 90.0]])
    assert heat.y[2] == "3 Water &amp; &lt;b&gt;re…"
    # Nothing is written where next to nothing is.
    assert heat.text[0][2] == ""
    assert heat.customdata[2][0] == ["Water &amp; &lt;b&gt;reed&lt;/b&gt; of the northern fen", "Wood"]


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_the_band_of_a_learning_curve_holds_it(scores: list[float]) -> None:
    spread = [0.1] * len(scores)
    low, high, line = charts.curve_figure([2**i for i in range(len(scores))], scores, spread).data
    assert all(a <= b <= c for a, b, c in zip(low.y, line.y, high.y, strict=True))
    assert min(low.y) >= 0
    assert max(high.y) <= 1


def test_a_histogram_sums_to_the_whole() -> None:
    counts = np.random.default_rng(0).integers(0, 50, 101)
    (bars,) = charts.histogram_figure(counts, "alike, %").data
    assert sum(bars.y) == pytest.approx(100)
    assert sum(charts.histogram_figure(np.zeros(101), "alike, %").data[0].y) == 0


def test_series_of_a_year_keep_their_colours_and_gaps() -> None:
    series = {"VV ascending": ([3, 9], [-12.0, -11.5]), "VH ascending": ([3], [-19.0])}
    figure = charts.day_figure(
        series, {"VV ascending": "#0072b2", "VH ascending": "#d55e00"}, title="dB", zero=False, dots=["VH ascending"]
    )
    assert [(trace.name, list(trace.x), trace.mode) for trace in figure.data] == [
        ("VV ascending", [3, 9], "lines+markers"),
        ("VH ascending", [3], "markers"),
    ]
    assert figure.layout.yaxis.rangemode == "normal"


def test_figures_are_plain_json_and_one_line_needs_no_legend() -> None:
    one = charts.reliability_figure({"as it is": ([60.0, 90.0], [55.0, 92.0], [4.0, 9.0])})
    assert not one.layout.showlegend
    assert "as it is" in json.loads(one.to_json())["data"][1]["name"]
    both = charts.reliability_figure({"as it is": ([60.0], [55.0], [4.0]), "calibrated": ([], [], [])})
    assert both.layout.showlegend
