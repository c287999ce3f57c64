"""How good the map of a number is: figures with plots held out, beside a random split; a scatter; what to mind; the method."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from tessera_core.heads.regression import COVERAGE
from tessera_core.language import numeral, percentage, relay, t
from tessera_core.project.regress import (
    BEYOND,
    OUTSIDE,
    REGRESSION_CHOICES,
    RegressionMap,
    RegressionScore,
    guess_sentences,
    mean_sentences,
)
from tessera_core.ui import charts, humanize, shell
from tessera_core.ui.regress.context import RegressContext
from tessera_core.ui.regress.value_map import errors_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

_INK, _STRANGE = "#30688c", "#d55e00"
_ODD_SHOWN = 6
_BARS = 400


def score_panel(context: RegressContext, score: RegressionScore) -> None:
    """Figures, the sentence on the gap, what to mind, and the scatter."""
    st.markdown(t("**How good on ground it has not seen**"))
    if score.result:
        _figures(context, score)
    for sentence in score.remarks:
        st.markdown(f":small[:material/warning: {humanize.escape(relay(sentence))}]")
    if score.odd:
        _odd(context, score)
    if score.held_out is not None:
        _scatter(context, score)


def _odd(context: RegressContext, score: RegressionScore) -> None:
    """Buttons that go to the plots that are missed by far more than the others."""
    with st.container(horizontal=True, gap="small"):
        for number in score.odd[:_ODD_SHOWN]:
            plot = context.plots[number]
            st.button(
                f"{numeral(plot.value, '.4g')}{context.unit}",
                icon=":material/search:",
                key=context.key(f"odd_{plot.label.id}"),
                on_click=_go,
                args=(context, plot.label.id),
                help=t("Show this plot on the map"),
            )


def _go(context: RegressContext, label_id: str) -> None:
    st.session_state[context.key("chosen")] = ("plot", label_id)
    st.session_state[context.key("fly")] = True


def guesses(context: RegressContext, made: RegressionMap, score: RegressionScore | None) -> None:
    """The mean of the region, and where the map guesses."""
    assert context.measure is not None
    if score is not None:
        for sentence in mean_sentences(made, score, context.scene.raster.grid, context.measure.code):
            st.markdown(f":small[{humanize.escape(relay(sentence))}]")
    st.markdown(t("**Where it guesses**"))
    for sentence in guess_sentences(made, context.measure.name):
        st.markdown(f":small[{humanize.escape(relay(sentence))}]")


def _figures(context: RegressContext, score: RegressionScore) -> None:
    result, unit = score.result, context.unit
    left, right = st.columns(2, gap="small")
    whole = result["map_r2"]
    firm = (
        ""
        if whole is None
        else t(
            " The map itself, over the region: R² {r2}, {low} to {high} (95 % sure if your plots were drawn by chance).",
            r2=_r2(whole["value"]),
            low=_r2(whole["low"]),
            high=_r2(whole["high"]),
        )
    )
    left.metric(
        t("Differences explained (R²)"),
        _r2(result["r2"]),
        help=t(
            "1 is perfect; 0 is no better than the mean of your plots.{firm} Each plot was left out with the ground around it; the "
            "map, which learned from all of them, is mostly a little better.",
            firm=firm,
        ),
    )
    size = result["rmse"]
    right.metric(
        t("Typically off by"),
        f"± {humanize.number(result['mae'], size)}{unit}",
        help=t("Mean size of the error at plots that were held out, with the ground around them."),
    )
    naive = result.get("naive")
    inside = f" ({unit.strip()})" if unit else ""
    rows: list[tuple[str, str, Callable[[float], str]]] = [
        ("R²", "r2", _r2),
        (t("Error, large ones weigh more (RMSE){inside}", inside=inside), "rmse", lambda v: humanize.number(v, size)),
        (t("Mean error{inside}", inside=inside), "mae", lambda v: humanize.number(v, size)),
        (t("Bias{inside}", inside=inside), "bias", lambda v: humanize.number(v, size, sign=True)),
        (
            t("Margins hold (of {value} %)", value=percentage(COVERAGE)),
            "coverage",
            lambda v: f"{percentage(v)} %",
        ),
    ]
    held_out = t("Areas held out") if result["split"] == "blocked" else t("Plots held out")
    lines = [t("| Score | **{held_out}** | Random split |", held_out=held_out), "|:--|--:|--:|"]
    for name, key, written in rows:
        lines.append(f"| {name} | **{written(result[key])}** | {written(naive[key]) if naive else '–'} |")
    st.markdown("\n".join(lines))
    st.caption(t("{result} plots.{firm} {gap}", result=numeral(result["n_test"], ","), firm=firm, gap=score.gap))


def _r2(value: float) -> str:
    return humanize.number(value, 0.1)


# ------------------------------------------------------------------- scatter


def _scatter(context: RegressContext, score: RegressionScore) -> None:
    key = context.key("scatter")
    st.plotly_chart(
        scatter(context, score),
        width="stretch",
        key=key,
        on_select=functools.partial(_picked, context, key),
        selection_mode="points",
        config={"displayModeBar": False},
        alt=t("What the map says of plots it has not seen, against their numbers"),
    )
    st.caption(
        t("Each dot is a plot, told by a map that has not seen it; on the line it would be right. Click one to see it.")
    )


def scatter(context: RegressContext, score: RegressionScore) -> go.Figure:
    """Held-out value against the plot's number, with margins; odd plots in another colour."""
    go = charts.library()
    held = score.held_out
    assert held is not None
    known = np.isfinite(held.guess)
    truth, guess, margin, groups = (a[known] for a in (held.truth, held.guess, held.half_width, held.groups))
    odd = np.isin(groups, score.odd)
    low, high = float(min(truth.min(), guess.min())), float(max(truth.max(), guess.max()))
    pad = 0.04 * (high - low or 1)
    ends = [low - pad, high + pad]
    figure = go.Figure()
    figure.add_scatter(
        x=ends, y=ends, mode="lines", line={"color": "#8a8f94", "dash": "dash", "width": 1}, hoverinfo="skip"
    )
    # Hundreds of margins hide the dots that they belong to.
    bars = (
        None
        if len(truth) > _BARS
        else {"type": "data", "array": margin.tolist(), "width": 0, "thickness": 1, "color": "rgba(48,104,140,0.18)"}
    )
    figure.add_scatter(
        x=truth.tolist(),
        y=guess.tolist(),
        error_y=bars,
        mode="markers",
        marker={"size": 7, "color": [_STRANGE if one else _INK for one in odd], "opacity": 0.8},
        customdata=[context.plots[int(g)].label.id for g in groups],
        text=[
            t(
                "plot {measured}<br>map, unseen {mapped} ± {margin}",
                measured=f"{humanize.number(plot, m)}{context.unit}",
                mapped=humanize.number(seen, m),
                margin=humanize.number(m, m),
            )
            for plot, seen, m in zip(truth, guess, margin, strict=True)
        ],
        hovertemplate="%{text}<extra></extra>",
    )
    axis: dict[str, Any] = {"range": ends, "zeroline": False, "fixedrange": True}
    figure.update_layout(
        height=320,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        showlegend=False,
        xaxis=axis | {"title": t("plots: {title}", title=context.title)},
        yaxis=axis | {"title": t("map, unseen")},
        dragmode=False,
        separators=charts.separators(),
    )
    return figure


