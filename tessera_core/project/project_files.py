"""The files of a project: which there are, how much is taken of a stranger's, and ``project.json``, read, checked and written."""

from __future__ import annotations

import re
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tessera_core._utils.atomic import write_json
from tessera_core._utils.locks import alone
from tessera_core.errors import ProjectError, TesseraError
from tessera_core.gate import parse_json
from tessera_core.gate.archives import Archive
from tessera_core.hosting import hosted, shown_path
from tessera_core.labels.model import clean_name
from tessera_core.project.folders import refused
from tessera_core.project.settings import migrated

FORMAT = "tessera-project/1"
SUFFIX = ".tessera"
LOGS = ("labels.jsonl", "plots.jsonl")
# Samples with their answers, see tessera_core.project.validate; each is a few hundred kilobytes at most.
_SAMPLE = re.compile(
    r"validation(-\d{1,6}|-\d{4}-\d\d(-\d\d)? to \d{4}-\d\d(-\d\d)?)?(-two-maps)?(-earlier-\d{1,4})?\.json"
)
_MAX_SAMPLE, _MAX_SAMPLES = 16 << 20, 200
MAX_PROJECT_JSON = 8 << 20
# Of logs from other computers: what a person labels in years is a hundredth of it.
_MAX_LOG, _MAX_EVENTS = 512 << 20, 1_000_000
_MAX_LOG_HOSTED, _MAX_EVENTS_HOSTED = 64 << 20, 200_000


def saved_logs(folder: Path) -> list[Path]:
    """The logs of labels and of plots that a project's folder holds."""
    return [folder / name for name in LOGS if (folder / name).exists()]


def saved_samples(folder: Path) -> list[Path]:
    """The samples for validation that a project's folder holds, older ones included."""
    return sorted(path for path in folder.glob("validation*.json") if _SAMPLE.fullmatch(path.name))


def require_modest(log: Path, where: str) -> None:
    """Refuse a stranger's log that would take the memory and the minutes of everybody here."""
    require_size_of_log(log.stat().st_size, log.name, where)
    limit, lines = (_MAX_EVENTS_HOSTED if hosted() else _MAX_EVENTS), 0
    with log.open("rb") as file:
        while piece := file.read(1 << 20):
            lines += piece.count(b"\n")
            if lines > limit:
                raise ProjectError(f"{where} was not opened: {log.name} has more than {limit:,} lines.")


def require_size_of_log(size: int, name: str, where: str) -> None:
    """Refuse a log of more bytes than anybody's labels take."""
    limit = _MAX_LOG_HOSTED if hosted() else _MAX_LOG
    if size > limit:
        raise ProjectError(f"{where} was not opened: {name} has {size >> 20} MB, and {limit >> 20} MB are the most.")


def modest_samples(archive: Archive, where: str) -> list[str]:
    """The samples for validation that a stranger's archive holds.

    Raises:
        ProjectError: they are beyond all measure.
    """
    samples = [name for name in archive.names if _SAMPLE.fullmatch(name)]
    if len(samples) > _MAX_SAMPLES or any(archive.size(name) > _MAX_SAMPLE for name in samples):
        raise ProjectError(f"{where} was not opened: its samples for validation are beyond all measure.")
    return samples


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What the disk refuses in the block is told as that of the folder."""
    try:
        yield
    except OSError as error:
        raise refused(folder, error, "saved") from error


def require_plain(folder: Path) -> None:
    """Refuse files that are links out of the folder, pipes or devices: somebody else may have made it, and labels are appended."""
    for name in ("project.json", *LOGS, ".lock", *(sample.name for sample in saved_samples(folder))):
        path = folder / name
        try:
            regular = stat.S_ISREG(path.stat().st_mode)
        except FileNotFoundError:
            regular = not path.is_symlink()
        except OSError as error:
            raise refused(folder, error, "read") from error
        if not regular or (path.is_symlink() and not path.resolve().is_relative_to(folder.resolve())):
            raise ProjectError(
                f"The project in {shown_path(folder)} was not opened: its {name} is no plain file of its own."
            )


def read_file(folder: Path) -> dict[str, Any]:
    """The checked content of a folder's ``project.json``.

    Raises:
        ProjectError: there is none, or it is damaged or of a newer version.
    """
    try:
        text = (folder / "project.json").read_bytes()
    except FileNotFoundError:
        raise ProjectError(f"There is no project in {folder}: it holds no project.json.") from None
    except OSError as error:
        raise refused(folder, error, "read") from error
    return checked(text, str(folder))


def checked(text: bytes, where: str) -> dict[str, Any]:
    """The content of a ``project.json``, of any version read here.

    Raises:
        ProjectError: it is none, damaged, or of a newer version; ``where`` names it then.
    """
    try:
        data = parse_json(text)
    except ValueError as error:
        raise ProjectError(f"The project file of {where} is damaged (no readable JSON).") from error
    if not isinstance(data, dict) or not str(data.get("format", "")).startswith("tessera-project/"):
        raise ProjectError(f"The project file of {where} is not of this program.")
    if data["format"] != FORMAT:
        raise ProjectError(
            f"The project of {where} was saved by a newer version ({data['format']}); this version reads {FORMAT}. Update it."
        )
    defaults: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "name": "Project",
        "modified": 0.0,
        "region": {},
        "dataset": None,
        "grid": None,
        "embeddings": {},
        "settings": {},
    }
    data = defaults | data
    kinds: dict[str, Any] = {"region": dict, "embeddings": dict, "settings": dict, "modified": (int, float)}
    if any(not isinstance(data[key], kind) for key, kind in kinds.items()) or not all(
        isinstance(value, dict) for value in data["embeddings"].values()
    ):
        raise ProjectError(f"The project file of {where} is damaged: a field has the wrong type.")
    data["name"] = clean_name(data["name"]) or "Project"
    return migrated(data)


def write_file(folder: Path, data: dict[str, Any]) -> None:
    """Write a folder's ``project.json``.

    Raises:
        ProjectError: a setting is no JSON, or the disk refuses.
    """
    try:
        write_json(folder / "project.json", data)
    except (TypeError, ValueError) as error:
        raise ProjectError(f"A setting of the project cannot be saved: {error}.") from error
    except TesseraError as error:
        raise ProjectError(str(error)) from error
    except OSError as error:
        raise refused(folder, error, "saved") from error


def stamp_of(file: Path) -> tuple[int, int, int]:
    """Another one as soon as a file is written anew.

    Raises:
        OSError: it is not there (any more).
    """
    known = file.stat()
    return known.st_mtime_ns, known.st_size, known.st_ino


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Alone with a project's folder, among all who change it through this program."""
    try:
        with alone(folder / ".lock"):
            yield
    except OSError as error:
        raise refused(folder, error, "saved") from error
