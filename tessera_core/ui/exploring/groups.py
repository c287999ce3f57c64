"""Groups of alike pixels, found without labels: k-means, its map and its table, in every year."""

from __future__ import annotations

import colorsys

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.analysis.clusters import Clusters, kmeans
from tessera_core.exploring import PixelSample, groups_of
from tessera_core.render.palette import encode
from tessera_core.ui.exploring.place import Place, year_name
from tessera_core.ui.scene import MAX_OPEN, OpenScene
from tessera_core.ui.view_map import Layer

DEFAULT = 8


def layers(place: Place) -> list[Layer]:
    """The groups of the year in sight."""
    found = _groups(place, place.year)
    colours = colours_of(_count(place))
    version = f"{place.scene.key}|{_basis(place)}|{_count(place)}"
    legend = tuple((colour, f"group {i + 1}") for i, colour in enumerate(colours))
    png = _png(version, found, place.scene, colours)
    return [Layer("groups", f"Groups, {year_name(place.year)}", png, version, opacity=0.8, legend=legend)]


def panel(place: Place) -> None:
    """How many groups, and how large each is in every year."""
    st.slider("How many groups", 2, 20, DEFAULT, key=f"{place.key}_groups")
    if len(place.scenes) > 1:
        st.caption(
            f"Found in {year_name(_basis_year(place))} and carried to the other years, so a group is the same in all."
        )
    count = _count(place)
    columns: dict[str, list[object]] = {"Group": [f"{i + 1}" for i in range(count)]}
    for year, scene in place.scenes.items():
        sizes = np.bincount(_groups(place, year).ravel(), minlength=count + 1)[1 : count + 1]
        total = max(1, int(sizes.sum()))
        columns[f"{year_name(year)}: share"] = [f"{100 * size / total:.1f} %" for size in sizes]
        columns[f"{year_name(year)}: pixels"] = [f"{size:,}" for size in sizes]
        if scene.raster.grid.georeferenced and len(place.scenes) == 1:
            hectare = scene.raster.grid.pixel_area_m2 / 10_000
            columns["Area"] = [f"{size * hectare:,.0f} ha" for size in sizes]
    st.dataframe(columns, hide_index=True, width="stretch")
    st.caption(
        "Groups hold pixels that behave alike; they need not be classes. One class may fall into several groups, and one "
        "group may hold several classes. The colours are in the legend on the map."
    )


def colours_of(count: int) -> list[str]:
    """Colours of ``count`` groups, neighbours in the list far apart."""
    out = []
    for i in range(count):
        # Steps of the golden ratio around the colour circle, with three lightnesses in turn.
        r, g, b = colorsys.hls_to_rgb((0.58 + i * 0.618034) % 1, (0.45, 0.68, 0.3)[i % 3], 0.62)
        out.append(f"#{round(255 * r):02x}{round(255 * g):02x}{round(255 * b):02x}")
    return out


def of_pixels(place: Place, sample: PixelSample) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Group (0 = no data) of sampled pixels, and the colours by that index."""
    out = np.zeros(len(sample), np.uint8)
    for position, year in enumerate(place.scenes):
        mine = sample.year == position
        out[mine] = _groups(place, year)[sample.rows[mine], sample.cols[mine]]
    return out, ("#b4b9bf", *colours_of(_count(place)))


def _count(place: Place) -> int:
    return int(st.session_state.get(f"{place.key}_groups") or DEFAULT)


def _basis_year(place: Place) -> int | None:
    return list(place.scenes)[-1]


def _basis(place: Place) -> str:
    return place.scenes[_basis_year(place)].key


def _groups(place: Place, year: int | None) -> NDArray[np.uint8]:
    basis = place.scenes[_basis_year(place)]
    found = _found(basis.key, _count(place), basis)
    if year == _basis_year(place):
        return found.labels
    scene = place.scenes[year]
    return _carried(f"{basis.key}|{_count(place)}|{scene.key}", scene, found)


@st.cache_resource(max_entries=4, show_spinner="Grouping the pixels…")
def _found(scene_key: str, count: int, _scene: OpenScene) -> Clusters:
    return kmeans(_scene.raster, count)


@st.cache_resource(max_entries=2 * MAX_OPEN, show_spinner=False)
def _carried(version: str, _scene: OpenScene, _found: Clusters) -> NDArray[np.uint8]:
    return groups_of(_scene.raster, _found.centres)


@st.cache_resource(max_entries=4, show_spinner=False)
def _png(version: str, _groups: NDArray[np.uint8], _scene: OpenScene, _colours: list[str]) -> bytes:
    return encode(_scene.display.warp(_groups), {i + 1: colour for i, colour in enumerate(_colours)})
