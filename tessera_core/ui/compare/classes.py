"""Compare, part Classes: one map for every year, which class became which, and whether labels hold in other years."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from tessera_core._utils.csvcells import quoted
from tessera_core.analysis.change import ChangeLayer
from tessera_core.analysis.transfer import Transfer
from tessera_core.analysis.transitions import Trajectory, Transitions, sankey, trajectories
from tessera_core.heads.choice import DEFAULT_HEAD
from tessera_core.language import numeral, relay, t
from tessera_core.project.change import RATE, YearLabels, YearMaps, confirm, map_years
from tessera_core.project.classify import head_name
from tessera_core.project.folders import safe_name
from tessera_core.render import palette
from tessera_core.types import Cancel, Progress
from tessera_core.ui import charts, files, humanize, shell, state, tables
from tessera_core.ui.compare.change import Compared, compared
from tessera_core.ui.compare.context import CompareContext, area_text, result_of, rgb_of_classes
from tessera_core.ui.components import view_map
from tessera_core.ui.components.view_map import Layer

if TYPE_CHECKING:
    from tessera_core.export.map_layout import MapLayout

MOST_ROWS = 12
PLAIN_HEADS = ("ridge", "logistic", "prototype", "auto", "knn", "forest", "mlp", "boosting")
# Bands of the plot narrower than this share of the region are left out.
_LEAST_SHARE = 0.001


def show(context: CompareContext) -> None:
    """Transitions, timelapse and trajectories."""
    found = _made(context)
    if found is not None:
        _studio(context, found)


def show_labels(context: CompareContext) -> None:
    """How the labels fare in the other years."""
    found = _made(context)
    if found is None:
        return
    maps = found.maps
    names = {c.id: c.name for c in context.project.log.classes}
    st.caption(
        t(
            "Your labels are taken to be of {label_year}. In another year a label is used only where its "
            "ground has not changed, so that a felled wood does not teach what a wood looks like.",
            label_year=maps.label_year,
        )
    )
    for year, transfer in maps.transfers.items():
        _transfer(context, year, transfer, names)
    st.caption(
        t(
            "Other than before: how much the labels that hold differ between the years, beside unchanged "
            "ground in general (1 = as much). A class well above 1 looks different that year, though it is "
            "the same; label some of it there."
        )
    )


@dataclass(frozen=True)
class Made:
    """Every year's map, the comparison that confirms what changed, and a name of both for what is made from them."""

    maps: YearMaps
    comparison: Compared
    key: str


def _made(context: CompareContext) -> Made | None:
    if not context.project.log.labels:
        st.info(t("Label some places first; then every year can be mapped with them."), icon=":material/draw:")
        st.page_link("pages/label.py", label=t("Label some places"), icon=":material/draw:", query_params=state.query())
        return None
    label_year = _label_year(context)
    comparison = compared(context)
    if comparison is None:
        return None
    name = head_name(context.project)
    labels = tuple(context.project.log.labels)
    label_scene = state.scene_for(context.project, label_year)

    def work(progress: Progress, cancelled: Cancel) -> YearMaps:
        layers = {(a, b): step for step in comparison.steps for a, b in [_pair(step.years)]}
        layers[context.first, context.last] = comparison.ends
        # A head that looks at neighbours cannot learn from single vectors of several years.
        head = name if name in PLAIN_HEADS else DEFAULT_HEAD
        return map_years(
            YearLabels(labels, label_year, label_scene.raster),
            context.rasters,
            layers,
            head=head,
            progress=progress,
            cancelled=cancelled,
        )

    key = context.content("maps", context.project.key, context.project.log.version, name, label_year)
    maps: YearMaps | None = result_of(
        key,
        t("Mapping {first} to {last} with one method", first=context.first, last=context.last),
        work,
        t("Map again"),
    )
    return None if maps is None else Made(maps, comparison, key)


def _pair(years: tuple[int | None, int | None]) -> tuple[int, int]:
    assert years[0] is not None
    assert years[1] is not None
    return years[0], years[1]


