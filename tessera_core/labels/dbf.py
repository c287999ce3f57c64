"""The encoding of a shapefile's table: what its .cpg file or its head declares, checked against the bytes."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from tessera_core.errors import LabelError
from tessera_core.labels.text import text_codec

# Language drivers of dBase, the byte 29 of a .dbf file.
_DRIVERS = {
    0x01: "cp437", 0x02: "cp850", 0x03: "cp1252", 0x57: "cp1252", 0x58: "cp1252", 0x59: "cp1252", 0x64: "cp852",
    0x65: "cp866", 0x66: "cp865", 0x67: "cp861", 0x6A: "cp737", 0x6B: "cp857", 0x78: "cp950", 0x79: "cp949",
    0x7A: "cp936", 0x7B: "cp932", 0x7C: "cp874", 0x7D: "cp1255", 0x7E: "cp1256", 0xC8: "cp1250", 0xC9: "cp1251",
    0xCA: "cp1254", 0xCB: "cp1253", 0xCC: "cp1257", 0x4D: "cp936", 0x4E: "cp949", 0x4F: "cp950", 0x13: "cp932",
}  # fmt: skip
# Of these, text may be valid UTF-8 by chance.
_MULTIBYTE = ("cp932", "cp936", "cp949", "cp950", "big5", "gb", "shift", "euc")


class Declared(NamedTuple):
    """What a shapefile says of its encoding.

    Attributes:
        codec: as Python names it, or None where it says nothing that is known.
        where: says it: ".cpg" or "its head", or empty.
        unknown: what a .cpg says that is no known encoding, or empty.
    """

    codec: str | None
    where: str = ""
    unknown: str = ""


def declared_by(cpg: bytes | None, head: bytes | None) -> Declared:
    """What the .cpg file (its bytes, or None) and the head of the .dbf file declare."""
    if cpg is not None and (text := cpg.decode("ascii", errors="replace").strip("\ufeff \x00\r\n\t")):
        codec = _codec(text)
        return Declared(codec, ".cpg") if codec else Declared(None, ".cpg", text[:40])
    driver = _DRIVERS.get(head[29]) if head is not None and len(head) > 29 else None
    return Declared(driver, "its head") if driver else Declared(None)


def _codec(text: str) -> str | None:
    digits = re.fullmatch(r"(?:ANSI|OEM|CP|WINDOWS|MS|IBM)?[\s-]*(\d+)", text, re.IGNORECASE)
    number = digits[1] if digits else ""
    guesses = [text, text.replace(" ", "-")]
    if number == "65001":
        guesses = ["utf-8"]
    elif match := re.fullmatch(r"(?:ISO[\s-]*)?8859[\s-]?(\d{1,2})", text, re.IGNORECASE):
        guesses = [f"iso8859-{match[1]}"]
    elif number:
        guesses = [f"cp{number}"]
    return next((codec for guess in guesses if (codec := text_codec(guess)) is not None), None)


def decoded(
    columns: dict[str, Any], declared: Declared, told: str | None, name: str
) -> tuple[dict[str, Any], str, str]:
    """Columns whose texts were read as Latin-1, byte for byte, in their own encoding.

    Args:
        columns: name -> values.
        declared: what the file says.
        told: encoding that a person says, or None.
        name: of the file, for people.

    Returns:
        The columns, the encoding, and how it was found (empty where that need not be told).

    Raises:
        LabelError: the encoding told is not known, or the text is not in it.
    """
    texts = set(columns)
    for values in columns.values():
        if values.dtype == object:
            texts |= {value for value in values if isinstance(value, str)}
    raw = {text: text.encode("latin-1") for text in texts if not text.isascii()}
    codec, shown, why = _chosen(list(raw.values()), declared, told, name)
    known = {text: _decode(data, codec) for text, data in raw.items()}

    def own(value: Any) -> Any:
        return known.get(value, value) if isinstance(value, str) else value

    result = {}
    for key, values in columns.items():
        if values.dtype == object and known:
            values = values.copy()
            values[:] = [own(value) for value in values]
        result[own(key)] = values
    return result, shown, why


def _chosen(raw: list[bytes], declared: Declared, told: str | None, name: str) -> tuple[str, str, str]:
    if told is not None:
        codec = text_codec(told)
        if codec is None:
            raise LabelError(f"{told!r} is no encoding that is known; examples are utf-8, cp1252, mac-roman.")
        if not _fits(raw, codec):
            raise LabelError(f"{name} is not in the encoding {told}; leave it away to have it found.")
        return codec, told, "as told"
    says = f"the {declared.where} says {_shown(declared.codec)}" if declared.codec else ""
    if declared.unknown:
        says = f"the .cpg says {declared.unknown!r}, which is not known"
    if not raw:
        return declared.codec or "utf-8", _shown(declared.codec or "utf-8"), ""
    if declared.codec == "utf-8" and _fits(raw, "utf-8"):
        return "utf-8", "UTF-8", ""
    multibyte = declared.codec is not None and declared.codec.startswith(_MULTIBYTE)
    if _fits(raw, "utf-8") and not (multibyte and _fits(raw, declared.codec or "")):
        return "utf-8", "UTF-8", f"its bytes are valid UTF-8; {says or 'no .cpg file says the encoding'}"
    if declared.codec and declared.codec != "utf-8" and _fits(raw, declared.codec):
        return declared.codec, _shown(declared.codec), "" if declared.where == ".cpg" else says
    return "cp1252", "Windows-1252", f"its bytes are not UTF-8; {says or 'no .cpg file says the encoding'}"


def _shown(codec: str | None) -> str:
    return {"utf-8": "UTF-8", "cp1252": "Windows-1252", "iso8859-1": "ISO-8859-1"}.get(codec or "", codec or "")


def _fits(raw: list[bytes], codec: str) -> bool:
    whole = cut = 0
    for data in raw:
        try:
            data.decode(codec)
            whole += 1
        except UnicodeError as problem:
            # The last letter may have been cut, as a column has a length in bytes.
            reason = problem.reason if isinstance(problem, UnicodeDecodeError) else ""
            if codec != "utf-8" or reason != "unexpected end of data" or len(data) < 9:
                return False
            cut += 1
    return whole > 0 or not cut


def _decode(data: bytes, codec: str) -> str:
    return data.decode(codec, errors="replace").rstrip("\ufffd") if codec == "utf-8" else data.decode(codec, "replace")
