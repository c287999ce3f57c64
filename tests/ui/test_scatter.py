import numpy as np
import pytest

from tessera_core.ui.components import scatter


def test_runs_become_indices() -> None:
    number, indices = scatter.unpack_selection({"n": 7, "runs": [2, 3, 8, 1]}, 10)
    assert number == 7
    assert indices.tolist() == [2, 3, 4, 8]


@pytest.mark.parametrize(
    "damaged",
    [None, {}, {"n": "1", "runs": []}, {"n": 1, "runs": [1]}, {"n": 1, "runs": [-1, 2]}, {"n": 1, "runs": [0, 1e9]}],
)
def test_damaged_selections_are_empty(damaged: object) -> None:
    assert len(scatter.unpack_selection(damaged, 10)[1]) == 0


def test_runs_beyond_the_points_are_cut() -> None:
    assert scatter.unpack_selection({"n": 1, "runs": [8, 100, 40, 2]}, 10)[1].tolist() == [8, 9]


@pytest.mark.parametrize("axes", [2, 3])
def test_positions_travel_centred_with_their_places(axes: int) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-40, 60, (500, axes)).astype(np.float32)
    place = rng.uniform(0, 1e6, (500, 2))
    cloud = scatter.Cloud("v", points, place, np.zeros(500, np.uint8), ("#000000",))
    body = scatter._positions(cloud)
    unit = np.frombuffer(body[: 4 * 500 * axes], "<f4").reshape(500, axes)
    assert np.abs(unit).max() <= 1.05
    assert np.corrcoef(unit[:, 0], points[:, 0])[0, 1] > 0.9999
    np.testing.assert_array_equal(np.frombuffer(body[4 * 500 * axes :], "<f8").reshape(500, 2), place)