def _label_year(context: CompareContext) -> int:
    key = f"compare_label_year_{context.project.key}"
    years = context.project.years
    settings = context.project.settings
    known = settings.year if settings.label_year is None else settings.label_year
    # As the project calls it: a window that is no calendar year is kept as a number in the settings.
    current = next((year for year in years if year == known), years[-1])
    chosen: int = st.segmented_control(
        t("Which year did you label?"),
        years,
        default=current,
        required=True,
        format_func=humanize.year_name,
        key=key,
        on_change=lambda: context.project.update(label_year=st.session_state[key]),
        help=t("The year whose picture you looked at when you set the labels."),
    )
    return chosen


@st.fragment
@shell.shielded
def _studio(context: CompareContext, made: Made) -> None:
    maps = made.maps
    names = {c.id: c.name for c in context.project.log.classes}
    colours = {c.id: c.color for c in context.project.log.classes}
    rate = st.session_state.get(f"compare_rate_{context.project.key}", RATE)
    layers = {_pair(step.years): step for step in made.comparison.steps}
    steps = _confirmed(f"{made.key}|{rate}", maps, layers, rate)
    coloured = f"{made.key}|{tuple(colours.items())}"
    map_column, panel = st.columns([6, 4], gap="medium")
    with map_column:
        display = context.scenes[context.first].display
        pictures = [
            Layer(
                f"classes{year}",
                humanize.year_name(year),
                partial(_class_png, f"{coloured}|{year}", context, year, maps, colours),
                f"{coloured}|{year}",
                visible=year == context.last,
                legend=tuple((colours[k], names[k]) for k in sorted(names)),
                group="base",
            )
            for year in context.years
        ]
        view_map.view_map(
            f"compare_classes_{context.project.key}",
            display,
            view_map.MapContent(pictures),
            tools=(),
            comparison=view_map.Comparison(f"classes{context.first}", f"classes{context.last}"),
            look=view_map.MapLook(
                context.project.name, t("{first} and {last}", first=context.first, last=context.last)
            ),
        )
    with panel:
        for step in steps:
            _table(context, step, names, rate)
        stem = safe_name(f"{context.project.name} classes {context.first} {context.last}").replace(" ", "-")
        with st.container(horizontal=True):
            for item in files.pictures(stem, lambda: _layout(context, maps)):
                files.button(item)
        _timelapse(context, coloured, maps, colours)
    _plot(context, steps, names, colours)
    if len(context.years) > 2:
        _trajectories(context, made.key, maps, names)


def _layout(context: CompareContext, maps: YearMaps) -> MapLayout:
    from tessera_core.export.pictures import years_layout

    raster, years = context.scenes[context.last].raster, (context.first, context.last)
    said = (
        t("Where the two maps differ, the ground changed or one of the maps is wrong; the page Compare tells which."),
    )
    of_years = {year: maps.maps[year].classes for year in years}
    return years_layout(
        context.project.name, of_years, context.project.log.classes, raster.grid, raster.provenance, said
    )


@st.cache_resource(max_entries=8, show_spinner=False)
def _confirmed(
    version: str, _maps: YearMaps, _layers: dict[tuple[int, int], ChangeLayer], _rate: float
) -> tuple[Transitions, ...]:
    return confirm(_maps, _layers, _rate)


@st.cache_resource(max_entries=8, show_spinner=False)
def _class_png(version: str, _place: CompareContext, _year: int, _maps: YearMaps, _colours: dict[int, str]) -> bytes:
    return palette.encode(_place.scenes[_place.first].display.warp(_maps.maps[_year].classes), _colours)


