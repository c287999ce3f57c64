"""What the six tasks share: shares of labels, runs, results that are kept, and a table beside the published numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core._utils.atomic import write_json, write_text
from tessera_core.errors import InputError
from tessera_core.gate import read_json
from tessera_core.pretrain.studies.downstream.anchors import Anchor
from tessera_core.pretrain.studies.tables import table
from tessera_core.types import Progress

_FORMAT = 1


@dataclass(frozen=True)
class Metric:
    """A score of a task.

    Attributes:
        key: in results.
        title: for people, with its unit.
        digits: after the point.
    """

    key: str
    title: str
    digits: int = 3


@dataclass(frozen=True)
class Effort:
    """How long a head learns, and how large it is.

    Attributes:
        epochs: passes over the labels.
        width: channels of the first level of a U-Net, twice and four times as many below; of no effect on other heads.
        crop: edge of the pieces that a U-Net learns from, pixels, a multiple of 4.
        batch: pieces a step.
        steps: optimiser steps at least, where the labels are few.
    """

    epochs: int
    width: int = 24
    crop: int = 64
    batch: int = 4
    steps: int = 200


@dataclass(frozen=True)
class Data:
    """What a folder holds for one embedding of a task.

    Attributes:
        stamp: JSON values that change where the files do.
        parts: what the task's ``judge`` works on.
    """

    stamp: Any
    parts: Any


@dataclass(frozen=True)
class Task:
    """One published task.

    Attributes:
        name: on the command line.
        title: for people.
        layout: one sentence: what the folder must hold.
        protocol: one sentence: how labels are divided, which head, which scores.
        metrics: the first is the one that was published.
        shares: of the labels that teach, 0 to 1.
        runs: seeds a share has, where nothing else is asked for.
        light, published: efforts for a laptop, and as the authors had it.
        read: folder -> embedding's name -> its data; empty where the folder holds none; raises InputError where something
            is missing beside what it has.
        judge: data, share, seed and effort -> metric's key -> score.
        anchors: published numbers.
        files: folder -> curves of result files in it, which then stand for the published numbers of their kind.
    """

    name: str
    title: str
    layout: str
    protocol: str
    metrics: tuple[Metric, ...]
    shares: tuple[float, ...]
    runs: int
    light: Effort
    published: Effort
    read: Callable[[Path], dict[str, Data]]
    judge: Callable[[Any, float, int, Effort], dict[str, float]]
    anchors: tuple[Anchor, ...]
    files: Callable[[Path], list[Anchor]] = lambda folder: []


@dataclass(frozen=True)
class Setting:
    """How a task is done.

    Attributes:
        shares: of the labels; empty for the task's own.
        runs: 0 for the task's own number.
        as_published: heads as large and as long taught as the authors'; for a GPU.
    """

    shares: tuple[float, ...] = ()
    runs: int = 0
    as_published: bool = False


def run(
    task: Task, folder: str | Path, out: str | Path, setting: Setting | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Do a task for every embedding in a folder; writes ``downstream-TASK.json`` and ``.md`` to ``out``.

    What each run said is kept in ``out/kept``: an interrupted task goes on, and another embedding costs its own part only.

    Args:
        task: one of :data:`~tessera_core.pretrain.studies.downstream.tasks.TASKS`.
        folder: data in the task's layout.
        out: folder for results.
        setting: how.
        progress: ``(done, total, message)``; units are runs.

    Returns:
        JSON object: ``task``, ``effort``, ``results`` (embedding -> metric -> share -> values of the runs), ``published``
        (list of model, metric, values and source), ``left_out`` (embedding -> share -> why it could not be done), ``table``.

    Raises:
        InputError: the folder is not in the layout, or something in it is damaged.
    """
    setting, folder, out = setting or Setting(), Path(folder), Path(out)
    found, curves = task.read(folder), task.files(folder)
    if not found and not curves:
        raise InputError(f"{folder} holds nothing of the task {task.name}. {task.layout}")
    shares, runs = setting.shares or task.shares, setting.runs or task.runs
    effort = task.published if setting.as_published else task.light
    results: dict[str, dict[str, dict[str, list[float]]]] = {}
    left_out: dict[str, dict[str, str]] = {}
    done, total = 0, len(found) * len(shares) * runs
    for model, data in found.items():
        curve: dict[str, dict[str, list[float]]] = {one.key: {} for one in task.metrics}
        for share in shares:
            for seed in range(runs):
                if progress:
                    progress(done, total, f"{model}, {share:.4g} of the labels")
                done += 1
                scores = _kept(task, data, out / "kept", share, seed, effort)
                if "why" in scores:
                    left_out.setdefault(model, {})[f"{share:g}"] = str(scores["why"])
                    done += runs - seed - 1
                    break
                for key, value in scores.items():
                    curve[key].setdefault(f"{share:g}", []).append(float(value))
        results[model] = curve
    kinds = {one.source for one in curves}
    anchors = [*(one for one in task.anchors if one.source not in kinds), *curves]
    result: dict[str, Any] = {
        "task": task.name,
        "effort": asdict(effort),
        "as_published": setting.as_published,
        "results": results,
        "left_out": left_out,
        "published": [asdict(one) | {"values": {f"{s:g}": v for s, v in one.values.items()}} for one in anchors],
    }
    result["table"] = markdown(task, result)
    write_json(out / f"downstream-{task.name}.json", result)
    write_text(out / f"downstream-{task.name}.md", result["table"])
    if progress:
        progress(total, total, "")
    return result


