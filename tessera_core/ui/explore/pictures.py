"""Pictures of the region: principal components with shared colours, natural colour, vegetation index."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.analysis.embedding_space import PixelSample
from tessera_core.analysis.pca import PCA, fit_pca
from tessera_core.errors import TesseraError
from tessera_core.labels.colors import distinct_colors
from tessera_core.language import later, numeral, percentage, relay, t
from tessera_core.project.project import Project
from tessera_core.render import palette
from tessera_core.render.colormap import Scale, encode_values, hexes
from tessera_core.render.picture import encode_picture, pale, pca_picture
from tessera_core.sources.local.layers import REACH, RULES, Shown, shown_layers
from tessera_core.ui import canvas, humanize, state
from tessera_core.ui.components.view_map import ColourScale, Layer
from tessera_core.ui.explore.context import ExploreContext
from tessera_core.ui.help import words
from tessera_core.ui.humanize import year_name
from tessera_core.ui.scene import MAX_OPEN, OpenScene

COMPONENTS = 10
_SHARED = later("All years alike")
_OWN = later("This year alone")
# Standard deviations to each side of the mean that the colours of a raster span.
_REACH = 2.5
_USUAL, _EVEN = later("Usual"), later("Strong")


def layers(context: ExploreContext, *, legend: bool = False, grey: bool = False) -> list[Layer]:
    """The base layers: every year's embedding picture, then what the satellites' own data show, then how often they looked.

    Args:
        legend: whether to say what the colours of the embedding pictures are.
        grey: embedding pictures as light greys, below a layer whose colours mean something.
    """
    rgb, equalise, shared = _choices(context)
    model, chosen = _model(context), _raster_chosen(context)
    out = []
    for year, scene in context.scenes.items():
        members = _members(context, scene, model, shared)
        pca = fitted(members)
        names = [f"{percentage(pca.explained[min(c, len(pca.explained) - 1)])} %" for c in rgb]
        entries = tuple(
            (colour, t("direction {c} high ({share})", c=c + 1, share=share))
            for colour, c, share in zip(("#d62728", "#2ca02c", "#1f4fd6"), rgb, names, strict=True)
        )
        keys = tuple(member.key for member in members)
        basis = "other" if model else "shared" if shared else "own"
        version = f"{scene.key}|{rgb}|{equalise}|{basis} {hash(keys) & 0xFFFFFFFF:x}|{grey}"
        png = partial(_pca_png, version, scene, pca, rgb, equalise, grey)
        title = (
            t("Embeddings {year_name}", year_name=year_name(year))
            if len(context.scenes) > 1
            else t("Embedding picture")
        )
        out.append(
            Layer(
                f"pca{year}",
                title,
                png,
                version,
                visible=year == context.year and chosen is None,
                legend=entries if legend and not grey else (),
                group="base",
            )
        )
    out += [canvas.layer(context.scene, name, visible=False) for name in context.scene.satellite_pictures]
    out += [_raster_layer(context.scene, one, one == chosen) for one in _rasters(context)]
    return out + canvas.seen_layers(context.scene, radar=legend)


def _rasters(context: ExploreContext) -> list[Shown]:
    """The other rasters that were joined with the embeddings of the year in sight."""
    return shown_layers(context.scene.raster.provenance)


def _raster_chosen(context: ExploreContext) -> Shown | None:
    """The one to look at; None for the embeddings' own picture."""
    title = st.session_state.get(_key(context, "raster"))
    return next((one for one in _rasters(context) if one.title == title), None)


def _choose_raster(context: ExploreContext) -> None:
    """Which raster the map shows, and how it came onto it."""
    rasters = _rasters(context)
    if not rasters:
        return
    st.selectbox(
        t("On the map"),
        ["", *(one.title for one in rasters)],
        # Titles are those of people's own files.
        format_func=lambda title: title or t("Embedding picture"),
        key=_key(context, "raster"),
        help=t(
            "The rasters that were joined with these embeddings, each in its own unit; the value where the pointer is stands at "
            "the foot of the map."
        ),
    )
    if (chosen := _raster_chosen(context)) is not None:
        rule = t(RULES.get(chosen.rule.removesuffix(", then slope"), chosen.rule))
        st.caption(
            t("{title}: classes of another raster ({rule}).", title=humanize.escape(chosen.title), rule=rule)
            if chosen.codes
            else t(
                "{title}: numbers of another raster ({rule}), on average {mean}, deviation {sd}. Values further off than {reach} "
                "deviations are cut off.",
                title=humanize.escape(chosen.title),
                rule=rule,
                mean=numeral(chosen.mean, ".4g"),
                sd=numeral(chosen.sd, ".3g"),
                reach=numeral(REACH, "g"),
            )
        )


def _raster_layer(scene: OpenScene, shown: Shown, visible: bool) -> Layer:
    """Another raster that was joined with the embeddings, in its own unit."""
    version = f"{scene.key}|layer{shown.column}"
    png, name = partial(_raster_png, version, scene, shown), f"raster{shown.column}"
    if shown.codes:
        colours = distinct_colors(len(shown.codes))
        legend = tuple((colour, str(code)) for colour, code in zip(colours, shown.codes, strict=True))
        return Layer(name, shown.title, png, version, visible=visible, group="base", legend=legend, coded=True)
    low, high = shown.mean - _REACH * shown.sd, shown.mean + _REACH * shown.sd
    scale = ColourScale(low, high, hexes(), below=True, above=True)
    return Layer(name, shown.title, png, version, visible=visible, group="base", scale=scale)


