"""Object stores: mirrored once, sent once, notes last; read and written by every command; and what is refused in one sentence."""

from __future__ import annotations

import io
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import pytest
from affine import Affine
from obstore.store import MemoryStore

from tessera_core.cli import main
from tessera_core.errors import AcquisitionError, ExportError, InputError
from tessera_core.grid import Grid
from tessera_core.project import tile_change
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.sources.local.open import find_pieces
from tessera_core.sources.remote import objects
from tessera_core.sources.remote.addresses import Address, is_address, told
from tessera_core.sources.remote.objects import bring_whole, fetch, send
from tests.analysis.two_years import two_years
from tests.factories import labelled_tiles, make_grid, make_raster
from tests.servers import free_port
from tests.sources.object_store import as_customer
from tests.waiting import eventually
from tools.object_server import SERVER

HERE = Address.parse("s3://maps/kenya/2024/")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A bucket in memory."""
    made = MemoryStore()
    monkeypatch.setattr(objects, "open_store", lambda address: made)
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    return made


def keys(store: Any) -> list[str]:
    return sorted(one["path"] for batch in obstore.list(store) for one in batch)


@pytest.mark.parametrize(
    ("text", "said"),
    [("s3://", "names no bucket"), ("s3://a:b@c/d", "password"), ("s3://b/a/../../c", "leads out")],
)
def test_what_is_no_address_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Address.parse(text)
    assert is_address(text)
    assert not is_address("a/folder")


def test_a_folder_is_mirrored_and_only_what_changed_comes_again(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("a/t.npy", b"1"), ("b.json", b"{}"), (".hidden", b"x"), ("a/.part", b"x")):
        obstore.put(store, f"kenya/2024/{name}", text)
    obstore.put(store, "kenya/20245/other", b"not below")
    folder = fetch(HERE)
    assert folder.name == "2024"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {"a/t.npy", "b.json", objects.INDEX}
    came: list[str] = []
    real = objects._download
    monkeypatch.setattr(objects, "_download", lambda *args: (came.append(args[2]), real(*args))[1])
    assert fetch(HERE) == folder
    assert came == []
    obstore.put(store, "kenya/2024/b.json", b"{ }")
    (folder / "a" / "t.npy").unlink()
    fetch(HERE)
    assert sorted(came) == ["kenya/2024/a/t.npy", "kenya/2024/b.json"]
    assert ((folder / "a" / "t.npy").read_bytes(), (folder / "b.json").read_bytes()) == (b"1", b"{ }")


def test_what_was_made_here_and_not_sent_yet_is_not_fetched_over(store: Any) -> None:
    obstore.put(store, "kenya/2024/t.tif", b"old")
    folder = fetch(HERE, may_be_empty=True)
    (folder / "t.tif").write_bytes(b"made anew")
    fetch(HERE, may_be_empty=True)
    assert (folder / "t.tif").read_bytes() == b"made anew"
    assert send(folder, HERE, ["t.tif"]) == ["t.tif"]
    assert bytes(obstore.get(store, "kenya/2024/t.tif").bytes()) == b"made anew"
    # What others have brought since counts for more.
    (folder / "t.tif").write_bytes(b"and once more")
    obstore.put(store, "kenya/2024/t.tif", b"by others")
    fetch(HERE, may_be_empty=True)
    assert (folder / "t.tif").read_bytes() == b"by others"


def test_what_the_store_has_no_more_is_not_read_as_input(store: Any) -> None:
    for name in ("a/t.npy", "u.tif", "fields.shp", "fields.dbf"):
        obstore.put(store, f"kenya/2024/{name}", b"old")
    folder = fetch(HERE)
    file = fetch(Address.parse("s3://maps/kenya/2024/fields.shp"))
    (folder / "new.tif").write_bytes(b"not sent yet")
    (folder / "u.tif").write_bytes(b"made anew")
    obstore.delete(store, ["kenya/2024/a/t.npy", "kenya/2024/u.tif", "kenya/2024/fields.dbf"])
    fetch(HERE)
    fetch(Address.parse("s3://maps/kenya/2024/fields.shp"))
    here = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert here == {"new.tif", "u.tif", "fields.shp", objects.INDEX}
    assert [path.name for path in file.parent.glob("fields*")] == ["fields.shp"]
    assert send(folder, HERE, ["a/t.npy"]) == []
    # What others sent since the list was made stays.
    real, lists = objects._listed, iter([{}])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects, "_listed", lambda *args: next(lists, None) or real(*args))
        fetch(HERE, may_be_empty=True)
    assert (folder / "fields.shp").is_file()


def test_a_file_comes_with_those_of_its_name(store: Any) -> None:
    for name in ("fields.shp", "fields.dbf", "fields.shp.xml", "fields2.dbf", "other/fields.prj"):
        obstore.put(store, f"labels/{name}", name.encode())
    file = fetch(Address.parse("s3://maps/labels/fields.shp"))
    assert file.read_bytes() == b"fields.shp"
    assert sorted(p.name for p in file.parent.glob("f*")) == ["fields.dbf", "fields.shp", "fields.shp.xml"]
    with pytest.raises(InputError, match="nothing at s3://maps/labels/field"):
        fetch(Address.parse("s3://maps/labels/field"))


def test_what_was_written_is_sent_once_and_notes_last(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fetch(HERE, may_be_empty=True)
    for name in ("t.json", "t.tif", "v.vrt"):
        (folder / name).write_text(name)
    order: list[str] = []
    real = obstore.put
    monkeypatch.setattr(obstore, "put", lambda store, key, file, **more: (order.append(key), real(store, key, file))[1])
    assert send(folder, HERE, ["t.json", "t.tif", "v.vrt"]) == ["t.tif", "v.vrt", "t.json"]
    assert order[-1] == "kenya/2024/t.json"
    assert send(folder, HERE, ["t.json", "t.tif"]) == []
    (folder / "t.tif").write_text("another")
    assert send(folder, HERE, ["t.json", "t.tif"]) == ["t.tif"]
    # What was sent need not be fetched.
    monkeypatch.setattr(objects, "_download", None)
    fetch(HERE)
    with pytest.raises(InputError, match="read-only"):
        send(folder, Address.parse("https://example.org/x"), ["t.tif"])


def test_errors_of_a_store_are_one_sentence() -> None:
    from obstore.exceptions import GenericError, NotFoundError, UnauthenticatedError

    assert "AWS_ACCESS_KEY_ID" in str(told(UnauthenticatedError("x"), HERE, ExportError))
    google = Address.parse("gs://b/c")
    assert "GOOGLE_APPLICATION" in str(told(GenericError("no credentials found"), google, ExportError))
    assert "There is no s3://maps/kenya/2024" in str(told(NotFoundError("x"), HERE, ExportError))
    assert isinstance(told(GenericError("dns\nand more"), HERE, AcquisitionError), AcquisitionError)
    with pytest.raises(InputError, match="lists no folders"):
        fetch(Address.parse("https://example.org/folder"))


def test_a_command_reads_an_address_and_tells_of_it(
    store: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng, grid = np.random.default_rng(0), Grid("EPSG:32631", Affine(10, 0, 500_000, 0, -10, 100_000), (4, 5))
    for name in ("one", "two"):
        origin = Provenance("studio", name, dim=16, year=2024)
        make_raster(rng.normal(size=(4, 5, 16)), grid, origin).save(tmp_path / name)
        for file in (tmp_path / name).iterdir():
            obstore.put(store, f"e/{name}/{file.name}", file)
    assert main(["stack", "s3://b/e/one", "s3://b/e/two", "--out", str(tmp_path / "both"), "--json"]) == 0
    capsys.readouterr()
    obstore.put(store, "e/bad/raster.json", b"no JSON")
    assert main(["stack", "s3://b/e/one", "s3://b/e/bad", "--out", str(tmp_path / "x"), "--json"]) == 2
    said = json.loads(capsys.readouterr().out)["error"]["message"]
    assert str(tmp_path / "home") not in said
    assert "s3://b/e/bad" in said
    for words, why in (
        (["stack", "s3://b/none", "s3://b/e/one", "--out", str(tmp_path / "x")], "nothing at s3://b/none"),
        (["change", "s3://b/e/one", "s3://b/e/two", "--out", "https://example.org/x.tif"], "read-only"),
        (["stack", "s3://b/e/one", "s3://b/e/two", "--out", "s3://b/both"], "as a whole"),
        (
            [
                "generate",
                str(tmp_path),
                "--weights",
                "studio-nano",
                "--out",
                "s3://b/z",
                "--format",
                "zarr",
                "--share",
                "1/2",
            ],
            "on a disk that all of them see",
        ),
    ):
        assert main([*words, "--json"]) == 2
        assert why in json.loads(capsys.readouterr().out)["error"]["message"]


def put_tiles(store: Any, folder: Path) -> None:
    for file in (folder / "E").rglob("*.*"):
        if file.is_file():
            obstore.put(store, f"in/E/{file.relative_to(folder / 'E').as_posix()}", file)
    obstore.put(store, "in/labels.geojson", folder / "labels.geojson")


def test_of_large_arrays_the_beginning_comes_first_and_the_rest_when_it_is_wanted(
    store: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    raster = make_raster(
        np.random.default_rng(0).normal(size=(80, 90, 16)), make_grid((80, 90)), Provenance("studio", "nano", dim=16)
    )
    for name in ("one", "two"):
        raster.save(tmp_path / name)
        for file in (tmp_path / name).iterdir():
            obstore.put(store, f"kenya/2024/{name}/{file.name}", file)
    folder = fetch(HERE, outlines=True)
    codes = folder / "one" / "codes.npy"
    assert (codes.stat().st_size, codes.read_bytes() == (tmp_path / "one" / "codes.npy").read_bytes()) == (
        115_328,
        False,
    )
    # What there is can be told, and no more; the scales are small.
    assert [piece.describe().grid.shape for piece in find_pieces(folder)[0]] == [(80, 90)] * 2
    assert sorted(path.parent.name for path in folder.rglob(f".*{objects.REST}")) == ["one", "two"]
    before = codes.stat().st_mtime_ns
    bring_whole([folder / "one"])
    assert EmbeddingRaster.open(folder / "one").codes.tobytes() == raster.codes.tobytes()
    assert codes.stat().st_mtime_ns == before
    came: list[str] = []
    real = objects._download
    monkeypatch.setattr(objects, "_download", lambda *args: (came.append(args[2]), real(*args))[1])
    bring_whole([folder / "one"])
    fetch(HERE, outlines=True)
    assert came == []
    fetch(HERE)
    assert came == ["kenya/2024/two/codes.npy"]
    assert EmbeddingRaster.open(folder / "two").codes.tobytes() == raster.codes.tobytes()


@pytest.mark.parametrize("kind", ["", "_int8"])
def test_a_tile_beside_others_brings_its_scales_and_no_neighbour(store: Any, kind: str) -> None:
    names = ("grid_1", "grid_10", "grid_1.5", "grid_1_b")
    values = np.random.default_rng(0).integers(-99, 99, (90, 90, 16), np.int8)
    for name in names:
        for part, array in ((kind, values), ("_scales", np.ones((160, 160), np.float32))):
            data = io.BytesIO()
            np.save(data, array)
            obstore.put(store, f"kenya/2024/{name}{part}.npy", data.getvalue())
    folder = fetch(HERE, outlines=True)

    def outlined() -> set[str]:
        return {path.name.removesuffix(objects.REST) for path in folder.glob(f".*{objects.REST}")}

    both = {f".{name}{part}.npy" for name in names for part in (kind, "_scales")}
    assert outlined() == both
    bring_whole([folder / f"grid_1{kind}.npy"])
    assert outlined() == both - {f".grid_1{kind}.npy", ".grid_1_scales.npy"}
    assert np.array_equal(np.load(folder / f"grid_1{kind}.npy"), values)


def test_a_share_fetches_its_own_tiles_and_those_with_labels(
    store: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "WORTH", 64)
    monkeypatch.setattr(objects, "BEGINNING", 256)
    labelled_tiles(tmp_path, 5)
    labels = json.loads((tmp_path / "labels.geojson").read_text())
    labels["features"] = labels["features"][:4]
    (tmp_path / "labels.geojson").write_text(json.dumps(labels))
    put_tiles(store, tmp_path)
    words = ["map", str(tmp_path / "E"), "--labels", str(tmp_path / "labels.geojson"), "--tiles"]
    assert main([*words, str(tmp_path / "M"), "--json"]) == 0
    there = ["s3://b/in/E", "--labels", "s3://b/in/labels.geojson", "--json"]
    assert main(["map", *there, "--tiles", "s3://b/out/M", "--share", "2/5"]) == 0
    rest = sorted(f.parent.name for f in (tmp_path / "home").rglob(f".codes.npy{objects.REST}"))
    assert rest == ["t2", "t3", "t4"]
    assert bytes(obstore.get(store, "out/M/t1.tif").bytes()) == (tmp_path / "M" / "t1.tif").read_bytes()
    # The same, all of it: what was left is fetched.
    assert main(["map", *there, "--tiles", "s3://b/out/M"]) == 0
    for number in range(5):
        name = f"t{number}.tif"
        assert bytes(obstore.get(store, f"out/M/{name}").bytes()) == (tmp_path / "M" / name).read_bytes()
    capsys.readouterr()


def test_shares_that_end_at_the_same_moment_show_all_tiles(
    store: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_tiles(store, labelled_tiles(tmp_path, 3))
    words = ["map", "s3://b/in/E", "--labels", "s3://b/in/labels.geojson", "--tiles", "s3://b/out/M", "--json"]
    real, others = objects.send, ["2/2"]

    def send_late(*args: Any, **more: Any) -> list[str]:
        # The other share begins and ends between the first one's last map and its sending.
        if others:
            share = others.pop()
            with monkeypatch.context() as patch:
                patch.setenv("TESSERA_HOME", str(tmp_path / "other"))
                assert main([*words, "--share", share]) == 0
            assert json.loads(capsys.readouterr().out)["waiting"] == ["t0", "t2"]
        return real(*args, **more)

    monkeypatch.setattr(objects, "send", send_late)
    assert main([*words, "--share", "1/2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["waiting"], found["tiles"], found["made"]) == ([], 3, 2)
    virtual = bytes(obstore.get(store, "out/M/map_32631.vrt").bytes()).decode()
    assert all(f"t{number}.tif" in virtual for number in range(3))


def test_shares_of_a_comparison_on_two_machines_meet_in_the_store_and_fetch_no_more_than_they_touch(
    store: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "WORTH", 64)
    monkeypatch.setattr(objects, "BEGINNING", 256)
    monkeypatch.setattr(tile_change, "TILES_LOOKED_AT", 1)
    made, size, width = two_years(0, share=0.25, size=72), 72, 18
    for year, raster in (("2023", made.first), ("2024", made.second)):
        for number in range(4):
            piece, grid = (
                np.s_[:, number * width : (number + 1) * width],
                raster.grid.window(0, number * width, size, width),
            )
            replace(raster, codes=raster.codes[piece], scales=raster.scales[piece], grid=grid).save(
                tmp_path / year / f"t{number}"
            )
        for file in (tmp_path / year).rglob("*.*"):
            if file.is_file():
                obstore.put(store, f"in/{file.relative_to(tmp_path).as_posix()}", file)
    here = [str(tmp_path / year) for year in ("2023", "2024")]
    assert main(["change", *here, "--tiles", str(tmp_path / "C"), "--json"]) == 0
    capsys.readouterr()
    words = ["change", "s3://b/in/2023", "s3://b/in/2024", "--tiles", "s3://b/out/C", "--json"]

    def said(share: str) -> dict[str, Any]:
        with monkeypatch.context() as patch:
            patch.setenv("TESSERA_HOME", str(tmp_path / f"home{share[0]}"))
            assert main([*words, "--share", share]) == 0
        return json.loads(capsys.readouterr().out)

    def outlined(machine: str) -> set[str]:
        found = (tmp_path / f"home{machine}").rglob(f".codes.npy{objects.REST}")
        return {mark.parent.name for mark in found}

    assert said("1/4")["waiting"] == ["t1", "t2", "t3"]
    # The model of the scene looks at one tile, which is any.
    drawn = int(np.random.default_rng(0).permutation(4)[0])
    assert outlined("1") == {"t2", "t3"} - {f"t{drawn}"}
    assert said("2/4")["waiting"] == ["t2", "t3"]
    assert outlined("2") == {"t3"}
    said("3/4")
    assert said("4/4")["waiting"] == ["t0", "t1", "t2"]
    for machine in ("1", "2"):
        said(f"{machine}/4")
    # What is over is measured once: nothing of the embeddings comes any more.
    assert outlined("2") == {"t3"}
    found = said("3/4")
    assert (found["waiting"], found["tiles"]) == ([], 4)
    for file in (tmp_path / "C").iterdir():
        if file.suffix in (".tif", ".vrt"):
            assert bytes(obstore.get(store, f"out/C/{file.name}").bytes()) == file.read_bytes(), file.name
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home9"))
    assert main([*words, "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["done"] == 4
    assert outlined("9") == {"t0", "t1", "t2", "t3"}


def test_a_tile_that_one_machine_cannot_read_is_not_awaited_by_another(
    store: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_tiles(store, labelled_tiles(tmp_path, 3))
    head = tmp_path / "head.safetensors"
    words = ["map", str(tmp_path / "E"), "--labels", str(tmp_path / "labels.geojson"), "--out", str(tmp_path / "m.tif")]
    assert main([*words, "--save-head", str(head)]) == 0
    obstore.put(store, "out/M/t1.tif", b"of another program")
    capsys.readouterr()
    words = ["map", "s3://b/in/E", "--use-head", str(head), "--tiles", "s3://b/out/M", "--json"]
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home2"))
    assert main([*words, "--share", "2/3"]) == 2
    assert "not made by this command" in json.loads(capsys.readouterr().out)["error"]["message"]
    for share, waiting in (("1/3", ["t2"]), ("3/3", [])):
        monkeypatch.setenv("TESSERA_HOME", str(tmp_path / f"home{share[0]}"))
        assert main([*words, "--share", share]) == 3
        said = json.loads(capsys.readouterr().out)
        assert (said["waiting"], [one["what"] for one in said["failed"]]) == (waiting, ["t1"])


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of a server that speaks as Amazon's does."""
    if not SERVER.exists():
        pytest.skip("moto's server is not installed: python3 tools/object_server.py")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (tmp_path / "moto.log").open("wb") as log:
        server = subprocess.Popen([str(SERVER), "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    try:

        def made() -> bool:
            try:
                request = urllib.request.Request(f"{url}/maps", method="PUT")
                return bool(urllib.request.urlopen(request, timeout=10).status == 200)
            except OSError:
                return False

        eventually(made)
        as_customer(monkeypatch, url, tmp_path / "home")
        yield "maps"
    finally:
        server.kill()
        server.wait()


@pytest.mark.soak
def test_tiles_of_a_bucket_are_mapped_into_a_bucket_by_two_machines(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled_tiles(tmp_path, 3)
    words = ["map", str(tmp_path / "E"), "--labels", str(tmp_path / "labels.geojson"), "--tiles"]
    assert main([*words, str(tmp_path / "M"), "--json"]) == 0
    store = objects.open_store(Address.parse(f"s3://{bucket}/"))
    put_tiles(store, tmp_path)
    capsys.readouterr()
    there = [
        "map",
        f"s3://{bucket}/in/E",
        "--labels",
        f"s3://{bucket}/in/labels.geojson",
        "--tiles",
        f"s3://{bucket}/out/M",
    ]
    for machine in ("1/2", "2/2"):
        # Each has a cache of its own.
        monkeypatch.setenv("TESSERA_HOME", str(tmp_path / f"home{machine[0]}"))
        assert main([*there, "--share", machine, "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["out"], found["waiting"]) == (f"s3://{bucket}/out/M", [])
    sent = {one["path"].removeprefix("out/M/") for batch in obstore.list(store, prefix="out") for one in batch}
    here = {path.name for path in (tmp_path / "M").iterdir() if not path.name.startswith(".")}
    assert sent == here
    for name in sorted(here - {"head.json"}):
        same = bytes(obstore.get(store, f"out/M/{name}").bytes()) == (tmp_path / "M" / name).read_bytes()
        assert same or name.endswith(".json"), name
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    where = f"s3://{bucket}/in/E"
    assert main(["change", where, where, "--out", str(tmp_path / "c.tif"), "--json"]) == 1
    assert "does not answer" in capsys.readouterr().out
