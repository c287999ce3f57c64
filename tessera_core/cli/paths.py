"""The paths of a command line, checked before any work: inputs are there, outputs can be written, and nothing overwrites another.

A command declares them once, ``PATHS``: the name of an argument to an :class:`Input` or :class:`Output`, or to a function of the
parsed arguments that returns one (or None where the argument means no path). Nothing heavy is imported here, so that a mistake
is told at once and not after the work.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import glob
import os
import re
import secrets
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tessera_core.errors import ExportError, InputError


@dataclass(frozen=True)
class Input:
    """A path that is read.

    Attributes:
        names: words that may stand instead of a path (checkpoints, shipped configurations), asked for when needed.
        urls: whether an address is understood, too.
        by_tile: whether of a folder in an object store only those tiles are fetched that are read: with ``--share`` of the share,
            with ``--dry-run`` none but their headers.
    """

    names: Callable[[], Iterable[str]] | None = None
    urls: bool = False
    by_tile: bool = False


@dataclass(frozen=True)
class Output:
    """A path that is written.

    Attributes:
        endings: of the file; the first is added where a name has none of a known kind. Empty where any will do.
        folder: ``"file"``; ``"whole"``, a folder that is replaced as one; or ``"into"``, a folder that files are added to.
        beside: files that are written with it, from its path.
        inside: files or folders that are written into it, for a folder.
        meets: hidden folders in it through which shares meet, so that they go to an object store as well.
    """

    endings: tuple[str, ...] = ()
    folder: str = "file"
    beside: Callable[[Path], list[Path]] = lambda path: []
    inside: Callable[[argparse.Namespace, Path], list[Path]] = lambda args, path: []
    meets: tuple[str, ...] = ()


Role = Input | Output
Declared = Role | Callable[[argparse.Namespace], Role | None]
TIFF = (".tif", ".tiff")
# What our files say of themselves, of whatever format; a file without any of it may be anybody's.
# Projects and packs say it, too, but hold people's work, which no second command brings back.
_OURS = re.compile(rb"tessera-(studio|head|class|encoder)|tessera_(dataset|encoder)|^Request for TESSERA embeddings: ")
_LOOK = 4 << 20
# Endings that say what a file is: a name that ends in another's is a mistake and not a name to be continued.
_KNOWN_ENDING = re.compile(
    r"\.(bmp|csv|fgb|geojson|gif|gpkg|html?|jp2|jpe?g|jsonl?|km[lz]|md|np[yz]|parquet|pdf|png|pq|pth?|py|qgz|qml|safetensors|shp"
    r"|svg|tessera|tesserapack|tiff?|toml|tsv|txt|vrt|webp|xlsx|xml|zarr|zip)",
    re.IGNORECASE,
)


def sidecars(path: Path) -> list[Path]:
    """What lies beside a raster that we write: its style and GDAL's table of classes."""
    return [path.with_suffix(".qml"), path.with_name(path.name + ".aux.xml")]


def weights_names() -> list[str]:
    """Names of checkpoints, for arguments that take a file or such a name."""
    from tessera_core.models import zoo

    return zoo.names()


def check_paths(declared: Mapping[str, Declared], args: argparse.Namespace, *, overwrite: bool) -> list[Path]:
    """Check every path of a command; unmatched patterns are expanded and missing endings added in ``args``.

    Args:
        declared: the command's ``PATHS``.
        args: parsed.
        overwrite: replace existing files whatever they are.

    Returns:
        The existing files that the command will replace.

    Raises:
        InputError: an input is missing or cannot be read; an output cannot be written there, is of another kind, is an input or
            another output, or would replace a file that is not ours.
        ExportError: the disk of an output is full.
    """
    roles = {}
    for name, role in declared.items():
        found = role(args) if callable(role) else role
        if found is not None and getattr(args, name, None) not in (None, "", []):
            roles[name] = found
    inputs: list[Path] = []
    for name, role in roles.items():
        if isinstance(role, Input):
            values = _listed(getattr(args, name))
            expanded = [str(path) for value in values for path in matching(value)]
            inputs += [path for value in expanded if (path := _readable(value, role)) is not None]
            if isinstance(getattr(args, name), list):
                setattr(args, name, expanded)
    outputs: list[tuple[str, Path, Output]] = []
    for name, role in roles.items():
        if isinstance(role, Output):
            value = getattr(args, name)
            if "\0" in str(value):
                raise InputError("A path with a zero byte in it is no path.")
            path = _finished(Path(value).expanduser(), role, name)
            setattr(args, name, type(value)(path))
            outputs.append((f"--{name.replace('_', '-')}", path, role))
    return _check_outputs(outputs, inputs, args, overwrite)


