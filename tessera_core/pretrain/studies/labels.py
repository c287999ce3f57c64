"""What labels a frozen encoder saves: heads on embeddings beside what people do without them, at few to many labels a class.

The peers are a random forest and logistic regression on raw statistics (:func:`.raw_medians`). Whole parcels are held out, and
every method gets the same labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core._utils.atomic import write_json
from tessera_core.models.checkpoint import LoadedEncoder
from tessera_core.pretrain.studies.scenes import StudyScene, embed, score
from tessera_core.pretrain.studies.tables import mean_sd, table
from tessera_core.types import Progress

COUNTS = (1, 5, 10, 50)
OURS = {
    "prototype": "embedding, class means (the app's default)",
    "ridge": "embedding, ridge",
    "logistic": "embedding, logistic",
}
PLAIN = {"logistic": "raw statistics, logistic", "forest": "raw statistics, random forest"}


def run(
    scenes: Sequence[StudyScene],
    loaded: LoadedEncoder,
    out: str | Path,
    *,
    draws: int = 10,
    counts: Sequence[int] = COUNTS,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compare on all scenes; writes ``labels.json`` and ``labels.md`` to ``out``.

    Args:
        scenes: places; simulated worlds are averaged, every other scene has a table of its own.
        loaded: the encoder; its embeddings are judged as int8.
        out: folder.
        draws: divisions of the fields and draws of labels.
        counts: labels a class.
        progress: ``(done, total, message)``; units are scenes.

    Returns:
        JSON object: ``weights``, ``counts``, ``groups`` -> method -> one list of scores a count (mean over the group's scenes,
        one value a draw), ``table``.
    """
    out = Path(out)
    groups: dict[str, dict[str, list[list[list[float]]]]] = {}
    for number, scene in enumerate(scenes):
        if progress:
            progress(number, len(scenes), scene.name)
        codes = scene.codes(embed(loaded.encoder, loaded.config.normalisation, scene.pixels))
        methods = [(title, codes, head) for head, title in OURS.items()]
        methods += [(title, scene.plain(), head) for head, title in PLAIN.items()]
        for title, samples, head in methods:
            scores = [score(samples, head, count, draws) for count in counts]
            groups.setdefault(scene.group, {}).setdefault(title, []).append(scores)
    result: dict[str, Any] = {"weights": loaded.name, "sha256": loaded.sha256, "counts": list(counts), "draws": draws}
    result["groups"] = {
        group: {title: np.mean(scores, axis=0).tolist() for title, scores in methods.items()}
        for group, methods in groups.items()
    }
    result["scenes"] = {group: len(next(iter(methods.values()))) for group, methods in groups.items()}
    result["table"] = markdown(result)
    write_json(out / "labels.json", result)
    (out / "labels.md").write_text(result["table"], encoding="utf-8")
    if progress:
        progress(len(scenes), len(scenes), "")
    return result


def markdown(result: dict[str, Any]) -> str:
    """Macro-F1, mean and deviation over draws; the best of each column in bold."""
    parts = []
    for group, methods in result["groups"].items():
        means = np.array([[np.mean(scores) for scores in rows] for rows in methods.values()])
        best = means.argmax(0)
        rows = [
            [title, *(f"**{mean_sd(s)}**" if best[j] == i else mean_sd(s) for j, s in enumerate(scores))]
            for i, (title, scores) in enumerate(methods.items())
        ]
        parts.append(table([f"{group}: labels a class", *map(str, result["counts"])], rows))
    return "\n".join(parts)
