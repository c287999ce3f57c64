"""Austrian crops: 17 crops of 2022 by pixel, whole fields held out, the smallest fields teaching."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core.assess.metrics import confusion_matrix, score
from tessera_core.errors import InputError
from tessera_core.heads import MLPHead
from tessera_core.pretrain.studies.downstream import reading
from tessera_core.pretrain.studies.downstream.anchors import AUSTRIAN_CROPS
from tessera_core.pretrain.studies.downstream.framework import Data, Effort, Metric, Task, TooFewError

_LABELS, _FIELDS, _TABLE = "fieldtype_17classes*.npy", "fieldid*.npy", "updated_fielddata.csv"
_COLUMNS = ("fid_1", "SNAR_CODE", "area_m2")
_MODEL = re.compile(r"(?:austrian_crop_)?(.+?)_embeddings?(?!.*_scales).*\.npy")
# Of the fields that do not teach, one in seven was for choosing among epochs; it neither teaches nor judges here.
VALIDATION = 1 / 7
SEED = 42


@dataclass(frozen=True)
class Crops:
    """Labelled pixels and the fields they lie in.

    Attributes:
        vectors: of all pixels.
        rows, cols: (N,) of the labelled ones.
        y: (N,) class ids from 1.
        field: (N,) ids of fields.
        ids, codes, areas: (F,) of all fields: their ids, codes of their crops, and areas in square metres.
    """

    vectors: reading.Vectors
    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    y: NDArray[np.int64]
    field: NDArray[np.int64]
    ids: NDArray[np.int64]
    codes: NDArray[np.str_]
    areas: NDArray[np.float64]


def split_fields(
    ids: NDArray[np.int64], codes: NDArray[np.str_], areas: NDArray[np.float64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids of fields that teach and of those that judge, as published: of every crop the smallest fields, until they have
    ``share`` of its area; of the rest one in seven is set aside at random.

    Example:
        >>> teach, judge = split_fields(np.arange(4), np.array(["a"] * 4), np.array([1.0, 2, 3, 4]), 0.3, 0)
        >>> teach.tolist(), judge.tolist()
        ([0, 1], [2, 3])
    """
    teach: list[NDArray[np.int64]] = []
    for code in np.unique(codes):
        own = np.flatnonzero(codes == code)
        own = own[np.argsort(areas[own], kind="stable")]
        before = np.cumsum(areas[own]) - areas[own]
        teach.append(ids[own[before < share * areas[own].sum()]])
    taught = np.unique(np.concatenate(teach))
    rest = np.random.default_rng(seed).permutation(np.setdiff1d(ids, taught))
    return taught, np.sort(rest[int(len(rest) * VALIDATION) :])


def _read(folder: Path) -> dict[str, Data]:
    place = reading.place_of(folder, ("data", "austrian_crop/data"), _LABELS)
    if place is None:
        return {}
    labels_path = sorted(place.glob(_LABELS))[0]
    fields_path, table_path = next(iter(sorted(place.glob(_FIELDS))), None), place / _TABLE
    embeddings = {
        found.group(1): path for path in sorted(place.glob("*embedding*.npy")) if (found := _MODEL.fullmatch(path.name))
    }
    lacking = [
        name
        for name, there in ((_FIELDS, fields_path), (_TABLE, table_path.is_file()), ("NAME_embedding.npy", embeddings))
        if not there
    ]
    if lacking or fields_path is None:
        raise InputError(f"{place} has {labels_path.name} but no {', '.join(lacking)}; copy it there, too.")
    labels, fields = reading.labels_of(labels_path), reading.labels_of(fields_path)
    if labels.shape != fields.shape:
        raise InputError(
            f"{labels_path.name} has the shape {labels.shape} and {fields_path.name} {fields.shape}; they must be one raster."
        )
    told = reading.columns(table_path, _COLUMNS)
    ids = reading.numbers(told["fid_1"], f"{_TABLE}: fid_1").astype(np.int64)
    areas = reading.numbers(told["area_m2"], f"{_TABLE}: area_m2")
    rows, cols = np.nonzero(labels)
    y, field = labels[rows, cols].astype(np.int64), fields[rows, cols].astype(np.int64)
    models = {}
    for name, path in embeddings.items():
        scales = path.with_name(path.stem + reading.SCALES + ".npy")
        vectors = reading.Vectors(path, scales if scales.is_file() else None, (labels.shape[0], labels.shape[1]))
        files = [path, labels_path, fields_path, table_path, *([scales] if scales.is_file() else [])]
        parts = Crops(vectors, rows, cols, y, field, ids, np.array(told["SNAR_CODE"]), areas)
        models[name] = Data(reading.stamp(files, place), parts)
    return models


def _judge(data: Crops, share: float, seed: int, effort: Effort) -> dict[str, float]:
    teach, judge = split_fields(data.ids, data.codes, data.areas, share, SEED + seed)
    train, test = np.flatnonzero(np.isin(data.field, teach)), np.flatnonzero(np.isin(data.field, judge))
    if len(np.unique(data.y[train])) < 2 or not len(test):
        raise TooFewError("fewer than two crops have pixels in the fields that teach, or none lies in the others.")
    head = MLPHead(steps=effort.steps, epochs=effort.epochs, learning_rate=1e-3, class_weight=None, seed=seed)
    head.fit(data.vectors.at(data.rows[train], data.cols[train]), data.y[train])
    said = predicted(head, data.vectors, data.rows[test], data.cols[test])
    ids = np.unique(data.y).tolist()
    scores = score(confusion_matrix(data.y[test], said, ids), ids, {})
    return {key: float(scores[key]) for key in ("weighted_f1", "macro_f1", "accuracy")}


def predicted(
    head: MLPHead, vectors: reading.Vectors, rows: NDArray[np.intp], cols: NDArray[np.intp]
) -> NDArray[np.int64]:
    """Class ids (N,) of pixels, a block at a time."""
    blocks = range(0, len(rows), reading.BLOCK)
    parts = [head.predict(vectors.at(rows[n : n + reading.BLOCK], cols[n : n + reading.BLOCK])) for n in blocks]
    return np.concatenate(parts).astype(np.int64)


TASK = Task(
    "austrian-crops",
    "Austrian crops, 2022",
    "It needs fieldtype_17classes*.npy (classes, 0: none), fieldid*.npy, updated_fielddata.csv (fid_1, SNAR_CODE, area_m2) and "
    "*_embedding*.npy (H, W, D), one for each model; they may lie in data or austrian_crop/data.",
    "Of every crop the smallest fields teach until they have the share of its area, one in seven of the rest is set aside, the "
    "others judge; a network of 512 and 256 units on single pixels; F1 weighted by pixels, and macro-F1.",
    (Metric("weighted_f1", "weighted F1", 4), Metric("macro_f1", "macro-F1"), Metric("accuracy", "accuracy")),
    (0.01, 0.05, 0.1, 0.25, 0.3),
    1,
    Effort(30),
    Effort(200),
    _read,
    _judge,
    AUSTRIAN_CROPS,
)
