"""A published reference sample grades a map: columns chosen, classes mapped, nothing dropped without being counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tessera_core.assess.published import read_published
from tessera_core.errors import LabelError
from tests.factories import make_grid

GRID = make_grid((20, 20))
CLASSES = np.ones((20, 20), np.uint8)
CLASSES[:, 10:] = 2
CLASSES[0, 0] = 0
NAMES = {1: "wood", 2: "town"}
# Row, column and class of each place; the last lies far outside.
PLACES = (
    (1, 1, "C1"),
    (2, 12, "A1"),
    (5, 3, "A1"),
    (9, 15, "A1"),
    (9, 15, "C1"),
    (0, 0, "C1"),
    (3, 3, "W9"),
    (900, 0, "A1"),
)


def written(folder: Path, ending: str) -> Path:
    lon, lat = GRID.pixel_to_lonlat(*(np.array([place[k] + 0.5 for place in PLACES]) for k in (0, 1)))
    path = folder / f"lucas{ending}"
    if ending == ".csv":
        lines = [
            f"{n},{x:.7f},{y:.7f},{place[2]}" for n, (x, y, place) in enumerate(zip(lon, lat, PLACES, strict=True))
        ]
        path.write_text("\n".join(["point_id,lon,lat,lc", *lines]))
        return path
    features = [
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [x, y]}, "properties": {"lc": place[2]}}
        for x, y, place in zip(lon, lat, PLACES, strict=True)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.mark.parametrize("ending", [".csv", ".geojson"])
def test_places_of_a_file_grade_the_map_and_the_rest_is_counted(tmp_path: Path, ending: str) -> None:
    found = read_published(written(tmp_path, ending), GRID, CLASSES, NAMES, {"a1": "Town", "C1": "wood"}, field="lc")
    sample = found.sample
    told = sorted(zip(sample.rows.tolist(), sample.cols.tolist(), sample.reference.tolist(), strict=True))
    assert told == [(1, 1, 1), (2, 12, 2), (3, 3, 0), (5, 3, 2), (9, 15, 1), (9, 15, 2)]
    assert len(sample) + sum(found.left_out.values()) == len(PLACES)
    # Left out, a class that the map has not would flatter the map.
    assert found.unnamed == {"W9": 1}
    assert len(found.undecided) == 1
    assert found.left_out["the map has no data there"] == 1
    assert sample.assess().overall.value == pytest.approx(3 / 5)
    assert found.column == "lc"


def test_without_a_legend_names_decide_and_what_fits_nothing_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, ".csv")
    with pytest.raises(LabelError, match=r"C1, A1.*wood, town"):
        read_published(path, GRID, CLASSES, NAMES, field="lc")
    found = read_published(path, GRID, CLASSES, {1: "c1", 2: "A1"}, field="lc")
    assert len(found.sample) == 6
    with pytest.raises(LabelError, match="legend names lake"):
        read_published(path, GRID, CLASSES, NAMES, {"A1": "lake"}, field="lc")
