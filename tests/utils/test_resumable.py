"""Arrays that grow in a folder: killed, spoilt or started with another plan, they end as if nothing had happened."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tessera_core._utils.resumable import PIECES, ArraySpec, ResumableArrays
from tessera_core.errors import ExportError
from tessera_core.types import Window

SHAPE = (12, 10)
SPEC = {
    "codes": ArraySpec((*SHAPE, 3), np.int8),
    "scales": ArraySpec(SHAPE, np.float32, np.nan),
    "nodata": ArraySpec(SHAPE, np.uint8, 7),
}
WINDOWS: list[Window] = [(slice(r, r + 4), slice(c, c + 5)) for r in range(0, 12, 4) for c in range(0, 10, 5)]


def blocks(window: Window) -> dict[str, np.ndarray]:
    """What belongs into a window: a function of its place."""
    rows, cols = np.mgrid[window]
    value = (rows * 10 + cols).astype(np.int8)
    return {
        "codes": np.stack([value, -value, value // 2], axis=2),
        "scales": value.astype(np.float32) + 0.5,
        "nodata": (value % 5).astype(np.uint8),
    }


def whole(name: str) -> np.ndarray:
    return blocks((slice(0, SHAPE[0]), slice(0, SHAPE[1])))[name]


def finish(folder: Path, plan: int = 0) -> tuple[int, str]:
    """Windows that were still to be made, and the digest of all."""
    with ResumableArrays(folder, {"plan": plan}, SPEC) as work:
        todo = work.remaining(WINDOWS)
        for window in todo:
            work.commit(window, blocks(window))
        for name in SPEC:
            np.testing.assert_array_equal(work.arrays[name], whole(name))
        return len(todo), work.digest()


@settings(max_examples=15, deadline=None)
@given(
    done=st.sets(st.integers(0, len(WINDOWS) - 1)),
    spoilt=st.none() | st.tuples(st.sampled_from(list(SPEC)), st.integers(0, 11), st.integers(0, 9)),
    cut=st.integers(0, 20),
    tail=st.sampled_from([b"", b"4 8 0", b"not a line\n", b"0 4 0 5\n"]),
)
@example(done={0}, spoilt=None, cut=13, tail=b"4 8 0")
def test_whatever_was_done_spoilt_or_cut_the_end_is_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    done: set[int],
    spoilt: tuple[str, int, int] | None,
    cut: int,
    tail: bytes,
) -> None:
    folder = tmp_path_factory.mktemp("work") / ".x"
    with ResumableArrays(folder, {"plan": 0}, SPEC) as work:
        for number in sorted(done):
            work.commit(WINDOWS[number], blocks(WINDOWS[number]))
    if spoilt is not None:
        name, row, col = spoilt
        array = np.load(folder / f"{name}.npy", mmap_mode="r+")
        array[row, col] = 99
        array.flush()
    log = folder / PIECES
    text = log.read_bytes()
    log.write_bytes(text[: max(0, len(text) - cut)] + tail)
    todo, digest = finish(folder)
    assert len(WINDOWS) - len(done) <= todo <= len(WINDOWS)
    # What was begun in the middle of a line has hurt no line after it.
    assert finish(folder) == (0, digest)


def test_a_window_that_is_only_stored_is_made_again(tmp_path: Path) -> None:
    with ResumableArrays(tmp_path / "w", {"plan": 0}, SPEC) as work:
        work.store(WINDOWS[0], blocks(WINDOWS[0]))
        work.commit(WINDOWS[1], blocks(WINDOWS[1]))
    assert finish(tmp_path / "w")[0] == len(WINDOWS) - 1


def test_what_nobody_wrote_is_the_filling(tmp_path: Path) -> None:
    with ResumableArrays(tmp_path / "w", {"plan": 0}, SPEC) as work:
        assert not work.arrays["codes"].any()
        assert np.isnan(work.arrays["scales"]).all()
        assert (work.arrays["nodata"] == 7).all()


def test_another_plan_shape_or_kind_begins_anew_and_keeps_what_is_not_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    finish(folder)
    assert finish(folder, plan=1)[0] == len(WINDOWS)
    np.save(folder / "scales.npy", np.zeros(SHAPE, np.float64))
    (folder / "lock").touch()
    (folder / "left behind").mkdir()
    with ResumableArrays(folder, {"plan": 1}, SPEC, keeps=["lock"]) as work:
        assert len(work.remaining(WINDOWS)) == len(WINDOWS)
    assert (folder / "lock").exists()
    assert not (folder / "left behind").exists()


def test_several_threads_note_every_piece(tmp_path: Path) -> None:
    windows = [(slice(r, r + 1), slice(c, c + 1)) for r in range(12) for c in range(10)]
    with ResumableArrays(tmp_path / "w", {"plan": 0}, SPEC) as work, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda window: work.commit(window, blocks(window)), windows))
    with ResumableArrays(tmp_path / "w", {"plan": 0}, SPEC) as work:
        assert work.remaining(windows) == []


def test_published_arrays_are_whole_and_the_folder_goes(tmp_path: Path) -> None:
    with ResumableArrays(tmp_path / ".w", {"plan": 0}, SPEC) as work:
        for window in WINDOWS:
            work.commit(window, blocks(window))
        work.publish({"scales": tmp_path / "s.npy", "codes": tmp_path / "c.npy"})
        work.discard()
    np.testing.assert_array_equal(np.load(tmp_path / "c.npy"), whole("codes"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.npy", "s.npy"]


def test_no_room_is_told_before_anything_is_computed_and_leaves_nothing(tmp_path: Path) -> None:
    asked: list[int] = []
    huge = {"codes": ArraySpec((1 << 20, 1 << 20, 64), np.int8)}
    work = ResumableArrays(
        tmp_path / "w", {}, huge, what="2023", advice=", or choose a smaller region", make_room=asked.append
    )
    with pytest.raises(ExportError, match=r"2023 needs [\d.]+ GB in .* Free some space, or choose a smaller region\."):
        work.__enter__()
    assert asked == [64 << 40]
    assert not list(tmp_path.iterdir())


def test_a_file_that_may_not_grow_raises_instead_of_killing(tmp_path: Path) -> None:
    # The limit stands for a full disk: memory-mapped pages without a place on it would be a bus error.
    script = (
        "import resource, signal, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from tessera_core._utils.resumable import ArraySpec, ResumableArrays\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "ResumableArrays(Path(sys.argv[1]), {}, {'a': ArraySpec((1000, 1000), np.uint8)}).__enter__()\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "w")], capture_output=True, text=True)
    assert done.returncode == 1
    assert "ExportError: The result needs 0.00 GB" in done.stderr
    assert os.strerror(errno.EFBIG) in done.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000


def test_killed_between_two_pieces_the_next_run_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.utils.test_resumable import SPEC, WINDOWS, ResumableArrays, blocks\n"
        "with ResumableArrays(Path(sys.argv[1]), {'plan': 0}, SPEC) as work:\n"
        "    for window in WINDOWS[:3]:\n"
        "        work.commit(window, blocks(window))\n"
        "    work.store(WINDOWS[3], blocks(WINDOWS[3]))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script, str(folder)], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    assert finish(folder)[0] == len(WINDOWS) - 3


def test_a_folder_that_cannot_be_written_gives_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="Cannot write in"):
        ResumableArrays(tmp_path / "file" / "w", {}, SPEC).__enter__()
