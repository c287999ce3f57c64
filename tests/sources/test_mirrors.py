"""Workers whose caches are not that of the command: they fetch and send for themselves, and the maps are the same bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tessera_core import cluster
from tessera_core._utils import spread
from tessera_core.cli import main
from tessera_core.cluster import Engine
from tessera_core.errors import InputError
from tessera_core.sources.remote import mirrors, objects
from tests.factories import labelled_tiles, make_tile
from tests.sources.object_store import Bucket, ObjectServer, as_customer


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setattr(objects, "WORTH", 64)
    monkeypatch.setattr(objects, "BEGINNING", 256)
    with ObjectServer() as made:
        as_customer(monkeypatch, made.url, tmp_path / "home")
        yield made


class Elsewhere(Executor):
    """A worker on a machine with another cache, as far as the environment makes one."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        before, answer = os.environ["TESSERA_HOME"], Future[Any]()
        os.environ["TESSERA_HOME"] = str(self.home)
        try:
            answer.set_result(fn(*args, **kwargs))
        finally:
            os.environ["TESSERA_HOME"] = before
        return answer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass


def put(bucket: Bucket, folder: Path, below: str) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            bucket.objects[f"{below}/{file.relative_to(folder).as_posix()}"] = file.read_bytes()


@pytest.mark.parametrize(
    "task", ["map", *(pytest.param(name, marks=pytest.mark.soak) for name in ("change", "evaluate"))]
)
def test_workers_with_caches_of_their_own_end_in_the_bytes_of_one_process(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    monkeypatch.setattr(spread, "PER_WORKER", 2)
    for year in ("2023", "2024"):
        (tmp_path / year).mkdir()
        labelled_tiles(tmp_path / year, 4, int(year), int(year))
        put(bucket, tmp_path / year / "E", f"in/{year}")
    labels = str(tmp_path / "2024" / "labels.geojson")
    bucket.objects["in/labels.geojson"] = Path(labels).read_bytes()

    @contextmanager
    def connected(*args: Any, **more: Any) -> Iterator[Engine]:
        yield Engine(lambda workers: Elsewhere(tmp_path / "away"), 1, "tcp://away")

    monkeypatch.setattr(cluster, "connect", connected)

    def run(first: str, *words: str, out: str) -> dict[str, Any]:
        years = [f"{first}/2023{'' if '://' in first else '/E'}", f"{first}/2024{'' if '://' in first else '/E'}"]
        known = ["--labels", "s3://maps/in/labels.geojson" if "://" in first else labels]
        head = {"map": [years[1], *known, "--tiles", out], "change": [*years, "--tiles", out]}
        code = main([task, *head.get(task, [years[1], *known, "--tiles", "--parts", out]), *words, "--json"])
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert code == 0, found
        return found

    alone = run(str(tmp_path), out=str(tmp_path / "O"))
    away = run("s3://maps/in", "--scheduler", "tcp://away:1", out="s3://maps/out")
    if task == "evaluate":
        differ = ("embeddings", "labels", "seconds", "parts")
        assert {name: value for name, value in away.items() if name not in differ} == {
            name: value for name, value in alone.items() if name not in differ
        }
        return
    assert (away["tiles"], away["waiting"], away["out"]) == (4, [], "s3://maps/out")
    files = [path for path in (tmp_path / "O").iterdir() if path.suffix == ".tif"]
    assert len(files) == 8
    for path in files:
        assert bucket.objects[f"out/{path.name}"] == path.read_bytes(), path.name
    # The worker read each tile whole for itself.
    assert not list((tmp_path / "away").rglob(f".codes.npy{objects.REST}"))


def test_a_worker_that_may_not_read_says_so_in_the_commands_words(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.objects["k/a.json"] = b"{}"
    address = mirrors.Address.parse("s3://maps/k")
    objects.fetch(address)
    known = mirrors.Mirrors(read=((address, False),))
    with known.executor(lambda workers: Elsewhere(tmp_path / "away"))(1) as pool:
        assert pool.submit(sized, address.folder / "a.json").result() == f"{address.folder / 'a.json'}: 2"
        bucket.refuse = 403
        with pytest.raises(Exception, match="s3://maps/k may not be read"):
            pool.submit(sized, address.folder / "a.json").result()


def test_of_a_task_that_fails_what_was_done_is_sent(bucket: Bucket, tmp_path: Path) -> None:
    address = mirrors.Address.parse("s3://maps/out")
    known = mirrors.Mirrors(written=((address, ()),))
    with known.executor(lambda workers: Elsewhere(tmp_path / "away"))(1) as pool:
        for error, name in ((InputError("This tile is broken."), "a.failed"), (ValueError("odd"), "b.tif")):
            with pytest.raises(type(error), match=str(error)):
                pool.submit(failing, address.folder / name, error).result()
    assert sorted(bucket.objects) == ["out/a.failed", "out/b.tif"]


def failing(file: Path, error: Exception) -> None:
    """Does some of its work."""
    file.write_bytes(b"done")
    raise error


def sized(file: Path) -> str:
    """Sent by its name."""
    return f"{file}: {file.stat().st_size}"


@pytest.mark.soak
def test_a_cluster_whose_workers_have_another_home_generates_and_maps(
    bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from distributed import LocalCluster

    (tmp_path / "2024").mkdir()
    labelled_tiles(tmp_path / "2024", 4)
    put(bucket, tmp_path / "2024" / "E", "in/2024")
    labels = str(tmp_path / "2024" / "labels.geojson")
    for number in range(3):
        make_tile(tmp_path / "D" / f"t{number}", seed=number)
    put(bucket, tmp_path / "D", "in/D")
    assert (
        main(["map", str(tmp_path / "2024" / "E"), "--labels", labels, "--tiles", str(tmp_path / "M"), "--json"]) == 0
    )
    words = ["--weights", "studio-nano", "--dtype", "fp32", "--json"]
    assert main(["generate", str(tmp_path / "D"), *words, "--out", str(tmp_path / "G")]) == 0
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=None,
        env={**os.environ, "TESSERA_HOME": str(tmp_path / "away"), "OMP_NUM_THREADS": "1"},
    ) as workers:
        where = ["--scheduler", workers.scheduler_address]
        there = ["map", "s3://maps/in/2024", "--labels", labels, "--tiles", "s3://maps/out/M", "--json"]
        assert main([*there, *where]) == 0
        assert main(["generate", "s3://maps/in/D", *words, *where, "--out", "s3://maps/out/G"]) == 0
    capsys.readouterr()
    for letter in "MG":
        for path in (tmp_path / letter).iterdir():
            if path.suffix in (".tif", ".npy"):
                assert bucket.objects[f"out/{letter}/{path.name}"] == path.read_bytes(), path.name
    # The command itself read none of the tiles that it embedded.
    assert list((tmp_path / "home").rglob(f".bands.npy{objects.REST}"))


@pytest.mark.soak
def test_shares_of_machines_with_homes_of_their_own_generate_and_score_as_one_process(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled_tiles(tmp_path, 4)
    labels = str(tmp_path / "labels.geojson")
    put(bucket, tmp_path / "E", "in/E")
    for number in range(3):
        make_tile(tmp_path / "D" / f"t{number}", seed=number)
    put(bucket, tmp_path / "D", "in/D")
    words = ["--weights", "studio-nano", "--dtype", "fp32", "--json"]
    assert main(["generate", str(tmp_path / "D"), *words, "--out", str(tmp_path / "G")]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "E"), "--labels", labels, "--tiles", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    for share in ("1/2", "2/2"):
        monkeypatch.setenv("TESSERA_HOME", str(tmp_path / f"home{share[0]}"))
        assert main(["generate", "s3://maps/in/D", *words, "--out", "s3://maps/out/G", "--share", share]) == 0
        capsys.readouterr()
        there = ["evaluate", "s3://maps/in/E", "--labels", labels, "--tiles", "--parts", "s3://maps/out/P", "--json"]
        assert main([*there, "--share", share]) == 0
        score = json.loads(capsys.readouterr().out)
    differ = ("embeddings", "seconds", "parts")
    assert {name: value for name, value in score.items() if name not in differ} == {
        name: value for name, value in alone.items() if name not in differ
    }
    for path in (tmp_path / "G").glob("*.npy"):
        assert bucket.objects[f"out/G/{path.name}"] == path.read_bytes(), path.name
