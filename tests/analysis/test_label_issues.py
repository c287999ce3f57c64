from __future__ import annotations

import numpy as np
import pytest

from tessera_core.analysis.label_issues import find_label_issues
from tessera_core.labels.model import Label, LabelClass
from tessera_core.raster import EmbeddingRaster
from tests.factories import make_raster

CLASSES = [LabelClass(1, "maize", "#ff0000"), LabelClass(2, "grass", "#00ff00"), LabelClass(3, "wood", "#0000ff")]


def landscape(alike: bool = False) -> tuple[EmbeddingRaster, np.ndarray]:
    """Stripes of three classes, 240 x 90 pixels; classes 1 and 2 are one and the same where ``alike``."""
    rng = np.random.default_rng(0)
    truth = np.repeat([1, 2, 3], 30)[None].repeat(240, 0)
    centres = np.random.default_rng(5).normal(size=(4, 16)) * 3
    if alike:
        centres[2] = centres[1]
    x = centres[truth] + 0.5 * rng.normal(size=(*truth.shape, 16))
    return make_raster(x, empty=np.s_[0, 0]), truth


def click(number: int, row: int, col: int, class_id: int) -> Label:
    return Label(f"l{number}", class_id, "point", ((col + 0.5, -(row + 0.5)),))


def good_labels(truth: np.ndarray, step: int = 24) -> list[Label]:
    places = [(row, col) for row in range(6, 240, step) for col in (15, 45, 75)]
    return [click(i, row, col, int(truth[row, col])) for i, (row, col) in enumerate(places)]


def test_good_labels_need_no_doctor() -> None:
    raster, truth = landscape()
    assert find_label_issues(good_labels(truth), CLASSES, raster) == []


@pytest.mark.parametrize("wrong", [2, 13, 27])
def test_a_mistaken_click_is_found_with_what_it_looks_like(wrong: int) -> None:
    raster, truth = landscape()
    labels = good_labels(truth)
    row, col = 6 + 24 * (wrong // 3), (15, 45, 75)[wrong % 3]
    right = int(truth[row, col])
    labels[wrong] = click(wrong, row, col, right % 3 + 1)
    found = find_label_issues(labels, CLASSES, raster)
    assert [f.kind for f in found] == ["likely wrong"]
    assert found[0].labels == (f"l{wrong}",)
    assert (found[0].row, found[0].col) == (row, col)
    assert found[0].class_ids == (right % 3 + 1, right)
    assert CLASSES[right - 1].name in found[0].sentence
    assert found[0].severity == "high"


def test_classes_that_are_one_thing_are_said_to_overlap() -> None:
    raster, truth = landscape(alike=True)
    found = [f for f in find_label_issues(good_labels(truth, 12), CLASSES, raster) if f.kind == "overlap"]
    assert [f.class_ids for f in found] == [(1, 2)]
    assert "maize and grass look alike" in found[0].sentence


def test_doubles_and_contradictions() -> None:
    raster, truth = landscape()
    labels = good_labels(truth)
    again = click(100, 6, 15, 1)
    against = click(101, 30, 45, 3)
    found = find_label_issues([*labels, again, against], CLASSES, raster)
    by_kind = {f.kind: f for f in found}
    assert by_kind["duplicate"].labels == ("l0", "l100")
    assert (by_kind["duplicate"].row, by_kind["duplicate"].col) == (6, 15)
    assert by_kind["contradiction"].labels == ("l4", "l101")
    assert "only the last, wood, counts" in by_kind["contradiction"].sentence
    assert found[0].severity == "high"
    assert found[-1].severity == "low"


def test_clicks_in_a_heap_and_classes_too_small() -> None:
    raster, truth = landscape()
    labels = [label for label in good_labels(truth) if label.class_id != 3]
    heap = [click(200 + i, 100 + i, 80, 3) for i in range(6)]
    found = find_label_issues([*labels, *heap], CLASSES, raster)
    by_kind = {f.kind: f for f in found}
    assert set(by_kind) == {"too close", "too few"}
    assert len(by_kind["too close"].labels) == 6
    assert "lie at 1 place" in by_kind["too few"].sentence
    few = find_label_issues([*labels, heap[0]], CLASSES, raster)
    assert [f.kind for f in few] == ["too few"]
    assert "only 1 label;" in few[0].sentence


def test_no_labels_and_labels_without_data() -> None:
    raster, _ = landscape()
    assert [f.sentence for f in find_label_issues([], CLASSES[:1], raster)] == [
        "maize has no label, so the map will not show it."
    ]
    found = find_label_issues([click(1, 0, 0, 1)], CLASSES[:1], raster)
    assert [f.kind for f in found] == ["too few"]
