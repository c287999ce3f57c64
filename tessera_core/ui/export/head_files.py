"""The classifier as a file, for the page Export: for which program, what that takes, and its button."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from tessera_core.errors import HeadError, InputError
from tessera_core.language import later, relay, t
from tessera_core.project.classify import ProjectMap
from tessera_core.project.head_file import write_project_head
from tessera_core.project.project import Project
from tessera_core.ui import humanize
from tessera_core.ui.files import Item, button
from tessera_core.ui.scene import OpenScene


@dataclass(frozen=True)
class _Form:
    name: str
    about: str
    mime: str


FORMS = {
    ".safetensors": _Form(
        later("Tessera Studio"),
        later(
            "To map other regions with the same version of the embeddings, without labelling again (the trained head)."
        ),
        "application/octet-stream",
    ),
    ".json": _Form(
        later("Scripts and other programs (JSON)"),
        later("All numbers, classes and what is known of it in one readable file; twenty lines of Python map with it."),
        "application/json",
    ),
    ".onnx": _Form("ONNX", later("For programs with an ONNX runtime, on any system."), "application/octet-stream"),
    ".js": _Form(
        later("Earth Engine"),
        later("A script that maps AlphaEarth's embeddings anywhere on Earth; paste it into the code editor."),
        "text/javascript",
    ),
    ".txt": _Form(
        later("QGIS, as a formula"),
        later(
            "Of two classes: a line for QGIS's calculator over the bands of the embeddings, and one for the confidence."
        ),
        "text/plain",
    ),
}


def classifier(project: Project, made: ProjectMap, scene: OpenScene, stem: str) -> None:
    """One row for all forms of the classifier."""
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            ending = st.selectbox(
                t("**Take the classifier along**"),
                list(FORMS),
                format_func=lambda ending: t("For {name}", name=t(FORMS[ending].name)),
                key=f"export_head_form_{project.key}",
                width="stretch",
            )
            form, missing = FORMS[ending], _missing(project, made, scene, ending)
            button(
                Item(
                    t("Take the classifier along"),
                    t(form.about),
                    t("Classifier ({ending})", ending=ending),
                    f"{stem}-head{ending}",
                    form.mime,
                    lambda path: write_project_head(path, project, scene.raster, made),
                    missing=missing,
                )
            )
        st.markdown(f":small[:gray[{humanize.escape(missing or t(form.about))}]]")


def _missing(project: Project, made: ProjectMap, scene: OpenScene, ending: str) -> str:
    """Why the classifier cannot be had in a form, or nothing; quick."""
    from tessera_core.export.head_formula import earth_engine, raster_calculator
    from tessera_core.heads import PortableHead

    if ending == ".safetensors":
        return ""
    try:
        carried = PortableHead.of(made.head, {c.id: c.name for c in project.log.classes}, scene.raster.provenance)
        if ending == ".js":
            earth_engine(carried)
        elif ending == ".txt":
            raster_calculator(carried)
    except (HeadError, InputError) as error:
        return relay(error)
    return ""
