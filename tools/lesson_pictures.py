"""Make the pictures that move of the shipped lessons, from small arrays computed here with a seed.

Usage: .venv/bin/python tools/lesson_pictures.py      writes pictures/*.json of each lesson; the same bytes each time
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

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


PICTURES: dict[str, Callable[[], Drawing]] = {"first-map/line": line, "how-good/split": split}


def main(root: Path = SHIPPED) -> None:
    """Write them all."""
    for name, make in PICTURES.items():
        lesson, _, picture = name.partition("/")
        path = root / lesson / "pictures" / f"{picture}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(make().to_json(), separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
