"""The measure of change: truth is of the ground, rates are counted right, and any weights can be asked for."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tessera_core.bench import change
from tessera_core.cli import main
from tessera_core.dpixels.simulate.world import World
from tessera_core.errors import CheckpointError, InputError
from tessera_core.models.checkpoint import load_checkpoint
from tessera_core.project.demo import DEMO_WEIGHTS
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tests.factories import make_raster


def _pretend(world: World, _loaded: object, _folder: Path) -> dict[int, EmbeddingRaster]:
    """Embeddings from the truth itself: a vector for each cover, blurred, with noise of the year."""
    centres = np.random.default_rng(1).normal(size=(16, 32))
    rasters = {}
    for year, truth in world.truth.items():
        rng = np.random.default_rng(year)
        level = np.exp(0.4 * rng.normal(size=truth.shape))[..., None]
        values = gaussian_filter(centres[truth], (0.5, 0.5, 0)) + 0.2 * level * rng.normal(size=(*truth.shape, 32))
        rasters[year] = make_raster(values, world.grid, Provenance("studio", "test", "", 32, year))
    return rasters


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, object]:
    monkeypatch.setattr(change, "_embed", _pretend)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{change.MARK}\nold\n{change.MARK}\nafter\n")
    result = change.run(argparse.Namespace(quick=True, weights=None, markdown=str(page)))
    return result | {"page": page.read_text()}


def test_truth_is_of_the_ground_and_rare_change_is_a_part_of_the_history() -> None:
    world = change.make_bench_world(1, 96)
    ever = world.truth[2023] != world.truth[2025]
    shares = []
    for year in change.RARE:
        changed = world.truth[2023] != world.truth[year]
        assert changed.any()
        assert not (changed & ~ever).any()
        # Whole parcels change: truth knows no half changed pixel.
        for parcel in np.unique(world.layout.parcel[changed]):
            assert changed[world.layout.parcel == parcel].all()
        shares.append(changed.mean())
    assert max(shares) < 0.5 * ever.mean()
    for year in change.AGAIN:
        assert (world.truth[year] == world.truth[2023]).all()
    # More than half of every pixel is its parcel; what else is in it never changes.
    assert world.layout.hedge.max() <= 0.5


def test_pairs_are_scored_and_the_table_goes_between_the_marks(measured: dict) -> None:
    assert [len(measured[kind]) for kind in ("changed", "rare", "unchanged")] == [3, 2, 3]
    for rate, row in measured["summary"].items():
        if rate != "scene_median_rule":
            assert row["false_changed"] <= float(rate)
            assert row["called_without_change_worst"] <= float(rate)
            assert row["beside_changed"] <= row["false_changed"]
    assert measured["summary"]["0.05"]["found_changed"] > 0.8
    assert measured["summary"]["scene_median_rule"]["false_changed"] > 0.3
    assert measured["weights"]["sha256"] == load_checkpoint(DEMO_WEIGHTS).sha256
    lines = measured["page"].splitlines()
    assert lines[0] == "before"
    assert lines[-1] == "after"
    assert "old" not in lines
    rows = [line for line in lines if line.startswith("| ")]
    assert len(rows) == 2 + len(change.RATES)
    assert all(line.count("|") == rows[0].count("|") for line in rows)
    assert f"| 5 % | {100 * measured['summary']['0.05']['false_changed']:.1f} % |" in measured["page"]


def test_means_count_pairs_in_which_nothing_was_called() -> None:
    called = {"called": 0.1, "false": 0.2, "false_beside_change": 0.1, "found": 0.9}
    nothing = {"called": 0.0, "false": None, "false_beside_change": None, "found": 0.0}
    still = {"called": 0.03, "false": 1.0, "false_beside_change": 0.0, "found": None}

    def pair(one: dict) -> dict:
        return {"at": {f"{rate:g}": one for rate in change.RATES}, "scene_median_rule": one}

    row = change.summary({"changed": [pair(called), pair(nothing)], "rare": [pair(called)], "unchanged": [pair(still)]})
    assert row["0.05"]["false_changed"] == 0.1
    assert row["0.05"]["false_changed_worst"] == 0.2
    assert row["0.05"]["found_changed"] == 0.45
    assert row["0.05"]["false_rare"] == 0.2
    assert row["0.05"]["called_without_change_worst"] == 0.03


def test_any_weights_can_be_measured(tmp_path: Path) -> None:
    shipped = change.load_weights(None)
    random, again = change.load_weights(change.UNTRAINED), change.load_weights(change.UNTRAINED)
    same = [
        np.array_equal(a.detach().numpy(), b.detach().numpy())
        for a, b in zip(random.encoder.parameters(), again.encoder.parameters(), strict=True)
    ]
    assert all(same)
    other = [
        np.array_equal(a.detach().numpy(), b.detach().numpy())
        for a, b in zip(random.encoder.parameters(), shipped.encoder.parameters(), strict=True)
    ]
    assert not all(other)
    assert random.config == shipped.config
    file = tmp_path / "mine.safetensors"
    file.write_bytes(shipped.path.read_bytes())
    assert change.load_weights(str(file)).sha256 == shipped.sha256
    with pytest.raises(CheckpointError):
        change.load_weights(str(tmp_path / "none.safetensors"))


def test_the_command_prints_numbers_and_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked = []
    weights = tmp_path / "some.safetensors"
    weights.touch()

    def load(weights: str | None) -> object:
        asked.append(weights)
        return replace(load_checkpoint(DEMO_WEIGHTS), name="mine")

    monkeypatch.setattr(change, "_embed", _pretend)
    monkeypatch.setattr(change, "load_weights", load)
    assert main(["bench", "change", "--quick", "--weights", str(weights)]) == 0
    out = capsys.readouterr().out
    assert asked == [str(weights)]
    assert '"summary"' in out
    assert "\n| accepted | false, mean |" in out
    assert "`mine`" in out


def test_a_page_without_marks_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(change, "_embed", lambda *_: pytest.fail("measured before the page was looked at"))
    with pytest.raises(InputError, match="two lines"):
        change.run(argparse.Namespace(quick=True, weights=None, markdown=str(tmp_path / "none.md")))
