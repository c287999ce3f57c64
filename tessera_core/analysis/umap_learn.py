"""UMAP by the package umap-learn: reproducible, guided by labels where there are some, aligned over years; in a child process.

umap-learn compiles its loops on first use, cannot be stopped and is not safe in several threads at once, so it runs in a process
of its own: that is watched through what it prints, ended when the user stops, and ends when this program does. The quick
layout of :mod:`tessera_core.analysis.projection` needs none of this; docs/performance.md compares the two. Arrays in, arrays out.

References: McInnes, Healy & Melville 2018 (arXiv 1802.03426); Islam & Fleischer 2022 (AlignedUMAP, arXiv 2207.04119).
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.torch_part import IMAGE_VARIABLE, how_to_add
from tessera_core.analysis.projection import MAX_POINTS, NEIGHBOURS
from tessera_core.errors import Cancelled, MissingPartError, RasterError
from tessera_core.types import Cancel, Floats, Progress

__all__ = ["UNLABELLED", "Layout", "align_years", "fit_layout", "is_here", "missing"]

log = logging.getLogger(__name__)

# The class of a pixel that has none, as umap-learn takes it.
UNLABELLED = -1
CHILD = "tessera_core.analysis.umap_process"
_LOOK_SECONDS = 0.1
_TOTAL = 1000
# What tqdm prints after each few rounds; the counts of pynndescent have no bracket behind them.
_ROUND = re.compile(r"(\d+)/(\d+) \[")
_STAGES = {
    "Construct fuzzy simplicial set": "linking neighbours",
    "Finding Nearest Neighbors": "finding neighbours",
    "Construct embedding": "laying out the points",
}


def is_here() -> bool:
    """Whether umap-learn is installed, which the slim image leaves out; nothing is loaded."""
    return find_spec("umap") is not None


def missing() -> str:
    """What to tell people where it is not."""
    how = how_to_add() if os.environ.get(IMAGE_VARIABLE) else "run `pip install umap-learn`"
    return f"The layouts of umap-learn are not installed here; the quick layout is. To have them, {how}."


@dataclass(frozen=True)
class Layout:
    """Where pixels lie in a picture.

    Attributes:
        points: float32 (N, n) of the embeddings that were fitted.
        placed: float32 (M, n) of those that were placed among them by umap-learn's ``transform``; M may be 0.
    """

    points: Floats
    placed: Floats


def fit_layout(
    values: Floats,
    n: int = 2,
    *,
    classes: NDArray[np.integer] | None = None,
    also: Floats | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Layout:
    """Lay out embeddings with umap-learn; the same for the same seed.

    Args:
        values: float32 (N, D), finite, N up to ``projection.MAX_POINTS``.
        n: 2 or 3 axes.
        classes: whole numbers (N,), :data:`UNLABELLED` for pixels without one; pixels of one class are drawn together
            (supervised, or semi-supervised, dimension reduction). None: embeddings alone.
        also: float32 (M, D) embeddings to place in the picture without fitting them (``transform``).

    Raises:
        RasterError: too few, too many or unusable embeddings, or the process ended early.
        MissingPartError: umap-learn is not installed.
        Cancelled: the user stopped.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> layout = fit_layout(rng.normal(size=(60, 8)).astype(np.float32))  # doctest: +SKIP
        >>> layout.points.shape  # doctest: +SKIP
        (60, 2)
    """
    values = _checked(values, n)
    arrays = {"values": values, "sizes": np.array([len(values)])}
    if classes is not None:
        arrays["classes"] = np.asarray(classes, np.int32)
        if arrays["classes"].shape != (len(values),):
            raise ValueError(f"{len(values)} pixels need as many classes, not {arrays['classes'].shape}")
    count = 0 if also is None else len(also)
    if count:
        arrays["also"] = _finite(also)
    points = _in_a_child(arrays, n, seed, 2 if count else 1, progress, cancelled)
    return Layout(points[: len(values)], points[len(values) :])


def align_years(
    years: Sequence[Floats],
    n: int = 2,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> list[Floats]:
    """One picture a year, so turned and bent that the same place lies as near to itself as its embedding allows (AlignedUMAP).

    Args:
        years: two or more, each float32 (N, D): embeddings of the same N places, in the same order.

    Returns:
        Points float32 (N, n) of each year.

    Raises:
        RasterError: too few, too many or unusable embeddings, or the process ended early.
        MissingPartError: umap-learn is not installed.
        Cancelled: the user stopped.
    """
    if len(years) < 2 or len({np.shape(year) for year in years}) != 1:
        raise ValueError("Aligning takes two years or more of the same places")
    checked = [_checked(year, n) for year in years]
    arrays = {"values": np.concatenate(checked), "sizes": np.array([len(year) for year in checked])}
    points = _in_a_child(arrays, n, seed, len(years) + 1, progress, cancelled)
    return list(points.reshape(len(years), -1, n))


def _checked(values: Floats, n: int) -> Floats:
    if n not in (2, 3):
        raise ValueError(f"A picture has 2 or 3 axes, not {n}")
    if len(values) <= NEIGHBOURS + 1 or len(values) > MAX_POINTS:
        raise RasterError(
            f"A UMAP picture needs {NEIGHBOURS + 2} to {MAX_POINTS:,} pixels with data; there are {len(values):,}."
        )
    return _finite(values)


def _finite(values: Floats | None) -> Floats:
    found = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(found).all():
        raise RasterError("Some of the chosen pixels have no data; choose others.")
    return found


# ------------------------------------------------------------------ the process and who watches it


def _in_a_child(
    arrays: dict[str, NDArray[np.generic]],
    n: int,
    seed: int,
    passes: int,
    progress: Progress | None,
    cancelled: Cancel | None,
) -> Floats:
    if not is_here():
        raise MissingPartError(missing())
    with tempfile.TemporaryDirectory(prefix="tessera-umap-") as folder:
        job, result = Path(folder) / "job.npz", Path(folder) / "points.npy"
        np.savez(job, allow_pickle=False, **arrays, settings=np.array([n, NEIGHBOURS, seed]))
        package = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(part for part in (package, os.environ.get("PYTHONPATH", "")) if part)
        process = subprocess.Popen(
            [sys.executable, "-m", CHILD, str(job), str(result)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            creationflags=getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0),
        )
        watch = _Watch(process.stdout, passes)
        try:
            while process.poll() is None:
                if cancelled is not None and cancelled():
                    raise Cancelled
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_SECONDS)
                if progress is not None and process.returncode is None:
                    progress(watch.done, _TOTAL, watch.stage)
        finally:
            process.kill()
            process.wait()
            watch.join()
            assert process.stdin is not None
            process.stdin.close()
        if process.returncode != 0 or not result.exists():
            log.error("umap-learn ended with %s:\n%s", process.returncode, watch.tail)
            raise RasterError(
                "umap-learn ended before the picture was finished, which happens when memory runs out. Take fewer pixels, or "
                "the quick layout."
            )
        if progress is not None:
            progress(_TOTAL, _TOTAL, "laid out")
        return np.asarray(np.load(result), np.float32)


class _Watch(threading.Thread):
    """Reads what the process prints: how far it is, and its last words.

    Attributes:
        done: of :data:`_TOTAL`; never falls.
        stage: in words for people.
        tail: the last lines.
    """

    def __init__(self, stream: IO[bytes] | None, passes: int) -> None:
        super().__init__(daemon=True)
        assert stream is not None
        self._stream, self._passes, self._passed, self._last = stream, passes, 0, 0.0
        self.done, self.stage, self.tail = 0, "starting umap-learn", ""
        self.start()

    def run(self) -> None:
        """Until the process has closed its end."""
        with self._stream as stream:
            while part := os.read(stream.fileno(), 4096):
                self.tell(part.decode("utf-8", "replace"))

    def tell(self, text: str) -> None:
        """Take in what was printed."""
        self.tail = (self.tail + text)[-4000:]
        for name, words in _STAGES.items():
            if name in text:
                self.stage = words
        for done, total in _ROUND.findall(text):
            fraction = int(done) / max(int(total), 1)
            if fraction < self._last:
                self._passed = min(self._passed + 1, self._passes - 1)
            self._last = fraction
            self.stage = "laying out the points"
            # Finding neighbours and compiling take about a third of the first pass.
            whole = (self._passed + 0.3 + 0.7 * fraction) / self._passes
            self.done = max(self.done, int(_TOTAL * min(whole, 0.999)))
