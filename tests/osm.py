"""Small extracts of OpenStreetMap, as its own programs write them (wiki.openstreetmap.org/wiki/PBF_Format)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

Area = tuple[str, str, Sequence[tuple[float, float]]]


def _number(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def _signed(value: int) -> bytes:
    return _number(2 * value if value >= 0 else -2 * value - 1)


def _field(number: int, value: int | bytes) -> bytes:
    """A field of a message: a number (given as it is), or what has a length."""
    if isinstance(value, int):
        return _number(number << 3) + _number(value)
    return _number(number << 3 | 2) + _number(len(value)) + value


def _block(kind: bytes, content: bytes) -> bytes:
    blob = _field(1, content) + _field(2, len(content))
    header = _field(1, kind) + _field(3, len(blob))
    return struct.pack(">i", len(header)) + header + blob


def osm_pbf(areas: Sequence[Area]) -> bytes:
    """The bytes of a ``.osm.pbf`` with closed ways: each a key, its value, and corners (lon, lat) in degrees."""
    texts = [b"", *dict.fromkeys(text.encode() for key, value, _ in areas for text in (key, value))]
    nodes, ways = b"", b""
    node = 0
    for number, (key, value, corners) in enumerate(areas, 1):
        first = node + 1
        for lon, lat in corners:
            node += 1
            place = [_number(at << 3) + _signed(round(1e7 * degrees)) for at, degrees in ((8, lat), (9, lon))]
            nodes += _field(1, _number(1 << 3) + _signed(node) + b"".join(place))
        steps = [first, *[1] * (len(corners) - 1), first - node]
        tags = [_field(at, _number(texts.index(text.encode()))) for at, text in ((2, key), (3, value))]
        ways += _field(3, _field(1, number) + b"".join(tags) + _field(8, b"".join(map(_signed, steps))))
    table = b"".join(_field(1, text) for text in texts)
    return _block(b"OSMHeader", _field(4, b"OsmSchema-V0.6")) + _block(
        b"OSMData", _field(1, table) + _field(2, nodes) + _field(2, ways)
    )
