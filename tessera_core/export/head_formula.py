"""A linear head as a formula in the language of another program: Earth Engine's JavaScript, QGIS's raster calculator."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tessera_core._utils.atomic import write_text
from tessera_core.errors import InputError
from tessera_core.export.onnx import write_onnx
from tessera_core.heads.portable import PortableHead
from tessera_core.periods import calendar_year
from tessera_core.provenance import SOFTWARE

# What the ending of a file says of its form.
ENDINGS = (".json", ".onnx", ".js", ".txt")
EARTH_ENGINE_COLLECTION = "GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL"
EARTH_ENGINE_DIM = 64
LAYER = "embeddings"


def write_head(path: str | Path, head: PortableHead) -> Path:
    """Write a head for another program; the ending says which.

    ``.json`` any program (:mod:`tessera_core.heads.portable`), ``.onnx`` an ONNX runtime, ``.js`` Earth Engine, ``.txt`` QGIS's
    raster calculator.

    Raises:
        InputError: there is no such form, or the head is not of a kind that it can hold.
        ExportError: the file cannot be written.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending == ".json":
        return head.write(path)
    if ending == ".onnx":
        return write_onnx(path, head)
    if ending not in ENDINGS:
        raise InputError(
            f"{path.name} should end in .json, .onnx, .js (Earth Engine) or .txt (QGIS's raster calculator)."
        )
    write_text(path, earth_engine(head) if ending == ".js" else raster_calculator(head))
    return path


def earth_engine(head: PortableHead) -> str:
    """JavaScript for Earth Engine's code editor that maps the published AlphaEarth embeddings with the head.

    Raises:
        InputError: the head is not linear, or of other embeddings.
    """
    if head.provenance.model != "alphaearth" or head.dim != EARTH_ENGINE_DIM:
        raise InputError(
            f"Earth Engine has the embeddings of AlphaEarth; this head was taught by those of {head.provenance.title}, which are "
            "not there. Take it along as JSON or ONNX."
        )
    weight, bias = _linear(head, "Earth Engine")
    bands = [f"A{band:02d}" for band in range(head.dim)]
    classes = [{"id": c.id, "name": c.name, "color": c.color.lstrip("#") or "808080"} for c in head.classes]
    year = calendar_year(head.provenance.year or 2024)
    rows = ",\n  ".join(f"{{bias: {b}, weights: {json.dumps(w)}}}" for w, b in zip(weight, bias, strict=True))
    return f"""// A map of classes from AlphaEarth's embeddings. {_comment(head, "//")}
// Paste this into Earth Engine's code editor; draw a region of interest there, or set it below.
var classes = {json.dumps(classes, ensure_ascii=True)};
var bands = {json.dumps(bands)};
var formulas = [
  {rows}
];

// The image of one year -> class (ids as above) and confidence (percent).
function classify(image) {{
  var embedding = image.select(bands);
  var scores = ee.Image.cat(formulas.map(function (formula) {{
    return embedding.multiply(ee.Image.constant(formula.weights)).reduce(ee.Reducer.sum()).add(formula.bias);
  }}));
  var top = scores.reduce(ee.Reducer.max());
  var odds = scores.subtract(top).exp();
  var confidence = ee.Image.constant(100).divide(odds.reduce(ee.Reducer.sum())).rename('confidence');
  var best = scores.toArray().arrayArgmax().arrayGet([0]);
  var ids = classes.map(function (one) {{ return one.id; }});
  var index = ids.map(function (id, place) {{ return place; }});
  return best.remap(index, ids).rename('class').addBands(confidence);
}}

var year = {year};
var region = Map.getBounds(true);
var image = ee.ImageCollection('{EARTH_ENGINE_COLLECTION}')
  .filterDate(year + '-01-01', (year + 1) + '-01-01').filterBounds(region).mosaic();
var map = classify(image);
Map.addLayer(map.select('class').remap(
  classes.map(function (one) {{ return one.id; }}), classes.map(function (one, place) {{ return place; }})),
  {{min: 0, max: classes.length - 1, palette: classes.map(function (one) {{ return one.color; }})}}, 'Classes');
Map.addLayer(map.select('confidence'), {{min: 0, max: 100}}, 'Confidence, percent', false);
"""


def raster_calculator(head: PortableHead, layer: str = LAYER) -> str:
    """An expression for QGIS's raster calculator that maps a raster of embeddings (a band a dimension) with a head of two classes.

    The first line that is no remark is the map of classes, the second the confidence in percent.

    Args:
        head: linear, of two classes.
        layer: name of the raster of embeddings in QGIS.

    Raises:
        InputError: the head is not linear, has other than two classes, or the name cannot be written in an expression.
    """
    weight, bias = _linear(head, "QGIS's raster calculator")
    if len(head.classes) != 2:
        raise InputError(
            f"QGIS's raster calculator holds a head of two classes, this one has {len(head.classes)}. Take it along as JSON or "
            "ONNX, or use the QGIS plugin."
        )
    if '"' in layer or "@" in layer or not layer.strip():
        raise InputError(
            f"{layer!r} cannot be the name of a layer in an expression; it has a quotation mark or @ in it."
        )
    # Of two classes only how far one lies above the other counts.
    steps = [
        f'"{layer}@{band}" * {_plain(second - first)}'
        for band, (first, second) in enumerate(zip(*weight, strict=True), 1)
    ]
    above = f"({' + '.join(steps)} + {_plain(bias[1] - bias[0])})"
    first, second = head.classes
    return "\n".join(
        (
            f"# {_comment(head, '#')}",
            f"# Open a raster of the embeddings, one band a dimension, and call the layer {layer}. Then paste one of these lines.",
            f"# Classes: {first.id} {first.name}, {second.id} {second.name}.",
            f"{first.id} + {second.id - first.id} * ({above} > 0)",
            "# Confidence in percent.",
            f"100 / (1 + 2.718281828459045 ^ (0 - abs({above})))",
            "",
        )
    )


def _linear(head: PortableHead, program: str) -> tuple[list[list[float]], list[float]]:
    if head.linear is None:
        raise InputError(
            f"A neural network is too long a formula for {program}. Take class means, ridge or logistic regression, or take "
            "it along as JSON or ONNX."
        )
    weight, bias = head.linear
    rows = [[float(f"{value:.9g}") for value in row] for row in weight.tolist()]
    return rows, [float(f"{value:.9g}") for value in bias.tolist()]


def _plain(value: float) -> str:
    """A number of nine digits without an exponent, which not every calculator reads."""
    return np.format_float_positional(float(f"{value:.9g}"), trim="0")


def _comment(head: PortableHead, mark: str) -> str:
    """What taught the head, on lines that begin with a mark."""
    names = ", ".join(" ".join(c.name.split()) for c in head.classes)
    lines = [f"Classes: {names}.", f"For {head.provenance.dataset} only; written by {SOFTWARE}."]
    lines += [str(sentence) for sentence in head.card.get("score", {}).get("sentences", [])[:1]]
    return f"\n{mark} ".join(" ".join(line.split()) for line in lines)
