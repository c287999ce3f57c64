"""What the study on real pixels found, told: tables in Markdown and CSV, and a figure. Computes no score."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.csvcells import quoted_row
from tessera_core.pretrain.studies.tables import mean_sd, table

BEST_RAW = "the best raw method"


def markdown(result: Mapping[str, Any]) -> str:
    """Tables of each place: macro-F1, and what each method is ahead of its rivals, in points with a 95 % interval."""
    counts = result["setting"]["counts"]
    parts = []
    for place in result["places"]:
        methods = list(dict.fromkeys(row["method"] for row in place["rows"]))
        rows = {(row["method"], row["labels"]): row for row in place["rows"]}
        best = {n: max((rows[m, n]["macro_f1"], m) for m in methods)[1] for n in counts}
        told = []
        for method in methods:
            cells = [mean_sd(rows[method, n]["scores"]) for n in counts]
            told.append([method, *(f"**{c}**" if best[n] == method else c for n, c in zip(counts, cells, strict=True))])
        classes = ", ".join(f"{name} {count}" for name, count in place["classes"].items())
        parts.append(f"{place['name']}: {place['pixels']} pixels ({classes}), {place['held_out']} held out\n")
        parts.append(table(["labels a class", *map(str, counts)], told))
        for of in dict.fromkeys(row["of"] for row in place["ahead"]):
            ahead = {(row["method"], row["labels"]): row for row in place["ahead"] if row["of"] == of}
            lines = [
                [one, *(_points(ahead[one, n]) for n in (*counts, "mean"))] for one in methods if (one, "mean") in ahead
            ]
            parts.append(table([f"ahead of {of}, points", *map(str, counts), "mean"], lines))
        parts.append("\n".join(one["sentence"] for one in place["verdict"]) + "\n")
    return "\n".join(parts)


def _points(row: Mapping[str, Any]) -> str:
    low, high = (100 * one for one in row["interval"])
    return f"{100 * row['difference'] + 0.0:+.1f} [{low:+.1f}, {high:+.1f}]"


def as_csv(result: Mapping[str, Any]) -> str:
    """One line for each place, method and number of labels."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    header = (
        "place held_out method kind labels_a_class draws macro_f1 sd low high best_raw difference diff_low diff_high"
    )
    writer.writerow(header.split())
    for place in result["places"]:
        for row in place["rows"]:
            spread = round(float(np.std(row["scores"])), 4)
            first = [place["name"], place["held_out"], row["method"], row["kind"], row["labels"], len(row["scores"])]
            second = [row["macro_f1"], spread, *row["interval"], row["best_raw"], row["difference"]]
            writer.writerow(quoted_row([*first, *second, *row["difference_interval"]]))
    return file.getvalue()


def draw_figure(result: Mapping[str, Any], path: str | Path) -> None:
    """Macro-F1 by number of labels, a panel a place and a line a method, its interval behind it.

    Raises:
        ExportError: the picture cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    places, counts = result["places"], result["setting"]["counts"]
    figure = Figure(figsize=(5.4 * len(places), 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    handles: dict[str, Any] = {}
    for number, place in enumerate(places):
        axes = figure.add_subplot(1, len(places), number + 1)
        methods = list(dict.fromkeys(row["method"] for row in place["rows"]))
        for order, method in enumerate(methods):
            rows = [row for row in place["rows"] if row["method"] == method]
            style = {"embedding": "-", "joined": "-.", "raw": ":"}[rows[0]["kind"]]
            (line,) = axes.plot(counts, [r["macro_f1"] for r in rows], style, marker="o", ms=3, color=f"C{order % 10}")
            low, high = zip(*(r["interval"] for r in rows), strict=True)
            axes.fill_between(counts, low, high, color=line.get_color(), alpha=0.07, lw=0)
            handles.setdefault(method, line)
        axes.set_xscale("log")
        axes.set_xticks(list(counts), [str(n) for n in counts])
        axes.minorticks_off()
        axes.set_title(f"{place['name']}, {place['held_out']} held out", fontsize=10)
        axes.set_xlabel("labels a class")
        axes.set_ylabel("macro-F1")
        axes.grid(alpha=0.3)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=2, fontsize=8)
    with atomic_path(path) as part:
        figure.savefig(part, dpi=120, metadata={"Software": "tessera-studio"})
