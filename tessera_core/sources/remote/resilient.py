"""Requests to a store that can be trusted: what fails is told in a few words, and what seems absent is asked for twice.

Zarr takes an object that is not there for one that was never written. A server that answers 404 by mistake would so turn
land into no data, or valid scales into vectors of zeros. Therefore absent objects are asked for twice and noted, so that a
reader can compare: scales without their embeddings, or the other way round, are a fault and not data. Several threads read at
once, so a note is never taken back: what one reader was told is not there does not become there because another got it since.
Knows no arrays.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from zarr.abc.store import SuffixByteRequest
from zarr.storage import WrapperStore

from tessera_core.errors import TesseraError
from tessera_core.raster import NoData

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer, BufferPrototype

CONNECT_S = 15.0
SECOND_REQUEST_S = 0.02
GONE = "the server says it is not there (404)"
_INDEXES = 64


class PieceError(TesseraError):
    """A window of a source could not be read.

    Attributes:
        reason: ``MISSING_TILE`` where it could not be had, ``BAD_TILE`` where what came is damaged.
    """

    def __init__(self, message: str, reason: NoData = NoData.MISSING_TILE) -> None:
        super().__init__(message)
        self.reason = reason


# What obstore tells of a failed request, in the order in which to look.
_FAULTS: tuple[tuple[str, str], ...] = (
    (r"status code: (\d{3})|status: (\d{3})", "the server answered with error {}"),
    (r"TimedOut|kind: Timeout|timed out", "the server did not answer in time"),
    (r"IncompleteBody|UnexpectedEof|body error|end of file", "the answer was cut short"),
    (r"error sending request|[Cc]onnect|dns|refused|unreachable", "the server cannot be reached"),
)


def fault(error: BaseException) -> PieceError:
    """What went wrong in reading a window, in a few words."""
    if isinstance(error, PieceError):
        return error
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error)
    if isinstance(error, FileNotFoundError):
        return PieceError(GONE)
    if type(error).__module__.startswith(("obstore", "icechunk")) or isinstance(error, OSError):
        for pattern, words in _FAULTS:
            if match := re.search(pattern, text):
                return PieceError(words.format(next((group for group in match.groups() if group), "")))
        return PieceError(f"it could not be read ({(text.splitlines() or ['?'])[0][:120]})")
    return PieceError("what came is damaged", NoData.BAD_TILE)


class ValidatingStore(WrapperStore[Any]):
    """Asks twice for what is not there and notes it; keeps shard indexes, which every window of a shard needs."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.received = 0
        self._absent: dict[str, int] = {}
        self._answers = 0
        self._indexes: OrderedDict[str, Any] = OrderedDict()
        self._guard = threading.Lock()

    def mark(self) -> int:
        """The present, to be given to :meth:`absent_since` when a read has ended."""
        with self._guard:
            return self._answers

    def absent_since(self, mark: int) -> set[str]:
        """Keys of objects of which any reader has been told since then that they are not there."""
        with self._guard:
            return {key for key, answer in self._absent.items() if answer > mark}

    def forget(self) -> None:
        """Drop the shard indexes, so that a second try asks anew."""
        with self._guard:
            self._indexes.clear()

    async def get(self, key: str, prototype: BufferPrototype, byte_range: Any = None) -> Buffer | None:
        """The object or a part of it; None only after a second request."""
        index = f"{key}:{byte_range.suffix}" if isinstance(byte_range, SuffixByteRequest) else ""
        with self._guard:
            if index and index in self._indexes:
                self._indexes.move_to_end(index)
                return self._indexes[index]
        value = await self._store.get(key, prototype, byte_range)
        chunk = "/c/" in key
        if value is None and chunk:
            await asyncio.sleep(SECOND_REQUEST_S)
            value = await self._store.get(key, prototype, byte_range)
        with self._guard:
            if value is None:
                if chunk:
                    self._answers += 1
                    self._absent[key] = self._answers
            else:
                self.received += len(value)
                if index and _checksum_holds(value.to_bytes()):
                    self._indexes[index] = value
                    while len(self._indexes) > _INDEXES:
                        self._indexes.popitem(last=False)
        return value

    async def exists(self, key: str) -> bool:
        """Whether the object is there; false only after a second request."""
        if await self._store.exists(key):
            return True
        await asyncio.sleep(SECOND_REQUEST_S)
        return bool(await self._store.exists(key))

    async def get_ranges(
        self, key: str, byte_ranges: Sequence[Any], *, prototype: BufferPrototype, **options: Any
    ) -> AsyncIterator[Sequence[tuple[int, Buffer | None]]]:
        """Parts of an object, which must be there: its index was read before."""
        try:
            async for group in self._store.get_ranges(key, byte_ranges, prototype=prototype, **options):
                with self._guard:
                    self.received += sum(len(value) for _, value in group if value is not None)
                yield group
        except BaseExceptionGroup as errors:
            if errors.subgroup(FileNotFoundError) is not None:
                # Zarr would take it for never written.
                raise ConnectionError(GONE) from errors
            raise


def _checksum_holds(index: bytes) -> bool:
    """Whether the bytes end with their own CRC-32C, as shard indexes do; what fails that must not be kept."""
    import google_crc32c

    return len(index) > 4 and google_crc32c.value(index[:-4]) == int.from_bytes(index[-4:], "little")


def open_http(location: str, timeout_s: float) -> Any:
    """A Zarr store at an http(s) URL, which tries nothing twice and waits for no answer longer than ``timeout_s``."""
    from geotessera.registry import TESSERA_MIRROR_S3_HTTP_URL, TESSERA_MIRROR_URL, canonical_store_location
    from obstore.store import HTTPStore
    from zarr.storage import ObjectStore

    url = canonical_store_location(location)
    if url.startswith(f"{TESSERA_MIRROR_URL}/"):
        # As geotessera does: the gateway in front drops requests under the volume of a region read.
        url = TESSERA_MIRROR_S3_HTTP_URL + url[len(TESSERA_MIRROR_URL) :]
    http = HTTPStore.from_url(
        url,
        retry_config={"max_retries": 0},
        client_options={
            "timeout": timedelta(seconds=timeout_s),
            "connect_timeout": timedelta(seconds=min(CONNECT_S, timeout_s)),
            "allow_http": True,
        },
    )
    return ObjectStore(http, read_only=True)
