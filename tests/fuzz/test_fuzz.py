"""Every kind of file that is read here, spoilt in many ways: an answer or a sentence, and nothing outside is touched.

One child process reads many spoilt files of one kind, under an audit of what Python opens, connects to and runs, in a folder
that is compared before and after.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from tests.gate.outside import Outside, outside, write_points, write_tiff

_CHILD = """
import faulthandler, json, os, sys
faulthandler.enable()
kind, folder, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
from pathlib import Path
from typing import Any
from tests.fuzz import test_fuzz as fuzz
from tessera_core.errors import TesseraError
read = fuzz.reader(kind)
seed = Path(folder, "seed")
fuzz.one(read, seed)
home = os.environ["TESSERA_HOME"]
bad, armed = [], [False]
def watch(event, args):
    if not armed[0]:
        return
    if event == "open" and isinstance(args[0], str):
        mode, flags = args[1], args[2] or 0
        writes = (mode and set(mode) & set("wax+")) or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        place = os.path.abspath(args[0])
        if writes and not place.startswith((folder, home, "/tmp/tessera-")) and "__pycache__" not in place:
            bad.append(f"wrote {place}")
    elif event in ("socket.connect", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        bad.append(f"{event} {args!r}"[:200])
sys.addaudithook(watch)
outcomes = {"good": 0, "error": 0}
for number in range(count):
    place = fuzz.spoil(seed, Path(folder, "spoilt"), number)
    armed[0] = True
    try:
        fuzz.one(read, place)
        outcomes["good"] += 1
    except TesseraError as error:
        outcomes["error"] += 1
        if not str(error) or "Traceback" in str(error):
            bad.append(f"no sentence: {error!r}")
    except BaseException as error:
        import traceback
        bad.append(f"mutation {number}: " + "".join(traceback.format_exception(error)[-3:])[-600:])
    armed[0] = False
print(json.dumps({"bad": bad, **outcomes}))
"""

_BOX = shapely.box(3.88, 51.99, 3.9, 52.0)


def _embeddings(folder: Path) -> Path:
    random_ = np.random.default_rng(0)
    np.save(folder / "t.npy", random_.integers(-99, 99, (12, 12, 128), np.int8))
    np.save(folder / "t_scales.npy", random_.random((12, 12), np.float32))
    return folder


def _zipped(make: Callable[[Path], object]) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        (folder / "in").mkdir()
        make(folder / "in")
        with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted((folder / "in").rglob("*")):
                archive.write(file, file.relative_to(folder / "in").as_posix())
        shutil.rmtree(folder / "in")
        return folder

    return build


def _text(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


def _head(folder: Path) -> None:
    from tessera_core.heads import make_head, save_head
    from tessera_core.provenance import Provenance

    x = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    head = make_head("ridge").fit(x, np.arange(30) % 2 + 1)
    save_head(folder / "h.safetensors", head, {1: "a", 2: "b"}, Provenance("tessera", dim=8))


def _weights(ending: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        from tessera_core.models import zoo

        shipped = zoo.resolve("studio-nano")
        if ending == ".safetensors":
            shutil.copy(shipped, folder / f"own{ending}")
        else:
            import torch
            from safetensors.torch import load_file

            torch.save({"model": load_file(shipped)}, folder / f"own{ending}")

    return make


def _project(packed: bool) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        from tessera_core.project import pack
        from tessera_core.project.project import Project

        project = Project.create(folder / "p", "Fen")
        project.export_file(folder / "p.tessera")
        if packed:
            pack.make_pack([project], folder / "p.tesserapack")
            (folder / "p.tessera").unlink()
        shutil.rmtree(folder / "p")

    return make


def _zarr(folder: Path) -> None:
    import zarr

    group = zarr.open_group(folder / "t.zarr", mode="w")
    group.create_array("embeddings", shape=(8, 8, 16), dtype="int8")


def _tile(folder: Path) -> None:
    from affine import Affine

    from tessera_core.dpixels.tile import write_tile
    from tessera_core.grid import Grid

    draw = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "bands": draw.integers(1, 9000, (6, 4, 5, 10)),
        "masks": draw.integers(0, 2, (6, 4, 5)),
        "doys": np.arange(1, 7) * 50,
        "sar_asc": draw.integers(0, 9000, (3, 4, 5, 2)),
        "doys_asc": np.arange(1, 4) * 90,
        "sar_desc": draw.integers(0, 9000, (2, 4, 5, 2)),
        "doys_desc": np.arange(1, 3) * 90,
    }
    grid = Grid("EPSG:32631", Affine(10, 0, 560000, 0, -10, 5765000), (4, 5))
    write_tile(folder / "t", grid=grid, meta={"year": 2023}, **arrays)


_CSV = "lon,lat,class\n3.9,52.0,wood\n3.91,52.01,water\n3.92,52.0,wood\n"
_GEOJSON = json.dumps(
    {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": {"class": "wood"}, "geometry": shapely.geometry.mapping(_BOX)},
            {
                "type": "Feature",
                "properties": {"class": "water"},
                "geometry": {"type": "Point", "coordinates": [3.9, 52.0]},
            },
        ],
    }
)
_KML = (
    "<?xml version='1.0'?><kml xmlns='http://www.opengis.net/kml/2.2'><Document><Folder><name>wood</name><Placemark><Point>"
    "<coordinates>3.9,52.0</coordinates></Point></Placemark></Folder></Document></kml>"
)


def _raster(name: str, count: int) -> Callable[[Path], object]:
    values = np.random.default_rng(0).integers(1, 4, (count, 16, 16)).astype(np.uint8 if count == 1 else np.float32)
    return lambda folder: write_tiff(folder / name, values, compress="deflate")


MAKERS: dict[str, Callable[[Path], object]] = {
    "embeddings tif": _raster("e.tif", 128),
    "class tif": _raster("c.tif", 1),
    "npy": _embeddings,
    "zarr": _zarr,
    "zip of npy": _zipped(_embeddings),
    "zip of tif": _zipped(_raster("e.tif", 128)),
    "zip of shapefile": _zipped(lambda folder: write_points(folder / "a.shp")),
    "gpkg": lambda folder: write_points(folder / "a.gpkg"),
    "fgb": lambda folder: write_points(folder / "a.fgb"),
    "shapefile": lambda folder: write_points(folder / "a.shp"),
    "geojson": _text("a.geojson", _GEOJSON),
    "kml": _text("a.kml", _KML),
    "csv": _text("a.csv", _CSV),
    "project": _project(False),
    "pack": _project(True),
    "head": _head,
    "safetensors": _weights(".safetensors"),
    "pt": _weights(".pt"),
    "config": lambda folder: shutil.copy(
        Path(__file__).parents[2] / "tessera_core" / "pretrain" / "configs" / "studio-nano.toml", folder / "a.toml"
    ),
    "d-pixel tile": _tile,
    "class tree": _text("a.txt", "wood 1 #00ff00\n  oak 2\n  pine 3\nwater 4\n"),
}
LABELS = {"gpkg", "fgb", "shapefile", "geojson", "kml", "csv", "zip of shapefile"}
UPLOADS = {"zip of npy", "zip of tif", "npy", "embeddings tif", "zarr"}


def reader(kind: str) -> Callable[[Path], object]:
    """The library's reader of a kind."""
    if kind in LABELS:
        from tessera_core.labels.files import survey
        from tessera_core.region import read_region

        def labels(path: Path) -> None:
            survey(path)
            if path.suffix != ".csv":
                read_region(path)

        return labels
    if kind in UPLOADS:
        from tessera_core.project.library import start_upload
        from tessera_core.sources.local.open import open_embeddings

        def embeddings(path: Path) -> None:
            if path.suffix in (".zip", ".tif"):
                with path.open("rb") as file:
                    start_upload([(path.name, file)])
            else:
                open_embeddings(path.parent)

        return embeddings
    if kind == "class tif":
        from tessera_core.grid import Grid
        from tessera_core.labels.files import read_class_raster

        return lambda path: read_class_raster(path, Grid.local((16, 16)))
    if kind == "d-pixel tile":
        from tessera_core.dpixels.tile import DPixelTile

        def tile(path: Path) -> None:
            opened = DPixelTile.open(path)
            opened.observations()
            np.asarray(opened.bands).sum()

        return tile
    if kind == "project":
        from tessera_core.project.project import Project

        return Project.import_file
    if kind == "pack":
        from tessera_core.project.pack import open_pack

        return open_pack
    if kind == "head":
        from tessera_core.heads import load_head

        return load_head
    if kind in ("safetensors", "pt"):
        from tessera_core.models.checkpoint import load_checkpoint

        return load_checkpoint
    if kind == "config":
        from tessera_core.pretrain.config import PretrainConfig

        return PretrainConfig.load
    from tessera_core.labels.schema import read_tree

    return read_tree


def one(read: Callable[[Path], object], folder: Path) -> None:
    """Read what lies in a folder; of several files the one that names the others."""
    from tessera_core.errors import InputError

    files = [path for path in sorted(folder.iterdir()) if path.suffix not in (".dbf", ".shx", ".prj", ".cpg")]
    try:
        read(files[0])
    except InputError as error:
        if folder.name != "seed":
            raise
        # Points are no region, and a zone without pixels is no store; they are seeds all the same.
        if "polygon" not in str(error) and not files[0].is_dir():
            raise AssertionError(f"the seed itself is refused: {error}") from error


def spoil(seed: Path, target: Path, number: int) -> Path:
    """A copy of ``seed`` of which one file is spoilt in a way that ``number`` names."""
    draw = random.Random(number)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(seed, target)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    path = draw.choice(files)
    data = bytearray(path.read_bytes())
    size = len(data)
    way = number % 5
    if way == 0:
        for _ in range(draw.randint(1, 8)):
            data[draw.randrange(size)] ^= 1 << draw.randrange(8)
    elif way == 1:
        del data[draw.randrange(size) :]
    elif way == 2:
        start, length = draw.randrange(size), draw.randint(1, 64)
        data[start : start + length] = draw.randbytes(draw.randint(0, 128))
    elif way == 3:
        # Lies in the header: numbers that are too large, too small or negative.
        at = draw.randrange(max(1, min(size, 300) - 8))
        data[at : at + draw.choice((2, 4, 8))] = draw.choice((b"\xff" * 8, b"\0" * 8, b"\x7f" + b"\xff" * 7))[
            : draw.choice((2, 4, 8))
        ]
    else:
        other = draw.choice(files).read_bytes()
        at = draw.randrange(size)
        data[at:] = other[draw.randrange(len(other)) :] if other else b""
    path.write_bytes(data)
    return target


def _fuzz(kind: str, tmp_path: Path, count: int) -> None:
    seed = tmp_path / "work" / "seed"
    seed.mkdir(parents=True)
    MAKERS[kind](seed)
    with outside(tmp_path / "outside") as reach:
        result = _run(kind, tmp_path, count, reach)
        assert reach.untouched()
    assert result["bad"] == []
    assert result["good"] + result["error"] == count


def _run(kind: str, tmp_path: Path, count: int, reach: Outside) -> dict[str, Any]:
    import os

    root = Path(__file__).parents[2]
    environment = os.environ | {"TESSERA_HOME": str(tmp_path / "home"), "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _CHILD, kind, str(tmp_path / "work"), str(count)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60 + 10 * count, cwd=reach.folder
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@pytest.mark.parametrize("kind", ["geojson", "gpkg", "class tif"])
def test_spoilt_files_are_an_answer_or_a_sentence(kind: str, tmp_path: Path) -> None:
    _fuzz(kind, tmp_path, 15)


@pytest.mark.soak
@pytest.mark.parametrize("kind", MAKERS)
def test_spoilt_files_of_every_kind(kind: str, tmp_path: Path) -> None:
    _fuzz(kind, tmp_path, 50)
