"""Files in object stores: ``s3://bucket/path``, ``gs://bucket/path``, and single files of ``https://``, mirrored into folders.

What a store holds is fetched into a folder of the cache, where every reader finds files as usual; an object is fetched again only
when its size or its ETag has changed. What was written is sent back. Who may is said by the usual variables of the environment
(``AWS_ACCESS_KEY_ID``, ``AWS_PROFILE`` is not read, ``AWS_ENDPOINT_URL`` for other servers of that kind,
``GOOGLE_APPLICATION_CREDENTIALS``) and nowhere else.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from tessera_core._utils.atomic import atomic_path, write_json
from tessera_core._utils.paths import cache_home
from tessera_core.errors import AcquisitionError, ExportError, InputError, TesseraError
from tessera_core.gate import read_json
from tessera_core.types import Progress

SCHEMES = ("s3", "gs", "https", "http")
# Objects at a time, and bytes of one that are in memory.
AT_A_TIME, CHUNK = 8, 8 << 20
# What is known of the objects of a mirrored folder.
INDEX = ".objects.json"
# Beside an array of which only the beginning is here: where the rest is. How long the beginning is, which holds NumPy's header,
# and from how many bytes on it is worth a second request.
REST, BEGINNING, WORTH = ".rest", 4096, 1 << 16
# How the files of one tile are named that lie beside those of others, after its name.
_PARTS = ("", "_int8", "_scales")


def is_address(text: str) -> bool:
    """Whether a text is an address of an object store or of a file on the web."""
    return text.partition("://")[0].lower() in SCHEMES and "://" in text


def is_hidden(name: str, meets: Iterable[str] = ()) -> bool:
    """Whether a file stays where it is: one of its folders, or itself, begins with a dot.

    Args:
        name: relative to the folder that is mirrored.
        meets: hidden folders in it that go to a store all the same.

    Example:
        >>> is_hidden("a/.part"), is_hidden(".measured/t.npy"), is_hidden(".measured/t.npy", [".measured"])
        (True, True, False)
    """
    first, *rest = PurePosixPath(name).parts or ("",)
    return (first.startswith(".") and first not in meets) or any(part.startswith(".") for part in rest)


@dataclass(frozen=True)
class Address:
    """A place in a store.

    Attributes:
        scheme: one of :data:`SCHEMES`.
        host: the bucket, or the server.
        path: without a slash at either end.

    Example:
        >>> Address.parse("s3://maps/kenya/2024/")
        Address(scheme='s3', host='maps', path='kenya/2024')
    """

    scheme: str
    host: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """An address from its text.

        Raises:
            InputError: it names no bucket, holds a password, or a way out of its folder.
        """
        parts = urlsplit(text)
        if not parts.hostname:
            raise InputError(f"{text} names no bucket; write s3://BUCKET/PATH.")
        if parts.username or parts.password:
            raise InputError(
                "An address may not hold a password; give it by the environment (AWS_ACCESS_KEY_ID and the like)."
            )
        path = PurePosixPath(parts.path.strip("/"))
        if ".." in path.parts:
            raise InputError(f"{text} leads out of itself; write the address without '..'.")
        return cls(parts.scheme.lower(), parts.netloc, "" if str(path) == "." else str(path))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}/{self.path}"

    @property
    def web(self) -> bool:
        """Whether it is a file on the web, which is read and never written or listed."""
        return self.scheme in ("http", "https")

    @property
    def folder(self) -> Path:
        """Where it is mirrored; its last part is that of the address, by which tiles and files are known."""
        digest = hashlib.sha256(str(self).encode()).hexdigest()[:16]
        return cache_home() / "objects" / digest / (PurePosixPath(self.path).name or self.host)


def open_store(address: Address) -> Any:
    """A store of obstore for the bucket or server of an address, whose keys begin at its root.

    Raises:
        InputError: the environment says something that cannot be used.
    """
    import obstore.exceptions
    import obstore.store

    # A server on this computer or in a closed network may do without encryption; which it is, the person says.
    plain = address.scheme == "http" or os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    options: Any = {"timeout": "60s", "connect_timeout": "20s"} | ({"allow_http": True} if plain else {})
    try:
        if address.scheme == "s3":
            return obstore.store.S3Store(address.host, client_options=options)
        if address.scheme == "gs":
            return obstore.store.GCSStore(address.host, client_options=options)
        return obstore.store.HTTPStore.from_url(f"{address.scheme}://{address.host}", client_options=options)
    except (obstore.exceptions.BaseError, ValueError) as error:
        raise InputError(f"{address} cannot be reached as the environment is set: {_first_line(error)}.") from error


def fetch(
    address: Address,
    *,
    may_be_empty: bool = False,
    outlines: bool = False,
    meets: Iterable[str] = (),
    progress: Progress | None = None,
) -> Path:
    """Mirror an object, or all that lies below it, into the cache.

    Args:
        address: of an object, or of a folder of objects.
        may_be_empty: whether nothing at all may be there; the folder is made then.
        outlines: of large NumPy arrays only the headers are fetched, in files of the right length that take no space, so that what
            there is can be listed; :func:`bring_whole` fetches the rest of those that are read.
        meets: hidden folders that come all the same.
        progress: objects done and in all.

    Returns:
        The file or folder. Beside a file lie those of its name with other endings, as shapefiles need.

    Raises:
        InputError: nothing is there, or the environment's credentials do not open it.
        AcquisitionError: the store does not answer; what was fetched is kept.
    """
    target = address.folder
    if address.web:
        return _fetch_web(address, target)
    store = open_store(address)
    found = _listed(store, address)
    own = address.path
    if own in found:
        stem = str(PurePosixPath(own).parent / PurePosixPath(own).stem).removeprefix("./")
        wanted = {key: facts for key, facts in found.items() if key.partition(stem)[2].startswith(".")}
        _bring(store, address, wanted, {key: PurePosixPath(key).name for key in wanted}, target.parent, progress)
        return target
    below = f"{own}/" if own else ""
    meets = tuple(meets)
    wanted = {
        key: facts
        for key, facts in found.items()
        if key.startswith(below) and not is_hidden(key.removeprefix(below), meets)
    }
    if not wanted and not may_be_empty:
        raise InputError(f"There is nothing at {address}; check the bucket and the path.")
    target.mkdir(parents=True, exist_ok=True)
    names = {key: key.removeprefix(below) for key in wanted}
    _bring(store, address, wanted, names, target, progress, outlines=outlines)
    return target


def bring_whole(places: Iterable[Path]) -> None:
    """Fetch the rest of arrays that were mirrored as outlines (:func:`fetch`); nothing is asked of any store for others.

    Args:
        places: folders, or files; with the codes of a tile come their scales, and nothing of its neighbours.

    Raises:
        InputError, AcquisitionError: as for :func:`fetch`.
    """
    marks = [mark for place in places for mark in _marks(place)]

    def bring(mark: Path) -> None:
        whole = Address.parse(read_json(mark, InputError)["address"])
        _download(open_store(whole), whole, whole.path, mark.with_name(mark.name[1 : -len(REST)]))
        mark.unlink(missing_ok=True)

    if marks:
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            list(pool.map(bring, marks))


def _marks(place: Path) -> list[Path]:
    folder = place if place.is_dir() else place.parent
    try:
        names = os.listdir(folder)
    except OSError:
        # Whoever reads it says what is wrong.
        return []
    if folder is place:
        return [folder / name for name in names if name.startswith(".") and name.endswith(REST)]
    stem = place.stem.removesuffix("_int8")
    own = {_mark(folder / f"{stem}{ending}.npy").name for ending in _PARTS}
    return [folder / name for name in names if name in own]


def _mark(file: Path) -> Path:
    return file.with_name(f".{file.name}{REST}")


def fetch_new(address: Address, meets: Iterable[str] = ()) -> int:
    """Mirror what has come to a folder of a store since it was last mirrored or sent; how many objects did.

    Args:
        address, meets: see :func:`fetch`.

    Raises:
        InputError, AcquisitionError: as for :func:`fetch`.
    """
    count = 0

    def counted(done: int, total: int, message: str) -> None:
        nonlocal count
        count = total

    fetch(address, may_be_empty=True, meets=meets, progress=counted)
    return count


def send(folder: Path, address: Address, names: Iterable[str], *, progress: Progress | None = None) -> list[str]:
    """Send files of a mirrored folder to where it is mirrored from; those that are there already as they are, are passed over.

    Small notes (``.json``) go after everything else, because they say that the rest is there.

    Args:
        folder: that holds them.
        address: of the folder in the store.
        names: of files, relative to the folder.

    Returns:
        The names sent.

    Raises:
        InputError: the address is read-only, or the environment's credentials do not open it.
        ExportError: the store does not take them; running the same again sends the rest.
    """
    import obstore.exceptions

    require_writable(address)
    store, index = open_store(address), _Index(folder)
    order = sorted(names, key=lambda name: (name.endswith(".json"), name))
    todo = [name for name in order if index.changed(name)]
    for number, name in enumerate(todo):
        if progress is not None:
            progress(number, len(todo), f"sending {name}")
        key = f"{address.path}/{name}".lstrip("/")
        try:
            answer = obstore.put(store, key, folder / name)
        except (obstore.exceptions.BaseError, OSError) as error:
            raise _told(error, Address(address.scheme, address.host, key), ExportError) from error
        index.note(name, answer.get("e_tag"))
        index.write()
    if progress is not None and todo:
        progress(len(todo), len(todo), "")
    return todo


def is_there(address: Address) -> bool:
    """Whether an object lies at this very address.

    Raises:
        InputError, AcquisitionError: as for :func:`fetch`.
    """
    return address.path in _listed(open_store(address), address)


def require_writable(address: Address) -> None:
    """Refuse an address that is only read.

    Raises:
        InputError: it is on the web.
    """
    if address.web:
        raise InputError(f"{address} is read-only: results go to a folder, or to s3:// or gs://.")


class _Index:
    """What is known of a mirrored folder: of each file its ETag, and its size and time as it was when fetched or sent."""

    def __init__(self, folder: Path) -> None:
        self.file, self.folder = folder / INDEX, folder
        found = read_json(self.file, InputError) if self.file.is_file() else {}
        self.known: dict[str, Any] = found if isinstance(found, dict) else {}

    def has(self, name: str, etag: str | None, size: int) -> bool:
        """Whether the file is here as the store has it."""
        entry = self.known.get(name)
        return entry is not None and entry == [etag, *self._here(name)] and entry[1] == size

    def changed(self, name: str) -> bool:
        """Whether the file is another than the one last fetched or sent."""
        entry = self.known.get(name)
        return entry is None or entry[1:] != self._here(name)

    def note(self, name: str, etag: str | None) -> None:
        """Remember it as it is now."""
        self.known[name] = [etag, *self._here(name)]

    def write(self) -> None:
        """Keep what is known."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.file, self.known)

    def _here(self, name: str) -> list[int]:
        try:
            stat = (self.folder / name).stat()
        except OSError:
            return [-1, -1]
        return [stat.st_size, stat.st_mtime_ns]


