"""From an address that somebody pastes to a base layer: tiles, a WMS or WMTS request, or a service that has to be asked.

Only reads the text; nothing is fetched here.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from tessera_core.errors import InputError
from tessera_core.imagery.layers import KEY, BaseLayer, check_address, made

# How services call the key of whoever asks.
_KEYS = {
    "key", "apikey", "api_key", "api-key", "token", "access_token", "accesstoken", "subscription-key", "subscriptionkey",
    "map_key", "auth", "authkey", "api",
}  # fmt: skip
_OF_WMS = {
    "service", "request", "version", "layers", "styles", "format", "transparent", "srs", "crs", "bbox", "width", "height",
    "bgcolor", "exceptions", "time",
}  # fmt: skip
_PLACEHOLDER = re.compile(r"\$?\{([^{}]*)\}")
_AXES = {"tilematrix": "z", "tilecol": "x", "tilerow": "y", "x": "x", "y": "y", "z": "z", "zoom": "z", "-y": "-y"}
_WEB_MERCATOR = ("googlemapscompatible", "webmercatorquad", "epsg:3857", "epsg:900913", "3857", "g", "pm")


class Pasted(NamedTuple):
    """What an address is.

    Attributes:
        kind: ``"layer"`` for one that can be shown, ``"service"`` for one that has to be asked what it has.
        address: without the key; of a service what to ask.
        key: that stood in it, or empty; it is for :attr:`host` alone.
        layer: that can be shown, or None.
    """

    kind: Literal["layer", "service"]
    address: str
    key: str
    layer: BaseLayer | None

    @property
    def host(self) -> str:
        """The server."""
        return urlsplit(self.address).netloc.lower()


def read_address(text: str, name: str = "", date: str = "") -> Pasted:
    """What somebody pasted.

    Args:
        text: an address of tiles with ``{z}/{x}/{y}`` (``{-y}`` counts from the south), of a WMS or a WMTS.
        name: what it shall be called; the server's name otherwise.
        date: of the picture, where somebody knows it.

    Raises:
        InputError: it is no such address.

    Example:
        >>> found = read_address("https://tiles.example/{z}/{x}/{-y}.png?api_key=secret")
        >>> found.layer.kind, found.layer.url, found.key
        ('tms', 'https://tiles.example/{z}/{x}/{y}.png?api_key={key}', 'secret')
    """
    text = text.strip()
    if not text:
        raise InputError("Paste the address of a picture first.")
    address, key = _without_key(text.replace("{s}", "a").replace("{S}", "a"))
    address = _PLACEHOLDER.sub(_standard, address)
    try:
        check_address(address)
    except ValueError as error:
        raise InputError(f"This is no address of a picture: {error}.") from error
    called = name.strip()[:80] or (urlsplit(address).hostname or "")[:80]
    query = {name.lower(): value for name, value in parse_qsl(urlsplit(address).query, keep_blank_values=True)}
    service = query.get("service", "").upper()
    facts = {"name": called, "date": date.strip()[:120]}
    if all(part in address for part in ("{z}", "{x}")) and ("{y}" in address or "{-y}" in address):
        kind = "tms" if "{-y}" in address else "xyz"
        left = [one for one in _PLACEHOLDER.findall(address) if one.lower() not in ("x", "y", "-y", "z", "key", "time")]
        if left:
            raise InputError(f"The address still has {{{left[0]}}} in it; write out what it stands for.")
        dates = [facts["date"]] if "{time}" in address and facts["date"] else []
        if "{time}" in address and not dates:
            raise InputError("The address asks for a date, {time}; say the date of the picture, too.")
        return Pasted("layer", address, key, made(kind=kind, url=address.replace("{-y}", "{y}"), dates=dates, **facts))
    if query.get("layers") and (service in ("", "WMS")) and query.get("request", "").lower() != "getcapabilities":
        return Pasted("layer", address, key, _wms(address, query, facts))
    tiles = query.get("layer") and query.get("tilematrixset") and service == "WMTS"
    if tiles and query.get("request", "").lower() != "getcapabilities":
        return Pasted("layer", address, key, _wmts(address, query, facts))
    return Pasted("service", address, key, None)


def capabilities_address(address: str) -> str:
    """Where a service describes itself: the address itself where it says so, else its request ``GetCapabilities``.

    >>> capabilities_address("https://maps.example/wms?map=a")
    'https://maps.example/wms?map=a&SERVICE=WMS&REQUEST=GetCapabilities'
    """
    parts = urlsplit(address)
    query = {name.lower(): value for name, value in parse_qsl(parts.query, keep_blank_values=True)}
    if parts.path.lower().endswith(".xml") or query.get("request", "").lower() == "getcapabilities":
        return address
    service = query.get("service") or ("WMTS" if "wmts" in parts.path.lower() else "WMS")
    kept = _kept_query(parts.query, {"service", "request"})
    return urlunsplit(parts._replace(query="&".join([*kept, f"SERVICE={service.upper()}", "REQUEST=GetCapabilities"])))


def wms_address(address: str) -> str:
    """The address of a WMS without what each of its requests says."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(query="&".join(_kept_query(parts.query, _OF_WMS)), fragment=""))


