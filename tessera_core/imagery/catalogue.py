"""Pictures of the ground to choose from: those of xyzservices that show what is there, and a cloud-free picture of each year.

Reading the list asks nothing of the network. Whose a picture is stands with it; what may be done with it is said where its
provider has said so to everybody, and otherwise that its terms are the provider's.
"""

from __future__ import annotations

import re
from functools import cache

from tessera_core.imagery.layers import BaseLayer, made

# Sentinel-2 without clouds, a year each, on the whole Earth.
_CLOUDLESS = range(2018, 2024)
_CLOUDLESS_URL = "https://tiles.maps.eox.at/wmts/1.0.0/s2cloudless-{year}_3857/default/g/{{z}}/{{y}}/{{x}}.jpg"
_WORDS = ("imag", "satel", "ortho", "aerial", "luchtfoto", "truecolor", "bands721")
_MAPS = ("OpenStreetMap.Mapnik", "OpenTopoMap", "Esri.WorldTopoMap", "USGS.USTopo", "BasemapAT.basemap",
         "SwissFederalGeoportal.NationalMapColor", "nlmaps.standaard", "GeoportailFrance.plan", "TopPlusOpen.Color")  # fmt: skip
# What lies in another frame than it says, is near a pole, or shows no ground.
_UNFIT = ("Gaode", "Arctic", "Antarctic", "_L93", "Crs84", "test", "Productible", "photovoltaique")
_LICENCES = {
    "OpenStreetMap": "Map data: Open Database Licence; light use only.",
    "Esri": "Terms of use of Esri; drawing from it for other ends than one's own may need a licence.",
    "USGS": "Public domain (United States Geological Survey).",
    "NASAGIBS": "Free for all (NASA).",
    "BasemapAT": "CC BY 4.0.",
    "nlmaps": "CC BY 4.0.",
    "GeoportailFrance": "Licence Ouverte 2.0.",
    "SwissFederalGeoportal": "Open data of swisstopo; name the source.",
}
_OTHERS = "Terms of use are those of the provider."
_YEAR = re.compile(r"(?<!\d)(19[4-9]\d|20[0-4]\d)(?:[_-](19[4-9]\d|20[0-4]\d))?(?!\d)")


@cache
def catalogue() -> dict[str, BaseLayer]:
    """Pictures and a few maps by the name that people choose them by, in the order in which they are offered.

    >>> from tessera_core.imagery.catalogue import catalogue
    >>> catalogue()["Sentinel-2 without clouds, 2021"].date
    '2021'
    """
    import xyzservices.providers

    found: dict[str, BaseLayer] = {}
    for year in reversed(_CLOUDLESS):
        name = f"Sentinel-2 without clouds, {year}"
        found[name] = made(
            name=name,
            kind="xyz",
            url=_CLOUDLESS_URL.format(year=year),
            zoom=15,
            date=str(year),
            attribution=f"Sentinel-2 cloudless by EOX (contains modified Copernicus Sentinel data {year})",
            licence="CC BY-NC-SA 4.0: not for commercial use without a licence of EOX.",
        )
    known = xyzservices.providers.flatten()
    for name in sorted(known, key=lambda one: (one in _MAPS, "GeoportailFrance" in one, one)):
        shows = any(word in name.lower() for word in _WORDS) and not any(word in name for word in _UNFIT)
        if not (shows or name in _MAPS) or known[name].get("status") == "broken":
            continue
        layer = _layer(name, known[name])
        if layer is not None:
            found[layer.name] = layer
    return found


def _layer(name: str, provider: dict[str, object]) -> BaseLayer | None:
    """An entry of xyzservices; None where a web map of ours cannot show it."""
    facts = {key: str(value) for key, value in provider.items()}
    url = facts["url"]
    for key in ("accessToken", "apikey", "apiKey", "subscriptionKey", "key"):
        url = url.replace(f"{{{key}}}", "{key}")
    url = url.replace("{s}", facts.get("subdomains", "abc")[:1]).replace("{r}", "")
    level = int(facts["max_zoom"]) if facts.get("max_zoom", "").isdigit() else 19
    time = facts.pop("time", "")
    for key, value in facts.items():
        if key not in ("x", "y", "z", "s", "r", "key"):
            url = url.replace(f"{{{key}}}", value)
    # A picture of any day: which, its service is not asked for here.
    if "{time}" in url and not time:
        url = url.replace("/{time}/", "/default/")
    if set(re.findall(r"\{([^}]*)\}", url)) - {"x", "y", "z", "key"}:
        return None
    provider_name = name.partition(".")[0]
    year = _YEAR.search(name)
    return made(
        name=re.sub(r"[._]+", " ", name)[:80],
        kind="xyz",
        url=url,
        zoom=min(level, 22),
        attribution=facts.get("attribution", "")[:600],
        licence=_LICENCES.get(provider_name, _OTHERS),
        date="" if year is None or name in _MAPS else year[0].replace("_", " to "),
    )
