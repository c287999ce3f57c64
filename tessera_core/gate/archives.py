"""Zip archives: judged whole before anything is unpacked, and never unpacked beyond what they announce."""

from __future__ import annotations

import os
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tessera_core.errors import InputError, TesseraError
from tessera_core.gate.files import open_file, unreadable
from tessera_core.gate.limits import FileLimits, amount, limits

_COPY_BYTES = 1 << 20
# What zipfile and the decoders say of damaged bytes; a password is a RuntimeError, an unknown compression NotImplementedError.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    struct.error,
    UnicodeError,
)
# A colon is a drive or a hidden stream on Windows.
_FORBIDDEN = {":", *(chr(code) for code in range(32))}
# Devices of Windows, whatever ending follows.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(1, 10))}


class Archive:
    """An open archive all of whose names and announced sizes are sound.

    Attributes:
        names: of its files, in order, with ``/`` between folders.
    """

    def __init__(self, archive: zipfile.ZipFile, name: str, error: type[TesseraError], bounds: FileLimits) -> None:
        self._archive, self._name, self._error = archive, name, error
        self._members = {
            place: item
            for place, item in _checked(archive.infolist(), name, error, bounds)
            if not place.startswith("__MACOSX/")
        }
        self.names: tuple[str, ...] = tuple(self._members)

    def size(self, member: str) -> int:
        """Announced bytes of a member."""
        return self._members[member].file_size

    def chunks(self, member: str) -> Iterator[bytes]:
        """The bytes of a member, piece by piece; never more than it announces.

        Raises:
            error: (the class given at opening) it is not there, is damaged, or holds more than it announces.
        """
        item = self._members.get(member)
        if item is None:
            raise self._error(f"{self._name} holds no {member}.")
        left = item.file_size
        try:
            with self._archive.open(item) as source:
                while block := source.read(_COPY_BYTES):
                    left -= len(block)
                    if left < 0:
                        break
                    yield block
        except _DAMAGED as cause:
            raise self._error(
                f"{self._name} is damaged or protected by a password ({member}); copy or download it again."
            ) from cause
        except OSError as cause:
            raise unreadable(self._name, cause, self._error) from cause
        if left:
            # A header may lie about the size; then the limits would be none.
            raise self._error(f"{self._name} is damaged: {member} is of another size than the archive says.")

    def read(self, member: str, limit: int | None = None) -> bytes:
        """All bytes of a member.

        Raises:
            error: (the class given at opening) as :meth:`chunks`, or it is larger than ``limit``.
        """
        limit = limits().text_bytes if limit is None else limit
        if member in self._members and self.size(member) > limit:
            raise self._error(
                f"{member} in {self._name} has {amount(self.size(member))}, more than {amount(limit)}; it is not opened."
            )
        return b"".join(self.chunks(member))

    def unpack(self, folder: Path, members: Sequence[str] | None = None) -> None:
        """Write members (by default all) below a folder.

        Raises:
            error: (the class given at opening) as :meth:`chunks`.
            OSError: the folder is not writable.
        """
        for member in self.names if members is None else members:
            target = folder.joinpath(*PurePosixPath(member).parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "wb") as sink:
                for block in self.chunks(member):
                    sink.write(block)


@contextmanager
def open_archive(
    source: str | Path | BinaryIO,
    *,
    name: str | None = None,
    error: type[TesseraError] = InputError,
    bounds: FileLimits | None = None,
) -> Iterator[Archive]:
    """Open a zip archive whose names and sizes are sound.

    Args:
        source: path, or a readable and seekable binary stream.
        name: what to call it; by default the file's name.
        error: class of what is raised.
        bounds: by default those that hold here.

    Raises:
        error: (the given class) it is no archive, is damaged, would unpack to too much, or names a path that leads outside,
            a link, a device or one place twice.
    """
    bounds = bounds or limits()
    name = name or (Path(source).name if isinstance(source, str | Path) else "the archive")
    stream = open_file(source, error) if isinstance(source, str | Path) else source
    try:
        try:
            _check_directory(stream, name, error, bounds)
            archive = zipfile.ZipFile(stream)
        except OSError as cause:
            raise unreadable(name, cause, error) from cause
        except _DAMAGED as cause:
            raise error(f"{name} is damaged or no .zip archive; make or download it again.") from cause
        with archive:
            yield Archive(archive, name, error, bounds)
    finally:
        if stream is not source:
            stream.close()


def _check_directory(stream: BinaryIO, name: str, error: type[TesseraError], bounds: FileLimits) -> None:
    """Refuse a table of contents that would fill the memory by itself: zipfile reads it whole."""
    end = stream.seek(0, 2)
    stream.seek(max(0, end - 65_557))
    tail = stream.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        raise zipfile.BadZipFile("no end of the central directory")
    size = struct.unpack_from("<I", tail, at + 12)[0]
    if size == 0xFFFFFFFF:
        mark = tail.rfind(b"PK\x06\x06", 0, at)
        size = struct.unpack_from("<Q", tail, mark + 40)[0] if 0 <= mark <= len(tail) - 48 else size
    stream.seek(0)
    if size > bounds.members * 400:
        raise error(f"{name} holds more than {bounds.members} files; it is not opened.")


def _checked(
    items: list[zipfile.ZipInfo], name: str, error: type[TesseraError], bounds: FileLimits
) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    files = [item for item in items if not item.is_dir()]
    total, packed = sum(item.file_size for item in files), sum(item.compress_size for item in files)
    if len(files) > bounds.members or total > bounds.unpacked_bytes:
        raise error(
            f"{name} unpacks to {len(files)} files of {amount(total)}; here the most are {bounds.members} files of "
            f"{amount(bounds.unpacked_bytes)}. Unpack it yourself, and open the folder or the files in it."
        )
    if total > bounds.free_bytes + bounds.growth * packed:
        raise error(
            f"{name} would unpack {amount(packed)} to {amount(total)}, which no real data does; it is not opened."
        )
    seen: set[str] = set()
    folders: set[str] = set()
    for item in files:
        # Some programs write the separator of Windows.
        parts = [part for part in item.filename.replace("\\", "/").split("/") if part != "."]
        if why := _unsafe(item, parts):
            raise error(f"{name} contains {item.filename!r}, {why}; nothing was unpacked.")
        # Some systems take two spellings for one file.
        plain = [unicodedata.normalize("NFKC", part).casefold().rstrip(" .") for part in parts]
        place, parents = "/".join(plain), {"/".join(plain[:n]) for n in range(1, len(plain))}
        if place in seen or place in folders or parents & seen:
            raise error(f"{name} names the place {item.filename!r} twice; nothing was unpacked.")
        seen.add(place)
        folders |= parents
        yield "/".join(parts), item


def _unsafe(item: zipfile.ZipInfo, parts: list[str]) -> str:
    """What is wrong with a member's name or kind; empty where nothing is."""
    if parts[:1] == [""] or ".." in parts or _FORBIDDEN & set(item.filename):
        return "which leads outside the archive"
    if os.name == "nt" and any(part.split(".")[0].strip().casefold() in _DEVICES for part in parts):
        return "which is the name of a device"
    if not parts or any(not part.rstrip(" .") or len(part.encode("utf-8", "replace")) > 255 for part in parts):
        return "which is no name of a file"
    # Others take as much memory as the file asks for.
    if item.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "which is packed in an unusual way"
    kind = stat.S_IFMT(item.external_attr >> 16)
    return "" if kind in (0, stat.S_IFREG) else "which is a link or no file"
