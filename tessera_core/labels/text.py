"""Bytes of text files as text: which encoding, and how it was told."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import NamedTuple

from tessera_core.errors import LabelError, TesseraError
from tessera_core.gate import read_bytes

_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig", "UTF-8"), (b"\xff\xfe", "utf-16", "UTF-16"), (b"\xfe\xff", "utf-16", "UTF-16"))


class Text(NamedTuple):
    """A file's text.

    Attributes:
        text: decoded, without a byte order mark.
        encoding: as people know it.
        why: how it was found; empty for plain UTF-8, of which nothing need be told.
    """

    text: str
    encoding: str
    why: str = ""


def text_codec(name: str) -> str | None:
    """Python's name of an encoding of text; None where ``name`` is none, whatever it is."""
    try:
        # Codecs of bytes (zlib, base64) and of nothing (undefined) have names, too, and encode no letter.
        "a".encode(name)
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        return None


def read_text(path: Path, encoding: str | None = None, error: type[TesseraError] = LabelError) -> Text:
    """The text of a file: UTF-8, UTF-16 with or without a mark, else Windows 1252; others where ``encoding`` says so.

    Raises:
        error: it cannot be read, is no text, or not in the encoding told.
    """
    return decode(read_bytes(path, error), path.name, encoding, error)


def decode(data: bytes, name: str, encoding: str | None = None, error: type[TesseraError] = LabelError) -> Text:
    """See :func:`read_text`."""
    if encoding is not None:
        if text_codec(encoding) is None:
            raise error(f"{encoding!r} is no encoding that is known; examples are utf-8, cp1252, mac-roman.")
        try:
            return Text(data.decode(encoding).removeprefix("\ufeff"), encoding, "as told")
        except UnicodeError as problem:
            raise error(f"{name} is not in the encoding {encoding}; leave it away to have it found.") from problem
    for mark, codec, shown in _BOMS:
        if data.startswith(mark):
            try:
                return Text(data.decode(codec), shown, "" if shown == "UTF-8" else "the file is marked so")
            except UnicodeDecodeError as problem:
                if shown != "UTF-8":
                    raise error(f"{name} is marked as {shown} but is damaged; save it again.") from problem
                data = data[len(mark) :]
    if b"\x00" in data[:4000]:
        codec = _utf16(data[:4000])
        try:
            return Text(data.decode(codec), "UTF-16", "recognised by its bytes")
        except (UnicodeDecodeError, LookupError) as problem:
            raise error(f"{name} is not a text file; save the table as CSV in UTF-8.") from problem
    try:
        return Text(data.decode("utf-8"), "UTF-8")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
        if "\ufffd" in text:
            return Text(data.decode("latin-1"), "ISO-8859-1", "it is neither UTF-8 nor Windows 1252")
        return Text(text, "Windows-1252", "it is not UTF-8")


def _utf16(head: bytes) -> str:
    """Which byte order puts the zeros of Latin letters where they are; no codec's name where neither does."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) < len(head) // 5:
        return "none"
    return "utf-16-le" if odd > even else "utf-16-be"
