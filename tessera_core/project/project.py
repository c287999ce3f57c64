"""A project: a region, its embeddings by year, labels and settings, in a folder that is saved as it changes.

A project's folder holds ``project.json`` (what is set), ``labels.jsonl`` (the label log) and ``plots.jsonl`` (the log of field
plots). Embeddings stay where they are and are referred to by path and provenance; nothing here reads their values, and what may
be opened of them is for :mod:`tessera_core.project.references` to say. One project holds one dataset and one grid CRS, because
labels are kept in the grid's coordinates and vectors of two datasets never mix.

Two tabs may change one project: each change is merged into what is on disk, key by key, under a lock.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.locks import reading
from tessera_core._utils.paths import projects_home
from tessera_core.errors import Hint, MixedDatasetsError, ProjectError
from tessera_core.gate.archives import open_archive
from tessera_core.grid import Grid
from tessera_core.hosting import acting, hosted, shown_path
from tessera_core.labels.log import LabelLog
from tessera_core.labels.log_file import LogReplacedError
from tessera_core.labels.model import clean_name
from tessera_core.labels.schema import ClassTree
from tessera_core.labels.schema import from_json as tree_from_json
from tessera_core.periods import period
from tessera_core.project.folders import filling, make_folder, new_folder
from tessera_core.project.project_files import (
    FORMAT,
    LOGS,
    MAX_PROJECT_JSON,
    SUFFIX,
    checked,
    locked,
    modest_samples,
    read_file,
    require_modest,
    require_plain,
    require_size_of_log,
    saved_logs,
    saved_samples,
    write_file,
    writing,
)
from tessera_core.project.references import EmbeddingRef as EmbeddingRef
from tessera_core.project.references import References, WantedEmbeddings, as_copy, note_linked, shareable
from tessera_core.project.room import note_owner
from tessera_core.project.settings import VERSION, ProjectSettings, is_sound, unsound
from tessera_core.provenance import SOFTWARE, Provenance


class _UnreadableError(ProjectError):
    """What the gate says of an archive, to be told as that of a project's file."""


