"""Bounds before work: archives, rasters and plain files that ask for too much are refused by what they announce."""

from __future__ import annotations

import errno
import io
import os
import stat
import struct
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.errors import InputError, LabelError, RasterError
from tessera_core.gate import open_archive, open_raster, read_bytes, reason, unreadable
from tessera_core.gate.limits import OWN, SHARED
from tessera_core.gate.tiff import read_tiff_head
from tests.gate.outside import write_tiff


def _zip(members: dict[str, bytes], **more: int) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            item = zipfile.ZipInfo(name)
            item.compress_type = zipfile.ZIP_DEFLATED
            item.external_attr = more.get("attr", 0) << 16
            archive.writestr(item, data)
    buffer.seek(0)
    return buffer


NAMES = [
    "../x",
    "/x",
    "a/../../x",
    "C:\\x",
    "C:x",
    "..\\x",
    "a\\..\\..\\x",
    "\\\\server\\x",
    "x\ny",
    "a//x",
    "file:stream",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_outside_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing was unpacked"), open_archive(_zip({"ok": b"1", name: b"x"})):
        pass


@pytest.mark.parametrize(
    "pair", [("a.npy", "A.NPY"), ("a/b", "a"), ("a", "a/b"), ("ﬁ", "fi"), ("x", "./x"), ("x", "x."), ("é", "e\u0301")]
)
def test_one_place_twice_is_refused(pair: tuple[str, str]) -> None:  # fmt: skip
    with pytest.raises(InputError, match="twice"), open_archive(_zip({pair[0]: b"1", pair[1]: b"2"})):
        pass


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(mode: int) -> None:
    with pytest.raises(InputError, match="link"), open_archive(_zip({"x": b"/etc/passwd"}, attr=mode)):
        pass


def test_bombs_are_refused_by_what_they_announce_and_by_what_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    with pytest.raises(InputError, match="no real data"), open_archive(_zip({"x.npy": bytes(150 << 20)})):
        pass
    with pytest.raises(InputError, match="5000 files"), open_archive(_zip({str(n): b"" for n in range(5001)})):
        pass
    # An announced size that is too small does not let more through.
    data = bytearray(_zip({"x": bytes(1 << 20)}).getvalue())
    at = data.rfind(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 1000)
    with open_archive(io.BytesIO(bytes(data))) as archive, pytest.raises(InputError, match="damaged"):
        archive.read("x")


def test_an_archive_that_is_damaged_says_so() -> None:
    good = _zip({"a.txt": os.urandom(5000), "b.txt": b"b" * 5000}).getvalue()
    for place in range(30, len(good), 97):
        bad = bytearray(good)
        bad[place] ^= 0xFF
        try:
            with open_archive(io.BytesIO(bytes(bad)), error=LabelError) as archive:
                for name in archive.names:
                    archive.read(name)
        except LabelError:
            continue


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_an_archive_or_an_error(data: bytes) -> None:
    for tail in (b"", _zip({"a": b"1"}).getvalue()):
        try:
            with open_archive(io.BytesIO(data + tail)) as archive:
                [archive.read(name) for name in archive.names]
        except InputError:
            continue


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_bytes_in_the_header_of_a_geotiff_are_a_raster_or_an_error(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_tiff(
            Path(folder) / "a.tif", np.ones((3, 32, 32), np.uint8), tiled=True, blockxsize=16, blockysize=16
        )
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 6))):
            content[data.draw(st.integers(4, min(len(content), 600) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        try:
            with open_raster(path, whole=True) as file:
                file.read()
        except (RasterError, rasterio.errors.RasterioError):
            return


def test_a_sparse_raster_that_declares_what_it_does_not_hold_is_refused(tmp_path: Path) -> None:
    profile = {"width": 2000, "height": 2000, "count": 128, "dtype": "float32", "driver": "GTiff", "SPARSE_OK": True}
    with rasterio.open(tmp_path / "a.tif", "w", tiled=True, **profile):
        pass
    assert (tmp_path / "a.tif").stat().st_size < 400_000
    head = read_tiff_head(tmp_path / "a.tif")
    assert (head.width, head.height, head.bands, head.absent) == (2000, 2000, 128, 1)
    from tessera_core.sources.local.open import open_embeddings

    with pytest.raises(RasterError, match=r"2000 x 2000 pixels of 128 bands, 1\.9 GB, but holds only"):
        open_embeddings(tmp_path / "a.tif")


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["LITTLE", "BIG"])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_the_header_is_read_as_gdal_reads_it(big: bool, order: str, interleave: str, tmp_path: Path) -> None:
    values = np.arange(5 * 40 * 50, dtype=np.float32).reshape(5, 40, 50)
    more = {"BIGTIFF": "YES" if big else "NO", "ENDIANNESS": order, "interleave": interleave, "compress": "deflate"}
    path = write_tiff(tmp_path / "a.tif", values, **more)
    head = read_tiff_head(path)
    assert (head.height, head.width, head.bands) == (40, 50, 5)
    assert head.decoded_bytes == values.nbytes
    assert head.absent == 0
    assert 0 < head.present_bytes <= path.stat().st_size


def test_on_a_server_no_bound_is_looser() -> None:
    assert all(getattr(SHARED, name) <= getattr(OWN, name) for name in vars(SHARED))


# ------------------------------------------------------------------ what the system refuses

READERS = {
    ".csv": "labels", ".geojson": "labels", ".json": "labels", ".kml": "labels", ".gpkg": "labels", ".zip": "labels",
    ".fgb": "labels", ".shp": "labels", ".tif": "raster", ".npy": "npy", ".safetensors": "head", ".pt": "checkpoint",
    ".toml": "config", ".txt": "tree", ".region.geojson": "region",
}  # fmt: skip


def _read(path: Path, kind: str) -> object:
    from tessera_core._utils.npy import load_npy
    from tessera_core.heads import load_head
    from tessera_core.labels.files import survey
    from tessera_core.labels.schema import read_tree
    from tessera_core.models.checkpoint import load_checkpoint
    from tessera_core.pretrain.config import PretrainConfig
    from tessera_core.region import read_region
    from tessera_core.sources.local.geotiff import read_grid

    readers: dict[str, Callable[[Path], object]] = {
        "labels": survey, "raster": read_grid, "npy": load_npy, "head": load_head, "checkpoint": load_checkpoint,
        "config": PretrainConfig.load, "tree": read_tree, "region": read_region,
    }  # fmt: skip
    return readers[kind](path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("ending", READERS)
@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_file_is_said_to_be_none_and_never_waited_for(ending: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"folder|pipe or a device|kind of label file|no weights|There is no head"):
        _read(path, READERS[ending])


def test_what_the_system_says_is_told() -> None:
    denied = unreadable("x/plain.csv", PermissionError(errno.EACCES, "Permission denied"), LabelError)
    assert str(denied) == "plain.csv cannot be read: Permission denied; is it open in another program?"
    assert isinstance(denied, LabelError)
    assert "Too many open files; close some programs" in reason(OSError(errno.EMFILE, "Too many open files"))
    assert "check the spelling" in str(unreadable("a.csv", FileNotFoundError(errno.ENOENT, "No such file")))


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="no other users here")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_every_reader_tells_that_permission_is_denied(what: str, tmp_path: Path) -> None:
    told = {}
    with tempfile.TemporaryDirectory() as folder:
        for ending, kind in READERS.items():
            path = Path(folder, f"a{ending}")
            path.write_bytes(b"x")
            # What is imported on the way must be there before other rights hold.
            with suppress(InputError):
                _read(path, kind)
            path.chmod(0 if what == "file" else 0o644)
        os.chmod(folder, 0o755 if what == "file" else 0o000)
        root = os.geteuid() == 0
        try:
            if root:
                os.seteuid(65534)
            for ending, kind in READERS.items():
                with pytest.raises(InputError) as caught:
                    _read(Path(folder, f"a{ending}"), kind)
                told[ending] = str(caught.value)
        finally:
            if root:
                os.seteuid(0)
            os.chmod(folder, 0o700)
    assert {
        ending: text for ending, text in told.items() if "Permission denied; is it open in another" not in text
    } == {}


def test_a_text_larger_than_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"x" * 1001)
    with pytest.raises(LabelError, match=r"larger than"):
        read_bytes(path, LabelError, 1000)
    assert len(read_bytes(path, LabelError, 1001)) == 1001


# ------------------------------------------------------------------ no data


def test_nodata_zero_is_no_data_only_where_all_bands_are(tmp_path: Path) -> None:
    from tessera_core.sources.local.open import open_embeddings

    random = np.random.default_rng(0)
    values = random.normal(size=(128, 12, 12)).astype(np.float32)
    values[random.integers(0, 128, 144), np.arange(144) // 12, np.arange(144) % 12] = 0
    values[:, :2] = 0
    raster = open_embeddings(write_tiff(tmp_path / "a.tif", values, nodata=0))
    assert int(raster.valid().sum()) == 120
    (said,) = raster.provenance.details["warnings"]
    assert said.startswith("a.tif declares 0 to be no data, and 120 of 144 pixels hold it in some bands. They are kept")
    assert "only the 24 that are 0 in all bands are left out" in said
    values[values == 0] = -9999
    raster = open_embeddings(write_tiff(tmp_path / "b.tif", values, nodata=-9999))
    assert int(raster.valid().sum()) == 0
    assert "120 of 144 pixels are left out because some of their bands, not all" in str(raster.provenance.details)
    # Also when it is opened again, and in a mosaic; nothing is said of a file of which nothing much is dropped.
    assert open_embeddings(tmp_path / "b.tif").provenance == raster.provenance
    values[:] = 1
    values[:, 3:6, 3:6] = -9999
    raster = open_embeddings(write_tiff(tmp_path / "c.tif", values, nodata=-9999))
    assert "warnings" not in raster.provenance.details
    values[:, 2:] = -9999
    raster = open_embeddings(write_tiff(tmp_path / "d.tif", values, nodata=-9999))
    assert "d.tif: 120 of 144 pixels are left out: all their bands hold -9999" in str(raster.provenance.details)


def test_the_embeddings_of_merging_tools_keep_their_pixels(shared: Path) -> None:
    from tessera_core.sources.local.open import open_embeddings

    raster = open_embeddings(shared / "cases" / "geotiff-nodata-zero-any-band" / "emb_nodata0.tif")
    assert int((~raster.valid()).sum()) == 24


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="no other users here")
def test_a_folder_that_may_not_be_looked_into_says_so() -> None:
    from tessera_core.dpixels.tile import DPixelTile, find_tiles
    from tessera_core.sources.local.open import find_pieces

    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder, "closed", "tile")
        inner.mkdir(parents=True)
        os.chmod(folder, 0o755)
        inner.parent.chmod(0)
        root = os.geteuid() == 0
        try:
            if root:
                os.seteuid(65534)
            for reader in (find_tiles, DPixelTile.open, find_pieces):
                for place in (inner, inner.parent / "x.tif"):
                    with pytest.raises(InputError, match="Permission denied"):
                        reader(place)
        finally:
            if root:
                os.seteuid(0)
            inner.parent.chmod(0o700)
