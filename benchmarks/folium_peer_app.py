"""The usual way to label an embedding scene in Streamlit, to be measured beside ours: streamlit-folium and scikit-learn.

``streamlit run folium_peer_app.py -- RASTER LABELS`` as in ``folium_peer``. Written as its documentation recommends, and to
its advantage: the map stays (``feature_group_to_add``), only the click comes back, in a fragment, the scene is kept as
float32, and the picture is a palette PNG. It shows no labels, which would cost more.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path
from typing import Any

import folium
import numpy as np
import streamlit as st
from PIL import Image
from sklearn.linear_model import LogisticRegression
from streamlit_folium import st_folium

from tessera_core.raster import EmbeddingRaster


@st.cache_resource
def scene(folder: str) -> tuple[np.ndarray, Any]:
    """All pixels as float32 (H * W, D), and the grid."""
    raster = EmbeddingRaster.open(folder)
    codes = np.asarray(raster.codes).reshape(-1, raster.dim)
    return codes * np.asarray(raster.scales, np.float32).reshape(-1, 1), raster.grid


@st.fragment
def page(folder: str, labels: list[list[int]], palette: list[int]) -> None:
    """Map, and what a click on it does."""
    pixels, grid = scene(folder)
    height, width = grid.shape
    west, south, east, north = grid.bounds_lonlat
    bounds = [[south, west], [north, east]]
    known = st.session_state.setdefault("labels", [list(label) for label in labels])
    click = (st.session_state.get("map") or {}).get("last_clicked")
    if click and click != st.session_state.get("click"):
        st.session_state["click"] = click
        row = int((north - click["lat"]) / (north - south) * height)
        col = int((click["lng"] - west) / (east - west) * width)
        kinds = max(label[2] for label in labels)
        added = len(known) - len(labels)
        known.append([row, col, 1 + added % kinds])
    rows, cols, classes = np.array(known).T
    head = LogisticRegression(max_iter=1000).fit(pixels[rows * width + cols], classes)
    proba = head.predict_proba(pixels)
    chosen = head.classes_[proba.argmax(axis=1)].astype(np.uint8).reshape(height, width)
    image = Image.fromarray(chosen, "P")
    image.putpalette(palette)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    group = folium.FeatureGroup("Class map")
    group.add_child(folium.raster_layers.ImageOverlay(url, bounds, opacity=0.8))
    chart = folium.Map([(south + north) / 2, (west + east) / 2], zoom_start=13, tiles=None)
    chart.fit_bounds(bounds)
    st_folium(
        chart,
        key="map",
        feature_group_to_add=group,
        returned_objects=["last_clicked"],
        height=700,
        use_container_width=True,
    )
    st.caption(f"{len(known) - len(labels)} clicks · {100 * float(proba.max(axis=1).mean()):.0f} % sure on average")


def main() -> None:
    """Read what to show, and show it."""
    st.set_page_config(layout="wide")
    folder, told = sys.argv[1:3]
    known = json.loads(Path(told).read_text(encoding="utf-8"))
    page(folder, known["labels"], known["palette"])


main()
