"""Say in plain words what a tile, raster, checkpoint, head, label file or project is."""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tessera_core._utils.partial import Failure, left_out_lines
from tessera_core._utils.percents import percent
from tessera_core.areas import square_kilometres
from tessera_core.cli.paths import matching
from tessera_core.errors import InputError
from tessera_core.grid import Grid
from tessera_core.sources.remote.hemispheres import unpinned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tessera_core.observations import Depth
    from tessera_core.provenance import Provenance
    from tessera_core.sources.local.reader import Piece
    from tessera_core.sources.remote.zarr_store import Store

EXAMPLES = ("tessera info embeddings/2023", "tessera info map.tif head.safetensors project.tessera --json")
SUMMARY = "say what a tile, raster, checkpoint, head or project is"

Item = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", help="files, folders, URLs of stores, or names of checkpoints"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Look at every path; returns ``{"items": [...], "failed": [...]}``, one or more items a path, each thing once.

    Raises:
        InputError: not one of the paths is known.
    """
    items: dict[tuple[Any, ...], Item] = {}
    failed: dict[str, dict[str, str]] = {}
    for path in dict.fromkeys(path for text in args.paths for path in matching(text)):
        try:
            found = describe(path)
        except InputError as error:
            failed[path] = Failure(path, str(error)).to_json()
            continue
        for item in found:
            where = item["path"] if "://" in item["path"] else Path(item["path"]).resolve()
            for failure in item.pop("failed", []):
                failed.setdefault(failure["what"], failure)
            items.setdefault((where, item["kind"], item.get("year"), item.get("zone")), item)
    if failed and not items:
        raise InputError("\n".join(failure["why"] for failure in failed.values()))
    from tessera_core.sources.local.npy import DEPRECATED, is_published_tile

    # Once for all tiles.
    notes = [DEPRECATED] if any(is_published_tile(item["path"]) for item in items.values()) else []
    return {"items": list(items.values()), "failed": list(failed.values()), "notes": notes}


def report(result: dict[str, Any]) -> str:
    """The sentences of all items, and of what is not known."""
    known = [f"{item['path']}\n  " + "\n  ".join(item["text"]) for item in result["items"]]
    return "\n\n".join([*known, *left_out_lines(result), *result["notes"]])


def describe(name: str) -> list[Item]:
    """What lies at a path (or is a checkpoint of that name).

    Raises:
        InputError: nothing there is known, or it is damaged.
    """
    if "://" in name or unpinned(name.rstrip("/"))[0].endswith(".icechunk"):
        return [_web_store(name)]
    path = Path(name)
    if not path.exists():
        from tessera_core.models import zoo

        if name in zoo.names():
            return [_checkpoint_name(name)]
        raise InputError(f"{name} does not exist, and no checkpoint has that name; check the spelling.")
    return _folder(path) if path.is_dir() else [_file(path)]


# ------------------------------------------------------------------ folders


def _folder(path: Path) -> list[Item]:
    from tessera_core.dpixels.tile import find_tiles
    from tessera_core.errors import TileError
    from tessera_core.project.map_notes import find_notes, holds_maps
    from tessera_core.project.project import Project
    from tessera_core.sources.local.open import find_pieces

    if Project.is_project(path):
        return [_project(Project.open(path), path)]
    items: list[Item] = []
    try:
        tiles = find_tiles(path)
    except TileError:
        tiles = []
    if tiles == [path]:
        return [_tile(path)]
    damaged: list[Failure] = []
    for folder in tiles:
        try:
            items.append(_tile(folder))
        except InputError as error:
            damaged.append(Failure(str(folder), str(error)))
    pieces, unreadable = find_pieces(path)
    damaged += unreadable
    for piece in pieces:
        try:
            items.append(_piece(piece))
        except InputError as error:
            damaged.append(Failure(str(piece.path), str(error)))
    maps: set[str] = set()
    if not items and holds_maps(path):
        try:
            items.append(_map_folder(path))
            maps = {note.stem for note in find_notes(path)}
        except InputError as error:
            # Its files are listed one by one.
            damaged.append(Failure(str(path), str(error)))
    known = {Path(item["path"]).resolve() for item in items}
    for file in sorted(path.iterdir()):
        if file.suffix == ".tif" and maps & {file.stem, file.stem.rpartition("_")[0]}:
            continue
        kind = _KINDS.get(file.suffix.lower())
        if (
            not file.is_file()
            or kind is None
            or file.resolve() in known
            or file.suffix.lower() in (".npy", ".json", ".zip")
        ):
            continue
        try:
            items.append(kind(file))
        except InputError as error:
            # A table need not be labels; anything else of these kinds should have been readable.
            if file.suffix.lower() != ".csv":
                damaged.append(Failure(str(file), str(error)))
    if not items and damaged:
        raise InputError(damaged[0].why)
    if not items:
        raise InputError(
            f"Nothing in {path} can be read: no project, time series (d-pixel) tile, embeddings, checkpoint or head was found."
        )
    for failure in dict.fromkeys(damaged):
        items[-1].setdefault("failed", []).append(failure.to_json())
    return items


def _map_folder(path: Path) -> Item:
    """Maps that were made tile by tile, as one: not a thousand items."""
    from tessera_core.project.map_folders import open_maps

    maps = open_maps(path)
    names = {c.id: c.name for c in maps.legend}
    areas = maps.areas()
    return {
        "path": str(path),
        "kind": "map-folder",
        "tiles": len(maps.tiles),
        "systems": maps.systems,
        "classes": [
            {"id": i, "name": names[i], "pixels": area.pixels, "share": area.share, "hectares": area.hectares}
            for i, area in areas.items()
            if i
        ],
        "no_data": areas[0].pixels if 0 in areas else 0,
        "text": maps.sentences(),
        "failed": [failure.to_json() for failure in maps.failed],
    }


# -------------------------------------------------------------------- files


def _file(path: Path) -> Item:
    kind = _KINDS.get(path.suffix.lower())
    if path.name == "project.json":
        from tessera_core.project.project import Project

        return _project(Project.open(path), path)
    if path.name == "raster.json":
        from tessera_core.sources.local.saved import SavedPiece

        return _piece(SavedPiece(path.parent))
    kind = _kind_by_content(path) or kind
    if kind is None and (piece := _of_another_format(path)) is not None:
        return _piece(piece)
    if kind is None:
        known = ", ".join(sorted(_KINDS))
        raise InputError(f"{path.name} is of no kind that is known here ({known}).")
    return kind(path)


def _of_another_format(path: Path) -> Piece | None:
    """Embeddings in a format that an installed package reads."""
    from tessera_core.sources.local.open import find_pieces

    pieces, problems = find_pieces(path)
    if problems and not pieces:
        raise InputError(problems[0].why)
    return pieces[0] if pieces else None


def _kind_by_content(path: Path) -> Callable[[Path], Item] | None:
    """What a file is by its first bytes, where these say it plainly: an ending may be missing or another's."""
    from tessera_core.gate import open_archive, read_head

    try:
        start = read_head(path, 16)
        if start.startswith(b"PK\x03\x04"):
            with open_archive(path) as archive:
                names = archive.names
            if "project.json" in names and path.suffix != ".tesserapack":
                return _bundle
            if any(name.endswith("/data.pkl") for name in names):
                return _weights
            return _pack if "pack.json" in names else None
    except InputError:
        # The reader of its kind says it better.
        return None
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 100 << 20:
        return _weights
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _tif
    return _npy if start.startswith(b"\x93NUMPY") else None


