"""Files in object stores: ``s3://bucket/path``, ``gs://bucket/path``, and single files of ``https://``, mirrored into folders.

What a store holds is fetched into a folder of the cache, where every reader finds files as usual; an object is fetched again only
when its size or its ETag has changed. What was written is sent back. Which store is meant, and who may, says
:mod:`tessera_core.sources.remote.addresses`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePosixPath
from typing import Any

from tessera_core._utils.atomic import atomic_path, write_json
from tessera_core._utils.locks import alone
from tessera_core.errors import AcquisitionError, ExportError, InputError, TesseraError
from tessera_core.gate import read_json
from tessera_core.sources.remote.addresses import Address, mirrors_home, open_store, told
from tessera_core.types import Progress

# Objects at a time, and bytes of one that are in memory.
AT_A_TIME, CHUNK = 8, 8 << 20
# What is known of the objects of a mirrored folder.
INDEX = ".objects.json"
# Held by whoever fetches into a mirror or sends from it; how often what is known is kept meanwhile.
_LOCK, _OFTEN = ".objects.lock", 64
# Beside a file of the web: for which command it came.
_RUN = ".run"
# Beside an array of which only the beginning is here: where the rest is. How long the beginning is, which holds NumPy's header,
# and from how many bytes on it is worth a second request.
REST, BEGINNING, WORTH = ".rest", 4096, 1 << 16
# In bytes: longer names have no room for such a mark, and these arrays come whole. What is coming lies here meanwhile.
LONGEST, _COMING = 200, ".some"
# What is said of a server that knows no ranges.
_NO_RANGES = "Range request not supported"
# How the files of one tile are named that lie beside those of others, after its name.
_PARTS = ("", "_int8", "_scales")


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


def fetch(
    address: Address,
    *,
    may_be_empty: bool = False,
    outlines: bool = False,
    meets: Iterable[str] = (),
    progress: Progress | None = None,
    run: str = "",
) -> Path:
    """Mirror an object, or all that lies below it, into the cache.

    Args:
        address: of an object, or of a folder of objects.
        may_be_empty: whether nothing at all may be there; the folder is made then.
        outlines: of large NumPy arrays only the headers are fetched, in files of the right length that take no space, so that what
            there is can be listed; :func:`bring_whole` fetches the rest of those that are read.
        meets: hidden folders that come all the same.
        progress: objects done and in all.
        run: a word for all that belongs to one command; a file of the web comes once for it.

    Returns:
        The file or folder. Beside a file lie those of its name with other endings, as shapefiles need.

    Raises:
        InputError: nothing is there, or the environment's credentials do not open it.
        AcquisitionError: the store does not answer; what was fetched is kept.
    """
    target = address.folder
    if address.web:
        return _fetch_web(address, target, run)
    store = open_store(address)
    found = _listed(store, address)
    own = address.path
    if own in found:
        stem = str(PurePosixPath(own).parent / PurePosixPath(own).stem).removeprefix("./")
        wanted = {key: facts for key, facts in found.items() if key.partition(stem)[2].startswith(".")}
        above = own[: -len(PurePosixPath(own).name)]
        _bring(store, address, wanted, above, target.parent, progress)
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
    if odd := next((name for key in wanted if not _stays_inside(name := key.removeprefix(below))), None):
        raise InputError(
            f"{address} holds an object called {odd!r}, which leads out of its folder and cannot be a file; rename or remove it."
        )
    _bring(store, address, wanted, below, target, progress, outlines=outlines)
    return target


def _stays_inside(name: str) -> bool:
    """Whether the name of an object is that of a file in a folder, on every system."""
    parts = name.split("/")
    return not (set(parts) & {"", ".", ".."} or "\0" in name or (os.sep != "/" and re.search(r'[\\:*?"<>|]', name)))


def bring_whole(places: Iterable[Path]) -> None:
    """Fetch the rest of arrays that were mirrored as outlines (:func:`fetch`); nothing is asked of any store for others.

    Args:
        places: folders, or files; with the codes of a tile come their scales, and nothing of its neighbours.

    Raises:
        InputError, AcquisitionError: as for :func:`fetch`.
    """
    marks = [mark for place in places for mark in _marks(place)]

    def bring(mark: Path) -> None:
        target = mark.with_name(mark.name[1 : -len(REST)])
        with _one_at(target):
            if not mark.is_file():
                # Another process was quicker.
                return
            known = read_json(mark, InputError)
            whole = Address.parse(known["address"])
            _download(open_store(whole), whole, whole.path, target, known.get("etag"))
            mark.unlink(missing_ok=True)

    if marks:
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            list(pool.map(bring, marks))


def _marks(place: Path) -> list[Path]:
    if not place.is_dir():
        # Beside thousands of others, without listing them.
        stem = place.stem.removesuffix("_int8")
        marks = (_mark(place.with_name(f"{stem}{ending}.npy")) for ending in _PARTS)
        return [mark for mark in marks if mark.is_file()]
    try:
        return [place / name for name in os.listdir(place) if name.startswith(".") and name.endswith(REST)]
    except OSError:
        # Whoever reads it says what is wrong.
        return []


def _one_at(file: Path) -> AbstractContextManager[None]:
    return alone(file.with_name(f".{file.name}.lock"), passing=True)


def _is_long(file: Path) -> bool:
    return len(os.fsencode(file.name)) > LONGEST


def _mark(file: Path) -> Path:
    return file.with_name(f".{'' if _is_long(file) else file.name}{REST}")


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
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder / _LOCK, passing=True):
        store, index = open_store(address), _Index(folder)
        order = sorted(names, key=lambda name: (name.endswith(".json"), name))
        # Since the names were gathered, a fetch beside us may have removed what the store has no more.
        todo = [name for name in order if index.changed(name) and (folder / name).is_file()]
        try:
            for number, name in enumerate(todo):
                if progress is not None:
                    progress(number, len(todo), f"sending {name}")
                key = f"{address.path}/{name}".lstrip("/")
                try:
                    # Few parts at a time, so that each arrives in its time on a slow line.
                    answer = obstore.put(store, key, folder / name, max_concurrency=3)
                except (obstore.exceptions.BaseError, OSError) as error:
                    raise told(error, Address(address.scheme, address.host, key), ExportError) from error
                index.note(name, answer.get("e_tag"))
                if not number % _OFTEN:
                    index.write()
        finally:
            if todo:
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
        try:
            found = read_json(self.file, InputError) if self.file.is_file() else {}
        except InputError:
            # Left of a power cut; what is here is fetched or sent once more.
            found = {}
        self.known: dict[str, Any] = found if isinstance(found, dict) else {}

    def has(self, name: str, etag: str | None, size: int) -> bool:
        """Whether the file is here as the store has it."""
        entry = self.known.get(name)
        return entry is not None and entry == [etag, *self._here(name)] and entry[1] == size

    def changed(self, name: str) -> bool:
        """Whether the file is another than the one last fetched or sent."""
        entry = self.known.get(name)
        return entry is None or entry[1:] != self._here(name)

    def ahead(self, name: str, etag: str | None) -> bool:
        """Whether the file was written here after what the store has was fetched or sent."""
        entry, here = self.known.get(name), self._here(name)
        return bool(entry and etag and entry[0] == etag and entry[1:] != here and here[0] >= 0)

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
        raise told(error, address, AcquisitionError) from error
    return found


def _bring(
    store: Any,
    address: Address,
    wanted: Mapping[str, Mapping[str, Any]],
    below: str,
    folder: Path,
    progress: Progress | None,
    *,
    outlines: bool = False,
) -> None:
    """Fetch objects into a folder, those that are not there as they are, under their names below ``below``.

    What was fetched or sent before and is in the store no more goes from the folder as well: readers would take it for input.
    """
    names = {key: key.removeprefix(below) for key in wanted}
    folder.mkdir(parents=True, exist_ok=True)
    # Two shares on one machine would each think that what the other has just brought is missing.
    with alone(folder / _LOCK, passing=True):
        index = _Index(folder)

        def missing(key: str) -> bool:
            etag = wanted[key].get("e_tag")
            if index.ahead(names[key], etag):
                # Made anew here since: it has yet to be sent.
                return False
            if not index.has(names[key], etag, int(wanted[key]["size"])):
                return True
            return not outlines and _mark(folder / names[key]).exists()

        def get(key: str) -> str:
            target, facts = folder / names[key], wanted[key]
            if outlines and target.suffix == ".npy" and int(facts["size"]) > WORTH and not _is_long(target):
                _outline(store, address, facts, target)
            else:
                # Somebody may be fetching the rest of this very array.
                with _one_at(target) if _mark(target).exists() else nullcontext():
                    _download(store, address, key, target, facts.get("e_tag"))
                    _mark(target).unlink(missing_ok=True)
            return key

        left = sorted(set(index.known) - set(names.values()))
        left = [name for name in left if not index.changed(name)]
        # Another share may have sent it since the list was made, and hidden folders are not always asked for.
        found = _listed(store, address) if left else {}
        for name in left:
            if below + name not in found:
                (folder / name).unlink(missing_ok=True)
                _mark(folder / name).unlink(missing_ok=True)
                del index.known[name]
        if left:
            index.write()
        todo = [key for key in wanted if missing(key)]
        try:
            with ThreadPoolExecutor(AT_A_TIME) as pool:
                for number, key in enumerate(pool.map(get, todo), 1):
                    index.note(names[key], wanted[key].get("e_tag"))
                    if not number % _OFTEN:
                        index.write()
                    if progress is not None:
                        progress(number, len(todo), names[key])
        finally:
            if todo:
                index.write()


def _download(store: Any, address: Address, key: str, target: Path, etag: str | None = None) -> None:
    """Fetch an object a chunk at a time; what arrived of one is kept, and a later run goes on behind it.

    Args:
        etag: of the object that is meant; another that has come in its place is refused.
    """
    import obstore.exceptions

    whole = Address(address.scheme, address.host, key)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        # One small answer; of the web also where a server tells nothing beforehand.
        answer = obstore.get(store, key, options=_meant(etag, 0, None if address.web else CHUNK))
        facts, start, end = answer.meta, *answer.range
        size, etag = int(facts["size"]), facts.get("e_tag") or etag
        some = _some(target, f"{etag} {size}")
        with some.open("ab") as file:
            here = file.tell() if etag else 0
            if here <= start or here >= size:
                _anew(file, answer)
            else:
                start, end = here, here
            while end < size:
                start, end = end, min(end + CHUNK, size)
                try:
                    _write(file, obstore.get(store, key, options=_meant(etag, start, end)))
                except obstore.exceptions.BaseError as error:
                    if _NO_RANGES not in str(error):
                        raise
                    # All of it in one answer, or not at all.
                    _anew(file, obstore.get(store, key, options=_meant(etag, 0, None)))
                    end = size
            if file.tell() != size:
                raise AcquisitionError(
                    f"{whole} ended after {file.tell():,} of {size:,} bytes. Run the same command again: what arrived is kept."
                )
        _date(some, facts)
        os.replace(some, target)
    except obstore.exceptions.BaseError as error:
        raise told(error, whole, AcquisitionError) from error
    except FileNotFoundError as error:
        raise InputError(f"There is nothing at {whole}; check the address.") from error
    except OSError as error:
        raise _unwritten(target, error) from error


def _some(target: Path, state: str) -> Path:
    """Where an object lies while it comes: apart, so that names may be long, and what came of other states is found and removed."""
    folder = mirrors_home() / _COMING
    folder.mkdir(parents=True, exist_ok=True)
    of, known = (hashlib.sha256(text.encode()).hexdigest()[:16] for text in (str(target), state))
    for earlier in folder.glob(f"{of}.*"):
        if earlier.name != f"{of}.{known}":
            earlier.unlink(missing_ok=True)
    return folder / f"{of}.{known}"


def _meant(etag: str | None, start: int, end: int | None) -> Any:
    """A request for bytes of one state of an object."""
    return ({"range": (start, end)} if end is not None else {}) | ({"if_match": etag} if etag else {})


def _anew(file: Any, answer: Any) -> None:
    file.seek(0)
    file.truncate()
    _write(file, answer)


def _write(file: Any, answer: Any) -> None:
    for chunk in answer.stream(min_chunk_size=CHUNK):
        file.write(chunk)


def _unwritten(target: Path, error: OSError) -> TesseraError:
    return ExportError(
        f"The copy {target} cannot be written: {error.strerror or error}. Make room, or set TESSERA_HOME to a disk that has some; "
        "what arrived is kept."
    )


def _outline(store: Any, address: Address, facts: Mapping[str, Any], target: Path) -> None:
    """A file as long as an object, of which only the beginning is here."""
    import obstore.exceptions

    key, size = str(facts["path"]), int(facts["size"])
    whole = Address(address.scheme, address.host, key)
    target.parent.mkdir(parents=True, exist_ok=True)
    etag = facts.get("e_tag")
    try:
        answer = obstore.get(store, key, options=_meant(etag, 0, min(BEGINNING, size)))
        beginning = bytes(answer.bytes())
    except (obstore.exceptions.BaseError, FileNotFoundError) as error:
        raise told(error, whole, AcquisitionError) from error
    # First said, then done: a file without the mark is taken to be whole.
    write_json(_mark(target), {"address": str(whole), "etag": etag})
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


def _fetch_web(address: Address, target: Path, run: str) -> Path:
    """A file of the web; fetched anew by each command, because not every server says when one has changed."""
    if not PurePosixPath(address.path).suffix:
        raise InputError(
            f"{address} is no file; the web lists no folders. Give the address of one file, or s3:// or gs://."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Two who read one address would write into one file.
        with alone(target.parent / _LOCK, passing=True):
            mark = target.parent / _RUN
            if not (run and target.is_file() and mark.is_file() and mark.read_text(encoding="utf-8") == run):
                _download(open_store(address), address, address.path, target)
                mark.write_text(run, encoding="utf-8")
    except OSError as error:
        raise _unwritten(target, error) from error
    return target
