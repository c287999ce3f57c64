"""What each part of the method is worth: encoders trained on a fixed budget, each without one part, and judged frozen.

The variants are those of the published ablation (Feng et al. 2025, arXiv 2506.20380; docs/spec/facts.md section 1.8). All get the
same pixels, the same number of steps and the same settings but for the part that is taken away. *No global shuffling* feeds
pixels in the order of their places, so that a batch is a few dozen whole parcels of one world, as a batch of an unshuffled
tile would be. Each variant's result is kept, so an interrupted study goes on where it stopped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core._utils.atomic import write_json
from tessera_core.pretrain.config import PretrainConfig, PretrainError
from tessera_core.pretrain.studies.scenes import StudyScene, embed, score, without_radar
from tessera_core.pretrain.studies.tables import mean_sd, table
from tessera_core.types import Floats, Progress

FULL = "full"
# Points of F1 lost in the published ablation (Austrian crops).
PUBLISHED = {"no-shuffle": 9.2, "no-mixup": 11.1, "neither": 14.7, "no-radar": 3.1, "random": 33.5, "int8": 0.6}
NAMES = {
    FULL: "full recipe",
    "int8": "the same, stored as int8",
    "no-radar": "no Sentinel-1",
    "no-shuffle": "no global shuffling",
    "no-mixup": "no mix-up term",
    "neither": "neither",
    "random": "no training (random encoder)",
}
TRAINED = (FULL, "no-shuffle", "no-mixup", "neither", "no-radar")
DRAWS = 5  # divisions of the fields behind each score


@dataclass(frozen=True)
class Measure:
    """One column of the table: a probe on some scenes."""

    name: str
    title: str
    scenes: tuple[int, ...]
    per_class: int | None


def budget(steps: int, simulated: int, batch: int = 256) -> PretrainConfig:
    """The full recipe on a fixed budget: that of studio-nano with short views, no prefixes and mix-up on whole batches."""
    return PretrainConfig.from_mapping(
        {
            "name": "ablation",
            "data": {
                "simulated": simulated,
                "randomised": 0.5,
                "shards": max(1, simulated // 12288),
                "holdout_worlds": 0,
            },
            "views": {
                "s2": [6, 12],
                "s1": [6, 12],
                "drop_s1": 0.05,
                "drop_s2": 0.05,
                "drop_orbit": 0.25,
                "window": 0.08,
                "gain": 0.03,
                "haze": 0.005,
                "radar_db": 1.2,
            },
            "objective": {"projector": [512, 512]},
            "optimiser": {"learning_rate": 1.5e-3, "warmup": 0.1},
            "run": {
                "steps": steps,
                "batch": batch,
                "micro_batch": 160,
                "dtype": "bf16",
                "threads": 1,
                "checkpoint_every": 100,
            },
        }
    )


def variant(config: PretrainConfig, name: str, seed: int) -> PretrainConfig:
    """``config`` without the part that ``name`` takes away."""
    data, views, objective = config.data, config.views, config.objective
    if name in ("no-shuffle", "neither"):
        data = replace(data, shuffle=False)
    if name in ("no-mixup", "neither"):
        objective = replace(objective, mixup=0.0)
    if name == "no-radar":
        views = replace(views, drop_s1=1.0, drop_s2=0.0)
    return replace(config, name=f"ablation-{name}", seed=seed, data=data, views=views, objective=objective)


def run(
    scenes: Sequence[StudyScene],
    measures: Sequence[Measure],
    config: PretrainConfig,
    out: str | Path,
    seeds: Sequence[int],
    progress: Progress | None = None,
    variants: Sequence[str] = TRAINED,
) -> dict[str, Any]:
    """Train and judge every variant for every seed.

    Args:
        scenes: what the frozen encoders are judged on.
        measures: the columns; ``scenes`` in them are positions in ``scenes``.
        config: the full recipe and its budget.
        out: folder; ``seed-K/NAME.json`` holds each result, ``ablations.json`` and ``ablations.md`` all of them.
        seeds: each has its own training pixels, weights and views.
        progress: ``(done, total, message)``; units are trained variants.
        variants: which of :data:`TRAINED`; the full recipe, which the others are compared with, is always among them.

    Returns:
        JSON object with every score, as :func:`summary` made it.
    """
    out, done = Path(out), 0
    wanted = [name for name in TRAINED if name == FULL or name in variants]
    for seed in seeds:
        for name in wanted:
            if progress:
                progress(done, len(seeds) * len(wanted), f"seed {seed}, {NAMES[name]}")
            place = out / f"seed-{seed}"
            if not (place / f"{name}.json").exists():
                _train_and_judge(scenes, measures, variant(config, name, seed), name, place)
                write_json(out / "ablations.json", summary(out, measures, config))
            done += 1
    result = summary(out, measures, config)
    write_json(out / "ablations.json", result)
    (out / "ablations.md").write_text(result["table"], encoding="utf-8")
    if progress:
        progress(done, done, "")
    return result


def _train_and_judge(
    scenes: Sequence[StudyScene], measures: Sequence[Measure], config: PretrainConfig, name: str, place: Path
) -> None:
    import torch

    from tessera_core.models.encoder import Encoder
    from tessera_core.models.quantise import quantise
    from tessera_core.pretrain.trainer import STATE_FILE, Trainer
    from tessera_core.raster import dequantise

    folder = place / name
    _lend_shards(place, folder, name)
    trainer = Trainer(config, folder, resume=(folder / STATE_FILE).exists())
    trained = trainer.run()
    _keep_shards(place, folder, name)

    def judge(features: Sequence[Floats], key: str) -> None:
        result = {"scores": probes(scenes, measures, features), "rank": _rank(features)}
        write_json(place / f"{key}.json", result | {"steps": config.run.steps, "seconds": trained["seconds"]})

    def features(encoder: Encoder) -> list[Floats]:
        change = without_radar if name == "no-radar" else lambda pixels: pixels
        return [embed(encoder, trainer.normalisation, change(s.pixels)) for s in scenes]

    ours = features(trainer.encoder)
    if name == FULL:
        judge([dequantise(*quantise(f, "v2")) for f in ours], "int8")
        torch.manual_seed(config.seed + 1000)
        judge(features(Encoder(trainer.encoder_config)), "random")
    judge(ours, name)


def _lend_shards(place: Path, folder: Path, name: str) -> None:
    """Variants that read the same pixels in the same order share the files."""
    common = place / ("ordered" if name in ("no-shuffle", "neither") else "shuffled")
    if common.is_dir() and not (folder / "shards").exists():
        folder.mkdir(parents=True, exist_ok=True)
        common.rename(folder / "shards")


def _keep_shards(place: Path, folder: Path, name: str) -> None:
    common = place / ("ordered" if name in ("no-shuffle", "neither") else "shuffled")
    if common.exists() and not (common / "shards.json").is_file():
        raise PretrainError(f"{common} holds something else than training pixels; choose another output folder.")
    shutil.rmtree(common, ignore_errors=True)
    (folder / "shards").rename(common)


def probes(
    scenes: Sequence[StudyScene], measures: Sequence[Measure], features: Sequence[Floats]
) -> dict[str, list[float]]:
    """Macro-F1 of logistic regression for each measure, mean over its scenes, one value a draw."""
    return {
        m.name: np.mean(
            [score(scenes[i].floats(features[i]), "logistic", m.per_class, repeats=DRAWS) for i in m.scenes], axis=0
        ).tolist()
        for m in measures
    }


def _rank(features: Sequence[Floats]) -> float:
    import torch

    from tessera_core.pretrain.barlow import effective_rank

    return float(np.mean([effective_rank(torch.from_numpy(f)) for f in features]))


def summary(out: Path, measures: Sequence[Measure], config: PretrainConfig) -> dict[str, Any]:
    """All results in ``out``: per variant and seed the scores, and the losses against the full recipe of the same seed."""
    runs: dict[str, dict[str, Any]] = {}
    for path in sorted(out.glob("seed-*/*.json")):
        runs.setdefault(path.stem, {})[path.parent.name.removeprefix("seed-")] = json.loads(
            path.read_text(encoding="utf-8")
        )
    variants = {}
    for name in NAMES:
        if name not in runs:
            continue
        one: dict[str, Any] = {"title": NAMES[name], "published_loss": PUBLISHED.get(name), "measures": {}}
        one["rank"] = [r["rank"] for r in runs[name].values()]
        for m in measures:
            means = {seed: float(np.mean(r["scores"][m.name])) for seed, r in runs[name].items()}
            losses = [
                100 * (float(np.mean(runs[FULL][seed]["scores"][m.name])) - value)
                for seed, value in means.items()
                if seed in runs.get(FULL, {})
            ]
            one["measures"][m.name] = {"macro_f1": list(means.values()), "loss": losses}
        variants[name] = one
    result = {
        "measures": {m.name: m.title for m in measures},
        "steps": config.run.steps,
        "batch": config.run.batch,
        "simulated": config.data.simulated,
        "variants": variants,
    }
    return result | {"table": markdown(result)}


def markdown(result: Mapping[str, Any]) -> str:
    """The table of docs/pretraining.md: points of macro-F1 lost against the full recipe, mean and deviation over seeds."""
    titles = result["measures"]
    header = ["", *titles.values(), "rank", "published change (points of F1)"]
    rows = []
    for name, one in result["variants"].items():
        cells = []
        for m in titles:
            values = one["measures"][m]
            cell = mean_sd(values["macro_f1"])
            cells.append(cell if name == FULL else f"{mean_sd(values['loss'], signed=True)}")
        published = "" if one["published_loss"] is None else f"{-one['published_loss']:+.1f}"
        rows.append([one["title"], *cells, f"{float(np.mean(one['rank'])):.3f}", published])
    return table(header, rows)
