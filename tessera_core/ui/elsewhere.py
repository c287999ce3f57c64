"""Places of a file that lie outside the open region: said where they are, with the way to a region there."""

from __future__ import annotations

import streamlit as st

from tessera_core.errors import TesseraError
from tessera_core.geocoding import gazetteer
from tessera_core.grid import Grid
from tessera_core.language import numeral, t
from tessera_core.project.request import UNNAMED, box_around, rounded, size_of
from tessera_core.region import Region
from tessera_core.types import BBox
from tessera_core.ui import humanize
from tessera_core.ui.region import chosen

# A region around the places themselves may be so wide; around more, one in their middle is offered.
_WIDEST_KM, _SIDE_KM, _MARGIN_DEG = 20.0, 10.0, 0.005
_AT_KM = 3.0
_DIRECTIONS = ("north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west")


def offer(where: BBox | None, grid: Grid, key: str) -> None:
    """Say where places lie and offer to open a region there; nothing where that is not known.

    Args:
        where: box of the places in degrees.
        grid: of the open region.
        key: of the button.
    """
    if where is None:
        return
    with st.spinner(t("Looking up where these places are…")):
        told = sentence(where, grid)
    st.markdown(humanize.escape(told))
    if st.button(t("Open that place"), icon=":material/travel_explore:", key=key):
        try:
            region = region_at(where)
        except TesseraError as error:
            st.error(humanize.told(error), icon=":material/error:")
            return
        chosen.choose(region, t("Around the places of your file, which lay outside the region that was open."))
        chosen.open_here()
        st.switch_page("pages/region.py")


def sentence(where: BBox, grid: Grid) -> str:
    """Where places lie: the nearest town, and how far from the region in which direction.

    >>> from affine import Affine
    >>> grid = Grid("EPSG:32631", Affine(10, 0, 500_000, 0, -10, 5_600_000), (100, 100))
    >>> sentence((3.70, 51.04, 3.74, 51.07), grid)
    'They lie at Gent, Belgium, 74 km north-east of this region.'
    """
    from pyproj import Geod

    lon, lat = (where[0] + where[2]) / 2, (where[1] + where[3]) / 2
    town, km = gazetteer.nearest(lon, lat)
    near = (
        t("at {name}", name=town.name)
        if km < _AT_KM
        else t("{km} km from {name}", km=numeral(km, ",.0f"), name=town.name)
    )
    said = t("They lie {near}, {country}", near=near, country=town.country)
    if not grid.georeferenced:
        return f"{said}."
    here = grid.pixel_to_lonlat(grid.height / 2, grid.width / 2)
    azimuth, _, metres = Geod(ellps="WGS84").inv(float(here[0]), float(here[1]), lon, lat)
    direction = _DIRECTIONS[round(azimuth % 360 / 45) % 8]
    away = (
        t("{metres} km", metres=numeral(metres / 1000, ",.0f"))
        if metres >= 10_000
        else t("{metres} km", metres=numeral(metres / 1000, ",.1f"))
    )
    return t("{said}, {away} {direction} of this region.", said=said, away=away, direction=direction)


def region_at(where: BBox) -> Region:
    """A region that holds the places, or lies in their middle where they are spread wide.

    Raises:
        InputError: no map can show that part of the Earth.
    """
    import shapely

    west, south, east, north = where
    town, km = gazetteer.nearest((west + east) / 2, (south + north) / 2)
    name = town.name if km < _AT_KM else t("near {name}", name=town.name) if km < 50 else UNNAMED
    box = shapely.box(
        west - _MARGIN_DEG, max(south - _MARGIN_DEG, -90), east + _MARGIN_DEG, min(north + _MARGIN_DEG, 90)
    )
    around = rounded(Region(box, name))
    width, height, _ = size_of(around)
    if max(width, height) <= _WIDEST_KM:
        return around
    return box_around((west + east) / 2, (south + north) / 2, _SIDE_KM, name)
