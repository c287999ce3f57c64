"""The open scene: one year's embeddings with everything made from them to show and predict, shared by all sessions.

Parts are made when first asked for and kept; everything is read-only. A scene lives while anybody uses it, and the last few
live on. What is big (codes, pictures) is bounded in bytes for all scenes together: codes that do not fit are read through
their memory map, so that no one's scene pushes out another's that is in use.
"""

from __future__ import annotations

import hashlib
import io
import logging
import threading
import time
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from tessera_core.errors import TesseraError
from tessera_core.grid import Grid
from tessera_core.language import t
from tessera_core.raster import EmbeddingRaster, valid_scales

if TYPE_CHECKING:
    from tessera_core.analysis.similarity import SimilarityIndex
    from tessera_core.heads import Scene
    from tessera_core.observations import Depth
    from tessera_core.project.depth_filter import LeftOut
    from tessera_core.project.filling import Lack
    from tessera_core.render.display import DisplayGrid, DisplayView

log = logging.getLogger(__name__)

# Entries of caches that hold something for each scene; scenes that nobody uses any more but that stay open, memory-mapped.
MAX_OPEN = 3
MAX_MAPPED = 16
# Bytes of the parts of the pictures of a large scene that are kept ready, 1 to 3 MB each, for all who look at it.
VIEW_BYTES = 32 << 20
# Bytes of codes and pictures in memory, of all scenes; and after how many seconds without use a scene's may make way.
HELD_BYTES = 1 << 30
IDLE_SECONDS = 600.0
_THUMBNAIL = 512
_BIG = ("scene", "picture", "true_colour", "index")


