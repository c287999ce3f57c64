"""The open scene: one year's embeddings with everything made from them to show and predict, shared by all sessions.

Parts are made when first asked for and kept; everything is read-only. Big arrays never pass through Streamlit's hashing:
scenes are cached by path and time of change.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.grid import Grid
from tessera_core.raster import EmbeddingRaster

if TYPE_CHECKING:
    from tessera_core.heads import Scene
    from tessera_core.render.display import DisplayGrid

# Scenes whose big parts (codes, pictures) are in memory; more may be open, memory-mapped.
MAX_OPEN = 3
MAX_MAPPED = 16
_THUMBNAIL = 512
_BIG = frozenset({"scene", "picture", "true_colour"})
_held: OrderedDict[int, OpenScene] = OrderedDict()
_held_lock = threading.Lock()


class OpenScene:
    """One year's embeddings of a region, opened.

    Attributes:
        key: names the content; changes when the files change, so caches may be keyed by it.
        raster: the embeddings, memory-mapped.
        dpixels: the d-pixel tile folder they were made from, or None.
    """

    def __init__(self, key: str, raster: EmbeddingRaster, dpixels: Path | None = None) -> None:
        self.key, self.raster, self.dpixels = key, raster, dpixels
        self._parts: dict[str, Any] = {}
        self._locks = {name: threading.Lock() for name in ("display", "scene", "picture", "true_colour", "thumbnail")}

    def _part[T](self, name: str, make: Callable[[], T]) -> T:
        # One lock per part: a session that needs the picture does not wait for another's true colour.
        with self._locks[name]:
            if name not in self._parts:
                value = make()
                if isinstance(value, np.ndarray):
                    value.flags.writeable = False
                self._parts[name] = value
            part: T = self._parts[name]
        if name in _BIG:
            self._hold()
        return part

    def _hold(self) -> None:
        """Keep this scene's big parts, and drop those of the scene that was used longest ago when they are too many."""
        with _held_lock:
            _held[id(self)] = self
            _held.move_to_end(id(self))
            dropped = [_held.popitem(last=False)[1] for _ in range(len(_held) - MAX_OPEN)]
        for scene in dropped:
            for name in _BIG:
                scene._parts.pop(name, None)

    @property
    def display(self) -> DisplayGrid:
        """The grid the map is drawn on."""
        return self._part("display", lambda: _display(str(self.raster.grid.to_json()), self.raster.grid))

    @property
    def scene(self) -> Scene:
        """The working copy for predicting after every label."""
        from tessera_core.heads import Scene

        return self._part("scene", lambda: Scene(self.raster))

    @property
    def picture(self) -> NDArray[np.uint8]:
        """The embedding picture: uint8 (H, W, 3), principal components as colours."""
        from tessera_core.render.picture import pca_picture

        return self._part("picture", lambda: pca_picture(self.raster))

    @property
    def has_true_colour(self) -> bool:
        """Whether :attr:`true_colour` can be made."""
        return self.dpixels is not None and self.dpixels.is_dir()

    @property
    def true_colour(self) -> NDArray[np.uint8] | None:
        """The year as a cloud-free photograph, uint8 (H, W, 3); None where only embeddings are known."""
        from tessera_core.dpixels.tile import DPixelTile
        from tessera_core.render.picture import true_colour

        if self.dpixels is None or not self.has_true_colour:
            return None
        folder = self.dpixels
        return self._part("true_colour", lambda: true_colour(DPixelTile.open(folder)))

    @property
    def thumbnail(self) -> bytes:
        """The embedding picture as PNG bytes, about 512 pixels a side."""

        return self._part("thumbnail", lambda: small_png(self.picture, self.raster.valid()))


def small_png(picture: NDArray[np.uint8], valid: NDArray[np.bool_]) -> bytes:
    """A picture uint8 (H, W, 3) as PNG bytes, about 512 pixels a side; transparent where bool (H, W) says there is no data."""
    from PIL import Image

    side = max(picture.shape[:2])
    step, zoom = max(1, -(-side // _THUMBNAIL)), max(1, _THUMBNAIL // side)
    # What has no data is transparent: black would look like data.
    alpha = np.where(valid[::step, ::step], np.uint8(255), np.uint8(0))
    # A small scene is enlarged here, pixel by pixel: the browser would blur it.
    pixels = np.dstack([picture[::step, ::step], alpha]).repeat(zoom, 0).repeat(zoom, 1)
    file = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(file, "PNG", compress_level=1)
    return file.getvalue()


def open_scene(embeddings: Path, dpixels: Path | None = None) -> OpenScene:
    """The open scene of a raster on disk; the same object for everyone while it stays unchanged.

    Raises:
        RasterError: there is no readable raster (any more).
    """
    return _open(str(embeddings), _stamp(embeddings), None if dpixels is None else str(dpixels))


def _stamp(path: Path) -> str:
    """Changes whenever a file of the raster is written, removed or added; the same after a restart: files are named by it."""
    try:
        files = sorted([path, *path.iterdir()] if path.is_dir() else [path])
        told = repr([(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files])
    except OSError:
        told = ""
    return hashlib.blake2b(told.encode(), digest_size=5).hexdigest()


# Years of one region lie on one grid and share its table.
@st.cache_resource(max_entries=MAX_OPEN, show_spinner=False)
def _display(grid: str, _grid: Grid) -> DisplayGrid:
    from tessera_core.render.display import DisplayGrid

    return DisplayGrid(_grid)


@st.cache_resource(max_entries=MAX_MAPPED, show_spinner=False)
def _open(embeddings: str, stamp: str, dpixels: str | None) -> OpenScene:
    from tessera_core.sources.local import open_embeddings

    raster = open_embeddings(embeddings)
    return OpenScene(f"{embeddings}@{stamp}", raster, None if dpixels is None else Path(dpixels))
