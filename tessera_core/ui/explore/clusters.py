"""Groups of alike pixels, found without labels: a tree of groups cut where the slider says, its map and table, in every year.

The pixels are grouped once, in the background; the slider cuts the tree, which is a look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core._utils.colour import lab
from tessera_core.analysis.clusters import ClusterTree, cluster_tree
from tessera_core.analysis.embedding_space import PixelSample, clusters_of
from tessera_core.areas import hectares_per_pixel
from tessera_core.labels.colors import distinct_colors
from tessera_core.language import numeral, percentage, t
from tessera_core.render.palette import encode_indexed, rgb
from tessera_core.types import Cancel, Progress
from tessera_core.ui import tables
from tessera_core.ui.components.view_map import Layer
from tessera_core.ui.explore.context import PAGE, ExploreContext
from tessera_core.ui.humanize import year_name
from tessera_core.ui.results import kept, result_of
from tessera_core.ui.scene import OpenScene

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

DEFAULT, MOST = 8, 20


@dataclass(frozen=True)
class ClustersOfYears:
    """Groups of a region in all its years.

    Attributes:
        tree: found in the newest year.
        leaves: by year, uint8 (H, W): the tree's leaf, from 1, of each pixel; 0 without data.
        sizes: by year, int64 (finest + 1,): pixels of each leaf.
    """

    tree: ClusterTree
    leaves: Mapping[int | None, NDArray[np.uint8]]
    sizes: Mapping[int | None, NDArray[np.int64]]


def found(context: ExploreContext) -> ClustersOfYears | None:
    """The groups, or None while they are being found; a progress bar then stands on the page."""
    result: ClustersOfYears | None = result_of(
        PAGE, _key(context), t("Grouping the pixels"), _work(context), t("Group again")
    )
    return result


def layers(context: ExploreContext) -> list[Layer]:
    """The groups of the year in sight, where they are found."""
    result: ClustersOfYears | None = kept(PAGE).get(_key(context))
    if result is None:
        return []
    count = _count(context, result)
    colours = distinct_colors(count)
    version = f"{_key(context)}|{context.year}|{count}"
    legend = tuple((colour, t("group {i}", i=i + 1)) for i, colour in enumerate(colours))
    png = partial(_png, version, result, context.year, context.scene, count)
    return [Layer("groups", t("Groups, {year_name}", year_name=year_name(context.year)), png, version, legend=legend)]


def panel(context: ExploreContext) -> None:
    """How many groups, and how large each is in every year."""
    result = found(context)
    if result is None:
        return
    count = result.tree.finest
    if count > 2:
        most = min(MOST, count)
        st.slider(
            t("How many groups"),
            2,
            most,
            min(DEFAULT, most),
            key=context.key("groups"),
            help=t("One step up splits one group in two; all others stay as they are."),
        )
    if len(context.scenes) > 1:
        st.caption(
            t(
                "Found in {year_name} and carried to the other years, so a group is the same in all.",
                year_name=year_name(_basis_year(context)),
            )
        )
    count = _count(context, result)
    numbers = result.tree.numbers(count)
    columns: dict[str, list[object]] = {"Group": [f"{i + 1}" for i in range(count)]}
    for year, scene in context.scenes.items():
        sizes = np.bincount(numbers, result.sizes[year], count + 1)[1:]
        total = max(1, int(sizes.sum()))
        columns[t("{year}: share", year=year_name(year))] = [f"{percentage(size / total, 1)} %" for size in sizes]
        if len(context.scenes) > 1:
            # More columns than two years need would not be seen beside the map.
            continue
        columns[t("{year}: pixels", year=year_name(year))] = [numeral(size, ",.0f") for size in sizes]
        if scene.raster.grid.georeferenced:
            hectare = hectares_per_pixel(scene.raster.grid)
            columns["Area"] = [t("{size} ha", size=numeral(size * hectare, ",.0f")) for size in sizes]
    tables.show(_coloured(columns, distinct_colors(count)), hide_index=True, width="stretch")
    st.caption(
        t(
            "Groups hold pixels that behave alike; they need not be classes. One class may fall into "
            "several groups, and one group may hold several classes. Their colours are those of the map. On "
            "the page Label, the panel Groups gives them names."
        )
    )


def _coloured(columns: dict[str, list[object]], colours: Sequence[str]) -> Styler:
    """A table whose first column has the colours of the map."""
    import pandas as pd

    ink = ["#111" if light > 55 else "#fff" for light in lab(colours)[:, 0]]
    looks = [f"background-color: {colour}; color: {text}" for colour, text in zip(colours, ink, strict=True)]
    return pd.DataFrame(columns).style.apply(lambda _: looks, subset=["Group"])


def of_pixels(
    context: ExploreContext, result: ClustersOfYears, sample: PixelSample
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Group (0 = no data) of sampled pixels, and the colours by that index."""
    count = _count(context, result)
    numbers = result.tree.numbers(count)
    out = np.zeros(len(sample), np.uint8)
    for position, year in enumerate(context.scenes):
        mine = sample.year == position
        out[mine] = numbers[result.leaves[year][sample.rows[mine], sample.cols[mine]]]
    return out, ("#b4b9bf", *distinct_colors(count))


def _work(context: ExploreContext) -> Callable[[Progress, Cancel], ClustersOfYears]:
    rasters, basis = context.rasters, _basis_year(context)

    def work(progress: Progress, cancelled: Cancel) -> ClustersOfYears:
        tree = cluster_tree(rasters[basis], cancelled=cancelled)
        leaves = {}
        for number, (year, raster) in enumerate(rasters.items()):
            progress(number, len(rasters), t("carrying the groups to all years"))
            leaves[year] = tree.leaves.labels
            if year != basis:
                leaves[year] = clusters_of(raster, tree.leaves.centres, cancelled)
        sizes = {}
        for year, labels in leaves.items():
            sizes[year] = np.bincount(labels.ravel(), minlength=tree.finest + 1).astype(np.int64)
            # Pixels without data are in no group.
            sizes[year][0] = 0
        return ClustersOfYears(tree, leaves, sizes)

    return work


def _key(context: ExploreContext) -> str:
    return "|".join(("groups", *context.content))


def _basis_year(context: ExploreContext) -> int | None:
    return list(context.scenes)[-1]


def _count(context: ExploreContext, result: ClustersOfYears) -> int:
    return min(int(st.session_state.get(context.key("groups")) or DEFAULT), MOST, result.tree.finest)


@st.cache_resource(max_entries=4, show_spinner=False)
def _index(version: str, _leaves: NDArray[np.uint8], _scene: OpenScene) -> NDArray[np.uint8]:
    return np.asarray(_scene.display.warp(_leaves), np.uint8)


@st.cache_resource(max_entries=4, show_spinner=False)
def _png(version: str, _found: ClustersOfYears, _year: int | None, _scene: OpenScene, _count: int) -> bytes:
    # The picture holds leaves; which group they are in is a matter of its palette.
    index = _index(version.rpartition("|")[0], _found.leaves[_year], _scene)
    colours = [(0, 0, 0, 0), *((*rgb(colour), 255) for colour in distinct_colors(_count))]
    return encode_indexed(index, np.array([colours[number] for number in _found.tree.numbers(_count)], np.uint8))
