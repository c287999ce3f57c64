"""The certified part on the page Validate: what is to be promised, what can be, where it lies, and its file."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.labels.sampling import label_pixels
from tessera_core.language import relay, t
from tessera_core.project import validate
from tessera_core.project.certified import (
    BAND,
    CertifiedPart,
    asked_for,
    certified_band,
    certified_part,
    write_certified,
)
from tessera_core.project.classify import ProjectMap
from tessera_core.project.project import Project
from tessera_core.project.validate import Validation
from tessera_core.render import palette
from tessera_core.session.view_parts import Layer
from tessera_core.ui import canvas, files, humanize, shell
from tessera_core.ui.components import view_map
from tessera_core.ui.scene import OpenScene
from tessera_core.ui.validate.context import key_of

_MOST_WRONG = [1, 2, 3, 5, 7, 10, 15, 20, 25, 30]
_RISKS = [1, 2, 5, 10, 20]


def certified(project: Project, scene: OpenScene, current: Validation, made: ProjectMap) -> None:
    """Ask what is to be promised, and show what can be."""
    st.header(t("The certified part"))
    st.caption(
        t(
            "Where the map is most confident it is mostly right. Here is how much of it can be promised to be wrong at most as "
            "often as you say, and how often, over many samples, such a promise is broken. Choose both before you see answers."
        )
    )
    key, asked = key_of(project, current), current.promise
    wrong, risk = st.columns(2)
    for column, name, title, steps, value in (
        (wrong, "most_wrong", t("Wrong at most"), _MOST_WRONG, asked.most_wrong),
        (risk, "risk", t("Risk"), _RISKS, asked.risk),
    ):
        percent = round(100 * value, 2)
        column.select_slider(
            title,
            sorted({*steps, int(percent) if percent == int(percent) else percent}),
            value=percent,
            format_func=lambda one: f"{one}\xa0%",
            key=f"{key}_promise_{name}",
            on_change=_ask,
            args=(project, current.year, key),
        )
    part = part_of(project, scene, current, made)
    for number, sentence in enumerate(part.sentences()):
        text = humanize.escape(relay(sentence))
        st.markdown(f"**{text}**" if not number else text)
    if not part.any:
        return
    view_map.view_map(
        f"validate_certified_{project.key}",
        scene.display,
        view_map.MapContent([*canvas.layers(project, scene), layer(scene, part, made)]),
        tools=(),
        look=view_map.MapLook(subtitle=f"{current.year or ''}", height=400),
    )
    files.row(item(project, scene, current, made, part))


def item(project: Project, scene: OpenScene, current: Validation, made: ProjectMap, part: CertifiedPart) -> files.Item:
    """The part as a file on offer."""
    missing = "" if part.found is not None else relay(part.sentences()[0])
    return files.Item(
        t("Certified part"),
        t("Where the map is certified by the places you checked, and where not (GeoTIFF)."),
        t("Certified part (.tif)"),
        f"{files.stem_of(project, current.year)}-certified.tif",
        "image/tiff",
        lambda path: write_certified(
            path, part, made.map.classes, made.map.confidence, current, scene.raster.provenance
        ),
        missing=missing,
        style=t("Colours of the certified part (.qml)"),
    )


def layer(scene: OpenScene, part: CertifiedPart, made: ProjectMap) -> Layer:
    """Where it lies, above the pictures."""
    values = certified_band(part, made.map.classes, made.map.confidence)
    version = f"{scene.key}|{made.version}|{part.found}"
    return Layer(
        "certified",
        t("The certified part"),
        partial(_png, version, scene, values),
        version,
        opacity=0.7,
        legend=tuple((one.color, t(one.name)) for one in BAND),
    )


def part_of(project: Project, scene: OpenScene, current: Validation, made: ProjectMap) -> CertifiedPart:
    """What can be certified; kept, as a sample by classes takes a second."""
    labelled = label_pixels(project.log.labels, current.grid)
    taught = validate.taught_by(labelled, current).sum()
    key = f"{project.key}|{scene.key}|{made.version}|{validate.fingerprint(current)}|{current.promise}|{taught}"
    return _part(key, current, made, labelled)


# The open map of a session, and the one before.
@st.cache_data(max_entries=64, show_spinner=False)
def _part(key: str, _current: Validation, _made: ProjectMap, _labelled: validate.Pixels) -> CertifiedPart:
    return certified_part(_current, _made.map.classes, _made.map.confidence, _labelled)


@st.cache_data(max_entries=8, show_spinner=False)
def _png(key: str, _scene: OpenScene, _values: NDArray[np.uint8]) -> bytes:
    return palette.encode(_scene.display.warp(_values), {one.id: one.color for one in BAND})


@shell.shielded
def _ask(project: Project, year: int | None, key: str) -> None:
    most_wrong, risk = (st.session_state[f"{key}_promise_{name}"] / 100 for name in ("most_wrong", "risk"))
    validate.change(project, year, lambda now: asked_for(now, most_wrong, risk))