def wmts_request(address: str, layer: str, style: str, matrix_set: str, kind: str) -> str:
    """The address of a WMTS's tiles, asked for by name and value."""
    ours = {
        "service",
        "request",
        "version",
        "layer",
        "style",
        "tilematrixset",
        "tilematrix",
        "tilerow",
        "tilecol",
        "format",
    }
    parts = urlsplit(address)
    asked = {
        "SERVICE": "WMTS", "REQUEST": "GetTile", "VERSION": "1.0.0", "LAYER": layer, "STYLE": style, "FORMAT": kind,
        "TILEMATRIXSET": matrix_set,
    }  # fmt: skip
    query = [*_kept_query(parts.query, ours), *(f"{name}={quote(value, safe='/:')}" for name, value in asked.items())]
    return urlunsplit(
        parts._replace(query="&".join([*query, "TILEMATRIX={z}", "TILEROW={y}", "TILECOL={x}"]), fragment="")
    )


def _kept_query(query: str, without: set[str]) -> list[str]:
    return [part for part in query.split("&") if part and part.partition("=")[0].lower() not in without]


def _without_key(address: str) -> tuple[str, str]:
    """The address with ``{key}`` for the key that stands in its query, and the key."""
    head, mark, query = address.partition("?")
    key, parts = "", []
    for part in query.split("&") if mark else []:
        name, equals, value = part.partition("=")
        if name.lower() in _KEYS and value:
            placeholder = value.startswith("{") and value.endswith("}")
            if not placeholder:
                key = key or value
            part = f"{name}{equals}{KEY}"
        parts.append(part)
    return head + mark + "&".join(parts), key


def _standard(match: re.Match[str]) -> str:
    """One name for each placeholder, however a service or another program writes it."""
    name = match[1].lower()
    if name in _AXES:
        return f"{{{_AXES[name]}}}"
    if name == "r":
        return ""
    return KEY if name in _KEYS or name == "key" else f"{{{name if name == 'time' else match[1]}}}"


def _wms(address: str, query: dict[str, str], facts: dict[str, str]) -> BaseLayer:
    crs = (query.get("crs") or query.get("srs") or "EPSG:3857").upper()
    kind = query.get("format", "")
    return made(
        kind="wms",
        url=wms_address(address),
        layers=query["layers"],
        styles=query.get("styles", ""),
        format=kind if kind.startswith("image/") else "image/png",
        version="1.1.1" if query.get("version", "1.3.0").startswith("1.1") else "1.3.0",
        crs="EPSG:4326" if crs in ("EPSG:4326", "CRS:84") else "EPSG:3857",
        dates=[query["time"]] if query.get("time") else [],
        **facts,
    )


def _wmts(address: str, query: dict[str, str], facts: dict[str, str]) -> BaseLayer:
    matrix_set = query["tilematrixset"]
    if (
        not any(matrix_set.lower().startswith(one) for one in _WEB_MERCATOR[:4])
        and matrix_set.lower() not in _WEB_MERCATOR
    ):
        raise InputError(
            f"The tiles of {matrix_set} may not fit on web maps; paste the address of the service itself, so that it can be "
            "asked which do."
        )
    kind = query.get("format", "image/png")
    url = wmts_request(address, query["layer"], query.get("style", "default"), matrix_set, kind)
    return made(kind="xyz", url=url, **facts)