class TooFewError(InputError):
    """A share of the labels is too small to teach by; the task goes on with the next."""


def _kept(task: Task, data: Data, kept: Path, share: float, seed: int, effort: Effort) -> dict[str, Any]:
    told = [_FORMAT, task.name, data.stamp, share, seed, asdict(effort)]
    path = kept / f"{hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]}.json"
    if path.exists():
        known: dict[str, Any] = read_json(path)
        return known
    try:
        scores: dict[str, Any] = dict(task.judge(data.parts, share, seed, effort))
    except TooFewError as error:
        scores = {"why": str(error)}
    write_json(path, scores)
    return scores


def markdown(task: Task, result: Mapping[str, Any]) -> str:
    """The task in words and one table a metric, the published numbers beside ours."""
    parts = [f"{task.title}. {task.protocol}\n"]
    published = result["published"]
    for metric in task.metrics:
        rows: list[tuple[str, Mapping[str, Sequence[float]]]] = [
            (model, curves[metric.key]) for model, curves in result["results"].items() if curves[metric.key]
        ]
        sources = []
        for one in published:
            if one["metric"] == metric.key:
                sources.append(one["source"])
                number = list(dict.fromkeys(sources)).index(one["source"]) + 1
                rows.append((f"published [{number}]: {one['model']}", {s: [v] for s, v in one["values"].items()}))
        if not rows:
            continue
        shares = sorted({share for _, curve in rows for share in curve}, key=float)
        header = [f"{metric.title}; share of the labels", *(_percent(float(share)) for share in shares)]
        parts.append(table(header, [[name, *(_cell(c.get(s, []), metric) for s in shares)] for name, c in rows]))
        parts += [f"[{n}] {source}.\n" for n, source in enumerate(dict.fromkeys(sources), start=1)]
    for model, shares_of in result["left_out"].items():
        parts += [f"{model}, {_percent(float(share))}: {why}\n" for share, why in shares_of.items()]
    if result["results"] and not result["as_published"]:
        parts.append(
            "These heads are light ones for a computer without a graphics card, so they may stay behind the published numbers; "
            "--as-published takes heads of the authors' size and as many passes.\n"
        )
    return "\n".join(parts)


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _cell(values: Sequence[float], metric: Metric) -> str:
    if not len(values):
        return "-"
    mean = f"{np.mean(values):.{metric.digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values):.{metric.digits}f}"
