"""Holes of a project's year are made here from a loopback archive: joined where the weights are the same, refused where not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tessera_core.assess.holes import MADE_HERE, ORIGIN_FILE, DisagreementError, boxes_to_make
from tessera_core.cli import main
from tessera_core.errors import Cancelled, MixedDatasetsError
from tessera_core.models.zoo import WEIGHTS_FOLDER
from tessera_core.project import filling, pack
from tessera_core.project.filling import fill_year, fitting_weights, lacking, make_holes, unfill
from tessera_core.raster import EmbeddingRaster, NoData
from tests.dpixels.sentinel_server import Archive, few_days
from tests.factories import random_raster
from tests.project.gaps import HOLE, HOLE_PIXELS, HOW, SHAPE, project_of, published, quiet, with_hole

pytestmark = pytest.mark.skipif(
    not (WEIGHTS_FOLDER / f"{HOW.weights}.safetensors").exists(), reason="this checkout has no weights of its own"
)


def never() -> bool:
    return False


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    folder = tmp_path_factory.mktemp("filling")
    with pytest.MonkeyPatch.context() as patch, few_days(folder / "archive", patch) as served:
        patch.setenv("TESSERA_HOME", str(folder / "home"))
        yield served


@pytest.fixture(scope="module")
def whole(archive: Archive) -> EmbeddingRaster:
    return published()


def test_the_same_weights_fill_a_hole_and_it_can_be_taken_back(whole: EmbeddingRaster, tmp_path: Path) -> None:
    gappy = with_hole(whole)
    project = project_of(gappy, tmp_path / "project")
    lack = lacking(gappy)
    assert (lack.reasons, lack.refused) == ({NoData.MISSING_TILE: HOLE_PIXELS}, 3)
    assert lack.comparable
    assert lack.to_make <= SHAPE[0] * SHAPE[1]
    assert fitting_weights(gappy.provenance) == ("studio-nano", "mpc")
    found = fill_year(project, 2023, HOW, quiet, never)
    assert found.agreement.equal_codes == 1
    filled = EmbeddingRaster.open(project.embeddings_path(2023))
    np.testing.assert_array_equal(filled.codes[HOLE], whole.codes[HOLE])
    assert set(filled.nodata_reasons()[0, :3]) == {NoData.TOO_FEW}
    origin = np.load(project.embeddings_path(2023) / ORIGIN_FILE)
    assert (origin == MADE_HERE).sum() == HOLE_PIXELS
    assert "Made here were" in filling.filled_sentence(project, 2023)
    # Which pixels were made here goes along to another computer; what was published alone does not, and that is said.
    opened = pack.open_pack(pack.make_pack([project], tmp_path / "x.tesserapack"))[0]
    np.testing.assert_array_equal(np.load(opened.embeddings_path(2023) / ORIGIN_FILE), origin)
    unfill(project, 2023)
    assert EmbeddingRaster.open(project.embeddings_path(2023)).valid().sum() == gappy.valid().sum()
    assert filling.filled_sentence(project, 2023) == ""


def test_other_weights_are_refused_and_nothing_changes(
    whole: EmbeddingRaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Published under the same name, by weights that order the numbers otherwise.
    other = with_hole(replace(whole, codes=np.roll(whole.codes, 7, axis=2)))
    project = project_of(other, tmp_path / "project")
    before = project.embeddings_path(2023)
    with pytest.raises(DisagreementError, match="dataset of its own") as caught:
        fill_year(project, 2023, HOW, quiet, never)
    assert caught.value.agreement.verdict == "red"
    assert project.embeddings_path(2023) == before
    assert project.settings.filled == {}
    with pytest.raises(Cancelled):
        make_holes(other, HOW, quiet, lambda: True, margin=2)
    # Weights of another dataset are refused before anything is fetched.
    monkeypatch.setattr(filling, "acquire", None)
    named = replace(other, provenance=replace(other.provenance, variant="00000000"))
    with pytest.raises(MixedDatasetsError):
        make_holes(named, HOW, quiet, never)


def test_the_command_makes_and_fills_as_the_page_does(
    whole: EmbeddingRaster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gappy = with_hole(whole)
    gappy.save(tmp_path / "published")
    out = tmp_path / "out"
    assert main(["fill", str(tmp_path / "published"), "--make", "--source=mpc", f"--out={out}"]) == 0
    assert f"{HOLE_PIXELS} pixels" in capsys.readouterr().out
    np.testing.assert_array_equal(EmbeddingRaster.open(out).codes[HOLE], whole.codes[HOLE])


def test_large_holes_are_made_in_pieces_and_holes_without_neighbours_are_not_comparable() -> None:
    shape = (1500, 1100)
    scales = np.full(shape, np.nan, np.float32)
    reasons = np.full(shape, NoData.MISSING_TILE, np.uint8)
    scales[:, -10:], reasons[:, -10:] = 1, NoData.VALID
    raster = replace(random_raster(shape, 2), scales=scales, reasons=reasons)
    lack = lacking(raster)
    assert lack.comparable
    pieces = filling._pieces(raster.grid, boxes_to_make(raster))
    assert sum(grid.height * grid.width for _, grid in pieces) == lack.to_make
    assert max(max(grid.shape) for _, grid in pieces) <= 1024
    assert {grid.crs for _, grid in pieces} == {raster.grid.crs}
    nobody = replace(
        raster, scales=np.full(shape, np.nan, np.float32), reasons=np.full(shape, NoData.MISSING_TILE, np.uint8)
    )
    assert not lacking(nobody).comparable