def _listed(store: Any, address: Address) -> dict[str, Mapping[str, Any]]:
    """Objects at, below and beside an address, by key."""
    import obstore.exceptions

    # Prefixes end at a slash; the object itself and its neighbours lie in the folder above.
    above = str(PurePosixPath(address.path).parent)
    found: dict[str, Mapping[str, Any]] = {}
    try:
        for prefix in dict.fromkeys([None if above == "." else above, address.path or None]):
            if prefix == address.path or not address.path:
                batches: Iterable[Any] = obstore.list(store, prefix=prefix)
            else:
                batches = [obstore.list_with_delimiter(store, prefix=prefix)["objects"]]
            found |= {one["path"]: one for batch in batches for one in batch}
    except (obstore.exceptions.BaseError, OSError) as error:
        raise _told(error, address, AcquisitionError) from error
    return found


def _bring(
    store: Any,
    address: Address,
    wanted: Mapping[str, Mapping[str, Any]],
    names: Mapping[str, str],
    folder: Path,
    progress: Progress | None,
    *,
    outlines: bool = False,
) -> None:
    """Fetch objects into a folder, those that are not there as they are."""
    index = _Index(folder)

    def missing(key: str) -> bool:
        if not index.has(names[key], wanted[key].get("e_tag"), int(wanted[key]["size"])):
            return True
        return not outlines and _mark(folder / names[key]).exists()

    def get(key: str) -> str:
        target = folder / names[key]
        if outlines and target.suffix == ".npy" and int(wanted[key]["size"]) > WORTH:
            _outline(store, address, wanted[key], target)
        else:
            _download(store, address, key, target)
            _mark(target).unlink(missing_ok=True)
        return key

    todo = [key for key in wanted if missing(key)]

    try:
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            for number, key in enumerate(pool.map(get, todo), 1):
                index.note(names[key], wanted[key].get("e_tag"))
                if progress is not None:
                    progress(number, len(todo), names[key])
    finally:
        index.write()