def _table(context: CompareContext, step: Transitions, names: dict[int, str], rate: float) -> None:
    import pandas as pd

    unit = "ha" if np.isfinite(step.hectares_per_pixel) else "pixels"
    rows = step.rows(names)
    st.markdown(t("**What became what, {years} to {years2}**", years=step.years[0], years2=step.years[1]))
    if not rows:
        st.caption(t("Both maps show the same classes everywhere."))
        return
    rows.sort(key=lambda row: -row.get("confirmed", row["area"]))
    table = pd.DataFrame(
        {
            "From": [row["from"] for row in rows[:MOST_ROWS]],
            "To": [row["to"] for row in rows[:MOST_ROWS]],
            "Changed": [row.get("confirmed", float("nan")) for row in rows[:MOST_ROWS]],
            "Maps differ": [row["area"] for row in rows[:MOST_ROWS]],
            "With other labels": [
                t("{row} to {row2}", row=numeral(row["low"], ",.1f"), row2=numeral(row["high"], ",.1f"))
                if "low" in row
                else ""
                for row in rows[:MOST_ROWS]
            ],
        }
    )
    number = st.column_config.NumberColumn
    tables.show(
        table,
        hide_index=True,
        width="stretch",
        height="content",
        column_config={
            "Changed": number(t("Changed, {unit}", unit=unit), format="%.1f"),
            "Maps differ": number(t("Maps differ, {unit}", unit=unit), format="%.1f"),
            "With other labels": st.column_config.Column(t("Maps differ, with other labels, {unit}", unit=unit)),
        },
    )
    total = sum(row["area"] for row in rows)
    confirmed = sum(row.get("confirmed", 0.0) for row in rows)
    st.caption(
        t(
            "The maps differ on {total} {unit}; on {confirmed} {unit} of it the ground itself changed (at "
            "most {value} % false alarms). The rest is mostly mistakes of the maps. The intervals say how "
            "much the areas where the maps differ vary with the choice of your labels.",
            total=numeral(total, ",.1f"),
            unit=unit,
            confirmed=numeral(confirmed, ",.1f"),
            value=numeral(100 * rate, "g"),
        )
    )
    _matrix(step, names, unit)


def _matrix(step: Transitions, names: dict[int, str], unit: str) -> None:
    import pandas as pd

    matrix = step.matrix(names)
    with st.expander(
        t("The whole matrix, {years} to {years2}", years=step.years[0], years2=step.years[1]), icon=":material/grid_on:"
    ):
        cells = {
            row[0]["from"]: {
                cell["to"]: numeral(cell["area"], ",.1f")
                + (
                    t(" ({cell} to {cell2})", cell=numeral(cell["low"], ",.1f"), cell2=numeral(cell["high"], ",.1f"))
                    if "low" in cell
                    else ""
                )
                for cell in row
            }
            for row in matrix
        }
        table = pd.DataFrame.from_dict(cells, orient="index")
        # Names of classes are people's own, whatever the heads of other tables are called.
        own = {name: st.column_config.Column(name) for name in map(str, table.columns)}
        tables.show(table, width="stretch", column_config=own)
        st.caption(
            t(
                "Rows: {years}; columns: {years2}; {unit} of the maps, in brackets with other draws of your labels.",
                years=step.years[0],
                years2=step.years[1],
                unit=unit,
            )
        )
        rows = pd.DataFrame([cell for row in matrix for cell in row])
        rows = rows.rename(
            columns={
                "area": f"maps, {unit}",
                "confirmed": f"changed, {unit}",
                "low": t("low, other labels"),
                "high": t("high, other labels"),
            }
        )
        st.download_button(
            t("Download the matrix (CSV)"),
            rows.map(quoted).to_csv(index=False, float_format="%.4f"),
            file_name=f"transitions-{step.years[0]}-{step.years[1]}.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
            key=f"compare_matrix_{step.years[0]}_{step.years[1]}",
        )


def _plot(
    context: CompareContext, steps: tuple[Transitions, ...], names: dict[int, str], colours: dict[int, str]
) -> None:
    go = charts.library()
    st.markdown(t("**From class to class**"))
    plot = sankey(steps, names, colours)
    least = _LEAST_SHARE * max(sum(plot["value"]), 1e-9) / len(steps)
    keep = [n for n, value in enumerate(plot["value"]) if value >= least]
    unit = "ha" if np.isfinite(steps[0].hectares_per_pixel) else "pixels"
    figure = go.Figure(
        go.Sankey(
            node={
                "label": plot["shown"],
                "customdata": plot["labels"],
                "hovertemplate": "%{customdata}: %{value}<extra></extra>",
                "color": plot["colours"],
                "pad": 12,
                "thickness": 14,
            },
            textfont={"color": _text_colour()},
            link={
                "source": [plot["source"][n] for n in keep],
                "target": [plot["target"][n] for n in keep],
                "value": [plot["value"][n] for n in keep],
                "color": [plot["link_colours"][n] for n in keep],
                "hovertemplate": t("{a} to {b}", a="%{source.customdata}", b="%{target.customdata}")
                + ": %{value}<extra></extra>",
            },
            valueformat=",.1f",
            valuesuffix=f" {unit}",
        )
    )
    figure.update_layout(
        height=420, margin={"l": 8, "r": 8, "t": 8, "b": 8}, font={"size": 13}, separators=charts.separators()
    )
    st.plotly_chart(figure, width="stretch", key=f"compare_sankey_{context.project.key}")
    st.caption(
        t("Width is area. Faint bands stay what they are; strong ones changed, where the change itself is confirmed.")
    )


