"""Charts that people hover, by plotly, whose script Streamlit's own server serves: figures from arrays, in one look.

The scatter of Explore and the maps are our own canvas code; a chart that is only looked at and hovered is plotly's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from streamlit.elements.lib.streamlit_plotly_theme import configure_streamlit_plotly_theme

from tessera_core.language import numeral, t
from tessera_core.types import Ints, Reals

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = [
    "agreement_figure",
    "confusion_figure",
    "curve_figure",
    "day_figure",
    "histogram_figure",
    "library",
    "reliability_figure",
    "show",
]

INK, SOFT, ACCENT = "#0b7a75", "#888888", "#ec7014"
# Every fiftieth day can be read on a phone.
_DAYS = list(range(50, 351, 50))


def show(figure: go.Figure, alt: str, key: str | None = None) -> None:
    """Draw a figure as wide as there is room, for those who see it and those who hear it (``alt``)."""
    st.plotly_chart(figure, width="stretch", key=key, config={"displayModeBar": False}, alt=alt)


@cache
def library() -> ModuleType:
    """``plotly.graph_objects``, loaded with the first chart, in Streamlit's colours."""
    import plotly.graph_objects

    # Streamlit does so by itself where it finds plotly at its start, from which ours is kept.
    configure_streamlit_plotly_theme()
    return plotly.graph_objects


def separators() -> str:
    """Decimal mark and mark between thousands of the language that is spoken, as Plotly's ``layout.separators``.

    >>> separators()
    '.,'
    """
    return f"{numeral(0.5, '.1f')[1]}{numeral(1000, ',')[1]}"


def _figure(height: int, **layout: Any) -> go.Figure:
    go = library()
    figure = go.Figure()
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        legend={"orientation": "h", "y": -0.25, "title": None},
        separators=separators(),
        **layout,
    )
    figure.update_xaxes(fixedrange=True, automargin=True)
    figure.update_yaxes(fixedrange=True, automargin=True)
    return figure


def _hover(*lines: str) -> str:
    """What stands beside the pointer, a line each."""
    return "<br>".join(lines) + "<extra></extra>"


def confusion_figure(names: Sequence[str], numbers: Sequence[int], shares: Reals) -> go.Figure:
    """Labelled class by mapped class, percent of a row.

    Args:
        names: of the K classes.
        numbers: of the classes, which stand at the columns, where there is no room for names.
        shares: (K, K), rows sum to 100.
    """
    order = np.argsort(numbers)
    shares = np.asarray(shares)[np.ix_(order, order)]
    shown = [escape(names[i], quote=False) for i in order]
    numbers = [numbers[i] for i in order]
    figure = _figure(40 + 24 * len(names))
    figure.add_heatmap(
        z=shares.round(1).tolist(),
        x=[str(number) for number in numbers],
        y=[f"{number} {escape(_short(names[i]), quote=False)}" for number, i in zip(numbers, order, strict=True)],
        customdata=[[[row, column] for column in shown] for row in shown],
        hovertemplate=_hover(
            t("labelled {a}", a="%{customdata[0]}"), t("mapped as {b}", b="%{customdata[1]}"), "%{z} %"
        ),
        text=[[f"{value:.0f}" if value >= 0.5 else "" for value in row] for row in shares],
        texttemplate="%{text}",
        zmin=0,
        zmax=100,
        colorscale=[[0, "#f3f7f6"], [1, INK]],
        showscale=False,
        xgap=1,
        ygap=1,
    )
    figure.update_xaxes(side="top", type="category")
    figure.update_yaxes(autorange="reversed", type="category")
    return figure


def agreement_figure(names: Sequence[str], shares: Reals) -> go.Figure:
    """How much people agree, two by two.

    Args:
        names: of the L people.
        shares: (L, L) percent; NaN where two have nothing in common.
    """
    shown = [escape(_short(name), quote=False) for name in names]
    numbers = [str(n) for n in range(1, len(names) + 1)]
    figure = _figure(40 + 24 * len(names))
    figure.add_heatmap(
        z=np.asarray(shares).round(1).tolist(),
        x=numbers,
        y=[f"{number} {name}" for number, name in zip(numbers, shown, strict=True)],
        customdata=[[[row, column] for column in shown] for row in shown],
        hovertemplate=_hover(
            t("{a} and {b}", a="%{customdata[0]}", b="%{customdata[1]}"), t("{share} % alike", share="%{z}")
        ),
        zmin=0,
        zmax=100,
        colorscale=[[0, "#f3f7f6"], [1, INK]],
        showscale=False,
        xgap=1,
        ygap=1,
    )
    figure.update_xaxes(side="top", type="category")
    figure.update_yaxes(autorange="reversed", type="category")
    return figure


