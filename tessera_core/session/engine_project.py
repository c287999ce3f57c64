"""One project as another program shows it: its labels as plain geometry, its maps as rasters on disk.

The other program (QGIS) keeps the labels in a layer of its own and sends what changed; the project's log stays the only
truth, so that the app may have the same project open. Pure: knows no transport.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tessera_core.errors import InputError, LabelError, TesseraError
from tessera_core.labels.model import Label, new_id
from tessera_core.project.classify import (
    check_confidence,
    head_choice,
    map_project,
    project_product,
    score_labels,
    shown_temperature,
    unfitted,
)
from tessera_core.project.project import Project
from tessera_core.render import canvas
from tessera_core.session.live_map import LiveMap
from tessera_core.types import Cancel, Progress

if TYPE_CHECKING:
    from tessera_core.raster import EmbeddingRaster
    from tessera_core.session.reading import Reading

MAX_POINTS = 100_000
# A coordinate that moved by less came back from another program's arithmetic, not from a hand.
TOLERANCE = 1e-6
# Pictures of the embeddings by name, as people see them in a list of layers.
PICTURES = {"photo": canvas.PICTURES[canvas.TRUE_COLOUR].title, "pca": canvas.PICTURES[canvas.EMBEDDING].title}


class EngineProject:
    """See the module.

    Args:
        project: open.
        work: folder for the rasters.
    """

    def __init__(self, project: Project, work: Path) -> None:
        self.project, self._work = project, work
        self._lock = threading.Lock()
        self._live: dict[int | None, LiveMap] = {}
        self._written: dict[str, tuple[object, str]] = {}
        self._number = 0

    # ------------------------------------------------------------------------------------------------------- what it is

    def describe(self) -> dict[str, Any]:
        """What a program needs to show the project: name, folder, years, grid, classes, labels, pictures."""
        project = self.project
        project.require_embeddings()
        grid = project.grid
        if grid is None:
            raise InputError(f"The project {project.name!r} has no embeddings yet.")
        years = list(project.embeddings)
        year = project.settings.year if project.settings.year in years else years[-1]
        provenance = project.embeddings[year].provenance
        return {
            "project": project.key,
            "name": project.name,
            "folder": str(project.folder),
            "dataset": provenance.title,
            "years": years,
            "year": year,
            "crs": _wkt(grid.crs),
            "extent": list(grid.bounds),
            "shape": list(grid.shape),
            "head": head_choice(project).name,
            "pictures": [{"kind": kind, "title": PICTURES[kind]} for kind in self._pictures(year)],
            **self.labels(),
        }

    def labels(self) -> dict[str, Any]:
        """Classes and labels as they are now, also after another program changed them."""
        self.project.refresh()
        log = self.project.log
        counts = log.counts
        return {
            "version": log.version,
            "classes": [c.to_json() | {"count": counts[c.id]} for c in log.classes],
            "labels": [told for label in log.labels if (told := _told(label)) is not None],
        }

    def version(self) -> dict[str, Any]:
        """The number of the labels' state; another one than before means that :meth:`labels` has news."""
        self.project.refresh()
        return {"version": self.project.log.version}

    # --------------------------------------------------------------------------------------------------- what is changed

    def edit(self, put: Sequence[Any], remove: Sequence[Any]) -> dict[str, Any]:
        """Take what a person did with the labels: places added or changed, and ids of those that are gone.

        What cannot be done is told under ``refused`` by the id it was sent under, and the rest is done. An id that cannot be
        used again (a shape that became of another kind, a deleted one that came back) gets a new one: ``renamed``.
        """
        log = self.project.log
        refused: list[dict[str, str]] = []
        renamed: dict[str, str] = {}
        with log.batch():
            for known in remove:
                if isinstance(known, str) and log.find_label(known) is not None:
                    log.remove_label(known)
            for told in put:
                id_ = told.get("id") if isinstance(told, Mapping) else None
                try:
                    used = self._put(told)
                except TesseraError as error:
                    refused.append({"id": str(id_)[:64], "message": str(error)})
                else:
                    if used != id_:
                        renamed[str(id_)] = used
        return {"version": log.version, "refused": refused, "renamed": renamed, "counts": self._counts()}

    def _put(self, told: Any) -> str:
        log, sent = self.project.log, _sent(told)
        known = log.find_label(sent.id)
        if known is None:
            free = new_id() if log.is_taken(sent.id) else sent.id
            return log.add(sent.kind, sent.class_id, sent.xy, note=sent.note, holes=sent.holes, id=free).id
        changes: dict[str, Any] = {}
        if sent.class_id != known.class_id:
            changes["class_id"] = sent.class_id
        if sent.note != known.note:
            changes["note"] = sent.note
        if not _same_place(sent, known):
            if known.kind == sent.kind == "point":
                changes["xy"] = sent.xy
            elif known.kind == sent.kind == "polygon":
                changes |= {"xy": sent.xy, "holes": sent.holes}
            elif known.kind == "rectangle" and sent.kind == "polygon" and len(sent.xy) == 4 and not sent.holes:
                changes["xy"] = sent.xy
            else:
                # A stroke that was reshaped is an area from now on, and takes its turn as a new label.
                log.remove_label(known.id)
                return log.add(
                    sent.kind, sent.class_id, sent.xy, note=sent.note, holes=sent.holes, origin=known.origin
                ).id
        if changes:
            log.edit_label(known.id, **changes)
        return known.id

    def add_class(self, name: str, color: str | None) -> dict[str, Any]:
        """A new class; see :meth:`tessera_core.labels.log.LabelLog.add_class`."""
        return self.project.log.add_class(name, color).to_json() | {"version": self.project.log.version}

    def edit_class(self, class_id: int, name: str | None, color: str | None) -> dict[str, Any]:
        """Rename or recolour a class."""
        return self.project.log.edit_class(class_id, name=name, color=color).to_json()

    def remove_class(self, class_id: int) -> dict[str, Any]:
        """Delete a class with its labels."""
        self.project.log.remove_class(class_id)
        return self.labels()

    def set_head(self, name: str) -> dict[str, Any]:
        """Choose the head that makes the map."""
        unfitted(name)
        self.project.update(head=name)
        return {"head": head_choice(self.project).name}

    def add_file(self, path: str, field: str | None, layer: str | None) -> dict[str, Any]:
        """Take the labels of a file in, as one step; returns how many, what became of each, and the labels as they are."""
        from tessera_core.labels.features import Hints
        from tessera_core.project.label_files import read_for

        found = read_for(self.project, path, field, hints=Hints(layer=layer))
        count = self.project.log.import_labels(found.classes, found.labels)
        return {"added": count, "report": found.report.to_json(), **self.labels()}

    # ------------------------------------------------------------------------------------------------------- what is shown

    def map(self, year: int | None, confidence: bool) -> dict[str, Any]:
        """The class map of the labels as they are now, as a raster; without one, ``hint`` says what to do next."""
        live, log = self._live_map(year), self.project.log
        reading = live.reading(log, head_choice(self.project))
        counts = log.counts
        told: dict[str, Any] = {
            "version": reading.version,
            "hint": reading.hint,
            "preview": reading.preview,
            "unit": live.unit,
            "path": None,
            "confidence_path": None,
            "classes": [c.to_json() | {"count": counts[c.id], "area": self._area(reading, c.id)} for c in log.classes],
        }
        if reading.map is not None:
            told |= self._rasters(live, reading, year, confidence)
        return told

    def _area(self, reading: Reading, class_id: int) -> float | None:
        if reading.map is None:
            return None
        area = reading.areas[class_id]
        return round(float(area.pixels if area.hectares is None else area.hectares), 4)

    def _rasters(self, live: LiveMap, reading: Reading, year: int | None, confidence: bool) -> dict[str, str]:
        from tessera_core.export.layer_raster import write_class_layer, write_percent_layer

        made, grid, classes = reading.map, live.raster.grid, self.project.log.classes
        assert made is not None
        colours = tuple((c.id, c.color) for c in classes)
        found = {
            "path": self._file(
                f"map-{year}", (reading, colours), lambda path: write_class_layer(path, made.classes, grid, classes)
            )
        }
        if confidence:
            found["confidence_path"] = self._file(
                f"confidence-{year}", reading, lambda path: write_percent_layer(path, made.confidence, grid)
            )
        return found

    def picture(self, year: int | None, kind: str) -> dict[str, Any]:
        """A picture of the embeddings, or the photograph beside them, as a raster."""
        from tessera_core.export.layer_raster import write_picture_layer
        from tessera_core.render.canvas import photograph
        from tessera_core.render.picture import pca_picture

        if kind not in self._pictures(year):
            raise InputError(f"There is no picture {kind!r} of {year or 'this project'}.")
        raster = self._raster(year)
        ref = self.project.embeddings[year]
        picture = photograph(ref.path, ref.dpixels, raster.shape) if kind == "photo" else pca_picture(raster)
        assert picture is not None
        path = self._file(
            f"{kind}-{year}", raster, lambda path: write_picture_layer(path, picture, raster.valid(), raster.grid)
        )
        return {"path": path, "title": PICTURES[kind]}

    def score(self, year: int | None, cancelled: Cancel) -> dict[str, Any]:
        """How often the map is right at places held out, with its interval; the map's confidence is mended by it."""
        live, log, head = self._live_map(year), self.project.log, head_choice(self.project)
        version = log.version
        found = score_labels(log.labels, log.classes, live.raster, head, cancelled=cancelled)
        temperature = shown_temperature(unfitted(head), check_confidence(found))
        live.set_temperature(head, temperature)
        return found.to_json() | {"version": version, "temperature": temperature}

    def finish(self, year: int | None, progress: Progress, cancelled: Cancel) -> dict[str, Any]:
        """Make the map of a head that is too slow to follow every label; :meth:`map` shows it from then on."""
        made = map_project(self.project, self._raster(year), year, cancelled, progress)
        self._live_map(year).accept(made.version, head_choice(self.project), made.map)
        return {"version": made.version}

    # ------------------------------------------------------------------------------------------------------- what is kept

    def save(self, path: Path, year: int | None, progress: Progress, cancelled: Cancel) -> dict[str, Any]:
        """Write the project for others: ``.tessera``, ``.tesserapack``, a map ``.tif``, or a zip for QGIS, by the ending."""
        ending = path.suffix.lower()
        if ending == ".tessera":
            return {"files": [str(self.project.export_file(path))]}
        if ending == ".tesserapack":
            from tessera_core.project.pack import make_pack

            return {"files": [str(make_pack([self.project], path, progress=progress, cancelled=cancelled))]}
        if ending not in (".tif", ".tiff", ".zip"):
            raise InputError(
                f"{path.name} should end in .tessera, .tesserapack, .tif or .zip, which says what to write."
            )
        raster = self._raster(year)
        made = map_project(self.project, raster, year, cancelled, progress)
        product = project_product(self.project, raster, made, cancelled=cancelled)
        if ending == ".zip":
            from tessera_core.export.archive import write_qgis

            return {"files": [str(write_qgis(path, product))]}
        from tessera_core.export.geotiff import write_class_map

        map_ = made.map
        written = write_class_map(
            path,
            map_.classes,
            map_.confidence,
            raster.grid,
            self.project.log.classes,
            raster.provenance,
            temperature=made.head.applied_temperature_,
        )
        return {"files": [str(written), str(written.with_name(f"{written.stem}_confidence.tif"))]}

    # ------------------------------------------------------------------------------------------------------------- helpers

    def _pictures(self, year: int | None) -> list[str]:
        from tessera_core.render.canvas import has_photograph

        ref = self.project.embeddings.get(year)
        return ["photo", "pca"] if ref is not None and has_photograph(ref.path, ref.dpixels) else ["pca"]

    def _counts(self) -> dict[str, int]:
        return {str(class_id): count for class_id, count in self.project.log.counts.items()}

    def _raster(self, year: int | None) -> EmbeddingRaster:
        return self._live_map(year).raster

    def _live_map(self, year: int | None) -> LiveMap:
        """The year's live map, made when it is first needed.

        Raises:
            ProjectError: the project has no embeddings of the year.
        """
        from tessera_core.heads import Scene
        from tessera_core.render.display import DisplayGrid
        from tessera_core.sources.local.open import open_embeddings

        with self._lock:
            live = self._live.get(year)
            if live is None:
                raster = open_embeddings(self.project.embeddings_path(year), year=year)
                scene = Scene(raster)
                key = f"{self.project.key}@{year}"
                # What is drawn elsewhere needs no table of display pixels of any size.
                display = DisplayGrid(raster.grid, max_pixels=4096)
                title = raster.provenance.title
                live = LiveMap(key, self.project.key, raster, lambda: scene, display, self.project.name, title)
                self._live[year] = live
            return live

    def _file(self, name: str, source: object, write: Any) -> str:
        """The path of a raster of ``source``, written once for each; the one before is taken away.

        Its name is new each time: a program that still shows the old one reads it to its end.
        """
        with self._lock:
            known = self._written.get(name)
            if known is not None and known[0] == source:
                return known[1]
            self._number += 1
            path = write(self._work / f"{self.project.key[:8]}-{name}-{self._number}.tif")
            self._written[name] = (source, str(path))
        if known is not None:
            _take_away(known[1])
        return str(path)


