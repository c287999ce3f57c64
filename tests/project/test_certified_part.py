"""The certified part of a project's map: one function behind page, file, command line and report, honest where there is none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from tessera_core.assess.certified import CERTIFIED, NO_DATA, NOT_CERTIFIED, violation
from tessera_core.assess.designs import draw
from tessera_core.errors import LabelError, ProjectError
from tessera_core.grid import Grid
from tessera_core.labels.sampling import label_pixels
from tessera_core.project import validate
from tessera_core.project.certified import asked_for, certified_band, certified_part, write_certified
from tessera_core.project.project import Project
from tessera_core.project.validate import Validation
from tessera_core.provenance import Provenance

GRID = Grid("EPSG:32631", Affine(10, 0, 4e5, 0, -10, 5.7e6), (80, 100))

# Nothing taught these maps.
NONE = label_pixels((), GRID)


def _world(seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A map, its confidence, and the truth: right nearly always where it is sure, and seldom where it is not."""
    rng = np.random.default_rng(seed)
    classes = rng.choice([1, 2], p=[0.7, 0.3], size=GRID.shape).astype(np.uint8)
    classes[:4] = 0
    confidence = rng.integers(30, 101, GRID.shape).astype(np.uint8)
    confidence[classes == 0] = 255
    wrong = rng.random(GRID.shape) < 0.5 * ((100 - np.minimum(confidence, 100)) / 70) ** 3
    return classes, confidence, np.where(wrong, 3 - classes, classes)


def _answered(design: str = "random", n: int = 200, seed: int = 0) -> tuple[Validation, np.ndarray, np.ndarray]:
    classes, confidence, truth = _world()
    current = Validation(2023, GRID, draw(classes, n, design, at_least=min(20, n), seed=seed))
    sample = current.sample
    return (
        replace(current, sample=replace(sample, reference=truth[sample.rows, sample.cols].astype(np.int64))),
        classes,
        confidence,
    )


@pytest.mark.parametrize("design", ["random", "stratified"])
def test_the_most_confident_part_is_certified_and_drawn(design: str, tmp_path: Path) -> None:
    current, classes, confidence = _answered(design)
    part = certified_part(current, classes, confidence, NONE)
    assert part.any
    assert part.found is not None
    band = certified_band(part, classes, confidence)
    assert set(np.unique(band)) == {NO_DATA, CERTIFIED, NOT_CERTIFIED}
    assert (band == NO_DATA).sum() == (classes == 0).sum()
    assert int((band == CERTIFIED).sum()) == part.pixels
    assert part.found.share == pytest.approx(part.pixels / (classes > 0).sum())
    assert part.hectares == pytest.approx(part.pixels / 100)
    assert confidence[band == CERTIFIED].min() >= part.found.threshold
    provenance = Provenance("tessera", "2.0", "2B-L", 8, 2023)
    path = write_certified(tmp_path / "part", part, classes, confidence, current, provenance)
    with rasterio.open(path) as file:
        assert np.array_equal(file.read(1), band)
        assert file.nodata == NO_DATA
        assert file.tags()["tessera_most_wrong"] == "0.1"
        assert file.tags()["tessera_certified"] == part.sentences()[0]
        assert file.tags(1)["class_1"] == "certified"
    # Two places on labels and one pixel beside all: it stands with the promise, and in the file.
    at = np.array([(*pair,) for pair in zip(current.sample.rows[:2], current.sample.cols[:2], strict=True)] + [(0, 0)])
    taught = certified_part(current, classes, confidence, NONE._replace(rows=at[:, 0], cols=at[:, 1]))
    said = "2 of 200 places also taught the map; as it may be right there more often than elsewhere, the promise may not hold."
    assert taught.sentences() == [*part.sentences(), said]
    unknown = certified_part(current, classes, confidence, None).sentences()
    assert unknown[:-1] == part.sentences()
    assert unknown[-1].startswith(
        "Which places taught the map is not known: its head was saved earlier. As it may be right"
    )
    with rasterio.open(write_certified(tmp_path / "taught", taught, classes, confidence, current, provenance)) as file:
        assert file.tags()["tessera_certified"] == f"{part.sentences()[0]} {said}"


def test_what_is_promised_is_kept_as_often_as_said() -> None:
    _, confidence, truth = _world()
    parts = []
    for seed in range(60):
        current, classes, confidence = _answered(seed=seed)
        found = certified_part(current, classes, confidence, NONE).found
        assert found is not None
        parts.append(found)
    covered = classes > 0
    broken = violation(confidence[covered], (truth != classes)[covered], parts)
    assert broken <= 0.15  # 0.05, and more than 3 standard errors of 60
    assert np.mean([part.share for part in parts]) > 0.1


def test_nothing_is_promised_before_the_end_of_another_map_or_of_a_bad_one() -> None:
    current, classes, confidence = _answered()
    early = certified_part(current.answer(5, None), classes, confidence, NONE)
    assert early.open == 1
    assert "to go: 1" in early.sentences()[0]
    with pytest.raises(LabelError, match="to go: 1"):
        certified_band(early, classes, confidence)
    by_class, *_ = _answered("stratified")
    other = np.where(classes == 1, 2, classes)
    assert certified_part(by_class.on_map(other), other, confidence, NONE).moved
    # Places that cannot be told count as wrong.
    unsure = current
    for place in range(len(current.sample)):
        unsure = unsure.answer(place, 0)
    nothing = certified_part(unsure, classes, confidence, NONE)
    assert not nothing.any
    assert nothing.more is None
    assert "Nothing of the map can be certified" in nothing.sentences()[0]
    assert (certified_band(nothing, classes, confidence) != CERTIFIED).all()
    # Few places, all right: how many more would do.
    few, *_ = _answered(n=12)
    right = replace(few, sample=replace(few.sample, reference=few.sample.mapped))
    short = certified_part(right, classes, confidence, NONE)
    assert not short.any
    assert short.more is not None
    assert 10 <= short.more <= 60
    assert f"about {short.more} more places" in short.sentences()[1]


def test_what_is_asked_for_is_kept_with_the_sample_and_says_when_it_was_chosen(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project", "Fields")
    current, classes, confidence = _answered()
    chosen = asked_for(current.blank(), 0.2, 0.01)
    assert chosen.promise.after == 0
    late = asked_for(current, 0.2, 0.01)
    assert late.promise.after == 200
    assert "after 200 places" in certified_part(late, classes, confidence, NONE).sentences()[-1]
    assert asked_for(late, 0.2, 0.01) is late
    validate.save(project, late)
    again = validate.load(project, 2023)
    assert again is not None
    assert again.promise == late.promise
    path = project.folder / "validation-2023.json"
    for promise in ({"most_wrong": 2}, {"risk": 0}, {"after": -1}, [], "x"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"promise": promise}))
        with pytest.raises(ProjectError, match="damaged"):
            validate.load(project, 2023)
    with pytest.raises(LabelError, match="between 0 and 50"):
        asked_for(current, 0.7, 0.05)
