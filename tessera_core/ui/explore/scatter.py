"""The scatter of sampled pixels, linked with the map: PCA and UMAP, coloured by what is known of each pixel."""

from __future__ import annotations

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.analysis import embedding_space
from tessera_core.analysis.embedding_space import PixelSample
from tessera_core.analysis.projection import place_colours
from tessera_core.errors import HeadError
from tessera_core.labels.model import GROUP
from tessera_core.language import later, numeral, percentage, t
from tessera_core.project.classify import head_name, project_head
from tessera_core.render.picture import encode_picture
from tessera_core.types import Cancel, Progress
from tessera_core.ui import humanize, shell
from tessera_core.ui.components import scatter, view_map
from tessera_core.ui.components.view_map import Layer
from tessera_core.ui.explore import clusters, layouts, pictures
from tessera_core.ui.explore.context import MAP, PAGE, ExploreContext
from tessera_core.ui.humanize import year_name
from tessera_core.ui.results import kept, result_of

KEY = "explore_scatter"
MAX_LABELS = 300
_GREY = "#b4b9bf"
_COLORMAP = ("#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725")
_MAP, _PLACE = later("Embedding picture"), later("Place in the scatter")
_COLOURS = (
    _MAP,
    _PLACE,
    later("Your labels"),
    later("Predicted class"),
    later("Confidence"),
    later("Group"),
    later("Year"),
)
# Shades of red, green and blue that tell the colours of the map's picture: 216 together, as many as a palette holds.
_SHADES = 6


def scatter_layers(context: ExploreContext) -> list[Layer]:
    """The region coloured by UMAP, where it is ready."""
    found = layouts.picture(context)
    if found is None or st.session_state.get(context.key("method")) != "UMAP":
        return []
    learnt = found.learnt
    key = _colours_key(context)
    title = t(
        "UMAP colours {year_name} ({value} % of the picture)",
        year_name=year_name(context.year),
        value=percentage(learnt.r2),
    )
    return [Layer("umap", title, lambda: kept(PAGE).get(key), key, visible=False, group="base")]


def scatter_panel(context: ExploreContext) -> None:
    """The scatter with its choices and what can be done with a selection."""
    # In one row even on a phone, where map and scatter should be in sight together.
    row = st.container(horizontal=True, gap="small")
    method = row.segmented_control(
        t("Method"), ["PCA", "UMAP"], default="PCA", required=True, key=context.key("method"), width="content"
    )
    row.segmented_control(
        t("Axes"), list(layouts.AXES), default="2-D", required=True, key=context.key("axes"), width="content"
    )
    row = st.container(horizontal=True, gap="small")
    row.selectbox(t("Colour by"), _colours(context), format_func=t, key=context.key("colour"), width=190)
    row.selectbox(
        t("Pixels"),
        [5_000, 20_000, 50_000],
        index=1,
        key=context.key("count"),
        format_func=lambda n: numeral(n, ","),
        width=120,
    )
    if method == "UMAP":
        layouts.choose_way(context, row)
        if not layouts.picture_ready(context):
            return
    st.session_state[context.key("cloud")] = cloud = _cloud(context)
    scatter.scatter(KEY, cloud[0], link=MAP, height=430)
    with st.expander(t("What distances here mean"), icon=":material/straighten:"):
        st.markdown(embedding_space.DISTANCES)
        if method == "UMAP":
            st.markdown(
                t(
                    "The layer *UMAP colours* paints the whole region by where each pixel would lie in this "
                    "picture. That is learnt from the pixels laid out; its percentage says how much of their places "
                    "it has learnt."
                )
            )
    _selection(context, cloud[1])
    if method == "UMAP" and "umap" in view_map.looked_at(MAP):
        _colour_region(context)


def out_of_sight(context: ExploreContext) -> None:
    """Another panel is open: what was selected is let go, as the pictures do, and what was chosen is there on coming back."""
    scatter.forget(KEY)
    for name in ("method", "axes", "colour", "count", "way"):
        key = context.key(name)
        if key in st.session_state:
            # Streamlit forgets a choice that is not on the page, unless it is made again.
            st.session_state[key] = st.session_state[key]


