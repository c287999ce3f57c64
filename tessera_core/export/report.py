"""The report: one HTML file, complete in itself, that shows the map and says how far it can be trusted."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import write_text
from tessera_core._utils.templates import render
from tessera_core.areas import square_kilometres
from tessera_core.export.product import Product
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


class Line(NamedTuple):
    """A line of a list: a sentence that stands out, if any, and plain text."""

    text: str
    strong: str = ""


def report_html(product: Product) -> str:
    """The report as HTML text."""
    checked = product.checked
    return render(
        Path(__file__).with_name("report.html.jinja"),
        title=f"{product.name} {product.year}" if product.year else product.name,
        lead=_lead(product),
        simulated=product.simulated,
        picture=_picture(product),
        caption=_caption(product),
        goodness=_goodness(product),
        georeferenced=product.grid.georeferenced,
        areas=product.areas(),
        checked=checked if checked is not None and checked.classes else None,
        caveats=_caveats(product),
        facts=_facts(product),
    )


def _lead(product: Product) -> str:
    height, width = product.grid.shape
    size = f"{height:,} x {width:,} pixels"
    if product.grid.georeferenced:
        size = f"{square_kilometres(product.grid):,.1f} km² ({size})"
    used = [area for area in product.areas() if area.labels]
    return (
        f"A map of {size} in {len(used)} classes, learnt from {sum(area.labels for area in used)} labels. What the satellites saw "
        f"of each pixel in the course of the year was summed up in numbers (embeddings: {product.provenance.dataset}); a "
        "classifier learnt from the labels which numbers go with which class."
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
    across = product.grid.width * product.grid.pixel_area_m2**0.5
    wide = f"{across / 1000:,.1f} km" if across >= 1000 else f"{across:,.0f} m"
    turn = product.grid.transform
    up = ", north is up" if turn.b == turn.d == 0 and turn.e < 0 else ""
    return (
        f"{wide} across{up}. From {west:.4f}, {south:.4f} to {east:.4f}, {north:.4f} (longitude, latitude); "
        f"{_crs(product)}."
    )


def _crs(product: Product) -> str:
    crs = product.grid.crs or ""
    if len(crs) < 20:
        return crs
    from pyproj import CRS

    return str(CRS.from_user_input(crs).name)


def _goodness(product: Product) -> list[Line]:
    """The score that the page shows, in its words, and what a checked sample says."""
    lines = []
    if product.checked is not None:
        lines.append(Line("", product.checked.sentence))
        lines += [Line(note) for note in product.checked.notes]
    score = product.score
    sentences = [str(line) for line in score.get("sentences", ())]
    if score.get("accuracy") is not None:
        lines += [Line(sentence) for sentence in sentences]
        lines.append(
            Line(
                "This tells how well the map repeats your labels elsewhere; labels chosen by hand are no random sample of it."
            )
        )
    else:
        lines.append(Line(" ".join(sentences), "This map was not checked against labels held out."))
    if product.checked is None:
        lines.append(Line("Nobody has looked at places drawn at random from the map, so its areas are unchecked."))
    return lines


def _caveats(product: Product) -> list[Line]:
    lines: list[str] = []
    few = [area.klass.name for area in product.areas() if area.labels < 5]
    if few:
        lines.append(f"Fewer than five labels: {', '.join(few)}. Treat these classes as sketches.")
    valid = product.confidence[product.confidence <= 100]
    if valid.size:
        low = float(np.mean(valid < 50))
        lines.append(
            f"Of half of its pixels it is at least {int(np.median(valid))} % sure, of {100 * low:.0f} % of them less than half; "
            f"its confidence is {product.confidence_note}. "
            "Confidence is not accuracy: of what it has never seen, a map may be confidently wrong."
        )
    empty = int(np.count_nonzero(product.classes == 0))
    if empty:
        lines.append(f"{empty:,} pixels ({100 * empty / product.classes.size:.1f} %) have no data.")
    lines += (str(text) for text in product.provenance.details.get("warnings", []))
    return [Line(line) for line in lines]


def _facts(product: Product) -> dict[str, object]:
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
    return {key: value for key, value in facts.items() if value}
