"""``tessera bench heads``: how good each head is with few labels, how long it takes to fit, and to map a million pixels.

Labels are single pixels drawn from ground that is not judged on; the score is macro-F1 on fields, squares or cells that no label
lies in. Each result is written down as soon as it is there, so that an interrupted run goes on where it stopped, and new
weights only cost what depends on them.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.paths import cache_home
from tessera_core.bench.hot_path import machine
from tessera_core.bench.sites import Site, sites
from tessera_core.errors import InputError
from tessera_core.heads import HEADS, Head, make_head
from tessera_core.raster import EmbeddingRaster

SIZES = (3, 5, 10, 20, 50)
REPEATS = 20
TEST = 4000
# In the place of a number of labels: times, and the folds of all labels there are.
TIMES, ALL = -1, -2
FOLDS = 5
# With more labels than this a site has no row of all labels.
MOST_LABELS = 5000
PLAIN_C = 10.0
SLOW_FIT_S = 5.0
MARK = "<!-- tessera bench heads -->"


@dataclass(frozen=True)
class RaceEntry:
    """A head in the race.

    Attributes:
        title: for people.
        name, params: of the head.
        context: edge of the square it looks at.
        repeats: draws of labels.
        sizes: labels a class.
    """

    title: str
    name: str
    params: dict[str, Any] = field(default_factory=dict)
    neighbourhood: int = 1
    repeats: int = REPEATS
    sizes: tuple[int, ...] = SIZES

    def make(self) -> Head:
        """Unfitted."""
        return make_head(self.name, neighbourhood=self.neighbourhood, **self.params)


# Heads that are mixtures of others.
MADE_OF = {"auto": ("prototype", "logistic")}
# The quick ones first.
ENTRIES = (
    RaceEntry("ridge", "ridge"),
    RaceEntry("logistic", "logistic"),
    RaceEntry("prototype", "prototype"),
    RaceEntry("auto", "auto"),
    RaceEntry("knn", "knn"),
    RaceEntry("ridge 3x3", "ridge", neighbourhood=3),
    RaceEntry("ridge 5x5", "ridge", neighbourhood=5),
    RaceEntry("logistic 5x5", "logistic", neighbourhood=5),
    RaceEntry("forest", "forest"),
    RaceEntry("mlp", "mlp"),
    RaceEntry("boosting", "boosting"),
    RaceEntry("unet", "unet"),
)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure what is not measured yet, and give the whole table.

    ``args``: ``data`` (folder of the real data sets, or None), ``quick``, ``state`` (file of results), ``heads`` (names
    separated by commas, or None), ``markdown`` (file to write the table into, or None).

    Raises:
        InputError: a head or folder does not exist.
    """
    quick = bool(getattr(args, "quick", False))
    wanted = getattr(args, "heads", None)
    entries = [e for e in ENTRIES if wanted is None or e.title in [name.strip() for name in wanted.split(",")]]
    if not entries:
        raise InputError(f"There is no head {wanted!r} to measure; there are {', '.join(e.title for e in ENTRIES)}.")
    if quick:
        entries = [
            RaceEntry(e.title, e.name, e.params, e.neighbourhood, min(2, e.repeats), (e.sizes[-1],))
            for e in entries
            if e.name != "unet"
        ]
    state = Path(getattr(args, "state", None) or cache_home() / "bench" / "heads.jsonl")
    places = sites(getattr(args, "data", None), 96 if quick else None)
    result = measure(places, entries, state)
    markdown = getattr(args, "markdown", None)
    if markdown:
        write_between(Path(markdown), MARK, tables(result))
    return result


def measure(places: Sequence[Site], entries: Sequence[RaceEntry], state: Path | None = None) -> dict[str, Any]:
    """Race ``entries`` on ``places``; results in ``state`` are taken from there.

    Returns:
        JSON object: ``machine`` and ``sites``, by name: title, what is held out, classes, and ``heads`` by title with a row for
        each number of labels: mean and standard deviation of macro-F1, repeats; and seconds of processor time to fit the most
        labels (``fit_s``) and to map a million pixels (``map_s``); ``all`` as of :func:`all_labels`, and ``plain`` the same of
        scikit-learn's logistic regression, for sites of few labels.
    """
    known = _read(state)
    for entry, site in ((e, s) for e in entries for s in places):
        if site.raster is None and entry.make().receptive_radius:
            continue
        for size in entry.sizes:
            for seed in range(entry.repeats):
                key = _key(site, entry, size, seed)
                if key not in known:
                    known[key] = _once(site, entry, size, seed)
                    _write(state, key, known[key])
        key = _key(site, entry, TIMES, 0)
        if key not in known:
            known[key] = _times(site, entry)
            _write(state, key, known[key])
        key = _key(site, entry, ALL, 0)
        if key not in known and _folded(site, entry):
            known[key] = all_labels(site, entry.make)
            _write(state, key, known[key])
    for site in places:
        key = _plain_key(site)
        if key not in known and len(site.x) <= MOST_LABELS:
            known[key] = all_labels(site, _plain)
            _write(state, key, known[key])
    return {"bench": "heads", "machine": machine(), "sites": {s.name: _summary(s, entries, known) for s in places}}


