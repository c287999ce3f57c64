"""The report: one HTML file, complete in itself, that shows the map and says how far it can be trusted."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import write_text
from tessera_core.areas import square_kilometres
from tessera_core.export.product import ClassArea, Product
from tessera_core.provenance import SOFTWARE

_MAX_SIDE = 1200
# Kinds of heads in words that need no glossary.
CLASSIFIERS = {
    "prototype": "class means (prototype)",
    "ridge": "linear (ridge)",
    "logistic": "linear (logistic regression)",
    "knn": "nearest neighbours",
    "forest": "random forest",
    "boosting": "gradient-boosted trees",
    "mlp": "small neural network",
    "unet": "U-Net, a neural network that sees shapes",
}


def write_report(path: str | Path, product: Product) -> Path:
    """Write the report card of a map as HTML; nothing in it is loaded from elsewhere.

    Raises:
        ExportError: it cannot be written.
    """
    path = Path(path)
    path = path if path.suffix.lower() in (".html", ".htm") else path.with_name(path.name + ".html")
    write_text(path, report_html(product))
    return path


def report_html(product: Product) -> str:
    """The report as HTML text."""
    title = escape(f"{product.name} {product.year}" if product.year else product.name)
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main>\n"
        f"<header><h1>{title}</h1><p>{_lead(product)}</p>{_simulated(product)}</header>\n"
        f"<figure><img alt='Class map' src='{_picture(product)}'>"
        f"<figcaption>{_caption(product)}</figcaption></figure>\n"
        f"<section><h2>How good it is</h2>{_list(_goodness(product))}</section>\n"
        f"<section><h2>Classes</h2>{_table(product)}{_checked(product)}</section>\n"
        f"<section><h2>What to mind</h2>{_list(_caveats(product))}</section>\n"
        f"<section><h2>Where it comes from</h2>{_provenance(product)}</section>\n"
        "</main></body></html>\n"
    )


def _lead(product: Product) -> str:
    height, width = product.grid.shape
    size = f"{height:,} x {width:,} pixels"
    if product.grid.georeferenced:
        size = f"{square_kilometres(product.grid):,.1f} km² ({size})"
    used = [area for area in product.areas() if area.labels]
    return (
        f"A map of {size} in {len(used)} classes, learnt from {sum(area.labels for area in used)} labels. What the satellites saw "
        f"of each pixel in the course of the year was summed up in numbers (embeddings: {escape(product.provenance.dataset)}); a "
        "classifier learnt from the labels which numbers go with which class."
    )


def _simulated(product: Product) -> str:
    if not product.simulated:
        return ""
    return "<p><strong>This landscape is simulated, made up to try things out: there is no such place on Earth.</strong></p>"


def _list(lines: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>"


def _picture(product: Product) -> str:
    from tessera_core.render.palette import encode

    step = max(1, -(-max(product.grid.shape) // _MAX_SIDE))
    small: NDArray[np.uint8] = np.ascontiguousarray(product.classes[::step, ::step])
    colors = {c.id: c.color for c in product.label_classes}
    unknown = {int(value): "#808080" for value in np.unique(small) if value and int(value) not in colors}
    return "data:image/png;base64," + base64.b64encode(encode(small, colors | unknown)).decode()


def _caption(product: Product) -> str:
    if not product.grid.georeferenced:
        return "This raster has no georeference: its place on Earth is not known."
    west, south, east, north = product.grid.bounds_lonlat
    across = product.grid.width * product.grid.pixel_area_m2**0.5
    wide = f"{across / 1000:,.1f} km" if across >= 1000 else f"{across:,.0f} m"
    turn = product.grid.transform
    up = ", north is up" if turn.b == turn.d == 0 and turn.e < 0 else ""
    return (
        f"{wide} across{up}. From {west:.4f}, {south:.4f} to {east:.4f}, {north:.4f} (longitude, latitude); "
        f"{escape(_crs(product))}."
    )


def _crs(product: Product) -> str:
    crs = product.grid.crs or ""
    if len(crs) < 20:
        return crs
    from pyproj import CRS

    return str(CRS.from_user_input(crs).name)


def _table(product: Product) -> str:
    areas = product.areas()
    place = product.grid.georeferenced
    head = (
        "<tr><th></th><th>Class</th>"
        + ("<th>Hectares</th>" if place else "")
        + "<th>Share</th><th>Pixels</th><th>Labels</th></tr>"
    )
    return f"<table>{head}{''.join(_row(area) for area in areas)}</table>"


def _row(area: ClassArea) -> str:
    hectares = "" if area.hectares is None else f"<td>{area.hectares:,.1f}</td>"
    return (
        f"<tr><td><span class='key' style='background:{area.klass.color}'></span></td><td>{escape(area.klass.name)}</td>"
        f"{hectares}<td>{100 * area.share:.1f} %</td><td>{area.pixels:,}</td><td>{area.labels}</td></tr>"
    )


def _goodness(product: Product) -> list[str]:
    """The score that the page shows, in its words, and what a checked sample says."""
    lines = []
    if product.checked is not None:
        lines.append(f"<strong>{escape(product.checked.sentence)}</strong>")
        lines += [escape(note) for note in product.checked.notes]
    score = product.score
    sentences = [escape(str(line)) for line in score.get("sentences", ())]
    if score.get("accuracy") is not None:
        lines += sentences
        lines.append(
            "This tells how well the map repeats your labels elsewhere; labels chosen by hand are no random sample of it."
        )
    else:
        lines.append("<strong>This map was not checked against labels held out.</strong> " + " ".join(sentences))
    if product.checked is None:
        lines.append("Nobody has looked at places drawn at random from the map, so its areas are unchecked.")
    return lines


def _checked(product: Product) -> str:
    """The table of areas corrected by a checked sample, or what counting pixels is worth without one."""
    found = product.checked
    if found is None or not found.classes:
        return (
            "<p>Areas are counts of mapped pixels; where the map confuses classes, they are wrong by as much. They come without "
            "an error bar.</p>"
        )
    unit = escape(found.unit)
    head = f"<tr><th></th><th>Class</th><th>On the map, {unit}</th><th>Truly, {unit}</th><th>95 % sure</th><th>Places</th></tr>"
    rows = "".join(
        f"<tr><td></td><td>{escape(one.name)}</td><td>{one.mapped:,.1f}</td><td>{one.area:,.1f}</td><td>{_span(one.interval)}</td>"
        f"<td>{one.places}</td></tr>"
        for one in found.classes
    )
    return (
        "<p>Above are counts of mapped pixels, mistakes included. Corrected by what people saw at places drawn at random, the "
        f"classes cover:</p><table>{head}{rows}</table>"
    )


def _span(interval: tuple[float, float] | None) -> str:
    return "not known" if interval is None else f"{interval[0]:,.1f} to {interval[1]:,.1f}"


def _caveats(product: Product) -> list[str]:
    lines = []
    few = [escape(area.klass.name) for area in product.areas() if area.labels < 5]
    if few:
        lines.append(f"Fewer than five labels: {', '.join(few)}. Treat these classes as sketches.")
    valid = product.confidence[product.confidence <= 100]
    if valid.size:
        low = float(np.mean(valid < 50))
        lines.append(
            f"Of half of its pixels it is at least {int(np.median(valid))} % sure, of {100 * low:.0f} % of them less than half; "
            f"its confidence is {escape(product.confidence_note)}. "
            "Confidence is not accuracy: of what it has never seen, a map may be confidently wrong."
        )
    empty = int(np.count_nonzero(product.classes == 0))
    if empty:
        lines.append(f"{empty:,} pixels ({100 * empty / product.classes.size:.1f} %) have no data.")
    lines.extend(escape(str(text)) for text in product.provenance.details.get("warnings", []))
    return lines


def _provenance(product: Product) -> str:
    p = product.provenance
    facts = {
        "Embeddings": p.dataset,
        "Year": p.year,
        "Source": "simulated (the demo region)" if product.simulated else p.source,
        "Fingerprint of the model (SHA-256)": p.checksum[:16],
        "Classifier": CLASSIFIERS.get(product.head, product.head),
        "Embeddings made with": p.software,
        "Report made with": SOFTWARE,
    }
    rows = "".join(f"<tr><th>{key}</th><td>{escape(str(value))}</td></tr>" for key, value in facts.items() if value)
    return f"<table class='facts'>{rows}</table>"


_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;margin:0;padding:1.5rem}
main{max-width:62rem;margin:auto}
h1{margin:0;font-size:1.7rem}h2{font-size:1.15rem;margin:1.6rem 0 .4rem}
figure{margin:1rem 0}img{width:100%;image-rendering:pixelated;border:1px solid #8886;display:block}
figcaption{font-size:.85rem;opacity:.75;margin-top:.3rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.2rem .8rem .2rem 0;text-align:right;border-bottom:1px solid #8883}
td:nth-child(2),th:nth-child(2),.facts td,.facts th{text-align:left}
.facts td{overflow-wrap:anywhere}
.key{display:inline-block;width:1em;height:1em;border-radius:.2em;vertical-align:-.1em;border:1px solid #8888}
@media print{body{padding:0}}
"""
