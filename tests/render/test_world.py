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
