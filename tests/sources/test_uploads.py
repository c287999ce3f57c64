"""Uploads: the right kinds become a folder, everything else one sentence and nothing on disk."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from tessera_core.errors import InputError
from tessera_core.sources.local.uploads import receive


def _zip(**members: bytes) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    buffer.seek(0)
    return buffer


def test_plain_files_keep_their_names(tmp_path: Path) -> None:
    files = [("C:\\data\\a.npy", io.BytesIO(b"1")), ("a_scales.npy", io.BytesIO(b"2"))]
    folder = receive(files, tmp_path / "data")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a.npy": b"1", "a_scales.npy": b"2"}


def test_archive_of_a_folder_opens_the_folder_inside(tmp_path: Path) -> None:
    folder = receive([("t.zip", _zip(tile__a_dot_npy=b"1", tile__b_dot_npy=b"2"))], tmp_path / "data")
    assert folder == tmp_path / "data" / "tile"
    assert sorted(path.name for path in folder.iterdir()) == ["a.npy", "b.npy"]


def _escaping() -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../evil.npy", b"1")
    buffer.seek(0)
    return buffer


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([], "Nothing was uploaded"),
        ([("holiday.docx", io.BytesIO(b"x"))], "holiday.docx"),
        ([("a.zip", io.BytesIO(b"not a zip"))], "no .zip"),
        ([("a.zip", _zip())], "empty"),
        ([("a.zip", _escaping())], "outside"),
        ([("a.zip", _zip(a=b"1")), ("b.npy", io.BytesIO(b""))], "alone"),
        ([("a_scales.npy", io.BytesIO(b"x"))], "only scales"),
        ([("a.json", io.BytesIO(b"{}"))], ".json file alone"),
        ([("..npy/..", io.BytesIO(b""))], "cannot hold"),
    ],
)
def test_wrong_uploads_say_what_is_wrong_and_leave_nothing(tmp_path: Path, files: list, says: str) -> None:
    with pytest.raises(InputError, match=says):
        receive(files, tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_truncated_archive_leaves_nothing(tmp_path: Path) -> None:
    whole = _zip(**{"a_dot_npy": bytes(range(256)) * 400}).getvalue()
    damaged = whole[:40] + bytes(30) + whole[70:]
    with pytest.raises(InputError, match="damaged"):
        receive([("a.zip", io.BytesIO(damaged))], tmp_path / "data")
    assert list(tmp_path.iterdir()) == []
