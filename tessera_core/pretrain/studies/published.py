"""The authors' published result files of biomass and burned area, computed anew as tables.

Reads the folder layout of their downstream tasks: ``biomassters/data/metrics/MODEL/{rmse,r2,mb}_results.csv`` (share of labels, one
value a run), maps of truth and prediction of one name in ``biomassters/data/*_dir_example``, and
``burned_areas/data/training_results.npz`` (scores by number of labels). What a folder has is told, what it has not is left out.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import write_json, write_text
from tessera_core._utils.npy import load_npy
from tessera_core.errors import InputError
from tessera_core.gate import open_archive, read_bytes
from tessera_core.pretrain.studies.tables import table

METRICS = {"rmse": "RMSE, t/ha", "r2": "R2", "mb": "mean bias, t/ha"}
_BIOMASS, _BURNED = Path("biomassters/data"), Path("burned_areas/data/training_results.npz")
_TRUTH = "gt"


def map_scores(truth: NDArray[Any], predicted: NDArray[Any]) -> dict[str, float]:
    """``r2``, ``rmse`` and ``bias`` (predicted less truth) of two maps, over pixels where both are finite.

    Raises:
        InputError: the maps are of different shapes.

    Example:
        >>> map_scores(np.array([0.0, 10.0]), np.array([1.0, 9.0]))
        {'r2': 0.96, 'rmse': 1.0, 'bias': 0.0}
    """
    if truth.shape != predicted.shape:
        raise InputError(f"The maps have the shapes {truth.shape} and {predicted.shape}; they are not of one place.")
    known = np.isfinite(truth) & np.isfinite(predicted)
    t, p = truth[known].astype(np.float64), predicted[known].astype(np.float64)
    if not len(t):
        raise InputError("The maps have no pixel in common that is known in both.")
    spread = float(np.square(t - t.mean()).sum())
    r2 = 1 - float(np.square(t - p).sum()) / spread if spread > 0 else float("nan")
    return {"r2": r2, "rmse": float(np.sqrt(np.square(t - p).mean())), "bias": float((p - t).mean())}


def run(folder: str | Path, out: str | Path) -> dict[str, Any]:
    """Compute all that the folder has; writes ``published.json`` and ``published.md`` to ``out``.

    Returns:
        JSON object: ``biomass`` -> model -> metric -> share of labels -> values; ``maps`` -> name -> scores; ``burned`` ->
        ``labels`` and scores by model; ``table``.

    Raises:
        InputError: there is none of these files, or one is damaged.
    """
    folder = Path(folder)
    result: dict[str, Any] = {
        "biomass": biomass(folder),
        "maps": _maps(folder / _BIOMASS),
        "burned": burned(folder),
    }
    if not any(result.values()):
        raise InputError(f"{folder} holds none of {_BIOMASS}/metrics, maps in {_BIOMASS} and {_BURNED}.")
    result["table"] = markdown(result)
    write_json(Path(out) / "published.json", result)
    write_text(Path(out) / "published.md", result["table"])
    return result


def biomass(folder: Path) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Model -> metric of :data:`METRICS` -> share of labels -> one value a run; empty where the folder holds no such tables.

    Raises:
        InputError: a table is damaged.
    """
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for place in sorted(path for path in (folder / _BIOMASS / "metrics").glob("*") if path.is_dir()):
        for metric in METRICS:
            path = place / f"{metric}_results.csv"
            if path.is_file():
                found.setdefault(place.name, {})[metric] = _curve(path)
    return found


def _curve(path: Path) -> dict[str, list[float]]:
    """Share of labels -> one value a run."""
    curve: dict[str, list[float]] = {}
    try:
        for row in csv.DictReader(io.StringIO(read_bytes(path).decode("utf-8"))):
            curve.setdefault(f"{float(row['frac']):g}", []).append(float(row["val"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no table of frac and val.") from error
    return curve


def _maps(folder: Path) -> dict[str, dict[str, float]]:
    places = sorted(path for path in folder.glob("*_dir_example") if path.is_dir())
    truths = {path.name: path for place in places if place.name.startswith(_TRUTH) for path in place.glob("*.npy")}
    found = {}
    for place in places:
        if place.name.startswith(_TRUTH):
            continue
        for path in sorted(place.glob("*.npy")):
            if path.name in truths:
                name = f"{place.name.removesuffix('_dir_example')}, {path.stem}"
                found[name] = map_scores(load_npy(truths[path.name], InputError), load_npy(path, InputError))
    return found


def burned(folder: Path) -> dict[str, list[float]]:
    """``labels`` and the scores of each model; empty where the folder holds no such file.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / _BURNED
    if not path.is_file():
        return {}
    with open_archive(path, error=InputError) as archive:
        arrays = {}
        for member in archive.names:
            try:
                data = io.BytesIO(archive.read(member))
                arrays[member.removesuffix(".npy")] = np.lib.format.read_array(data, allow_pickle=False)
            except (ValueError, EOFError, TypeError, SyntaxError) as error:
                raise InputError(f"{path.name}: {member} is no plain NumPy array.") from error
    counts = arrays.get("sample_counts")
    if counts is None:
        raise InputError(f"{path.name} has no array sample_counts.")
    scores = {k.removeprefix("scores_"): v.tolist() for k, v in arrays.items() if k.startswith("scores_")}
    wrong = [name for name, values in scores.items() if len(values) != len(counts)]
    if wrong:
        raise InputError(f"{path.name}: the scores of {wrong[0]} are not as many as the numbers of labels.")
    return {"labels": counts.tolist(), **scores}


def markdown(result: Mapping[str, Any]) -> str:
    """The tables, mean and deviation (of a population) over runs."""
    parts = []
    for metric, title in METRICS.items():
        curves = {model: found[metric] for model, found in result["biomass"].items() if metric in found}
        if not curves:
            continue
        shares = sorted({share for curve in curves.values() for share in curve}, key=float)
        rows = [[model, *(_cell(curve.get(share, [])) for share in shares)] for model, curve in curves.items()]
        parts.append(table([f"biomass, {title}; share of labels", *shares], rows))
    if result["maps"]:
        rows = [
            [name, f"{one['r2']:.4f}", f"{one['rmse']:.2f}", f"{one['bias']:.2f}"]
            for name, one in result["maps"].items()
        ]
        parts.append(table(["biomass map", "R2", "RMSE, t/ha", "bias, t/ha"], rows))
    if result["burned"]:
        counts = [str(n) for n in result["burned"]["labels"]]
        rows = [[k, *(f"{v:.3f}" for v in values)] for k, values in result["burned"].items() if k != "labels"]
        parts.append(table(["burned area, score; labels", *counts], rows))
    return "\n".join(parts)


def _cell(values: list[float]) -> str:
    return f"{np.mean(values):.2f} ± {np.std(values):.2f}" if values else "-"