def _listed(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def matching(value: str) -> list[str]:
    """The value, or the paths that it stands for where the shell did not expand a pattern (as on Windows)."""
    if "\0" in value:
        raise InputError("A path with a zero byte in it is no path.")
    path = os.path.expanduser(value)
    if not re.search(r"[*?]", value) or "://" in value or os.path.exists(path):
        return [path]
    found = sorted(glob.glob(path))
    if not found:
        raise InputError(f"Nothing matches {value}; check the folder and the spelling.")
    return found


def _readable(value: str, role: Input) -> Path | None:
    """The path, or None where the value is an address or a name instead."""
    if "://" in value and role.urls:
        return None
    path = Path(value)
    if not os.path.lexists(path) and role.names is not None:
        names = list(role.names())
        if value in names:
            return None
        if not names:
            raise InputError(
                f"{value} does not exist: check the folder and the spelling. No names are kept here yet either."
            )
        raise InputError(
            f"{value} does not exist, and it is no name that is known here{_meant(value, names)}; the names are {', '.join(names)}."
        )
    try:
        if path.is_dir():
            next(os.scandir(path), None)
        else:
            with path.open("rb"):
                pass
    except FileNotFoundError as error:
        if path.is_symlink():
            raise InputError(f"{path} is a link to something that does not exist.") from error
        beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise InputError(f"{path} does not exist{_meant(path.name, beside)}; check the spelling.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    return path


def _meant(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), 1, 0.75)
    return f" (did you mean {near[0]}?)" if near else ""


def _finished(path: Path, role: Output, name: str) -> Path:
    """The path with its ending, as the writers would add it."""
    if role.folder == "file" and path.is_dir():
        raise InputError(f"--{name.replace('_', '-')} {path} is a folder; give the name of a file.")
    if role.folder != "file" or not role.endings or path.suffix.lower() in role.endings:
        return path
    if _KNOWN_ENDING.fullmatch(path.suffix):
        wanted = " or ".join(role.endings)
        raise InputError(
            f"{path.name} would be a file that ends in {wanted}, not in {path.suffix}; give it such a name."
        )
    return path.with_name(path.name + role.endings[0])


def _check_outputs(
    outputs: list[tuple[str, Path, Output]], inputs: list[Path], args: argparse.Namespace, overwrite: bool
) -> list[Path]:
    taken: list[tuple[str, Path]] = []
    replaced: list[Path] = []
    folds: dict[Path, bool] = {}
    for option, path, role in outputs:
        if path.exists() and path.is_dir() != (role.folder != "file"):
            found = "is a folder; give the name of a file" if path.is_dir() else "is a file; give the name of a folder"
            raise InputError(f"{option} {path} {found}.")
        place = _place(path, option)
        folds.setdefault(place, _folds_case(place, option))
        for new, what in _written(path, role, args):
            for read in inputs:
                if _is_same(new, read, folds[place]):
                    raise InputError(
                        f"{_told(option, what, new)} is {read}, which is read; nothing was written. Choose another name."
                    )
            if what == "folder":
                _require_apart(option, new, role, inputs)
            for other, theirs in taken:
                if _is_same(new, theirs, folds[place]):
                    raise InputError(
                        f"{_told(option, what, new)} and {other} are the same file; nothing was written. Give each its own name."
                    )
            taken.append((_told(option, what, new), new))
        if role.folder == "file":
            for new in [path, *(one for one in role.beside(path) if one.suffix.lower() in (*TIFF, ".tessera"))]:
                if new.exists():
                    _require_ours(new, overwrite)
                    replaced.append(new)
    return replaced


def _told(option: str, what: str, path: Path) -> str:
    return option if what in ("file", "folder") else f"{path}, written {what} {option},"


def _written(path: Path, role: Output, args: argparse.Namespace) -> Iterator[tuple[Path, str]]:
    yield path, "file" if role.folder == "file" else "folder"
    for other in role.beside(path):
        yield other, "beside"
    for other in role.inside(args, path):
        yield other, "into"


def _require_apart(option: str, path: Path, role: Output, inputs: list[Path]) -> None:
    """An output folder is no input, in none, and where it is replaced whole none is in it."""
    here = path.resolve()
    for read in inputs:
        there = read.resolve()
        if there in here.parents and read.is_dir():
            raise InputError(
                f"{option} lies in {read}, which is read; nothing was written. Choose a folder outside of it."
            )
        if role.folder == "whole" and here in there.parents:
            raise InputError(f"{option} holds {read}, which is read; nothing was written. Choose another folder.")


def _is_same(first: Path, second: Path, folds: bool) -> bool:
    if first.exists() and second.exists():
        return first.samefile(second)
    one, other = str(first.resolve()), str(second.resolve())
    if folds:
        one, other = (unicodedata.normalize("NFC", text).casefold() for text in (one, other))
    return one == other


def _place(path: Path, option: str) -> Path:
    """The existing folder that the output will be made in; folders of its own are made later."""
    place = path if path.is_dir() else path.parent
    while not place.exists():
        if place.is_symlink() or place == place.parent:
            break
        place = place.parent
    if not place.is_dir():
        raise InputError(f"{option} cannot be written: {place} is not a folder. Choose another place.")
    return place


def _folds_case(place: Path, option: str) -> bool:
    """Write a small file into the folder, and say whether it is found there by a name in other letters."""
    probe = place / f".Tessera-{secrets.token_hex(6)}.part"
    try:
        with probe.open("xb") as file:
            file.write(b"x")
        folds = probe.with_name(probe.name.swapcase()).exists()
        probe.unlink()
    except OSError as error:
        with suppress(OSError):
            # A full disk still takes the name: nothing of it stays behind.
            probe.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ExportError(
                f"The disk is full: {place} takes nothing more ({option}). Free some space and try again."
            ) from error
        raise InputError(
            f"{option} cannot be written: {place} does not take new files ({error.strerror or error}). Choose another place."
        ) from error
    return folds


def _require_ours(path: Path, overwrite: bool) -> None:
    """Refuse to replace a file that this program did not write, as far as the file itself says.

    Raises:
        InputError: it did not, or the file cannot be replaced.
    """
    try:
        with path.open("r+b") as file:
            start = file.read(_LOOK)
            file.seek(max(0, path.stat().st_size - _LOOK))
            end = file.read(_LOOK)
    except OSError as error:
        raise InputError(f"{path} is there already and cannot be replaced: {error.strerror or error}.") from error
    if not overwrite and start and not _OURS.search(start) and not _OURS.search(end):
        raise InputError(
            f"{path} is there already, and nothing in it says that this program wrote it; nothing was changed. Choose another "
            "name, or add --overwrite to replace it."
        )