@st.cache_resource(max_entries=12, show_spinner=False)
def _raster_png(version: str, _scene: OpenScene, _shown: Shown) -> bytes:
    values = _shown.values(_scene.raster)
    if _shown.codes:
        index = np.where(np.isfinite(values), values + 1, 0).astype(np.uint8)
        return palette.encode(_scene.display.warp(index), dict(enumerate(distinct_colors(len(_shown.codes)), start=1)))
    scale = Scale(_shown.mean - _REACH * _shown.sd, _shown.mean + _REACH * _shown.sd)
    return encode_values(_scene.display.warp(scale.index(values)))


def panel(context: ExploreContext) -> None:
    """The choice of components and stretch."""
    _choose_raster(context)
    rgb, _, _ = _choices(context)
    count = min(COMPONENTS, context.scene.raster.dim)
    st.markdown(t("**What the colours show**"))
    columns = st.columns(3, gap="small")
    for i, (column, name) in enumerate(zip(columns, (later("Red"), later("Green"), later("Blue")), strict=True)):
        column.selectbox(
            t(name),
            range(1, count + 1),
            index=min(rgb[i], count - 1),
            key=_key(context, name),
            help=words.tip("main directions"),
        )
    st.segmented_control(
        t("Contrast"),
        [_USUAL, _EVEN],
        format_func=t,
        default=_USUAL,
        required=True,
        key=_key(context, "contrast"),
        help=t(
            "Usual: the few lowest and highest values share the darkest and lightest shade. Strong: every "
            "shade is used equally often, which shows small differences."
        ),
    )
    if len(context.scenes) > 1:
        st.segmented_control(
            t("Colours"),
            [_SHARED, _OWN],
            format_func=t,
            default=_SHARED,
            required=True,
            key=_key(context, "shared"),
            help=t(
                "Alone: the colours that the other pages show. Alike: a colour means the same in every year, so "
                "that years can be compared."
            ),
        )
    _choose_model(context)
    st.caption(
        t(
            "Alike colours mean a place behaved alike through the year. The percentages in the legend say "
            "how much of all differences between places one of the main directions holds. Compare two "
            "layers, choose others and save a picture with the buttons at the left of the map."
        )
    )
    if (depth := context.scene.depth) is not None and depth.pixels:
        st.caption(
            " ".join(humanize.plain(relay(sentence)) for sentence in depth.sentences)
            + " "
            + t("Where that is, the layers of the map show: how often and in how many months each place was seen.")
        )
    if not context.scene.has_true_colour:
        st.caption(t("True colour and greenness need the satellite data themselves; only embeddings are here."))


def _choose_model(context: ExploreContext) -> None:
    others = {str(entry.folder): entry.name for entry in context.others()}
    if others:
        st.selectbox(
            t("Colours as in another region"),
            list(others),
            index=None,
            format_func=lambda folder: others.get(folder, ""),
            key=_key(context, "model"),
            placeholder=t("Choose a region"),
            help=t(
                "A colour then means the same there and here. Regions of the same embeddings on this computer "
                "can be chosen."
            ),
        )


def _model(context: ExploreContext) -> tuple[OpenScene, ...]:
    """The scenes of another region whose colours are wanted; none where they are this region's own."""
    folder = st.session_state.get(_key(context, "model"))
    if not folder or folder not in {str(entry.folder) for entry in context.others()}:
        return ()
    try:
        project = Project.open(folder)
        return tuple(state.scene_for(project, year) for year in sorted(project.embeddings, key=lambda year: year or 0))
    except TesseraError as error:
        st.caption(humanize.told(error))
        return ()


def _members(
    context: ExploreContext, scene: OpenScene, model: tuple[OpenScene, ...], shared: bool
) -> tuple[OpenScene, ...]:
    """The scenes whose components colour the picture of one."""
    return model or (tuple(context.scenes.values()) if shared else (scene,))


def colours_of(context: ExploreContext, sample: PixelSample) -> NDArray[np.uint8]:
    """The colours (N, 3) that sampled pixels have in the embedding pictures on the map."""
    rgb, equalise, shared = _choices(context)
    model, out = _model(context), np.zeros((len(sample), 3), np.uint8)
    for position, scene in enumerate(context.scenes.values()):
        pca = fitted(_members(context, scene, model, shared))
        chosen = np.minimum(rgb, len(pca.components) - 1)
        mine = sample.year == position
        out[mine] = pca.shades(pca.transform(sample.values[mine])[:, chosen], chosen.tolist(), equalise)
    return out


def fitted(scenes: tuple[OpenScene, ...]) -> PCA:
    """Principal components of these years together."""
    return _pca(tuple(scene.key for scene in scenes), scenes)


def _choices(context: ExploreContext) -> tuple[tuple[int, int, int], bool, bool]:
    chosen = [st.session_state.get(_key(context, name)) for name in ("Red", "Green", "Blue")]
    red, green, blue = ((default if value is None else value - 1) for default, value in enumerate(chosen))
    equalise = st.session_state.get(_key(context, "contrast")) == _EVEN
    shared = len(context.scenes) > 1 and st.session_state.get(_key(context, "shared")) != _OWN
    return (red, green, blue), equalise, shared


def _key(context: ExploreContext, name: str) -> str:
    return context.key(name)


@st.cache_resource(max_entries=2 * MAX_OPEN, show_spinner=False)
def _pca(keys: tuple[str, ...], _scenes: tuple[OpenScene, ...]) -> PCA:
    return fit_pca([scene.raster for scene in _scenes], COMPONENTS)


@st.cache_resource(max_entries=12, show_spinner=False)
def _pca_png(
    version: str, _scene: OpenScene, _pca: PCA, _rgb: tuple[int, int, int], _equalise: bool, _grey: bool
) -> bytes:
    picture = pca_picture(_scene.raster, pca=_pca, components=_rgb, equalise=_equalise)
    return encode_picture(pale(picture) if _grey else picture, _scene.raster.valid(), _scene.display)
