"""A pack: one file with projects, their embeddings and a picture of each year, to hand out where there is no network.

A zip without compression (embeddings hardly shrink), so that it opens as fast as the disk reads. ``pack.json`` names every file
with its length and SHA-256; what does not match is refused. Opening makes a project of each, which needs the pack no more.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.locks import reading
from tessera_core.assess.holes import ORIGIN_FILE
from tessera_core.errors import Cancelled, ExportError, InputError, ProjectError, TesseraError
from tessera_core.gate import is_missing, parse_json
from tessera_core.gate.archives import Archive, open_archive
from tessera_core.gate.limits import limits
from tessera_core.hosting import hosted
from tessera_core.observations import FILE as OBSERVATIONS_FILE
from tessera_core.periods import period, written
from tessera_core.project import imagery, place_pictures
from tessera_core.project.folders import new_folder
from tessera_core.project.home import projects_home
from tessera_core.project.project import EmbeddingRef, Project
from tessera_core.project.project_files import saved_logs, saved_samples
from tessera_core.project.registration import register_years
from tessera_core.project.room import require_size
from tessera_core.project.settings import migrated
from tessera_core.provenance import SOFTWARE
from tessera_core.raster import FORMAT as RASTER_FORMAT
from tessera_core.raster import picture_file
from tessera_core.types import Cancel, Progress

if TYPE_CHECKING:
    from tessera_core.raster import EmbeddingRaster

FORMAT = "tessera-pack/1"
logger = logging.getLogger(__name__)

SUFFIX = ".tesserapack"
MANIFEST = "pack.json"
_CHUNK = 8 << 20
_PACKED = ".packed.json"
_MAX_MANIFEST = 64 << 20


@dataclass(frozen=True)
class PackedProject:
    """A project in a pack.

    Attributes:
        folder: its place in the pack.
        name: what people call it.
        dataset: of its embeddings, or None.
        years: that have embeddings.
        labels: how many.
        bytes: of its files.
    """

    folder: str
    name: str
    dataset: str | None
    years: tuple[int, ...]
    labels: int
    bytes: int


def is_pack(path: str | Path) -> bool:
    """Whether a file looks like a pack."""
    return Path(path).suffix.lower() == SUFFIX and Path(path).is_file()


# ------------------------------------------------------------------ making


def make_pack(
    projects: Sequence[Project],
    out: str | Path,
    *,
    timeseries: bool = False,
    lessons: Mapping[str, Sequence[Path]] | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Path:
    """Write projects with all they need as one file.

    Args:
        projects: at least one.
        out: the file; ``.tesserapack`` is added where it is missing.
        timeseries: include the satellite time series that embeddings were made from; they are many times larger.
        lessons: to hand out with them: id -> the files of its folder, which is what all of them lie in.
        progress: bytes written, of how many.
        cancelled: asked often; nothing is left then.

    Raises:
        InputError: there is nothing to pack, or embeddings are gone or damaged.
        ExportError: the file cannot be written.
        Cancelled: ``cancelled`` returned true.
    """
    if not projects:
        raise InputError("Choose at least one project to pack.")
    out = Path(out)
    out = out if out.suffix.lower() == SUFFIX else out.with_name(out.name + SUFFIX)
    with atomic_path(out) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        writer = _Writer(archive, progress, cancelled)
        sizes = [[(ref, *_opened(project, ref)) for ref in project.embeddings.values()] for project in projects]
        writer.total = sum(
            raster.codes.nbytes + 5 * raster.scales.size for rasters in sizes for _, raster, _ in rasters
        )
        packed = []
        for number, (project, rasters) in enumerate(zip(projects, sizes, strict=True)):
            packed.append(_pack(writer, f"projects/{number}", project, rasters, timeseries))
        for lesson, files in (lessons or {}).items():
            folder = Path(os.path.commonpath([path.parent for path in files]))
            for path in files:
                writer.file(f"lessons/{lesson}/{path.relative_to(folder).as_posix()}", path)
        facts = {
            "format": FORMAT,
            "software": SOFTWARE,
            "created": time.time(),
            "projects": [vars(entry) | {"years": [written(year) for year in entry.years]} for entry in packed],
            "files": writer.files,
        }
        archive.writestr(MANIFEST, json.dumps(facts, indent=1))
    return out


def _opened(project: Project, ref: EmbeddingRef) -> tuple[EmbeddingRaster, Path | None]:
    from tessera_core.sources.local.open import open_embeddings

    raster = open_embeddings(project.embeddings_path(ref.year), year=ref.year)
    return raster, ref.dpixels if ref.dpixels is not None and ref.dpixels.is_dir() else None


def _pack(
    writer: _Writer,
    folder: str,
    project: Project,
    rasters: Sequence[tuple[EmbeddingRef, EmbeddingRaster, Path | None]],
    timeseries: bool,
) -> PackedProject:
    from tessera_core.render import canvas

    before = writer.done
    data = migrated(json.loads((project.folder / "project.json").read_text(encoding="utf-8")))
    data["embeddings"] = {}
    for ref, raster, tile in rasters:
        name = str(ref.year) if ref.year is not None else "undated"
        place = f"data/{name}"
        _pack_raster(writer, f"{folder}/{place}", raster)
        if not is_missing(ref.path / ORIGIN_FILE):
            writer.file(f"{folder}/{place}/{ORIGIN_FILE}", ref.path / ORIGIN_FILE)
        # Without them whoever opens the pack would see embeddings as colours only.
        photo = None
        for shown in canvas.satellite_pictures(ref.path, tile):
            seen = canvas.satellite_picture(shown, ref.path, tile, raster.shape)
            photo = seen if shown == canvas.TRUE_COLOUR else photo
            if seen is not None:
                writer.text(str(picture_file(PurePosixPath(folder, place), shown)), _png(seen))
        writer.text(f"{folder}/pictures/{name}.png", _picture(raster, photo))
        writer.text(f"{folder}/pictures/{name}.pgw", _world_file(raster))
        value: dict[str, Any] = {
            "year": written(ref.year),
            "path": place,
            "path_relative": place,
            "provenance": raster.provenance.to_json(),
            "grid": ref.grid.to_json(),
        }
        if timeseries and tile is not None:
            value |= {"dpixels": f"dpixels/{name}", "dpixels_relative": f"dpixels/{name}"}
            for path in sorted(tile.rglob("*")):
                if path.is_file():
                    writer.file(f"{folder}/dpixels/{name}/{path.relative_to(tile).as_posix()}", path)
        data["embeddings"][str(ref.year) if ref.year is not None else ""] = value
    writer.text(f"{folder}/project.json", json.dumps(data, indent=2, ensure_ascii=False).encode())
    for year in project.embeddings:
        try:
            place_pictures.prepare(project, year, cancelled=writer.cancelled)
        except Cancelled:
            raise
        except TesseraError as error:
            # A damaged sample or a full disk is no reason to hand nothing out; pictures that were kept before go along.
            logger.info("pictures of places of %s: %s", year, error)
    for kept in place_pictures.kept_files(project):
        writer.file(f"{folder}/{kept.relative_to(project.folder).as_posix()}", kept)
    for picture in imagery.picture_files(project):
        writer.file(f"{folder}/{imagery.FOLDER}/{picture.name}", picture)
    for log in saved_logs(project.folder):
        with reading(log) as file:
            writer.text(f"{folder}/{log.name}", file.read())
    for path in sorted(project.folder.glob("*.json")):
        if path.name != "project.json" and not path.name.startswith("."):
            writer.file(f"{folder}/{path.name}", path)
    for sample in saved_samples(project.folder):
        # Of places where two maps differ, the two maps as they were.
        maps = sample.with_suffix(".npy")
        if maps.is_file() and not maps.is_symlink():
            writer.file(f"{folder}/{maps.name}", maps)
    return PackedProject(
        folder, project.name, project.dataset, tuple(project.years), len(project.log.labels), writer.done - before
    )


def _pack_raster(writer: _Writer, place: str, raster: EmbeddingRaster) -> None:
    header = {"format": RASTER_FORMAT, "grid": raster.grid.to_json(), "provenance": raster.provenance.to_json()}
    writer.text(f"{place}/raster.json", (json.dumps(header, indent=2) + "\n").encode())
    writer.array(f"{place}/codes.npy", raster.codes)
    writer.array(f"{place}/scales.npy", raster.scales)
    if raster.reasons is not None:
        writer.array(f"{place}/nodata.npy", raster.reasons)
    if raster.observations is not None:
        writer.array(f"{place}/{OBSERVATIONS_FILE}", raster.observations)


def _picture(raster: EmbeddingRaster, photo: NDArray[np.uint8] | None) -> bytes:
    """The photograph where there is one, else the embeddings' own colours; PNG, transparent without data."""
    from tessera_core.render.picture import pca_picture

    if photo is not None:
        return _png(np.dstack([photo, np.full(raster.shape, 255, np.uint8)]))
    valid = raster.valid()
    picture = pca_picture(raster) if valid.any() else np.zeros((*raster.shape, 3), np.uint8)
    return _png(np.dstack([picture, np.where(valid, np.uint8(255), np.uint8(0))]))