def _folded(site: Site, entry: RaceEntry) -> bool:
    return len(site.x) <= MOST_LABELS and entry.neighbourhood == 1 and not entry.make().receptive_radius


def _plain() -> Any:
    """What people without this package take: scikit-learn's logistic regression."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=PLAIN_C, max_iter=5000)


def _plain_key(site: Site) -> str:
    return "|".join([site.name, site.digest, f"scikit-learn logistic C={PLAIN_C:g}", "", str(ALL), "0"])


def all_labels(site: Site, make: Callable[[], Any]) -> dict[str, float]:
    """Macro-F1 of all labels of a site, each judged once by a head that learnt from the other folds.

    Five folds, or as many as the class with the fewest groups has.

    Returns:
        ``grouped``: whole groups in a fold; ``random``: single labels, which neighbours inflate.
    """
    from sklearn.metrics import f1_score
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    folds = min(FOLDS, *(len(np.unique(site.groups[site.y == k])) for k in np.unique(site.y)))
    ways = {
        "grouped": StratifiedGroupKFold(folds, shuffle=True, random_state=0).split(site.x, site.y, site.groups),
        "random": StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(site.x, site.y),
    }
    scores = {}
    for name, parts in ways.items():
        guess = np.empty_like(site.y)
        for train, test in parts:
            guess[test] = make().fit(site.x[train], site.y[train]).predict(site.x[test])
        scores[name] = float(f1_score(site.y, guess, average="macro"))
    return scores


def _key(site: Site, entry: RaceEntry, size: int, seed: int) -> str:
    return "|".join([site.name, site.digest, entry.title, _version(entry.name), str(size), str(seed)])


@lru_cache
def _version(name: str) -> str:
    """Names the head's code, and that of the heads it is made of, so that results of an older version are not taken for this
    one's."""
    code = hashlib.sha256()
    for one in (name, *MADE_OF.get(name, ())):
        source = inspect.getsourcefile(HEADS[one])
        assert source is not None
        code.update(Path(source).read_bytes())
    return code.hexdigest()[:8]


def _once(site: Site, entry: RaceEntry, size: int, seed: int) -> dict[str, float]:
    """One draw of labels: fit, and judge on what was held out."""
    from sklearn.metrics import f1_score

    pool, test = site.split(seed)
    labelled = draw(site.y, pool, size, seed)
    test = np.random.default_rng([seed, 5]).permutation(test)[:TEST]
    test = test[np.isin(site.y[test], site.y[labelled])]
    head = entry.make()
    if head.receptive_radius:
        assert site.raster is not None and site.rows is not None and site.cols is not None  # noqa: PT018
        head.fit_at(site.raster, site.rows[labelled], site.cols[labelled], site.y[labelled])
        guess = head.classes_[head.proba_at(site.raster, site.rows[test], site.cols[test]).argmax(axis=1)]
    else:
        head.fit(site.x[labelled], site.y[labelled])
        guess = head.predict(site.x[test])
    labels = np.unique(site.y[test])
    score = f1_score(site.y[test], guess, labels=labels, average="macro", zero_division=0)
    return {"f1": float(score)}


def draw(y: NDArray[np.int64], pool: NDArray[np.intp], size: int, seed: int) -> NDArray[np.intp]:
    """Indices of ``size`` labels of each class among ``pool``, or as many as there are."""
    rng = np.random.default_rng([seed, 4])
    return np.concatenate([rng.permutation(pool[y[pool] == k])[:size] for k in np.unique(y[pool])])


def _times(site: Site, entry: RaceEntry) -> dict[str, float]:
    """Seconds of processor time to fit the most labels of a class, and to map a million pixels of the site.

    Processor time, not time on the clock, so that other work on the machine does not count. The best of three fits.
    """
    pool, _ = site.split(0)
    labelled = draw(site.y, pool, max(entry.sizes), 0)
    raster, rows, cols = site.raster, site.rows, site.cols
    fits: list[float] = []
    head = entry.make()
    while len(fits) < 3 and (not fits or fits[0] < SLOW_FIT_S):
        start = time.process_time()
        if raster is None or rows is None or cols is None:
            head.fit(site.x[labelled], site.y[labelled])
        else:
            head.fit_at(raster, rows[labelled], cols[labelled], site.y[labelled])
        fits.append(time.process_time() - start)
    raster = raster or _as_raster(site)
    whole = (0, 0, *raster.shape)
    # Kernels are made ready and weights taken apart when they are first used.
    head.predict_window(raster.codes, raster.scales, (0, 0, 1, raster.shape[1]))
    start = time.process_time()
    head.predict_window(raster.codes, raster.scales, whole)
    spent = time.process_time() - start
    return {"fit_s": min(fits), "map_s": spent / (raster.shape[0] * raster.shape[1]) * 1e6}