def _project(project: Any, path: Path) -> Item:
    counts = project.log.counts
    classes = {c.name: counts[c.id] for c in project.log.classes}
    saved = datetime.fromtimestamp(project.saved_at).astimezone().isoformat(timespec="seconds")
    missing = [str(ref.path) for ref in project.embeddings.values() if not ref.path.exists()]
    named = ", ".join(f"{name} ({count})" for name, count in classes.items()) or "none yet"
    text = [
        f"A project, {project.name!r}, last saved {saved}.",
        f"Embeddings: {project.dataset or 'none yet'}; years: {', '.join(map(str, project.years)) or 'none'}.",
        f"{sum(counts.values())} labels in {len(classes)} classes: {named}.",
        *(f"Missing: its embeddings are no longer at {path}." for path in missing),
        *(wanted.sentence for wanted in project.wanted.values()),
        *project.notes,
    ]
    return {
        "path": str(path),
        "kind": "project",
        "name": project.name,
        "dataset": project.dataset,
        "years": project.years,
        "classes": classes,
        "labels": sum(counts.values()),
        "saved_at": saved,
        "embeddings": {str(year): str(ref.path) for year, ref in project.embeddings.items()},
        "missing": missing,
        "text": text,
    }


def _bundle(path: Path) -> Item:
    import tempfile

    from tessera_core.project.library import from_file

    with tempfile.TemporaryDirectory() as folder:
        item = _project(from_file(path, Path(folder) / "project"), path)
    item["text"][0] = item["text"][0].replace("A project", "A project saved as one file")
    return item