def _text_colour() -> str:
    """Of the theme in sight; names on coloured bands cannot be read in the plots' own grey."""
    return str(st.get_option(f"theme.{st.context.theme.type or 'light'}.textColor"))


def _timelapse(context: CompareContext, version: str, maps: YearMaps, colours: dict[int, str]) -> None:
    gif = _gif(version, context, maps, colours)
    with st.expander(t("Timelapse"), icon=":material/movie:"):
        st.image(gif, width="stretch")
        st.download_button(
            t("Download the timelapse (GIF)"),
            gif,
            file_name=f"timelapse-{context.first}-{context.last}.gif",
            mime="image/gif",
            icon=":material/download:",
            on_click="ignore",
        )


@st.cache_resource(max_entries=4, show_spinner=False)
def _gif(version: str, _place: CompareContext, _maps: YearMaps, _colours: dict[int, str]) -> bytes:
    from tessera_core.render.timelapse import timelapse

    frames = [rgb_of_classes(_maps.maps[year].classes, _colours) for year in _place.years]
    return timelapse(frames, [humanize.year_name(year) for year in _place.years])


@st.cache_resource(max_entries=4, show_spinner=False)
def _paths(version: str, _place: CompareContext, _maps: YearMaps) -> list[Trajectory]:
    return [one for one in trajectories([_maps.maps[year].classes for year in _place.years], 60) if one.changes]


def _trajectories(context: CompareContext, version: str, maps: YearMaps, names: dict[int, str]) -> None:
    import pandas as pd

    found = _paths(version, context, maps)
    st.markdown(t("**Most frequent paths through the years**"))
    if not found:
        st.caption(t("No pixel changes its class."))
        return
    table = pd.DataFrame(
        [
            {humanize.year_name(year): names.get(k, str(k)) for year, k in zip(context.years, one.classes, strict=True)}
            | {"Area": area_text(one.pixels, context)}
            for one in found[:MOST_ROWS]
        ]
    )
    tables.show(table, hide_index=True, width="stretch", height="content")


def _transfer(context: CompareContext, year: int, transfer: Transfer, names: dict[int, str]) -> None:
    import pandas as pd

    first, *rest = map(relay, transfer.sentences)
    st.markdown(" ".join([f"**{first}**", *rest]))
    table = pd.DataFrame(
        {
            "Class": [names.get(one.class_id, str(one.class_id)) for one in transfer.classes],
            "Labels": [one.labels for one in transfer.classes],
            "Hold": [one.survive for one in transfer.classes],
            "Other than before": [one.drift if np.isfinite(one.drift) else None for one in transfer.classes],
        }
    ).astype({"Other than before": float})
    tables.show(
        table,
        hide_index=True,
        width="stretch",
        height="content",
        column_config={
            "Hold": st.column_config.NumberColumn(t("Hold in {year}", year=year)),
            "Other than before": st.column_config.NumberColumn(format="%.1f"),
        },
    )
    grid = context.scenes[year].raster.grid
    if transfer.kept and grid.georeferenced:
        st.download_button(
            t("Download the labels that hold in {year} (GeoJSON)", year=year),
            lambda: _geojson(context, year, transfer),
            file_name=f"labels-{year}.geojson",
            mime="application/geo+json",
            icon=":material/download:",
            on_click="ignore",
            key=f"compare_labels_{year}",
        )


def _geojson(context: CompareContext, year: int, transfer: Transfer) -> str:
    from tessera_core.export.vector import labels_geojson

    raster = context.scenes[year].raster
    return json.dumps(labels_geojson(transfer.kept, context.project.log.classes, raster.grid, raster.provenance))
