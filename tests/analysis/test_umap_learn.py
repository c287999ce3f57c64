"""umap-learn in its process: watched, stopped, and what it makes. Compiling takes half a minute: whole layouts are soak tests."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_core.analysis import umap_learn
from tessera_core.analysis.projection import continuity, trustworthiness
from tessera_core.errors import Cancelled, RasterError
from tests.factories import clumps


class _Watch(umap_learn._Watch):
    """Without a process: is told what one would print."""

    def __init__(self, passes: int) -> None:
        reading, writing = os.pipe()
        os.close(writing)
        super().__init__(os.fdopen(reading, "rb"), passes)
        self.join()


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), max_size=30), st.integers(1, 4))
def test_progress_never_falls_and_is_not_whole_before_the_end(rounds: list[tuple[int, int]], passes: int) -> None:
    watch, seen = _Watch(passes), [0]
    for done, more in rounds:
        watch.tell(f"Epochs completed:  7%| x {done}/{done + more} [00:01]")
        seen.append(watch.done)
    assert seen == sorted(seen)
    assert seen[-1] < umap_learn._TOTAL


def test_every_pass_moves_the_progress_on() -> None:
    watch = _Watch(2)
    watch.tell("Finding Nearest Neighbors\n\t 3  /  14\n")
    assert (watch.done, watch.stage) == (0, "finding neighbours")
    watch.tell(" 50%| x 100/200 [00:03]")
    half = watch.done
    watch.tell("100%| x 200/200 [00:06]  1%| x 2/200 [00:00]")
    assert 0 < half < 500 <= watch.done
    watch.tell("100%| x 200/200 [00:06]")
    assert watch.done > 950


def _left() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("tessera-umap-*"))


def test_stopping_ends_the_process_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    started, ended = [], []
    popen = umap_learn.subprocess.Popen

    def starting(*args, **kwargs):  # type: ignore[no-untyped-def]
        started.append(popen(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(umap_learn.subprocess, "Popen", starting)
    values, _ = clumps(400)
    with pytest.raises(Cancelled):
        umap_learn.fit_layout(values, cancelled=lambda: bool(ended.append(1) or len(ended) > 2))
    assert started[0].poll() is not None
    assert _left() == []


def test_a_process_that_fails_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(RasterError, match="fewer pixels"):
        umap_learn._in_a_child({"nothing": np.zeros(1)}, 2, 0, 1, None, None)
    assert _left() == []


def test_bad_input_is_named_before_anything_starts() -> None:
    values, _ = clumps(40)
    with pytest.raises(RasterError, match="17 to"):
        umap_learn.fit_layout(values[:10])
    broken = values.copy()
    broken[3, 3] = np.nan
    with pytest.raises(RasterError, match="no data"):
        umap_learn.fit_layout(broken)
    with pytest.raises(RasterError, match="no data"):
        umap_learn.fit_layout(values, also=broken)
    with pytest.raises(ValueError, match="as many classes"):
        umap_learn.fit_layout(values, classes=np.zeros(3, int))
    with pytest.raises(ValueError, match="same places"):
        umap_learn.align_years([values, values[:30]])


def test_continuity_is_whole_for_the_truth_and_falls_where_neighbours_are_torn_apart() -> None:
    values, _ = clumps(300)
    assert continuity(values, values) == 1
    torn = values[:, :2].copy()
    torn[::2] += 1000
    assert continuity(values[:, :2], torn) < 0.9 < trustworthiness(values[:, :2], torn)


def _spread(points: np.ndarray, kind: np.ndarray) -> float:
    """Mean distance to the middle of one's kind, by the width of the picture."""
    middles = np.stack([points[kind == k].mean(0) for k in np.unique(kind)])
    return float(np.linalg.norm(points - middles[kind], axis=1).mean() / points.std())


@pytest.mark.soak
def test_a_layout_keeps_neighbours_is_the_same_again_and_places_others_among_their_like() -> None:
    values, kind = clumps(600)
    new, its = clumps(80, seed=5)
    told: list[int] = []
    layout = umap_learn.fit_layout(values, also=new, seed=3, progress=lambda done, *_: told.append(done))
    assert told == sorted(told)
    assert told[-1] == 1000
    assert trustworthiness(values, layout.points) > 0.85
    assert continuity(values, layout.points) > 0.85
    again = umap_learn.fit_layout(values, also=new, seed=3)
    np.testing.assert_array_equal(layout.points, again.points)
    near = np.linalg.norm(layout.placed[:, None] - layout.points[None], axis=2).argmin(1)
    assert (kind[near] == its).mean() > 0.95


@pytest.mark.soak
def test_labels_draw_classes_together_and_aligned_years_lie_on_each_other() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(500, 16)).astype(np.float32)
    kind = (values[:, 0] > 0).astype(int)
    plain = umap_learn.fit_layout(values).points
    taught = umap_learn.fit_layout(values, classes=np.where(rng.random(500) < 0.7, kind, umap_learn.UNLABELLED)).points
    assert _spread(taught, kind) < 0.8 * _spread(plain, kind)
    clumped, _ = clumps(500)
    later = (clumped + 0.05 * rng.normal(size=clumped.shape)).astype(np.float32)
    first, second = umap_learn.align_years([clumped, later])
    assert np.linalg.norm(first - second, axis=1).mean() < 0.2 * np.ptp(first)


def test_where_it_is_not_installed_it_is_said_and_the_quick_layout_stays() -> None:
    code = """
import numpy as np
from tessera_core.analysis.umap_learn import fit_layout, is_here
from tessera_core.errors import MissingPartError
assert not is_here()
try:
    fit_layout(np.zeros((100, 8), np.float32))
except MissingPartError as error:
    print(error)
"""
    environment = os.environ | {"TESSERA_GUARD_WITHOUT": "umap", "TESSERA_IMAGE": "slim"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.startswith("The layouts of umap-learn are not installed here; the quick layout is."), done.stderr
    assert "generate-cpu" in done.stdout