def _selection(context: ExploreContext, sample: PixelSample) -> None:
    chosen = scatter.selection(KEY)
    chosen = chosen[chosen < len(sample)]
    if not len(chosen):
        if gone := scatter.let_go(KEY):
            st.caption(
                t(
                    "The {gone} selected pixels were let go, because the points changed or were out of sight.",
                    gone=numeral(gone, ","),
                )
            )
        st.caption(t("Draw around points to see where they are. Click or draw a box on the map to find them here."))
        return
    st.markdown(
        t(
            "**{chosen} of {sample} pixels selected** ({value} %)",
            chosen=numeral(len(chosen), ","),
            sample=numeral(len(sample), ","),
            value=percentage(len(chosen) / len(sample), 1),
        )
    )
    classes = context.project.log.classes
    if not classes:
        st.caption(t("Add a class on the page Label to give selected pixels to it."))
        return
    names = {c.id: c.name for c in classes}
    left, right = st.columns([3, 2], gap="small", vertical_alignment="bottom")
    class_id = left.selectbox(t("Label them as"), list(names), format_func=names.__getitem__, key=context.key("class"))
    count = min(len(chosen), MAX_LABELS)
    right.button(
        t("Add {count} labels", count=numeral(count, ",")),
        key=context.key("label"),
        icon=":material/draw:",
        on_click=lambda: _add_labels(context, sample, chosen, class_id),
        width="stretch",
    )
    if count < len(chosen):
        st.caption(
            t(
                "{MAX_LABELS} of them, chosen at random, become point labels; undo on the page Label takes them back.",
                MAX_LABELS=MAX_LABELS,
            )
        )


@shell.shielded
def _add_labels(context: ExploreContext, sample: PixelSample, chosen: NDArray[np.int64], class_id: int) -> None:
    if len(chosen) > MAX_LABELS:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, MAX_LABELS, replace=False))
    cells = np.unique(np.column_stack([sample.rows[chosen], sample.cols[chosen]]), axis=0)
    x, y = context.scene.raster.grid.pixel_to_xy(cells[:, 0] + 0.5, cells[:, 1] + 0.5)
    with context.project.log.batch():
        for point in zip(x.tolist(), y.tolist(), strict=True):
            context.project.log.add("point", class_id, [point], note=t("chosen in the scatter"), origin=GROUP)
    st.toast(t("{cells} labels added.", cells=numeral(len(cells), ",")), icon=":material/check:")


# ------------------------------------------------------------------ UMAP


def _colours_key(context: ExploreContext) -> str:
    return f"umap colours|{context.scene.key}|{layouts.picture_version(context)}"


def _colour_region(context: ExploreContext) -> None:
    """The whole region in the picture's colours: made in the background once somebody looks at that layer."""
    found, scene = layouts.picture(context), context.scene
    if found is None:
        return
    learnt = found.learnt

    def work(progress: Progress, cancelled: Cancel) -> bytes:
        picture = learnt.colours(scene.raster, progress=progress, cancelled=cancelled)
        return encode_picture(picture, scene.raster.valid(), scene.display)

    result_of(PAGE, _colours_key(context), t("Colouring the region"), work, t("Colour the region again"))


# ------------------------------------------------------------------ points


@st.cache_resource(max_entries=2, show_spinner=False)
def _drawn(content: tuple[str, ...], count: int, _place: ExploreContext) -> PixelSample:
    return embedding_space.draw_pixels(_place.rasters, count)


def _cloud(context: ExploreContext) -> tuple[scatter.Cloud, PixelSample]:
    """The sampled pixels and, placed among them, the labelled ones."""
    method = st.session_state.get(context.key("method")) or "PCA"
    count, axes = layouts.pixel_count(context), layouts.axes_count(context)
    version = f"{context.content}|{method}|{axes}|{count}|{context.project.log.version}"
    if method == "UMAP":
        version += f"|{layouts.picture_version(context)}"
    with st.spinner(t("Placing the pixels…")):
        sample, points, place_xy, known = _points(version, method, count, axes, context)
    wanted = st.session_state.get(context.key("colour"))
    by = wanted if wanted in _colours(context) else _COLOURS[0]
    index, palette, legend = _coloured(context, by, version, sample, points, known)
    names = tuple(f"{method} {i + 1}" for i in range(axes))
    return scatter.Cloud(version, points, place_xy, index, palette, legend, names), sample


@st.cache_resource(max_entries=3, show_spinner=False)
def _points(
    version: str, method: str, count: int, axes: int, _place: ExploreContext
) -> tuple[PixelSample, NDArray[np.float32], NDArray[np.float64], NDArray[np.uint8]]:
    """Sample, where it lies in the picture and on the map, and class ids of its last, labelled part."""
    labelled, classes = embedding_space.labelled_pixels(_place.rasters, _place.project.log.labels)
    found = layouts.picture(_place) if method == "UMAP" else None
    if found is not None:
        umap = found.umap
        # Labelled pixels come once: with their class.
        once = ~found.sample.among(labelled)
        drawn, points = found.sample.picked(np.flatnonzero(once)), umap.points[once]
        new = umap.place(labelled.values) if len(labelled) else points[:0]
    else:
        drawn = _drawn(_place.content, count, _place)
        fitted = pictures.fitted(tuple(_place.scenes.values()))
        points, new = (fitted.transform(part.values)[:, :axes] for part in (drawn, labelled))
    sample = drawn.joined(labelled)
    display = _place.scene.display
    x, y = display.from_pixel(sample.rows + 0.5, sample.cols + 0.5)
    known = np.concatenate([np.zeros(len(drawn), np.uint8), classes])
    return sample, np.concatenate([points, new]).astype(np.float32), np.column_stack([x, y]), known


