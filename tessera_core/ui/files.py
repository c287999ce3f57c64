"""Files on offer: a row with what each is for and its button; a file is built when it is asked for. And files brought along."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from tessera_core.labels.files import ENDINGS
from tessera_core.labels.report import ImportReport
from tessera_core.language import bound, t
from tessera_core.project import steps
from tessera_core.project.folders import safe_name
from tessera_core.project.project import Project
from tessera_core.sources.local.uploads import plain_name
from tessera_core.ui import humanize

if TYPE_CHECKING:
    from tessera_core.export.map_layout import MapLayout

# Endings of files with places that people can upload.
PLACES = [ending.removeprefix(".") for ending in ENDINGS if ending != ".shp"]


@dataclass(frozen=True)
class Item:
    """A file on offer.

    Attributes:
        title: what it is.
        about: what it is for, one line.
        button: text of its button.
        name: of the file.
        mime: its media type.
        write: writes it to a path.
        size: estimated bytes, 0 where there is no telling.
        missing: why it cannot be had now, or empty.
        first: whether it is what most people want.
        style: text of the button of its colours for QGIS, which are a file beside it; empty where it has none.
    """

    title: str
    about: str
    button: str
    name: str
    mime: str
    write: Callable[[Path], object]
    size: int = 0
    missing: str = ""
    first: bool = False
    style: str = ""


def pictures(stem: str, layout: Callable[[], MapLayout], missing: str = "") -> list[Item]:
    """A map to take away as a picture for a slide and as a page to print.

    Args:
        stem: of the files' names.
        layout: makes what is drawn, when it is asked for.
        missing: why it cannot be had now, or empty.
    """

    def write(path: Path) -> object:
        from tessera_core.export.map_layout import write_picture

        return write_picture(path, layout())

    return [
        Item(
            t("Picture for slides"),
            t("The map with title, legend, scale, north, source and date, in the shape of a slide (PNG)."),
            t("Picture (.png)"),
            f"{stem}-picture.png",
            "image/png",
            write,
            missing=missing,
        ),
        Item(
            t("Page to print"),
            t("The same on one A4 page, with how far to trust it (PDF)."),
            t("Page (.pdf)"),
            f"{stem}-page.pdf",
            "application/pdf",
            write,
            missing=missing,
        ),
    ]


def noting(item: Item, project: Project) -> Item:
    """The same file, which is noted as the step of taking the map along when it is built."""

    def write(path: Path) -> object:
        steps.take(project, steps.TAKE)
        return item.write(path)

    return replace(item, write=write)


def row(item: Item) -> None:
    """Show one file: what it is, for what, and its button."""
    with st.container(horizontal=True, vertical_alignment="center", border=True):
        about = item.missing or item.about
        size = t(" About {size}.", size=humanize.size(item.size)) if item.size and not item.missing else ""
        st.markdown(f"**{item.title}**  \n:small[:gray[{humanize.escape(about + size)}]]", width="stretch")
        button(item)


def button(item: Item) -> None:
    """The button of one file, and that of its colours."""
    st.download_button(
        item.button,
        bound(functools.partial(build, item)),
        item.name,
        item.mime,
        key=f"export_{item.name}",
        help=item.missing or t("{about} Saves {name}", about=item.about, name=item.name),
        on_click="ignore",
        icon=":material/download:",
        disabled=bool(item.missing),
        type="primary" if item.first else "secondary",
    )
    if item.style:
        name = Path(item.name).with_suffix(".qml").name
        st.download_button(
            item.style,
            bound(functools.partial(build, item, name)),
            name,
            "application/xml",
            key=f"export_{name}",
            help=item.missing
            or t(
                "Saves {name}. Keep it in one folder with {name2}: QGIS then opens that in colours.",
                name=name,
                name2=item.name,
            ),
            on_click="ignore",
            icon=":material/palette:",
            disabled=bool(item.missing),
        )


def build(item: Item, name: str = "") -> bytes:
    """The file's bytes, or those of the file ``name`` that is written beside it.

    It is built in a folder of its own because some formats write helpers beside it.
    """
    with tempfile.TemporaryDirectory(prefix="tessera-export-") as folder:
        path = Path(folder) / item.name
        item.write(path)
        return path.with_name(name or item.name).read_bytes()


def stem_of(project: Project, year: int | None) -> str:
    """Name of a project's files, without ending."""
    return safe_name(project.name if year is None else f"{project.name} {year}").replace(" ", "-")


def with_upload[T](upload: Any, read: Callable[[Path], T]) -> T:
    """What ``read`` makes of an uploaded file, which is a file of its own name only meanwhile."""
    with tempfile.TemporaryDirectory(prefix="tessera-upload-") as folder:
        path = Path(folder) / plain_name(upload.name)
        path.write_bytes(upload.getvalue())
        return read(path)


def report_lines(report: ImportReport) -> list[str]:
    """Sentences on what was left out of a file, what was mended, and how it was understood."""
    return [*(f"{line}." for line in report.skipped), *report.sentences()]