def _pack(path: Path) -> Item:
    from tessera_core.project.pack import look_into

    held = look_into(path)
    lines = [
        f"{project.name}: {project.dataset or 'no embeddings'}, years {', '.join(map(str, project.years)) or 'none'}, "
        f"{project.labels} labels, {project.bytes / 1e6:,.1f} MB"
        for project in held
    ]
    return {
        "path": str(path),
        "kind": "pack",
        "projects": [vars(project) | {"years": list(project.years)} for project in held],
        "text": ["A pack to open without a network, with 'tessera app --project'.", *lines],
    }


def _tile(folder: Path) -> Item:
    from tessera_core.dpixels.remarks import remarks
    from tessera_core.dpixels.tile import DPixelTile

    tile = DPixelTile.open(folder)
    notes = list(remarks(tile))
    height, width = tile.shape
    dates, ascending, descending = len(tile.doys), len(tile.doys_asc), len(tile.doys_desc)
    span = f", day {int(tile.doys.min())} to {int(tile.doys.max())}" if dates else ""
    text = [
        f"A time series (d-pixel) tile of {height} x {width} pixels{f', {tile.year}' if tile.year else ''}{_place(tile.grid)}.",
        f"{dates} Sentinel-2 dates{span}; {ascending} ascending and {descending} descending Sentinel-1 passes.",
        *(f"Warning: {note}" for note in notes),
        "Make embeddings of it with 'tessera generate'.",
    ]
    return {
        "path": str(folder),
        "kind": "dpixel-tile",
        "shape": [height, width],
        "year": tile.year,
        "s2_dates": dates,
        "s1_ascending": ascending,
        "s1_descending": descending,
        "grid": tile.grid.to_json(),
        "notes": notes,
        "text": text,
    }


def _piece(piece: Piece) -> Item:
    """Embeddings; those that opening would convert by their headers alone: looking must not convert gigabytes."""
    from tessera_core.sources.local.open import dataset_of, open_embeddings

    described = piece.describe()
    grid, provenance = described.grid, described.provenance
    valid: dict[str, float] = {}
    depth: Depth | None = None
    if described.mapped:
        raster = open_embeddings(piece.path)
        grid, provenance = raster.grid, raster.provenance
        valid["valid_share"] = int(np.count_nonzero(raster.valid())) / (grid.height * grid.width)
        depth = raster.depth()
    height, width = grid.shape
    warnings = list(provenance.details.get("warnings", []))
    where = _place(grid) if described.filled else f", in {grid.crs}; not all of it need hold data"
    text = [
        f"{described.what} of {height} x {width} pixels in {provenance.dim} dimensions{described.form}, "
        f"{dataset_of(provenance)}{f', {provenance.year}' if provenance.year else ''}{where}.",
        *(f"{percent(share, 1)} % of the pixels have data." for share in valid.values()),
        *(depth.sentences if depth is not None else ()),
        *_kept_facts(provenance),
        *([described.note] if described.note else []),
        *(f"Warning: {warning}" for warning in warnings),
    ]
    return {
        "path": str(piece.path),
        "kind": "embeddings",
        "shape": [height, width],
        "dim": provenance.dim,
        "dataset": provenance.dataset,
        "year": provenance.year,
        **described.facts,
        **valid,
        **({} if depth is None else {"depth": depth.to_json()}),
        "grid": grid.to_json(),
        "provenance": provenance.to_json(),
        "warnings": warnings,
        "text": text,
    }


