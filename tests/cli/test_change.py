from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tessera_core.cli import main
from tessera_core.raster import EmbeddingRaster
from tests.analysis.two_years import TwoYears, two_years
from tests.factories import alphaearth_like


@pytest.fixture
def years(tmp_path: Path) -> TwoYears:
    made = two_years(0, share=0.25)
    made.first.save(tmp_path / "2023")
    made.second.save(tmp_path / "2024")
    return made


def _run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = main([str(word) for word in argv])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_change_writes_what_changed_and_how_sure_it_is(
    tmp_path: Path, years: TwoYears, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out" / "change.tif"
    target.parent.mkdir()
    target.with_suffix(".qml").write_text("<qgis>mine</qgis>", encoding="utf-8")
    code, out, _ = _run(
        capsys, "change", tmp_path / "2023", tmp_path / "2024", "--out", target, "--rate", "0.1", "--json"
    )
    assert code == 0
    result = json.loads(out)
    with rasterio.open(result["out"]) as file:
        changed = file.read(1)
        assert file.tags()["tessera_years"] == "2023-2024"
        assert file.tags()["tessera_false_discovery_rate"] == "0.1"
        assert file.nodata == 0
    assert all(Path(result[key]).with_suffix(".qml").is_file() for key in ("out", "p_values"))
    # A style that a person saved there is theirs.
    assert target.with_suffix(".qml").read_text(encoding="utf-8") == "<qgis>mine</qgis>"
    with rasterio.open(result["p_values"]) as file:
        p = file.read(1)
        assert file.crs.to_epsg() == 32631
    assert result["changed"] == (changed == 2).sum()
    assert result["changed_hectares"] == pytest.approx(0.01 * result["changed"])
    called = changed == 2
    assert (called & ~years.changed).sum() <= 0.1 * called.sum()
    assert np.isnan(p[changed == 0]).all()
    assert p[called].max() < p[changed == 1].min()
    code, out, _ = _run(capsys, "change", tmp_path / "2024", tmp_path / "2023", "--out", target)
    assert code == 0
    assert "false alarms" in out
    assert "The years are given backwards" in out
    # What lay there was an earlier result, and that is told.
    assert f"Replaced the earlier {target}." in out
    assert f"Replaced the earlier {result['p_values']}." in out


def test_change_against_marked_ground(tmp_path: Path, years: TwoYears, capsys: pytest.CaptureFixture[str]) -> None:
    stable = np.where(years.changed, 0, 1).astype(np.uint8)
    with rasterio.open(
        tmp_path / "stable.tif",
        "w",
        driver="GTiff",
        height=144,
        width=144,
        count=1,
        dtype="uint8",
        nodata=0,
        crs=years.first.grid.crs,
        transform=years.first.grid.transform,
    ) as file:
        file.write(stable, 1)
    argv = (
        "change",
        tmp_path / "2023",
        tmp_path / "2024",
        "--out",
        tmp_path / "c.tif",
        "--stable",
        tmp_path / "stable.tif",
    )
    code, out, _ = _run(capsys, *argv, "--json")
    assert code == 0
    assert json.loads(out)["null"]["source"] == "marked"


def test_wrong_input_is_one_sentence(tmp_path: Path, years: TwoYears, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = _run(
        capsys, "change", tmp_path / "2023", tmp_path / "2024", "--out", tmp_path / "c.tif", "--rate", "5"
    )
    assert code == 2
    assert "between 0 and 1" in err
    code, _, err = _run(capsys, "change", tmp_path / "2023", tmp_path / "2023", "--out", tmp_path / "c.tif")
    assert code == 2
    assert "copy" in err


def test_a_stack_holds_embeddings_of_both(tmp_path: Path, years: TwoYears, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, "stack", tmp_path / "2023", tmp_path / "2024", "--out", tmp_path / "both", "--json")
    assert code == 0
    result = json.loads(out)
    assert result["dim"] == 96
    assert result["cosine_to_unrounded"] > 0.999
    assert "of 2023" in result["dataset"]
    code, out, _ = _run(capsys, "info", tmp_path / "both", "--json")
    assert code == 0
    assert "stack/" in out


def test_stack_joins_folders_year_by_year(tmp_path: Path, years: TwoYears, capsys: pytest.CaptureFixture[str]) -> None:
    for raster in (years.first, years.second):
        raster.save(tmp_path / "a" / str(raster.provenance.year))
        raster.save(tmp_path / "b" / str(raster.provenance.year))
    code, out, _ = _run(capsys, "stack", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "both", "--json")
    assert code == 0
    result = json.loads(out)
    assert result["years"] == [2023, 2024]
    assert result["dim"] == 96
    code, _, _ = _run(
        capsys, "change", tmp_path / "both" / "2023", tmp_path / "both" / "2024", "--out", tmp_path / "c.tif", "--json"
    )
    assert code == 0


def test_fuse_takes_alphaearth_files_in_other_coordinates(
    tmp_path: Path, years: TwoYears, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    alphaearth_like((years.first, years.second), tmp_path / "ae")
    # One file.
    theirs = tmp_path / "ae" / "2023" / "ae.tiff"
    code, out, err = _run(capsys, "stack", tmp_path / "2023", theirs, "--out", tmp_path / "one", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["dim"] == 48 + 64
    assert "alphaearth" in result["dataset"]
    joined = EmbeddingRaster.open(tmp_path / "one")
    assert joined.grid == years.first.grid
    assert result["pixels"] == joined.valid().sum() > 0.95 * years.first.valid().sum()
    # Folders of years, and change in what they give.
    for raster in (years.first, years.second):
        raster.save(tmp_path / "ours" / str(raster.provenance.year))
    both = tmp_path / "both"
    code, out, err = _run(capsys, "stack", tmp_path / "ours", tmp_path / "ae", "--out", both, "--json")
    assert code == 0, err
    assert json.loads(out)["years"] == [2023, 2024]
    code, out, err = _run(capsys, "change", both / "2023", both / "2024", "--out", tmp_path / "c.tif", "--json")
    assert code == 0, err
    with rasterio.open(tmp_path / "c.tif") as file:
        changed = file.read(1) == 2
    assert (changed & years.changed).sum() > 0.6 * years.changed.sum()
    assert (changed & ~years.changed).sum() < 0.1 * changed.sum()


def test_fuse_of_several_years_with_one_says_what_to_do(
    tmp_path: Path, years: TwoYears, capsys: pytest.CaptureFixture[str]
) -> None:
    for raster in (years.first, years.second):
        raster.save(tmp_path / "ours" / str(raster.provenance.year))
    code, _, err = _run(capsys, "stack", tmp_path / "ours", tmp_path / "2023", "--out", tmp_path / "both")
    assert code == 2
    assert "2023" in err
    assert "2024" in err
    assert "Traceback" not in err
    assert not (tmp_path / "both").exists()
