"""``tessera bench click``: what it reports about us and about streamlit-folium, on a scene of a few pixels."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tessera_core.bench import click, folium_peer
from tessera_core.errors import InputError, TesseraError

SIZE = 96


def test_without_the_extra_the_report_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(folium_peer, "NEEDED", ("folium", "no_such_package_here"))
    found = click._measure_peer(None, tmp_path, SIZE, click.synthetic_raster(SIZE)[1], 2, 0)
    assert found == {"streamlit_folium": folium_peer.MISSING}
    assert "bench" in folium_peer.MISSING


def test_a_peer_that_does_not_start_is_reported_and_not_raised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: Any) -> Any:
        raise TesseraError("The app did not start: no module.")

    monkeypatch.setattr(folium_peer, "installed", lambda: True)
    monkeypatch.setattr(click, "_server", broken)
    found = click._measure_peer(None, tmp_path, SIZE, click.synthetic_raster(SIZE)[1], 2, 0)
    assert found == {"streamlit_folium": "The app did not start: no module."}


def test_the_browser_gets_leaflet_from_the_wheel_and_nothing_for_the_rest() -> None:
    class Route:
        def __init__(self, url: str) -> None:
            self.request = type("Request", (), {"url": url})()

        def fulfill(self, **answer: Any) -> None:
            self.answer = answer

    answers = {}
    for url in (
        "https://cdn/leaflet@1.9.3/dist/leaflet.js",
        "https://cdn/dist/leaflet.css?x=1",
        "https://cdn/jquery.js",
    ):
        route = Route(url)
        folium_peer._serve(route)
        answers[url.rpartition("/")[2]] = route.answer
    assert b"Leaflet" in answers["leaflet.js"]["body"]
    assert answers["leaflet.css?x=1"]["content_type"] == "text/css"
    assert b".leaflet-pane" in answers["leaflet.css?x=1"]["body"]
    assert answers["jquery.js"]["body"] == b""


@pytest.mark.browser
@pytest.mark.soak
def test_both_are_measured_in_one_run(apart: Callable[..., Any]) -> None:
    pytest.importorskip("playwright.sync_api")
    if not any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")):
        pytest.skip("no Chromium on this machine")
    (found,) = apart(click.measure, (SIZE,), 2)["sizes"].values()
    assert found["pixels"] == SIZE * SIZE
    assert found["quick_clicks_kept"] == found["quick_clicks"]
    assert 0 < found["min_ms"] <= found["median_ms"] <= found["max_ms"]
    assert found["with_short_pauses"]["median_ms"] > 0
    assert found["with_pauses"]["median_ms"] > 0
    if not folium_peer.installed():
        assert found["streamlit_folium"] == folium_peer.MISSING
        return
    peer = found["streamlit_folium"]
    assert 0 < peer["min_ms"] <= peer["median_ms"] <= peer["max_ms"]
    assert 1 <= peer["quick_clicks_kept"] <= found["quick_clicks"]
    assert found["streamlit_folium_ms"] == peer["median_ms"]
    assert found["ratio_streamlit_folium"] == pytest.approx(peer["median_ms"] / found["median_ms"], abs=0.01)


def test_sizes_are_told_in_pixels_and_a_larger_scene_repeats_a_smaller_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert click._sizes("512, 6000") == (512, 6000)
    with pytest.raises(InputError, match="pixels a side"):
        click._sizes("512,huge")
    monkeypatch.setattr(click, "REPEATED", SIZE)
    raster, truth = click.large_raster(tmp_path, SIZE + 40)
    assert raster.shape == truth.shape == (SIZE + 40, SIZE + 40)
    assert (raster.codes[SIZE:, :40] == raster.codes[:40, :40]).all()
    assert (truth[SIZE:, SIZE:] == truth[:40, :40]).all()