def _kept_facts(provenance: Provenance) -> Iterator[str]:
    """What of a raster's provenance people ask for: the state of the store that it was read from, and pixels made here."""
    details = provenance.details
    if isinstance(snapshot := details.get("snapshot"), str):
        yield f"Read at snapshot {snapshot} of its publisher's store."
    filled = details.get("filled")
    if isinstance(filled, dict) and isinstance(filled.get("pixels"), int):
        yield f"{filled['pixels']:,} of its pixels were made here to fill gaps; origin.npy says which."


def _store_facts(store: Store) -> Iterator[str]:
    """What a store says of itself beyond its axes: snapshot, counts, how water is told, and what its first zone lacks."""
    if store.snapshot:
        how = "Read at" if store.icechunk is not None else "Copied from"
        yield f"{how} snapshot {store.snapshot}."
    if store.observed:
        least = store.attributes.get("optical_min_obs")
        rule = f"; pixels seen clearly fewer than {least} times have no embedding" if least else ""
        yield f"It says how often, and in which months, each pixel was seen{rule}."
    zone = store.zone(store.zones[0])
    if zone is None:
        return
    yield (
        "Water is no class in it: water in a tile of land has embeddings, open sea has none."
        if zone.nan_is_unmade
        else "Where it has no scale (NaN) there is water; where its scale is infinite, land without data."
    )
    if zone.repaired:
        yield (
            f"The registration of {', '.join(zone.repaired)} names the centre of the first pixel instead of its corner; it is put "
            "right on reading."
        )
    for part in zone.parts:
        if part.complete is not None and (lacking := sorted(set(zone.years) - part.complete)):
            yield f"Zone {part.name}: {', '.join(map(str, lacking))} not published."


def _web_store(url: str) -> Item:
    """A published store, by its metadata."""
    from tessera_core.sources.remote.retry import with_retries
    from tessera_core.sources.remote.zarr_store import open_store

    store = with_retries(lambda: open_store(url, timeout_s=30), url, 3, None)
    years = with_retries(lambda: store.years, url, 3, None)
    zones = [f"utm{zone:02d}" for zone in store.zones]
    provenance = store.provenance(years[-1] if years else 0, store.dim)
    lengths = ", ".join(str(dim) for dim in sorted(store.depths))
    told = list(_store_facts(store))
    return {
        "path": url,
        "kind": "store",
        "dataset": provenance.dataset,
        "dim": store.dim,
        "dims": sorted(store.depths),
        "years": list(years),
        "zones": zones,
        "snapshot": store.snapshot,
        "observations": store.observed,
        "provenance": provenance.to_json(),
        "text": [
            f"A published store of {provenance.dataset}, {len(zones)} UTM zones, years "
            f"{', '.join(map(str, years)) or 'none'}, lengths {lengths}.",
            *told,
            "See what it has of a region with 'tessera coverage --store-url', fetch it with 'tessera fetch'.",
        ],
    }


def _npy(path: Path) -> Item:
    from tessera_core._utils.atomic import RASTER
    from tessera_core._utils.npy import load_npy
    from tessera_core.sources.local import npy
    from tessera_core.sources.local.saved import SavedPiece

    if path.name in RASTER.files and (path.parent / RASTER.marker).is_file():
        return _piece(SavedPiece(path.parent))

    piece = npy.find_piece(npy.codes_path(path) if path.stem.endswith("_scales") else path)
    if piece is not None:
        return _piece(piece)
    array = load_npy(path)
    text = [
        f"A NumPy array of {array.dtype} and shape {tuple(array.shape)}, which is no embeddings by its shape and type."
    ]
    return {"path": str(path), "kind": "array", "dtype": str(array.dtype), "shape": list(array.shape), "text": text}


