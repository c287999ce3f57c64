"""Curves of a run from its ``log.jsonl``: a page that needs no network, refreshed while training goes on, and a line of text.

Knows the log's records and plotly, which is loaded only when a page is written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core._utils.atomic import write_text
from tessera_core._utils.templates import render
from tessera_core.pretrain.config import PretrainError

LOG_FILE = "log.jsonl"
PAGE = "curves.html"
_MOST_POINTS = 1500
_BARS = "▁▂▃▄▅▆▇█"
_REFRESH = 60  # seconds
_COLOURS = ("#1b6ca8", "#d1495b", "#2e8b57", "#8a5a9e", "#c77d1e", "#5b6770")

# Title, unit or meaning, logarithmic axis, and the log's names with their words; lines without a value are left out.
_PANELS: tuple[tuple[str, str, bool, tuple[tuple[str, str], ...]], ...] = (
    (
        "Loss",
        "lower is better; thin: every step, thick: running mean",
        True,
        (
            ("loss", "total"),
            ("on_diagonal", "views differ"),
            ("off_diagonal", "values repeat each other"),
            ("mixup", "mix-up"),
            ("distillation", "distance to the teacher"),
        ),
    ),
    (
        "Linear probe on held-out worlds",
        "macro-F1, 0 to 1, higher is better",
        False,
        (("probe", "labels per class"),),
    ),
    (
        "Effective rank",
        "0 to 1; near 1 all values are used, a fall means collapse",
        False,
        (
            ("rank", "representation, training batch"),
            ("projection_rank", "projection, training batch"),
            ("probe_rank", "representation, held-out worlds"),
        ),
    ),
    ("Learning rate", "of the matrices, before factors", False, (("rate", "learning rate"),)),
    ("Gradient norm", "before clipping", True, (("gradient", "gradient norm"),)),
)


def read_log(folder: str | Path) -> list[dict[str, Any]]:
    """Records of a run, one per logged step; a last line cut short by a kill is left out.

    Raises:
        PretrainError: the folder holds no run, or its log has no record yet.
    """
    path = Path(folder) / LOG_FILE
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise PretrainError(f"{folder} holds no training run: there is no {LOG_FILE} in it.") from error
    records = []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "step" in record:
            records.append(record)
    if not records:
        raise PretrainError(f"{path} has no record yet; wait for the first step.")
    return records


def sparkline(values: Sequence[float], width: int = 20) -> str:
    """The course of ``values`` as a row of bars, on a logarithmic scale where all are positive."""
    finite = np.array([v for v in values if math.isfinite(v)], float)
    if not len(finite):
        return ""
    parts = [part.mean() for part in np.array_split(finite, min(width, len(finite)))]
    heights = np.log(parts) if min(parts) > 0 else np.array(parts)
    low, span = heights.min(), max(float(np.ptp(heights)), 1e-9)
    return "".join(_BARS[round(float(h - low) / span * (len(_BARS) - 1))] for h in heights)


def _series(records: Sequence[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    points = [(r["step"] + 1, r[name]) for r in records if isinstance(r.get(name), int | float)]
    return [p[0] for p in points], [float(p[1]) for p in points]


def _lines(
    records: Sequence[dict[str, Any]], names: Sequence[tuple[str, str]]
) -> list[tuple[str, list[int], list[float]]]:
    found = []
    for name, words in names:
        if name != "probe":
            found.append((words, *_series(records, name)))
            continue
        for labels in sorted({key for r in records for key in r.get("probe", {})}, key=int):
            probed = [{"step": r["step"], "f1": r["probe"].get(labels)} for r in records if "probe" in r]
            found.append((f"{labels} {words}", *_series(probed, "f1")))
    return [line for line in found if line[1]]


def _smooth(values: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Running mean over about a fiftieth of the run, to both sides."""
    x = np.asarray(values, float)
    half = max(1, len(x) // 100)
    sums = np.concatenate([[0.0], np.cumsum(x)])
    first, last = np.maximum(np.arange(len(x)) - half, 0), np.minimum(np.arange(len(x)) + half + 1, len(x))
    return (sums[last] - sums[first]) / (last - first)


def page(records: Sequence[dict[str, Any]], name: str, steps: int | None = None) -> str:
    """HTML of all panels that have data, plotly's script inside; ``steps`` of a run not finished makes it refresh itself."""
    import plotly.graph_objects as go
    from plotly.offline import get_plotlyjs

    panels: list[dict[str, str]] = []
    for title, meaning, logarithmic, names in _PANELS:
        lines = _lines(records, names)
        if not lines:
            continue
        figure = go.Figure()
        for (words, x, y), colour in zip(lines, _COLOURS, strict=False):
            every = max(1, math.ceil(len(x) / _MOST_POINTS))
            at = [*range(0, len(x) - 1, every), len(x) - 1]
            busy = title == "Loss" and len(x) > 20
            mode = "lines+markers" if len(x) <= 20 else "lines"
            trace: dict[str, Any] = {"x": [x[i] for i in at], "mode": mode, "legendgroup": words, "name": words}
            if busy:
                thin = {**trace, "y": [y[i] for i in at], "opacity": 0.25, "showlegend": False, "hoverinfo": "skip"}
                figure.add_scatter(**thin, line={"color": colour, "width": 1})
            shown = _smooth(y) if busy else y
            figure.add_scatter(**trace, y=[round(float(shown[i]), 6) for i in at], line={"color": colour, "width": 2})
        figure.update_layout(
            template="plotly_white",
            height=300,
            margin={"l": 52, "r": 12, "t": 8, "b": 40},
            legend={"orientation": "h", "y": -0.22, "x": 0, "yanchor": "top", "font": {"size": 12}},
            hovermode="x",
            showlegend=len(lines) > 1,
            font={"family": "system-ui, sans-serif", "size": 12},
        )
        figure.update_xaxes(title={"text": "step", "standoff": 4})
        figure.update_yaxes(type="log" if logarithmic else "linear", automargin=True)
        if logarithmic:
            figure.update_yaxes(dtick="D2" if _decades(lines) < 2 else 1)
        # A text such as "</script>" inside the JSON must not end the script.
        panels.append({"title": title, "meaning": meaning, "figure": figure.to_json().replace("</", "<\\/")})
    last = records[-1]
    done = int(last["step"]) + 1
    finished = steps is None or done >= steps
    state = f"{done:,} steps" + ("" if steps is None else f" of {steps:,}")
    if isinstance(last.get("seconds"), int | float):
        state += f", {last['seconds'] / 60:,.1f} minutes"
    state += "" if finished else f". This page reads itself again every {_REFRESH} s"
    return render(
        Path(__file__).with_name("curves.html.jinja"),
        name=name,
        state=state,
        refresh_s=None if finished else _REFRESH,
        plotly=get_plotlyjs(),
        panels=panels,
    )


def _decades(lines: Sequence[tuple[str, list[int], list[float]]]) -> float:
    positive = [v for _, _, y in lines for v in y if v > 0]
    return math.log10(max(positive) / min(positive)) if positive else 0.0


def write_page(folder: str | Path, name: str | None = None, steps: int | None = None) -> Path:
    """Write ``curves.html`` into a run's folder; returns its path.

    Raises:
        PretrainError: the folder holds no run or no record yet.
        ExportError: it cannot be written.
    """
    path = Path(folder) / PAGE
    write_text(path, page(read_log(folder), name or Path(folder).resolve().name, steps))
    return path
