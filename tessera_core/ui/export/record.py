"""A record of a learner's work on the page Export: their map, what they found of it, the lesson, and the name they type."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from tessera_core.language import t
from tessera_core.lessons.record import MAX_NAME, learner_of
from tessera_core.project.classify import ProjectMap, project_product
from tessera_core.project.project import Project
from tessera_core.ui.files import Item, row
from tessera_core.ui.scene import OpenScene


def record(project: Project, made: ProjectMap, scene: OpenScene, stem: str) -> None:
    """A folded part of the page: a name, and the file."""
    with st.expander(t("A record of your work"), icon=":material/workspace_premium:"):
        name = st.text_input(
            t("Your name or nickname"),
            max_chars=MAX_NAME,
            key=f"export_learner_{project.key}",
            placeholder=t("As it shall stand there"),
        )

        def write(path: Path) -> object:
            from tessera_core.export.pictures import class_layout
            from tessera_core.export.report import write_report
            from tessera_core.project.report import project_report

            product, photo = project_product(project, scene.raster, made), scene.true_colour
            said = project_report(
                project, product, made.year, photo=photo is not None, learner=learner_of(project, name)
            )
            return write_report(path, said, class_layout(product, photo))

        row(
            Item(
                t("Record of work"),
                t(
                    "Your map, its score, what you checked and the lesson, to hand in (PDF). It is no examination, "
                    "and says so."
                ),
                t("Record (.pdf)"),
                f"{stem}-record.pdf",
                "application/pdf",
                write,
                missing="" if name.strip() else t("Type a name or nickname first."),
            )
        )
