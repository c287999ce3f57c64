"""What all commands share: exit codes, paths, help, words meant, encodings, pipes and completion."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core import heads
from tessera_core.cli import COMMANDS, command_module, command_parser, leaves, main
from tessera_core.cli.export import LABEL_KINDS
from tessera_core.cli.head_options import HEAD_NAMES, REGRESSION_HEAD_NAMES
from tessera_core.cli.paths import TIFF, Input, Output, check_paths, sidecars
from tessera_core.cli.years import parse_years
from tessera_core.errors import InputError
from tessera_core.export import labels
from tests.factories import make_grid, two_halves

GRID = make_grid((24, 24))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Embeddings of two years, labels of them as a raster, and a folder with someone's notes."""
    for year in (2023, 2024):
        two_halves(GRID, year).save(tmp_path / "e" / str(year))
    import rasterio

    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": 24, "width": 24, "crs": GRID.crs}
    with rasterio.open(tmp_path / "labels.tif", "w", **profile, transform=GRID.transform) as file:
        file.write((np.indices(GRID.shape)[1] // 12 + 1).astype(np.uint8), 1)
    (tmp_path / "mywork").mkdir()
    (tmp_path / "mywork" / "notes.txt").write_text("mine")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, object], str]:
    """Exit code, the JSON object, and what stood on stderr."""
    code = main([*map(str, words), "--json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out), captured.err


def every_parser() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for name in COMMANDS:
        yield name, command_parser(name, command_module(name))


# ------------------------------------------------------------------ nothing is lost

MAP = ("map", "e/2023", "--labels", "labels.tif")


@pytest.mark.parametrize(
    "words",
    [
        (*MAP, "--out", "labels.tif"),
        (*MAP, "--out", "labels"),
        (*MAP, "--out", "link.tif"),
        (*MAP, "--out", "./mywork/../labels.tif"),
        (*MAP, "--out", "labels.tif", "--overwrite"),
        (*MAP, "--out", "x.tif", "--confidence", "x.tif"),
        (*MAP, "--out", "x", "--confidence", "x.tif"),
        (*MAP, "--out", "x.tif", "--save-head", "x.qml"),
        (*MAP, "--out", "x.tif", "--save-head", "labels.tif"),
        (*MAP, "--out", "theirs.tif"),
        (*MAP, "--out", "x.png"),
        (*MAP, "--out", "folder.tif"),
        (*MAP, "--out", "mywork"),
        (*MAP, "--out", "labels.tif/x.tif"),
        (*MAP, "--out", "x.tif", "--confidence", "nowhere/\0"),
        ("change", "e/2023", "e/2024", "--out", "theirs.tif"),
        ("change", "e/2023", "e/2024", "--out", "their.tif", "--stable", "their_p.tif"),
        ("stack", "e/2023", "e/2024", "--out", "mywork"),
        ("stack", "e/2023", "e/2024", "--out", "e/2023"),
        ("stack", "e/2023", "e/2024", "--out", "e"),
        ("stack", "e/2023", "e/2024", "--out", "e/2023/both"),
        ("stack", "e", "e", "--out", "mywork"),
        ("stack", "e/2023", "e/2024", "--out", "labels.tif"),
        ("fetch", "--points", "points.csv", "--years", "2023", "--out", "points.csv"),
        ("fetch", "--bbox", "0,51,0.01,51.01", "--years", "2023", "--out", "theirs"),
        ("generate", "e/2023", "--weights", "studio-nano", "--out", "e/2023"),
        ("study", "labels", "--out", "studies"),
        ("demo", "labels.tif"),
        ("coverage", "--bbox", "0,51,0.01,51.01", "--request", "points.csv"),
    ],
    ids=" ".join,
)
def test_no_command_writes_over_what_is_not_its_own(
    place: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    (place / "link.tif").symlink_to(place / "labels.tif")
    for name in ("theirs.tif", "their_p.tif"):
        shutil.copyfile(place / "labels.tif", place / name)
    (place / "folder.tif").mkdir()
    (place / "points.csv").write_text("lon,lat\n0,51\n")
    for folder, name in (("theirs/2023", "notes.txt"), ("studies", "labels.json")):
        (place / folder).mkdir(parents=True)
        (place / folder / name).write_text('["mine"]')
    before = contents(place)
    code, result, err = said(capsys, *words)
    assert code == 2
    assert result["error"]["exit"] == 2  # type: ignore[index]
    assert str(result["error"]["message"]) in err  # type: ignore[index]
    assert "unforeseen" not in err
    assert contents(place) == before


NAMES = ("a.tif", "b.tif", "A.tif", "b", "link.tif", "sub/a.tif", "sub/../a.tif", "a.qml", "a.tif.aux.xml", "c.tif")


@settings(max_examples=150, deadline=None)
@given(read=st.sampled_from(NAMES), outs=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3), over=st.booleans())
def test_outputs_that_pass_are_no_input_and_each_its_own(
    tmp_path_factory: pytest.TempPathFactory, read: str, outs: list[str], over: bool
) -> None:
    folder = tmp_path_factory.mktemp("p")
    (folder / "sub").mkdir()
    (folder / "a.tif").write_bytes(b"II*\0")
    (folder / "link.tif").symlink_to(folder / "a.tif")
    (folder / read).touch()
    names = [f"out{number}" for number in range(len(outs))]
    declared = {"read": Input(), **{name: Output(TIFF, beside=sidecars) for name in names}}
    args = argparse.Namespace(
        read=str(folder / read), **dict(zip(names, (str(folder / out) for out in outs), strict=True))
    )
    before = contents(folder)
    try:
        check_paths(declared, args, overwrite=over)
    except InputError:
        assert contents(folder) == before
        return
    written = [Path(getattr(args, name)) for name in names]
    written += [beside for path in written for beside in sidecars(path)]
    real = [os.path.realpath(path) for path in written]
    assert len(set(real)) == len(real)
    assert os.path.realpath(folder / read) not in real
    assert all(path.suffix in (".tif", ".qml", ".xml") for path in written)
    assert contents(folder) == before


def test_an_earlier_result_is_replaced_and_that_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (*MAP, "--out", "m.tif")
    assert "replaced" not in said(capsys, *words)[1]
    code, result, _ = said(capsys, *words)
    assert (code, result["replaced"]) == (0, ["m.tif"])
    (place / "m.tif").write_bytes((place / "labels.tif").read_bytes())
    assert said(capsys, *words)[0] == 2
    assert main([*words, "--overwrite"]) == 0
    assert "Replaced the earlier m.tif." in capsys.readouterr().out


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written_is_told_before_the_work(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "closed").mkdir(0o500)
    code, result, _ = said(capsys, *MAP, "--out", "closed/m.tif")
    assert (code, "Permission denied" in str(result)) == (2, True)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="a folder that nobody can write is wanted")
def test_a_folder_that_takes_no_files_is_told_before_the_work(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, result, _ = said(capsys, *MAP, "--out", "/proc/self/m.tif")
    assert (code, "does not take new files" in str(result)) == (2, True)


def test_a_full_disk_is_told_before_the_work_and_nothing_stays_on_it(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resource = pytest.importorskip("resource")
    (place / "full").mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        code, result, _ = said(capsys, *MAP, "--out", "full/m.tif")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (code, "The disk is full" in str(result)) == (1, True)
    assert not list((place / "full").iterdir())


def test_ctrl_c_while_the_modules_are_read_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tessera_core.__main__ import run

    def pressed(name: str) -> None:
        raise KeyboardInterrupt

    stopped = ModuleType("tessera_core.cli")
    vars(stopped)["__getattr__"] = pressed
    monkeypatch.setitem(sys.modules, "tessera_core.cli", stopped)
    assert run() == 130
    assert capsys.readouterr().err == "tessera: Stopped before it began.\n"


def test_every_path_of_every_command_is_declared() -> None:
    paths = {"FILE", "DIR", "PATH", "FOLDER", "CSV", "NAME|FILE", "TILE", "DPIXELS", "CONFIG.toml", "OUT"}
    # The state of a bench is read and written on purpose; what info and app open is theirs to judge.
    known = {("bench", "state"), ("info", "paths"), ("app", "project"), ("project", "project"), ("project", "file")}
    for name, parser in every_parser():
        declared = getattr(command_module(name), "PATHS", {})
        for leaf in leaves(parser):
            dests = {action.dest for action in leaf._actions}
            for action in leaf._actions:
                if action.metavar in paths or action.dest in (
                    "out",
                    "embeddings",
                    "labels",
                    "first",
                    "second",
                    "weights",
                ):
                    assert action.dest in declared or (name, action.dest) in known, f"{name} {action.dest}"
            assert "out" not in dests or "overwrite" in dests


# ------------------------------------------------------------------ exit codes


def test_what_is_missing_is_bad_input_everywhere(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        "info no/such",
        "coverage --region no/such.geojson",
        "fetch --region no/such.geojson --years 2023 --out o",
        "fetch --points no/such.csv --years 2023 --out o.csv",
        "acquire --region no/such.geojson --year 2023 --out o",
        "generate no/such --weights studio-nano --out o",
        "generate e --weights no/such --out o",
        "demo o --weights no/such",
        "pretrain no/such.toml --out o",
        "study labels --out o --tile no/such --labels labels.tif",
        "map no/such --labels labels.tif --out o.tif",
        "map e/2023 --labels no/such.gpkg --out o.tif",
        "map e/2023 --use-head no/such --out o.tif",
        "change e/2023 no/such --out o.tif",
        "stack no/such e/2023 --out o",
        "fill no/such e/2023 --out o",
        "evaluate e/2023 --labels no/such.gpkg",
        "evaluate e/2023 --labels labels.tif --tree no/such.txt",
        "class map no/such --out o",
        "export no/such --to qgis --out o.zip",
        "bench heads --data no/such",
        "app --project no/such",
        "backup no/such --restore",
        "lesson check no/such",
        "zones no/such fields.gpkg --out o.csv",
        "segment no/such --out o.gpkg",
        "features e/2023 no/such.tif --out o",
        "weak-labels no/such e/2023 --out o.gpkg",
        "monitor find no/such e/2023 e/2024 --out o.gpkg",
        "head teach no/such Fen --out o.safetensors",
        "places no/such --out o",
        "verify no/such",
        "validate show no/such",
    ]
    assert {line.split()[0] for line in lines} >= set(COMMANDS) - {"completion", "engine", "project"}
    before = contents(place)
    for line in lines:
        code, result, err = said(capsys, *line.split())
        assert code == 2, line
        assert "no/such" in result["error"]["message"], line  # type: ignore[index]
        assert "Traceback" not in err
    assert contents(place) == before


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("mpa", "Did you mean map"),
        ("map --lables x", "Did you mean --labels"),
        ("info -dash.csv", "is given as ./-dash.csv"),
        ("map e/2023 --labels -dash.csv --out x.tif", "is given as ./-dash.csv"),
        ("map e/2023 --labels labels.tif --out x.tif --head forrest", "Did you mean forest"),
        ("map e/2O23 --labels labels.tif --out x.tif", "did you mean 2023"),
        ("generate e --weights studio-nao --out o", "did you mean studio-nano"),
        ("fuse 'e/*x' e/2023 --out o", "Nothing matches e/*x"),
        ("generate 'tiles/*' --weights studio-nano --out o", "Nothing matches tiles/*"),
        ("acquire --bbox 0,51,0.01,51.01 --year 1999 --out o", "too early"),
        ("acquire --bbox 0,51,0.01,51.01 --years 2023,2024 --out o", "one year at a time"),
        ("acquire --bbox 0,51,0.01,51.01 --year 2098 --out o", "not been yet"),
        ("fetch --bbox 0,51,0.01,51.01 --years 1999 --out o", "Nobody has embeddings of 1999"),
        ("fetch --bbox 0,51,0.01,51.01 --year 2024-2018 --out o", "backwards"),
        ("coverage --bbox 0,51,0.01,51.01 --years soon", "not a list of years"),
        ("map e/2023 --labels labels.tif --field crop --out x.tif", "has no fields"),
        ("map e/2023 --labels labels.tif --head ridge-regression --layer crop --out x.tif", "has no fields"),
        ("change e/2023 e/2024 --out c.tif --rate 5", "share between 0 and 1"),
    ],
)
def test_mistakes_are_told_with_what_was_meant(
    place: Path, capsys: pytest.CaptureFixture[str], line: str, sentence: str
) -> None:
    code, result, _ = said(capsys, *shlex.split(line))
    assert code == 2
    assert sentence in result["error"]["message"]  # type: ignore[index]


def test_mistakes_are_told_before_anything_heavy_is_imported(place: Path) -> None:
    lines = [
        "map e/2023 --labels nothing.gpkg --out m.tif",
        "map e/2023 --labels labels.tif --out m.png",
        "map e/2023 --labels labels.tif --head nothing --out m.tif",
        "evaluate nothing --labels labels.tif",
        "generate nothing --weights v2-medium --out o",
        "generate e --weights nothing --out o",
        "fuse e/2023 e/2024 --out mywork/notes.txt",
        "export nothing --to qgis --out o.zip",
        "pretrain nothing.toml --out o",
        "study labels --worlds 0 --out o",
        "change e/2023 nothing --out c.tif",
        "info nothing",
        "demo small --size 64",
        "demo small --years 2016",
    ]
    code = (
        "import sys\nfrom tessera_core.cli import main\n"
        f"codes = [main(line.split()) for line in {lines!r}]\n"
        "heavy = [m for m in ('torch', 'sklearn', 'rasterio', 'pandas', 'zarr', 'scipy', 'pyogrio') if m in sys.modules]\n"
        "print(codes, heavy)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=place)
    assert done.stdout.strip() == f"{[2] * len(lines)} []"


def test_a_failure_of_ours_is_a_sentence_and_the_rest_on_request(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = command_module("stack")
    for error, code, sentence in (
        (ValueError("x"), 1, "unforeseen"),
        (PermissionError(13, "Permission denied", "here"), 1, "here: Permission denied"),
        (MemoryError(), 1, "not enough memory"),
        (KeyboardInterrupt(), 130, "Stopped"),
    ):

        def failing(args: argparse.Namespace, error: BaseException = error) -> dict[str, object]:
            raise error

        monkeypatch.setattr(module, "run", failing)
        got, result, err = said(capsys, "stack", "e/2023", "e/2024", "--out", "o")
        assert (got, result["error"]["exit"]) == (code, code)  # type: ignore[index]
        assert sentence in err
        assert "Traceback" not in err
        if isinstance(error, ValueError):
            assert "Traceback" in said(capsys, "-v", "stack", "e/2023", "e/2024", "--out", "o")[2]


def test_what_is_done_in_part_has_a_code_of_its_own(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = command_module("fetch")
    monkeypatch.setattr(module, "run", lambda args: {"rasters": [], "missing": ["a piece"]})
    code, result, _ = said(capsys, "fetch", "--bbox", "-1,51,0,52", "--year", "2023", "--out", "o")
    assert (code, result["missing"]) == (3, ["a piece"])


# ------------------------------------------------------------------ help


def test_every_help_has_examples_that_parse_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    for name, parser in every_parser():
        text = parser.format_help()
        assert "exit codes: 0 done, 1 failure, 2 bad input, 3" in text
        examples = command_module(name).EXAMPLES
        assert examples, name
        for line in examples:
            words = shlex.split(line)
            assert words[:2] == ["tessera", name]
            assert line in text
            parser.parse_args([word for word in words[2:]])
        for leaf in leaves(parser):
            for action in leaf._actions:
                if action.option_strings and action.help and action.default not in (None, False, "", argparse.SUPPRESS):
                    assert "default" in leaf.format_help().partition(action.option_strings[0])[2], (
                        f"{name} {action.dest}"
                    )
    assert main([]) == 2
    assert main(["help"]) == main(["-q", "help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)
    assert "3 done in part" in out
    for words in (["help", "stack"], ["fuse", "--help"]):
        with pytest.raises(SystemExit, match="0"):
            main(words)
        assert "tessera stack demo/embeddings/2023" in capsys.readouterr().out


def test_lists_that_stand_in_for_imports_are_whole() -> None:
    assert set(HEAD_NAMES) == set(heads.HEADS) - {"tree"}
    assert set(REGRESSION_HEAD_NAMES) == set(heads.REGRESSION_HEADS)
    formats = {**labels.FORMATS, **labels.CLASS_FORMATS}
    assert {kind: form.ending for kind, form in formats.items()} == LABEL_KINDS


def test_years_have_one_spelling() -> None:
    assert parse_years("2024") == [2024]
    assert parse_years("2022, 2024") == [2022, 2024]
    assert parse_years("2018-2020,2019") == [2018, 2019, 2020]
    for wrong in ("", "20x4", "2024-", "-2024", "1900", "2018-2019-2020", "٢٠٢٤٥"):
        with pytest.raises(InputError):
            parse_years(wrong)


# ------------------------------------------------------------------ streams


def run(place: Path, line: str, **more: str) -> subprocess.CompletedProcess[str]:
    """One shell line, with ``tessera`` as the command."""
    script = f'tessera() {{ "{sys.executable}" -m tessera_core "$@"; }}\nset -o pipefail\n{line}'
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=place, env={**os.environ, **more}, errors="replace"
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is needed")
def test_output_survives_any_encoding_and_any_reader(place: Path) -> None:
    (place / "Łąka²").mkdir()
    shutil.move(place / "e" / "2024", place / "Łąka²" / "2024")
    done = run(place, "tessera info Łąka²", PYTHONIOENCODING="cp1252")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2024" in done.stdout
    done = run(place, "tessera help | head -c 0; tessera help 2>&- | head -n 1")
    assert (done.returncode, done.stderr) == (0, "")
    done = run(place, "tessera help > /dev/full")
    assert (done.returncode, "could not be printed" in done.stderr) == (1, True)
    # Whoever read the progress may go; the work goes on.
    code = "from tessera_core.cli.console import *; [ConsoleProgress('x')(100, 100) for _ in range(9)]; print('done')"
    done = run(place, f'"{sys.executable}" -c "{code}" 2> >(head -c 0)')
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_progress_comes_as_json_lines_or_not_at_all(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = said(capsys, "--progress", "json", "stack", "e/2023", "e/2024", "--out", "a")
    lines = [json.loads(line)["progress"] for line in err.splitlines()]
    assert lines[-1]["done"] == lines[-1]["total"]
    assert said(capsys, "-q", "stack", "e/2023", "e/2024", "--out", "b")[2] == ""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is needed")
def test_bash_completes_commands_options_and_choices(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    (place / "c.bash").write_text(capsys.readouterr().out)

    def completed(*words: str) -> list[str]:
        line = " ".join(map(shlex.quote, words))
        script = f"source c.bash; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _tessera; echo ${{COMPREPLY[@]}}"
        return subprocess.run(
            ["bash", "-c", script], capture_output=True, text=True, cwd=place, check=True
        ).stdout.split()

    assert completed("tessera", "ma") == ["map"]
    assert set(completed("tessera", "help", "")) == set(COMMANDS)
    assert completed("tessera", "map", "--conf") == ["--confidence-threshold", "--confidence"]
    assert completed("tessera", "map", "--head", "fo") == ["forest", "forest-regression"]
    assert "ablations" in completed("tessera", "study", "")
    for shell, word in (("zsh", "#compdef tessera"), ("fish", "complete -c tessera")):
        assert main(["completion", shell]) == 0
        assert word in capsys.readouterr().out
