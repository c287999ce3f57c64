import errno
import os
import subprocess
import sys
import threading

import pytest

from tessera_core.atomic import atomic_path, write_json, write_text
from tessera_core.errors import ExportError


def write_half(target, error, *, directory=False):
    with atomic_path(target, directory=directory) as part:
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


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path):
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").write_text("x")
    with pytest.raises(ValueError, match="stop"):
        write_half(target, ValueError("stop"), directory=True)
    assert [path.name for path in target.iterdir()] == ["old"]
    with atomic_path(target, directory=True) as part:
        (part / "new").write_text("x")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


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
        "import os, signal, sys\nfrom tessera_core.atomic import atomic_path\n"
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
