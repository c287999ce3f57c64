import json
from pathlib import Path

import numpy as np

from tessera_core.render.world import world_outline


def inside(lon: float, lat: float) -> bool:
    from shapely import Point, Polygon

    return any(Polygon(ring).contains(Point(lon, lat)) for ring in world_outline().land if len(ring) > 3)


def test_land_and_sea_are_where_they_are() -> None:
    for name, lon, lat, land in (
        ("Cambridge", 0.12, 52.2, True),
        ("Nairobi", 36.8, -1.3, True),
        ("Kansas", -98, 38.5, True),
        ("Alice Springs", 133.9, -23.7, True),
        ("mid Atlantic", -35, 30, False),
        ("Tasman Sea", 160, -38, False),
    ):
        assert inside(lon, lat) is land, name


def test_rings_are_closed_and_borders_lie_on_earth() -> None:
    world = world_outline()
    assert all(np.allclose(ring[0], ring[-1]) for ring in world.land)
    lines = np.concatenate(world.borders)
    assert len(world.borders) > 200
    assert np.abs(lines[:, 0]).max() <= 180
    assert np.abs(lines[:, 1]).max() <= 90


def test_the_outline_is_the_packages_own_file_and_names_its_source(root: Path) -> None:
    folder = root / "tessera_core" / "render" / "data"
    assert "public domain" in json.loads((folder / "world-110m.json").read_text())["source"]
    assert "make_world_outline.py" in (folder / "README.md").read_text()
    # Neighbours share their border to the last digit, so that no sliver shows between them.
    ends = {tuple(line[i]) for line in world_outline().borders for i in (0, -1)}
    assert len(ends) < 2 * len(world_outline().borders)


def test_islands_small_enough_to_lie_inside_a_pixel_of_the_globe_still_close() -> None:
    assert min(len(ring) for ring in world_outline().land) >= 4
