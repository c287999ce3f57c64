"""Object stores and lines that fail: one sentence each, what arrived is kept, nothing leaves the mirror."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore

from tessera_core._utils.paths import cache_home
from tessera_core.cli import main
from tessera_core.errors import AcquisitionError, ExportError, InputError
from tessera_core.sources.remote import addresses, objects
from tessera_core.sources.remote.addresses import Address
from tessera_core.sources.remote.objects import bring_whole, fetch, send
from tests.sources.object_store import Bucket, ObjectServer, as_customer

THERE = Address.parse("s3://maps/k")


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with ObjectServer() as made:
        as_customer(monkeypatch, made.url, tmp_path / "home")
        yield made


def said(call: Any, *args: Any, kind: type[Exception] = InputError) -> str:
    with pytest.raises(kind) as caught:
        call(*args)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def test_who_may_not_and_what_is_not_there_are_told_apart(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.objects["k/a.json"] = b"{}"
    assert "There is no bucket other" in said(fetch, Address.parse("s3://other/k"))
    assert "nothing at s3://maps/none" in said(fetch, Address.parse("s3://maps/none"))
    bucket.refuse = 403
    assert "the store refuses it" in said(fetch, THERE)
    folder = THERE.folder
    folder.mkdir(parents=True)
    (folder / "new.tif").write_bytes(b"x")
    assert "the store refuses it" in said(send, folder, THERE, ["new.tif"])
    bucket.refuse = 401
    assert "needs an account" in said(fetch, THERE)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert "needs an account" in said(fetch, THERE)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    # A closed port stands for the machine of Amazon's that would give keys.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    assert "needs an account" in said(fetch, THERE)


def arriving() -> list[int]:
    """Bytes of what has come in part."""
    return [path.stat().st_size for path in (cache_home() / "objects" / ".some").iterdir()]


def test_long_names_come_and_what_came_of_a_replaced_object_is_removed(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "_RETRY", {"max_retries": 0})
    monkeypatch.setattr(objects, "WORTH", 64)
    key = f"k/{'n' * 250}.npy"
    bucket.objects[key] = b"1" * 9000
    bucket.cut[key] = 1
    said(fetch, THERE, kind=AcquisitionError)
    assert len(arriving()) == 1
    bucket.objects[key], bucket.cut[key] = b"2" * 8000, 1
    said(fetch, THERE, kind=AcquisitionError)
    assert len(arriving()) == 1
    assert (fetch(THERE, outlines=True) / key[2:]).read_bytes() == b"2" * 8000
    assert arriving() == []
    fetch(THERE)
    assert len(list(THERE.folder.glob("n*"))) == 1


def test_a_file_of_the_web_comes_whole_to_several_at_once_and_from_servers_without_ranges(bucket: Bucket) -> None:
    bucket.objects |= {"w.bin": bytes(range(250)) * 400, "r.bin": b"r" * 50_000}
    web = Address.parse(f"{bucket.url}/maps/w.bin")
    bucket.slow = 0.02
    with ThreadPoolExecutor(3) as pool:
        assert {file.read_bytes() == bucket.objects["w.bin"] for file in pool.map(fetch, [web] * 3)} == {True}
    assert bucket.asked["w.bin"] == 3
    for run in ("one", "one", "another"):
        fetch(web, run=run)
    # Workers with one cache, and the tasks of one, read it once for a command.
    assert bucket.asked["w.bin"] == 5
    other = Address.parse(f"{bucket.url}/maps/r.bin")
    bucket.ranges, bucket.cut["r.bin"] = False, 1
    said(fetch, other, kind=AcquisitionError)
    assert len(arriving()) == 1
    assert fetch(other).read_bytes() == bucket.objects["r.bin"]
    assert sorted(file.name for file in other.folder.parent.iterdir()) == [".run", "r.bin"]


def test_a_busy_store_a_short_body_and_a_slow_one_are_tried_again(bucket: Bucket) -> None:
    bucket.objects |= {"k/a.tif": b"a" * 5000, "k/b.tif": b"b" * 5000}
    bucket.busy["k/a.tif"], bucket.cut["k/b.tif"], bucket.slow = 2, 1, 0.05
    folder = fetch(THERE)
    assert {path.name: path.read_bytes()[:1] * 5000 == path.read_bytes() for path in folder.glob("*.tif")} == {
        "a.tif": True,
        "b.tif": True,
    }
    assert arriving() == []


def test_what_arrived_of_a_large_object_is_kept(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "CHUNK", 1000)
    data = np.random.default_rng(0).bytes(10_500)
    bucket.objects["k/a.tif"] = data
    real, left = objects._write, [4]

    def interrupted(file: Any, answer: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise obstore.exceptions.GenericError("the line broke")
        real(file, answer)

    monkeypatch.setattr(objects, "_write", interrupted)
    assert "what arrived is kept" in said(fetch, THERE, kind=AcquisitionError)
    assert bucket.sent["k/a.tif"] <= 5000
    left[0] = 100
    before = bucket.sent["k/a.tif"]
    assert (fetch(THERE) / "a.tif").read_bytes() == data
    # The first answer of a run tells which object it is.
    assert bucket.sent["k/a.tif"] - before <= 6500 + 1000


def test_an_object_that_changes_while_it_is_read_is_never_mixed(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "CHUNK", 1000)
    bucket.objects["k/a.tif"], bucket.changes["k/a.tif"] = b"1" * 5000, b"2" * 5000
    assert "was changed while it was being read" in said(fetch, THERE, kind=AcquisitionError)
    assert (fetch(THERE) / "a.tif").read_bytes() == b"2" * 5000
    # And so with the rest of an array whose beginning is here.
    monkeypatch.setattr(objects, "WORTH", 64)
    np.save(path := THERE.folder / "x", np.zeros(900, np.int8))
    first = path.with_suffix(".npy").read_bytes()
    path.with_suffix(".npy").unlink()
    bucket.objects["k/t.npy"] = first * 5
    folder = fetch(THERE, outlines=True)
    bucket.objects["k/t.npy"] = first * 4 + b"2" * len(first)
    assert "was changed while" in said(bring_whole, [folder], kind=AcquisitionError)
    fetch(THERE, outlines=True)
    bring_whole([folder])
    assert (folder / "t.npy").read_bytes() == bucket.objects["k/t.npy"]


def test_a_store_that_is_gone_is_one_sentence_and_soon(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_RETRY", {"max_retries": 1})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "does not answer" in said(fetch, THERE, kind=AcquisitionError)
    folder = THERE.folder
    folder.mkdir(parents=True)
    (folder / "new.tif").write_bytes(b"x")
    assert "does not answer" in said(send, folder, THERE, ["new.tif"], kind=ExportError)


def test_a_command_tells_of_the_address_and_not_of_the_mirror(
    bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.refuse = 403
    assert main(["stack", "s3://maps/k", "s3://maps/l", "--out", str(tmp_path / "x"), "--json"]) == 2
    text = json.loads(capsys.readouterr().out)["error"]["message"]
    assert text.startswith("s3://maps/k may not be read")
    assert main(["stack", "s3://", "s3://maps/l", "--out", str(tmp_path / "x"), "--json"]) == 2
    assert "names no bucket" in json.loads(capsys.readouterr().out)["error"]["message"]
    with pytest.raises(InputError, match=r"without \? and #"):
        Address.parse("https://example.org/a.tif?token=1")


@pytest.mark.parametrize("key", ["k/../../x.json", "k/a/../../../x.json", "k//x.json", "k/./x.json"])
def test_names_that_lead_out_of_the_mirror_are_refused(bucket: Bucket, key: str) -> None:
    bucket.objects |= {key: b"{}", "k/fine.json": b"{}"}
    with pytest.raises((InputError, AcquisitionError)) as caught:
        fetch(THERE)
    assert "\n" not in str(caught.value)
    home = THERE.folder.parents[2]
    assert not [
        path for path in home.rglob("*.json") if path.name == "x.json" and not path.is_relative_to(THERE.folder)
    ]


PART = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PART, min_size=1, max_size=3), st.binary(max_size=40))
def test_whatever_an_object_is_called_it_stays_in_the_mirror_or_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: list[str], data: bytes
) -> None:
    made = MemoryStore()
    monkeypatch.setattr(objects, "open_store", lambda address: made)
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / str(time.monotonic_ns())))
    name = "/".join(parts)
    if len(name.encode()) > 200:
        return
    try:
        obstore.put(made, f"k/{name}", data)
    except (obstore.exceptions.BaseError, ValueError):
        return
    outside = {path for path in tmp_path.rglob("*") if path.is_file()}
    try:
        folder = fetch(THERE, may_be_empty=True)
    except (InputError, AcquisitionError):
        return
    new = {path for path in tmp_path.rglob("*") if path.is_file()} - outside
    assert all(path.resolve().is_relative_to(folder.resolve()) for path in new)
    if not objects.is_hidden(name):
        assert (folder / name).read_bytes() == data
        (folder / name).write_bytes(data + b"+")
        assert send(folder, THERE, [name]) == [name]
        assert bytes(obstore.get(made, f"k/{name}").bytes()) == data + b"+"


@pytest.mark.parametrize("text", ["s3://maps/a b/ü#1?.tif", "s3://maps/50%25/x", "S3://Maps/x"])
def test_signs_in_addresses_mean_themselves(text: str) -> None:
    address = Address.parse(text)
    assert str(address).partition("://")[2] == text.partition("://")[2]
    assert Address.parse(str(address)) == address
    web = Address.parse("https://example.org/a%20b.tif")
    assert web.path == "a b.tif"