def _png(picture: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=3)
    return file.getvalue()


def _world_file(raster: EmbeddingRaster) -> bytes:
    """Six lines that place the picture in a GIS: pixel size, rotation, and the centre of the first pixel."""
    t = raster.grid.transform
    x, y = t.c + (t.a + t.b) / 2, t.f + (t.d + t.e) / 2
    return "".join(f"{value!r}\n" for value in (t.a, t.d, t.b, t.e, x, y)).encode()


class _Writer:
    """Writes members and notes their lengths and checksums."""

    def __init__(self, archive: zipfile.ZipFile, progress: Progress | None, cancelled: Cancel | None) -> None:
        self.archive, self.progress, self.cancelled = archive, progress, cancelled
        self.files: dict[str, dict[str, Any]] = {}
        self.done = self.total = 0

    def text(self, name: str, data: bytes) -> None:
        """A small member."""
        self._write(name, iter([data]))

    def file(self, name: str, path: Path) -> None:
        """A file as it is."""
        with path.open("rb") as file:
            self._write(name, iter(lambda: file.read(_CHUNK), b""))

    def array(self, name: str, array: NDArray[Any]) -> None:
        """An array as .npy, a few rows at a time."""
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
        )
        step = max(1, _CHUNK // max(1, array[:1].nbytes))

        def chunks() -> Iterator[bytes]:
            yield header.getvalue()
            for start in range(0, len(array), step):
                yield np.ascontiguousarray(array[start : start + step]).tobytes()

        self._write(name, chunks())

    def _write(self, name: str, chunks: Iterator[bytes]) -> None:
        digest, size = hashlib.sha256(), 0
        with self.archive.open(name, "w", force_zip64=True) as member:
            for chunk in chunks:
                if self.cancelled is not None and self.cancelled():
                    raise Cancelled()
                member.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                self.done += len(chunk)
                if self.progress is not None:
                    self.progress(min(self.done, self.total), max(self.total, 1), "packing")
        self.files[name] = {"bytes": size, "sha256": digest.hexdigest()}


# ------------------------------------------------------------------ opening


def look_into(path: str | Path) -> tuple[PackedProject, ...]:
    """What a pack holds.

    Raises:
        ProjectError: it is no readable pack.
    """
    with _reading(Path(path)) as archive:
        return tuple(_entries(_manifest(archive, Path(path)), Path(path)))


def open_pack(
    path: str | Path,
    *,
    into: str | Path | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> list[Project]:
    """Make projects of all that a pack holds; needs no network, and the pack no more afterwards.

    Args:
        path: the pack.
        into: folder to make the projects' folders in; by default where projects are kept.
        progress: bytes read, of how many.
        cancelled: asked often; projects that were made stay.

    Raises:
        ProjectError: it is no pack, or damaged; nothing of a damaged project is left.
        ExportError: the disk has no room.
        Cancelled: ``cancelled`` returned true.
    """
    path = Path(path)
    projects = []
    with _reading(path) as archive:
        facts = _manifest(archive, path)
        known = list(_entries(facts, path))
        total, done = sum(int(item["bytes"]) for item in facts["files"].values()), 0
        home = Path(into) if into is not None else projects_home()
        _require_room(total, home)
        for entry in known:
            inside_it = (item for name, item in facts["files"].items() if name.startswith(f"{entry.folder}/"))
            require_size(sum(int(item["bytes"]) for item in inside_it), f"{entry.name!r}")
            target = new_folder(entry.name, home)
            try:
                for name, item in facts["files"].items():
                    if not name.startswith(f"{entry.folder}/"):
                        continue
                    inside = name[len(entry.folder) + 1 :]
                    # Only whole is the folder a project.
                    place = target / (inside if inside != "project.json" else _PACKED)
                    for size in _extract(archive, name, item, place, path):
                        done += size
                        if progress is not None:
                            progress(done, max(total, 1), "unpacking")
                        if cancelled is not None and cancelled():
                            raise Cancelled()
                project = Project.settle(target, (target / _PACKED).read_bytes(), path.name)
                (target / _PACKED).unlink()
                register_years(project)
                projects.append(project)
            except BaseException:
                shutil.rmtree(target, ignore_errors=True)
                raise
    return projects


class _UnreadableError(ProjectError):
    """What the gate says of an archive, to be told as that of a pack."""


@contextmanager
def _reading(path: Path) -> Iterator[Archive]:
    if not path.exists():
        raise ProjectError(f"There is no file {path}.")
    bounds = limits()
    if not hosted():
        # Years of large regions; there must be room for them on the disk.
        bounds = replace(bounds, unpacked_bytes=1 << 43, members=1_000_000)
    try:
        with open_archive(path, error=_UnreadableError, bounds=bounds) as archive:
            yield archive
    except _UnreadableError as error:
        raise ProjectError(f"{path.name} is not a readable pack ({SUFFIX}). {error}") from error


def _manifest(archive: Archive, path: Path) -> dict[str, Any]:
    if MANIFEST not in archive.names:
        raise ProjectError(f"{path.name} is not a pack of this program: it holds no {MANIFEST}.")
    try:
        facts = parse_json(archive.read(MANIFEST, _MAX_MANIFEST))
        kind = str(facts["format"])
        if kind != FORMAT and kind.startswith("tessera-pack/"):
            raise ProjectError(
                f"{path.name} was made by a newer version ({kind}); this version reads {FORMAT}. Update it."
            )
        files = facts["files"]
        sound = kind == FORMAT and all(
            _is_safe(name) and int(item["bytes"]) >= 0 and len(item["sha256"]) == 64 for name, item in files.items()
        )
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ProjectError(f"{path.name} is not a pack of this program; copy or download it again.") from error
    if not sound:
        raise ProjectError(f"{path.name} is not a pack of this program, or it was tampered with.")
    return dict(facts)


def _entries(facts: dict[str, Any], path: Path) -> Iterator[PackedProject]:
    try:
        folders = [f"{item['folder']}/" for item in facts["projects"]]
        # One folder listed many times would be unpacked as often.
        if any(b.startswith(a) for a, b in pairwise(sorted(folders))):
            raise ValueError("a project twice")
        for item in facts["projects"]:
            if not _is_safe(item["folder"]) or f"{item['folder']}/project.json" not in facts["files"]:
                raise ValueError("no project there")
            yield PackedProject(
                str(item["folder"]),
                str(item["name"]),
                None if item["dataset"] is None else str(item["dataset"]),
                tuple(period(year) for year in item["years"]),
                int(item["labels"]),
                int(item["bytes"]),
            )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, InputError) as error:
        raise ProjectError(f"{path.name} is damaged: its list of projects cannot be read.") from error


def _is_safe(name: str) -> bool:
    """Whether a member's name stays inside the folder it is unpacked to, on every system."""
    pure = PurePosixPath(name)
    return (
        not pure.is_absolute() and ".." not in pure.parts and not set(name) & set('\\:\0*?"<>|') and len(pure.parts) > 1
    )


def _extract(archive: Archive, name: str, item: dict[str, Any], target: Path, path: Path) -> Iterator[int]:
    """Unpack a member, checked; yields the bytes of each step."""
    digest, size, wanted = hashlib.sha256(), 0, int(item["bytes"])
    if name not in archive.names or archive.size(name) != wanted:
        raise ProjectError(f"{path.name} is damaged ({name} is not what was packed); copy or download it again.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            for piece in archive.chunks(name):
                file.write(piece)
                digest.update(piece)
                size += len(piece)
                yield len(piece)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ExportError(
                f"The disk is full: {path.name} was not opened. Free some space and try again."
            ) from error
        raise ProjectError(f"{path.name} cannot be unpacked ({name}): {error.strerror or error}.") from error
    if size != wanted or digest.hexdigest() != item["sha256"]:
        raise ProjectError(f"{path.name} is damaged ({name} is not what was packed); copy or download it again.")


def _require_room(size: int, home: Path) -> None:
    while not home.exists():
        home = home.parent
    free = shutil.disk_usage(home).free
    if size > free:
        raise ExportError(
            f"Opening this pack needs {size / 1e9:.2f} GB in {home}, and {free / 1e9:.2f} GB are free. Free some space, or set "
            "TESSERA_HOME to a larger disk."
        )


def upload(stream: IO[bytes], *, progress: Progress | None = None, cancelled: Cancel | None = None) -> list[Project]:
    """Make projects of an uploaded pack; as :func:`open_pack`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"upload{SUFFIX}"
        with path.open("wb") as file:
            shutil.copyfileobj(stream, file, _CHUNK)
        return open_pack(path, progress=progress, cancelled=cancelled)