def _tif(path: Path) -> Item:
    from tessera_core.sources.local import geotiff

    piece = geotiff.find_piece(path)
    if piece is not None:
        return _piece(piece)
    with geotiff.opened(path) as dataset:
        grid = geotiff.grid_of(dataset, path)
        dtype, count, tags, band_tags = dataset.dtypes[0], dataset.count, dataset.tags(), dataset.tags(1)
        measure, unit = dataset.descriptions[0] or "", dataset.units[0] or ""
    classes = {
        int(key[6:]): value for key, value in band_tags.items() if key.startswith("class_") and key[6:].isdigit()
    }
    height, width = grid.shape
    if (
        count == 1
        and "tessera_dataset" in tags
        and (np.dtype(dtype).kind == "f" or tags.get("tessera_unit") == "percent")
    ):
        named = f" of {measure}" if measure else ""
        what, kind = f"A map of numbers{named}{f' in {unit}' if unit and unit not in measure else ''}", "number-map"
    elif count == 1 and np.dtype(dtype).kind in "iu":
        what, kind = "A class raster", "class-raster"
    else:
        what, kind = f"A raster of {count} bands ({dtype}), which is no embeddings", "raster"
    text = [f"{what} of {height} x {width} pixels{_place(grid)}."]
    if classes:
        text.append(f"Classes: {', '.join(f'{number} {name}' for number, name in sorted(classes.items()))}.")
    if dataset_name := tags.get("tessera_dataset"):
        text.append(f"Made from embeddings of {dataset_name}.")
    return {
        "path": str(path),
        "kind": kind,
        "shape": [height, width],
        "bands": count,
        "dtype": dtype,
        "classes": {str(number): name for number, name in sorted(classes.items())},
        "grid": grid.to_json(),
        "text": text,
    }


def _weights(path: Path) -> Item:
    """A head or a checkpoint: told apart by the header of the safetensors file, everything else is a checkpoint."""
    if "tessera" in _safetensors_metadata(path):
        return _head(path)
    if path.suffix.lower() not in (".safetensors", ".pt", ".pth", ".ckpt") and _safetensors_metadata(path):
        raise InputError(f"{path.name} is a file of weights; call it {path.stem}.safetensors to use it.")
    if path.suffix.lower() == ".pt" and (state := _training_state(path)) is not None:
        return state
    return _checkpoint(path, str(path))


def _training_state(path: Path) -> Item | None:
    """The state of a pretraining run of ours, or None."""
    import pickle

    from tessera_core._utils.torch_part import require_torch

    require_torch("Looking into the state of a training run")
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        config = json.loads(state["config"])
        step, name = int(state["step"]), str(config.get("name", "a run"))
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, pickle.UnpicklingError, EOFError):
        return None
    return {
        "path": str(path),
        "kind": "training-state",
        "name": name,
        "steps": step,
        "text": [
            f"The state of the pretraining run {name!r} after {step} steps, to go on from with 'tessera pretrain --resume'.",
            "The encoder itself is encoder.safetensors beside it.",
        ],
    }


