"""What a WMS (1.1.1, 1.3.0) or WMTS (1.0.0) says it has, as base layers: their dates, whose they are, what may be done with them.

The description comes from a stranger: entities are refused, nothing that it names is fetched, and of a WMS the address that a
person gave is used, never the one that the description names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urljoin
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from tessera_core.errors import InputError
from tessera_core.imagery.addresses import wms_address, wmts_request
from tessera_core.imagery.layers import BaseLayer, listed_dates, made

MOST_BYTES = 20 << 20
MOST_LAYERS = 3000
_MAX_DEPTH = 60
_MAX_ELEMENTS = 1_000_000
# Of the tile rows of web maps: the scale of level 0, and where they begin.
_SCALE_0, _CORNER = 559_082_264.0287178, 20_037_508.342789244
_MERCATOR = ("3857", "900913", "102100", "3785")


class Offer(NamedTuple):
    """What a service has.

    Attributes:
        title: its name for itself.
        layers: those that a web map can show, in its order.
        left_out: how many others for each reason, for people.
    """

    title: str
    layers: tuple[BaseLayer, ...]
    left_out: dict[str, int]


def read_capabilities(data: bytes, address: str) -> Offer:
    """What a service offers.

    Args:
        data: its answer to ``GetCapabilities``.
        address: that was asked; ``{key}`` may stand in it.

    Raises:
        InputError: it is no such description, or not one to be read.
    """
    root = _parsed(data)
    if root.tag in ("WMS_Capabilities", "WMT_MS_Capabilities"):
        found = _wms(root, address)
    elif root.tag == "Capabilities" and root.find("Contents") is not None:
        found = _wmts(root, address)
    elif root.tag in ("ServiceExceptionReport", "ExceptionReport"):
        raise InputError(f"The service refuses: {_text(root)[:200] or 'it does not say why'}.")
    else:
        raise InputError(f"The answer is no description of a WMS or WMTS (it begins with <{root.tag[:40]}>).")
    if not found.layers and not found.left_out:
        raise InputError("The service describes itself, but has no layers.")
    return found


def _parsed(data: bytes) -> Element:
    if len(data) > MOST_BYTES:
        raise InputError(
            f"The service's description is larger than {MOST_BYTES >> 20} MB; paste the address of one of its layers."
        )
    head = data[:400].lstrip().lower()
    if not head:
        raise InputError("The service's answer is empty.")
    if head.startswith((b"<!doctype html", b"<html")):
        raise InputError("The answer is a web page, not the description of a service; is the address right?")
    builder = TreeBuilder()
    depth = elements = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth, elements
        depth, elements = depth + 1, elements + 1
        if depth > _MAX_DEPTH or elements > _MAX_ELEMENTS:
            raise InputError("The service's description is larger or deeper than any real one; it is not read.")
        builder.start(tag.rsplit(":", 1)[-1], {name.rsplit(":", 1)[-1]: value for name, value in attributes.items()})

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag.rsplit(":", 1)[-1])

    def refuse(*_: Any) -> None:
        raise InputError("The service's description declares entities, which no real one needs; it is not read.")

    # WMS 1.1.1 begins with a document type; it is passed over, and what it names is not fetched.
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
        return builder.close()
    except expat.ExpatError as error:
        raise InputError("The answer is no description of a service: it is not well-formed XML.") from error
    except (LookupError, ValueError, AssertionError) as error:
        raise InputError("The answer is no description of a service: it cannot be decoded.") from error


def _text(element: Element | None) -> str:
    return "" if element is None else " ".join("".join(element.itertext()).split())


def _child(element: Element | None, name: str) -> str:
    return _text(None if element is None else element.find(name))


def _licence(element: Element | None) -> str:
    """Access constraints and fees as they are told; "none" is no news."""
    told = [_child(element, "AccessConstraints"), _child(element, "Fees")]
    return " ".join(
        dict.fromkeys(one[:280] for one in told if one and one.lower() not in ("none", "no", "-", "unknown"))
    )


# ------------------------------------------------------------------------ WMS


def _wms(root: Element, address: str) -> Offer:
    service, capability = root.find("Service"), root.find("Capability")
    version = "1.1.1" if root.tag == "WMT_MS_Capabilities" or root.get("version", "").startswith("1.1") else "1.3.0"
    formats = [_text(one) for one in root.findall("Capability/Request/GetMap/Format")]
    provider = _child(service, "ContactInformation/ContactPersonPrimary/ContactOrganization")
    base = {
        "kind": "wms",
        "url": wms_address(address),
        "version": version,
        "format": _format(formats),
        "licence": _licence(service),
        "zoom": 22,
    }
    layers: list[BaseLayer] = []
    left_out: dict[str, int] = {}
    for element, above in _named(capability):
        line = [*above, element]
        codes = {
            code
            for one in line
            for tag in ("CRS", "SRS")
            for child in one.findall(tag)
            for code in _text(child).split()
        }
        if len(layers) >= MOST_LAYERS:
            reason = f"only the first {MOST_LAYERS} are listed"
        elif any(code.rpartition(":")[2] in _MERCATOR for code in codes):
            reason = _add(layers, base, element, line, "EPSG:3857", provider or _child(service, "Title"))
        elif codes & {"EPSG:4326", "CRS:84"}:
            reason = _add(layers, base, element, line, "EPSG:4326", provider or _child(service, "Title"))
        else:
            reason = "in map projections that web maps do not use"
        if reason:
            left_out[reason] = left_out.get(reason, 0) + 1
    return Offer(_child(service, "Title")[:120], tuple(layers), left_out)


def _named(capability: Element | None) -> Iterator[tuple[Element, list[Element]]]:
    """Each layer that can be asked for, with the layers that it lies in, outermost first."""
    waiting = [(one, list[Element]()) for one in ([] if capability is None else capability.findall("Layer"))][::-1]
    while waiting:
        element, above = waiting.pop()
        if _child(element, "Name"):
            yield element, above
        waiting += [(child, [*above, element]) for child in element.findall("Layer")][::-1]


def _add(
    layers: list[BaseLayer], base: dict[str, Any], element: Element, line: list[Element], crs: str, whose: str
) -> str:
    """Add a layer; the reason where it cannot be one."""
    name = _child(element, "Name")
    credit = next((text for one in reversed(line) if (text := _child(one, "Attribution/Title"))), "") or whose
    dates = next((text for one in reversed(line) if (text := _times(one))), "")
    try:
        layers.append(
            made(
                **base,
                name=(_child(element, "Title") or name)[:80],
                layers=name,
                crs=crs,
                attribution=credit[:600],
                dates=listed_dates(dates),
            )
        )
    except InputError:
        return "described in a way that cannot be asked for"
    return ""


def _times(element: Element) -> str:
    """The dates of a layer: in WMS 1.3.0 of its dimension, in 1.1.1 of the extent beside it."""
    for tag in ("Dimension", "Extent"):
        for one in element.findall(tag):
            if one.get("name", "").lower() == "time" and _text(one):
                return _text(one)
    return ""


def _format(known: list[str]) -> str:
    for wanted in ("image/jpeg", "image/png", "image/png8", "image/webp"):
        if wanted in known:
            return wanted
    return "image/png"


# ----------------------------------------------------------------------- WMTS


def _wmts(root: Element, address: str) -> Offer:
    identification = root.find("ServiceIdentification")
    whose = _child(root.find("ServiceProvider"), "ProviderName") or _child(identification, "Title")
    sets = {_child(one, "Identifier"): _levels(one) for one in root.findall("Contents/TileMatrixSet")}
    layers: list[BaseLayer] = []
    left_out: dict[str, int] = {}
    for element in root.findall("Contents/Layer"):
        linked = [_child(one, "TileMatrixSet") for one in element.findall("TileMatrixSetLink")]
        fitting = [name for name in linked if sets.get(name)]
        if len(layers) >= MOST_LAYERS:
            reason = f"only the first {MOST_LAYERS} are listed"
        elif not fitting:
            reason = "in tiles that do not fit those of web maps"
        else:
            reason = _add_tiles(layers, element, fitting[0], sets[fitting[0]], address, whose, _licence(identification))
        if reason:
            left_out[reason] = left_out.get(reason, 0) + 1
    return Offer(_child(identification, "Title")[:120], tuple(layers), left_out)


def _levels(matrix_set: Element) -> tuple[str, ...]:
    """The names of zoom levels 0, 1, 2, ... where the tiles are those of web maps; else nothing."""
    if not _child(matrix_set, "SupportedCRS").endswith(_MERCATOR):
        return ()
    found: dict[int, str] = {}
    for matrix in matrix_set.findall("TileMatrix"):
        try:
            scale = float(_child(matrix, "ScaleDenominator"))
            corner = [float(v) for v in _child(matrix, "TopLeftCorner").split()]
            size = (int(_child(matrix, "TileWidth")), int(_child(matrix, "TileHeight")))
        except ValueError:
            return ()
        level = round(_log2(_SCALE_0 / scale)) if scale > 0 else -1
        fits = 0 <= level <= 30 and abs(_SCALE_0 / 2**level / scale - 1) < 1e-4
        if fits and size == (256, 256) and len(corner) == 2 and all(abs(abs(v) - _CORNER) < 1 for v in corner):
            found[level] = _child(matrix, "Identifier")
    return tuple(found.get(level, "") for level in range(max(found) + 1)) if found else ()


def _log2(value: float) -> float:
    from math import log2

    return log2(value)


def _add_tiles(
    layers: list[BaseLayer],
    element: Element,
    matrix_set: str,
    levels: tuple[str, ...],
    address: str,
    whose: str,
    licence: str,
) -> str:
    styles = element.findall("Style")
    style = next((one for one in styles if one.get("isDefault") == "true"), styles[0] if styles else None)
    style_name = _child(style, "Identifier") or "default"
    kind = _format([_text(one) for one in element.findall("Format")])
    dimension = next((one for one in element.findall("Dimension") if _child(one, "Identifier").lower() == "time"), None)
    dates = (
        []
        if dimension is None
        else [_text(one) for one in dimension.findall("Value")] or [_child(dimension, "Default")]
    )
    rest = [one for one in element.findall("ResourceURL") if one.get("resourceType") == "tile" and one.get("template")]
    # Written out by the service; it stands for this one picture and may lie on another server of its own.
    template = next((one.get("template", "") for one in rest if one.get("format") == kind), "") or (
        rest[0].get("template", "") if rest else ""
    )
    if template:
        url = urljoin(address, template)
        axes = {
            "TileMatrixSet": matrix_set,
            "Style": style_name,
            "style": style_name,
            "TileMatrix": "{z}",
            "TileRow": "{y}",
        }
        for name, value in (axes | {"TileCol": "{x}", "Time": "{time}", "TIME": "{time}"}).items():
            url = url.replace(f"{{{name}}}", value)
    else:
        url = wmts_request(address, _child(element, "Identifier"), style_name, matrix_set, kind)
        url += "&TIME={time}" if dates else ""
    # A dimension of another kind has a value that it takes unasked.
    for other in element.findall("Dimension"):
        url = url.replace(f"{{{_child(other, 'Identifier')}}}", _child(other, "Default"))
    plain = levels == tuple(map(str, range(len(levels))))
    try:
        layers.append(
            made(
                kind="xyz",
                url=url,
                name=(_child(element, "Title") or _child(element, "Identifier"))[:80],
                zoom=max(k for k, name in enumerate(levels) if name),
                attribution=whose[:600],
                licence=licence[:600],
                levels=() if plain else levels,
                dates=listed_dates(",".join(dates)),
            )
        )
    except InputError:
        return "described in a way that cannot be asked for"
    return ""
