"""The report: one HTML file, complete in itself, that shows the map and says how far it can be trusted."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core.atomic import write_text
from tessera_core.export.product import ClassArea, Product
from tessera_core.provenance import SOFTWARE

_MAX_SIDE = 1200


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
        f"<header><h1>{title}</h1><p>{_lead(product)}</p></header>\n"
        f"<figure><img alt='Class map' src='{_picture(product)}'>"
        f"<figcaption>{_caption(product)}</figcaption></figure>\n"
        f"<section><h2>Classes</h2>{_table(product)}</section>\n"
        f"<section><h2>How far to trust it</h2><ul>{''.join(f'<li>{line}</li>' for line in _caveats(product))}</ul></section>\n"
        f"<section><h2>Where it comes from</h2>{_provenance(product)}</section>\n"
        "</main></body></html>\n"
    )


def _lead(product: Product) -> str:
    height, width = product.grid.shape
    size = f"{height:,} x {width:,} pixels"
    if product.grid.georeferenced:
        size = f"{height * width * product.grid.pixel_area_m2 / 1e6:,.1f} km² ({size})"
    used = [area for area in product.areas() if area.labels]
    return (
        f"A map of {size} in {len(used)} classes, learnt from {sum(area.labels for area in used)} labels "
        f"on satellite embeddings ({escape(product.provenance.dataset)})."
    )


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
    return f"From {west:.4f}, {south:.4f} to {east:.4f}, {north:.4f} (longitude, latitude); {escape(_crs(product))}."


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


def _caveats(product: Product) -> list[str]:
    lines = []
    score = product.score
    if score:
        how = {"blocked": "whole blocks of ground", "field": "whole labels"}.get(
            str(score.get("split")), "random pixels"
        )
        lines.append(
            f"With {how} held out, the head gets {100 * score['accuracy']:.0f} % of {score.get('n_test', 0):,} labelled "
            f"pixels right (macro-F1 {score['macro_f1']:.3f}). This tells how well it repeats your labels elsewhere; labels "
            "chosen by hand are no random sample of the map."
        )
        lines.extend(escape(str(note)) for note in score.get("notes", []))
        naive = score.get("naive") or {}
        if naive.get("macro_f1", 0) > score["macro_f1"] + 0.005:
            lines.append(
                f"Tested on random pixels next to those it learnt from, the macro-F1 would read {naive['macro_f1']:.3f}; "
                "neighbours resemble each other, so believe the figure above."
            )
    else:
        lines.append("<strong>This map was not checked against independent reference data.</strong>")
    lines.append(
        "Areas are counts of mapped pixels; where the map confuses classes, they are biased. They are no estimate with error bars."
    )
    few = [escape(area.klass.name) for area in product.areas() if area.labels < 5]
    if few:
        lines.append(f"Fewer than five labels: {', '.join(few)}. Treat these classes as sketches.")
    valid = product.confidence[product.confidence <= 100]
    if valid.size:
        low = float(np.mean(valid < 50))
        lines.append(
            f"Its confidence has a median of {int(np.median(valid))} % and is below 50 % on {100 * low:.0f} % of the map; "
            f"it is {escape(product.confidence_note)}. "
            "Confidence is not accuracy: of what it has never seen, a head may be confidently wrong."
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
        "Source": p.source,
        "Checksum": p.checksum[:16],
        "Head": product.head,
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
