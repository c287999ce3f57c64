"""What a project refers to outside its own file, and which of that it may open.

A project's file may come from anybody, so the paths in it count for little. A project opens what lies in its own folder and in
this program's own caches. On a person's own computer it also opens what that person linked: each such path is sealed with the
computer's secret and the project's id when it is linked, and projects under
:func:`~tessera_core._utils.paths.projects_home`, where nobody else's file is put as it is, need no seal. Every other reference is a
*wish*: the project knows what it was made on, and the computer's owner says where that lies, unless it was linked in some
project of this computer before: what was linked is noted by its provenance and grid. On a server for strangers there are no such
notes and no seals that count.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from tessera_core._utils.atomic import write_json
from tessera_core._utils.paths import cache_home, data_home, projects_home
from tessera_core.errors import ExportError, GridError, InputError, ProjectError, RasterError
from tessera_core.grid import Grid
from tessera_core.hosting import hosted, server_secret, shown_path
from tessera_core.labels.model import clean_name
from tessera_core.periods import is_period, period, written
from tessera_core.provenance import Provenance

_SEALS = "linked_here"
_KEYS = ("path", "dpixels")
# Folders of data_home() that hold what this program made: from time series, of two years or models, by acquisition.
_MADE_HERE = ("embeddings", "joined", "tiles", "classes")
# (project id, path) linked by this process: what counts where no secret can be kept.
_linked: set[tuple[str, str]] = set()


@dataclass(frozen=True)
class EmbeddingRef:
    """Where the embeddings of one year of a project lie.

    Attributes:
        year: or another window (:class:`~tessera_core.periods.Period`); None where nobody knows it.
        path: file or folder that :func:`tessera_core.sources.local.open.open_embeddings` opens.
        provenance: of the raster when it was attached.
        grid: of the raster when it was attached.
        dpixels: the d-pixel tile the embeddings were generated from (for the true-colour picture), or None.
    """

    year: int | None
    path: Path
    provenance: Provenance
    grid: Grid
    dpixels: Path | None = None


@dataclass(frozen=True)
class WantedEmbeddings:
    """Embeddings that a project's labels were made on and that are not linked on this computer.

    Attributes:
        year: or another window (:class:`~tessera_core.periods.Period`); None where nobody knows it.
        name: of the file or folder it was, for people.
        provenance: of the raster.
        grid: of the raster.
        suggestion: the path the project's file names, which nothing has looked at; empty where it names none.
    """

    year: int | None
    name: str
    provenance: Provenance
    grid: Grid
    suggestion: str = ""

    @property
    def sentence(self) -> str:
        """What is wanted, for people."""
        height, width = self.grid.shape
        when = f" of {self.year}" if self.year is not None else ""
        return (
            f"The labels were made on the embeddings{when} at {self.name!r} ({self.provenance.dataset}, {width} x {height} "
            f"pixels, {self.grid.crs or 'no place on Earth'}), which are not linked on this computer. The labels are safe."
        )


class References:
    """The references of one project, read and written with what it may open in mind.

    Args:
        folder: the project's.
        data: the content of its ``project.json``; seals are added to it.
    """

    def __init__(self, folder: Path, data: dict[str, Any]) -> None:
        self.folder, self.data = folder, data

    def may_open(self, path: str | Path) -> bool:
        """Whether a path may be looked at; does not touch it unless it lies where this program's files lie."""
        plain = Path(os.path.abspath(self.folder / path))
        for place in (self.folder, cache_home(), *(data_home() / name for name in _MADE_HERE)):
            roots = {Path(os.path.abspath(place)), place.resolve()}
            # A link in there must not lead out again.
            if any(plain.is_relative_to(root) for root in roots) and plain.resolve().is_relative_to(place.resolve()):
                return True
        return not hosted() and (self._kept_here() or self._sealed(str(path)))

    def written(
        self, year: int | None, path: str | Path, provenance: Provenance, grid: Grid, dpixels: str | Path | None
    ) -> dict[str, Any]:
        """What stands in the project's file for embeddings that this computer's owner linked; seals the paths."""
        value: dict[str, Any] = {"year": written(year), **self._paths("path", path)}
        value |= self._paths("dpixels", dpixels) if dpixels is not None else {}
        return value | {"provenance": provenance.to_json(), "grid": grid.to_json()}

    def read(self, value: Mapping[str, Any]) -> EmbeddingRef | WantedEmbeddings:
        """One entry of the project's file.

        Raises:
            ProjectError: it is damaged.
        """
        try:
            provenance, grid = Provenance.from_json(value["provenance"]), Grid.from_json(value["grid"])
            named = value.get("wanted", value.get("path"))
            if not isinstance(named, str):
                raise TypeError("no name")
            year = value.get("year")
            if year is not None and (isinstance(year, bool) or not isinstance(year, int | str)):
                raise TypeError("no year")
            year = None if year is None else period(year)
        except (KeyError, TypeError, ValueError, AttributeError, GridError, RasterError, InputError) as error:
            raise ProjectError(
                f"The project file in {shown_path(self.folder)} refers to embeddings in a way that is damaged."
            ) from error
        path = self._path("path", value)
        if path is None:
            suggestion = "" if hosted() or "path" not in value else str(value["path"])
            return WantedEmbeddings(year, _name(named), provenance, grid, suggestion)
        return EmbeddingRef(year, path, provenance, grid, self._path("dpixels", value))

    def _path(self, key: str, value: Mapping[str, Any]) -> Path | None:
        """Relative to the folder where that is there, since projects move with their data; else as it was."""
        texts = [text for name in (f"{key}_relative", key) if isinstance(text := value.get(name), str) and text]
        allowed = [self.folder / text for text in texts if "\0" not in text and self.may_open(text)]
        for path in allowed:
            if path.exists():
                return path.resolve()
        return allowed[-1] if allowed else None

    def _paths(self, key: str, path: str | Path) -> dict[str, str]:
        absolute = Path(path).resolve()
        value = {key: str(absolute)}
        # To another drive on Windows there is no relative path.
        with suppress(ValueError):
            value[f"{key}_relative"] = Path(os.path.relpath(absolute, self.folder.resolve())).as_posix()
        if not absolute.is_relative_to(self.folder.resolve()):
            for text in value.values():
                self._seal(text)
        return value

    def _kept_here(self) -> bool:
        return self.folder.resolve().parent == projects_home().resolve()

    def _seal(self, text: str) -> None:
        if hosted():
            return
        _linked.add((str(self.data["id"]), text))
        seals = self.data.get(_SEALS)
        # Where this program may keep nothing there is no secret either; the path is asked for next time.
        with suppress(OSError, ExportError):
            self.data[_SEALS] = (seals if isinstance(seals, dict) else {}) | {text: self._seal_of(text)}

    def _sealed(self, text: str) -> bool:
        if (str(self.data["id"]), text) in _linked:
            return True
        seals = self.data.get(_SEALS)
        known = seals.get(text) if isinstance(seals, dict) else None
        # Bytes, because texts that are not ASCII cannot be compared in constant time.
        return isinstance(known, str) and hmac.compare_digest(
            known.encode(errors="replace"), self._seal_of(text).encode()
        )

    def _seal_of(self, text: str) -> str:
        message = f"{self.data['id']}\n{text}".encode(errors="surrogatepass")
        return hashlib.blake2b(message, key=server_secret(), digest_size=16).hexdigest()