def _take_away(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        # Windows keeps a file that a program still reads; the folder is taken away as a whole at the end.
        return


def _wkt(crs: str | None) -> str:
    if crs is None:
        return ""
    from pyproj import CRS

    return str(CRS.from_user_input(crs).to_wkt("WKT1_GDAL"))


def _told(label: Label) -> dict[str, Any] | None:
    """A label as another program draws it, strokes as the area they cover; None for what takes labels away."""
    if label.kind == "erase":
        return None
    told: dict[str, Any] = {"id": label.id, "class": label.class_id, "note": label.note}
    if label.kind == "point":
        return told | {"kind": "point", "rings": [[list(label.xy[0])]]}
    rings = _stroke(label) if label.kind == "brush" else label.rings
    return told | {"kind": "polygon", "rings": [[list(place) for place in ring] for ring in rings]}


def _stroke(label: Label) -> list[list[tuple[float, float]]]:
    import shapely

    line = shapely.LineString(label.xy) if len(label.xy) > 1 else shapely.Point(label.xy[0])
    area = line.buffer(max(label.radius, TOLERANCE))
    return [list(ring.coords)[:-1] for ring in (area.exterior, *area.interiors)]


def _sent(told: Any) -> Label:
    """What another program drew.

    Raises:
        LabelError: it is not of the form that :func:`_told` gives.
    """
    if not isinstance(told, Mapping) or not isinstance(told.get("id"), str):
        raise LabelError("A label came without an id and was left out.")
    if type(told.get("class")) is not int:
        raise LabelError("Choose a class for this place first.")
    rings, kind = told.get("rings"), told.get("kind")
    if kind not in ("point", "polygon") or not isinstance(rings, list) or not rings:
        raise LabelError("A label must be a point or a polygon; it was left out.")
    if not all(isinstance(ring, list) for ring in rings) or sum(map(len, rings)) > MAX_POINTS:
        raise LabelError("A shape has no usable corners, or too many; it was left out.")
    note = told.get("note")
    label = Label(told["id"], told["class"], kind, rings[0], 0.0, note if isinstance(note, str) else "")
    return replace(label, holes=tuple(rings[1:])) if kind == "polygon" and len(rings) > 1 else label


def _same_place(sent: Label, known: Label) -> bool:
    told = _told(known)
    assert told is not None
    if told["kind"] != sent.kind or len(told["rings"]) != len(sent.rings):
        return False
    return all(_same_ring(ours, theirs) for ours, theirs in zip(told["rings"], sent.rings, strict=True))


def _same_ring(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> bool:
    if len(ours) != len(theirs):
        return False
    return all(abs(x - u) <= TOLERANCE and abs(y - v) <= TOLERANCE for (x, y), (u, v) in zip(ours, theirs, strict=True))