def _as_raster(site: Site) -> EmbeddingRaster:
    """Loose points as pixels in rows, to time the way from codes to classes."""
    from tessera_core.grid import Grid
    from tessera_core.provenance import Provenance

    rows = max(1, len(site.x) // 32)
    x = site.x[: rows * 32]
    scales = np.maximum(np.abs(x).max(axis=1) / 127, 1e-12).astype(np.float32)
    codes = np.rint(x / scales[:, None]).astype(np.int8)
    shape = (rows, len(x) // rows)
    return EmbeddingRaster(
        codes.reshape(*shape, -1), scales.reshape(shape), Grid.local(shape), Provenance(dim=x.shape[1])
    )


def _read(state: Path | None) -> dict[str, dict[str, float]]:
    known: dict[str, dict[str, float]] = {}
    if state is not None and state.is_file():
        for line in state.read_text(encoding="utf-8").splitlines():
            # A process killed while writing leaves half a line, which is measured again.
            if line.endswith("}"):
                value = json.loads(line)
                known[value.pop("key")] = value
    return known


def _write(state: Path | None, key: str, value: dict[str, float]) -> None:
    if state is not None:
        state.parent.mkdir(parents=True, exist_ok=True)
        with state.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key} | value) + "\n")


def _summary(site: Site, entries: Sequence[RaceEntry], known: dict[str, dict[str, float]]) -> dict[str, Any]:
    heads: dict[str, Any] = {}
    for entry in entries:
        rows = {}
        for size in entry.sizes:
            runs = [known[key] for seed in range(entry.repeats) if (key := _key(site, entry, size, seed)) in known]
            if runs:
                scores = [one["f1"] for one in runs]
                rows[str(size)] = {
                    "macro_f1": round(statistics.fmean(scores), 4),
                    "sd": round(statistics.pstdev(scores), 4),
                    "repeats": len(runs),
                }
        if rows:
            whole = known.get(_key(site, entry, TIMES, 0), {})
            times = {name: round(whole[name], 4) if whole else None for name in ("fit_s", "map_s")}
            heads[entry.title] = {"labels": rows} | times | {"all": known.get(_key(site, entry, ALL, 0))}
    return {
        "plain": known.get(_plain_key(site)),
        "title": site.title,
        "held_out": site.held_out,
        "classes": len(np.unique(site.y)),
        "heads": heads,
    }


def tables(result: dict[str, Any]) -> Iterator[str]:
    """The result as Markdown, line by line."""
    for site in result["sites"].values():
        sizes = sorted({int(n) for head in site["heads"].values() for n in head["labels"]})
        yield f"### {site['title']}"
        yield ""
        yield f"{site['classes']} classes, {site['held_out']} held out. Macro-F1, mean ± standard deviation."
        yield ""
        whole = site["plain"] is not None
        last = ["all labels", "all, random folds"] if whole else []
        yield "| head | " + " | ".join(
            [*(f"{n} a class" for n in sizes), *last, "fit", "1 million pixels", "repeats |"]
        )
        yield "|---" * (len(sizes) + len(last) + 4) + "|"
        # Heads with fewer repeats have seen other draws; they are not compared to the last digit.
        most = max(row["repeats"] for head in site["heads"].values() for row in head["labels"].values())
        best: dict[str, float] = {}
        for head in site["heads"].values():
            for n, row in head["labels"].items():
                if row["repeats"] == most:
                    best[n] = max(row["macro_f1"], best.get(n, 0.0))
        for title, head in site["heads"].items():
            cells = []
            for n in map(str, sizes):
                row = head["labels"].get(n)
                text = f"{row['macro_f1']:.3f} ± {row['sd']:.3f}" if row else ""
                top = row and row["repeats"] == most and row["macro_f1"] == best[n]
                cells.append(f"**{text}**" if top else text)
            if whole:
                cells += [f"{head['all'][way]:.3f}" if head["all"] else "" for way in ("grouped", "random")]
            times = ["" if head[name] is None else _duration(head[name]) for name in ("fit_s", "map_s")]
            repeats = max(row["repeats"] for row in head["labels"].values())
            yield f"| {title} | {' | '.join([*cells, *times])} | {repeats} |"
        yield ""
        if whole:
            scores = site["plain"]
            yield (
                f"All labels: {FOLDS} folds, or as many as a class has of what is held out. scikit-learn's logistic regression "
                f"(C = {PLAIN_C:g}) on the same folds: {scores['grouped']:.3f}, with random folds {scores['random']:.3f}."
            )
            yield ""


def _duration(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def write_between(path: Path, mark: str, lines: Iterator[str]) -> None:
    """Put lines between the two marks of a Markdown file.

    Raises:
        InputError: the file lacks the marks.
    """
    parts = path.read_text(encoding="utf-8").split(mark) if path.is_file() else []
    if len(parts) != 3:
        raise InputError(f"{path} needs two lines {mark}, between which the tables are written.")
    text = parts[0] + mark + "\n" + "\n".join(lines) + mark + parts[2]
    path.write_text(text, encoding="utf-8")