def known_here(want: WantedEmbeddings) -> EmbeddingRef | None:
    """The very same embeddings (provenance, grid and year), as they were last linked on this computer; None where they were not."""
    try:
        noted = json.loads(_note_of(want).read_text(encoding="utf-8"))
        paths = {key: Path(noted[key]) for key in _KEYS if noted.get(key) is not None}
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    if hosted() or "path" not in paths or not paths["path"].exists():
        return None
    return EmbeddingRef(want.year, paths["path"], want.provenance, want.grid, paths.get("dpixels"))


def note_linked(ref: EmbeddingRef) -> None:
    """Let :func:`known_here` find embeddings that this computer's owner linked."""
    if hosted():
        return
    noted = {key: None if (path := getattr(ref, key)) is None else str(path) for key in _KEYS}
    # Where this program may keep nothing, the owner is asked again.
    with suppress(OSError, ExportError):
        write_json(_note_of(ref), noted)


def _note_of(ref: EmbeddingRef | WantedEmbeddings) -> Path:
    facts = {"year": written(ref.year), "provenance": ref.provenance.to_json(), "grid": ref.grid.to_json()}
    text = json.dumps(facts, sort_keys=True)
    return data_home() / "linked" / f"{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}.json"


def shareable(data: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a project's file without what belongs to this computer: paths, seals, whose it is, and of which map."""
    shared = {key: value for key, value in data.items() if key not in (_SEALS, "owner")}
    shared["embeddings"] = {key: _wish(value) for key, value in data["embeddings"].items()}
    return shared | {"settings": _without_paths(data["settings"])}


def as_copy(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The content of a stranger's project file as that of a project in ``folder``, which holds what came with it.

    References stay where they lead to something in the folder; all others become wishes. A request to a store that it names by
    its address is forgotten, so that nothing is fetched from where the stranger wants.
    """
    copy = shareable(data)
    for key, value in data["embeddings"].items():
        texts = {name: value.get(f"{name}_relative") for name in _KEYS}
        kept = {name: text for name, text in texts.items() if isinstance(text, str) and _lies_in(folder, text)}
        if "path" in kept:
            paths = {f"{name}_relative": text for name, text in kept.items()} | {
                name: str((folder / text).resolve()) for name, text in kept.items()
            }
            copy["embeddings"][key] = {name: value[name] for name in ("year", "provenance", "grid") if name in value}
            copy["embeddings"][key] |= paths
    request = copy["region"].get("request")
    if isinstance(request, dict) and "store" in request:
        copy["region"] = {name: fact for name, fact in copy["region"].items() if name != "request"}
    return copy


def _lies_in(folder: Path, text: str) -> bool:
    if "\0" in text or not _stays(text):
        return False
    path = folder / text
    return path.exists() and path.resolve().is_relative_to(folder.resolve()) and path.resolve() != folder.resolve()


def _stays(text: str) -> bool:
    """Whether a relative path leads out on no system, going by its text alone."""
    pieces = re.split(r"[\\/]", text)
    return not (PurePosixPath(text).is_absolute() or PureWindowsPath(text).anchor or ".." in pieces or ":" in text)


def _wish(value: Mapping[str, Any]) -> dict[str, Any]:
    named = value.get("wanted", value.get("path"))
    wish = {name: value[name] for name in ("year", "provenance", "grid") if name in value}
    return wish | {"wanted": _name(named) if isinstance(named, str) else "?"}


def _name(text: str) -> str:
    """The last part of a path of any system; with the part before where that is only a year."""
    parts = [part for part in re.split(r"[\\/]", text) if part]
    wanted = parts[-2:] if parts and (len(parts[-1]) <= 4 or is_period(parts[-1])) else parts[-1:]
    return clean_name("/".join(wanted), 80) or "?"


def _without_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that name nothing outside the project's folder: what years were before their tiles or holes were mended."""
    # A copy must not take the place of its original, nor a stranger's project one of its own accord.
    kept = {name: value for name, value in settings.items() if name != "together"}
    for name in ("repaired_tiles", "filled"):
        if isinstance(years := settings.get(name), dict):
            kept[name] = {year: _without_original(noted) for year, noted in years.items()}
    return kept


def _without_original(noted: Any) -> Any:
    if not isinstance(noted, dict):
        return noted
    original = noted.get("original")
    if isinstance(original, str) and not _stays(original):
        noted = noted | {"original": f"elsewhere/{_name(original)}"}
    # What the year's tiles were before its holes were filled.
    return noted | {"tiles": _without_original(noted["tiles"])} if "tiles" in noted else noted