def reliability_figure(lines: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]]) -> go.Figure:
    """How often a map is right by how sure it is; per line name: percent sure, percent right, labels behind each dot."""
    figure = _figure(260, showlegend=len(lines) > 1)
    figure.add_scatter(
        x=[0, 100],
        y=[0, 100],
        mode="lines",
        line={"color": SOFT, "dash": "dash", "width": 1},
        hoverinfo="skip",
        showlegend=False,
    )
    most = max((max(weights, default=0.0) for _, _, weights in lines.values()), default=0.0) or 1.0
    for (name, (sure, right, weights)), colour in zip(lines.items(), (ACCENT, INK), strict=False):
        figure.add_scatter(
            x=list(sure),
            y=list(right),
            mode="markers",
            name=name,
            customdata=list(weights),
            marker={"color": colour, "opacity": 0.9, "size": [6 + 12 * (w / most) ** 0.5 for w in weights]},
            hovertemplate=_hover(
                t("sure {share} %", share="%{x}"),
                t("right {share} %", share="%{y}"),
                t("{n} labels", n="%{customdata:.0f}"),
            ),
        )
    figure.update_xaxes(title=t("Sure, %"), range=[0, 100])
    figure.update_yaxes(title=t("Right, %"), range=[0, 102])
    return figure


def curve_figure(labels: Sequence[int], score: Sequence[float], spread: Sequence[float]) -> go.Figure:
    """Score by labels of each class, with a band of ``spread`` either way."""
    figure = _figure(240, showlegend=False)
    low = [max(s - d, 0.0) for s, d in zip(score, spread, strict=True)]
    high = [min(s + d, 1.0) for s, d in zip(score, spread, strict=True)]
    quiet: dict[str, Any] = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    figure.add_scatter(x=list(labels), y=low, **quiet)
    figure.add_scatter(x=list(labels), y=high, fill="tonexty", fillcolor="rgba(11,122,117,0.2)", **quiet)
    figure.add_scatter(
        x=list(labels),
        y=list(score),
        mode="lines+markers",
        line={"color": INK},
        customdata=list(spread),
        hovertemplate=_hover(t("{n} labels a class", n="%{x}"), "%{y:.2f} ± %{customdata:.2f}"),
    )
    figure.update_xaxes(
        title=t("Labels of each class"), type="log", tickvals=list(labels), ticktext=[str(n) for n in labels]
    )
    figure.update_yaxes(title=t("Score (macro-F1)"))
    return figure


def histogram_figure(counts: Reals | Ints, title: str) -> go.Figure:
    """Percent of pixels at each whole percent 0..100 of something."""
    counts = np.asarray(counts, float)
    figure = _figure(150, showlegend=False, bargap=0)
    figure.add_bar(
        x=list(range(len(counts))),
        y=(100 * counts / max(float(counts.sum()), 1.0)).tolist(),
        marker={"color": ACCENT, "line": {"width": 0}},
        hovertemplate=_hover(t("{share} % alike", share="%{x}"), t("{share} % of pixels", share="%{y:.2f}")),
    )
    figure.update_xaxes(title=title, range=[-0.5, 100.5])
    figure.update_yaxes(title=t("% of pixels"), nticks=3)
    return figure


def placebo_figure(values: Reals, own: float, title: str) -> go.Figure:
    """Effects of placebo areas (m,) as bars, and the effect of the area as a line."""
    figure = _figure(170, showlegend=False, bargap=0.05)
    figure.add_histogram(x=np.asarray(values, float).tolist(), nbinsx=24, marker={"color": "#8a8f94"})
    figure.add_vline(x=own, line={"color": ACCENT, "width": 3}, annotation_text=t("the area"))
    figure.update_xaxes(title=title)
    figure.update_yaxes(title=t("Placebo areas"), nticks=3)
    return figure


def day_figure(
    series: Mapping[str, tuple[Sequence[int], Sequence[float]]],
    colours: Mapping[str, str],
    *,
    title: str,
    height: int = 340,
    zero: bool = True,
    dots: Sequence[str] = (),
) -> go.Figure:
    """Measurements over a year.

    Args:
        series: name -> days 1..366 and values.
        colours: of the names.
        title: of the values.
        zero: whether the axis begins at zero.
        dots: names of series without a line between their points.
    """
    figure = _figure(height, hovermode="closest")
    for name, (days, values) in series.items():
        figure.add_scatter(
            x=list(days),
            y=list(values),
            name=name,
            mode="markers" if name in dots else "lines+markers",
            line={"color": colours[name], "width": 1.5},
            marker={"color": colours[name], "size": 5},
            hovertemplate=_hover(name, t("day {day}", day="%{x}"), "%{y}"),
        )
    figure.update_xaxes(title=t("day of the year"), range=[1, 366], tickvals=_DAYS)
    figure.update_yaxes(title=title, rangemode="tozero" if zero else "normal")
    return figure


def _short(name: str, most: int = 14) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
