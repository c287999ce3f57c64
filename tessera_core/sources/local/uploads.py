"""Files that people upload, laid down as a folder that :mod:`tessera_core.sources.local.open` reads.

This module judges names, kinds and sizes and unpacks archives safely; what is inside the files is judged by the readers.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.paths import data_home
from tessera_core.errors import InputError
from tessera_core.gate import contained, open_archive

KINDS = ("npy", "json", "tif", "tiff", "zip")
WANTED = "a GeoTIFF (.tif), a pair of .npy files (embeddings and their scales), or a .zip of a folder with them"
_COPY_BYTES = 1 << 20


def receive(files: Sequence[tuple[str, BinaryIO]], folder: str | Path) -> Path:
    """Write uploaded files into ``folder``, whole or not at all.

    Args:
        files: name and readable binary stream of each upload.
        folder: new or empty folder for them.

    Returns:
        The folder to open: ``folder``, or the one folder inside an archive that holds everything.

    Raises:
        InputError: nothing was uploaded, a file is of a kind that cannot hold embeddings, kinds were mixed, or the
            archive is damaged, too large, or would write outside its folder.
        ExportError: the disk is full or not writable.
    """
    folder = Path(folder)
    kind = _kind([name for name, _ in files])
    with atomic_path(folder, directory=True) as part:
        if kind == "zip":
            with tempfile.TemporaryDirectory(prefix=".upload-", dir=folder.parent) as place:
                archive = Path(place) / plain_name(files[0][0])
                _copy(files[0][1], archive)
                unpack(archive, part)
        else:
            for name, stream in files:
                _copy(stream, part / plain_name(name))
    return _innermost(folder)


def keep_region_file(name: str, content: bytes) -> Path:
    """An uploaded file of places on disk, where readers want it and where a reload of a page finds it; the same file once.

    Raises:
        ExportError: the disk is full or not writable.
    """
    path = data_home() / "regions" / hashlib.sha256(content).hexdigest()[:10] / plain_name(name)
    if not path.exists():
        with atomic_path(path) as part:
            part.write_bytes(content)
    return path


def _kind(names: Sequence[str]) -> str:
    if not names:
        raise InputError(f"Nothing was uploaded yet. Choose {WANTED}.")
    endings = [Path(name).suffix.lower().lstrip(".") for name in names]
    for name, ending in zip(names, endings, strict=True):
        if ending not in KINDS:
            raise InputError(f"{Path(name).name!r} cannot hold embeddings. Upload {WANTED}.")
    if "zip" in endings:
        if len(names) > 1:
            raise InputError("Upload the .zip alone, without other files beside it.")
        return "zip"
    if "npy" in endings:
        scales = [name for name in names if Path(name).stem.endswith("scales")]
        if len(scales) == endings.count("npy"):
            raise InputError(
                f"{Path(names[0]).name!r} holds only scales; upload the embeddings (.npy) together with it."
            )
        return "npy"
    if not {"tif", "tiff"} & set(endings):
        raise InputError(f"A .json file alone holds no embeddings. Upload {WANTED}.")
    return "tif"


def plain_name(name: str) -> str:
    """The bare file name of an upload.

    Raises:
        InputError: there is none.
    """
    # Browsers send bare names, but a hand-made request may send a path of either system.
    plain = PurePosixPath(name.replace("\\", "/")).name
    if plain in ("", ".", ".."):
        raise InputError(f"{name!r} is not a file name.")
    return plain


def _copy(stream: BinaryIO, path: Path) -> None:
    with open(path, "wb") as target:
        shutil.copyfileobj(stream, target, _COPY_BYTES)


@contained
def unpack(path: Path, folder: Path) -> None:
    """Unpack an archive into a folder.

    Raises:
        InputError: it is empty, damaged, too large, or would write outside the folder.
    """
    with open_archive(path, name=repr(path.name)) as archive:
        if not archive.names:
            raise InputError(f"{path.name!r} is an empty archive.")
        archive.unpack(folder)


def _innermost(folder: Path) -> Path:
    """Step into folders that hold nothing but one folder, as archives of a folder do."""
    while True:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
        if len(entries) != 1 or not entries[0].is_dir():
            return folder
        folder = entries[0]
