"""What a comparison could have found, against what it does find where truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tessera_core.analysis.change import change_power, detect_change
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tests.factories import make_grid, make_raster

SIZE, PATCH, KINDS = 128, 8, 6


def two_years(noise: float, share: float, seed: int = 1) -> tuple[EmbeddingRaster, EmbeddingRaster, np.ndarray]:
    """Patches of kinds, of which a share is another kind a year later; noise in units of what tells kinds apart."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(KINDS, size=(SIZE // PATCH, SIZE // PATCH))
    changed = rng.random(kind.shape) < share
    later = np.where(changed, (kind + rng.integers(1, KINDS, kind.shape)) % KINDS, kind)
    centres = rng.normal(size=(KINDS, 32))

    def seen(of: np.ndarray, year: int) -> EmbeddingRaster:
        pixels = centres[np.kron(of, np.ones((PATCH, PATCH), int))]
        values = pixels + noise * rng.normal(size=(SIZE, SIZE, 32))
        return make_raster(values, make_grid((SIZE, SIZE)), Provenance("studio", "test", "", 32, year, "demo"))

    return seen(kind, 2023), seen(later, 2024), np.kron(changed, np.ones((PATCH, PATCH), bool)).astype(bool)


@pytest.mark.parametrize(("noise", "share"), [(0.3, 0.2), (1.0, 0.2), (1.0, 0.5), (3.0, 0.2)])
def test_the_power_is_near_what_is_found(noise: float, share: float) -> None:
    first, second, changed = two_years(noise, share)
    found = detect_change(first, second).mask(0.05)[changed].mean()
    power = change_power(first, second, (0.05,))
    assert power is not None
    assert power.pixels >= 0.015 * SIZE**2
    # The planted squares are smaller than the patches that changed, so less of them is found.
    assert found / 2 - 0.05 <= power.at(0.05) <= found + 0.05
    if found == 0:
        assert "nothing would be found" in power.sentence(0.05)
    else:
        assert f"about {100 * power.at(0.05):.0f} %" in power.sentence(0.05)


def test_it_depends_on_the_seed_alone_changes_nothing_and_says_where_it_cannot_tell() -> None:
    first, second, _ = two_years(0.5, 0.1)
    before = second.codes.copy()
    both = [change_power(first, second, (0.05, 0.2), seed=3) for _ in range(2)]
    assert both[0] == both[1]
    assert both[0] is not None
    assert both[0].at(0.2) >= both[0].at(0.05)
    assert (second.codes == before).all()
    few = slice(0, 20)
    small = [replace(one, codes=one.codes[few, few], scales=one.scales[few, few], grid=one.grid.window(0, 0, 20, 20))
             for one in (first, second)]  # fmt: skip
    assert change_power(small[0], small[1]) is None
