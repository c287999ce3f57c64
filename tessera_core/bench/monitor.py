"""How right ``tessera monitor`` is where the truth of both years is known: the invented region, with heads of few labels.

Heads learn from 20 points of each class of the first year. The rate 1 asks nothing of the embeddings: it is what a head alone
calls new.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core._utils.percents import percent
from tessera_core.assess.reference import Reference
from tessera_core.bench.heads import write_between
from tessera_core.heads import HeadChoice, SavedHead
from tessera_core.labels.files import read_class_raster
from tessera_core.labels.raster_points import raster_points
from tessera_core.project.classify import train
from tessera_core.project.demo import ensure_demo
from tessera_core.project.monitor import NewJudged, find_new, judge_new
from tessera_core.sources.local.open import open_embeddings

PER_CLASS = 20
RATES = (1.0, 0.2, 0.05, 0.01)
SMALLEST = (1, 4, 10)
SEEDS = (0, 1, 2)
MARK = "<!-- bench monitor -->"


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Precision and recall of what is new, by rate and smallest patch, means over draws of labels.

    ``args``: ``quick`` (a small region and one draw), ``markdown`` (file to write the table into, or None).
    """
    quick = bool(getattr(args, "quick", False))
    size, seeds = (128, SEEDS[:1]) if quick else (256, SEEDS)
    region = ensure_demo(size=size)
    years = sorted(region.embeddings)[:2]
    before, now = (open_embeddings(region.embeddings[year]) for year in years)
    truth = [read_class_raster(region.truth[year], before.grid).classes for year in years]
    rows: dict[tuple[float, int], list[NewJudged]] = {(rate, least): [] for rate in RATES for least in SMALLEST}
    for seed in seeds:
        drawn = raster_points(region.truth[years[0]], before.grid, PER_CLASS, seed)
        labels = Reference.of_labels(drawn.labels, drawn.classes, before.grid)
        head = train(labels, before, HeadChoice(), calibrated=False).head
        saved = SavedHead(head, {c.id: c.name for c in drawn.classes}, before.provenance)
        # The ids of the draw count the classes that are there; the truth has the numbers of the file.
        codes = np.unique(truth[0][truth[0] > 0])
        ids = np.zeros(int(max(t.max() for t in truth)) + 1, np.int64)
        ids[codes] = np.arange(1, len(codes) + 1)
        for rate, least in rows:
            found = find_new(saved, before, now, rate=rate, smallest=least, seed=seed)
            rows[rate, least].append(judge_new(found, ids[truth[0]], ids[truth[1]]))
    result = {
        "size": size,
        "years": years,
        "seeds": list(seeds),
        "head": HeadChoice().name,
        "labels_per_class": PER_CLASS,
        "rows": [{"rate": rate, "smallest": least, **_mean(of)} for (rate, least), of in rows.items()],
    }
    if markdown := getattr(args, "markdown", None):
        write_between(Path(markdown), MARK, table(result))
    return result | {"table": "\n".join(table(result))}


def _mean(judged: Sequence[NewJudged]) -> dict[str, float]:
    each = [asdict(one) for one in judged]
    return {name: round(float(np.mean([one[name] for one in each])), 4) for name in each[0]}


def table(result: Mapping[str, Any]) -> Iterator[str]:
    """The rows as a Markdown table, line by line."""
    changed = result["rows"][0]["changed"] / result["size"] ** 2
    yield (
        f"{result['size']} x {result['size']} pixels, {percent(changed)} % of which truly changed their class; head "
        f"`{result['head']}` of {result['labels_per_class']} points a class in {result['years'][0]}, means of "
        f"{len(result['seeds'])} draws."
    )
    yield ""
    yield "| false alarms accepted | smallest place | places | of them truly changed | precision | recall | class right |"
    yield "|" + "---:|" * 7
    for row in result["rows"]:
        rate = "head alone" if row["rate"] == 1 else f"{100 * row['rate']:g} %"
        shares = " | ".join(f"{percent(row[name], 1)} %" for name in ("precision", "recall", "right_class"))
        yield f"| {rate} | {row['smallest']} | {row['places']:.0f} | {row['places_right']:.0f} | {shares} |"
    yield ""
