"""A map as one HTML file that any browser opens without our software: layers, legend, and what lies under the pointer.

Everything it needs is in the file (Leaflet included); only background maps, where they are asked for, come from the internet. What
people named is data to the page, never HTML: it stands in a block of JSON that no browser runs, and a policy in the
page allows the two scripts written here and nothing else. It speaks the language of whoever has it written.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from tessera_core._utils.atomic import write_text
from tessera_core.errors import ExportError
from tessera_core.export.product import ClassArea, Product
from tessera_core.language import ENGLISH, LANGUAGES, current, later, numeral, percentage, phrases, relay, t
from tessera_core.periods import written
from tessera_core.provenance import SOFTWARE
from tessera_core.render.colormap import hexes
from tessera_core.render.display import DisplayGrid
from tessera_core.render.leaflet import leaflet_script, leaflet_style
from tessera_core.types import Bools, Bytes

__all__ = ["MAX_BYTES", "Background", "web_map_html", "write_web_map"]

# What a phone still opens and mail still takes; a map that would be larger is shown with fewer, larger pixels.
MAX_BYTES = 12_000_000
MAX_PIXELS = 4_000_000
_FEWEST_PIXELS = 10_000
# What the script of the page says.
_SAID = (
    later("Opacity of {name}"),
    later("{name} (internet)"),
    later("Classes"),
    later("Confidence"),
    later("No data"),
    later("{percent} % sure"),
    later("{lat}, {lon} (latitude, longitude)"),
    later("The map cannot be drawn by this browser. Open the file in a current Firefox, Chrome, Edge or Safari."),
)
# Of models whose publishers say so; for others the file says nothing.
LICENCES = {"tessera": "CC0", "alphaearth": "CC BY 4.0, Google and Google DeepMind"}


@dataclass(frozen=True)
class Background:
    """A picture of the region beneath the map.

    Attributes:
        name: for people.
        picture: uint8 (H, W, 3) on the map's grid.
        valid: bool (H, W), where it shows something.
    """

    name: str
    picture: Bytes
    valid: Bools


def write_web_map(
    path: str | Path,
    product: Product,
    background: Background | None = None,
    base_maps: Sequence[Mapping[str, Any]] = (),
    max_bytes: int = MAX_BYTES,
) -> Path:
    """Write a map as a page for any browser.

    Args:
        path: of the file; ``.html`` is added where it has no such ending.
        product: the map.
        background: the region's picture beneath it, or none.
        base_maps: from the internet: ``name``, ``url`` with {z}, {x} and {y}, ``zoom`` and ``attribution`` (HTML of ours) each;
            empty for a page that asks nothing of any network. A map without a place on Earth has none.
        max_bytes: largest file; a larger map is shown with fewer pixels, and the page says so.

    Raises:
        ExportError: it cannot be written.
    """
    path = Path(path)
    path = path if path.suffix.lower() in (".html", ".htm") else path.with_name(path.name + ".html")
    write_text(path, web_map_html(product, background, base_maps, max_bytes))
    return path


def web_map_html(
    product: Product,
    background: Background | None = None,
    base_maps: Sequence[Mapping[str, Any]] = (),
    max_bytes: int = MAX_BYTES,
) -> str:
    """The page as text; see :func:`write_web_map`.

    Raises:
        ExportError: the map does not fit into ``max_bytes`` however few pixels it has.
    """
    pixels = min(MAX_PIXELS, product.classes.size)
    while True:
        text = _page(product, background, base_maps, DisplayGrid(product.grid, pixels))
        size = len(text.encode())
        if size <= max_bytes:
            return text
        if pixels <= _FEWEST_PIXELS:
            raise ExportError(
                f"The web map takes {size:,} bytes at its coarsest, more than the {max_bytes:,} that were asked for. Allow more."
            )
        pixels = max(_FEWEST_PIXELS, pixels // 2)


def _page(
    product: Product, background: Background | None, base_maps: Sequence[Mapping[str, Any]], display: DisplayGrid
) -> str:
    online = list(base_maps) if display.frame == "mercator" else []
    areas = product.areas()
    colours = {area.klass.id: area.klass.color for area in areas}
    unknown = sorted({int(one) for one in np.unique(product.classes)} - {0, *colours})
    data = {
        "frame": display.frame,
        "bounds": list(display.bounds),
        "shape": list(display.shape),
        "pixels": _pixels(product, display),
        "classes": [{"id": a.klass.id, "name": a.klass.name, "color": a.klass.color} for a in areas]
        + [{"id": one, "name": t("class {number}", number=one), "color": "#808080"} for one in unknown],
        "colormap": list(hexes("amount", 101)),
        "picture": None if background is None else {"name": background.name, "url": _picture(background, display)},
        "words": phrases(_SAID),
        "baseMaps": [{key: one[key] for key in ("name", "url", "zoom", "attribution")} for one in online],
    }
    # Neither a tag nor a comment can begin in what follows, whatever a class is called.
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    scripts = [leaflet_script(), _asset("webmap.js")]
    language = current() if current() in LANGUAGES else ENGLISH
    how = escape(t("Map: arrow keys move it, plus and minus zoom, Enter tells what lies in its middle"), quote=True)
    title = escape(f"{product.name} {product.year}" if product.year else product.name)
    return (
        f"<!doctype html>\n<html lang='{language}'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts, online)}">'
        "<meta name='viewport' content='width=device-width, initial-scale=1'><meta name='referrer' content='origin'>"
        f"<title>{title}</title><style>{leaflet_style()}\n{_asset('webmap.css')}</style></head><body>\n"
        f"<div id='map' role='application' tabindex='0' aria-label='{how}'></div>\n"
        f"<details id='panel' open><summary><h1>{title}</h1></summary>\n"
        f"{_lead(product, display)}<p id='trouble' hidden></p>\n"
        f"<h2>{escape(t('Layers and their opacity'))}</h2><div id='layers'></div>\n"
        f"<h2>{escape(t('Classes'))}</h2>{_legend(areas, product)}\n"
        f"<h2>{escape(t('Confidence'))}</h2><div id='colormap'></div>"
        f"<div class='ends'><span>0 %</span><span>{escape(t('{percent} % sure', percent=100))}</span></div>\n"
        f"{_about(product, online)}</details>\n"
        f"<script type='application/json' id='map-data'>{text}</script>\n"
        + "".join(f"<script>{script}</script>\n" for script in scripts)
        + "</body></html>\n"
    )


def _pixels(product: Product, display: DisplayGrid) -> str:
    seen = [display.warp(product.classes), display.warp(product.confidence, 255)]
    raw = b"".join(np.ascontiguousarray(one).tobytes() for one in seen)
    return base64.b64encode(zlib.compress(raw, 9)).decode()


def _picture(background: Background, display: DisplayGrid) -> str:
    from PIL import Image

    rgba = np.dstack([background.picture, np.where(background.valid, np.uint8(255), np.uint8(0))])
    file = io.BytesIO()
    Image.fromarray(display.warp(rgba), "RGBA").save(file, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _policy(scripts: Sequence[str], online: Sequence[Mapping[str, Any]]) -> str:
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    hosts = sorted({f"https://{urlsplit(str(one['url'])).netloc}" for one in online})
    return (
        f"default-src 'none'; script-src {' '.join(f"'sha256-{digest}'" for digest in digests)}; "
        f"style-src 'unsafe-inline'; img-src {' '.join(['data:', *hosts])}; base-uri 'none'; form-action 'none'"
    )


def _lead(product: Product, display: DisplayGrid) -> str:
    lines = []
    if product.simulated:
        invented = t("This landscape is simulated, made up to try things out: there is no such place on Earth.")
        lines.append(f"<strong>{escape(invented)}</strong>")
    shown, whole = display.shape[0] * display.shape[1], product.classes.size
    if shown < 0.9 * whole:
        step = (whole / shown) ** 0.5
        lines.append(
            escape(
                t(
                    "So that this file stays small, one pixel in {step} along each side is shown; areas are counted on all "
                    "of them.",
                    step=numeral(step, ".1f"),
                )
            )
        )
    if not product.grid.georeferenced:
        lines.append(escape(t("This raster has no georeference: its place on Earth is not known.")))
    return "".join(f"<p>{line}</p>" for line in lines)


def _legend(areas: Sequence[ClassArea], product: Product) -> str:
    rows = "".join(
        f"<li><span class='key' style='background:{escape(area.klass.color)}'></span>"
        f"<span class='name'>{escape(area.klass.name)}</span><span class='area'>{_area(area)}</span></li>"
        for area in areas
    )
    note = (
        f"<p>{escape(relay(product.checked.sentence))}</p>"
        if product.checked is not None
        else f"<p>{escape(t('Areas are counts of mapped pixels; where the map confuses classes, they are wrong by as much.'))}</p>"
    )
    return f"<ul>{rows}</ul>{note}"


def _area(area: ClassArea) -> str:
    size = f"{numeral(area.pixels, ',')} px" if area.hectares is None else f"{numeral(area.hectares, ',.1f')} ha"
    return f"{size}, {percentage(area.share, 1)} %"


def _about(product: Product, online: Sequence[Mapping[str, Any]]) -> str:
    found = product.provenance
    source = t("simulated (the demo region)") if product.simulated else found.source
    licence = None if product.simulated else LICENCES.get(found.model)
    facts = {
        t("Embeddings"): found.dataset,
        t("Year"): written(found.year),
        t("Source"): source,
        t("Licence of the embeddings"): licence,
        t("Confidence"): relay(product.confidence_note),
        t("Made with"): f"{SOFTWARE}, {date.today().isoformat()}",
    }
    lines = [f"<p>{escape(name)}: {escape(str(value))}</p>" for name, value in facts.items() if value]
    # Leaflet's own licence (BSD 2-Clause) asks for its notice in copies.
    lines.append(f"<p>{escape(t('Map'))}: Leaflet, © Volodymyr Agafonkin and contributors, BSD 2-Clause.</p>")
    lines += [f"<p>{escape(str(one['name']))}: {one['attribution']}</p>" for one in online]
    return f"<h2>{escape(t('Where it comes from'))}</h2>" + "".join(lines)


def _asset(name: str) -> str:
    return (files("tessera_core.export") / "assets" / name).read_text(encoding="utf-8")