class Project:
    """An open project. Everything that changes it is on disk when the call returns.

    Attributes:
        folder: where it is saved.
        log: its labels, appended to disk as they change.
        plots: its field plots, likewise; see :mod:`tessera_core.labels.plots`.
    """

    def __init__(self, folder: Path, data: dict[str, Any]) -> None:
        self.folder = folder
        self._data = data
        # Of the id too: another project may be made where one was deleted.
        self._key = hashlib.blake2b(f"{data['id']}\n{folder.resolve()}".encode(), digest_size=16).hexdigest()
        self._stamp = _stamp(folder / "project.json")
        self._judged: tuple[object, tuple[bool, Path], list[EmbeddingRef | WantedEmbeddings]] = (
            None,
            (False, folder),
            [],
        )
        self.log, self.plots = (LabelLog(folder / name) for name in LOGS)

    # ------------------------------------------------------ create and open

    @classmethod
    def create(cls, folder: str | Path, name: str | None = None, **settings: Any) -> Project:
        """Make a new project in ``folder`` (created if needed).

        Raises:
            ProjectError: the folder holds a project already, or cannot be written.
        """
        folder = Path(folder)
        now = time.time()
        data: dict[str, Any] = {
            "format": FORMAT,
            "id": uuid.uuid4().hex,
            "name": clean_name(name or folder.name) or "Project",
            "created": now,
            "modified": now,
            "software": SOFTWARE,
            "region": {},
            "dataset": None,
            "grid": None,
            "embeddings": {},
            "settings": {},
            "settings_version": VERSION,
            **_owner(),
        }
        make_folder(folder)
        # Of two callers at once, one finds the other's project.
        with locked(folder):
            if (folder / "project.json").exists():
                raise ProjectError(f"{shown_path(folder)} holds a project already; open it, or choose another folder.")
            write_file(folder, data)
        note_owner(folder, acting())
        project = cls(folder, data)
        if settings:
            project.update(**settings)
        return project

    @classmethod
    def new(cls, name: str, **settings: Any) -> Project:
        """Make a new project under :func:`tessera_core.project.home.projects_home`, in a :func:`new_folder` named after it."""
        return cls.create(new_folder(name), name, **settings)

    @classmethod
    def open(cls, folder: str | Path) -> Project:
        """Open the project in ``folder`` (or of the given ``project.json``).

        Raises:
            ProjectError: there is no readable project, or one of its files leads elsewhere.
            LabelError: its labels cannot be read.
        """
        folder = Path(folder)
        folder = folder.parent if folder.name == "project.json" else folder
        require_plain(folder)
        return cls(folder, read_file(folder))

    @staticmethod
    def is_project(folder: str | Path) -> bool:
        """Whether ``folder`` looks like a project's folder."""
        return (Path(folder) / "project.json").is_file()

    # -------------------------------------------------------------- content

    @property
    def key(self) -> str:
        """Names this project among all of this computer, and no copy of it: what is kept by project is kept by this."""
        return self._key

    @property
    def id(self) -> str:
        """Stays the same when the project is renamed or moved; a copy that is opened from a file has one of its own."""
        return str(self._data["id"])

    @property
    def origin(self) -> str:
        """The id of the project that this one and its other copies were saved from; its own where it is no copy."""
        return str(self._data.get("origin", self.id))

    @property
    def source(self) -> str:
        """The id of the project whose file it was opened from; its own where it was made here."""
        return str(self._data.get("source", self.id))

    @property
    def owner(self) -> str:
        """The visitor who made it on a server for strangers; empty on a person's own computer."""
        return str(self._data.get("owner", ""))

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self._data["name"])

    @property
    def region(self) -> dict[str, Any]:
        """JSON object that says what place this is, as the page that chose it wrote it."""
        return dict(self._data["region"])

    @property
    def settings(self) -> ProjectSettings:
        """What is chosen; change it with :meth:`update`."""
        return ProjectSettings.from_json(self._data["settings"])

    @property
    def class_tree(self) -> ClassTree | None:
        """The tree that its classes stand in, or None.

        Raises:
            LabelError: what is kept is no tree.
        """
        value = self.settings.schema
        return None if value is None else tree_from_json(value)

    @property
    def dataset(self) -> str | None:
        """Name of the dataset of all its embeddings, or None before the first are attached."""
        value = self._data["dataset"]
        return None if value is None else str(value)

    @property
    def grid(self) -> Grid | None:
        """The grid whose coordinates the labels have, or None before the first embeddings are attached."""
        value = self._data["grid"]
        return None if value is None else Grid.from_json(value)

    @property
    def embeddings(self) -> dict[int | None, EmbeddingRef]:
        """References to the embeddings by year, those alone that this project may open here."""
        return {ref.year: ref for ref in self._references() if isinstance(ref, EmbeddingRef)}

    @property
    def wanted(self) -> dict[int | None, WantedEmbeddings]:
        """What its labels were made on and is not linked on this computer, by year."""
        return {ref.year: ref for ref in self._references() if isinstance(ref, WantedEmbeddings)}

    def may_open(self, path: str | Path) -> bool:
        """Whether a path that the project's own files name may be opened; see :mod:`tessera_core.project.references`."""
        return References(self.folder, self._data).may_open(path)

    @property
    def years(self) -> list[int]:
        """The years and other windows (:class:`~tessera_core.periods.Period`) that have embeddings, ascending."""
        return sorted(year for year in self.embeddings if year is not None)

    @property
    def saved_at(self) -> float:
        """Seconds since 1970 of the last change that reached the disk."""
        return max(float(self._data["modified"]), self.log.saved_at or 0.0, self.plots.saved_at or 0.0)

    @property
    def notes(self) -> list[str]:
        """What was wrong in the project's files when it was opened, one sentence each."""
        damaged = [
            f"The setting {clean_name(name, 40)!r} is damaged; choose it again."
            for name in unsound(self._data["settings"])
        ]
        return [*damaged, *self.log.notes, *self.plots.notes]

    @property
    def replaced(self) -> list[str]:
        """What other programs put in the place of its logs since it was opened, one sentence each time."""
        return [*self.log.replaced, *self.plots.replaced]

    # -------------------------------------------------------------- changes

    def update(self, **settings: Any) -> None:
        """Change settings and save at once; ``name`` and ``region`` are fields of their own, None deletes a setting.

        Raises:
            ProjectError: a value is not of its setting's kind, cannot be written as JSON, or the disk refuses.
        """
        for key, value in settings.items():
            if not is_sound(key, value):
                raise ProjectError(
                    f"{clean_name(value, 40)!r} is no value of the setting {key!r}; nothing was changed."
                )
        with self._changing() as data:
            for key, value in settings.items():
                if key == "name":
                    data["name"] = clean_name(value) or data["name"]
                elif key == "region":
                    data["region"] = dict(value)
                elif value is None:
                    data["settings"].pop(key, None)
                else:
                    data["settings"][key] = value

    def attach_embeddings(
        self,
        year: int | None,
        path: str | Path,
        provenance: Provenance,
        grid: Grid,
        *,
        dpixels: str | Path | None = None,
    ) -> EmbeddingRef:
        """Refer to the embeddings of a year.

        Raises:
            MixedDatasetsError: the project has embeddings of another dataset.
            ProjectError: their CRS is not that of the project's labels (or, without CRS, their shape differs).
        """
        with self._changing() as data:
            others = {key: value for key, value in data["embeddings"].items() if key != _key(year)}
            if others and data["dataset"] not in (None, provenance.dataset):
                raise MixedDatasetsError(data["dataset"], provenance.dataset, f"the project {self.name!r}")
            known = None if data["grid"] is None else Grid.from_json(data["grid"])
            if known is not None and (others or self.log.labels or self.plots.labels):
                self._require_same_frame(known, grid)
            data["dataset"] = provenance.dataset
            before = data["embeddings"].get(_key(year))
            # The project's grid is that of one of its years, and follows where that is placed anew.
            if known is None or not others or (before is not None and before.get("grid") == data["grid"]):
                data["grid"] = grid.to_json()
            references = References(self.folder, data)
            if hosted() and not references.may_open(Path(path).resolve()):
                raise ProjectError("This server opens no files by their path; upload them instead.")
            data["embeddings"][_key(year)] = references.written(year, path, provenance, grid, dpixels)
        note_linked(ref := self.embeddings[year])
        return ref

    def detach_embeddings(self, year: int | None) -> None:
        """Forget the embeddings of a year; their files and the labels stay. Without any, another dataset may follow."""
        with self._changing() as data:
            data["embeddings"].pop(_key(year), None)
            if not data["embeddings"]:
                data["dataset"] = None

    def embeddings_path(self, year: int | None) -> Path:
        """The existing path of a year's embeddings.

        Raises:
            ProjectError: the year has none, or they are no longer where they were.
        """
        ref = self.embeddings.get(year)
        if ref is None:
            if year in (wanted := self.wanted):
                raise ProjectError(f"{wanted[year].sentence} {self.how_to_link}", hint=Hint.REGION)
            known = ", ".join(map(str, self.years)) or "none"
            raise ProjectError(f"The project {self.name!r} has no embeddings of {year}; its years are: {known}.")
        if not ref.path.exists():
            raise ProjectError(
                f"The embeddings of {year or 'this project'} are no longer at {shown_path(ref.path)}; put them back, or open "
                "them again. The labels are safe.",
                hint=Hint.REGION,
            )
        return ref.path

    @property
    def how_to_link(self) -> str:
        """What to do about :attr:`wanted` embeddings, for people."""
        return (
            "This server opens no files by their path; upload or load the embeddings as a project of their own."
            if hosted()
            else "Say where they lie; on the command line with 'tessera project link'."
        )

    def require_embeddings(self) -> None:
        """Refuse a project that has no embeddings to work with.

        Raises:
            ProjectError: it has none, or those it has are not linked here; says which.
        """
        if self.embeddings:
            return
        for wanted in self.wanted.values():
            raise ProjectError(f"{wanted.sentence} {self.how_to_link}", hint=Hint.REGION)
        raise ProjectError(f"The project {self.name!r} has no embeddings yet. Open some first.", hint=Hint.REGION)

    def refresh(self) -> bool:
        """Read what other tabs changed; returns whether anything did. One stat each when nothing did.

        A log that another program replaced is read again, which :attr:`replaced` tells.

        Raises:
            ProjectError: the project is no longer there, or its file is damaged.
            LabelError: a log has disappeared or cannot be read.
        """
        return self._read_again(_synced)

    def reopen(self) -> bool:
        """As :meth:`refresh`, and goes on without a log that has disappeared: what a person asks for by opening it again."""
        self._judged = (None, (False, self.folder), [])
        return self._read_again(LabelLog.reread)

    def _read_again(self, read: Callable[[LabelLog], bool]) -> bool:
        changed = read(self.log) | read(self.plots)
        stamp = _stamp(self.folder / "project.json")
        if stamp != self._stamp:
            self._data, self._stamp = read_file(self.folder), stamp
            changed = True
        return changed

    def _require_same_frame(self, known: Grid, grid: Grid) -> None:
        if known.crs != grid.crs:
            raise ProjectError(
                f"These embeddings lie on {grid.crs or 'a grid without place'}, the labels of {self.name!r} on "
                f"{known.crs or 'a grid without place'}; make a project of its own for them."
            )
        if known.crs is None and known.shape != grid.shape:
            raise ProjectError(
                f"These embeddings have {grid.height} x {grid.width} pixels and no place on Earth, the project has "
                f"{known.height} x {known.width}; they cannot be laid over each other. Make a project of its own."
            )

    def _references(self) -> list[EmbeddingRef | WantedEmbeddings]:
        """All references; what they may lead to is judged again only when something changed, since pages ask often."""
        data = self._data
        known, state, found = self._judged
        if known is data and state == (hosted(), projects_home()):
            return found
        references = References(self.folder, data)
        found = [references.read(value) for value in data["embeddings"].values()]
        if all(isinstance(ref, EmbeddingRef) and ref.path.exists() for ref in found):
            self._judged = (data, (hosted(), projects_home()), found)
        return found

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """The newest data on disk, locked; what the block makes of it is saved when it ends."""
        with locked(self.folder):
            data = read_file(self.folder)
            yield data
            data["modified"] = max(time.time(), data["modified"])
            data["software"] = SOFTWARE
            write_file(self.folder, data)
            self._data, self._stamp = data, _stamp(self.folder / "project.json")

    # ------------------------------------------------------------- one file

    def export_file(self, path: str | Path) -> Path:
        """Save the project as one ``.tessera`` file (zip): settings, the whole logs, the answers of validation, what its embeddings
        are called.

        Raises:
            ExportError: the file cannot be written.
        """
        path = Path(path)
        path = path if path.suffix == SUFFIX else path.with_name(path.name + SUFFIX)
        with atomic_path(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            data = shareable(read_file(self.folder))
            archive.writestr("project.json", json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))
            for log in saved_logs(self.folder):
                with reading(log) as file:
                    archive.writestr(log.name, file.read())
            for sample in saved_samples(self.folder):
                archive.write(sample, sample.name)
        return path

    @classmethod
    def import_file(cls, path: str | Path, folder: str | Path | None = None) -> Project:
        """Open a ``.tessera`` file into a new folder (by default one under :func:`tessera_core.project.home.projects_home`).

        Its embeddings are :attr:`wanted` then; :func:`tessera_core.project.library.adopt` also links what this computer knows.

        Raises:
            ProjectError: it is no project file, is damaged or beyond all measure, or the folder holds something already.
        """
        path = Path(path)
        try:
            with open_archive(path, error=_UnreadableError) as archive:
                text = archive.read("project.json", MAX_PROJECT_JSON)
                data = checked(text, path.name)
                with filling(data["name"], folder) as target:
                    for name in LOGS:
                        if name in archive.names:
                            require_size_of_log(archive.size(name), name, path.name)
                            with writing(target):
                                archive.unpack(target, [name])
                    samples = modest_samples(archive, path.name)
                    with writing(target):
                        archive.unpack(target, samples)
                        (target / LOGS[0]).touch()
                    return cls.settle(target, text, path.name)
        except _UnreadableError as error:
            raise ProjectError(f"{path.name} is not a readable project file ({SUFFIX}). {error}") from error

    @classmethod
    def settle(cls, folder: Path, text: bytes, where: str) -> Project:
        """Make a project of ``folder``, which holds all but ``project.json``, with ``text`` of another computer as that.

        It is a copy: its id is new, and the id of what it was copied from is its :attr:`origin`.

        Raises:
            ProjectError: the text is no project's, or the logs are beyond all measure; ``where`` names the file then.
            LabelError: a log cannot be read.
        """
        for log in saved_logs(folder):
            require_modest(log, where)
        data = as_copy(checked(text, where), folder)
        source = str(data["id"])
        data |= {"id": uuid.uuid4().hex, "origin": str(data.get("origin", source)), "source": source, **_owner()}
        write_file(folder, data)
        note_owner(folder, acting())
        return cls.open(folder)


def _owner() -> dict[str, str]:
    return {"owner": acting()} if hosted() and acting() else {}


def _synced(log: LabelLog) -> bool:
    try:
        return log.sync()
    except LogReplacedError:
        return log.reread()


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except OSError:
        return (0, 0, 0)
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def _key(year: int | None) -> str:
    return "" if year is None else str(period(year))
