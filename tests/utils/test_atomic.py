import errno
import os
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core._utils.atomic import FolderKind, atomic_path, ordinary_mode, write_json, write_text
from tessera_core.errors import ExportError, InputError


def write_half(target, error, *, directory=False, replaces=None):
    with atomic_path(target, directory=directory, replaces=replaces) as part:
        (part / "new" if directory else part).write_text("half")
        raise error


def test_a_file_appears_whole(tmp_path):
    target = tmp_path / "new" / "a.txt"
    with atomic_path(target) as part:
        part.write_text("x")
        assert part.parent == target.parent
        assert part.suffix == ".txt"
        assert part.name.startswith(".")
        assert not target.exists()
    assert target.read_text() == "x"
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error):
        write_half(target, error)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


KIND = FolderKind("a box", "box.json", ("box.json", "parts/*", "*.npy"))


def test_a_folder_appears_whole_and_replaces_an_old_one_of_its_kind(tmp_path):
    target = tmp_path / "folder"
    (target / "parts").mkdir(parents=True)
    for name in ("box.json", "parts/a", "old.npy", ".DS_Store"):
        (target / name).write_text("x")
    with pytest.raises(ValueError, match="stop"), atomic_path(target, directory=True, replaces=KIND):
        raise ValueError("stop")
    assert (target / "parts" / "a").exists()
    with atomic_path(target, directory=True, replaces=KIND) as part:
        (part / "new").write_text("x")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


NAMES = st.sampled_from(
    ["box.json", "parts/a", "x.npy", "notes.txt", "parts.gpkg", "parts/deep/b", "y/box.json", "empty/"]
)


@settings(max_examples=60, deadline=None)
@given(names=st.sets(NAMES), known=st.booleans())
def test_whatever_a_folder_holds_nothing_foreign_is_ever_lost(tmp_path_factory, names, known):
    target = tmp_path_factory.mktemp("any") / "folder"
    for name in names:
        path = target / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text(name)
    before = {path.relative_to(target) for path in target.rglob("*")}
    kind = KIND if known else None
    ours = {"box.json", "parts/a", "x.npy", "parts/deep/b"}
    free = not names or (known and "box.json" in names and names <= ours)
    if free:
        with atomic_path(target, directory=True, replaces=kind) as part:
            (part / "new").write_text("x")
        assert [path.name for path in target.iterdir()] == ["new"]
    else:
        worked = False
        with pytest.raises(InputError, match="nothing was changed"), atomic_path(target, directory=True, replaces=kind):
            worked = True
        assert not worked
        assert {path.relative_to(target) for path in target.rglob("*")} == before
    assert list(target.parent.iterdir()) == [target]


def test_what_is_put_into_the_folder_while_the_work_goes_on_is_kept(tmp_path):
    target = tmp_path / "folder"
    target.mkdir()
    (target / "box.json").write_text("x")

    def work():
        with atomic_path(target, directory=True, replaces=KIND) as part:
            (part / "new").write_text("x")
            (target / "notes.txt").write_text("mine")

    with pytest.raises(InputError, match=r"notes\.txt"):
        work()
    assert (target / "notes.txt").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [target]


def test_the_folder_one_is_in_is_not_pulled_away(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for target in (".", "..", tmp_path / "here", tmp_path):
        with pytest.raises(InputError, match="runs in"):
            write_half(target, OSError("never"), directory=True)
    assert list(tmp_path.iterdir()) == [tmp_path / "here"]


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    with atomic_path(tmp_path / "link", directory=True) as part:
        (part / "new").write_text("x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "new").exists()


@pytest.mark.parametrize("moment", ["aside", "swapped"])
def test_a_kill_while_a_folder_is_replaced_loses_nothing(tmp_path, moment):
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom tessera_core._utils.atomic import FolderKind, atomic_path\n"
        "rename, calls = os.rename, []\n"
        "def dying(a, b):\n    rename(a, b)\n    calls.append(a)\n"
        f"    if len(calls) == {1 if moment == 'aside' else 2}:\n"
        "        os.kill(os.getpid(), getattr(signal, 'SIGKILL', signal.SIGTERM))\n"
        "os.rename = dying\n"
        "with atomic_path(sys.argv[1], directory=True, replaces=FolderKind('a box', 'box.json', ('box.json',))) as part:\n"
        "    (part / 'box.json').write_text('new')\n"
    )
    target = tmp_path / "folder"
    target.mkdir()
    (target / "box.json").write_text("old")
    assert subprocess.run([sys.executable, "-c", script, str(target)], check=False).returncode != 0
    if moment == "aside":
        # The next one who writes there finds it under its name again.
        with pytest.raises(OSError, match="stop"):
            write_half(target, OSError("stop"), directory=True, replaces=KIND)
    assert (target / "box.json").read_text() == ("old" if moment == "aside" else "new")


def test_files_of_a_library_that_hides_them_get_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    (tmp_path / "hidden").touch(0o600)
    ordinary_mode(tmp_path / "hidden")
    assert (tmp_path / "hidden").stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("code", "match"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "No permission"), (errno.EROFS, "No permission")]
)
def test_a_full_or_forbidden_disk_is_one_sentence(tmp_path, code, match):
    with pytest.raises(ExportError, match=match):
        write_half(tmp_path / "a.txt", OSError(code, os.strerror(code)))
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written_are_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExportError, match="Cannot create the folder"):
        write_text(tmp_path / "file" / "a.txt", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ExportError, match=r"folder"):
        write_text(tmp_path / "folder", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_kill_leaves_no_target(tmp_path):
    script = (
        "import os, signal, sys\nfrom tessera_core._utils.atomic import atomic_path\n"
        "with atomic_path(sys.argv[1]) as part:\n"
        "    part.write_text('half')\n    os.kill(os.getpid(), getattr(signal, 'SIGKILL', signal.SIGTERM))\n"
    )
    target = tmp_path / "a.txt"
    target.write_text("old")
    assert subprocess.run([sys.executable, "-c", script, str(target)], check=False).returncode != 0
    assert target.read_text() == "old"


def test_two_threads_do_not_write_into_one_another(tmp_path):
    target = tmp_path / "a.txt"
    texts = [letter * 200_000 for letter in "abcd"]

    def write(text):
        for _ in range(10):
            write_text(target, text)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_text() in texts
    assert list(tmp_path.iterdir()) == [target]


def test_json_is_readable_by_others(tmp_path):
    write_json(tmp_path / "a.json", {"ü": [1, None, True]})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "ü": [\n    1,\n    null,\n    true\n  ]\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()


def test_what_killed_runs_left_goes_away_and_what_somebody_writes_stays(tmp_path):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead, target = int(gone.stdout), tmp_path / "map.tif"
    names = {
        f".map.{dead}-7f.part.tif": True,
        f".map.{os.getppid()}-7f.part.tif": False,
        f".map.{dead}-80.part.tif": False,
        f".other.{dead}-7f.part.tif": False,
        ".map.mine.part.tif": False,
    }
    for name in names:
        (tmp_path / name).write_text("half")
        if name != f".map.{dead}-80.part.tif":
            os.utime(tmp_path / name, (0, 0))
    folder = tmp_path / f".map.{dead}-81.part.tif"
    folder.mkdir()
    (folder / "new").write_text("just written, perhaps by another machine")
    os.utime(folder, (0, 0))
    write_text(target, "whole")
    assert target.read_text() == "whole"
    assert {name: not (tmp_path / name).exists() for name in names} == names
    assert (folder / "new").exists()
