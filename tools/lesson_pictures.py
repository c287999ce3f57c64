"""Make the pictures that move of the shipped lessons, from small arrays computed here with a seed.

Usage: .venv/bin/python tools/lesson_pictures.py      writes pictures/*.json of each lesson; the same bytes each time
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "tessera_core" / "lessons" / "shipped"
# Colours that people with and without full colour vision tell apart, on light and dark grounds.
GREY, BLUE, GREEN, ORANGE, RED, TEAL, YELLOW = (
    "#8a9396",
    "#3b76b8",
    "#2e8b57",
    "#d9822b",
    "#c9443e",
    "#0b9a92",
    "#d9b310",
)
PALETTE = (GREY, BLUE, GREEN, ORANGE, RED, TEAL, YELLOW)


class Drawing:
    """Marks and frames of one picture."""

    def __init__(self, width: int = 320, height: int = 190) -> None:
        self.width, self.height = width, height
        self.marks: list[list[str]] = []
        self.frames: list[list[list[float]]] = []

    def mark(self, kind: str, word: str = "") -> int:
        """Another mark; returns its number."""
        self.marks.append([kind, word])
        return len(self.marks) - 1

    def frame(self, values: dict[int, list[float]]) -> None:
        """Another frame; a mark that is not named stays as it was in the frame before."""
        before = self.frames[-1] if self.frames else None
        made = []
        for number in range(len(self.marks)):
            given = values.get(number) or (before[number] if before else None)
            assert given is not None, f"mark {number} has no place in the first frame"
            made.append([round(float(v), 1) for v in given[:-2]] + [round(float(given[-2]), 2), int(given[-1])])
        self.frames.append(made)

    def to_json(self) -> dict[str, Any]:
        """As the file has it."""
        return {
            "width": self.width,
            "height": self.height,
            "palette": list(PALETTE),
            "marks": self.marks,
            "frames": self.frames,
        }


def line() -> Drawing:
    """A linear head that turns as examples come: ridge regression on two clouds of points, fitted to each set of examples."""
    rng = np.random.default_rng(3)
    n = 70
    spread = np.array([[24.0, 0], [16.0, 22.0]])
    clouds = np.concatenate(
        [
            rng.standard_normal((n, 2)) @ spread + (118, 108),
            rng.standard_normal((n, 2)) @ spread + (204, 84),
        ]
    )
    kinds = np.repeat([1, 2], n)
    inside = (clouds > (8, 8)).all(1) & (clouds < (312, 182)).all(1)
    clouds, kinds = clouds[inside], kinds[inside]
    drawing = Drawing()
    dots = [drawing.mark("dot") for _ in clouds]
    parting = drawing.mark("line")
    words = [drawing.mark("text", "a"), drawing.mark("text", "b")]

    def far(kind: int, towards: tuple[float, float], taken: list[int]) -> int:
        of = [i for i in np.flatnonzero(kinds == kind).tolist() if i not in taken]
        return min(of, key=lambda i: float(((clouds[i] - towards) ** 2).sum()))

    def fitted(chosen: list[int]) -> tuple[np.ndarray[Any, Any], float]:
        x, y = clouds[chosen], np.where(kinds[chosen] == 1, -1.0, 1.0)
        middle = x.mean(0)
        centred = x - middle
        w = np.linalg.solve(centred.T @ centred + 20 * np.eye(2), centred.T @ (y - y.mean()))
        # The sides balance, however many examples each has.
        return w, float(w @ (x[y < 0].mean(0) + x[y > 0].mean(0)) / 2)

    def ends(w: np.ndarray[Any, Any], b: float) -> list[float]:
        along = np.array([-w[1], w[0]]) / np.linalg.norm(w)
        middle = w * b / (w @ w)
        middle = middle + along * ((np.array([160.0, 95.0]) - middle) @ along)
        a, c = middle - 125 * along, middle + 125 * along
        return [*a, *c]

    chosen: list[int] = []
    plain = {d: [*p, 2.6, 0.55, 0] for d, p in zip(dots, clouds, strict=True)}
    hidden = {words[0]: [18, 176, 13, 0, 1], words[1]: [262, 22, 13, 0, 2], parting: [160, 10, 160, 180, 3, 0, 5]}
    drawing.frame(plain | hidden)
    shown = {words[0]: [18, 176, 13, 1, 1], words[1]: [262, 22, 13, 1, 2]}
    steps = (
        [(1, (118.0, 152.0)), (2, (178.0, 108.0))],
        [(1, (92.0, 92.0)), (2, (232.0, 50.0))],
        [(1, (150.0, 128.0)), (2, (205.0, 62.0))],
        [],
    )
    for number, added in enumerate(steps):
        for kind, towards in added:
            chosen.append(far(kind, towards, chosen))
        w, b = fitted(chosen)
        if number == len(steps) - 1:
            wrong = [i for i in range(len(clouds)) if (clouds[i] @ w - b > 0) != (kinds[i] == 2)]
            worst = max(wrong, key=lambda i: abs(float(clouds[i] @ w - b)))
            chosen.append(worst)
            w, b = fitted(chosen)
        sides = np.where(clouds @ w - b > 0, 2, 1)
        values = {d: [*p, 2.6, 0.55, int(side)] for d, p, side in zip(dots, clouds, sides, strict=True)}
        values |= {dots[i]: [*clouds[i], 6, 1, int(kinds[i])] for i in chosen}
        drawing.frame(values | shown | {parting: [*ends(w, b), 3, 1, 5]})
    return drawing


def split() -> Drawing:
    """A nearest-neighbour head on six fields of two crops, tested on pixels drawn at random and on fields held out."""
    rng = np.random.default_rng(5)
    rows, cols, size, left, top = 8, 15, 18, 25, 20
    field = (np.arange(rows)[:, None] // 4) * 3 + np.arange(cols)[None, :] // 5
    crop = np.array([1, 2, 1, 2, 1, 2])
    # Each field has its own soil and sowing day: it differs from its crop's mean more than its pixels from each other.
    centre = np.array([[1.0, 0.0], [0.0, 1.0]])[crop - 1] + 0.75 * rng.standard_normal((6, 2))
    values = centre[field] + 0.12 * rng.standard_normal((rows, cols, 2))
    flat, of, kind = values.reshape(-1, 2), field.ravel(), crop[field].ravel()

    def right(learnt: np.ndarray[Any, Any], tested: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        near = ((flat[tested][:, None] - flat[learnt][None]) ** 2).sum(2).argmin(1)
        return np.asarray(kind[learnt][near] == kind[tested])

    order = rng.permutation(rows * cols)
    random = order[: rows * cols // 2], order[rows * cols // 2 :]
    held = np.flatnonzero(np.isin(of, (0, 1, 2))), np.flatnonzero(np.isin(of, (3, 4, 5)))
    drawing = Drawing(320, 190)
    cells = [drawing.mark("cell") for _ in flat]
    dots = [drawing.mark("dot") for _ in flat]
    words = [drawing.mark("text", "random"), drawing.mark("text", "places")]
    at = [(left + size * (i % cols), top + size * (i // cols)) for i in range(len(flat))]
    shade = [0.55 + 0.4 * ((number * 37) % 6) / 6 for number in range(6)]
    fields = {
        cells[i]: [x + 1, y + 1, size - 2, size - 2, shade[of[i]], 5 if kind[i] == 1 else 6]
        for i, (x, y) in enumerate(at)
    }

    def marked(values: dict[int, tuple[float, float, int]]) -> dict[int, list[float]]:
        half = size / 2
        return {dots[i]: [x + half, y + half, *values.get(i, (1.0, 0.0, 0))] for i, (x, y) in enumerate(at)}

    def learnt(split: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]) -> dict[int, tuple[float, float, int]]:
        return {int(i): (3.2, 1.0, 1) for i in split[0]} | {int(i): (5.5, 0.9, 0) for i in split[1]}

    def judged(split: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]) -> dict[int, tuple[float, float, int]]:
        return {int(i): (3.2, 1.0, 1) for i in split[0]} | {
            int(i): (5.5, 1.0, 2 if good else 4) for i, good in zip(split[1], right(*split), strict=True)
        }

    said = {words[0]: [25, 182, 13, 0, 1], words[1]: [25, 182, 13, 0, 1]}
    first = {words[0]: [25, 182, 13, 1, 1]}
    second = {words[0]: [25, 182, 13, 0, 1], words[1]: [25, 182, 13, 1, 1]}
    drawing.frame(fields | marked({}) | said)
    drawing.frame(marked(learnt(random)) | first)
    drawing.frame(marked(judged(random)))
    drawing.frame(marked(learnt(held)) | second)
    drawing.frame(marked(judged(held)))
    print(f"split: {right(*random).mean():.2f} at random pixels, {right(*held).mean():.2f} at fields held out")
    return drawing


def clouds() -> Drawing:
    """Greenness of a field through a year (two bends of a wheat's curve), seen every five days but under clouds."""
    rng = np.random.default_rng(1)
    days = np.arange(2, 366, 5)
    left, right, bottom, high = 20, 300, 150, 120

    def x(day: float) -> float:
        return left + (right - left) * day / 365

    def green(day: float) -> float:
        return 0.18 + 0.7 / (1 + np.exp(-(day - 95) / 14)) - 0.62 / (1 + np.exp(-(day - 190) / 9))

    def y(day: float) -> float:
        return bottom - high * green(day)

    drawing = Drawing(320, 190)
    curve = [drawing.mark("line") for _ in range(36)]
    dots = [drawing.mark("dot") for _ in days]
    words = [drawing.mark("text", "jan"), drawing.mark("text", "dec")]
    steps = np.linspace(0, 365, len(curve) + 1)
    line = {c: [x(a), y(a), x(b), y(b), 2.5, 0.8, 2] for c, a, b in zip(curve, steps[:-1], steps[1:], strict=True)}
    noise = 3 * rng.standard_normal(len(days))
    # Clouds stay for some days: one bank of weather passes over both fields, at other hours.
    weather = np.convolve(rng.standard_normal(len(days) + 4), np.ones(3) / 3, "valid")[: len(days)]
    first, second = (weather + 0.45 * rng.standard_normal(len(days)) < 0.05 for _ in range(2))

    def shown(seen: np.ndarray[Any, Any] | None, colour: int) -> dict[int, list[float]]:
        return {
            d: [x(day), y(day) + off, 3.4, 1.0, colour]
            if seen is None or good
            else [x(day), y(day) + off, 2.2, 0.25, 0]
            for d, day, off, good in zip(
                dots, days, noise, seen if seen is not None else np.ones(len(days), bool), strict=True
            )
        }

    hidden = {d: [x(day), y(day) + off, 0.5, 0.0, 1] for d, day, off in zip(dots, days, noise, strict=True)}
    said = {words[0]: [left, 178, 13, 1, 0], words[1]: [right - 62, 178, 13, 1, 0]}
    drawing.frame(line | hidden | said)
    drawing.frame(shown(None, 1))
    drawing.frame(shown(first, 1))
    drawing.frame(shown(second, 3))
    return drawing


def views() -> Drawing:
    """Barlow Twins on one pixel: two glimpses, and what a linear encoder makes of them before and after training.

    The encoder is trained here on simulated pixels by the cross-correlation loss of Zbontar et al. 2021, by gradient descent.
    """
    rng = np.random.default_rng(2)
    n_days, n_out, n_pixels = 24, 8, 256
    basis = np.stack([np.exp(-((np.arange(n_days) - c) ** 2) / (2 * 3.5**2)) for c in np.linspace(1, 22, 10)])
    pixels = rng.standard_normal((n_pixels, len(basis))) @ basis

    def glimpse(of: np.ndarray[Any, Any], kept: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Rows at the days that are kept, and between these what lies between."""
        # Haze and light shift all days of a glimpse; that is what the encoder has to learn not to tell.
        seen = of + 0.15 * rng.standard_normal(of.shape) + 1.5 * rng.standard_normal((len(of), 1))
        everyday = np.arange(n_days)
        return np.stack([np.interp(everyday, everyday[k], row[k]) for row, k in zip(seen, kept, strict=True)])

    weights = 0.4 * rng.standard_normal((n_days, n_out))
    example = pixels[7]
    keep_one = rng.random(n_days) < 0.5
    keep_one[:2] = True, False
    keep_two = ~keep_one
    shown_one, shown_two = (glimpse(example[None], kept[None])[0] for kept in (keep_one, keep_two))

    def numbers(seen: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        every = pixels @ weights
        return np.asarray((seen @ weights - every.mean(0)) / np.maximum(every.std(0), 1e-6))

    before = numbers(shown_one), numbers(shown_two)
    learnt = torch.tensor(weights, requires_grad=True)
    optimiser = torch.optim.Adam([learnt], lr=0.02)
    for _ in range(400):
        kept = rng.random((n_pixels, n_days)) < 0.5
        kept[:, 0], kept[:, 1] = True, False
        za, zb = (torch.from_numpy(glimpse(pixels, k)) @ learnt for k in (kept, ~kept))
        ha, hb = ((z - z.mean(0)) / (z.std(0) + 1e-6) for z in (za, zb))
        c = ha.T @ hb / n_pixels
        loss = ((1 - c.diagonal()) ** 2).sum() + 0.05 * (c - torch.diag(c.diagonal())).square().sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    weights = learnt.detach().numpy()
    print(f"views: correlation of a number with itself {c.diagonal().mean():.2f}")
    after = numbers(shown_one), numbers(shown_two)

    drawing = Drawing(320, 190)
    days = [drawing.mark("dot") for _ in range(n_days)]
    bars = [[drawing.mark("cell") for _ in range(n_out)] for _ in range(2)]
    words = [drawing.mark("text", "one"), drawing.mark("text", "two")]
    low, high = float(example.min()), float(example.max())
    at = [(14 + 5.6 * day, 150 - 105 * (value - low) / (high - low)) for day, value in enumerate(example)]

    def lengths(given: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]], opacity: float) -> dict[int, list[float]]:
        most = max(float(np.abs(np.concatenate(given)).max()), 1e-6)
        found = {}
        for row, values in enumerate(given):
            for k, value in enumerate(values):
                size = 30 * abs(float(value)) / most
                top = 62 + 78 * row - (size if value > 0 else 0)
                found[bars[row][k]] = [170 + 17 * k, top, 12, max(size, 1), opacity, (1, 3)[row]]
        return found

    plain = {d: [*p, 3.4, 0.9, 0] for d, p in zip(days, at, strict=True)}
    two = {d: [*p, 4, 1, 1 if first else 3] for d, p, first in zip(days, at, keep_one, strict=True)}
    said = {words[0]: [170, 22, 12, 0, 1], words[1]: [170, 182, 12, 0, 3]}
    drawing.frame(plain | lengths(before, 0.0) | said)
    drawing.frame(two | {words[0]: [170, 22, 12, 1, 1], words[1]: [170, 182, 12, 1, 3]})
    drawing.frame(lengths(before, 0.9))
    drawing.frame(lengths(after, 0.9))
    drawing.frame(lengths(after, 1.0))
    agree = [float(np.corrcoef(*pair)[0, 1]) for pair in (before, after)]
    print(f"views: the two lists correlate by {agree[0]:.2f} before and {agree[1]:.2f} after training")
    return drawing


def alarm() -> Drawing:
    """Differences of squares that stayed and that changed, piled up, and a line at three rates of false alarms."""
    rng = np.random.default_rng(4)
    stayed, changed = rng.gamma(4.0, 14.0, 150), 130 + 42 * rng.standard_normal(45)
    values = np.concatenate([stayed, changed]).clip(4, 286)
    kinds = np.repeat([1, 3], [len(stayed), len(changed)])
    piles: dict[int, int] = {}
    at = []
    for value in values:
        column = int(value // 7)
        piles[column] = piles.get(column, 0) + 1
        at.append((18 + 7 * column, 158 - 6.4 * piles[column]))
    drawing = Drawing(320, 190)
    dots = [drawing.mark("dot") for _ in values]
    parting = drawing.mark("line")
    words = [drawing.mark("text", "less"), drawing.mark("text", "more")]

    def dot(opacity: dict[int, float]) -> dict[int, list[float]]:
        return {d: [*p, 2.9, opacity[int(k)], int(k)] for d, p, k in zip(dots, at, kinds, strict=True)}

    said = {words[0]: [16, 180, 13, 1, 0], words[1]: [248, 180, 13, 1, 0]}
    drawing.frame(dot({1: 0.9, 3: 0.0}) | said | {parting: [300, 20, 300, 160, 3, 0, 5]})
    drawing.frame(dot({1: 0.9, 3: 0.9}))
    for share in (0.0, 0.06, 0.35):
        line = 18 + float(np.quantile(stayed.clip(4, 286), 1 - share)) + 4
        taken = {d: [*p, 2.9, 1.0 if p[0] > line else 0.3, int(k)] for d, p, k in zip(dots, at, kinds, strict=True)}
        drawing.frame(taken | {parting: [line, 16, line, 160, 3, 1, 5]})
    return drawing


def beyond() -> Drawing:
    """A line fitted by least squares to plots of a curve that bends beyond them."""
    rng = np.random.default_rng(6)
    x = rng.uniform(20, 180, 45)

    def truth(at: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(150 - 0.62 * at + 0.0042 * np.maximum(at - 165, 0) ** 2)

    y = truth(x) + 6 * rng.standard_normal(len(x))
    slope, offset = np.polyfit(x, y, 1)
    drawing = Drawing(320, 190)
    dots = [drawing.mark("dot") for _ in x]
    fit = [drawing.mark("line"), drawing.mark("line")]
    curve = [drawing.mark("line") for _ in range(24)]
    edge = drawing.mark("line")
    words = [drawing.mark("text", "seen"), drawing.mark("text", "new")]

    def on(a: float, b: float, opacity: float) -> list[float]:
        return [a, slope * a + offset, b, slope * b + offset, 3, opacity, 5]

    steps = np.linspace(165, 300, len(curve) + 1)
    heights = truth(steps)

    def true(opacity: float) -> dict[int, list[float]]:
        return {c: [steps[i], heights[i], steps[i + 1], heights[i + 1], 3, opacity, 3] for i, c in enumerate(curve)}

    said = {words[0]: [30, 180, 13, 1, 0], words[1]: [205, 180, 13, 0, 0]}
    plots = {d: [a, b, 3.6, 0.9, 1] for d, a, b in zip(dots, x, y, strict=True)}
    nothing = {fit[0]: on(20, 21, 0), fit[1]: on(182, 183, 0), edge: [182, 20, 182, 166, 1.5, 0, 0]}
    drawing.frame(plots | nothing | true(0.0) | said)
    drawing.frame({fit[0]: on(20, 182, 1)})
    drawing.frame({fit[1]: on(182, 300, 1), edge: [182, 20, 182, 166, 1.5, 0.9, 0], words[1]: [205, 180, 13, 1, 0]})
    drawing.frame(true(1.0))
    return drawing


PICTURES: dict[str, Callable[[], Drawing]] = {
    "year/clouds": clouds,
    "pixels/views": views,
    "first-map/line": line,
    "how-good/split": split,
    "change/alarm": alarm,
    "limits/beyond": beyond,
}


def main(root: Path = SHIPPED) -> None:
    """Write them all."""
    for name, make in PICTURES.items():
        lesson, _, picture = name.partition("/")
        path = root / lesson / "pictures" / f"{picture}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(make().to_json(), separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
