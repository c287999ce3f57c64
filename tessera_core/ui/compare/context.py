"""What the parts of the page Compare share: the years chosen and pictures with one meaning of colour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.areas import hectares
from tessera_core.language import later, numeral, t
from tessera_core.project.jobs import Work
from tessera_core.raster import EmbeddingRaster
from tessera_core.ui import humanize, results
from tessera_core.ui.components.view_map import Layer
from tessera_core.ui.frame import PageContext
from tessera_core.ui.scene import OpenScene

PAGE = "compare"
SATELLITE, EMBEDDING = later("Satellite picture"), later("Embedding colours")


@dataclass(frozen=True)
class CompareContext(PageContext):
    """What the page looks at.

    Attributes:
        scenes: every chosen year's scene, by rising year; two at least.
    """

    page: ClassVar[str] = PAGE
    scenes: Mapping[int, OpenScene]

    @property
    def years(self) -> list[int]:
        """The chosen years."""
        return sorted(self.scenes)

    @property
    def first(self) -> int:
        """The earliest chosen year."""
        return self.years[0]

    @property
    def last(self) -> int:
        """The latest."""
        return self.years[-1]

    @property
    def rasters(self) -> dict[int, EmbeddingRaster]:
        """Embeddings by year."""
        return {year: self.scenes[year].raster for year in self.years}

    def content(self, *parts: object) -> str:
        """Names a result of these years and whatever else it depends on."""
        return "|".join([PAGE, *(self.scenes[year].key for year in self.years), *map(str, parts)])


def result_of(key: str, title: str, work: Work, again: str) -> Any:
    """A result that the page keeps; see :func:`tessera_core.ui.results.result_of`."""
    return results.result_of(PAGE, key, title, work, again)


def picture_layers(context: CompareContext, *, pale: bool = False) -> list[Layer]:
    """The pictures of the years, in shared colours; natural colour where all have it. The last one lies on top.

    Args:
        pale: embedding colours as light greys, for a map on which another colour must be seen.
    """
    satellite = _has_satellite(context) and st.session_state.get(context.key("picture"), SATELLITE) == SATELLITE
    layers = []
    both = context.scenes[context.first], context.scenes[context.last]
    for year in context.years:
        scene = context.scenes[year]
        if satellite:
            png, version = partial(_true_colour, scene.key, scene), f"true|{scene.key}"
        else:
            version = "|".join(("pale" if pale else "pca", scene.key, *(each.key for each in both)))
            png = partial(_picture, version, scene, both, pale)
        layers.append(
            Layer(f"year{year}", humanize.year_name(year), png, version, visible=year == context.last, group="base")
        )
    return layers


def pictures(context: CompareContext) -> list[NDArray[np.uint8]]:
    """The first and the last year as uint8 (H, W, 3): photographs where both have one, else embedding colours of one meaning."""
    from tessera_core.analysis.pca import fit_pca
    from tessera_core.render.picture import pca_picture

    ends = context.scenes[context.first], context.scenes[context.last]
    photos = [scene.true_colour for scene in ends]
    known = [photo for photo in photos if photo is not None]
    if len(known) == len(ends):
        return known
    pca = fit_pca([scene.raster for scene in ends], 3)
    return [pca_picture(scene.raster, pca=pca) for scene in ends]


def _has_satellite(context: CompareContext) -> bool:
    return all(context.scenes[year].has_true_colour for year in context.years)


@st.cache_resource(max_entries=8, show_spinner=False)
def _picture(version: str, _scene: OpenScene, _both: tuple[OpenScene, OpenScene], _pale: bool) -> bytes:
    from tessera_core.analysis.pca import fit_pca
    from tessera_core.render.picture import encode_picture, pale, pca_picture

    # Fitted on both years, so that a colour means the same in both.
    pca = fit_pca([each.raster for each in _both], 3)
    picture = pca_picture(_scene.raster, pca=pca)
    return encode_picture(pale(picture) if _pale else picture, _scene.raster.valid(), _scene.display)


@st.cache_resource(max_entries=4, show_spinner=False)
def _true_colour(key: str, _scene: OpenScene) -> bytes:
    from tessera_core.render.picture import encode_picture

    picture = _scene.true_colour
    assert picture is not None
    return encode_picture(picture, _scene.raster.valid(), _scene.display)


def picture_choice(context: CompareContext) -> None:
    """Which picture of the years lies below; only where there is a choice."""
    if _has_satellite(context):
        st.segmented_control(
            t("Picture"),
            [SATELLITE, EMBEDDING],
            format_func=t,
            default=SATELLITE,
            required=True,
            key=context.key("picture"),
            help=t(
                "In embedding colours, equal colours mean alike ground, in both years; on one map they are "
                "shown as greys."
            ),
        )


def area_text(pixels: float, context: CompareContext) -> str:
    """``"12.3 ha"``, or pixels where the place on Earth is not known."""
    value = hectares(pixels, context.scenes[context.first].raster.grid)
    if value is None:
        return t("{pixels} pixels", pixels=numeral(pixels, ",.0f"))
    if value >= 1000:
        return t("{value} km²", value=numeral(value / 100, ",.1f"))
    return (
        t("{value} ha", value=numeral(value, ",.1f")) if value < 100 else t("{value} ha", value=numeral(value, ",.0f"))
    )


def rgb_of_classes(classes: NDArray[np.uint8], colours: Mapping[int, str]) -> NDArray[np.uint8]:
    """A class map as uint8 (H, W, 3) in its colours, light grey where there is no data."""
    from tessera_core.render.palette import rgb

    table = np.full((256, 3), 225, np.uint8)
    for class_id, colour in colours.items():
        table[class_id] = rgb(colour)
    return table[classes]