@shell.shielded
def _picked(context: RegressContext, key: str) -> None:
    points = st.session_state[key].selection.points
    if points:
        _go(context, str(points[0]["customdata"]))


# -------------------------------------------------------------------- method


def method(context: RegressContext) -> None:
    """The head and how far it looks around."""
    with st.expander(t("Method"), icon=":material/tune:", key=context.key("method")):
        names = list(REGRESSION_CHOICES)
        head = context.key("head")
        st.radio(
            t("How the map is made from your plots"),
            names,
            index=names.index(context.choice.name),
            format_func=lambda name: relay(REGRESSION_CHOICES[name]).partition(":")[0].strip(),
            captions=[_about(relay(REGRESSION_CHOICES[name])) for name in names],
            key=head,
            on_change=shell.shielded(_keep),
            args=(context, "regression_head", head),
        )
        square = context.key("neighbourhood")
        st.segmented_control(
            t("What it looks at"),
            [1, 3, 5],
            default=context.choice.neighbourhood,
            required=True,
            format_func=lambda n: t("Pixel") if n == 1 else f"{n} x {n}",
            key=square,
            on_change=shell.shielded(_keep),
            args=(context, "regression_context", square),
            help=t(
                "The pixel alone, or with its neighbours: they smooth the map, blur narrow things, and help "
                "where plots are larger than a pixel or their places not exact."
            ),
            width="stretch",
        )


def _keep(context: RegressContext, setting: str, key: str) -> None:
    context.project.update(**{setting: st.session_state[key]})


def _about(text: str) -> str:
    about = text.partition(":")[2].strip()
    return about[0].upper() + about[1:]


def place_text(context: RegressContext, made: RegressionMap, row: int, col: int) -> tuple[str, str]:
    """The map's number at a pixel with its margin, and what to mind about it; empty texts off the map."""
    height, width = made.map.values.shape
    if not (0 <= row < height and 0 <= col < width) or not np.isfinite(made.map.values[row, col]):
        return "", t("There is no data here.")
    value, margin = float(made.map.values[row, col]), float(made.map.half_widths[row, col])
    low, high = (humanize.number(v, margin) for v in (value - margin, value + margin))
    about = t("Nine of ten plots would lie between {low} and {high}{unit}.", low=low, high=high, unit=context.unit)
    kind = int(made.guesses[row, col])
    if kind == OUTSIDE:
        about += t(" The ground here is unlike your plots: this is a guess.")
    elif kind == BEYOND:
        about += t(" No plot has such a number: this is a guess.")
    return f"{humanize.number(value, margin)} ± {humanize.number(margin, margin)}{context.unit}", about


def plot_text(context: RegressContext, score: RegressionScore | None, label_id: str) -> str:
    """What the map that has not seen a plot says of it."""
    number = next(n for n, plot in enumerate(context.plots) if plot.label.id == label_id)
    error = float(errors_of(context, score)[number])
    if not np.isfinite(error):
        return ""
    way = t("too much") if error > 0 else t("too little")
    assert score is not None
    size = float(score.result["rmse"])
    told, off = humanize.number(context.plots[number].value + error, size), humanize.number(abs(error), size)
    return t(
        "A map that has not seen this plot says {told}{unit}: {off}{unit} {way}.",
        told=told,
        unit=context.unit,
        off=off,
        way=way,
    )
