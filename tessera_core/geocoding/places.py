"""The table behind the gazetteer: 170,000 towns and villages with all their names, from GeoNames (CC BY 4.0).

It is packed in the package (``data/places.xz``, made by ``tools/make_places.py``) and unpacked once into the cache, where it is
used in place: a search reads the pages it needs, all processes of a computer share them, and the system takes them back when
memory is short.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.paths import cache_home
from tessera_core.errors import TesseraError

PACKED = Path(__file__).parent / "data" / "places.xz"
# Degrees are kept as whole hundred-thousandths, as GeoNames has them.
_DEGREE = 100_000
_NUMBERS = ("people", "lon", "lat", "code")
_NEWLINE = ord("\n")


@dataclass(frozen=True)
class Places:
    """All places, the most populous first.

    Attributes:
        data: the unpacked table.
        own: int32 (N + 1,), where the own name of each place begins in ``data``; a newline stands before the next.
        starts: int32 (N + 1,), where the folded names of each place begin in ``data``, each on a line of its own between newlines.
        lon_lat: float64 (N, 2), degrees.
        people: int32 (N,).
        code: int32 (N,), of each place, into ``codes``.
        codes: country and first division, ``"US.MA"``.
        countries: for each code how people read it, ``"Massachusetts, United States"``.
    """

    data: bytes | mmap.mmap
    own: NDArray[np.int32]
    starts: NDArray[np.int32]
    lon_lat: NDArray[np.float64]
    people: NDArray[np.int32]
    code: NDArray[np.int32]
    codes: Sequence[str]
    countries: Sequence[str]

    def name(self, number: int) -> str:
        """How a place calls itself."""
        return self.data[int(self.own[number]) : int(self.own[number + 1]) - 1].decode("utf-8")


def read() -> Places:
    """The table, unpacked into the cache where that was not done before; where nothing can be kept, into memory.

    Raises:
        TesseraError: this Python cannot unpack it.
    """
    path = cache_home() / f"places-{_fingerprint()}.bin"
    try:
        return table(_mapped(path))
    except (OSError, ValueError, KeyError):
        data = _unpacked(PACKED.read_bytes())
    with contextlib.suppress(TesseraError, OSError):
        with atomic_path(path) as part:
            part.write_bytes(data)
        return table(_mapped(path))
    return table(data)


def content(about: Mapping[str, Any], numbers: Mapping[str, NDArray[Any]], own: str, text: str) -> bytes:
    """What the unpacked file holds; the other side of :func:`table`.

    Args:
        about: what it is and of whom, and ``codes`` and ``countries``.
        numbers: int32 (N,) of ``people``, ``lon`` and ``lat`` (hundred-thousandths of a degree) and ``code``.
        own: the own name of each place, a newline behind each.
        text: for each place a newline, and its folded names with a newline behind each.
    """
    # The first bytes of all numbers, then the second: they are alike, so that it packs well.
    planes = [np.ascontiguousarray(numbers[name], "<i4").view(np.uint8).reshape(-1, 4).T.tobytes() for name in _NUMBERS]
    parts = [own.encode("utf-8"), text.encode("utf-8")]
    first = {**about, "places": len(numbers["code"]), "bytes": [len(part) for part in parts]}
    return b"".join([json.dumps(first, ensure_ascii=False).encode("utf-8"), b"\n", *planes, *parts])


def header(data: bytes | mmap.mmap) -> dict[str, Any]:
    """The first line of an unpacked table."""
    return dict(json.loads(data[: data.find(b"\n")]))


def table(data: bytes | mmap.mmap) -> Places:
    """The table of unpacked bytes.

    Raises:
        ValueError, KeyError: they are not whole.
    """
    head, at = header(data), data.find(b"\n") + 1
    count, (own_bytes, text_bytes) = int(head["places"]), head["bytes"]
    own_at = at + 4 * len(_NUMBERS) * count
    if len(data) != own_at + own_bytes + text_bytes:
        raise ValueError(f"{len(data)} bytes instead of {own_at + own_bytes + text_bytes}")
    planes = np.frombuffer(data, np.uint8, 4 * len(_NUMBERS) * count, at).reshape(len(_NUMBERS), 4, count)
    people, lon, lat, code = np.ascontiguousarray(planes.transpose(0, 2, 1)).view("<i4")[..., 0]
    own = np.flatnonzero(np.frombuffer(data, np.uint8, own_bytes, own_at) == _NEWLINE) + own_at + 1
    lines = np.frombuffer(data, np.uint8, text_bytes, own_at + own_bytes) == _NEWLINE
    # Names are never empty, so that two newlines stand between two places and nowhere else.
    between = np.flatnonzero(lines[:-1] & lines[1:]) + own_at + own_bytes + 1
    starts = np.concatenate([[own_at + own_bytes], between, [len(data)]])
    if len(own) != count or len(starts) != count + 1:
        raise ValueError(f"{len(own)} names and {len(starts) - 1} lists of names instead of {count}")
    return Places(
        data,
        np.concatenate([[own_at], own]).astype(np.int32),
        starts.astype(np.int32),
        np.column_stack([lon, lat]) / _DEGREE,
        people,
        code,
        head["codes"],
        head["countries"],
    )


def _fingerprint() -> str:
    """Of what is packed: a file of xz ends with sizes and a sum over all of it."""
    with PACKED.open("rb") as file:
        file.seek(-64, 2)
        return hashlib.sha256(file.read()).hexdigest()[:12]


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _unpacked(packed: bytes) -> bytes:
    try:
        import lzma
    except ImportError as error:
        raise TesseraError(
            "This Python was built without lzma, so that names of places cannot be looked up here; coordinates and the map work. "
            "Install liblzma and build Python again, or take another Python."
        ) from error
    return lzma.decompress(packed)