Colouring = tuple[NDArray[np.uint8], tuple[str, ...], tuple[tuple[str, str], ...]]


def _colours(context: ExploreContext) -> list[str]:
    several = len(context.scenes) > 1
    labels = bool(context.project.log.labels)
    hidden = set() if labels else set(_COLOURS[2:5])
    return [name for name in _COLOURS if name not in hidden and (several or name != "Year")]


def _coloured(
    context: ExploreContext,
    by: str,
    version: str,
    sample: PixelSample,
    points: NDArray[np.float32],
    known: NDArray[np.uint8],
) -> Colouring:
    classes = context.project.log.classes
    try:
        match by:
            case "Embedding picture":
                return _as_on_the_map(pictures.colours_of(context, sample))
            case "Your labels":
                return _by_class(known, [(c.id, c.color, c.name) for c in classes], t("not labelled"))
            case "Predicted class" | "Confidence":
                with st.spinner(t("Predicting the pixels…")):
                    predicted, confidence = _predicted(version, head_name(context.project), context, sample)
                if by == "Predicted class":
                    return _by_class(predicted, [(c.id, c.color, c.name) for c in classes], t("no data"))
                step = np.minimum(confidence.astype(int) * len(_COLORMAP) // 101, len(_COLORMAP) - 1).astype(np.uint8)
                ends = [
                    t(
                        "{low} to {high} % sure",
                        low=100 * i // len(_COLORMAP),
                        high=100 * (i + 1) // len(_COLORMAP),
                    )
                    for i in range(len(_COLORMAP))
                ]
                return step, _COLORMAP, tuple(zip(_COLORMAP, ends, strict=True))
            case "Group" if (grouped := clusters.found(context)) is not None:
                labels, palette = clusters.of_pixels(context, grouped, sample)
                return labels, palette, tuple((c, t("group {i}", i=i + 1)) for i, c in enumerate(palette[1:]))
            case "Year":
                palette = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#661100")
                names = tuple((palette[i % 8], year_name(year)) for i, year in enumerate(sample.years))
                return (sample.year % 8).astype(np.uint8), palette, names
    except HeadError as error:
        st.caption(t("{error} Until then the colours show the place in the scatter.", error=humanize.told(error)))
    low, high = (np.percentile(points, q, axis=0).astype(np.float32) for q in (1, 99))
    # 6 x 6 x 6 (or 16 x 16) colours are enough to tell places apart.
    steps = 6 if points.shape[1] == 3 else 16
    unit = np.clip((points - low) / np.maximum(high - low, 1e-9), 0, 1)
    cell = np.minimum((unit * steps).astype(int), steps - 1)
    index = np.ravel_multi_index(tuple(cell.T), (steps,) * points.shape[1])
    corners = np.stack(np.unravel_index(np.arange(steps ** points.shape[1]), (steps,) * points.shape[1]), -1)
    colours = place_colours(
        (corners / (steps - 1)).astype(np.float32),
        np.zeros(points.shape[1], np.float32),
        np.ones(points.shape[1], np.float32),
    )
    return index.astype(np.uint8), tuple(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in colours.tolist()), ()


def _as_on_the_map(colours: NDArray[np.uint8]) -> Colouring:
    """Colours (N, 3) by a palette of few shades."""
    cells = colours.astype(int) * _SHADES // 256
    grid = np.stack(np.unravel_index(np.arange(_SHADES**3), (_SHADES,) * 3), -1)
    shades = np.asarray((grid + 0.5) * (256 / _SHADES), np.uint8)
    index = np.ravel_multi_index(tuple(cells.T), (_SHADES,) * 3).astype(np.uint8)
    return index, tuple(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in shades.tolist()), ()


def _by_class(ids: NDArray[np.uint8], classes: list[tuple[int, str, str]], none: str) -> Colouring:
    table = np.zeros(256, np.uint8)
    for position, (class_id, _, _) in enumerate(classes, start=1):
        table[class_id] = position
    palette = (_GREY, *(colour for _, colour, _ in classes))
    return table[ids], palette, (*((colour, name) for _, colour, name in classes), (_GREY, none))


@st.cache_resource(max_entries=2, show_spinner=False)
def _predicted(
    version: str, head: str, _place: ExploreContext, _sample: PixelSample
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Class ids and confidence (percent) of the sampled pixels by the project's head, each year by its own."""
    classes, confidence = np.zeros(len(_sample), np.uint8), np.zeros(len(_sample), np.uint8)
    for position, raster in enumerate(_place.rasters.values()):
        mine = np.flatnonzero(_sample.year == position)
        fitted = project_head(_place.project, raster)
        proba = np.nan_to_num(fitted.proba_at(raster, _sample.rows[mine], _sample.cols[mine]))
        classes[mine] = np.asarray(fitted.classes_)[proba.argmax(1)]
        confidence[mine] = np.round(100 * proba.max(1))
    return classes, confidence