def _safetensors_metadata(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, 100 << 20)))
        metadata = header.get("__metadata__", {})
    except (OSError, ValueError, struct.error, AttributeError, RecursionError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _head(path: Path) -> Item:
    from tessera_core.heads import load_head
    from tessera_core.heads.registry import called

    saved = load_head(path)
    names = list(saved.class_names.values())
    kind = type(saved.head).__name__
    text = [
        f"A trained head, {called(kind)}, for {len(names)} classes: {', '.join(names)}.",
        f"It maps embeddings of {saved.provenance.dataset} and of no other dataset.",
    ]
    if places := saved.card.get("places"):
        text.append(f"It was taught in {', '.join(map(str, places))}.")
    if labels := saved.card.get("labels"):
        text.append(f"Labels that taught it: {', '.join(f'{name} {count}' for name, count in dict(labels).items())}.")
    text += [str(line) for line in saved.card.get("sentences", [])]
    if saved.taught:
        text.append("It carries the embeddings of its labelled pixels, so that 'tessera head teach' can add labels.")
    return {
        "path": str(path),
        "kind": "head",
        "head": kind,
        "classes": {str(key): name for key, name in saved.class_names.items()},
        "dataset": saved.provenance.dataset,
        "text": text,
    }


def _checkpoint(source: str | Path, shown: str) -> Item:
    from tessera_core._utils.torch_part import require_torch

    require_torch("Looking into an encoder")
    from tessera_core.models.checkpoint import load_checkpoint

    loaded = load_checkpoint(source)
    config = loaded.config
    parameters = sum(tensor.numel() for tensor in loaded.encoder.parameters())
    text = [
        f"An encoder checkpoint, {loaded.name}: {loaded.model} {loaded.version}{f'/{loaded.variant}' if loaded.variant else ''}, "
        f"family {config.family}, {parameters / 1e6:.2f} million parameters, embeddings of {config.output_dim} dimensions.",
        f"sha256 {loaded.sha256[:16]}...",
        *loaded.notes,
    ]
    return {
        "path": shown,
        "kind": "checkpoint",
        "name": loaded.name,
        "family": config.family,
        "model": loaded.model,
        "version": loaded.version,
        "variant": loaded.variant,
        "parameters": parameters,
        "dim": config.output_dim,
        "sha256": loaded.sha256,
        "notes": list(loaded.notes),
        "text": text,
    }


def _checkpoint_name(name: str) -> Item:
    """A checkpoint by name is described only where its weights are on this machine already: info downloads nothing."""
    from tessera_core.models import zoo

    file = zoo.PUBLISHED.get(zoo.OTHERWISE.get(name, name))
    if file is None:
        return _checkpoint(name, name)
    text = [f"A published encoder checkpoint that 'tessera generate --weights {name}' downloads when it is first used."]
    return {"path": name, "kind": "checkpoint-name", "name": name, "text": text}


def _labels(path: Path) -> Item:
    """A label file without a region: what it holds, by its own word."""
    from tessera_core.labels.files import survey

    found = survey(path)
    listed = (
        ", ".join(f"{name} ({count})" for name, count in list(found.classes.items())[:20]) or "not named in the file"
    )
    text = [f"A label file with {found.places} places.", f"Classes: {listed}.", *found.notes]
    return {
        "path": str(path),
        "kind": "labels",
        "places": found.places,
        "classes": found.classes,
        "crs": found.crs,
        "text": text,
    }


def _place(grid: Grid) -> str:
    if not grid.georeferenced:
        return ", without georeference"
    west, south, east, north = grid.bounds_lonlat
    lon, lat = (west + east) / 2, (south + north) / 2
    where = f"{abs(lat):.4f} {'N' if lat >= 0 else 'S'}, {abs(lon):.4f} {'E' if lon >= 0 else 'W'}"
    crs = grid.crs if grid.crs and len(grid.crs) < 20 else "own CRS"
    return f" ({square_kilometres(grid):,.2f} km²) around {where} in {crs}"


_KINDS: dict[str, Callable[[Path], Item]] = {
    ".npy": _npy,
    ".tif": _tif,
    ".tiff": _tif,
    ".safetensors": _weights,
    ".pt": _weights,
    ".pth": _weights,
    ".ckpt": _weights,
    ".tessera": _bundle,
    ".tesserapack": _pack,
    **dict.fromkeys(
        (".geojson", ".geojsonl", ".ndjson", ".json", ".gpkg", ".shp", ".kml", ".kmz", ".csv", ".tsv", ".zip", ".fgb"),
        _labels,
    ),
}
