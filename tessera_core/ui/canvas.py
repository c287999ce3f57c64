"""The picture under the map, on every page the same: which there are, which one the project remembers, and its choice."""

from __future__ import annotations

from functools import partial

import streamlit as st

from tessera_core.language import t
from tessera_core.project.project import Project
from tessera_core.render.canvas import EMBEDDING, GREENNESS, PICTURES
from tessera_core.render.seen import NO_RADAR, SEEN, seen_pictures
from tessera_core.session.view_parts import Layer
from tessera_core.ui import shell
from tessera_core.ui.scene import OpenScene


def chosen(project: Project, scene: OpenScene, *, satellite: bool = False) -> str:
    """Name of the picture to show: as last chosen in the project, else true colour, else the embedding picture.

    Args:
        satellite: never the embedding picture where there is another.
    """
    names, wanted = scene.satellite_pictures, project.settings.canvas
    if wanted in names or (wanted == EMBEDDING and not (satellite and names)):
        return str(wanted)
    return names[0] if names else EMBEDDING


def choice(project: Project, scene: OpenScene, page: str, *, embedding: bool = True) -> str:
    """Which picture is shown, asked where there is a choice; the project remembers it.

    Args:
        page: names the page in the key of the widget.
        embedding: whether the embedding picture is among those to choose from.
    """
    names: list[str] = [*scene.satellite_pictures, *([EMBEDDING] if embedding else [])]
    current = chosen(project, scene, satellite=not embedding)
    if len(names) > 1:
        key = f"{page}_canvas_{project.key}"

        @shell.shielded
        def keep() -> None:
            project.update(canvas=st.session_state[key])

        st.selectbox(
            t("Picture"),
            names,
            index=names.index(current),
            format_func=_title,
            key=key,
            on_change=keep,
        )
    return current


def _title(name: str) -> str:
    return t(PICTURES[name].title)


def layers(project: Project, scene: OpenScene) -> list[Layer]:
    """All pictures as base layers of a view map, the chosen one in sight; the others are made once they are looked at."""
    return [
        layer(scene, name, visible=name == chosen(project, scene)) for name in (EMBEDDING, *scene.satellite_pictures)
    ]


def seen_layers(scene: OpenScene, *, radar: bool) -> list[Layer]:
    """How often satellites saw each pixel, as base layers, and what no radar saw above them; none where nobody counted.

    Args:
        radar: whether what no radar saw is among them; it is only where there is any.
    """
    names = [name for name in seen_pictures(scene.raster) if name != NO_RADAR or (radar and _blind(scene))]
    return [
        Layer(
            name,
            t(SEEN[name].title),
            partial(scene.seen_png, name),
            f"{scene.key}|{name}",
            visible=False,
            legend=tuple((step.colour, t(step.words, low=step.low, high=step.high)) for step in SEEN[name].steps),
            group="overlay" if name == NO_RADAR else "base",
        )
        for name in names
    ]


def _blind(scene: OpenScene) -> bool:
    return scene.depth is not None and scene.depth.without_radar > 0


def layer(scene: OpenScene, name: str, *, visible: bool) -> Layer:
    """One picture as a base layer of a view map."""
    return Layer(
        name,
        t(PICTURES[name].title),
        partial(scene.png, name),
        f"{scene.key}|{name}",
        visible=visible,
        legend=tuple((colour, t(words)) for colour, words in GREENNESS) if name == "ndvi" else (),
        group="base",
    )
