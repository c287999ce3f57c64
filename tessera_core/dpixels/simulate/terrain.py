"""Relief and running water: fractal elevation, drainage over it, and how slopes catch the light.

Elevation is spectral synthesis of fractional Brownian motion (Saupe 1988). Water finds its way by priority flooding (Barnes et
al. 2014) with eight flow directions. All arrays are (H, W) with row 0 in the north.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera_core.types import Floats

PIXEL_M = 10.0
_NEIGHBOURS = [(dr, dc) for dr in (-1, 0, 1) for dc in (-1, 0, 1) if dr or dc]


@dataclass(frozen=True)
class Terrain:
    """Elevation in metres, slope in radians, and the direction slopes face (radians clockwise from north), (H, W) each."""

    elevation: Floats
    slope: Floats
    aspect: Floats

    def illumination(self, elevation_deg: float, azimuth_deg: float, strength: float = 0.6) -> Floats:
        """Factor on reflectance of each pixel for a sun position, 1 on flat land.

        Cosine law to the power of ``strength``: the part that topographic correction leaves (Minnaert 1941; Soenen et al. 2005).
        """
        zenith = np.radians(90 - elevation_deg)
        facing = np.cos(np.radians(azimuth_deg) - self.aspect)
        incidence = np.cos(zenith) * np.cos(self.slope) + np.sin(zenith) * np.sin(self.slope) * facing
        ratio = np.clip(incidence / max(np.cos(zenith), 0.1), 0.2, 2.0)
        return (ratio**strength).astype(np.float32)


def fractal(size: int, rng: np.random.Generator, roughness: float = 1.0, coarsest: float = 1.0) -> Floats:
    """Periodic Gaussian field (size, size) of zero mean and unit deviation.

    Args:
        size: pixels.
        rng: the source of all chance.
        roughness: exponent of the amplitude spectrum; 1 is pink and lumpy, 2 smooth hills.
        coarsest: longest wave, as a share of the field.
    """
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    frequency = np.hypot(fy, fx)
    amplitude = np.where(frequency >= 0.999 / (size * coarsest), np.maximum(frequency, 1e-9) ** -(roughness + 0.5), 0)
    noise = rng.standard_normal(amplitude.shape) + 1j * rng.standard_normal(amplitude.shape)
    field = np.fft.irfft2(noise * amplitude, s=(size, size))
    return ((field - field.mean()) / field.std()).astype(np.float32)


def make_terrain(size: int, rng: np.random.Generator, relief: float = 130.0) -> Terrain:
    """Hills falling towards one side, so that water has somewhere to go; ``relief`` metres between low and high ground."""
    # A window of a larger periodic field: hills need not match at opposite edges.
    hills = fractal(2 * size, rng, 1.75, 0.5)[:size, :size]
    direction = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    tilt = np.cos(direction) * y + np.sin(direction) * x
    height = hills / max(float(np.ptp(hills)), 1e-6) + 0.55 * tilt
    # Valleys are broader than ridges in a landscape that rivers have worked on.
    height = (height - height.min()) / np.ptp(height)
    elevation = (25 + relief * height**1.4).astype(np.float32)
    down, right = np.gradient(elevation.astype(np.float64), PIXEL_M)
    slope = np.arctan(np.hypot(down, right)).astype(np.float32)
    # Downhill is against the gradient; rows grow southwards.
    aspect = np.arctan2(-right, down).astype(np.float32)
    return Terrain(elevation, slope, aspect)


def drainage(elevation: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Flow over the flooded surface: index of each cell's receiver (flat, -1 off the map) and cells drained, (H, W) each."""
    height, width = elevation.shape
    receiver = np.full(elevation.size, -1, np.intp)
    seen = np.zeros(elevation.shape, bool)
    heap: list[tuple[float, int, int]] = []
    for r in range(height):
        for c in range(width) if r in (0, height - 1) else (0, width - 1):
            heapq.heappush(heap, (float(elevation[r, c]), r, c))
            seen[r, c] = True
    order = []
    while heap:
        level, r, c = heapq.heappop(heap)
        order.append(r * width + c)
        for dr, dc in _NEIGHBOURS:
            nr, nc = r + dr, c + dc
            if 0 <= nr < height and 0 <= nc < width and not seen[nr, nc]:
                seen[nr, nc] = True
                receiver[nr * width + nc] = r * width + c
                heapq.heappush(heap, (max(float(elevation[nr, nc]), level + 1e-4), nr, nc))
    drained = np.ones(elevation.size, np.float32)
    for cell in reversed(order):
        if receiver[cell] >= 0:
            drained[receiver[cell]] += drained[cell]
    return receiver.reshape(elevation.shape), drained.reshape(elevation.shape)


def channels(
    elevation: Floats, coarse: int = 4, share: float = 0.035
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """River courses, the longest first: ``(points (N, 2) of row, col; share of the map drained at each)``, downstream.

    Drainage is computed on cells of ``coarse`` pixels; a channel begins where it drains ``share`` of the map. A tributary
    ends on the point of its river, other courses at the edge of the map.
    """
    size = elevation.shape[0] // coarse * coarse
    blocks = elevation[:size, :size].reshape(size // coarse, coarse, size // coarse, coarse).mean((1, 3))
    receiver, drained = drainage(blocks)
    flat, flow = receiver.ravel(), drained.ravel().astype(np.float64) / drained.size
    width = blocks.shape[1]
    fed = np.zeros(flat.size, bool)
    fed[flat[(flow >= share) & (flat >= 0)]] = True
    heads = np.flatnonzero((flow >= share) & ~fed)
    placed: dict[int, NDArray[np.float64]] = {}
    courses = []
    for head in sorted(heads, key=lambda cell: -_length(int(cell), flat)):
        path, cell = [], int(head)
        while cell >= 0:
            path.append(cell)
            if cell in placed:
                break
            cell = int(flat[cell])
        if len(path) < 6:
            continue
        points = np.stack(np.divmod(np.array(path), width), 1) * float(coarse) + coarse / 2
        points[-1] = placed.get(path[-1], points[-1])
        points = _smooth(points)
        placed |= {cell: point for cell, point in zip(path, points, strict=True) if cell not in placed}
        courses.append((points, flow[path]))
    return courses


def _length(cell: int, receiver: NDArray[np.intp]) -> int:
    count = 0
    while cell >= 0:
        cell, count = int(receiver[cell]), count + 1
    return count


def _smooth(points: NDArray[np.float64], rounds: int = 3) -> NDArray[np.float64]:
    for _ in range(rounds):
        points[1:-1] = 0.25 * points[:-2] + 0.5 * points[1:-1] + 0.25 * points[2:]
    return points
