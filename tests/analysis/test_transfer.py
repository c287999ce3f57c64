from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from tessera_core.analysis import transfer
from tessera_core.analysis.change import detect_change
from tessera_core.analysis.transfer import transfer_labels
from tessera_core.errors import LabelError
from tessera_core.labels.model import Label
from tests.analysis.two_years import PARCEL, two_years
from tools.words import sentences


def label(number: int, class_id: int, grid, row: float, col: float) -> Label:  # type: ignore[no-untyped-def]
    x, y = grid.pixel_to_xy(row, col)
    return Label(f"l{number}", class_id, "point", ((float(x), float(y)),))


def test_labels_survive_where_the_ground_is_the_same() -> None:
    years = two_years(0, share=0.4)
    layer = detect_change(years.first, years.second)
    grid = years.first.grid
    labels, truly = [], []
    for row in range(PARCEL // 2, 144, PARCEL):
        for col in range(PARCEL // 2, 144, PARCEL):
            labels.append(label(len(labels), int(years.covers[row, col]) + 1, grid, row + 0.5, col + 0.5))
            truly.append(bool(years.changed[row, col]))
    got = transfer_labels(labels, grid, layer)
    changed = np.array(truly)
    kept = np.isin([one.id for one in labels], [one.id for one in got.kept])
    assert kept[changed].sum() <= 0.02 * changed.sum()
    assert kept[~changed].mean() > 0.8
    assert len(got.kept) + len(got.changed) + len(got.no_data) == len(labels)
    assert sum(one.survive for one in got.classes) == len(got.kept) == len(got.rows)
    assert got.drift == pytest.approx(1.0, abs=0.4)
    assert got.sentences[0] == f"{len(got.kept)} of {len(labels)} labels of 2023 hold in 2024."
    assert f"Labels where the ground changed or may have: {len(got.changed)}." in got.sentences
    # Each is whole, so that other languages have it.
    said = set(sentences(ast.parse(Path(transfer.__file__).read_text(encoding="utf-8"))))
    assert {re.sub(r"\d+", "#", one) for one in got.sentences} <= {re.sub(r"\{\w+\}", "#", one) for one in said}


def test_labels_without_data_are_told_apart() -> None:
    years = two_years(1)
    layer = detect_change(years.first, years.second)
    grid = years.first.grid
    under, corners = label(1, 1, grid, 40.5, 40.5), [(36, 36), (36, 46), (46, 46), (46, 36)]
    x, y = grid.pixel_to_xy(*np.array(corners, float).T)
    over = Label("l2", 2, "polygon", tuple(zip(x.tolist(), y.tolist(), strict=True)))
    both = transfer_labels([under, over], grid, layer)
    assert [one.id for one in both.covered] == ["l1"]
    assert both.no_data == ()
    assert "Labels under later ones, and so not counted: 1." in both.sentences
    assert not any("no data" in one for one in both.sentences)
    got = transfer_labels([label(0, 1, grid, 0.5, 1.5)], grid, layer)
    assert [one.id for one in got.no_data] == ["l0"]
    assert got.covered == ()
    assert np.isnan(got.drift)
    assert "Labels where a year has no data: 1." in got.sentences
    with pytest.raises(LabelError, match="no labels"):
        transfer_labels([], years.first.grid, layer)