def _download(store: Any, address: Address, key: str, target: Path) -> None:
    import obstore.exceptions

    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        answer = obstore.get(store, key)
        with atomic_path(target) as part:
            with part.open("wb") as file:
                for chunk in answer.stream(min_chunk_size=CHUNK):
                    file.write(chunk)
            _date(part, answer.meta)
    except obstore.exceptions.BaseError as error:
        raise _told(error, Address(address.scheme, address.host, key), AcquisitionError) from error
    except FileNotFoundError as error:
        raise InputError(f"There is nothing at {address}; check the address.") from error


def _outline(store: Any, address: Address, facts: Mapping[str, Any], target: Path) -> None:
    """A file as long as an object, of which only the beginning is here."""
    import obstore.exceptions

    key, size = str(facts["path"]), int(facts["size"])
    whole = Address(address.scheme, address.host, key)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        beginning = bytes(obstore.get_range(store, key, start=0, length=min(BEGINNING, size)))
    except (obstore.exceptions.BaseError, FileNotFoundError) as error:
        raise _told(error, whole, AcquisitionError) from error
    # First said, then done: a file without the mark is taken to be whole.
    write_json(_mark(target), {"address": str(whole)})
    with atomic_path(target) as part:
        with part.open("wb") as file:
            file.write(beginning)
            file.truncate(size)
        _date(part, facts)


