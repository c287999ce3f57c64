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
from tessera_core.export.map_layout import source_line
from tessera_core.export.product import SIMULATED, UNCHECKED, Product
from tessera_core.provenance import SOFTWARE

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


def write_report(path: str | Path, product: Product, photo: NDArray[np.uint8] | None = None) -> Path:
    """Write the report card of a map as HTML; nothing in it is loaded from elsewhere.

    Args:
        path: of the file; ``.html`` is added where it has no such ending.
        product: the map.
        photo: uint8 (H, W, 3), a photograph of the region to lay the map over; None for plain colours.

    Raises:
        ExportError: it cannot be written.
    """
    path = Path(path)
    path = path if path.suffix.lower() in (".html", ".htm") else path.with_name(path.name + ".html")
    write_text(path, report_html(product, photo))
    return path


class Line(NamedTuple):
    """A line of a list: a sentence that stands out, if any, and plain text."""

    text: str
    strong: str = ""


def report_html(product: Product, photo: NDArray[np.uint8] | None = None) -> str:
    """The report as HTML text."""
    checked = product.checked
    return render(
        Path(__file__).with_name("report.html.jinja"),
        title=f"{product.name} {product.year}" if product.year else product.name,
        lead=_lead(product),
        simulated=SIMULATED if product.simulated else "",
        picture=_picture(product, photo),
        caption=_caption(product, photo),
        goodness=_goodness(product),
        georeferenced=product.grid.georeferenced,
        areas=product.areas(),
        checked=checked if checked is not None and checked.classes else None,
        caveats=_caveats(product),
        source=source_line(product.provenance),
        colleagues=_colleagues(product),
        facts=_facts(product),
    )


def _lead(product: Product) -> str:
    size = f"{product.grid.height:,} x {product.grid.width:,} pixels"
    if product.grid.georeferenced:
        size = f"{square_kilometres(product.grid):,.1f} km²"
    used = [area for area in product.areas() if area.labels]
    year = f" in {product.year}" if product.year else ""
    return (
        f"A map of {size} in {len(used)} classes. It was learnt from {sum(area.labels for area in used)} labels, places of which "
        f"somebody said what is there, and from what satellites saw of every place{year}."
    )


def _picture(product: Product, photo: NDArray[np.uint8] | None) -> str:
    from tessera_core.export.map_layout import Page, picture_bytes
    from tessera_core.export.pictures import class_layout

    png = picture_bytes(class_layout(product, photo), Page.FIGURE)
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _caption(product: Product, photo: NDArray[np.uint8] | None) -> str:
    over = "" if photo is None else " Its classes lie over a photograph of the region."
    if not product.grid.georeferenced:
        return f"The map. Its place on Earth is not known.{over}"
    west, south, east, north = product.grid.bounds_lonlat
    return f"The map.{over} From {west:.4f}, {south:.4f} to {east:.4f}, {north:.4f} (longitude, latitude)."


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
    sentences = [str(line) for line in score.get("sentences", ()) if line != score.get("gap")]
    if score.get("accuracy") is not None:
        lines += [Line(sentence) for sentence in sentences]
        lines.append(
            Line(
                "That score is of your labels, each left out in turn; labels chosen by hand are no fair draw of the map."
            )
        )
    else:
        lines.append(Line(" ".join(sentences), "This map was not checked against labels held out."))
    if product.checked is None:
        lines.append(Line(UNCHECKED))
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
            f"The map is at least {int(np.median(valid))} % sure of half of its area, and less than half sure of {100 * low:.0f} "
            "% of it. To be sure is not to be right: of what it has never seen, a map may be confidently wrong."
        )
    empty = int(np.count_nonzero(product.classes == 0))
    if empty:
        lines.append(f"{100 * empty / product.classes.size:.1f} % of the region has no data ({empty:,} pixels).")
    lines += (str(text) for text in product.provenance.details.get("warnings", []))
    return [Line(line) for line in lines]


def _colleagues(product: Product) -> list[Line]:
    """What those want to know who make such maps themselves."""
    gap = str(product.score.get("gap", ""))
    lines = [gap] if gap else []
    lines.append(f"The confidence is {product.confidence_note}.")
    return [Line(line) for line in lines]


def _facts(product: Product) -> dict[str, object]:
    p = product.provenance
    height, width = product.grid.shape
    facts = {
        "Embeddings": p.dataset,
        "Year": p.year,
        "Source": "simulated (the demo region)" if product.simulated else p.source,
        "Pixels": f"{height:,} rows, {width:,} columns",
        "Coordinate system": _crs(product),
        "Fingerprint of the model (SHA-256)": p.checksum[:16],
        "Classifier": CLASSIFIERS.get(product.head, product.head),
        "Embeddings made with": p.software,
        "Report made with": SOFTWARE,
    }
    return {key: value for key, value in facts.items() if value}
