"""The base layers of a project: adding and removing them, and the pictures of one's own that lie in its folder."""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from tessera_core.errors import InputError
from tessera_core.imagery.layers import MOST, BaseLayer, made
from tessera_core.imagery.pictures import keep_picture, tile
from tessera_core.project.links import linked_folder
from tessera_core.project.project import Project
from tessera_core.types import BBox

FOLDER = "imagery"
"""Of the pictures in a project's folder."""
TILES_ROUTE = "/_tessera/pictures"
"""Where the app serves their tiles, followed by what names the project, the picture, and ``z/x/y.png``."""
_TILE = re.compile(r"([^/]{1,255})/([0-9a-f]{16})/([0-9]{1,2})/([0-9]{1,8})/([0-9]{1,8})\.png")
# How far around the embeddings a picture of one's own is kept, in metres.
_MARGIN_M = 500.0


def add_layer(project: Project, layer: BaseLayer, reserved: tuple[str, ...] = ()) -> BaseLayer:
    """Keep a base layer with a project, under a name that no other has.

    Args:
        reserved: names of the layers that every map has.

    Raises:
        InputError: there are as many as a project may have.
        ProjectError: the disk refuses.
    """
    known = project.settings.base_layers
    if len(known) >= MOST:
        raise InputError(f"A project has at most {MOST} base layers; remove one first.")
    taken, number = {one.name for one in known} | set(reserved), 1
    name = layer.name
    while name in taken:
        number += 1
        ending = f" ({number})"
        name = layer.name[: 80 - len(ending)] + ending
    layer = msgspec.structs.replace(layer, name=name)
    project.update(base_layers=[one.to_json() for one in (*known, layer)])
    return layer


def remove_layer(project: Project, name: str) -> None:
    """Take a base layer out of a project, and the picture with it where it lies in its folder."""
    known = project.settings.base_layers
    project.update(base_layers=[one.to_json() for one in known if one.name != name] or None)
    for layer in known:
        if layer.name == name and layer.file:
            (project.folder / FOLDER / layer.file).unlink(missing_ok=True)


def add_picture(
    project: Project, stream: BinaryIO, file_name: str, name: str = "", date: str = ""
) -> tuple[BaseLayer, str]:
    """Keep the part of a picture (GeoTIFF, COG) that lies on a project's region as a base layer.

    Returns:
        The layer, and a sentence about it for people.

    Raises:
        InputError: it is no picture with a place on Earth, or does not lie on the region.
        ExportError, ProjectError: the disk refuses.
    """
    called = (name.strip() or Path(file_name.replace("\\", "/")).stem or "Picture")[:80]
    with tempfile.TemporaryDirectory(prefix=".upload-", dir=project.folder) as place:
        # Under a name of ours: that of the upload is only shown.
        path = Path(place) / "picture.tif"
        with path.open("wb") as target:
            shutil.copyfileobj(stream, target, 1 << 20)
        return add_picture_file(project, path, called, date)


def add_picture_file(project: Project, path: Path, name: str = "", date: str = "") -> tuple[BaseLayer, str]:
    """As :func:`add_picture`, of a file on disk, which stays as it is."""
    file = f"{secrets.token_hex(8)}.tif"
    facts = keep_picture(path, _region(project), project.folder / FOLDER / file)
    layer = made(
        name=(name or path.stem)[:80],
        kind="file",
        file=file,
        zoom=facts["zoom"],
        date=date.strip()[:120] or facts["taken"] or (f"{facts['noted']} (file)" if facts["noted"] else ""),
        licence="A picture of your own.",
    )
    try:
        layer = add_layer(project, layer)
    except BaseException:
        (project.folder / FOLDER / file).unlink(missing_ok=True)
        raise
    said = [f"The part on this region is kept with the project, a pixel for {facts['metres']:.3g} m of the ground."]
    if not date.strip() and facts["taken"]:
        said.append(f"It was taken on {facts['taken']}, as the file says.")
    elif not date.strip() and facts["noted"]:
        said.append(
            f"The file was written on {facts['noted']}, which stands for the date of the picture; if that is older, add it "
            "again with its date."
        )
    return layer, " ".join(said)


def picture_files(project: Project) -> list[Path]:
    """The files in the project's folder that its base layers show."""
    named = {layer.file for layer in project.settings.base_layers if layer.file}
    paths = [project.folder / FOLDER / name for name in sorted(named)]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def served_tile(route: str) -> bytes | None:
    """The tile that an address below :data:`TILES_ROUTE` names, or None; the address may be anything.

    Raises:
        InputError: the picture is damaged.
    """
    match = _TILE.fullmatch(route)
    folder = linked_folder(match[1]) if match else None
    if match is None or folder is None:
        return None
    path = folder / FOLDER / f"{match[2]}.tif"
    # A folder that somebody sent may hold a link to a file of one's own.
    if path.is_symlink() or path.parent.is_symlink() or not path.is_file():
        return None
    return tile(path, *map(int, match.groups()[2:]))


def _region(project: Project) -> BBox:
    boxes = [ref.grid.bounds_lonlat for ref in project.embeddings.values() if ref.grid.georeferenced]
    if not boxes:
        raise InputError("This project has no place on Earth, so a picture cannot be laid under its map.")
    west, south = np.min(boxes, axis=0)[:2]
    east, north = np.max(boxes, axis=0)[2:]
    up = _MARGIN_M / 111_320.0
    side = up / max(float(np.cos(np.radians((south + north) / 2))), 0.05)
    return float(west - side), float(south - up), float(east + side), float(north + up)
