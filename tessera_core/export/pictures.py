"""Maps laid out as pictures: a map of classes, of a number, of change, and two years of classes beside each other.

What is drawn and how is the matter of :mod:`tessera_core.export.map_layout`; here maps are put into its words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tessera_core.areas import square_kilometres
from tessera_core.export.map_layout import ColourBar, Key, MapLayout, Panel, over, source_line, thinned
from tessera_core.export.product import SIMULATED, Product
from tessera_core.export.values import RegressionProduct
from tessera_core.grid import Grid
from tessera_core.labels.model import LabelClass
from tessera_core.language import later, numeral, percentage, relay, t
from tessera_core.provenance import Provenance
from tessera_core.render.colormap import NO_VALUE, colormap

CHANGED = "#d62728"
_NOT_MAPPED = "#808080"
_TOO_WEAK = later("The numbers on this map mean nothing: it does no better than the mean of the plots everywhere.")


def class_layout(product: Product, photo: NDArray[np.uint8] | None = None) -> MapLayout:
    """A map of classes over a photograph of the region.

    Args:
        photo: uint8 (H, W, 3) on the map's grid; None for plain colours.
    """
    areas = product.areas()
    colours = {area.klass.id: area.klass.color for area in areas}
    colours |= {int(k): _NOT_MAPPED for k in np.unique(product.classes) if k and int(k) not in colours}
    picture, shown = _painted(product.classes, colours, photo)
    keys = tuple(Key(shown[area.klass.id], area.klass.name, _share(area.share)) for area in areas if area.pixels)
    return MapLayout(
        product.name,
        _subtitle(t("Map of classes"), product.year, product.grid),
        (Panel(picture),),
        product.grid,
        keys,
        legend=t("Share of the map"),
        sentences=product.trust,
        source=source_line(product.provenance),
        warning=SIMULATED if product.simulated else "",
    )


def value_layout(product: RegressionProduct) -> MapLayout:
    """A map of a number in the colours that the screen shows; grey where it is no better than a guess."""
    (values,) = thinned(product.values)
    scale = product.scale
    index = scale.index(values)
    table = np.full((256, 3), 255, np.uint8)
    colours = "none" if product.useless else "amount"
    table[NO_VALUE + 1 : NO_VALUE + 1 + len(colormap(colours))] = colormap(colours)
    return MapLayout(
        product.name,
        _subtitle(product.title, product.provenance.year, product.grid),
        (Panel(table[index]),),
        product.grid,
        bar=ColourBar(product.title, scale, product.unit, colours),
        sentences=tuple(product.facts),
        source=source_line(product.provenance),
        warning=" ".join([t(_TOO_WEAK)] * product.useless + [relay(SIMULATED)] * product.simulated),
    )


def change_layout(
    name: str,
    years: tuple[int, int],
    changed: NDArray[np.bool_],
    photos: Sequence[NDArray[np.uint8]],
    grid: Grid,
    provenance: Provenance,
    sentences: Sequence[str],
) -> MapLayout:
    """Two years beside each other, and what changed on the later one.

    Args:
        name: of the project.
        years: the earlier and the later.
        changed: bool (H, W).
        photos: uint8 (H, W, 3) of both years.
        grid: of all.
        provenance: of the later year.
        sentences: what is to be said, the amount of change first.
    """
    mask, before, after = thinned(changed, *photos)
    marked = after.copy()
    marked[mask] = (0.25 * after[mask] + 0.75 * np.array([214, 39, 40])).astype(np.uint8)
    return MapLayout(
        name,
        _subtitle(t("What changed from {years} to {years2}", years=years[0], years2=years[1]), None, grid),
        (Panel(before, str(years[0])), Panel(marked, t("{years}, changed ground in red", years=years[1]))),
        grid,
        (Key(CHANGED, t("Changed")),),
        sentences=tuple(sentences),
        source=source_line(provenance),
        warning=SIMULATED if provenance.simulated else "",
    )


def years_layout(
    name: str,
    maps: Mapping[int, NDArray[np.uint8]],
    classes: Sequence[LabelClass],
    grid: Grid,
    provenance: Provenance,
    sentences: Sequence[str] = (),
) -> MapLayout:
    """Maps of classes of the first and the last of several years beside each other."""
    first, last = min(maps), max(maps)
    colours = {c.id: c.color for c in classes}
    there = np.union1d(np.unique(maps[first]), np.unique(maps[last]))
    pictures = [_painted(maps[year], colours, None)[0] for year in (first, last)]
    return MapLayout(
        name,
        _subtitle(t("Classes in {first} and {last}", first=first, last=last), None, grid),
        tuple(Panel(picture, str(year)) for picture, year in zip(pictures, (first, last), strict=True)),
        grid,
        tuple(Key(c.color, c.name) for c in classes if c.id in there),
        sentences=tuple(sentences),
        source=source_line(provenance),
        warning=SIMULATED if provenance.simulated else "",
    )


def _painted(
    classes: NDArray[np.uint8], colours: Mapping[int, str], photo: NDArray[np.uint8] | None
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    small, *photos = thinned(classes) if photo is None else thinned(classes, photo)
    return over(photos[0] if photos else None, small, colours)


def _subtitle(what: str, year: int | None, grid: Grid) -> str:
    parts = [what, "" if year is None else str(year)]
    if grid.georeferenced:
        middle = grid.pixel_to_lonlat(grid.height / 2, grid.width / 2)
        lon, lat = float(middle[0]), float(middle[1])
        where = f"{abs(lat):.2f}° {'S' if lat < 0 else 'N'}, {abs(lon):.2f}° {'W' if lon < 0 else 'E'}"
        parts += [t("{square_kilometres} km²", square_kilometres=numeral(square_kilometres(grid), ",.1f")), where]
    return " · ".join(part for part in parts if part)


def _share(share: float) -> str:
    return f"{percentage(share, 1)} %"
