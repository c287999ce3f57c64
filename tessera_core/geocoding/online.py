"""NamedPlace names looked up on the internet, for hamlets and fields that the gazetteer does not know; only when a person asks.

The service is OpenStreetMap's Nominatim; ``TESSERA_GEOCODER_URL`` names another with the same answers. What is sent is the text
that was typed, and nothing else.
"""

from __future__ import annotations

import os
from typing import Any

from tessera_core.errors import AcquisitionError, InputError
from tessera_core.geocoding.gazetteer import NamedPlace
from tessera_core.provenance import SOFTWARE

URL = "https://nominatim.openstreetmap.org/search"
CREDIT = "Names: OpenStreetMap contributors"
TIMEOUT_S = 15.0


def search_online(text: str, limit: int = 8, timeout_s: float = TIMEOUT_S) -> list[NamedPlace]:
    """Places of that name, best first.

    Raises:
        InputError: there is nothing to look up.
        AcquisitionError: the service cannot be reached, or answers with something else.
    """
    import requests

    if not text.strip():
        raise InputError("Type the name of a place first.")
    query: dict[str, str | int] = {"q": text.strip(), "format": "jsonv2", "limit": limit, "addressdetails": 1}
    headers = {"User-Agent": SOFTWARE, "Accept-Language": "en"}
    try:
        answer = requests.get(
            os.environ.get("TESSERA_GEOCODER_URL", URL), params=query, headers=headers, timeout=timeout_s
        )
        if answer.status_code >= 400:
            raise AcquisitionError(
                f"OpenStreetMap answered with error {answer.status_code}; try again later, or give coordinates."
            )
        return [_place(item) for item in answer.json()][:limit]
    except requests.JSONDecodeError as error:
        raise AcquisitionError(
            "OpenStreetMap's answer cannot be read; try again later, or give coordinates."
        ) from error
    except requests.RequestException as error:
        raise AcquisitionError(
            "OpenStreetMap cannot be reached; check your connection, or give coordinates or a box on the map."
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AcquisitionError(
            "OpenStreetMap's answer cannot be read; try again later, or give coordinates."
        ) from error


def _place(item: dict[str, Any]) -> NamedPlace:
    parts = [part.strip() for part in str(item["display_name"]).split(",")]
    lon, lat = float(item["lon"]), float(item["lat"])
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise ValueError("not on Earth")
    address = item.get("address") or {}
    country = str(address.get("country") or parts[-1])
    region = address.get("state") or address.get("county")
    return NamedPlace(str(item.get("name") or parts[0]), f"{region}, {country}" if region else country, lon, lat, 0)
