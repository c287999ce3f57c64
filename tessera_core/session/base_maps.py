"""Base maps from the internet that every map of ours may offer."""

from __future__ import annotations

# Tile servers whose terms allow light use with attribution. Nothing is asked of them unless a person switches one on.
BASE_MAPS = (
    {
        "name": "Streets",
        "url": "https://tile.openstreetmap.org/{z}/{x}/{y}.png",
        "zoom": 19,
        "attribution": '© <a href="https://www.openstreetmap.org/copyright">OpenStreetMap</a> contributors',
    },
    {
        "name": "Satellite, 2016 and 2017",
        "url": "https://tiles.maps.eox.at/wmts/1.0.0/s2cloudless_3857/default/g/{z}/{y}/{x}.jpg",
        "zoom": 15,
        "attribution": '<a href="https://s2maps.eu">Sentinel-2 cloudless</a> by EOX (contains modified Copernicus '
        "Sentinel data 2016 and 2017), CC BY 4.0",
    },
)