class _Held:
    """Which scenes have big parts in memory, the one used longest ago first."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._used: OrderedDict[int, tuple[weakref.ref[OpenScene], float]] = OrderedDict()

    def used(self, scene: OpenScene) -> None:
        """Note that a big part of ``scene`` is used, and drop those of scenes that were used longest ago while all are too big."""
        with self._lock:
            self._used[id(scene)] = (weakref.ref(scene), self._clock())
            self._used.move_to_end(id(scene))
            self._drop(0, self._clock())

    def fits(self, size: int) -> bool:
        """Whether ``size`` more bytes may be taken, once scenes have made way that nobody has used for a while."""
        with self._lock:
            return self._drop(size, self._clock() - IDLE_SECONDS) + size <= self.limit

    def _drop(self, more: int, before: float) -> int:
        """Drop scenes last used before a time until ``more`` bytes fit, but never the newest; bytes that remain."""
        alive = [(key, scene, at) for key, (ref, at) in self._used.items() if (scene := ref()) is not None]
        self._used = OrderedDict((key, self._used[key]) for key, _, _ in alive)
        total = sum(scene.held_bytes for _, scene, _ in alive)
        for key, scene, at in alive[: None if more else -1]:
            if total + more <= self.limit or at > before:
                break
            total -= scene.held_bytes
            scene.drop_big_parts()
            del self._used[key]
        return total


_held = _Held(HELD_BYTES)


class OpenScene:
    """One year's embeddings of a region, opened.

    Attributes:
        key: names the content without saying where it lies; changes when the files change, so caches may be keyed by it.
        raster: the embeddings, memory-mapped.
        path: where they were opened, for other processes of this server; never sent to a browser. None: only in memory.
        dpixels: the d-pixel tile folder they were made from, or None.
    """

    def __init__(
        self, key: str, raster: EmbeddingRaster, dpixels: Path | None = None, path: Path | None = None
    ) -> None:
        self.key, self.raster, self.dpixels, self.path = key, raster, dpixels, path
        self._parts: dict[str, Any] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._warm = threading.Lock()
        self._views: OrderedDict[tuple[object, ...], bytes] = OrderedDict()

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
            _held.used(self)
        return part

    @property
    def held_bytes(self) -> int:
        """Bytes of its big parts in memory."""
        parts = [self._parts.get(name) for name in _BIG]
        return sum(int(part.nbytes) for part in parts if part is not None)

    def drop_big_parts(self) -> None:
        """Free its big parts; they are made again when they are needed."""
        for name in _BIG:
            self._parts.pop(name, None)

    def warm_up(self) -> None:
        """Do everything once that is slow the first time (imports, the open scene, kernels), so that the first click is not.

        Runs beside the page, in one thread for each scene; further calls do nothing.
        """
        if self._warm.acquire(blocking=False):
            threading.Thread(target=self._warm_up, name="tessera-label-warm-up", daemon=True).start()

    def _warm_up(self) -> None:
        from tessera_core.analysis.pca import sample_valid
        from tessera_core.heads import make_head
        from tessera_core.heads.choice import DEFAULT_HEAD

        rows, cols = sample_valid(self.raster, 64, seed=0)
        try:
            head = make_head(DEFAULT_HEAD).fit(self.raster.sample(rows, cols), np.arange(len(rows)) % 2 + 1)
            self.scene.predict(head, window=(0, 0, 64, self.raster.grid.width))
        except TesseraError as error:
            log.info("The label map could not be warmed up: %s", error)

    @property
    def display(self) -> DisplayGrid:
        """The grid the map is drawn on."""
        return self._part("display", lambda: _display(str(self.raster.grid.to_json()), self.raster.grid))

    @property
    def scene(self) -> Scene:
        """The working copy for predicting after every label."""
        from tessera_core.heads import Scene

        def make() -> Scene:
            return Scene(self.raster, None if _held.fits(self.raster.codes.nbytes) else False)

        return self._part("scene", make)

    @property
    def index(self) -> SimilarityIndex:
        """What answers which pixels are alike; it holds the norm of every pixel."""
        from tessera_core.analysis.similarity import SimilarityIndex

        return self._part("index", lambda: SimilarityIndex(self.raster))

    @property
    def picture(self) -> NDArray[np.uint8]:
        """The embedding picture: uint8 (H, W, 3), principal components as colours."""
        from tessera_core.render.picture import pca_picture

        return self._part("picture", lambda: pca_picture(self.raster))

    @property
    def satellite_pictures(self) -> tuple[str, ...]:
        """Names of the pictures of what satellites saw in the year; none where only embeddings are known."""
        from tessera_core.render.canvas import satellite_pictures

        return self._part(t("satellite pictures"), lambda: satellite_pictures(self.path, self.dpixels))

    @property
    def has_true_colour(self) -> bool:
        """Whether there is :attr:`true_colour`."""
        return "truecolour" in self.satellite_pictures

    @property
    def has_satellite(self) -> bool:
        """Whether the satellite time series lie beside the embeddings."""
        return self.dpixels is not None and self.dpixels.is_dir()

    @property
    def true_colour(self) -> NDArray[np.uint8] | None:
        """The year as a cloud-free photograph, uint8 (H, W, 3); None where only embeddings are known."""
        from tessera_core.render.canvas import photograph

        if not self.has_true_colour:
            return None
        return self._part("true_colour", lambda: photograph(self.path, self.dpixels, self.raster.shape))

    def canvas(self, name: str) -> NDArray[np.uint8] | None:
        """A picture that the map may lie on, uint8 (H, W, 3): one of :attr:`satellite_pictures`, or ``"pca"``; else None."""
        from tessera_core.render.canvas import EMBEDDING, TRUE_COLOUR, satellite_picture

        if name == EMBEDDING:
            return self.picture
        if name == TRUE_COLOUR or name not in self.satellite_pictures:
            return self.true_colour if name == TRUE_COLOUR else None
        return satellite_picture(name, self.path, self.dpixels, self.raster.shape)

    def png(self, name: str) -> bytes:
        """A picture of :meth:`canvas` as PNG bytes on the display; empty where there is none."""
        from tessera_core.render.picture import encode_picture

        def make() -> bytes:
            picture = self.canvas(name)
            if picture is None:
                return b""
            # What no satellite saw clearly is as transparent as what has no embedding.
            shown = self.raster.valid() if name == "pca" else picture.any(-1)
            return encode_picture(picture, shown, self.display)

        return self._part(f"png {name}", make)

    def view_png(self, name: str, view: DisplayView) -> bytes:
        """What a screen shows of a picture of :meth:`canvas`, as PNG bytes; empty where there is none."""
        from tessera_core.render.picture import encode_view

        key = (name, view.bounds, view.shape)
        with self._locks["views"]:
            png = self._views.get(key)
        if png is None:
            # Not under the lock: people who look at different places do not wait for each other.
            png, picture = b"", self.canvas(name)
            if picture is not None:
                seen = view.take(picture)
                shown = valid_scales(view.take(self.raster.scales)) if name == "pca" else seen.any(-1)
                png = encode_view(seen, shown)
        with self._locks["views"]:
            self._views[key] = png
            self._views.move_to_end(key)
            held = sum(map(len, self._views.values()))
            while held > VIEW_BYTES and len(self._views) > 1:
                held -= len(self._views.popitem(last=False)[1])
        return png

    @property
    def depth(self) -> Depth | None:
        """How often its pixels were seen; None where nobody counted."""
        return self._part("depth", self.raster.depth)

    @property
    def lack(self) -> Lack:
        """Which pixels are missing and could be made here."""
        from tessera_core.project.filling import lacking

        return self._part("lack", lambda: lacking(self.raster))

    @property
    def times_seen(self) -> NDArray[np.uint16] | None:
        """(H, W) clear days of each pixel; None where nobody counted."""
        counted = self.raster.observations
        return None if counted is None else counted[..., 0]

    def left_out(self, times: int) -> LeftOut:
        """What leaving out pixels seen fewer times would take from a map."""
        from tessera_core.project.depth_filter import cost

        return self._part(f"left out {times}", lambda: cost(self.raster, times))

    def seen_png(self, name: str) -> bytes:
        """A picture of ``render.seen`` as PNG bytes on the display."""
        from tessera_core.render.seen import seen_png

        return self._part(f"png {name}", lambda: seen_png(name, self.raster, self.display))

    def thumbnail(self, name: str) -> bytes:
        """A picture of :meth:`canvas` as PNG bytes, about 512 pixels a side; empty where there is none."""

        def make() -> bytes:
            picture = self.canvas(name)
            return b"" if picture is None else small_png(picture, self.raster.valid())

        return self._part(f"thumbnail {name}", make)


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


class _Scenes:
    """The scenes that are open: each as long as anybody holds it, and the last few that were asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Two sessions that want one file at once wait for each other; those that want another mostly do not.
        self._opening = [threading.Lock() for _ in range(16)]
        self._known: weakref.WeakValueDictionary[tuple[str, ...], OpenScene] = weakref.WeakValueDictionary()
        self._last: OrderedDict[tuple[str, ...], OpenScene] = OrderedDict()

    def get(self, path: Path, dpixels: Path | None) -> OpenScene:
        """See :func:`open_scene`."""
        from tessera_core.sources.local.open import open_embeddings

        key = (str(path), _stamp(path), str(dpixels or ""))
        with self._opening[hash(key) % len(self._opening)]:
            with self._lock:
                scene = self._known.get(key)
            if scene is None:
                scene = OpenScene(_digest(*key), open_embeddings(path), dpixels, path)
        with self._lock:
            self._known[key] = scene
            self._last[key] = scene
            self._last.move_to_end(key)
            while len(self._last) > MAX_MAPPED:
                self._last.popitem(last=False)
        return scene


_scenes = _Scenes()


def open_scene(embeddings: Path, dpixels: Path | None = None) -> OpenScene:
    """The open scene of a raster on disk; the same object for everyone while it stays unchanged.

    Raises:
        RasterError: there is no readable raster (any more).
    """
    return _scenes.get(embeddings, dpixels)


def _stamp(path: Path) -> str:
    """Changes whenever a file of the raster is written, removed or added; the same after a restart: files are named by it."""
    try:
        files = sorted([path, *path.iterdir()] if path.is_dir() else [path])
        told = [f"{file.name} {stat.st_mtime_ns} {stat.st_size}" for file in files if (stat := file.stat())]
    except OSError:
        told = []
    return _digest(*told)


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=10).hexdigest()


# Years of one region lie on one grid and share its table; each open scene holds its own in any case.
@st.cache_resource(max_entries=MAX_OPEN, show_spinner=False)
def _display(grid: str, _grid: Grid) -> DisplayGrid:
    from tessera_core.render.display import DisplayGrid

    return DisplayGrid(_grid)
