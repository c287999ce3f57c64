"""Filling holes: the same weights are joined pixel by pixel, other weights refused with the reason, and nothing else is touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tessera_core.assess.holes import (
    MADE_HERE,
    ORIGIN_FILE,
    PUBLISHED,
    REFUSED,
    DisagreementError,
    boxes_to_make,
    fill_holes,
    holes,
)
from tessera_core.cli import main
from tessera_core.errors import InputError, MixedDatasetsError
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, NoData
from tests.factories import make_grid, make_raster

STAMP = Provenance("tessera", "1.1", "dclimate", 16, 2024)
SHAPE = (60, 80)
HOLE = (slice(20, 32), slice(30, 50))


def embedded(seed: int) -> EmbeddingRaster:
    """The same ground through an encoder whose weights are drawn with that seed."""
    ground = np.random.default_rng(7).normal(size=(*SHAPE, 12)).cumsum(0).cumsum(1)
    weights = np.random.default_rng(seed).normal(size=(12, 16))
    return make_raster(np.tanh(ground / 8 @ weights).astype(np.float32), make_grid(SHAPE), STAMP)


def with_hole(raster: EmbeddingRaster, reason: NoData = NoData.MISSING_TILE) -> EmbeddingRaster:
    codes, scales = np.array(raster.codes), np.array(raster.scales)
    reasons = np.zeros(SHAPE, np.uint8)
    codes[HOLE], scales[HOLE], reasons[HOLE] = 0, np.nan, reason
    reasons[0, 0], scales[0, 0] = NoData.TOO_FEW, np.nan
    return replace(raster, codes=codes, scales=scales, reasons=reasons)


def part(raster: EmbeddingRaster, box: tuple[int, int, int, int]) -> EmbeddingRaster:
    top, left, bottom, right = box
    at = (slice(top, bottom), slice(left, right))
    grid = raster.grid.window(top, left, bottom - top, right - left)
    return replace(raster, codes=raster.codes[at], scales=raster.scales[at], grid=grid)


def test_what_has_to_be_made_is_the_hole_and_its_margin() -> None:
    raster = with_hole(embedded(1))
    assert boxes_to_make(raster, 8) == [(12, 22, 40, 58)]
    assert boxes_to_make(raster, 100) == [(0, 0, *SHAPE)]
    assert boxes_to_make(embedded(1)) == []
    assert boxes_to_make(raster, 0, REFUSED) == [(0, 0, 1, 1)]


def test_the_same_weights_fill_exactly_the_hole(tmp_path: Path) -> None:
    whole = embedded(1)
    published = with_hole(whole)
    (box,) = boxes_to_make(published, 12)
    found = fill_holes(published, part(whole, box), margin=12)
    np.testing.assert_array_equal(found.raster.codes, whole.codes)
    assert found.agreement.verdict == "green"
    assert found.filled == 12 * 20
    assert (found.origin[HOLE] == MADE_HERE).all()
    assert (found.origin == PUBLISHED).sum() == 60 * 80 - 12 * 20 - 1
    # What was refused for want of observations stays refused.
    assert found.raster.nodata_reasons()[0, 0] == NoData.TOO_FEW
    assert found.raster.provenance.details["filled"]["pixels"] == 240
    again = EmbeddingRaster.open(found.save(tmp_path / "filled"))
    np.testing.assert_array_equal(again.scales, found.raster.scales)
    np.testing.assert_array_equal(np.load(tmp_path / "filled" / ORIGIN_FILE), found.origin)
    # It may be replaced as any raster of ours.
    found.save(tmp_path / "filled")


def test_other_weights_are_refused_with_the_reason() -> None:
    published = with_hole(embedded(1))
    with pytest.raises(DisagreementError, match="not filled: These embeddings differ") as caught:
        fill_holes(published, embedded(2))
    assert caught.value.agreement.verdict == "red"
    assert "dataset of its own" in str(caught.value)


def test_slightly_other_vectors_are_refused_too() -> None:
    whole = embedded(1)
    noise = np.random.default_rng(0).integers(-25, 26, whole.codes.shape)
    near = replace(whole, codes=np.clip(whole.codes + noise, -127, 127).astype(np.int8))
    with pytest.raises(DisagreementError, match="like the published ones but not the same"):
        fill_holes(with_hole(whole), near)


def test_what_cannot_be_filled_is_told() -> None:
    whole = embedded(1)
    published = with_hole(whole)
    with pytest.raises(InputError, match="Nothing is missing"):
        fill_holes(whole, whole)
    with pytest.raises(InputError, match="too few to know"):
        fill_holes(published, part(whole, (20, 30, 32, 50)))
    with pytest.raises(InputError, match="nothing where"):
        fill_holes(published, part(whole, (40, 0, 60, 80)))
    shifted = replace(whole, grid=make_grid(SHAPE, west=500_003))
    with pytest.raises(InputError, match="do not lie on"):
        fill_holes(published, shifted)
    with pytest.raises(InputError, match="make the same year"):
        fill_holes(published, replace(whole, provenance=replace(STAMP, year=2023)))
    with pytest.raises(MixedDatasetsError):
        fill_holes(published, replace(whole, provenance=replace(STAMP, variant="aws")))
    assert holes(published).sum() == 240


def test_the_command_fills_or_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = embedded(1)
    with_hole(whole).save(tmp_path / "published")
    whole.save(tmp_path / "made")
    embedded(2).save(tmp_path / "other")
    folders = [str(tmp_path / name) for name in ("published", "made", "other", "out")]
    assert main(["fill", folders[0], folders[1], "--out", folders[3]]) == 0
    assert "240 pixels" in capsys.readouterr().out
    assert EmbeddingRaster.open(folders[3]).valid().sum() == 60 * 80 - 1
    assert main(["fill", folders[0], folders[2], "--out", str(tmp_path / "no")]) == 1
    assert "not filled" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