def _date(file: Path, facts: Mapping[str, Any]) -> None:
    """Give a file the store's time, so that what was made of it on one machine is known for it on another."""
    # Lists tell fractions of a second, answers do not.
    changed = int(facts["last_modified"].timestamp())
    os.utime(file, (changed, changed))


def _fetch_web(address: Address, target: Path) -> Path:
    """A file of the web; fetched anew each time, because not every server says when one has changed."""
    if not PurePosixPath(address.path).suffix:
        raise InputError(
            f"{address} is no file; the web lists no folders. Give the address of one file, or s3:// or gs://."
        )
    _download(open_store(address), address, address.path, target)
    return target


def _told(error: BaseException, address: Address, kind: Callable[[str], TesseraError]) -> TesseraError:
    """The error of a store as one sentence."""
    name, text = type(error).__name__, str(error)
    refused = re.search(r"status:? (?:code: )?40[13]|credential", text, re.IGNORECASE)
    if refused or name in ("UnauthenticatedError", "PermissionDeniedError"):
        google = address.scheme == "gs"
        names = "GOOGLE_APPLICATION_CREDENTIALS" if google else "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return InputError(
            f"{address} may not be read or written with what the environment says; set {names} of an account that may."
        )
    if name == "NotFoundError" or isinstance(error, FileNotFoundError):
        return InputError(f"There is no {address}; check the bucket and the path.")
    return kind(f"{address} does not answer ({_first_line(error)}). Run the same command again: what arrived is kept.")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
