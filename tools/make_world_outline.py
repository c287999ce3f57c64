"""Make ``tessera_core/render/data/world-110m.json``, the outline of the world that maps show without a network.

From Natural Earth's 1:110m countries (public domain), as the npm package ``world-atlas`` publishes them in TopoJSON:

    python tools/make_world_outline.py

fetches that package with ``npm pack`` and checks its digest; ``--from countries-110m.json`` takes a file at hand instead.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGE = "world-atlas@2.0.2"
MEMBER = "package/countries-110m.json"
SHA256 = "2516c915867c7baf18ddec727aec46c315541a07cfb3d79a6559b05d5e94eee8"
OUT = Path(__file__).parent.parent / "tessera_core" / "render" / "data" / "world-110m.json"


def outline(topology: dict[str, Any]) -> dict[str, Any]:
    """What the program needs of the topology: arcs as they are, rings of land, and arcs that two countries share."""
    uses = Counter(
        index if index >= 0 else ~index
        for country in topology["objects"]["countries"]["geometries"]
        for ring in _rings(country)
        for index in ring
    )
    land = [ring for part in topology["objects"]["land"]["geometries"] for ring in _rings(part)]
    borders = sorted(index for index, count in uses.items() if count > 1)
    return {
        "source": "Natural Earth 1:110m, public domain",
        "transform": topology["transform"],
        "arcs": topology["arcs"],
        "land": land,
        "borders": borders,
    }


def _rings(geometry: dict[str, Any]) -> Iterator[list[int]]:
    if geometry["type"] == "MultiPolygon":
        for polygon in geometry["arcs"]:
            yield from polygon
    elif geometry["type"] == "Polygon":
        yield from geometry["arcs"]


def _fetched() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["npm", "pack", "--silent", PACKAGE], cwd=folder, capture_output=True, text=True, check=True
        )
        with tarfile.open(Path(folder) / done.stdout.strip().splitlines()[-1]) as packed:
            member = packed.extractfile(MEMBER)
            assert member is not None
            return member.read()


def main() -> int:
    """Write the file; ends with 1 where the source is not the one it was made from."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="source", type=Path, help="countries-110m.json of the package")
    given = parser.parse_args().source
    content = given.read_bytes() if given else _fetched()
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        print(f"{given or PACKAGE} has the SHA-256 {found} instead of {SHA256}; nothing was written.")
        return 1
    OUT.write_text(json.dumps(outline(json.loads(content)), separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"Wrote {OUT.name}: {OUT.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
